"""A GPT-style language model: it learns the text of a dataset and continues prompts in that manner.

A decoder-only transformer (Vaswani et al. 2017, arXiv:1706.03762) with rotary positions (RoFormer, Su et al.
2021, arXiv:2104.09864), RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467) and SwiGLU (Shazeer 2020,
arXiv:2002.05202): the Llama architecture, so transformers opens the saved folder as LlamaForCausalLM.

Use it for prose, poems, code or any other text. Character tokens suit small data and small alphabets;
byte-level BPE sees further with the same context and suits a megabyte or more. The held-out loss is in nats per
character, so that the two compare; the training loss is per token, which for characters is the same.

An empty prompt starts a new document. Where a text outgrows the context, the model goes on from its last half,
so only max_new_tokens bounds the length.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from shared.params import Field, Params
from worker.data.texts import Windows
from worker.family import Family
from worker.nn.fields import number, paces, patience
from worker.nn.language import first_token, make_optimizer, make_tokens
from worker.nn.linear import Linear
from worker.nn.llama import llama_weights, save_llama
from worker.nn.past import Past, whole_chunks
from worker.nn.schedule import warm_cosine
from worker.nn.text_params import TextParams
from worker.nn.text_sampler import TextSampler
from worker.nn.tokens import Tokens

EPSILON = 1e-5  # of the norms
THETA = 10_000.0  # the longest wavelength of the rotary positions
LONGEST_VALIDATION = 2**18  # held-out tokens that are read each time


class TrainParams(Params):
    steps: int = number(2000, 1, 1_000_000, "Steps", "How many optimizer steps to make.")
    batch_size: int = number(12, 1, 4096, "Batch size", "Passages of text in one step.")
    block_size: int = number(
        64, 8, 8192, "Context length", "How many tokens the model looks back on.", unit="tokens"
    )
    tokenizer: Literal["characters", "bpe"] = Field(
        "characters",
        title="Tokens",
        description="Single characters, or byte-level BPE pieces learnt from the text.",
    )
    vocab_size: int = number(
        4096, 300, 65_536, "Vocabulary", "BPE pieces to learn at most; characters take what occurs."
    )
    n_layer: int = number(4, 1, 48, "Layers", "How many transformer blocks are stacked.")
    n_head: int = number(4, 1, 64, "Heads", "Attention heads in each block.")
    n_embd: int = number(128, 16, 4096, "Width", "Size of the vector that stands for a token.")
    dropout: float = number(
        0.0, 0.0, 0.9, "Dropout", "Share of activations zeroed; helps where data is read often."
    )
    learning_rate: float = number(
        3e-3, 1e-6, 0.1, "Learning rate", "The greatest step size; lower it for wider models."
    )
    warmup_steps: int = number(
        100, 0, 100_000, "Warm-up", "Steps of rising rate, at most a tenth of all.", advanced=True
    )
    min_learning_rate: float = number(
        0.03, 0.0, 1.0, "Final rate", "Part of the rate that the cosine ends at.", advanced=True
    )
    weight_decay: float = number(
        0.1, 0.0, 1.0, "Weight decay", "Pull of the matrices towards zero.", advanced=True
    )
    beta2: float = number(
        0.99, 0.8, 0.9999, "Beta 2", "How long AdamW remembers squared gradients.", advanced=True
    )
    grad_clip: float = number(
        1.0, 0.0, 100.0, "Gradient clipping", "Greatest gradient norm; 0: no limit.", advanced=True
    )
    tie_embeddings: bool = Field(
        True,
        title="Tied embeddings",
        description="Use one matrix for reading and for predicting tokens.",
        json_schema_extra={"x-advanced": True},
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


@dataclass(frozen=True)
class Shape:
    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    tied: bool = True
    dropout: float = 0.0

    @property
    def hidden(self) -> int:  # 8/3 of the width: SwiGLU's three matrices then equal GELU's two
        return 32 * math.ceil(self.n_embd * 8 / 3 / 32)

    @property
    def head_size(self) -> int:
        return self.n_embd // self.n_head


Rope = tuple[Tensor, Tensor]  # cosines and sines, (..., T, D/2)
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # q, k, v (B, H, T, D) -> (B, H, T, D)


def rotate(x: Tensor, rope: Rope) -> Tensor:  # (B, H, T, D)
    cos, sin = rope
    a, b = x.chunk(2, dim=-1)  # Llama's pairing: first half with second half
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Attention(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.n_head = shape.n_head
        self.qkv = Linear(shape.n_embd, 3 * shape.n_embd, bias=False)
        self.out = Linear(shape.n_embd, shape.n_embd, bias=False)

    def forward(self, x: Tensor, rope: Rope, attend: Attend) -> Tensor:
        B, T, C = x.shape
        heads = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        y = attend(rotate(q, rope), rotate(k, rope), v)
        return self.out(y.transpose(1, 2).reshape(B, T, C))


class FeedForward(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.gate_up = Linear(shape.n_embd, 2 * shape.hidden, bias=False)
        self.down = Linear(shape.hidden, shape.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.norm1 = nn.RMSNorm(shape.n_embd, EPSILON)
        self.attention = Attention(shape)
        self.norm2 = nn.RMSNorm(shape.n_embd, EPSILON)
        self.feed_forward = FeedForward(shape)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, rope: Rope, attend: Attend) -> Tensor:  # (B, T, C)
        x = x + self.dropout(self.attention(self.norm1(x), rope, attend))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class Transformer(nn.Module):
    def __init__(self, shape: Shape, tokens: Tokens, start: int):
        super().__init__()
        self.shape, self.tokens, self.start = shape, tokens, start
        self.embed = nn.Embedding(shape.vocab_size, shape.n_embd)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.norm = nn.RMSNorm(shape.n_embd, EPSILON)
        self.head = Linear(shape.n_embd, shape.vocab_size, bias=False)
        if shape.tied:
            self.head.weight = self.embed.weight
        frequencies = THETA ** -(torch.arange(0, shape.head_size, 2) / shape.head_size)
        # whole chunks: a prompt's last chunk is read with padding behind it
        angles = torch.outer(torch.arange(whole_chunks(shape.block_size)), frequencies)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.initialise()

    def initialise(self) -> None:
        for name, weight in self.named_parameters():
            if weight.dim() < 2:
                continue
            # what is added to the residual stream shrinks with depth (Radford et al. 2019)
            last = name.endswith(("out.weight", "down.weight"))
            deviation = 0.02 / math.sqrt(2 * self.shape.n_layer) if last else 0.02
            nn.init.normal_(weight, std=deviation)

    def forward(self, ids: Tensor) -> Tensor:  # (B, T) -> logits (B, T, V)
        T = ids.shape[1]
        dropout = self.shape.dropout if self.training else 0.0
        causal = partial(F.scaled_dot_product_attention, dropout_p=dropout, is_causal=True)
        x = self.dropout(self.embed(ids))
        for block in self.blocks:
            x = block(x, (self.cos[:T], self.sin[:T]), causal)
        return self.head(self.norm(x))

    def extend(self, ids: Tensor, past: Past) -> Tensor:  # (B, T) -> (B, T, C)
        """The forward pass over tokens that follow what `past` remembers, and are added to it."""
        rope = self.cos[past.positions][:, None], self.sin[past.positions][:, None]
        x = self.embed(ids)
        for n, block in enumerate(self.blocks):
            x = block(x, rope, partial(past.attend, n))
        return self.norm(x)


# Training


def train(params: TrainParams, data, run):
    split = data.split(params.validation_fraction, run.seed)
    tokens = make_tokens(params, data, split)
    training = tokens.encode_all(split.train.documents)
    windows = Windows(torch.from_numpy(training), params.block_size)
    held_out, nats_scale = held_out_windows(tokens, split.validation.documents, params.block_size)
    start = first_token(tokens, training, len(data.documents))
    model = Transformer(shape_of(params, tokens.size), tokens, start)
    model = run.keep("model", model.to(run.device))
    optimizer = run.keep("optimizer", make_optimizer(model, params))
    run.log(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {tokens.size:,} kinds of token, "
        f"{len(training):,} tokens of training text"
    )
    for batch in run.batches(windows, params.batch_size, params.steps):
        warmup = min(params.warmup_steps, params.steps // 10)
        rate = params.learning_rate * warm_cosine(
            run.step, params.steps, warmup, params.min_learning_rate
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        total = torch.zeros((), device=run.device)
        for (x, y), share in run.parts(batch):
            loss = share * nats(model, x, y)
            loss.backward()
            total += loss.detach()
        norm = nn.utils.clip_grad_norm_(model.parameters(), params.grad_clip or math.inf)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        metrics = {"loss": total, "learning_rate": rate, "grad_norm": norm}
        if held_out and (run.step % params.validate_every == 0 or run.step == run.total):
            score = yield from validate(model, held_out, params.batch_size, run.device)
            metrics["validation_loss"] = score * nats_scale
            metrics["validation_bits_per_character"] = score * nats_scale / math.log(2)
            metrics["validation_loss_per_token"] = score
            run.offer(model, score * nats_scale)
        yield metrics


def shape_of(params: TrainParams, vocab_size: int) -> Shape:
    p = params
    sizes = (p.block_size, p.n_layer, p.n_head, p.n_embd)
    return Shape(vocab_size, *sizes, tied=p.tie_embeddings, dropout=p.dropout)


def held_out_windows(tokens: Tokens, documents: list[str], block_size: int):
    """The windows to measure on, or None, and what turns nats per token into nats per character."""
    if not documents:
        return None, 1.0
    row = tokens.encode_all(documents)
    tokens_per_character = len(row) / sum(map(len, documents))
    return Windows(torch.from_numpy(row[:LONGEST_VALIDATION]), block_size), tokens_per_character


def nats(model: Transformer, x: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
        logits = model(x)
    return F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction=reduction)


@torch.no_grad()
def validate(model: Transformer, windows: Windows, batch_size: int, device):
    """Nats per token over all held-out windows; lends the device between two batches."""
    model.eval()
    total, count = torch.zeros((), dtype=torch.float64, device=device), 0
    for x, y in windows.in_order(2 * batch_size):
        total += nats(model, x.to(device), y.to(device), reduction="sum")
        count += y.numel()
        yield None
    model.train()
    return total.item() / count


# On disk it is a Llama: what transformers opens


def save(model: Transformer, folder: Path) -> None:
    save_llama(model, folder, epsilon=EPSILON, theta=THETA)


def load(folder: Path, device) -> Transformer:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = Shape(
        vocab_size=config["vocab_size"],
        block_size=config["max_position_embeddings"],
        n_layer=config["num_hidden_layers"],
        n_head=config["num_attention_heads"],
        n_embd=config["hidden_size"],
        tied=config["tie_word_embeddings"],
    )
    model = Transformer(shape, Tokens.load(folder), config["bos_token_id"])
    stored = load_file(folder / "model.safetensors")
    for name, weight in llama_weights(model).items():
        weight.copy_(stored[name])  # parts of a fused matrix are views of it
    return model.to(device).eval()


def describe(model: Transformer) -> dict[str, Any]:
    shape = model.shape
    return {
        "schema": {
            "top_k": {"maximum": shape.vocab_size},
            "max_new_tokens": {"maximum": min(20_000, 32 * shape.block_size)},
        },
        "facts": {
            "parameters": sum(p.numel() for p in model.parameters()),
            "context_length": shape.block_size,
            "vocabulary": shape.vocab_size,
            "tokenizer": model.tokens.kind,
            "n_layer": shape.n_layer,
            "n_embd": shape.n_embd,
        },
    }


Sampler = TextSampler

WEIGHTS = "(12 * n_layer * n_embd ** 2 + n_embd * (vocab_size if tokenizer == 'bpe' else 100))"

FAMILY = Family(
    name="transformer_lm",
    version=1,
    title="Language model",
    summary="Learns to write like your text, from characters or BPE tokens, and continues prompts.",
    modality="text",
    dataset_kind="text",
    train=TrainParams,
    generate=GenerateParams,
    train_example={"steps": 1000, "validate_every": 250},
    generate_example={"prompt": "The ", "max_new_tokens": 200, "temperature": 0.8},
    train_presets=paces({"steps": 1000, "validate_every": 250}, {"steps": 8000}),
    accepts=(("characters >= 2000", "needs at least 2,000 characters of text"),),
    train_rules=(
        ("n_embd % (2 * n_head) == 0", "n_embd", "must be a multiple of twice n_head"),
        (
            "block_size < characters * (validation_fraction if validation_fraction > 0 else 1)",
            "block_size",
            "is longer than the text held out; take less context, more text or a greater held-out share",
        ),
    ),
    train_cost={
        # forward and backward: 6 a weight and token, 6 a layer, token, width and token looked back on
        "flops": f"steps * batch_size * block_size * 6 * ({WEIGHTS} + n_layer * n_embd * block_size)",
        # weights, gradients and AdamW's two moments; then what the backward pass needs
        "bytes": f"16 * {WEIGHTS} + 4 * batch_size * block_size * (24 * n_layer * n_embd"
        " + 3 * (vocab_size if tokenizer == 'bpe' else 100))",
    },
    generate_cost={
        "flops": "count * (max_new_tokens + context_length) * 2 * parameters",
        "steps": "ceil(count / 32) * max_new_tokens",
        "bytes": "8 * parameters + 8 * min(count, 32) * n_layer * n_embd * context_length",
    },
    previews=({"max_new_tokens": 200, "count": 2},),
)
