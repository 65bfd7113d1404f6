"""The memory of a recurrent layer as a value that the caller holds.

A layer keeps nothing between two calls: who wants to go on where a sequence stopped hands the state
that `run` or `step` gave back in with the next piece.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gridcell.axes import check_shape
from gridcell.errors import NetworkError, ShapeError
from gridcell.layers.lengths import check_lengths, is_traced, mask_steps

Ends = tuple[Tensor, ...]
"""States at one end of a walk: h, and c where there is one."""


class LSTMState(NamedTuple):
    """What an LSTM carries from step to step, for each layer and direction.

    h   what it showed last, [layers, directions, B, D] (P instead of D with a projection)
    c   its cells, [layers, directions, B, D]

    torch.nn.LSTM's pair is `(state.h.flatten(0, 1), state.c.flatten(0, 1))`.
    """

    h: Tensor
    c: Tensor


class RNNState(NamedTuple):
    """What a plain recurrent layer carries: h [layers, directions, B, D]."""

    h: Tensor


def check_state(
    given: Tensor | None,
    *,
    name: str,
    shape: tuple[int, int, int, int],
    like: Tensor,
    layer: str,
) -> Tensor:
    """Return a state's tensor in the dtype of `like`: zeros where None is given.

    Raises   ShapeError unless it has the shape [layers, directions, B, D]
    """
    if given is None:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
    if tuple(given.shape) != shape:
        raise ShapeError(
            f"{layer} state {name} must be [layers, directions, B, D] = {list(shape)}; "
            f"got {tuple(given.shape)}."
        )
    return given.to(like.dtype)


def check_values(
    x: Tensor, lengths: Tensor | None, *, channels: int, weight: Tensor, layer: str
) -> Tensor:
    """Return x with its padding set to 0.

    Raises   ShapeError unless x is [B, T, C] in the dtype of the weights, and lengths, if given,
             are B whole numbers from 0 to T on the device of x
    """
    check_shape(x, "B T C", layer=layer, C=channels)
    if torch.is_autocast_enabled(x.device.type) and x.is_floating_point():
        x = x.to(weight.dtype)
    if x.dtype != weight.dtype:
        raise ShapeError(
            f"{layer} weights are {weight.dtype}; got values of {x.dtype}.",
            fix=f"x.to({weight.dtype}), or layer.to(x.dtype).",
        )
    if lengths is None:
        return x
    if isinstance(lengths, Tensor) and lengths.device != x.device:
        raise ShapeError(
            f"{layer} lengths are on {lengths.device}, the values on {x.device}.",
            fix="lengths.to(x.device).",
        )
    if not is_traced():
        check_lengths(lengths, x, layer=layer)
    return mask_steps(x, lengths)


def refuse_both(both: bool, *, layer: str) -> None:
    """Raise NetworkError for a layer that walks both ways and is asked for a single step."""
    if both:
        raise NetworkError(
            f"{layer} with both=True cannot step: its backward walk starts at the last step, "
            "which is not there yet.",
            fix="both=False, or run() on whole sequences.",
        )


def with_rows(state: Tensor, rows: Tensor) -> Tensor:
    """The states [layers, directions, rows, D] of some examples of a batch, in that order."""
    return state.index_select(2, rows)
