"""The gallery: results by filters, a page at a time; many at once; two beside each other."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

from shared.errors import InUse, InvalidInput, NotFound
from shared.models import User
from web.api.archives import zip_answer
from web.requests import ArtifactChange, ArtifactIds, check
from web.said import said
from web.security import current_user, studio
from web.services import archives, artifacts, families, jobs, marks, models, results
from web.services.job_lists import Page
from web.views import comparing, media, words
from web.views.deleting import ask
from web.views.results_shown import given, with_url

bp = Blueprint("results", __name__)

PAGE_SIZE = 48
MOST_MODELS = 100
MOST_MAKING = 4
KEYS = (
    ("← ↑ ↓ →", _l("Move the selection")),
    ("Enter", _l("Open the result")),
    ("r", _l("Use its parameters")),
    ("s", _l("Use its seed")),
    ("c", _l("Compare: with the next one that you press c on, or the two that are selected")),
    (".", _l("Star, or take the star away")),
    ("x", _l("Select for download, tags, sharing or deletion")),
)


@bp.get("/results")
def index() -> ResponseReturnValue:
    user = current_user()
    wanted = given()
    asked = {"limit": str(PAGE_SIZE), **wanted}
    found = results.list_results(
        studio(), user, check(results.Filters, asked), excerpt=media.SHORT_TEXT
    )
    context = {name: value for name, value in wanted.items() if name != "after"}
    return render_template(
        "results/index.html",
        results=found["items"],
        next=found["next"],
        wanted=wanted,
        context=context,
        families=families.list_families(studio()),
        models=models.list_models(studio(), user, Page(limit=MOST_MODELS))["items"],
        tags=marks.tags(studio(), user),
        making=_shown_making(user, wanted),
        page_keys=KEYS,
    )


@bp.get("/results/making")
def making() -> ResponseReturnValue:
    """The part of the gallery's page that changes while something is made, for the page that follows it."""
    return render_template("results/making.html", making=_shown_making(current_user(), given()))


def _shown_making(user: User, wanted: dict[str, str]) -> list[dict[str, Any]]:
    return [] if wanted.get("whose") == "shared" or "after" in wanted else _making(user)


def _making(user: User) -> list[dict[str, Any]]:
    """Generations that are not done, with the texts that they have so far."""
    filters = jobs.Filters(state="running,queued", kind="generate", limit=MOST_MAKING)
    found = jobs.list_jobs(studio(), user, filters)["items"]
    return [{**job, "texts": comparing.texts_so_far(user, job)} for job in found]


@bp.post("/results/selected")
def selected() -> ResponseReturnValue:
    """One of the buttons below the gallery, for all results that are marked there."""
    user, action = current_user(), request.form.get("action", "")
    try:
        ids = check(ArtifactIds, {"ids": request.form.getlist("id")}).ids
    except InvalidInput:
        flash(_("Select some results first."), "warning")
        return redirect(_back(), 303)
    if action == "download":
        return zip_answer(archives.artifacts_archive(studio(), user, ids))
    if action == "compare":
        if len(ids) != 2:
            flash(_("Select two results to compare them."), "warning")
            return redirect(_back(), 303)
        return redirect(url_for("pages.results.compare", a=ids[0], b=ids[1]), 303)
    if action == "delete":
        return _delete(user, ids)
    return _change(user, ids, action)


def _change(user: User, ids: list[str], action: str) -> ResponseReturnValue:
    tags = [part.strip() for part in request.form.get("tag", "").split(",") if part.strip()]
    changes: dict[str, dict[str, Any]] = {
        "star": {"starred": True},
        "unstar": {"starred": False},
        "tag": {"add_tags": tags},
        "untag": {"remove_tags": tags},
        "share": {"visibility": "shared"},
        "unshare": {"visibility": "private"},
    }
    if action not in changes or (action in ("tag", "untag") and not tags):
        flash(_("Say which tag.") if action in changes else _("Choose what to do."), "warning")
        return redirect(_back(), 303)
    try:
        results.change_results(studio(), user, ids, check(ArtifactChange, changes[action]))
    except InvalidInput as error:
        flash(_("This is no tag: %(why)s", why=said(error.errors[0]["message"])), "error")
        return redirect(_back(), 303)
    flash(
        ngettext("%(num)s result is changed.", "%(num)s results are changed.", len(ids)), "success"
    )
    return redirect(_back(), 303)


def _delete(user: User, ids: list[str]) -> ResponseReturnValue:
    """Those that nothing depends on go at once; for the others the page says what does, and asks again."""
    force, deleted, kept, dependents = "force" in request.form, 0, [], []
    for one in dict.fromkeys(ids):
        try:
            artifacts.delete_artifact(studio(), user, one, force)
            deleted += 1
        except NotFound:
            continue  # deleted meanwhile, on another page
        except InUse as error:
            kept.append(one)
            dependents += error.facts["dependents"]
    if deleted:
        words = ngettext("%(num)s result is deleted.", "%(num)s results are deleted.", deleted)
        flash(words, "success")
    elif not kept:
        flash(_("None of these results is here any more."), "warning")
    if kept:
        refused = InUse("Accepted jobs read this.", dependents=dependents)
        return ask(refused, _back(), [("action", "delete"), *(("id", one) for one in kept)])
    return redirect(_back(), 303)


def _back() -> str:
    """The gallery with the filters that were set."""
    kept = {
        name: request.form[f"f.{name}"] for name in given.names if request.form.get(f"f.{name}")
    }
    return url_for("pages.results.index") + (f"?{urlencode(kept)}" if kept else "")


@bp.get("/results/compare")
def compare() -> ResponseReturnValue:
    user = current_user()
    ids = [request.args.get(name, "") for name in ("a", "b")]
    pair = media.with_texts(user, [results.get_result(studio(), user, one) for one in ids])
    pictures = all(one["media_type"] in words.PICTURES for one in pair)
    texts = all("text" in one for one in pair)
    mode = request.args.get("mode", "")
    return render_template(
        "results/compare.html",
        pair=pair,
        kind="pictures" if pictures else "texts" if texts else "",
        mode=mode if pictures and mode in comparing.MODES else "slider" if pictures else "beside",
        modes=comparing.MODES,
        marked=comparing.marked(pair[0]["text"], pair[1]["text"]) if texts else None,
        differing=comparing.differing(pair[0], pair[1]),
        urls=[with_url(one["id"]) for one in pair],
    )
