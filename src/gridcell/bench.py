"""How fast this machine computes and copies, and what share of that a training step reaches.

    large products and copies ─> Machine ─┐
    network, random batch ─> one step ────┴─> NetworkSpeed: ms, items/s, GFLOP/s, share of the peak

GFLOP/s are thousands of millions of floating-point operations a second. A multiply-add counts two,
and a training step three times the multiply-adds of its forward pass: backward forms each product
once for the gradient of what came in and once for that of the weights. Only what an item needs is
counted, so steps in the padding are work that no share is given for.
"""

from __future__ import annotations

import copy
import math
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gridcell import layers, networks, record, shown
from gridcell.batches import Batch
from gridcell.errors import ConfigError
from gridcell.layers import set_generator
from gridcell.networks import Network
from gridcell.networks.answers import Answers
from gridcell.networks.presets import PRESETS
from gridcell.networks.run import channels_last
from gridcell.training import Objective, choose_precision
from gridcell.training.device import synchronise
from gridcell.training.optimizer import choose_optimizer
from gridcell.training.precision import Precision, has_bfloat16, on_threads
from gridcell.training.step import TrainingStep

STANDARD = (
    ("conv(32, 3) relu conv(64, 3) relu maxpool(2) flatten dense(128) relu", "28x28x1"),
    ("lstm(64) last", "Tx9"),
)
"""Networks, and sizes of a sample, that stand for many others."""
CLASSES = 10
"""Classes of a network whose notation ends in no dense layer of its own."""
STEPS = "100"
"""Steps of an item where the input leaves them open and nothing is asked for."""
MOST_STEPS = 100_000
SIDES = (512, 1024, 2048, 4096, 8192)
"""Sides of the square matrices, the next one wherever a product is over too soon to be timed."""
IMAGES = (8, 16, 32, 64, 128, 256, 512, 1024)
"""Images of one convolution, likewise."""
CHANNELS, IMAGE_SIDE = 128, 28
LONG_ENOUGH_S = 0.05
COPIED_BYTES = 1 << 28
"""Far more than the caches of a processor hold."""
ENOUGH_S, LEAST_REPEATS = 0.4, 3
WARM_UP, LEAST_TIMED, MOST_TIMED, ENOUGH_STEPS_S = 2, 3, 30, 4.0
RATE = 1e-4
"""So low that the weights stay about as they were drawn: noise has nothing to teach."""
BYTES_PER_VALUE = 4


@dataclass(frozen=True)
class Peak:
    """The most that large products reach in one arithmetic, GFLOP/s; None where it is left out."""

    precision: Precision
    matrix_gflop_per_s: float | None
    """Of a product of two square matrices."""
    convolution_gflop_per_s: float | None
    """Of a 3x3 convolution with 128 channels in and out, channels last in memory, forward."""
    reason: str = ""
    """Why it is left out."""

    @property
    def highest(self) -> float | None:
        """The higher of the two, that shares are of."""
        known = [
            speed
            for speed in (self.matrix_gflop_per_s, self.convolution_gflop_per_s)
            if speed is not None
        ]
        return max(known, default=None)


@dataclass(frozen=True)
class Machine:
    """What the machine can do at best."""

    device: str
    threads: int
    """Threads that PyTorch uses on the processor."""
    torch: str
    """Version of PyTorch."""
    peaks: tuple[Peak, ...]
    copy_gb_per_s: float
    """GB/s (10^9 bytes) of a large copy; a byte counts once when read and once when written."""

    def peak(self, precision: Precision) -> float | None:
        """The peak in one arithmetic, GFLOP/s; None where it is left out."""
        return next((p.highest for p in self.peaks if p.precision == precision), None)


@dataclass(frozen=True)
class StepSpeed:
    """One training step in one arithmetic: the median of some."""

    precision: Precision
    seconds: float
    items_per_s: float
    gflop_per_s: float
    share: float | None
    """`gflop_per_s` divided by the machine's peak in this arithmetic."""


