"""What a model remembers of its training targets gives later evaluations the same baselines."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from gridcell import evaluation
from gridcell.baseline import MOST_NUMBERS, recall, remember


def test_classes_are_remembered_by_their_counts() -> None:
    targets = np.array([2, 0, 2, 2, 0])
    assert remember("classify", targets, 4) == ((2.0, 0.0, 3.0, 0.0),)
    assert recall("classify", remember("classify", targets, 4)).tolist() == [0, 0, 2, 2, 2]


def test_labels_are_remembered_by_items_with_and_without() -> None:
    targets = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    assert remember("labels", targets, 3) == ((3.0, 2.0, 0.0), (1.0, 2.0, 4.0))
    found = recall("labels", remember("labels", targets, 3))
    assert found.shape == targets.shape
    assert found.sum(0).tolist() == targets.sum(0).tolist()


def test_numbers_are_remembered_sorted_column_by_column() -> None:
    targets = np.array([[3.0, -1.0], [1.0, 5.0], [2.0, 0.0]])
    found = recall("regress", remember("regress", targets, 2))
    assert found.tolist() == [[1.0, -1.0], [2.0, 0.0], [3.0, 5.0]]


def test_many_numbers_are_remembered_by_their_quantiles() -> None:
    targets = np.random.default_rng(0).normal(size=(50_000, 1))
    found = recall("regress", remember("regress", targets, 1))
    assert found.shape == (MOST_NUMBERS, 1)
    assert found.min() == targets.min() and found.max() == targets.max()
    assert np.isclose(np.median(found), np.median(targets))
    assert abs(found.mean() - targets.mean()) < 0.01


@pytest.mark.parametrize("task", ["classify", "labels", "regress"])
def test_what_is_remembered_goes_through_json(task: str) -> None:
    targets: NDArray[np.generic] = {
        "classify": np.array([0, 1, 1]),
        "labels": np.array([[0, 1], [1, 1]], np.float32),
        "regress": np.array([[0.5], [1 / 3]]),
    }[task]
    remembered = remember(task, targets, 2)  # type: ignore[arg-type]
    again = tuple(tuple(row) for row in json.loads(json.dumps(remembered)))
    assert again == remembered


@pytest.mark.parametrize("task", ["classify", "labels", "regress"])
def test_the_baselines_are_those_of_the_training_targets(task: str) -> None:
    draw = np.random.default_rng(1)
    if task == "classify":
        train, test = draw.integers(0, 3, 200) // 2, draw.integers(0, 2, 30)
        answers = draw.dirichlet([1, 1], 30)
    elif task == "labels":
        train, test = draw.random((200, 2)) < (0.2, 0.7), draw.random((30, 2)) < 0.5
        train, test = train.astype(np.float32), test.astype(np.float32)
        answers = draw.random((30, 2))
    else:
        train, test = draw.normal(5, 2, (200, 2)), draw.normal(4, 2, (30, 2))
        answers = draw.normal(4, 2, (30, 2))
    recalled = recall(task, remember(task, train, 2))  # type: ignore[arg-type]

    def baselines(targets: NDArray[np.generic]) -> dict[str, float | None]:
        scores = evaluation.score(
            task, answers, test, labels=("a", "b"), train_targets=targets, resamples=50
        )
        return {score.name: score.baseline for score in scores.scores}

    expected, found = baselines(train), baselines(recalled)
    assert set(expected) == set(found)
    for name, value in expected.items():
        assert value is not None or found[name] is None
        assert value is None or np.isclose(found[name], value), name  # type: ignore[arg-type]
