"""The web application on a database of the test's own, with people, families and finished work to talk about."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared import catalog, dataset_preview, jobs, packs
from shared.ids import new_id
from shared.job_records import Lease, NewArtifact, NewModel, Outcome, Report
from shared.models import Dataset, DatasetItem, Job, User
from shared.params import Field, Params, schema_of
from shared.scheduling import Offer, claim
from tests.web.browsing import Browser
from tests.webhook_rows import add_webhook
from web import attach, make_app
from web.services.accounts import create_user
from web.services.tokens import issue_token

API = "/api/v1"
_numbers = itertools.count(1)


class TrainParams(Params):
    steps: int = Field(100, ge=1, le=1_000_000, title="Steps", description="Optimizer steps.")
    width: int = Field(8, ge=1, le=4096, title="Width", description="Width of the layers.")
    heads: int = Field(2, ge=1, le=64, title="Heads", description="Heads of attention.")
    rate: float = Field(0.1, gt=0, le=1, title="Rate", description="Learning rate.")


class GenerateParams(Params):
    count: int = Field(1, ge=1, le=1000, title="Count", description="How many.")
    prompt: str = Field("", max_length=2000, title="Prompt", description="How it begins.")
    source: str = Field(
        "", title="Source", description="A picture.", json_schema_extra={"x-ref": "image"}
    )


ANNOUNCEMENT: dict[str, Any] = {
    "name": "toy",
    "version": 1,
    "title": "Toy",
    "summary": "Learns nothing.",
    "modality": "image",
    "dataset_kind": "images",
    "accepts": [["channels == 1", "the pictures must be grey"]],
    "actions": {
        "train": {
            "schema": schema_of(TrainParams),
            "example": {"steps": 10},
            "rules": [["width % heads == 0", "width", "must be a multiple of heads"]],
            "cost": {"flops": "steps * width * items * 1e6", "bytes": "width * 1e6"},
        },
        "generate": {
            "schema": schema_of(GenerateParams),
            "example": {"count": 2},
            "rules": [],
            "cost": {"flops": "count * 1e9", "bytes": "1e6"},
        },
    },
    "batch_by": [],
    "doc": "A toy.",
}


@dataclass
class Person:
    """A user with a token, who talks to the API."""

    user: User
    token: str
    client: FlaskClient

    def __getattr__(self, method: str) -> Any:
        def call(path: str, **options: Any) -> Any:
            headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
            options.setdefault("buffered", True)
            return getattr(self.client, method)(API + path, headers=headers, **options)

        return call


@pytest.fixture
def database_url(sqlite_url):
    """One database is enough for most of the web; test_both_databases.py uses both."""
    return sqlite_url


@pytest.fixture(scope="session")
def made_app():
    """Made once: putting the routes together takes as long as a whole test."""
    return make_app()


@pytest.fixture
def app(settings, made_app):
    attach(made_app, settings)
    yield made_app
    made_app.extensions["atelier"].close()


@pytest.fixture
def studio(app):
    return app.extensions["atelier"]


@pytest.fixture
def limits(studio):
    """limits(max_job_seconds=60): other settings from now on."""

    def change(**values) -> None:
        object.__setattr__(studio, "settings", studio.settings.model_copy(update=values))

    return change


@pytest.fixture
def client(app: Flask):
    return app.test_client()


@pytest.fixture
def person(app, studio):
    def make(name: str = "", admin: bool = False) -> Person:
        user = create_user(studio.db, name or f"person{next(_numbers)}", admin)
        token = issue_token(studio.db, user, "test")["token"]
        return Person(user, token, app.test_client())

    return make


@pytest.fixture
def alice(person):
    return person("alice")


@pytest.fixture
def bob(person):
    return person("bob")


@pytest.fixture
def toy(studio):
    """A family that some worker offers."""
    with studio.db.writing() as session:
        catalog.announce(session, ANNOUNCEMENT)
    return ANNOUNCEMENT


@pytest.fixture
def work(studio, toy):
    return Work(studio)


class Work:
    """Makes what workers make."""

    def __init__(self, studio) -> None:
        self.studio = studio
        self.number = itertools.count()

    def dataset(self, person: Person, **values) -> str:
        defaults = {
            "name": "pictures",
            "kind": "images",
            "state": "ready",
            "sha256": "d" * 64,
            "item_count": 1,
            "facts": {"items": 10, "channels": 1, "labels": ["a", "b"], "classes": 2},
            "problems": {},
            "created_at": 1.0,
        }
        with self.studio.db.writing() as session:
            row = Dataset(id=new_id(), user_id=person.user.id, **(defaults | values))
            session.add(row)
            session.flush()
            session.add(
                DatasetItem(
                    dataset_id=row.id,
                    n=0,
                    name="a.png",
                    sha256="1" * 64,
                    media_type="image/png",
                    offset=0,
                    bytes=3,
                )
            )
        return row.id

    def preview(self, dataset_id: str) -> None:
        """What the check of a dataset writes for people to look at."""
        made = dataset_preview.Preview(1)
        facts = {"width": 1, "height": 1, "channels": 1}
        item = packs.PackItem(0, "a.png", "1" * 64, "image/png", 0, 33, None, None, facts)
        head = dataset_preview.HEADER.pack(dataset_preview.SIGNATURE, 1, 1, 8, 0)
        made.add(item, packs.Look(head=head))
        text = json.dumps(made.result()).encode()
        self.studio.storage.put_bytes(f"datasets/{dataset_id}/preview.json", text)

    def training(self, person: Person, **body) -> dict[str, Any]:
        """A queued training."""
        body.setdefault("dataset_id", self.dataset(person))
        answer = person.post("/jobs", json={"kind": "train", "family": "toy", **body})
        assert answer.status_code == 202, answer.text
        return answer.json

    def claim(self, worker_id: str = "w") -> list[Job]:
        offer = Offer(
            worker_id=worker_id,
            lanes=("interactive", "batch", "train"),
            families={"toy": 1},
            limit=10,
            lease_seconds=60,
        )
        with self.studio.db.writing() as session:
            return claim(session, offer)

    def report(self, job: Job, **values) -> None:
        with self.studio.db.writing() as session:
            assert jobs.report(session, Lease(job.id, job.fence), Report(**values))

    def checkpoint(self, job: Job, step: int, score: float | None = None) -> None:
        """Records one of a running job."""
        key = f"checkpoints/{job.id}/{job.fence}/{step}.safetensors"
        sha256, size = self.studio.storage.put_bytes(key, b"state")
        file = {"location": key, "sha256": sha256, "size": size, "score": score}
        with self.studio.db.writing() as session:
            assert jobs.add_checkpoint(session, Lease(job.id, job.fence), step=step, **file)

    def succeed(self, job: Job, texts: tuple[bytes, ...] = (b"abc",), model: bool = False) -> Job:
        artifacts = []
        for index, data in enumerate(texts):
            location = f"artifacts/{job.id}/{job.fence}/{index}.txt"
            sha256, size = self.studio.storage.put_bytes(location, data)
            artifacts.append(
                NewArtifact(
                    index=index,
                    name=f"{index}.txt",
                    media_type="text/plain",
                    bytes=size,
                    sha256=sha256,
                    location=location,
                    seed=7,
                )
            )
        outcome = Outcome(
            artifacts=artifacts, model=self._model() if model else None, metrics={"loss": 0.5}
        )
        with self.studio.db.writing() as session:
            return jobs.succeed(session, Lease(job.id, job.fence), outcome)

    def _model(self) -> NewModel:
        model_id = new_id()
        location = f"models/{model_id}"
        self.studio.storage.put_bytes(f"{location}/model.safetensors", b"weights")
        schema = schema_of(GenerateParams)
        schema["properties"]["count"]["maximum"] = 8
        return NewModel(
            id=model_id,
            location=location,
            files={"model.safetensors": {"sha256": "2" * 64, "bytes": 7}},
            sha256="3" * 64,
            bytes=7,
            generate_schema=schema,
            facts={"items": 10},
        )

    def model(self, person: Person) -> str:
        """The id of a model that a training of this person made."""
        job_id = self.training(person)["id"]
        (job,) = [row for row in self.claim() if row.id == job_id]
        self.succeed(job, model=True)
        return person.get(f"/jobs/{job_id}").json["result"]["model_id"]

    def generation(self, person: Person, **body) -> dict[str, Any]:
        """A queued generation."""
        body.setdefault("model_id", self.model(person) if "model_id" not in body else None)
        answer = person.post("/jobs", json={"kind": "generate", **body})
        assert answer.status_code == 202, answer.text
        return answer.json

    def artifact(self, person: Person, data: bytes = b"abc") -> str:
        """The id of an artifact of a finished generation."""
        job_id = self.generation(person)["id"]
        (job,) = [row for row in self.claim() if row.id == job_id]
        self.succeed(job, (data,))
        return person.get(f"/jobs/{job_id}").json["result"]["artifacts"][0]["id"]


@pytest.fixture
def mine(app, alice):
    """Alice's browser."""
    return Browser(app, alice.user)


@pytest.fixture
def theirs(app, bob):
    """Bob's browser."""
    return Browser(app, bob.user)


@pytest.fixture
def things(work, alice):
    """One of everything, all Alice's."""
    dataset_id = work.dataset(alice)
    work.preview(dataset_id)
    work.studio.storage.put_bytes(f"datasets/{dataset_id}/data.bin", b"png")
    model_id = work.model(alice)
    artifact_id = work.artifact(alice, b"a poem\nin two lines")
    return {
        "dataset": dataset_id,
        "model": model_id,
        "artifact": artifact_id,
        "job": work.training(alice, name="a queued one")["id"],
        "webhook": add_webhook(work.studio.db, alice.user.id, new_id()),
    }
