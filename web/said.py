"""Messages of services and of schema checks in the reader's language: numbers and quoted values are taken out to find
the message in the catalogue, and put back where its translation wants them.
"""

from __future__ import annotations

import re

from web.language import translated

VALUE = re.compile(r'\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?|\'[^\']*\'|"[^"]*"|“[^”]*”')
NAMES = "abcdefgh"


def said(text: str) -> str:
    """The text in the reader's language as far as it is known: whole, as a pattern, or part by part."""
    text = str(text or "")
    if found := _found(text):
        return found
    for mark in ("; ", ". "):
        if mark in text:
            head, tail = text.split(mark, 1)
            return said(head + mark.strip()) + " " + said(tail)
    return text


def _found(text: str) -> str:
    """As written, or as web/forms.py made a sentence of it."""
    bare = text.rstrip(".;")
    for form in (text, bare, bare[:1].lower() + bare[1:]):
        if form and (known := _pattern(form)):
            ends = text.endswith(".") and not known.endswith((".", "。", "!", "?"))
            return known + "。" if ends and not known.isascii() else known
    return ""


def _pattern(text: str) -> str:
    if (known := translated(text)) != text:
        return known
    values = VALUE.findall(text)[: len(NAMES)]
    if not values:
        return ""
    names = iter(NAMES)
    key = VALUE.sub(lambda _: f"%({next(names)})s", text.replace("%", "%%"), count=len(values))
    known = translated(key)
    return known % dict(zip(NAMES, values, strict=False)) if known != key else ""
