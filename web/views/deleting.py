"""Deletion that asks once more where other things depend on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue

from shared.errors import InUse, NotFound
from web.security import current_user, studio
from web.services import jobs, models

MOST_NAMED = 20
READ: dict[str, Callable[..., dict[str, Any]]] = {"job": jobs.get_job, "model": models.get_model}


def delete_or_ask(delete: Callable[[bool], None], done: str, onward: str) -> ResponseReturnValue:
    """`delete` takes whether it is forced; refused, the page says what depends on it and offers that."""
    try:
        delete("force" in request.form)
    except InUse as error:
        return ask(error, request.path.rsplit("/", 1)[0])
    flash(done, "success")
    return redirect(onward, 303)


def ask(error: InUse, back: str, fields: Sequence[tuple[str, str]] = ()) -> ResponseReturnValue:
    """The page that says what depends on it; asked again, the form says the same with these fields."""
    found = error.facts["dependents"]
    dependents = [*map(_named, found[:MOST_NAMED]), *found[MOST_NAMED:]]
    page = render_template(
        "in_use.html", error=error, dependents=dependents, back=back, fields=list(fields)
    )
    return page, error.status


def _named(one: dict[str, Any]) -> dict[str, Any]:
    """With what the user knows it by; what is another person's stays a count."""
    if not one.get("id") or one["type"] not in READ:
        return one
    try:
        return {**one, "thing": READ[one["type"]](studio(), current_user(), one["id"])}
    except NotFound:
        return one
