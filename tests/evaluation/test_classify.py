"""Scores of one class of many, against scikit-learn, by hand, and at the edges."""

from __future__ import annotations

import json
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from gridcell.errors import ConfigError, ShapeError
from gridcell.evaluation import choose_main, classify, intervals, quick, score, tables

exactly = settings(derandomize=True, deadline=None, max_examples=40)


def one_hot(classes, *, size):
    return np.eye(size)[np.asarray(classes)]


def random_case(seed, *, items, classes, dtype=np.float64):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(items, classes))
    targets = generator.integers(0, classes, items)
    logits[np.arange(items), targets] += 1.0
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities.astype(dtype), targets


def score_classes(probabilities, targets, *, train_targets=None, **options):
    labels = tuple("abcdefghijklmnopqrstuvwxyz"[: probabilities.shape[1]])
    trained = targets if train_targets is None else np.asarray(train_targets)
    return score(
        "classify",
        probabilities,
        np.asarray(targets),
        labels=labels,
        train_targets=trained,
        **options,
    )


def calibration_error_by_hand(probabilities, targets):
    """The definition, bin by bin."""
    sure, said = probabilities.max(axis=1), probabilities.argmax(axis=1)
    total = 0.0
    for k in range(15):
        inside = (sure > np.linspace(0, 1, 16)[k]) & (sure <= np.linspace(0, 1, 16)[k + 1])
        if inside.any():
            gap = abs((said == targets)[inside].mean() - sure[inside].mean())
            total += inside.mean() * gap
    return total


@exactly
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(1, 80),
    classes=st.integers(2, 7),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_scores_are_those_of_scikit_learn(seed, items, classes, dtype):
    probabilities, targets = random_case(seed, items=items, classes=classes, dtype=dtype)
    found = score_classes(probabilities, targets, resamples=0)
    said, present = probabilities.argmax(axis=1), np.unique(targets)
    recalls = metrics.recall_score(targets, said, labels=present, average="macro")
    f1 = metrics.f1_score(targets, said, labels=present, average="macro", zero_division=0)
    wide = probabilities.astype(np.float64)
    wide /= wide.sum(axis=1, keepdims=True)
    loss = metrics.log_loss(targets, wide, labels=np.arange(classes))
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(targets, said))
    assert found["balanced accuracy"].value == pytest.approx(recalls)
    assert found["macro-F1"].value == pytest.approx(f1)
    assert found["log loss"].value == pytest.approx(loss, rel=1e-6)
    assert found["calibration error"].value == pytest.approx(
        calibration_error_by_hand(wide, targets), abs=1e-6
    )
    matrix = metrics.confusion_matrix(targets, said, labels=np.arange(classes))
    assert found.confusion == matrix.tolist()


@exactly
@given(seed=st.integers(0, 10**6), items=st.integers(1, 60))
def test_each_class_is_scored_as_by_scikit_learn(seed, items):
    probabilities, targets = random_case(seed, items=items, classes=5)
    said = probabilities.argmax(axis=1)
    precision, recall, f1, count = metrics.precision_recall_fscore_support(
        targets, said, labels=np.arange(5), zero_division=np.nan
    )
    for k, one in enumerate(score_classes(probabilities, targets, resamples=0).per_class):
        assert one.items == count[k]
        assert one.precision == (None if np.isnan(precision[k]) else pytest.approx(precision[k]))
        assert one.recall == (None if np.isnan(recall[k]) else pytest.approx(recall[k]))
        if count[k]:
            assert one.f1 == pytest.approx(f1[k])
        else:
            assert one.f1 is None


@exactly
@given(seed=st.integers(0, 10**6), items=st.integers(1, 40))
def test_a_resample_is_scored_as_if_it_were_the_data(seed, items):
    probabilities, targets = random_case(seed, items=items, classes=4)
    outcomes = classify._outcomes(probabilities, targets)
    draws = np.random.default_rng(seed).integers(0, items, (5, items))
    for measure, _ in classify.MEASURES.values():
        together = measure(outcomes, draws)
        for drawn, value in zip(draws, together, strict=True):
            alone = classify._outcomes(probabilities[drawn], targets[drawn])
            assert value == pytest.approx(measure(alone, intervals.once(items))[0], abs=1e-12)


