"""The table of sizes: for every layer its output with the arithmetic, parameters, work, memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from gridcell import layers
from gridcell.axes import Layout
from gridcell.layers.window import Window
from gridcell.networks.build import Network, Step

BYTES_PER_VALUE = 4
HEADINGS = {"parallel": "branch", "ensemble": "member"}
CONTAINERS = (layers.Ensemble, layers.Mirrored, layers.Parallel, layers.Reversible)


@dataclass(frozen=True)
class Row:
    """One layer of the table; `depth` is above 0 inside `residual`, `parallel` and their like."""

    layer: str
    depth: int
    output: str
    arithmetic: str
    parameters: int
    parameter_arithmetic: str
    multiply_adds: int
    bytes: int
    receptive_field: str
    every: int | None = None
    """Steps of the input that make the one which is reckoned, where items differ in theirs; None
    for what is reckoned once an item."""
    stands_for: tuple[Row, ...] = ()
    """Rows that this one says in short, all of them."""

    def fields(self) -> dict[str, str | int | None]:
        """What the row itself says, by name."""
        return {name: value for name, value in vars(self).items() if name != "stands_for"}


@dataclass(frozen=True)
class Field:
    """Cells of the input that one value has seen, and cells between neighbours: time, then grid.

    An axis that was seen whole, whatever its size, counts infinitely many cells.
    """

    cells: tuple[float, ...]
    jump: tuple[int, ...]


def rows(network: Network) -> list[Row]:
    """Return the table of a network, a row a layer, in the order of the text.

    Multiply-adds and bytes are for one item (one step where steps differ from item to item).

    >>> from gridcell.networks.build import build
    >>> table = rows(build("conv(12, 3) relu maxpool(2) flatten dense(10)", Layout(3, (32, 32), 1)))
    >>> [row.output for row in table]
    ['32x32x12', '32x32x12', '16x16x12', '3072', '10']
    >>> table[0].arithmetic, table[2].arithmetic
    ('(32 - 3 + 2) / 1 + 1 = 32', '(32 - 2) / 2 + 1 = 16')
    """
    axes = 1 + len(network.layout.grid)
    start = Field((1,) * axes, (1,) * axes)
    return _rows(network.steps, start, network.layout, depth=0)[0]


def _rows(
    steps: tuple[Step, ...], field: Field, layout: Layout, *, depth: int
) -> tuple[list[Row], Field]:
    table: list[Row] = []
    for step in steps:
        inner: list[Row] = []
        after = _field(step, field)
        is_ensemble = step.spec.name == "ensemble"
        for number, branch in enumerate(step.branches[:1] if is_ensemble else step.branches, 1):
            part, reached = _rows(branch, field, layout, depth=depth + 1)
            if step.spec.name in HEADINGS:
                inner.append(_heading(f"{HEADINGS[step.spec.name]} {number}", depth + 1))
            inner += part
            # What each step becomes in `reversible` depends on all of them, whatever its body sees.
            is_first = number == 1 and step.spec.name != "reversible"
            after = reached if is_first else _wider(after, reached)
            if is_ensemble:
                inner.append(_alike(inner[1:], members=len(step.branches)))
            if isinstance(step.module, layers.Mirrored):
                after = _seen_all_ways(step.module, field, after)
        own = _own(step.module)
        is_open = step.after.has_time and step.after.steps is None
        every = after.jump[0] if is_open else None
        table.append(
            Row(
                layer=step.spec.name if step.branches else str(step.spec),
                depth=depth,
                output=_told(step.after, every),
                arithmetic=_arithmetic(step),
                parameters=0 if own is None else _learned(own),
                parameter_arithmetic="" if own is None else _parameters(own),
                multiply_adds=_multiply_adds(own, step.before, step.after),
                bytes=step.after.values * (step.after.steps or 1) * BYTES_PER_VALUE,
                receptive_field=_seen(after, layout),
                every=every,
            )
        )
        table += inner
        field = after
    return table, field


def _told(layout: Layout, every: int | None) -> str:
    """A layout where T stands for steps of the input, of which so many make one.

    >>> _told(Layout(16, steps=None), 4), _told(Layout(16, steps=12), None)
    ('T/4 x 16', '12 x 16')
    """
    return str(layout) if every in (None, 1) else f"T/{every}{str(layout)[1:]}"


def _learned(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _own(module: nn.Module) -> nn.Module | None:
    """The module whose weights a row counts: those inside a container have rows of their own."""
    if isinstance(module, layers.Residual):
        return module.project
    return None if isinstance(module, CONTAINERS) else module


def _heading(text: str, depth: int) -> Row:
    return Row(text, depth, "", "", 0, "", 0, 0, "")


def _alike(member: Sequence[Row], *, members: int) -> Row:
    """One row for all members but the first, whose rows they would repeat."""
    others = members - 1
    named = "member 2 is like it" if others == 1 else f"members 2 to {members:,} are like it"
    each = sum(row.parameters for row in member)
    return Row(
        named,
        member[0].depth,
        "",
        "",
        others * each,
        f"{others:,} * {each:,}" if each else "",
        others * sum(row.multiply_adds for row in member),
        others * sum(row.bytes for row in member),
        "",
        stands_for=tuple(member) * others,
    )


def _window_arithmetic(
    layer: layers.Conv | layers.Pool | layers.Whiten, before: Layout, after: Layout
) -> str:
    over_time = [w for w in layer.windows if w.is_time and before.steps is not None]
    over_grid = [w for w in layer.windows if not w.is_time]
    parts = [f"time {_places(window, cast(int, before.steps))}" for window in over_time]
    parts += [_places(window, size) for window, size in zip(over_grid, before.grid, strict=True)]
    return ", ".join(dict.fromkeys(parts))


def _flatten_arithmetic(_: layers.Flatten, before: Layout, after: Layout) -> str:
    factors = " * ".join(str(size) for size in (*before.grid, before.channels))
    return f"{factors} = {after.channels}" if before.grid else ""


def _joined(layer: layers.Parallel, before: Layout, after: Layout) -> str:
    widths = [branch.out_layout(before).channels for branch in layer.branches]  # type: ignore[operator]
    return f"{' + '.join(map(str, widths))} = {after.channels}"


def _laid_out(_: layers.Whole, before: Layout, after: Layout) -> str:
    sizes = (cast(int, before.steps), *before.grid, before.channels)
    return f"{' * '.join(map(str, sizes))} = {after.channels}"


def _doubled(_: layers.Delta, before: Layout, after: Layout) -> str:
    return f"2 * {before.channels} = {after.channels}"


def _ways_of_looking(layer: layers.Mirrored, _: Layout, __: Layout) -> str:
    both = "the picture and its mirror image"
    if not layer.shift:
        return f"answers for {both}, averaged"
    return f"answers for {both}, in place and moved by {layer.shift} two ways, averaged"


def _seen_all_ways(layer: layers.Mirrored, before: Field, after: Field) -> Field:
    """What is seen of a picture that is also moved, and of the other side."""
    # From the end: `rows` has made time of the first axis.
    jumps = (0, *before.jump[1:])[-len(after.cells) :]
    pairs = zip(after.cells, jumps, strict=True)
    *moved, _ = (cells + 2 * layer.shift * jump for cells, jump in pairs)
    return Field((*moved, math.inf), after.jump)


def _shortcut(layer: layers.Residual, _: Layout, __: Layout) -> str:
    if layer.project is None:
        return "its input is added"
    return "its input is added through " + (
        "a 1x1 convolution" if isinstance(layer.project, layers.Conv) else "a dense layer"
    )


ARITHMETIC: dict[type[nn.Module], Callable[[Any, Layout, Layout], str]] = {
    layers.Conv: _window_arithmetic,
    layers.Whiten: _window_arithmetic,
    layers.Pool: _window_arithmetic,
    layers.Flatten: _flatten_arithmetic,
    layers.Parallel: _joined,
    layers.Residual: _shortcut,
    layers.Reversible: lambda *_: "its mean and deviation are taken out, and put back",
    layers.Delta: _doubled,
    layers.Mirrored: _ways_of_looking,
    layers.Ensemble: lambda layer, *_: f"the mean of {len(layer.members)} members",
    layers.Whole: _laid_out,
}


def _arithmetic(step: Step) -> str:
    describe = ARITHMETIC.get(type(step.module))
    return describe(step.module, step.before, step.after) if describe else ""


def _places(window: Window, size: int) -> str:
    """The number of places of a window, with its arithmetic.

    >>> _places(Window(3, stride=2), 32)
    'floor((32 - 3) / 2) + 1 = 15'
    """
    padding = sum(window.sides(size))
    inner = f"{size} - {window.reach}" + (f" + {padding}" if padding else "")
    is_exact = (size + padding - window.reach) % window.stride == 0
    quotient = f"({inner}) / {window.stride}"
    quotient = quotient if is_exact else f"floor({quotient})"
    return f"{quotient} + 1 = {window.places(size)}"


def _parameters(module: nn.Module) -> str:
    if isinstance(module, layers.Whiten):
        return f"2 * {module.values}, the filters are found"
    if isinstance(module, layers.Conv):
        window = " * ".join(str(size) for size in module.weight.shape[2:])
        bias = " + 1" if module.bias is not None else ""
        return f"({window} * {module.channels // module.groups}{bias}) * {module.filters}"
    if isinstance(module, layers.Dense):
        return f"({module.features} + 1) * {module.width}"
    if isinstance(module, (layers.BatchNorm, layers.LayerNorm)):
        return f"2 * {module.channels}"
    if isinstance(module, layers.Embed):
        return f"{module.vocabulary} * {module.width}"
    if isinstance(module, layers.Spell):
        letters = module.letter_weight.shape[1]
        return (
            f"{module.vocabulary} * {module.width} + {module.alphabet} * {letters} "
            f"+ ({module.window} * {letters} + 1) * {module.letters}"
        )
    if isinstance(module, (layers.LSTM, layers.RNN)):
        return _recurrent_parameters(module)
    return ""


def _multiply_adds(module: nn.Module | None, before: Layout, after: Layout) -> int:
    """Every weight of a convolution, dense or recurrent layer is used once at each place."""
    places = after.cells * (after.steps or 1)
    if isinstance(module, (layers.Conv, layers.Dense)):
        return places * module.weight.numel()
    if isinstance(module, layers.Whiten):
        return places * module.slide.weight.numel()
    if isinstance(module, layers.Spell):  # the filters, at each letter of each step
        return places * (before.channels - 1) * module.filters.numel()
    if isinstance(module, (layers.LSTM, layers.RNN)):
        weights = (p for name, p in module.named_parameters() if name.startswith("weight_"))
        return places * sum(p.numel() for p in weights)
    return 0


def _recurrent_parameters(module: layers.LSTM | layers.RNN) -> str:
    """(inputs + states + 2 biases) * width for each gate, direction and layer, and what is beside.

    >>> _recurrent_parameters(layers.LSTM(3, 8, both=True))
    '4 * 2 * (3 + 8 + 2) * 8'
    >>> _recurrent_parameters(layers.LSTM(3, 8, both=True, layers=3, heads=2, peephole=True))
    '2 * (4 * (3 + 8 / 2 + 2) * 8 + 3 * 8) + 2 * 2 * (4 * (16 + 8 / 2 + 2) * 8 + 3 * 8)'
    """
    width, shown, heads, beside = module.width, module.width, 1, ""
    if isinstance(module, layers.LSTM):
        shown, heads = module.shown, module.heads
        beside += f" + {shown} * {width}" * (module.project is not None)
        beside += f" + 3 * {width}" * module.peephole
        beside += f" + 10 * {width}" * module.layernorm
    states = f"{shown} / {heads}" if heads > 1 else f"{shown}"

    def of_layer(inputs: int, layers_alike: int) -> str:
        gates = ["4"] * isinstance(module, layers.LSTM)
        each = f"({inputs} + {states} + 2) * {width}"
        times = [str(layers_alike)] * (layers_alike > 1) + ["2"] * module.both
        if not beside:
            return " * ".join([*gates, *times, each])
        own = f"{' * '.join([*gates, each])}{beside}"
        return " * ".join([*times, f"({own})"]) if times else own

    first, others = of_layer(module.channels, 1), module.layers - 1
    return f"{first} + {of_layer(module.features, others)}" if others else first


def _field(step: Step, field: Field) -> Field:
    """What a value has seen after one more layer that is not a container."""
    module = step.module
    if isinstance(module, layers.Rows):
        return Field(field.cells[1:], field.jump[1:])
    if isinstance(module, layers.Delta):
        return Field((field.cells[0] + field.jump[0], *field.cells[1:]), field.jump)
    if isinstance(module, (layers.Mean, layers.Max)):
        return Field((math.inf, *field.cells[1:]), field.jump)
    if isinstance(module, layers.Whole | layers.Reversible):
        return Field(tuple(math.inf for _ in field.cells), field.jump)
    if isinstance(module, (layers.LSTM, layers.RNN)):
        return Field(tuple(math.inf for _ in field.cells), field.jump)
    if isinstance(module, (layers.Conv, layers.Pool, layers.Whiten)):
        field = _slid(field, module.windows)
    # All features, and with them the cells of a grid that was flattened or is averaged over.
    is_flat_conv = isinstance(module, layers.Conv) and module.grid_axes == 0
    if is_flat_conv or isinstance(module, (layers.Dense, layers.GlobalPool, layers.LayerNorm)):
        return Field((field.cells[0], *(math.inf for _ in field.cells[1:])), field.jump)
    return field


def _slid(field: Field, windows: Sequence[Window]) -> Field:
    """cells + (reach - 1) * jump along each axis; the jump grows by the stride."""
    cells, jump = list(field.cells), list(field.jump)
    for axis, window in enumerate(windows, start=0 if windows[0].is_time else 1):
        cells[axis] += (window.reach - 1) * jump[axis]
        jump[axis] *= window.stride
    return Field(tuple(cells), tuple(jump))


def _wider(one: Field, other: Field) -> Field:
    """What two branches see together. One that reads an image by rows has no axis in front left."""
    fewer, more = sorted((one, other), key=lambda field: len(field.cells))
    front = len(more.cells) - len(fewer.cells)
    both = zip(more.cells[front:], fewer.cells, strict=True)
    return Field((*more.cells[:front], *(max(a, b) for a, b in both)), more.jump)


def _seen(field: Field, layout: Layout) -> str:
    """A field in the input's own axes: an image has no time, even where its rows became steps."""
    axes = len(layout.grid)
    over_grid = field.cells[len(field.cells) - axes :]
    grid = "all" if set(over_grid) == {math.inf} else "x".join(map(_count, over_grid))
    if axes and layout.steps == 1:
        return grid
    time = f"{_count(field.cells[0])} step{'s' * (field.cells[0] != 1)}"
    return f"{time} of {grid}" if grid else time


def _count(cells: float) -> str:
    return "all" if cells == math.inf else str(int(cells))
