"""`atelier up`: starts an installation's processes, keeps them alive, stops them in order. Runs in the main thread."""

from __future__ import annotations

import http.client
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing

import click

from shared.config import Settings, child_environment
from shared.errors import BadSettings
from web import data_folder, devices, valkey
from web.children import Child

log = logging.getLogger(__name__)

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
WORKERS_WAIT_SECONDS = 5.0
STOP_WEB_SECONDS = 12.0
STOP_WORKERS_SECONDS = 45.0
STOP_VALKEY_SECONDS = 5.0
LOOK_SECONDS = 0.05


def up(settings: Settings, prepare: Callable[[Settings], list[str]]) -> None:
    """Returns when a signal has ended it and nothing is left running.

    `prepare` makes the database ready; it may refuse, and returns lines for the terminal.
    """
    refuse_port(settings)
    data_folder.make(settings.data)
    with data_folder.locked(settings.data):
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        Installation(settings).run(prepare)


class Installation:
    """The children, and the one loop that looks after them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.valkey = [] if settings.redis_url else [_valkey(settings)]
        self.web = _web(settings)
        self.workers = _workers(settings)
        self.lines: list[str] = []
        self.ready = False
        self.stopping = False

    def run(self, prepare: Callable[[Settings], list[str]]) -> None:
        try:
            # web imports its code while the database is being migrated, and then waits for us
            self.web.start()
            self.lines = prepare(self.settings)
            self.web.open_gate()
            self._look_after()
        finally:
            self._stop()

    def _look_after(self) -> None:
        # Importing torch takes both cores of a small machine: people get their pages first.
        workers_at = time.monotonic() + WORKERS_WAIT_SECONDS
        while not self.stopping:
            children = [*self.valkey, self.web]
            if self.ready or time.monotonic() > workers_at:
                children += self.workers
            waits = [child.tend() for child in children]
            if not self.ready:
                self._look_whether_ready()
            self._wait(min(waits) if self._settled() else LOOK_SECONDS)

    def _settled(self) -> bool:
        return self.ready and all(child.process for child in self.workers)

    def _look_whether_ready(self) -> None:
        if not answers_ready(self.settings):
            return
        self.ready = True
        for line in self.lines:
            click.echo(line)
        click.echo(f"Atelier is ready at {address(self.settings)}")
        sys.stdout.flush()

    def _wait(self, seconds: float) -> None:
        found = signal.sigtimedwait(SIGNALS, max(seconds, LOOK_SECONDS))
        if found is not None and found.si_signo != signal.SIGCHLD:
            log.info("stopping after %s", signal.Signals(found.si_signo).name)
            self.stopping = True

    def _stop(self) -> None:
        hurry = _second_signal()
        for children, seconds in (
            ([self.web], STOP_WEB_SECONDS),
            (self.workers, STOP_WORKERS_SECONDS),
            (self.valkey, STOP_VALKEY_SECONDS),
        ):
            for child in children:
                child.ask_to_stop()
            deadline = time.monotonic() + seconds
            for child in children:
                child.wait_until_stopped(deadline, hurry)
        log.info("stopped")


def _second_signal() -> Callable[[], bool]:
    """Whether somebody pressed Ctrl-C again: then nothing is waited for any more."""
    seen = False

    def hurry() -> bool:
        nonlocal seen
        while found := signal.sigtimedwait(SIGNALS, 0):
            seen = seen or found.si_signo != signal.SIGCHLD
        return seen

    return hurry


def _valkey(settings: Settings) -> Child:
    return Child("valkey", valkey.command(settings), child_environment(settings))


def _web(settings: Settings) -> Child:
    command = [sys.executable, "-m", "web.server", "--when-told"]
    return Child("web", command, child_environment(settings), gated=True)


def _workers(settings: Settings) -> list[Child]:
    environment = child_environment(settings)
    gpus = devices.visible_gpus(environment) if settings.device == "auto" else []
    count = settings.workers or max(1, len(gpus))
    children = [
        _worker("device", index, environment | _share_of(settings, gpus, index, count))
        for index in range(count)
    ]
    return [*children, _worker("cpu", 0, environment)]


def _worker(kind: str, index: int, environment: dict[str, str]) -> Child:
    name = f"{kind}-{index}"
    command = [sys.executable, "-m", "worker", kind, "--name", name]
    return Child(name, command, environment)


def _share_of(settings: Settings, gpus: list[str], index: int, count: int) -> dict[str, str]:
    """A GPU for each worker; without GPUs, its part of the cores."""
    if gpus:
        return {"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]}
    if count > 1 and not settings.threads:
        cores = len(os.sched_getaffinity(0))
        return {"ATELIER_THREADS": str(max(1, cores // count))}
    return {}


def address(settings: Settings) -> str:
    """The origin to show to people."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = f"[{_reachable(settings)}]" if ":" in _reachable(settings) else _reachable(settings)
    return f"http://{host}:{settings.port}"


def _reachable(settings: Settings) -> str:
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  compared, not bound


def answers_ready(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(_reachable(settings), settings.port, timeout=1)
    with closing(connection):
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def refuse_port(settings: Settings) -> None:
    if settings.port == 0:
        raise BadSettings("ATELIER_PORT: 0 would be another port at each start; name one.")
    try:
        found = socket.getaddrinfo(settings.host or None, settings.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BadSettings(f"ATELIER_HOST: {error.strerror}: {settings.host}") from error
    family, kind, protocol, _, place = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
        except OSError as error:
            raise BadSettings(
                f"ATELIER_PORT: {error.strerror}: {settings.host}:{settings.port}"
            ) from error
