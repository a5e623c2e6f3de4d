"""Uploads that nobody continues, and refused ones that nobody accepts, go after a day; others stay."""

from __future__ import annotations

import os

import pytest

from shared import uploads
from shared.db import clock
from shared.ids import new_id
from shared.models import Dataset, Upload
from worker.dataset_sweep import sweep_datasets


@pytest.fixture
def sweep(db, settings, storage):
    return lambda: sweep_datasets(settings, db, storage)


def aged(path):
    old = path.stat().st_mtime - uploads.KEPT_SECONDS - 10
    os.utime(path, (old, old))


def test_an_abandoned_upload_goes_with_its_file(db, settings, user, sweep):
    root = uploads.uploads_of(settings) / uploads.RESUMABLE
    root.mkdir(parents=True)
    names = {}
    with db.writing() as session:
        for name, left in (("abandoned", -1), ("alive", 60)):
            row = Upload(id=new_id(), user_id=user.id, length=4, created_at=0.0)
            row.expires_at = clock(session) + left
            session.add(row)
            names[name] = row.id
    for upload_id in (*names.values(), "without-a-row"):
        (root / upload_id).write_bytes(b"data")
        aged(root / upload_id)
    (root / "just-begun").write_bytes(b"")
    aged(root)
    sweep()
    assert {path.name for path in root.iterdir()} == {names["alive"], "just-begun"}
    with db.reading() as session:
        assert session.get(Upload, names["abandoned"]) is None
        assert session.get(Upload, names["alive"]) is not None


def test_a_refused_upload_is_kept_for_a_day_and_then_holds_nothing(db, settings, check, sweep):
    row = check({"good.txt": b"x", "bad.txt": b"\0"})
    folder = uploads.folder_of(settings, row.id)
    sweep()
    assert folder.exists()
    aged(folder)
    sweep()
    assert not folder.exists()
    with db.reading() as session:
        found = session.get_one(Dataset, row.id)
    assert (found.bytes, found.state) == (0, "refused")
    assert list(found.problems) == ["files"]
