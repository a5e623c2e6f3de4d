"""Storage in a bucket of S3 or of what speaks its language, through obstore.

An object is there whole or not at all, and for good when its put was answered. What the server says it holds (its ETag)
is compared with what was sent; where the ETag says nothing, the object is read back and hashed. So nothing is
published whose bytes nobody has seen in the storage.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

from shared.config import Settings
from shared.errors import AppError, NotFound, StorageAway, StorageFull
from shared.ids import new_id
from shared.storage import CHUNK, Stored, check_key, chunks_of, is_key

log = logging.getLogger(__name__)

PART = 8 << 20  # of an upload in several parts; what is smaller is one request
FIRST_READ = 1 << 16
LARGEST_READ = 8 << 20
TRIES = 3  # of a put whose bytes did not arrive as they were sent
REQUEST_SECONDS = 60.0
CONNECT_SECONDS = 5.0
PROBE = "probe"
# what servers call a bucket or a disk that takes no more
FULL = re.compile(r"StorageFull|QuotaExceeded|InsufficientStorage|507 Insufficient", re.I)

T = TypeVar("T")


class ObjectStorage:
    """Storage under a prefix of a bucket. `patience`: so many seconds a call goes on while the server is away."""

    def __init__(self, settings: Settings, patience: float) -> None:
        from obstore.store import S3Store

        place = urlsplit(settings.storage)
        config: dict[str, Any] = {
            "endpoint": settings.s3_endpoint,
            "region": settings.s3_region,
            "access_key_id": settings.s3_access_key,
            "secret_access_key": settings.s3_secret_key,
        }
        # what is not set comes from AWS_... variables or from the machine's role, as obstore finds it
        config = {name: value for name, value in config.items() if value}
        self.place = settings.storage
        self._store = S3Store(
            place.netloc,
            prefix=place.path.strip("/") or None,
            config=config,  # type: ignore[arg-type]  # a TypedDict of the same names
            client_options={
                "allow_http": settings.s3_endpoint.startswith("http://"),
                "timeout": timedelta(seconds=min(REQUEST_SECONDS, 2 * patience)),
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            },
            retry_config={
                "max_retries": 1000,
                "retry_timeout": timedelta(seconds=patience),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=5),
                    "base": 2,
                },
            },
        )

    # ---- in

    def put_file(self, key: str, source: Path) -> tuple[str, int]:
        def put() -> tuple[str, int]:
            with source.open("rb") as file:
                return self.put_stream(key, chunks_of(file))

        return _again(put)

    def put_bytes(self, key: str, data: bytes) -> tuple[str, int]:
        return _again(lambda: self.put_stream(key, [data]))

    def put_stream(
        self, key: str, chunks: Iterable[bytes], *, durable: bool = True
    ) -> tuple[str, int]:
        """Always durable. Raises StorageFull, StorageAway."""
        import obstore

        check_key(key)
        sent = _Sent()
        blocks = _blocks(chunks)
        first = next(blocks, b"")
        with told():
            if len(first) < PART:
                sent.add(first)
                answer = _again(
                    lambda: self._seen(key, sent, obstore.put(self._store, key, first)["e_tag"])
                )
            else:
                parts = map(sent.add, chain([first], blocks))
                found = obstore.put(
                    self._store, key, parts, use_multipart=True, chunk_size=PART, max_concurrency=2
                )
                answer = self._seen(key, sent, found["e_tag"])
        return answer

    def _seen(self, key: str, sent: _Sent, etag: str | None) -> tuple[str, int]:
        """What lies there is what was sent. Raises Damaged; then nothing lies there."""
        if (etag or "").strip('"').lower() not in sent.etags():
            if self._found(key) != sent.facts():
                self.delete(key)
                log.error("the storage did not keep what was sent: %s", key)
                raise Damaged()
        return sent.facts()

    def _found(self, key: str) -> tuple[str, int] | None:
        """What lies there, read back; None if nothing does."""
        digest, size = hashlib.sha256(), 0
        with suppress(NotFound), self.open(key) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
            return digest.hexdigest(), size
        return None

    def settle(self, keys: Iterable[str]) -> None:
        """Every put was durable."""

    # ---- out

    def open(self, key: str) -> BinaryIO:
        check_key(key)
        meta = self._head(key)
        raw = _Reader(self._store, key, int(meta["size"]), meta["e_tag"])
        return io.BufferedReader(raw, FIRST_READ)

    def size(self, key: str) -> int:
        check_key(key)
        return int(self._head(key)["size"])

    def _head(self, key: str) -> Any:
        import obstore

        with told():
            return obstore.head(self._store, key)

    def local_path(self, key: str) -> None:
        check_key(key)

    def keys(self, prefix: str) -> Iterator[Stored]:
        import obstore

        with told():
            for page in obstore.list(self._store, prefix=prefix):
                for found in sorted(page, key=lambda one: one["path"]):
                    changed = found["last_modified"].timestamp()
                    yield Stored(found["path"], found["size"], changed)

    def delete(self, key: str) -> int:
        import obstore

        if not is_key(key):
            raise NotFound()
        found = list(self.keys(key))  # all under it, and not the key itself
        with suppress(NotFound):
            found.append(Stored(key, int(self._head(key)["size"]), 0.0))
        if found:
            with told():
                obstore.delete(self._store, [one.key for one in found])
        return sum(one.bytes for one in found)

    def check(self) -> None:
        """Writes, reads and deletes a small object, of this call's own. Raises StorageAway, StorageFull."""
        key = f"{PROBE}/{new_id()}.txt"
        self.put_bytes(key, b"atelier")
        try:
            with self.open(key) as file:
                file.read()
        finally:
            self.delete(key)


