"""JSON Schema to form fields, and typed text back to parameters: the only place that knows both.

Pages know nothing of schemas, services nothing of forms. `steps` is the input `params.steps`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.errors import InvalidInput
from shared.params import clean

Schema = Mapping[str, Any]
Problem = dict[str, str]

PREFIX = "params."
# Beside a checkbox: an unchecked box sends nothing, so its presence on the page must be said.
SHOWN = ".shown"
# Beside the cards of a reference: an id typed or pasted by hand.
TYPED_ID = ".id"
LONG_TEXT, MOST_MESSAGES = 400, 8  # characters; messages about one input
WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
DECIMAL = re.compile(r"[+-]?([0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?")
ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\": "\\"}


@dataclass(frozen=True)
class Option:
    """One choice of a select."""

    value: str
    label: str
    chosen: bool = False


@dataclass
class Field:
    """All that a template needs to draw one input."""

    name: str
    label: str
    help: str
    kind: str  # number | integer | text | textarea | select | checkbox | list | ref
    value: str = ""
    default: str = ""
    error: str = ""
    minimum: str = ""
    maximum: str = ""
    step: str = ""
    range: str = ""  # the bounds in words
    unit: str = ""
    ref: str = ""  # image | text
    longest: int | None = None
    advanced: bool = False
    required: bool = False
    options: list[Option] = field(default_factory=list)

    @property
    def input(self) -> str:
        return PREFIX + self.name

    @property
    def id(self) -> str:
        """For `id` and `for`: the name, in characters that every selector takes."""
        return "p-" + re.sub(r"[^A-Za-z0-9_-]", "-", self.name)

    @property
    def html_type(self) -> str:
        """A browser shows nothing of what it cannot read as a number; then it is shown as text."""
        numeric = self.kind in ("number", "integer")
        return "number" if numeric and (not self.value or DECIMAL.fullmatch(self.value)) else "text"


def fields_of(
    schema: Schema, values: Mapping[str, Any], errors: Iterable[Problem] = ()
) -> list[Field]:
    """The schema as fields in the family's order; `values` are typed ones or texts as typed."""
    messages = field_errors(errors)
    properties: Mapping[str, Schema] = schema.get("properties", {})
    ordered = sorted(properties.items(), key=lambda pair: pair[1].get("x-order", len(properties)))
    required = schema.get("required", ())
    return [
        _field(name, part, values, messages.get(PREFIX + name, ""), name in required)
        for name, part in ordered
    ]


def field_errors(errors: Iterable[Problem]) -> dict[str, str]:
    """JSON pointers to input names: `/params/stop/2` is said at `params.stop`."""
    said: dict[str, dict[str, None]] = {}
    for problem in errors:
        parts = [_unescape(part) for part in problem.get("pointer", "").split("/")[1:]]
        name = "".join(parts[:1])
        if name == "params" and len(parts) > 1:
            name = PREFIX + parts[1]
        entry = parts[2] if name.startswith(PREFIX) and len(parts) > 2 else ""
        prefix = f"entry {int(entry) + 1} " if entry.isdecimal() else ""
        said.setdefault(name, {})[prefix + problem.get("message", "is not valid")] = None
    return {name: sentence("; ".join(_some(list(texts)))) for name, texts in said.items()}


def _some(texts: list[str]) -> list[str]:
    more = len(texts) - MOST_MESSAGES
    return [*texts[:MOST_MESSAGES], f"and {more} more"] if more > 0 else texts


def sentence(text: str) -> str:
    """Services say "must be at least 1"; alone at a field that is a sentence."""
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?。" else ".")


def typed(form: Mapping[str, str]) -> dict[str, str]:
    """What was typed, by parameter, to show it again beside the errors."""
    values: dict[str, str] = {}
    for key in form:
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        if name.endswith(SHOWN):
            values.setdefault(name.removesuffix(SHOWN), "false")
        elif not name.endswith(TYPED_ID):
            values[name] = form[key]
    for key in form:
        if key.startswith(PREFIX) and key.endswith(TYPED_ID) and form[key].strip():
            values[key.removeprefix(PREFIX).removesuffix(TYPED_ID)] = form[key].strip()
    return values


