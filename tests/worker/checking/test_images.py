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


def alone(look, data, **limits):
    return opened(look({"a": data}, **limits).contents[0])


def grey16(*values):
    """A PNG with 16 bits a pixel."""
    raw = b"\0" + b"".join(value.to_bytes(2, "big") for value in values)
    data = png_chunk(b"IDAT", zlib.compress(raw))
    return png(len(values), 1, data, depth=16)


def test_sixteen_bits_are_scaled_and_said(look):
    found = look({"a.png": grey16(0, 0x7FFF, 0x8000, 0xFFFF)})
    image = opened(found.contents[0])
    assert [image.getpixel((x, 0)) for x in range(4)] == [0, 127, 128, 255]
    assert found.items[0].facts["changes"] == ["16 bits to 8"]


def test_sixteen_bits_of_colour_are_said_too(look):
    row = b"\0" + b"\xc8\x11\x0a\x22\x01\x33"
    data = png(1, 1, png_chunk(b"IDAT", zlib.compress(row)), depth=16, colour=2)
    found = look({"a.png": data})
    assert opened(found.contents[0]).getpixel((0, 0)) == (200, 10, 1)
    assert found.items[0].facts["changes"] == ["16 bits to 8"]


def test_a_palette_with_transparency_lies_on_white(look):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((0, 0), 0)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0)
    found = look({"a.png": file.getvalue()})
    kept = opened(found.contents[0])
    assert (kept.getpixel((0, 0)), kept.getpixel((1, 1))) == ((255, 255, 255), (200, 0, 0))
    assert found.items[0].facts["changes"] == ["transparency on white"]


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_is_read_as_it_was_meant(look, adobe):
    """Adobe stores the four inks inverted and says so; others store them as they are."""
    inks = (0, 255, 255, 0)  # red
    if adobe:
        data = picture("CMYK", (16, 16), inks, "JPEG", quality=95)
    else:
        data = picture("CMYK", (16, 16), tuple(255 - ink for ink in inks), "JPEG", quality=95)
        at = data.index(b"\xff\xee")
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
        assert b"Adobe" not in data
    red, green, blue = alone(look, data).getpixel((8, 8))
    assert red > 240 and green < 15 and blue < 15


def test_a_progressive_jpeg_is_read_and_a_cut_one_refused(look):
    data = picture(form="JPEG", size=(64, 64), colour=(9, 99, 199), progressive=True)
    assert alone(look, data).size == (64, 64)
    assert "damaged" in look({"a.jpg": data[:-200]}).messages[0]


def test_a_jpeg_with_a_giant_profile_is_kept_without_it(look):
    data = picture(form="JPEG", size=(64, 64), icc_profile=b"CANARY" * 2_000_000)
    assert len(data) > 10_000_000
    found = look({"a.jpg": data})
    assert len(found.contents[0]) < 10_000 and b"CANARY" not in found.contents[0]


def test_a_jpeg_header_of_giant_size_is_refused_undecoded(look):
    data = picture(form="JPEG", size=(64, 64))
    at = data.index(b"\xff\xc0") + 5
    (message,) = look({"a.jpg": data[:at] + b"\xff\xdc" * 2 + data[at + 4 :]}).messages
    assert "more than 40,000,000 pixels" in message or "8192 a side" in message


def test_a_dataset_of_pictures_has_an_end(look):
    files = {f"{n}.png": picture("L", colour=n) for n in range(5)}
    found = look(files, total_pixels=4 * 63)
    assert found.messages == ["The dataset would have more than 252 pixels."]
    assert found.fatal


def test_thumbnails_fit_their_size_and_small_pictures_need_none(look):
    files = {"a.png": picture(size=(600, 300)), "b.png": picture("L", (100, 9)), "c.png": picture()}
    wide, low, small = look(files).thumbnails
    sizes = {size: Image.open(io.BytesIO(data)).size for size, data in wide.items()}
    assert sizes == {64: (64, 32), 128: (128, 64), 256: (256, 128)}
    assert [bool(low[size]) for size in (64, 128, 256)] == [True, False, False]
    assert not any(small.values())


def test_a_thumbnail_has_no_metadata(look):
    exif = Image.Exif()
    exif[0x010F] = "CANARY-CAMERA"
    data = picture(form="JPEG", size=(300, 300), exif=exif, icc_profile=b"CANARY" * 99)
    (made,) = look({"a.jpg": data}).thumbnails
    assert made[128] and b"CANARY" not in b"".join(made.values())
