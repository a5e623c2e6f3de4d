"""/events: which of one's jobs have ended, for who wants to be told of all of them at once, as JSON or as a stream."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response, request

from shared.models import User
from web.api import shapes_schema as shapes
from web.api.answers import answer, query
from web.api.describe import Answer, Schema, told
from web.api.events import EVENT_STREAM, RETRY_MILLISECONDS
from web.queries import EndedAfter
from web.requests import check
from web.security import current_user, still_signed_in, studio
from web.services import events
from web.services.studio import Studio
from web.slots import Slot

# An end is no news that a tenth of a second matters for; each look is a few queries on indexes.
LOOK_SECONDS = 1.0
LATER_MILLISECONDS = 10_000

LAST_SEEN: dict[str, Schema] = {
    "Last-Event-ID": {
        "description": "With text/event-stream: the id of the last event that was seen.",
        "schema": {"type": "string"},
    }
}
ANSWERS = {
    200: Answer(
        "What has ended, or a stream of it for who asks with Accept: text/event-stream.",
        shapes.EndedList,
        content={EVENT_STREAM: {"type": "string"}},
    )
}

bp = Blueprint("ended", __name__, url_prefix="/events")


@bp.get("")
@told(
    "Which jobs have ended",
    ANSWERS,
    query=EndedAfter,
    headers=LAST_SEEN,
)
def index() -> Response:
    """Jobs of one's own that reached their final state, in that order. The stream ends when none is left to end.

    Where very many listen, a stream ends after one look and asks for the next one in ten seconds.
    """
    user, asked = current_user(), query(EndedAfter)
    if EVENT_STREAM not in request.accept_mimetypes.values():
        return answer(events.ended(studio(), user, asked.after))
    seen = request.headers.get("Last-Event-ID")
    after = check(EndedAfter, {"after": seen}).after if seen else asked.after
    here = studio()
    slot = here.feed.slots.take(user.id, is_notice=True)
    if slot is not None:
        lines = _lines(here, slot, user, after, still_signed_in())
        response = Response(lines, mimetype=EVENT_STREAM)
        response.call_on_close(lambda: here.feed.slots.give(slot))
    else:
        response = Response(_one_look(here, user, after), mimetype=EVENT_STREAM)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _lines(
    here: Studio, slot: Slot, user: User, after: str | None, may_listen: Callable[[], bool]
) -> Iterator[str]:
    """Holds no database session while it waits. Who asks is checked again every few seconds."""
    began = asked = time.monotonic()
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    while (at := time.monotonic()) < began + events.STREAM_SECONDS:
        if at >= asked + events.KEEP_ALIVE_SECONDS:
            if not may_listen():
                return
            asked = at
            # with the place: who is cut off later goes on from here
            place = f"id: {after}\n" if after else ""
            yield f": still here\n{place}\n"
        found = events.ended(here, user, after)
        after = found["next"]
        yield from (_frame(one, found) for one in found["items"])
        if not found["active"] and not found["items"]:
            yield f"id: {after}\nevent: idle\ndata: {json.dumps(found)}\n\n"
            return
        if slot.leave.wait(LOOK_SECONDS):
            return


def _one_look(here: Studio, user: User, after: str | None) -> str:
    found = events.ended(here, user, after)
    frames = "".join(_frame(one, found) for one in found["items"])
    # with the place, also where nothing has ended: the browser asks again from there
    place = f": busy\nid: {found['next']}\n\n"
    return f"retry: {LATER_MILLISECONDS}\n\n{frames or place}"


def _frame(one: dict[str, Any], found: dict[str, Any]) -> str:
    # the place of the last is that of all: they are sent together
    last = one is found["items"][-1]
    place = f"id: {found['next']}\n" if last else ""
    return f"{place}event: ended\ndata: {json.dumps(one)}\n\n"
