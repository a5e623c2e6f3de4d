"""Decodes an uploaded picture completely and makes the PNG that is kept: L or RGB, upright, without metadata."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field

# Named here, so that nothing has to be imported once the sandbox is closed.
from PIL import (
    ExifTags,
    Image,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from shared.thumbnails import SIZES
from worker.checking.refusal import Limits, Refused, Source

FORMATS = ("PNG", "JPEG", "WEBP")
PLUGINS = (JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)
# Chunks of a PNG that unpack to more are refused by Pillow.
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 20
PngImagePlugin.MAX_TEXT_MEMORY = 4 << 20
DAMAGED = "is damaged or cut short"
THUMBNAIL_QUALITY = 85
DEPTH_AT = 24  # where a PNG's header says how many bits a channel has


@dataclass(frozen=True)
class Picture:
    """What is kept of an uploaded picture."""

    png: bytes
    width: int
    height: int
    channels: int
    changes: list[str] = field(default_factory=list)
    thumbnails: tuple[bytes, ...] = (b"",) * len(SIZES)

    def facts(self) -> dict[str, object]:
        facts: dict[str, object] = {
            "width": self.width,
            "height": self.height,
            "channels": self.channels,
        }
        return facts | {"changes": self.changes} if self.changes else facts


def read_picture(source: Source, limits: Limits) -> Picture:
    """The picture to keep; raises Refused."""
    data = source.read_all(limits.image_bytes)
    Image.MAX_IMAGE_PIXELS = limits.image_pixels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return _decoded(data, limits)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise Refused(f"has more than {limits.image_pixels:,} pixels") from None
        except MemoryError:
            raise Refused("needs too much memory to be decoded") from None
        except Refused:
            raise
        except Exception:
            # Decoders raise anything on hostile bytes; their words could hold paths.
            raise Refused(DAMAGED) from None


def _decoded(data: bytes, limits: Limits) -> Picture:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check(image, limits)
        image.verify()  # reads every checksum of a PNG, and cannot be used afterwards
    changes: list[str] = []
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.format == "PNG" and data[DEPTH_AT] == 16:
            changes.append("16 bits to 8")
        image.load()
        plain = _plain(_upright(image, changes), changes)
    # A new image has no metadata, whatever `info` the decoder left in the old one.
    bare = Image.new(plain.mode, plain.size)
    bare.paste(plain)
    file = io.BytesIO()
    bare.save(file, "PNG")
    return Picture(file.getvalue(), *bare.size, len(bare.getbands()), changes, _thumbnails(bare))


def _thumbnails(image: Image.Image) -> tuple[bytes, ...]:
    """One for each size; none where the picture is no larger."""
    made = []
    for size in reversed(SIZES):
        if max(image.size) <= size:
            made.append(b"")
            continue
        image = image.copy()  # the next smaller one is made of this one
        image.thumbnail((size, size))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=THUMBNAIL_QUALITY)
        made.append(file.getvalue())
    return tuple(reversed(made))


def _check(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if max(width, height) > limits.image_side:
        raise Refused(f"is {width} x {height} pixels; {limits.image_side} a side are accepted")
    if width * height > limits.image_pixels:
        raise Refused(f"has more than {limits.image_pixels:,} pixels")
    # Cameras put further pictures (depth, previews) behind a JPEG: the first one is meant.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise Refused("is an animation; only still pictures are accepted")


def _upright(image: Image.Image, changes: list[str]) -> Image.Image:
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image
        turned = ImageOps.exif_transpose(image)
    except Exception:
        return image  # broken EXIF says nothing about the pixels
    changes.append("turned upright")
    return turned


def _plain(image: Image.Image, changes: list[str]) -> Image.Image:
    """L or RGB, with what had to be changed."""
    if image.mode.startswith("I") or image.mode == "F":
        return image.point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        changes.append("transparency on white")
        return _on_white(image)
    if image.mode in ("L", "RGB"):
        return image
    if image.mode != "1":
        changes.append(f"{image.mode} to RGB")
    if image.mode == "P":
        image = image.convert("RGB")
        return image.convert("L") if _is_grey(image) else image
    if image.mode == "CMYK" and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for one of Adobe's, which are stored inverted
        image = image.point(lambda value: 255 - value)
    return image.convert("L" if image.mode == "1" else "RGB")


def _on_white(image: Image.Image) -> Image.Image:
    grey = image.mode in ("L", "LA", "La", "1")
    colours = image.convert("RGBA")
    white = Image.new("RGBA", colours.size, "white")
    return Image.alpha_composite(white, colours).convert("L" if grey else "RGB")


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = (band.tobytes() for band in image.split())
    return red == green == blue
