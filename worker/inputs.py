"""What jobs read, as files of this machine whose hash was seen: linked where they lie here, else fetched once.

Fetched files stay in <data>/cache, named by what they hold, for all workers of the machine; the oldest go first.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from shared import packs
from shared.config import Settings
from shared.errors import BadData, NotFound
from shared.storage import CHUNK, Storage, sha256_of, told_when_full

log = logging.getLogger(__name__)

FETCHES = 3  # of a file that did not arrive as it is


class Inputs:
    """For one thread. Hashes each file once."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._storage = storage
        self._folder = settings.data.resolve() / "cache"
        self._most_bytes = settings.cache_bytes
        self._verified: dict[Path, tuple[int, int, str]] = {}

    def take(self, key: str, target: Path, sha256: str) -> None:
        """Puts a stored file under `target`. Raises NotFound, BadData, StorageFull, StorageAway."""
        path = self._storage.local_path(key)
        if path is None:
            path = self._fetched(key, sha256)
        elif not self._is(path, sha256):
            raise BadData(f"{path.name} is damaged in storage.")
        _link(path, target)

    def take_pack(self, prefix: str, folder: Path, sha256: str) -> None:
        """A dataset's pack: the manifest by its hash, and by it the data, item by item."""
        folder.mkdir(parents=True, exist_ok=True)
        self.take(f"{prefix}/{packs.MANIFEST}", folder / packs.MANIFEST, sha256)
        key = f"{prefix}/{packs.DATA}"
        path = self._storage.local_path(key)
        # nobody wrote down its hash; a name that no hash of a file is
        cached = self._folder / f"pack-{sha256}"
        for again in range(FETCHES):
            if path is None and not cached.exists():
                self._fetch(key, cached)
            _link(path or cached, folder / packs.DATA)
            if self._is_pack(folder, sha256):
                break
            (folder / packs.DATA).unlink()
            if path is not None or again + 1 == FETCHES:
                raise BadData(f"{packs.DATA} is damaged in storage.")
            cached.unlink(missing_ok=True)
        if path is None:
            self._use(cached)

    def _is(self, path: Path, sha256: str) -> bool:
        facts = path.stat()
        known = (facts.st_size, facts.st_mtime_ns, sha256)
        if self._verified.get(path) != known:
            if sha256_of(path) != sha256:
                return False
            self._verified[path] = known
        return True

    def _is_pack(self, folder: Path, sha256: str) -> bool:
        facts = (folder / packs.DATA).stat()
        known, name = (facts.st_size, facts.st_mtime_ns, sha256), Path(f"pack-{sha256}")
        if self._verified.get(name) != known:
            try:
                deque(packs.verified(folder), maxlen=0)
            except BadData:
                return False
            self._verified[name] = known
        return True

    # ---- the cache

    def _fetched(self, key: str, sha256: str) -> Path:
        path = self._folder / sha256
        for _ in range(FETCHES):
            if not path.exists():
                self._fetch(key, path)
            if self._is(path, sha256):
                self._use(path)
                return path
            log.warning("%s did not arrive as it is", key)
            path.unlink(missing_ok=True)
        raise BadData(f"{key.rpartition('/')[2]} is damaged in storage.")

    def _fetch(self, key: str, path: Path) -> None:
        with self._storage.open(key) as source, told_when_full():
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                partial = Path(file.name)
                try:
                    shutil.copyfileobj(source, file, CHUNK)
                    file.flush()
                    partial.replace(path)
                except BaseException:
                    partial.unlink(missing_ok=True)
                    raise

    def _use(self, path: Path) -> None:
        """Young again; the oldest go when there is too much. Whoever has linked one keeps it."""
        with suppress(FileNotFoundError):
            # the time of the last look; that of the last change tells whether it was hashed
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        found = []
        for file in self._folder.iterdir():
            with suppress(FileNotFoundError):
                facts = file.stat()
                found.append((facts.st_atime, facts.st_size, file))
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if total <= self._most_bytes:
                return
            if file != path:
                file.unlink(missing_ok=True)
                total -= size


def _link(source: Path, target: Path) -> None:
    """Without copying, where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with told_when_full():
            try:
                os.link(source, target)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copyfile(source, target)
    except FileNotFoundError:
        raise NotFound() from None
