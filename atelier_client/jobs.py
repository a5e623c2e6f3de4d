"""Jobs: submit, watch, change."""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from atelier_client.artifacts import Artifact, Artifacts
from atelier_client.connection import Connection, Object
from atelier_client.errors import ClientError, JobFailed
from atelier_client.models import Model, Models
from atelier_client.records import Record

FINAL = ("succeeded", "failed", "cancelled")
HOLD_SECONDS = 20
# A job that changes many times a second is not asked for as often.
PAUSE_SECONDS = 0.2


class Job(Record):
    """A job as it was when it was last looked at; `wait`, `refresh` and the changes bring it up to date."""

    def __init__(self, answer: Object, jobs: Jobs) -> None:
        super().__init__(answer)
        self.__dict__["_jobs"] = jobs

    @property
    def has_ended(self) -> bool:
        return self["state"] in FINAL

    @property
    def artifacts(self) -> list[Artifact]:
        """What it made, in order; empty until it has succeeded."""
        result = self.get("result") or {}
        return self._jobs.artifact_records(result.get("artifacts") or [])  # type: ignore[no-any-return]

    @property
    def model(self) -> Model | None:
        """The model that it trained; None until it has succeeded, and for other kinds of jobs."""
        model_id = (self.get("result") or {}).get("model_id")
        return self._jobs.models.get(model_id) if model_id else None

    def refresh(self) -> Job:
        self._become(self._jobs.get(self["id"]))
        return self

    def wait(
        self, on_progress: Callable[[Job], None] | None = None, *, timeout: float | None = None
    ) -> Job:
        """Until it has ended, however often the server restarts meanwhile. Tells every change."""
        self._become(self._jobs.wait(self["id"], on_progress, timeout=timeout))
        return self

    def result_or_raise(self) -> Job:
        """Itself when it has succeeded. Raises JobFailed."""
        if self["state"] != "succeeded":
            raise JobFailed(self)
        return self

    def events(self, after: int = 0) -> Iterator[Object]:
        """Everything that happens to it, from event `after` on, until it has ended."""
        return self._jobs.follow(self["id"], after)  # type: ignore[no-any-return]

    def cancel(self) -> Job:
        self._become(self._jobs.cancel(self["id"]))
        return self

    def pause(self) -> Job:
        self._become(self._jobs.pause(self["id"]))
        return self

    def resume(self) -> Job:
        self._become(self._jobs.resume(self["id"]))
        return self

    def retry(self) -> Job:
        """A new job with the same seed and parameters."""
        return self._jobs.retry(self["id"])  # type: ignore[no-any-return]

    def log(self) -> str:
        return self._jobs.log(self["id"])  # type: ignore[no-any-return]

    def metrics(self, max_points: int | None = None) -> Object:
        return self._jobs.metrics(self["id"], max_points)  # type: ignore[no-any-return]

    def delete(self, *, force: bool = False) -> None:
        self._jobs.delete(self["id"], force=force)


class Jobs:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._artifacts = Artifacts(connection)
        self.models = Models(connection)

    def submit(
        self,
        kind: str,
        params: Object | None = None,
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        **fields: Any,
    ) -> Job:
        """`fields` are those of POST /jobs: family, dataset_id, model_id, seed, name, …; None is left out.

        An Idempotency-Key is always sent, so a lost answer never makes a second job.
        """
        body = {name: value for name, value in fields.items() if value is not None}
        answer = self._connection.ask(
            "POST",
            "/jobs",
            json={"kind": kind, "params": params or {}, **body},
            params={"dry_run": "1"} if dry_run else {},
            headers={"Idempotency-Key": idempotency_key or uuid.uuid4().hex},
        )
        return Job(answer.json(), self)

    def get(self, job_id: str) -> Job:
        return Job(self._connection.get(f"/jobs/{job_id}"), self)

    def list(self, *, limit: int | None = None, **filters: Any) -> list[Job]:
        """Newest first; `filters`: state, kind, family, model_id, dataset_id, created_after, q."""
        size = min(limit or 200, 200)
        found = self._connection.pages("/jobs", limit=size, **filters)
        return [Job(job, self) for job in islice(found, limit)]

    def wait(
        self,
        job_id: str,
        on_progress: Callable[[Job], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> Job:
        """Returns the job when it has ended; a server that restarts meanwhile is waited for."""
        for job in self._news(job_id, timeout):
            if on_progress:
                on_progress(job)
            if job.has_ended:
                return job
        raise AssertionError  # _news() ends only by raising

    def follow(
        self,
        job_id: str,
        after: int = 0,
        on_progress: Callable[[Job], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> Iterator[Object]:
        """Its events from `after` on, each once and in order, as they happen; ends with the job.

        Whoever was cut off goes on with the `n` of the last event that he has seen.
        """
        for job in self._news(job_id, timeout):
            if on_progress:
                on_progress(job)
            # the job was read first: when it had ended, no event comes after those that are there now
            for event in self.events(job_id, after):
                after = event["n"]
                yield event
            if job.has_ended:
                return

    def _news(self, job_id: str, timeout: float | None) -> Iterator[Job]:
        """The job now and after each change: long polls by its ETag."""
        started = time.monotonic()
        tag = ""
        while True:
            answer = self._connection.ask(
                "GET",
                f"/jobs/{job_id}",
                params={"wait": HOLD_SECONDS} if tag else {},
                headers={"If-None-Match": tag} if tag else {},
                timeout=HOLD_SECONDS + 30,
            )
            if answer.status_code != 304:
                tag = answer.headers.get("ETag", "")
                yield Job(answer.json(), self)
            if timeout is not None and time.monotonic() - started > timeout:
                raise ClientError(f"job {job_id} has not ended within {timeout:g} s")
            time.sleep(PAUSE_SECONDS)

    def cancel(self, job_id: str) -> Job:
        return self._change(job_id, "cancel")

    def pause(self, job_id: str) -> Job:
        return self._change(job_id, "pause")

    def resume(self, job_id: str) -> Job:
        return self._change(job_id, "resume")

    def retry(self, job_id: str) -> Job:
        """A new job with the same seed and parameters."""
        return Job(self._connection.ask("POST", f"/jobs/{job_id}/retry", repeat=False).json(), self)

    def delete(self, job_id: str, *, force: bool = False) -> None:
        self._connection.delete(f"/jobs/{job_id}", force)

    def log(self, job_id: str) -> str:
        return self._connection.ask("GET", f"/jobs/{job_id}/log").text

    def events(self, job_id: str, after: int = 0) -> Iterator[Object]:
        """What has happened so far, oldest first."""
        while True:
            page = self._connection.get(f"/jobs/{job_id}/events", after=after)
            yield from page["items"]
            if not page["items"] or not page.get("next"):
                return
            after = int(page["next"])

    def metrics(self, job_id: str, max_points: int | None = None) -> Object:
        return self._connection.get(f"/jobs/{job_id}/metrics", max_points=max_points)

    def artifacts(self, job_id: str) -> builtins.list[Artifact]:
        """What a succeeded job made; empty before."""
        return self.get(job_id).artifacts

    def artifact_records(self, answers: builtins.list[Object]) -> builtins.list[Artifact]:
        return self._artifacts.records(answers)

    def _change(self, job_id: str, action: str) -> Job:
        return Job(self._connection.ask("POST", f"/jobs/{job_id}/{action}").json(), self)
