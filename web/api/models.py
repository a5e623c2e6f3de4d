"""/models: cards, names, sharing, deletion."""

from __future__ import annotations

from flask import Blueprint, Response

from shared.errors import InUse
from web.api import shapes_schema as shapes
from web.api.answers import answer, body, nothing, query
from web.api.describe import NOTHING, told
from web.queries import Forced
from web.requests import ModelChange
from web.security import current_user, studio
from web.services import models

bp = Blueprint("models", __name__, url_prefix="/models")


@bp.get("")
@told("Your models, and those that are shared", shapes.ModelList, query=models.Filters)
def index() -> Response:
    return answer(models.list_models(studio(), current_user(), query(models.Filters)))


@bp.get("/<model_id>")
@told("The card of a model", shapes.ModelCard)
def show(model_id: str) -> Response:
    return answer(models.get_model(studio(), current_user(), model_id))


@bp.patch("/<model_id>")
@told("Rename or share a model", shapes.ModelCard, body=ModelChange)
def change(model_id: str) -> Response:
    return answer(models.change_model(studio(), current_user(), model_id, body(ModelChange)))


@bp.delete("/<model_id>")
@told("Delete a model", NOTHING, query=Forced, errors=(InUse,))
def delete(model_id: str) -> Response:
    models.delete_model(studio(), current_user(), model_id, force=query(Forced).force)
    return nothing()
