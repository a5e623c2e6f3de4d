"""Pictures: what is kept is upright, L or RGB, without metadata; bombs and fakes end early."""

from __future__ import annotations

import io
import zlib

import pytest
from PIL import Image, PngImagePlugin

from tests.worker.checking.uploads import picture, pixels, png, png_chunk


def opened(data):
    image = Image.open(io.BytesIO(data), formats=("PNG",))
    image.load()
    return image


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_pictures_become_png(look, form):
    found = look({"a": picture(form=form, colour=(200, 10, 10))})
    image = opened(found.contents[0])
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (9, 7))
    red, green, _ = image.getpixel((3, 3))
    assert red > 150 > green
    assert found.items[0].facts == {"width": 9, "height": 7, "channels": 3}


@pytest.mark.parametrize(
    ("data", "mode", "pixel", "changes"),
    [
        (picture("L", colour=77), "L", 77, None),
        (picture("1", colour=1), "L", 255, None),
        (picture("LA", colour=(0, 0)), "L", 255, ["transparency on white"]),
        (picture("RGBA", colour=(255, 0, 0, 0)), "RGB", (255, 255, 255), ["transparency on white"]),
        (picture("P", colour=0), "L", 0, ["P to RGB"]),
        (picture("I;16", colour=0x80FF), "L", 0x80, ["16 bits to 8"]),
        (
            picture("CMYK", colour=(0, 0, 0, 0), form="JPEG"),
            "RGB",
            (255, 255, 255),
            ["CMYK to RGB"],
        ),
    ],
    ids=["L", "1", "LA", "RGBA", "P", "I;16", "CMYK"],
)
def test_every_mode_becomes_grey_or_rgb(look, data, mode, pixel, changes):
    found = look({"a.png": data})
    image = opened(found.contents[0])
    assert image.mode == mode
    assert image.getpixel((2, 2)) == pixel
    assert found.items[0].facts.get("changes") == changes


def test_a_turned_photograph_is_kept_upright_and_without_exif(look):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 29.0)}  # where it was taken
    exif[0x010F] = "CANARY-CAMERA"
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "CANARY-TEXT")
    data = picture(exif=exif, pnginfo=notes, icc_profile=b"CANARY-PROFILE" * 20)
    found = look({"a.png": data})
    image = opened(found.contents[0])
    assert image.size == (7, 9)
    assert found.items[0].facts["changes"] == ["turned upright"]
    assert b"CANARY" not in found.contents[0]
    assert image.info == {}
    assert not image.getexif()


def test_the_same_upload_gives_the_same_bytes(look):
    files = {"a.jpg": picture(form="JPEG", colour=(9, 99, 199))}
    assert look(files).items == look(files).items


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png(60_000, 60_000), "more than 40,000,000 pixels"),
        (png(60_000, 1), "60000 x 1 pixels; 8192 a side"),
        (png(8192, 8192), "more than 40,000,000 pixels"),
        (png(9, 7, pixels(9, 7))[:-30], "damaged"),
        (png(9, 7, png_chunk(b"IDAT", zlib.compress(b"\0" * 70), crc=1)), "damaged"),
        (png(9, 7), "damaged"),
        (png(9, 0, pixels(9, 7)), "damaged"),
        (picture(form="JPEG", size=(64, 64))[:-300], "damaged"),
        (picture(form="WEBP", size=(64, 64))[:-40], "damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "damaged"),
    ],
    ids=[
        "huge",
        "long",
        "bomb",
        "cut",
        "crc",
        "no data",
        "flat",
        "jpeg cut",
        "webp cut",
        "nonsense",
    ],
)
def test_bombs_and_broken_pictures_are_refused(look, data, words):
    (message,) = look({"a.png": data}).messages
    assert words in message


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_a_png_with_a_bomb_in_its_notes_is_refused(look, name):
    bomb = png_chunk(name, b"x\0\0" + zlib.compress(b"\0" * (64 << 20), 9))
    (message,) = look({"a.png": png(9, 7, bomb, pixels(9, 7))}).messages
    assert "damaged" in message


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_animations_are_refused(look, form):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    file = io.BytesIO()
    frames[0].save(file, form, save_all=True, append_images=frames[1:], duration=50)
    (message,) = look({"a.png": file.getvalue()}).messages
    assert message == "is an animation; only still pictures are accepted"


def test_of_a_camera_file_with_several_pictures_the_first_is_taken(look):
    file = io.BytesIO()
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (4, 4), "blue")
    first.save(file, "MPO", save_all=True, append_images=[second])
    assert opened(look({"a.jpg": file.getvalue()}).contents[0]).size == (8, 8)


def test_a_large_file_is_refused_unread(look):
    (message,) = look({"a.png": picture() + b"\0" * 2_000_000}, image_bytes=1 << 20).messages
    assert message == "is larger than 1 MB"
