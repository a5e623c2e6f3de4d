"""Whatever bytes come in: the check ends with items or with reasons, never with an exception."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import packs
from tests.worker.checking.uploads import archive, lines, picture
from worker.checking.check import Check
from worker.checking.refusal import Limits

SEEDS = {
    "a.zip": archive({"a/1.txt": b"text " * 50, "b/2.txt": b"more"}),
    "b.zip": archive({"a/1.png": picture(size=(5, 5)), "b.png": picture("L")}),
    "c.zip": archive(
        {"metadata.csv": b"file_name,text\n1.png,red\n", "1.png": picture(size=(70, 5))}
    ),
    "a.png": picture("RGBA", colour=(1, 2, 3, 4)),
    "a.jpg": picture(form="JPEG", size=(20, 20)),
    "a.webp": picture(form="WEBP", size=(20, 20)),
    "a.jsonl": lines({"text": "one", "label": "x"}, {"text": "two"}),
    "a.csv": b'text,label\n"a, b",x\nc,y\n',
    "a.txt": "Some text, 一些文字。".encode("gb18030"),
}


def check(name, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        path.write_bytes(data)
        with packs.PackWriter(Path(folder)) as writer:
            check = Check(writer, "", Limits(data_bytes=1 << 20), note=lambda name: None)
            problems = check.run([(name, path)])
            writer.finish()
        assert problems or list(packs.verified(Path(folder)))


changes = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=6), st.integers(0, 6)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=80, deadline=None)
@given(changes)
def test_a_changed_file_is_taken_or_refused(name, changes):
    data = SEEDS[name]
    for place, new, dropped in changes:
        at = int(place * len(data))
        data = data[:at] + new + data[at + dropped :]
    check(name, data)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(SEEDS)), st.binary(max_size=300))
def test_nonsense_is_refused_or_is_a_text(name, data):
    check(name, data)
