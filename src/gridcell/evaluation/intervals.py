"""Intervals: how far a score would move if the items had been drawn again.

The percentile bootstrap: N items are drawn from the N items, with repetition, and scored; of
1,000 such scores the middle 95 % is the interval. It speaks of the choice of items alone, not of
the spread between trainings. Draws are row numbers [R, N] in blocks of bounded size, and each
measure scores a whole block at once. A measure scores the items themselves when it is given
`once(N)`, the draw that takes each item once, so a resample and the estimate treat absent classes
alike.

Source   Efron & Tibshirani 1993, chapter 13; all right or all wrong: Clopper & Pearson 1934
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

Draws = NDArray[np.int64]
"""[R, N] numbers of the rows drawn, a resample a row."""
Values = NDArray[np.float64]
Measure = Callable[[Draws], Values]
"""[R, N] draws -> [R] or [R, M] scores, NaN where a resample has none."""

RESAMPLES = 1_000
COVERAGE = 0.95
# 4 MB of row numbers: large enough to hide Python, small enough for the cache.
BLOCK_DRAWS = 500_000
# A million items need fewer resamples to tell a narrow interval; below 200 the ends get noisy.
MOST_DRAWS = 50_000_000
FEWEST_RESAMPLES = 200


def resamples_for(items: int, *, resamples: int) -> int:
    """Resamples to take: those asked for, fewer above 50,000 items, but then 200 or more.

    >>> resamples_for(10_000, resamples=1_000), resamples_for(100_000, resamples=1_000)
    (1000, 500)
    """
    return min(resamples, max(FEWEST_RESAMPLES, MOST_DRAWS // max(items, 1)))


def bootstrap(
    measures: Mapping[str, Measure], items: int, *, resamples: int, seed: int
) -> dict[str, Values]:
    """Score `resamples` draws of the items by each measure: name -> [R] or [R, M].

    The same seed gives the same draws, whatever the measures are.

    Cost     about 5 ns a drawn item for each count that a measure takes; 4 MB an array
    """
    found: dict[str, list[Values]] = {name: [] for name in measures}
    for draws in _blocks(items, resamples=resamples, seed=seed):
        for name, measure in measures.items():
            found[name].append(measure(draws))
    return {name: np.concatenate(parts) for name, parts in found.items() if parts}


def once(items: int) -> Draws:
    """The draw [1, N] that takes each item once: what is scored is the data itself."""
    return np.arange(items, dtype=np.int64)[None]


def interval(resampled: Values, value: float) -> tuple[float, float] | None:
    """The ends of the middle 95 % of the resampled scores, widened to hold `value`.

    None where there is nothing to tell: fewer than half of the resamples have a score, or all
    have the same, as when every item is right.
    """
    usable = resampled[np.isfinite(resampled)]
    if not math.isfinite(value) or len(usable) == 0 or 2 * len(usable) < len(resampled):
        return None
    tail = 50 * (1 - COVERAGE)
    low, high = np.percentile(usable, [tail, 100 - tail])
    low, high = min(float(low), value), max(float(high), value)
    return None if high - low <= 1e-12 * max(abs(low), abs(high)) else (low, high)


def unbiased(resampled: Values, value: float) -> Values:
    """Resampled scores moved so that their mean is `value`, and at least 0.

    Drawing again adds noise, and a sum of absolute gaps counts noise as error: the resampled
    calibration errors of a good network all lie above its own.
    """
    moved: Values = np.maximum(resampled - (float(resampled.mean()) - value), 0.0)
    return moved


def interval_of_share(items: int, *, is_all: bool) -> tuple[float, float]:
    """The exact 95 % interval of a share where all items are right, or none is.

    There a resample always equals the data, and `100 to 100 %` would be false certainty.

    >>> low, high = interval_of_share(5, is_all=True)
    >>> round(low, 3), high
    (0.478, 1.0)
    """
    edge = ((1 - COVERAGE) / 2) ** (1 / items)
    return (edge, 1.0) if is_all else (0.0, 1 - edge)


def counts(draws: Draws, codes: NDArray[np.int64], *, size: int) -> NDArray[np.int64]:
    """How often each code 0 .. size - 1 was drawn: [R, size], from the codes [N] of the items."""
    return np.bincount(_cells(draws, codes, size), minlength=len(draws) * size).reshape(-1, size)


def sums(draws: Draws, codes: NDArray[np.int64], values: Values, *, size: int) -> Values:
    """Sum of the drawn values [N] over each code: [R, size]."""
    cells = _cells(draws, codes, size)
    weights = values[draws].ravel()
    total = np.bincount(cells, weights=weights, minlength=len(draws) * size)
    return total.astype(np.float64).reshape(-1, size)


def means(draws: Draws, values: NDArray[np.float64] | NDArray[np.bool_]) -> Values:
    """Mean of the drawn values [N]: [R]."""
    mean: Values = values[draws].mean(axis=1, dtype=np.float64)
    return mean


def times(draws: Draws) -> NDArray[np.int64]:
    """How often each item was drawn: [R, N]."""
    items = draws.shape[1]
    return counts(draws, np.arange(items, dtype=np.int64), size=items)


def mean_where(values: Values, is_kept: NDArray[np.bool_]) -> Values:
    """Mean over the last axis of the values kept: [R, K] -> [R], NaN where none is kept."""
    return ratio(np.where(is_kept, values, 0.0).sum(axis=-1), is_kept.sum(axis=-1))


def ratio(above: NDArray[np.generic], below: NDArray[np.generic]) -> Values:
    """above / below, NaN where `below` is 0, without a warning."""
    bottom = np.asarray(below, dtype=np.float64)
    quotient: Values = np.full(bottom.shape, np.nan)
    np.divide(above, bottom, out=quotient, where=bottom != 0)
    return quotient


def _blocks(items: int, *, resamples: int, seed: int) -> Iterator[Draws]:
    generator = np.random.default_rng(seed)
    rows = max(1, BLOCK_DRAWS // items)
    for start in range(0, resamples, rows):
        size = (min(rows, resamples - start), items)
        yield generator.integers(0, items, size=size, dtype=np.int64)


def _cells(draws: Draws, codes: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    # Each resample has its own `size` counters, so that one bincount counts the whole block.
    first = np.arange(len(draws), dtype=np.int64)[:, None] * size
    return (codes[draws] + first).ravel()
