"""Several bodies that differ in their first weights and in what they are taught, averaged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from gridcell.axes import Layout
from gridcell.layers.containers import Chain, Layer

FEWEST_ITEMS = 2
"""Items that each member is taught at a time, so that batchnorm has something to compare."""


class Ensemble(nn.Module):
    """Run every member on the input, and take the mean of what they make of it.

        y = (member_1(x) + ... + member_m(x)) / m

    While training each item of a batch is taught to one member alone: item i to member i mod m.
    Batches are drawn at random, so over the epochs every member meets every item, at steps of its
    own; what one learns by chance the others do not, and the mean errs less than each of them. Of
    fewer than 2 m items some members, drawn at random, get none.

    Shapes   x [B, T, C, *grid] -> the members', which all have the same sizes
    Cost     m times a member's in evaluation, once in training (but m times the calls)
    Source   Hansen, Salamon 1990; Lakshminarayanan et al. 2017, who teach every member every item

    >>> from gridcell.layers import LeakyReLU
    >>> layer = Ensemble([Chain([LeakyReLU(slope)]) for slope in (0.25, 0.5)])
    >>> x = torch.full((4, 1, 1), -8.0)
    >>> layer.train()(x).flatten().tolist(), layer.eval()(x).flatten().tolist()
    ([-2.0, -4.0, -2.0, -4.0], [-3.0, -3.0, -3.0, -3.0])
    """

    def __init__(self, members: Iterable[Chain]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if not self.training:
            return torch.stack([member(x, lengths) for member in self.members]).mean(0)
        members = self._taught(len(x))
        count = len(members)
        taught = [
            member(x[place::count], None if lengths is None else lengths[place::count])
            for place, member in enumerate(members)
        ]
        order = torch.arange(len(x), device=x.device)
        back = torch.cat([order[place::count] for place in range(count)]).argsort()
        return torch.cat(taught).index_select(0, back)

    def _taught(self, items: int) -> list[nn.Module]:
        """The members that so many items are shared among."""
        members = list(self.members)
        count = max(1, items // FEWEST_ITEMS)
        if count >= len(members):
            return members
        device = "cpu" if self.generator is None else self.generator.device
        drawn = torch.randperm(len(members), generator=self.generator, device=device)
        return [members[place] for place in drawn[:count].tolist()]

    def out_layout(self, layout: Layout) -> Layout:
        """A member's sizes."""
        return cast(Layer, self.members[0]).out_layout(layout)

    def out_lengths(self, lengths: Tensor | None) -> Tensor | None:
        """A member's lengths."""
        return cast(Layer, self.members[0]).out_lengths(lengths)
