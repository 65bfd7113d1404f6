"""Reversible normalization: an item's own level and size are taken out, and put back at the end."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

from gridcell.axes import Layout, check_shape
from gridcell.layers.containers import Chain
from gridcell.layers.lengths import check_lengths, mask_steps

EPSILON = 1e-5


class Reversible(nn.Module):
    """Run the body on an item whose first channel has no level of its own, then put that back.

        y = body(x with channel 0 as (x - m) / d) * d + m

    by=mean   m is the mean of channel 0 over time and grid, d = sqrt(its variance + eps)
    by=last   m is its last value, d is 1

    A series that is higher (or, by=mean, wilder) than those of the training rows is then read and
    continued as any other. Channels behind the first pass as they are: they are what else is known,
    and no answer is counted in their units.

    Shapes   x [B, T, C, *grid] -> the body's, all of it in the units of channel 0
    Lengths  mean, deviation and last value are those of the valid steps; of length 0 m is 0
    Constant an item that never moves is 0 to the body: nothing is divided by 0
    Source   by=mean Kim et al. 2022 (RevIN), without their learned scale, which the body begins
             with; by=last Zeng et al. 2023 (NLinear)

    >>> from gridcell.layers import Last
    >>> Reversible(Chain([Last()]))(torch.tensor([[[1.0], [5.0]]])).tolist()
    [[5.0]]
    """

    def __init__(
        self, body: Chain, *, by: Literal["mean", "last"] = "mean", eps: float = EPSILON
    ) -> None:
        super().__init__()
        self.body, self.by, self.eps = body, by, eps

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T C *grid", layer="reversible")
        check_lengths(lengths, x, layer="reversible")
        x = mask_steps(x, lengths)
        own = x[:, :, :1]
        mean, deviation = self._statistics(own, lengths)
        others = (1,) * (own.ndim - 1)
        own = (own - mean.view(-1, *others)) / deviation.view(-1, *others)
        own = mask_steps(own, lengths)
        y = cast(Tensor, self.body(torch.cat([own, x[:, :, 1:]], 2), lengths))
        others = (1,) * (y.ndim - 1)
        y = y * deviation.view(-1, *others) + mean.view(-1, *others)
        return y if y.ndim == 2 else mask_steps(y, self.body.out_lengths(lengths))

    def _statistics(self, own: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is subtracted and what is divided by, [B]; the padding holds 0."""
        flat = own.flatten(2)
        if self.by == "last":
            if lengths is None:
                last = flat[:, -1, -1]
            else:
                last = flat[torch.arange(len(flat)), (lengths - 1).clamp(min=0), -1]
            return last, torch.ones_like(last)
        cells = flat.shape[2]
        if lengths is None:
            count: Tensor | int = max(1, flat.shape[1]) * cells
        else:
            count = lengths.clamp(min=1).to(own.dtype) * cells
        mean = flat.sum((1, 2)) / count
        off = mask_steps(flat - mean[:, None, None], lengths)
        return mean, (off.square().sum((1, 2)) / count + self.eps).sqrt()

    def extra_repr(self) -> str:
        return f"by={self.by}"

    def out_layout(self, layout: Layout) -> Layout:
        """The body's sizes."""
        return self.body.out_layout(layout)

    def out_lengths(self, lengths: Tensor | None) -> Tensor | None:
        """The body's lengths."""
        return self.body.out_lengths(lengths)
