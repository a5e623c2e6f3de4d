"""All pictures of a request on one sheet, or in one strip where they lead from one to another. No torch.

Each picture is pasted as it is finished, in whatever order, so that nothing but the packing is left at the end.
"""

from __future__ import annotations

import io
import math
from typing import Any

GAP = 2  # pixels between two pictures
WHITE = 255
MOST_PIXELS = 2**23  # larger sheets are made of smaller pictures; 256 of 128 x 128 are not


class Grid:
    """Of `count` pictures of one size; in one row or in as many rows as columns."""

    name, media_type = "grid.png", "image/png"

    def __init__(self, count: int, *, one_row: bool) -> None:
        self.columns = count if one_row else math.ceil(math.sqrt(count))
        self.rows = math.ceil(count / self.columns)
        self.sheet: Any = None  # its size is that of the first picture
        self.cell = (0, 0)
        self.shrink = 1

    def paste(self, index: int, png: bytes) -> None:
        from PIL import Image

        with Image.open(io.BytesIO(png), formats=("PNG",)) as file:
            picture = file.convert("L" if file.mode == "L" else "RGB")
        if self.sheet is None:
            self._begin(picture)
        if self.shrink > 1:
            picture = picture.reduce(self.shrink)
        row, column = divmod(index, self.columns)
        width, height = self.cell
        self.sheet.paste(picture, (column * (width + GAP), row * (height + GAP)))

    def _begin(self, picture: Any) -> None:
        from PIL import Image

        pixels = self.columns * self.rows * picture.width * picture.height
        self.shrink = math.ceil(math.sqrt(pixels / MOST_PIXELS))
        self.cell = width, height = (
            math.ceil(picture.width / self.shrink),
            math.ceil(picture.height / self.shrink),
        )
        size = (self.columns * (width + GAP) - GAP, self.rows * (height + GAP) - GAP)
        colour = WHITE if picture.mode == "L" else (WHITE, WHITE, WHITE)
        self.sheet = Image.new(picture.mode, size, colour)

    def png(self) -> bytes:
        """Packed lightly: at full effort a large sheet would keep the runner from everybody else for a second."""
        file = io.BytesIO()
        self.sheet.save(file, "PNG", compress_level=1)
        return file.getvalue()


def grid_of(params: Any) -> Grid | None:
    """The sheet that these parameters ask for, if they do."""
    if not getattr(params, "grid", False):
        return None
    return Grid(params.count, one_row=getattr(params, "mode", "") == "interpolate")
