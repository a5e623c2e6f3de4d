"""For administrators: who runs jobs, and whose; drained one by one, an upgrade costs no step."""

from __future__ import annotations

import builtins
import time

from atelier_client.connection import Connection, Object
from atelier_client.errors import ClientError

LOOK_SECONDS = 0.5


class Workers:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> builtins.list[Object]:
        """Those that live."""
        return self._connection.get("/workers")["items"]  # type: ignore[no-any-return]

    def drain(self, worker_id: str, draining: bool = True) -> Object:
        """It takes nothing new and gives its jobs back with a checkpoint; False takes that back."""
        answer = self._connection.ask("PATCH", f"/workers/{worker_id}", json={"draining": draining})
        return answer.json()  # type: ignore[no-any-return]

    def wait_idle(self, worker_id: str, *, timeout: float = 600.0) -> None:
        """Until it runs nothing any more. Raises ClientError after `timeout` seconds."""
        until = time.monotonic() + timeout
        while any(job["worker"] == worker_id for job in self.jobs()):
            if time.monotonic() > until:
                raise ClientError(f"{worker_id} still runs something after {timeout:g} s")
            time.sleep(LOOK_SECONDS)

    def jobs(self) -> builtins.list[Object]:
        """Everybody's that wait or run, the running ones first: whose, but not what they are about."""
        return self._connection.get("/workers/jobs")["items"]  # type: ignore[no-any-return]

    def cancel_job(self, job_id: str) -> None:
        """Anybody's."""
        self._connection.ask("POST", f"/workers/jobs/{job_id}/cancel")
