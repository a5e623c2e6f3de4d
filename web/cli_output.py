"""What commands print: JSON, tables, cards. Nothing that a name holds moves the cursor of whoever lists it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

Object = dict[str, Any]


def echo_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def echo_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Aligned columns; nothing but the heads when there are no rows."""
    lines = [[column.upper().replace("_", " ") for column in columns]]
    lines += [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def table(*columns: str) -> Callable[[Iterable[Mapping[str, Any]]], None]:
    """Shows a list by these columns."""
    return lambda rows: echo_table(rows, columns)


def echo_card(row: Mapping[str, Any]) -> None:
    """One object, a field a line."""
    width = max((len(name) for name in row), default=0)
    for name, value in row.items():
        click.echo(f"{name.ljust(width)}  {_cell(value)}".rstrip())


def echo_field(name: str) -> Callable[[Mapping[str, Any]], None]:
    """Shows one field alone: an id or a state, for scripts."""
    return lambda row: click.echo(row[name])


def echo_nothing(_: object) -> None:
    """For what says enough by its exit code."""


def in_bytes(size: float) -> str:
    """About how many, for people: 512 B, 3.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return plain(str(value))


def plain(text: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in text)
