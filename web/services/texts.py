"""The beginning of texts that lie in the storage: side by side, as each is a way there and back where it is far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from shared.errors import NotFound, Unavailable

READ_AT_ONCE = 8

Open = Callable[[], BinaryIO]


def beginning(opened: Open, characters: int) -> str | None:
    """None where the file is gone or cannot be reached: a page is shown all the same, and says so."""
    try:
        with opened() as file:
            return file.read(4 * characters).decode("utf-8", "replace")[:characters]
    except (NotFound, Unavailable, FileNotFoundError):
        return None


def beginnings(opened: Sequence[Open], characters: int) -> list[str | None]:
    """Of each, in this order."""
    if len(opened) < 2:
        return [beginning(one, characters) for one in opened]
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        return list(pool.map(lambda one: beginning(one, characters), opened))
