"""The LSTM in the framework's fused kernels: oneDNN on CPU, cuDNN on a GPU.

The kernels know no lengths, and the packed sequences that the framework offers instead run on CPU
in a slow loop without oneDNN. Here they run over the padding, one way only, and what they leave
there is thrown away: nothing behind a sequence's end can reach a step before it.

In bfloat16 the framework's own call keeps the cell in bfloat16 as well: what is written into it in
portions below 1/256 of what it holds is lost. oneDNN can do better, and on CPU it is asked to: the
products are formed from bfloat16 and summed in float32, and the cell, the biases and the gates are
float32. On a GPU sums over hundreds of small steps want float32. A layer whose weights themselves
are bfloat16 hands its last cell out in bfloat16: there pieces are rounded where they meet.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor

from gridcell.layers.directions import last_steps
from gridcell.layers.engines import arithmetic, has_bfloat16_kernels
from gridcell.layers.lengths import is_traced, mask_steps, valid_steps
from gridcell.layers.lstm_weights import LSTMWeights

LSTM_MODE = 2
"""What ATen calls an LSTM where it hands a recurrent layer to oneDNN."""
HOLD = 1e4
"""Inside a gate: sigmoid is exactly 1 at +HOLD and exactly 0 at -HOLD in every dtype."""


def walk_fused(
    x: Tensor,
    lengths: Tensor | None,
    weights: LSTMWeights,
    h: Tensor,
    c: Tensor,
    *,
    is_end_wanted: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk one layer in one direction.

    The kernels give every h but only the last c, which lies behind the padding. Where it is wanted
    with lengths, x gets one more channel, 1 in the padding, whose weights open the forget gate
    and shut the input gate: the cell is carried to the end unchanged, to the bit, and so is its
    gradient.

    Shapes   x [B, T, C], lengths [B], h [B, D], c [B, D] -> y [B, T, D], last h and c
    """
    weight_ih = weights.weight_ih
    kernel = _in_bfloat16 if keeps_cell(x) else _as_framework
    if kernel is _as_framework:
        # Under autocast an earlier layer gave bfloat16; autocast itself casts all back alike.
        x, h, c = (value.to(weight_ih.dtype) for value in (x, h, c))
    if lengths is not None and is_end_wanted:
        is_padding_BT = ~valid_steps(lengths, x.shape[1])
        x = torch.cat([x, is_padding_BT[:, :, None].to(x.dtype)], -1)
        weight_ih = torch.cat([weight_ih, _holding(weights)], 1)
    y, last_h, last_c = kernel(x, weights._replace(weight_ih=weight_ih), h[None], c[None])
    if lengths is None:
        return y, last_h[0], last_c[0]
    return mask_steps(y, lengths), last_steps(y, lengths, h.to(y.dtype)), last_c[0]


def keeps_cell(x: Tensor) -> bool:
    """Whether the cell stays float32 though products are formed in bfloat16.

    Only where that primitive of oneDNN was seen to be right: on x86.
    """
    return (
        x.device.type == "cpu"
        and not is_traced()
        and x.dtype in (torch.float32, torch.bfloat16)
        and arithmetic(x) == torch.bfloat16
        and platform.machine().lower() in ("x86_64", "amd64")
        and has_bfloat16_kernels()
    )


def _as_framework(
    x: Tensor, weights: LSTMWeights, h: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    y, last_h, last_c = torch._VF.lstm(
        x,
        (h.contiguous(), c.contiguous()),
        [weights.weight_ih, weights.weight_hh, weights.bias_ih, weights.bias_hh],
        True,  # with biases
        1,  # layer
        0.0,  # dropout
        # Not `layer.training`: cuDNN keeps what backward needs only if told that it trains, and
        # gradients are wanted in evaluation too. With one layer it changes no number.
        torch.is_grad_enabled(),
        False,  # one way
        True,  # batch first
    )
    return y, last_h, last_c


def _in_bfloat16(
    x: Tensor, weights: LSTMWeights, h: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """oneDNN's primitive without the framework's wrapper, which would round the cell."""
    low = torch.bfloat16
    with torch.autocast("cpu", enabled=False):
        y, last_h, last_c, _ = torch.ops.aten.mkldnn_rnn_layer(
            x.to(low).transpose(0, 1).contiguous(),
            weights.weight_ih.to(low),
            weights.weight_hh.to(low),
            weights.bias_ih.float(),
            weights.bias_hh.float(),
            h.to(low).contiguous(),
            c.float().contiguous(),
            False,  # not from the end
            [],  # no packed batch
            LSTM_MODE,
            h.shape[-1],
            1,  # layer
            True,  # with biases
            False,  # one way
            False,  # time first
            torch.is_grad_enabled(),
        )
    return y.transpose(0, 1), last_h, last_c


def _holding(weights: LSTMWeights) -> Tensor:
    """The weights [4 D, 1] of a channel that holds the cell where it is 1."""
    width = len(weights.bias_ih) // 4
    hold = weights.weight_ih.new_zeros(4 * width, 1)
    hold[:width] = -HOLD
    hold[width : 2 * width] = HOLD
    return hold
