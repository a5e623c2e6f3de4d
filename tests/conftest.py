"""Fixtures on real servers: each test gets a database of its own (SQLite and PostgreSQL) and its own Redis prefix."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine

import shared.models
from shared.config import Settings
from shared.db import Base, Database
from shared.ids import new_id
from shared.models import User
from shared.storage import LocalStorage
from tests.s3 import S3Server
from tests.servers import PostgresServer, ValkeyServer

# Short enough for a test to see a lease end, long enough for a loaded machine to renew it.
SHORT = {
    "lease_seconds": 3,
    "heartbeat_seconds": 0.5,
    "poll_seconds": 0.2,
    "reap_seconds": 0.5,
    "backoff_seconds": 0.2,
    "checkpoint_seconds": 0.3,
    "drain_seconds": 10,
}
_numbers = itertools.count(1)
# Few tests but minutes: were they left for last, all but one core would wait for them.
LONG_FILES = (
    "tests/test_main_job",
    "tests/test_add_a_family",
    "tests/faults/",
    "tests/browser/",
    "tests/worker/families/",
    "tests/web/test_up.py",
    "tests/web/test_demo.py",
    "tests/web/test_cli_",
    "tests/web/test_contract.py",
    "tests/shared/test_job_property.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Long files first; `make test` has xdist hand files out in this order."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG_FILES))


def cannot(reason: str):
    """Skips what this machine does not let a test do. With ATELIER_TEST_NO_SKIPS set it fails."""
    (pytest.fail if os.environ.get("ATELIER_TEST_NO_SKIPS") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def valkey():
    """The session's Valkey; tests that kill a server start one of their own (tests.servers)."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-valkey-"))
    server = ValkeyServer(folder)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres():
    """The session's PostgreSQL, with a template database that holds all tables."""
    server = PostgresServer()
    try:
        server.start()
        server.execute("CREATE DATABASE template_atelier")
        make_tables(server.url("template_atelier"))
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def sqlite_template():
    folder = Path(tempfile.mkdtemp(prefix="atelier-sqlite-"))
    path = folder / "template.db"
    make_tables(f"sqlite:///{path}")
    yield path
    shutil.rmtree(folder, ignore_errors=True)


def make_tables(url: str) -> None:
    assert shared.models
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    engine.dispose()


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path):
    path = tmp_path / "atelier.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres):
    name = f"test_{next(_numbers)}"
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE template_atelier")
    yield postgres.url(name)
    postgres.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    """Both databases, one after the other. Override it with `sqlite_url` where one is enough."""
    # "both" tests say nothing; a test of one says parametrize("database_url", ["sqlite"], indirect=True)
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return request.getfixturevalue(name)


@pytest.fixture
def db(database_url):
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def make_settings(tmp_path):
    """Settings with short leases, in this test's folder; keywords go first."""

    def make(**overrides) -> Settings:
        # Nobody listens at the default address: a test that needs Redis passes valkey.url.
        values = SHORT | {
            "data": tmp_path,
            "redis_url": f"unix://{tmp_path}/no-valkey.sock",
            "redis_prefix": f"t{next(_numbers)}:",
        }
        return Settings.model_validate(values | overrides)

    return make


@pytest.fixture
def settings(make_settings, database_url):
    return make_settings(database_url=database_url)


@pytest.fixture(scope="session")
def s3_server():
    """The session's S3 server; ask for `s3`, which makes no faults when a test begins."""
    with S3Server() as server:
        yield server


@pytest.fixture
def s3(s3_server):
    s3_server.calm()
    s3_server.requests.clear()
    yield s3_server
    s3_server.calm()


@pytest.fixture
def s3_settings(s3, make_settings):
    """Settings with a storage of this test's own in the bucket."""

    def make(**overrides) -> Settings:
        return make_settings(**s3.settings(f"test-{next(_numbers)}") | overrides)

    return make


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path / "storage")


@pytest.fixture
def make_user(db):
    """Adds a person straight to the database."""

    def make(name: str = "", role: str = "user") -> User:
        with db.writing() as session:
            user = User(id=new_id(), name=name or new_id(), role=role, created_at=0.0)
            session.add(user)
        return user

    return make


@pytest.fixture
def user(make_user):
    return make_user()
