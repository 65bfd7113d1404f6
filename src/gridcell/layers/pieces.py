"""Walking a sequence in pieces, so that gradients reach back to the start of a piece and no more.

Truncated backpropagation through time: the state goes from piece to piece, its gradient does not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gridcell.layers.recurrent_state import Ends

PieceWalk = Callable[[Tensor, Tensor | None, Ends, slice], tuple[Tensor, Ends]]
"""Values, lengths, first states, which steps of the whole they are -> outputs, last states."""


def walk_in_pieces(
    x: Tensor, lengths: Tensor | None, first: Ends, *, steps: int | None, walk: PieceWalk
) -> tuple[Tensor, Ends]:
    """Walk one direction in pieces of `steps`, each from the detached states of the one before.

    steps    None walks over everything at once

    The last states of a sequence are those of the piece in which it ended, and their gradient
    reaches back to the start of that piece.

    Shapes   x [B, T, C] with T at least 1, lengths [B], first states [B, D] each
             -> y [B, T, D], last states
    """
    whole = x.shape[1]
    if steps is None or steps >= whole:
        return walk(x, lengths, first, slice(0, whole))
    outputs: list[Tensor] = []
    ends = first
    for start in range(0, whole, steps):
        piece = slice(start, min(start + steps, whole))
        size = piece.stop - start
        left = None if lengths is None else (lengths - start).clamp(0, size)
        from_ends = ends if start == 0 else tuple(end.detach() for end in ends)
        y, new = walk(x[:, piece], left, from_ends, piece)
        if left is not None:
            goes_on = left[:, None] > 0
            new = tuple(
                torch.where(goes_on, one, other) for one, other in zip(new, ends, strict=True)
            )
        outputs.append(y)
        ends = new
    return torch.cat(outputs, 1), ends
