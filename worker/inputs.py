"""What jobs read, as files of this machine whose hash was seen: linked where they lie here, else fetched once.

Fetched files stay in <data>/cache, named by what they hold, for all workers of the machine; the oldest go first. Any
of those workers may remove one at any moment: so a file is linked first, and what is hashed is the link.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from shared import packs
from shared.config import Settings
from shared.errors import BadData, NotFound, StorageAway, StorageFull
from shared.storage import CHUNK, Storage, sha256_of, told_when_full

log = logging.getLogger(__name__)

FETCHES = 3  # of a file that did not arrive as it is
MOST_VERIFIED = 10_000
PARTIAL = ".partial"
# A file that nobody has written to for so long is no download any more: its worker has died.
STALE_SECONDS = 600.0


class Inputs:
    """For one thread. Hashes each file once."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._storage = storage
        self._folder = settings.data.resolve() / "cache"
        self._most_bytes = settings.cache_bytes
        self._reserve = settings.disk_low_percent / 100
        self._verified: dict[Path, tuple[int, int, str]] = {}

    def take(self, key: str, target: Path, sha256: str) -> None:
        """Puts a stored file under `target`. Raises NotFound, BadData, StorageFull, StorageAway."""
        self._take(key, target, sha256, lambda: sha256_of(target) == sha256)

    def take_pack(self, prefix: str, folder: Path, sha256: str) -> None:
        """A dataset's pack: the manifest by its hash, and by it the data, item by item."""
        self.take(f"{prefix}/{packs.MANIFEST}", folder / packs.MANIFEST, sha256)
        # nobody wrote down the hash of the data; a name that no hash of a file is
        name = f"pack-{sha256}"
        self._take(f"{prefix}/{packs.DATA}", folder / packs.DATA, name, lambda: _is_pack(folder))

    def _take(self, key: str, target: Path, name: str, is_right: Callable[[], bool]) -> None:
        here = self._storage.local_path(key)
        source = here or self._folder / name
        for _ in range(FETCHES if here is None else 1):
            if not _linked(source, target):
                if here is not None:
                    raise NotFound()
                self._fetch(key, source, target)
            if self._is(source, target, name, is_right):
                if here is None:
                    self._use(source)
                return
            target.unlink()
            if here is None:
                log.warning("%s did not arrive as it is", key)
                source.unlink(missing_ok=True)
        raise BadData(f"{key.rpartition('/')[2]} is damaged in storage.")

    def _is(self, source: Path, link: Path, name: str, is_right: Callable[[], bool]) -> bool:
        facts = link.stat()
        known = (facts.st_size, facts.st_mtime_ns, name)
        if self._verified.get(source) != known:
            if not is_right():
                return False
            self._verified[source] = known
            if len(self._verified) > MOST_VERIFIED:
                del self._verified[next(iter(self._verified))]
        return True

    # ---- the cache

    def _fetch(self, key: str, cached: Path, target: Path) -> None:
        """Under `target`, and for all under `cached`. The oldest files make room for it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._storage.open(key) as source:
            size = source.seek(0, os.SEEK_END)
            self._keep_below(self._most_bytes - size)
            disk = shutil.disk_usage(self._folder)
            self._free(size + disk.total * self._reserve - disk.free)
            while True:
                source.seek(0)
                try:
                    return self._copy(source, cached, target)
                except StorageFull:
                    if not self._free(max(size, 1)):
                        raise

    def _copy(self, source: BinaryIO, cached: Path, target: Path) -> None:
        with (
            told_when_full(),
            tempfile.NamedTemporaryFile(dir=self._folder, suffix=PARTIAL, delete=False) as file,
        ):
            partial = Path(file.name)
            try:
                shutil.copyfileobj(source, file, CHUNK)
                file.flush()
                if not _linked(partial, target):
                    raise StorageAway()  # so slow that it was taken for a dead worker's
                partial.replace(cached)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise

    def _use(self, path: Path) -> None:
        """Young again; the oldest go when there is too much. Whoever has linked one keeps it."""
        with suppress(FileNotFoundError):
            # the time of the last look; that of the last change tells whether it was hashed
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        self._keep_below(self._most_bytes, path)

    def _keep_below(self, most_bytes: float, kept: Path | None = None) -> None:
        found = self._oldest()
        total = sum(facts.st_size for _, facts in found)
        for path, facts in found:
            if total <= most_bytes:
                return
            if path != kept:
                path.unlink(missing_ok=True)
                total -= facts.st_size

    def _free(self, wanted: float) -> int:
        """Gives the disk so many bytes back, or all it can; returns how many. A file in use would give none."""
        freed = 0
        for path, facts in self._oldest():
            if freed >= wanted:
                break
            if facts.st_nlink == 1:
                path.unlink(missing_ok=True)
                freed += facts.st_size
        return freed

    def _oldest(self) -> list[tuple[Path, os.stat_result]]:
        """The files of the cache, the oldest first, without those that are just being fetched."""
        found = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                facts = path.stat()
                if path.suffix != PARTIAL or time.time() - facts.st_mtime > STALE_SECONDS:
                    found.append((path, facts))
        return sorted(found, key=lambda one: one[1].st_atime)


def _is_pack(folder: Path) -> bool:
    try:
        deque(packs.verified(folder), maxlen=0)
    except BadData:
        return False
    return True


def _linked(source: Path, target: Path) -> bool:
    """Without copying, where the file system can. False when there is no such file (any more)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with told_when_full():
            try:
                os.link(source, target)
            except FileNotFoundError:
                raise
            except OSError:
                facts = source.stat()
                shutil.copyfile(source, target)
                # so that it is hashed once, too
                os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    except FileNotFoundError:
        return False
    return True
