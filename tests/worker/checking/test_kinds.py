"""What a file is, is told by its content; what could run code is refused whatever its name."""

from __future__ import annotations

import io
import pickle

import pytest
from PIL import Image

from tests.worker.checking.uploads import archive, picture


class Canary:
    """Unpickling this would leave a file behind."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


NAMES = ("weights.pt", "model.ckpt", "a.bin", "a.pkl", "innocent.txt", "photo.png", "a.jsonl", "a")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_under_any_name_and_never_runs(look, tmp_path, name, protocol):
    canary = tmp_path / "pwned"
    for data in (Canary(canary), {"weights": Canary(canary)}, [Canary(canary)]):
        (message,) = look({name: pickle.dumps(data, protocol)}).messages
        assert message
    assert not canary.exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.zip", "photo.png"])
def test_a_torch_file_is_refused_and_never_runs(look, tmp_path, name):
    canary = tmp_path / "pwned"
    data = archive({"weights/data.pkl": pickle.dumps(Canary(canary)), "weights/data/0": b"\0" * 64})
    found = look({name: data})
    assert any("never models" in message for message in found.messages)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x93NUMPY\x01\0" + b"\0" * 90, "NumPy"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 90, "HDF5"),
        (b"\x08\x07\x12\x07pytorch\x1a\x05", "ONNX"),
        (b"GGUF\x03\0\0\0" + b"\0" * 90, "GGUF"),
        (b'\x10\0\0\0\0\0\0\0{"x":{}}      ', "safetensors"),
        (b"<!DOCTYPE html><script>alert(1)</script>", "HTML"),
        (b"\xef\xbb\xbf \n<HTML>", "HTML"),
        (b"<svg onload=alert(1)>", "SVG"),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<svg/>', "SVG"),
        (b"<?xml?>" + b"<!-- <svg> -->\n" * 200 + b"<!DOCTYPE svg>\n<svg/>", "SVG"),
        # 580 comments and no drawing: looked at once, not in every way to part them
        (b"<?xml?>" + b"<!---->" * 580, "XML"),
        (b"<?xml?>" + b" " * 4000 + b"<!--", "XML"),
        (b"%PDF-1.7", "PDF"),
        (b"II*\0" + b"\0" * 90, "TIFF"),
        (b"MM\0*" + b"\0" * 90, "TIFF"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (w) file", "PostScript"),
        (b"GIF89a" + b"\0" * 90, "GIF"),
        (b"\0\0\x01\0\x01\0", "icon"),
        (b"\x1f\x8b\x08" + b"\0" * 90, "gzip"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a\x07\0", "RAR"),
        (b"x" * 257 + b"ustar\x0000", "tar"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "sound"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "film"),
        (b"\x7fELF\x02\x01\x01", "program"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office"),
        (b"SQLite format 3\0", "SQLite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("name", ["a.png", "a.txt"])
def test_other_formats_are_refused_by_their_content(look, data, words, name):
    (message,) = look({name: data}).messages
    assert words in message


def test_every_format_that_pillow_writes_is_refused_but_three(look):
    for form in ("BMP", "GIF", "ICO", "PPM", "TIFF", "PCX", "TGA", "SGI", "EPS", "PDF", "DDS"):
        file = io.BytesIO()
        Image.new("RGB", (16, 16)).save(file, form)
        assert look({"a.png": file.getvalue()}).problems, form


@pytest.mark.parametrize(
    "text", [b"BMW is a car", b"GIFs", b"MZ", b"ID3 tags", b"PKZIP", b"current"]
)
def test_prose_is_not_taken_for_something_else(look, text):
    assert look({"a.txt": text}).contents == [text]


def test_a_text_named_like_a_picture_or_a_model_is_refused(look):
    assert look({"a.png": b"hello"}).messages[0].startswith("is named like a picture")
    assert look({"a.safetensors": b"hello"}).messages[0].startswith("is named like a model")


def test_a_picture_named_like_a_text_is_a_picture(look):
    assert [item.media_type for item in look({"a.txt": picture()}).items] == ["image/png"]


def test_texts_and_pictures_do_not_mix(look):
    found = look({"a.png": picture(), "b.txt": b"text"})
    assert found.problems == [
        {"name": "b.txt", "message": "is a text, but this dataset holds pictures"}
    ]
    found = look({"a.png": picture()}, kind="text")
    assert found.messages == ["is a picture, but this dataset holds texts"]
