from __future__ import annotations

import io
import json

import pytest
import torch
from PIL import Image

from shared.errors import BadData
from worker.data.images import Images, open_image


def png(colour, size=(8, 8), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


def pack_images(folder, pictures, labels):
    folder.mkdir()
    offset = 0
    with (folder / "data.bin").open("wb") as data, (folder / "manifest.jsonl").open("w") as lines:
        for n, (content, label) in enumerate(zip(pictures, labels, strict=True)):
            item = {"n": n, "offset": offset, "bytes": len(content), "label": label}
            lines.write(json.dumps(item) + "\n")
            data.write(content)
            offset += len(content)


def test_a_packed_folder_is_read_back(tmp_path):
    pictures = [png((n, 2 * n, 3 * n)) for n in range(3)]
    pack_images(tmp_path / "d", pictures, ["b", "a", "b"])
    images = Images.from_folder(tmp_path / "d")
    assert images.labels == ["a", "b"]
    tensor = images.tensors(8, 3)
    assert tensor.shape == (3, 3, 8, 8)
    assert tensor[2, :, 0, 0].tolist() == [2, 4, 6]
    assert images.part.classes.tolist() == [1, 0, 1]


def test_pictures_of_any_shape_become_the_asked_size():
    images = Images([png(9, (30, 7), "L"), png((5, 5, 5), (4, 19))], [None, None])
    assert images.tensors((6, 10), 1).shape == (2, 1, 6, 10)
    assert images.labels == []
    assert images.split(0, 1).train.batch(0, 2, 1)[1] is None


def test_a_batch_is_in_zero_to_one():
    images = Images([png(0, mode="L"), png(255, mode="L")], [None, None])
    images.tensors(8, 1)
    x, _ = images.split(0, 1).train.batch(0, 2, 1)
    assert sorted(x.mean((1, 2, 3)).tolist()) == [0.0, 1.0]


def numbered(count, names=()):
    tensor = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return Images.from_tensor(tensor.clone(), names)


def which(batch):
    return (batch[0][:, 0, 0, 0] * 255).round().int().tolist()


def test_every_epoch_shows_each_picture_once_in_an_order_of_its_own():
    part = numbered(10).split(0, 1).train
    rows = [row for n in range(10) for row in which(part.batch(n, 4, seed=1))]
    epochs = [rows[start : start + 10] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_batch_depends_on_seed_and_number_alone():
    part, fresh = numbered(10).split(0, 1).train, numbered(10).split(0, 1).train
    for n in range(7):
        part.batch(n, 4, seed=1)
    assert which(part.batch(2, 4, seed=1)) == which(fresh.batch(2, 4, seed=1))
    assert which(fresh.batch(2, 9, seed=1)) != which(fresh.batch(2, 9, seed=2))


def test_a_batch_larger_than_the_data_goes_round():
    assert len(which(numbered(3).split(0, 1).train.batch(0, 10, 1))) == 10


def test_each_class_gives_its_share_to_validation():
    names = ["cat"] * 40 + ["dog"] * 20 + ["rare"]
    split = numbered(61, names).split(0.1, seed=1)
    assert torch.bincount(split.validation.classes).tolist() == [4, 2]
    assert torch.bincount(split.train.classes).tolist() == [36, 18, 1]
    again = numbered(61, names).split(0.1, seed=1)
    assert split.validation.images.equal(again.validation.images)


def test_the_split_needs_a_size():
    with pytest.raises(BadData):
        Images([png(1, mode="L")], [None]).split(0.1, 1)


def test_a_picture_of_a_request_is_opened_and_nonsense_refused(tmp_path):
    (tmp_path / "good.png").write_bytes(png((1, 2, 3)))
    assert open_image(tmp_path / "good.png", 4, 3)[:, 0, 0].tolist() == [1, 2, 3]
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    with pytest.raises(BadData):
        open_image(tmp_path / "bad.png", 4, 3)
