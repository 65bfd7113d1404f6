"""Scores of predictions that name one class of many.

Each measure is a function of the outcomes, item by item, and of which items are drawn; so the
score, its interval, and its baseline come from the same lines. The baseline is a guess that has
seen the training targets and no input: the same probabilities for every item.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gridcell.evaluation import inputs
from gridcell.evaluation.inputs import Array
from gridcell.evaluation.intervals import (
    RESAMPLES,
    Draws,
    Values,
    bootstrap,
    counts,
    interval,
    interval_of_share,
    mean_where,
    means,
    once,
    ratio,
    resamples_for,
    sums,
    unbiased,
)
from gridcell.evaluation.scores import (
    Better,
    ClassScore,
    Score,
    Scores,
    WorstItem,
    finite,
    name_some,
    unknown_score,
)

BINS = 15
TOP = 5
CLASSES_FOR_TOP = 20
WORST_KEPT = 20
# Below this a probability counts as this, so that one item costs at most 36 nats, not infinity.
LEAST_PROBABILITY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Outcomes:
    """What the predictions came to, item by item.

    Shapes   N items; all arrays [N]
    """

    classes: int
    targets: NDArray[np.int64]
    predicted: NDArray[np.int64]
    """The class of the highest probability; of equals, the first."""
    confidences: Values
    """The highest probability."""
    losses: Values
    """-log of the probability of the true class, in nats."""
    is_near: NDArray[np.bool_]
    """Whether the true class is among the five highest."""

    @property
    def is_right(self) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = self.predicted == self.targets
        return right

    @property
    def hits(self) -> NDArray[np.int64]:
        """The true class where it was predicted, else `classes`."""
        return np.where(self.is_right, self.targets, self.classes)


def accuracy(outcomes: Outcomes, draws: Draws) -> Values:
    """Share of the items whose class was predicted."""
    return means(draws, outcomes.is_right)


def balanced_accuracy(outcomes: Outcomes, draws: Draws) -> Values:
    """Mean over the classes that have items of their recall; other classes are left out."""
    items = counts(draws, outcomes.targets, size=outcomes.classes)
    hits = counts(draws, outcomes.hits, size=outcomes.classes + 1)[:, :-1]
    return mean_where(ratio(hits, items), items > 0)


def macro_f1(outcomes: Outcomes, draws: Draws) -> Values:
    """Mean over the classes that have items of 2 * hits / (items + predicted).

    A class that has items and is never predicted counts as 0.
    """
    items = counts(draws, outcomes.targets, size=outcomes.classes)
    called = counts(draws, outcomes.predicted, size=outcomes.classes)
    hits = counts(draws, outcomes.hits, size=outcomes.classes + 1)[:, :-1]
    return mean_where(ratio(2 * hits, items + called), items > 0)


def log_loss(outcomes: Outcomes, draws: Draws) -> Values:
    """Mean of -log of the probability of the true class, in nats; at most 36 an item."""
    return means(draws, outcomes.losses)


def calibration_error(outcomes: Outcomes, draws: Draws) -> Values:
    """Expected calibration error: by how much confidence and accuracy differ.

    Over 15 bins of the highest probability, of equal width, (0, 1/15], (1/15, 2/15] ...:

        sum over bins of  items in bin / items * |accuracy in bin - mean confidence in bin|

    On few items it is measured too high: even true probabilities miss by chance.

    Source   Naeini et al. 2015; Guo et al. 2017, "On Calibration of Modern Neural Networks"
    """
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    bins = np.searchsorted(edges, outcomes.confidences, side="left").astype(np.int64)
    gaps = outcomes.confidences - outcomes.is_right
    off: Values = np.abs(sums(draws, bins, gaps, size=BINS)).sum(axis=1) / draws.shape[1]
    return off


def top_5_accuracy(outcomes: Outcomes, draws: Draws) -> Values:
    """Share of the items whose class is among the five of the highest probability."""
    return means(draws, outcomes.is_near)


MEASURES: dict[str, tuple[Callable[[Outcomes, Draws], Values], Better]] = {
    "accuracy": (accuracy, "higher"),
    "balanced accuracy": (balanced_accuracy, "higher"),
    "macro-F1": (macro_f1, "higher"),
    "log loss": (log_loss, "lower"),
    "calibration error": (calibration_error, "lower"),
    "top-5 accuracy": (top_5_accuracy, "higher"),
}
SHARES = ("accuracy", "top-5 accuracy")
OVER_CLASSES = ("balanced accuracy", "macro-F1")


def score(
    probabilities: Array,
    targets: Array,
    *,
    labels: tuple[str, ...],
    train_targets: Array,
    main: str = "accuracy",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Scores:
    """Score class probabilities [N, K] against class numbers [N].

    Predictions that are not finite, or no items, give n/a for every score, with a note.

    Raises   ShapeError for wrong shapes, class numbers out of range, or rows that are not
             probabilities
    Cost     10,000 items of 10 classes with 1,000 resamples: about half a second
    """
    classes = len(labels)
    probabilities, targets = _checked(probabilities, targets, classes=classes)
    trained = inputs.class_numbers(train_targets, name="train_targets", classes=classes)
    names = [name for name in MEASURES if name != "top-5 accuracy" or classes >= CLASSES_FOR_TOP]
    reason = inputs.why_unusable(probabilities, targets)
    if reason:
        nothing = (Score(name, None, None, None, None, MEASURES[name][1], reason) for name in names)
        return Scores("classify", len(targets), main, tuple(nothing), labels=labels)
    inputs.check_probabilities(probabilities, adds_up=True)

    outcomes = _outcomes(probabilities, targets)
    resamples = resamples_for(len(targets), resamples=resamples)
    measures = {name: partial(MEASURES[name][0], outcomes) for name in names}
    drawn = bootstrap(measures, len(targets), resamples=resamples, seed=seed)
    baselines = _baselines(targets, trained, classes=classes, names=names)
    present = np.bincount(targets, minlength=classes)
    absent = [label for label, count in zip(labels, present, strict=True) if count == 0]
    scores = []
    for name in names:
        value = float(measures[name](once(len(targets)))[0])
        ends = _ends(name, value, drawn.get(name), items=len(targets))
        notes = []
        if absent and name in OVER_CLASSES:
            notes.append(f"mean without the classes that have 0 items here: {name_some(absent)}")
        if ends is None and resamples:
            notes.append("no interval: all resamples agree")
        low, high = ends or (None, None)
        better = MEASURES[name][1]
        scores.append(Score(name, value, low, high, baselines.get(name), better, "; ".join(notes)))

    pairs = np.bincount(targets * classes + outcomes.predicted, minlength=classes * classes)
    confusion = pairs.reshape(classes, classes)
    return Scores(
        task="classify",
        items=len(targets),
        main=main,
        scores=tuple(scores),
        per_class=_per_class(confusion, labels),
        confusion=confusion.tolist(),
        labels=labels,
        worst=_worst(outcomes, labels),
        resamples=resamples,
    )


def quick(probabilities: Array, targets: Array, *, name: str) -> float | None:
    """One score without its interval; None where predictions are not finite, or without items."""
    if name not in MEASURES:
        raise unknown_score(name, task="classify", known=list(MEASURES))
    probabilities, targets = _checked(probabilities, targets, classes=None)
    if inputs.why_unusable(probabilities, targets):
        return None
    inputs.check_probabilities(probabilities, adds_up=True)
    return finite(MEASURES[name][0](_outcomes(probabilities, targets), once(len(targets)))[0])


def _checked(
    probabilities: Array, targets: Array, *, classes: int | None
) -> tuple[Array, NDArray[np.int64]]:
    probabilities = inputs.columns(probabilities, name="predictions", letter="K", size=classes)
    width = probabilities.shape[1]
    numbers = inputs.class_numbers(targets, name="targets", classes=width)
    inputs.same_rows(probabilities, numbers)
    return probabilities, numbers


def _outcomes(probabilities: Array, targets: NDArray[np.int64]) -> Outcomes:
    rows = np.arange(len(targets))
    predicted = probabilities.argmax(axis=1)
    true = probabilities[rows, targets]
    # Equal probabilities rank by class number, as argmax has it.
    earlier = np.arange(probabilities.shape[1]) < targets[:, None]
    is_above = (probabilities > true[:, None]) | (earlier & (probabilities == true[:, None]))
    return Outcomes(
        classes=probabilities.shape[1],
        targets=targets,
        predicted=predicted.astype(np.int64),
        confidences=np.minimum(probabilities[rows, predicted].astype(np.float64), 1.0),
        losses=-np.log(np.clip(true.astype(np.float64), LEAST_PROBABILITY, 1.0)),
        is_near=is_above.sum(axis=1) < TOP,
    )


def _baselines(
    targets: NDArray[np.int64], trained: NDArray[np.int64], *, classes: int, names: list[str]
) -> dict[str, float]:
    """What each score is when every item gets the class frequencies of the training rows.

    One item is added to each class, so that a class not seen in training has a finite loss.
    """
    if len(trained) == 0:
        return {}
    seen = np.bincount(trained, minlength=classes) + 1
    guess = np.broadcast_to(seen / seen.sum(), (len(targets), classes))
    outcomes = _outcomes(guess, targets)
    found = {name: float(MEASURES[name][0](outcomes, once(len(targets)))[0]) for name in names}
    # Any guess without a look at the input has this balanced accuracy on average, also where
    # the largest training class has no items here. Of one class it is the accuracy by another name.
    present = len(np.unique(targets))
    if present > 1:
        found["balanced accuracy"] = 1 / present
    return found


def _ends(
    name: str, value: float, resampled: Values | None, *, items: int
) -> tuple[float, float] | None:
    if resampled is None:
        return None
    if name in SHARES and value in (0.0, 1.0):
        return interval_of_share(items, is_all=value == 1.0)
    if name == "calibration error":
        resampled = unbiased(resampled, value)
    return interval(resampled, value)


def _per_class(confusion: NDArray[np.int64], labels: tuple[str, ...]) -> tuple[ClassScore, ...]:
    hits, items, called = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = ratio(hits, called), ratio(hits, items)
    f1 = ratio(2 * hits, items + called)
    rows = []
    for k, label in enumerate(labels):
        notes = ["0 items"] if items[k] == 0 else []
        notes += ["never predicted"] if called[k] == 0 else []
        rows.append(
            ClassScore(
                label=label,
                items=int(items[k]),
                precision=finite(precision[k]),
                recall=finite(recall[k]),
                f1=finite(f1[k]) if items[k] else None,
                note=", ".join(notes),
            )
        )
    return tuple(rows)


def _worst(outcomes: Outcomes, labels: tuple[str, ...]) -> tuple[WorstItem, ...]:
    wrong = np.flatnonzero(~outcomes.is_right)
    order = wrong[np.argsort(-outcomes.losses[wrong], kind="stable")][:WORST_KEPT]
    return tuple(
        WorstItem(
            row=int(row),
            truth=labels[outcomes.targets[row]],
            predicted=labels[outcomes.predicted[row]],
            probability=float(outcomes.confidences[row]),
            loss=float(outcomes.losses[row]),
        )
        for row in order
    )
