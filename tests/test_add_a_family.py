"""Promise 5: one new file, nothing else changed, and form, API and command line follow."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from tests.installation import Installation
from tests.servers import wait_until

ECHO = '''
"""Repeats what it has read.

A family of forty lines that needs no torch.
"""

from __future__ import annotations

import json

from shared.params import Field, Params
from worker.family import Family, Finished


class TrainParams(Params):
    steps: int = Field(3, ge=1, le=100, title="Echo steps", description="How often it reads.")


class GenerateParams(Params):
    count: int = Field(1, ge=1, le=100, title="Count", description="How many echoes.")
    loudness: int = Field(2, ge=1, le=9, title="Loudness", description="How often each word comes.")


class Memory:
    text = ""

    def state_dict(self):
        return {"text": self.text}

    def load_state_dict(self, state):
        self.text = state["text"]


def train(params, data, run):
    memory = run.keep("model", Memory())
    for batch in run.batches(data.split(0.0, run.seed).train, 1, params.steps):
        memory.text = batch[0][:20]
        yield {"length": float(len(memory.text))}


def save(model, folder):
    (folder / "model.json").write_text(json.dumps(model.state_dict()))


def load(folder, device):
    model = Memory()
    model.load_state_dict(json.loads((folder / "model.json").read_text()))
    return model


def describe(model):
    return {"schema": {"loudness": {"maximum": 3}}, "facts": {}}


class Sampler:
    def __init__(self, model, params):
        self.model, self.items = model, {}

    def room(self):
        return 4 - len(self.items)

    def admit(self, item):
        slot = min(set(range(4)) - set(self.items))
        self.items[slot] = item
        return slot

    def step(self):
        slot, item = self.items.popitem()
        text = f"{self.model.text} " * item.params.loudness
        return [Finished(slot, text.encode(), "text/plain", "txt")]

    def peek(self, slot):
        return None

    def drop(self, slot):
        self.items.pop(slot, None)


FAMILY = Family(
    name="echo",
    version=1,
    title="Echo",
    summary="Repeats what it has read.",
    modality="text",
    dataset_kind="text",
    train=TrainParams,
    generate=GenerateParams,
    train_example={"steps": 3},
    generate_example={"loudness": 2},
    train_cost={"flops": "steps * 1000"},
    generate_cost={"flops": "count * 10"},
)
'''


@pytest.fixture(scope="module")
def atelier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    (folder / "echo.py").write_text(ECHO)
    with Installation(family_path=str(folder), families="echo") as started:
        yield started


@pytest.fixture(scope="module")
def client(atelier):
    client = atelier.user()
    atelier.families(client, "echo")
    return client


def test_the_api_offers_it_checks_it_and_runs_it(client):
    family = client.families.get("echo")
    assert family["actions"]["train"]["schema"]["properties"]["steps"]["title"] == "Echo steps"
    dataset = client.datasets.wait(client.datasets.add(sample="python-docs")["id"])
    with pytest.raises(Exception, match="(?i)some of the input") as refused:
        client.jobs.submit("train", {"steps": 101}, family="echo", dataset_id=dataset["id"])
    assert refused.value.errors == [{"pointer": "/params/steps", "message": "must be at most 100"}]
    job = client.jobs.submit("train", {}, family="echo", dataset_id=dataset["id"])
    job = client.jobs.wait(job["id"], timeout=60)
    model = client.models.get(job["result"]["model_id"])
    assert model["generate_schema"]["properties"]["loudness"]["maximum"] == 3
    job = client.jobs.submit("generate", {"count": 6}, model_id=model["id"])
    job = client.jobs.wait(job["id"], timeout=60)
    assert len(job["result"]["artifacts"]) == 6


def test_the_command_line_knows_it(atelier, client):
    token = client._connection.http.headers["Authorization"].split()[1]
    atelier.environment |= {"ATELIER_URL": atelier.url, "ATELIER_TOKEN": token}
    shown = json.loads(atelier.atelier("family", "show", "echo", "--json"))
    assert shown["actions"]["generate"]["schema"]["properties"]["loudness"]["default"] == 2
    dataset = client.datasets.list()[0]["id"]
    done = atelier.atelier(
        *("job", "submit", "train", "--family", "echo", "--dataset", dataset),
        *("-p", "steps=2", "--wait", "--json"),
    )
    assert json.loads(done[done.index("{") :])["state"] == "succeeded"


def test_the_form_is_drawn_from_it(atelier, client):
    link = re.search(r"http\S+/welcome/\S+", atelier.log()).group()
    with httpx.Client(base_url=atelier.url, follow_redirects=True) as browser:
        page = browser.get(link)
        fields = {"password": "correct horse", "again": "correct horse"}
        names = set(re.findall(r'name="([^"]+)"', page.text)) - {"csrf_token"}
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text).group(1)
        form = {name: fields.get(name, "correct horse") for name in names if "password" in name}
        form |= {name: "correct horse" for name in names if "again" in name or "repeat" in name}
        home = browser.post(link, data=form | {"csrf_token": token}, headers={"Referer": link})
        assert home.status_code == 200
        wait_until(lambda: "Echo steps" in browser.get("/train/echo").text, 10, "the form is there")
