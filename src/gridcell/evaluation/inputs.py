"""Inputs of an evaluation, checked once: shapes, class numbers, probabilities, finite values.

A wrong shape is an error. Values that are not finite are what a diverged network gives: then
there is no score, and the note of each score says why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import ShapeError

Array = NDArray[Any]

# float16 probabilities of 1,000 classes add up to 1 within about 0.002; logits are far off.
SUM_TOLERANCE = 0.01


def columns(values: Array, *, name: str, letter: str, size: int | None = None) -> Array:
    """The values as an array of two axes [N, size]; numbers [N] are one column where size is 1.

    Raises ShapeError for any other shape.
    """
    values = np.asarray(values)
    if values.ndim == 1 and size in (1, None):
        values = values[:, None]
    if values.ndim != 2 or size not in (None, values.shape[1]):
        wanted = letter if size is None else f"{letter}={size}"
        raise ShapeError(f"{name} must be [N, {wanted}]; got {values.shape}.")
    return values


def same_rows(predictions: Array, targets: Array) -> None:
    """Raise ShapeError unless there is one prediction an item."""
    if len(predictions) != len(targets):
        raise ShapeError(
            f"predictions and targets must have as many rows; "
            f"got {len(predictions)} predictions and {len(targets)} targets."
        )


def class_numbers(targets: Array, *, name: str, classes: int) -> NDArray[np.int64]:
    """The targets as int64 [N]. Raises ShapeError unless each is one of the class numbers."""
    targets = np.asarray(targets)
    if targets.ndim != 1 or (targets.size and not np.issubdtype(targets.dtype, np.integer)):
        raise ShapeError(f"{name} must be class numbers [N]; got {targets.dtype} {targets.shape}.")
    numbers = targets.astype(np.int64)
    is_outside = (numbers < 0) | (numbers >= classes)
    if is_outside.any():
        row = int(np.argmax(is_outside))
        raise ShapeError(
            f"{name} must be class numbers from 0 to {classes - 1}; "
            f"got {numbers[row]} in row {row}."
        )
    return numbers


def yes_or_no(targets: Array, *, name: str) -> NDArray[np.bool_]:
    """The targets as booleans. Raises ShapeError unless all are 0 or 1."""
    is_yes: NDArray[np.bool_] = targets == 1
    is_known = (is_yes | (targets == 0)).all(axis=1)
    if not is_known.all():
        row = int(np.argmin(is_known))
        raise ShapeError(f"{name} must be 0 or 1; row {row} is {targets[row].tolist()}.")
    return is_yes


def check_probabilities(probabilities: Array, *, adds_up: bool) -> None:
    """Raise ShapeError unless all lie between 0 and 1 and, where asked, each row adds up to 1."""
    is_share = (probabilities >= 0) & (probabilities <= 1 + SUM_TOLERANCE)
    if not is_share.all():
        row = int(np.argmin(is_share.all(axis=1)))
        wrong = probabilities[row][~is_share[row]][0]
        raise ShapeError(
            f"predictions must be probabilities from 0 to 1; got {wrong:.6g} in row {row}.",
            fix=f"give the {'softmax' if adds_up else 'sigmoid'} of the logits.",
        )
    if adds_up:
        sums = probabilities.sum(axis=1, dtype=np.float64)
        is_off = np.abs(sums - 1) > SUM_TOLERANCE
        if is_off.any():
            row = int(np.argmax(is_off))
            raise ShapeError(
                f"predictions must be probabilities; row {row} adds up to {sums[row]:.6g}, not 1.",
                fix="give the softmax of the logits.",
            )


def why_unusable(predictions: Array, targets: Array) -> str:
    """Why there can be no score, or an empty string: no items, or values that are not finite."""
    if len(predictions) == 0:
        return "0 items"
    for values, noun in ((predictions, "prediction"), (targets, "target")):
        is_bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if is_bad.any():
            count = int(is_bad.sum())
            said = f"{noun} is" if count == 1 else f"{noun}s are"
            return f"{count} {said} not finite, the first in row {int(np.argmax(is_bad))}"
    return ""
