"""Walking a sequence in pieces of time.

Two reasons to cut: so that gradients reach back to the start of a piece and no more (truncated
backpropagation through time: the state goes from piece to piece, its gradient does not), and so
that examples which have ended cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from gridcell.layers.recurrent_state import Ends

PieceWalk = Callable[[Tensor, Tensor | None, Ends, slice], tuple[Tensor, Ends]]
"""Values, lengths, first states, which steps of the whole they are -> outputs, last states."""


@dataclass(frozen=True)
class Piece:
    """Steps `start` to `stop` of the first `examples` of a batch.

    is_full       whether every one of them is known to have all these steps
    is_detached   whether no gradient goes back beyond `start`
    """

    start: int
    stop: int
    examples: int
    is_full: bool = False
    is_detached: bool = False


def cut_in_pieces(
    steps: int,
    examples: int,
    *,
    truncate: int | None = None,
    cuts: Sequence[int] = (),
    descending: Sequence[int] | None = None,
) -> list[Piece]:
    """Cut `steps` every `truncate` steps, there without gradients, and before each of `cuts`.

    descending   the lengths of a batch that is sorted from long to short: a piece then holds only
                 the examples that are longer than its start. The first holds all

    >>> for piece in cut_in_pieces(9, 3, cuts=[4], descending=[9, 9, 4]): print(piece)
    Piece(start=0, stop=4, examples=3, is_full=True, is_detached=False)
    Piece(start=4, stop=9, examples=2, is_full=True, is_detached=False)
    """
    starts = sorted({0, *cuts, *range(0, steps, truncate or steps)})
    pieces = []
    for start, stop in zip(starts, [*starts[1:], steps], strict=True):
        going, is_full = examples, False
        if descending is not None:
            going = sum(length > start for length in descending) if start else examples
            is_full = descending[going - 1] >= stop
        is_detached = bool(truncate and start and start % truncate == 0)
        pieces.append(Piece(start, stop, going, is_full, is_detached))
    return pieces


def walk_in_pieces(
    x: Tensor, lengths: Tensor | None, first: Ends, pieces: Sequence[Piece], walk: PieceWalk
) -> tuple[Tensor, Ends]:
    """Walk one direction piece by piece, each from the states that the one before left.

    The last states of a sequence are those of the piece in which it ended, and their gradient
    reaches back to where that piece is cut off.

    Shapes   x [B, T, C] with T at least 1, lengths [B], first states [B, D] each
             -> y [B, T, D], last states
    """
    if len(pieces) == 1:
        return walk(x, lengths, first, slice(0, x.shape[1]))
    outputs: list[Tensor] = []
    ended: list[Ends] = []
    ends = first
    # Backward joins the parts of a split; slices would each be laid into zeros and added up.
    parts = torch.split(x, [piece.stop - piece.start for piece in pieces], 1)
    for piece, part in zip(pieces, parts, strict=True):
        if piece.examples < len(ends[0]):
            ended.append(tuple(end[piece.examples :] for end in ends))
            ends = tuple(end[: piece.examples] for end in ends)
        left = None
        if lengths is not None and not piece.is_full:
            left = (lengths[: piece.examples] - piece.start).clamp(0, part.shape[1])
        from_ends = tuple(end.detach() for end in ends) if piece.is_detached else ends
        y, new = walk(part[: piece.examples], left, from_ends, slice(piece.start, piece.stop))
        if left is not None:
            goes_on = left[:, None] > 0
            new = tuple(
                torch.where(goes_on, one, other) for one, other in zip(new, ends, strict=True)
            )
        outputs.append(pad(y, (0, 0, 0, 0, 0, len(x) - len(y))))
        ends = new
    every = zip(ends, *reversed(ended), strict=True)
    return torch.cat(outputs, 1), tuple(torch.cat(kind) for kind in every)
