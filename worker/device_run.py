"""The folders of a run: what a job needs goes into `in`; what the runner leaves in `out` is opened safely."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import jobs
from shared.config import Settings
from shared.datasets import prefix_of
from shared.db import Database
from shared.errors import BadData, NotFound, TooExpensive
from shared.models import Checkpoint, Dataset, Job, JobEvent, Model, Result
from shared.moments import long_words
from shared.storage import CHUNK, Storage, told_when_full
from worker import link
from worker.held import Held
from worker.inputs import Inputs

log = logging.getLogger(__name__)

MOST_SPLITS = 64
RUN_FOLDERS = ("in", "out", "tmp")  # of a worker; the last two are its runner's to write
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class BadRow(BadData):
    """The job's row makes no sense."""

    code = "bad_row"


class InputMissing(BadData):
    """Something that the job needs is not there any more."""

    code = "input_missing"


@dataclass(frozen=True)
class _Needs:
    """The rows that a job refers to, read in one go."""

    dataset: Dataset | None
    model: Model | None
    checkpoints: list[Checkpoint]  # its own, then the one that it goes on from
    splits: int  # so many times more parts of each batch: memory ran out


class Fetcher:
    """Prepares run folders."""

    def __init__(self, settings: Settings, db: Database, storage: Storage) -> None:
        self._settings = settings
        self._db = db
        self._storage = storage
        self._files = Inputs(settings, storage)

    def prepare(self, held: Held) -> link.Start:
        """Makes the folders and says what the runner is to do there. Raises BadData, StorageFull, StorageAway."""
        with told_when_full():
            return self._prepare(held)

    def _prepare(self, held: Held) -> link.Start:
        job = held.job
        self._check_price(job)
        remove_run(held)
        inside = held.inputs
        inside.mkdir(parents=True)
        held.out.mkdir(parents=True)
        with self._db.reading() as session:
            needs = _needs_of(session, job)
        try:
            return link.Start(
                job=held.key,
                kind=job.kind,  # type: ignore[arg-type]  # checked by the message
                family=job.family,
                family_version=job.family_version,
                params=job.params,
                seed=job.seed,
                folder=str(held.out),
                inputs=self._inputs(job, inside),
                dataset=self._dataset(needs.dataset, inside),
                model=self._model(needs.model, inside),
                checkpoint=self._checkpoint(held, needs.checkpoints, inside),
                no_batch=job.no_batch,
                resumable=held.is_training,
                splits=needs.splits,
                continues_step=job.continues_step,
            )
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise BadRow(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def _check_price(self, job: Job) -> None:
        """Of a generation that waited for its model: nobody could price it before. Raises TooExpensive."""
        most, estimate = self._settings.max_job_seconds, job.estimate_seconds
        if job.kind == "generate" and job.waits_for and estimate is not None and estimate > most:
            raise TooExpensive(
                f"It would take about {long_words(estimate)}; {long_words(most)} are allowed."
            )

    def _dataset(self, row: Dataset | None, inside: Path) -> link.DatasetHere | None:
        if row is None:
            return None
        folder = inside / "dataset"
        try:
            self._files.take_pack(prefix_of(row.id), folder, row.sha256)
        except NotFound:
            raise InputMissing() from None
        return link.DatasetHere(folder=str(folder), facts=row.facts)

    def _model(self, row: Model | None, inside: Path) -> link.ModelHere | None:
        if row is None:
            return None
        folder = inside / "model"
        for name, facts in row.files.items():
            self._take(f"{row.location}/{name}", folder / name, facts["sha256"])
        return link.ModelHere(folder=str(folder), id=row.id, sha256=row.sha256, facts=row.facts)

    def _inputs(self, job: Job, inside: Path) -> dict[str, str]:
        """Items of datasets are ranges of a packed file, so they are copied."""
        found = {}
        if not isinstance(job.inputs, dict):
            raise BadRow("inputs is no object")
        for name, source in job.inputs.items():
            target = inside / f"input-{name}"
            digest = hashlib.sha256()
            try:
                file = self._storage.open(source["location"])
            except NotFound:
                raise InputMissing() from None
            with file, target.open("wb") as copy:
                for chunk in _range(file, source.get("offset", 0), source.get("bytes")):
                    digest.update(chunk)
                    copy.write(chunk)
            if digest.hexdigest() != source["sha256"]:
                raise BadData(f"The input {name!r} is damaged in storage.")
            found[name] = str(target)
        return found

    def _checkpoint(
        self, held: Held, rows: list[Checkpoint], inside: Path
    ) -> link.CheckpointHere | None:
        """The newest that is whole. A damaged one is told in the job's log and forgotten."""
        path = inside / "checkpoint.safetensors"
        for row in rows:
            try:
                self._take(row.location, path, row.sha256)
            except BadData as error:
                log.warning("checkpoint %s: %s", row.location, error)
                held.pending.say(f"The checkpoint at step {row.step} cannot be used: {error}")
                self._forget(row)
                continue
            held.pending.say(f"Continues from the checkpoint at step {row.step}.")
            return link.CheckpointHere(path=str(path), step=row.step)
        if held.job.continues:
            raise InputMissing("The checkpoint that it was to go on from is not there any more.")
        return None

    def _forget(self, row: Checkpoint) -> None:
        with self._db.writing() as session:
            stale = session.get(Checkpoint, row.id)
            if stale is not None:
                session.delete(stale)
        self._storage.delete(row.location)

    def _take(self, key: str, target: Path, sha256: str) -> None:
        try:
            self._files.take(key, target, sha256)
        except NotFound:
            raise InputMissing() from None


def _needs_of(session: Session, job: Job) -> _Needs:
    model_id = job.model_id
    if model_id is None and job.kind == "generate" and job.waits_for:
        # the model of the training that it waited for
        result = session.get(Result, job.waits_for)
        model_id = result.model_id if result else None
    model = session.get(Model, model_id) if model_id else None
    dataset = session.get(Dataset, job.dataset_id) if job.dataset_id else None
    if (model_id and model is None) or (job.dataset_id and dataset is None):
        raise InputMissing()
    own = jobs.newest_checkpoints(session, job.id)
    splits = _splits_of(session, job, own[0].fence if own else -1)
    if job.continues:
        own += jobs.newest_checkpoints(session, job.continues, job.continues_step)
    return _Needs(dataset, model, own, splits)


def _splits_of(session: Session, job: Job, since: int) -> int:
    """Twice as many parts for each time that memory ran out over it; a checkpoint (of the attempt with the fence
    `since`) knows of those before it."""
    if not job.strikes or job.kind != "train":
        return 1
    events = session.scalars(
        select(JobEvent.data).where(JobEvent.job_id == job.id, JobEvent.type == "state")
    )
    times = sum(data.get("why") == "oom" and data.get("fence", 0) > since for data in events)
    return int(min(2**times, MOST_SPLITS))


def _range(file: BinaryIO, offset: int, length: int | None) -> Iterator[bytes]:
    file.seek(offset)
    while length is None or length > 0:
        chunk = file.read(CHUNK if length is None else min(CHUNK, length))
        if not chunk:
            return
        yield chunk
        if length is not None:
            length -= len(chunk)


@contextmanager
def taken_output(out: Path, name: str) -> Iterator[BinaryIO]:
    """A regular file that the runner left in its `out`, removed afterwards.

    The runner may replace anything there by a symbolic link, also the run's own folder and also
    between two of our calls: so each part is opened, and the file removed, by its parent's handle.
    """
    *folders, last = name.split("/")
    if {"", ".", ".."} & {*folders, last}:
        raise BadData(f"The runner named an output outside its folder: {name}")
    with ExitStack() as stack:
        try:
            handle = os.open(out, FOLDER)
            stack.callback(os.close, handle)
            for part in folders:
                handle = os.open(part, FOLDER, dir_fd=handle)
                stack.callback(os.close, handle)
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            file = stack.enter_context(os.fdopen(os.open(last, flags, dir_fd=handle), "rb"))
        except OSError as error:
            raise BadData(f"The runner named an output that is not there: {name}") from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BadData(f"The runner named an output that is no file: {name}")
        yield file
        with suppress(OSError):
            os.unlink(last, dir_fd=handle)


def output_names(out: Path, below: str) -> list[str]:
    """Files under a folder in `out`, as names for taken_output."""
    return sorted(
        str(Path(base, file).relative_to(out))
        for base, _, files in os.walk(out / below, followlinks=False)
        for file in files
    )


def remove_run(held: Held) -> None:
    for path in (held.inputs, held.out):
        remove_tree(path)


def remove_tree(path: Path) -> None:
    """Whatever it is: the runner may have put a link or a file where its folder was."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def remove_stale_runs(runs: Path) -> None:
    """What an earlier life of this worker left; called before anything is held."""
    for name in RUN_FOLDERS:
        for path in (runs / name).iterdir() if (runs / name).is_dir() else ():
            remove_tree(path)


def facts_of(files: dict[str, dict[str, Any]]) -> tuple[str, int]:
    """(sha256 over the sorted names and hashes, bytes) of a model folder."""
    lines = "".join(f"{name}\0{files[name]['sha256']}\n" for name in sorted(files))
    size = sum(facts["bytes"] for facts in files.values())
    return hashlib.sha256(lines.encode()).hexdigest(), size
