"""A recurrent language model: it reads the text of a dataset token by token and learns to go on in that manner.

Long short-term memory (Hochreiter & Schmidhuber 1997) or gated recurrent units (Cho et al. 2014, arXiv:1406.1078),
dropout on all but the recurrent connections (Zaremba et al. 2014, arXiv:1409.2329), optionally one matrix for reading
and predicting (Press & Wolf 2017, arXiv:1608.05859). Learnt by truncated back-propagation through time (Williams &
Peng 1990): each row of a batch follows the text, and its state goes on from step to step.

Use it for small texts and for long ones to be written cheaply: a token costs the same however much came before, and
nothing ever falls out of a window. transformer_lm learns more from a large text. The held-out loss is in nats per
character, comparable with that family's; the training loss is per token, which for characters is the same.
An empty prompt starts a new document.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_model
from torch import Tensor, nn

from shared.params import Field, Params
from worker.data.texts import Streams
from worker.family import Family
from worker.nn.fields import number, paces, patience
from worker.nn.hub_folder import save_tied
from worker.nn.language import first_token, make_optimizer, make_tokens
from worker.nn.linear import Linear
from worker.nn.schedule import warm_cosine
from worker.nn.states import Reading, States
from worker.nn.text_params import TextParams
from worker.nn.text_sampler import TextSampler
from worker.nn.tokens import Tokens

LONGEST_VALIDATION = 2**18  # held-out tokens that are read each time
# tokens that a row reads there at least, so that its empty beginning weighs little
VALIDATION_STREAM = 1024
VALIDATION_ROWS = 32


class TrainParams(Params):
    steps: int = number(2000, 1, 1_000_000, "Steps", "How many optimizer steps to make.")
    batch_size: int = number(
        32, 1, 4096, "Batch size", "Rows that follow the text side by side, each with its state."
    )
    block_size: int = number(
        64, 8, 8192, "Passage", "Tokens of one step; errors are traced back so far.", unit="tokens"
    )
    tokenizer: Literal["characters", "bpe"] = Field(
        "characters",
        title="Tokens",
        description="Single characters, or byte-level BPE pieces learnt from the text.",
    )
    vocab_size: int = number(
        4096, 300, 65_536, "Vocabulary", "BPE pieces to learn at most; characters take what occurs."
    )
    cell: Literal["lstm", "gru"] = Field(
        "lstm",
        title="Cell",
        description="Long short-term memory, or gated recurrent units, which have a quarter less weights.",
    )
    n_layer: int = number(1, 1, 8, "Layers", "How many recurrent layers are stacked.")
    hidden_size: int = number(256, 16, 4096, "Hidden size", "Numbers in the state of a layer.")
    embedding_size: int = number(
        128, 16, 4096, "Embedding size", "Size of the vector that stands for a token."
    )
    dropout: float = number(
        0.0, 0.0, 0.9, "Dropout", "Share zeroed of what enters and leaves layers; for small data."
    )
    tie_embeddings: bool = Field(
        False,
        title="Tied embeddings",
        description="Use one matrix for reading and for predicting tokens; good for BPE.",
        json_schema_extra={"x-advanced": True},
    )
    learning_rate: float = number(
        5e-3, 1e-6, 0.1, "Learning rate", "The greatest step size; lower it for larger models."
    )
    warmup_steps: int = number(
        100, 0, 100_000, "Warm-up", "Steps of rising rate, at most a tenth of all.", advanced=True
    )
    min_learning_rate: float = number(
        0.03, 0.0, 1.0, "Final rate", "Part of the rate that the cosine ends at.", advanced=True
    )
    weight_decay: float = number(
        0.01, 0.0, 1.0, "Weight decay", "Pull of the matrices towards zero.", advanced=True
    )
    beta2: float = number(
        0.99, 0.8, 0.9999, "Beta 2", "How long AdamW remembers squared gradients.", advanced=True
    )
    grad_clip: float = number(
        1.0, 0.0, 100.0, "Gradient clipping", "Greatest gradient norm; 0: no limit.", advanced=True
    )
    validation_fraction: float = number(
        0.1, 0.0, 0.5, "Held-out share", "Share of the text kept aside to measure on; 0: none."
    )
    validate_every: int = number(
        250, 1, 1_000_000, "Validate every", "Steps between two measurements.", unit="steps"
    )
    patience: int = patience()


GenerateParams = TextParams


# The model


CELLS: dict[str, type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """Tokens and a memory to logits and the next memory, which of an LSTM has two parts (h, c), of a GRU one."""

    tokens: Tokens

    def __init__(
        self,
        vocab_size: int,
        cell: str,
        n_layer: int,
        hidden_size: int,
        embedding_size: int,
        tie_embeddings: bool = False,
        dropout: float = 0.0,
        start: int = 0,
    ):
        super().__init__()
        self.config: dict[str, Any] = {"vocab_size": vocab_size, "cell": cell, "n_layer": n_layer}
        self.config |= {"hidden_size": hidden_size, "embedding_size": embedding_size}
        self.config |= {"tie_embeddings": tie_embeddings, "dropout": dropout, "start": start}
        self.embed = nn.Embedding(vocab_size, embedding_size)
        nn.init.normal_(self.embed.weight, std=0.1)
        self.dropout = nn.Dropout(dropout)
        # layer by layer, not one stack: cuDNN's own dropout has a generator that no checkpoint holds
        sizes = [embedding_size] + [hidden_size] * n_layer
        self.layers = nn.ModuleList(
            CELLS[cell](sizes[n], hidden_size, batch_first=True) for n in range(n_layer)
        )
        projected = tie_embeddings and hidden_size != embedding_size
        self.project = (
            Linear(hidden_size, embedding_size, bias=False) if projected else nn.Identity()
        )
        last = embedding_size if tie_embeddings else hidden_size
        # oneDNN's product is the faster for many kinds of token, torch's own for few
        kind = Linear if vocab_size >= 512 else nn.Linear
        self.head = kind(last, vocab_size, bias=False)
        if tie_embeddings:
            self.head.weight = self.embed.weight

    @property
    def state_shape(self) -> tuple[int, int, int]:
        parts = 2 if self.config["cell"] == "lstm" else 1
        return self.config["n_layer"], parts, self.config["hidden_size"]

    def blank(self, rows: int) -> Tensor:
        """The memory of who has read nothing."""
        return self.embed.weight.new_zeros(rows, *self.state_shape)

    def forward(self, ids: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:  # ids (B, T)
        x = self.dropout(self.embed(ids))
        states = []
        for layer, before in zip(self.layers, memory.permute(1, 2, 0, 3).contiguous(), strict=True):
            # before (parts, B, H); torch's layers take (1, B, H), of an LSTM two
            x, after = layer(x, before.split(1) if len(before) == 2 else before)
            x = self.dropout(x)
            states.append(torch.cat(after) if len(before) == 2 else after)
        logits = self.head(self.project(x))
        return logits, torch.stack(states).permute(2, 0, 1, 3)  # (B, T, V), (B, layers, parts, H)


# Training


def train(params: TrainParams, data, run):
    split = data.split(params.validation_fraction, run.seed)
    tokens = make_tokens(params, data, split)
    training = tokens.encode_all(split.train.documents)
    streams = Streams(torch.from_numpy(training), params.block_size)
    held_out, nats_scale = held_out_streams(tokens, split.validation.documents)
    start = first_token(tokens, training, len(data.documents))
    model = run.keep("model", make_model(params, tokens, start).to(run.device))
    optimizer = run.keep("optimizer", make_optimizer(model, params))
    run.log(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {tokens.size:,} kinds of token, "
        f"{len(training):,} tokens of training text"
    )
    run.state["memory"] = model.blank(params.batch_size)
    for x, y, goes_on in run.batches(streams, params.batch_size, params.steps):
        warmup = min(params.warmup_steps, params.steps // 10)
        rate = params.learning_rate * warm_cosine(
            run.step, params.steps, warmup, params.min_learning_rate
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        memory = run.state["memory"].to(run.device) * goes_on[:, None, None, None]
        total, after = torch.zeros((), device=run.device), []
        for (part_x, part_y, before), share in run.parts((x, y, memory)):
            logits, state = model(part_x, before)
            loss = share * F.cross_entropy(logits.flatten(0, 1), part_y.flatten())
            loss.backward()
            total += loss.detach()
            after.append(state.detach())
        run.state["memory"] = torch.cat(after)
        norm = nn.utils.clip_grad_norm_(model.parameters(), params.grad_clip or math.inf)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        metrics = {"loss": total, "learning_rate": rate, "grad_norm": norm}
        if held_out and (run.step % params.validate_every == 0 or run.step == run.total):
            score = yield from validate(model, held_out, params.block_size, run.device)
            metrics["validation_loss"] = score * nats_scale
            metrics["validation_bits_per_character"] = score * nats_scale / math.log(2)
            metrics["validation_loss_per_token"] = score
            run.offer(model, score * nats_scale)
        yield metrics


def make_model(params: TrainParams, tokens: Tokens, start: int) -> Recurrent:
    chosen = params.model_dump(
        include={"cell", "n_layer", "hidden_size", "embedding_size", "tie_embeddings", "dropout"}
    )
    model = Recurrent(tokens.size, start=start, **chosen)
    model.tokens = tokens
    return model


def held_out_streams(tokens: Tokens, documents: list[str]):
    """What to measure on, or None, and what turns nats per token into nats per character."""
    if not documents:
        return None, 1.0
    row = tokens.encode_all(documents)
    tokens_per_character = len(row) / sum(map(len, documents))
    return Streams(torch.from_numpy(row[:LONGEST_VALIDATION]), 1), tokens_per_character


@torch.no_grad()
def validate(model: Recurrent, streams: Streams, length: int, device):
    """Nats per token of the held-out text, read on and on; lends the device between two passages."""
    model.eval()
    rows = max(1, min(VALIDATION_ROWS, len(streams.tokens) // VALIDATION_STREAM))
    memory = model.blank(rows)
    total, count = torch.zeros((), dtype=torch.float64, device=device), 0
    for x, y in streams.in_order(rows, length):
        logits, memory = model(x.to(device), memory)
        total += F.cross_entropy(logits.flatten(0, 1), y.to(device).flatten(), reduction="sum")
        count += y.numel()
        yield None
    model.train()
    return total.item() / count


# Writing: the same cells as plain products, token by token, whose rows do not depend on their company


class Writer(nn.Module):
    """The model as text_sampler.py wants it; shares its weights."""

    def __init__(self, model: Recurrent):
        super().__init__()
        self.tokens, self.start = model.tokens, model.config["start"]
        self.state_shape = model.state_shape
        self.embed, self.project, self.head = model.embed, model.project, model.head
        layers = list(model.layers)
        self.inputs = nn.ModuleList(linear(x.weight_ih_l0, x.bias_ih_l0) for x in layers)
        self.recurrent = nn.ModuleList(linear(x.weight_hh_l0, x.bias_hh_l0) for x in layers)
        self.cell = lstm_cell if model.config["cell"] == "lstm" else gru_cell

    def extend(self, ids: Tensor, past: Reading) -> Tensor:  # (B, T) -> (B, T, C)
        x = self.embed(ids)
        for n, (inputs, recurrent) in enumerate(zip(self.inputs, self.recurrent, strict=True)):
            given, state, outputs = inputs(x), past.state(n), []
            for t in range(past.longest):
                new = self.cell(given[:, t], recurrent(state[0]), state)
                state = torch.where(past.reads[t], new, state)
                outputs.append(state[0])
            past.keep(n, state)
            x = torch.stack(outputs, dim=1)
        return self.project(x)


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A layer of these very weights; none are drawn for it."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    return layer


def lstm_cell(given: Tensor, recalled: Tensor, state: Tensor) -> Tensor:  # (B, 4H), (2, B, H)
    i, f, g, o = (given + recalled).chunk(4, dim=-1)  # torch's order
    c = sigmoid(f) * state[1] + sigmoid(i) * torch.tanh(g)
    return torch.stack([sigmoid(o) * torch.tanh(c), c])


def gru_cell(given: Tensor, recalled: Tensor, state: Tensor) -> Tensor:  # (B, 3H), (1, B, H)
    (r, z, n), (hr, hz, hn) = given.chunk(3, dim=-1), recalled.chunk(3, dim=-1)
    z = sigmoid(z + hz)
    return (1 - z) * torch.tanh(n + sigmoid(r + hr) * hn) + z * state


def sigmoid(x: Tensor) -> Tensor:
    """By way of tanh: torch's own has other last bits at the end of a tensor than in its midst."""
    return torch.tanh(x * 0.5) * 0.5 + 0.5


