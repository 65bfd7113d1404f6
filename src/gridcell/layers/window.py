"""The arithmetic of a window that slides over an axis: how many places, how much padding.

    places = floor((size + padding - reach) / stride) + 1,   reach = dilation * (kernel - 1) + 1

Cross-correlation, as everywhere in the field: the kernel is not flipped. "Same" padding gives
ceil(size / stride) places and puts the odd cell on the right, as TensorFlow does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from gridcell.axes import Layout
from gridcell.errors import ShapeError

Padding = Literal["same", "valid"] | int


class NoPlaceError(ShapeError):
    """A window is larger than the axis that it should slide over; larger inputs would work."""


@dataclass(frozen=True)
class Window:
    """How a layer slides along one axis.

    >>> Window(3, padding="same").places(32), Window(2, stride=2).places(32), Window(2).places(1)
    (32, 16, 0)
    """

    kernel: int
    stride: int = 1
    padding: Padding = "valid"
    dilation: int = 1
    is_time: bool = False

    @property
    def reach(self) -> int:
        """Cells from the first to the last that the kernel touches.

        >>> Window(3, dilation=2).reach
        5
        """
        return self.dilation * (self.kernel - 1) + 1

    def sides(self, size: int) -> tuple[int, int]:
        """Cells of padding on the left and on the right of an axis of `size` cells.

        >>> Window(7, stride=2, padding="same").sides(224)
        (2, 3)
        """
        if self.padding == "valid":
            return 0, 0
        if self.padding != "same":
            return self.padding, self.padding
        total = (-(-size // self.stride) - 1) * self.stride + self.reach - size
        # A batch is as long as its longest item: were the left side of time to depend on that, an
        # item would change with its batch mates. It is what a whole number of strides would get.
        left = max(self.reach - self.stride if self.is_time else total, 0) // 2
        return left, max(total - left, 0)

    def places(self, size: int) -> int:
        """Places of the window on an axis of `size` cells, 0 where it does not fit."""
        return max((size + sum(self.sides(size)) - self.reach) // self.stride + 1, 0)

    def lengths(self, lengths: Tensor) -> Tensor:
        """Places of the window on each of many lengths `[B]`; an empty item stays empty.

        >>> Window(2, stride=2).lengths(torch.tensor([0, 1, 2, 5])).tolist()
        [0, 0, 1, 2]
        """
        if self.padding == "same":
            return (lengths + self.stride - 1) // self.stride
        around = 0 if self.padding == "valid" else 2 * self.padding
        places = (lengths + around - self.reach) // self.stride + 1
        return torch.where(lengths > 0, places.clamp(min=0), 0)

    def least(self) -> int:
        """The smallest axis on which the window has a place."""
        around = 0 if isinstance(self.padding, str) else 2 * self.padding
        return 1 if self.padding == "same" else max(self.reach - around, 1)


def per_axis(value: int | tuple[int, ...], axes: int, *, layer: str, name: str) -> tuple[int, ...]:
    """One positive whole number for each grid axis.

    >>> per_axis(3, 2, layer="conv", name="kernel")
    (3, 3)
    """
    values = (value,) * axes if isinstance(value, int) else value
    if len(values) != axes:
        raise ShapeError(f"{layer} {name} {times(values)} has {len(values)} axes, not {axes}.")
    if any(v < 1 for v in values):
        raise ShapeError(f"{layer} {name} must be 1 or more; got {times(values)}.")
    return values


def times(sizes: Sequence[int]) -> str:
    """Sizes as they are written: 3x5."""
    return "x".join(map(str, sizes))


def check_grid(x: Tensor, grid_axes: int, *, layer: str) -> None:
    """Raise ShapeError unless `x [B, T, C, *grid]` has as many grid axes as the layer."""
    if x.ndim - 3 != grid_axes:
        raise ShapeError(
            f"{layer} was built for {grid_axes} grid axes; "
            f"got {tuple(x.shape)}, which has {x.ndim - 3}."
        )


def check_places(sizes: Sequence[int], windows: Sequence[Window], *, layer: str) -> None:
    """Raise NoPlaceError where a window has no place on its axis."""
    for size, window in zip(sizes, windows, strict=True):
        if not window.places(size):
            wide = "" if window.dilation == 1 else f" and dilation {window.dilation}"
            axis = f"{'step' if window.is_time else 'cell'}{'s' * (size != 1)}"
            raise NoPlaceError(
                f"{layer}: a kernel of {window.kernel} with padding {window.padding}{wide} "
                f"has no place on {size} {axis}."
            )


def slid(layout: Layout, windows: Sequence[Window], *, layer: str) -> Layout:
    """The sizes that windows, over time first where they do, leave of a sample.

    >>> print(slid(Layout(3, (32, 32), steps=1), [Window(2, stride=2)] * 2, layer="maxpool"))
    16x16x3
    """
    over_time = [window for window in windows if window.is_time]
    over_grid = [window for window in windows if not window.is_time]
    check_places(layout.grid, over_grid, layer=layer)
    grid = tuple(w.places(size) for size, w in zip(layout.grid, over_grid, strict=True))
    steps = layout.steps
    if over_time and steps is not None:
        check_places([steps], over_time, layer=layer)
        steps = over_time[0].places(steps)
    return replace(layout, grid=grid, steps=steps)
