"""A real runner process on a socketpair, and small datasets for it: what the runner's tests stand on."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from shared.config import bare_environment
from tests.device import DEVICE
from worker import link

ROOT = Path(__file__).resolve().parent.parent.parent
FAMILIES = ROOT / "tests" / "families"
TORCH_FAMILIES = ROOT / "tests" / "families_torch"
PATIENCE = 60


class RunnerHarness:
    """Starts a runner, speaks to it, remembers what it said."""

    def __init__(self, folder: Path, families: list[str], **settings) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker.runner", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                cwd=ROOT,
                env=bare_environment(OMP_NUM_THREADS="1"),
                start_new_session=True,
            )
        self.link = link.Link.to_runner(ours)
        self.heard: list[link.Message] = []
        defaults = {"threads": 1, "checkpoint_seconds": 3600}
        defaults["family_path"] = [str(FAMILIES), str(TORCH_FAMILIES)]
        self.link.send(
            link.Configure(
                folder=str(folder),
                device=DEVICE,
                families=families,
                **(defaults | settings),
            )
        )
        self.hello = self.until("hello")
        self.versions = {one["name"]: one["version"] for one in self.hello.families}

    def next(self) -> link.Message:
        message = self.link.receive(PATIENCE)
        assert message is not None, f"the runner was silent; before: {self.heard[-5:]}"
        self.heard.append(message)
        return message

    def until(self, *types: str, job: str | None = None):
        """The next message of one of these types (about this job)."""
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            message = self.next()
            if message.type in types and job in (None, getattr(message, "job", None)):
                return message
        raise AssertionError(f"no {types} in {PATIENCE} s; heard {self.heard[-5:]}")

    def end_of(self, job: str):
        return self.until("done", "failed", "cancelled", "drained", job=job)

    def said(self, kind: str, job: str | None = None) -> list:
        return [m for m in self.heard if m.type == kind and job in (None, getattr(m, "job", None))]

    @property
    def inputs(self) -> Path:
        """What is not in here it cannot read."""
        return self.folder / "in"

    def start(self, job: str, kind: str, family: str, params: dict, **more) -> None:
        self.out(job).mkdir(parents=True, exist_ok=True)
        more.setdefault("seed", 7)
        self.link.send(
            link.Start(
                job=job,
                kind=kind,
                family=family,
                family_version=self.versions.get(family, 1),
                params=params,
                folder=str(self.out(job)),
                **more,
            )
        )

    def train(self, job: str, family: str, params: dict, **more) -> None:
        self.start(job, "train", family, params, dataset=self.dataset(), **more)

    def generate(self, job: str, family: str, params: dict, model: link.ModelHere, **more) -> None:
        self.start(job, "generate", family, params, model=model, **more)

    def dataset(self, *texts: str) -> link.DatasetHere:
        """The dataset of this runner's trainings; the first call says what is in it."""
        folder = self.inputs / "dataset"
        if not folder.is_dir():
            texts = texts or tuple(f"Line {n} of a short text.\n" * 5 for n in range(9))
            pack_texts(folder, texts)
            self._facts = {"items": len(texts), "characters": sum(map(len, texts))}
        return link.DatasetHere(folder=str(folder), facts=self._facts)

    def model_of(self, job: str) -> link.ModelHere:
        return link.ModelHere(folder=str(self.out(job) / "model"), id="m1", sha256="ab" * 32)

    def out(self, job: str) -> Path:
        return self.folder / "out" / job

    def trained(self, job: str, family: str, params: dict, **more):
        """Trains to the end and returns (done, model)."""
        self.train(job, family, params, **more)
        done = self.end_of(job)
        assert done.type == "done", done
        return done, self.model_of(job)

    def send(self, message: link.Message) -> None:
        self.link.send(message)

    def close(self) -> None:
        self.link.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def pack_texts(folder: Path, texts) -> None:
    """A packed dataset as the datasets service lays it out."""
    folder.mkdir(parents=True)
    offset = 0
    with (folder / "data.bin").open("wb") as data, (folder / "manifest.jsonl").open("w") as lines:
        for n, text in enumerate(texts):
            content = text.encode()
            item = {"n": n, "name": f"{n}.txt", "media_type": "text/plain", "label": None}
            item |= {"offset": offset, "bytes": len(content)}
            lines.write(json.dumps(item) + "\n")
            data.write(content)
            offset += len(content)


def contents_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
