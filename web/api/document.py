"""The OpenAPI document, made of the routes, of what `told` says beside their views, and of the families' schemas."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from flask import Flask
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from shared.errors import (
    AppError,
    BadRange,
    BadRequest,
    Forbidden,
    InvalidInput,
    NotFound,
    NotSignedIn,
    TooLarge,
    Unavailable,
)
from web.api.describe import FORM, HEADERS, JSON, Answer, Schema, Shape, Told, told_of
from web.api.family_schemas import job_request
from web.api.shapes_schema import Problem
from web.errors import PROBLEM_JSON
from web.requests import JobRequest
from web.security import WrongMediaType

BASE = "/api/v1"
COMPONENTS = "#/components/schemas/"
ID = {"type": "string", "pattern": "^[0-9A-Za-z_.-]{1,64}$"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SECURITY: list[dict[str, list[str]]] = [{"token": []}, {"session": [], "csrf": []}]
SECURITY_SCHEMES: Schema = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token from POST /me/tokens, or from `atelier user create NAME`.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "atelier",
        "description": "The cookie of a signed-in browser; `__Host-atelier` over https.",
    },
    "csrf": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRFToken",
        "description": "With the cookie, for all but GET, HEAD and OPTIONS.",
    },
}
ABOUT = (
    "Train generative models on your own data, and generate with them. Every piece of work is a job: POST /jobs "
    "answers 202 at once, GET /jobs/ID?wait=60 follows it. Errors are application/problem+json with a `code`; what is "
    "another user's is 404; unknown fields are refused. Lists take `limit` and `after` and bring `next`."
)

Call = tuple[str, str, Rule, Told]


def document(app: Flask, families: Iterable[dict[str, Any]]) -> Schema:
    """OpenAPI 3.1. Raises nothing for a route that nobody described: it is left out, and a test says so."""
    calls = list(described_calls(app))
    paths: dict[str, Schema] = defaultdict(dict)
    for path, method, rule, told in calls:
        paths[path][method.lower()] = _operation(path, method, rule, told)
    schemas = _components(told for *_, told in calls)
    schemas |= job_request(schemas["JobRequest"], families)
    return {
        "openapi": "3.1.1",
        "info": {"title": "Atelier", "version": version("atelier"), "description": ABOUT},
        "servers": [{"url": BASE}],
        "security": SECURITY,
        "tags": [{"name": name} for name in sorted({_noun(path) for path in paths})],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas, "securitySchemes": SECURITY_SCHEMES},
    }


def described_calls(app: Flask) -> Iterator[Call]:
    for path, method, rule, view in api_calls(app):
        if told := told_of(view):
            yield path, method, rule, told


def api_calls(app: Flask) -> Iterator[tuple[str, str, Rule, Callable[..., Any]]]:
    """(path with {names}, method, rule, view) of every call under /api/v1; OPTIONS where a view answers it."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if rule.rule.startswith(f"{BASE}/"):
            path = re.sub(r"<(?:[^:<>]+:)?(\w+)>", r"{\1}", rule.rule.removeprefix(BASE))
            for method in METHODS:
                if method in (rule.methods or ()) and (
                    method != "OPTIONS" or rule.methods == {method}
                ):
                    yield path, method, rule, app.view_functions[rule.endpoint]


def _noun(path: str) -> str:
    return path.split("/")[1]


# ---- one call ------------------------------------------------------------------------------------


def _operation(path: str, method: str, rule: Rule, told: Told) -> Schema:
    found: Schema = {
        "operationId": rule.endpoint.removeprefix("api.").replace(".", "_"),
        "summary": told.summary,
        "tags": [_noun(path)],
        "responses": {
            **{str(status): _answer(answer) for status, answer in sorted(told.answers.items())},
            **_errors(rule, method, told),
        },
    }
    if told.text:
        found["description"] = told.text
    if parameters := [*_path(rule), *_query(told.query), *_headers(told)]:
        found["parameters"] = parameters
    if content := _body(told):
        absent = all(getattr(body, "may_be_absent", False) for body in told.bodies or (None,))
        found["requestBody"] = {"required": not absent, "content": content}
    if told.public:
        found["security"] = [{}, *SECURITY]
    return found


def _path(rule: Rule) -> Iterator[Schema]:
    for name in sorted(rule.arguments, key=rule.rule.index):
        converter = rule._converters[name]
        most = getattr(converter, "max", None)
        number = {"type": "integer", "minimum": 0} | ({"maximum": most} if most else {})
        whole = type(converter).__name__ == "IntegerConverter"
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "schema": number if whole else dict(ID),
        }


