"""A convolution whose filters are not learned but found: the principal patches of the data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers.conv import Conv
from gridcell.layers.lengths import is_full, same_lengths, valid_steps
from gridcell.layers.window import Padding, per_axis, slid

FLOOR = 5e-4
"""Added to the variance of each direction, so that what hardly varies is not blown up to noise."""
MOST_VALUES = 1 << 24
"""Values of patches that are looked at at once."""


class Whiten(nn.Module):
    """Look at patches along the directions in which those of the data vary, each way.

        y = bias + [W x, -W x],   W = e_d / sqrt(variance_d + floor) for each eigenvector e_d of
                                  the covariance of patches, the one that varies most first

    Neighbouring pixels are nearly the same, so filters drawn at random see nearly the same thing
    and learn to differ slowly; along these directions values are uncorrelated and of one size. Both
    signs, since what comes behind is usually rectified. The filters stay as `start_from` finds
    them, or are those of the patch's single cells before; only the bias is learned.

    Shapes   x [B, T, C, *grid] -> y [B, T, 2 C K, *grid'], K cells in a patch
    Lengths  as `Conv`: each step is looked at alone
    Raises   ShapeError where there is no grid
    Cost     that of a convolution with 2 C K filters
    Source   Coates & Ng 2012 (of learned filters on whitened patches); Page 2019 (as a first layer)

    >>> layer = Whiten(3, 2, grid_axes=2)
    >>> layer(torch.zeros(8, 1, 3, 32, 32)).shape
    torch.Size([8, 1, 24, 32, 32])
    """

    def __init__(
        self,
        channels: int,
        kernel: int | tuple[int, ...],
        *,
        grid_axes: int,
        padding: Padding = "same",
    ) -> None:
        if not grid_axes:
            raise ShapeError(
                "whiten takes patches of a grid, and a series has none.",
                fix="write conv(32, time=3) in its place.",
            )
        super().__init__()
        sizes = per_axis(kernel, grid_axes, layer="whiten", name="kernel")
        self.values = channels * math.prod(sizes)
        self.slide = Conv(channels, 2 * self.values, sizes, grid_axes=grid_axes, padding=padding)
        self.windows = self.slide.windows
        self.slide.weight.requires_grad_(False)
        if not self.slide.weight.is_meta:
            cells = torch.eye(self.values).view(self.values, channels, *sizes)
            self.slide.weight.copy_(torch.cat([cells, -cells]))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return cast(Tensor, self.slide(x, lengths))

    def out_layout(self, layout: Layout) -> Layout:
        """Two channels for each value of a patch."""
        return replace(slid(layout, self.windows, layer="whiten"), channels=2 * self.values)

    out_lengths = same_lengths

    @torch.no_grad()
    def start_from(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Find the filters from `x [B, T, C, *grid]`, what reaches this layer.

        Patches are taken where they lie whole inside the grid, of padded steps none. Where there
        are none at all the filters stay as they are.
        """
        steps = x.flatten(0, 1)
        if lengths is not None and not is_full(lengths, x.shape[1]):
            steps = x[valid_steps(lengths, x.shape[1])]
        sizes = [window.kernel for window in self.windows]
        axes = range(2, steps.ndim)
        if any(steps.shape[axis] < size for axis, size in zip(axes, sizes, strict=True)):
            return
        count, total = 0, torch.zeros(self.values, dtype=torch.float64, device=x.device)
        squares = torch.zeros(self.values, self.values, dtype=torch.float64, device=x.device)
        at_once = max(1, MOST_VALUES // max(1, steps[:1].numel() * self.values))
        for first in range(0, len(steps), at_once):
            some = steps[first : first + at_once]
            for axis, size in zip(axes, sizes, strict=True):
                some = some.unfold(axis, size, 1)
            # [N, C, *places, *kernel] -> [N * places, C * kernel]
            patches = some.movedim(1, 1 + len(sizes)).flatten(1 + len(sizes))
            patches = patches.reshape(-1, self.values).double()
            count, total = count + len(patches), total + patches.sum(0)
            squares += patches.T @ patches
        if not count:
            return
        mean = total / count
        variance, directions = torch.linalg.eigh(squares / count - torch.outer(mean, mean))
        # Which of the two ways a direction points is left open; the largest cell is to be positive.
        largest = directions.abs().argmax(0, keepdim=True)
        directions = directions * directions.gather(0, largest).sign()
        found = (directions / (variance.clamp(min=0) + FLOOR).sqrt()).flip(1).T
        weight = self.slide.weight
        found = found.to(weight.dtype).view(-1, *weight.shape[1:])
        weight.copy_(torch.cat([found, -found]))

    def extra_repr(self) -> str:
        return f"{self.values} values a patch"
