"""From many steps to one answer, and from an image to many steps."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from gridcell.axes import Layout, check_shape
from gridcell.errors import ShapeError
from gridcell.layers.activation import same_layout
from gridcell.layers.first_weights import draw
from gridcell.layers.lengths import (
    check_lengths,
    is_full,
    is_traced,
    mask_steps,
    same_lengths,
    valid_steps,
)


def no_lengths(_layer: object, _lengths: Tensor | None) -> None:
    """After time is reduced no lengths are left."""
    return None


class Last(nn.Module):
    """The last valid step that each direction took.

    both   whether the features come from a layer that walks both ways. Their second half walked
           from the last valid step to the first, so its last step stands at place 0: only there
           has it seen the whole sequence.

    Shapes   x [B, T, D] -> y [B, D]; a sequence of length 0 gives 0

    >>> y = torch.tensor([[[1.0, 10.0], [2.0, 20.0], [0.0, 0.0]]])
    >>> Last(both=True)(y, torch.tensor([2])).tolist()
    [[2.0, 10.0]]
    """

    def __init__(self, *, both: bool = False) -> None:
        super().__init__()
        self.both = both

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T D", layer="last")
        if self.both and x.shape[2] % 2:
            raise ShapeError(f"last of both directions needs features in pairs; got {x.shape[2]}.")
        check_lengths(lengths, x, layer="last")
        if is_full(lengths, x.shape[1]) and x.shape[1]:
            lengths = None  # a slice, whose gradient costs less than that of chosen steps
        # Taken from the axes as they lie in memory, which a fused LSTM leaves with time in front:
        # the gradient lies like that, and needs no copy there.
        is_time_first = not is_traced() and x.stride(0) < x.stride(1)
        if lengths is None:
            y = x.transpose(0, 1)[-1] if is_time_first else x[:, -1]
        else:
            rows, steps = torch.arange(x.shape[0], device=x.device), (lengths - 1).clamp(min=0)
            y = x.transpose(0, 1)[steps, rows] if is_time_first else x[rows, steps]
        if self.both:
            half = x.shape[2] // 2
            y = torch.cat([y[:, :half], x[:, 0, half:]], 1)
        if lengths is None:
            return y
        return torch.where(lengths[:, None] > 0, y, torch.zeros((), dtype=x.dtype, device=x.device))

    def out_layout(self, layout: Layout) -> Layout:
        """The same features, no time."""
        return layout.without_time()

    out_lengths = no_lengths

    def extra_repr(self) -> str:
        return "both" if self.both else ""


class Mean(nn.Module):
    """The average over the valid steps.

    Shapes   x [B, T, D] -> y [B, D]; a sequence of length 0 gives 0
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T D", layer="mean")
        if lengths is None:
            return x[:, 0] if x.shape[1] == 1 else x.mean(1)
        check_lengths(lengths, x, layer="mean")
        return mask_steps(x, lengths).sum(1) / lengths.clamp(min=1)[:, None].to(x.dtype)

    def out_layout(self, layout: Layout) -> Layout:
        """The same features, no time."""
        return layout.without_time()

    out_lengths = no_lengths


