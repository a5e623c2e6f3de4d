"""Where a dataset's bytes lie, what depends on it, and when they may go. Used by web's deletion and by the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Row, String, cast, delete, exists, or_, select
from sqlalchemy.orm import Session

from shared import dataset_preview, packs, thumbnails
from shared.models import Dataset, DatasetItem, Job, Model, ShortTask
from shared.storage import Storage

CHECK_TASK = "check_dataset"
AGAIN = ":again"
# What a dataset may have beside the manifest and the data of its pack, and all of it.
PACK_EXTRAS = (dataset_preview.FILE, thumbnails.DATA, thumbnails.INDEX)
PACK_FILES = (packs.MANIFEST, packs.DATA, *PACK_EXTRAS)


def prefix_of(dataset_id: str) -> str:
    """Storage prefix of a dataset's pack."""
    return f"datasets/{dataset_id}"


def key_of(dataset_id: str, file: str) -> str:
    return f"{prefix_of(dataset_id)}/{file}"


def check_slot(dataset_id: str, again: bool = False) -> str:
    """One check for each dataset, ever, and one more when it is accepted as it is: slots of short tasks."""
    return f"{CHECK_TASK}:{dataset_id}" + (AGAIN if again else "")


def accepted_jobs(session: Session, dataset_id: str) -> Sequence[Row[str, str]]:
    """(id, user_id) of the jobs that were promised these bytes and have not ended."""
    return session.execute(select(Job.id, Job.user_id).where(_needs(dataset_id))).all()


def trained_models(session: Session, dataset_id: str) -> Sequence[Row[str, str]]:
    """(id, user_id) of the models that learnt from it and are still shown."""
    return session.execute(
        select(Model.id, Model.user_id).where(
            Model.dataset_id == dataset_id, Model.deleted_at.is_(None)
        )
    ).all()


def is_remembered(session: Session, dataset_id: str) -> bool:
    """Whether some row still tells where its result came from, so that this one must stay."""
    jobs = exists().where(Job.dataset_id == dataset_id)
    models = exists().where(Model.dataset_id == dataset_id)
    return bool(session.scalar(select(or_(jobs, models))))


def forget_items(session: Session, dataset_id: str) -> int:
    """Returns how many there were."""
    gone = session.execute(delete(DatasetItem).where(DatasetItem.dataset_id == dataset_id))
    return int(gone.rowcount)  # type: ignore[attr-defined]


def delete_bytes(storage: Storage, dataset_id: str) -> int:
    return storage.delete(prefix_of(dataset_id))


def hidden_and_done(session: Session, most: int) -> list[str]:
    """Deleted datasets whose items are still here although no accepted job needs them."""
    hidden = session.scalars(
        select(Dataset.id)
        .where(Dataset.deleted_at.is_not(None), exists().where(_item_of(Dataset.id)))
        .order_by(Dataset.id)
    ).all()
    # those that are still used must not stand in the way of the others
    free = (dataset_id for dataset_id in hidden if not accepted_jobs(session, dataset_id))
    return list(islice(free, most))


def given_up(session: Session, most: int) -> list[str]:
    """Datasets that wait for a check which nobody will do any more."""
    expected = exists().where(
        or_(*(ShortTask.slot == f"{CHECK_TASK}:" + Dataset.id + end for end in ("", AGAIN))),
        ShortTask.state.in_(("queued", "running")),
    )
    query = select(Dataset.id).where(Dataset.state == "checking", ~expected).limit(most)
    return list(session.scalars(query))


def problems_shape(
    problems: list[dict[str, str]], warnings: Sequence[str] = (), usable: int = 0
) -> dict[str, Any]:
    """`usable`: of a refused upload that is kept, how many items it would have without its bad files."""
    shape: dict[str, Any] = {"files": problems}
    if warnings:
        shape["warnings"] = list(warnings)
    if usable:
        shape["usable"] = usable
    return shape


def accepted_shape() -> dict[str, Any]:
    """The problems of an upload that is checked again, now without its bad files."""
    return {"files": [], "partial": True}


def _needs(dataset_id: str) -> ColumnElement[bool]:
    place = cast(Job.inputs, String).contains(f"{prefix_of(dataset_id)}/", autoescape=True)
    return Job.state.in_(("queued", "running")) & ((Job.dataset_id == dataset_id) | place)


def _item_of(dataset_id: Any) -> ColumnElement[bool]:
    found: ColumnElement[bool] = DatasetItem.dataset_id == dataset_id
    return found
