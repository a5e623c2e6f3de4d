"""A packed image dataset as a family sees it: uint8 tensors of one size, labels, a split, batches.

Decoded once, on first use. No torch at import.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import BadData
from worker.data.packed import packed_items
from worker.seeds import derive_seed

if TYPE_CHECKING:
    import torch

# Two tensors of batch: pictures in [0, 1], and class indices or None.
Batch = tuple["torch.Tensor", "torch.Tensor | None"]


@dataclass
class ImagePart:
    """Pictures of one size [N, C, H, W] uint8, and their class indices [N] or None."""

    images: torch.Tensor
    classes: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, n: int, batch_size: int, seed: int) -> Batch:
        """Batch n of an endless row of epochs, each in its own order: a function of (seed, n).

        No batch is short: one may hold the end of an epoch and the start of the next.
        """
        import torch

        if not len(self):
            raise BadData("There are too few pictures to train on.")
        first = n * batch_size
        rows, count = [], len(self)
        while batch_size:
            epoch, offset = divmod(first, count)
            taken = self._order(epoch, seed)[offset : offset + batch_size]
            rows.append(taken)
            first, batch_size = first + len(taken), batch_size - len(taken)
        return self._rows(torch.cat(rows))

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every picture once, for validation; the last batch may be short."""
        import torch

        for rows in torch.arange(len(self)).split(batch_size):
            yield self._rows(rows)

    def _rows(self, rows: torch.Tensor) -> Batch:
        classes = None if self.classes is None else self.classes[rows]
        return self.images[rows].float().div_(255), classes

    def _order(self, epoch: int, seed: int) -> torch.Tensor:
        import torch

        # only the newest order is remembered: batches come in sequence, and any can be made anew
        known = self.__dict__.get("_known_order")
        if known is None or known[0] != (epoch, seed):
            generator = torch.Generator().manual_seed(derive_seed(seed, "epoch", epoch))
            known = ((epoch, seed), torch.randperm(len(self), generator=generator))
            self.__dict__["_known_order"] = known
        order: torch.Tensor = known[1]
        return order


@dataclass
class ImageSplit:
    train: ImagePart
    validation: ImagePart


@dataclass
class Images:
    """PNG bytes with labels; `labels` are the names of the classes, sorted, maybe none."""

    pictures: Sequence[bytes]
    names: Sequence[str | None]
    facts: dict[str, Any] = field(default_factory=dict)
    part: ImagePart | None = None

    @classmethod
    def from_folder(cls, folder: Path, facts: dict[str, Any] | None = None) -> Images:
        """Reads `manifest.jsonl` and `data.bin`."""
        items = list(packed_items(folder))
        if not items:
            raise BadData("The dataset has no pictures.")
        names = [item.get("label") for item, _ in items]
        return cls([data for _, data in items], names, dict(facts or {}))

    @classmethod
    def from_tensor(cls, images: torch.Tensor, names: Sequence[str | None] = ()) -> Images:
        """Pictures that are in memory already, [N, C, H, W] uint8; for tests and benchmarks."""
        made = cls([], list(names) or [None] * len(images))
        made.part = ImagePart(images, made._classes())
        return made

    @cached_property
    def labels(self) -> list[str]:
        """Class names in order of their index; empty unless every picture has one."""
        names = [name for name in self.names if name]
        return sorted(set(names)) if len(names) == len(self.names) else []

    def tensors(self, size: int | tuple[int, int], channels: int) -> torch.Tensor:
        """All pictures [N, C, H, W] uint8, decoded and resized once. Comes before the split."""
        import torch

        height, width = (size, size) if isinstance(size, int) else size
        if self.part is not None and self.part.images.shape[1:] == (channels, height, width):
            return self.part.images
        pixels = [decoded(data, height, width, channels) for data in self.pictures]
        images = torch.stack([torch.frombuffer(p, dtype=torch.uint8) for p in pixels])
        # [N, H*W*C] -> [N, C, H, W]
        images = images.view(-1, height, width, channels).permute(0, 3, 1, 2).contiguous()
        self.part = ImagePart(images, self._classes())
        return images

    def split(self, validation_fraction: float, seed: int) -> ImageSplit:
        """Of each class the same fraction is held out, chosen by (seed, number)."""
        import torch

        if self.part is None:
            raise BadData("Ask for tensors(size, channels) before the split.")
        groups: dict[str | None, list[int]] = {}
        for n, name in enumerate(self.names):
            groups.setdefault(name if self.labels else None, []).append(n)
        held: list[int] = []
        for members in groups.values():
            members.sort(key=lambda n: derive_seed(seed, "image", n))
            held += members[: _held_out(len(members), validation_fraction)]
        chosen = torch.zeros(len(self.names), dtype=torch.bool)
        chosen[held] = True
        return ImageSplit(self._side(~chosen), self._side(chosen))

    def _side(self, mask: torch.Tensor) -> ImagePart:
        assert self.part is not None
        classes = self.part.classes
        return ImagePart(self.part.images[mask], None if classes is None else classes[mask])

    def _classes(self) -> torch.Tensor | None:
        import torch

        if not self.labels:
            return None
        index = {name: n for n, name in enumerate(self.labels)}
        return torch.tensor([index[name] for name in self.names if name], dtype=torch.int64)


def _held_out(count: int, fraction: float) -> int:
    """How many of `count` to hold out: at least one where a fraction is asked, never all."""
    if fraction <= 0 or count < 2:
        return 0
    return min(max(1, round(count * fraction)), count - 1)


def decoded(data: bytes, height: int, width: int, channels: int) -> bytearray:
    """Pixels of a picture, row by row, channels last; cropped to the wanted shape, then resized."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as file:
        picture = file.convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    return bytearray(picture.tobytes())


def open_image(path: Path, size: int | tuple[int, int], channels: int) -> torch.Tensor:
    """A picture that a request names, as [C, H, W] uint8. Raises BadData when it is none."""
    import torch

    height, width = (size, size) if isinstance(size, int) else size
    try:
        pixels = decoded(path.read_bytes(), height, width, channels)
    except (OSError, ValueError, SyntaxError) as error:
        raise BadData(f"{path.name} is not a picture that can be read.") from error
    image = torch.frombuffer(pixels, dtype=torch.uint8).view(height, width, channels)
    return image.permute(2, 0, 1).contiguous()
