"""/jobs/ID/events: what a job has said, as JSON or as a stream of server-sent events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response, request

from shared.errors import NotFound, Unavailable
from shared.models import User
from web.api import shapes_schema as shapes
from web.api.answers import answer, query
from web.api.describe import Answer, Schema, told
from web.queries import EventsAfter
from web.security import current_user, still_signed_in, studio
from web.services import events
from web.services.studio import Studio
from web.slots import Slot

EVENT_STREAM = "text/event-stream"
RETRY_MILLISECONDS = 2000
LAST_SEEN: dict[str, Schema] = {
    "Last-Event-ID": {
        "description": "With text/event-stream: the id of the last event that was seen.",
        "schema": {"type": "string"},
    }
}

bp = Blueprint("events", __name__, url_prefix="/jobs")


class TooManyStreams(Unavailable):
    """Too many event streams are open; poll instead."""

    code = "too_many_streams"


ANSWERS = {
    200: Answer(
        "The events, or a stream of them for who asks with Accept: text/event-stream.",
        shapes.EventList,
        content={EVENT_STREAM: {"type": "string"}},
    ),
    204: Answer("The stream has nothing more to bring."),
}


@bp.get("/<job_id>/events")
@told(
    "What a job has said",
    ANSWERS,
    query=EventsAfter,
    headers=LAST_SEEN,
    errors=(TooManyStreams,),
)
def index(job_id: str) -> Response:
    """State, progress, metrics, previews, log lines and the result, in order."""
    asked = query(EventsAfter)
    if EVENT_STREAM in request.accept_mimetypes.values():
        return _stream(job_id, max(asked.after, _last_seen()))
    user = current_user()
    return answer(events.job_events(studio(), user, job_id, asked.after, asked.limit))


def _last_seen() -> int:
    text = request.headers.get("Last-Event-ID", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _stream(job_id: str, after: int) -> Response:
    user, here = current_user(), studio()
    first = events.news(here, user, job_id, after)
    if first[2] and not first[0] and "Last-Event-ID" in request.headers:
        return Response(status=204)  # tells a browser that there is nothing to come back for
    slot = here.feed.slots.take(user.id)
    if slot is None:
        raise TooManyStreams()
    lines = _lines(here, slot, user, job_id, after, still_signed_in())
    response = Response(lines, mimetype=EVENT_STREAM)
    # also runs when the stream was never begun
    response.call_on_close(lambda: here.feed.slots.give(slot))
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _lines(
    here: Studio,
    slot: Slot,
    user: User,
    job_id: str,
    after: int,
    may_listen: Callable[[], bool],
) -> Iterator[str]:
    """Holds no database session while it waits. Who asks is checked again every few seconds."""
    began = asked = time.monotonic()
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    while (at := time.monotonic()) < began + events.STREAM_SECONDS and not slot.leave.is_set():
        if at >= asked + events.KEEP_ALIVE_SECONDS:
            if not may_listen():
                return
            asked = at
        try:
            found, version, over = events.news(here, user, job_id, after)
        except NotFound:
            return
        for event in found:
            yield _frame(event)
            after = event["n"]
        if over:
            return
        if not found and not here.feed.wait(slot, job_id, version, events.KEEP_ALIVE_SECONDS):
            yield ": still here\n\n"


def _frame(event: dict[str, Any]) -> str:
    return f"id: {event['n']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
