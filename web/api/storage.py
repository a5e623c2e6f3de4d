"""/storage: for administrators, what lies on the disk and what sweeps have freed; POST orders a sweep."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api import shapes_people as shapes
from web.api.answers import answer, no_body
from web.api.describe import Answer, told
from web.security import current_admin, studio
from web.services import disk_use

bp = Blueprint("storage", __name__, url_prefix="/storage")


@bp.get("")
@told("What lies on the disk", shapes.Storage)
def show() -> Response:
    current_admin()
    return answer(disk_use.get_storage(studio()))


@bp.post("/sweep")
@told("Order a sweep", {202: Answer("Ordered.", shapes.SweepOrdered)})
def sweep() -> Response:
    current_admin()
    no_body()
    return answer(disk_use.order_sweep(studio()), 202)
