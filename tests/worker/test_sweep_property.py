"""Whatever rows and files there are: a sweep takes all that is unreferenced and old, and nothing that is referenced.

Each thing is made in a random state together with what the rules in words say of it (`stays`); the sweep's own
queries are not asked.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from shared import datasets, short_tasks, uploads
from shared.db import clock
from shared.ids import new_id
from shared.models import Artifact, Checkpoint, Dataset, DatasetItem, Job, Model
from tests.work import Work
from worker.sweep import sweep

DAY = 86_400.0
LIVE, OVER = ("queued", "running"), ("succeeded", "failed", "cancelled")


class World:
    def __init__(self, settings, db, seed: int) -> None:
        self.work = Work(settings, db)
        self.random = random.Random(seed)
        self.stays: dict[Path, bool] = {}

    def pick(self, *choices):
        return self.random.choice(choices)

    def fill(self, count: int) -> None:
        makers = (self.artifact, self.checkpoint, self.model, self.dataset, self.upload)
        for _ in range(count):
            with self.work.db.writing() as session:
                self.now = clock(session)
                self.random.choice(makers)(session)

    def job(self, session, state: str, **values) -> str:
        job_id = new_id()
        over = {"finished_at": values.pop("finished_at", self.now)} if state in OVER else {}
        fields = {"kind": "train", "family": "f", "family_version": 1, "params": {}, "seed": 0}
        fields |= {"lane": "train", "rank": 0.0, "created_at": 1.0, "user_id": self.work.user_id}
        session.add(Job(id=job_id, state=state, **fields, **over, **values))
        session.flush()
        return job_id

    def file(self, path: Path, *, old: bool, stays: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * self.random.randint(1, 5000))
        if old:
            os.utime(path, (time.time() - 2 * DAY,) * 2)
        self.stays[path] = stays or not old

    def deletion(self):
        """(deleted_at, whether it is still in its grace or shown)."""
        return self.pick((None, True), (self.now - 60, True), (self.now - 2 * DAY, False))

    def artifact(self, session) -> None:
        maker = self.job(session, "succeeded")
        key = f"artifacts/{maker}/1/0.txt"
        has_row, (deleted_at, shown) = self.pick(True, True, False), self.deletion()
        reader = self.pick(None, *LIVE, *OVER)
        if has_row:
            fields = {"index": 0, "name": "n", "media_type": "text/plain", "bytes": 1, "seed": 0}
            fields |= {"sha256": "", "created_at": 1.0, "deleted_at": deleted_at}
            user = self.work.user_id
            session.add(Artifact(job_id=maker, user_id=user, location=key, **fields))
        if reader:
            self.job(session, reader, inputs={"source": {"location": key, "sha256": ""}})
        stays = (has_row and shown) or reader in LIVE
        self.file(self.work.storage.path_of(key), old=self.pick(True, True, False), stays=stays)

    def checkpoint(self, session) -> None:
        state, ended_long_ago = self.pick(*LIVE, *OVER), self.pick(True, False)
        has_row = self.pick(True, True, False)
        finished_at = self.now - (2 * DAY if ended_long_ago else 60)
        job_id = self.job(session, state, finished_at=finished_at)
        key = f"checkpoints/{job_id}/1/5.safetensors"
        expired = has_row and state in OVER and ended_long_ago
        if has_row:
            fields = {"fence": 1, "step": 5, "sha256": "", "bytes": 1, "created_at": 1.0}
            session.add(Checkpoint(job_id=job_id, location=key, **fields))
        old = self.pick(True, True, False) or expired
        self.file(self.work.storage.path_of(key), old=old, stays=has_row and not expired)

    def model(self, session) -> None:
        model_id, (deleted_at, shown) = new_id(), self.deletion()
        has_row, user = self.pick(True, True, False), self.pick(None, *LIVE, *OVER)
        by_training = self.pick(True, False)
        parent = self.job(session, "succeeded")
        if has_row:
            fields = {"name": "m", "family": "f", "family_version": 1, "files": {}, "sha256": ""}
            fields |= {"bytes": 1, "generate_schema": {}, "facts": {}, "created_at": 1.0}
            fields |= {"location": f"models/{model_id}", "deleted_at": deleted_at}
            owner = self.work.user_id
            session.add(Model(id=model_id, user_id=owner, job_id=parent, **fields))
        if user:
            which = {"waits_for": parent} if by_training else {"model_id": model_id}
            self.job(session, user, **which)
        old, stays = self.pick(True, True, False), has_row and (shown or user in LIVE)
        for name in ("atelier.json", "model.safetensors"):
            path = self.work.storage.path_of(f"models/{model_id}/{name}")
            self.file(path, old=old, stays=stays)

    def dataset(self, session) -> None:
        dataset_id, has_row = new_id(), self.pick(True, True, False)
        deleted = self.pick(True, False)
        used, by_input = self.pick(None, *LIVE, *OVER), self.pick(True, False)
        key = datasets.key_of(dataset_id, "data.bin")
        if has_row:
            fields = {"name": "d", "state": "ready", "facts": {}, "problems": {}, "created_at": 1.0}
            owner, deleted_at = self.work.user_id, self.now - 60 if deleted else None
            row = Dataset(id=dataset_id, user_id=owner, deleted_at=deleted_at, **fields)
            session.add(row)
            session.flush()
            item = {"n": 0, "name": "a", "sha256": "", "media_type": "text/plain", "offset": 0}
            session.add(DatasetItem(dataset_id=dataset_id, bytes=1, **item))
            if used:
                place = {"inputs": {"source": {"location": key, "sha256": ""}}}
                self.job(session, used, **(place if by_input else {"dataset_id": dataset_id}))
        stays = has_row and (not deleted or used in LIVE)
        # a deleted one goes as soon as nobody needs it: its owner has said so
        old = self.pick(True, False) or (has_row and deleted)
        self.file(self.work.storage.path_of(key), old=old, stays=stays)

    def upload(self, session) -> None:
        dataset_id, state = new_id(), self.pick(None, "checking", "ready", "refused")
        if state:
            fields = {"name": "u", "state": state, "facts": {}, "problems": {}, "created_at": 1.0}
            session.add(Dataset(id=dataset_id, user_id=self.work.user_id, **fields))
        if state == "checking":
            slot = datasets.check_slot(dataset_id)
            short_tasks.add(session, datasets.CHECK_TASK, {"dataset_id": dataset_id}, slot)
        old = self.pick(True, False)
        folder = uploads.folder_of(self.work.settings, dataset_id)
        self.file(folder / "0", old=old, stays=state == "checking")
        if old:
            os.utime(folder, (1.0, 1.0))

    def sweep(self):
        return sweep(self.work.settings, self.work.db, self.work.storage)

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.stays if path.exists())

    def check_nothing_needed_is_gone(self) -> None:
        lost = [path for path, stays in self.stays.items() if stays and not path.exists()]
        assert not lost, lost

    def check_all_else_is_gone(self) -> None:
        left = [path for path, stays in self.stays.items() if not stays and path.exists()]
        assert not left, left


@pytest.mark.parametrize("seed", range(4))
def test_what_is_needed_stays_and_the_rest_goes(settings, db, seed):
    world = World(settings, db, seed)
    world.fill(120)
    before = world.size()
    swept = world.sweep()
    world.check_nothing_needed_is_gone()
    world.check_all_else_is_gone()
    assert swept.bytes == before - world.size() > 0
    again = world.sweep()
    assert (again.files, again.bytes) == (0, 0)


class Crash(Exception):
    pass


@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_that_dies_anywhere_does_no_harm_and_the_next_one_finishes(
    settings, db, seed, monkeypatch
):
    world = World(settings, db, 100 + seed)
    world.fill(80)
    unlink, calls = Path.unlink, 0

    def dying(path, *args, **options):
        nonlocal calls
        calls += 1
        # before the file is gone, or just after
        if calls % 4 == 0:
            if calls % 8:
                unlink(path, *args, **options)
            raise Crash
        return unlink(path, *args, **options)

    crashes = 0
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", dying)
        for _ in range(3):
            try:
                world.sweep()
            except Crash:
                crashes += 1
            world.check_nothing_needed_is_gone()
    assert crashes == 3
    world.sweep()
    world.check_nothing_needed_is_gone()
    world.check_all_else_is_gone()
