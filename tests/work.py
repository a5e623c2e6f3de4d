"""Rows and processes that tests of the worker need: a person, a dataset, a model, jobs, and real workers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
from sqlalchemy import select, update

from shared import jobs, shares
from shared.config import Settings, child_environment
from shared.db import Database, clock
from shared.ids import new_id
from shared.job_records import NewJob
from shared.models import Dataset, Job, JobEvent, JobLog, Model, User, Worker
from shared.storage import Storage
from shared.storages import open_storage
from tests.servers import PATIENCE, die_with_parent, wait_until

FAMILIES = Path(__file__).parent / "families"
ROOT = FAMILIES.parent.parent
TEXTS = ("to be", "or not to be", "that is the question", "whether it is nobler")
FINAL = ("succeeded", "failed", "cancelled")
# A training of sleep_steps with this mark tells each step in its worker's log, as soon as it is made.
MARK = "step"
STEP_LINE = re.compile(rf'"message": "{MARK} (\d+)", "process": (\d+)')


def add_user(db: Database, name: str = "") -> str:
    with db.writing() as session:
        user = User(id=new_id(), name=name or new_id(), role="user", created_at=0.0)
        session.add(user)
        session.flush()
        shares.catch_up(session, user.id)
    return user.id


def add_dataset(db: Database, storage: Storage, user_id: str, texts=TEXTS) -> str:
    """A small text dataset, packed and ready."""
    dataset_id, offset, lines = new_id(), 0, []
    for n, text in enumerate(texts):
        data = text.encode()
        facts = {"n": n, "name": f"{n}.txt", "sha256": hashlib.sha256(data).hexdigest()}
        facts |= {"media_type": "text/plain", "offset": offset, "bytes": len(data)}
        facts |= {"characters": len(text), "label": None, "caption": None}
        lines.append(json.dumps(facts))
        offset += len(data)
    manifest = "".join(line + "\n" for line in lines).encode()
    sha256, _ = storage.put_bytes(f"datasets/{dataset_id}/manifest.jsonl", manifest)
    storage.put_bytes(f"datasets/{dataset_id}/data.bin", "".join(texts).encode())
    facts = {"items": len(texts), "characters": sum(map(len, texts)), "bytes": offset}
    with db.writing() as session:
        session.add(
            Dataset(
                id=dataset_id,
                user_id=user_id,
                name="texts",
                kind="text",
                state="ready",
                item_count=len(texts),
                bytes=offset,
                sha256=sha256,
                facts=facts,
                problems={},
                created_at=clock(session),
            )
        )
    return dataset_id


def add_model(db: Database, storage: Storage, user_id: str, family="sleep_steps") -> str:
    """A model of a test family, as a training would have made it."""
    model_id = new_id()
    data = json.dumps({"value": 1.5, "seen": [], "steps": 0}).encode()
    sha256, size = storage.put_bytes(f"models/{model_id}/model.json", data)
    with db.writing() as session:
        session.add(
            Model(
                id=model_id,
                user_id=user_id,
                name="model",
                family=family,
                family_version=1,
                location=f"models/{model_id}",
                files={"model.json": {"sha256": sha256, "bytes": size}},
                sha256=sha256,
                bytes=size,
                generate_schema={},
                facts={},
                created_at=clock(session),
            )
        )
    return model_id


class Work:
    """Submits jobs straight to the database, as web does, and looks at what becomes of them."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self.settings, self.db = settings, db
        self.storage = open_storage(settings)
        self.user_id = add_user(db)
        self.dataset_id = add_dataset(db, self.storage, self.user_id)
        self.models: dict[str, str] = {}

    def train(self, family: str = "sleep_steps", *, user_id="", version=1, **params) -> str:
        more = {"family_version": version, "dataset_id": self.dataset_id}
        return self._accept("train", family, params, "train", user_id, **more)

    def generate(self, family: str = "sleep_steps", *, user_id="", waits_for=None, **params) -> str:
        if family not in self.models:
            self.models[family] = add_model(self.db, self.storage, self.user_id, family)
        more = {"family_version": 1, "model_id": self.models[family], "waits_for": waits_for}
        return self._accept("generate", family, params, "interactive", user_id, **more)

    def _accept(self, kind, family, params, lane, user_id, **more) -> str:
        new = NewJob(
            user_id=user_id or self.user_id,
            kind=kind,
            family=family,
            params=params,
            seed=7,
            lane=lane,
            estimate_seconds=0.1,
            **more,
        )
        with self.db.writing() as session:
            return jobs.accept(session, new).id

    def job(self, job_id: str) -> Job:
        with self.db.reading() as session:
            return session.get(Job, job_id)

    def wait(self, job_id: str, *states: str, seconds: float = PATIENCE) -> Job:
        """The job in one of these states (any final one when none is named)."""
        wanted = states or FINAL
        found = {}

        def check():
            found["job"] = self.job(job_id)
            return found["job"].state in wanted

        try:
            wait_until(check, seconds)
        except AssertionError:
            job = found["job"]
            text = f"{job.state} step {job.progress_step} {job.error_code} {job.error_message}"
            raise AssertionError(f"job is {text}, wanted {wanted}") from None
        return found["job"]

    def log_of(self, job_id: str) -> str:
        with self.db.reading() as session:
            rows = select(JobLog.text).where(JobLog.job_id == job_id).order_by(JobLog.n)
            return "".join(session.scalars(rows))

    def seen(self, job_id: str) -> list[int]:
        """The steps that are in the model which a training of sleep_steps made."""
        with self.db.reading() as session:
            location = session.scalar(select(Model.location).where(Model.job_id == job_id))
        with self.storage.open(f"{location}/model.json") as file:
            return json.loads(file.read())["seen"]

    def wait_step(self, job_id: str, step: int, seconds: float = PATIENCE) -> Job:
        wait_until(lambda: self.job(job_id).progress_step >= step, seconds, f"step {step}")
        return self.job(job_id)

    def wait_checkpoint(self, job_id: str, step: int = 1, seconds: float = PATIENCE) -> Job:
        wait_until(lambda: self.job(job_id).checkpoint_step >= step, seconds, "checkpoint")
        return self.job(job_id)

    def events(self, job_id: str, kind: str) -> list[JobEvent]:
        with self.db.reading() as session:
            rows = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.type == kind)
            return list(session.scalars(rows.order_by(JobEvent.n)))

    def cancel(self, job_id: str) -> None:
        with self.db.writing() as session:
            jobs.request_cancel(session, job_id)

    def pause(self, job_id: str) -> None:
        with self.db.writing() as session:
            jobs.pause(session, job_id)

    def resume(self, job_id: str) -> None:
        with self.db.writing() as session:
            jobs.resume(session, job_id)

    def reap(self) -> int:
        with self.db.writing() as session:
            return jobs.reap(session, backoff_seconds=self.settings.backoff_seconds)

    def ask_drain(self, asked: bool) -> None:
        """As an administrator does, of every worker."""
        with self.db.writing() as session:
            at = clock(session) if asked else None
            session.execute(update(Worker).values(drain_requested_at=at))

    def worker_states(self) -> set[str]:
        with self.db.reading() as session:
            return set(session.scalars(select(Worker.state)))

    def worker_ids(self) -> list[str]:
        with self.db.reading() as session:
            return list(session.scalars(select(Worker.id)))

    def another_user(self) -> str:
        return add_user(self.db)

    def wait_two_checkpoints(self, job_id: str):
        """The last two that are recorded, the older first."""

        def check():
            with self.db.reading() as session:
                found = jobs.newest_checkpoints(session, job_id)[:2]
            return found if len(found) == 2 else None

        newer, older = wait_until(check, what="two checkpoints")
        return older, newer