@dataclass(frozen=True)
class NetworkSpeed:
    """A network's training step beside what the machine can do."""

    notation: str
    input: str
    """Size of a sample."""
    steps: str | None
    """Steps of an item, or the fewest and the most; None where the input says them."""
    batch_size: int
    parameters: int
    multiply_adds: int
    """Of the forward pass of the whole batch, steps in the padding left out."""
    auto: Precision
    """The arithmetic that a training would take."""
    reason: str
    """Why, in a sentence."""
    threads: int
    """Threads that a training would use for a step, and that these were timed on."""
    speeds: tuple[StepSpeed, ...]
    """The arithmetic that a training would take, then the other where the machine has it."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """A network to time, and what it would be trained to make small."""

    network: Network
    objective: Objective
    steps: str | None = None
    """Steps of an item, or the fewest and the most; None where the network's input says them."""


def subject_of(network: str, input: str | None, *, steps: str | None = None) -> Subject:
    """Return what notation, a preset's name or a model file names, ready to be timed.

    input   size of a sample, as `show` takes it; a model file has its own
    steps   of an item, where that size leaves them open; see `lengths_of`

    Raises   ConfigError, NetworkError, ModelFileError
    """
    built, objective = _built(network, input)
    if built.layout.steps is not None:
        if steps is not None:
            raise ConfigError(
                f"steps has no effect on {built.layout}, which leaves no number of steps open.",
                fix="leave --steps out, or write T in front of the input: Tx9.",
            )
        return Subject(built, objective)
    multiply_adds_of(built, 1, lengths_of(steps or STEPS, 1))  # refuses too few of them
    return Subject(built, objective, steps or STEPS)


def lengths_of(steps: str, items: int) -> tuple[int, ...]:
    """Return the steps of each item: all the same, or spread evenly from the fewest to the most.

    >>> lengths_of("100", 3), lengths_of("50-100", 3)
    ((100, 100, 100), (50, 75, 100))
    """
    ends = [int(end) for end in steps.split("-")] if re.fullmatch(r"\d+(-\d+)?", steps) else []
    if not ends or not 1 <= ends[0] <= ends[-1] <= MOST_STEPS:
        raise ConfigError(
            f"steps {steps!r} is no number of steps.",
            fix="write 100, or 50-100 where items differ; at most 100000.",
        )
    low, high = ends[0], ends[-1]
    return tuple(round(low + (high - low) * i / max(items - 1, 1)) for i in range(items))


def measure_machine(device: torch.device) -> Machine:
    """Time large products in float32 and bfloat16 and a large copy; takes a few seconds.

    Of each the best of a few repeats counts: what else the machine does then only slows them.
    """
    peaks = [_peak("float32", device)]
    if has_bfloat16(device):
        peaks.append(_peak("bfloat16", device))
    else:
        peaks.append(Peak("bfloat16", None, None, "this processor has no bfloat16 instructions"))
    return Machine(
        device=torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else record.processor_name(),
        threads=torch.get_num_threads(),
        torch=str(torch.__version__),
        peaks=tuple(peaks),
        copy_gb_per_s=_copy_gb_per_s(device),
    )


def measure_network(
    subject: Subject, machine: Machine, *, batch_size: int, device: torch.device
) -> NetworkSpeed:
    """Time one training step on random items: forward, loss, backward, AdamW.

    Reading and varying the items is left out, and so is the running average of the weights.
    """
    network, objective = subject.network, subject.objective
    lengths = None if subject.steps is None else lengths_of(subject.steps, batch_size)
    work = multiply_adds_of(network, batch_size, lengths)
    network.to(device)
    channels_last(network)
    layers.keep_state(network)  # as a training does that chooses its arithmetic
    batch = _draw(network, objective, batch_size, lengths, device)

    def loss(trial: torch.nn.Module) -> Tensor:
        return objective.loss(trial(batch.values, batch.lengths), batch.targets, batch.lengths)

    choice = choose_precision("auto", network, loss, device)
    tried = [choice.precision]
    if has_bfloat16(device):
        tried.append("float32" if choice.precision == "bfloat16" else "bfloat16")
    notes = [*network.notes]
    with on_threads(choice.threads):
        seconds = _step_seconds(network, objective, batch, tried, device, notes.append)
    speeds = tuple(
        step_speed(each, seconds[each], machine, items=batch_size, multiply_adds=work)
        for each in tried
    )
    if choice.threads is not None:
        notes.append(f"{choice.reason}.")
    if "bfloat16" in tried and _is_recurrent(network):
        notes.append("what recurrent layers add up stays in float32 within a step in bfloat16.")
    if any(speed.share is not None and speed.share > 1 for speed in speeds):
        notes.append(
            "no step is above the peak: other work ran while that was measured; measure again on a "
            "quiet machine."
        )
    return NetworkSpeed(
        notation=network.notation,
        input=str(network.layout),
        steps=subject.steps,
        batch_size=batch_size,
        parameters=network.parameters_count,
        multiply_adds=work,
        auto=choice.precision,
        reason=choice.reason,
        threads=choice.threads or machine.threads,
        speeds=speeds,
        notes=tuple(notes),
    )


