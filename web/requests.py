"""What a request may hold: strict JSON, and the bodies of the API as pydantic models. Knows no Flask.

Whatever is wrong with a body becomes InvalidInput with a JSON pointer for each field, or BadRequest if it is no JSON.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, ClassVar, Literal, NoReturn, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.errors import BadRequest, InvalidInput
from shared.params import text_problems
from shared.samples import SAMPLES

LONGEST_NUMBER = 400
MOST_LEVELS = 20  # of lists and objects in each other
LARGEST_SEED = 2**53
LARGEST_COUNT = 2**31 - 1
DAY = 86_400

Body = TypeVar("Body", bound=BaseModel)


def _sound(text: str) -> str:
    if problems := text_problems(text):
        raise ValueError(problems[0])
    return text


def one_line(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("must not contain control characters")
    return _sound(text).strip()


Scope = Literal[
    "jobs:read",
    "jobs:write",
    "datasets:read",
    "datasets:write",
    "models:read",
    "models:write",
    "admin",
]
SCOPES: tuple[str, ...] = get_args(Scope)


def no_twins(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("must not name one twice")
    return values


def _not_blank(text: str) -> str:
    if not (line := one_line(text)):
        raise ValueError("must not be blank")
    return line


# The same rules for who reads the schema.
NO_NUL = r"^[^\x00]*$"
ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
NOT_BLANK = r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\x85\s][^\x00-\x1f\x7f]*$"
TAG = r"^[^\x00-\x1f\x7f,]*[^\x00-\x1f\x7f\x85\s,][^\x00-\x1f\x7f,]*$"

# An id or a name. Whatever else fits in a line is answered as an id that is not here.
ID = "^[A-Za-z0-9_.:-]{1,64}$"
Ref = Annotated[
    str,
    Field(min_length=1, max_length=64, json_schema_extra={"pattern": ID}),
    AfterValidator(one_line),
]
Name = Annotated[
    str, Field(max_length=200, json_schema_extra={"pattern": ONE_LINE}), AfterValidator(one_line)
]
GivenName = Annotated[
    str,
    Field(min_length=1, max_length=200, json_schema_extra={"pattern": NOT_BLANK}),
    AfterValidator(_not_blank),
]


class Strict(BaseModel):
    """No unknown fields, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    may_be_absent: ClassVar[bool] = False  # a request without a body says the same as {}


class JobRequest(Strict):
    """The body of POST /jobs."""

    kind: Literal["train", "generate", "evaluate", "prepare", "tune"]
    family: Ref | None = None
    dataset_id: Ref | None = None
    model_id: Ref | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    seed: int | None = Field(None, ge=0, le=LARGEST_SEED)
    priority: int = Field(0, ge=-10, le=10)
    deadline_seconds: float | None = Field(None, ge=1, le=30 * DAY)
    waits_for: Ref | None = None
    name: Name = ""


class ContinueRequest(Strict):
    """The body of POST /jobs/ID/continue."""

    steps: int | None = Field(None, ge=1, le=LARGEST_COUNT)  # asked for once the job is found
    checkpoint_step: int | None = Field(None, ge=0, le=LARGEST_COUNT)
    name: Name = ""


class CheckpointModelRequest(Strict):
    """The body of POST /jobs/ID/checkpoints/STEP/model."""

    may_be_absent = True

    name: Name = ""


class ModelChange(Strict):
    """The body of PATCH /models/ID."""

    name: GivenName | None = None
    visibility: Literal["private", "shared"] | None = None


def _tag(text: str) -> str:
    if "," in (line := _not_blank(text)):
        raise ValueError("must not contain a comma")
    return line


Tag = Annotated[
    str,
    Field(min_length=1, max_length=40, json_schema_extra={"pattern": TAG}),
    AfterValidator(_tag),
]
Tags = Annotated[list[Tag], Field(max_length=20)]


