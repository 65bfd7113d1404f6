"""Scores of several labels at once, against scikit-learn, by hand, and at the edges."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from gridcell.errors import ShapeError
from gridcell.evaluation import intervals, quick, score
from gridcell.evaluation import labels as several

exactly = settings(derandomize=True, deadline=None, max_examples=40)


def random_case(seed, *, items, labels, steps=10):
    """Probabilities in few steps, so that many are equal."""
    generator = np.random.default_rng(seed)
    probabilities = generator.integers(0, steps + 1, (items, labels)) / steps
    targets = (generator.random((items, labels)) < 0.6 * probabilities).astype(np.float32)
    return probabilities, targets


def score_labels(probabilities, targets, *, train_targets=None, **options):
    names = tuple("abcdefghijklmnopqrstuvwxyz"[: np.shape(probabilities)[1]])
    trained = targets if train_targets is None else np.asarray(train_targets)
    return score("labels", probabilities, targets, labels=names, train_targets=trained, **options)


@exactly
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(1, 60),
    labels=st.integers(1, 5),
    steps=st.sampled_from([1, 3, 10, 1000]),
)
def test_scores_are_those_of_scikit_learn(seed, items, labels, steps):
    probabilities, targets = random_case(seed, items=items, labels=labels, steps=steps)
    found = score_labels(probabilities, targets, resamples=0)
    said, present = (probabilities >= 0.5).astype(int), np.flatnonzero(targets.any(axis=0))
    if len(present):
        ranked = [
            metrics.average_precision_score(targets[:, k], probabilities[:, k]) for k in present
        ]
        assert found["average precision"].value == pytest.approx(np.mean(ranked))
        each = [metrics.f1_score(targets[:, k], said[:, k], zero_division=0) for k in present]
        assert found["macro-F1"].value == pytest.approx(np.mean(each))
    if targets.any() or said.any():
        micro = metrics.f1_score(targets.ravel(), said.ravel(), zero_division=0)
        assert found["micro-F1"].value == pytest.approx(micro)
    exact = (targets == said).all(axis=1).mean()
    assert found["exact match"].value == pytest.approx(exact)
    losses = [
        metrics.log_loss(targets[:, k], probabilities[:, k], labels=[0, 1]) for k in range(labels)
    ]
    assert found["log loss"].value == pytest.approx(np.mean(losses))


@exactly
@given(seed=st.integers(0, 10**6), items=st.integers(1, 40), steps=st.sampled_from([2, 1000]))
def test_a_resample_is_scored_as_if_it_were_the_data(seed, items, steps):
    probabilities, targets = random_case(seed, items=items, labels=3, steps=steps)
    outcomes = several._outcomes(probabilities, targets == 1)
    draws = np.random.default_rng(seed).integers(0, items, (5, items))
    for measure, _ in several.MEASURES.values():
        together = measure(outcomes, draws)
        for drawn, value in zip(draws, together, strict=True):
            alone = several._outcomes(probabilities[drawn], targets[drawn] == 1)
            wanted = measure(alone, intervals.once(items))[0]
            assert value == pytest.approx(wanted, abs=1e-6, nan_ok=True)


def test_average_precision_by_hand():
    # Ranked: yes, no, yes, no -> precision 1 at recall 1/2, 2/3 at recall 1.
    probabilities = np.array([[0.9], [0.8], [0.7], [0.1]])
    found = score_labels(probabilities, np.array([[1], [0], [1], [0]]))
    assert found["average precision"].value == pytest.approx((1 + 2 / 3) / 2)


def test_equal_probabilities_have_the_share_of_positives_as_average_precision():
    targets = np.array([[1], [1], [0], [0], [0]])
    for constant in (0.0, 0.3, 1.0):
        found = score_labels(np.full((5, 1), constant), targets)
        assert found["average precision"].value == pytest.approx(0.4)
        assert found["average precision"].baseline == pytest.approx(0.4)
    # A twin that ranks equals in the order of the rows would find 1.
    assert np.mean([1 / 1, 2 / 2]) == 1.0


def test_a_label_without_positives_is_left_out_and_named():
    probabilities = np.array([[0.9, 0.9], [0.1, 0.2]])
    found = score_labels(probabilities, np.array([[1, 0], [0, 0]]))
    assert found["average precision"].value == 1.0
    assert "mean without the labels that have 0 items here: b" in found["macro-F1"].note
    assert found["micro-F1"].value == pytest.approx(2 / 3)
    empty = found.per_class[1]
    assert (empty.items, empty.recall, empty.f1, empty.average_precision) == (0, None, None, None)
    assert empty.precision == 0.0


def test_where_no_item_has_a_label_ranking_is_not_available():
    found = score_labels(np.full((3, 2), 0.1), np.zeros((3, 2)))
    for name in ("average precision", "macro-F1", "micro-F1"):
        assert found[name].value is None
        said = ", or was said to be" if name == "micro-F1" else ""
        assert found[name].note == f"no label is in these items{said}"
    assert found["exact match"].value == 1.0
    assert quick("labels", np.full((3, 2), 0.1), np.zeros((3, 2)), "average precision") is None
    json.dumps(found.to_json(), allow_nan=False)


def test_baselines_say_the_majority_of_each_label_in_training():
    trained = np.array([[1, 0], [1, 0], [1, 1], [0, 0]])
    targets = np.array([[1, 1], [0, 0], [1, 0]])
    found = score_labels(targets.astype(float), targets, train_targets=trained)
    said = np.tile([1, 0], (3, 1))
    assert found["exact match"].baseline == pytest.approx(1 / 3)
    assert found["micro-F1"].baseline == pytest.approx(
        metrics.f1_score(targets.ravel(), said.ravel())
    )
    assert found["macro-F1"].baseline == pytest.approx((0.8 + 0) / 2)
    shares = np.array([4 / 6, 2 / 6])
    losses = -np.log(np.where(targets, shares, 1 - shares))
    assert found["log loss"].baseline == pytest.approx(losses.mean())
    assert found["average precision"].baseline == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_perfect_predictions_have_perfect_scores():
    targets = np.random.default_rng(0).integers(0, 2, (40, 3))
    found = score_labels(targets.astype(np.float32), targets)
    for name in ("average precision", "macro-F1", "micro-F1", "exact match"):
        assert found[name].value == 1.0
    assert found["log loss"].value == pytest.approx(0.0, abs=1e-12)
    assert found["exact match"].low == pytest.approx(0.025 ** (1 / 40))
    assert found.worst == ()


def test_one_half_is_yes():
    found = score_labels(np.array([[0.5], [0.4999]]), np.array([[1], [0]]))
    assert found["exact match"].value == 1.0


def test_one_item_and_one_yes_or_no_question_are_scored():
    found = score("labels", [0.8], np.array([1]), labels=["yes"], train_targets=np.array([1, 0]))
    assert found["average precision"].value == 1.0
    assert found["log loss"].value == pytest.approx(-np.log(0.8))


def test_average_precision_says_that_it_took_fewer_resamples():
    probabilities, targets = random_case(1, items=300, labels=2)
    found = score_labels(probabilities, targets)
    assert found["average precision"].note == "interval from 200 resamples"
    assert found["micro-F1"].note == ""
    assert found.resamples == 1000


@exactly
@given(seed=st.integers(0, 10**6), items=st.integers(1, 30))
def test_an_interval_holds_its_score(seed, items):
    probabilities, targets = random_case(seed, items=items, labels=3)
    for one in score_labels(probabilities, targets, resamples=50, seed=seed).scores:
        if one.low is not None and one.high is not None and one.value is not None:
            assert one.low <= one.value <= one.high


def test_quick_equals_the_full_score():
    probabilities, targets = random_case(2, items=100, labels=4)
    found = score_labels(probabilities, targets, resamples=0)
    for one in found.scores:
        assert quick("labels", probabilities, targets, one.name) == one.value


def test_the_worst_items_name_their_labels():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.01], [0.9, 0.9]])
    found = score_labels(probabilities, np.array([[1, 0], [0, 1], [0, 0]]))
    assert [(one.row, one.truth, one.predicted) for one in found.worst] == [
        (1, "b", "none"),
        (2, "none", "a, b"),
    ]


def test_nan_and_no_items_give_no_score():
    found = score_labels(np.full((2, 2), np.nan), np.zeros((2, 2)))
    assert {one.value for one in found.scores} == {None}
    assert found["log loss"].note == "2 predictions are not finite, the first in row 0"
    empty = score_labels(np.empty((0, 2)), np.empty((0, 2)))
    assert {one.note for one in empty.scores} == {"0 items"}


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"must be 0 or 1; row 1 is \[0, 2\]"):
        score_labels(np.full((2, 2), 0.5), np.array([[0, 1], [0, 2]]))
    with pytest.raises(ShapeError, match=r"Fix: give the sigmoid of the logits"):
        score_labels(np.full((2, 2), 3.0), np.zeros((2, 2)))
    with pytest.raises(ShapeError, match=r"targets must be \[N, K=2\]; got \(2, 3\)"):
        score_labels(np.full((2, 2), 0.5), np.zeros((2, 3)))


def test_ten_thousand_items_of_ten_labels_take_less_than_two_seconds():
    probabilities, targets = random_case(0, items=10_000, labels=10, steps=10_000)

    def seconds():
        start = time.process_time()
        score_labels(probabilities, targets)
        return time.process_time() - start

    # Threads of the matrix product spin on a busy machine, so a slow run may try again.
    assert any(seconds() < 2 for _ in range(3))
