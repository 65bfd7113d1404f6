"""How far forecasts are off on validation windows: the intervals that are given beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gridcell.networks.answers import FEWEST_WINDOWS, LEVELS, Answers


def with_intervals(
    answers: Answers,
    outputs: NDArray[np.float32],
    truths: NDArray[np.generic],
    *,
    columns: int,
) -> Answers:
    """Return `answers` with the half width of each interval, by column and step ahead.

    It is the size of error that the wanted share of the n validation windows does not exceed, with
    (n + 1) * share rounded up (split conformal prediction, Papadopoulos et al. 2002). Windows
    overlap and the future may differ from them, so the share on new steps is measured, not
    promised. Fewer than 20 windows give none.

    Shapes   outputs and truths [N * columns, H], standardised
    """
    count = len(outputs) // columns
    if count < FEWEST_WINDOWS:
        return answers
    errors = np.abs(outputs.astype(np.float64) - truths.astype(np.float64))
    if not np.isfinite(errors).all():
        return answers
    ordered = np.sort(errors.reshape(count, columns, -1), axis=0)
    widths = []
    for level in LEVELS:
        place = min(int(np.ceil((count + 1) * level)), count) - 1
        widths.append(tuple(tuple(map(float, row)) for row in ordered[place]))
    return replace(answers, half_widths=tuple(widths))