class ArtifactChange(Strict):
    """The body of PATCH /artifacts/ID: star and tags of one's own, and who may see it."""

    starred: bool | None = None
    tags: Tags | None = Field(None, description="All of them; those that are not here go.")
    add_tags: Tags = Field(default_factory=list)
    remove_tags: Tags = Field(default_factory=list)
    visibility: Literal["private", "shared"] | None = None


class SampleRequest(Strict):
    """The JSON body of POST /datasets."""

    sample: Annotated[Ref, Field(json_schema_extra={"enum": list(SAMPLES)})]
    name: Name = ""


class UploadForm(Strict):
    """The fields beside the files of a multipart POST /datasets."""

    name: Name = ""
    kind: Literal["", "text", "images"] = ""
    accept_partial: Literal["", "0", "1", "false", "true"] = ""

    @property
    def partial(self) -> bool:
        return self.accept_partial in ("1", "true")


class UploadsRequest(Strict):
    """The JSON body of POST /datasets that names finished uploads."""

    uploads: Annotated[
        list[Ref],
        Field(min_length=1, max_length=1000, json_schema_extra={"uniqueItems": True}),
        AfterValidator(no_twins),
    ]
    name: Name = ""
    kind: Literal["", "text", "images"] = ""
    accept_partial: bool = False


class Upload(UploadForm):
    """The multipart body of POST /datasets."""

    file: list[bytes] = Field(min_length=1, description="Texts, tables, pictures, or zips of them.")


class ArtifactIds(Strict):
    """The body of POST /artifacts/archive."""

    ids: list[Ref] = Field(min_length=1, max_length=1000)


class TokenRequest(Strict):
    """The body of POST /me/tokens."""

    name: Annotated[GivenName, Field(max_length=120)]
    expires_days: int | None = Field(None, ge=1, le=3650)
    # none: all that its owner may do
    scopes: list[Scope] = Field(default_factory=list, max_length=len(SCOPES))


def parse_json(data: bytes) -> Any:
    """Strict JSON: UTF-8, no NaN or Infinity, no number out of range, no name twice, no bottomless nesting."""
    try:
        parsed = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_int,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        raise BadRequest("The body is not UTF-8.") from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise BadRequest(
            f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    if _is_deeper_than(MOST_LEVELS, parsed):
        # what looks at it later goes down by recursion
        raise BadRequest("The body is nested too deeply.")
    return parsed


def _is_deeper_than(levels: int, value: Any) -> bool:
    parts = [value]
    for _ in range(levels):
        inside = [part for part in parts if isinstance(part, (dict, list))]
        parts = [p for part in inside for p in (part.values() if isinstance(part, dict) else part)]
    return bool(parts)


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"The body is not JSON: {name} is not a number there.")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidInput(
            "A number is out of range.",
            [{"pointer": "", "message": f"{text[:20]} is out of range"}],
        )
    return number


def _int(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise InvalidInput(
            "A number is out of range.",
            [{"pointer": "", "message": "a number has too many digits"}],
        )
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRequest(f"The body names {twice[:80]!r} twice.")
    return found


def read_body(model: type[Body], data: bytes) -> Body:
    """The body as a model, or InvalidInput with a pointer for each field that is wrong."""
    parsed = parse_json(data)
    if not isinstance(parsed, dict):
        raise InvalidInput(errors=[{"pointer": "", "message": "must be an object"}])
    return check(model, parsed)


def check(model: type[Body], values: dict[str, Any]) -> Body:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [
            {"pointer": pointer(part["loc"]), "message": _words(part["type"], part["msg"])}
            for part in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidInput(errors=problems) from None


def pointer(path: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _words(kind: str, message: str) -> str:
    texts = {
        "extra_forbidden": "is not a field here",
        "missing": "is required",
        "string_pattern_mismatch": "has the wrong form",
    }
    return texts.get(kind, message.removeprefix("Value error, "))
