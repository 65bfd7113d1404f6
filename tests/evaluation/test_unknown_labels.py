"""Labels that a model does not know: left out of the scores, and counted beside them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn import metrics

from gridcell.evaluation import Unknown, score, tables

LABELS, UNKNOWN = ("cat", "dog"), ("fox", "bear", "owl")


def random_case(seed: int, items: int = 60):
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet([1.0, 1.0], items)
    return probabilities, draw.integers(0, 4, items)


def scored(task, predictions, targets, unknown=UNKNOWN):
    trained = np.array([0, 1, 1]) if task == "classify" else np.eye(2)
    return score(
        task,
        predictions,
        targets,
        labels=LABELS,
        train_targets=trained,
        unknown=unknown,
        resamples=20,
    )


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_the_known_items_alone(seed: int) -> None:
    probabilities, targets = random_case(seed)
    known = targets < 2
    found = scored("classify", probabilities, targets)
    alone = scored("classify", probabilities[known], targets[known], unknown=())
    assert alone.unknown is None
    places = np.flatnonzero(known)
    worst = tuple(dataclasses.replace(w, row=int(places[w.row])) for w in alone.worst)
    assert found == dataclasses.replace(alone, worst=worst, unknown=found.unknown)


@pytest.mark.parametrize("seed", range(5))
def test_unknown_items_count_as_wrong_as_in_scikit_learn(seed: int) -> None:
    probabilities, targets = random_case(seed)
    found = scored("classify", probabilities, targets).unknown
    assert found is not None and found.score == "accuracy"
    assert found.value == pytest.approx(metrics.accuracy_score(targets, probabilities.argmax(1)))
    assert found.items == (targets >= 2).sum()
    assert found.labels == {"fox": (targets == 2).sum(), "bear": (targets == 3).sum()}


def test_of_several_labels_an_item_those_that_are_known_are_scored() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.2], [0.8, 0.8]])
    targets = np.array([[1, 0, 0, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 1], [0, 1, 0, 0, 0]], float)
    found = scored("labels", probabilities, targets)
    alone = scored("labels", probabilities, targets[:, :2], unknown=())
    assert found == dataclasses.replace(alone, unknown=found.unknown)
    assert found["exact match"].value == 0.75
    assert found.unknown == Unknown(2, {"fox": 1, "owl": 2}, "exact match", 0.25)


def test_nothing_is_said_where_no_item_has_an_unknown_label() -> None:
    sure, targets = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])
    assert scored("classify", sure, targets).unknown is None
    assert tables.beside_unknown(scored("classify", sure, targets)) == ""
    assert scored("labels", sure, np.pad(np.eye(2), ((0, 0), (0, 3)))).unknown is None


def test_predictions_that_are_no_numbers_have_no_score_with_unknown_items_either() -> None:
    bad = np.full((3, 2), np.nan)
    found = scored("classify", bad, np.array([0, 1, 2]))
    assert found["accuracy"].value is None
    assert found.unknown == Unknown(1, {"fox": 1}, "accuracy", None)
    assert "accuracy is n/a." in tables.beside_unknown(found)


def test_it_is_said_in_words() -> None:
    sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    one = scored("classify", sure[:3], np.array([0, 1, 2]))
    assert tables.beside_unknown(one) == (
        "1 item has the label 'fox', which the model does not know: it is left out. With it "
        "counted as wrong, accuracy is 66.7 %."
    )
    several = scored("classify", sure, np.array([0, 1, 3, 2]))
    assert tables.beside_unknown(several) == (
        "2 items have labels that the model does not know (fox 1, bear 1): they are left out. "
        "With them counted as wrong, accuracy is 50.0 %."
    )
    beside = scored("labels", sure[:2], np.array([[1, 0, 1, 0, 0], [0, 1, 1, 0, 0]], float))
    assert tables.beside_unknown(beside) == (
        "2 items have the label 'fox', which the model does not know: they are scored by the "
        "labels that it knows. With them counted as wrong, exact match is 0.0 %."
    )
