"""The built-in samples are real, complete and the same every time."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections import Counter

import pytest
from PIL import Image

from shared import samples


def test_digits_are_1797_grey_pictures_of_ten_classes():
    items = list(samples.digits())
    labels = Counter(item.name.split("/")[0] for item in items)
    assert len(items) == 1797
    assert sorted(labels) == list("0123456789")
    assert min(labels.values()) > 170
    with Image.open(io.BytesIO(items[0].data), formats=("PNG",)) as picture:
        assert picture.size == (8, 8)
        assert picture.mode == "L"
        assert picture.getextrema() == (0, 239)  # its brightest pixel is 15 of 16


def test_python_docs_are_real_prose():
    items = list(samples.python_docs())
    assert sum(len(item.data.decode()) for item in items) > 400_000
    assert b"Assert statements are a convenient way" in b"".join(item.data for item in items)


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_a_sample_is_the_same_upload_every_time(name, tmp_path):
    samples.write_zip(name, tmp_path / "one")
    samples.write_zip(name, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with zipfile.ZipFile(tmp_path / "one") as archive:
        assert archive.testzip() is None


def test_reading_the_digits_does_not_import_sklearn():
    code = (
        "import sys; from shared import samples; list(samples.digits());"
        "print([name for name in sys.modules if name.partition('.')[0] in ('sklearn', 'numpy')])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
