"""What an LSTM remembers where a plain RNN forgets: the memory tests of the literature.

    python benchmarks/memory.py adding      # sum of two marked numbers out of 200
    python benchmarks/memory.py copy        # ten symbols, told again 100 steps later
    python benchmarks/memory.py order       # which of two symbols came first, 100 steps ago
    python benchmarks/memory.py gradient    # how much gradient reaches back, with first weights

Each of the first three trains both networks with each seed and prints a line an evaluation and a
table at the end. Sequences are drawn anew for every training step and never come back; the figure
is of 1,000 held-out sequences from a generator of their own. The network is one recurrent layer and
a dense one. The training loop is `train`, below: plain PyTorch, the same for both networks.

The LSTM differs from the product's in its first biases, which are drawn for lags as long as the
sequences (`set_lags`). With a forget bias of 1 for all cells, which is our default, learning over
such lengths often does not begin.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from gridcell import plots
from gridcell.layers import LSTM, RNN, Chain, Dense, Last, gradient_by_distance
from gridcell.training.allocator import keep_memory

NETS = ("lstm", "rnn")
HELD_OUT = 1000
LAG_LENGTHS = 1.5  # cells that keep longer than a sequence lasts lose least of it
CLIP = 1.0  # a longer gradient is shortened to this: both networks have cliffs
# Weights, training and held-out sequences have generators of their own, so that none of them
# changes with the number of draws of another.
WEIGHTS, TRAINING, HELD = 0, 1_000_000, 2_000_000

SYMBOLS, COPIED = 8, 10
BLANK, RECALL = SYMBOLS, SYMBOLS + 1

START, END, X, Y = 0, 1, 6, 7
DISTRACTORS = (2, 3, 4, 5)
ORDER_SYMBOLS = 8

DISTANCES = (0, 1, 2, 5, 10, 20, 50, 100, 150, 200, 300, 400, 500, 700, 1000)


class Batch(NamedTuple):
    """Sequences and what is to be answered."""

    x: Tensor
    """[B, T, C]"""
    lengths: Tensor | None
    """[B], or None where all are of length T"""
    target: Tensor
    """[B, K] numbers, [B] classes, or [B, T] classes"""


def draw_adding(batch: int, length: int, generator: Generator) -> Batch:
    """Numbers in 0..1 beside a column of marks, one in each half; the sum of the marked two.

    Source   Hochreiter & Schmidhuber 1997, experiment 4; in this form Arjovsky et al. 2016
    """
    values = torch.rand(batch, length, generator=generator)
    marks = torch.zeros(batch, length)
    half = length // 2
    for first, end in ((0, half), (half, length)):
        place = torch.randint(first, end, (batch, 1), generator=generator)
        marks.scatter_(1, place, 1.0)
    target = (values * marks).sum(1, keepdim=True)
    return Batch(torch.stack([values, marks], 2), None, target)


def draw_copy(batch: int, delay: int, generator: Generator) -> Batch:
    """Ten symbols of eight, blanks, a sign `delay` steps after the last symbol, ten blanks more.

    The answer is blank up to and with the sign, and then the ten symbols in their order.

    Source   Hochreiter & Schmidhuber 1997; in this form Arjovsky et al. 2016
    """
    symbols = torch.randint(SYMBOLS, (batch, COPIED), generator=generator)
    shown = torch.full((batch, delay + 2 * COPIED), BLANK)
    shown[:, :COPIED] = symbols
    shown[:, COPIED + delay - 1] = RECALL
    target = torch.full_like(shown, BLANK)
    target[:, -COPIED:] = symbols
    return Batch(F.one_hot(shown, SYMBOLS + 2).float(), None, target)


def draw_order(batch: int, shortest: int, generator: Generator) -> Batch:
    """A start, distractors with two symbols X or Y among them, an end; XX, XY, YX or YY.

    Lengths are `shortest` to a tenth more. The first symbol stands between a tenth and a fifth of
    the shortest length, the second between a half and six tenths.

    Source   Hochreiter & Schmidhuber 1997, experiment 6a
    """
    longest = shortest + shortest // 10
    lengths = torch.randint(shortest, longest + 1, (batch,), generator=generator)
    drawn = torch.randint(len(DISTRACTORS), (batch, longest), generator=generator)
    shown = torch.tensor(DISTRACTORS)[drawn]
    is_y = torch.randint(2, (batch, 2), generator=generator)
    rows = torch.arange(batch)
    for number, (first, last) in enumerate(((0.1, 0.2), (0.5, 0.6))):
        bounds = round(first * shortest), round(last * shortest) + 1
        place = torch.randint(*bounds, (batch,), generator=generator)
        shown[rows, place] = torch.where(is_y[:, number] == 1, Y, X)
    shown[:, 0] = START
    shown[rows, lengths - 1] = END
    return Batch(F.one_hot(shown, ORDER_SYMBOLS).float(), lengths, 2 * is_y[:, 0] + is_y[:, 1])


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """The mean over the sequences."""
    return F.mse_loss(output, target)


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """The mean over sequences and, where every step is answered, over steps; in nats."""
    return F.cross_entropy(output.flatten(0, -2), target.flatten())


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of sequences whose class is right."""
    return (output.argmax(-1) == target).double().mean()


