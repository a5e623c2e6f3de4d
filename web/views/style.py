"""/style: every part of the pages in all its states, drawn by the same macros as the pages themselves."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from web import assets, forms
from web.security import current_user
from web.views import words
from web.views.charts import loss_chart
from web.views.histograms import histogram

bp = Blueprint("style", __name__)

SCHEMA: dict[str, Any] = {
    "properties": {
        "steps": {"type": "integer", "minimum": 1, "maximum": 5000, "default": 500, "title": "Steps",
                  "description": "How many optimizer steps to make.", "x-unit": "steps"},
        "rate": {"type": "number", "exclusiveMinimum": 0, "default": 0.001, "title": "Learning rate",
                 "description": "Greatest step size of AdamW; a cosine ends it near 0."},
        "augment": {"enum": ["none", "flip", "shift"], "default": "none", "title": "Augmentation",
                    "description": "Mirror, or shift by an eighth, at random."},
        "shuffle": {"type": "boolean", "default": True, "title": "Shuffle"},
        "prompt": {"type": "string", "maxLength": 2000, "default": "", "title": "Prompt"},
    }
}  # fmt: skip
PROBLEMS = [{"pointer": "/params/rate", "message": "must be more than 0"}]
SERIES = {
    "loss": [[step, step / 10, 2.3 * 0.97**step + 0.1] for step in range(1, 90, 4)],
    "val_loss": [[step, step / 10, 2.3 * 0.975**step + 0.15] for step in range(5, 90, 20)],
}


@bp.get("/style")
def index() -> ResponseReturnValue:
    current_user()
    return render_template(
        "style.html",
        states=list(words.STATES),
        fields=forms.fields_of(SCHEMA, {"rate": "0"}, PROBLEMS),
        spread=histogram(_("Items by width"), [("8", 178), ("16", 320), ("24", 41), ("32", 6)]),
        chart=loss_chart(SERIES),
        symbols=assets.ICONS,
        job={
            "id": "sample", "name": "", "kind": "train", "family": "vae", "state": "running",
            "progress": {"fraction": 0.42, "step": 630, "total_steps": 1500, "eta_seconds": 75},
        },
        bars=[
            {"label": "Stored", "text": "1.2 GB of 5 GB", "part": 0.24},
            {"label": "Device time in 24 hours", "text": "55 min of 1 h", "part": 0.92},
            {"label": "Queued jobs", "text": "10 of 10", "part": 1.0},
        ],
    )  # fmt: skip
