"""The start page: what to do next, what goes on, what came out; and the one-click sample."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from shared.models import User
from web.requests import JobRequest, check
from web.security import current_user, studio
from web.services import datasets, families, jobs, models, results
from web.services.job_lists import Page
from web.views import media

bp = Blueprint("home", __name__)

SAMPLE = "digits"
SAMPLE_MODEL = "Handwritten digits"
LONGEST_CHECK = 10.0
LOOK_SECONDS = 0.2
MOST_RESULTS = 12


@bp.get("/")
def index() -> ResponseReturnValue:
    user, here = current_user(), studio()
    active = jobs.list_jobs(here, user, jobs.Filters(state="running,queued", limit=6))
    ended = jobs.list_jobs(here, user, jobs.Filters(state="succeeded,failed,cancelled", limit=8))
    return render_template(
        "home.html",
        families=families.list_families(here),
        datasets=datasets.count_datasets(here, user),
        models=models.list_models(here, user, Page(limit=1))["items"],
        active=sorted(active["items"], key=lambda job: bool(job["state"] != "running")),
        recent=ended["items"],
        results=results.list_results(
            here, user, results.Filters(limit=MOST_RESULTS), excerpt=media.SHORT_TEXT
        )["items"],
    )


@bp.post("/sample")
def sample() -> ResponseReturnValue:
    """One click: the sample data, checked, and a short training on it."""
    user, here = current_user(), studio()
    found = _checked(user, _sample_dataset(user) or datasets.add_sample(here, user, SAMPLE))
    family = _able_family()
    if found["state"] != "ready" or family is None:
        text = _("The data is here, but no worker that can use it has come yet. Try again shortly.")
        flash(text, "warning")
        return redirect(url_for("pages.datasets.show", dataset_id=found["id"]), 303)
    asked = {
        "kind": "train",
        "family": family["name"],
        "dataset_id": found["id"],
        "params": family["actions"]["train"]["example"],
        "name": SAMPLE_MODEL,
    }
    done = jobs.submit_job(here, user, check(JobRequest, asked))
    return redirect(url_for("pages.jobs.show", job_id=done.job["id"]), 303)


def _able_family() -> dict[str, Any] | None:
    able = (
        family
        for family in families.list_families(studio())
        if "train" in family["actions"] and family["dataset_kind"] == "images"
    )
    return next(able, None)


def _sample_dataset(user: User) -> dict[str, Any] | None:
    for one in datasets.list_datasets(studio(), user)["items"]:
        if one.get("source") == f"sample:{SAMPLE}" and one["state"] != "refused":
            return dict(one)
    return None


def _checked(user: User, dataset: dict[str, Any]) -> dict[str, Any]:
    """The dataset as soon as it is checked, which takes a second or two; or as it is after a while."""
    until = time.monotonic() + LONGEST_CHECK
    while dataset["state"] == "checking" and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        dataset = datasets.get_dataset(studio(), user, dataset["id"])
    return dataset