@dataclass(frozen=True)
class Task:
    """One test: its sequences, the network's ends, what is measured, and the training it needs."""

    draw: Callable[[int, int, Generator], Batch]
    length: int
    """The second argument of `draw` unless the command says otherwise."""
    channels: int
    outputs: int
    is_answered_once: bool
    """After the last step, rather than at every step."""
    loss: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[Tensor, Tensor], Tensor]
    figure: str
    """What `measure` gives, in words."""
    guess: Callable[[int], float]
    """The figure of the best answer that remembers nothing, for a length."""
    width: int
    rate: float
    steps: int
    """Training steps."""
    shortest: int = 2
    """The least length that makes sense."""
    batch: int = 64


TASKS = {
    "adding": Task(
        draw=draw_adding,
        length=200,
        channels=2,
        outputs=1,
        is_answered_once=True,
        loss=squared_error,
        measure=squared_error,
        figure="mean squared error",
        guess=lambda length: 1 / 6,
        width=64,
        rate=5e-3,
        steps=2000,
    ),
    "copy": Task(
        draw=draw_copy,
        length=100,
        channels=SYMBOLS + 2,
        outputs=SYMBOLS + 1,
        is_answered_once=False,
        loss=cross_entropy,
        measure=cross_entropy,
        figure="cross-entropy",
        guess=lambda delay: COPIED * math.log(SYMBOLS) / (delay + 2 * COPIED),
        width=128,
        rate=1e-2,
        steps=4000,
    ),
    "order": Task(
        draw=draw_order,
        length=100,
        channels=ORDER_SYMBOLS,
        outputs=4,
        is_answered_once=True,
        loss=cross_entropy,
        measure=accuracy,
        figure="accuracy",
        guess=lambda length: 1 / 4,
        width=64,
        rate=5e-3,
        steps=1000,
        shortest=10,
    ),
}


class Result(NamedTuple):
    """How one training ended."""

    network: Chain
    figure: float
    seconds: float


