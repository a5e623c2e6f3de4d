"""What a soak finds that is not as it was promised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """`kind` is lost, doubled, orphaned or illegal."""

    kind: str
    text: str
