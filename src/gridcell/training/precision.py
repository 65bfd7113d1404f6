"""Which arithmetic the training step uses: float32, or bfloat16 where it is faster and safe.

In bfloat16 the products of convolutions and dense layers are formed from 8-bit mantissas and
summed in float32; weights, their updates, norms and losses stay float32 (autocast).

And on how many threads: those of a short step wait for each other longer than they work.
"""

from __future__ import annotations

import contextlib
import copy
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from gridcell.layers import set_generator
from gridcell.training.device import synchronise

Precision = Literal["float32", "bfloat16"]
BOTH: tuple[Precision, ...] = ("float32", "bfloat16")
LEAST_TRIED, MOST_TRIED = 2, 12
ENOUGH_S = 3.0
LEAST_GAIN = 1.1
SHORT_STEP_S = 0.025
"""Up to this length of a step fewer threads are tried."""
DISTURBED = 1.5
"""Wall's time of a long step to its leading thread's: 1.0 to 1.1 alone, 2 to 3.3 beside two other
trainings on as many cores."""
LARGEST_LOSS_CHANGE = 0.05
LARGEST_GRADIENT_CHANGE = 0.5
"""Of 25 presets and inputs at their first weights it was 0.004 to 0.32, of a kernel that computes
something else 0.7 to 1.2."""
NO_BFLOAT16 = "this processor has no bfloat16 instructions"


@dataclass(frozen=True)
class Way:
    """How a step is taken: in which arithmetic, and on how many threads (None for all)."""

    precision: Precision
    threads: int | None = None


@dataclass(frozen=True)
class PrecisionChoice:
    """The arithmetic taken, and why in a sentence."""

    precision: Precision
    reason: str
    threads: int | None = None
    """Threads of the processor that a step uses; None for all of PyTorch's."""


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


@contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """A context in which PyTorch uses so many threads at most; None for as many as before."""
    before = torch.get_num_threads()
    if count is not None and count < before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_precision(
    asked: Literal["auto", "float32", "bfloat16"],
    network: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    device: torch.device,
    *,
    remembered: Way | None = None,
) -> PrecisionChoice:
    """Measure a few real steps in both arithmetics and take the faster safe one.

    loss         the loss of one batch, given a network
    remembered   what the same measurement found earlier on this machine, so that a repeated run
                 takes the same arithmetic and gives the same bits

    bfloat16 is taken where it is at least a tenth faster, its loss within 5 % of float32's and its
    gradient within half: a kernel that computes something else leaves the first loss nearly alone,
    but not the gradient. Of a short step on the processor both are measured on one thread as well,
    then on two, four and so on while that gains; fewer threads than all are taken where they are at
    least a tenth faster.
    """
    if asked != "auto":
        return PrecisionChoice(asked, f"{asked}, as asked")
    tried = BOTH if has_bfloat16(device) else BOTH[:1]
    if remembered is not None and remembered.precision in tried:
        told = f"{told_way(remembered)}, as measured here before"
        return PrecisionChoice(remembered.precision, told, remembered.threads)
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if len(tried) == 1 and threads == 1:
        return PrecisionChoice("float32", f"float32: {NO_BFLOAT16}")
    seconds, first, is_disturbed = _measured(network, loss, device, tried)
    if len(tried) == 1:
        on_all = NO_BFLOAT16
    elif (unlike := _unlike(first)) is not None:
        on_all, tried = unlike, BOTH[:1]
    else:
        in_low, in_full = (_milliseconds(seconds[each]) for each in ("bfloat16", "float32"))
        on_all = f"{in_low} ms a step in bfloat16, {in_full} in float32"
        on_all += ", without what other programs took" * is_disturbed
    taken = _faster(seconds, tried)
    if threads > 1 and seconds[taken] <= SHORT_STEP_S and not is_disturbed:
        way, shortest = _on_fewer_threads(
            lambda: _measured(network, loss, device, tried)[0], tried, threads
        )
        if shortest * LEAST_GAIN <= seconds[taken]:
            both = f"{_milliseconds(shortest)} ms a step, {_milliseconds(seconds[taken])} on all"
            return PrecisionChoice(
                way.precision, f"{told_way(way)}: {both} ({on_all})", way.threads
            )
    return PrecisionChoice(taken, f"{taken}: {on_all}")


@dataclass(frozen=True)
class _Times:
    """Seconds of a step."""

    wall: float
    own: float
    """That the thread which leads it had the processor."""


@dataclass(frozen=True)
class _First:
    """What the first step of a network gives."""

    loss: float
    gradients: tuple[Tensor, ...]


