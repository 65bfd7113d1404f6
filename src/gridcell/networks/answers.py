"""From a network's outputs to answers: probabilities, or numbers in the data's own units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridcell.samples import ItemTask


@dataclass(frozen=True)
class Answers:
    """What the outputs of a task mean; for numbers, the scale that training standardised them by.

    classify   softmax
    labels     the logistic function of each output
    regress    output * deviation + mean

    >>> Answers("classify").of(np.array([[1000.0, 1000.0]], np.float32)).tolist()
    [[0.5, 0.5]]
    """

    task: ItemTask
    target_mean: tuple[float, ...] = ()
    target_deviation: tuple[float, ...] = ()

    def of(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return probabilities [N, K], or numbers [N, M]."""
        values = outputs.astype(np.float64)
        if self.task == "classify":
            # Subtracting the largest changes nothing but keeps exp from overflowing.
            shifted = np.exp(values - values.max(-1, keepdims=True))
            return np.asarray(shifted / shifted.sum(-1, keepdims=True))
        if self.task == "labels":
            small = np.exp(-np.abs(values))
            return np.where(values >= 0, 1 / (1 + small), small / (1 + small))
        return np.asarray(values * np.array(self.target_deviation) + np.array(self.target_mean))
