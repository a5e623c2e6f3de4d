"""The parameter language: Params, schema_of(), clean(), and the small evaluator of rules and costs.

A family writes its parameters as a pydantic model; what travels is plain JSON Schema 2020-12, so the web process checks
input, fills defaults and prices a job without the family's code.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Field",
    "Params",
    "Unpriced",
    "check_rules",
    "clean",
    "evaluate",
    "price",
    "refitted",
    "schema_of",
]

Schema = dict[str, Any]
Problem = dict[str, str]

LONGEST_EXPRESSION = 4000

# Values outside are refused everywhere: JSON numbers beyond 2^53 do not survive every client.
LARGEST_INTEGER = 2**53
LONGEST_TEXT = 200_000


class Params(BaseModel):
    """Base of every family's parameters: flat, strict, unknown names refused.

    Each field has a type, a default, bounds, a title and a one-sentence description. Extra keys in
    `json_schema_extra`: "x-ref": "image" | "text" (the value is an id), "x-advanced": True (folded in forms),
    "x-widget": "textarea", "x-unit": "px".
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def schema_of(params: type[Params]) -> Schema:
    """Plain JSON Schema 2020-12: nothing to resolve ($ref inlined), defaults and bounds in place."""
    schema = params.model_json_schema()
    definitions = schema.pop("$defs", {})
    schema.pop("title", None)
    schema.pop("description", None)
    inlined: Schema = _inline(schema, definitions)
    for order, field in enumerate(inlined.get("properties", {}).values()):
        field["x-order"] = order
    return inlined


def _inline(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inline(part, definitions) for part in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[1]]
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return _inline({**target, **rest}, definitions)
    return {key: _inline(value, definitions) for key, value in node.items()}


def clean(
    schema: Schema, values: Mapping[str, Any], pointer: str = "/params"
) -> tuple[dict[str, Any], list[Problem]]:
    """The values with every default written out, and what is wrong with them (JSON pointers)."""
    properties: Schema = schema.get("properties", {})
    full = {
        name: deepcopy(field["default"]) for name, field in properties.items() if "default" in field
    }
    full.update(values)
    problems = [
        {"pointer": f"{pointer}/{_escape(name)}", "message": "is not a parameter here"}
        for name in values
        if name not in properties
    ]
    strange = {p["pointer"] for p in problems}
    for name, value in full.items():
        at = f"{pointer}/{_escape(name)}"
        if at not in strange:
            problems += [{"pointer": at + path, "message": text} for path, text in _unsafe(value)]
    if not problems:
        errors = Draft202012Validator(schema).iter_errors(full)
        problems = [_problem_of(error, pointer) for error in errors]
    if not problems:
        # JSON Schema takes 1.0 for an integer; the family shall see an int
        for name, field in properties.items():
            if field.get("type") == "integer" and isinstance(full.get(name), float):
                full[name] = int(full[name])
            elif field.get("type") == "number" and isinstance(full.get(name), int):
                full[name] = float(full[name])
    return full, problems


