"""Labels of the data that a model does not know: it can name none of them, whatever it sees.

Such a class has no column among the predictions, so its items have no loss and no recall. They are
left out, and how many is said, with the accuracy that counts them as wrong. Of several labels at
once the known ones are scored in every item.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gridcell.evaluation.inputs import Array
from gridcell.evaluation.labels import YES
from gridcell.evaluation.scores import Unknown

Parted = tuple[NDArray[np.int64], Array, Unknown | None]
"""Rows that are scored, targets of these by known labels alone, and what is said of the others."""


def part(
    task: str,
    predictions: Array,
    targets: Array,
    *,
    known: int,
    unknown: Sequence[str],
) -> Parted:
    """Part what can be scored from labels that the model does not know.

    task      classify or labels
    known     how many labels it knows: classes of this number and above, or columns, are `unknown`

    >>> sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> rows, targets, told = part("classify", sure, np.array([0, 1, 2]), known=2, unknown=["fox"])
    >>> rows.tolist(), targets.tolist(), told.labels, round(told.value, 3)
    ([0, 1], [0, 1], {'fox': 1}, 0.667)
    """
    targets = np.asarray(targets)
    if task == "classify":
        is_strange = np.asarray(targets >= known)
        counts = np.bincount(targets, minlength=known + len(unknown))[known:]
        is_right = np.asarray(predictions.argmax(1) == targets)
        rows, score = np.flatnonzero(~is_strange), "accuracy"
        scored = targets[rows]
    else:
        has_strange = np.asarray(targets[:, known:] > 0)
        is_strange, counts = np.asarray(has_strange.any(1)), has_strange.sum(0)
        rows, score = np.arange(len(targets)), "exact match"
        scored = targets[:, :known]
        is_right = ~is_strange & ((predictions >= YES) == (scored > 0)).all(1)
    if not is_strange.any():
        return rows, scored, None
    value = float(is_right.mean()) if np.isfinite(predictions).all() else None
    named = {label: int(n) for label, n in zip(unknown, counts, strict=True) if n}
    return rows, scored, Unknown(int(is_strange.sum()), named, score, value)
