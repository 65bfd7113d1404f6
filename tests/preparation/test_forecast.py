"""How windows become segments: fitted on training steps alone, filled by looking back alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gridcell import preparation
from gridcell.config import DataConfig, SplitConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.preparation.forecast import (
    ForecastPreparation,
    decode_forecast,
    fit_forecast,
    rounds_of,
    segment_of,
)
from gridcell.samples import Step
from gridcell.sources import forecast
from gridcell.splits import split

HOUR_US = 3_600_000_000


def hour(number: int) -> str:
    return str(np.datetime64("2024-01-01T00:00") + np.timedelta64(number, "h")).replace("T", " ")


def table(tmp_path: Path, rows: list[str], header: str = "time,x") -> Path:
    path = tmp_path / "t.csv"
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return path


def fitted(path: Path, shares: SplitConfig | None = None, **options: Any) -> ForecastPreparation:
    config = DataConfig(**({"horizon": 1, "past": 3} | options))
    samples = forecast.read(path, config)
    prep = preparation.choose(samples, config)
    assert isinstance(prep, ForecastPreparation)
    rows = split(samples, shares or SplitConfig(valid=0, test=0), seed=0).rows("train")
    return fit_forecast(prep, decode_forecast(prep, samples.facts), rows)


def test_statistics_are_those_of_the_training_steps(tmp_path):
    """Steps 0 to 11, the last four for the test: the mean is 3.5 and not 5.5."""
    path = table(tmp_path, [f"a,{i}" for i in range(12)], "name,x")
    prep = fitted(path, SplitConfig(valid=0, test=1 / 3))
    assert prep.column_mean == (3.5,)
    assert prep.column_deviation == pytest.approx((np.std(np.arange(8)),))


def test_a_constant_column_divides_by_one(tmp_path):
    rows = [f"a,20,{20.1},{i % 3 + 1}" for i in range(12)]
    prep = fitted(table(tmp_path, rows, "name,const,near,x"))
    assert prep.column_deviation[:2] == (1.0, 1.0)
    const = np.array([0])
    assert prep.standardised(np.float32([20.0]), const).tolist() == [0.0]
    assert prep.standardised(np.float32([21.0]), const).tolist() == [1.0]
    x = prep.standardised(np.float32([1, 2, 3]), np.array([2, 2, 2]))
    assert x == pytest.approx([-1.224745, 0, 1.224745], abs=1e-6)


def test_filling_looks_back_alone_and_never_over_a_gap(tmp_path):
    cells = ["", "1.5", "", "", "4.5", "", "6.5", "7.5", "8.5", "9.5", "8", "7"]
    rows = [f"{hour(i + (i > 4))},{cell}" for i, cell in enumerate(cells)]
    config = DataConfig(horizon=1, past=3, missing="ffill")
    samples = forecast.read(table(tmp_path, rows), config)
    prep = preparation.choose(samples, config)
    values = preparation.decode(samples, prep, on_bad_file="stop", folder=tmp_path).values[:, 0]
    wanted = [np.nan, 1.5, 1.5, 1.5, 4.5, np.nan, 6.5, 7.5, 8.5, 9.5, 8, 7]
    np.testing.assert_array_equal(values, np.float32(wanted))


def test_it_is_plain_data_and_whole(tmp_path):
    rows = [f"{hour(i)},{i % 5},{i % 3}" for i in range(60)]
    prep = fitted(table(tmp_path, rows, "time,x,y"), target=("x",), inputs=("y",), past=12)
    assert prep.is_whole
    encoded = msgspec.json.encode(prep)
    assert msgspec.json.decode(encoded, type=ForecastPreparation) == prep
    for change in (
        {"segment": 5},
        {"horizon": 0},
        {"targets": (0, 0)},
        {"known": (7,)},
        {"column_mean": (0.0,)},
        {"column_deviation": (0.0, 1.0)},
        {"calendar": ("moon",)},
        {"missing": "interpolate"},
        {"horizon": 13},
    ):
        assert not replace(prep, **change).is_whole, change


def test_the_network_sees_segments_with_what_stands_beside_them(tmp_path):
    rows = [f"{hour(i)},{i % 5},{i % 3},{i % 2}" for i in range(60)]
    options = {"target": ("x",), "inputs": ("y",), "known": ("z",), "past": 24, "horizon": 2}
    prep = fitted(table(tmp_path, rows, "time,x,y,z"), **options)
    assert str(prep.layout) == "4 x 6x7"  # own, y, z, and two rounds of two numbers
    prep = fitted(table(tmp_path, rows, "time,x,y,z"), missing="mask", **options)
    assert prep.layout.channels == 9
    assert prep.season == 24
    assert prep.others == (1,)


def test_rounds_of_the_calendar_follow_from_the_step():
    assert rounds_of(Step("time", 15 * 60 * 1_000_000)) == ("hour", "weekday")
    assert rounds_of(Step("time", 24 * HOUR_US)) == ("weekday",)
    assert rounds_of(Step("time", 7 * 24 * HOUR_US)) == ()
    assert rounds_of(Step("weekdays")) == ("weekday",)
    assert rounds_of(Step("months", 3)) == ("month",)
    assert rounds_of(Step("months", 12)) == ()
    assert rounds_of(Step("numbers", 1_000_000)) == ()


def test_segments_divide_the_window():
    for past in range(1, 400):
        for season in (1, 5, 7, 12, 24, 96):
            size = segment_of(past, season)
            assert past % size == 0 and (size <= 24 or size == season)
            assert past // size >= 4 or size == 1
            if past % (4 * season) == 0 and season > 1:
                assert size == season


def test_settings_of_other_kinds_have_no_effect(tmp_path):
    config = DataConfig(horizon=1, past=3, image_size=8)
    samples = forecast.read(table(tmp_path, [f"a,{i % 5}" for i in range(12)], "name,x"), config)
    with pytest.raises(ConfigError, match="image_size has no effect on forecasts"):
        preparation.choose(samples, config)


def test_the_future_of_a_table_is_its_last_window_and_the_times_behind_it(tmp_path):
    rows = [f"{hour(i)},{i % 5}.5" for i in range(60)]
    path = table(tmp_path, rows)
    prep = fitted(path, past=12, horizon=2)
    (future,) = prep.reader.futures(path)
    assert future.times == ("2024-01-03 12:00", "2024-01-03 13:00")
    assert future.values[:12, 0].tolist() == [i % 5 + 0.5 for i in range(48, 60)]
    assert np.isnan(future.values[12:, 0]).all()
    assert not np.isnan(future.values[:, 1:]).any()  # the calendar goes on


def test_every_series_has_its_own_future(tmp_path):
    rows = [f"{hour(i)},{name},{i % 5}.5" for i in range(30) for name in "ab"]
    path = table(tmp_path, rows, "time,shop,x")
    prep = fitted(path, id_column="shop")
    assert [future.name.split("#")[1] for future in prep.reader.futures(path)] == ["a", "b"]
    with pytest.raises(SourceError, match="holds 2 series"):
        prep.reader.read(path)


def test_a_table_shorter_than_the_window_names_both_numbers(tmp_path):
    path = table(tmp_path, [f"{hour(i)},{i % 5}.5" for i in range(60)])
    prep = fitted(path, past=12)
    with pytest.raises(SourceError) as error:
        prep.reader.futures(table(tmp_path, [f"{hour(i)},1.5" for i in range(7)]))
    assert "has 7 steps without a gap at its end, and the model looks back on 12" in str(
        error.value
    )


def test_what_is_known_of_the_steps_ahead_is_read(tmp_path):
    rows = [f"{hour(i)},{i % 5 if i < 58 else ''},{i % 7}" for i in range(60)]
    path = table(tmp_path, rows, "time,x,plan")
    prep = fitted(path, target=("x",), known=("plan",), past=12, horizon=2)
    (future,) = prep.reader.futures(path)
    assert future.values[-2:, 1].tolist() == [58 % 7, 59 % 7]
    assert future.times[0] == "2024-01-03 10:00"
    short = table(tmp_path, rows[:59], "time,x,plan")
    with pytest.raises(SourceError, match="says plan for 1 step ahead, and the model needs 2"):
        prep.reader.futures(short)
    blank = table(tmp_path, [*rows[:59], f"{hour(59)},,"], "time,x,plan")
    with pytest.raises(SourceError, match="a row for step 2 of 2 to forecast, and says nothing"):
        prep.reader.futures(blank)


def test_times_with_an_offset_are_told_and_asked_for_with_one(tmp_path):
    rows = [f"{hour(i)}+02:00,{i % 5}.5" for i in range(60)]
    path = table(tmp_path, rows)
    prep = fitted(path, past=12, horizon=2)
    (future,) = prep.reader.futures(path)
    assert rows[-1].startswith("2024-01-03 11:00") and prep.has_offset
    assert future.times == ("2024-01-03 10:00+00:00", "2024-01-03 11:00+00:00")
    plain = table(tmp_path, [row.replace("+02:00", "") for row in rows])
    with pytest.raises(SourceError, match="do not say how far they are from UTC"):
        prep.reader.futures(plain)
    other = fitted(plain, past=12, horizon=2)
    assert other.reader.futures(plain)[0].times[0] == "2024-01-03 12:00"
    table(tmp_path, rows)
    with pytest.raises(SourceError, match="those of training said nothing of it"):
        other.reader.futures(path)
    older = replace(prep, has_offset=None)
    assert older.reader.futures(path)[0].times == future.times


def test_a_missing_number_is_refused_by_a_model_that_saw_none(tmp_path):
    path = table(tmp_path, [f"{hour(i)},{i % 5}.5" for i in range(60)])
    prep = fitted(path, past=12)
    rows = [f"{hour(i)},{'' if i == 55 else i % 5}" for i in range(60)]
    with pytest.raises(SourceError, match="row 57 has no number in column x"):
        prep.reader.futures(table(tmp_path, rows))


def test_a_table_without_times_is_refused_by_a_model_that_knows_them(tmp_path):
    prep = fitted(table(tmp_path, [f"{hour(i)},{i % 5}.5" for i in range(60)]), past=12)
    with pytest.raises(ConfigError, match="has no column time"):
        prep.reader.futures(table(tmp_path, [f"a,{i % 5}.5" for i in range(60)], "name,x"))
