"""Checkpoints: a training's whole state in one safetensors file. Nothing is pickled, nothing unpickled.

Tensors lie in the file as they are; everything else is JSON in the header, with the exact types put
back on reading. Without torch the file has a header only. Written by hand so that reused buffers go
to disk without a copy.
"""

from __future__ import annotations

import base64
import collections
import json
import math
import os
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker import randomness
from worker.run import Run, copy_of

FORMAT = 1
LARGEST_HEADER = 64 << 20
MOST_TENSORS = 100_000
# safetensors' name of a type, and torch's
TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
}


class BadCheckpoint(Exception):
    """The checkpoint cannot be used."""


@dataclass
class Saved:
    """A checkpoint in memory: what is JSON, and the tensors that it refers to by name."""

    meta: dict[str, Any]
    tensors: dict[str, Any] = field(default_factory=dict)


# Trees to JSON and back


def to_json(value: Any, path: str, tensors: dict[str, Any]) -> Any:
    """The value as JSON; tensors go into `tensors` under their path."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        # repr of a float comes back bit for bit; what is not finite has no JSON
        return float(value) if math.isfinite(value) else {"f": repr(float(value))}
    if isinstance(value, bytes):
        return {"b": base64.b64encode(value).decode()}
    if isinstance(value, collections.Counter):
        return {"c": _pairs(value, path, tensors)}
    if isinstance(value, dict):
        return {"d": _pairs(value, path, tensors)}
    if isinstance(value, (list, tuple, collections.deque)):
        parts = [to_json(part, f"{path}.{n}", tensors) for n, part in enumerate(value)]
        return {"u" if isinstance(value, tuple) else "l": parts}
    return _leaf(value, path, tensors)


def _pairs(value: dict[Any, Any], path: str, tensors: dict[str, Any]) -> list[list[Any]]:
    return [
        [to_json(key, path, tensors), to_json(part, f"{path}.{key}", tensors)]
        for key, part in value.items()
    ]


def _leaf(value: Any, path: str, tensors: dict[str, Any]) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        while path in tensors:  # {"a.b": …} and {"a": {"b": …}} spell the same path
            path += "'"
        tensors[path] = value.detach()
        return {"t": path}
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return to_json(value.item(), path, tensors)  # a number of numpy's
    raise TypeError(f"{path}: a {type(value).__name__} cannot be kept in a checkpoint")


def from_json(node: Any, tensors: dict[str, Any]) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    match kind:
        case "t":
            return tensors[content]
        case "f":
            return float(content)
        case "b":
            return base64.b64decode(content)
        case "l":
            return [from_json(part, tensors) for part in content]
        case "u":
            return tuple(from_json(part, tensors) for part in content)
    pairs = {from_json(key, tensors): from_json(part, tensors) for key, part in content}
    return collections.Counter(pairs) if kind == "c" else pairs


# A run to a checkpoint and back


def _state_of(thing: Any) -> Any:
    return thing.state_dict() if hasattr(thing, "state_dict") else thing.get_state()


def _give_state(thing: Any, state: Any) -> None:
    if hasattr(thing, "load_state_dict"):
        thing.load_state_dict(state)
    else:
        thing.set_state(state)


class Snapshots:
    """Takes snapshots of one run into buffers that are kept for reuse, and writes them in a thread."""

    def __init__(self, run: Run, facts: dict[str, Any]) -> None:
        self._run = run
        self._facts = facts
        self._buffers: dict[str, Any] = {}
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Until the write in progress, if any, has ended."""
        if self._thread is not None:
            self._thread.join()

    def take(self, **facts: Any) -> Saved:
        """The run as it is now. Valid until the next `take`: the buffers are the same."""
        run = self._run
        best = None
        if run.best is not None:
            best = {
                "state": _state_of(run.best),
                "score": run.best_score,
                "step": run.best_step,
                "name": run.best_name,
            }
        whole = {
            "kept": {name: _state_of(thing) for name, thing in run.kept.items()},
            "state": run.state,
            "best": best,
            "offers_since_best": run.offers_since_best,
            "randomness": randomness.take(run.device),
        }
        found: dict[str, Any] = {}
        tree = to_json(whole, "run", found)
        meta = {**self._facts, **facts, "format": FORMAT, "step": run.step, "splits": run.splits}
        return Saved({**meta, "tree": tree}, self._copied(found))

    def _copied(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Copies in main memory. Reused buffers are ten times as fast as fresh ones."""
        torch = sys.modules.get("torch")
        copies = {}
        on_device = False
        for name, tensor in tensors.items():
            assert torch is not None
            buffer = self._buffers.get(name)
            if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                pinned = tensor.device.type == "cuda"
                buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
            buffer.copy_(tensor, non_blocking=True)
            on_device |= tensor.device.type == "cuda"
            copies[name] = buffer
        if on_device:
            assert torch is not None
            torch.cuda.synchronize(self._run.device)
        self._buffers = copies
        return copies

    def write_aside(self, saved: Saved, path: Path, then: Callable[[OSError | None], None]) -> None:
        """Writes in a thread and calls `then` in it, with the error if there was one."""

        def work() -> None:
            try:
                write(saved, path)
            except OSError as error:
                then(error)
            else:
                then(None)

        self._thread = threading.Thread(target=work, name="checkpoint", daemon=True)
        self._thread.start()


def restore(run: Run, saved: Saved) -> None:
    """Puts the run where the checkpoint was taken; the generators last."""
    try:
        whole = from_json(saved.meta["tree"], saved.tensors)
        if set(whole["kept"]) != set(run.kept):
            raise BadCheckpoint("the checkpoint holds other things than this training keeps")
        for name, state in whole["kept"].items():
            _give_state(run.kept[name], state)
        run.state.clear()
        run.state.update(whole["state"])
        if whole["best"] is not None:
            _restore_best(run, whole["best"])
        run.offers_since_best = whole.get("offers_since_best", 0)
        run.step = saved.meta["step"]
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise BadCheckpoint(f"the checkpoint does not fit this training: {error}") from error
    randomness.give_back(whole["randomness"], run.device)


def _restore_best(run: Run, best: dict[str, Any]) -> None:
    run.best = copy_of(run.kept[best["name"]])
    _give_state(run.best, best["state"])
    run.best_score, run.best_step, run.best_name = best["score"], best["step"], best["name"]


# The file


def write(saved: Saved, path: Path) -> None:
    """Writes under another name, syncs, renames: what has the name is whole."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(_header(saved))
            for tensor in saved.tensors.values():
                file.write(_bytes_of(tensor))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _header(saved: Saved) -> bytes:
    names = {torch_name: name for name, torch_name in TYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"atelier": json.dumps(saved.meta)}}
    offset = 0
    for name, tensor in saved.tensors.items():
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": names[str(tensor.dtype).removeprefix("torch.")],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return struct.pack("<Q", len(text)) + text


