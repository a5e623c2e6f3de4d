"""People: accounts, passwords, one-time links. Tokens are made in web/services/tokens.py, and offered here too."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.db import Database, clock
from shared.errors import Conflict, InvalidInput, NotFound, WrongPassword
from shared.ids import new_id
from shared.models import ApiToken, BrowserSession, Quota, User, UserShare
from shared.params import text_problems
from web.hashing import hash_of
from web.services import audit
from web.services.studio import Studio
from web.services.tokens import issue_token, list_tokens, revoke_token

__all__ = [
    "add_user",
    "change_password",
    "check_name",
    "create_user",
    "end_sessions_and_tokens",
    "first_run_link",
    "has_admin",
    "hash_new_password",
    "in_charge",
    "issue_token",
    "list_tokens",
    "name_may_be_taken",
    "new_link",
    "password_link",
    "revoke_token",
    "set_password_by_link",
    "sign_in",
    "user_of_link",
]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD_BYTES = 1024
LINK_SECONDS = 7 * 86_400
FIRST_ADMIN = "admin"
LINK_IS_GONE = "This link was used already or is too old."

_hasher = PasswordHasher()
# One hash takes 64 MiB for a moment; side by side they would be the web process's largest use of memory.
_one_hash_at_a_time = threading.Lock()


# ---- making accounts ---------------------------------------------------------------------------


def create_user(db: Database, name: str, admin: bool = False) -> User:
    """A new account without a password. Raises InvalidInput, and Conflict when the name is taken."""
    check_name(name)
    with name_may_be_taken(name), db.writing() as session:
        user = add_user(session, name, admin)
        audit.record(session, "user_created", None, user, role=user.role)
    return user


def check_name(name: str) -> None:
    """Raises InvalidInput."""
    if not NAME.fullmatch(name):
        message = "must begin with a letter or digit and hold only letters, digits and . _ @ -"
        raise InvalidInput(errors=[{"pointer": "/name", "message": message}])


@contextmanager
def name_may_be_taken(name: str) -> Iterator[None]:
    """Around the transaction that adds a user. Raises Conflict."""
    try:
        yield
    except IntegrityError:
        raise Conflict(f"There is a user named {name} already.") from None


def add_user(session: Session, name: str, admin: bool) -> User:
    """With the rows that submits lock and claims charge; the name was checked."""
    at = clock(session)
    user = User(
        id=new_id(), name=name, role="admin" if admin else "user", active=True, created_at=at
    )
    session.add(user)
    session.flush()
    session.add_all([Quota(user_id=user.id), UserShare(user_id=user.id)])
    return user


def has_admin(db: Database) -> bool:
    """Whether somebody who can sign in or send a token is in charge."""
    with db.reading() as session:
        return session.scalar(select(User.id).where(in_charge()).limit(1)) is not None


def in_charge() -> ColumnElement[bool]:
    """Administrators who can come in: with a password, or with a token that may do all that they may."""
    token = select(ApiToken.id).where(
        ApiToken.user_id == User.id, ApiToken.revoked_at.is_(None), ApiToken.scopes == ""
    )
    return and_(User.role == "admin", User.active, (User.password_hash != "") | token.exists())


def first_run_link(studio: Studio) -> str | None:
    """The path of a one-time link for the administrator, while nobody is in charge yet; None afterwards.

    Every start makes a new link until one was used, so a lost one does not lock anybody out.
    """
    if has_admin(studio.db):
        return None
    with studio.db.writing() as session:
        admin = session.scalar(
            select(User).where(User.role == "admin", User.active).order_by(User.id).limit(1)
        )
        if admin is None:
            taken = session.scalar(select(User.id).where(User.name == FIRST_ADMIN))
            name = f"{FIRST_ADMIN}-{secrets.token_hex(3)}" if taken else FIRST_ADMIN
            admin = add_user(session, name, admin=True)
        return new_link(session, admin)


def password_link(studio: Studio, name: str) -> str:
    """The path of a one-time link with which this user sets a new password. Raises NotFound."""
    with studio.db.writing() as session:
        user = session.scalar(select(User).where(User.name == name, User.active))
        if user is None:
            raise NotFound(f"There is no user named {name}.")
        audit.record(session, "link_made", None, user)
        return new_link(session, user)


def new_link(session: Session, user: User) -> str:
    token = secrets.token_urlsafe(32)
    user.link_hash = hash_of(token)
    user.link_until = clock(session) + LINK_SECONDS
    return f"/welcome/{token}"


def user_of_link(studio: Studio, token: str) -> User:
    """Whom a one-time link is for. Raises NotFound when it was used or is too old."""
    with studio.db.reading() as session:
        return _user_of_link(session, token)


def set_password_by_link(studio: Studio, token: str, password: str) -> User:
    """Uses a one-time link up. Raises NotFound, InvalidInput."""
    _check_new_password(password)
    with studio.db.reading() as session:
        _user_of_link(session, token)
    hashed = _hash_password(password)
    with studio.db.writing() as session:
        # of two at the same moment the second waits here, and then finds the link gone
        user: User | None = session.scalar(
            update(User)
            .where(
                User.link_hash == hash_of(token),
                User.link_until >= clock(session),
                User.active,
            )
            .values(link_hash=None, link_until=None)
            .returning(User)
        )
        if user is None:
            raise NotFound(LINK_IS_GONE)
        _replace_password(session, user, hashed)
        audit.record(session, "password_changed", user, user, by="link")
    return user


def _user_of_link(session: Session, token: str) -> User:
    user = session.scalar(select(User).where(User.link_hash == hash_of(token), User.active))
    if user is None or (user.link_until or 0) < clock(session):
        raise NotFound(LINK_IS_GONE)
    return user


# ---- passwords ------------------------------------------------------------------------------------


def sign_in(studio: Studio, name: str, password: str, address: str, agent: str = "") -> User:
    """Who this is. The caller starts the browser's session: security.start_session(user).

    Raises WrongPassword (the same for an unknown name, as slowly) or TooManyRequests.
    """
    studio.throttle.check(name, address)
    with studio.db.reading() as session:
        query = select(User).where(User.name == name, User.active)
        user = None if text_problems(name) else session.scalar(query)
    stored = user.password_hash if user else ""
    fits = _fits(stored or _hash_of_nothing(), password)
    if user is None or not stored or not fits:
        studio.throttle.failed(name, address)
        with studio.db.writing() as session:
            # an unknown name is not kept: it may be a password in the wrong field
            audit.record(session, "sign_in_failed", None, user, address=address)
        raise WrongPassword()
    with studio.db.writing() as session:
        audit.record(session, "sign_in", user, user, address=address, agent=agent[:200])
    if _hasher.check_needs_rehash(stored):
        with studio.db.writing() as session:
            session.execute(
                update(User)
                .where(User.id == user.id, User.password_hash == stored)
                .values(password_hash=_hash_password(password))
            )
    return user


def set_language(studio: Studio, user: User, language: str) -> None:
    """What pages speak in every browser that has not chosen for itself; "" is the browser's own."""
    with studio.db.writing() as session:
        session.execute(update(User).where(User.id == user.id).values(language=language))


