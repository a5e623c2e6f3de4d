"""One training in the runner: begun, stepped, put aside, snapshotted, drained, cancelled, finished.

The loop itself stands in the family's file; this is what happens between two of its steps.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from shared.errors import AppError, OutOfMemory
from shared.params import Unpriced, evaluate, schema_of
from shared.storage import sha256_of
from worker import checkpoints, link, randomness
from worker.checkpoints import Saved, Snapshots
from worker.data.images import Images
from worker.data.texts import Texts
from worker.failures import is_out_of_memory, lacks_steady_kernel
from worker.run import Drained, Run, copy_of
from worker.station import Station, write_json
from worker.training_report import TrainingReport

MOST_SPLITS = 64
# Standard parameters of which less needs less memory.
SMALLER = ("batch_size", "block_size", "image_size", "width", "n_embd", "n_layer", "base_channels")


class LeftMode(AppError):
    """The family changed a global mode of torch (gradients, inference, autocast) across a yield."""

    code = "family_left_mode"


class NoModel(AppError):
    """The training neither offered a model nor kept one under the name "model"."""

    code = "no_model"


class DataRefused(AppError):
    """The family cannot use this dataset."""

    code = "bad_data"


class Training:
    """Its methods send what came of them; `ended` says that nothing more will come."""

    def __init__(self, station: Station, start: link.Start) -> None:
        self.station = station
        self.start = start
        self.job = start.job
        self.ended = False
        self.exhausted = False  # all its steps are made; the next turn ends it
        self.resumed_step = start.checkpoint.step if start.checkpoint else 0
        self.draining = False
        self.stepped_at = 0.0
        self._note = station.stepping.note([start.job])
        self._aside: dict[str, Any] | None = None
        self._out = Path(start.folder)
        self._newest: Saved | None = None  # the newest snapshot of this attempt, in memory

    # Beginning

    def begin(self) -> None:
        """Raises what ends the job at once: bad parameters, data, checkpoint."""
        start = self.start
        self.module = self.station.family(start)
        facts = start.dataset.facts if start.dataset else {}
        self.params = self.station.params(start, {}, facts)
        self._check_data(facts)
        self.data = self._read_data()
        saved = None if start.checkpoint is None else self._read_checkpoint()
        self._out.mkdir(parents=True, exist_ok=True)
        meta = {} if saved is None else saved.meta
        self.threads = int(meta.get("threads", self.station.device.threads))
        self.deterministic = bool(meta.get("deterministic", True))
        self.report = TrainingReport(
            self.station, self.job, float(meta.get("seconds", 0)), meta.get("last", {})
        )
        self._make(saved, min(start.splits * int(meta.get("splits", 1)), MOST_SPLITS))

    def _check_data(self, facts: dict[str, Any]) -> None:
        for expression, message in self.module.FAMILY.accepts:
            try:
                fits = evaluate(expression, facts)
            except Unpriced:
                continue
            if not fits:
                raise DataRefused(message)

    def _read_data(self) -> Any:
        if self.start.dataset is None:
            raise DataRefused("A training needs a dataset.")
        folder = Path(self.start.dataset.folder)
        kind = Images if self.module.FAMILY.dataset_kind == "images" else Texts
        return kind.from_folder(folder, self.start.dataset.facts)

    def _read_checkpoint(self) -> Saved:
        assert self.start.checkpoint is not None
        saved = checkpoints.read(Path(self.start.checkpoint.path))
        family = self.module.FAMILY
        if (saved.meta.get("family"), saved.meta.get("family_version")) != (
            family.name,
            family.version,
        ):
            raise checkpoints.BadCheckpoint("the checkpoint is of another family or version")
        here = self.station.device.cpu_capability
        if saved.meta.get("cpu_capability") != here:
            self._log(
                f"The checkpoint was made on {saved.meta.get('cpu_capability')}, this is {here}: "
                "the last bits of the result may differ."
            )
        return saved

    def _make(self, saved: Saved | None, splits: int) -> None:
        """The run and its generator, from the checkpoint or from the start."""
        device = self.station.device
        device.use(self.threads, strict=self.deterministic)
        self._aside = None
        run = self.run = Run(seed=self.start.seed, device=device.name, splits=splits)
        run.patience = int(getattr(self.params, "patience", 0))
        run.on_log = self._log
        run.at_top, run.at_end = self._at_top, self._at_end
        run.wanted = self.draining
        if saved is not None:
            run.restore = lambda: self._restore(saved)
        self.snapshots = Snapshots(run, self._facts())
        self._next_checkpoint = time.monotonic() + self.station.configure.checkpoint_seconds
        self.generator = self.module.train(self.params, self.data, run)

    def _restore(self, saved: Saved) -> None:
        checkpoints.restore(self.run, saved)
        if self.run.is_out_of_patience and self.run.step == self.start.continues_step:
            self.run.offers_since_best = 0  # it had ended early, and more steps were asked for

    def _facts(self) -> dict[str, Any]:
        family = self.module.FAMILY
        build = self.station.device.build()
        names = {"family": family.name, "family_version": family.version}
        own = {"threads": self.threads, "deterministic": self.deterministic}
        return build | names | own | {"seed": self.start.seed}

    def _log(self, text: str) -> None:
        self.station.log(self.job, text)

    # Steps

    def put_aside(self) -> None:
        """Before anything else runs on the device: keeps the state of the random generators."""
        if self._aside is None:
            self._aside = randomness.take(self.run.device)

    def _come_back(self) -> None:
        self.station.device.use(self.threads, strict=self.deterministic)
        if self._aside is not None:
            randomness.give_back(self._aside, self.run.device)
            self._aside = None

    def turn(self) -> None:
        """One step, or one part of a validation; after the last one the end, whenever that is asked for."""
        if self.start.resumable and time.monotonic() >= self._next_checkpoint:
            self.run.wanted = True
        self._come_back()
        self.station.stepping.mark(self._note)
        try:
            if self.exhausted:
                self.station.device.use(self.threads)  # no gradients: nothing to be refused now
                self._tried(self._finish)
                return
            metrics = next(self.generator)
            self._check_modes()
            self.report.note(self.run, metrics)
        except StopIteration:
            self.exhausted = True
            self.report.send(self.run)
        except Drained:
            self._end(link.Drained(job=self.job, step=self.run.step))
        except (Exception, SystemExit) as error:
            self._go_on(error)
        finally:
            self.station.stepping.clear()

    def _check_modes(self) -> None:
        """What a family leaves switched would change whoever runs next."""
        torch = self.station.device.torch
        if torch is None:
            return
        inside = torch.is_inference_mode_enabled() or torch.is_autocast_enabled(
            self.run.device.type
        )
        if inside or not torch.is_grad_enabled():
            torch.set_grad_enabled(True)
            raise LeftMode()

    def _go_on(self, error: BaseException) -> None:
        """Out of memory: half the rows at a time. No deterministic form: without. Both from the newest snapshot."""
        splits, rows = self.run.splits, self.run.rows
        if lacks_steady_kernel(error) and self.deterministic:
            self.deterministic = False
            why = str(error).partition(", but")[0][:300]
            self._log(
                "An operation has no deterministic form here: made again, the result may differ "
                f"in its last bits. ({why})"
            )
            self._again(error, splits)
        elif not is_out_of_memory(error) or self.draining:
            self._fail(error)
        elif splits * 2 > MOST_SPLITS or splits >= max(1, rows):
            self._fail(OutOfMemory(self._advice()))
        else:
            self._log(f"Memory ran out; going on with each batch in {splits * 2} micro-batches.")
            self._again(error, splits * 2)

    def _again(self, error: BaseException, splits: int) -> None:
        self._close()
        del self.run
        error.__traceback__ = None  # it holds the failed step's tensors
        self.station.device.free()
        self._tried(lambda: self._make(self._newest or self._first(), splits))

    def _advice(self) -> str:
        splits = self.run.splits
        parts = f", even with each batch in {splits} micro-batches" if splits > 1 else ""
        names = [name for name in SMALLER if hasattr(self.params, name)]
        less = f"a smaller {' or '.join(names)}" if names else "a smaller model"
        return f"Memory ran out at step {self.run.step}{parts}. Try {less}."

    def _first(self) -> Saved | None:
        return None if self.start.checkpoint is None else self._read_checkpoint()

    # Checkpoints

    def _at_top(self) -> None:
        """Called by run.batches() where a snapshot is wanted."""
        if self.draining:
            if self.start.resumable:
                self._snapshot()
                self.snapshots.wait()
            raise Drained()
        if not self.snapshots.busy:  # else at the next top
            self._snapshot()
            self.run.wanted = False
            now = time.monotonic()
            self._next_checkpoint = now + self.station.configure.checkpoint_seconds

    def _at_end(self) -> None:
        """Where the loop ends its state is kept, so that more steps can follow later."""
        run = self.run
        if run.stopped_early:
            self._log(
                f"Stopped early at step {run.step}: {run.offers_since_best} measurements in a row "
                f"brought nothing better than {run.best_score:.6g} at step {run.best_step}."
            )
        kept = self._newest is not None and self._newest.meta["step"] == run.step
        if self.start.resumable and not kept and not goes_no_further(self.start):
            self._snapshot()

    def _snapshot(self) -> None:
        self.snapshots.wait()
        run, step = self.run, self.run.step
        self.report.send(run)
        self._newest = self.snapshots.take(seconds=self.report.seconds(), last=self.report.last)
        name = f"checkpoint-{step}.safetensors"
        score = run.best_score if run.best is not None else None

        def written(error: OSError | None) -> None:
            if error is None:
                self.station.tell(link.Checkpoint(job=self.job, step=step, file=name, score=score))
            else:
                self._log(f"The checkpoint of step {step} could not be written: {error.strerror}.")

        self.snapshots.write_aside(self._newest, self._out / name, written)

    # Ends

    def drain(self) -> None:
        """Ends at the loop's next top, with a checkpoint."""
        self.draining = self.run.wanted = True

    def cancel(self) -> None:
        self._close()
        self._end(link.Cancelled(job=self.job))

    def _close(self) -> None:
        try:
            self.generator.close()
        except Exception as error:
            self._log(f"While stopping: {type(error).__name__}: {error}")
        self.snapshots.wait()

    def _end(self, message: link.Message) -> None:
        self._is_over()
        self.station.tell(message)

    def _fail(self, error: BaseException) -> None:
        self._is_over()
        self.station.fail(self.job, error)

    def _is_over(self) -> None:
        self.snapshots.wait()
        self.ended = True
        self.station.device.use()

    def _tried(self, work: Any) -> None:
        try:
            work()
        except Exception as error:
            self._fail(error)

    def _finish(self) -> None:
        self.report.send(self.run)
        model = self._result()
        if model is None:
            raise NoModel()
        if hasattr(model, "eval"):
            model.eval()
        folder = self._out / "model"
        folder.mkdir()
        self.module.save(model, folder)
        made = self.module.describe(model)
        schema = narrowed(self.module.FAMILY.generate, made.get("schema", {}))
        facts = made.get("facts", {})
        write_json(folder / "atelier.json", self._meta(schema, facts))
        run = self.run
        self._end(
            link.Done(
                job=self.job,
                metrics=self._metrics(),
                model=link.ModelMade(folder=folder.name, schema_=schema, facts=facts),
                build=self._facts() | {"splits": run.splits},
                seconds=self.report.seconds(),
            )
        )

    def _result(self) -> Any:
        run = self.run
        if goes_no_further(self.start):  # that very step's weights, not the best ones before it
            model = run.kept.get(run.best_name)
            return None if model is None else copy_of(model)
        return run.result

    def _metrics(self) -> dict[str, Any]:
        run = self.run
        metrics: dict[str, Any] = {"steps": run.step, **self.report.last}
        if run.best is not None and not goes_no_further(self.start):
            metrics |= {"best_score": run.best_score, "best_step": run.best_step}
        if run.stopped_early:
            metrics["stopped_early"] = run.step
        if run.splits > 1:
            metrics["micro_batches"] = run.splits
        return metrics

    def _meta(self, schema: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
        """What a model says of itself. No time and no id of a job: same input, same bytes."""
        assert self.start.dataset is not None
        family = self.module.FAMILY
        return {
            "family": family.name,
            "family_version": family.version,
            "params": self.params.model_dump(mode="json"),
            "seed": self.start.seed,
            "dataset_sha256": sha256_of(Path(self.start.dataset.folder) / "manifest.jsonl"),
            "facts": facts,
            "generate_schema": schema,
        }


def goes_no_further(start: link.Start) -> bool:
    """Whether this only makes a checkpoint of another training into a model: it asks for no step beyond it."""
    begins, steps = start.continues_step, start.params.get("steps")
    return begins is not None and isinstance(steps, int) and steps <= begins


def narrowed(kind: Any, patches: dict[str, Any]) -> dict[str, Any]:
    """The family's generate schema as this one model allows it; None removes a parameter."""
    if kind is None:
        return {}
    schema = schema_of(kind)
    properties = schema["properties"]
    for name, patch in patches.items():
        if patch is None:
            properties.pop(name, None)
        elif name in properties:
            properties[name] = fitted({**properties[name], **patch})
    if "required" in schema:
        schema["required"] = [name for name in schema["required"] if name in properties]
    return schema


def fitted(field: dict[str, Any]) -> dict[str, Any]:
    """The default, moved into what is allowed now."""
    default = field.get("default")
    if "enum" in field and default not in field["enum"]:
        default = field["enum"][0]
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        default = min(default, field.get("maximum", default))
        default = max(default, field.get("minimum", default))
    return {**field, "default": default} if "default" in field else field
