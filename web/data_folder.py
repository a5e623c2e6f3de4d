"""The data folder of an installation: made, locked, refused where SQLite would break, migrated."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.config import Settings
from shared.errors import BadSettings, DatabaseTooNew

MOUNTS = Path("/proc/self/mountinfo")
# SQLite's locks and its shared memory do not work across machines.
NETWORK_FILE_SYSTEMS = {
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "glusterfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
}
# FUSE is mostly a network (sshfs, s3fs, rclone); these two are local disks.
LOCAL_FUSE = {"fuse.fuse-overlayfs", "fuseblk"}


AGAIN_SECONDS = 0.5

log = logging.getLogger(__name__)


def prepare(settings: Settings, patience: float = 0.0) -> None:
    """Makes the folder, tries the storage, brings the database to this version; raises when that must not be done.

    A database that does not answer is asked again for `patience` seconds, then BadSettings says so.
    """
    # here, because `atelier up` starts web's process before it spends a second on these
    import migrations
    from shared.db import Database
    from shared.storages import SHORT_PATIENCE, open_storage

    make(settings.data)
    open_storage(settings, SHORT_PATIENCE).check()
    if settings.database.startswith("sqlite"):
        refuse_network_file_system(settings.data)
    standing = _status(settings.database, patience)
    if standing == "newer":
        raise DatabaseTooNew
    if standing != "current":
        migrations.upgrade(settings.database)
    database = Database(settings.database, pool_size=1)
    try:
        database.check_clock()
        if (encoding := database.encoding()) != "UTF8":
            log.warning(
                "the database is in %s: make it with ENCODING 'UTF8' before real use", encoding
            )
    finally:
        database.dispose()


def _status(url: str, patience: float) -> str:
    from sqlalchemy.exc import OperationalError

    import migrations
    from shared.db import cause

    deadline = time.monotonic() + patience
    while True:
        try:
            return migrations.status(url)
        except OperationalError as error:
            text = cause(error)
            if time.monotonic() > deadline:
                setting = "ATELIER_DATA" if url.startswith("sqlite") else "DATABASE_URL"
                raise BadSettings(f"{setting}: the database does not answer: {text}") from error
            log.warning("waiting for the database: %s", text)
            time.sleep(AGAIN_SECONDS)


def make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadSettings(f"ATELIER_DATA: {error.strerror}: {folder}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadSettings(f"ATELIER_DATA: may not write into {folder}")


def refuse_network_file_system(folder: Path, mounts: Path = MOUNTS) -> None:
    kind = file_system_of(folder, mounts)
    if kind in NETWORK_FILE_SYSTEMS or (kind.startswith("fuse") and kind not in LOCAL_FUSE):
        raise BadSettings(
            f"ATELIER_DATA: {folder} lies on a network file system ({kind}), where SQLite loses data. "
            "Use a local folder, or set DATABASE_URL to a PostgreSQL server."
        )


def file_system_of(folder: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that holds the folder; empty where the system does not tell."""
    if not mounts.exists():
        return ""
    place = folder.resolve()
    best, kind = -1, ""
    for line in mounts.read_text().splitlines():
        # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
        before, _, after = line.partition(" - ")
        point = Path(_unescape(before.split(" ")[4]))
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Held by the one `atelier up` of a folder; the kernel lets go when that process ends."""
    path = folder / "up.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = path.read_text().strip() or "another process"
            raise BadSettings(f"{folder} is in use by `atelier up` (process {owner}).") from error
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)