def change_password(studio: Studio, user: User, old: str, new: str, address: str = "") -> None:
    """Ends every session and token of the user; the caller starts a new session for this browser."""
    # counted like a sign-in: a borrowed browser must not be a place to guess at
    studio.throttle.check(user.name, address, changing=True)
    if not _fits(user.password_hash or _hash_of_nothing(), old):
        studio.throttle.failed(user.name, address, changing=True)
        raise WrongPassword("The present password is wrong.")
    _check_new_password(new)
    hashed = _hash_password(new)
    with studio.db.writing() as session:
        _replace_password(session, session.get_one(User, user.id), hashed)
        audit.record(session, "password_changed", user, user, address=address)


def _replace_password(session: Session, user: User, hashed: str) -> None:
    first = not user.password_hash
    user.password_hash = hashed
    # a first password takes nothing back; a new one must end whatever a thief holds
    end_sessions_and_tokens(session, user, tokens=not first)


def end_sessions_and_tokens(session: Session, user: User, tokens: bool = True) -> None:
    """Every older cookie and token is refused at the next request."""
    at = clock(session)
    for table in (BrowserSession, ApiToken) if tokens else (BrowserSession,):
        session.execute(
            update(table)
            .where(table.user_id == user.id, table.revoked_at.is_(None))
            .values(revoked_at=at)
        )


def hash_new_password(password: str) -> str:
    """Raises InvalidInput."""
    _check_new_password(password)
    return _hash_password(password)


def _check_new_password(password: str) -> None:
    message = ""
    if len(password) < SHORTEST_PASSWORD:
        message = f"must have at least {SHORTEST_PASSWORD} characters"
    elif problems := text_problems(password):
        message = problems[0]
    elif len(password.encode()) > LONGEST_PASSWORD_BYTES:
        message = "must have at most 1 kB"
    if message:
        raise InvalidInput(errors=[{"pointer": "/password", "message": message}])


def _hash_password(password: str) -> str:
    with _one_hash_at_a_time:
        return _hasher.hash(password)


def _fits(stored: str, password: str) -> bool:
    if len(password) > LONGEST_PASSWORD_BYTES or text_problems(password):
        return False
    try:
        with _one_hash_at_a_time:
            return _hasher.verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False


@cache
def _hash_of_nothing() -> str:
    """Stands in for the hash of an unknown user, so that an answer takes as long."""
    return _hash_password(secrets.token_urlsafe(32))
