"""A convolution whose filters are not learned but found: the principal patches of the data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gridcell.errors import ShapeError
from gridcell.layers.conv import Conv
from gridcell.layers.lengths import is_full, valid_steps
from gridcell.layers.window import Padding, Window, per_axis

FLOOR = 5e-4
"""Added to the variance of each direction, so that what hardly varies is not blown up to noise."""


class Whiten(Conv):
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
            raise ShapeError("whiten needs a grid to take patches of, and a series has none.")
        sizes = per_axis(kernel, grid_axes, layer="whiten", name="kernel")
        values = channels * torch.Size(sizes).numel()
        with torch.device("meta"):  # nothing is drawn
            super().__init__(channels, 2 * values, kernel, grid_axes=grid_axes, padding=padding)
        device = torch.get_default_device()
        self.bias = nn.Parameter(torch.zeros(2 * values, device=device))
        cells = torch.eye(values, device=device).view(values, channels, *sizes)
        self.weight = nn.Parameter(torch.cat([cells, -cells]), requires_grad=False)

    @torch.no_grad()
    def start_from(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Find the filters from `x [B, T, C, *grid]`, what reaches this layer.

        Patches are taken where they lie whole inside the grid, of padded steps none. Where there
        are none at all the filters stay as they are.
        """
        steps = x.flatten(0, 1)
        if lengths is not None and not is_full(lengths, x.shape[1]):
            steps = x[valid_steps(lengths, x.shape[1])]
        for axis, window in enumerate(self.windows, start=2):
            steps = (
                steps.unfold(axis, window.kernel, 1) if _fits(window, steps, axis) else steps[:0]
            )
        if not len(steps):
            return
        # [N, C, *places, *kernel] -> [N * places, C * kernel]
        axes = len(self.windows)
        patches = steps.movedim(1, 1 + axes).flatten(1 + axes).reshape(-1, self.filters // 2)
        covariance = torch.cov(patches.double().T, correction=0)
        variance, directions = torch.linalg.eigh(covariance.reshape(self.filters // 2, -1))
        # Which of the two ways a direction points is left open; the largest cell is to be positive.
        largest = directions.abs().argmax(0, keepdim=True)
        directions = directions * directions.gather(0, largest).sign()
        found = (directions / (variance.clamp(min=0) + FLOOR).sqrt()).flip(1).T
        found = found.to(self.weight.dtype).view(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([found, -found]))


def _fits(window: Window, steps: Tensor, axis: int) -> bool:
    return steps.shape[axis] >= window.kernel
