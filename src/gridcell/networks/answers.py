"""From a network's outputs to answers: probabilities, or numbers in the data's own units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridcell.samples import ItemTask

LEVELS = (0.8, 0.95)
"""Shares of the truths that the intervals of a forecast are meant to hold."""
FEWEST_WINDOWS = 20
"""Validation windows that intervals need."""


@dataclass(frozen=True)
class Answers:
    """What the outputs of a task mean, and the numbers that turn them into answers.

    classify   softmax of output / temperature
    labels     the logistic function of each output / temperature
    regress    output * deviation + mean, the scale that training standardised the targets by
    forecast   the output as it is: each column's scale is the preparation's

    The temperature is fitted on validation rows, so that of the answers given with 80 %, about
    80 % are right (Guo et al. 2017). It never changes which class is the most probable.

    >>> Answers("classify").of(np.array([[1000.0, 1000.0]], np.float32)).tolist()
    [[0.5, 0.5]]
    """

    task: ItemTask
    target_mean: tuple[float, ...] = ()
    target_deviation: tuple[float, ...] = ()
    temperature: float = 1.0
    half_widths: tuple[tuple[tuple[float, ...], ...], ...] = ()
    """[levels, M, H] of a forecast's intervals, standardised, by column and step ahead; none where
    validation windows were too few to tell."""

    def told(self) -> list[str]:
        """What was fitted on validation rows, for the user; nothing where nothing was."""
        if self.half_widths:
            levels = " and ".join(f"{100 * level:.0f} %" for level in LEVELS)
            return [f"Intervals of {levels} are as wide as the errors on validation windows."]
        if self.task == "forecast":
            return [
                f"No intervals are given: they need {FEWEST_WINDOWS} validation windows or more."
            ]
        if self.temperature == 1.0:
            return []
        return [
            f"Probabilities are calibrated on validation rows: temperature {self.temperature:.2f}."
        ]

    def of(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return probabilities [N, K], or numbers [N, M]."""
        values = outputs.astype(np.float64)
        if self.task == "forecast":
            return values
        if self.task != "regress":
            values /= self.temperature
        if self.task == "classify":
            # Subtracting the largest changes nothing but keeps exp from overflowing.
            # Outputs that overflowed give NaN, which is no score and needs no warning beside it.
            with np.errstate(invalid="ignore"):
                shifted = np.exp(values - values.max(-1, keepdims=True))
            return np.asarray(shifted / shifted.sum(-1, keepdims=True))
        if self.task == "labels":
            small = np.exp(-np.abs(values))
            return np.where(values >= 0, 1 / (1 + small), small / (1 + small))
        return np.asarray(values * np.array(self.target_deviation) + np.array(self.target_mean))