def train(task: Task, net: str, *, length: int, steps: int, every: int, seed: int) -> Result:
    """Train one network; print step, loss, held-out figure and seconds every so many steps."""
    network = build(task, net, length=length, generator=seeded(seed + WEIGHTS))
    optimizer = torch.optim.Adam(network.parameters(), task.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    drawing = seeded(seed + TRAINING)
    held_out = task.draw(HELD_OUT, length, seeded(seed + HELD))
    start = time.perf_counter()
    figure = math.nan
    for step in range(1, steps + 1):
        x, lengths, target = task.draw(task.batch, length, drawing)
        loss = task.loss(network(x, lengths), target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        if step % every == 0 or step == steps:
            figure = measured(task, network, held_out)
            seconds = time.perf_counter() - start
            print(
                f"{net:>5} {seed:5} {step:6} {loss:9.4f} {figure:10.4f} {seconds:8.1f}", flush=True
            )
    return Result(network, figure, time.perf_counter() - start)


def build(task: Task, net: str, *, length: int, generator: Generator) -> Chain:
    """One recurrent layer and a dense one; the last step between them if that is all we ask."""
    recurrent: LSTM | RNN
    if net == "lstm":
        recurrent = LSTM(task.channels, task.width, generator=generator)
        set_lags(recurrent, longest=LAG_LENGTHS * length, generator=generator)
    else:
        recurrent = RNN(task.channels, task.width, generator=generator)
    head = Dense(task.width, task.outputs, generator=generator)
    return Chain([recurrent, Last(), head] if task.is_answered_once else [recurrent, head])


def set_lags(layer: LSTM, *, longest: float, generator: Generator) -> None:
    """Set an LSTM's first biases so that its cells keep what they hold for 1 to `longest` steps.

        forget bias = ln(uniform(1, longest - 1));   input bias = -forget bias

    Source   "chrono initialization", Tallec & Ollivier 2018
    """
    weights = layer.weights(0, 0)
    lags = torch.empty(layer.width).uniform_(1, longest - 1, generator=generator).log()
    with torch.no_grad():
        weights.bias_ih[: layer.width] = -lags
        weights.bias_ih[layer.width : 2 * layer.width] = lags


def measured(task: Task, network: Chain, held_out: Batch) -> float:
    """The figure on sequences that training never sees."""
    with torch.no_grad():
        return float(task.measure(network(held_out.x, held_out.lengths), held_out.target))


def seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


def compare(task: Task, options: argparse.Namespace) -> None:
    """Train each network with each seed; print the closing table."""
    print(
        f"sequences of {options.length}, width {task.width}, batch {task.batch}, Adam "
        f"{task.rate:g} falling to 0 in {options.steps} steps; LSTM biases for lags up to "
        f"{LAG_LENGTHS * options.length:g}"
    )
    print(f"an answer without memory: {task.figure} {task.guess(options.length):.4f}")
    print(f"{'net':>5} {'seed':>5} {'step':>6} {'loss':>9} {'held out':>10} {'seconds':>8}")
    nets = NETS if options.net == "both" else (options.net,)
    trained = {
        net: [
            train(
                task,
                net,
                length=options.length,
                steps=options.steps,
                every=options.every,
                seed=seed,
            )
            for seed in options.seeds
        ]
        for net in nets
    }
    print(f"\n{task.figure} on {HELD_OUT:,} held-out sequences after {options.steps} steps")
    print(f"{'net':>5}" + "".join(f"{f'seed {seed}':>10}" for seed in options.seeds) + "   seconds")
    for net, results in trained.items():
        figures = "".join(f"{result.figure:10.4f}" for result in results)
        print(f"{net:>5}{figures} {statistics.median(each.seconds for each in results):9.0f}")


def show_gradient(options: argparse.Namespace) -> None:
    """Print, and draw if asked, the size of the gradient by distance with first weights."""
    channels, width, seed = 4, 64, options.seed
    opened = LSTM(channels, width, generator=seeded(seed))
    set_lags(opened, longest=LAG_LENGTHS * options.length, generator=seeded(seed))
    layers: dict[str, LSTM | RNN] = {
        "LSTM, biases for long lags": opened,
        "LSTM": LSTM(channels, width, generator=seeded(seed)),
        "plain RNN": RNN(channels, width, generator=seeded(seed)),
    }
    sizes = {
        name: gradient_by_distance(layer, steps=options.length, generator=seeded(seed + HELD))
        for name, layer in layers.items()
    }
    print(f"size of the gradient of the last output, {width} units, first weights, seed {seed}")
    print(f"{'steps back':>10}" + "".join(f"{name:>28}" for name in sizes))
    for distance in DISTANCES:
        if distance < options.length:
            row = "".join(f"{float(size[distance]):28.3g}" for size in sizes.values())
            print(f"{distance:10}{row}")
    if options.plot is not None:
        plots.gradient_by_distance(sizes, options.plot)
        print(f"drawn to {options.plot}")


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; those of this process unless others are given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=at_least(1), default=2)
    tests = parser.add_subparsers(dest="test", required=True)
    for name, task in TASKS.items():
        length = at_least(task.shortest)
        test = tests.add_parser(name, help=(task.draw.__doc__ or "").splitlines()[0])
        test.add_argument("--seeds", type=at_least(0), nargs="+", default=[0, 1, 2])
        test.add_argument("--net", choices=[*NETS, "both"], default="both")
        test.add_argument("--steps", type=at_least(1), default=task.steps, help="of training")
        test.add_argument("--every", type=at_least(1), default=250, help="steps to an evaluation")
        test.add_argument("--length", type=length, default=task.length, help="to remember over")
    gradient = tests.add_parser("gradient", help="The size of the gradient by distance.")
    gradient.add_argument("--seed", type=at_least(0), default=0)
    gradient.add_argument("--length", type=at_least(2), default=200, help="of the sequences")
    gradient.add_argument("--plot", type=Path, help="an SVG or PNG file to draw to")
    return parser.parse_args(arguments)


def at_least(least: int) -> Callable[[str], int]:
    """What reads a whole number from the command line and refuses a smaller one."""

    def read(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more; got {number}")
        return number

    read.__name__ = "whole number"  # argparse names it where the text is no number
    return read


def main() -> None:
    options = parsed()
    keep_memory()
    torch.set_num_threads(options.threads)
    print(
        f"{time.strftime('%Y-%m-%d')}, torch {torch.__version__}, {options.threads} threads, "
        f"{platform.machine()}, load before the start {os.getloadavg()[0]:.1f}"
    )
    if options.test == "gradient":
        show_gradient(options)
    else:
        compare(TASKS[options.test], options)


if __name__ == "__main__":
    main()
