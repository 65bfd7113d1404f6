"""Fully connected layers, flattening, and dropout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gridcell.axes import Layout, check_shape
from gridcell.errors import ShapeError
from gridcell.layers.activation import same_layout
from gridcell.layers.first_weights import draw
from gridcell.layers.lengths import check_lengths, mask_steps, same_lengths
from gridcell.layers.two_parts import in_two_parts, is_rounded


class Dense(nn.Module):
    """Multiply by a learnable matrix and add a learnable bias, at every step.

        y = x @ weight.T + bias

    Shapes   x [B, T, D] or [B, D] -> y [..., width]; weight [width, D], bias [width]
    Lengths  the padding is read as 0 and comes out as 0
    Raises   ShapeError unless the last axis is `features`

    >>> Dense(3072, 10)(torch.zeros(8, 3072)).shape
    torch.Size([8, 10])
    """

    def __init__(
        self, features: int, width: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if width < 1:
            raise ShapeError(f"dense width must be 1 or more; got {width}.")
        self.features, self.width = features, width
        self.reads_values = False
        self.weight = nn.Parameter(torch.empty(width, features))
        self.bias = nn.Parameter(torch.zeros(width))
        draw(nn.init.kaiming_normal_, self.weight, nonlinearity="relu", generator=generator)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B D" if x.ndim == 2 else "B T D", layer="dense", D=self.features)
        check_lengths(lengths, x, layer="dense")
        # The padding is silenced in front too: 0 * NaN is NaN in the gradient of the weight.
        x, weight = mask_steps(x, lengths), cast(Tensor, self.weight)
        if self.reads_values and is_rounded(x):
            x, weight = in_two_parts(x, -1), torch.cat([weight, weight], 1)
        return mask_steps(F.linear(x, weight, self.bias), lengths)

    def out_layout(self, layout: Layout) -> Layout:
        """`width` features a step."""
        return replace(layout, channels=self.width)

    out_lengths = same_lengths

    def extra_repr(self) -> str:
        return f"{self.features}, {self.width}"


class Flatten(nn.Module):
    """Lay channels and grid out as one row of features; time stays.

    Shapes   x [B, T, C, *grid] -> y [B, T, C * cells], channel by channel
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_shape(x, "B T C *grid", layer="flatten")
        if x.ndim == 5 and x.requires_grad and _is_channels_last(x):
            # The gradient comes back channel by channel; a pooling behind us would copy it, and
            # its own, three times over. Laid out as x is, that is 6 ms less of a step of 46.
            x.register_hook(_channels_last)  # type: ignore[no-untyped-call]
        return x.flatten(2)

    def out_layout(self, layout: Layout) -> Layout:
        """All values of a step as features."""
        return layout.with_features(layout.values)

    out_lengths = same_lengths


def _is_channels_last(x: Tensor) -> bool:
    return x.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def _channels_last(gradient: Tensor) -> Tensor:
    folded = gradient.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return folded.view(gradient.shape[0], -1, *folded.shape[1:])


class Dropout(nn.Module):
    """While training, set each value to 0 with probability p and scale the rest by 1 / (1 - p).

    Random numbers come from `generator` where one is set, so that a run can be repeated
    whatever else draws from PyTorch's own.

    Shapes   any -> the same
    Source   Srivastava et al. 2014
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ShapeError(f"dropout p must be at least 0 and below 1; got {p:g}.")
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * keep.div_(1 - self.p)

    out_layout = same_layout
    out_lengths = same_lengths

    def extra_repr(self) -> str:
        return f"{self.p:g}"


def set_generator(network: nn.Module, generator: torch.Generator) -> None:
    """Let every layer that draws random numbers draw them from `generator`."""
    for module in network.modules():
        if hasattr(module, "generator"):
            cast(Any, module).generator = generator
