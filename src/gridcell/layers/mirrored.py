"""What a network makes of a picture and of its mirror image, averaged."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers.containers import Chain


class Mirrored(nn.Module):
    """Run the body on the input and on its mirror image, and take the mean of both.

        y = (body(x) + body(x mirrored left to right)) / 2

    For data of which a mirrored item means the same: the answer is then the same too, to rounding,
    and the errors of the two ways of looking partly cancel. While training the body sees the input
    alone, which takes less time: there the items are to be mirrored as they come.

    shift    cells by which both are also moved, one way along every axis of the grid and the other;
             what comes from outside repeats the border. The mean over these four ways of looking
             counts as much as that over the two which are not moved. 0 moves nothing

    Shapes   x [B, T, C, *grid] -> the body's
    Raises   ShapeError where there is no grid, or the body leaves one: its places are mirrored too;
             where `shift` moves all of it out of sight
    Cost     twice the body's in evaluation, six times with a shift; once in training
    Source   Krizhevsky et al. 2012, section 4.1; six ways of looking from Jordan 2024

    >>> import torch
    >>> from gridcell.layers import Flatten
    >>> layer = Mirrored(Chain([Flatten()])).eval()
    >>> layer(torch.tensor([[[[[1.0, 3.0]]]]])).tolist()
    [[[2.0, 2.0]]]
    """

    def __init__(self, body: Chain, *, shift: int = 0) -> None:
        super().__init__()
        if shift < 0:
            raise ShapeError(f"mirrored shift must be 0 or more; got {shift}.")
        self.body, self.shift = body, shift

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.training:
            return cast(Tensor, self.body(x, lengths))
        y = self._both_ways(x, lengths)
        if not self.shift:
            return y
        moved = [self._both_ways(x, lengths, by=cells) for cells in (self.shift, -self.shift)]
        return y / 2 + (moved[0] + moved[1]) / 4

    def _both_ways(self, x: Tensor, lengths: Tensor | None, *, by: int = 0) -> Tensor:
        # Mirrored first: so a picture and its mirror image are seen in the same six ways.
        plain, turned = (self.body(_moved(each, by), lengths) for each in (x, x.flip(-1)))
        return cast(Tensor, (plain + turned) / 2)

    def out_layout(self, layout: Layout) -> Layout:
        """The body's sizes."""
        if not layout.grid:
            raise ShapeError(
                f"mirrored needs a grid to turn round; got {layout}.", fix="leave mirrored out."
            )
        if self.shift >= min(layout.grid):
            raise ShapeError(
                f"mirrored shift={self.shift} moves all of {layout} out of sight.",
                fix="give a smaller shift, or leave it out.",
            )
        after = self.body.out_layout(layout)
        if after.grid:
            raise ShapeError(
                f"mirrored leaves {after}, whose places are mirrored too.",
                fix="write globalpool or flatten inside it.",
            )
        return after

    def out_lengths(self, lengths: Tensor | None) -> Tensor | None:
        """The body's lengths."""
        return self.body.out_lengths(lengths)

    def extra_repr(self) -> str:
        return f"shift={self.shift}" if self.shift else ""


def _moved(x: Tensor, shift: int) -> Tensor:
    """Move `x [B, T, C, *grid]` by so many cells along every axis of its grid."""
    for axis in range(3, x.ndim) if shift else ():
        size = x.shape[axis]
        place = torch.arange(size, device=x.device) - shift
        x = x.index_select(axis, place.clamp(0, size - 1))
    return x
