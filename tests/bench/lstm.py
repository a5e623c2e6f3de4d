"""The family lstm on a text file: its validation loss, and its steps/s against a plain loop around nn.LSTM.

By the family's own defaults: characters, 2,000 steps of 32 x 64 tokens, first 90 % to learn from, last 10 % held out
(bar: 1.75 nats a character). The two loops take turns in one process, 25 steps each (bar: 0.95 of the plain one).
"""

from __future__ import annotations

import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

from tests.bench.lm_shakespeare import STEPS, learnt, text_arguments
from worker.data.texts import Texts
from worker.families import lstm
from worker.run import Run

MOST_NATS, LEAST_RATIO = 1.75, 0.95
TURN = 25


class Plain(nn.Module):
    def __init__(self, params, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, params.embedding_size)
        self.lstm = nn.LSTM(
            params.embedding_size, params.hidden_size, params.n_layer, batch_first=True
        )
        self.head = nn.Linear(params.hidden_size, vocabulary, bias=False)

    def forward(self, ids, state):
        x, state = self.lstm(self.embed(ids), state)
        return self.head(x), state


def plain_loop(params, text: str):
    """What anybody would write: streams side by side, the state carried on, the same optimizer and clipping."""
    alphabet = {c: n for n, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([alphabet[c] for c in text])
    ids = ids[: len(ids) // params.batch_size * params.batch_size].view(params.batch_size, -1)
    model = Plain(params, len(alphabet))
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=params.learning_rate,
        betas=(0.9, params.beta2),
        weight_decay=params.weight_decay,
        fused=True,
    )
    at, state = 0, None
    while True:
        if at + params.block_size >= ids.shape[1]:
            at, state = 0, None
        x = ids[:, at : at + params.block_size]
        y = ids[:, at + 1 : at + params.block_size + 1]
        logits, (h, c) = model(x, state)
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), params.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        at, state = at + params.block_size, (h.detach(), c.detach())
        yield loss


def turn(steps) -> float:
    """Steps a second over one turn."""
    began = time.perf_counter()
    for _ in range(TURN):
        next(steps)
    return TURN / (time.perf_counter() - began)


def main() -> None:
    parser = text_arguments()
    parser.add_argument("--turns", type=int, default=16)
    parser.add_argument("--only-speed", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    text = arguments.text.read_text()
    params = lstm.TrainParams(validation_fraction=0.0, steps=1_000_000)
    ours = lstm.train(params, Texts.from_text(text), Run(seed=arguments.seed))
    plain = plain_loop(params, text)
    turn(ours), turn(plain)
    pairs = [(turn(ours), turn(plain)) for _ in range(arguments.turns)]
    ratio = statistics.median(a / b for a, b in pairs)
    medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
    print(f"{medians[0]:.1f} steps/s, plain {medians[1]:.1f}; median ratio {ratio:.3f}")
    print("bar met" if ratio >= LEAST_RATIO else f"below the bar of {LEAST_RATIO}")
    if arguments.only_speed:
        return
    params = lstm.TrainParams(steps=STEPS, validate_every=500)
    loss = learnt(lstm, params, text, arguments.seed)
    print("bar met" if loss <= MOST_NATS else f"above the bar of {MOST_NATS} nats a character")
