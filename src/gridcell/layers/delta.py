"""What changed since the step before, beside what is there."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from gridcell.axes import Layout, check_shape
from gridcell.errors import ShapeError
from gridcell.layers.lengths import check_lengths, mask_steps, same_lengths


class Delta(nn.Module):
    """Each step, and beside it its difference to the step before.

        y_t = x_t, x_t - x_{t-1};   the first step has no difference: 0

    A convolution over time could learn to subtract; where items are few, what moves is better
    shown than left to be found.

    Shapes   x [B, T, C, *grid] -> y [B, T, 2 C, *grid], the differences behind the values
    Lengths  the padding is read as 0 and comes out as 0, its difference too; a single step has no
             difference: 0
    NaN      reaches its own step and the next one's difference
    Raises   ShapeError where x isn't floating point: whole numbers below 0 may not exist
    Source   Furui 1986 (of speech features); Wang et al. 2016 (of frames)

    >>> Delta()(torch.tensor([[[1.0], [4.0], [2.0]]])).tolist()
    [[[1.0, 0.0], [4.0, 3.0], [2.0, -2.0]]]
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T C *grid", layer="delta")
        check_lengths(lengths, x, layer="delta")
        if not x.is_floating_point():
            raise ShapeError(f"delta needs floating-point values; got {x.dtype}.")
        x = mask_steps(x, lengths)
        return mask_steps(beside_changes(x, x[:, :1]), lengths)

    def out_layout(self, layout: Layout) -> Layout:
        """Twice the channels; ShapeError for a single step, which has none before it."""
        if layout.steps == 1:
            raise ShapeError(
                f"delta needs more than one step; got {layout}.",
                fix="leave delta out: it is for clips, sounds, series and texts.",
            )
        return replace(layout, channels=2 * layout.channels)

    out_lengths = same_lengths


def beside_changes(x: Tensor, before: Tensor) -> Tensor:
    """Return `x [B, T, C, *grid]` with what changed in each step; `before [B, 1, ...]` is step -1.

    >>> beside_changes(torch.tensor([[[1.0], [4.0]]]), torch.tensor([[[0.5]]])).tolist()
    [[[1.0, 0.5], [4.0, 3.0]]]
    """
    earlier = torch.cat([before, x[:, :-1]], 1)[:, : x.shape[1]]
    return torch.cat([x, x - earlier], 2)
