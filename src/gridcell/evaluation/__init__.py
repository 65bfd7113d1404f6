"""Evaluation: how good the predictions are, with intervals and beside a trivial guess.

NumPy arrays in, `Scores` out. It knows no network: what predicted is not its business.

>>> import numpy as np
>>> sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
>>> scores = score("classify", sure, np.array([0, 1, 1, 0]),
...                labels=("cat", "dog"), train_targets=np.array([0, 0, 0, 1]))
>>> scores["accuracy"].value, scores["accuracy"].baseline, scores.confusion
(0.75, 0.5, [[2, 0], [1, 1]])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from gridcell.errors import ConfigError, did_you_mean
from gridcell.evaluation import classify, forecast, regress, unknown_labels, writing
from gridcell.evaluation import labels as several
from gridcell.evaluation.inputs import Array
from gridcell.evaluation.intervals import RESAMPLES
from gridcell.evaluation.scores import Better, ClassScore, Score, Scores, Unknown, WorstItem

__all__ = [
    "ClassScore",
    "Score",
    "Scores",
    "Unknown",
    "WorstItem",
    "choose_main",
    "forecast",
    "main_score",
    "over_steps",
    "quick",
    "score",
    "writing",
]

SCORERS: dict[str, Callable[..., Scores]] = {
    "classify": classify.score,
    "labels": several.score,
    "regress": regress.score,
}
QUICK: dict[str, Callable[..., float | None]] = {
    "classify": classify.quick,
    "labels": several.quick,
    "regress": regress.quick,
    "forecast": forecast.quick,
}
MAIN: dict[str, tuple[str, Better]] = {
    "classify": ("accuracy", "higher"),
    "labels": ("average precision", "higher"),
    "regress": ("MAE", "lower"),
    "forecast": (forecast.MAIN, "lower"),
}
BALANCED_WITHIN = 3
"""Classes are balanced where the largest has at most so many times the items of the smallest."""


def score(
    task: str,
    predictions: Array,
    targets: Array,
    *,
    labels: Sequence[str],
    train_targets: Array,
    unknown: Sequence[str] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Scores:
    """Score the predictions by all measures of the task, with 95 % intervals and baselines.

    unknown   labels that targets have behind `labels` and predictions do not: classes K, K + 1 ...
              or further columns of 0 and 1; see `unknown_labels`

    Shapes   classify: probabilities [N, K], class numbers [N]
             labels: probabilities [N, K], 0 or 1 [N, K]
             regress: numbers [N, M] and [N, M], in the data's own units
             train_targets: as targets, of the training rows; the baselines know only these
    NaN      a prediction that is not finite makes every score n/a, with a note; so do no items
    Raises   ConfigError for an unknown task; ShapeError for what does not fit the shapes above
    """
    _check_task(task, SCORERS)
    main, _ = choose_main(task, train_targets)
    scorer = partial(
        SCORERS[task],
        labels=tuple(labels),
        train_targets=train_targets,
        main=main,
        seed=seed,
        resamples=resamples,
    )
    if not unknown:
        return scorer(predictions, targets)
    rows, scored, told = unknown_labels.part(
        task, predictions, targets, known=len(labels), unknown=unknown
    )
    scores = scorer(predictions[rows], scored)
    worst = tuple(replace(item, row=int(rows[item.row])) for item in scores.worst)
    return replace(scores, worst=worst, unknown=told)


def over_steps(scores: Scores, task: str) -> Scores:
    """Scores of which each item is a step: without intervals, which would be far too narrow.

    task   that the steps are of: tags or events, which are scored as classes and labels are

    Steps of one recording are alike, so that a thousand of them say less than a thousand items.
    """

    def without(note: str) -> str:
        """What a note says besides of its interval."""
        parts = note.split("; ")
        return "; ".join(p for p in parts if not p.startswith(("interval ", "no interval:")))

    every = tuple(
        replace(score, low=None, high=None, note=without(score.note)) for score in scores.scores
    )
    note = "items are steps; no intervals, since steps of one recording are alike"
    main = tuple(
        replace(score, note="; ".join(filter(None, (score.note, note))))
        if score.name == scores.main
        else score
        for score in every
    )
    unknown = None if scores.unknown is None else replace(scores.unknown, unit="step")
    return replace(scores, task=task, scores=main, worst=(), unknown=unknown)


def quick(task: str, predictions: Array, targets: Array, name: str) -> float | None:
    """One score without interval and baseline, as after each epoch.

    None where it is n/a: predictions that are not finite, no items, or a measure that these
    items leave undefined. None never wins: a caller keeps its best epoch.

    >>> quick("regress", np.array([1.0, 3.0]), np.array([1.0, 2.0]), "MAE")
    0.5
    >>> quick("regress", np.array([1.0, np.nan]), np.array([1.0, 2.0]), "MAE") is None
    True
    """
    _check_task(task)
    return QUICK[task](predictions, targets, name=name)


def main_score(task: str) -> tuple[str, Better]:
    """The score that epochs are chosen by where nothing is known of the data."""
    _check_task(task)
    return MAIN[task]


def choose_main(task: str, train_targets: Array) -> tuple[str, Better]:
    """The score that epochs are chosen by, given what there is to learn.

    Accuracy hides a class that is never predicted, so where the largest class of the training
    rows has more than three times the items of the smallest it is balanced accuracy. Columns of
    numbers may differ in unit, so for several it is R2, in which each counts the same.

    >>> choose_main("classify", np.repeat([0, 1], [990, 10]))
    ('balanced accuracy', 'higher')
    """
    _check_task(task)
    train_targets = np.asarray(train_targets)
    if task == "classify" and train_targets.size:
        _, items = np.unique(train_targets, return_counts=True)
        if items.max() > BALANCED_WITHIN * items.min():
            return "balanced accuracy", "higher"
    if task == "regress" and train_targets.ndim == 2 and train_targets.shape[1] > 1:
        return "R2", "higher"
    return MAIN[task]


def _check_task(task: str, known: Iterable[str] = MAIN) -> None:
    if task not in known:
        raise ConfigError(
            f"{task!r} is not a task that can be scored.{did_you_mean(task, known)}",
            fix=f"choose one of {', '.join(known)}.",
        )
