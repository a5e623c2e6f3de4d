"""/families: what some worker can run."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api import shapes_server as shapes
from web.api.answers import answer
from web.api.describe import told
from web.security import studio
from web.services import families

bp = Blueprint("families", __name__, url_prefix="/families")


@bp.get("")
@told("What can be trained and run here", shapes.FamilyList)
def index() -> Response:
    return answer({"items": families.list_families(studio()), "next": None})


@bp.get("/<name>")
@told("One family", shapes.Family)
def show(name: str) -> Response:
    return answer(families.get_family(studio(), name))
