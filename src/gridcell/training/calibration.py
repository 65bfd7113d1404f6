"""Make probabilities mean what they say: one temperature, fitted on validation rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gridcell.networks.answers import Answers

FEWEST_ITEMS = 20
COLDEST, HOTTEST = 0.05, 1e6
ROUNDS = 60
GOLDEN = (5**0.5 - 1) / 2


def calibrated(
    answers: Answers, outputs: NDArray[np.float32], targets: NDArray[np.generic]
) -> Answers:
    """Return `answers` with the temperature that makes these validation targets most probable.

    With n items, each target keeps 1 / (n + 1) of its weight for the other classes: where every
    answer is right, no temperature would be cold enough, and a few right answers prove little.
    Fewer than 20 items, and numbers, leave the temperature at 1.

    Shapes   outputs [N, K]; targets [N] class indices or [N, K] of 0 and 1
    Source   Guo et al. 2017; the weight for the others after Platt 1999
    """
    if answers.task == "regress" or len(outputs) < FEWEST_ITEMS:
        return answers
    spare = 1 / (len(outputs) + 1)
    count = outputs.shape[1]
    if answers.task == "classify":
        wanted = np.full(outputs.shape, spare / count)
        wanted[np.arange(len(outputs)), targets.astype(np.int64)] += 1 - spare
    else:
        wanted = targets.astype(np.float64) * (1 - spare) + spare / 2

    def loss(log_temperature: float) -> float:
        probabilities = replace(answers, temperature=float(np.exp(log_temperature))).of(outputs)
        probabilities = np.clip(probabilities, 1e-300, 1.0)
        likely = wanted * np.log(probabilities)
        if answers.task == "labels":
            likely += (1 - wanted) * np.log(np.clip(1 - probabilities, 1e-300, 1.0))
        return float(-likely.mean())

    return replace(answers, temperature=float(np.exp(_lowest(loss))))


def _lowest(loss: Callable[[float], float]) -> float:
    """Golden-section search over the logarithm of the temperature: the loss has one valley."""
    low, high = float(np.log(COLDEST)), float(np.log(HOTTEST))
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(ROUNDS):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = loss(right)
    return float((low + high) / 2)
