"""Packs: what is written can be read, and nothing wrong is believed."""

from __future__ import annotations

import hashlib
import json

import pytest

from shared import packs
from shared.errors import BadData


def write(folder, texts):
    with packs.PackWriter(folder) as writer:
        for n, text in enumerate(texts):
            writer.add(
                [text.encode()],
                name=f"{n}.txt",
                media_type="text/plain",
                facts={"characters": len(text)},
                label="a" if n % 2 else None,
            )
        return writer.finish()


def whole(folder, item):
    with packs.Section((folder / packs.DATA).open("rb"), item.offset, item.bytes) as section:
        return section.read()


def test_a_section_is_a_file_of_its_own(tmp_path):
    (tmp_path / "data").write_bytes(b"0123456789")
    with packs.Section((tmp_path / "data").open("rb"), 2, 5) as section:
        assert section.read(2) == b"23"
        assert section.read() == b"456"
        assert section.read(1) == b""
        assert section.seek(-2, 2) == 3
        assert section.read(9) == b"56"
        assert section.seek(1) == section.tell() == 1
        assert section.read(1) == b"3"


def test_items_come_back_as_they_were_written(tmp_path):
    pack = write(tmp_path, ["one", "", "zwei und drei"])
    items = list(packs.verified(tmp_path))
    assert [whole(tmp_path, item) for item in items] == [b"one", b"", b"zwei und drei"]
    assert [item.label for item in items] == [None, "a", None]
    assert (pack.items, pack.bytes) == (3, 16)
    manifest = (tmp_path / packs.MANIFEST).read_bytes()
    assert pack.sha256 == hashlib.sha256(manifest).hexdigest()
    assert list(json.loads(manifest.splitlines()[0])) == [
        *("n", "name", "sha256", "media_type", "offset", "bytes", "label", "caption", "characters")
    ]


def test_an_item_whose_chunks_raise_leaves_no_trace(tmp_path):
    def chunks():
        yield b"half"
        raise BadData

    with packs.PackWriter(tmp_path) as writer:
        with pytest.raises(BadData):
            writer.add(chunks(), name="x", media_type="text/plain", facts={"characters": 1})
        writer.add([b"whole"], name="y", media_type="text/plain", facts={"characters": 5})
        writer.finish()
    assert (tmp_path / packs.DATA).read_bytes() == b"whole"
    assert [item.name for item in packs.verified(tmp_path)] == ["y"]


def test_facts_of_texts(tmp_path):
    write(tmp_path, ["héllo", "x"])
    facts = packs.Facts()
    for item in packs.verified(tmp_path):
        facts.add(item)
    assert facts.kind == "text"
    assert facts.result() == {"items": 2, "characters": 6, "bytes": 7}


def picture(n, width, channels, label):
    facts = {"width": width, "height": 8, "channels": channels}
    return packs.PackItem(n, "x", "0" * 64, "image/png", 0, 0, label, None, facts)


def test_facts_of_pictures():
    facts = packs.Facts()
    facts.add(picture(0, 8, 1, "b"))
    facts.add(picture(1, 9, 3, "a"))
    assert facts.result() == {
        "items": 2,
        "width_min": 8,
        "width_max": 9,
        "height_min": 8,
        "height_max": 8,
        "channels": 3,
        "labels": ["a", "b"],
        "classes": 2,
        "captions": 0,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1},
        {"offset": 1},
        {"bytes": -1},
        {"bytes": True},
        {"bytes": 2},
        {"sha256": "0" * 64},
        {"sha256": "../x"},
        {"media_type": "text/html"},
        {"name": "n" * 256},
        {"name": 5},
        {"label": "\0"},
        {"label": "l" * 121},
        {"characters": "3"},
        {"characters": None},
    ],
    ids=str,
)
def test_a_manifest_that_lies_is_not_believed(tmp_path, change):
    write(tmp_path, ["one"])
    path = tmp_path / packs.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change) + "\n")
    with pytest.raises(BadData):
        list(packs.verified(tmp_path))


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b"x" * 300_000])
def test_a_manifest_of_nonsense_is_not_believed(tmp_path, line):
    write(tmp_path, ["one"])
    with (tmp_path / packs.MANIFEST).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(BadData):
        list(packs.verified(tmp_path))


def test_bytes_behind_the_last_item_are_not_believed(tmp_path):
    write(tmp_path, ["one"])
    with (tmp_path / packs.DATA).open("ab") as file:
        file.write(b"more")
    with pytest.raises(BadData):
        list(packs.verified(tmp_path))
