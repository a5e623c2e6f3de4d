"""Packed datasets for the families' tests and benches: made with the real writer, read with the real reader."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from shared.packs import Facts, PackWriter
from worker.data.images import Images
from worker.data.texts import Texts


def pictures(folder: Path, files: Iterable[tuple[bytes, str | None]]) -> Images:
    """Images of (PNG, label) pairs."""
    return Images.from_folder(folder, _written(folder, "image/png", files))


def texts(folder: Path, documents: Iterable[str]) -> Texts:
    files = ((document.encode(), None) for document in documents)
    return Texts.from_folder(folder, _written(folder, "text/plain", files))


def _written(folder: Path, media_type: str, files) -> dict:
    folder.mkdir(parents=True, exist_ok=True)
    facts = Facts()
    with PackWriter(folder) as pack:
        for n, (data, label) in enumerate(files):
            about = _about(data, media_type)
            facts.add(
                pack.add([data], name=f"{n}", media_type=media_type, facts=about, label=label)
            )
        pack.finish()
    return facts.result()


def _about(data: bytes, media_type: str) -> dict:
    if media_type == "text/plain":
        return {"characters": len(data.decode())}
    with Image.open(io.BytesIO(data)) as picture:
        channels = 1 if picture.mode == "L" else 3
        return {"width": picture.width, "height": picture.height, "channels": channels}


def png_of(width: int, height: int, mode: str, draw) -> bytes:
    """A PNG whose pixel at (x, y) is draw(x, y), a grey value or three."""
    picture = Image.new(mode, (width, height))
    picture.putdata([draw(x, y) for y in range(height) for x in range(width)])
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def stripes(count: int, width: int, height: int, mode: str = "L") -> list[tuple[bytes, str]]:
    """Labelled pictures that a small model learns at once: stripes lie or stand, at a place of their own."""
    made = []
    for n in range(count):
        label = ("lying", "standing")[n % 2]
        place = hashlib.sha256(str(n).encode()).digest()[0] % 4

        def grey(x, y, label=label, place=place):
            light = 230 if ((y if label == "lying" else x) + place) % 4 < 2 else 20
            return light if mode == "L" else (light, 255 - light, 128)

        made.append((png_of(width, height, mode, grey), label))
    return made