class WorkerProcess:
    """`python -m worker` in a process group of its own; `root` is where its code lies."""

    def __init__(
        self,
        settings: Settings,
        name: str = "device-0",
        kind: str = "device",
        failpoint: str = "",
        root: Path = ROOT,
    ) -> None:
        self.settings = settings
        environment = child_environment(settings, OMP_NUM_THREADS="1")
        if failpoint:
            environment["FAILPOINT"] = failpoint
        self.log = settings.data / f"{name}.log"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", kind, "--name", name],
                cwd=root,
                env=environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.seen: set[psutil.Process] = set()

    @property
    def main(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    def child(self) -> psutil.Process:
        """The live child of main that runs the supervisor."""
        return wait_until(lambda: self._living(self.main.children()), what="a child of main")

    def runner(self) -> psutil.Process:
        return wait_until(self._runner, what="a runner")

    def _runner(self):
        with suppress(psutil.Error):
            below = self.child().children()
            return self._living([p for p in below if "worker.runner" in p.cmdline()])
        return None

    def _living(self, processes):
        for process in processes:
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    self.seen.add(process)
                    return process
        return None

    def wait_log(self, text: str, seconds: float = PATIENCE) -> None:
        wait_until(lambda: text in self.log.read_text(), seconds, f"{text!r} in {self.log.name}")

    def steps_made(self) -> list[list[int]]:
        """Of trainings with MARK: the steps that each runner has made, one runner after the other."""
        found: dict[str, list[int]] = {}
        for step, runner in STEP_LINE.findall(self.log.read_text()):
            found.setdefault(runner, []).append(int(step))
        return list(found.values())

    def look(self) -> None:
        """Remembers every process below, to see later that none is left."""
        with suppress(psutil.Error):
            self.seen.update(self.main.children(recursive=True))

    def term(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 45) -> int:
        return self.process.wait(seconds)

    def kill_group(self) -> None:
        self.look()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """For the end of a test, however it went."""
        self.look()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.assert_nothing_left()

    def assert_nothing_left(self, seconds: float = 60) -> None:
        wait_until(lambda: not any(map(is_alive, self.seen)), seconds, f"{self.seen} to end")


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
