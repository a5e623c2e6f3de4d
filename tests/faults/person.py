"""Somebody who submits jobs and looks at pages while a server is in trouble, and keeps what the answers were."""

from __future__ import annotations

import importlib
from collections import Counter

import httpx
from sqlalchemy import select, text

from shared import catalog
from shared.models import Job
from tests.web.live import WebProcess
from tests.work import Work
from web.services.accounts import create_user
from web.services.tokens import issue_token


class Person:
    """Submits and reads over HTTP; keeps what was answered."""

    def __init__(self, work: Work, ask) -> None:
        with work.db.writing() as session:
            family = importlib.import_module("tests.families.sleep_steps")
            catalog.announce(session, family.FAMILY.announcement("A test."))
        self.work, self._ask = work, ask
        user = create_user(work.db, "ann", False)
        self.headers = {"Authorization": f"Bearer {issue_token(work.db, user, 'test')['token']}"}
        with work.db.writing() as session:
            owned = text("UPDATE dataset SET user_id = :user")
            session.execute(owned, {"user": user.id})
        self.accepted: list[str] = []
        self.answers: Counter[int] = Counter()

    def submit(self) -> int:
        body = {"kind": "train", "family": "sleep_steps", "dataset_id": self.work.dataset_id}
        status, answer = self._ask("POST", "/api/v1/jobs", self.headers, body)
        self.answers[status] += 1
        if status == 202:
            self.accepted.append(answer["id"])
        return status

    def get(self, path: str) -> int:
        return self._ask("GET", path, self.headers, None)[0]

    def check(self) -> None:
        """What was accepted is there, and nothing was ever answered but yes and later."""
        with self.work.db.reading() as session:
            there = set(session.scalars(select(Job.id)))
        assert len(set(self.accepted)) == len(self.accepted) and set(self.accepted) <= there
        assert set(self.answers) <= {202, 503, 507}, self.answers


def over_http(web: WebProcess, timeout: float = 60):
    def ask(method, path, headers, body):
        answer = httpx.request(method, web.url + path, headers=headers, json=body, timeout=timeout)
        return answer.status_code, answer.json()

    return ask
