"""The slots of a sampler that makes whole pictures, one forward pass for each.

Pictures are made one at a time, not as a batch, so each is the same bit for bit whoever else is here. Measured on
one CPU thread, VAE, base 32, against batches of 16: 0.4 ms for 0.1 at 8 x 8, 3.3 for 2.9 at 28, 15 for 16 at 64.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from shared.errors import BadData
from worker.data.images import open_image
from worker.family import Finished, Item
from worker.nn.draws import uniforms

Pictures = dict[str, torch.Tensor]  # name of the parameter -> (1, C, H, W) in 0..1
MOST_WAITING = 64


class PictureSampler:
    """`draw(model, item, pictures)` makes the pixels (C, H, W) in 0..1; `inputs_of(params)` names what it reads.

    The model's `config` has channels, height, width, labels.
    """

    def __init__(
        self,
        model: Any,
        draw: Callable[[Any, Item, Pictures], torch.Tensor],
        inputs_of: Callable[[Any], tuple[str, ...]] = lambda params: (),
        pictures_a_step: int = 16,
    ) -> None:
        self.model = model
        self.draw, self.inputs_of = draw, inputs_of
        self.pictures_a_step = max(1, min(16, pictures_a_step))
        self.waiting: dict[int, tuple[Item, Pictures]] = {}
        self.next_slot = 0

    def room(self) -> int:
        return MOST_WAITING - len(self.waiting)

    def admit(self, item: Item) -> int:
        label = item.params.class_label
        if label and label not in self.model.config["labels"]:
            raise BadData(f"This model knows no class {label!r}.")
        names = self.inputs_of(item.params)
        pictures = {name: self._read(item.inputs, name) for name in names}
        self.next_slot += 1
        self.waiting[self.next_slot] = (item, pictures)
        return self.next_slot

    def step(self) -> list[Finished]:
        """A few pictures, in order of arrival."""
        slots = list(self.waiting)[: self.pictures_a_step]
        return [self._finished(slot, *self.waiting.pop(slot)) for slot in slots]

    def peek(self, slot: int) -> None:
        return None

    def drop(self, slot: int) -> None:
        self.waiting.pop(slot, None)

    def _read(self, inputs: Mapping[str, Path], name: str) -> torch.Tensor:
        if name not in inputs:
            raise BadData(f"{name}: a picture is needed.")
        config = self.model.config
        levels = open_image(inputs[name], (config["height"], config["width"]), config["channels"])
        return levels[None] / 255

    def _finished(self, slot: int, item: Item, pictures: Pictures) -> Finished:
        try:
            pixels = self.draw(self.model, item, pictures)
            return Finished(slot, png(pixels), "image/png", "png")
        except Exception as error:  # it ends this slot only
            return Finished(slot, error=error)


def chosen_label(item: Item, labels: list[str]) -> torch.Tensor:
    """(1,): the place of the label asked for, of any when a new picture is drawn, else one past the last."""
    if item.params.class_label:
        return torch.tensor([labels.index(item.params.class_label)])
    if labels and item.params.mode == "sample":
        return torch.tensor([int(uniforms([item.seed], [1])[0] * len(labels))])
    return torch.tensor([len(labels)])


def png(pixels: torch.Tensor) -> bytes:
    """(C, H, W) in 0..1, one or three channels, as a PNG without metadata: same pixels, same bytes."""
    levels = (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels).save(file, "PNG")
    return file.getvalue()
