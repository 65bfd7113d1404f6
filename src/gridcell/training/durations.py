"""Whether the length of a series tells what it is, judged from the training rows alone.

Some things take longer than others: of some gestures the length alone names half. A mean over time
forgets it. So training rows are named by those nearest to them in length, and where that is far
better than chance, features are summed over time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_GAIN, LEAST_DEVIATIONS = 1.5, 3.0
"""What lengths name must be so many times what chance does, and so many deviations above it."""
FEWEST_ROWS = 30


@dataclass(frozen=True)
class Durations:
    """The shares of training rows that their lengths name, and that chance does."""

    named: float
    chance: float
    usual: int
    """Median number of steps."""

    @property
    def told(self) -> str:
        """What was found, for the user."""
        return f"those nearest in length name {self.named:.0%} of them, chance {self.chance:.0%}"


def telling_durations(steps: NDArray[np.integer], classes: NDArray[np.integer]) -> Durations | None:
    """Say how well lengths name classes; None where it is not far better than chance.

    Of several rows that are nearest to one, each has its share.

    Shapes   steps [N], classes [N]

    >>> found = telling_durations(np.arange(40), np.arange(40) // 10)
    >>> found.named > 0.9, round(found.chance, 2)
    (True, 0.25)
    """
    count = len(steps)
    if count < FEWEST_ROWS or steps.min() == steps.max():
        return None
    lengths, place = np.unique(steps.astype(np.int64), return_inverse=True)
    names, number = np.unique(classes, return_inverse=True)
    held = np.zeros((len(lengths), len(names)))
    np.add.at(held, (place, number), 1)
    rows = held.sum(1)
    right = 0.0
    for at, alike in enumerate(held):
        if rows[at] > 1:  # the others of the very same length
            right += float((alike * (alike - 1)).sum() / (rows[at] - 1))
        else:
            near = _nearest(lengths, at)
            right += float((held[near] @ alike).sum() / rows[near].sum())
    chance = float(((held.sum(0) / count) ** 2).sum())
    deviation = (chance * (1 - chance) / count) ** 0.5
    named = right / count
    if named < max(LEAST_GAIN * chance, chance + LEAST_DEVIATIONS * deviation):
        return None
    return Durations(named, chance, max(1, int(np.median(steps))))


def _nearest(lengths: NDArray[np.int64], at: int) -> list[int]:
    """The places of the lengths nearest to that at one place, both where they are as near."""
    gaps = {
        other: abs(int(lengths[other] - lengths[at]))
        for other in (at - 1, at + 1)
        if 0 <= other < len(lengths)
    }
    return [other for other, gap in gaps.items() if gap == min(gaps.values())]
