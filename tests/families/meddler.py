"""Tries to alter the model that it was given, in every way, and says in its output what came of it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from shared.params import Field, Params
from worker.family import Family, Finished


class TrainParams(Params):
    steps: int = Field(1, ge=1, le=9, title="Steps", description="How many steps.")


class GenerateParams(Params):
    count: int = Field(1, ge=1, le=1, title="Count", description="How many texts.")


def train(params, data, run):
    raise NotImplementedError


def save(model, folder: Path) -> None:
    raise NotImplementedError


def load(folder: Path, device) -> Path:
    return folder / "model.json"


def describe(model) -> dict:
    return {}


def attempts(file: Path) -> dict:
    """Name of each way, and what would do it."""
    spare = Path(tempfile.gettempdir())
    (spare / "mine").write_text("mine")
    file.read_bytes()  # reading is allowed
    return {
        "write": lambda: file.open("r+b"),
        "append": lambda: file.open("ab"),
        "truncate": lambda: os.truncate(file, 0),
        "chmod": lambda: file.chmod(0),
        "fchmod": lambda: os.fchmod(os.open(file, os.O_RDONLY), 0),
        "chown": lambda: os.chown(file, 1, 1),
        "attribute": lambda: os.setxattr(file, "user.x", b"x"),
        "rename": lambda: file.rename(file.with_name("other")),
        "rename out": lambda: file.rename(spare / "theirs"),
        "replace": lambda: (spare / "mine").rename(file),
        "unlink": lambda: file.unlink(),
        "link out": lambda: os.link(file, spare / "theirs"),
        "link in": lambda: os.link(spare / "mine", file.with_name("other")),
        "make": lambda: file.with_name("other").touch(),
        "folder": lambda: file.parent.rename(file.parent.with_name("other")),
        "own folder": lambda: (file.parents[2] / "other").mkdir(),
        "reopen": lambda: open(f"/proc/self/fd/{os.open(file, os.O_RDONLY)}", "r+b"),
    }


def tried(work) -> str:
    try:
        work()
    except OSError:
        return "refused"
    return "allowed"


class Sampler:
    def __init__(self, model, params) -> None:
        self._file = model
        self._taken = False

    def room(self) -> int:
        return 0 if self._taken else 1

    def admit(self, item) -> int:
        self._taken = True
        return 0

    def step(self) -> list[Finished]:
        self._taken = False
        found = {name: tried(work) for name, work in attempts(self._file).items()}
        return [Finished(0, json.dumps(found).encode(), "text/plain", "txt")]

    def peek(self, slot) -> None:
        return None

    def drop(self, slot) -> None:
        self._taken = False


FAMILY = Family(
    name="meddler",
    version=1,
    title="Meddler",
    summary="Tries to alter its inputs.",
    modality="text",
    dataset_kind="text",
    train=TrainParams,
    generate=GenerateParams,
    train_example={"steps": 1},
    generate_example={"count": 1},
)
