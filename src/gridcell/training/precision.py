"""Which arithmetic the training step uses: float32, or bfloat16 where it is faster and safe.

In bfloat16 the products of convolutions and dense layers are formed from 8-bit mantissas and
summed in float32; weights, their updates, norms and losses stay float32 (autocast).
"""

from __future__ import annotations

import contextlib
import copy
import math
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from gridcell.layers import set_generator
from gridcell.training.device import synchronise

Precision = Literal["float32", "bfloat16"]
LEAST_TRIED, MOST_TRIED = 2, 12
ENOUGH_S = 3.0
LEAST_GAIN = 1.1
LARGEST_LOSS_CHANGE = 0.05


@dataclass(frozen=True)
class PrecisionChoice:
    """The arithmetic taken, and why in a sentence."""

    precision: Precision
    reason: str


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor has instructions for bfloat16 (without them it is emulated, slowly)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    flags = Path("/proc/cpuinfo")
    return flags.exists() and " bf16" in flags.read_text(errors="replace")


def arithmetic(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which a step runs."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def choose_precision(
    asked: Literal["auto", "float32", "bfloat16"],
    network: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    device: torch.device,
    *,
    remembered: Precision | None = None,
) -> PrecisionChoice:
    """Measure a few real steps in both arithmetics and take the faster safe one.

    loss         the loss of one batch, given a network
    remembered   what the same measurement found earlier on this machine, so that a repeated run
                 takes the same arithmetic and gives the same bits

    bfloat16 is taken where it is at least a tenth faster and its loss within 5 % of float32's.
    """
    if asked != "auto":
        return PrecisionChoice(asked, f"{asked}, as asked")
    if not has_bfloat16(device):
        return PrecisionChoice("float32", "float32: this processor has no bfloat16 instructions")
    if remembered is not None:
        return PrecisionChoice(remembered, f"{remembered}, as measured here before")
    seconds, losses = _measured(network, loss, device)
    gain = seconds["float32"] / seconds["bfloat16"]
    change = abs(losses["bfloat16"] - losses["float32"]) / max(abs(losses["float32"]), 1e-6)
    if not change <= LARGEST_LOSS_CHANGE:
        return PrecisionChoice("float32", f"float32: bfloat16 changes the loss by {change:.0%}")
    milliseconds = {name: 1000 * value for name, value in seconds.items()}
    measured = (
        f"{milliseconds['bfloat16']:.0f} ms a step in bfloat16, "
        f"{milliseconds['float32']:.0f} in float32"
    )
    if gain < LEAST_GAIN:
        return PrecisionChoice("float32", f"float32: {measured}")
    return PrecisionChoice("bfloat16", f"bfloat16: {measured}")


def _measured(
    network: nn.Module, loss: Callable[[nn.Module], Tensor], device: torch.device
) -> tuple[dict[Precision, float], dict[Precision, float]]:
    """Return the shortest step and the first loss in each arithmetic.

    The two take turns, and of each the shortest counts: what else the machine does then slows
    both alike, or neither.
    """
    both: tuple[Precision, ...] = ("float32", "bfloat16")
    trials = {precision: copy.deepcopy(network).train() for precision in both}
    seconds: dict[Precision, float] = dict.fromkeys(both, math.inf)
    losses: dict[Precision, float] = {}
    started = time.perf_counter()
    for number in range(MOST_TRIED):
        for precision, trial in trials.items():
            # The same dropout in both, or their losses would differ by it.
            set_generator(trial, torch.Generator(device).manual_seed(number))
            synchronise(device)
            start = time.perf_counter()
            with arithmetic(precision, device):
                value = loss(trial)
            value.backward()  # type: ignore[no-untyped-call]
            synchronise(device)
            # The first step chooses kernels and is not like the rest.
            if number:
                seconds[precision] = min(seconds[precision], time.perf_counter() - start)
            losses.setdefault(precision, float(value.detach()))
            trial.zero_grad()
        if number >= LEAST_TRIED and time.perf_counter() - started > ENOUGH_S:
            break
    return seconds, losses
