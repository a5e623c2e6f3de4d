"""A tiny torch model that uses all that a run offers: dropout, scheduler, validation, micro-batches, previews."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from shared.params import Field, Params
from worker.data.texts import Windows
from worker.family import Family, Finished, Preview
from worker.nn.fields import patience

SLOTS = 4


class TrainParams(Params):
    steps: int = Field(30, ge=1, le=1_000_000, title="Steps", description="How many steps.")
    width: int = Field(16, ge=1, le=4096, title="Width", description="Hidden width.")
    hungry_above: int = Field(
        0, ge=0, le=1000, title="Hungry", description="More rows than this at a time are too many."
    )
    patience: int = patience()
    worse_after: int = Field(
        0, ge=0, le=1_000_000, title="Worse after", description="Later scores are worse; 0: not."
    )
    cosine_steps: int = Field(
        0, ge=0, le=1_000_000, title="Cosine", description="Length of the schedule; 0: as steps."
    )
    megabytes_a_row: int = Field(
        0,
        ge=0,
        le=1_000_000,
        title="Memory",
        description="Of the device, while a row is looked at.",
    )
    starving: bool = Field(False, title="Starving", description="Even one row is too much.")
    unsteady_from: int = Field(
        0, ge=0, le=1_000_000, title="Unsteady", description="The step of a chancy sum; 0: none."
    )
    leave_mode: bool = Field(False, title="Leave mode", description="Forget to leave no_grad.")


class GenerateParams(Params):
    count: int = Field(1, ge=1, le=100, title="Count", description="How many texts.")
    length: int = Field(8, ge=1, le=1000, title="Length", description="Numbers in each.")
    temperature: float = Field(1.0, ge=0.1, le=10, title="Temperature", description="Spread.")


class Model(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(width, 256)

    def forward(self, x):  # [B, T] -> [B, T, 256]
        hidden = self.norm(self.embed(x).transpose(1, 2)).transpose(1, 2)
        return self.head(self.drop(hidden))


def loss_of(model, x, y):
    return nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())


@torch.no_grad()
def validate(model, windows):
    model.eval()
    total, device = 0.0, model.head.weight.device
    for x, y in windows.in_order(8):
        total += loss_of(model, x.to(device), y.to(device)).item()
        yield None
    model.train()
    return total


def tokens_of(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def train(params, data, run):
    split = data.split(0.1, run.seed)
    windows = Windows(tokens_of(split.train.text), 8)
    held_out = Windows(tokens_of(split.validation.text), 8)
    model = run.keep("model", Model(params.width).to(run.device))
    optimizer = run.keep("optimizer", torch.optim.AdamW(model.parameters(), lr=1e-2))
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=5)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, params.cosine_steps or params.steps
    )
    scheduler = run.keep(
        "scheduler", torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, cosine], [5])
    )
    noise = run.keep("noise", torch.Generator().manual_seed(run.seed))
    for batch in run.batches(windows, 8, params.steps):
        optimizer.zero_grad()
        if 0 < params.unsteady_from <= run.step:
            torch.zeros(1).put_(torch.tensor([0]), torch.ones(1))  # which of many wins is chance
        for (x, y), share in run.parts(batch):
            if params.starving or params.hungry_above and len(x) > params.hungry_above:
                raise torch.OutOfMemoryError("out of memory")
            size = len(x) * params.megabytes_a_row << 20
            torch.empty(size, dtype=torch.uint8, device=run.device)
            loss = share * loss_of(model, x, y)
            loss.backward()
        for weights in model.parameters():
            drawn = torch.randn(weights.shape, generator=noise).to(run.device)
            weights.grad += 1e-3 * drawn
        optimizer.step()
        scheduler.step()
        before = run.state.get("average", torch.zeros(())).to(run.device)
        run.state["average"] = 0.9 * before + loss.detach()
        if params.leave_mode:
            torch.set_grad_enabled(False)
        if run.step % 10 == 0:
            score = yield from validate(model, held_out)
            worse = params.worse_after and run.step > params.worse_after
            run.offer(model, score + run.step if worse else score)
            yield {"validation": score}
        yield {"loss": loss}


def save(model, folder: Path) -> None:
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"width": model.head.in_features}))


def load(folder: Path, device) -> Model:
    model = Model(json.loads((folder / "config.json").read_text())["width"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.to(device).eval()


def describe(model) -> dict:
    return {"schema": {"length": {"maximum": 4}, "temperature": None}, "facts": {"width": 16}}


class Sampler:
    def __init__(self, model, params) -> None:
        self._model = model
        self._slots: dict = {}
        torch.randn(100)  # a rude family: the runner must protect the training from it

    def room(self) -> int:
        return SLOTS - len(self._slots)

    def admit(self, item) -> int:
        slot = min(set(range(SLOTS)) - set(self._slots))
        self._slots[slot] = (item, [item.seed % 256])
        return slot

    def step(self) -> list[Finished]:
        torch.rand(3)
        finished = []
        for slot, (item, numbers) in list(self._slots.items()):
            ids = torch.tensor([[numbers[-1]]], device=self._model.head.weight.device)
            logits = self._model(ids)
            numbers.append(int(logits[0, -1].argmax()))
            if len(numbers) > item.params.length:
                self.drop(slot)
                text = json.dumps(numbers).encode()
                finished.append(Finished(slot, text, "text/plain", "txt", {"tokens": len(numbers)}))
        return finished

    def peek(self, slot) -> Preview:
        return Preview(text=json.dumps(self._slots[slot][1]))

    def drop(self, slot) -> None:
        del self._slots[slot]


FAMILY = Family(
    name="tiny",
    version=1,
    title="Tiny",
    summary="For tests of the runner.",
    modality="text",
    dataset_kind="text",
    train=TrainParams,
    generate=GenerateParams,
    previews=({"length": 3}, {"length": 2, "count": 2}),
)
