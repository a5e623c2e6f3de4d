"""Finds this machine's GPUs without torch, for `atelier up`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

NVIDIA = Path("/proc/driver/nvidia/gpus")
PATIENCE_SECONDS = 10


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """One value of CUDA_VISIBLE_DEVICES for each GPU that this environment may use."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [str(index) for index in range(_count())]
    names = [name.strip() for name in chosen.split(",")]
    # CUDA stops at the first name it does not know, and -1 is how people say "none"
    end = next((i for i, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
    return names[:end]


def _count() -> int:
    program = shutil.which("nvidia-smi")
    if program:
        try:
            told = subprocess.run(
                [program, "-L"],
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=True,
            )
        except (subprocess.SubprocessError, OSError):
            return 0
        return sum(line.startswith("GPU ") for line in told.stdout.splitlines())
    return len(list(NVIDIA.iterdir())) if NVIDIA.is_dir() else 0
