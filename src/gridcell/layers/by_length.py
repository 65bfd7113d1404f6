"""A batch sorted by length, so that less padding is computed.

A padded batch costs its longest length for every example. Sorted from long to short and cut in
time, each piece of it costs only the examples that are still going; a cut costs another call of the
kernel, so one is made only where it pays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from gridcell.layers.lengths import is_traced
from gridcell.layers.pieces import Piece, cut_in_pieces
from gridcell.layers.recurrent_state import Ends, with_rows

CALL_COST = 200
"""What another call of a kernel costs, in steps of one example: weights laid out anew, gradients
of weights added up. Measured on two Zen 4 cores with oneDNN, forward and backward, it was 115 to
300 for widths of 64 and 256 in float32 and bfloat16."""
MOST_CUTS = 3

RunPieces = Callable[[Tensor, Tensor | None, Ends, Sequence[Piece]], tuple[Tensor, Ends]]
"""Values, lengths, first states, the pieces to walk in -> outputs, last states."""


def cuts_in_time(lengths: Sequence[int], *, call_cost: float, most: int = MOST_CUTS) -> list[int]:
    """The steps before which a batch is cut, where that saves most.

    A piece costs its steps times the examples that are longer than its start, and `call_cost`. The
    best single cut is made, then the best one in each half, as long as it saves something.

    lengths   sorted from long to short

    >>> cuts_in_time([100, 98, 97, 20, 19], call_cost=10)
    [20]
    >>> cuts_in_time([100, 98, 97, 20, 19], call_cost=500)
    []
    """

    def cuts(start: int, stop: int, going: int, most: int) -> list[int]:
        # A cut before step s saves the steps behind it of those that end between start and s.
        saved = {
            step: (stop - step) * (going - place)
            for place, step in reversed([*enumerate(lengths)])
            if start < step < stop
        }
        if not most or not saved:
            return []
        best = max(saved, key=lambda step: saved[step])
        if saved[best] <= call_cost:
            return []
        left = lengths.index(best)
        behind = cuts(best, stop, left, (most - 1) // 2)
        return [*cuts(start, best, going, most - 1 - len(behind)), best, *behind]

    return cuts(0, lengths[0], len(lengths), most) if lengths else []


def run_by_length(
    x: Tensor,
    lengths: Tensor | None,
    first: Ends,
    *,
    run: RunPieces,
    features: int,
    is_fused: bool,
    truncate: int | None,
) -> tuple[Tensor, Ends]:
    """Run a batch on few more steps than its lengths ask for, in pieces where that pays.

    is_fused   whether one kernel walks over all steps: otherwise cuts save nothing
    truncate   steps that gradients reach back, None for all

    The order of the examples that `run` sees may differ from that of x: what it draws at random
    falls on the examples sorted from long to short.

    Shapes   x [B, T, C], lengths [B], first states [layers, directions, B, D] each
             -> y [B, T, features], zero in the padding, last states
    """
    examples, steps = x.shape[:2]
    if examples == 0 or steps == 0:
        return x.new_zeros(examples, steps, features), first
    # A recorded graph must not look at lengths; on a GPU a look would wait for all work before it.
    if lengths is None or not is_fused or x.device.type != "cpu" or is_traced():
        return run(x, lengths, first, cut_in_pieces(steps, examples, truncate=truncate))
    known: list[int] = lengths.tolist()
    longest = max(known)
    if longest == 0:
        return x.new_zeros(examples, steps, features), first
    if longest == min(known):
        pieces = cut_in_pieces(longest, examples, truncate=truncate)
        y, ends = run(x[:, :longest], None, first, pieces)
        return _lengthened(y, steps), ends
    descending = sorted(known, reverse=True)
    cuts = cuts_in_time(descending, call_cost=CALL_COST)
    if not cuts and truncate is None:
        y, ends = run(x[:, :longest], lengths, first, cut_in_pieces(longest, examples))
        return _lengthened(y, steps), ends
    order = torch.argsort(lengths, descending=True, stable=True)
    y, ends = run(
        x[:, :longest].index_select(0, order),
        lengths[order],
        tuple(with_rows(state, order) for state in first),
        cut_in_pieces(longest, examples, truncate=truncate, cuts=cuts, descending=descending),
    )
    back = torch.argsort(order)
    y = _lengthened(y.index_select(0, back), steps)
    return y, tuple(with_rows(state, back) for state in ends)


def _lengthened(y: Tensor, steps: int) -> Tensor:
    missing = steps - y.shape[1]
    return pad(y, (0, 0, 0, missing)) if missing else y