def test_top_5_is_scored_from_20_classes_on_and_agrees_with_scikit_learn():
    for classes in (20, 26):
        probabilities, targets = random_case(3, items=300, classes=classes)
        found = score_classes(probabilities, targets, resamples=0)
        wanted = metrics.top_k_accuracy_score(
            targets, probabilities, k=5, labels=np.arange(classes)
        )
        assert found["top-5 accuracy"].value == pytest.approx(wanted)
    few = score_classes(*random_case(3, items=30, classes=19))
    with pytest.raises(ConfigError, match="is not a score of the task classify"):
        few["top-5 accuracy"]


def test_equal_probabilities_rank_by_class_number_so_a_constant_is_not_always_near():
    targets = np.arange(20)
    found = score_classes(np.full((20, 20), 0.05), targets, resamples=0)
    assert found["accuracy"].value == 1 / 20
    assert found["top-5 accuracy"].value == 5 / 20
    assert found["top-5 accuracy"].baseline == 5 / 20


# 990 items of one class, 10 of the other: accuracy hides the second class.


def test_always_the_larger_class_has_accuracy_990_and_balanced_accuracy_one_half():
    targets = np.repeat([0, 1], [990, 10])
    found = score_classes(one_hot(np.zeros(1000, int), size=2), targets)
    assert found["accuracy"].value == 0.990
    assert found["accuracy"].baseline == 0.990
    assert found["balanced accuracy"].value == 0.5
    assert found["balanced accuracy"].baseline == 0.5
    assert found["macro-F1"].value == found["macro-F1"].baseline == pytest.approx(990 / 1990)
    assert found.main == "balanced accuracy"
    assert [one.recall for one in found.per_class] == [1.0, 0.0]
    assert found.per_class[1].precision is None
    assert found.per_class[1].f1 == 0
    assert found.per_class[1].note == "never predicted"
    assert found.confusion == [[990, 0], [10, 0]]


def test_a_class_without_items_is_left_out_of_the_mean_and_named():
    said, targets = np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1])
    found = score_classes(one_hot(said, size=4), targets, train_targets=[0, 1, 2, 3])
    assert found["balanced accuracy"].value == 0.75
    assert found["balanced accuracy"].baseline == 0.5
    assert "mean without the classes that have 0 items here: c, d" in found["macro-F1"].note
    assert "0 items" not in found["accuracy"].note
    called, unseen = found.per_class[2], found.per_class[3]
    assert (called.items, called.recall, called.f1, called.precision) == (0, None, None, 0.0)
    assert (unseen.recall, unseen.precision) == (None, None)
    assert unseen.note == "0 items, never predicted"
    assert tables.class_rows(found)[3] == ("d", "0", "n/a", "n/a (0 items)", "n/a")


def test_an_absent_class_counted_as_zero_would_be_caught():
    said, targets = np.array([0, 0, 1]), np.array([0, 0, 1])
    found = score_classes(one_hot(said, size=3), targets)
    broken = np.diag(found.confusion) / np.maximum(np.sum(found.confusion, axis=1), 1)
    assert broken.mean() == pytest.approx(2 / 3)
    assert found["balanced accuracy"].value == 1.0


def test_nothing_warns_and_nothing_divides_by_zero():
    with np.errstate(all="raise"):
        score_classes(one_hot([0], size=3), np.array([2]), train_targets=[1, 1])
        score_classes(one_hot([0, 0], size=2), np.array([1, 1]), train_targets=[0])


# Baselines know the training targets and nothing else.


def test_the_baseline_says_the_largest_training_class_even_where_it_is_rare_here():
    found = score_classes(
        one_hot([0, 1, 1, 1], size=2), np.array([0, 1, 1, 1]), train_targets=[0, 0, 0, 1]
    )
    assert found["accuracy"].baseline == 0.25
    shares = np.array([4, 2]) / 6
    assert found["log loss"].baseline == pytest.approx(-np.log(shares[[0, 1, 1, 1]]).mean())
    assert found["calibration error"].baseline == pytest.approx(shares[0] - 0.25)
    assert found["balanced accuracy"].baseline == 0.5
    assert found["macro-F1"].baseline == pytest.approx((2 / 5 + 0) / 2)


