"""What a worker may announce of a family. Web draws, checks and prices from it, so nonsense must not get there."""

from __future__ import annotations

from typing import Annotated, Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.params import LONGEST_EXPRESSION, NotInLanguage, Unpriced, evaluate


def _arithmetic(expression: str) -> str:
    """Whether it can be read; what it is for real facts is seen at each submit."""
    try:
        evaluate(expression, {})
    except NotInLanguage as error:
        raise ValueError(str(error)) from None
    except (Unpriced, ValueError, ArithmeticError):
        pass
    return expression


def _sound_schema(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"no JSON Schema: {error.message[:200]}") from None
    fields = schema.get("properties", {})
    if not all(isinstance(field, dict) for field in fields.values()):
        raise ValueError("each property must be an object")
    return schema


Expression = Annotated[str, Field(max_length=LONGEST_EXPRESSION), AfterValidator(_arithmetic)]
Words = Annotated[str, Field(max_length=2000)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Action(_Strict):
    schema_: Annotated[dict[str, Any], AfterValidator(_sound_schema)] = Field(alias="schema")
    example: dict[str, Any]
    rules: list[Annotated[list[str], Field(min_length=3, max_length=3)]] = Field(max_length=200)
    cost: dict[str, Expression]


class _Announcement(_Strict):
    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    version: int = Field(ge=1, le=2**31 - 1)
    title: Words
    summary: Words
    modality: Words
    dataset_kind: str | None = Field(max_length=16)
    accepts: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(max_length=200)
    actions: dict[str, _Action]
    batch_by: list[str]


def problems_of(announcement: Any) -> list[str]:
    """What is wrong with it; empty when web can work with it."""
    try:
        found = _Announcement.model_validate(announcement)
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, part['loc']))}: {part['msg']}"
            for part in error.errors(include_url=False, include_input=False)[:10]
        ]
    expressions = [rule[0] for rule in found.accepts]
    expressions += [rule[0] for action in found.actions.values() for rule in action.rules]
    problems = []
    for expression in expressions:
        try:
            _arithmetic(expression)
        except ValueError as error:
            problems.append(str(error))
    return problems
