"""The process as a whole: its cores, and what is set before PyTorch is loaded. Imports no more."""

from __future__ import annotations

import os
import re
import sys
import time

STARTED = time.perf_counter()
"""When this process began, but for the interpreter itself: this is the first of gridcell to load,
and what takes seconds, such as PyTorch, comes after it."""
SPIN_ROUNDS = 10_000


def cores() -> int:
    """Cores that this process may use, which a container or `taskset` may have made fewer."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS or Windows
        return os.cpu_count() or 1


def wait_politely() -> None:
    """Let OpenMP's threads sleep soon, not spin for long, while they wait for work.

    Spinning threads take the core from the one thread that has work left wherever something else
    runs beside: a training step on two shared cores took 170 ms instead of 17. GNU's OpenMP, which
    PyTorch has on Linux, spins 300,000 rounds; after 10,000 nothing is lost on a quiet machine,
    where never to spin costs 15 %. Has no effect once PyTorch is loaded, nor where the user has
    decided.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_ROUNDS))


def peak_memory() -> int | None:
    """Return the most bytes that this process has held so far; None where nothing tells."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory is full.

    PyTorch has a type of its own for a GPU's memory, but none for the computer's; oneDNN, which
    fetches memory when it makes a primitive, says no more than that it could not.
    """
    text = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or bool(
        re.search(
            "OutOfMemory|not enough memory|can't allocate memory"
            "|could not create a primitive(?! desc)",  # with a descriptor it is not known at all
            text,
        )
    )
