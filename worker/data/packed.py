"""How a packed dataset is read. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.errors import BadData


def packed_items(folder: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """(manifest line, bytes) of every item of a packed dataset."""
    manifest, data = folder / "manifest.jsonl", folder / "data.bin"
    with manifest.open(encoding="utf-8") as lines, data.open("rb") as file:
        for line in lines:
            item = json.loads(line)
            file.seek(item["offset"])
            content = file.read(item["bytes"])
            if len(content) != item["bytes"]:
                raise BadData(f"Item {item['n']} of the dataset is cut short.")
            yield item, content
