"""The OpenAPI document: valid, whole, made of what the views really take and give."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from shared import catalog
from tests.web.conftest import ANNOUNCEMENT, API
from tests.web.test_queue import FACTS, add_worker
from tests.webhook_rows import add_webhook
from web.api.describe import told_of
from web.api.document import api_calls


@pytest.fixture
def described(alice, toy):
    return alice.get("/openapi.json").json


def test_it_is_valid_openapi_3_1(described):
    assert described["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(described).validate()


def test_it_stays_valid_whatever_families_are_called(alice, studio):
    for name, title in (("2d-gan.v2", "A & B"), ("2d.gan-v2", ""), ("名", "名")):
        with studio.db.writing() as session:
            catalog.announce(session, {**ANNOUNCEMENT, "name": name, "title": title})
    described = alice.get("/openapi.json").json
    OpenAPIV31SpecValidator(described).validate()
    names = [n for n in described["components"]["schemas"] if re.search("Train_?Params$", n)]
    assert len(names) == 3


def test_it_is_valid_with_the_families_that_there_are(alice, studio):
    pytest.importorskip("torch")
    folder = Path(__file__).parents[2] / "worker" / "families"
    names = sorted(path.stem for path in folder.glob("[a-z]*.py"))
    for name in names:
        family = import_module(f"worker.families.{name}").FAMILY
        with studio.db.writing() as session:
            catalog.announce(session, family.announcement())
    described = alice.get("/openapi.json").json
    OpenAPIV31SpecValidator(described).validate()
    shapes = described["components"]["schemas"]
    assert {"VaeTrainParams", "TransformerLmTrainParams", "TransformerLmGenerateParams"} <= set(
        shapes
    )
    for name, shape in shapes.items():
        if name.endswith("Request") and "examples" in shape:
            check = Draft202012Validator(
                {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
            )
            assert [error.message for error in check.iter_errors(shape["examples"][0])] == []


def test_every_route_of_the_api_is_described(app):
    missing = [
        f"{method} {path}: put @told(...) of web/api/describe.py on {view.__module__}.{view.__name__}"
        for path, method, _, view in api_calls(app)
        if told_of(view) is None
    ]
    assert not missing, "\n".join(missing)


def test_every_described_route_is_in_the_document(app, described):
    there = {
        (path, method.upper()) for path, calls in described["paths"].items() for method in calls
    }
    assert there == {(path, method) for path, method, *_ in api_calls(app)}
    ids = [call["operationId"] for calls in described["paths"].values() for call in calls.values()]
    assert len(ids) == len(set(ids))


def test_a_view_reads_the_models_that_it_names(app):
    """`body(X)` and `query(X)` in the view are what its description says."""
    for path, method, _, view in api_calls(app):
        told, source = told_of(view), inspect.getsource(view).split("def ", 1)[1]
        for kind, models in (
            ("body", told.bodies),
            ("query", (told.query,) if told.query else ()),
        ):
            read = set(re.findall(rf"\b{kind}\((\w+(?:\.\w+)*)\)", source))
            named = {name.rpartition(".")[2] for name in read}
            for several in re.findall(rf"\b{kind}_of\(([^()]*)\)", source):
                named |= set(re.findall(r"=(\w+)", several))
            assert named == {model.__name__ for model in models}, (method, path, kind)


def test_every_refusal_is_a_problem_with_its_codes(described):
    for path, calls in described["paths"].items():
        for method, call in calls.items():
            for status, answer in call["responses"].items():
                if int(status) < 400:
                    continue
                (media,) = answer["content"]
                assert media == "application/problem+json", (method, path, status)
                _, codes = answer["content"][media]["schema"]["allOf"]
                assert all(
                    f"`{code}`" in answer["description"]
                    for code in codes["properties"]["code"]["enum"]
                )


def test_the_families_are_in_it_for_who_is_signed_in(alice, client, described):
    shapes = described["components"]["schemas"]
    assert shapes["ToyTrainParams"]["properties"]["steps"]["maximum"] == 1_000_000
    assert shapes["ToyTrainRequest"]["required"] == ["dataset_id", "family", "kind"]
    offered = [one["$ref"] for one in shapes["JobRequest"]["anyOf"]]
    assert offered == [
        "#/components/schemas/ToyTrainRequest",
        "#/components/schemas/ToyGenerateRequest",
    ]
    stranger = client.get(f"{API}/openapi.json")
    assert stranger.status_code == 200
    assert "Toy" not in stranger.text and "toy" not in stranger.text
    OpenAPIV31SpecValidator(stranger.json).validate()
    wrong = client.get(f"{API}/openapi.json", headers={"Authorization": "Bearer x"})
    assert wrong.status_code == 401


def test_the_job_request_takes_what_the_server_takes(alice, work, described):
    check = Draft202012Validator(
        {"$ref": "#/components/schemas/JobRequest", "components": described["components"]}
    )
    dataset_id, model_id = work.dataset(alice), work.model(alice)
    training = {"kind": "train", "family": "toy", "dataset_id": dataset_id}
    for body, status in (
        (training, 200),
        ({**training, "params": {"steps": 5, "width": 4}, "seed": 1, "name": "a"}, 200),
        ({**training, "params": {"steps": 0}}, 422),
        ({**training, "params": {"stepz": 1}}, 422),
        ({**training, "model_id": model_id}, 422),
        ({**training, "dataset_id": None}, 422),
        ({"kind": "train", "dataset_id": dataset_id}, 422),
        ({"kind": "generate", "model_id": model_id}, 200),
        ({"kind": "generate", "model_id": model_id, "family": "toy", "params": {"count": 3}}, 200),
        ({"kind": "generate", "model_id": model_id, "dataset_id": dataset_id}, 422),
        ({"kind": "generate", "family": "toy"}, 422),
        ({"kind": "evaluate", "family": "toy"}, 422),
        ({**training, "seed": -1}, 422),
        ({**training, "name": "a\nb"}, 422),
        ({**training, "colour": "red"}, 422),
    ):  # fmt: skip
        assert check.is_valid(body) == (status == 200), body
        assert alice.post("/jobs?dry_run=1", json=body).status_code == status, body


def test_its_etag_changes_with_the_families(alice, toy, studio):
    first = alice.get("/openapi.json")
    seen = {"If-None-Match": first.headers["ETag"]}
    assert alice.get("/openapi.json", headers=seen).status_code == 304
    with studio.db.writing() as session:
        catalog.announce(session, {**ANNOUNCEMENT, "name": "other"})
    assert alice.get("/openapi.json", headers=seen).status_code == 200


# ---- answers

FOR_ADMINISTRATORS = {"audit", "invitations", "storage", "users", "workers"}


def strange(value, schema, shapes, at=""):
    """Fields of an answer that its shape does not know."""
    if "$ref" in schema:
        schema = shapes[schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        found = [
            strange(value, one, shapes, at) for one in schema["anyOf"] if one != {"type": "null"}
        ]
        return min(found, key=len) if value is not None else []
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        missing = [f"{at}/{name}" for name in value if name not in known]
        inside = [
            strange(value[name], known[name], shapes, f"{at}/{name}")
            for name in value
            if name in known
        ]
        return missing + [one for part in inside for one in part]
    if isinstance(value, list) and "items" in schema:
        return [one for part in value for one in strange(part, schema["items"], shapes, f"{at}/0")]
    return []


def test_answers_have_the_fields_that_are_told_and_no_others(
    alice, person, things, work, described, studio
):
    """A new field of an answer goes into web/api/shapes_*.py."""
    work.training(alice)
    ids = {f"{name}_id": value for name, value in things.items()} | {"n": "0", "name": "toy"}
    ids["job_id"] = alice.get(f"/artifacts/{things['artifact']}").json["job_id"]
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "1"}
    ids |= {"upload_id": alice.post("/uploads", headers=tus).json["id"], "user_id": alice.user.id}
    add_worker(studio, "device-0.gpu-1", facts=FACTS)
    ids["webhook_id"] = add_webhook(studio.db, alice.user.id)
    root = person("root", admin=True)
    shapes = described["components"]["schemas"]
    compared = 0
    for path, calls in described["paths"].items():
        schema = calls.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        schema = schema.get("application/json", {}).get("schema", {})
        if "$ref" not in schema:
            continue
        asking = root if path.split("/")[1] in FOR_ADMINISTRATORS else alice
        answer = asking.get(path.format(**ids))
        assert answer.status_code == 200, path
        check = Draft202012Validator({**schema, "components": described["components"]})
        assert [error.message for error in check.iter_errors(answer.json)] == [], path
        assert strange(answer.json, schema, shapes) == [], path
        compared += 1
    assert compared >= 25


# ---- methods and media


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("get", "/nowhere", {}, 404, "not_found"),
        ("put", "/jobs", {}, 405, "method_not_allowed"),
        ("post", "/models", {"json": {}}, 405, "method_not_allowed"),
        (
            "post",
            "/jobs",
            {"data": "a", "content_type": "text/plain"},
            415,
            "unsupported_media_type",
        ),
        ("get", "/families?colour=red", {}, 422, "invalid_input"),
        ("get", "/jobs?limit=5&limit=6", {}, 422, "invalid_input"),
        ("get", "/jobs?limit=0", {}, 422, "invalid_input"),
        ("get", "/jobs?limit=1_0", {}, 422, "invalid_input"),
        ("delete", "/jobs/x?force=maybe", {}, 422, "invalid_input"),
    ],
)
def test_refusals_are_problems(alice, toy, method, path, options, status, code):
    answer = getattr(alice, method)(path, **options)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.mimetype == "application/problem+json"
    if status == 405:
        assert "GET" in answer.headers["Allow"]


def test_options_names_the_methods_and_head_sends_no_body(alice, things):
    allowed = alice.options(f"/jobs/{things['job']}").headers["Allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "OPTIONS", "DELETE"}
    for path in ("/jobs", "/queue", "/openapi.json", f"/artifacts/{things['artifact']}/content"):
        whole, head = alice.get(path), alice.head(path)
        assert (head.status_code, head.data) == (200, b"")
        assert head.headers["Content-Type"] == whole.headers["Content-Type"]
        assert int(head.headers["Content-Length"]) > 0
