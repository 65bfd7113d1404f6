"""Scores of predictions that say yes or no to each of several labels.

As for classes, a measure is a function of the outcomes and of which items are drawn. The
baseline says the same to every item: each label's share of yes among the training rows.
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
    interval,
    interval_of_share,
    mean_where,
    means,
    once,
    ratio,
    resamples_for,
    times,
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

YES = 0.5
"""A label is said to be there at this probability or above."""
WORST_KEPT = 20
LEAST_PROBABILITY = float(np.finfo(np.float64).eps)
# A ranking of all items again for each label and resample is slow; 200 tell the interval well.
RANKED_RESAMPLES = 200


@dataclass(frozen=True)
class Ranking:
    """The items of one label from the highest probability down, equals in one group.

    Only groups that hold a positive change the recall, so only they are kept.
    """

    order: NDArray[np.int64]
    """[N] rows, the highest probability first."""
    positives: NDArray[np.int64]
    """[P] rows that have the label, in that order."""
    starts: NDArray[np.int64]
    """[G] where among the positives each group begins."""
    ends: NDArray[np.int64]
    """[G] where in `order` each group ends."""


@dataclass(frozen=True)
class Outcomes:
    """What the predictions came to, item by item.

    Shapes   N items, K labels
    """

    targets: NDArray[np.bool_]
    """[N, K] labels that are there."""
    predicted: NDArray[np.bool_]
    """[N, K] labels that were said to be there."""
    losses: Values
    """[N] mean over the labels of -log of the probability of the true answer, in nats."""
    rankings: tuple[Ranking, ...]
    """One a label."""

    @property
    def is_exact(self) -> NDArray[np.bool_]:
        exact: NDArray[np.bool_] = (self.predicted == self.targets).all(axis=1)
        return exact


def average_precision(outcomes: Outcomes, draws: Draws) -> Values:
    """Mean over the labels that have positives of their average precision."""
    each = average_precisions(outcomes, draws)
    return mean_where(each, ~np.isnan(each))


def average_precisions(outcomes: Outcomes, draws: Draws) -> Values:
    """Average precision of each label, [R, K]; NaN for a label without positives.

    Down the ranking, over the groups of equal probability g:

        sum over g of  (recall at g - recall before g) * precision at g

    A random ranking gets about the share of positives, and equal probabilities exactly that.
    """
    drawn = times(draws).astype(np.int32)  # half the memory to reorder, and exact
    each = np.full((len(draws), len(outcomes.rankings)), np.nan)
    for k, ranking in enumerate(outcomes.rankings):
        if len(ranking.positives) == 0:
            continue
        found = np.add.reduceat(
            np.take(drawn, ranking.positives, axis=1), ranking.starts, axis=1, dtype=np.int64
        )
        reordered = np.take(drawn, ranking.order, axis=1)
        listed = np.cumsum(reordered, axis=1, dtype=np.int32)[:, ranking.ends]
        precision = np.cumsum(found, axis=1) / np.maximum(listed, 1)
        each[:, k] = ratio((found * precision).sum(axis=1), found.sum(axis=1))
    return each


def micro_f1(outcomes: Outcomes, draws: Draws) -> Values:
    """2 * hits / (positives + called) over all items and labels; NaN where both are 0."""
    positives, called, hits = _tallies(outcomes, draws)
    return ratio(2 * hits.sum(axis=1), (positives + called).sum(axis=1))


def macro_f1(outcomes: Outcomes, draws: Draws) -> Values:
    """Mean over the labels that have positives of 2 * hits / (positives + called)."""
    positives, called, hits = _tallies(outcomes, draws)
    return mean_where(ratio(2 * hits, positives + called), positives > 0)


def exact_match(outcomes: Outcomes, draws: Draws) -> Values:
    """Share of the items of which all labels were answered rightly."""
    return means(draws, outcomes.is_exact)


def log_loss(outcomes: Outcomes, draws: Draws) -> Values:
    """Mean over items and labels of -log of the probability of the true answer, in nats."""
    return means(draws, outcomes.losses)


MEASURES: dict[str, tuple[Callable[[Outcomes, Draws], Values], Better]] = {
    "average precision": (average_precision, "higher"),
    "macro-F1": (macro_f1, "higher"),
    "micro-F1": (micro_f1, "higher"),
    "exact match": (exact_match, "higher"),
    "log loss": (log_loss, "lower"),
}
OVER_LABELS = ("average precision", "macro-F1")


def score(
    probabilities: Array,
    targets: Array,
    *,
    labels: tuple[str, ...],
    train_targets: Array,
    main: str = "average precision",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Scores:
    """Score probabilities [N, K] of labels against targets [N, K] of 0 and 1.

    Predictions that are not finite, or no items, give n/a for every score, with a note.

    Raises   ShapeError for wrong shapes, targets that are not 0 or 1, or predictions that are
             not probabilities
    """
    probabilities, targets = _checked(probabilities, targets, count=len(labels))
    trained = inputs.columns(train_targets, name="train_targets", letter="K", size=len(labels))
    reason = inputs.why_unusable(probabilities, targets)
    if reason:
        kinds = MEASURES.items()
        nothing = (Score(name, None, None, None, None, kind[1], reason) for name, kind in kinds)
        return Scores("labels", len(targets), main, tuple(nothing), labels=labels)
    inputs.check_probabilities(probabilities, adds_up=False)

    outcomes = _outcomes(probabilities, inputs.yes_or_no(targets, name="targets"))
    resamples = resamples_for(len(targets), resamples=resamples)
    ranked = min(resamples, RANKED_RESAMPLES)
    measures = {name: partial(kind[0], outcomes) for name, kind in MEASURES.items()}
    ranking = {"average precision": measures["average precision"]}
    counting = {name: measure for name, measure in measures.items() if name not in ranking}
    drawn = {
        **bootstrap(counting, len(targets), resamples=resamples, seed=seed),
        **bootstrap(ranking, len(targets), resamples=ranked, seed=seed),
    }
    baselines = _baselines(outcomes, inputs.yes_or_no(trained, name="train_targets"))
    positives = outcomes.targets.sum(axis=0)
    absent = [label for label, count in zip(labels, positives, strict=True) if count == 0]
    scores = []
    for name, (_, better) in MEASURES.items():
        value = float(measures[name](once(len(targets)))[0])
        ends = _ends(name, value, drawn.get(name), items=len(targets))
        notes = []
        if np.isnan(value):
            said = ", or was said to be" if name == "micro-F1" else ""
            notes.append(f"no label is in these items{said}")
        elif absent and name in OVER_LABELS:
            notes.append(f"mean without the labels that have 0 items here: {name_some(absent)}")
        if ends is not None and name in ranking and ranked < resamples:
            notes.append(f"interval from {ranked} resamples")
        if ends is None and resamples and np.isfinite(value):
            notes.append("no interval: the resamples agree or have no score")
        low, high = ends or (None, None)
        given = None if np.isnan(value) else value
        note = "; ".join(notes)
        scores.append(Score(name, given, low, high, baselines.get(name), better, note))
    return Scores(
        task="labels",
        items=len(targets),
        main=main,
        scores=tuple(scores),
        per_class=_per_label(outcomes, labels),
        labels=labels,
        worst=_worst(outcomes, labels),
        resamples=resamples,
    )


def quick(probabilities: Array, targets: Array, *, name: str) -> float | None:
    """One score without its interval; None where predictions are not finite, or without items.

    None, too, where the score is n/a: average precision where no item has any label.
    """
    if name not in MEASURES:
        raise unknown_score(name, task="labels", known=list(MEASURES))
    probabilities, targets = _checked(probabilities, targets, count=None)
    if inputs.why_unusable(probabilities, targets):
        return None
    inputs.check_probabilities(probabilities, adds_up=False)
    outcomes = _outcomes(probabilities, inputs.yes_or_no(targets, name="targets"))
    return finite(MEASURES[name][0](outcomes, once(len(targets)))[0])


def _checked(probabilities: Array, targets: Array, *, count: int | None) -> tuple[Array, Array]:
    probabilities = inputs.columns(probabilities, name="predictions", letter="K", size=count)
    width = probabilities.shape[1]
    targets = inputs.columns(targets, name="targets", letter="K", size=width)
    inputs.same_rows(probabilities, targets)
    return probabilities, targets


def _outcomes(probabilities: Array, targets: NDArray[np.bool_]) -> Outcomes:
    true = probabilities.astype(np.float64)
    true = np.where(targets, true, 1 - true)
    return Outcomes(
        targets=targets,
        predicted=probabilities >= YES,
        losses=-np.log(np.clip(true, LEAST_PROBABILITY, 1.0)).mean(axis=1),
        rankings=tuple(
            _ranking(probabilities[:, k], targets[:, k]) for k in range(targets.shape[1])
        ),
    )


def _ranking(probabilities: Array, is_there: NDArray[np.bool_]) -> Ranking:
    order = np.argsort(-probabilities.astype(np.float64), kind="stable")
    listed = probabilities[order]
    ends = np.flatnonzero(np.append(listed[1:] != listed[:-1], True))
    places = np.flatnonzero(is_there[order])
    groups, starts = np.unique(np.searchsorted(ends, places), return_index=True)
    return Ranking(order, order[places], starts, ends[groups])


def _tallies(outcomes: Outcomes, draws: Draws) -> tuple[Values, Values, Values]:
    # float32 holds counts up to 2**24 exactly, and its matrix product is the fastest way to count.
    drawn = times(draws).astype(np.float32)
    hits = outcomes.targets & outcomes.predicted
    positives, called, both = (
        (drawn @ part.astype(np.float32)).astype(np.float64)
        for part in (outcomes.targets, outcomes.predicted, hits)
    )
    return positives, called, both


def _baselines(outcomes: Outcomes, trained: NDArray[np.bool_]) -> dict[str, float]:
    """What each score is when every item gets the training rows' share of each label.

    One yes and one no are added to each label, so that the loss is finite and 0.5 is kept.
    """
    if len(trained) == 0:
        return {}
    shares = (trained.sum(axis=0) + 1) / (len(trained) + 2)
    guess = _outcomes(np.broadcast_to(shares, outcomes.targets.shape), outcomes.targets)
    draws = once(len(outcomes.targets))
    found = {name: finite(kind[0](guess, draws)[0]) for name, kind in MEASURES.items()}
    return {name: value for name, value in found.items() if value is not None}


def _ends(
    name: str, value: float, resampled: Values | None, *, items: int
) -> tuple[float, float] | None:
    if resampled is None:
        return None
    if name == "exact match" and value in (0.0, 1.0):
        return interval_of_share(items, is_all=value == 1.0)
    return interval(resampled, value)


def _per_label(outcomes: Outcomes, labels: tuple[str, ...]) -> tuple[ClassScore, ...]:
    draws = once(len(outcomes.targets))
    items, called, hits = (tally[0] for tally in _tallies(outcomes, draws))
    precision, recall = ratio(hits, called), ratio(hits, items)
    f1 = ratio(2 * hits, items + called)
    ranked = average_precisions(outcomes, draws)[0]
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
                average_precision=finite(ranked[k]),
                note=", ".join(notes),
            )
        )
    return tuple(rows)


def _worst(outcomes: Outcomes, labels: tuple[str, ...]) -> tuple[WorstItem, ...]:
    wrong = np.flatnonzero(~outcomes.is_exact)
    order = wrong[np.argsort(-outcomes.losses[wrong], kind="stable")][:WORST_KEPT]
    return tuple(
        WorstItem(
            row=int(row),
            truth=_named(outcomes.targets[row], labels),
            predicted=_named(outcomes.predicted[row], labels),
            probability=None,
            loss=float(outcomes.losses[row]),
        )
        for row in order
    )


def _named(is_there: NDArray[np.bool_], labels: tuple[str, ...]) -> str:
    names = [label for label, there in zip(labels, is_there, strict=True) if there]
    return name_some(names) if names else "none"
