"""How bodies with files are received: each part straight to disk, without holding its memory or a descriptor.

Werkzeug's own parts stay in memory up to 500 kB each, or hold an open file each; a folder of pictures has thousands.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from flask import Request, current_app

from shared import quotas
from shared.errors import QuotaExceeded
from shared.uploads import INCOMING, uploads_of


@dataclass
class Allowance:
    """How many bytes a user may still store, over all files of one request."""

    used: int
    allowed: int
    taken: int = 0

    def take(self, size: int) -> None:
        self.taken += size
        if self.used + self.taken > self.allowed:
            quotas.refuse_storage(self.used, self.allowed)


class Part:
    """One uploaded file on disk, gone with this object unless it is moved; open only while it is used."""

    def __init__(self, folder: Path, allowance: Allowance | None = None) -> None:
        self._allowance = allowance
        folder.mkdir(parents=True, exist_ok=True)
        handle, path = tempfile.mkstemp(dir=folder)
        self._path = Path(path)
        self._file: BinaryIO | None = os.fdopen(handle, "w+b")
        self._remove = weakref.finalize(self, self._path.unlink, missing_ok=True)

    def write(self, data: bytes) -> int:
        """Raises QuotaExceeded as soon as more has come than its sender may store."""
        with self._whole_or_gone():
            if self._allowance is not None:
                self._allowance.take(len(data))
            return self._opened().write(data)

    @contextmanager
    def _whole_or_gone(self) -> Iterator[None]:
        try:
            yield
        except (QuotaExceeded, OSError):
            self.close()
            raise

    def read(self, size: int = -1) -> bytes:
        return self._opened().read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """To the start: the part has been received, or will be read again; until then it is closed."""
        if offset == 0 and whence == os.SEEK_SET:
            with self._whole_or_gone():
                self._shut()
            return 0
        return self._opened().seek(offset, whence)

    def tell(self) -> int:
        return self._opened().tell()

    def close(self) -> None:
        with suppress(OSError):  # what is going need not be written
            self._shut()
        self._remove()

    def move_to(self, path: Path) -> int:
        """Gives the file away, on the same disk; returns its size."""
        with self._whole_or_gone():
            self._opened()
            self._shut(sync=True)
            self._path.replace(path)
        self._remove.detach()
        return path.stat().st_size

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = self._path.open("r+b")
        return self._file

    def _shut(self, sync: bool = False) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        with file:  # closed whatever comes
            file.flush()
            if sync:
                os.fsync(file.fileno())


class ReceivingRequest(Request):
    """Flask's request whose files are Parts."""

    allowance: Allowance | None = None  # of its sender, once he is known

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        settings = current_app.extensions["atelier"].settings
        return Part(uploads_of(settings) / INCOMING, self.allowance)  # type: ignore[return-value]
