"""The size of the pictures that a family makes: as the data has it, or as asked for."""

from __future__ import annotations

from typing import Any

from worker.nn.fields import number

# In rules and costs
SIDES = "(image_size if image_size else height_max)", "(image_size if image_size else width_max)"
ONE_SIZE = "height_min == height_max and width_min == width_max"
IN_RANGE = "min(height_min, width_min) >= 8 and max(height_max, width_max) <= 128"
SIZE_NEEDED = "must be chosen: the pictures differ in size or are not of 8 to 128 pixels"
SIZE_RULES = (
    ("image_size == 0 or image_size >= 8", "image_size", "must be 0, or at least 8"),
    (f"image_size > 0 or ({ONE_SIZE} and {IN_RANGE})", "image_size", SIZE_NEEDED),
)


def image_size() -> Any:
    """The parameter."""
    text = "Side of the square pictures, from 8; 0: as the data."
    return number(0, 0, 128, "Image size", text, unit="px")


def picture_shape(params: Any, facts: dict[str, Any]) -> tuple[int, int, int]:
    """(channels, height, width); the size of the data where none is asked for."""
    side = params.image_size
    return facts["channels"], side or facts["height_max"], side or facts["width_max"]
