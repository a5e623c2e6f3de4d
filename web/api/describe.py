"""What a call of the API is about, said beside its view: web/api/document.py makes OpenAPI and /docs of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from shared.errors import AppError

Schema = dict[str, Any]
Shape = type[BaseModel]
View = TypeVar("View", bound=Callable[..., Any])

JSON = "application/json"
FORM = "multipart/form-data"
# Bytes have no schema; the media type says it all.
ZIP: Mapping[str, Schema] = {"application/zip": {}}
TEXT: Mapping[str, Schema] = {"text/plain": {"type": "string"}}
BYTES: Mapping[str, Schema] = {"*/*": {}}

HEADERS: dict[str, Schema] = {
    "Location": {"description": "Where it is.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Ask again after so many seconds.",
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "Names what was sent; for If-None-Match.",
        "schema": {"type": "string"},
    },
    "Content-Range": {"description": "Which part this is.", "schema": {"type": "string"}},
    "Tus-Resumable": {"description": "The version of tus.", "schema": {"type": "string"}},
    "Tus-Version": {"description": "The versions of tus taken.", "schema": {"type": "string"}},
    "Tus-Extension": {"description": "What of tus is here.", "schema": {"type": "string"}},
    "Tus-Max-Size": {"description": "Most bytes of an upload.", "schema": {"type": "string"}},
    "Upload-Offset": {"description": "The bytes that are here.", "schema": {"type": "string"}},
    "Upload-Length": {"description": "The bytes of the whole.", "schema": {"type": "string"}},
    "Upload-Metadata": {"description": "The file's name.", "schema": {"type": "string"}},
    "Upload-Expires": {"description": "When it is deleted.", "schema": {"type": "string"}},
    "Idempotency-Replayed": {"description": "`true`: said before.", "schema": {"type": "string"}},
}


@dataclass(frozen=True)
class Answer:
    """One way to succeed: a shape as JSON, or the media types it comes in, or nothing."""

    text: str
    body: Shape | None = None
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """A description: what a call reads (`query`, a JSON `body`, a multipart `form`, `headers`) and how it answers.

    Several bodies: any of them. `content` is a body of other media types.
    """

    summary: str
    answers: Mapping[int, Answer]
    query: Shape | None = None
    bodies: tuple[Shape, ...] = ()
    form: Shape | None = None
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, Schema] = field(default_factory=dict)
    errors: tuple[type[AppError], ...] = ()
    public: bool = False
    text: str = ""


def told(
    summary: str,
    answers: Mapping[int, Answer] | Shape,
    *,
    query: Shape | None = None,
    body: Shape | tuple[Shape, ...] = (),
    form: Shape | Mapping[str, Schema] | None = None,
    headers: Mapping[str, Schema] | None = None,
    errors: tuple[type[AppError], ...] = (),
    public: bool = False,
) -> Callable[[View], View]:
    """Describes a view. A shape alone is what 200 brings. Beside `errors` stand those that every call may meet.

    `form` may also be the media types of another body.
    """
    found = answers if isinstance(answers, Mapping) else {200: Answer("Done.", answers)}

    def mark(view: View) -> View:
        view.told = Told(  # type: ignore[attr-defined]
            summary=summary,
            answers=found,
            query=query,
            bodies=body if isinstance(body, tuple) else (body,),
            form=None if isinstance(form, Mapping) else form,
            content=form if isinstance(form, Mapping) else {},
            headers=headers or {},
            errors=errors,
            public=public,
            text=" ".join((view.__doc__ or "").split()),
        )
        return view

    return mark


def told_of(view: Callable[..., Any]) -> Told | None:
    found = getattr(view, "told", None)
    return found if isinstance(found, Told) else None


NOTHING = {204: Answer("Done; nothing to say.")}
CONDITION: dict[str, Schema] = {
    "If-None-Match": {
        "description": "The ETag seen last: 304 while it is unchanged.",
        "schema": {"type": "string"},
    }
}
RANGE: dict[str, Schema] = {
    **CONDITION,
    "Range": {"description": "Like bytes=0-99: 206 with this part.", "schema": {"type": "string"}},
    "If-Range": {
        "description": "The ETag of what was begun: the part if it is unchanged, the whole if not.",
        "schema": {"type": "string"},
    },
}
NOT_MODIFIED = Answer("Unchanged.", headers=("ETag",))


def file_answers(content: Mapping[str, Schema]) -> dict[int, Answer]:
    """Of bytes that can be fetched in parts."""
    return {
        200: Answer("The bytes.", content=content, headers=("ETag",)),
        206: Answer("The part asked for.", content=content, headers=("ETag", "Content-Range")),
        304: NOT_MODIFIED,
    }