class Max(nn.Module):
    """The largest value of each feature over the valid steps.

    The gradient goes to the step that it came from, of several equal ones to the first, as
    `torch.max` has it.

    Shapes   x [B, T, D] -> y [B, D]; a sequence of length 0 gives 0
    NaN      at a valid step it is the answer; in the padding it is not seen

    >>> x = torch.tensor([[[-2.0, 3.0], [-1.0, 2.0], [9.0, 9.0]]])
    >>> Max()(x, torch.tensor([2])).tolist()
    [[-1.0, 3.0]]
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T D", layer="max")
        if lengths is None:
            return x[:, 0] if x.shape[1] == 1 else x.max(1).values
        check_lengths(lengths, x, layer="max")
        # Not 0, which would hide values below it. A valid -inf stands first, so it takes the
        # gradient.
        padding = ~valid_steps(lengths, x.shape[1])[..., None]
        y = x.masked_fill(padding, -torch.inf).max(1).values
        return torch.where(lengths[:, None] > 0, y, torch.zeros((), dtype=x.dtype, device=x.device))

    def out_layout(self, layout: Layout) -> Layout:
        """The same features, no time."""
        return layout.without_time()

    out_lengths = no_lengths


class Whole(nn.Module):
    """Every step of an item side by side as one row of features, time gone.

    A dense layer behind it weighs each step by itself, which is all that a linear forecast needs.

    Shapes   x [B, T, C, *grid] -> y [B, T * C * cells], step by step, channel by channel
    Lengths  the padding comes out as 0
    Raises   ShapeError where the number of steps differs from item to item

    >>> Whole()(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])).tolist()
    [[1.0, 2.0, 3.0, 4.0]]
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T C *grid", layer="whole")
        check_lengths(lengths, x, layer="whole")
        return mask_steps(x, lengths).flatten(1)

    def out_layout(self, layout: Layout) -> Layout:
        """All numbers of all steps as features."""
        if layout.steps is None:
            raise ShapeError(
                "whole needs items of one number of steps, and these differ in it.",
                fix="write mean, max or last, which read any number.",
            )
        return layout.with_features(layout.steps * layout.values).without_time()

    out_lengths = no_lengths


class Each(nn.Module):
    """Keep every step: an answer at each of them."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return x

    out_layout = same_layout
    out_lengths = same_lengths


class Rows(nn.Module):
    """Read an image row by row: its height becomes time.

    Shapes   x [B, 1, C, H, W] -> y [B, H, C, W]
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T C H W", layer="rows", T=1)
        return x[:, 0].transpose(1, 2)

    def out_layout(self, layout: Layout) -> Layout:
        """H steps of [C, (W)]."""
        if len(layout.grid) != 2 or layout.steps != 1:
            raise ShapeError(f"rows needs one image [1, C, H, W]; got {layout}.")
        height, width = layout.grid
        return replace(layout, steps=height, grid=(width,))

    def out_lengths(self, lengths: Tensor | None) -> None:
        """All rows are valid."""
        return None


class Embed(nn.Module):
    """Look up a learnable row for each id.

    Shapes   ids [B, T], whole numbers from 0 to vocabulary - 1, or [B, T, 1 + L] with letters
             behind each, which are not looked at -> y [B, T, width]
    Lengths  the padding may hold any number and comes out as 0
    Raises   ShapeError where an id lies outside the table
    """

    def __init__(
        self, vocabulary: int, width: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if vocabulary < 1 or width < 1:
            raise ShapeError(f"embed needs a vocabulary and a width; got {vocabulary}, {width}.")
        self.vocabulary, self.width = vocabulary, width
        self.weight = nn.Parameter(torch.empty(vocabulary, width))
        draw(nn.init.normal_, self.weight, std=width**-0.5, generator=generator)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if x.ndim == 3:
            x = x[..., 0]
        check_shape(x, "B T", layer="embed")
        if x.is_floating_point():
            raise ShapeError(f"embed reads whole numbers; got {x.dtype}.")
        check_lengths(lengths, x, layer="embed")
        ids = mask_steps(x, lengths)
        if ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < self.vocabulary):
            wrong = int(ids[(ids < 0) | (ids >= self.vocabulary)][0])
            raise ShapeError(f"embed id {wrong} is outside the table of {self.vocabulary} rows.")
        return mask_steps(nn.functional.embedding(ids.long(), self.weight), lengths)

    def out_layout(self, layout: Layout) -> Layout:
        """`width` features a step."""
        if not layout.vocabulary:
            raise ShapeError(f"embed reads ids, one a step; got {layout}.")
        return replace(layout, channels=self.width, vocabulary=0, alphabet=0)

    out_lengths = same_lengths

    def extra_repr(self) -> str:
        return f"{self.vocabulary}, {self.width}"
