"""/audit: who did what to whom, and when. For administrators."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api import shapes_people as shapes
from web.api.answers import answer, query
from web.api.describe import told
from web.security import current_admin, studio
from web.services import audit

bp = Blueprint("audit", __name__, url_prefix="/audit")


@bp.get("")
@told("Who did what", shapes.AuditEntryList, query=audit.AuditPage)
def index() -> Response:
    current_admin()
    return answer(audit.list_entries(studio(), query(audit.AuditPage)))
