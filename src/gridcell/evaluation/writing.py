"""Scores of saying what comes next in a text, from the probability that each step had.

Classes are characters or thousands of words, so all probabilities of all steps would be more than
the memory holds. What is scored is small: of each step its own probability, and whether it was the
likeliest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridcell.evaluation.scores import Score, Scores


def score(
    said: NDArray[np.float64],
    truths: NDArray[np.int64],
    *,
    labels: tuple[str, ...],
    counts: NDArray[np.float64],
    unit: str,
) -> Scores:
    """Score what was said of each step, beside a guess that knows how often each class came.

    Shapes   said [S, 2]: the logarithm of the probability of what came, and 1 where that was the
             likeliest, else 0; truths [S] what came; counts [K] of training
    """
    seen = counts + 1  # so that what training has not is not impossible
    guess = np.log(seen / seen.sum())[truths]
    likeliest = truths == seen.argmax()
    note = f"in nats a {unit}; no intervals, since steps of one text are alike"
    if not len(said):
        said, guess, note = np.full((1, 2), np.nan), np.full(1, np.nan), "0 steps"
        likeliest = np.zeros(1, np.bool_)
    loss, right = -float(said[:, 0].mean()), float(said[:, 1].mean())
    if not np.isfinite(loss):
        right = float("nan")
    return Scores(
        task="classify",
        items=len(truths),
        main="log loss",
        scores=(
            Score("log loss", loss, None, None, -float(guess.mean()), "lower", note),
            Score("accuracy", right, None, None, float(likeliest.mean()), "higher"),
        ),
        labels=labels,
    )
