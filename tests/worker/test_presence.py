"""What a worker offers of what its runner says."""

from __future__ import annotations

from sqlalchemy import select

from shared.models import FamilyRow
from tests.web.conftest import ANNOUNCEMENT
from worker import link
from worker.presence import Presence


def test_a_broken_family_is_left_out_and_the_others_are_offered(db):
    broken = {**ANNOUNCEMENT, "name": "broken", "actions": {"train": {"cost": {"flops": 1}}}}
    families = [ANNOUNCEMENT, broken, {}]
    presence = Presence("w", "device")
    presence.greet(link.Hello(pid=1, device="cpu", facts={}, families=families, problems=[]))
    assert presence.versions == {"toy": 1}
    with db.writing() as session:
        presence.announce(session)
    with db.reading() as session:
        assert session.scalars(select(FamilyRow.name)).all() == ["toy"]
