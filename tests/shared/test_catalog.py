"""Families as announced, and who is alive to run them."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from shared import catalog
from shared.db import clock
from shared.errors import NotFound
from shared.models import FamilyRow, Worker


def announcement(version=1, title="A family"):
    return {"name": "f", "version": version, "title": title, "actions": {}}


def add_worker(session, age=0.0, **families):
    at = clock(session) - age
    session.add(
        Worker(
            id=f"w{age}",
            kind="device",
            families=families,
            facts={},
            state="ready",
            started_at=at,
            heartbeat_at=at,
        )
    )
    session.flush()


def test_the_newest_version_is_shown_and_online_while_a_worker_lives(db):
    with db.writing() as session:
        catalog.announce(session, announcement(1, "Old"))
        catalog.announce(session, announcement(2, "New"))
        add_worker(session, f=1)
        assert [(f["title"], f["online"]) for f in catalog.families(session)] == [("New", False)]
        add_worker(session, age=1.0, f=2)
        assert catalog.families(session)[0]["online"]
        assert catalog.offered_versions(session) == {("f", 1), ("f", 2)}


def test_a_family_stays_when_its_worker_is_gone(db):
    with db.writing() as session:
        catalog.announce(session, announcement())
        add_worker(session, age=999.0, f=1)
        assert [f["online"] for f in catalog.families(session)] == [False]
        assert catalog.family(session, "f")["title"] == "A family"


def test_a_newer_announcement_of_the_same_version_replaces_the_old(db):
    with db.writing() as session:
        catalog.announce(session, announcement(title="Before"))
        catalog.announce(session, announcement(title="After"))
        assert catalog.family(session, "f", 1)["title"] == "After"


def test_an_unknown_family_is_not_found(db):
    with db.reading() as session, pytest.raises(NotFound):
        catalog.family(session, "nothing")


def test_being_offered_keeps_a_version_alive(db):
    with db.writing() as session:
        catalog.announce(session, announcement())
        session.execute(update(FamilyRow).values(announced_at=1.0))
        catalog.keep_alive(session, {"f": 1})
        assert session.get(FamilyRow, ("f", 1), populate_existing=True).announced_at > 1e9