class Damaged(StorageAway):
    """The storage did not keep what was sent; try again shortly."""


class _Sent:
    """What has been sent so far, and the ETags that a server gives to just that."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._parts: list[bytes] = []
        self._bytes = 0

    def add(self, part: bytes) -> bytes:
        self._sha256.update(part)
        self._parts.append(hashlib.md5(part, usedforsecurity=False).digest())
        self._bytes += len(part)
        return part

    def facts(self) -> tuple[str, int]:
        return self._sha256.hexdigest(), self._bytes

    def etags(self) -> set[str]:
        """Of one request, and of several parts. (Servers that encrypt with keys of their own give others.)"""
        several = hashlib.md5(b"".join(self._parts), usedforsecurity=False).hexdigest()
        found = {f"{several}-{len(self._parts)}"}
        return found | {self._parts[0].hex()} if len(self._parts) == 1 else found


class _Reader(io.RawIOBase):
    """Reads an object in ranges that grow while it is read in order; of one version of it only."""

    def __init__(self, store: Any, key: str, size: int, etag: str | None) -> None:
        self._store, self._key, self._size, self._etag = store, key, size, etag
        self._at = 0
        self._block, self._block_at = memoryview(b""), 0
        self._step = FIRST_READ

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        if not self._block_at <= self._at < self._block_at + len(self._block):
            self._fetch()
        begin = self._at - self._block_at
        found = self._block[begin : begin + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _fetch(self) -> None:
        import obstore

        in_order = self._at == self._block_at + len(self._block) and self._at > 0
        self._step = min(self._step * 4, LARGEST_READ) if in_order else FIRST_READ
        end = min(self._at + self._step, self._size)
        with told():
            options: Any = {"range": (self._at, end), "if_match": self._etag}
            data = obstore.get(self._store, self._key, options=options).bytes()
        if len(data) != end - self._at:
            raise Damaged("The storage did not give what it holds; try again shortly.")
        self._block, self._block_at = memoryview(data), self._at


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in parts of one size, but for the last."""
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        while len(gathered) >= PART:
            yield bytes(gathered[:PART])
            del gathered[:PART]
    if gathered:
        yield bytes(gathered)


def _again(put: Callable[[], T]) -> T:
    for _ in range(TRIES - 1):
        with suppress(Damaged):
            return put()
    return put()


@contextmanager
def told() -> Iterator[None]:
    """obstore's errors as ours: its texts are long, and nothing for the people who wait."""
    from obstore.exceptions import BaseError

    try:
        yield
    except AppError:
        raise
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise StorageAway("The bucket of ATELIER_STORAGE does not exist.") from None
        raise NotFound() from None
    except (BaseError, PermissionError) as error:
        line = str(error).splitlines()[0]
        if FULL.search(str(error)):
            log.error("the storage is full: %s", line)
            raise StorageFull() from None
        log.error("the storage cannot be used: %s", line)
        raise StorageAway() from None
