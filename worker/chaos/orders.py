"""The people of a soak: they submit, repeat what got no answer with the same key, and cancel."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from shared.db import Database
from shared.ids import new_id
from shared.jobs import FINAL
from shared.models import Job
from worker.chaos.faults import Breaker
from worker.chaos.installation import wait_until
from worker.chaos.plan import Order

PATIENCE_SECONDS = 120.0
ANSWER_SECONDS = 15.0
PAUSE_SECONDS = 0.2
LOOK_SECONDS = 0.05
SIDE_BY_SIDE = 64  # many of them wait for their job to run, to cancel it


@dataclass
class Cancel:
    """A cancel that the server took."""

    kind: str
    job_id: str
    began: float  # the call that got through, by our own clock
    ended: float


@dataclass
class Books:
    """What was promised to the people; filled by several threads."""

    run: str = field(default_factory=lambda: new_id()[-8:])  # a folder may be used for many
    ids: dict[int, set[str]] = field(default_factory=dict)  # order: every id that it was answered
    refused: dict[int, str] = field(default_factory=dict)
    submits: list[tuple[float, float]] = field(default_factory=list)  # begin, end of each answered
    cancels: list[Cancel] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # what went wrong in a thread of ours
    lock: threading.Lock = field(default_factory=threading.Lock)

    def name_of(self, order: Order) -> str:
        """Of its job, so that what came of an order can be found without an answer."""
        return f"chaos {self.run} {order.number}"


class People:
    """Each order runs in a thread of its own, because a stopped server lets people wait."""

    def __init__(
        self,
        url: str,
        tokens: list[str],
        things: list[dict[str, Any]],
        db: Database,
        breaker: Breaker,
    ) -> None:
        self._tokens, self._things, self._db, self._breaker = tokens, things, db, breaker
        limits = httpx.Limits(max_connections=SIDE_BY_SIDE)
        self._http = httpx.Client(base_url=f"{url}/api/v1", timeout=ANSWER_SECONDS, limits=limits)
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE, "chaos-people")
        self._running: list[Future[None]] = []
        self._over = threading.Event()  # nobody waits any more
        self.books = Books()

    def take(self, order: Order) -> None:
        for copy in range(order.copies):
            self._running.append(self._pool.submit(self._serve, order, copy == 0))

    def wait(self, seconds: float) -> None:
        """For those who still wait for an answer."""
        wait(self._running, seconds)

    def __enter__(self) -> People:
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._pool.shutdown(cancel_futures=True)
        self._http.close()

    # ---- one order ----------------------------------------------------------------------------------

    def _serve(self, order: Order, first: bool) -> None:
        try:
            job_id = self._submit(order)
            if job_id and first and order.cancel:
                self._cancel(order, job_id)
        except Exception as error:
            with self.books.lock:
                self.books.broken.append(f"order {order.number}: {type(error).__name__}: {error}")

    def _submit(self, order: Order) -> str:
        answer, began = self._post(order, "/jobs", self._body(order), f"chaos-{order.number}")
        with self.books.lock:
            self.books.submits.append((began, time.time()))
            if answer.status_code != 202:
                self.books.refused[order.number] = f"{answer.status_code} {answer.text[:200]}"
                return ""
            job_id = str(answer.json()["id"])
            self.books.ids.setdefault(order.number, set()).add(job_id)
        return job_id

    def _body(self, order: Order) -> dict[str, Any]:
        body = {"kind": order.kind, "params": order.params, "seed": order.seed}
        body["name"] = self.books.name_of(order)
        things = self._things[order.user]
        if order.kind == "train":
            kind = "images" if order.family in things["pictured"] else "texts"
            return body | {"family": order.family, "dataset_id": things[kind]}
        if order.after is None:
            return body | {"model_id": things["model"]}
        parent = order.after
        wait_until(
            lambda: self._over.is_set() or self.books.ids.get(parent),
            PATIENCE_SECONDS,
            "the parent",
        )
        return body | {"waits_for": next(iter(self.books.ids[parent]))}

    def _post(
        self, order: Order, path: str, body: dict[str, Any] | None, key: str = ""
    ) -> tuple[httpx.Response, float]:
        """Again and again while the server is away: with a key, one submit. The answer, and when it was asked."""
        headers = {"Authorization": f"Bearer {self._tokens[order.user]}"}
        headers |= {"Idempotency-Key": key} if key else {}
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            began = time.time()
            try:
                answer = self._http.post(path, json=body, headers=headers)
            except httpx.TransportError:
                if time.monotonic() > until or self._over.is_set():
                    raise
            else:
                if answer.status_code not in (409, 429, 502, 503, 504) or path != "/jobs":
                    return answer, began
                if time.monotonic() > until or self._over.is_set():
                    return answer, began
            time.sleep(PAUSE_SECONDS)

    # ---- cancels --------------------------------------------------------------------------------------

    def _cancel(self, order: Order, job_id: str) -> None:
        if order.cancel != "queued":
            if not self._wait_for_step(job_id):
                return
            if order.cancel == "deaf":
                time.sleep(1.0)  # it is in the step that blocks by now, and has told no other
            if order.cancel == "dead owner":
                self._breaker.kill_owner(self._job(job_id).owner or "")
        for _ in range(20):
            answer, began = self._post(order, f"/jobs/{job_id}/cancel", None)
            if answer.status_code == 200:
                with self.books.lock:
                    self.books.cancels.append(Cancel(order.cancel, job_id, began, time.time()))
                return
            if answer.status_code not in (429, 502, 503, 504):
                return  # it has ended otherwise
            time.sleep(PAUSE_SECONDS)

    def _wait_for_step(self, job_id: str) -> bool:
        while not self._over.is_set():
            with suppress(SQLAlchemyError):
                job = self._job(job_id)
                if job.state in FINAL:
                    return False
                if job.state == "running" and job.progress_step:
                    return True
            time.sleep(LOOK_SECONDS)
        return False

    def _job(self, job_id: str) -> Job:
        with self._db.reading() as session:
            return session.scalars(select(Job).where(Job.id == job_id)).one()
