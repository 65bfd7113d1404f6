"""Scores of predicted numbers, in the data's own units.

Columns are scored each by itself and as the mean over columns. The baselines are the best guesses
without a look at the input: the training median for MAE, the training mean for RMSE and R2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from gridcell.evaluation import inputs
from gridcell.evaluation.inputs import Array
from gridcell.evaluation.intervals import (
    RESAMPLES,
    Draws,
    Values,
    bootstrap,
    interval,
    mean_where,
    once,
    ratio,
    resamples_for,
    times,
)
from gridcell.evaluation.scores import (
    Better,
    Score,
    Scores,
    WorstItem,
    finite,
    name_some,
    unknown_score,
)

WORST_KEPT = 20


@dataclass(frozen=True)
class Outcomes:
    """What the predictions came to, item by item.

    Shapes   N items, M columns; both arrays [N, M]
    """

    errors: Values
    """Prediction minus target."""
    targets: Values
    """Targets minus their mean, exactly 0 in a column that is constant."""


def mae(outcomes: Outcomes, draws: Draws) -> Values:
    """Mean absolute error of each column, [R, M]."""
    return _means(draws, np.abs(outcomes.errors))


def rmse(outcomes: Outcomes, draws: Draws) -> Values:
    """Root of the mean squared error of each column, [R, M]."""
    root: Values = np.sqrt(_means(draws, np.square(outcomes.errors)))
    return root


def r2(outcomes: Outcomes, draws: Draws) -> Values:
    """Share of the variance that is explained, of each column, [R, M].

        1 - sum of squared errors / sum of squared distances of the targets from their mean

    1 is perfect, 0 is as good as always saying the mean of these targets, and there is no lower
    end. NaN where the targets are all the same, so also for one item.
    """
    squares = _means(draws, np.square(outcomes.targets))
    variance = squares - np.square(_means(draws, outcomes.targets))
    # A resample of one item drawn N times leaves rounding where the variance is 0.
    variance = np.where(variance > 1e-12 * squares, variance, 0.0)
    return 1 - ratio(_means(draws, np.square(outcomes.errors)), variance)


MEASURES: dict[str, tuple[Callable[[Outcomes, Draws], Values], Better]] = {
    "MAE": (mae, "lower"),
    "RMSE": (rmse, "lower"),
    "R2": (r2, "higher"),
}


def score(
    predictions: Array,
    targets: Array,
    *,
    labels: tuple[str, ...],
    train_targets: Array,
    main: str = "MAE",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Scores:
    """Score predicted numbers [N, M] against targets [N, M]; [N] is one column.

    With several columns `MAE`, `RMSE` and `R2` are means over the columns, and `MAE of NAME` and
    so on stand beside them. Values that are not finite, or no items, give n/a for every score,
    with a note.

    Raises   ShapeError for wrong shapes
    """
    predictions, targets = _checked(predictions, targets, count=len(labels))
    trained = inputs.columns(train_targets, name="train_targets", letter="M", size=len(labels))
    reason = inputs.why_unusable(predictions, targets)
    if reason:
        nothing = (
            Score(called, None, None, None, None, better, reason)
            for name, (_, better) in MEASURES.items()
            for called in _names(name, labels)
        )
        return Scores("regress", len(targets), main, tuple(nothing), labels=labels)

    resamples = resamples_for(len(targets), resamples=resamples)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is n/a, and said
        outcomes = _outcomes(predictions, targets)
        measures = {name: partial(kind[0], outcomes) for name, kind in MEASURES.items()}
        drawn = bootstrap(measures, len(targets), resamples=resamples, seed=seed)
        baselines = _baselines(targets, trained)
        scores: list[Score] = []
        for name, measure in measures.items():
            scores += _scores_of(
                name,
                measure(once(len(targets))),
                resampled=drawn.get(name),
                baselines=baselines.get(name),
                labels=labels,
            )
        worst = _worst(outcomes, predictions, targets, labels)
    return Scores(
        task="regress",
        items=len(targets),
        main=main,
        scores=tuple(scores),
        labels=labels,
        worst=worst,
        resamples=resamples,
    )


def quick(predictions: Array, targets: Array, *, name: str) -> float | None:
    """One score, the mean over columns, without its interval; None where it is n/a.

    That is where predictions are not finite, without items, or for R2 where no column varies.
    """
    if name not in MEASURES:
        raise unknown_score(name, task="regress", known=list(MEASURES))
    predictions, targets = _checked(predictions, targets, count=None)
    if inputs.why_unusable(predictions, targets):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        each = MEASURES[name][0](_outcomes(predictions, targets), once(len(targets)))
        return finite(mean_where(each, ~np.isnan(each))[0])


def _checked(predictions: Array, targets: Array, *, count: int | None) -> tuple[Values, Values]:
    predictions = inputs.columns(predictions, name="predictions", letter="M", size=count)
    width = predictions.shape[1]
    targets = inputs.columns(targets, name="targets", letter="M", size=width)
    inputs.same_rows(predictions, targets)
    return predictions.astype(np.float64), targets.astype(np.float64)


def _outcomes(predictions: Values, targets: Values) -> Outcomes:
    is_constant = (targets == targets[0]).all(axis=0)
    # The variance is a small difference of large numbers unless the mean is taken away first.
    centred = np.where(is_constant, 0.0, targets - targets.mean(axis=0))
    return Outcomes(errors=predictions - targets, targets=centred)


def _means(draws: Draws, values: Values) -> Values:
    mean: Values
    if len(draws) == 1:
        mean = values[draws[0]].mean(axis=0, keepdims=True)
    else:
        mean = (times(draws).astype(np.float64) @ values) / draws.shape[1]
    return mean


def _baselines(targets: Values, trained: Array) -> dict[str, Values]:
    """[M] of each score when every item gets the training median (MAE) or mean (RMSE, R2)."""
    trained = trained.astype(np.float64)
    if len(trained) == 0 or not np.isfinite(trained).all():
        return {}
    guesses = {"MAE": np.median(trained, axis=0)}
    guesses["RMSE"] = guesses["R2"] = trained.mean(axis=0)
    return {
        name: MEASURES[name][0](
            _outcomes(np.broadcast_to(guess, targets.shape), targets), once(len(targets))
        )[0]
        for name, guess in guesses.items()
    }


def _names(name: str, labels: tuple[str, ...]) -> list[str]:
    return [name] if len(labels) == 1 else [name, *(f"{name} of {label}" for label in labels)]


def _scores_of(
    name: str,
    each: Values,
    *,
    resampled: Values | None,
    baselines: Values | None,
    labels: tuple[str, ...],
) -> list[Score]:
    """The mean over columns and, of several, each column: values [1, M], resampled [R, M]."""
    rows = [_with_mean(each)[0]]
    if baselines is not None:
        rows.append(_with_mean(baselines[None])[0])
    drawn = None if resampled is None else _with_mean(resampled)
    constant = [label for label, value in zip(labels, each[0], strict=True) if np.isnan(value)]
    scores = []
    for column, called in enumerate(_names(name, labels)):
        value = float(rows[0][column])
        ends = None if drawn is None else interval(drawn[:, column], value)
        notes = []
        if np.isnan(value):
            notes.append("the targets are all the same here")
        elif column == 0 and len(labels) > 1:
            notes.append("mean over the columns")
            if constant:
                notes.append(f"without those whose targets do not vary: {name_some(constant)}")
        if ends is None and drawn is not None and np.isfinite(value):
            notes.append("no interval: the resamples agree or have no score")
        low, high = ends or (None, None)
        baseline = finite(rows[1][column]) if baselines is not None else None
        given = None if np.isnan(value) else value
        note = "; ".join(notes)
        scores.append(Score(called, given, low, high, baseline, MEASURES[name][1], note))
    return scores


def _with_mean(each: Values) -> Values:
    """[R, M] -> the mean over columns in front: [R, 1 + M]; a lone column is its own mean."""
    return np.column_stack([mean_where(each, ~np.isnan(each)), each])


def _worst(
    outcomes: Outcomes, predictions: Values, targets: Values, labels: tuple[str, ...]
) -> tuple[WorstItem, ...]:
    """The greatest errors, each column measured in its own RMSE so that all columns count."""
    scale = np.sqrt(np.square(outcomes.errors).mean(axis=0))
    losses = np.abs(ratio(outcomes.errors, np.broadcast_to(scale, outcomes.errors.shape)))
    losses = np.nan_to_num(losses, nan=0.0, posinf=0.0).max(axis=1)
    order = np.argsort(-losses, kind="stable")[:WORST_KEPT]
    return tuple(
        WorstItem(
            row=int(row),
            truth=_written(targets[row], labels),
            predicted=_written(predictions[row], labels),
            probability=None,
            loss=float(losses[row]),
        )
        for row in order
        if losses[row] > 0
    )


def _written(values: Values, labels: tuple[str, ...]) -> str:
    if len(labels) == 1:
        return f"{values[0]:.6g}"
    pairs = zip(labels, values, strict=True)
    return name_some([f"{label} {value:.6g}" for label, value in pairs])
