"""The device a runner owns: which one, how many threads, how fast. Torch only if a family brought it."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

WORKSPACES = "CUBLAS_WORKSPACE_CONFIG"
MEASURE_SECONDS = 0.1
SIDE = 512


def wants_cuda(name: str) -> bool:
    """Whether this device setting means a GPU; asked before torch may be imported."""
    return name.startswith("cuda") or (name == "auto" and Path("/dev/nvidiactl").exists())


def choose_steady_kernels(torch: ModuleType, strict: bool) -> None:
    """The same seed gives the same bits: no kernel that is picked by its time, or that sums in any order.

    `strict`: an operation without such a kernel raises a RuntimeError, else it warns. That it warns is not the
    milder half only: attention's backward keeps to one order of sums where torch may raise, and nowhere else.
    """
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=not strict)
    torch.utils.deterministic.fill_uninitialized_memory = False


def choose_steady_products(torch: ModuleType, here: Any) -> None:
    """cuBLAS sums in one order where each stream has a workspace of its own (NVIDIA, "Results reproducibility").

    torch gives it one, but looks, once, at the first product, for the setting of bare_environment that says so. cuBLAS
    looks at every product (0.05 ms each on an H200), so it is taken away then. Not run on a GPU yet.
    """
    product = torch.zeros(2, 2, device=here)
    choose_steady_kernels(torch, strict=True)
    product @ product
    setting = os.environ.pop(WORKSPACES, "")  # noqa: TID251 - theirs, not one of ours
    try:
        product @ product
    except RuntimeError:  # a torch that looks each time
        os.environ[WORKSPACES] = setting  # noqa: TID251


class Device:
    """Made once, after the families are loaded."""

    def __init__(self, name: str, threads: int) -> None:
        self.torch: ModuleType | None = sys.modules.get("torch")
        self.threads = threads or len(os.sched_getaffinity(0))
        self._current = (0, False)
        self.problem = ""
        if name == "auto":
            name = self._found(self.torch)
        self.name = name
        self.here: Any = self.torch.device(name) if self.torch else name
        self.cpu_capability = "none"
        if self.torch:
            self._prepare(self.torch)

    def _found(self, torch: ModuleType | None) -> str:
        """A GPU if torch can use one. One that is there but of no use is told, for a CPU is a hundred times slower."""
        if torch is None:
            return "cpu"
        if torch.cuda.is_available():  # also when its memory is full: that passes
            return "cuda"
        if wants_cuda("auto"):
            try:
                torch.cuda.init()
            except (AssertionError, RuntimeError) as error:
                self.problem = f"This machine has a GPU, but PyTorch cannot use it: {error}"[:500]
        return "cpu"

    def _prepare(self, torch: ModuleType) -> None:
        torch.set_num_interop_threads(1)
        self.cpu_capability = torch.backends.cpu.get_cpu_capability()
        if self.name.startswith("cuda"):
            choose_steady_products(torch, self.here)
        self.use()

    def warm_up(self) -> None:
        """torch's first optimizer step imports its compiler (1.5 s): paid here, before anybody waits."""
        if self.torch:
            weight = self.torch.zeros(2, device=self.here, requires_grad=True)
            weight.sum().backward()
            self.torch.optim.AdamW([weight]).step()
        gc.freeze()  # libraries and families stay: nobody has to look through them again

    def use(self, threads: int = 0, strict: bool = False) -> None:
        """Before anybody's turn. The thread count changes results, so each training keeps the one it began with."""
        wanted = (threads or self.threads, strict)
        if wanted != self._current and self.torch:
            self.torch.set_num_threads(wanted[0])
            choose_steady_kernels(self.torch, strict)
            self._current = wanted

    def build(self) -> dict[str, Any]:
        """What stands in results and checkpoints about how they were made."""
        return {
            "torch": self.torch.__version__ if self.torch else "",
            "python": platform.python_version(),
            "device": self.name,
            "device_name": self._label(),
            "cpu_capability": self.cpu_capability,
            "threads": self.threads,
        }

    def facts(self) -> dict[str, Any]:
        """What the runner says of itself when it greets."""
        return self.build() | {
            "memory_bytes": self._memory_bytes(),
            "device_problem": self.problem,
            "flops_per_second": self._flops_per_second(),
        }

    def tidy(self) -> None:
        """After a training: its parts refer to each other, and C's allocator keeps what they leave, some 20 MB."""
        gc.collect()
        with suppress(OSError, AttributeError):  # not every C library has it
            ctypes.CDLL(None).malloc_trim(0)
        self.free()

    def free(self) -> None:
        """Gives memory that nobody uses back to the device."""
        if self.torch and self.name.startswith("cuda"):
            self.torch.cuda.empty_cache()

    def _label(self) -> str:
        if self.torch and self.name.startswith("cuda"):
            return str(self.torch.cuda.get_device_name(self.here))
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
        return platform.machine()

    def _memory_bytes(self) -> int:
        if self.torch and self.name.startswith("cuda"):
            return int(self.torch.cuda.get_device_properties(self.here).total_memory)
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def memory_used(self) -> int:
        """Bytes: of a GPU those that anybody uses, of a CPU those of this process."""
        if self.torch and self.name.startswith("cuda"):
            free, total = self.torch.cuda.mem_get_info(self.here)
            return int(total - free)
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _flops_per_second(self) -> float:
        """By multiplying matrices for a tenth of a second; 0 without torch."""
        torch = self.torch
        if torch is None:
            return 0.0
        matrix = torch.ones(SIDE, SIDE, device=self.here)
        product = matrix @ matrix  # the first one also loads libraries
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < MEASURE_SECONDS:
            product = matrix @ matrix
            count += 1
            if count % 10 == 0:
                product[0, 0].item()
        product[0, 0].item()
        return 2 * SIDE**3 * count / (time.perf_counter() - began)
