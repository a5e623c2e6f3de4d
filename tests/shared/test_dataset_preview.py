"""Previews: counted from bytes, told in words, and no item is believed that disagrees with its bytes."""

from __future__ import annotations

import io
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared import packs
from shared.dataset_preview import BINS, Preview, spread
from shared.errors import BadData


def png(size=(4, 3), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG")
    return file.getvalue()


def texts(*pairs):
    return [
        (text.encode(), "text/plain", {"characters": len(text)}, label) for text, label in pairs
    ]


def previewed(folder, items):
    with packs.PackWriter(folder) as writer:
        for n, (data, media_type, facts, label) in enumerate(items):
            writer.add([data], name=str(n), media_type=media_type, facts=facts, label=label)
        writer.finish()
    preview = Preview(len(items))
    for item, look in packs.looked_at(folder):
        preview.add(item, look)
    return preview.result()


def test_texts_are_measured_in_characters_and_lines(tmp_path):
    found = previewed(tmp_path, texts(("中文\n字\n", None), ("abc", None)))
    assert found["sizes"]["characters"]["max"] == 5
    assert found["sizes"]["lines"]["max"] == 3
    assert found["sizes"]["bytes"]["max"] == 11


@pytest.mark.parametrize(
    ("data", "media_type", "facts"),
    [
        ("中文".encode(), "text/plain", {"characters": 6}),
        (png(), "image/png", {"width": 5, "height": 3, "channels": 3}),
        (png(), "image/png", {"width": 4, "height": 3, "channels": 1}),
        (png(mode="RGBA"), "image/png", {"width": 4, "height": 3, "channels": 3}),
        (b"<svg/>", "image/png", {"width": 4, "height": 3, "channels": 3}),
        (b"<svg>" + b" " * 99, "image/png", {"width": 4, "height": 3, "channels": 3}),
    ],
)
def test_an_item_that_is_not_what_it_says_is_not_believed(tmp_path, data, media_type, facts):
    with pytest.raises(BadData):
        previewed(tmp_path, [(data, media_type, facts, None)])


def test_copies_are_counted_and_those_with_another_label_told(tmp_path):
    found = previewed(tmp_path, texts(("a", "x"), ("b", "x"), ("a", "x"), ("a", "y")))
    assert found["duplicates"] == {
        "items": 2,
        "examples": [{"n": 2, "name": "2", "same_as": 0}, {"n": 3, "name": "3", "same_as": 0}],
    }
    assert "2 items are the same as an earlier one." in found["warnings"]
    assert "1 item is the same as one with another label." in found["warnings"]


def test_what_has_no_label_is_told_only_where_others_have_one(tmp_path):
    found = previewed(tmp_path, texts(("a", "x"), ("b", "y"), ("c", None)))
    assert "1 item is without a label." in found["warnings"]
    assert found["unlabelled"] == 1
    none = previewed(tmp_path, texts(("a", None), ("b", None)))
    assert none["warnings"] == ["There are only 2 characters to learn from."]


@pytest.mark.parametrize("count", [1, 2, 23, 24, 25, 1000])
def test_samples_are_spread_over_all_items(tmp_path, count):
    found = previewed(tmp_path, texts(*[(str(n), None) for n in range(count)]))
    numbers = [sample["n"] for sample in found["samples"]]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == min(count, 24)
    assert (numbers[0], numbers[-1]) == (0, count - 1)


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=60))
def test_a_histogram_counts_every_value_once(values):
    found = spread(array("q", values))
    bins = found["histogram"]
    assert sum(part["items"] for part in bins) == len(values)
    assert 1 <= len(bins) <= BINS
    assert (bins[0]["from"], bins[-1]["to"]) == (min(values), max(values))
    for part in bins:
        inside = sum(part["from"] <= value <= part["to"] for value in values)
        assert inside == part["items"]
