"""/queue: lanes, my jobs with their places, others as counts, workers."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api import shapes_server as shapes
from web.api.answers import answer
from web.api.describe import told
from web.security import current_user, studio
from web.services import queue

bp = Blueprint("queue", __name__)


@bp.get("/queue")
@told("The queue as you may see it", shapes.Queue)
def show() -> Response:
    return answer(queue.get_queue(studio(), current_user()))
