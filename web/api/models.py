"""/models: cards, names, sharing, deletion."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api.answers import answer, body, flag, nothing, query
from web.requests import ModelChange
from web.security import current_user, studio
from web.services import models
from web.services.job_lists import Page

bp = Blueprint("models", __name__, url_prefix="/models")


@bp.get("")
def index() -> Response:
    return answer(models.list_models(studio(), current_user(), query(Page)))


@bp.get("/<model_id>")
def show(model_id: str) -> Response:
    return answer(models.get_model(studio(), current_user(), model_id))


@bp.patch("/<model_id>")
def change(model_id: str) -> Response:
    return answer(models.change_model(studio(), current_user(), model_id, body(ModelChange)))


@bp.delete("/<model_id>")
def delete(model_id: str) -> Response:
    models.delete_model(studio(), current_user(), model_id, force=flag("force"))
    return nothing()
