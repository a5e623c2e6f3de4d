from __future__ import annotations

import collections
import json
import math
import random
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

from worker import checkpoints
from worker.checkpoints import BadCheckpoint, Snapshots, from_json, read, restore, to_json, write
from worker.run import Run


class Part:
    def batch(self, n, batch_size, seed):
        generator = torch.Generator().manual_seed(n)
        return torch.randn(batch_size, 4, generator=generator)


class Training:
    """A loop with all that can be kept; `next()` is one step, as in the runner."""

    def __init__(self, saved=None, seed=3):
        self.run = Run(seed=seed)
        if saved is not None:
            self.run.restore = lambda: restore(self.run, saved)
        self.generator = self.loop(self.run)

    def loop(self, run):
        self.model = run.keep(
            "model",
            nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 1)),
        )
        ema = run.keep("ema", torch.optim.swa_utils.AveragedModel(self.model))
        optimizer = run.keep("optimizer", torch.optim.AdamW(self.model.parameters(), lr=0.01))
        steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5, 5])
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
        run.keep("cosine", cosine)
        run.keep("steps", steps)
        noise = run.keep("noise", torch.Generator().manual_seed(9))
        for batch in run.batches(Part(), 8, 50):
            jitter = torch.randn(1, generator=noise) + random.random() + np.random.rand()
            loss = (self.model(batch) * jitter).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps.step()
            cosine.step()
            ema.update_parameters(self.model)
            run.state["average"] = 0.9 * run.state.get("average", 0.0) + loss.item()
            run.state["tensor"] = loss.detach()
            if run.step % 4 == 0:
                run.offer(ema, -run.step)
            yield loss.item()

    def steps(self, count):
        return [next(self.generator) for _ in range(count)]

    def weights(self):
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


def snapshot_after(steps):
    training = Training()
    losses = training.steps(steps)
    kept = []
    snapshots = Snapshots(training.run, {"family": "f"})
    training.run.at_top = lambda: (
        kept.append(snapshots.take()),
        setattr(training.run, "wanted", False),
    )
    training.run.wanted = True
    losses += training.steps(1)
    return training, kept[0], losses


def test_a_resumed_training_is_bit_for_bit_the_undisturbed_one(tmp_path):
    undisturbed = Training()
    losses = undisturbed.steps(20)
    _, saved, _ = snapshot_after(7)
    write(saved, tmp_path / "c.safetensors")
    resumed = Training(read(tmp_path / "c.safetensors"))
    assert resumed.steps(13) == losses[7:]
    assert resumed.weights().equal(undisturbed.weights())
    assert resumed.run.state["average"] == undisturbed.run.state["average"]
    for mine, theirs in zip(
        resumed.run.best.state_dict().values(),
        undisturbed.run.best.state_dict().values(),
        strict=True,
    ):
        assert mine.equal(theirs)
    assert resumed.run.best_step == undisturbed.run.best_step


def test_the_best_offer_survives_though_nothing_better_comes(tmp_path):
    training, saved, _ = snapshot_after(5)
    write(saved, tmp_path / "c")
    resumed = Training(read(tmp_path / "c"))
    resumed.steps(1)
    assert (resumed.run.best_step, resumed.run.best_score) == (4, -4)
    assert resumed.run.best.state_dict().keys() == training.run.best.state_dict().keys()


def test_taking_a_snapshot_changes_nothing():
    _, _, losses = snapshot_after(7)
    assert losses == Training().steps(8)


def test_buffers_are_reused():
    training = Training()
    training.steps(2)
    snapshots = Snapshots(training.run, {})
    first = {name: tensor.data_ptr() for name, tensor in snapshots.take().tensors.items()}
    training.steps(1)
    again = {name: tensor.data_ptr() for name, tensor in snapshots.take().tensors.items()}
    assert again == first


def test_a_write_aside_tells_when_it_is_done(tmp_path):
    training = Training()
    training.steps(1)
    snapshots = Snapshots(training.run, {})
    told = []
    snapshots.write_aside(snapshots.take(), tmp_path / "c", told.append)
    snapshots.wait()
    assert told == [None]
    assert read(tmp_path / "c").meta["step"] == 1
    snapshots.write_aside(snapshots.take(), tmp_path / "missing" / "c", told.append)
    snapshots.wait()
    assert isinstance(told[1], OSError)


def test_the_file_is_plain_safetensors(tmp_path):
    _, saved, _ = snapshot_after(2)
    write(saved, tmp_path / "c.safetensors")
    with safe_open(tmp_path / "c.safetensors", "pt") as file:
        assert set(file.keys()) == set(saved.tensors)
        for name in file.keys():
            assert file.get_tensor(name).equal(saved.tensors[name])
        assert json.loads(file.metadata()["atelier"])["step"] == 2


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=20)
)
keys = st.text() | st.integers() | st.booleans() | st.none() | st.tuples(st.integers(), st.text())
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner)
        | st.dictionaries(st.integers(), st.integers()).map(collections.Counter)
    ),
    max_leaves=20,
)


