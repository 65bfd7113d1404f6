"""Scores of forecasts, each beside what the naive forecasts get on the same windows.

A forecast that knows nothing but the window can be hard to beat, and published networks have lost
to it. So three stand beside every score: the last value goes on, the season repeats itself, the
line from the first value of the window to the last goes on.

There are no bootstrap intervals: windows overlap, so that a thousand of them say far less than a
thousand items would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import ShapeError
from gridcell.evaluation.inputs import Array
from gridcell.evaluation.scores import Score, Scores

Floats = NDArray[np.float64]
MAIN = "standardised MSE"
LAST, SEASON, DRIFT = "last value", "a season ago", "drift"
NOTE = "no intervals: windows overlap, and are no independent items"


def naive(
    values: Floats,
    firsts: NDArray[np.int64],
    *,
    past: int,
    horizon: int,
    season: int,
) -> dict[str, Floats]:
    """Return what the naive forecasts say for each window, by name.

        last value     x[past - 1]
        a season ago   x of the same place in the last season that the window holds whole
        drift          x[past - 1] + (h + 1) * (x[past - 1] - x[0]) / (past - 1)

    A season of 1 step, or longer than the window, repeats nothing: that forecast is left out, as
    the drift of a window of one step is.

    Shapes   values [steps, M], firsts [N] -> [N, M, horizon] each

    >>> found = naive(np.array([[1.0], [2.0], [3.0]]), np.array([0]), past=3, horizon=2, season=2)
    >>> {name: value.tolist() for name, value in found.items()}
    {'last value': [[[3.0, 3.0]]], 'a season ago': [[[2.0, 3.0]]], 'drift': [[[4.0, 5.0]]]}
    """
    ahead = np.arange(horizon)
    last = values[firsts + past - 1][:, :, None]
    found = {LAST: np.repeat(last, horizon, 2)}
    if 1 < season <= past:
        places = firsts[:, None] + past - season + ahead % season
        found[SEASON] = np.swapaxes(values[places], 1, 2)
    if past > 1:
        slope = (last - values[firsts][:, :, None]) / (past - 1)
        found[DRIFT] = last + (ahead + 1) * slope
    return found


def score(
    predictions: Array,
    targets: Array,
    *,
    labels: Sequence[str],
    deviation: Sequence[float],
    beside: Mapping[str, Array],
    half_widths: Mapping[float, Array] | None = None,
) -> Scores:
    """Score forecasts [N, M, H] against what came, both in the data's own units.

    deviation     of each column over the training steps, by which errors are standardised
    beside        what naive forecasts say, by name, as `naive` gives it
    half_widths   half the width [M, H] of the interval for each share of the truths it should hold

    `standardised MSE` and `MAE` are means over columns, windows and steps; `MAE of NAME` and `RMSE
    of NAME` are a column's, in its own units. The baseline of a score is the best naive forecast's.

    Raises   ShapeError where the shapes differ
    """
    found, truths = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    if found.shape != truths.shape or found.ndim != 3 or found.shape[1] != len(labels):
        raise ShapeError(
            f"forecasts must be [N, M={len(labels)}, H] like the truths; got {found.shape} and "
            f"{truths.shape}."
        )
    errors = found - truths
    others = {name: np.asarray(value, np.float64) - truths for name, value in beside.items()}
    scale = np.asarray(deviation, np.float64)[:, None]
    scores = [
        _score(MAIN, errors / scale, {n: e / scale for n, e in others.items()}, note=NOTE),
        _score("standardised MAE", errors / scale, {n: e / scale for n, e in others.items()}),
    ]
    for kind in ("MAE", "RMSE"):
        for column, label in enumerate(labels):
            scores.append(
                _score(
                    f"{kind} of {label}",
                    errors[:, column],
                    {name: error[:, column] for name, error in others.items()},
                )
            )
    for level, half in (half_widths or {}).items():
        inside = np.abs(errors) <= np.asarray(half)
        scores.append(
            Score(
                f"coverage of {100 * level:.0f} % intervals",
                float(inside.mean()) if inside.size else None,
                None,
                None,
                None,
                "higher",
            )
        )
    return Scores("forecast", len(found), MAIN, tuple(scores), labels=tuple(labels))


def quick(predictions: Array, targets: Array, name: str = MAIN) -> float | None:
    """The mean squared error of standardised forecasts; None where it is not finite."""
    errors = np.asarray(predictions, np.float64) - np.asarray(targets, np.float64)
    return _measured(MAIN, errors)


def _score(name: str, errors: Floats, others: Mapping[str, Floats], *, note: str = "") -> Score:
    guesses = {guess: _measured(name, error) for guess, error in others.items()}
    known = [value for value in guesses.values() if value is not None]
    return Score(
        name,
        _measured(name, errors),
        None,
        None,
        min(known, default=None),
        "lower",
        note,
        beside=guesses,
    )


def _measured(name: str, errors: Floats) -> float | None:
    if not errors.size:
        return None
    if "MAE" in name.split(" of ")[0]:
        value = float(np.abs(errors).mean())
    else:
        value = float(np.square(errors).mean())
        value = float(np.sqrt(value)) if name.startswith("RMSE") else value
    return value if np.isfinite(value) else None
