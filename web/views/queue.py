"""The queue as one person sees it: lanes, own jobs, workers."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from web.security import current_user, studio
from web.services.queue import get_queue

bp = Blueprint("queue", __name__)


@bp.get("/queue")
def index() -> ResponseReturnValue:
    return render_template("queue.html", **get_queue(studio(), current_user()))