def refitted(params: Mapping[str, Any], before: Schema, after: Schema) -> dict[str, Any]:
    """Values that were cleaned by a family's schema, for the schema of one model: what was left at the family's default
    becomes the model's, or goes where the model does not take it. What somebody chose stays, and may be refused."""
    known, own = before.get("properties", {}), after.get("properties", {})
    if not own:
        return dict(params)
    fitting = {}
    for name, value in params.items():
        if name not in known or value != known[name].get("default"):
            fitting[name] = value
        elif name in own:
            fitting[name] = own[name].get("default", value)
    return fitting


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unsafe(value: Any, path: str = "") -> list[tuple[str, str]]:
    """What JSON Schema cannot say: finite numbers, bounded integers, sound text."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, float) and not math.isfinite(value):
        return [(path, "must be a finite number")]
    if isinstance(value, (int, float)) and abs(value) > LARGEST_INTEGER:
        return [(path, "is out of range")]
    if isinstance(value, str):
        return [(path, problem) for problem in text_problems(value)]
    if isinstance(value, list):
        found = [_unsafe(part, f"{path}/{n}") for n, part in enumerate(value)]
        return [problem for part in found for problem in part]
    return [(path, "must not be an object")] if isinstance(value, dict) else []


def text_problems(text: str, longest: int = LONGEST_TEXT) -> list[str]:
    """Why this text cannot be stored or shown safely; empty when it can."""
    if len(text) > longest:
        return [f"must have at most {longest:,} characters"]
    if "\0" in text:
        return ["must not contain NUL"]
    if any("\ud800" <= character <= "\udfff" for character in text):
        return ["contains half of a surrogate pair"]
    return []


def _problem_of(error: ValidationError, pointer: str) -> Problem:
    path = pointer + "".join(f"/{_escape(str(part))}" for part in error.absolute_path)
    if error.validator == "required":
        missing = error.message.split("'")[1]
        return {"pointer": f"{path}/{_escape(missing)}", "message": "is required"}
    return {"pointer": path, "message": _words(error)}


def _words(error: ValidationError) -> str:
    limit = error.validator_value
    texts: dict[str, str] = {
        "minimum": f"must be at least {limit}",
        "maximum": f"must be at most {limit}",
        "exclusiveMinimum": f"must be greater than {limit}",
        "exclusiveMaximum": f"must be less than {limit}",
        "multipleOf": f"must be a multiple of {limit}",
        "minLength": f"must have at least {limit} characters",
        "maxLength": f"must have at most {limit} characters",
        "minItems": f"must have at least {limit} entries",
        "maxItems": f"must have at most {limit} entries",
        "type": f"must be {_type_words(limit)}",
        "anyOf": "has the wrong type",
        "pattern": "has the wrong form",
    }
    if error.validator == "enum" and isinstance(limit, list):
        return "must be one of " + ", ".join(map(str, limit[:50]))
    return texts.get(str(error.validator), "is not valid")


def _type_words(kind: Any) -> str:
    words = {
        "integer": "a whole number",
        "number": "a number",
        "string": "text",
        "boolean": "true or false",
        "array": "a list",
        "null": "empty",
    }
    kinds = kind if isinstance(kind, list) else [kind]
    return " or ".join(words.get(str(k), str(k)) for k in kinds)


# Rules and costs: arithmetic over parameters and facts of the data, as text.

Number = int | float | bool


class Unpriced(Exception):
    """An expression names a fact that is not known here, or is empty."""


class NotInLanguage(ValueError):
    """An expression that is no arithmetic: its family is broken, whatever the values."""


OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, box: item in box,
    ast.NotIn: lambda item, box: item not in box,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "log2": math.log2,
    "sqrt": math.sqrt,
    "len": len,
}


def evaluate(expression: str, facts: Mapping[str, Any]) -> Any:
    """The value of an arithmetic expression: names, numbers, text, + - * / // %, ** with a small exponent,
    comparisons, and/or/not, `a if b else c`, and the FUNCTIONS. No attributes, no calls but those, no eval.

    Raises Unpriced for an unknown name, NotInLanguage for anything else that is not in the language, ValueError or
    ArithmeticError where the values have no result (log2(0), a division by zero).
    """
    if not isinstance(expression, str) or len(expression) > LONGEST_EXPRESSION:
        raise NotInLanguage("not allowed in a rule: no text, or too long")
    try:
        return _value(ast.parse(expression, mode="eval").body, facts)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise NotInLanguage(f"not allowed in a rule: {type(error).__name__}") from error
    except TypeError as error:
        raise Unpriced(f"a fact has another type: {error}") from error


def _value(node: ast.expr, facts: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return node.value
        case ast.Name(id=name):
            if name not in facts:
                raise Unpriced(name)
            return facts[name]
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return [_value(part, facts) for part in parts]
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            exponent = _value(right, facts)
            if not -64 <= _number(exponent) <= 64:
                raise ValueError("exponent out of range")
            # a float: a tower of whole numbers could grow without bound
            return _number(float(_number(_value(left, facts))) ** exponent)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            # numbers only: a text times a number could fill the memory
            return OPERATORS[type(op)](_number(_value(left, facts)), _number(_value(right, facts)))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_value(operand, facts))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _value(test, facts) else orelse, facts)
    return _logic(node, facts)


def _number(value: Any) -> Number:
    if isinstance(value, (bool, int, float)):
        return value
    raise TypeError(f"{type(value).__name__} is no number")


def _logic(node: ast.expr, facts: Mapping[str, Any]) -> Any:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(value, facts) for value in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_value(value, facts) for value in values)
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(
            type(op) in OPERATORS for op in ops
        ):
            terms = [_value(term, facts) for term in (left, *comparators)]
            return all(
                OPERATORS[type(op)](a, b) for op, a, b in zip(ops, terms, terms[1:], strict=False)
            )
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](*(_value(arg, facts) for arg in args))
    raise NotInLanguage(f"not allowed in a rule: {ast.dump(node)[:80]}")


def check_rules(
    rules: list[list[str]], facts: Mapping[str, Any], pointer: str = "/params"
) -> list[Problem]:
    """Rules are [expression, parameter, message]. One whose facts are unknown is left for later, as is one that is no
    arithmetic (its family is broken); one that has no result for these values does not hold."""
    problems = []
    for expression, name, message in rules:
        try:
            holds = bool(evaluate(expression, facts))
        except (Unpriced, NotInLanguage):
            continue
        except (ValueError, ArithmeticError):
            holds = False
        if not holds:
            problems.append({"pointer": f"{pointer}/{name}", "message": message})
    return problems


def price(cost: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, float | None]:
    """Each cost ("flops", "bytes", ...) as a number that is not negative, or None where it cannot be known."""
    return {name: _price(expression, facts) for name, expression in cost.items()}


def _price(expression: str, facts: Mapping[str, Any]) -> float | None:
    try:
        found = float(_number(evaluate(expression, facts)))
    except OverflowError:
        return math.inf
    except (Unpriced, TypeError, ValueError, ArithmeticError):
        return None
    return found if found >= 0 else None  # NaN is neither
