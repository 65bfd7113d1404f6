"""What a model remembers of its training targets, so that a later evaluation has its baselines.

A trivial guess knows only how often each class or label came, or how the numbers were spread.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridcell.samples import ItemTask

MOST_NUMBERS = 2001


def remember(
    task: ItemTask, targets: NDArray[np.generic], outputs: int
) -> tuple[tuple[float, ...], ...]:
    """Return counts of each class, of items with and without each label, or sorted numbers.

    Of more than 2,001 numbers, so many evenly spaced quantiles are kept.
    """
    if task == "classify":
        return (tuple(map(float, np.bincount(targets.astype(np.int64), minlength=outputs))),)
    if task == "forecast":
        return ()  # its trivial guesses look at the window
    if task == "labels":
        having = targets.sum(0)
        return tuple(map(float, having)), tuple(map(float, len(targets) - having))
    numbers = np.sort(targets.astype(np.float64), axis=0)
    if len(numbers) > MOST_NUMBERS:
        numbers = np.quantile(numbers, np.linspace(0, 1, MOST_NUMBERS), axis=0)
    return tuple(tuple(map(float, row)) for row in numbers)


def recall(task: ItemTask, remembered: tuple[tuple[float, ...], ...]) -> NDArray[np.generic]:
    """Return training targets with the same counts or quantiles as those that were remembered.

    >>> recall("classify", remember("classify", np.array([1, 0, 1]), 2)).tolist()
    [0, 1, 1]
    """
    if task == "classify":
        counts = np.array(remembered[0], dtype=np.int64)
        return np.repeat(np.arange(len(counts)), counts)
    if task == "forecast":
        return np.zeros((0, 0))
    if task == "labels":
        having = np.array(remembered[0], dtype=np.int64)
        items = int(remembered[0][0] + remembered[1][0])
        return (np.arange(items)[:, None] < having[None, :]).astype(np.float32)
    return np.array(remembered, dtype=np.float64)
