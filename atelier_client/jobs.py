"""Jobs: submit, watch, change."""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from atelier_client.connection import Connection, Object
from atelier_client.errors import ClientError

FINAL = ("succeeded", "failed", "cancelled")
HOLD_SECONDS = 20


class Jobs:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def submit(
        self,
        kind: str,
        params: Object | None = None,
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        **fields: Any,
    ) -> Object:
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
        return answer.json()  # type: ignore[no-any-return]

    def get(self, job_id: str) -> Object:
        return self._connection.get(f"/jobs/{job_id}")

    def list(self, *, limit: int | None = None, **filters: Any) -> list[Object]:
        """Newest first; `filters`: state, kind, family, model_id, dataset_id, created_after, q."""
        if limit is not None and limit <= 200:
            items: list[Object] = self._connection.get("/jobs", limit=limit, **filters)["items"]
            return items
        found = self._connection.pages("/jobs", limit=200, **filters)
        return [job for _, job in zip(range(limit or 10**9), found, strict=False)]

    def wait(
        self,
        job_id: str,
        on_progress: Callable[[Object], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> Object:
        """Returns the job when it has ended; a server that restarts meanwhile is waited for."""
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
                job: Object = answer.json()
                if on_progress:
                    on_progress(job)
                if job["state"] in FINAL:
                    return job
            if timeout is not None and time.monotonic() - started > timeout:
                raise ClientError(f"job {job_id} has not ended within {timeout:g} s")
            # a job that changes many times a second is not asked for as often
            time.sleep(0.2)

    def cancel(self, job_id: str) -> Object:
        return self._change(job_id, "cancel")

    def pause(self, job_id: str) -> Object:
        return self._change(job_id, "pause")

    def resume(self, job_id: str) -> Object:
        return self._change(job_id, "resume")

    def retry(self, job_id: str) -> Object:
        """A new job with the same seed and parameters."""
        answer = self._connection.ask("POST", f"/jobs/{job_id}/retry", repeat=False)
        return answer.json()  # type: ignore[no-any-return]

    def delete(self, job_id: str) -> None:
        self._connection.ask("DELETE", f"/jobs/{job_id}")

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

    def artifacts(self, job_id: str) -> builtins.list[Object]:
        """What a succeeded job made; empty before."""
        result = self.get(job_id).get("result") or {}
        return builtins.list(result.get("artifacts") or [])

    def _change(self, job_id: str, action: str) -> Object:
        answer = self._connection.ask("POST", f"/jobs/{job_id}/{action}")
        return answer.json()  # type: ignore[no-any-return]
