"""What a model answers for one item, in the data's own words and units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridcell.preparation.remarks import Remark
from gridcell.samples import ItemTask


@dataclass(frozen=True)
class Event:
    """A stretch of time in which a label is there; `probability` is its mean over the stretch."""

    label: str
    start: float
    """Seconds from the beginning."""
    end: float
    probability: float


@dataclass(frozen=True)
class Ahead:
    """What a column is forecast to be at a step that is still to come."""

    time: str
    """The time of the step, or how many steps ahead it is where no time is known."""
    column: str
    value: float
    lower_95: float | None = None
    """Lower end of the interval that is to hold 95 % of the truths; None where it is not known."""
    upper_95: float | None = None


@dataclass(frozen=True)
class Prediction:
    """The answer for one item.

    classify   `label`, its `probability`, and `probabilities` of every class
    labels     `labels` with a probability of at least one half, and `probabilities` of all
    regress    `values`, a number for each target
    events     `events`, each a stretch in which a label has a probability of at least one half
    tags       `tags`, the class of each step, and `tag_probabilities`, that of each
    forecast   `forecast`, the columns at each step behind the end of a series

    An item that could not be read has no answer and says why in `reason`. One that is answered for
    though it is damaged, silent or of one colour throughout says so in `remark`.
    """

    path: str
    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    values: dict[str, float] | None = None
    events: tuple[Event, ...] | None = None
    tags: tuple[str, ...] | None = None
    tag_probabilities: tuple[float, ...] | None = None
    forecast: tuple[Ahead, ...] | None = None
    reason: str = ""
    remark: Remark | None = None


def named(
    path: str,
    answer: NDArray[np.float64],
    *,
    task: ItemTask,
    labels: Sequence[str],
    step_s: float | None = None,
    seconds: float = math.inf,
    remark: Remark | None = None,
) -> Prediction:
    """Return an answer under its labels' names.

    answer   [K], of tags and events [T, K]
    step_s   seconds from step to step, where events are told from them
    seconds  how long the recording is
    """
    if task == "events":
        assert step_s is not None
        found = events(answer, labels, step_s=step_s, seconds=seconds)
        return Prediction(path, events=found, remark=remark)
    if task == "tags":
        tags = tuple(labels[number] for number in answer.argmax(1))
        return Prediction(path, tags=tags, tag_probabilities=tuple(answer.max(1).tolist()))
    by_label = {label: float(value) for label, value in zip(labels, answer, strict=True)}
    if task == "regress":
        return Prediction(path, values=by_label, remark=remark)
    if task == "labels":
        chosen = tuple(label for label, p in by_label.items() if p >= 0.5)
        return Prediction(path, labels=chosen, probabilities=by_label, remark=remark)
    best = labels[int(answer.argmax())]
    return Prediction(path, best, by_label[best], by_label, remark=remark)


def events(
    answer: NDArray[np.float64],
    labels: Sequence[str],
    *,
    step_s: float,
    seconds: float = math.inf,
) -> tuple[Event, ...]:
    """The stretches of the steps [T, K] in which a label is there, in order of their start.

    seconds   how long the recording is: what a step hears behind its end is silence that was added
    """
    found = []
    for number, label in enumerate(labels):
        is_there = np.concatenate([[False], answer[:, number] >= 0.5, [False]])
        edges = np.flatnonzero(np.diff(is_there.astype(np.int8)))
        for start, stop in edges.reshape(-1, 2).tolist():
            mean = float(answer[start:stop, number].mean())
            # A step lies in the middle of its moment.
            begin, end = max(0.0, (start - 0.5) * step_s), min((stop - 0.5) * step_s, seconds)
            if begin < end:
                found.append(Event(label, begin, end, mean))
    return tuple(sorted(found, key=lambda event: (event.start, event.label)))


def ahead(
    answer: NDArray[np.float64],
    *,
    columns: Sequence[str],
    times: Sequence[str],
    half: NDArray[np.float64] | None,
) -> tuple[Ahead, ...]:
    """What columns are forecast to be, column by column.

    answer   [columns, steps], in their own units
    half     half the width of the interval that is to hold 95 % of the truths, likewise
    """
    return tuple(
        Ahead(
            time,
            column,
            float(value),
            None if half is None else float(value - half[place, number]),
            None if half is None else float(value + half[place, number]),
        )
        for place, column in enumerate(columns)
        for number, (time, value) in enumerate(zip(times, answer[place], strict=True))
    )
