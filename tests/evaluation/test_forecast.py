"""Scores of forecasts by hand, the naive forecasts beside them, and the coverage of intervals."""

import json

import numpy as np
import pytest

from gridcell import evaluation
from gridcell.errors import ConfigError, ShapeError
from gridcell.evaluation import Scores, tables
from gridcell.evaluation.forecast import DRIFT, LAST, MAIN, SEASON, naive, quick, score

VALUES = np.array([[1.0, 10.0], [3.0, 20.0], [2.0, 40.0], [5.0, 80.0], [4.0, 0.0]])


def test_naive_forecasts_by_hand():
    found = naive(VALUES, np.array([0, 1]), past=3, horizon=4, season=2)
    assert found[LAST][:, 0].tolist() == [[2.0] * 4, [5.0] * 4]
    assert found[SEASON][:, 0].tolist() == [[3.0, 2.0, 3.0, 2.0], [2.0, 5.0, 2.0, 5.0]]
    assert found[DRIFT][0, 0].tolist() == [2.5, 3.0, 3.5, 4.0]
    assert found[DRIFT][1, 1].tolist() == [110.0, 140.0, 170.0, 200.0]


def test_naive_forecasts_that_cannot_be_made_are_left_out():
    assert list(naive(VALUES, np.array([0]), past=1, horizon=2, season=1)) == [LAST]
    assert list(naive(VALUES, np.array([0]), past=3, horizon=2, season=4)) == [LAST, DRIFT]


def test_the_season_is_the_last_one_of_the_window_however_far_ahead():
    values = np.arange(10.0)[:, None]
    found = naive(values, np.array([0]), past=7, horizon=5, season=3)[SEASON]
    assert found[0, 0].tolist() == [4.0, 5.0, 6.0, 4.0, 5.0]


def scored(**options):
    predictions = np.array([[[1.0, 2.0], [10.0, 30.0]], [[0.0, 0.0], [20.0, 20.0]]])
    targets = np.array([[[2.0, 2.0], [10.0, 10.0]], [[3.0, 0.0], [20.0, 40.0]]])
    beside = {LAST: targets + 1, DRIFT: targets - 2}
    settings = {"labels": ("x", "y"), "deviation": (2.0, 10.0), "beside": beside} | options
    return score(predictions, targets, **settings)


def test_scores_by_hand():
    scores = scored()
    assert scores[MAIN].value == pytest.approx(((1 + 9) / 4 + (400 + 400) / 100) / 8)
    assert scores["standardised MAE"].value == pytest.approx(((1 + 3) / 2 + 40 / 10) / 8)
    assert scores["MAE of x"].value == 1.0
    assert scores["MAE of y"].value == 10.0
    assert scores["RMSE of x"].value == pytest.approx(np.sqrt(10 / 4))
    assert scores["RMSE of y"].value == pytest.approx(np.sqrt(200))
    assert scores.main == MAIN
    assert scores.items == 2


def test_naive_scores_stand_beside_and_the_best_is_the_baseline():
    scores = scored()
    assert scores["MAE of y"].beside == {LAST: 1.0, DRIFT: 2.0}
    assert scores["MAE of y"].baseline == 1.0
    rows = tables.beside_rows(scores)
    assert rows[0] == ["", "score", LAST, DRIFT]
    assert rows[4] == ["MAE of y", "10.00", "1.000", "2.000"]


def test_there_are_no_intervals_and_it_is_said():
    scores = scored()
    assert all(each.low is None and each.high is None for each in scores.scores)
    assert "no intervals: windows overlap" in scores[MAIN].note


def test_coverage_is_the_share_of_truths_inside():
    half = {0.8: np.array([[1.0, 1.0], [5.0, 5.0]]), 0.95: np.array([[4.0, 4.0], [30.0, 30.0]])}
    scores = scored(half_widths=half)
    assert scores["coverage of 80 % intervals"].value == 5 / 8
    assert scores["coverage of 95 % intervals"].value == 1.0
    assert tables.beside_rows(scores)[-1] == ["coverage of 95 % intervals", "100.0 %", "", ""]


def test_scores_are_written_and_read_again():
    scores = scored()
    assert Scores.from_json(json.loads(json.dumps(scores.to_json()))) == scores


def test_what_is_not_finite_is_no_score():
    predictions = np.full((2, 1, 3), np.nan)
    scores = score(predictions, np.zeros((2, 1, 3)), labels=("x",), deviation=(1.0,), beside={})
    assert scores[MAIN].value is None
    assert quick(predictions, np.zeros((2, 1, 3))) is None
    assert quick(np.zeros((0, 3)), np.zeros((0, 3))) is None


def test_quick_is_the_main_score():
    found = evaluation.quick("forecast", np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]), MAIN)
    assert found == 2.0
    assert evaluation.choose_main("forecast", np.zeros((3, 0))) == (MAIN, "lower")


def test_shapes_that_differ_are_refused():
    with pytest.raises(ShapeError, match=r"must be \[N, M=1, H\] like the truths"):
        score(np.zeros((2, 1, 3)), np.zeros((2, 1, 2)), labels=("x",), deviation=(1,), beside={})


def test_forecasts_are_not_scored_as_items_are():
    with pytest.raises(ConfigError, match="'forecast' is not a task that can be scored"):
        evaluation.score(
            "forecast", np.zeros(1), np.zeros(1), labels=("x",), train_targets=np.zeros(1)
        )