def _query(model: Shape | None) -> Iterator[Schema]:
    """Each field of the model; what may be left out is never written as null."""
    if model is None:
        return
    schema = model.model_json_schema()
    for name, part in schema.get("properties", {}).items():
        known = _without_null(part)
        parameter: Schema = {"name": name, "in": "query"}
        if text := known.pop("description", ""):
            parameter["description"] = text
        yield parameter | {"required": name in schema.get("required", ()), "schema": known}


def _without_null(part: Schema) -> Schema:
    found = {key: value for key, value in part.items() if key != "title"}
    if choices := found.pop("anyOf", None):
        found |= next(one for one in choices if one.get("type") != "null")
    if "enum" in found or found.get("default") is None:
        found.pop("default", None)
    return found


def _headers(told: Told) -> Iterator[Schema]:
    for name, facts in told.headers.items():
        yield {"name": name, "in": "header", "required": False, **facts}


def _body(told: Told) -> Schema:
    content: Schema = {media: {"schema": schema} for media, schema in told.content.items()}
    if told.bodies:
        refs = [_ref(body) for body in told.bodies]
        content[JSON] = {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}
    if told.form is not None:
        content[FORM] = {"schema": _ref(told.form)}
    return content


def _answer(answer: Answer) -> Schema:
    found: Schema = {"description": answer.text}
    if answer.headers:
        found["headers"] = {name: HEADERS[name] for name in answer.headers}
    content: Schema = {media: {"schema": schema} for media, schema in answer.content.items()}
    if answer.body is not None:
        content[JSON] = {"schema": _ref(answer.body)}
    return found | ({"content": content} if content else {})


# ---- errors ----------------------------------------------------------------------------------------


def _errors(rule: Rule, method: str, told: Told) -> Schema:
    """Every way to be refused, by status, with its codes."""
    by_status: dict[int, dict[str, type[AppError]]] = defaultdict(dict)
    for error in (*_usual(rule, told), *told.errors):
        by_status[error.status].setdefault(error.code, error)
    return {str(status): _refusal(status, found) for status, found in sorted(by_status.items())}


def _usual(rule: Rule, told: Told) -> Iterator[type[AppError]]:
    """What any call may meet, by what it takes."""
    yield from (BadRequest, InvalidInput, Unavailable)
    # a public call refuses a token that is wrong, too
    yield NotSignedIn
    yield from _tree(Forbidden)
    if rule.arguments:
        yield NotFound
    if HTTPStatus.PARTIAL_CONTENT in told.answers:
        yield BadRange
    if told.bodies or told.form is not None or told.content:
        yield from (TooLarge, WrongMediaType)


def _tree(error: type[AppError]) -> Iterator[type[AppError]]:
    yield error
    for below in error.__subclasses__():
        yield from _tree(below)


def _refusal(status: int, found: dict[str, type[AppError]]) -> Schema:
    words = [
        f"`{code}`: {(error.__doc__ or '').strip().splitlines()[0]}"
        for code, error in found.items()
    ]
    codes = {"properties": {"code": {"enum": sorted(found)}}}
    names = {name for error in found.values() for name in error.headers}
    answer = Answer(" ".join(words) or HTTPStatus(status).phrase, headers=tuple(sorted(names)))
    content = {PROBLEM_JSON: {"schema": {"allOf": [_ref(Problem), codes]}}}
    return _answer(answer) | {"content": content}


# ---- components ------------------------------------------------------------------------------------


def _components(all_told: Iterable[Told]) -> Schema:
    asked: set[Shape] = {JobRequest}
    shown: set[Shape] = {Problem}
    for told in all_told:
        asked |= {model for model in (*told.bodies, told.form) if model is not None}
        shown |= {answer.body for answer in told.answers.values() if answer.body is not None}
    return deepcopy(_schemas_of(frozenset(asked), frozenset(shown)))


@cache
def _schemas_of(asked: frozenset[Shape], shown: frozenset[Shape]) -> Schema:
    pairs = [(model, "validation") for model in sorted(asked, key=_name)]
    pairs += [(model, "serialization") for model in sorted(shown, key=_name)]
    _, found = models_json_schema(pairs, ref_template=COMPONENTS + "{model}")  # type: ignore[arg-type]
    return dict(found["$defs"])


def _name(model: Shape) -> str:
    return model.__name__


def _ref(model: Shape) -> Schema:
    return {"$ref": COMPONENTS + _name(model)}
