"""Thumbnails: each is found where it lies, and nothing is believed that is no JPEG or in the wrong place."""

from __future__ import annotations

import pytest

from shared import thumbnails
from shared.errors import BadData

SMALL, LARGE = thumbnails.JPEG + b"small", thumbnails.JPEG + b"large"


@pytest.fixture
def folder(tmp_path):
    writer = thumbnails.ThumbnailWriter(tmp_path)
    writer.add((SMALL, LARGE, b""))
    writer.add((b"", b"", b""))
    writer.add((SMALL, SMALL, LARGE))
    writer.close()
    return tmp_path


def test_each_thumbnail_is_found(folder):
    data = (folder / thumbnails.DATA).read_bytes()
    with (folder / thumbnails.INDEX).open("rb") as index:
        places = [thumbnails.place_of(index, n, size) for n in (0, 1, 2) for size in (64, 128, 256)]
        assert thumbnails.place_of(index, 3, 64) == (0, 0)
    found = [data[at : at + length] for at, length in places]
    assert found == [SMALL, LARGE, b"", b"", b"", b"", SMALL, SMALL, LARGE]
    assert thumbnails.verified_size(folder, 3) == len(data) + 3 * thumbnails.ENTRY.size


@pytest.mark.parametrize("items", [2, 4])
def test_there_is_one_entry_for_each_picture(folder, items):
    with pytest.raises(BadData):
        thumbnails.verified_size(folder, items)


@pytest.mark.parametrize(
    "change",
    [
        lambda data, index: (data.replace(b"\xff\xd8\xff", b"<sv"), index),
        lambda data, index: (data + b"x", index),
        lambda data, index: (data[:-1], index[: thumbnails.ENTRY.size * 2] + b"\1" * 20),
        lambda data, index: (data, b"\1" + index[1:]),
        lambda data, index: (None, index),
    ],
)
def test_wrong_files_are_not_believed(folder, change):
    paths = [folder / name for name in (thumbnails.DATA, thumbnails.INDEX)]
    for path, data in zip(paths, change(*[path.read_bytes() for path in paths]), strict=True):
        path.unlink()
        if data is not None:
            path.write_bytes(data)
    with pytest.raises(BadData):
        thumbnails.verified_size(folder, 3)
