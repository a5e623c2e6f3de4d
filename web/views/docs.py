"""/docs: the OpenAPI document as a page to read. It needs no script, no other host and no account."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, current_app, render_template
from flask.typing import ResponseReturnValue

from web.api.document import document
from web.security import absolute, studio, user_or_none
from web.services import families

Shape = dict[str, Any]

LONGEST_CHOICE = 12
# The same in Python and on the command line, where there is a short way.
PYTHON = {
    "datasets_add": 'atelier.datasets.add(["photos.zip"], name="Cats")',
    "jobs_submit": 'atelier.jobs.submit("train", {"steps": 500}, family="vae", dataset_id=data["id"], seed=1)',
    "jobs_show": "atelier.jobs.wait(job_id)",
    "jobs_cancel": "atelier.jobs.cancel(job_id)",
}
CLI = {
    "datasets_add": "atelier dataset add photos.zip --name Cats",
    "jobs_submit": "atelier job submit train --family vae --dataset ID -p steps=500 --seed 1 --wait",
    "jobs_index": "atelier job list",
    "jobs_show": "atelier job show ID",
    "jobs_cancel": "atelier job cancel ID",
    "families_index": "atelier family list",
    "families_show": "atelier family show NAME",
    "artifacts_content": "atelier artifact get ID -o PATH",
}

bp = Blueprint("docs", __name__)


@bp.get("/docs")
def index() -> ResponseReturnValue:
    known = families.list_families(studio()) if user_or_none() else []
    found = document(current_app, known)
    return render_template(
        "docs.html",
        url=absolute(""),
        about=found["info"]["description"],
        version=found["info"]["version"],
        nouns=_nouns(found),
        shapes=_shapes(found),
        codes=_codes(found),
    )


def _nouns(found: Shape) -> dict[str, list[Shape]]:
    nouns: dict[str, list[Shape]] = {tag["name"]: [] for tag in found["tags"]}
    for path, calls in found["paths"].items():
        for method, call in calls.items():
            nouns[call["tags"][0]].append(_call(found, path, method.upper(), call))
    return nouns


def _call(found: Shape, path: str, method: str, call: Shape) -> Shape:
    bodies = call.get("requestBody", {}).get("content", {})
    name = call["operationId"]
    return {
        "id": name,
        "method": method,
        "path": path,
        "summary": call["summary"],
        "text": call.get("description", ""),
        "parameters": [
            {**one, "words": words_of(one["schema"])} for one in call.get("parameters", [])
        ],
        "bodies": [(media, words_of(body["schema"])) for media, body in bodies.items()],
        "answers": [
            (status, one["description"], [(m, words_of(c["schema"])) for m, c in _content(one)])
            for status, one in call["responses"].items()
        ],
        "curl": _curl(found, path, method, bodies),
        "python": PYTHON.get(name, ""),
        "cli": CLI.get(name, ""),
    }


def _content(answer: Shape) -> list[tuple[str, Shape]]:
    """What matters: every refusal is the same Problem."""
    content = answer.get("content", {})
    return [(media, one) for media, one in content.items() if "problem" not in media]


def _curl(found: Shape, path: str, method: str, bodies: Shape) -> str:
    parts = ["curl"] + ([f"-X {method}"] if method not in ("GET", "POST") or not bodies else [])
    parts.append('-H "Authorization: Bearer $ATELIER_TOKEN"')
    if "application/json" in bodies:
        example = json.dumps(_example(found, bodies["application/json"]["schema"]))
        example = example.replace("'", "'\\''")  # inside the quotes of a shell
        parts += ["-H 'Content-Type: application/json'", f"-d '{example}'"]
    elif bodies:
        parts.append("-F file=@photos.zip")
    where = path.replace("{", "").replace("}", "").replace("_id", "_ID")
    return " \\\n  ".join([*parts, f"$ATELIER_URL/api/v1{where}"])


def _example(found: Shape, schema: Shape) -> Any:
    """A small value that fits: the example given, or what is required."""
    schema = _resolved(found, schema)
    if schema.get("examples"):
        return schema["examples"][0]
    for name in ("anyOf", "oneOf"):
        if name in schema:
            return _example(found, schema[name][0])
    if "const" in schema or "enum" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    if schema.get("type") == "object":
        needed = schema.get("required") or list(schema.get("properties", {}))[:1]
        return {name: _example(found, schema["properties"][name]) for name in needed}
    if schema.get("type") == "array":
        return [_example(found, schema["items"])]
    return {"integer": schema.get("minimum", 1), "number": 1.0, "boolean": True}.get(
        str(schema.get("type")), "…"
    )


def _resolved(found: Shape, schema: Shape) -> Shape:
    while "$ref" in schema:
        schema = found["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _shapes(found: Shape) -> dict[str, Shape]:
    shapes = {}
    for name, schema in sorted(found["components"]["schemas"].items()):
        needed = schema.get("required", ())
        fields = [
            {
                "name": field,
                "words": words_of(part),
                "text": part.get("description", ""),
                "needed": field in needed,
            }
            for field, part in schema.get("properties", {}).items()
        ]
        choices = [
            one["$ref"].rsplit("/", 1)[1] for one in schema.get("anyOf", ()) if "$ref" in one
        ]
        shapes[name] = {
            "text": schema.get("description", ""),
            "fields": fields,
            "choices": choices,
        }
    return shapes


def _codes(found: Shape) -> list[tuple[str, str, str]]:
    """(code, status, words) of every refusal, once."""
    codes: dict[str, tuple[str, str, str]] = {}
    for calls in found["paths"].values():
        for call in calls.values():
            for status, answer in call["responses"].items():
                problem = answer.get("content", {}).get("application/problem+json")
                if problem:
                    words = dict(_code_words(answer["description"]))
                    codes |= {code: (code, status, text) for code, text in words.items()}
    return sorted(codes.values(), key=lambda one: (one[1], one[0]))


def _code_words(text: str) -> list[tuple[str, str]]:
    pieces = text.split("`")[1:]
    return [
        (code, words.removeprefix(": ").strip())
        for code, words in zip(pieces[::2], pieces[1::2], strict=False)
    ]


# ---- schemas in words --------------------------------------------------------------------------------


def words_of(schema: Shape) -> Shape:
    """{"text": a type and its bounds, "ref": the component to look at, or ""}."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return {"text": name, "ref": name}
    if "anyOf" in schema:
        parts = [words_of(one) for one in schema["anyOf"]]
        ref = next((part["ref"] for part in parts if part["ref"]), "")
        return {"text": " or ".join(part["text"] for part in parts), "ref": ref}
    if schema.get("type") == "array":
        inner = words_of(schema.get("items", {}))
        return {"text": f"list of {inner['text']}{_bounds(schema)}", "ref": inner["ref"]}
    return {"text": _plain_words(schema), "ref": ""}


def _plain_words(schema: Shape) -> str:
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        shown = [json.dumps(one, ensure_ascii=False) for one in schema["enum"][:LONGEST_CHOICE]]
        return " | ".join(shown + ["…"] * (len(schema["enum"]) > LONGEST_CHOICE))
    kind = schema.get("format") or schema.get("type") or "anything"
    default = f", default {json.dumps(schema['default'])}" if "default" in schema else ""
    return f"{kind}{_bounds(schema)}{default}"


def _bounds(schema: Shape) -> str:
    pairs = (
        ("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"),
        ("minLength", "length ≥"), ("maxLength", "length ≤"), ("minItems", "≥"), ("maxItems", "≤"),
    )  # fmt: skip
    found = [f"{sign} {schema[name]}" for name, sign in pairs if schema.get(name) is not None]
    return f" ({', '.join(found)})" if found else ""
