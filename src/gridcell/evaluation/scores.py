"""Scores: how good predictions are, each number with its interval and what a trivial guess gets.

Only finite numbers are scores. What cannot be computed is None, shown as n/a, with a note that
says why; so no NaN reaches a comparison or a JSON file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gridcell.errors import ConfigError, did_you_mean

Better = Literal["higher", "lower"]

LABELLED = ("labels", "events")
"""Tasks in which an item or a step has as many labels as apply; in others it has one class."""


@dataclass(frozen=True)
class Score:
    """One measure of the predictions: its value, 95 % interval, and the trivial guess's value.

    A number that is not finite becomes None, and the note says so. A score without a value has
    no interval either.

    >>> Score("RMSE", float("inf"), 0.1, 0.2, 1.5, "lower")
    Score(name='RMSE', value=None, low=None, high=None, baseline=1.5, better='lower', \
note='the value is not finite', beside={})
    """

    name: str
    value: float | None
    """In the data's own units where the score has units; shares lie between 0 and 1."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    """Upper end of the 95 % interval."""
    baseline: float | None
    """What a guess that knows the training targets and no input gets on the same items."""
    better: Better
    """Whether a higher or a lower value is the better one."""
    note: str = ""
    """What the reader has to know: what was left out, or why there is no value or interval."""
    beside: dict[str, float | None] = field(default_factory=dict)
    """What several trivial guesses get, by name, where there is more than one; `baseline` is then
    the best of them."""

    def __post_init__(self) -> None:
        notes = [self.note] if self.note else []
        for each in ("value", "low", "high", "baseline"):
            number = getattr(self, each)
            is_bad = number is not None and not math.isfinite(number)
            if is_bad and each in ("value", "baseline"):
                notes.append(f"the {each} is not finite")
            object.__setattr__(self, each, None if number is None or is_bad else float(number))
        if self.value is None or self.low is None or self.high is None:
            object.__setattr__(self, "low", None)
            object.__setattr__(self, "high", None)
        object.__setattr__(self, "note", "; ".join(notes))


@dataclass(frozen=True)
class ClassScore:
    """How one class, or one of several labels, fared."""

    label: str
    items: int
    """Items that truly are of this class, or have this label."""
    precision: float | None
    """Share of the items called this that are this; None where nothing was called this."""
    recall: float | None
    """Share of the items that are this that were called this; None where there are none."""
    f1: float | None
    """2 * hits / (items + called); 0 for a class that has items and was never called."""
    average_precision: float | None = None
    """Area under precision over recall, for several labels only; None without positives."""
    note: str = ""


@dataclass(frozen=True)
class WorstItem:
    """An item that was answered wrongly, and how wrongly."""

    row: int
    """Row in the predictions that were scored."""
    truth: str
    predicted: str
    probability: float | None
    """Probability that the wrong answer was given; None outside classification."""
    loss: float


@dataclass(frozen=True)
class Unknown:
    """Labels of the data that the model does not know, and what the scores would be with them.

    Items of an unknown class are left out of the scores. Items with unknown labels beside others
    are scored by those that the model knows.
    """

    items: int
    """Items with such a label; steps, where each step has its answer."""
    labels: dict[str, int]
    """How many have each of these labels."""
    score: str
    """The score that is also given with all of them counted as wrong."""
    value: float | None
    """What it then is."""
    unit: str = "item"
    """What has such a label: an item or a step; or is such a character or word of a text."""


@dataclass(frozen=True)
class Scores:
    """All that is known of how good a set of predictions is: scores, each found by its name.

    A loop over it goes through the scores, and `print` shows them as a table.

    >>> accuracy = Score("accuracy", 0.9, 0.8, 1.0, 0.5, "higher")
    >>> scores = Scores("classify", 20, "accuracy", (accuracy,))
    >>> scores["accuracy"].value
    0.9
    >>> {score.name: score.value for score in scores}
    {'accuracy': 0.9}
    >>> "accuracy" in scores, "R2" in scores, len(scores)
    (True, False, 1)
    >>> print(scores)
    20 items   score    95 % interval  trivial guess
    accuracy  90.0 %  80.0 to 100.0 %         50.0 %
    """

    task: str
    items: int
    main: str
    """Name of the score that is used to choose epochs."""
    scores: tuple[Score, ...]
    per_class: tuple[ClassScore, ...] = ()
    """One for each class or label; none for regression."""
    confusion: list[list[int]] | None = None
    """[K, K] items, a row a true class, a column a predicted one; for classification only."""
    labels: tuple[str, ...] = ()
    """Names of the K classes or labels, or of the columns of numbers."""
    worst: tuple[WorstItem, ...] = ()
    """The items with the greatest losses among those answered wrongly, the worst first."""
    resamples: int = 0
    """Bootstrap resamples behind each interval, where the score's note does not say otherwise."""
    unknown: Unknown | None = None
    """Labels of the data that the model does not know; None where it knows all."""

    def __getitem__(self, name: str) -> Score:
        """The score of this name.

        Raises   ConfigError, with the nearest name, where there is none
        """
        for score in self.scores:
            if score.name == name:
                return score
        names = [score.name for score in self.scores]
        raise unknown_score(str(name), task=self.task, known=names)

    def __iter__(self) -> Iterator[Score]:
        """The scores, in the order in which they are told."""
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __contains__(self, name: object) -> bool:
        """Whether there is a score of this name, or this very score."""
        return any(name in (score.name, score) for score in self.scores)

    def __str__(self) -> str:
        """The table that is printed behind a training: each score, its interval and the guess."""
        from gridcell.evaluation import tables  # which reads scores

        return tables.as_text(self)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and finite numbers; None where a value is n/a."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scores:
        """The scores that `to_json` wrote."""
        return cls(
            task=data["task"],
            items=data["items"],
            main=data["main"],
            scores=tuple(Score(**score) for score in data["scores"]),
            per_class=tuple(ClassScore(**score) for score in data["per_class"]),
            confusion=data["confusion"],
            labels=tuple(data["labels"]),
            worst=tuple(WorstItem(**item) for item in data["worst"]),
            resamples=data["resamples"],
            unknown=Unknown(**data["unknown"]) if data.get("unknown") else None,
        )


def unknown_score(name: str, *, task: str, known: list[str]) -> ConfigError:
    """The error for a score that a task has not, with the nearest name that it has."""
    return ConfigError(
        f"{name!r} is not a score of the task {task}.{did_you_mean(name, known)}",
        fix=f"choose one of {', '.join(known)}.",
    )


def finite(number: float) -> float | None:
    """The number as a Python float, or None where it is NaN or infinite."""
    return float(number) if math.isfinite(number) else None


def name_some(names: list[str], *, most: int = 5) -> str:
    """The names with commas between them, the rest of a long list as a count.

    >>> name_some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return finite(value) if isinstance(value, float) else value
