"""Scores of saying what comes next in a text, from the probability that each step had.

Classes are characters or thousands of words, so all probabilities of all steps would be more than
the memory holds. What is scored is small: of each step its own probability, and whether it was the
likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gridcell.evaluation.scores import Score, Scores, Unknown


def score(
    said: NDArray[np.float64],
    truths: NDArray[np.int64],
    *,
    labels: tuple[str, ...],
    counts: NDArray[np.float64],
    unit: str,
    unknown: Sequence[str] = (),
) -> Scores:
    """Score what was said of each step, beside a guess that knows how often each class came.

    unknown   what truths have behind `labels`, as classes K, K + 1 ...: the model cannot say it, so
              it is left out, and counted

    Shapes   said [S, 2]: the logarithm of the probability of what came, and 1 where that was the
             likeliest, else 0; truths [S] what came; counts [K] of training
    """
    said, truths, strange = _parted(said, truths, len(labels), unit, unknown)
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
        task="write",
        items=len(truths),
        main="log loss",
        scores=(
            Score("log loss", loss, None, None, -float(guess.mean()), "lower", note),
            Score("accuracy", right, None, None, float(likeliest.mean()), "higher"),
        ),
        labels=labels,
        unknown=strange,
    )


def _parted(
    said: NDArray[np.float64],
    truths: NDArray[np.int64],
    known: int,
    unit: str,
    unknown: Sequence[str],
) -> tuple[NDArray[np.float64], NDArray[np.int64], Unknown | None]:
    """Part the steps that the model can say from the others, and return what is told of those."""
    is_known = truths < known
    if is_known.all():
        return said, truths, None
    counts = np.bincount(truths[~is_known] - known, minlength=len(unknown))
    named = {label: int(n) for label, n in zip(unknown, counts, strict=True) if n}
    is_right = is_known & (said[:, 1] > 0)
    value = float(is_right.mean()) if np.isfinite(said[:, 0]).all() else None
    strange = Unknown(int(counts.sum()), named, "accuracy", value, unit)
    return said[is_known], truths[is_known], strange
