"""What training, generation and previews share in the runner: link, device, families, the note of suspects."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from shared.errors import AppError, InvalidInput
from shared.params import check_rules, clean, schema_of
from worker import link
from worker.device import Device
from worker.failures import breaks_device, failure_of, plain
from worker.stepping import Stepping

BEAT_SECONDS = 0.4
LONGEST_LOG = 16_384
ENDS = (link.Done, link.Drained, link.Cancelled, link.Failed)


class FamilyMissing(AppError):
    """This worker has no such family, or another version of it."""

    code = "family_missing"
    permanent = False


class Station:
    """One per runner."""

    def __init__(
        self, ends: link.Link, configure: link.Configure, device: Device, families: dict[str, Any]
    ) -> None:
        self.link = ends
        self.configure = configure
        self.device = device
        self.families: dict[str, ModuleType] = families
        self.stepping = Stepping(Path(configure.folder) / "stepping")
        self.broken = False  # the device cannot be trusted any more
        self._beat_at = time.monotonic()
        self._used: dict[str, float] = {}  # device-seconds of each job since the last beat

    def tell(self, message: link.Message) -> None:
        """Before a job's last message goes out, what it used is told."""
        if isinstance(message, ENDS) and message.job in self._used:
            self.beat(math.inf)
        self.link.send(message)

    def charge(self, job: str, seconds: float) -> None:
        self._used[job] = self._used.get(job, 0.0) + seconds

    def beat(self, now: float, holds: Callable[[], list[str]] | None = None) -> None:
        """`holds` says which jobs are here; left out while messages may still lie in the link."""
        if now - self._beat_at >= BEAT_SECONDS:
            self._beat_at = time.monotonic()
            used, self._used = self._used, {}
            self.link.send(
                link.Beat(
                    used=used,
                    holds=holds() if holds else None,
                    memory_bytes=self.device.memory_used(),
                )
            )

    def log(self, job: str, text: str) -> None:
        self.tell(link.Log(job=job, text=plain(text, LONGEST_LOG)))

    def fail(self, job: str, error: BaseException) -> None:
        self.broken = self.broken or breaks_device(error)
        self.tell(failure_of(error, job))

    def family(self, start: link.Start) -> ModuleType:
        module = self.families.get(start.family)
        if module is None or module.FAMILY.version != start.family_version:
            raise FamilyMissing()
        return module

    def params(self, start: link.Start, schema: dict[str, Any], facts: dict[str, Any]) -> Any:
        """The job's parameters, checked once more by the schema, the rules and the family's class."""
        family = self.family(start).FAMILY
        train = start.kind == "train"
        kind = family.train if train else family.generate
        if kind is None:
            raise FamilyMissing(f"{family.title} does not {start.kind}.")
        values, problems = clean(schema or schema_of(kind), start.params)
        if not problems:
            rules = [list(r) for r in (family.train_rules if train else family.generate_rules)]
            problems = check_rules(rules, {**facts, **values})
        if problems:
            raise InvalidParams(errors=problems)
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            raise InvalidParams(errors=_problems_of(error)) from error

    def inference(self) -> AbstractContextManager[Any]:
        """Around everything that samplers do."""
        torch = self.device.torch
        return nullcontext() if torch is None else torch.inference_mode()


class InvalidParams(InvalidInput):
    """The parameters are not valid for this model."""

    code = "invalid_params"


def _problems_of(error: ValidationError) -> list[dict[str, str]]:
    return [
        {"pointer": f"/params/{'/'.join(map(str, problem['loc']))}", "message": problem["msg"]}
        for problem in error.errors(include_url=False, include_input=False)
    ]


def write_json(path: Path, value: Any) -> None:
    """Sorted and indented: the same value gives the same bytes."""
    path.write_text(
        json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
