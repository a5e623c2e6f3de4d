"""Parameters and times as people type them: -p KEY=VALUE, files of JSON, --since 2h."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from web.cli_output import Object

AGO = re.compile(r"([0-9]{1,6})([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def from_file(file: Path | None) -> Object:
    if file is None:
        return {}
    try:
        params = json.loads(file.read_text())
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from error
    if not isinstance(params, dict):
        raise click.UsageError(f"{file}: must hold a JSON object")
    return params


def from_pairs(pairs: tuple[str, ...], schema: Callable[[], Object]) -> Object:
    """The schema is asked for only when a value could be meant as text: -p class_label=3."""
    texts: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"-p {pair}: write KEY=VALUE")
        texts[key] = value
    params = {key: _value(text) for key, text in texts.items()}
    if any(not isinstance(value, str) for value in params.values()):
        rules = schema().get("properties", {})
        for key, value in params.items():
            if value is not None and _only_text(rules.get(key, {})):
                params[key] = value if isinstance(value, str) else texts[key]
    return params


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _only_text(rule: Object) -> bool:
    branches = rule.get("anyOf", [rule])
    types = {branch.get("type") for branch in branches} - {"null"}
    return types == {"string"}


def since(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    """2h, 3d, 2026-11-25 or a time of RFC 3339, as a time of RFC 3339 in UTC."""
    if text is None:
        return None
    if ago := AGO.fullmatch(text):
        try:
            at = datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        except OverflowError as error:
            raise click.BadParameter("that is too long ago") from error
    else:
        try:
            at = datetime.fromisoformat(text)
        except ValueError as error:
            raise click.BadParameter("write 90m, 2h, 3d, 2026-11-25 or a full time") from error
    # a time without a zone is that of the clock on this wall
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
