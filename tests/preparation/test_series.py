"""From the numbers of a series to what the network reads: missing ones, scales, windows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gridcell.axes import Layout
from gridcell.config import DataConfig
from gridcell.errors import ConfigError
from gridcell.preparation.series import (
    SeriesPreparation,
    choose_series,
    constant_columns,
    decode_series,
    fit_series,
    told_constant,
)
from gridcell.samples import Samples, SeriesFacts, Tags

NAN = np.nan


def facts(*series: list[list[float]], columns: tuple[str, ...] = ("a", "b")) -> SeriesFacts:
    values = np.concatenate([np.array(s, np.float32).reshape(-1, len(columns)) for s in series])
    starts = np.cumsum([0, *(len(s) for s in series)]).astype(np.int64)
    return SeriesFacts(values, starts, columns)


def samples(found: SeriesFacts, tags: Tags | None = None) -> Samples:
    count = len(found.starts) - 1
    return Samples(
        task="classify" if tags is None else "tags",
        paths=tuple(f"table.csv#{n}" for n in range(count)),
        root="/",
        labels=("x", "y"),
        targets=np.zeros(count, np.int64),
        digests=np.zeros(count, "V16"),
        facts=found,
        given=np.full(count, -1, np.int8),
        tags=tags,
    )


def prep(missing: Any = "stop", **changes: Any) -> SeriesPreparation:
    return SeriesPreparation(
        ("a",), missing, 100, **{"mean": (5.0,), "deviation": (2.0,)} | changes
    )


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None]


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("ffill", [NAN, 1, 1, 1, 4, 4]),
        ("interpolate", [NAN, 1, 2, 3, 4, NAN]),
        ("drop", [1, 4]),
        ("mask", [NAN, 1, NAN, NAN, 4, NAN]),
        ("stop", [NAN, 1, NAN, NAN, 4, NAN]),
    ],
)
def test_missing_numbers_are_filled_as_the_policy_says(policy: Any, wanted: list[float]) -> None:
    found = prep(policy).filled(column(NAN, 1, NAN, NAN, 4, NAN))
    np.testing.assert_array_equal(found[:, 0], np.array(wanted, np.float32))


def test_filling_forward_uses_the_past_alone() -> None:
    values = column(NAN, 1, NAN, 7, NAN)
    whole = prep("ffill").filled(values)
    for stop in range(1, 6):
        np.testing.assert_array_equal(prep("ffill").filled(values[:stop]), whole[:stop])


def test_what_cannot_be_filled_is_the_training_mean_and_never_zero() -> None:
    assert prep("ffill").read(column(NAN, 1.0)).tolist() == [[5.0], [1.0]]
    masked = prep("mask", mean=(5.0, 0.0), deviation=(2.0, 1.0)).read(column(NAN, 1.0))
    assert masked.tolist() == [[5.0, 1.0], [1.0, 0.0]]
    assert masked.dtype == np.float32


def test_a_column_without_any_number_stays_so_until_it_is_the_mean() -> None:
    for policy in ("ffill", "interpolate"):
        assert np.isnan(prep(policy).filled(column(NAN, NAN))).all()


def test_mean_and_deviation_are_those_of_the_training_rows() -> None:
    found = facts([[1, 20], [2, 20]], [[3, 20]], [[100, 7], [200, 8]])
    data = decode_series(choose_series(samples(found), DataConfig()), found)
    fitted = fit_series(choose_series(samples(found), DataConfig()), data, np.array([0, 1]))
    assert fitted.mean == pytest.approx((2, 20))
    # A constant column becomes 0 and stays finite whatever comes later.
    assert fitted.deviation == pytest.approx((np.sqrt(2 / 3), 1))
    assert (np.array([1, 2, 3]) - 2) / fitted.deviation[0] == pytest.approx(
        [-1.224745, 0, 1.224745], abs=1e-6
    )
    assert fitted.is_whole


def test_a_nearly_constant_column_is_rounding_and_not_information() -> None:
    found = facts([[1, 1e6], [2, 1e6]], [[3, 1e6 + 1e-2]])
    data = decode_series(choose_series(samples(found), DataConfig()), found)
    assert (
        fit_series(choose_series(samples(found), DataConfig()), data, np.arange(2)).deviation[1]
        == 1.0
    )
    assert constant_columns(data, np.arange(2)) == [1]
    assert told_constant(("a", "b"), [1]) == (
        "Column b has one value in all training rows, and can teach nothing."
    )


def test_statistics_leave_missing_numbers_out() -> None:
    found = facts([[1, NAN], [3, 4]], [[NAN, 6]])
    chosen = choose_series(samples(found), DataConfig(missing="mask"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit_series(chosen, decode_series(chosen, found), np.arange(2))
    assert fitted.mean == (2, 5, 0, 0) and fitted.deviation == (1, 1, 1, 1)
    assert fitted.layout == Layout(4, steps=None)


def test_dropped_steps_shorten_a_series() -> None:
    found = facts([[1, NAN], [3, 4]], [[NAN, 6], [7, 8], [9, 9]])
    chosen = choose_series(samples(found), DataConfig(missing="drop"))
    data = decode_series(chosen, found)
    assert data.starts.tolist() == [0, 1, 3] and not np.isnan(data.values).any()


def test_steps_with_an_answer_of_their_own_are_not_dropped() -> None:
    found = facts([[1, 2]])
    tags = Tags(np.zeros(1, np.int64), np.array([0, 1]))
    with pytest.raises(ConfigError, match="missing = 'drop' leaves steps out"):
        choose_series(samples(found, tags), DataConfig(missing="drop"))


def test_a_long_series_is_read_in_windows_and_that_is_said() -> None:
    found = facts([[1, 2]] * 30, [[1, 2]] * 10)
    chosen = choose_series(samples(found), DataConfig(window=20))
    assert chosen.longest == 20
    assert chosen.describe(found) == "10 to 30 steps of 2 columns, read in windows of 20 steps"
    short = choose_series(samples(found), DataConfig())
    assert short.longest == 30 and short.describe(found) == "10 to 30 steps of 2 columns"


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": ()},
        {"longest": 0},
        {"mean": (1.0, 2.0)},
        {"mean": (NAN,)},
        {"deviation": (0.0,)},
        {"deviation": ()},
        {"missing": "guess"},
    ],
)
def test_a_preparation_that_does_not_hold_together_is_known(changes: dict[str, Any]) -> None:
    whole = {"columns": ("a",), "missing": "stop", "longest": 3}
    numbers = {"mean": (0.0,), "deviation": (1.0,)}
    assert SeriesPreparation(**whole, **numbers).is_whole  # type: ignore[arg-type]
    assert not SeriesPreparation(**{**whole, **numbers, **changes}).is_whole
