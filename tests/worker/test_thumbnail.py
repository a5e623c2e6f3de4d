"""Large pictures get a small one; small ones, and texts, are shown as they are."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from worker.thumbnail import SIDE, SMALL_BYTES, thumbnail


def noise(width: int, height: int, mode: str = "RGB") -> bytes:
    depth = len(Image.new(mode, (1, 1)).getbands())
    picture = Image.frombytes(
        mode, (width, height), random.Random(1).randbytes(width * height * depth)
    )
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_large_picture_gets_a_small_one(mode):
    data = noise(900, 450, mode)
    small = thumbnail(data, "image/png")
    assert small is not None and len(small) < len(data)
    with Image.open(io.BytesIO(small)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (SIDE, SIDE // 2))


def test_what_is_small_or_no_picture_has_none():
    assert thumbnail(noise(28, 28), "image/png") is None
    assert thumbnail(b"word " * SMALL_BYTES, "text/plain") is None
