"""What the API answers with: a dict of its fields, which can also be read as attributes."""

from __future__ import annotations

from typing import Any


class Record(dict[str, Any]):
    """`job["state"]` and `job.state` are the same. A name that dict uses itself, like `items`, needs brackets."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}") from None

    def __repr__(self) -> str:
        shown = ("id", "name", "state", "kind", "family", "media_type", "bytes")
        facts = ", ".join(f"{name}={self[name]!r}" for name in shown if self.get(name))
        return f"{type(self).__name__}({facts})"

    def _become(self, answer: dict[str, Any]) -> None:
        self.clear()
        self.update(answer)
