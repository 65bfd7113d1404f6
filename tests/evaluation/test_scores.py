"""Score and Scores as plain data, and the choice among tasks."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from gridcell.errors import ConfigError
from gridcell.evaluation import (
    ClassScore,
    Score,
    Scores,
    WorstItem,
    choose_main,
    main_score,
    over_steps,
    quick,
    score,
)


def test_only_finite_numbers_are_scores():
    one = Score("RMSE", float("nan"), 0.1, 0.2, float("-inf"), "lower", "two columns")
    assert (one.value, one.low, one.high, one.baseline) == (None, None, None, None)
    assert one.note == "two columns; the value is not finite; the baseline is not finite"


def test_half_an_interval_is_none():
    one = Score("RMSE", 1.0, 0.5, float("inf"), None, "lower")
    assert (one.value, one.low, one.high) == (1.0, None, None)


def test_numpy_numbers_become_plain_ones():
    one = Score("RMSE", np.float32(0.5), np.float64(0.25), 1, None, "lower")
    assert [type(number) for number in (one.value, one.low, one.high)] == [float] * 3


@pytest.mark.parametrize("is_diverged", [False, True])
@pytest.mark.parametrize("task", ["classify", "labels", "regress"])
def test_json_holds_no_nan_and_comes_back_equal(task, is_diverged):
    targets = {
        "classify": np.array([0, 1, 1, 0]),
        "labels": np.array([[1, 0], [0, 0], [1, 0], [0, 0]]),
        "regress": np.array([[1.0, 2.0], [3.0, 2.0], [4.0, 2.0], [5.0, 2.0]]),
    }[task]
    predictions = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.5, 0.5]])
    if is_diverged:
        predictions[2] = np.nan
    found = score(task, predictions, targets, labels=["a", "b"], train_targets=targets)
    text = json.dumps(found.to_json(), allow_nan=False)
    assert Scores.from_json(json.loads(text)) == found
    assert found.to_json() == json.loads(text)


def test_what_is_not_finite_is_null_in_json_wherever_it_stands():
    one = ClassScore("a", 1, float("nan"), 1.0, float("inf"))
    worst = WorstItem(0, "a", "b", None, float("inf"))
    data = Scores("classify", 1, "accuracy", (), (one,), worst=(worst,)).to_json()
    assert data["per_class"][0]["precision"] is None
    assert data["per_class"][0]["f1"] is None
    assert data["worst"][0]["loss"] is None


def test_an_unknown_score_names_its_nearest():
    with pytest.raises(ConfigError, match=r"'acuracy' is not a score .* Did you mean accuracy\?"):
        quick("classify", np.array([[1.0, 0.0]]), np.array([0]), "acuracy")
    with pytest.raises(ConfigError, match="choose one of MAE, RMSE, R2"):
        quick("regress", np.array([1.0]), np.array([0.0]), "accuracy")
    with pytest.raises(ConfigError, match="choose one of average precision"):
        quick("labels", np.array([[1.0]]), np.array([[0]]), "F1")


def test_an_unknown_task_names_its_nearest():
    with pytest.raises(ConfigError, match=r"'regres' is not a task .* Did you mean regress\?"):
        main_score("regres")


def test_each_task_has_a_main_score():
    assert main_score("classify") == ("accuracy", "higher")
    assert main_score("labels") == ("average precision", "higher")
    assert main_score("regress") == ("MAE", "lower")
    assert choose_main("labels", np.zeros((3, 2))) == main_score("labels")


def test_the_main_score_is_among_the_scores():
    targets = np.array([0, 0, 0, 0, 1])
    found = score("classify", np.eye(2)[targets], targets, labels="ab", train_targets=targets)
    assert found.main == "balanced accuracy"
    assert found[found.main].value == 1.0


def test_evaluation_needs_neither_torch_nor_scikit_learn():
    code = (
        "import sys, gridcell.evaluation, gridcell.evaluation.tables;"
        "print([name for name in ('torch', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def some_scores() -> Scores:
    sure, targets = (
        np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.5, 0.5]]),
        np.array([0, 1, 1, 2]),
    )
    return score(
        "classify",
        sure,
        targets,
        labels=["a", "b"],
        train_targets=np.array([0, 1]),
        unknown=["c"],
    )


def test_a_loop_over_scores_gives_each_once_and_names_find_them() -> None:
    found = some_scores()
    assert [each.name for each in found][:2] == ["accuracy", "balanced accuracy"]
    assert len(found) == len(found.scores) == len(list(found))
    assert all(found[each.name] is each for each in found)
    assert "accuracy" in found and found["accuracy"] in found
    assert "R2" not in found and 0 not in found
    with pytest.raises(ConfigError, match="'0' is not a score of the task classify"):
        found[0]  # type: ignore[index]


def test_steps_have_no_intervals_and_nothing_is_said_of_each() -> None:
    absent = "mean without the labels that have 0 items here: low"
    notes = (
        f"{absent}; interval from 200 resamples",
        "no interval: the resamples agree or have no score",
        absent,
    )
    every = tuple(
        Score(name, 0.5, 0.4, 0.6, 0.1, "higher", note)
        for name, note in zip("abc", notes, strict=True)
    )
    scores = Scores("labels", 9, "a", every)
    assert over_steps(scores, "events").task == "events"
    first, *others = over_steps(scores, "events")
    assert first.note == (
        f"{absent}; items are steps; no intervals, since steps of one recording are alike"
    )
    assert [score.note for score in others] == ["", absent]
    assert all(score.low is None and score.high is None for score in (first, *others))


def test_scores_print_as_the_table_of_a_training() -> None:
    text = str(some_scores())
    heading, first, *_ = text.splitlines()
    assert heading.split("  ")[0] == "3 items" and heading.endswith("trivial guess")
    assert first.startswith("accuracy ") and first.endswith("%")
    assert "1 item has the label 'c', which the model does not know" in text
    naive = Score("MAE", 0.25, None, None, 0.5, "lower", beside={"last value": 0.5})
    assert str(Scores("forecast", 10, "MAE", (naive,))).splitlines() == [
        "10 items   score  last value",
        "MAE       0.2500      0.5000",
    ]
    assert (
        str(Scores("classify", 0, "accuracy", ())) == "0 items  score  95 % interval  trivial guess"
    )
