"""Layers made of layers: one after another, around a shortcut, and side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers.activation import Activation
from gridcell.layers.conv import Conv
from gridcell.layers.dense import Dense
from gridcell.layers.pool import Pool


class Layer(Protocol):
    """What every layer offers besides being an nn.Module."""

    def __call__(self, x: Tensor, lengths: Tensor | None = None) -> Tensor: ...
    def out_layout(self, layout: Layout) -> Layout: ...
    def out_lengths(self, lengths: Tensor | None) -> Tensor | None: ...


class Chain(nn.Module):
    """Layers one after another; true lengths travel with the values."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        modules = list(self.layers)
        for module in _pools_first(modules) if self.training else modules:
            layer = cast(Layer, module)
            x = layer(x, lengths)
            lengths = layer.out_lengths(lengths)
        return x

    def out_layout(self, layout: Layout) -> Layout:
        """The sizes after the last layer."""
        for module in self.layers:
            layout = cast(Layer, module).out_layout(layout)
        return layout

    def out_lengths(self, lengths: Tensor | None) -> Tensor | None:
        """The lengths after the last layer."""
        for module in self.layers:
            lengths = cast(Layer, module).out_lengths(lengths)
        return lengths


def _pools_first(modules: list[nn.Module]) -> list[nn.Module]:
    """The order in which layers are run while they train: maxpool before a relu that precedes it.

    The largest of what relu leaves is what relu leaves of the largest, to the bit, and so are the
    gradients; behind a pool of 2 x 2 relu and its gradient have a quarter of the work. In
    evaluation, where somebody may look at what each layer gives, the order is as written.
    """
    order = list(modules)
    for place in range(1, len(order)):
        before, module = order[place - 1 : place + 1]
        is_relu = isinstance(before, Activation) and before.name == "relu"
        if is_relu and isinstance(module, Pool) and module.reduce == "max":
            order[place - 1], order[place] = module, before
    return order


class Residual(nn.Module):
    """Add the input to what the body makes of it.

        y = body(x) + x,   or body(x) + project(x) where the sizes differ

    The projection is a 1x1 convolution with the body's stride (a dense layer where there is
    neither grid nor stride).

    Shapes   x [B, T, C, *grid] -> the body's
    Raises   ShapeError where no whole stride leads from the input's sizes to the body's
    Source   He et al. 2016
    """

    def __init__(
        self, body: Chain, layout: Layout, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.body = body
        self.project = _projection(body, layout, generator=generator)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        shortcut = x if self.project is None else self.project(x, lengths)
        return cast(Tensor, self.body(x, lengths) + shortcut)

    def out_layout(self, layout: Layout) -> Layout:
        """The body's sizes."""
        return self.body.out_layout(layout)

    def out_lengths(self, lengths: Tensor | None) -> Tensor | None:
        """The body's lengths."""
        return self.body.out_lengths(lengths)


class Parallel(nn.Module):
    """Branches that read the same input; their outputs are joined on the feature axis.

    Shapes   x -> each branch's, joined on axis 2 (`[B, T, C, *grid]`) or on axis 1 (`[B, D]`)
    Raises   ShapeError where the branches disagree in time or grid
    """

    def __init__(self, branches: Iterable[Chain]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        outputs = [branch(x, lengths) for branch in self.branches]
        return torch.cat(outputs, 1 if outputs[0].ndim == 2 else 2)

    def out_layout(self, layout: Layout) -> Layout:
        """The channels of all branches together."""
        layouts = [cast(Layer, branch).out_layout(layout) for branch in self.branches]
        tried = _lengths_of(layout)
        left = [_lengths_left(cast(Layer, branch), tried) for branch in self.branches]
        first = layouts[0]
        for number, other in enumerate(layouts[1:], start=2):
            if replace(other, channels=first.channels) != first:
                raise ShapeError(
                    "parallel branches must agree in time and grid; "
                    f"branch 1 gives {_told(first)}, branch {number} gives {_told(other)}."
                )
            for length, one, another in zip(tried, left[0], left[number - 1], strict=False):
                if one != another:
                    raise ShapeError(
                        f"parallel branches must agree in time; of length {length} branch 1 "
                        f"leaves {one}, branch {number} leaves {another}."
                    )
        return replace(first, channels=sum(each.channels for each in layouts))

    def out_lengths(self, lengths: Tensor | None) -> Tensor | None:
        """The lengths of the first branch: all agree."""
        return cast(Layer, self.branches[0]).out_lengths(lengths)


def _lengths_of(layout: Layout) -> list[int]:
    """The lengths that items of a layout may have, up to a thousand.

    Where steps differ from item to item a layout has no number that would show a stride.
    """
    return list(range(1, 1001)) if layout.steps is None else [layout.steps]


def _lengths_left(layer: Layer, lengths: list[int]) -> list[int]:
    """What a layer leaves of each length; nothing where it ends time or makes its own."""
    left = layer.out_lengths(torch.tensor(lengths, device="cpu"))
    return [] if left is None else left.tolist()


def _stride(sizes: Sequence[int], left: Sequence[int]) -> int | None:
    """The smallest stride that makes each size what is left of it, None where none does.

    >>> _stride([32], [16]), _stride([5, 6], [3, 3]), _stride([5, 6], [2, 3])
    (2, 2, None)
    """
    for stride in range(1, max(sizes) + 1):
        if [-(-size // stride) for size in sizes] == list(left):
            return stride
    return None


def _told(layout: Layout) -> str:
    return str(layout) if layout.has_time else f"{layout} without time"


def _projection(
    body: Chain, before: Layout, *, generator: torch.Generator | None
) -> Conv | Dense | None:
    """What brings the input to the body's sizes; None where it has them already."""
    after = body.out_layout(before)
    refusal = f"residual cannot add its input {_told(before)} to {_told(after)}: "
    lengths = _lengths_of(before)
    over_time = _stride(lengths, _lengths_left(body, lengths))
    if before.has_time != after.has_time or over_time is None or (over_time > 1 and before.grid):
        raise ShapeError(f"{refusal}its body must keep the steps, or thin them by a whole stride.")
    if before == after and over_time == 1:
        return None
    if not before.grid and not after.grid and over_time == 1:
        return Dense(before.channels, after.channels, generator=generator)
    over_grid = [
        _stride([size], [left]) for size, left in zip(before.grid, after.grid, strict=False)
    ]
    strides = tuple(stride for stride in over_grid if stride is not None)
    axes = len(before.grid)
    if not len(after.grid) == len(strides) == axes:
        raise ShapeError(f"{refusal}no whole stride leads there.")
    return Conv(
        before.channels,
        after.channels,
        (1,) * axes,
        grid_axes=axes,
        stride=strides or over_time,
        generator=generator,
    )
