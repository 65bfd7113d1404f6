"""The engines that can walk an LSTM over time, the fastest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from gridcell.layers.engines import refuses_fused
from gridcell.layers.lstm_eager import Noise, walk_eager
from gridcell.layers.lstm_fused import walk_fused
from gridcell.layers.lstm_weights import LSTMWeights
from gridcell.layers.recurrent_state import Ends


class LSTMEngine(NamedTuple):
    """One way to walk one layer in one direction over a padded batch.

    refuses      options in use, values -> why it cannot, or None
    walk         x [B, T, C] (0 in the padding, T at least 1), lengths [B] or None, weights,
                 (h, c), noise, whether the last states are wanted
                 -> y [B, T, P] (0 in the padding), (last h, last c)
    is_fused     whether one kernel walks over all steps: then it pays on CPU to cut a batch in time
                 and leave out those that have ended
    """

    refuses: Callable[[Sequence[str], Tensor], str | None]
    walk: Callable[
        [Tensor, Tensor | None, LSTMWeights, Ends, Noise, bool],
        tuple[Tensor, Ends],
    ]
    is_fused: bool


def _refuses_fused(options: Sequence[str], x: Tensor) -> str | None:
    if options:
        return f"{options[0]} is in no fused kernel"
    return refuses_fused(x)


def _fused(
    x: Tensor,
    lengths: Tensor | None,
    weights: LSTMWeights,
    first: Ends,
    _: Noise,
    is_end_wanted: bool,
) -> tuple[Tensor, Ends]:
    y, h, c = walk_fused(x, lengths, weights, first[0], first[1], is_end_wanted=is_end_wanted)
    return y, (h, c)


def _eager(
    x: Tensor,
    lengths: Tensor | None,
    weights: LSTMWeights,
    first: Ends,
    noise: Noise,
    _: bool,
) -> tuple[Tensor, Ends]:
    moments, h, c = walk_eager(x, lengths, weights, first[0], first[1], noise=noise)
    return moments.h, (h, c)


ENGINES: dict[str, LSTMEngine] = {
    "fused": LSTMEngine(_refuses_fused, _fused, is_fused=True),
    "eager": LSTMEngine(lambda *_: None, _eager, is_fused=False),
}
