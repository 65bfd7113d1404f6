"""From notation to a network, with every size checked before any data is read.

    notation ─> parse ─> layers built one by one on the sizes that reach them ─> head ─> Network

What the notation leaves out is added here. The task's own dense layer shows in the network's
notation; every other addition is said in its notes too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from gridcell import layers
from gridcell.axes import Layout
from gridcell.errors import NetworkError, ShapeError
from gridcell.layers.lengths import check_lengths
from gridcell.layers.window import NoPlaceError
from gridcell.networks.notation import Spec, parse, write
from gridcell.networks.stream import Stream, StreamState, through
from gridcell.sources.wording import counted

Generator = torch.Generator | None
LARGEST_SEARCHED = 4096


@dataclass(frozen=True)
class Step:
    """One layer as built: what was written, the module, and the sizes around it."""

    spec: Spec
    module: nn.Module
    before: Layout
    after: Layout
    branches: tuple[tuple[Step, ...], ...] = ()


class _MisfitError(Exception):
    """A layer that cannot be built on the sizes that reach it; it never leaves this file."""

    def __init__(self, spec: Spec, trail: Sequence[Layout], cause: ShapeError) -> None:
        super().__init__(str(cause))
        self.spec, self.trail, self.cause = spec, tuple(trail), cause


@dataclass
class _Building:
    """What is gathered while layers are built one after another."""

    generator: Generator
    notes: list[str] = field(default_factory=list)
    trail: list[Layout] = field(default_factory=list)


class Network(nn.Module):
    """Normalization, a body written in notation, and the task's head.

    Shapes   values [B, T, C, *grid] (whole numbers or floating point), lengths [B] or None
             -> outputs [B, K], before softmax or sigmoid; [B, T, K] for an answer at each step

    >>> network = build("conv(12, 3) relu maxpool(2)", Layout(3, (32, 32), steps=1), outputs=10)
    >>> network(torch.zeros(8, 1, 3, 32, 32)).shape
    torch.Size([8, 10])
    """

    def __init__(
        self,
        chain: layers.Chain,
        *,
        steps: tuple[Step, ...],
        layout: Layout,
        normalize: layers.Normalize | None,
        is_squeezed: bool,
        notes: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.chain = chain
        self.steps = steps
        self.layout = layout
        self.is_squeezed = is_squeezed
        self.notes = notes
        self.notation = write(tuple(step.spec for step in steps))

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_lengths(lengths, values, layer="network")
        if self.normalize is None:
            # Layers without weights hand on what the padding holds, so it is silenced here.
            values = layers.mask_steps(values, lengths)
        else:
            values = self.normalize(values, lengths)
        outputs = cast(Tensor, self.chain(values, lengths))
        return outputs[:, 0] if self.is_squeezed else outputs

    def stream(self, state: StreamState | None = None) -> Stream:
        """Return the network as it answers step by step, from the beginning or from a kept state.

        Raises   NetworkError that names the first layer that needs steps which come later
        """
        return Stream(self, state)

    def go_on(self, values: Tensor, state: StreamState | None = None) -> tuple[Tensor, StreamState]:
        """Answer the next steps of sequences; return what is remembered of them as well.

        What a stream answers, but in the network's own mode, and with gradients, which reach back
        into `state` too unless it is `detached`.

        Shapes   [B, n, C, *grid] (ids [B, n]) -> [B, n, K]
        """
        if self.normalize is not None:
            values = self.normalize(values)
        return through(self.steps, values, state)

    @property
    def parameters_count(self) -> int:
        """Learnable numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def build(
    notation: str,
    layout: Layout,
    *,
    outputs: int | None = None,
    each: bool = False,
    mean: Sequence[float] | None = None,
    deviation: Sequence[float] | None = None,
    embedding: int | None = None,
    generator: Generator = None,
) -> Network:
    """Build the network that `notation` names for samples of `layout`.

    outputs   numbers that the task wants (classes, labels, numbers); a dense layer of that width
              is added unless the notation already ends with one. None adds nothing.
    each      whether the task wants an answer at every step; else time is reduced
    mean, deviation   of each input channel, or of each place of its grid, over training rows; the
              first layer applies them. Ids have none
    embedding width of the layer that turns ids into features, where it has to be added

    Raises    NetworkError where the notation cannot be read or a layer does not fit, with the
              trail of sizes and the smallest input that would work
    """
    specs = parse(notation)
    building = _Building(generator, trail=[layout])
    specs = _with_first(specs, layout, embedding, building)
    specs = _without_final_probability(specs, outputs, building)
    try:
        specs = _with_head_inside(specs, layout, outputs, each, building)
        steps, after = _build_chain(specs, layout, building)
        if outputs is not None:
            steps, after = _add_head(steps, after, outputs, each, building)
    except _MisfitError as misfit:
        raise _unfitting(misfit, specs, layout) from None
    normalize = None
    if mean is not None and deviation is not None and not layout.vocabulary:
        sizes = (layout.channels, *(layout.grid if len(mean) == layout.values else ()))
        normalize = layers.Normalize(
            torch.tensor(mean).view(sizes), torch.tensor(deviation).view(sizes)
        )
    chain = layers.Chain(step.module for step in steps)
    if not layout.vocabulary and not layout.grid:
        layers.read_values(chain)
    return Network(
        chain,
        steps=steps,
        layout=layout,
        normalize=normalize,
        # A single step has nothing to reduce: its axis is dropped.
        is_squeezed=outputs is not None and not each and after.has_time,
        notes=tuple(building.notes),
    )


