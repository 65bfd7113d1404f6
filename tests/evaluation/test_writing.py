"""Scores of writing: nats and accuracy beside a guess by counts."""

from __future__ import annotations

import numpy as np
import pytest

from gridcell import evaluation
from gridcell.evaluation import writing


def test_they_are_those_of_the_probabilities_of_all_classes() -> None:
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet(np.ones(5), 200)
    truths = draw.integers(0, 5, 200)
    trained = draw.integers(0, 4, 300)
    logs = np.log(probabilities[np.arange(200), truths])
    said = np.stack([logs, probabilities.argmax(1) == truths], 1).astype(np.float64)
    labels = tuple("abcde")
    found = writing.score(
        said, truths, labels=labels, counts=np.bincount(trained, minlength=5), unit="word"
    )
    wanted = evaluation.score(
        "classify", probabilities, truths, labels=labels, train_targets=trained, resamples=0
    )
    for name in ("log loss", "accuracy"):
        assert found[name].value == pytest.approx(wanted[name].value)
        assert found[name].baseline == pytest.approx(wanted[name].baseline)
    assert found.main == "log loss" and found["log loss"].note.startswith("in nats a word; no")


@pytest.mark.parametrize("said", [np.zeros((0, 2)), np.array([[np.nan, 0.0]])])
def test_without_steps_or_with_probabilities_that_are_none_there_is_no_score(
    said: np.ndarray,
) -> None:
    truths = np.zeros(len(said), np.int64)
    found = writing.score(said, truths, labels=("a",), counts=np.ones(1), unit="word")
    assert found["log loss"].value is None and found["accuracy"].value is None
