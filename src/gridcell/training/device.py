"""Where to train."""

from __future__ import annotations

from typing import Literal

import torch

from gridcell.errors import ConfigError
from gridcell.process import cores


def choose_device(asked: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the GPU where one can be used, else the processor.

    Raises   ConfigError where a GPU is asked for and none can be used
    """
    has_gpu = torch.cuda.is_available()
    if asked == "cuda" and not has_gpu:
        raise ConfigError(
            "device = 'cuda' cannot be used: PyTorch finds no GPU here.",
            fix="leave --device out, or install a CUDA build of PyTorch.",
        )
    return torch.device("cuda" if has_gpu and asked != "cpu" else "cpu")


def device_name(device: torch.device, used: int | None = None) -> str:
    """What does the work, for the user; `used` of its threads, where those are not all."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    if used is not None and used < threads:
        return f"the processor, {used} of {threads} threads"
    return f"the processor, {threads} thread{'' if threads == 1 else 's'}"


def reading_threads(device: torch.device, *, is_on_disk: bool) -> int:
    """Return how many threads read ahead: 1 beside a slow disk or with a core to spare, else 0.

    A step's threads wait for each other many times. Where they have all cores, one that reads
    beside them makes each of these waits longer. With batches read between the steps spoken digits
    trained 1.04 times as fast on two cores (`benchmarks/reading.py`).

    is_on_disk   whether items lie in a file that may be larger than memory: while a thread waits
                 for the disk the step has the cores, and without it a third of the time was lost
    """
    return int(is_on_disk or device.type != "cpu" or cores() > torch.get_num_threads())


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was given, so that a clock tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
