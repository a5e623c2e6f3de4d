"""/help: the quick start, and a page for each family made of what it announces: words, parameters, an example."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import Blueprint, Flask, render_template
from flask.typing import ResponseReturnValue

from web import forms
from web.security import absolute, current_user, studio
from web.services import families

bp = Blueprint("help", __name__)

PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(papers=papers)


@bp.get("/help")
def index() -> ResponseReturnValue:
    current_user()
    return render_template(
        "help/index.html",
        families=families.list_families(studio()),
        url=absolute(""),
    )


@bp.get("/help/<family>")
def family(family: str) -> ResponseReturnValue:
    current_user()
    found = families.get_family(studio(), family)
    actions = {
        kind: {"fields": forms.fields_of(action["schema"], {}, []), "body": _body(found, kind)}
        for kind, action in found["actions"].items()
    }
    return render_template(
        "help/family.html", family=found, paragraphs=paragraphs(found["doc"] or ""), actions=actions
    )


def papers(text: str) -> list[str]:
    """Plain text and numbers of papers in turn: text, number, text, ..."""
    return PAPER.split(text)


def paragraphs(doc: str) -> list[str]:
    """A docstring's paragraphs, each on one line, as the catalogue of translations has them."""
    return [" ".join(part.split()) for part in doc.split("\n\n") if part.strip()]


def _body(family: dict[str, Any], kind: str) -> str:
    """What a program sends to /api/v1/jobs for the family's own example."""
    about = (
        {"family": family["name"], "dataset_id": "DATASET"}
        if kind == "train"
        else {"model_id": "MODEL"}
    )
    asked = {"kind": kind, **about, "params": family["actions"][kind]["example"]}
    return json.dumps(asked, ensure_ascii=False, indent=2)
