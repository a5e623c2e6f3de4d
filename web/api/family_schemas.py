"""The body of POST /jobs as the families of this server take it: one shape for each kind of job and family."""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

Schema = dict[str, Any]
COMPONENTS = "#/components/schemas/"


def job_request(plain: Schema, families: Iterable[dict[str, Any]]) -> Schema:
    """Components: each family's parameters, and JobRequest as one of what can be asked for.

    Without families JobRequest stays as it is: nothing is offered, so nothing is promised.
    """
    found: Schema = {}
    choices = []
    for family in families:
        for kind, action in family["actions"].items():
            title = _unused(f"{_camel(family['name'])}{_camel(kind)}", found)
            params, name = f"{title}Params", f"{title}Request"
            found[params] = _params(family, kind, action)
            found[name] = _request(plain, family, kind, params)
            found[name]["examples"] = [_example(family, kind, action)]
            choices.append({"$ref": COMPONENTS + name})
    if choices:
        text = "The body of POST /jobs: a kind of job of one of this server's families."
        found["JobRequest"] = {"title": "JobRequest", "description": text, "anyOf": choices}
    return found


def _camel(name: str) -> str:
    """transformer_lm -> TransformerLm; and nothing that a component's name may not hold."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))


def _unused(title: str, found: Schema) -> str:
    """Two names may differ only in what a component's name cannot hold."""
    return title if f"{title}Params" not in found else _unused(f"{title}_", found)


def _params(family: dict[str, Any], kind: str, action: dict[str, Any]) -> Schema:
    return {
        **deepcopy(action["schema"]),
        "title": f"{family['title']}: {kind}",
        "description": f"Parameters of {kind} jobs of the family {family['name']}.",
    }


def _request(plain: Schema, family: dict[str, Any], kind: str, params: str) -> Schema:
    """The common body, with what this kind needs."""
    found = deepcopy(plain)
    parts = found["properties"]
    parts["kind"] = {"const": kind}
    parts["params"] = {"$ref": COMPONENTS + params}
    found["title"] = f"{family['title']}: {kind}"
    needed = {"kind"}
    if kind == "generate":
        parts.pop("dataset_id")
        parts["family"] = {"enum": [family["name"], None]}
        if "train" in family["actions"]:
            given = [_given(parts, name) for name in ("model_id", "waits_for")]
            found["anyOf"] = given
        else:
            needed.add("family")
            parts["family"] = {"const": family["name"]}
    else:
        parts.pop("model_id")
        parts["family"] = {"const": family["name"]}
        needed.add("family")
        if family["dataset_kind"]:
            parts["dataset_id"] = _not_null(parts["dataset_id"])
            needed.add("dataset_id")
    found["required"] = sorted(needed)
    return found


def _given(parts: Schema, name: str) -> Schema:
    return {"required": [name], "properties": {name: _not_null(parts[name])}}


def _not_null(part: Schema) -> Schema:
    (known,) = [one for one in part["anyOf"] if one.get("type") != "null"]
    return dict(known)


def _example(family: dict[str, Any], kind: str, action: dict[str, Any]) -> Schema:
    body: Schema = {"kind": kind, "params": action["example"], "seed": 1}
    if kind == "generate":
        return body | {"model_id": "ID"}
    return (
        body | {"family": family["name"]} | ({"dataset_id": "ID"} if family["dataset_kind"] else {})
    )