Builder = Callable[[Any, Layout, Generator], nn.Module]


def _conv(options: dict[str, Any], layout: Layout, generator: Generator) -> nn.Module:
    return layers.Conv(
        layout.channels,
        options["filters"],
        options.get("kernel", ()),
        grid_axes=len(layout.grid),
        generator=generator,
        **{k: v for k, v in options.items() if k not in ("filters", "kernel")},
    )


def _whiten(options: dict[str, Any], layout: Layout, _: Generator) -> nn.Module:
    return layers.Whiten(layout.channels, grid_axes=len(layout.grid), **options)


def _pool(reduce: str) -> Builder:
    def make(options: dict[str, Any], layout: Layout, _: Generator) -> nn.Module:
        size = options.get("size", ())
        rest = {k: v for k, v in options.items() if k != "size"}
        if size == () and "time" not in rest:
            name = "maxpool" if reduce == "max" else "avgpool"
            raise ShapeError(f"{name} needs a size: {name}(2), or {name}(time=2) over time.")
        return layers.Pool(cast(Any, reduce), size, grid_axes=len(layout.grid), **rest)

    return make


def _dense(options: dict[str, Any], layout: Layout, generator: Generator) -> nn.Module:
    return layers.Dense(layout.channels, options["width"], generator=generator)


def _embed(options: dict[str, Any], layout: Layout, generator: Generator) -> nn.Module:
    if not layout.vocabulary:
        raise ShapeError(f"embed reads ids, one a step; got {layout}.")
    return layers.Embed(layout.vocabulary, options["width"], generator=generator)


def _spell(options: dict[str, Any], layout: Layout, generator: Generator) -> nn.Module:
    if not (layout.vocabulary and layout.alphabet):
        raise ShapeError(f"spell reads ids with letters beside them; got {layout}.")
    rest = {name: value for name, value in options.items() if name != "width"}
    return layers.Spell(
        layout.vocabulary, options["width"], layout.alphabet, generator=generator, **rest
    )


def _recurrent(
    kind: type[nn.Module], options: dict[str, Any], layout: Layout, generator: Generator
) -> nn.Module:
    rest = {name: value for name, value in options.items() if name != "width"}
    return kind(layout.channels, options["width"], generator=generator, **rest)


