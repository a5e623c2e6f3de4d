"""/families: what some worker can run."""

from __future__ import annotations

from operator import itemgetter

from flask import Blueprint, Response

from web.api import shapes_server as shapes
from web.api.answers import answer, part_of, query
from web.api.describe import told
from web.queries import Part
from web.security import studio
from web.services import families

bp = Blueprint("families", __name__, url_prefix="/families")


@bp.get("")
@told("What can be trained and run here", shapes.FamilyList, query=Part)
def index() -> Response:
    found = sorted(families.list_families(studio()), key=itemgetter("name"))
    return part_of(found, query(Part), itemgetter("name"), rising=True)


@bp.get("/<name>")
@told("One family", shapes.Family)
def show(name: str) -> Response:
    return answer(families.get_family(studio(), name))
