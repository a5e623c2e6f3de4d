"""The runner: owns one device and decides, between two steps, who runs next. `python -m worker.runner <fd>`.

Each turn it reads the link, admits items to samplers and steps either the samplers or the training;
where both have work they share the device by time. It knows no database, no Redis and no settings.
"""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from shared.errors import AppError
from shared.log import set_up_logging
from shared.parent import die_with
from worker import link, sandbox
from worker.device import Device, wants_cuda
from worker.failures import plain
from worker.family import family_files, load_family
from worker.generation import Generations
from worker.previews import Previews
from worker.station import Station
from worker.training import Training, goes_no_further

log = logging.getLogger("worker.runner")
EXIT_BROKEN = 3


class Busy(AppError):
    """This worker trains already."""

    code = "busy"
    permanent = False


class Runner:
    """The device's loop."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._generations = Generations(station)
        self._training: Training | None = None
        self._previews: Previews | None = None
        self._stopping = False
        # seconds of the device that each side had while both wanted it
        self._trained = self._generated = 0.0

    def serve(self) -> int:
        """Until the link closes or says stop; returns the exit status."""
        while not self._stopping:
            self._listen()
            self._turn()
            self._station.beat(time.monotonic(), self._holds)
            if self._station.broken:
                log.error("the device is broken; ending")
                return EXIT_BROKEN
        return 0

    def _listen(self) -> None:
        """Reads all that lies in the link; waits for more only when there is nothing to do."""
        idle = self._training is None and not self._generations.has_work
        message = self._station.link.receive(None if idle else 0)
        while message is not None and not self._stopping:
            self._handle(message)
            message = self._station.link.receive(0)

    def _holds(self) -> list[str]:
        training = [self._training.job] if self._training is not None else []
        return training + self._generations.jobs()

    def _handle(self, message: Any) -> None:
        match message:
            case link.Start(kind="train"):
                self._start_training(message)
            case link.Start():
                self._start_generation(message)
            case link.Drain():
                self._drain(message.job)
            case link.Cancel():
                self._cancel(message.job)
            case link.Stop():
                self._stopping = True
            case _:
                log.warning("unexpected %s", message.type)

    # Jobs come and go

    def _start_training(self, start: link.Start) -> None:
        if self._training is not None and not goes_no_further(start):
            self._station.fail(start.job, Busy())
            return
        self._aside()
        training = self._begun(start)
        if training is None:
            return
        if goes_no_further(start):
            self._make_model(training)
            del training
            self._station.device.tidy()
            return
        self._training = training
        self._previews = Previews(self._station, training)
        self._trained = self._generated

    def _begun(self, start: link.Start) -> Training | None:
        training = Training(self._station, start)
        self._station.stepping.mark(self._station.stepping.note([start.job]))
        try:
            training.begin()
        except Exception as error:
            self._station.fail(start.job, error)
            return None
        finally:
            self._station.stepping.clear()
        return training

    def _make_model(self, training: Training) -> None:
        """A checkpoint becomes a model at once, also between two steps of another training."""
        while not training.ended:
            training.turn()

    def _start_generation(self, start: link.Start) -> None:
        if not self._generations.has_work:
            # nobody saves up while idle; on equal terms a generation goes first
            self._generated = self._trained
        self._aside()
        self._generations.start(start)

    def _drain(self, job: str) -> None:
        if self._training is not None and self._training.job == job:
            self._training.drain()
        elif self._generations.holds(job):
            self._aside()
            self._generations.drop(job)
            self._station.tell(link.Drained(job=job))

    def _cancel(self, job: str) -> None:
        if self._training is not None and self._training.job == job:
            self._training.cancel()
            self._forget_training()
        elif self._generations.holds(job):
            self._aside()
            self._generations.drop(job)
            self._station.tell(link.Cancelled(job=job))

    def _forget_training(self) -> None:
        self._training = self._previews = None
        self._station.device.tidy()

    def _aside(self) -> None:
        """Whatever is not the training may draw numbers; the training shall not notice."""
        if self._training is not None:
            self._training.put_aside()

    # Turns

    def _turn(self) -> None:
        if self._trains_next():
            self._train()
        elif self._generations.has_work:
            self._generate()

    def _trains_next(self) -> bool:
        if self._training is None:
            return False
        if self._training.draining or not self._generations.has_work:
            return True
        return self._trained < self._generated

    def _train(self) -> None:
        training, previews = self._training, self._previews
        assert training is not None and previews is not None
        began = time.monotonic()
        if not (training.exhausted and previews.has_work):
            training.turn()
        if training.ended:
            self._forget_training()
        elif previews.has_work:
            self._aside()
            self._station.device.use(training.threads)
            previews.turn()
        seconds = time.monotonic() - began
        self._trained += seconds
        if not training.ended:
            self._station.charge(training.job, seconds)

    def _generate(self) -> None:
        began = time.monotonic()
        self._aside()
        self._station.device.use()
        self._generations.turn()
        self._generated += time.monotonic() - began


# Start of the process


def load_families(configure: link.Configure) -> tuple[dict[str, ModuleType], list[link.Problem]]:
    """Every family that can be imported, and what is wrong with the others."""
    families, problems = {}, []
    for file in family_files(configure.families, configure.family_path):
        try:
            module = load_family(file)
        except Exception as error:
            text = plain(f"{type(error).__name__}: {error}", 2000)
            problems.append(link.Problem(file=file.name, message=text))
        else:
            families[module.FAMILY.name] = module
    return families, problems


def shut_in(configure: link.Configure) -> dict[str, str]:
    """Limits and sandbox, before any family's code runs."""
    runs = Path(configure.folder)
    inputs, out, private, note = (runs / name for name in ("in", "out", "tmp", "stepping"))
    # what a runner that died left in there is nobody's
    shutil.rmtree(private, ignore_errors=True)
    for folder in (inputs, out, private):
        folder.mkdir(parents=True, exist_ok=True)
    note.touch()
    tempfile.tempdir = str(private)
    cuda = wants_cuda(configure.device)
    parts = sandbox.enter(
        # inputs are hard links of what is stored: never writable
        writable=[out, private, note],
        readable=[inputs, *map(Path, configure.family_path)],
        cuda=cuda,
    )
    parts["memory"] = "no limit set"
    if configure.memory_bytes and not cuda:
        resource.setrlimit(resource.RLIMIT_AS, (configure.memory_bytes,) * 2)
        parts["memory"] = "on"
    elif configure.memory_bytes:
        # CUDA reserves far more addresses than it uses
        parts["memory"] = "off: not possible with CUDA"
    for part, state in parts.items():
        if state.startswith("off"):
            log.warning("sandbox: %s is %s", part, state)
    return parts


def greet(ends: link.Link, configure: link.Configure) -> Station:
    parts = shut_in(configure)
    families, problems = load_families(configure)
    device = Device(configure.device, configure.threads)
    if device.problem:
        log.warning("%s", device.problem)
    station = Station(ends, configure, device, families)
    announced = [
        module.FAMILY.announcement((module.__doc__ or "").strip()) for module in families.values()
    ]
    station.tell(
        link.Hello(
            pid=os.getpid(),
            device=device.name,
            facts=device.facts() | {"sandbox": parts},
            families=announced,
            problems=problems,
        )
    )
    return station


def main(arguments: list[str]) -> int:
    parent = os.getppid()
    die_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    set_up_logging("INFO")
    ends = link.Link.to_supervisor(socket.socket(fileno=int(arguments[0])))
    try:
        configure = ends.receive()
        if not isinstance(configure, link.Configure):
            log.error("the first message must be configure")
            return 2
        station = greet(ends, configure)
        die_with(parent)  # entering a namespace may have undone it
        station.device.warm_up()
        return Runner(station).serve()
    except link.LinkClosed:
        return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # threads of libraries and of a checkpoint's writing must not hold the end up
    os._exit(status)
