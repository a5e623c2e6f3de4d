"""Deletion that asks once more where other things depend on it."""

from __future__ import annotations

from collections.abc import Callable

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue

from shared.errors import InUse


def delete_or_ask(delete: Callable[[bool], None], done: str, onward: str) -> ResponseReturnValue:
    """`delete` takes whether it is forced; refused, the page says what depends on it and offers that."""
    try:
        delete("force" in request.form)
    except InUse as error:
        page = render_template("in_use.html", error=error, dependents=error.facts["dependents"])
        return page, error.status
    flash(done, "success")
    return redirect(onward, 303)
