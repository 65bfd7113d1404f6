"""The weights of one LSTM layer in one direction: their names, sizes and first values.

Names and gate order (i, f, g, o) are those of torch.nn.LSTM, so that its state dicts load as they
are; what it hasn't got has names in the same manner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gridcell.layers.first_weights import draw


class LSTMWeights(NamedTuple):
    """What one direction of one layer learns; None where the option is off."""

    weight_ih: Tensor
    """[4 D, C]"""
    weight_hh: Tensor
    """[4 D, D]; [4 D, D / heads] with heads; [4 D, 1] diagonal; [4 D, P] with a projection"""
    bias_ih: Tensor
    """[4 D]"""
    bias_hh: Tensor
    """[4 D]"""
    weight_hr: Tensor | None = None
    """[P, D]: the projection"""
    weight_ch: Tensor | None = None
    """[3 D]: peepholes from the cell into i, f and o"""
    scale_ih: Tensor | None = None
    """[4 D]: layer normalization of what comes from x"""
    scale_hh: Tensor | None = None
    """[4 D]: of what comes from h"""
    scale_c: Tensor | None = None
    """[D]: of the cell on its way to h"""
    shift_c: Tensor | None = None
    """[D]"""


@dataclass(frozen=True)
class LSTMSizes:
    """What decides which weights there are and how large; the recurrence as a number of heads."""

    channels: int
    width: int
    heads: int
    project: int | None
    peephole: bool
    layernorm: bool

    @property
    def shown(self) -> int:
        """How many numbers h has."""
        return self.width if self.project is None else self.project


def suffix(layer: int, direction: int) -> str:
    """The end of a weight's name, as torch.nn.LSTM writes it.

    >>> suffix(0, 0), suffix(1, 1)
    ('_l0', '_l1_reverse')
    """
    return f"_l{layer}{'_reverse' if direction else ''}"


def draw_weight_mask(weight: Tensor, share: float, *, generator: torch.Generator | None) -> Tensor:
    """Draw what multiplies a weight of which a share is dropped: 0, or 1 / (1 - share)."""
    kept = torch.empty_like(weight)
    return kept.bernoulli_(1 - share, generator=generator).div_(1 - share)


def new_weights(sizes: LSTMSizes, generator: torch.Generator | None) -> dict[str, nn.Parameter]:
    """Return the first weights of one direction of one layer.

    Each gate's input weights are uniform after Glorot & Bengio 2010, its recurrent weights
    orthogonal (Saxe et al. 2013) head by head; a diagonal's are uniform between -1 and 1. The
    forget gate's bias is 1 (Gers et al. 2000; Jozefowicz et al. 2015): at first the cell remembers.
    Other biases and the peepholes are 0.
    """
    width = sizes.width
    values = {
        "weight_ih": torch.empty(4 * width, sizes.channels),
        "weight_hh": torch.empty(4 * width, sizes.shown // sizes.heads),
        "bias_ih": torch.zeros(4 * width),
        "bias_hh": torch.zeros(4 * width),
    }
    for gate in torch.split(values["weight_ih"], width):
        draw(nn.init.xavier_uniform_, gate, generator=generator)
    recurrent = values["weight_hh"]
    if sizes.heads == sizes.width > 1:
        draw(nn.init.uniform_, recurrent, -1, 1, generator=generator)
    else:
        for head in torch.split(recurrent, width // sizes.heads):
            draw(nn.init.orthogonal_, head, generator=generator)
    values["bias_ih"][width : 2 * width] = 1
    if sizes.project is not None:
        values["weight_hr"] = torch.empty(sizes.project, width)
        draw(nn.init.xavier_uniform_, values["weight_hr"], generator=generator)
    if sizes.peephole:
        values["weight_ch"] = torch.zeros(3 * width)
    if sizes.layernorm:
        values["scale_ih"] = torch.ones(4 * width)
        values["scale_hh"] = torch.ones(4 * width)
        values["scale_c"] = torch.ones(width)
        values["shift_c"] = torch.zeros(width)
    return {name: nn.Parameter(value) for name, value in values.items()}