def multiply_adds_of(network: Network, items: int, lengths: Sequence[int] | None) -> int:
    """Multiply-adds of the forward pass of some items; of each only the steps that it has.

    lengths   steps of each item, where the network's layout leaves them open

    >>> from gridcell.axes import Layout
    >>> network = networks.build("conv(12, 3) relu maxpool(2)", Layout(3, (32, 32), 1), outputs=10)
    >>> multiply_adds_of(network, 2, None) == 2 * (32 * 32 * 12 * 3 * 3 * 3 + 16 * 16 * 12 * 10)
    True
    """
    if lengths is None:
        return items * _work(network)
    total = 0
    for steps, count in Counter(lengths).items():
        with torch.device("meta"):  # only the sizes are wanted
            sized = networks.build(network.notation, replace(network.layout, steps=steps))
        total += count * _work(sized)
    return total


def step_speed(
    precision: Precision, seconds: float, machine: Machine, *, items: int, multiply_adds: int
) -> StepSpeed:
    """Return what a training step of so many seconds reaches.

    multiply_adds   of the forward pass of all its items
    """
    reached = 3 * 2 * multiply_adds / seconds / 1e9
    peak = machine.peak(precision)
    share = None if peak is None else reached / peak
    return StepSpeed(precision, seconds, items / seconds, reached, share)


def _built(network: str, input: str | None) -> tuple[Network, Objective]:
    if shown.is_model_file(network):
        from gridcell.model import Model

        if input is not None:
            raise ConfigError(
                "input has no effect on a model file, which holds its own sizes.",
                fix="leave --input out.",
            )
        model = Model.load(Path(network))
        return model.network, Objective(model.description.answers)
    shown.refuse_a_path(network, "bench")
    built = shown.built_of(network, input, outputs=_classes(network), command="bench")
    return built, Objective(Answers("classify"))


def _classes(network: str) -> int:
    """The width of the dense layer that a notation ends in, or 10 where there is none."""
    networks.check_name(network)
    if network.strip() in PRESETS:
        return CLASSES
    specs = [s for s in networks.parse(network) if s.name not in ("softmax", "sigmoid")]
    return networks.head_width(specs) or CLASSES


def _work(network: Network) -> int:
    return sum(row.multiply_adds for row in networks.rows(network))


def _is_recurrent(network: Network) -> bool:
    return any(isinstance(module, layers.LSTM | layers.RNN) for module in network.modules())


def _peak(precision: Precision, device: torch.device) -> Peak:
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    draw = torch.Generator(device).manual_seed(0)

    def random(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=draw, device=device).to(dtype)

    def matrices(side: int) -> tuple[Callable[[], object], int]:
        one, other, product = random(side, side), random(side, side), random(side, side)
        return lambda: torch.mm(one, other, out=product), side**3

    def convolution(images: int) -> tuple[Callable[[], object], int]:
        last = torch.channels_last
        pixels = random(images, CHANNELS, IMAGE_SIDE, IMAGE_SIDE).contiguous(memory_format=last)
        filters = random(CHANNELS, CHANNELS, 3, 3).contiguous(memory_format=last)
        multiply_adds = images * IMAGE_SIDE**2 * CHANNELS**2 * 9
        return lambda: F.conv2d(pixels, filters, padding=1), multiply_adds

    with torch.inference_mode():
        return Peak(
            precision,
            _gflop_per_s(matrices, SIDES, device),
            _gflop_per_s(convolution, IMAGES, device),
        )


