"""Activations: functions that leave the sizes alone and make the network non-linear."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gridcell.axes import Layout
from gridcell.errors import NetworkError, did_you_mean
from gridcell.layers.lengths import check_lengths, mask_steps, same_lengths

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
}


def same_layout(_layer: object, layout: Layout) -> Layout:
    """The sizes after a layer that changes none."""
    return layout


class Activation(nn.Module):
    """One of relu, tanh, sigmoid, elu, gelu, silu.

        relu max(0, x)        sigmoid 1 / (1 + exp(-x))       elu   x if x > 0 else exp(x) - 1
        tanh tanh(x)          silu    x * sigmoid(x)          gelu  x * Phi(x), the normal CDF

    Shapes   any -> the same
    Lengths  sigmoid(0) is not 0, so it sets the padding to 0 again; for the others 0 stays 0

    >>> Activation("relu")(torch.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in FUNCTIONS:
            raise NetworkError(f"{name} is not an activation.{did_you_mean(name, FUNCTIONS)}")
        self.name = name

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.name != "sigmoid":
            return FUNCTIONS[self.name](x)
        check_lengths(lengths, x, layer="sigmoid")
        return mask_steps(torch.sigmoid(mask_steps(x, lengths)), lengths)

    out_layout = same_layout
    out_lengths = same_lengths

    def extra_repr(self) -> str:
        return self.name


class LeakyReLU(nn.Module):
    """x where it is positive, else slope * x.

    Source   Maas, Hannun, Ng 2013

    >>> LeakyReLU(0.1)(torch.tensor([-1.0, 2.0])).tolist()
    [-0.10000000149011612, 2.0]
    """

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return F.leaky_relu(x, self.slope)

    out_layout = same_layout
    out_lengths = same_lengths

    def extra_repr(self) -> str:
        return f"{self.slope:g}"


class Softmax(nn.Module):
    """exp(x) over its sum along the channels: positive numbers that add to 1.

    Shapes   x [B, T, C, *grid] or [B, D] -> the same
    Lengths  the padding comes out as 0
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_lengths(lengths, x, layer="softmax")
        y = torch.softmax(mask_steps(x, lengths), 1 if x.ndim == 2 else 2)
        return mask_steps(y, lengths)

    out_layout = same_layout
    out_lengths = same_lengths
