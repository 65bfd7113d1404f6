"""Parts of a batch with lengths alike, so that less padding is computed.

A padded batch costs its longest length for every example. Sorted by length and cut into a few
parts, each costs its own longest only; more parts make the matrix products smaller and the steps
more, so a cut is made only where it pays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from gridcell.layers.lengths import is_full, is_traced
from gridcell.layers.recurrent_state import Ends, with_rows

STEP_COST = 800_000
"""What a step costs beside its products, in multiply-adds of one example and gate. Measured on two
Zen 4 cores with oneDNN, forward and backward: about as much as 6 examples of width 256."""
MOST_GROUPS = 4

Run = Callable[[Tensor, Tensor | None, Ends], tuple[Tensor, Ends]]
"""Values, lengths, first states -> outputs, last states."""


@dataclass(frozen=True)
class Group:
    """Examples `start` to `stop` of a batch sorted from long to short, all within `steps`."""

    start: int
    stop: int
    steps: int


def length_groups(
    lengths: Sequence[int], *, step_rows: float, most: int = MOST_GROUPS
) -> list[Group]:
    """Cut lengths, sorted from long to short, into the parts that cost least.

    A part costs its longest length times (its examples + `step_rows`). The best single cut is
    made, then the best one in each half, as long as it saves something.

    >>> length_groups([100, 98, 97, 20, 19], step_rows=1.0)
    [Group(start=0, stop=3, steps=100), Group(start=3, stop=5, steps=20)]
    >>> length_groups([100, 98, 97, 20, 19], step_rows=50.0)
    [Group(start=0, stop=5, steps=100)]
    """

    def cost(start: int, stop: int) -> float:
        return lengths[start] * (stop - start + step_rows)

    def cut(start: int, stop: int, most: int) -> list[Group]:
        whole = [Group(start, stop, lengths[start])]
        if most < 2 or stop - start < 2:
            return whole
        best = min(range(start + 1, stop), key=lambda place: cost(start, place) + cost(place, stop))
        if cost(start, best) + cost(best, stop) >= cost(start, stop):
            return whole
        return cut(start, best, most // 2) + cut(best, stop, most // 2)

    return cut(0, len(lengths), most)


def run_on_true_steps(
    x: Tensor,
    lengths: Tensor | None,
    first: Ends,
    *,
    run: Run,
    features: int,
    step_rows: float | None,
) -> tuple[Tensor, Ends]:
    """Run a batch on no more steps than its lengths ask for, in parts where that pays.

    step_rows   what a step costs beside its products, as a number of examples; None where parts
                don't pay

    Shapes   x [B, T, C], lengths [B], first states [layers, directions, B, D] each
             -> y [B, T, features], zero in the padding, last states
    """
    steps = x.shape[1]
    if x.shape[0] == 0 or steps == 0:
        return x.new_zeros(x.shape[0], steps, features), first
    # A recorded graph must not look at lengths; on a GPU a look would wait for all work before it.
    if lengths is None or step_rows is None or x.device.type != "cpu" or is_traced():
        return run(x, lengths, first)
    if is_full(lengths, steps):
        return run(x, None, first)
    order = torch.argsort(lengths, descending=True, stable=True)
    descending: list[int] = lengths[order].tolist()
    groups = length_groups(descending, step_rows=step_rows)
    outputs: list[Tensor] = []
    ends: list[Ends] = []
    for group in groups:
        rows = order[group.start : group.stop]
        is_even = descending[group.start] == descending[group.stop - 1]
        if len(groups) == 1:
            group_x, group_lengths, group_first = x[:, : group.steps], lengths, first
        else:
            group_x = x[:, : group.steps].index_select(0, rows)
            group_lengths = lengths[rows]
            group_first = tuple(with_rows(state, rows) for state in first)
        if group.steps == 0:
            y, end = x.new_zeros(len(rows), 0, features), group_first
        else:
            y, end = run(group_x, None if is_even else group_lengths, group_first)
        outputs.append(pad(y, (0, 0, 0, steps - group.steps)) if group.steps < steps else y)
        ends.append(end)
    if len(groups) == 1:
        return outputs[0], ends[0]
    back = torch.argsort(order)
    y = torch.cat(outputs).index_select(0, back)
    return y, tuple(with_rows(torch.cat(kind, 2), back) for kind in zip(*ends, strict=True))
