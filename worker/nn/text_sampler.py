"""Continuous batching for text: rows join and leave between two tokens, each reads and writes at its own place.

The model offers `tokens`, `start`, `embed`, `extend(ids, past)` and `head`; what it remembers of a text is a row of
a Cache (past.py) where it attends, of States (states.py) where it recurs. A prompt is read in chunks into a small
memory of its own, then its row moves over to those that write. Every sum of a row is made in an order that
depends on that row alone (steady.py), so a text is the same alone and among strangers.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from shared.errors import BadData
from worker.family import Finished, Item, Preview
from worker.nn.next_token import NextToken
from worker.nn.past import Cache
from worker.nn.states import States
from worker.nn.steady import FEWEST_ROWS, agree, is_small, one_thread, steady
from worker.nn.tokens import GrowingText

MOST_ROWS = 32
READERS = 4  # prompts that are read side by side, a chunk a step
MEMORY_BYTES = 2**30

Memory = Cache | States


@dataclass
class Row:
    """One text being made."""

    slot: int
    params: Any
    seed: int
    window: list[int]  # the tokens that the model looks back on
    used: set[int]  # every token of prompt and result, for the repetition penalty
    text: GrowingText
    prompt_tokens: int
    made: int = 0
    read: int = 0  # how many of window's tokens are in the memory
    ended: bool = False  # at a stop text or the end of a document

    @property
    def unread(self) -> int:
        """Tokens to read before it can write; the window's last is the first writing step's input."""
        return len(self.window) - 1 - self.read


@dataclass
class Rows:
    """Rows and their places in a memory: row i of the list is row i there, without gaps."""

    memory: Any  # Cache or States
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row, source: Memory | None = None, source_row: int = 0) -> None:
        if source is not None:
            self.memory.copy_row(len(self.rows), source, source_row)
        self.rows.append(row)

    def remove(self, place: int) -> None:
        """The last row fills the gap."""
        last = self.rows.pop()
        if place < len(self.rows):
            self.memory.copy_row(place, self.memory, len(self.rows))
            self.rows[place] = last


class TextSampler:
    def __init__(self, model: Any, params: Any, memory: type[Memory] = Cache) -> None:
        self.small = is_small(model)
        with one_thread(self.small):  # the layout of packed weights may depend on the threads, too
            self.model = steady(model)
        self.tokens, self.block_size = model.tokens, memory.reach(model)
        self.chunk = memory.chunk(model)
        self.weight = model.embed.weight
        self.slots = max(FEWEST_ROWS, min(MOST_ROWS, MEMORY_BYTES // memory.row_bytes(model)))
        self.writing = Rows(memory(model, self.slots))
        self.reading = Rows(memory(model, min(READERS, self.slots)))
        self.waiting: deque[Row] = deque()
        self.next_slot = itertools.count()
        self.chooser: NextToken | None = None  # made anew when the writing rows change
        self.used: Tensor | None = None  # (rows, V), where a row has a repetition penalty
        self.fixed = False
        # where bits still depend on company, every pass takes all rows: slower, but always one shape
        with one_thread(self.small):
            self.fixed = not agree(self._probe, min(8, self.slots))

    # What the runner asks

    def room(self) -> int:
        return self.slots - len(self._all())

    def admit(self, item: Item) -> int:
        params = item.params
        foreign = self.tokens.foreign(params.prompt)
        if foreign:
            shown = ", ".join(f"{c!r}" for c in foreign[:10]) + (" …" if len(foreign) > 10 else "")
            raise BadData(f"The model does not know these characters of the prompt: {shown}.")
        prompt = self.tokens.encode(params.prompt).tolist() or [self.model.start]
        slot = next(self.next_slot)
        self.waiting.append(
            Row(
                slot=slot,
                params=params,
                seed=item.seed,
                window=prompt[-self.block_size :],
                used=set(prompt),
                text=GrowingText(params.stop),
                prompt_tokens=len(prompt),
            )
        )
        return slot

    def step(self) -> list[Finished]:
        """A chunk of up to READERS prompts, and one token of every row that writes."""
        with one_thread(self.small):
            self._read()
            return self._write()

    def peek(self, slot: int) -> Preview | None:
        row = next((row for row in self._all() if row.slot == slot), None)
        return None if row is None else Preview(text=self._shown(row, row.text.so_far()))

    def drop(self, slot: int) -> None:
        self.waiting = deque(row for row in self.waiting if row.slot != slot)
        for rows in (self.reading, self.writing):
            for place in reversed(range(len(rows.rows))):
                if rows.rows[place].slot == slot:
                    rows.remove(place)
        self.chooser = None

    # How it works

    def _all(self) -> list[Row]:
        return [*self.waiting, *self.reading.rows, *self.writing.rows]

    def _read(self) -> None:
        while self.waiting and len(self.reading.rows) < self.reading.memory.rows:
            self.reading.add(self.waiting.popleft())
        rows = self.reading.rows
        if any(row.unread for row in rows):
            chunks = [row.window[row.read : row.read + min(self.chunk, row.unread)] for row in rows]
            self._extend(self.reading.memory, chunks, [row.read for row in rows], self.chunk)
            for row, chunk in zip(rows, chunks, strict=True):
                row.read += len(chunk)
        for place in reversed(range(len(rows))):
            if not rows[place].unread:
                self.writing.add(rows[place], self.reading.memory, place)
                self.reading.remove(place)
                self.chooser = None

    def _write(self) -> list[Finished]:
        rows = self.writing.rows
        if not rows:
            return []
        logits = self._logits()
        sound = logits.isfinite().all(-1).tolist()
        chosen = self._choose(logits)
        finished = []
        for place in reversed(range(len(rows))):
            row = rows[place]
            if not sound[place]:
                error = BadData("The model's numbers are not finite; train it anew.")
                finished.append(Finished(row.slot, error=error))
            elif self._take(row, chosen[place]):
                finished.append(self._finished(row))
            elif len(row.window) > self.block_size:
                self._slide(row)
            else:
                continue
            self.writing.remove(place)
            self.chooser = None
        return finished

    def _logits(self) -> Tensor:  # (rows, V)
        rows = self.writing.rows
        last = [row.window[-1:] for row in rows]
        hidden = self._extend(self.writing.memory, last, [row.read for row in rows], 1)
        return self.model.head(hidden[:, 0])[: len(rows)]

    def _choose(self, logits: Tensor) -> list[int]:
        rows = self.writing.rows
        if self.chooser is None:  # rows have come or gone
            params, seeds = [row.params for row in rows], [row.seed for row in rows]
            self.chooser = NextToken(params, seeds, logits.device)
            self.used = self._used() if self.chooser.penalises else None
        if self.tokens.unknown is not None:
            logits[:, self.tokens.unknown] = -torch.inf  # stands for no character
        chosen = self.chooser(logits.nan_to_num(nan=0.0), self.used, [row.made for row in rows])
        if self.used is not None:
            self.used.scatter_(1, chosen[:, None], True)
        return chosen.tolist()

    def _used(self) -> Tensor:  # (rows, V)
        used = torch.zeros(len(self.writing.rows), self.tokens.size, dtype=torch.bool)
        for n, row in enumerate(self.writing.rows):
            used[n, list(row.used)] = True
        return used.to(self.weight.device)

    def _take(self, row: Row, token: int) -> bool:
        """Adds a token to the row; whether the text is complete."""
        row.made += 1
        row.read += 1
        row.used.add(token)
        row.window.append(token)
        row.text.add(self.tokens.pieces[token])
        row.ended = token == self.tokens.end or row.text.stopped
        return row.ended or row.made >= row.params.max_new_tokens

    def _slide(self, row: Row) -> None:
        """The context is full: the row goes on from its last half, read afresh."""
        row.window = row.window[-max(1, self.block_size // 2) :]
        row.read = 0
        self.waiting.appendleft(row)

    def _finished(self, row: Row) -> Finished:
        return Finished(
            row.slot,
            data=self._shown(row, row.text.whole()).encode(),
            media_type="text/plain; charset=utf-8",
            suffix="txt",
            metrics={
                "tokens": row.made,
                "prompt_tokens": row.prompt_tokens,
                "ended": float(row.ended),  # 1: at a stop text or the end of a document
            },
        )

    def _shown(self, row: Row, text: str) -> str:
        return row.params.prompt + text if row.params.include_prompt else text

    def _extend(
        self, memory: Any, chunks: Sequence[Sequence[int]], starts: Sequence[int], tokens: int
    ) -> Tensor:
        """One pass over the leading rows of a memory, padded to steady shapes. (B, tokens, C)"""
        width = memory.rows if self.fixed else max(FEWEST_ROWS, len(chunks))
        ids = torch.zeros(width, tokens, dtype=torch.int64)
        for n, chunk in enumerate(chunks):
            ids[n, : len(chunk)] = torch.tensor(chunk)
        padding = [0] * (width - len(chunks))
        lengths = [*map(len, chunks), *padding]
        past = memory.past([*starts, *padding], lengths, tokens, self.fixed)
        return self.model.extend(ids.to(self.weight.device), past)

    def _probe(self, indices: Sequence[int]) -> Tensor:
        """Logits after made-up prompts, one for each index, read and continued together."""
        for n in indices:
            length = 2 + 37 * n % min(self.block_size - 1, 2 * self.chunk)
            window = [(31 * n + 17 * at + at * at) % self.tokens.size for at in range(length)]
            self.waiting.append(Row(n, None, 0, window, set(), GrowingText([]), length))
        while self.waiting or self.reading.rows:
            self._read()
        places = {row.slot: place for place, row in enumerate(self.writing.rows)}
        logits = self._logits()[[places[n] for n in indices]]
        self.writing.rows.clear()
        return logits
