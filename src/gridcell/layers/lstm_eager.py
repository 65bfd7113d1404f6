"""The LSTM step by step in plain tensor operations: every option, every dtype, double backward.

Slower than the fused kernels, since each step is about fifteen small operations; all the products
with the input are formed at once before the first step.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gridcell.layers.lengths import valid_steps
from gridcell.layers.lstm_weights import LSTMWeights

EPSILON = 1e-5


class Noise(NamedTuple):
    """What is random in one walk, drawn before it; numbers are evaluation's expectation."""

    recurrent: Tensor | None = None
    """[B, P], divided by the share that is kept: multiplies h on its way into the gates"""
    zoneout_h: Tensor | float = 0.0
    """[B, T, P]: 1 where h stays as it was; or the share that stays"""
    zoneout_c: Tensor | float = 0.0
    """[B, T, D]: the same for the cell"""

    def at(self, steps: slice) -> Noise:
        """What is random in some of the steps; the units that are dropped are the same in all."""
        h, c = (
            kind[:, steps] if isinstance(kind, Tensor) else kind
            for kind in (self.zoneout_h, self.zoneout_c)
        )
        return Noise(self.recurrent, h, c)


def draw_noise(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    *,
    recurrent_dropout: float,
    zoneout: float,
    is_training: bool,
    generator: torch.Generator | None,
) -> Noise:
    """Draw what is random in one walk over x [B, T, C] from h [B, P] and c [B, D]."""
    if not is_training:
        return Noise(None, zoneout, zoneout)
    steps = x.shape[1]

    def kept(like: Tensor, share: float) -> Tensor:
        return torch.empty_like(like).bernoulli_(share, generator=generator)

    recurrent = None
    if recurrent_dropout:
        recurrent = kept(h, 1 - recurrent_dropout) / (1 - recurrent_dropout)
    if not zoneout:
        return Noise(recurrent)
    return Noise(
        recurrent,
        kept(h[:, None].expand(-1, steps, -1), zoneout),
        kept(c[:, None].expand(-1, steps, -1), zoneout),
    )


class Trace(NamedTuple):
    """What happened at every step: gates after their activation, cell and output.

    Each is [B, T, D] of one walk, [layers, directions, B, T, D] of a whole layer; with a projection
    h has P numbers instead of D.
    """

    f: Tensor
    i: Tensor
    g: Tensor
    o: Tensor
    c: Tensor
    h: Tensor


def walk_eager(
    x: Tensor,
    lengths: Tensor | None,
    weights: LSTMWeights,
    h: Tensor,
    c: Tensor,
    *,
    noise: Noise,
) -> tuple[Trace, Tensor, Tensor]:
    """Walk one layer in one direction; see `LSTM` for the equations.

    Shapes   x [B, T, C] lengths [B], h [B, P], c [B, D]
             -> moments [B, T, ...], 0 in the padding, and the last h and c
    """
    from_x = F.linear(x, weights.weight_ih)
    if weights.scale_ih is not None:
        from_x = F.layer_norm(from_x, from_x.shape[-1:], weights.scale_ih, None, EPSILON)
    from_x = from_x + (weights.bias_ih + weights.bias_hh)
    valid_BT = None if lengths is None else valid_steps(lengths, x.shape[1])
    moments: list[tuple[Tensor, ...]] = []
    if x.shape[1] == 0:
        empty_c, empty_h = (kind.new_zeros(kind.shape[0], 0, kind.shape[1]) for kind in (c, h))
        return Trace(empty_c, empty_c, empty_c, empty_c, empty_c, empty_h), h, c
    for t, from_x_t in enumerate(from_x.unbind(1)):
        step = _step(from_x_t, weights, h, c, noise=noise, t=t)
        *_, next_c, next_h = step
        if valid_BT is not None:
            valid = valid_BT[:, t, None]
            step = tuple(torch.where(valid, value, 0.0) for value in step)
            # Chosen, not multiplied: past its length a state stays what it is, to the bit.
            next_c, next_h = torch.where(valid, next_c, c), torch.where(valid, next_h, h)
        moments.append(step)
        c, h = next_c, next_h
    return Trace(*(torch.stack(kind, 1) for kind in zip(*moments, strict=True))), h, c


def _step(
    from_x: Tensor, weights: LSTMWeights, h: Tensor, c: Tensor, *, noise: Noise, t: int
) -> tuple[Tensor, ...]:
    """One step of every example: f, i, g, o and the new c and h."""
    heard = h if noise.recurrent is None else h * noise.recurrent
    from_h = _recurrent(heard, weights.weight_hh)
    if weights.scale_hh is not None:
        from_h = F.layer_norm(from_h, from_h.shape[-1:], weights.scale_hh, None, EPSILON)
    i, f, g, o = (from_x + from_h).chunk(4, -1)
    peephole = None if weights.weight_ch is None else weights.weight_ch.chunk(3)
    if peephole is not None:
        i, f = i + peephole[0] * c, f + peephole[1] * c
    i, f, g = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g)
    new = f * c + i * g
    if peephole is not None:
        o = o + peephole[2] * new
    o = torch.sigmoid(o)
    shown = new
    if weights.scale_c is not None:
        shown = F.layer_norm(new, new.shape[-1:], weights.scale_c, weights.shift_c, EPSILON)
    out = o * torch.tanh(shown)
    if weights.weight_hr is not None:
        out = F.linear(out, weights.weight_hr)
    return f, i, g, o, _zoned(new, c, noise.zoneout_c, t), _zoned(out, h, noise.zoneout_h, t)


def _recurrent(h: Tensor, weight: Tensor) -> Tensor:
    """What the gates hear of h: of every unit, of the unit's own head, or of the unit alone."""
    rows, size = weight.shape
    if size == h.shape[-1]:
        return F.linear(h, weight)
    heads = h.shape[-1] // size
    if size == 1:
        return (weight.view(4, heads) * h[:, None, :]).flatten(1)
    by_head = weight.view(4, heads, size, size)
    return torch.einsum("gnrc,bnc->bgnr", by_head, h.view(-1, heads, size)).reshape(-1, rows)


def _zoned(new: Tensor, old: Tensor, zoneout: Tensor | float, t: int) -> Tensor:
    """Keep some of the old numbers (zoneout): chosen ones while training, else a share of each."""
    if isinstance(zoneout, Tensor):
        return torch.where(zoneout[:, t] > 0, old, new)
    return zoneout * old + (1 - zoneout) * new if zoneout else new
