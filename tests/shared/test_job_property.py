"""Random operations against a model of the table in DESIGN.md, on both databases."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select, update

from shared import jobs, scheduling
from shared.db import clock
from shared.errors import AlreadyEnded, LeaseLost
from shared.jobs import FINAL, Lease, NewJob, Outcome, Report
from shared.models import (
    Checkpoint,
    Job,
    JobEvent,
    JobLog,
    MetricPoint,
    OutboxMessage,
    Quota,
    Result,
    User,
    UserShare,
    Webhook,
)
from shared.webhooks import EVENTS

LEGAL = {
    None: {"queued"},
    "queued": {"queued", "running", "cancelled", "failed"},
    "running": {"running", "queued", "succeeded", "failed", "cancelled"},
}
USERS = ("ann", "bob")
OFFER = {"worker_id": "w", "lanes": ("interactive",), "families": {"f": 1}, "lease_seconds": 60}


@dataclass
class Expected:
    state: str = "queued"
    fence: int = 0
    strikes: int = 0
    losses: int = 0
    attempt: int = 0
    checkpoint: int = 0
    paused: bool = False
    cancel: bool = False
    waiting: bool = False
    leases: list[Lease] = field(default_factory=list)


class Table(RuleBasedStateMachine):
    """Each rule calls one function with a right or a stale lease and says what must have happened."""

    db = None

    @initialize()
    def empty(self):
        self.model: dict[str, Expected] = {}
        with self.db.writing() as session:
            for table in (
                *(Checkpoint, JobEvent, JobLog, MetricPoint, OutboxMessage, Result, Job),
                *(UserShare, Quota, Webhook, User),
            ):
                session.execute(delete(table))
            for name in USERS:
                session.add(User(id=name, name=name, created_at=clock(session)))
                session.flush()
                session.add(Quota(user_id=name))
                hook = {"url": "https://example.com/", "events": " ".join(EVENTS), "secret": ""}
                session.add(Webhook(user_id=name, name=name, created_at=1.0, **hook))

    def known(self, data) -> str:
        return data.draw(strategies.sampled_from(sorted(self.model)))

    def lease(self, data) -> tuple[Expected, Lease, bool]:
        """Some lease that was ever given out, and whether it is the one that holds."""
        leases = [lease for job in self.model.values() for lease in job.leases]
        lease = data.draw(strategies.sampled_from(leases))
        job = self.model[lease.job_id]
        return job, lease, job.state == "running" and job.fence == lease.fence

    def has_lease(self) -> bool:
        return any(job.leases for job in self.model.values())

    @rule(user=strategies.sampled_from(USERS), priority=strategies.integers(-3, 3))
    def accept(self, user, priority):
        with self.db.writing() as session:
            job = jobs.accept(
                session,
                NewJob(
                    user_id=user,
                    kind="generate",
                    family="f",
                    family_version=1,
                    params={},
                    seed=1,
                    lane="interactive",
                    priority=priority,
                ),
            )
        self.model[job.id] = Expected()

    @rule(limit=strategies.integers(1, 3))
    def claim(self, limit):
        ready = {
            key
            for key, job in self.model.items()
            if job.state == "queued" and not job.paused and not job.waiting
        }
        with self.db.writing() as session:
            claimed = scheduling.claim(session, scheduling.Offer(limit=limit, **OFFER))
        assert len(claimed) == min(limit, len(ready))
        for row in claimed:
            assert row.id in ready
            job = self.model[row.id]
            job.state, job.fence, job.attempt = "running", job.fence + 1, job.attempt + 1
            assert row.fence == job.fence
            job.leases.append(Lease(row.id, row.fence))

    @precondition(has_lease)
    @rule(data=strategies.data(), seconds=strategies.floats(0, 50))
    def heartbeat(self, data, seconds):
        job, lease, holds = self.lease(data)
        with self.db.writing() as session:
            flags = jobs.heartbeat(session, "w", {lease: seconds}, 60)[lease]
        assert (flags is not None) == holds
        if flags:
            assert (flags.cancel, flags.pause) == (job.cancel, job.paused)

    @precondition(has_lease)
    @rule(data=strategies.data(), step=strategies.integers(0, 9))
    def report(self, data, step):
        _, lease, holds = self.lease(data)
        news = Report(step=step, total=9, points=[[step, 0.1, {"loss": 1.0}]], log="line\n")
        with self.db.writing() as session:
            assert jobs.report(session, lease, news) == holds

    @precondition(has_lease)
    @rule(data=strategies.data(), step=strategies.integers(1, 9))
    def checkpoint(self, data, step):
        job, lease, holds = self.lease(data)
        with self.db.writing() as session:
            count = len(jobs.newest_checkpoints(session, lease.job_id))
            place = f"checkpoints/{lease.job_id}/{lease.fence}/{count}"
            kept = jobs.add_checkpoint(
                session, lease, step=step, location=place, sha256="0" * 64, size=1
            )
        assert kept == holds
        if holds and step > job.checkpoint:
            job.checkpoint, job.strikes, job.losses = step, 0, 0

    @precondition(has_lease)
    @rule(data=strategies.data())
    def succeed(self, data):
        job, lease, holds = self.lease(data)
        try:
            with self.db.writing() as session:
                jobs.succeed(session, lease, Outcome(seconds=1.0))
        except LeaseLost:
            assert not holds or job.cancel
            return
        assert holds and not job.cancel
        job.state, job.fence = "succeeded", job.fence + 1

    @precondition(has_lease)
    @rule(data=strategies.data())
    def fail(self, data):
        job, lease, holds = self.lease(data)
        with self.db.writing() as session:
            assert jobs.fail(session, lease, "own_fault", "It broke.") == holds
        if holds:
            job.state, job.fence = "failed", job.fence + 1

    @precondition(has_lease)
    @rule(data=strategies.data())
    def give_back(self, data):
        job, lease, holds = self.lease(data)
        with self.db.writing() as session:
            assert jobs.give_back(session, lease, "drain") == holds
        if holds:
            job.state, job.fence = "cancelled" if job.cancel else "queued", job.fence + 1

    @precondition(has_lease)
    @rule(data=strategies.data(), batch=strategies.booleans())
    def strike(self, data, batch):
        job, lease, holds = self.lease(data)
        with self.db.writing() as session:
            state = jobs.strike(session, lease, "crash", "It died.", suspects_batch=batch)
        if not holds:
            assert state == ""
            return
        job.fence += 1
        if job.cancel:
            job.state = "cancelled"
        elif batch:
            job.state = "queued"
        else:
            job.strikes += 1
            job.state = "failed" if job.strikes >= 3 or job.attempt >= 50 else "queued"
            job.waiting = job.state == "queued"
        assert state == job.state

    @precondition(has_lease)
    @rule(data=strategies.data())
    def let_the_lease_run_out(self, data):
        job, lease, holds = self.lease(data)
        with self.db.writing() as session:
            session.execute(
                update(Job)
                .where(Job.id == lease.job_id, Job.fence == lease.fence)
                .values(lease_until=1)
            )
            assert jobs.reap(session) == (1 if holds else 0)
        if not holds:
            return
        job.fence += 1
        if job.cancel:
            job.state = "cancelled"
            return
        job.losses += 1
        job.state = "failed" if job.losses >= 10 or job.attempt >= 50 else "queued"
        job.waiting = job.state == "queued"

    @precondition(lambda self: bool(self.model))
    @rule(data=strategies.data())
    def let_the_wait_pass(self, data):
        job_id = self.known(data)
        with self.db.writing() as session:
            session.execute(update(Job).where(Job.id == job_id).values(not_before=None))
        self.model[job_id].waiting = False

    @precondition(lambda self: bool(self.model))
    @rule(data=strategies.data())
    def cancel(self, data):
        job_id = self.known(data)
        job = self.model[job_id]
        try:
            with self.db.writing() as session:
                row = jobs.request_cancel(session, job_id)
        except AlreadyEnded:
            assert job.state in FINAL - {"cancelled"}
            return
        if job.state == "queued":
            job.state, job.fence = "cancelled", job.fence + 1
        elif job.state == "running":
            job.cancel = True
        assert row.state == job.state

    @precondition(lambda self: bool(self.model))
    @rule(data=strategies.data(), pausing=strategies.booleans())
    def pause_or_resume(self, data, pausing):
        job_id = self.known(data)
        job = self.model[job_id]
        try:
            with self.db.writing() as session:
                (jobs.pause if pausing else jobs.resume)(session, job_id)
        except AlreadyEnded:
            assert job.state in FINAL
            return
        job.paused = pausing

    @invariant()
    def rows_are_as_expected(self):
        if not hasattr(self, "model"):
            return
        with self.db.reading() as session:
            rows = {row.id: row for row in session.scalars(select(Job))}
            results = set(session.scalars(select(Result.job_id)))
            events = list(session.scalars(select(JobEvent).order_by(JobEvent.job_id, JobEvent.n)))
            notices = list(session.scalars(select(OutboxMessage.job_id)))
        assert rows.keys() == self.model.keys()
        for key, job in self.model.items():
            row = rows[key]
            assert (row.state, row.fence, row.strikes, row.losses, row.attempt) == (
                *(job.state, job.fence, job.strikes, job.losses, job.attempt),
            )
            assert (row.owner is not None) == (row.state == "running")
            assert row.device_seconds == pytest.approx(row.charged_seconds) or (
                row.state == "running"
            )
        assert results == {key for key, job in self.model.items() if job.state == "succeeded"}
        ended = sorted(key for key, job in self.model.items() if job.state in FINAL)
        assert sorted(notices) == ended
        self.event_log_is_legal(events, rows)

    @staticmethod
    def event_log_is_legal(events, rows):
        for key, row in rows.items():
            own = [event for event in events if event.job_id == key]
            assert [event.n for event in own] == list(range(1, row.version + 1))
            states = [event.data["state"] for event in own if event.type == "state"]
            for before, after in zip([None, *states], states, strict=False):
                assert after in LEGAL[before]
            fences = [event.data.get("fence", 0) for event in own if event.type == "state"]
            assert fences == sorted(fences)


def test_random_operations_follow_the_table(db):
    machine = type("Bound", (Table,), {"db": db})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
