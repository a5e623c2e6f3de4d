"""One line of progress on a terminal; a few plain lines when the output goes to a file."""

from __future__ import annotations

import sys
from typing import TextIO

from atelier_client.connection import Object

WIDTH = 28


class ProgressLine:
    def __init__(self, label: str, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self.label = label
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.live = self.stream.isatty()
        self._shown = ""
        self._milestone = ("", -1)

    def show(self, fraction: float | None, text: str, state: str = "") -> None:
        if self.live:
            self._write(f"\r{self.label:<24} {_bar(fraction)} {text}\x1b[K")
            return
        milestone = (state, int((fraction or 0) * 4))
        if milestone != self._milestone:
            self._milestone = milestone
            self._write(f"{self.label}: {text}\n")

    def job(self, job: Object) -> None:
        """For Jobs.wait(on_progress=…)."""
        fraction = (
            1.0 if job["state"] == "succeeded" else (job.get("progress") or {}).get("fraction")
        )
        self.show(fraction, describe(job), job["state"])

    def dataset(self, dataset: Object) -> None:
        """For Datasets.wait(on_progress=…)."""
        known = dataset["state"] == "ready"
        text = f"{dataset.get('items') or 0} items" if known else dataset["state"]
        self.show(1.0 if known else None, text, dataset["state"])

    def sent(self, done: int, total: int) -> None:
        """For uploads and downloads."""
        self.show(done / total if total else None, f"{done:,} of {total:,} bytes")

    def say(self, text: str) -> None:
        """Lines of their own above the progress."""
        self._write(f"\r\x1b[K{text}\n" if self.live else f"{text}\n")

    def end(self) -> None:
        if self.live:
            self._write("\n")

    def _write(self, text: str) -> None:
        if text != self._shown and not self.quiet:
            self._shown = text
            self.stream.write(text)
            self.stream.flush()


def describe(job: Object) -> str:
    """The state of a job in a few words: what it does, how far it is, how long it will take."""
    if job.get("error"):
        return f"{job['state']}: {job['error']['message']} ({job['error']['code']})"
    if job["state"] == "queued":
        position = (job.get("queue") or {}).get("position")
        return f"queued, place {position}" if position else "queued"
    progress = job.get("progress") or {}
    words = [job["state"]]
    if progress.get("total_steps"):
        words.append(f"step {progress.get('step') or 0}/{progress['total_steps']}")
    if job["state"] == "running" and progress.get("eta_seconds") is not None:
        words.append(f"{duration(progress['eta_seconds'])} left")
    return ", ".join(words)


def duration(seconds: float) -> str:
    """About how long, for people: 8 s, 2 min 5 s, 3 h 20 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _bar(fraction: float | None) -> str:
    if fraction is None:
        return f"[{'·' * WIDTH}]     "
    full = round(max(0.0, min(1.0, fraction)) * WIDTH)
    return f"[{'█' * full}{'·' * (WIDTH - full)}] {fraction:4.0%}"