def _gflop_per_s(
    make: Callable[[int], tuple[Callable[[], object], int]],
    sizes: Sequence[int],
    device: torch.device,
) -> float:
    """The speed of the first size that takes long enough to be timed.

    make   size -> what to time, and its multiply-adds
    """
    for size in sizes:
        work, multiply_adds = make(size)
        if _shortest_s(work, device, enough_s=0.0) >= LONG_ENOUGH_S:
            break
    return 2 * multiply_adds / _shortest_s(work, device, enough_s=ENOUGH_S) / 1e9


def _copy_gb_per_s(device: torch.device) -> float:
    source = torch.ones(COPIED_BYTES // BYTES_PER_VALUE, device=device)
    copied = torch.empty_like(source)
    seconds = _shortest_s(lambda: copied.copy_(source), device, enough_s=ENOUGH_S)
    return 2 * COPIED_BYTES / seconds / 1e9


def _shortest_s(work: Callable[[], object], device: torch.device, *, enough_s: float) -> float:
    """Seconds of the shortest of a few repeats."""
    work()  # the first chooses kernels and takes memory
    shortest, repeats, started = math.inf, 0, time.perf_counter()
    while repeats < LEAST_REPEATS or time.perf_counter() - started < enough_s:
        shortest = min(shortest, _seconds(work, device))
        repeats += 1
    return shortest


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes, until a GPU has done it too; never 0, whatever the clock."""
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return max(time.perf_counter() - start, 1e-9)


def _draw(
    network: Network,
    objective: Objective,
    items: int,
    lengths: Sequence[int] | None,
    device: torch.device,
) -> Batch:
    """Draw a batch as the network reads it, and targets as its task has them."""
    layout, draw = network.layout, torch.Generator().manual_seed(0)
    steps = max(lengths) if lengths is not None else layout.steps or 1
    if layout.vocabulary:
        values = torch.randint(layout.vocabulary, (items, steps), generator=draw)
        if layout.alphabet:
            beside = (items, steps, layout.channels - 1)
            letters = torch.randint(layout.alphabet, beside, generator=draw)
            values = torch.cat([values[..., None], letters], 2)
        values = values.int()
    else:
        # Channels last in memory, as batches of images are.
        sizes = (items, steps, *layout.grid, layout.channels)
        values = torch.randn(sizes, generator=draw).movedim(-1, 2)
    counts = None if lengths is None else torch.tensor(lengths)
    values, counts = values.to(device), None if counts is None else counts.to(device)
    with torch.no_grad():
        shape = network.eval()(values, counts).shape  # [B, K], or [B, T, K] with one at each step
    if objective.task == "classify":
        targets = torch.randint(shape[-1], shape[:-1], generator=draw)
    else:
        targets = torch.rand(shape, generator=draw).round()
    return Batch(values, counts, targets.to(device), np.arange(items))


def _step_seconds(
    network: Network,
    objective: Objective,
    batch: Batch,
    tried: Sequence[Precision],
    device: torch.device,
    note: Callable[[str], None],
) -> dict[Precision, float]:
    """The median seconds of a training step in each arithmetic, which take turns.

    note   is told where the memory does not hold the batch, which is then cut
    """
    steps = {}
    for precision in tried:
        trial = copy.deepcopy(network).train()
        set_generator(trial, torch.Generator(device).manual_seed(0))
        optimizer = choose_optimizer(trial, "adamw", rate=RATE, weight_decay=0.05)
        steps[precision] = TrainingStep(
            trial, objective, optimizer, precision=precision, average=None, note=note
        )
    seconds: dict[Precision, list[float]] = {precision: [] for precision in tried}
    started = time.perf_counter()
    for number in range(WARM_UP + MOST_TIMED):
        for precision, step in steps.items():
            took = _seconds(partial(step.take, batch, RATE), device)
            if number >= WARM_UP:
                seconds[precision].append(took)
        is_enough = time.perf_counter() - started > ENOUGH_STEPS_S
        if number + 1 >= WARM_UP + LEAST_TIMED and is_enough:
            break
    return {precision: statistics.median(every) for precision, every in seconds.items()}
