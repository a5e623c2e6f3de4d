"""The built-in samples, which need no network: small real data that takes the same way in as an upload.

Pictures are read from scikit-learn's file without importing scikit-learn, texts from Python's own help.
"""

from __future__ import annotations

import csv
import gzip
import importlib
import importlib.util
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.errors import BadData

WHITE = 16  # of the digits, whose grey values are 0 ... 16
SIDE = 8
A_DAY_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class RawItem:
    """One file of a sample as a person could have uploaded it; its folder is its label."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Sample:
    name: str
    kind: str  # text | images
    title: str
    note: str
    raw_items: Callable[[], Iterator[RawItem]]


def digits() -> Iterator[RawItem]:
    """1,797 handwritten digits, 8 x 8 grey pixels."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise BadData("This sample comes with scikit-learn, which is not installed here.")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        for number, row in enumerate(csv.reader(file)):
            *pixels, label = (int(float(cell)) for cell in row)
            grey = bytes(round(255 * pixel / WHITE) for pixel in pixels)
            yield RawItem(f"{label}/{number:04}.png", grey_png(grey, SIDE, SIDE))


def python_docs() -> Iterator[RawItem]:
    """The 465,000 characters of prose behind Python's help()."""
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    for name in sorted(topics):
        yield RawItem(f"{name}.txt", topics[name].encode())


SAMPLES = {
    sample.name: sample
    for sample in (
        Sample(
            "digits",
            "images",
            "Handwritten digits",
            "Optical recognition of handwritten digits, E. Alpaydin and C. Kaynak, UCI (CC BY 4.0),"
            " as it comes with scikit-learn.",
            digits,
        ),
        Sample(
            "python-docs",
            "text",
            "Python's language reference",
            "The topics of Python's help(), Python Software Foundation (PSF license).",
            python_docs,
        ),
    )
}


def write_zip(name: str, path: Path) -> None:
    """Writes a sample as the zip that an upload of it would be; the same bytes every time."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for item in SAMPLES[name].raw_items():
            archive.writestr(zipfile.ZipInfo(item.name, A_DAY_LONG_AGO), item.data)


def grey_png(pixels: bytes, width: int, height: int) -> bytes:
    """An 8-bit grey PNG. shared/ has no Pillow, and this is all of the format that it needs."""
    rows = b"".join(
        b"\0" + pixels[row * width : (row + 1) * width] for row in range(height)
    )  # \0: no filter
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(0, io.SEEK_END)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        crc = zlib.crc32(name + body)
        file.write(struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc))
    return file.getvalue()