BUILDERS: dict[str, Builder] = {
    "conv": _conv,
    "whiten": _whiten,
    "maxpool": _pool("max"),
    "avgpool": _pool("mean"),
    "globalpool": lambda *_: layers.GlobalPool(),
    "flatten": lambda *_: layers.Flatten(),
    "dense": _dense,
    "embed": _embed,
    "spell": _spell,
    "relu": lambda *_: layers.Activation("relu"),
    "tanh": lambda *_: layers.Activation("tanh"),
    "sigmoid": lambda *_: layers.Activation("sigmoid"),
    "elu": lambda *_: layers.Activation("elu"),
    "gelu": lambda *_: layers.Activation("gelu"),
    "silu": lambda *_: layers.Activation("silu"),
    "leaky_relu": lambda options, *_: layers.LeakyReLU(**options),
    "softmax": lambda *_: layers.Softmax(),
    "batchnorm": lambda _, layout, __: layers.BatchNorm(layout.channels),
    "layernorm": lambda _, layout, __: layers.LayerNorm(layout.channels),
    "dropout": lambda options, *_: layers.Dropout(**options),
    "lstm": lambda options, layout, generator: _recurrent(layers.LSTM, options, layout, generator),
    "rnn": lambda options, layout, generator: _recurrent(layers.RNN, options, layout, generator),
    "delta": lambda *_: layers.Delta(),
    "rows": lambda *_: layers.Rows(),
    "last": lambda options, *_: layers.Last(**options),
    "mean": lambda *_: layers.Mean(),
    "max": lambda *_: layers.Max(),
    "each": lambda *_: layers.Each(),
    "whole": lambda *_: layers.Whole(),
}
RECURRENT = ("lstm", "rnn")
MEANS = ("mirrored", "ensemble")
READS_IDS = ("embed", "spell")
NEEDS_FEATURES = ("dense", "last", "mean", "max", *RECURRENT)
"""Layers that read `[B, T, D]`: a grid that is still there is flattened in front of them."""
NEEDS_TIME = (
    *("conv", "whiten", "maxpool", "avgpool", "globalpool", "flatten"),
    *("last", "mean", "max", "each", "delta", "rows", "whole"),
    *("mirrored", "ensemble", "reversible"),
    *RECURRENT,
)
KEEPS_FEATURES = (
    *("relu", "leaky_relu", "tanh", "sigmoid", "elu", "gelu", "silu"),
    *("batchnorm", "layernorm", "dropout", "each"),
)
"""Layers behind which feature k still is what it was."""


def _build_chain(
    specs: tuple[Spec, ...],
    layout: Layout,
    building: _Building,
    *,
    before: tuple[Step, ...] = (),
) -> tuple[tuple[Step, ...], Layout]:
    """Build layers one after another behind `before`, each on the sizes that reach it."""
    steps = list(before)
    for index, spec in enumerate(specs):
        if spec.name in NEEDS_FEATURES and layout.grid:
            building.notes.append(f"flatten was added before {spec}: a grid was still there.")
            steps.append(_build_step(Spec("flatten", start=spec.start), layout, building))
            layout = steps[-1].after
        # Batchnorm subtracts the mean, and with it any bias; its own bias takes that place.
        is_normed = index + 1 < len(specs) and specs[index + 1].name == "batchnorm"
        extra: dict[str, Any] = {}
        if spec.name == "conv" and is_normed:
            extra = {"bias": False}
        if spec.name == "last":
            extra = {"both": _walks_both_ways(steps, spec, building)}
        steps.append(_build_step(spec, layout, building, **extra))
        layout = steps[-1].after
    return tuple(steps), layout


def _build_step(spec: Spec, layout: Layout, building: _Building, **extra: Any) -> Step:
    try:
        if layout.vocabulary and spec.name not in READS_IDS and not spec.chains:
            first = "spell" if layout.alphabet else "embed"
            raise ShapeError(f"{spec} cannot read ids; write {first}(64) in front of it.")
        if not layout.has_time and spec.name in NEEDS_TIME:
            raise ShapeError(f"{spec.name} needs time, which was reduced before it.")
        branches: list[tuple[Step, ...]] = []
        for chain in spec.chains * cast(int, spec.options.get("members", 1)):
            # Branches lie side by side: the sizes in one are not on the way of the next.
            inner = replace(building, trail=[*building.trail])
            branches.append(_build_chain(chain, layout, inner)[0])
        bodies = [layers.Chain(step.module for step in branch) for branch in branches]
        module: nn.Module
        if spec.name == "residual":
            module = layers.Residual(bodies[0], layout, generator=building.generator)
        elif spec.name == "parallel":
            module = layers.Parallel(bodies)
        elif spec.name == "mirrored":
            module = layers.Mirrored(bodies[0], **cast(dict[str, Any], spec.options))
        elif spec.name == "ensemble":
            module = layers.Ensemble(bodies)
        elif spec.name == "reversible":
            module = layers.Reversible(bodies[0], **cast(dict[str, Any], spec.options))
        else:
            module = BUILDERS[spec.name]({**spec.options, **extra}, layout, building.generator)
        after = cast(layers.Layer, module).out_layout(layout)
    except ShapeError as error:
        raise _MisfitError(spec, building.trail, error) from None
    except RuntimeError as error:
        # PyTorch has no type of its own for weights that the memory cannot hold.
        if not re.search("allocate memory|overflow", str(error)):
            raise
        cause = ShapeError("its weights are more than the memory can hold.")
        raise _MisfitError(spec, building.trail, cause) from None
    if after.grid != layout.grid or after.steps != layout.steps:
        building.trail.append(after)
    return Step(spec, module, layout, after, tuple(branches))


