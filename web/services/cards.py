"""A model's card as the files that go with its folder: a README in the form that model hubs read, and atelier.json."""

from __future__ import annotations

import json
from typing import Any

META = "atelier.json"
# What only the owner sees on the page stays out of a stranger's copy too.
OWN_FIELDS = frozenset(("params", "seed"))


def meta(card: dict[str, Any]) -> str:
    """What the folder says of itself, for a model whose folder does not say it."""
    names = ("family", "family_version", "params", "seed", "facts", "generate_schema")
    lineage = card["lineage"]["dataset"] or {}
    found = {name: card[name] for name in names} | {"dataset_sha256": lineage.get("sha256")}
    return _json(found if card["mine"] else without_own(found))


def without_own(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in OWN_FIELDS}


def stranger_copy(text: bytes) -> bytes:
    """atelier.json as others get it with a shared model."""
    return _json(without_own(json.loads(text))).encode()


def markdown(card: dict[str, Any]) -> str:
    """The card. Numbers and names only from the row: the same model gives the same bytes."""
    parts = [
        _head(card),
        f"# {_inline(card['name']) or card['family']}",
        f"Trained with Atelier: family `{card['family']}`, version {card['family_version']}.",
        "This folder loads with the `from_pretrained` of the library that owns its layout.",
    ]
    if card["licence_note"]:
        parts.append(f"Licence: {_inline(card['licence_note'])}")
    parts += _table("Metrics", card["metrics"])
    if card["mine"]:
        parts += _table("Parameters", {**(card["params"] or {}), "seed": card["seed"]})
    parts += _table("Facts", card["facts"])
    parts += _table("Where it comes from", _sources(card))
    return "\n\n".join(parts) + "\n"


def _head(card: dict[str, Any]) -> str:
    """JSON strings are YAML strings, whatever is in a name."""
    name = json.dumps(card["name"], ensure_ascii=False)
    return f"---\nmodel_name: {name}\ntags: [atelier, {json.dumps(card['family'])}]\n---"


def _sources(card: dict[str, Any]) -> dict[str, Any]:
    dataset, job = card["lineage"]["dataset"], card["lineage"]["job"]
    return {
        "model": card["id"],
        "model sha256": card["sha256"],
        "training job": job and job["id"],
        "dataset": dataset and dataset["id"],
        "dataset sha256": dataset and dataset["sha256"],
        "made": card["created_at"],
    }


def _table(title: str, values: dict[str, Any]) -> list[str]:
    rows = [
        f"| {_inline(name)} | {_inline(_plainly(value))} |"
        for name, value in values.items()
        if value is not None
    ]
    return [f"## {title}", "\n".join(["| | |", "|---|---|", *rows])] if rows else []


def _plainly(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _inline(text: str) -> str:
    """Words in a table's cell: nothing that ends the cell or begins markup."""
    flat = " ".join(text.split())
    return "".join(f"\\{one}" if one in r"\`*_[]<>|#" else one for one in flat)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