def _unlike(first: dict[Precision, _First]) -> str | None:
    """What bfloat16 changes too much, in words; None where it is safe."""
    low, full = first["bfloat16"], first["float32"]
    change = abs(low.loss - full.loss) / max(abs(full.loss), 1e-6)
    if not change <= LARGEST_LOSS_CHANGE:
        return f"bfloat16 changes the loss by {change:.0%}"
    apart = _norm([a - b for a, b in zip(low.gradients, full.gradients, strict=True)])
    share = apart / max(_norm(full.gradients), 1e-12)
    if not share <= LARGEST_GRADIENT_CHANGE:
        return f"bfloat16 changes the gradient by {share:.0%}"
    return None


def _norm(values: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(value.float().square().sum()) for value in values))


def _faster(seconds: dict[Precision, float], tried: Sequence[Precision]) -> Precision:
    has_gained = "bfloat16" in tried and seconds["float32"] / seconds["bfloat16"] >= LEAST_GAIN
    return "bfloat16" if has_gained else "float32"


def _on_fewer_threads(
    measured: Callable[[], dict[Precision, float]], tried: Sequence[Precision], all_threads: int
) -> tuple[Way, float]:
    """Return the best way on fewer threads than all, and its seconds a step."""
    best, shortest, threads = Way("float32", 1), math.inf, 1
    while threads < all_threads:
        with on_threads(threads):
            seconds = measured()
        taken = _faster(seconds, tried)
        if seconds[taken] >= shortest:
            break
        best, shortest, threads = Way(taken, threads), seconds[taken], 2 * threads
    return best, shortest


def told_way(way: Way) -> str:
    """Say an arithmetic, and its threads where they are not all.

    >>> told_way(Way("bfloat16", 1)), told_way(Way("float32"))
    ('bfloat16 on 1 thread', 'float32')
    """
    if way.threads is None:
        return way.precision
    return f"{way.precision} on {way.threads} thread{'' if way.threads == 1 else 's'}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.{1 if seconds < 0.00995 else 0}f}"


def _measured(
    network: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    device: torch.device,
    tried: Sequence[Precision],
) -> tuple[dict[Precision, float], dict[Precision, _First], bool]:
    """Return the shortest step and what the first gives, in each arithmetic, and whether other
    programs' time is left out.

    They take turns, and of each the shortest counts: what else the machine does then slows all
    alike, or none.
    """
    trials = {precision: copy.deepcopy(network).train() for precision in tried}
    times: dict[Precision, list[_Times]] = {precision: [] for precision in tried}
    first: dict[Precision, _First] = {}
    started = time.perf_counter()
    for number in range(MOST_TRIED):
        for precision, trial in trials.items():
            # The same dropout in both, or their losses would differ by it.
            set_generator(trial, torch.Generator(device).manual_seed(number))
            synchronise(device)
            wall, own = time.perf_counter(), time.thread_time()
            with arithmetic(precision, device):
                value = loss(trial)
            value.backward()  # type: ignore[no-untyped-call]
            synchronise(device)
            took = _Times(time.perf_counter() - wall, time.thread_time() - own)
            if number:
                times[precision].append(took)
            else:  # The first step chooses kernels and is not like the rest.
                found = [p.grad for p in trial.parameters() if p.grad is not None]
                first[precision] = _First(float(value.detach()), tuple(found))
            trial.zero_grad()
        if len(tried) == 1 and number and times[tried[0]][-1].wall > SHORT_STEP_S:
            break  # there is nothing else to choose for a long step
        if number >= LEAST_TRIED and time.perf_counter() - started > ENOUGH_S:
            break
    seconds, is_disturbed = _undisturbed(times, device)
    return seconds, first, is_disturbed


def _undisturbed(
    times: dict[Precision, list[_Times]], device: torch.device
) -> tuple[dict[Precision, float], bool]:
    """The shortest of each, without what other programs took of the processor where that is much.

    Beside a second training all steps last, and in both arithmetics nearly the same: threads wait
    for one that has no core. By its own clock the thread that leads a step then shows what the step
    takes alone. Elsewhere the wall's counts, which has the threads' waiting for each other in it.
    """
    wall = {each: min(took.wall for took in times[each]) for each in times}
    own = {each: min(took.own for took in times[each]) for each in times}
    # On Windows a thread's clock moves 64 times a second, whatever Python says of it.
    is_known = device.type == "cpu" and sys.platform != "win32"
    is_long = max(wall.values()) > SHORT_STEP_S
    is_slowed = all(wall[each] > DISTURBED * own[each] > 0 for each in times)
    is_disturbed = is_known and is_long and is_slowed
    return (own if is_disturbed else wall), is_disturbed
