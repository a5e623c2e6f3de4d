"""Messages of services and of schema checks in the reader's language: numbers and quoted values are taken out to find
the message in the catalogue, and put back where its translation wants them.
"""

from __future__ import annotations

import re

from flask_babel import lazy_gettext as _l

from web.language import translated

# What checks say about single values: shared/params.py, web/forms.py, web/requests.py, web/services/submit.py.
CHECKS = (
    _l("is required"),
    _l("is not valid"),
    _l("is not a parameter here"),
    _l("is not a field here"),
    _l("is out of range"),
    _l("is not here, or not yours to use"),
    _l("is still being checked"),
    _l("was refused when it was checked"),
    _l("has the wrong type"),
    _l("has the wrong form"),
    _l("must be a whole number"),
    _l("must be a number"),
    _l("must be a finite number"),
    _l("must be true or false"),
    _l("must be text"),
    _l("must be one of"),
    _l("must be at least %(a)s"),
    _l("must be at most %(a)s"),
    _l("must be greater than %(a)s"),
    _l("must be less than %(a)s"),
    _l("must be a multiple of %(a)s"),
    _l("must have at least %(a)s characters"),
    _l("must have at most %(a)s characters"),
    _l("must have at least %(a)s entries"),
    _l("must have at most %(a)s entries"),
    _l("at least %(a)s"),
    _l("more than %(a)s"),
    _l("at most %(a)s"),
    _l("less than %(a)s"),
    _l("entry %(a)s"),
    _l("and %(a)s more"),
    _l("Input should be greater than or equal to %(a)s"),
    _l("Input should be less than or equal to %(a)s"),
    _l("asks for too much work"),
    _l("asks for too much memory"),
    _l("It would take about a lifetime"),
    _l("It would take about %(a)s days"),
    _l("It would take about %(a)s hours"),
    _l("It would take about %(a)s minutes"),
    _l("It would take about %(a)s seconds"),
    _l("%(a)s days are allowed"),
    _l("%(a)s hours are allowed"),
    _l("%(a)s minutes are allowed"),
    _l("%(a)s seconds are allowed"),
    _l("It would need about %(a)s GB of memory"),
    _l("no worker has that much"),
    _l("is no result that was made here"),
    _l("was made with a model that is not here"),
)
VALUE = re.compile(r'\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?|\'[^\']*\'|"[^"]*"|“[^”]*”')
NAMES = "abcdefgh"
MOST_PARTS = 50  # the rest of a longer text stays as it is
# What stands in front of a list of values, or of what is said about one entry.
HEADS = re.compile(r"(must be one of|entry \d+) (.+)", re.IGNORECASE | re.DOTALL)


def said(text: str) -> str:
    """The text in the reader's language as far as it is known: whole, as a pattern, or part by part."""
    rest = [str(text or "")]
    parts: list[str] = []
    while rest and len(parts) < MOST_PARTS:
        part = rest.pop()
        if found := _found(part):
            parts.append(found)
        elif (listed := HEADS.fullmatch(part)) and (known := _found(listed[1])):
            parts.append(known.rstrip("。"))
            rest.append(listed[2])
        elif mark := next((mark for mark in ("; ", ". ") if mark in part), ""):
            head, tail = part.split(mark, 1)
            rest += [tail, head + mark.strip()]
        else:
            parts.append(part)
    return " ".join([*parts, *reversed(rest)])


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
