"""The administrators' pages beside people: the queue of everybody, workers, the disk, the audit."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from shared.errors import AlreadyEnded, InvalidInput
from web import forms
from web.language import translated
from web.requests import check
from web.security import current_admin, studio
from web.services import audit, disk_use, fair_share, workers

bp = Blueprint("admin", __name__, url_prefix="/admin")

ENTRIES = "50"
FILTERS = ("action", "actor_id", "subject_id")
# what lies on the disk, in words
CLASSES = {
    "datasets": _l("Datasets"),
    "models": _l("Models"),
    "artifacts": _l("Results"),
    "checkpoints": _l("Checkpoints"),
    "uploads": _l("Uploads that are being received"),
    "orphans": _l("Files that belong to nothing"),
}
WHYS = {
    "rows": _l("every minute: rows"),
    "hourly": _l("every hour"),
    "disk": _l("the disk was filling"),
    "asked": _l("asked for"),
}

# what the audit tells: acts with spaces for underscores, and types of subjects
TOLD = (
    _l("invitation made"),
    _l("invitation revoked"),
    _l("job cancelled"),
    _l("link made"),
    _l("password changed"),
    _l("shared"),
    _l("sign in"),
    _l("sign in failed"),
    _l("sign up"),
    _l("token made"),
    _l("token revoked"),
    _l("unshared"),
    _l("user changed"),
    _l("user created"),
    _l("webhook changed"),
    _l("webhook deleted"),
    _l("webhook made"),
    _l("webhook secret made"),
    _l("webhook switched off"),
    _l("webhook switched on"),
    _l("worker drained"),
    _l("worker undrained"),
    _l("artifact"),
    _l("dataset"),
    _l("invitation"),
    _l("job"),
    _l("model"),
    _l("token"),
    _l("user"),
    _l("webhook"),
    _l("worker"),
)


@bp.before_request
def _admins_only() -> None:
    current_admin()


@bp.get("/queue")
def queue() -> ResponseReturnValue:
    found = workers.active_jobs(studio())
    return render_template(
        "admin/queue.html",
        jobs=found["items"],
        more=found["more"],
        workers=workers.list_workers(studio()),
        busy=fair_share.device_busy(studio()),
    )


@bp.post("/jobs/<job_id>/cancel")
def cancel(job_id: str) -> ResponseReturnValue:
    try:
        workers.cancel_any(studio(), current_admin(), job_id)
        flash(_("The job is asked to stop."), "success")
    except AlreadyEnded as error:
        flash(error.message, "warning")
    return redirect(url_for("pages.admin.queue"), 303)


@bp.post("/workers/<worker_id>/drain")
def drain(worker_id: str) -> ResponseReturnValue:
    workers.set_drain(studio(), current_admin(), worker_id, draining=True)
    flash(_("The worker takes nothing new; its jobs go on elsewhere or wait."), "success")
    return redirect(url_for("pages.admin.queue"), 303)


@bp.post("/workers/<worker_id>/undrain")
def undrain(worker_id: str) -> ResponseReturnValue:
    workers.set_drain(studio(), current_admin(), worker_id, draining=False)
    flash(_("The worker takes jobs again."), "success")
    return redirect(url_for("pages.admin.queue"), 303)


@bp.get("/storage")
def storage() -> ResponseReturnValue:
    found = disk_use.get_storage(studio())
    return render_template("admin/storage.html", **found, classes=CLASSES, whys=WHYS)


@bp.post("/storage/sweep")
def sweep() -> ResponseReturnValue:
    disk_use.order_sweep(studio())
    flash(_("A sweep is ordered; it shows below as soon as it has ended."), "success")
    return redirect(url_for("pages.admin.storage"), 303)


@bp.get("/audit")
def show_audit() -> ResponseReturnValue:
    wanted = {name: request.args.get(name, "").strip() for name in (*FILTERS, "after")}
    given: dict[str, Any] = {name: value for name, value in wanted.items() if value}
    errors: dict[str, str] = {}
    found: dict[str, Any] = {"items": [], "next": None}
    status = 200
    try:
        asked = check(audit.AuditPage, {**given, "limit": ENTRIES})
        found = audit.list_entries(studio(), asked)
    except InvalidInput as error:
        errors, status = forms.field_errors(error.errors), error.status
    page = render_template(
        "admin/audit.html",
        entries=found["items"],
        next=found["next"],
        wanted=wanted,
        filtered=any(wanted[name] for name in FILTERS),
        actions=[(one, translated(one.replace("_", " "))) for one in audit.actions(studio())],
        errors=errors,
    )
    return page, status
