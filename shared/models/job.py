"""One accepted piece of work. Its state changes only in shared/jobs.py."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Big, Id, MaybeTime, Object, Time, UserId

QUEUED = text("state = 'queued'")
RUNNING = text("state = 'running'")
MEASURED = text("run_seconds IS NOT NULL")


class Job(Base):
    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"
        ),
        # the claim: one user's head job of a lane
        Index(
            "ix_job_claim", "user_id", "lane", "rank", sqlite_where=QUEUED, postgresql_where=QUEUED
        ),
        Index("ix_job_lease", "lease_until", sqlite_where=RUNNING, postgresql_where=RUNNING),
        Index("ix_job_user_running", "user_id", sqlite_where=RUNNING, postgresql_where=RUNNING),
        Index("ix_job_deadline", "deadline_at", sqlite_where=QUEUED, postgresql_where=QUEUED),
        Index("ix_job_user_id_id", "user_id", "id"),
        # what was generated with a model, the newest first
        Index("ix_job_model", "model_id", "id"),
        # what a user's day has cost
        Index("ix_job_user_finished", "user_id", "finished_at"),
        # the history that corrects estimates: the last of a kind of work
        Index(
            "ix_job_history",
            "family",
            "family_version",
            "kind",
            "finished_at",
            sqlite_where=MEASURED,
            postgresql_where=MEASURED,
        ),
        # also what /metrics counts, without reading the rows
        Index("ix_job_state_kind_family", "state", "kind", "family"),
    )

    id: Mapped[Id]
    user_id: Mapped[UserId]
    kind: Mapped[str] = mapped_column(String(16))  # train | generate | evaluate | prepare | tune
    family: Mapped[str] = mapped_column(String(64))
    family_version: Mapped[int]
    name: Mapped[str] = mapped_column(String(200), default="")
    params: Mapped[Object]  # with every default written out
    seed: Mapped[Big]
    lane: Mapped[str] = mapped_column(String(16))  # interactive | batch | train | cpu
    priority: Mapped[int] = mapped_column(default=0)
    # created_at - 600 s * priority: the smaller goes first (priority with ageing, as one number)
    rank: Mapped[Time]
    dataset_id: Mapped[str | None] = mapped_column(String(32), index=True)
    model_id: Mapped[str | None] = mapped_column(String(32))
    model_sha256: Mapped[str] = mapped_column(String(64), default="")
    inputs: Mapped[Object] = mapped_column(default=dict)  # x-ref parameter -> storage key, sha256
    retry_of: Mapped[str | None] = mapped_column(String(32), index=True)
    # the training whose checkpoint at this step it begins with
    continues: Mapped[str | None] = mapped_column(String(32), index=True)
    continues_step: Mapped[int | None]
    waits_for: Mapped[str | None] = mapped_column(String(32), ForeignKey("job.id"), index=True)

    state: Mapped[str] = mapped_column(String(16), default="queued")
    version: Mapped[int] = mapped_column(default=0)  # raised by every event
    fence: Mapped[int] = mapped_column(default=0)  # raised by every claim and every release
    attempt: Mapped[int] = mapped_column(default=0)
    strikes: Mapped[int] = mapped_column(default=0)  # deaths of a runner that was stepping it
    losses: Mapped[int] = mapped_column(default=0)  # workers that vanished while they held it
    no_batch: Mapped[bool] = mapped_column(default=False)
    owner: Mapped[str | None] = mapped_column(String(64))  # worker that holds the lease
    lease_until: Mapped[MaybeTime]
    not_before: Mapped[MaybeTime]
    deadline_at: Mapped[MaybeTime]
    cancel_requested_at: Mapped[MaybeTime]
    paused_at: Mapped[MaybeTime]

    estimate_seconds: Mapped[float | None]  # predicted when it was accepted
    cost: Mapped[Object] = mapped_column(default=dict)  # {"flops", "steps"}: the work it asks for
    device: Mapped[str] = mapped_column(String(160), default="")  # what kind of device ran it
    run_seconds: Mapped[MaybeTime]  # how long it takes alone, where it ran so that one can tell
    device_seconds: Mapped[Time] = mapped_column(default=0.0)  # used, over all attempts
    charged_seconds: Mapped[Time] = mapped_column(default=0.0)  # what its owner's share was charged
    progress_step: Mapped[int] = mapped_column(default=0)
    progress_total: Mapped[int] = mapped_column(default=0)
    checkpoint_step: Mapped[int] = mapped_column(default=0)
    log_bytes: Mapped[int] = mapped_column(default=0)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)

    created_at: Mapped[Time] = mapped_column(index=True)
    started_at: Mapped[MaybeTime]
    finished_at: Mapped[MaybeTime] = mapped_column(index=True)
    deleted_at: Mapped[MaybeTime]
