"""What a family's training loop sees of the platform: batches, what to keep, the best model.

Works without the runner: `for metrics in family.train(params, data, Run(seed=1)): ...` is a bare
training. The runner sets the hooks. No torch at import; plain Python families train without it.
"""

from __future__ import annotations

import copy
import math
import random
import re
import sys
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, TypeVar

Thing = TypeVar("Thing")
NAME = re.compile(r"[a-z][a-z0-9_]*")


class Drained(BaseException):
    """Raised at the loop's top after its last snapshot; ends the generator."""


class Run:
    """One training. Making it seeds the global generators, so make it right before `train`."""

    def __init__(self, *, seed: int, device: str = "cpu", splits: int = 1) -> None:
        self.seed = seed
        self.splits = splits
        self.step = 0
        self.total = 0
        self.state: dict[str, Any] = {}
        self.kept: dict[str, Any] = {}
        self.best: Any = None
        self.best_score = math.inf
        self.best_step = 0
        self.best_name = "model"  # which kept thing the best is a copy of
        self.lent = False  # somebody draws from `best`: the next better one becomes a new copy
        self.patience = 0  # after so many offers in a row that were no better it ends; 0: never
        self.offers_since_best = 0
        self.stopped_early = False
        self.rows = 0  # of the batch being made; more parts than that help nobody
        # Set by the runner. `restore` runs once at the first top, `at_top` where `wanted` is set,
        # `at_end` once where the loop ends.
        self.restore: Callable[[], None] | None = None
        self.wanted = False
        self.at_top: Callable[[], None] = lambda: None
        self.at_end: Callable[[], None] = lambda: None
        self.on_log: Callable[[str], None] = lambda _text: None
        self._looping = False
        self._torch = sys.modules.get("torch")
        self.device: Any = self._torch.device(device) if self._torch else device
        seed_everything(seed)

    def keep(self, name: str, thing: Thing) -> Thing:
        """Registers what a checkpoint must hold; it is restored at the loop's top, not here."""
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r}: a kept thing has a plain lower-case name")
        if self._looping:
            raise RuntimeError(f"{name}: keep things before run.batches() begins")
        if name in self.kept:
            raise ValueError(f"{name} is kept already")
        if not hasattr(thing, "state_dict") and not hasattr(thing, "get_state"):
            raise TypeError(f"{name}: only what has a state_dict, or a generator, can be kept")
        self.kept[name] = thing
        return thing

    def batches(self, part: Any, batch_size: int, steps: int) -> Iterator[Any]:
        """The one loop. Its top is the only place where a run is snapshotted and restored."""
        if self._looping:
            raise RuntimeError("a training has one loop over run.batches()")
        self._looping = True
        self.total = steps
        if self.restore is not None:
            self.restore()
        while True:
            if self.wanted:
                self.at_top()
            if self.step >= steps or self.is_out_of_patience:
                self.stopped_early = self.step < steps
                self.total = self.step
                self.at_end()
                return
            self.step += 1
            yield self._here(part.batch(self.step - 1, batch_size, self.seed))

    @property
    def is_out_of_patience(self) -> bool:
        return 0 < self.patience <= self.offers_since_best

    def parts(self, batch: Any) -> Iterator[tuple[Any, float]]:
        """The batch in `splits` micro-batches, each with its share of it; shares sum to 1."""
        count = self.rows = _length(batch)
        splits = min(self.splits, count)
        if splits <= 1:
            yield batch, 1.0
            return
        edges = [count * n // splits for n in range(splits + 1)]
        for first, last in zip(edges, edges[1:], strict=False):
            yield _mapped(batch, itemgetter(slice(first, last))), (last - first) / count

    def offer(self, model: Any, score: Any) -> None:
        """Says how good the model is now; lower is better. The best copy becomes the result."""
        score = float(score)
        self.offers_since_best += 1
        if not score < self.best_score:
            return
        self.offers_since_best = 0
        self.best_name = next((k for k, kept in self.kept.items() if kept is model), "model")
        if self.best_name not in self.kept:
            raise ValueError("offer a thing that is kept, or keep one of its shape as 'model'")
        if self.best is None or self.lent:
            self.best, self.lent = copy_of(model), False
        else:
            copy_into(self.best, model)
        self.best_score, self.best_step = score, self.step

    def log(self, text: str) -> None:
        self.on_log(str(text))

    @property
    def result(self) -> Any:
        """What the training made: the best that was offered, else the kept "model"."""
        return self.best if self.best is not None else self.kept.get("model")

    def _here(self, batch: Any) -> Any:
        if self._torch is None or self.device.type == "cpu":
            return batch
        return _mapped(batch, lambda rows: rows.to(self.device, non_blocking=True))


def seed_everything(seed: int) -> None:
    """Seeds every global generator that is loaded."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % 2**32)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def copy_of(model: Any) -> Any:
    """A frozen copy in eval mode; draws from no generator."""
    twin = copy.deepcopy(model)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(twin, torch.nn.Module):
        twin.eval().requires_grad_(False)
        for parameter in twin.parameters():
            parameter.grad = None
    return twin


def copy_into(twin: Any, model: Any) -> None:
    """Brings an earlier copy up to date, in place where it is a torch module (no new memory)."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        twin.load_state_dict(copy.deepcopy(model.state_dict()))
        return
    with torch.no_grad():
        for (_, old), (_, new) in zip(_tensors_of(twin), _tensors_of(model), strict=True):
            old.copy_(new)


def _tensors_of(model: Any) -> list[tuple[str, Any]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _mapped(batch: Any, change: Callable[[Any], Any]) -> Any:
    """The batch with every member changed: a tensor, or a tuple or dict of tensors and None."""
    if batch is None:
        return None
    if isinstance(batch, dict):
        return {name: _mapped(member, change) for name, member in batch.items()}
    if isinstance(batch, tuple):
        return tuple(_mapped(member, change) for member in batch)
    return change(batch)


def _length(batch: Any) -> int:
    """Rows of a batch: those of its first member."""
    if isinstance(batch, dict):
        batch = tuple(batch.values())
    if isinstance(batch, tuple):
        return _length(next(member for member in batch if member is not None))
    return len(batch)
