from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from shared.errors import BadData
from tests.worker.runner_harness import pack_texts
from worker.data.texts import Streams, Texts, Windows


def test_it_needs_no_torch():
    code = "import sys, worker.data.texts, worker.data.images; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_a_packed_folder_is_read_back(tmp_path):
    pack_texts(tmp_path / "d", ["erste", "zweite Zeile", "第三"])
    assert Texts.from_folder(tmp_path / "d").documents == ["erste", "zweite Zeile", "第三"]


def test_an_empty_or_cut_dataset_is_refused(tmp_path):
    pack_texts(tmp_path / "empty", [])
    with pytest.raises(BadData):
        Texts.from_folder(tmp_path / "empty")
    pack_texts(tmp_path / "cut", ["0123456789"])
    (tmp_path / "cut" / "data.bin").write_bytes(b"0123")
    with pytest.raises(BadData):
        Texts.from_folder(tmp_path / "cut")


def test_one_text_is_split_at_its_end():
    split = Texts.from_text("0123456789").split(0.1, seed=1)
    assert (split.train.text, split.validation.text) == ("012345678", "9")


def test_many_texts_are_split_whole_and_by_the_seed():
    texts = Texts([f"text {n}" for n in range(100)])
    one, again, other = (texts.split(0.2, seed) for seed in (1, 1, 2))
    assert len(one.validation.documents) == 20
    assert sorted(one.train.documents + one.validation.documents) == sorted(texts.documents)
    assert one.validation.documents == again.validation.documents
    assert one.validation.documents != other.validation.documents


def test_nothing_is_held_out_when_nothing_is_asked():
    assert Texts.from_text("abc").split(0, 1).validation.documents == []


def test_a_batch_depends_on_seed_and_number_alone():
    windows = Windows(torch.arange(1000), 8)
    x, y = windows.batch(5, 4, seed=3)
    windows.batch(6, 4, seed=3)
    assert windows.batch(5, 4, seed=3)[0].equal(x)
    assert not windows.batch(6, 4, seed=3)[0].equal(x)
    assert not windows.batch(5, 4, seed=4)[0].equal(x)
    assert y.equal(x + 1)
    assert x.shape == (4, 8)


def test_drawing_a_batch_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    Windows(torch.arange(100), 8).batch(1, 4, seed=1)
    assert torch.get_rng_state().equal(before)


def test_windows_reach_both_ends_of_the_text():
    windows = Windows(torch.arange(10, dtype=torch.uint8), 8)
    starts = {int(x[0, 0]) for n in range(50) for x, _ in [windows.batch(n, 1, 1)]}
    assert starts == {0, 1}


def test_validation_sees_every_full_window_once():
    windows = Windows(torch.arange(26), 8)
    seen = torch.cat([x.flatten() for x, _ in windows.in_order(2)])
    assert seen.equal(torch.arange(24))


def test_a_text_shorter_than_a_window_is_refused():
    with pytest.raises(BadData, match="at least 9"):
        Windows(torch.arange(8), 8)


def test_a_stream_goes_on_where_it_ended():
    streams = Streams(torch.arange(1000), 8)
    batches = [streams.batch(n, 4, seed=3) for n in range(31)]
    for (x, _, _), (following, y, _) in pairwise(batches):
        assert x.shape == following.shape == (4, 8)
        assert following[:, 0].equal((x[:, -1] + 1) % 1000)
        assert y.equal((following + 1) % 1000)
    read = torch.cat([x for x, _, _ in batches]).unique()
    assert (
        len(read) >= 31 * 4 * 8 - 32
    )  # an epoch sees nearly all, and nothing twice but at the seams


def test_an_epoch_of_streams_begins_anew_elsewhere():
    streams = Streams(torch.arange(1000), 8)
    first, last, following = (streams.batch(n, 4, seed=3) for n in (0, 30, 31))
    assert not first[2].any() and not following[2].any() and last[2].any()
    assert not first[0].equal(following[0])
    assert not streams.batch(0, 4, seed=4)[0].equal(first[0])


def test_a_batch_of_streams_depends_on_seed_and_number_alone():
    before = torch.get_rng_state()
    streams = Streams(torch.arange(1000), 8)
    batch = streams.batch(5, 4, seed=3)
    streams.batch(6, 4, seed=3)
    again = Streams(torch.arange(1000), 8).batch(5, 4, seed=3)
    assert all(a.equal(b) for a, b in zip(batch, again, strict=True))
    assert torch.equal(before, torch.get_rng_state())


def test_streams_begin_anew_now_and_then():
    streams = Streams(torch.arange(100_000), 8)
    goes_on = torch.stack([streams.batch(n, 32, seed=3)[2] for n in range(1, 201)])
    assert 0.01 < 1 - goes_on.float().mean() < 0.06


def test_streams_of_a_text_too_short_for_so_many_rows_overlap():
    x, y, goes_on = Streams(torch.arange(20), 8).batch(7, 6, seed=1)
    assert x.shape == y.shape == (6, 8) and not goes_on.any()


def test_in_order_streams_read_each_token_once_and_on():
    pieces = list(Streams(torch.arange(103), 1).in_order(4, 10))
    x = torch.cat([x for x, _ in pieces], dim=1)
    assert [piece.shape[1] for piece, _ in pieces] == [10, 10, 5]
    assert x.flatten().equal(torch.arange(100))
    assert all(y.equal(x + 1) for x, y in pieces)


def test_streams_refuse_a_text_shorter_than_a_passage():
    with pytest.raises(BadData, match="9"):
        Streams(torch.arange(8), 8)
