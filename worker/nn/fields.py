"""Fields of a family's parameters in one line each: bounds, title, description, and hints for the form."""

from __future__ import annotations

from typing import Any

from shared.params import Field


def number(default, least, most, title, description, **hints) -> Any:
    """A bounded number; hints: unit, advanced, widget."""
    extra = {f"x-{name}": value for name, value in hints.items()}
    return Field(
        default, ge=least, le=most, title=title, description=description, json_schema_extra=extra
    )


def patience() -> Any:
    """Early stopping; the runner does it for every family that has a field of this name."""
    return number(
        0, 0, 10_000, "Patience", "End after so many measurements without a better one; 0: never."
    )


def paces(quick: dict[str, Any], thorough: dict[str, Any]) -> tuple[Any, ...]:
    """The presets that every family has: what differs from its defaults."""
    return (
        ("quick", "Quick", quick),
        ("balanced", "Balanced", {}),
        ("thorough", "Thorough", thorough),
    )


def picture(title, description) -> Any:
    """The id of a picture (an artifact, or an item of a dataset); empty unless one is given."""
    extra: dict[str, Any] = {"x-ref": "image"}
    return Field("", max_length=64, title=title, description=description, json_schema_extra=extra)


def sheet() -> Any:
    """Whether the runner adds all pictures of a request on one sheet (worker/grid.py)."""
    text = "Also put all on one sheet, or in one strip when they lead from one to another."
    extra: dict[str, Any] = {"x-advanced": True}
    return Field(False, title="Sheet", description=text, json_schema_extra=extra)
