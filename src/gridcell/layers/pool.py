"""Pooling: a window that keeps the largest value or the average, over the grid and over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from gridcell.axes import Layout, check_shape
from gridcell.errors import ShapeError
from gridcell.layers.lengths import at_least, check_lengths, mask_steps, same_lengths
from gridcell.layers.window import Window, check_grid, check_places, per_axis, slid, times

Reduce = Literal["max", "mean"]
POOLS: dict[tuple[Reduce, int], Callable[..., Tensor]] = {
    ("max", 1): F.max_pool1d,
    ("max", 2): F.max_pool2d,
    ("max", 3): F.max_pool3d,
    ("mean", 1): F.avg_pool1d,
    ("mean", 2): F.avg_pool2d,
    ("mean", 3): F.avg_pool3d,
}


class Pool(nn.Module):
    """Keep the largest value, or the average, of each window.

    Shapes   x [B, T, C, *grid] -> y [B, T', C, *grid'], each axis floor((n - size) / stride) + 1
    Options  `size` and `stride` lie over the grid, `time` over time (its stride is `time` too);
             without a grid only `time` may be given, and `stride` lies over time
    Lengths  only windows that lie wholly in the valid steps count; an item shorter than the
             window gets length 0
    Raises   ShapeError where the window has no place

    >>> import torch
    >>> Pool("max", 2, grid_axes=2)(torch.zeros(8, 1, 12, 32, 32)).shape
    torch.Size([8, 1, 12, 16, 16])
    """

    def __init__(
        self,
        reduce: Reduce,
        size: int | tuple[int, ...] = (),
        *,
        grid_axes: int,
        stride: int | tuple[int, ...] | None = None,
        time: int = 1,
    ) -> None:
        super().__init__()
        self.reduce, self.grid_axes = reduce, grid_axes
        self.name = "maxpool" if reduce == "max" else "avgpool"
        if grid_axes == 0 and size != ():
            text = str(size) if isinstance(size, int) else times(size)
            raise ShapeError(
                "a series has no grid, and behind flatten none is left; over time write "
                f"{self.name}(time={text})."
            )
        if grid_axes and size == ():
            size = 1
        per_axis(time, 1, layer=self.name, name="time")
        sizes = per_axis(size, grid_axes, layer=self.name, name="size")
        strides = per_axis(
            (sizes or time) if stride is None else stride,
            grid_axes or 1,
            layer=self.name,
            name="stride",
        )
        self.windows: tuple[Window, ...] = tuple(
            Window(size, step) for size, step in zip(sizes, strides, strict=False)
        )
        if time > 1 or not grid_axes:
            over_time = Window(time, time if grid_axes else strides[0], is_time=True)
            self.windows = (over_time, *self.windows)
        self.mixes_steps = self.windows[0].is_time
        if reduce not in ("max", "mean"):
            raise ShapeError(f"a pool keeps the max or the mean of a window; got {reduce!r}.")
        if (reduce, len(self.windows)) not in POOLS:
            raise ShapeError(
                f"{self.name} can slide over 3 axes, not over time and {grid_axes} more."
            )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T C *grid", layer=self.name)
        check_grid(x, self.grid_axes, layer=self.name)
        check_lengths(lengths, x, layer=self.name)
        # A window that touches padding comes out as padding, so x needs no mask.
        if not self.mixes_steps:
            y = self._slide(x.flatten(0, 1))
            return mask_steps(y.reshape(*x.shape[:2], *y.shape[1:]), lengths)
        if lengths is not None:
            x = at_least(x, self.windows[0].least())
        y = self._slide(x.transpose(1, 2)).transpose(1, 2)
        return mask_steps(y, self.out_lengths(lengths))

    def out_layout(self, layout: Layout) -> Layout:
        """The sizes after this layer; ShapeError where the window has no place."""
        return slid(layout, self.windows, layer=self.name)

    def out_lengths(self, lengths: Tensor | None) -> Tensor | None:
        """floor((length - time) / stride) + 1, at least 0."""
        return (
            self.windows[0].lengths(lengths)
            if self.mixes_steps and lengths is not None
            else lengths
        )

    def extra_repr(self) -> str:
        size = "x".join(f"{'time ' * w.is_time}{w.kernel}" for w in self.windows)
        return f"{self.reduce}, {size}, stride={times([w.stride for w in self.windows])}"

    def _slide(self, x: Tensor) -> Tensor:
        check_places(x.shape[2:], self.windows, layer=self.name)
        return POOLS[self.reduce, len(self.windows)](
            x,
            [window.kernel for window in self.windows],
            [window.stride for window in self.windows],
        )


class GlobalPool(nn.Module):
    """The average over the whole grid; time stays.

    Shapes   x [B, T, C, *grid] -> y [B, T, C]
    Source   Lin, Chen, Yan 2014
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T C *grid", layer="globalpool")
        return x if x.ndim == 3 else x.flatten(3).mean(-1)

    def out_layout(self, layout: Layout) -> Layout:
        """One number a channel."""
        return layout.with_features(layout.channels)

    out_lengths = same_lengths
