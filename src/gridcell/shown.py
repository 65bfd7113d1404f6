"""`gridcell show`: the table of a network, from notation, a preset or a model file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from gridcell import networks
from gridcell.axes import Layout
from gridcell.errors import ConfigError
from gridcell.networks import Network, Row
from gridcell.networks.presets import PRESETS


def table_of(
    network: str, input: str | None, *, outputs: int | None
) -> tuple[list[Row], str, Sequence[str]]:
    """Return the rows of a network's table, a heading, and what was added to the notation.

    network   notation, a preset's name, or a model file
    input     such as "32x32x3" or "Tx40x1"; needed for all but a model file
    """
    if network.endswith(".gridcell") or os.path.isfile(network):
        from gridcell.model import Model

        if input is not None or outputs is not None:
            raise ConfigError(
                "input and outputs have no effect on a model file, which holds its own sizes.",
                fix="leave --input and --outputs out.",
            )
        built = Model.load(Path(network)).network
        return networks.rows(built), _heading(built), built.notes
    if input is None:
        raise ConfigError("show needs the size of the input.", fix="add --input 32x32x3.")
    layout = read_layout(input)
    if outputs is None and network in PRESETS:
        raise ConfigError(
            f"the preset {network} needs the number of answers.", fix="add --outputs 10."
        )
    choice = networks.choose_network(network, layout)
    built = networks.build(choice.notation, layout, outputs=outputs)
    return networks.rows(built), _heading(built), built.notes


def read_layout(text: str) -> Layout:
    """Read the size of a sample: height x width x channels of an image, or with time in front.

    Time is T where it differs from item to item: `Tx40x1` is a sound of 40 bands, `Tx64x64x3` a
    clip, `Tx9` a series of 9 columns.

    >>> read_layout("32x32x3")
    Layout(channels=3, grid=(32, 32), steps=1, has_time=True, vocabulary=0, alphabet=0)
    >>> str(read_layout("Tx40x1")), str(read_layout("16x64x64x3"))
    ('T x 40x1', '16 x 64x64x3')
    """
    if not re.fullmatch(r"([1-9]\d*x){2,3}[1-9]\d*|T(x[1-9]\d*){1,3}", text.strip()):
        raise ConfigError(
            f"input {text!r} is not a size.",
            fix="write height x width x channels: 32x32x3; or T in front for time: Tx40x1.",
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
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
            _bytes(row.bytes) if row.bytes else "",
            row.receptive_field,
        )
    console.print(Text(heading))
    console.print(table)
    total = sum(row.parameters for row in rows)
    work = sum(row.multiply_adds for row in rows)
    memory = sum(row.bytes for row in rows)
    each = "a step" if heading.startswith("T x") else "an item"
    console.print(
        Text(f"{total:,} parameters, {work:,} multiply-adds and {_bytes(memory)} {each}.")
    )
    for note in notes:
        console.print(Text(note[0].upper() + note[1:]))


def _heading(network: Network) -> str:
    return f"{network.layout} -> {network.notation}"


def _bytes(count: int) -> str:
    """Bytes as a person reads them.

    >>> _bytes(49152)
    '49.2 kB'
    """
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.1f} {unit}" if unit != "B" else f"{count} B"
        size /= 1000
    return f"{size:.1f} GB"
