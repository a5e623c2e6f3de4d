"""What stands after the question mark: types that read text, and the queries of the API as models. Knows no Flask."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, WithJsonSchema

from shared.thumbnails import SIZES
from web.requests import ID, Strict

DIGITS = re.compile(r"-?(0|[1-9][0-9]{0,17})")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
FLAGS = {"1": True, "true": True, "0": False, "false": False}
LARGEST = 2**31 - 1


def _whole(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not DIGITS.fullmatch(value):
        raise ValueError("must be a whole number")
    return int(value)


def _flag(value: Any) -> Any:
    if isinstance(value, str) and value not in FLAGS:
        raise ValueError(f"must be one of {', '.join(FLAGS)}")
    return FLAGS.get(value, value)


def _moment(value: Any) -> Any:
    if isinstance(value, str) and not MOMENT.fullmatch(value):
        raise ValueError("must be a time like 2026-11-22T04:50:00Z")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[
    bool, BeforeValidator(_flag), WithJsonSchema({"type": "string", "enum": list(FLAGS)})
]


Moment = Annotated[AwareDatetime, BeforeValidator(_moment), Field(strict=False)]
Word = Annotated[str, Field(pattern=ID)]


class Nothing(Strict):
    """No question."""


class Part(Strict):
    """`limit` and `after` of a list that is short by nature: whole where nobody asks for less."""

    limit: Annotated[int, Field(ge=1, le=200), BeforeValidator(_whole)] | None = Field(
        None, description="Most entries in one answer."
    )
    after: Annotated[str, Field(pattern="^[A-Za-z0-9_.:-]{1,64}$")] | None = Field(
        None, description="The `next` of the answer before this one."
    )


class Forced(Strict):
    force: Flag = Field(
        False, description="Hide it although others depend on it; accepted jobs keep the bytes."
    )


class DryRun(Strict):
    dry_run: Flag = Field(False, description="Check and estimate only; nothing is queued.")


class Waiting(Strict):
    wait: Whole = Field(
        0, ge=0, le=60, description="Seconds to hold the answer until the job changes or ends."
    )


class EventsAfter(Strict):
    after: Whole = Field(0, ge=0, le=LARGEST, description="Events with a greater n only.")
    limit: Whole = Field(200, ge=1, le=1000, description="Most events in one answer.")


class EndedAfter(Strict):
    after: Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,9})?-[0-9a-z]{0,32}$")] | None = (
        Field(None, description="The `next` of the answer before this one; without it, from now.")
    )


class Points(Strict):
    max_points: Whole = Field(500, ge=2, le=10_000, description="Most points of each series.")


class ItemsAfter(Strict):
    after: Whole = Field(-1, ge=-1, le=1 << 40, description="Items with a greater n only.")
    limit: Whole = Field(50, ge=1, le=200, description="Most items in one answer.")


class InPlace(Strict):
    inline: Flag = Field(
        False, description="Show pictures and plain text in the browser instead of saving them."
    )


def _thumbnail_size(value: int) -> int:
    if value not in SIZES:
        raise ValueError(f"must be one of {', '.join(map(str, SIZES))}")
    return value


class ThumbnailSize(Strict):
    size: Annotated[
        Whole, AfterValidator(_thumbnail_size), Field(json_schema_extra={"enum": list(SIZES)})
    ] = Field(128, description="Pixels of the longer side.")


class ResultThumbnailSize(ThumbnailSize):
    size: Annotated[
        Whole, AfterValidator(_thumbnail_size), Field(json_schema_extra={"enum": list(SIZES)})
    ] = Field(
        128, description="Of no effect: of a result there is one small picture, for every size."
    )


class TokenId(Strict):
    id: Word = Field(description="The token to revoke.")