def members_of(network: Network) -> int:
    """Members that the items of a training batch are shared among.

    >>> members_of(build("ensemble(flatten, members=3)", Layout(1, (2, 2), steps=1), outputs=2))
    3
    """
    return _members(network.steps)


def _members(steps: Sequence[Step]) -> int:
    return max(
        (
            cast(int, step.spec.options.get("members", 1)) * max(map(_members, step.branches))
            for step in steps
            if step.branches
        ),
        default=1,
    )


def _source(steps: Sequence[Step]) -> Step | None:
    """The last layer that made features; those behind it only changed their values."""
    made = next((step for step in reversed(steps) if step.spec.name not in KEEPS_FEATURES), None)
    if made is not None and made.spec.name in MEANS:  # of what its chain makes, more than once
        return _source(made.branches[0])
    return made


def _walks_both_ways(steps: Sequence[Step], spec: Spec, building: _Building) -> bool:
    """Whether the second half of the features walked from the last step to the first."""
    source = _source(steps)
    if source is None:
        return False
    if source.spec.chains and any(
        _walks_both_ways(branch, spec, building) for branch in source.branches
    ):
        cause = ShapeError(
            f"behind {source.spec.name} it cannot tell which features walked backward.",
            fix="write last inside the branch, or use mean.",
        )
        raise _MisfitError(spec, building.trail, cause)
    return bool(source.spec.options.get("both"))


def _with_first(
    specs: tuple[Spec, ...], layout: Layout, embedding: int | None, building: _Building
) -> tuple[Spec, ...]:
    """Add what turns ids into features, where no layer in front does."""
    if not layout.vocabulary or _reads_ids(specs):
        return specs
    name, usual = ("spell", 100) if layout.alphabet else ("embed", 128)
    first = Spec(name, {"width": embedding or usual})
    what = "ids with letters beside them" if layout.alphabet else "ids"
    building.notes.append(f"{first} was added in front: the steps are {what}.")
    return (first, *specs)


def _reads_ids(specs: tuple[Spec, ...]) -> bool:
    """Whether the first layer reads ids, or one of its branches begins with one that does."""
    return specs[0].name in READS_IDS or any(map(_reads_ids, specs[0].chains))


def _without_final_probability(
    specs: tuple[Spec, ...], outputs: int | None, building: _Building
) -> tuple[Spec, ...]:
    """Leave out a last softmax or sigmoid after the task's own layer: the loss holds it."""
    *before, last = specs
    if last.name not in ("softmax", "sigmoid") or not _ends_in_head(before, outputs):
        return specs
    building.notes.append(f"the last {last.name} belongs to the loss and is applied there.")
    return tuple(before)


def _ends_in_head(specs: Sequence[Spec], outputs: int | None) -> bool:
    """Whether the task's own dense layer stands last, but for what reduces time after it."""
    return outputs is not None and head_width(specs) == outputs


def head_width(specs: Sequence[Spec]) -> int | None:
    """The width of the dense layer that stands last, but for what reduces time after it.

    None where another layer does.

    >>> head_width(parse("mirrored(flatten dense(5)) mean"))
    5
    """
    others = [spec for spec in specs if spec.name not in ("last", "mean", "max", "each")]
    if others and others[-1].name in ("reversible", *MEANS):
        return head_width(others[-1].chains[0])
    is_head = bool(others) and others[-1].name == "dense"
    return cast(int, others[-1].options["width"]) if is_head else None


