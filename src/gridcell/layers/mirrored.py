"""What a network makes of a picture and of its mirror image, averaged."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers.containers import Chain


class Mirrored(nn.Module):
    """Run the body on the input and on its mirror image, and take the mean of both.

        y = (body(x) + body(x mirrored left to right)) / 2

    For data of which a mirrored item means the same: the answer is then the same too, to rounding,
    and the errors of the two ways of looking partly cancel. While training the body sees the input
    alone, in half of the time: there the items are to be mirrored at random.

    Shapes   x [B, T, C, *grid] -> the body's
    Raises   ShapeError where there is no grid, or the body leaves one: its places are mirrored too
    Cost     twice the body's in evaluation, once in training
    Source   Krizhevsky et al. 2012, section 4.1, with one crop

    >>> import torch
    >>> from gridcell.layers import Flatten
    >>> layer = Mirrored(Chain([Flatten()])).eval()
    >>> layer(torch.tensor([[[[[1.0, 3.0]]]]])).tolist()
    [[[2.0, 2.0]]]
    """

    def __init__(self, body: Chain) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        y = cast(Tensor, self.body(x, lengths))
        if self.training:
            return y
        return (y + cast(Tensor, self.body(x.flip(-1), lengths))) / 2

    def out_layout(self, layout: Layout) -> Layout:
        """The body's sizes."""
        if not layout.grid:
            raise ShapeError(
                f"mirrored needs a grid to turn round; got {layout}.", fix="leave mirrored out."
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
