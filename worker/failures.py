"""What an exception means for the job it ended: a code, words for its owner, and whether to try again."""

from __future__ import annotations

import sys

from shared.errors import AppError, InvalidInput, OutOfMemory
from shared.storage import is_full
from worker.checkpoints import BadCheckpoint
from worker.link import Failed

LONGEST_MESSAGE = 2000
UNSTEADY = "does not have a deterministic implementation"  # torch's words
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "std::bad_alloc")


def failure_of(error: BaseException, job: str) -> Failed:
    code, message, permanent = _meaning(error)
    return Failed(job=job, code=code, message=plain(message, LONGEST_MESSAGE), permanent=permanent)


def _meaning(error: BaseException) -> tuple[str, str, bool]:
    if isinstance(error, BadCheckpoint):
        return "bad_checkpoint", str(error), False
    if isinstance(error, InvalidInput) and error.errors:
        problems = "; ".join(f"{e['pointer']} {e['message']}" for e in error.errors)
        return error.code, problems, error.permanent
    if isinstance(error, AppError):
        return error.code, error.message, error.permanent
    if is_out_of_memory(error):
        return "oom", OutOfMemory().message, False
    if is_full(error):
        return "storage_full", "The disk of the worker is full.", False
    return "family_error", f"{type(error).__name__}: {error}", True


def is_out_of_memory(error: BaseException) -> bool:
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    ):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in OUT_OF_MEMORY
    )


def lacks_steady_kernel(error: BaseException) -> bool:
    """Whether an operation was refused because it has no deterministic form (`Device.use(strict=True)`)."""
    return isinstance(error, RuntimeError) and UNSTEADY in str(error)


def breaks_device(error: BaseException) -> bool:
    """After such an error nothing on the device can be trusted, so the runner has to end."""
    return isinstance(error, RuntimeError) and "CUDA error" in str(error)


def plain(text: str, longest: int) -> str:
    """Text that every database and every JSON reader takes."""
    text = text.replace("\0", "\ufffd")[:longest]
    return text.encode("utf-8", "replace").decode()