def Sampler(model: Recurrent, params: TextParams) -> TextSampler:
    return TextSampler(Writer(model), params, memory=States)


# On disk: the layout of huggingface_hub's PyTorchModelHubMixin, and a tokenizer that transformers opens

CARD = """---
library_name: pytorch
pipeline_tag: text-generation
tags: [{cell}, recurrent, text-generation]
---
A recurrent language model: {n_layer} layer(s) of {hidden_size} {cell} cells. With the Python package `atelier`:

```python
import huggingface_hub, torch, transformers
from worker.families.lstm import Recurrent

class Model(Recurrent, huggingface_hub.PyTorchModelHubMixin): ...

folder = "folder with this file"
model = Model.from_pretrained(folder).eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
ids = torch.tensor([tokenizer("Some text").input_ids])
logits, memory = model(ids, model.blank(1))  # give the memory back with what follows
```
"""


def save(model: Recurrent, folder: Path) -> None:
    config = json.dumps(model.config, indent=2, sort_keys=True)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8")
    (folder / "README.md").write_text(CARD.format(**model.config), encoding="utf-8")
    model.tokens.save(folder, longest=10**30)  # transformers' word for "no limit"
    save_tied(model, folder / "model.safetensors")


def load(folder: Path, device) -> Recurrent:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Recurrent(**config)
    model.tokens = Tokens.load(folder)
    load_model(model, folder / "model.safetensors")
    return model.to(device).eval()


