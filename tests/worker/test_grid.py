"""The sheet of a request's pictures: by itself, and from a real runner."""

from __future__ import annotations

import io
import random
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.worker.families import packed
from worker import link
from worker.grid import GAP, MOST_PIXELS, Grid, grid_of


def png(grey, size=(4, 3), mode="L"):
    file = io.BytesIO()
    Image.new(mode, size, grey if mode == "L" else (grey, 0, 0)).save(file, "PNG")
    return file.getvalue()


def sheet(grid):
    return Image.open(io.BytesIO(grid.png()))


def test_pictures_stand_row_by_row_with_a_white_gap():
    grid = Grid(5, one_row=False)
    for index in range(5):
        grid.paste(index, png(10 * index))
    made = sheet(grid)
    assert made.size == (3 * 4 + 2 * GAP, 2 * 3 + GAP) and made.mode == "L"
    assert [made.getpixel((column * (4 + GAP), 0)) for column in range(3)] == [0, 10, 20]
    assert [made.getpixel((column * (4 + GAP), 3 + GAP)) for column in range(3)] == [30, 40, 255]
    assert made.getpixel((4, 0)) == 255


def test_a_strip_is_one_row():
    grid = Grid(7, one_row=True)
    for index in range(7):
        grid.paste(index, png(9, mode="RGB"))
    made = sheet(grid)
    assert made.size == (7 * 4 + 6 * GAP, 3) and made.mode == "RGB"


def test_the_order_of_arrival_does_not_show():
    one, other = Grid(10, one_row=False), Grid(10, one_row=False)
    indices = list(range(10))
    for index in indices:
        one.paste(index, png(20 * index))
    random.Random(3).shuffle(indices)
    for index in indices:
        other.paste(index, png(20 * index))
    assert one.png() == other.png()


def test_256_pictures_of_128_keep_their_size_and_larger_ones_are_made_smaller():
    for side, shown in ((128, 128), (512, 171)):
        grid = Grid(256, one_row=False)
        for index in (255, 0):
            grid.paste(index, png(7, (side, side)))
        made = sheet(grid)
        assert made.size == (16 * (shown + GAP) - GAP,) * 2
        assert made.width * made.height <= 1.05 * MOST_PIXELS
        assert made.getpixel((made.width - 1, made.height - 1)) == 7


def test_one_is_made_only_when_asked_for():
    assert grid_of(SimpleNamespace(count=3)) is None
    assert grid_of(SimpleNamespace(count=3, grid=False)) is None
    assert grid_of(SimpleNamespace(count=9, grid=True, mode="sample")).rows == 3
    assert grid_of(SimpleNamespace(count=9, grid=True, mode="interpolate")).rows == 1


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    """With a small model of each family that makes pictures."""
    from tests.worker.runner_harness import RunnerHarness

    harness = RunnerHarness(tmp_path_factory.mktemp("grid"), ["vae", "gan"], previews=False)
    folder = harness.inputs / "data"
    data = packed.pictures(folder, packed.stripes(20, 8, 8))
    here = link.DatasetHere(folder=str(folder), facts=data.facts)
    for family in ("vae", "gan"):
        small = {"base_channels": 8, "steps": 2, "batch_size": 4}
        harness.start(f"{family}.1", "train", family, small, dataset=here)
        assert harness.end_of(f"{family}.1").type == "done"
    yield harness
    harness.close()


def outputs(runner, job, family, **params):
    runner.generate(job, family, params, runner.model_of(f"{family}.1"))
    done = runner.end_of(job)
    assert done.type == "done", done
    said = runner.said("output", job)
    return said, {o.name: (runner.out(job) / o.file).read_bytes() for o in said}


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_a_runner_adds_a_labelled_sheet_after_all_pictures_and_changes_none(runner, family):
    # more than a step makes, so that they arrive in parts
    plain, without = outputs(runner, f"{family}-a.1", family, count=70)
    said, files = outputs(runner, f"{family}-b.1", family, count=70, grid=True)
    assert [o.role for o in plain] == ["output"] * 70
    assert [o.role for o in said] == ["output"] * 70 + ["grid"]
    grid = said[-1]
    assert (grid.index, grid.name, grid.media_type) == (70, "grid.png", "image/png")
    assert {name: data for name, data in files.items() if name != "grid.png"} == without
    assert grid.label["ProduceID"] not in {o.label["ProduceID"] for o in said[:-1]}
    with Image.open(io.BytesIO(files["grid.png"])) as made:
        assert "AIGC" in made.info and grid.label["ProduceID"] in made.info["AIGC"]
        assert made.size == (9 * 8 + 8 * GAP, 8 * 8 + 7 * GAP)
        for index in (0, 13, 69):
            row, column = divmod(index, 9)
            at = (column * (8 + GAP), row * (8 + GAP))
            with Image.open(io.BytesIO(files[f"{index:04d}.png"])) as picture:
                assert made.crop((*at, at[0] + 8, at[1] + 8)).tobytes() == picture.tobytes()
    again = outputs(runner, f"{family}-c.1", family, count=70, grid=True)[1]
    assert again == files


def test_a_runner_makes_a_strip_of_a_way_from_one_to_another(runner):
    files = outputs(runner, "strip.1", "gan", mode="interpolate", count=5, grid=True)[1]
    assert len(files) == 6
    with Image.open(io.BytesIO(files["grid.png"])) as made:
        assert made.size == (5 * 8 + 4 * GAP, 8)