@pytest.mark.parametrize(("truth", "share"), [(0, 1.0), (1, 0.0)])
def test_where_one_class_is_tested_balanced_accuracy_is_accuracy_for_the_baseline_too(
    truth: int, share: float
) -> None:
    for items in (1, 5):
        found = score_classes(
            np.tile([0.2, 0.8], (items, 1)), np.full(items, truth), train_targets=[0, 0, 0, 1]
        )
        assert found["accuracy"].baseline == found["balanced accuracy"].baseline == share
        assert found["accuracy"].value == found["balanced accuracy"].value == 1 - share


def test_the_baseline_loss_is_finite_for_a_class_that_training_never_saw():
    found = score_classes(one_hot([1], size=2), np.array([1]), train_targets=[0] * 8)
    assert found["log loss"].baseline == pytest.approx(np.log(10))
    assert found["accuracy"].baseline == 0.0


def test_without_training_targets_there_is_no_baseline():
    found = score_classes(one_hot([0, 1], size=2), np.array([0, 1]), train_targets=np.empty(0, int))
    assert [one.baseline for one in found.scores] == [None] * 5


def test_the_guess_of_the_training_frequencies_scores_its_own_baseline():
    generator = np.random.default_rng(1)
    trained, targets = generator.integers(0, 3, 500) % 3, generator.integers(0, 3, 200)
    shares = (np.bincount(trained, minlength=3) + 1) / 503
    found = score_classes(np.tile(shares, (200, 1)), targets, train_targets=trained)
    for one in found.scores:
        assert one.value == pytest.approx(one.baseline), one.name


# Edges.


def test_one_item_is_scored():
    right = score_classes(np.array([[0.2, 0.8]]), np.array([1]))
    assert right["accuracy"].value == 1.0
    assert right["accuracy"].low == pytest.approx(0.025)
    assert right["log loss"].value == pytest.approx(-np.log(0.8))
    assert right["log loss"].low is None
    assert "all resamples agree" in right["log loss"].note


def test_perfect_predictions_have_perfect_scores_and_no_false_certainty():
    targets = np.tile([0, 1, 2], 10)
    found = score_classes(one_hot(targets, size=3), targets)
    for name in ("accuracy", "balanced accuracy", "macro-F1"):
        assert found[name].value == 1.0
    assert found["log loss"].value == found["calibration error"].value == 0.0
    assert found["accuracy"].low == pytest.approx(0.025 ** (1 / 30))
    assert found["accuracy"].high == 1.0
    assert found["balanced accuracy"].low is None
    assert found.worst == ()


def test_a_probability_of_zero_for_the_truth_costs_36_nats_not_infinity():
    found = score_classes(np.array([[1.0, 0.0]]), np.array([1]))
    assert found["log loss"].value == pytest.approx(36.04, abs=0.01)


def test_no_items_give_no_scores():
    found = score_classes(np.empty((0, 2)), np.empty(0, int), train_targets=[0, 1])
    assert [one.value for one in found.scores] == [None] * 5
    assert {one.note for one in found.scores} == {"0 items"}
    assert quick("classify", np.empty((0, 2)), np.empty(0, int), "accuracy") is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_diverged_network_has_no_score(bad):
    probabilities = one_hot([0, 1, 1], size=2)
    probabilities[1] = bad
    found = score_classes(probabilities, np.array([0, 1, 1]))
    assert [one.value for one in found.scores] == [None] * 5
    assert found["accuracy"].note == "1 prediction is not finite, the first in row 1"
    assert quick("classify", probabilities, np.array([0, 1, 1]), "accuracy") is None
    json.dumps(found.to_json(), allow_nan=False)


def test_the_worst_items_are_the_wrong_ones_of_the_greatest_loss_first():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.99, 0.01], [0.3, 0.7]])
    found = score_classes(probabilities, np.array([1, 1, 1, 0]))
    assert [one.row for one in found.worst] == [2, 0, 3]
    assert (found.worst[0].truth, found.worst[0].predicted) == ("b", "a")
    assert found.worst[0].probability == 0.99
    assert found.worst[0].loss == pytest.approx(-np.log(0.01))


