"""Models loaded for generation, kept while they fit; the least recently used one goes first."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import AppError
from worker import link
from worker.station import Station

MOST_MODELS = 4
MOST_BYTES = 4 << 30


class NoModelGiven(AppError):
    """A generation needs a model."""

    code = "bad_data"


@dataclass
class LoadedModel:
    key: tuple[str, str]  # (family, SHA-256 of the model)
    model: Any
    bytes: int


class ModelCache:
    def __init__(self, station: Station) -> None:
        self._station = station
        self._models: OrderedDict[tuple[str, str], LoadedModel] = OrderedDict()

    def get(self, start: link.Start) -> LoadedModel:
        if start.model is None:
            raise NoModelGiven()
        key = (start.family, start.model.sha256)
        if key not in self._models:
            folder = Path(start.model.folder)
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            self._make_room(size)
            # outside inference mode: what is loaded inside could never be trained or copied
            model = self._station.family(start).load(folder, self._station.device.here)
            self._models[key] = LoadedModel(key, model, size)
        self._models.move_to_end(key)
        return self._models[key]

    def keep_only(self, kept: set[tuple[str, str]]) -> bool:
        """Forgets all other models; whether there were any."""
        others = [key for key in self._models if key not in kept]
        for key in others:
            del self._models[key]
        self._station.device.free()
        return bool(others)

    def _make_room(self, size: int) -> None:
        def full() -> bool:
            used = sum(loaded.bytes for loaded in self._models.values())
            return len(self._models) >= MOST_MODELS or used + size > MOST_BYTES

        while self._models and full():
            self._models.popitem(last=False)
        self._station.device.free()


def schema_in(start: link.Start) -> dict[str, Any]:
    """The model's own generate schema, as its training left it; empty when it has none."""
    if start.model is None:
        raise NoModelGiven()
    path = Path(start.model.folder) / "atelier.json"
    if not path.is_file():
        return {}
    schema = json.loads(path.read_text(encoding="utf-8")).get("generate_schema", {})
    return schema if isinstance(schema, dict) else {}
