"""Column types that the tables share."""

from __future__ import annotations

from typing import Annotated, Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import mapped_column

from shared.ids import new_id

# none_as_null: a missing object is SQL NULL, not the JSON text "null"
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

Id = Annotated[str, mapped_column(String(32), primary_key=True, default=new_id)]
UserId = Annotated[str, mapped_column(String(32), ForeignKey("user.id"), index=True)]
Time = Annotated[float, mapped_column(Double)]
MaybeTime = Annotated[float | None, mapped_column(Double)]
Big = Annotated[int, mapped_column(BigInteger)]
MaybeBig = Annotated[int | None, mapped_column(BigInteger)]
Object = Annotated[dict[str, Any], mapped_column(Json)]
MaybeObject = Annotated[dict[str, Any] | None, mapped_column(Json)]
Sha256 = Annotated[str, mapped_column(String(64))]
