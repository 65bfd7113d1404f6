"""What `gridcell show` and `gridcell bench` print: a network's table, and how fast it trains."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gridcell import networks
from gridcell.axes import Layout
from gridcell.bundle import MODEL_FILE
from gridcell.cache import told_bytes
from gridcell.errors import ConfigError
from gridcell.networks import Network, Row
from gridcell.networks.presets import PRESETS
from gridcell.preparation.texts import LETTERS
from gridcell.sources.wording import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from gridcell.bench import Machine, NetworkSpeed

MEANING = (
    "A step near the peak is bound by arithmetic, so that only less work makes it quicker; one far "
    "below it is bound by memory or by overhead, and larger batches or wider layers cost it little."
)


def table_of(
    network: str, input: str | None, *, outputs: int | None
) -> tuple[list[Row], str, Sequence[str]]:
    """Return the rows of a network's table, a heading, and what was added to the notation.

    network   notation, a preset's name, or a model file or the folder of its run
    input     such as "32x32x3" or "Tx40x1"; needed for all but a model file
    """
    if is_model_file(network):
        from gridcell.model import Model

        sizes = {"input": input, "outputs": outputs}
        given = [name for name, size in sizes.items() if size is not None]
        if given:
            verb = "has" if len(given) == 1 else "have"
            raise ConfigError(
                f"{' and '.join(given)} {verb} no effect on a model file, which holds its own "
                "sizes.",
                fix=f"leave {' and '.join(f'--{name}' for name in given)} out.",
            )
        built = Model.load(Path(network)).network
    else:
        built = built_of(network, input, outputs=outputs, command="show")
    return networks.rows(built), _heading(built), built.notes


def is_model_file(network: str) -> bool:
    """Whether a network is named by a model file or the folder of its run, not by notation."""
    in_run = os.path.join(network, MODEL_FILE)
    return network.endswith(".gridcell") or os.path.isfile(network) or os.path.isfile(in_run)


def built_of(network: str, input: str | None, *, outputs: int | None, command: str) -> Network:
    """Build what notation or a preset's name stands for on a sample of this size.

    command   that it is built for, for what is said where something is missing
    """
    refuse_a_path(network, command)
    if input is None:
        raise ConfigError(f"{command} needs the size of the input.", fix="add --input 32x32x3.")
    layout = read_layout(input)
    if not layout.vocabulary and re.match(r"\s*(embed|spell)\(", network):
        raise ConfigError(
            f"{network} reads words or characters, and {input} is a size of numbers.",
            fix="say how many different ones there are: --input T:5000.",
        )
    if outputs is None and network in PRESETS:
        raise ConfigError(
            f"the preset {network} needs the number of answers.", fix="add --outputs 10."
        )
    choice = networks.choose_network(network, layout)
    return networks.build(choice.notation, layout, outputs=outputs)


def refuse_a_path(network: str, command: str) -> None:
    """Raise ConfigError for what names a place on the disk, which no notation does."""
    if "/" in network or os.sep in network:
        kind = "a folder" if os.path.isdir(network) else "no file that is there"
        raise ConfigError(
            f"{network} is {kind}, and {command} wants a model file or a network.",
            fix="name a model.gridcell, or write layers.",
        )


def read_layout(text: str) -> Layout:
    """Read the size of a sample: height x width x channels of an image, or with time in front.

    Time is T where it differs from item to item: `Tx40x1` is a sound of 40 bands, `Tx64x64x3` a
    clip, `Tx9` a series of 9 columns. `T:5000` is a text of words or characters, of which there are
    5,000; `T:5000:60` of words with their letters beside, of which there are 60.

    >>> read_layout("32x32x3")
    Layout(channels=3, grid=(32, 32), steps=1, has_time=True, vocabulary=0, alphabet=0)
    >>> str(read_layout("Tx40x1")), str(read_layout("16x64x64x3"))
    ('T x 40x1', '16 x 64x64x3')
    >>> read_layout("T:5000")
    Layout(channels=1, grid=(), steps=None, has_time=True, vocabulary=5000, alphabet=0)
    """
    if text_like := re.fullmatch(r"(T|[1-9]\d*):([1-9]\d*)(?::([1-9]\d*))?", text.strip()):
        first, words, letters = text_like.groups()
        return Layout(
            1 if letters is None else 1 + LETTERS,
            steps=None if first == "T" else int(first),
            vocabulary=int(words),
            alphabet=0 if letters is None else int(letters),
        )
    if not re.fullmatch(r"([1-9]\d*x){2,3}[1-9]\d*|T(x[1-9]\d*){1,3}", text.strip()):
        raise ConfigError(
            f"input {text!r} is not a size.",
            fix="write height x width x channels: 32x32x3; or T in front for time: Tx40x1; or "
            "T:5000 for a text of 5,000 different words.",
        )
    parts = text.strip().split("x")
    steps: int | None = 1
    if parts[0] == "T" or len(parts) == 4:
        first = parts.pop(0)
        steps = None if first == "T" else int(first)
    *grid, channels = (int(size) for size in parts)
    return Layout(channels, tuple(grid), steps=steps)


def print_table(rows: Sequence[Row], heading: str, notes: Sequence[str]) -> None:
    """Print the table to the terminal."""
    from rich.text import Text

    console, table = _console(), _table()
    for name in ("layer", "output", "arithmetic", "parameters", "multiply-adds", "memory", "sees"):
        is_number = name in ("multiply-adds", "memory", "sees")
        table.add_column(name, justify="right" if is_number else "left", header_style="dim")
    for row in rows:
        parameters = f"{row.parameter_arithmetic} = {row.parameters:,}" if row.parameters else ""
        table.add_row(
            "  " * row.depth + row.layer,
            row.output,
            row.arithmetic,
            parameters,
            f"{row.multiply_adds:,}" if row.multiply_adds else "",
            told_bytes(row.bytes) if row.bytes else "",
            row.receptive_field,
        )
    console.print(Text(heading))
    console.print(table)
    console.print(Text(_totals(rows)))
    for note in notes:
        console.print(Text(note[0].upper() + note[1:]))


def _totals(rows: Sequence[Row]) -> str:
    """Parameters, work and memory of a network in a sentence.

    Where items differ in their steps, what is reckoned at each stands apart from what comes once.
    """
    each = [one for row in rows for one in row.stands_for or (row,)]
    steps = [row for row in each if row.every is not None]
    once = [row for row in each if row.every is None and row.bytes]
    told = f"{sum(row.parameters for row in rows):,} parameters"
    if not steps:
        return f"{told}, {_work_and_memory(once)} an item."
    told += f", {_work_and_memory(steps)} a step of the input"
    return f"{told}, {_work_and_memory(once)} once an item." if once else f"{told}."


def _work_and_memory(rows: Sequence[Row]) -> str:
    """Sums in which each row counts for one of the steps that make its own."""
    work = sum(row.multiply_adds / (row.every or 1) for row in rows)
    memory = sum(row.bytes / (row.every or 1) for row in rows)
    return f"{work:,.0f} multiply-adds and {told_bytes(round(memory))}"


def print_machine(machine: Machine) -> None:
    """Print what the machine can do at best."""
    threads = counted(machine.threads, "thread")
    table = _table()
    table.add_column("arithmetic", header_style="dim")
    for name in ("matrix product", "3x3 convolution"):
        table.add_column(name, justify="right", header_style="dim")
    for peak in machine.peaks:
        speeds = (peak.matrix_gflop_per_s, peak.convolution_gflop_per_s)
        table.add_row(
            peak.precision, *("" if s is None else f"{_speed(s)} GFLOP/s" for s in speeds)
        )
    _print(f"This machine: {machine.device}, {threads}, PyTorch {machine.torch}", table)
    for peak in machine.peaks:
        if peak.reason:
            _print(f"{peak.precision} is left out: {peak.reason}.")
    _print(f"A large copy moves {machine.copy_gb_per_s:.1f} GB/s, bytes read and bytes written.")


def print_speed(speed: NetworkSpeed) -> None:
    """Print one training step of a network, first in the arithmetic that a training takes."""
    steps = "" if speed.steps is None else f" of {speed.steps.replace('-', ' to ')} steps"
    work = speed.multiply_adds / speed.batch_size
    table = _table()
    table.add_column("one training step", header_style="dim")
    for name in ("ms", "items/s", "GFLOP/s", "of the peak"):
        table.add_column(name, justify="right", header_style="dim")
    for each in speed.speeds:
        table.add_row(
            f"{each.precision}{', which auto takes' * (each.precision == speed.auto)}",
            f"{1000 * each.seconds:.1f}",
            f"{each.items_per_s:,.0f}",
            _speed(each.gflop_per_s),
            "" if each.share is None else f"{100 * each.share:.0f} %",
        )
    _print(
        "",
        f"{speed.input} -> {speed.notation}",
        f"{counted(speed.batch_size, 'item')}{steps}; {speed.parameters:,} parameters, {work:,.0f} "
        "multiply-adds forward an item",
        table,
        *(f"{note[0].upper()}{note[1:]}" for note in speed.notes),
    )


def print_meaning() -> None:
    """Say what a share of the peak means."""
    _print("", MEANING)


def _print(*parts: str | Table) -> None:
    """Print lines and tables as they are; `[` and `:` mean nothing."""
    from rich.text import Text

    console = _console()
    for part in parts:
        console.print(Text(part) if isinstance(part, str) else part)


def _console() -> Console:
    """A console that leaves the text as it is, and lets a file have long lines."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    return console


def _table() -> Table:
    from rich.table import Table

    return Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)


def _speed(gflop_per_s: float) -> str:
    """GFLOP/s with a digit behind the point where the number is small.

    >>> _speed(3.14159), _speed(1234.5)
    ('3.1', '1,234')
    """
    return f"{gflop_per_s:,.1f}" if gflop_per_s < 100 else f"{gflop_per_s:,.0f}"


def _heading(network: Network) -> str:
    return f"{network.layout} -> {network.notation}"
