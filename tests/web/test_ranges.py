"""Parts of files: Range, If-Range, ETag and HEAD of results and of dataset items."""

from __future__ import annotations

import pytest

from shared.models import DatasetItem

DATA = bytes(range(256)) * 8


@pytest.fixture(params=["artifact", "item"])
def path(request, alice, work, studio):
    """Where the same bytes lie as a result, and between two others in a dataset."""
    if request.param == "artifact":
        return f"/artifacts/{work.artifact(alice, DATA)}/content"
    dataset_id = work.dataset(alice)
    studio.storage.put_bytes(f"datasets/{dataset_id}/data.bin", b"before" + DATA + b"after")
    with studio.db.writing() as session:
        row = session.get_one(DatasetItem, (dataset_id, 0))
        row.offset, row.bytes = 6, len(DATA)
    return f"/datasets/{dataset_id}/items/0/content"


def test_the_whole_has_a_strong_etag_and_takes_ranges(alice, path):
    whole = alice.get(path)
    assert (whole.status_code, whole.data) == (200, DATA)
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert not whole.headers["ETag"].startswith("W/")
    head = alice.head(path)
    assert (head.status_code, head.data) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Accept-Ranges"):
        assert head.headers[name] == whole.headers[name]
    seen = {"If-None-Match": whole.headers["ETag"]}
    assert alice.get(path, headers=seen).status_code == 304


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=2000-", 2000, 2048),
        ("bytes=-5", 2043, 2048),
        ("bytes=2040-99999", 2040, 2048),
    ],
)
def test_a_part_is_the_part_asked_for(alice, path, asked, start, end):
    part = alice.get(path, headers={"Range": asked})
    assert (part.status_code, part.data) == (206, DATA[start:end])
    assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert int(part.headers["Content-Length"]) == end - start
    head = alice.head(path, headers={"Range": asked})
    assert head.data == b""


@pytest.mark.parametrize("asked", ["bytes=2048-", "bytes=9999-99999", "bytes=5-1", "bytes=a-b"])
def test_a_part_that_is_not_there_is_416_with_the_length(alice, path, asked):
    answer = alice.get(path, headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.mimetype == "application/problem+json"
    assert answer.headers["Content-Range"] == f"bytes */{len(DATA)}"


def test_if_range_gives_the_whole_when_it_has_changed(alice, path):
    tag = alice.get(path).headers["ETag"]
    same = alice.get(path, headers={"Range": "bytes=0-3", "If-Range": tag})
    assert (same.status_code, same.data) == (206, DATA[:4])
    other = alice.get(path, headers={"Range": "bytes=0-3", "If-Range": '"another"'})
    assert (other.status_code, other.data) == (200, DATA)