def describe(model: Recurrent) -> dict[str, Any]:
    facts = {n: model.config[n] for n in ("cell", "n_layer", "hidden_size", "embedding_size")}
    facts |= {
        "parameters": sum(p.numel() for p in model.parameters()),
        "vocabulary": model.config["vocab_size"],
        "tokenizer": model.tokens.kind,
    }
    return {"schema": {"top_k": {"maximum": model.config["vocab_size"]}}, "facts": facts}


VOCABULARY = "(vocab_size if tokenizer == 'bpe' else 100)"
WIDTH = "(embedding_size if tie_embeddings else hidden_size)"  # of what the logits are made from
RECURRENT = "(4 if cell == 'lstm' else 3) * hidden_size * (embedding_size + (2 * n_layer - 1) * hidden_size)"
WEIGHTS = f"({RECURRENT} + {WIDTH} * ({VOCABULARY} + (hidden_size if tie_embeddings else 0)))"

FAMILY = Family(
    name="lstm",
    version=1,
    title="Recurrent language model",
    summary="An LSTM or GRU that reads your text token by token and writes on; cheap and never out of context.",
    modality="text",
    dataset_kind="text",
    train=TrainParams,
    generate=GenerateParams,
    train_example={"steps": 600},
    generate_example={"prompt": "The ", "max_new_tokens": 200, "temperature": 0.8},
    train_presets=paces({"steps": 600}, {"steps": 8000}),
    accepts=(("characters >= 2000", "needs at least 2,000 characters of text"),),
    train_rules=(
        (
            "block_size < characters * (1 - validation_fraction)",
            "block_size",
            "is longer than the text to learn from; take shorter passages or more text",
        ),
    ),
    train_cost={
        # forward and backward: 6 a weight and token
        "flops": f"steps * batch_size * block_size * 6 * {WEIGHTS}",
        # weights, gradients and AdamW's two moments; then what the backward pass needs
        "bytes": f"16 * ({WEIGHTS} + embedding_size * {VOCABULARY})"
        f" + 4 * batch_size * block_size * (12 * n_layer * hidden_size + 3 * {VOCABULARY})",
    },
    generate_cost={
        "flops": "count * (max_new_tokens + len(prompt)) * 2 * parameters",
        "bytes": "8 * parameters + 4096 * n_layer * hidden_size",
    },
    previews=({"max_new_tokens": 200, "count": 2},),
)
