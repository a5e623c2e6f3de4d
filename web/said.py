"""Messages of services and of schema checks in the reader's language. Those are written in English where they are
raised; a catalogue has each with `%(a)s` for what stands in it, a name or a number (tests/raised.py collects them).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from flask_babel import lazy_gettext as _l

from web.language import catalogue

# What is put together where the reading of the code does not see it: lists of types, pydantic, bounds of a field.
CHECKS = (
    _l("is required"),
    _l("must be a finite number"),
    _l("must be a list"),
    _l("must be a whole number or empty"),
    _l("must be a number or empty"),
    _l("must be text or empty"),
    _l("must be empty"),
    _l("must be text"),
    _l("must not be an object"),
    _l("must not contain NUL"),
    _l("contains half of a surrogate pair"),
    _l("is out of range"),
    _l("at least %(a)s"),
    _l("more than %(a)s"),
    _l("at most %(a)s"),
    _l("less than %(a)s"),
    _l("entry %(a)s"),
    _l("and %(a)s more"),
    _l("%(a)s job of yours runs, and %(b)s may"),
    _l("%(a)s jobs of yours run, and %(b)s may"),
    _l("Input should be greater than or equal to %(a)s"),
    _l("Input should be less than or equal to %(a)s"),
    _l("Input should be greater than %(a)s"),
    _l("Input should be less than %(a)s"),
    _l("Input should be a valid string"),
    _l("Input should be a valid integer"),
    _l("Input should be a valid integer, unable to parse string as an integer"),
    _l("Input should be a valid number"),
    _l("Input should be a valid number, unable to parse string as a number"),
    _l("Input should be a valid boolean"),
    _l("Input should be a valid list"),
    _l("Input should be a valid dictionary"),
    _l("Input should be %(a)s"),
    _l("String should have at least %(a)s characters"),
    _l("String should have at least %(a)s character"),
    _l("String should have at most %(a)s characters"),
    _l("List should have at least %(a)s item after validation, not %(b)s"),
    _l("List should have at least %(a)s items after validation, not %(b)s"),
    _l("List should have at most %(a)s items after validation, not %(b)s"),
)
HOLE = re.compile(r"%\(([a-h])\)s")
BREAK = re.compile(r"(?<=[;.]) ")
# What is said about one entry, or one parameter of several.
ABOUT = re.compile(r"(entry [\d,]+|/[\w/-]+|[a-z][\w.]*:) (.+)", re.IGNORECASE | re.DOTALL)
WIDE_STOP = re.compile(r"([；。]) ")
LONGEST = 1000
Templates = list[tuple[re.Pattern[str], str]]


def said(text: str) -> str:
    """The text in the reader's language as far as it is known: whole, with what stands in it, or part by part."""
    text = str(text or "")
    if len(text) > LONGEST:
        return text
    if about := ABOUT.fullmatch(text):
        head = _found(about[1]) or about[1]
        return f"{head}{' ' if head.isascii() else ''}{said(about[2])}"
    if found := _found(text):
        return found
    parts = BREAK.split(text)
    known = [_found(part) for part in parts]
    if not all(known) and (found := _found(text, loosely=True)):
        return found
    whole = " ".join(one or part for one, part in zip(known, parts, strict=True))
    return WIDE_STOP.sub(r"\1", whole)


def _found(text: str, loosely: bool = False) -> str:
    """As written, or as web/forms.py made a sentence of it."""
    bare = text.rstrip(".;")
    for form in (text, bare, bare[:1].lower() + bare[1:]):
        if form and (known := _known(form, loosely)):
            return _ended(known, text)
    return ""


def _ended(known: str, text: str) -> str:
    """With the stop that the text has."""
    if known.isascii() or not text.endswith((".", ";")):
        return known
    return known.rstrip("。；") + ("。" if text.endswith(".") else "；")


def _known(text: str, loosely: bool) -> str:
    translations = catalogue()
    if (known := translations.gettext(text)) != text:
        return known
    for pattern, key in _templates(translations)[loosely]:
        if match := pattern.fullmatch(text):
            values = {
                name: _inside(translations, value) for name, value in match.groupdict().items()
            }
            return translations.gettext(key) % values
    return ""


def _inside(translations: Any, value: str) -> str:
    """A phrase inside of another one is translated, too; a single word is a name."""
    return translations.gettext(value) if " " in value else value


@cache
def _templates(translations: Any) -> tuple[Templates, Templates]:
    """(pattern, text of the catalogue), those with most words of their own first; in the first list no value goes on
    over the end of a sentence."""
    keys = [key for key in getattr(translations, "_catalog", ()) if isinstance(key, str)]
    found = [key for key in keys if HOLE.search(key) and "%(" not in HOLE.sub("", key)]
    found.sort(key=lambda key: (-len(HOLE.sub("", key)), key))
    return _compiled(found, r"(?:(?![;.](?: |$)).)+?"), _compiled(found, ".+")


def _compiled(keys: list[str], value: str) -> Templates:
    patterns = []
    for key in keys:
        pieces = HOLE.split(key)  # words, name, words, name, words
        words = [re.escape(piece.replace("%%", "%")) for piece in pieces[::2]]
        holes = [f"(?P<{name}>{value})" for name in pieces[1::2]]
        whole = "".join(a + b for a, b in zip(words, [*holes, ""], strict=True))
        patterns.append((re.compile(whole, re.DOTALL), key))
    return patterns
