"""Tables: what a person reads."""

from __future__ import annotations

import numpy as np
import pytest

from gridcell.evaluation import Score, Scores, classify, regress, score, tables
from gridcell.evaluation import labels as several


def row(*numbers, name="accuracy"):
    return tables.rows(Scores("classify", 1, name, (Score(name, *numbers, "higher"),)))[0]


def test_shares_are_percent_with_one_decimal():
    assert row(0.936, 0.931, 0.941, 0.1) == ("accuracy", "93.6 %", "93.1 to 94.1 %", "10.0 %")


def test_what_is_missing_is_not_available():
    assert row(None, None, None, None) == ("accuracy", "n/a", "n/a", "n/a")
    assert row(0.5, None, None, 0.25)[2:] == ("n/a", "25.0 %")


def test_nearly_all_is_not_all():
    assert row(0.9996, 0.9992, 0.9999, 0.1) == (
        "accuracy", "99.96 %", "99.92 to 99.99 %", "10.00 %"
    )  # fmt: skip
    assert row(1.0, 0.9, 1.0, 0.1)[1] == "100.0 %"
    assert row(0.0002, None, None, None)[1] == "0.02 %"
    assert row(0.0, None, None, None)[1] == "0.0 %"


def test_errors_have_four_digits_in_the_units_of_the_data():
    assert row(12.3456, 11.0, 13.5, 99.9, name="MAE") == (
        "MAE", "12.35", "11.00 to 13.50", "99.90"
    )  # fmt: skip
    assert row(12345.6, None, None, None, name="RMSE of price")[1] == "12346"
    assert row(0.00123456, None, None, None, name="MAE")[1] == "0.001235"
    assert row(3e9, None, None, None, name="MAE")[1] == "3.000e+09"
    assert row(0.0, None, None, 2.0, name="MAE")[1] == "0.000"


def test_losses_and_r2_have_three_decimals():
    assert row(-0.12345, -0.5, 0.5, 0.0, name="R2") == ("R2", "-0.123", "-0.500 to 0.500", "0.000")
    assert row(0.2126, None, None, 2.3026, name="log loss")[3] == "2.303"


def test_every_score_has_its_format():
    known = {*tables.PERCENT, *tables.THREE_DECIMALS, "MAE", "RMSE"}
    for measures in (classify.MEASURES, several.MEASURES, regress.MEASURES):
        assert set(measures) <= known


def clothes():
    targets = np.repeat([0, 1, 2], [50, 50, 50])
    said = targets.copy()
    said[50:91], said[0:7], said[100] = 0, 1, 0
    return score(
        "classify",
        np.eye(4)[said],
        targets,
        labels=("T-shirt", "Shirt", "Coat", "Bag"),
        train_targets=targets,
    )


def test_the_most_confused_pairs_are_sentences():
    assert tables.confused_pairs(clothes()) == [
        "Shirt taken for T-shirt 41 times",
        "T-shirt taken for Shirt 7 times",
        "Coat taken for T-shirt 1 time",
    ]
    assert len(tables.confused_pairs(clothes(), most=1)) == 1


def test_the_confusion_has_its_names():
    assert tables.confusion_rows(clothes())[:3] == [
        ["true \\ predicted", "T-shirt", "Shirt", "Coat", "Bag"],
        ["T-shirt", "43", "7", "0", "0"],
        ["Shirt", "41", "9", "0", "0"],
    ]


def test_classes_have_a_row_each():
    assert tables.class_rows(clothes())[0] == ("T-shirt", "50", "50.6 %", "86.0 %", "63.7 %")
    assert tables.class_rows(clothes())[3] == ("Bag", "0", "n/a", "n/a (0 items)", "n/a")


def test_notes_stand_beside_the_rows():
    assert tables.notes(clothes())[0] == (
        "balanced accuracy: mean without the classes that have 0 items here: Bag"
    )


@pytest.mark.parametrize("make", [tables.confusion_rows, tables.confused_pairs, tables.class_rows])
def test_numbers_have_no_classes_to_show(make):
    values = np.arange(4.0)
    found = score("regress", values, values, labels=["x"], train_targets=values)
    assert make(found) == []


def told(*numbers, better="higher", name="accuracy", **more):
    score = Score(name, *numbers, better, **more)
    return tables.beside_a_guess(Scores("classify", 100, name, (score,)))


def test_a_score_no_better_than_a_guess_is_called_so_with_both_figures():
    assert told(0.1, 0.08, 0.12, 0.1) == (
        "It is no better than a trivial guess: accuracy 10.0 %, the guess 10.0 %."
    )
    assert told(3.5, 3.0, 4.0, 2.5, better="lower", name="MAE") == (
        "It is no better than a trivial guess: MAE 3.500, the guess 2.500."
    )
    beside = {"drift": 0.9, "last value": 0.4}
    assert told(0.5, None, None, 0.4, better="lower", name="MAE", beside=beside) == (
        "It is no better than the naive forecast 'last value': MAE 0.5000, the guess 0.4000."
    )


def test_a_score_whose_interval_reaches_the_guess_may_be_no_better():
    assert told(0.137, 0.096, 0.181, 0.1) == (
        "It may be no better than a trivial guess: accuracy 13.7 % (9.6 to 18.1 %), the guess "
        "10.0 %."
    )


def test_a_score_above_the_guess_is_left_alone():
    assert told(0.137, 0.105, 0.181, 0.1) == ""
    assert told(2.0, 1.5, 3.0, 2.5, better="lower", name="MAE") == ""
    assert told(None, None, None, 0.1) == told(0.5, None, None, None) == ""