def _add_head(
    steps: tuple[Step, ...], layout: Layout, outputs: int, each: bool, building: _Building
) -> tuple[tuple[Step, ...], Layout]:
    """Add what the task needs and the notation left out."""
    added = _missing_head(steps, layout, outputs, each, building)
    every, layout = _build_chain(added, layout, building, before=steps)
    return every, layout


def _with_head_inside(
    specs: tuple[Spec, ...],
    layout: Layout,
    outputs: int | None,
    each: bool,
    building: _Building,
) -> tuple[Spec, ...]:
    """Add the head inside a `reversible` that stands last, which sets it back to the item's units.

    Behind it the head would have to learn every level and size anew.
    """
    last = specs[-1]
    if outputs is None or last.name != "reversible" or _ends_in_head(specs, outputs):
        return specs
    with torch.device("meta"):  # only the sizes are wanted
        sketched, _ = _build_chain(specs, layout, replace(building, notes=[], generator=None))
    inner = sketched[-1].branches[0]
    added = _missing_head(inner, inner[-1].after, outputs, each, building)
    return (*specs[:-1], replace(last, chains=((*last.chains[0], *added),)))


def _missing_head(
    steps: tuple[Step, ...], layout: Layout, outputs: int, each: bool, building: _Building
) -> tuple[Spec, ...]:
    """Return the layers that the task needs and the notation left out."""
    if each and not layout.has_time:
        ends = next(step.spec for step in steps if step.before.has_time and not step.after.has_time)
        raise NetworkError(
            f"{ends} leaves one answer for all steps; the task wants one at each step.",
            fix=f"leave {ends} out.",
        )
    added: list[Spec] = []
    if layout.has_time and layout.steps != 1 and not each:
        source = _source(steps)
        name = "last" if source is not None and source.spec.name in RECURRENT else "mean"
        added.append(Spec(name))
        building.notes.append(f"{name} was added: the task wants one answer for all steps.")
    specs = [step.spec for step in steps]
    if not _ends_in_head(specs, outputs):
        head = Spec("dense", {"width": outputs})
        added.append(head)
        width = head_width(specs)
        if width is not None:
            building.notes.append(
                f"{head} was added: the task wants {outputs} numbers, and dense({width}) gives "
                f"{width}."
            )
    return tuple(added)


def _unfitting(misfit: _MisfitError, specs: tuple[Spec, ...], layout: Layout) -> NetworkError:
    """Say which layer does not fit, how the sizes came there, and what would work."""
    where = str(misfit.spec)
    if misfit.spec.repetition:
        where += f" (repetition {misfit.spec.repetition})"
    text = f"{where} does not fit: {misfit.cause.message}"
    if not isinstance(misfit.cause, NoPlaceError):
        return NetworkError(text, fix=misfit.cause.fix)
    sizes = [_size(layout) for layout in misfit.trail]
    text += f"\n  Sizes on the way: {' -> '.join([*sizes, '0'])}"
    smallest = smallest_input(specs, layout)
    if smallest is None:
        return NetworkError(text)
    side = "x".join([str(smallest)] * len(layout.grid)) or counted(smallest, "step")
    return NetworkError(
        text, fix=f"the smallest input that works is {side}; give larger ones, or pool less."
    )


def _size(layout: Layout) -> str:
    if not layout.grid:
        return "T" if layout.steps is None else str(layout.steps)
    same = len(set(layout.grid)) == 1
    return str(layout.grid[0]) if same else "x".join(map(str, layout.grid))


def smallest_input(specs: tuple[Spec, ...], layout: Layout) -> int | None:
    """Return the smallest side of a square grid (or number of steps) that every layer can take.

    >>> specs = parse("4*(conv(8, 3, padding=valid) maxpool(2))")
    >>> smallest_input(specs, Layout(3, (8, 8), steps=1))
    46
    """

    def works(side: int) -> bool:
        sized = (
            replace(layout, grid=(side,) * len(layout.grid))
            if layout.grid
            else replace(layout, steps=side)
        )
        try:
            with torch.device("meta"):
                _build_chain(specs, sized, _Building(None))
        except _MisfitError:
            return False
        return True

    high = 1
    while not works(high):
        high *= 2
        if high > LARGEST_SEARCHED:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high