def parse(schema: Schema, form: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """Typed parameters and what is wrong with them, as JSON pointers.

    What is missing, and an emptied input that may not be empty, takes its default.
    """
    texts = typed(form)
    properties: Mapping[str, Schema] = schema.get("properties", {})
    params: dict[str, Any] = {}
    problems: list[Problem] = [
        {"pointer": f"/params/{_escape(name)}", "message": "is not a parameter here"}
        for name in texts
        if name not in properties
    ]
    for name, part in properties.items():
        if name not in texts:
            continue
        try:
            value = _read(part, texts[name])
        except NotTyped as wrong:
            at = f"/params/{_escape(name)}{wrong.path}"
            problems.append({"pointer": at, "message": wrong.message})
            continue
        if value is not UNSET:
            params[name] = value
    return params, problems + _further(schema, params, problems)


def _further(schema: Schema, params: Mapping[str, Any], problems: list[Problem]) -> list[Problem]:
    """Out of range and the like, so that all of a form's errors are shown at once."""
    said = field_errors(problems)
    found = clean(dict(schema), params)[1]
    return [problem for problem in found if not field_errors([problem]).keys() & said.keys()]


def whole(text: str, pointer: str) -> int:
    """A whole number that no schema describes. Raises InvalidInput."""
    try:
        return _whole(text)
    except NotTyped as wrong:
        raise InvalidInput(errors=[{"pointer": pointer, "message": wrong.message}]) from None


# Drawing.


def _field(name: str, raw: Schema, values: Mapping[str, Any], error: str, required: bool) -> Field:
    part, nullable = _plain(raw)
    kind = _kind(part)
    default = _shown(raw.get("default"))
    value = _shown(values[name]) if name in values else default
    drawn = Field(
        name=name,
        label=str(raw.get("title") or name.replace("_", " ").capitalize()),
        help=str(raw.get("description", "")),
        kind=kind,
        value=value,
        default=default,
        error=error,
        unit=str(raw.get("x-unit", "")),
        ref=str(raw.get("x-ref", "")),
        longest=part.get("maxLength"),
        advanced=bool(raw.get("x-advanced")),
        required="default" not in raw and required and kind not in ("checkbox", "list"),
    )
    if kind in ("number", "integer"):
        _bound(drawn, part)
    if kind == "select":
        drawn.options = _options(_choices(part), value, nullable or drawn.required)
    return drawn


def _plain(raw: Schema) -> tuple[dict[str, Any], bool]:
    """The schema without its null branch, and whether null is allowed."""
    part = {key: value for key, value in raw.items() if key not in ("anyOf", "oneOf")}
    branches = list(raw.get("anyOf") or raw.get("oneOf") or ())
    real = [branch for branch in branches if branch.get("type") != "null"]
    nullable = len(real) < len(branches)
    if len(real) == 1:
        part = {**real[0], **part}
    elif real:
        part["branches"] = real
    kinds = part.get("type")
    if isinstance(kinds, list):
        nullable = nullable or "null" in kinds
        part["type"] = next((kind for kind in kinds if kind != "null"), "string")
    if "enum" in raw:
        nullable = None in raw["enum"]
    return part, nullable


def _kind(part: Schema) -> str:
    if "x-ref" in part and part.get("type", "string") == "string":
        return "ref"
    if "enum" in part or "const" in part:
        return "select"
    simple = {"integer": "integer", "number": "number", "boolean": "checkbox", "array": "list"}
    kind = simple.get(str(part.get("type", "")))
    if kind:
        return kind
    long = part.get("x-widget") == "textarea" or part.get("maxLength", 0) > LONG_TEXT
    return "textarea" if long else "text"


def _choices(part: Schema) -> list[Any]:
    return list(part["enum"]) if "enum" in part else [part["const"]]


def _options(choices: Sequence[Any], value: str, empty: bool) -> list[Option]:
    """Without a choice that is empty a browser would choose the first by itself."""
    texts = [_shown(choice) for choice in choices if choice is not None]
    if empty and "" not in texts:
        texts.insert(0, "")
    return [Option(text, text or "not set", text == value) for text in texts]


def _bound(drawn: Field, part: Schema) -> None:
    least, most = part.get("minimum"), part.get("maximum")
    above, below = part.get("exclusiveMinimum"), part.get("exclusiveMaximum")
    drawn.minimum = _number(least if least is not None else above)
    drawn.maximum = _number(most if most is not None else below)
    drawn.step = _number(part.get("multipleOf")) or ("1" if drawn.kind == "integer" else "any")
    if least is not None and most is not None:
        drawn.range = f"{_words(least)} – {_words(most)}"
        return
    bounds = (("at least", least), ("more than", above), ("at most", most), ("less than", below))
    drawn.range = ", ".join(f"{words} {_words(at)}" for words, at in bounds if at is not None)


def _words(value: Any) -> str:
    """A bound as people read it: 1,000,000 rather than 1000000.0."""
    text = _number(value)
    return f"{int(text):,}" if text.lstrip("-").isdigit() else text


def _number(value: Any) -> str:
    """All of its digits, without an exponent while it is readable: 0.00001 rather than 1e-05."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    if not math.isfinite(value):
        return ""
    if value and not 1e-9 <= abs(value) < 1e15:
        return repr(value)
    return str(int(value)) if value.is_integer() else format(Decimal(repr(value)), "f")


def _shown(value: Any) -> str:
    """A value as the text of an input."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, float):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return "\n".join(
            _escaped_line(part) if isinstance(part, str) else _shown(part) for part in value
        )
    return str(value)


