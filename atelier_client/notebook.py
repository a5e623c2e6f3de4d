"""How a notebook shows things: everything that people or models wrote is text, whatever it looks like."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping
from typing import Any

# what a browser shows as a picture and that can hold no script
PICTURES = ("image/png", "image/jpeg", "image/webp")


def card_html(row: Mapping[str, Any], names: Iterable[str]) -> str:
    """Some fields of an object, a line each."""
    lines = [
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(row[name]))}</td></tr>"
        for name in names
        if row.get(name) not in (None, "")
    ]
    return f"<table>{''.join(lines)}</table>"


def picture_html(media_type: str, data: bytes) -> str:
    if media_type not in PICTURES:
        return ""
    return f'<img alt="" src="data:{media_type};base64,{base64.b64encode(data).decode()}">'


def text_html(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


def text_markdown(text: str) -> str:
    """In a fence longer than any in it."""
    longest = max(map(len, "".join(c if c == "`" else " " for c in text).split()), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
