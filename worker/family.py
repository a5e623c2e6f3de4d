"""What a model family is: its record, the items a sampler gets, and how family files are found. No torch here."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from shared.params import Params, schema_of

Rule = tuple[str, str, str]
Preset = tuple[str, str, Mapping[str, Any]]


@dataclass(frozen=True)
class Family:
    """Data about a family; the code is found by name in the module that holds it (DESIGN.md)."""

    name: str
    version: int  # raised by hand when outputs change
    title: str
    summary: str
    modality: str  # text | image | audio | video
    dataset_kind: str  # text | images
    train: type[Params] | None = None
    generate: type[Params] | None = None
    train_example: Mapping[str, Any] = field(default_factory=dict)
    generate_example: Mapping[str, Any] = field(default_factory=dict)
    # (name, title, what differs from the defaults): named ways to fill in the form
    train_presets: tuple[Preset, ...] = ()
    generate_presets: tuple[Preset, ...] = ()
    accepts: tuple[tuple[str, str], ...] = ()  # (expression over the dataset's facts, message)
    train_rules: tuple[Rule, ...] = ()  # (expression, parameter, message)
    generate_rules: tuple[Rule, ...] = ()
    train_cost: Mapping[str, str] = field(default_factory=dict)  # {"flops", "bytes", "steps"}
    generate_cost: Mapping[str, str] = field(default_factory=dict)
    batch_by: tuple[str, ...] = ()  # parameters that must be equal inside one sampler
    previews: tuple[Mapping[str, Any], ...] = ()  # generate params drawn when a model is offered

    def actions(self) -> dict[str, type[Params]]:
        return {
            action: params
            for action, params in (("train", self.train), ("generate", self.generate))
            if params is not None
        }

    def announcement(self, doc: str = "") -> dict[str, Any]:
        """What web needs to draw forms, check input and price a job."""
        actions = {
            action: {
                "schema": schema_of(params),
                "example": dict(getattr(self, f"{action}_example")),
                "presets": [
                    {"name": name, "title": title, "params": dict(values)}
                    for name, title, values in getattr(self, f"{action}_presets")
                ],
                "rules": [list(rule) for rule in getattr(self, f"{action}_rules")],
                "cost": dict(getattr(self, f"{action}_cost")),
            }
            for action, params in self.actions().items()
        }
        return {
            "name": self.name,
            "version": self.version,
            "title": self.title,
            "summary": self.summary,
            "modality": self.modality,
            "dataset_kind": self.dataset_kind,
            "accepts": [list(rule) for rule in self.accepts],
            "actions": actions,
            "batch_by": list(self.batch_by),
            "doc": doc,
        }


@dataclass(frozen=True)
class Item:
    """One output asked of a sampler."""

    params: Any  # the family's GenerateParams
    seed: int  # derived from (the job's seed, index)
    index: int
    count: int
    inputs: Mapping[str, Path] = field(default_factory=dict)


@dataclass
class Finished:
    """One output made, or the error that ended its slot."""

    slot: int
    data: bytes = b""
    media_type: str = "application/octet-stream"
    suffix: str = "bin"
    metrics: dict[str, float] = field(default_factory=dict)
    error: Exception | None = None


@dataclass
class Preview:
    """How an output looks so far: text, or the bytes of a picture."""

    text: str | None = None
    data: bytes | None = None
    media_type: str = "text/plain"


def family_files(names: list[str], extra_folders: list[str]) -> list[Path]:
    """Files that hold a family, ours first; with names, only those."""
    folders = [Path(__file__).parent / "families", *map(Path, extra_folders)]
    files = [
        file
        for folder in folders
        for file in sorted(folder.glob("*.py"))
        if not file.name.startswith("_")
    ]
    return [file for file in files if not names or file.stem in names]


def load_family(file: Path) -> ModuleType:
    """The module of a family file; its FAMILY is checked for what everything else relies on."""
    inside = file.parent == Path(__file__).parent / "families"
    name = f"worker.families.{file.stem}" if inside else f"atelier_family_{file.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        if not isinstance(getattr(module, "FAMILY", None), Family):
            raise ImportError(f"{file} has no FAMILY = Family(...)")
        if module.FAMILY.name != file.stem:
            raise ImportError(f"{file}: a family is named as its file")
    except BaseException:
        del sys.modules[name]
        raise
    return module
