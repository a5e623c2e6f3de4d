"""Jobs: submit, watch, change."""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from atelier_client.artifacts import Artifact, Artifacts
from atelier_client.connection import Connection, Object, given
from atelier_client.downloads import Progress, fetch_archive
from atelier_client.errors import ClientError, JobFailed
from atelier_client.models import Model, Models
from atelier_client.notebook import PICTURES, card_html, picture_html
from atelier_client.progress import describe
from atelier_client.records import Record

FINAL = ("succeeded", "failed", "cancelled")
HOLD_SECONDS = 20
MOST_SHOWN = 12
# A job that changes many times a second is not asked for as often.
PAUSE_SECONDS = 0.2


class Checkpoint(Record):
    """What a training can go on from, or become a model at."""

    step: int
    bytes: int
    created_at: str
    score: float | None
    best: bool
    final: bool
    metrics: Object


class Estimate(Record):
    """What a job would be and cost."""

    kind: str
    family: str
    params: Object
    lane: str
    estimate_seconds: float | None
    estimate: Object
    queue: Object


class Job(Record):
    """A job as it was when it was last looked at; `wait`, `refresh` and the changes bring it up to date."""

    id: str
    kind: str
    family: str
    name: str
    state: str
    params: Object
    seed: int
    progress: Object
    queue: Object
    priority: int
    attempt: int
    error: Object | None
    device_seconds: float
    estimate_seconds: float | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    dataset_id: str | None
    model_id: str | None
    retry_of: str | None
    continues: str | None
    continues_step: int | None
    waits_for: str | None
    paused: bool
    result: Object | None

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

    def continue_to(self, steps: int, *, checkpoint_step: int | None = None, name: str = "") -> Job:
        """A new job that goes on with this finished training until it has made `steps` steps in all."""
        return self._jobs.continue_to(  # type: ignore[no-any-return]
            self["id"], steps, checkpoint_step=checkpoint_step, name=name
        )

    def checkpoints(self) -> list[Checkpoint]:
        """The farthest first."""
        return self._jobs.checkpoints(self["id"])  # type: ignore[no-any-return]

    def make_model(self, step: int, *, name: str = "") -> Job:
        """A new job that makes a model of the checkpoint at this step."""
        return self._jobs.make_model(self["id"], step, name=name)  # type: ignore[no-any-return]

    def previews(self) -> list[Artifact]:
        """What a training drew on its way, oldest first."""
        return self._jobs.previews(self["id"])  # type: ignore[no-any-return]

    def download(self, path: str | Path = ".", on_progress: Progress | None = None) -> Path:
        """All that it made as one zip with manifest.json; into a file, or into a folder."""
        return self._jobs.archive(self["id"], path, on_progress)  # type: ignore[no-any-return]

    def log(self) -> str:
        return self._jobs.log(self["id"])  # type: ignore[no-any-return]

    def metrics(self, max_points: int | None = None) -> Object:
        return self._jobs.metrics(self["id"], max_points)  # type: ignore[no-any-return]

    def delete(self, *, force: bool = False) -> None:
        self._jobs.delete(self["id"], force=force)

    def _repr_html_(self) -> str:
        """Its card, and the pictures that it made."""
        facts = {**self, "progress": describe(self), "result": None}
        shown = card_html(facts, ("id", "name", "kind", "family", "progress", "seed"))
        few = [one for one in self.artifacts if one.media_type in PICTURES][:MOST_SHOWN]
        return shown + "".join(picture_html(one.media_type, one.content()) for one in few)


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
        **fields: Any,
    ) -> Job:
        """`fields` are those of POST /jobs: family, dataset_id, model_id, seed, name, …; None is left out.

        An Idempotency-Key is always sent, so a lost answer never makes a second job.
        """
        return self._new("/jobs", {"kind": kind, "params": params or {}, **fields}, idempotency_key)

    def estimate(self, kind: str, params: Object | None = None, **fields: Any) -> Estimate:
        """Checks a job as `submit` does, and says what it would cost and when it would start; queues nothing."""
        body = {"kind": kind, "params": params or {}, **given(fields)}
        answer = self._connection.ask("POST", "/jobs", json=body, params={"dry_run": "1"})
        return Estimate(answer.json())

    def continue_to(
        self,
        job_id: str,
        steps: int,
        *,
        checkpoint_step: int | None = None,
        name: str = "",
        idempotency_key: str | None = None,
    ) -> Job:
        """A new job that goes on from a finished training, until `steps` steps are made in all."""
        body = {"steps": steps, "checkpoint_step": checkpoint_step, "name": name}
        return self._new(f"/jobs/{job_id}/continue", body, idempotency_key)

    def checkpoints(self, job_id: str) -> builtins.list[Checkpoint]:
        """The farthest first."""
        found = self._connection.get(f"/jobs/{job_id}/checkpoints")["items"]
        return [Checkpoint(one) for one in found]

    def make_model(
        self, job_id: str, step: int, *, name: str = "", idempotency_key: str | None = None
    ) -> Job:
        """A new job that makes a model of the checkpoint at this step."""
        path = f"/jobs/{job_id}/checkpoints/{step}/model"
        return self._new(path, {"name": name}, idempotency_key)

    def _new(self, path: str, body: Object, key: str | None) -> Job:
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        answer = self._connection.ask("POST", path, json=given(body), headers=headers)
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

    def previews(self, job_id: str) -> builtins.list[Artifact]:
        """What a training drew on its way, oldest first."""
        found = self._connection.get(f"/jobs/{job_id}/previews")["items"]
        return self._artifacts.records([one["artifact"] for one in found])

    def archive(
        self, job_id: str, path: str | Path = ".", on_progress: Progress | None = None
    ) -> Path:
        """All that it made as one zip with manifest.json; into a file, or into a folder."""
        return fetch_archive(self._connection, f"/jobs/{job_id}/archive", path, on_progress)

    def artifacts(self, job_id: str) -> builtins.list[Artifact]:
        """What a succeeded job made; empty before."""
        return self.get(job_id).artifacts

    def artifact_records(self, answers: builtins.list[Object]) -> builtins.list[Artifact]:
        return self._artifacts.records(answers)

    def _change(self, job_id: str, action: str) -> Job:
        return Job(self._connection.ask("POST", f"/jobs/{job_id}/{action}").json(), self)
