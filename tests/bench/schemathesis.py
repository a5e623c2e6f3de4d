"""Every call of the API under schemathesis, deeply: operations, cases, checks and failures."""

from __future__ import annotations

import argparse
import logging
import tempfile
import time

from shared import catalog
from shared.config import Settings
from tests import contract
from tests.conftest import make_tables
from tests.web.conftest import ANNOUNCEMENT, Person, Work
from tests.web.live import LiveServer
from web import create_app
from web.services.accounts import create_user
from web.services.tokens import issue_token


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench schemathesis")
    parser.add_argument("--examples", type=int, default=150, help="most examples of a call")
    parser.add_argument("--database-url", default="", help="SQLite in a new folder when empty")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        url = asked.database_url or f"sqlite:///{folder}/atelier.db"
        make_tables(url)
        values = {"data": folder, "database_url": url, "redis_url": f"unix://{folder}/none.sock"}
        app = create_app(Settings.model_validate(values), background=False)
        try:
            report(contract_of(app, asked.examples))
        finally:
            app.extensions["atelier"].close()


def contract_of(app, examples: int) -> tuple[contract.Findings, float]:
    studio = app.extensions["atelier"]
    with studio.db.writing() as session:
        catalog.announce(session, ANNOUNCEMENT)
    user = create_user(studio.db, "bench")
    person = Person(user, issue_token(studio.db, user, "bench")["token"], app.test_client())
    contract.hurry(studio)
    contract.stock(person, Work(studio))
    server = LiveServer(app)
    server.start()
    began = time.monotonic()
    try:
        found = contract.check(server.url, person.token, examples=examples, stateful=True)
    finally:
        server.stop()
    return found, time.monotonic() - began


def report(done: tuple[contract.Findings, float]) -> None:
    found, seconds = done
    print(found.table())
    for name, text in found.failures.items():
        print(f"\nFAILED {name}\n{text}")
    for text in found.errors:
        print(f"\nERROR {text}")
    print(
        f"\n{len(found.statuses)} operations, {found.cases} cases, {found.checks} checks, "
        f"{len(found.failures)} failures, {len(found.errors)} errors, {seconds:.0f} s"
    )