def test_the_calibration_error_of_a_sure_half_right_guess_is_one_half():
    found = score_classes(one_hot([0, 0], size=2), np.array([0, 1]))
    assert found["calibration error"].value == 0.5


def test_bins_are_closed_above():
    # 9/15 lies in (8/15, 9/15] and 0.62 in the next bin: joined, their gaps would cancel.
    edge = np.linspace(0, 1, 16)[9]
    probabilities = np.array([[edge, 1 - edge], [0.62, 0.38]])
    found = score_classes(probabilities, np.array([0, 1]), resamples=0)
    assert found["calibration error"].value == pytest.approx(((1 - edge) + 0.62) / 2)


def test_the_order_of_the_items_changes_nothing():
    probabilities, targets = random_case(5, items=200, classes=5)
    order = np.random.default_rng(0).permutation(200)
    one = score_classes(probabilities, targets, resamples=0)
    other = score_classes(probabilities[order], targets[order], resamples=0)
    for before, after in zip(one.scores, other.scores, strict=True):
        assert before.value == pytest.approx(after.value, abs=1e-12)


@exactly
@given(seed=st.integers(0, 10**6), items=st.integers(1, 30), classes=st.integers(2, 6))
def test_an_interval_holds_its_score(seed, items, classes):
    probabilities, targets = random_case(seed, items=items, classes=classes)
    for one in score_classes(probabilities, targets, resamples=50, seed=seed).scores:
        assert one.value is not None
        assert (one.low is None) == (one.high is None)
        if one.low is not None and one.high is not None:
            assert one.low <= one.value <= one.high


def test_quick_equals_the_full_score():
    probabilities, targets = random_case(9, items=150, classes=6)
    found = score_classes(probabilities, targets, resamples=0)
    for one in found.scores:
        assert quick("classify", probabilities, targets, one.name) == one.value


def test_ten_thousand_items_take_less_than_two_seconds_and_300_mb():
    probabilities, targets = random_case(0, items=10_000, classes=26, dtype=np.float32)
    start = time.process_time()
    found = score_classes(probabilities, targets)
    seconds = time.process_time() - start
    tracemalloc.start()
    score_classes(probabilities, targets, resamples=100)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.resamples == 1000
    assert seconds < 2
    assert peak_bytes < 300e6


# Inputs that do not fit are named.


def test_logits_are_refused():
    with pytest.raises(ShapeError, match=r"got 2 in row 1\.\n  Fix: give the softmax"):
        score_classes(np.array([[0.5, 0.5], [2.0, -1.0]]), np.array([0, 1]))
    with pytest.raises(ShapeError, match=r"row 0 adds up to 1\.6, not 1"):
        quick("classify", np.array([[0.8, 0.8]]), np.array([0]), "accuracy")


def test_wrong_shapes_are_refused():
    even = np.full((2, 2), 0.5)
    with pytest.raises(ShapeError, match=r"predictions must be \[N, K=3\]; got \(2, 2\)"):
        score("classify", even, np.array([0, 1]), labels="abc", train_targets=np.array([0]))
    with pytest.raises(ShapeError, match="got 2 predictions and 3 targets"):
        score_classes(even, np.array([0, 1, 1]))
    with pytest.raises(
        ShapeError, match="targets must be class numbers from 0 to 1; got 2 in row 1"
    ):
        score_classes(even, np.array([0, 2]), train_targets=[0, 1])
    with pytest.raises(ShapeError, match="train_targets must be class numbers from 0 to 1; got -1"):
        score_classes(even, np.array([0, 1]), train_targets=[-1])
    with pytest.raises(ShapeError, match=r"targets must be class numbers \[N\]; got float64"):
        score_classes(even, np.array([0.0, 1.0]), train_targets=[0, 1])


def test_accuracy_chooses_epochs_up_to_three_to_one_and_balanced_accuracy_beyond():
    assert choose_main("classify", np.repeat([0, 1], [30, 10])) == ("accuracy", "higher")
    assert choose_main("classify", np.repeat([0, 1], [31, 10])) == ("balanced accuracy", "higher")
    assert choose_main("classify", np.empty(0, int)) == ("accuracy", "higher")