def _bytes_of(tensor: Any) -> memoryview:
    """The memory of a contiguous tensor in main memory, to be read or filled."""
    import torch

    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def read(path: Path) -> Saved:
    """Reads a checkpoint, checking every size before anything is allocated. Raises BadCheckpoint."""
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size)
    except OSError as error:
        raise BadCheckpoint(f"the checkpoint cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadCheckpoint(f"the checkpoint is damaged: {error}") from error


def _read(file: Any, size: int) -> Saved:
    start = file.read(8)
    if len(start) < 8:
        raise BadCheckpoint("the checkpoint is empty or cut short")
    (length,) = struct.unpack("<Q", start)
    if length > min(LARGEST_HEADER, size - 8):
        raise BadCheckpoint("the checkpoint's header is longer than the file or the limit")
    header = json.loads(file.read(length))
    meta = json.loads(header.pop("__metadata__")["atelier"])
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise BadCheckpoint("the checkpoint has another format")
    _check_ranges(header, size - 8 - length)
    tensors = {}
    for name, entry in sorted(header.items(), key=lambda pair: pair[1]["data_offsets"][0]):
        tensors[name] = _read_tensor(file, entry)
    return Saved(meta, tensors)


def _check_ranges(header: dict[str, Any], size: int) -> None:
    """Tensors lie side by side, fill the file, and are as long as their shapes say."""
    if len(header) > MOST_TENSORS:
        raise BadCheckpoint("the checkpoint has too many tensors")
    at = 0
    for entry in sorted(header.values(), key=lambda entry: entry["data_offsets"]):
        first, last = entry["data_offsets"]
        shape = entry["shape"]
        if any(not isinstance(length, int) or length < 0 for length in shape):
            raise BadCheckpoint("the checkpoint has an impossible shape")
        if first != at or last - first != math.prod(shape) * _width(entry["dtype"]):
            raise BadCheckpoint("the checkpoint's tensors do not fit their places")
        at = last
    if at != size:
        raise BadCheckpoint("the checkpoint is cut short or too long")


def _width(name: str) -> int:
    import torch

    dtype: Any = getattr(torch, TYPES[name])
    return int(dtype.itemsize)


def _read_tensor(file: Any, entry: dict[str, Any]) -> Any:
    import torch

    tensor = torch.empty(entry["shape"], dtype=getattr(torch, TYPES[entry["dtype"]]))
    memory = _bytes_of(tensor)
    if file.readinto(memory) != len(memory):
        raise BadCheckpoint("the checkpoint is cut short")
    return tensor
