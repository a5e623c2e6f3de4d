"""The receiver of a soak's webhooks: who is told what, and whether every end was told."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sqlalchemy import func, select

from shared.db import Database
from shared.jobs import FINAL
from shared.models import Job, OutboxMessage
from worker.chaos.problem import Problem

ADDRESS = "127.0.0.1"
REFUSE_EACH = 20  # this part of the messages is refused once, and comes again


class Ears:
    """A server on a free port of this machine: `with Ears() as ears: ears.url`."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()  # message: how often it came
        self.said: dict[str, set[tuple[str, str]]] = {}  # message: job and state, in every copy
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((ADDRESS, 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self._server.server_port}/"

    @property
    def again(self) -> int:
        """Messages that came more than once, refused or not."""
        return sum(count > 1 for count in self.times.values())

    def hear(self, message: str, body: bytes) -> int:
        """Takes a message; returns the status to answer with."""
        data = json.loads(body)["data"]
        with self._lock:
            self.times[message] += 1
            self.said.setdefault(message, set()).add((data["id"], data["state"]))
            first = self.times[message] == 1
            return 503 if first and len(self.times) % REFUSE_EACH == 0 else 204

    def __enter__(self) -> Ears:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hear = self.hear

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(hear(self.headers["webhook-id"], body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Not to stderr."""

        return Handler


def are_waiting(db: Database) -> bool:
    """Whether somebody is still to be told something."""
    with db.reading() as session:
        waiting = select(func.count()).where(OutboxMessage.state == "pending")
        return bool(session.scalar(waiting))


def problems(ears: Ears, db: Database, since: float) -> list[Problem]:
    """Of the jobs of this soak: ends that nobody was told, told twice as two messages, or told wrongly."""
    with db.reading() as session:
        ends = select(Job.id, Job.state).where(Job.state.in_(FINAL), Job.created_at >= since)
        ended = {job_id: state for job_id, state in session.execute(ends)}
    told = Counter(job_id for copies in ears.said.values() for job_id, _ in copies)
    found = [Problem("lost", f"nobody was told the end of {job}") for job in ended.keys() - told]
    found += [
        Problem("doubled", f"the end of {job} was told by {count} messages")
        for job, count in told.items()
        if count > 1
    ]
    for job_id, state in {pair for copies in ears.said.values() for pair in copies}:
        if ended.get(job_id) != state:
            found.append(Problem("illegal", f"{job_id} was told to be {state}"))
    return found
