"""The ways in which a job leaves this supervisor, as what the publisher is to write."""

from __future__ import annotations

import signal

from sqlalchemy.orm import Session

from shared import jobs
from shared.errors import OutOfMemory
from shared.storage import WAITS
from worker import link
from worker.held import Held
from worker.publish import Ending
from worker.runner_process import Died

# Reasons to drop a job within a step; for all others the runner takes a checkpoint first.
AT_ONCE = frozenset({"cancel", "deadline", "lost"})
LAST_WORDS = (link.Done, link.Drained, link.Cancelled, link.Failed)
# What a runner says when it is our worker that lacks something: no strike, but a wait, in seconds.
OURS = {"busy": 5.0, "family_missing": 30.0, **WAITS}
# Kills by us for which no job is to blame.
BLAMELESS = frozenset({*AT_ONCE, "pause", "rotate", "drain", "lease", "stop"})


def give_back(held: Held, why: str, delay_seconds: float = 0.0) -> Ending:
    used = held.take_used()
    return lambda session, held: jobs.give_back(
        session, held.lease, why, delay_seconds=delay_seconds, used=used
    )


def fail(held: Held, code: str, message: str) -> Ending:
    used = held.take_used()
    return lambda session, held: jobs.fail(session, held.lease, code, message, used)


def strike(
    held: Held, code: str, message: str, backoff_seconds: float, *, suspects_batch: bool = False
) -> Ending:
    used = held.take_used()
    return lambda session, held: jobs.strike(
        session,
        held.lease,
        code,
        message,
        suspects_batch=suspects_batch,
        used=used,
        backoff_seconds=backoff_seconds,
    )


def asked(held: Held) -> Ending:
    """The end that was asked for."""
    if held.ending == "deadline":
        return fail(held, "deadline", "Its deadline passed while it ran.")
    if held.ending != "cancel":
        return give_back(held, held.ending or "drained")
    used = held.take_used()

    def cancelled(session: Session, held: Held) -> object:
        return jobs.finish_cancel(session, held.lease, used)

    return cancelled


def failed(held: Held, message: link.Failed, backoff_seconds: float) -> Ending:
    if held.ending not in AT_ONCE and not message.permanent and message.code in OURS:
        return give_back(held, held.ending or message.code, OURS[message.code])
    if held.ending in AT_ONCE or (held.ending and not message.permanent):
        return asked(held)
    if message.permanent:
        return fail(held, message.code, message.message)
    return strike(held, message.code, message.message, backoff_seconds)


def suspects(running: list[Held], died: Died) -> list[Held]:
    """Which jobs may have killed the runner: those that were being stepped.

    Where that is not known, those it had not reported on yet; else all, which then run alone.
    """
    if died.runner.killed_for in BLAMELESS:
        return []
    free = [held for held in running if not held.ending]
    stepped = [held for held in free if held.key in died.suspects]
    return stepped or [held for held in free if not held.heard] or free


def explain(died: Died) -> tuple[str, str]:
    """(code, message) for the people whose job it was."""
    if died.runner.killed_for == "deaf":
        return "runner_deaf", "It did not answer for too long."
    if died.runner.killed_for in BLAMELESS:
        return "runner_stopped", "The runner had to be stopped."
    if died.runner.killed_for:
        return "runner_broken", "The runner said something that made no sense."
    if died.status == -signal.SIGKILL and died.out_of_memory:
        return "oom", f"The runner was killed. {OutOfMemory().message}"
    if died.status == -signal.SIGKILL:
        return "runner_killed", "The runner was killed."
    if died.status < 0:
        return "runner_crashed", f"The runner crashed ({signal.Signals(-died.status).name})."
    return "runner_ended", f"The runner ended with status {died.status}."