def _escaped_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


class NotTyped(Exception):
    """This text is no value of that type."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path


UNSET = object()


def _read(raw: Schema, text: str) -> Any:
    """The value that a text stands for; UNSET where the default shall be taken."""
    part, nullable = _plain(raw)
    kind = _kind(part)
    if kind in ("text", "textarea"):
        return _text(part, text, nullable)
    if kind == "list":
        return _list(part, text)
    text = text.strip()
    if not text and kind == "select" and "" in _choices(part):
        return ""
    if not text:
        return None if nullable else UNSET
    return _single(part, kind, text)


def _single(part: Schema, kind: str, text: str) -> Any:
    if kind == "select":
        return _choice(part, text)
    readers = {"checkbox": _switch, "integer": _whole, "number": _decimal}
    return readers[kind](text) if kind in readers else text


def _text(part: Schema, text: str, nullable: bool) -> Any:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text:
        # where empty is allowed, a text that was cleared is empty; elsewhere its default returns
        may = part.get("type") == "string" and not part.get("minLength") and "pattern" not in part
        return None if nullable else "" if may else UNSET
    for branch in part.get("branches", ()):
        try:
            return _read(branch, text)
        except NotTyped:
            continue
    return text


def _whole(text: str) -> int:
    # int() alone would take "١", "1_000" and " 1 "
    if not WHOLE.fullmatch(text):
        raise NotTyped("must be a whole number")
    return int(text)


def _decimal(text: str) -> float:
    if not DECIMAL.fullmatch(text):
        raise NotTyped("must be a number")
    return float(text)


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise NotTyped("must be true or false")
    return text == "true"


def _choice(part: Schema, text: str) -> Any:
    for choice in _choices(part):
        if choice is not None and _shown(choice) == text:
            return choice
    shown = ", ".join(_shown(choice) for choice in _choices(part)[:50] if choice is not None)
    raise NotTyped(f"must be one of {shown}")


def _list(part: Schema, text: str) -> Any:
    """One entry a line; \\n, \\t and \\\\ in it stand for a line break, a tab and a backslash."""
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if line.strip()]
    if not lines and part.get("minItems"):
        return UNSET
    entries, kind = [], part.get("items", {}).get("type", "string")
    for n, line in enumerate(lines):
        try:
            entries.append(_entry(kind, line))
        except NotTyped as wrong:
            raise NotTyped(wrong.message, f"/{n}") from wrong
    return entries


def _entry(kind: str, line: str) -> Any:
    if kind == "integer":
        return _whole(line.strip())
    if kind == "number":
        return _decimal(line.strip())
    return re.sub(r"\\[nt\\]", lambda found: ESCAPES[found.group()], line)


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unescape(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")
