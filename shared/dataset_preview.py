"""What people see of a dataset before they use it: samples, counts, sizes, copies, and warnings in words.

Counted once, item by item, by whoever verifies the pack; what an item says of itself must agree with its bytes.
"""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from typing import Any

from shared.errors import BadData
from shared.packs import FACTS_OF, KIND_OF, Look, PackItem

FILE = "preview.json"
MOST_SAMPLES = 24
MOST_LABELS = 200
MOST_EXAMPLES = 20
BINS = 12
WIDE = 20  # from this ratio of largest to smallest on, bins grow
FEW_PICTURES = 10
FEW_CHARACTERS = 1000
HEADER = struct.Struct(">8s8xIIBB")  # of a PNG: signature, width, height, depth, colour
SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3}

Shape = dict[str, Any]


class Preview:
    """Add every item in order, then ask for the result."""

    def __init__(self, items: int) -> None:
        """`items` as they will be: samples are spread over all of them."""
        many = min(items, MOST_SAMPLES)
        self._wanted = {part * (items - 1) // max(1, many - 1) for part in range(many)}
        self._kind = ""
        self._samples: list[Shape] = []
        self._labels: Counter[str] = Counter()
        self._channels: Counter[int] = Counter()
        self._changes: Counter[str] = Counter()
        self._captions = self._items = self._copies = self._torn = 0
        self._numbers: dict[str, array[int]] = {}
        # small, because there may be a million: where each content came first, and each item's label
        self._first: dict[bytes, int] = {}
        self._label_numbers: dict[str | None, int] = {}
        self._label_of = array("l")
        self._examples: list[Shape] = []

    def add(self, item: PackItem, look: Look) -> None:
        """Raises BadData when the item is not what it says."""
        self._kind = KIND_OF[item.media_type]
        if item.n in self._wanted:
            self._samples.append(_sample(item))
        self._items += 1
        self._captions += item.caption is not None
        if item.label is not None:
            self._labels[item.label] += 1
        self._measure("bytes", item.bytes)
        if self._kind == "text":
            self._add_text(item, look)
        else:
            self._add_picture(item, look)
        self._look_for_copy(item)

    def _add_text(self, item: PackItem, look: Look) -> None:
        if item.facts["characters"] != look.characters:
            raise BadData("A text is not as long as the manifest says.")
        self._measure("characters", look.characters)
        self._measure("lines", look.line_ends + 1)

    def _add_picture(self, item: PackItem, look: Look) -> None:
        try:
            signature, width, height, depth, colour = HEADER.unpack(look.head[: HEADER.size])
        except struct.error:
            raise BadData("A picture is no PNG.") from None
        seen = {"width": width, "height": height, "channels": CHANNELS.get(colour)}
        said = {name: item.facts[name] for name in seen}
        if signature != SIGNATURE or depth != 8 or said != seen:
            raise BadData("A picture is not what the manifest says.")
        self._measure("width", width)
        self._measure("height", height)
        self._channels[said["channels"]] += 1
        changes = item.facts.get("changes", [])
        if isinstance(changes, list):
            self._changes.update(str(change)[:80] for change in changes[:MOST_EXAMPLES])

    def _measure(self, name: str, value: int) -> None:
        self._numbers.setdefault(name, array("q")).append(value)

    def _look_for_copy(self, item: PackItem) -> None:
        key = bytes.fromhex(item.sha256)
        first = self._first.setdefault(key, item.n)
        numbers = self._label_numbers
        self._label_of.append(numbers.setdefault(item.label, len(numbers)))
        if first == item.n:
            return
        self._copies += 1
        self._torn += self._label_of[first] != self._label_of[item.n]
        if len(self._examples) < MOST_EXAMPLES:
            self._examples.append({"n": item.n, "name": item.name, "same_as": first})

    def result(self) -> Shape:
        common = self._labels.most_common(MOST_LABELS)
        return {
            "kind": self._kind,
            "items": self._items,
            "samples": self._samples,
            "labels": [{"label": label, "items": count} for label, count in common],
            "classes": len(self._labels),
            "unlabelled": self._items - self._labels.total(),
            "captions": self._captions,
            "sizes": {name: spread(values) for name, values in self._numbers.items()},
            "channels": {str(channels): count for channels, count in self._channels.items()},
            "changes": dict(self._changes.most_common(MOST_EXAMPLES)),
            "duplicates": {"items": self._copies, "examples": self._examples},
            "warnings": self.warnings(),
        }

    def warnings(self) -> list[str]:
        found = self._about_amount() + self._about_labels()
        if self._copies:
            found.append(f"{_items(self._copies)} the same as an earlier one.")
        if self._torn:
            found.append(f"{_items(self._torn)} the same as one with another label.")
        sizes = [self._numbers.get(name) for name in ("width", "height")]
        if any(values and min(values) != max(values) for values in sizes):
            found.append("The pictures have different sizes; a training makes them one size.")
        for change, count in self._changes.most_common(MOST_EXAMPLES):
            found.append(f"{_items(count, 'changed')}: {change}.")
        return found

    def _about_amount(self) -> list[str]:
        if self._kind == "text":
            characters = sum(self._numbers["characters"])
            few = characters < FEW_CHARACTERS
            return [f"There are only {characters:,} characters to learn from."] if few else []
        if self._items == 1:
            return ["There is only one picture; a model can do little but repeat it."]
        few = self._items < FEW_PICTURES
        return [f"There are only {self._items} pictures to learn from."] if few else []

    def _about_labels(self) -> list[str]:
        found = []
        labelled = self._labels.total()
        if len(self._labels) == 1 and labelled > 1:
            found.append("All labels are the same, so there are no classes to tell apart.")
        if 0 < labelled < self._items:
            found.append(f"{_items(self._items - labelled, 'without')} a label.")
        if 0 < self._captions < self._items:
            found.append(f"{_items(self._items - self._captions, 'without')} a caption.")
        return found


def spread(values: array[int]) -> Shape:
    """Least, middle, largest, and how many values lie in each of at most twelve ranges."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    edges = _edges(low, high)
    counts = Counter[int]()
    at = 0
    for value in ordered:
        while value > edges[at]:
            at += 1
        counts[at] += 1
    starts = [low, *(edge + 1 for edge in edges)]
    bins = [
        {"from": start, "to": end, "items": counts[n]}
        for n, (start, end) in enumerate(zip(starts, edges, strict=False))
    ]
    return {"min": low, "median": ordered[len(ordered) // 2], "max": high, "histogram": bins}


def _edges(low: int, high: int) -> list[int]:
    """The last value of each range: equal steps, or growing ones where the values differ much."""
    if high > WIDE * max(low, 1):
        start = max(low, 1)
        ends = [round(start * (high / start) ** (n / BINS)) for n in range(1, BINS)]
    else:
        ends = [low + (high - low + 1) * n // BINS - 1 for n in range(1, BINS)]
    return sorted({end for end in ends if low <= end < high} | {high})


def _sample(item: PackItem) -> Shape:
    fields = ("n", "name", "media_type", "bytes", "label", "caption")
    facts = {name: item.facts[name] for name in FACTS_OF[item.media_type]}
    return {name: getattr(item, name) for name in fields} | {"facts": facts}


def _items(count: int, verb: str = "are") -> str:
    """ "3 items are", "1 item is" """
    one = {"are": "is", "changed": "was changed", "without": "is without"}
    many = {"are": "are", "changed": "were changed", "without": "are without"}
    return f"{count:,} item{'' if count == 1 else 's'} {(one if count == 1 else many)[verb]}"
