"""How many previews of a training are kept: as many rounds as a page can show, evenly over its steps."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from shared.models import Artifact

MOST_ROUNDS = 200


def of_job(session: Session, job_id: str) -> list[Artifact]:
    """By step and index; of those drawn twice, by two attempts, the newer."""
    rows = session.scalars(
        select(Artifact)
        .where(Artifact.job_id == job_id, Artifact.role == "preview", Artifact.deleted_at.is_(None))
        .order_by(Artifact.created_at, Artifact.id)
    )
    newest = {(step_of(row), row.index): row for row in rows}
    return [newest[place] for place in sorted(newest)]


def step_of(row: Artifact) -> int:
    return int(row.metrics.get("step", 0))


def thin_out(session: Session, job_id: str, at: float, most: int = MOST_ROUNDS) -> None:
    """Of too many rounds those go that stand closest to their neighbours; the sweep removes the files."""
    rows = session.execute(
        select(Artifact.id, Artifact.metrics).where(
            Artifact.job_id == job_id, Artifact.role == "preview", Artifact.deleted_at.is_(None)
        )
    ).all()
    rounds: dict[int, list[str]] = {}
    for row_id, metrics in rows:
        rounds.setdefault(int(metrics.get("step", 0)), []).append(row_id)
    gone = [row_id for step in crowded(sorted(rounds), most) for row_id in rounds[step]]
    if gone:
        session.execute(
            update(Artifact)
            .where(Artifact.id.in_(gone))
            .values(deleted_at=at)
            .execution_options(synchronize_session=False)
        )


def crowded(steps: list[int], most: int) -> list[int]:
    """What to leave out so that `most` are left, the first and the last among them."""
    left, gone = list(steps), []
    while len(left) > max(2, most):
        n = min(range(1, len(left) - 1), key=lambda n: (left[n + 1] - left[n - 1], n))
        gone.append(left.pop(n))
    return gone
