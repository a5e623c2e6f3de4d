"""A packed text dataset as a family sees it: documents, a split, and windows or streams of tokens.

A family encodes text to tokens itself. No torch at import.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import BadData
from worker.data.packed import packed_items
from worker.seeds import derive_seed

if TYPE_CHECKING:
    import torch

NEW_BEGINNINGS = 1 / 32  # share of the passages of a stream that are read as if nothing came before


@dataclass
class TextPart:
    """One side of a split."""

    documents: list[str]

    @cached_property
    def text(self) -> str:
        """All documents, an empty line between them."""
        return "\n\n".join(self.documents)

    def batch(self, n: int, batch_size: int, seed: int) -> list[str]:
        """`batch_size` documents, drawn by (seed, n) alone."""
        if not self.documents:
            raise BadData("There is too little text to train on.")
        return [
            self.documents[derive_seed(seed, n, row) % len(self.documents)]
            for row in range(batch_size)
        ]


@dataclass
class TextSplit:
    train: TextPart
    validation: TextPart


@dataclass
class Texts:
    documents: list[str]
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_folder(cls, folder: Path, facts: dict[str, Any] | None = None) -> Texts:
        """Reads `manifest.jsonl` and `data.bin`."""
        documents = [data.decode("utf-8") for _, data in packed_items(folder)]
        if not documents:
            raise BadData("The dataset has no text.")
        return cls(documents, dict(facts or {}))

    @classmethod
    def from_text(cls, *documents: str) -> Texts:
        return cls(list(documents))

    def split(self, validation_fraction: float, seed: int) -> TextSplit:
        """One document: its end is held out. Many: whole documents, chosen by (seed, number)."""
        if validation_fraction <= 0:
            return TextSplit(TextPart(self.documents), TextPart([]))
        if len(self.documents) < 20:
            return self._split_ends(validation_fraction)
        held = round(len(self.documents) * validation_fraction)
        held = min(max(1, held), len(self.documents) - 1)
        order = sorted(range(len(self.documents)), key=lambda n: derive_seed(seed, "document", n))
        chosen = set(order[:held])
        sides: tuple[list[str], list[str]] = ([], [])
        for n, document in enumerate(self.documents):
            sides[n in chosen].append(document)
        return TextSplit(TextPart(sides[0]), TextPart(sides[1]))

    def _split_ends(self, fraction: float) -> TextSplit:
        """Few documents: the last part of each, so that both sides see all of them."""
        cuts = [int(len(document) * (1 - fraction)) for document in self.documents]
        pairs = list(zip(self.documents, cuts, strict=True))
        heads = [document[:cut] for document, cut in pairs if cut]
        tails = [document[cut:] for document, cut in pairs if document[cut:]]
        return TextSplit(TextPart(heads), TextPart(tails))


class Windows:
    """Tokens as training windows: x is `block_size` tokens, y the same one further on."""

    def __init__(self, tokens: torch.Tensor, block_size: int) -> None:
        """`tokens` is one long vector, int64 or smaller."""
        if tokens.dim() != 1 or len(tokens) < block_size + 1:
            raise BadData(
                f"The text has {tokens.numel():,} tokens; windows of {block_size} need "
                f"at least {block_size + 1:,}. Use more text or a smaller context."
            )
        self.tokens = tokens
        self.block_size = block_size

    def batch(self, n: int, batch_size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Windows (x, y), each [B, T] int64, at places drawn by (seed, n) alone."""
        import torch

        generator = torch.Generator().manual_seed(derive_seed(seed, "windows", n))
        last = len(self.tokens) - self.block_size
        starts = torch.randint(last, (batch_size,), generator=generator)
        # [B, T+1]: one gather, then two views of it
        rows = self.tokens[starts[:, None] + torch.arange(self.block_size + 1)].long()
        return rows[:, :-1], rows[:, 1:]

    def in_order(self, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Every full window once, side by side, for validation; the last batch may be short."""
        count = (len(self.tokens) - 1) // self.block_size
        used = count * self.block_size
        x = self.tokens[:used].view(count, self.block_size)
        y = self.tokens[1 : used + 1].view(count, self.block_size)
        for first in range(0, count, batch_size):
            yield x[first : first + batch_size].long(), y[first : first + batch_size].long()


class Streams:
    """Tokens for models that carry a state on: each row of a batch goes on where that row of the last one ended.

    The text is a ring. In each epoch the rows begin at equal distances from a place drawn by (seed, epoch), and
    follow the text until they have read about all of it together. Now and then a row forgets (Melis et al. 2018,
    arXiv:1707.05589): a state that only ever goes on drifts to where no new text begins.
    """

    def __init__(self, tokens: torch.Tensor, block_size: int) -> None:
        """`tokens` is one long vector, int64 or smaller."""
        if tokens.dim() != 1 or len(tokens) < block_size + 1:
            raise BadData(
                f"The text has {tokens.numel():,} tokens; passages of {block_size} need "
                f"at least {block_size + 1:,}. Use more text or shorter passages."
            )
        self.tokens = tokens
        self.block_size = block_size

    def batch(
        self, n: int, batch_size: int, seed: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x and y, each [B, T] int64, and whether each row goes on [B] or begins anew: by (seed, n) alone."""
        import torch

        passages = max(1, len(self.tokens) // (batch_size * self.block_size))
        epoch, passage = divmod(n, passages)
        first = derive_seed(seed, "streams", epoch) % len(self.tokens) + passage * self.block_size
        starts = first + torch.arange(batch_size) * len(self.tokens) // batch_size
        places = starts[:, None] + torch.arange(self.block_size + 1)
        rows = self.tokens[places % len(self.tokens)].long()
        generator = torch.Generator().manual_seed(derive_seed(seed, "goes on", n))
        goes_on = torch.rand(batch_size, generator=generator) >= NEW_BEGINNINGS
        return rows[:, :-1], rows[:, 1:], goes_on & (passage > 0)

    def in_order(self, rows: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The text once, for validation: `rows` streams side by side, in pieces of up to `length` tokens."""
        reach = (len(self.tokens) - 1) // rows
        x = self.tokens[: rows * reach].view(rows, reach)
        y = self.tokens[1 : rows * reach + 1].view(rows, reach)
        for first in range(0, reach, length):
            yield x[:, first : first + length].long(), y[:, first : first + length].long()
