"""The slots of a sampler that makes whole pictures, each in one forward pass.

What a picture is made from (its codes) is made alone; then small models paint WIDTH at a time, always as many, gaps
filled: convolutions pick their kernel by the size of the batch, so only in one shape is a picture the same bit for bit
whoever else is here (`agree` makes sure). Larger models paint one by one. Measured on one CPU thread, VAE, alone and by
eight, each: 1.1 and 0.4 ms at 8 x 8 with base 32, 1.4 and 0.9 at 32 with base 8; 3.3 and 2.9 at 28, 15 and 16 at 64.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from shared.errors import BadData
from worker.data.images import open_image
from worker.failures import is_out_of_memory
from worker.family import Finished, Item
from worker.nn.draws import uniforms
from worker.nn.steady import agree

Pictures = dict[str, torch.Tensor]  # name of the parameter -> (1, C, H, W) in 0..1
Codes = tuple[torch.Tensor, ...]  # (1, ...) each
MOST_WAITING = 64
WIDTH = 8  # pictures in one pass of a small model
SMALL = 2**17  # pixels times the square of the base channels, below which a pass is mostly overhead
A_STEP = 2**26  # the same, of all pictures in a step


class PictureSampler:
    """`code(model, item, pictures)` makes what one picture is painted from, `paint(model, *codes)` the pixels of many
    (B, C, H, W) in 0..1; `inputs_of(params)` names what is read.

    The model's `config` has channels, height, width, base_channels, labels.
    """

    def __init__(
        self,
        model: Any,
        params: Any,
        code: Callable[[Any, Item, Pictures], Codes],
        paint: Callable[..., torch.Tensor],
        inputs_of: Callable[[Any], tuple[str, ...]] = lambda params: (),
    ) -> None:
        self.model = model
        self.code, self.paint, self.inputs_of = code, paint, inputs_of
        work = model.config["height"] * model.config["width"] * model.config["base_channels"] ** 2
        self.pictures_a_step = max(1, min(16, A_STEP // work))
        self.waiting: dict[int, tuple[Item, Pictures]] = {}
        self.stepped: list[int] = []  # slots that were in the last step
        self.next_slot = 0
        self.width = WIDTH if work <= SMALL else 1
        self.sample = params.model_copy(update={"mode": "sample"})
        if self.width > 1 and not agree(self._probe, self.width):
            self.width = 1

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
        self.stepped = list(self.waiting)[: self.pictures_a_step]
        finished: list[Finished] = []
        coded: list[tuple[int, Codes]] = []
        for slot in self.stepped:
            item, pictures = self.waiting[slot]
            try:
                coded.append((slot, self.code(self.model, item, pictures)))
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                finished.append(Finished(slot, error=error))  # it ends this slot only
        for first in range(0, len(coded), self.width):
            finished += self._finished(coded[first : first + self.width])
        for slot in self.stepped:
            del self.waiting[slot]
        return finished

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

    def _finished(self, coded: list[tuple[int, Codes]]) -> list[Finished]:
        try:
            pixels = self._painted([codes for _, codes in coded])
            return [
                Finished(slot, png(one), "image/png", "png")
                for (slot, _), one in zip(coded, pixels, strict=True)
            ]
        except Exception as error:
            if is_out_of_memory(error):
                raise  # nobody's fault: the runner makes all of them again, fewer at a time
            if len(coded) == 1:
                return [Finished(coded[0][0], error=error)]
        # whose fault it was is seen one by one
        return [finished for one in coded for finished in self._finished([one])]

    def _painted(self, codes: Sequence[Codes]) -> torch.Tensor:
        """(B, C, H, W), in a pass that always has as many."""
        filled = [*codes, *[codes[-1]] * (self.width - len(codes))]
        return self.paint(self.model, *map(torch.cat, zip(*filled, strict=True)))[: len(codes)]

    @torch.inference_mode()
    def _probe(self, seeds: Sequence[int]) -> torch.Tensor:
        items = [Item(self.sample, seed, 0, 1) for seed in seeds]
        return self._painted([self.code(self.model, item, {}) for item in items])


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
