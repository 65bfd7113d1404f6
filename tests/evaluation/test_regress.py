"""Scores of predicted numbers, against scikit-learn, by hand, and at the edges."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from gridcell.errors import ShapeError
from gridcell.evaluation import choose_main, intervals, quick, regress, score

exactly = settings(derandomize=True, deadline=None, max_examples=40)


def random_case(seed, *, items, columns, offset=0.0):
    generator = np.random.default_rng(seed)
    targets = offset + generator.normal(size=(items, columns)) * 10.0 ** np.arange(columns)
    return targets + generator.normal(size=(items, columns)), targets


def score_numbers(predictions, targets, *, train_targets=None, **options):
    names = tuple("xyzuvw"[: 1 if np.ndim(targets) == 1 else np.shape(targets)[1]])
    trained = targets if train_targets is None else np.asarray(train_targets)
    return score("regress", predictions, targets, labels=names, train_targets=trained, **options)


@exactly
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(2, 60),
    columns=st.integers(1, 3),
    offset=st.sampled_from([0.0, 1e6]),
)
def test_scores_are_those_of_scikit_learn(seed, items, columns, offset):
    predictions, targets = random_case(seed, items=items, columns=columns, offset=offset)
    found = score_numbers(predictions, targets, resamples=0)
    pairs = {
        "MAE": metrics.mean_absolute_error,
        "RMSE": metrics.root_mean_squared_error,
        "R2": metrics.r2_score,
    }
    for name, oracle in pairs.items():
        assert found[name].value == pytest.approx(oracle(targets, predictions), rel=1e-6)
        if columns > 1:
            each = oracle(targets, predictions, multioutput="raw_values")
            for k in range(columns):
                assert found[f"{name} of {'xyz'[k]}"].value == pytest.approx(each[k], rel=1e-6)


@exactly
@given(seed=st.integers(0, 10**6), items=st.integers(2, 30))
def test_a_resample_is_scored_as_if_it_were_the_data(seed, items):
    predictions, targets = random_case(seed, items=items, columns=2, offset=100.0)
    outcomes = regress._outcomes(predictions, targets)
    draws = np.random.default_rng(seed).integers(0, items, (5, items))
    draws[0] = 1  # one item, again and again: its targets do not vary
    for name, (measure, _) in regress.MEASURES.items():
        together = measure(outcomes, draws)
        for drawn, values in zip(draws, together, strict=True):
            alone = regress._outcomes(predictions[drawn], targets[drawn])
            wanted = measure(alone, intervals.once(items))[0]
            assert values == pytest.approx(wanted, rel=1e-6, nan_ok=True)
        assert name != "R2" or np.isnan(together[0]).all()


def test_scores_by_hand():
    found = score_numbers(np.array([1.0, 2.0, 6.0]), np.array([1.0, 3.0, 5.0]))
    assert found["MAE"].value == pytest.approx(2 / 3)
    assert found["RMSE"].value == pytest.approx(np.sqrt(2 / 3))
    assert found["R2"].value == pytest.approx(1 - 2 / 8)
    assert found.main == "MAE"
    assert found.per_class == ()
    assert found.confusion is None


def test_the_baselines_are_the_training_median_and_mean():
    trained, targets = np.array([0.0, 1.0, 8.0]), np.array([2.0, 4.0])
    found = score_numbers(targets, targets, train_targets=trained)
    assert found["MAE"].baseline == pytest.approx(2.0)
    assert found["RMSE"].baseline == pytest.approx(np.sqrt((1 + 1) / 2))
    assert found["R2"].baseline == pytest.approx(0.0)
    far = score_numbers(targets, targets, train_targets=np.array([0.0]))
    assert far["R2"].baseline == pytest.approx(1 - 20 / 2)


def test_scores_keep_the_units_of_the_data():
    predictions, targets = random_case(4, items=50, columns=1)
    small, large = (
        score_numbers(predictions, targets),
        score_numbers(1e6 * predictions, 1e6 * targets),
    )
    for name in ("MAE", "RMSE"):
        assert large[name].value == pytest.approx(1e6 * small[name].value)
        assert large[name].low == pytest.approx(1e6 * small[name].low)
    assert large["R2"].value == pytest.approx(small["R2"].value)


def test_a_column_that_does_not_vary_has_no_r2_and_is_left_out_of_the_mean():
    predictions, targets = random_case(4, items=20, columns=2)
    targets[:, 1] = 0.1
    found = score_numbers(predictions, targets)
    assert found["R2 of y"].value is None
    assert found["R2 of y"].note == "the targets are all the same here"
    assert found["R2"].value == found["R2 of x"].value
    assert found["R2"].note == ("mean over the columns; without those whose targets do not vary: y")
    assert found["MAE of y"].value is not None


def test_one_item_has_errors_but_no_r2():
    found = score_numbers(np.array([3.0]), np.array([1.0]))
    assert (found["MAE"].value, found["RMSE"].value, found["R2"].value) == (2.0, 2.0, None)
    assert found["MAE"].low is None
    assert quick("regress", np.array([3.0]), np.array([1.0]), "R2") is None


def test_perfect_predictions_have_no_error_and_no_interval():
    targets = np.arange(10.0)
    found = score_numbers(targets, targets)
    assert (found["MAE"].value, found["RMSE"].value, found["R2"].value) == (0.0, 0.0, 1.0)
    assert found["RMSE"].low is None
    assert found.worst == ()


def test_what_overflows_is_not_a_score():
    with np.errstate(all="raise"):
        found = score_numbers(np.array([1e200, 0.0]), np.array([0.0, 1.0]))
    assert found["RMSE"].value is None
    assert "the value is not finite" in found["RMSE"].note
    assert found["MAE"].value == pytest.approx(5e199)
    json.dumps(found.to_json(), allow_nan=False)


def test_nan_gives_no_score():
    found = score_numbers(np.array([np.nan, 1.0]), np.array([0.0, 1.0]))
    assert {one.value for one in found.scores} == {None}
    assert found["MAE"].note == "1 prediction is not finite, the first in row 0"
    targets = score_numbers(np.array([0.0, 1.0]), np.array([0.0, np.inf]))
    assert targets["MAE"].note == "1 target is not finite, the first in row 1"


def test_the_worst_items_are_measured_in_each_columns_own_errors():
    predictions = np.array([[0.0, 0.0], [0.0, 100.0], [9.0, 90.0], [1.0, 100.0]])
    found = score_numbers(predictions, np.zeros((4, 2)))
    assert [one.row for one in found.worst][:1] == [2]
    assert found.worst[0].predicted == "x 9, y 90"


def test_several_columns_choose_epochs_by_r2_since_their_units_may_differ():
    assert choose_main("regress", np.zeros((5, 2))) == ("R2", "higher")
    assert choose_main("regress", np.zeros((5, 1))) == ("MAE", "lower")
    assert choose_main("regress", np.zeros(5)) == ("MAE", "lower")


def test_quick_equals_the_full_score():
    predictions, targets = random_case(8, items=40, columns=3)
    found = score_numbers(predictions, targets, resamples=0)
    for name in regress.MEASURES:
        assert quick("regress", predictions, targets, name) == found[name].value


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"predictions must be \[N, M=2\]; got \(5,\)"):
        score_numbers(np.zeros(5), np.zeros((5, 2)))


@exactly
@given(seed=st.integers(0, 10**6), items=st.integers(1, 30))
def test_an_interval_holds_its_score(seed, items):
    predictions, targets = random_case(seed, items=items, columns=2)
    for one in score_numbers(predictions, targets, resamples=50, seed=seed).scores:
        if one.low is not None and one.high is not None and one.value is not None:
            assert one.low <= one.value <= one.high