def types_of(value):
    if isinstance(value, dict):
        return type(value), [(types_of(k), types_of(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [types_of(part) for part in value]
    return type(value), repr(value)


@settings(max_examples=200)
@given(trees)
def test_any_tree_comes_back_with_its_types(tree):
    back = from_json(json.loads(json.dumps(to_json(tree, "t", {}))), {})
    assert back == tree
    assert types_of(back) == types_of(tree)


def test_numbers_that_are_not_finite_come_back():
    tree = [math.inf, -math.inf, math.nan, np.float64(0.1), np.int64(3), -0.0]
    back = from_json(json.loads(json.dumps(to_json(tree, "t", {}))), {})
    assert back[:2] == [math.inf, -math.inf]
    assert math.isnan(back[2])
    assert back[3:5] == [0.1, 3]
    assert math.copysign(1, back[5]) == -1


def test_tensors_of_every_type_and_shape_come_back(tmp_path):
    tensors = [
        torch.zeros(0, 3),
        torch.tensor(3.5),
        torch.arange(6).view(2, 3).t(),
        torch.randn(3).bfloat16(),
        torch.randn(3).half(),
        torch.tensor([True, False]),
        torch.randn(2, dtype=torch.complex64),
        torch.tensor([float("nan"), float("inf")], dtype=torch.float64),
        torch.arange(3, dtype=torch.uint8),
    ]
    # two paths with one spelling
    state = {"a.b": torch.tensor(1), "a": {"b": torch.tensor(2)}, "all": tensors}
    found = {}
    tree = to_json(state, "x", found)
    contiguous = {name: tensor.contiguous() for name, tensor in found.items()}
    saved = checkpoints.Saved({"format": checkpoints.FORMAT, "tree": tree}, contiguous)
    write(saved, tmp_path / "c")
    back = read(tmp_path / "c")
    state_back = from_json(back.meta["tree"], back.tensors)
    assert (state_back["a.b"], state_back["a"]["b"]) == (1, 2)
    for mine, theirs in zip(state_back["all"], tensors, strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        assert torch.equal(mine.nan_to_num(7), theirs.nan_to_num(7))


def test_what_cannot_be_kept_is_named():
    with pytest.raises(TypeError, match=r"run\.state\.f"):
        to_json({"f": lambda: 0}, "run.state", {})


def good_file(path):
    _, saved, _ = snapshot_after(1)
    write(saved, path)
    return path.read_bytes()


def with_header(data, change):
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def first_tensor(header):
    return next(entry for name, entry in sorted(header.items()) if name != "__metadata__")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: struct.pack("<Q", 1 << 62) + data[8:],
        lambda data: data[:8] + b"\xff" * 50 + data[58:],
        lambda data: with_header(data, lambda h: h.pop("__metadata__")),
        lambda data: with_header(data, lambda h: h["__metadata__"].update(atelier="[]")),
        lambda data: with_header(data, lambda h: h["__metadata__"].update(atelier='{"format":9}')),
        lambda data: with_header(data, lambda h: first_tensor(h).update(shape=[1 << 50])),
        lambda data: with_header(data, lambda h: first_tensor(h).update(shape=[-1])),
        lambda data: with_header(data, lambda h: first_tensor(h).update(shape=["x"])),
        lambda data: with_header(data, lambda h: first_tensor(h).update(dtype="EVIL")),
        lambda data: with_header(data, lambda h: first_tensor(h).update(data_offsets=[0, 1])),
        lambda data: with_header(data, lambda h: h.update(x=3)),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "c"
    path.write_bytes(damage(good_file(path)))
    with pytest.raises(BadCheckpoint):
        read(path)


def test_a_missing_file_is_a_bad_checkpoint(tmp_path):
    with pytest.raises(BadCheckpoint):
        read(tmp_path / "none")


def test_a_checkpoint_of_another_model_is_refused():
    _, saved, _ = snapshot_after(2)

    class Other(Training):
        def loop(self, run):
            run.keep("model", nn.Linear(3, 3))
            for _ in run.batches(Part(), 8, 5):
                yield 0

    with pytest.raises(BadCheckpoint):
        Other(saved).steps(1)


def test_a_state_of_another_shape_is_refused():
    _, saved, _ = snapshot_after(2)
    name = next(name for name in saved.tensors if name.endswith("model.0.weight"))
    saved.tensors[name] = torch.zeros(3, 3)
    with pytest.raises(BadCheckpoint):
        Training(saved).steps(1)
