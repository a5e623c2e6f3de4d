"""Accounts as administrators see and change them. Who may call this is the caller's business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from shared import jobs, quotas, scheduling, webhooks
from shared.db import clock, lock_rows
from shared.errors import AlreadyEnded, Conflict, InvalidInput, NotFound
from shared.models import Invitation, Job, OutboxMessage, Quota, User, UserShare
from shared.moments import rfc3339
from web.requests_people import UserChange
from web.services import accounts, audit
from web.services.job_lists import Page
from web.services.queue import uses_of
from web.services.studio import Studio

Shape = dict[str, Any]


def list_users(studio: Studio, page: Page | None = None) -> Shape:
    """With what each holds, the newest first."""
    page = page or Page()
    query = select(User).order_by(User.id.desc())
    if page.after:
        query = query.where(User.id < page.after)
    with studio.db.reading() as session:
        rows = session.scalars(query.limit(page.size + 1)).all()
        items = _all_shown(session, studio, rows[: page.size])
    return {"items": items, "next": items[-1]["id"] if len(rows) > page.size else None}


def get_user(studio: Studio, user_id: str) -> Shape:
    """Raises NotFound."""
    with studio.db.reading() as session:
        return _shown(session, studio, _found(session, user_id))


def id_of(studio: Studio, name: str) -> str:
    """Raises NotFound."""
    with studio.db.reading() as session:
        user_id = session.scalar(select(User.id).where(User.name == name))
    if user_id is None:
        raise NotFound(f"There is no user named {name}.")
    return user_id


def active_user(studio: Studio, name: str) -> User:
    """Raises NotFound."""
    with studio.db.reading() as session:
        user = session.scalar(select(User).where(User.name == name, User.active))
    if user is None:
        raise NotFound(f"There is no active user named {name}.")
    return user


def create_user(studio: Studio, admin: User | None, name: str, as_admin: bool) -> tuple[Shape, str]:
    """(the account, the path of the one-time link that sets its password). Raises InvalidInput, Conflict."""
    accounts.check_name(name)
    with accounts.name_may_be_taken(name), studio.db.writing() as session:
        user = accounts.add_user(session, name, as_admin)
        path = accounts.new_link(session, user)
        audit.record(session, "user_created", admin, user, role=user.role)
        session.flush()
        return _shown(session, studio, user), path


def make_link(studio: Studio, admin: User | None, user_id: str) -> str:
    """The path of a one-time link with which this user sets a new password. Raises NotFound, Conflict."""
    with studio.db.writing() as session:
        user = _found(session, user_id)
        if not user.active:
            raise Conflict("This account is deactivated.")
        audit.record(session, "link_made", admin, user)
        return accounts.new_link(session, user)


def change_user(studio: Studio, admin: User | None, user_id: str, change: UserChange) -> Shape:
    """Raises NotFound, and Conflict rather than leave nobody in charge."""
    asked = {name: value for name, value in change.model_dump(exclude_unset=True).items()}
    if nothing := [name for name, value in asked.items() if value is None]:
        message = "must not be null"
        raise InvalidInput(errors=[{"pointer": f"/{name}", "message": message} for name in nothing])
    with studio.db.writing() as session:
        user = _found(session, user_id)
        if asked.get("role") == "user" or asked.get("active") is False:
            user = _not_the_last(session, user)
        role_changed = asked.get("role", user.role) != user.role
        user.role, user.active = asked.get("role", user.role), asked.get("active", user.active)
        session.flush()
        if role_changed or not user.active:
            # whoever holds an older cookie or token holds what was true before
            accounts.end_sessions_and_tokens(session, user)
        if user.role != "admin" or not user.active:
            _take_invitations_back(session, user)
        if quota := asked.get("quota"):
            session.execute(update(Quota).where(Quota.user_id == user.id).values(**quota))
        if not user.active:
            user.link_hash = user.link_until = None
            # made active again, he hears of what ends from then on
            webhooks.drop_waiting(session, OutboxMessage.user_id == user.id)
            _stop_running(session, user)
        if "weight" in asked:
            # after the jobs: whoever holds a job's row takes the share's row last (shared/shares.py)
            share = update(UserShare).where(UserShare.user_id == user.id)
            session.execute(share.values(weight=asked["weight"]))
        audit.record(session, "user_changed", admin, user, **asked)
        session.flush()
        session.expire_all()
        shape = _shown(session, studio, user)
    for lane in scheduling.LANES:
        studio.wakeups.wake(lane)
    return shape


def _found(session: Session, user_id: str) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise NotFound()
    return user


def _not_the_last(session: Session, user: User) -> User:
    """Raises Conflict when nobody else who can come in is in charge.

    The rows of all administrators are held, in one order: of two who take the right from each other at the same
    moment the second finds himself the last. Without the key, so that jobs may still refer to them.
    """
    if user.role != "admin" or not user.active:
        return user
    if lock_rows(session):
        admins = select(User.id).where(User.role == "admin", User.active).order_by(User.id)
        session.execute(admins.with_for_update(key_share=True)).all()
        session.refresh(user)
    others = select(func.count()).where(accounts.in_charge(), User.id != user.id)
    if user.role == "admin" and user.active and not session.scalar(others):
        raise Conflict("This is the last administrator who can sign in; make another one first.")
    return user


def _take_invitations_back(session: Session, user: User) -> None:
    """Who is no administrator any more lets nobody in, himself least."""
    session.execute(
        update(Invitation)
        .where(Invitation.created_by == user.id, Invitation.revoked_at.is_(None))
        .values(revoked_at=clock(session))
    )


def _stop_running(session: Session, user: User) -> None:
    """Queued jobs stay where they are, and do not start while their owner is deactivated."""
    running = select(Job.id).where(Job.user_id == user.id, Job.state == "running").order_by(Job.id)
    for job_id in session.scalars(running).all():
        try:
            jobs.request_cancel(session, job_id)
        except AlreadyEnded:
            continue


def _shown(session: Session, studio: Studio, user: User) -> Shape:
    return _all_shown(session, studio, [user])[0]


def _all_shown(session: Session, studio: Studio, users: Sequence[User]) -> list[Shape]:
    """In as many queries for two hundred as for one."""
    ids = [user.id for user in users]
    own = {row.user_id: row for row in session.scalars(select(Quota).where(Quota.user_id.in_(ids)))}
    shares = select(UserShare.user_id, UserShare.weight).where(UserShare.user_id.in_(ids))
    weights = {user_id: weight for user_id, weight in session.execute(shares)}
    uses = uses_of(session, ids)
    shapes = []
    for user in users:
        quota = own.get(user.id)
        limits = asdict(quotas.limits(quota, studio.settings))
        shapes.append(
            {
                "id": user.id,
                "name": user.name,
                "role": user.role,
                "active": user.active,
                "has_password": bool(user.password_hash),
                "created_at": rfc3339(user.created_at),
                "weight": weights.get(user.id, 1.0),
                # what was set for this user; null is the installation's default, which `limits` has written out
                "quota": {name: getattr(quota, name, None) for name in limits},
                "limits": limits,
                "use": uses[user.id],
            }
        )
    return shapes
