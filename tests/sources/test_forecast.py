"""Tables of steps as windows: order, step, gaps, duplicates, missing numbers, columns, parts."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridcell import sources
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import ForecastFacts, Samples, Step
from gridcell.sources.forecast import find_tables, read, read_table, season_of

HOUR_US = 3_600_000_000


def table(tmp_path: Path, rows: list[str], header: str = "time,x", name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return path


def hour(number: int) -> str:
    return str(np.datetime64("2024-01-01T00:00") + np.timedelta64(number, "h")).replace("T", " ")


def found(path: Path, **options: Any) -> tuple[Samples, ForecastFacts]:
    samples = read(path, DataConfig(**({"horizon": 1, "past": 6} | options)))
    assert isinstance(samples.facts, ForecastFacts)
    return samples, samples.facts


def said(samples: Samples) -> str:
    return "\n".join(samples.notes)


def test_a_horizon_alone_asks_for_a_forecast(tmp_path):
    path = table(tmp_path, [f"{hour(i)},{i}.5" for i in range(20)])
    samples = sources.read(path, DataConfig(horizon=2, past=4))
    assert (samples.task, samples.kind, samples.labels) == ("forecast", "forecasts", ("x",))
    assert len(samples) == 20 - 6 + 1
    assert samples.paths[0] == "t.csv#1"
    assert samples.targets.shape == (15, 0)


def test_no_window_crosses_a_gap(tmp_path):
    """Hours 0 to 47 without 10, 11 and 12, shuffled: 4 + 29 windows and not 39."""
    hours = [i for i in range(48) if i not in (10, 11, 12)]
    np.random.default_rng(0).shuffle(hours)
    samples, facts = found(table(tmp_path, [f"{hour(i)},{i}.5" for i in hours]))
    assert len(samples) == 33
    assert facts.step == Step("time", HOUR_US)
    assert facts.values[:, 0].tolist() == [i + 0.5 for i in range(48) if i not in (10, 11, 12)]
    assert "Rows were sorted by time." in said(samples)
    assert "1 gap, which no window crosses: after 2024-01-01 09:00 (3 steps)." in said(samples)
    assert "each 1 hour behind the last" in said(samples)
    windows = facts.values[facts.firsts[:, None] + np.arange(7), 0]
    assert (np.diff(windows, axis=1) == 1).all()


def test_rows_in_order_are_not_said_to_be_sorted(tmp_path):
    samples, _ = found(table(tmp_path, [f"{hour(i)},{i}.5" for i in range(20)]))
    assert "sorted" not in said(samples)


def test_times_without_a_step_are_refused_with_the_commonest(tmp_path):
    hours = [0, 1, 3, 6, 7, 9, 12, 13, 15, 18]
    path = table(tmp_path, [f"{hour(i)},{i}.5" for i in hours])
    with pytest.raises(SourceError) as error:
        found(path)
    assert "follow no one step; the commonest are 1 hour (33 %), 2 hours (33 %)" in str(error.value)
    assert "the mean of each hour" in str(error.value)


def test_rows_that_say_the_same_twice_are_dropped_and_counted(tmp_path):
    rows = [f"{hour(i)},{i}.5" for i in range(20)]
    samples, facts = found(table(tmp_path, [*rows, rows[3], rows[3], rows[7]]))
    assert len(facts.values) == 20
    assert "3 rows that said the same again left out." in said(samples)


def test_rows_that_differ_at_one_time_are_refused(tmp_path):
    rows = [f"{hour(i)},{i}.5" for i in range(20)]
    with pytest.raises(SourceError) as error:
        found(table(tmp_path, [*rows, f"{hour(3)},99.5"]))
    assert "1 time stands in two rows that differ, the first 2024-01-01 03:00" in str(error.value)
    with pytest.raises(SourceError, match="2 times stand in two rows that differ"):
        found(table(tmp_path, [*rows, f"{hour(3)},99.5", f"{hour(4)},99.5"]))
    assert "rows 5, 22 (the header is row 1)" in str(error.value)
    assert "the hour that comes twice in autumn" in str(error.value)


def test_offsets_bring_times_to_utc(tmp_path):
    rows = [f"2024-01-01T{i:02}:00:00+02:00,{i}.5" for i in range(20)]
    samples, facts = found(table(tmp_path, rows))
    assert facts.times is not None
    assert facts.times[0] == np.datetime64("2023-12-31T22:00").astype("M8[us]").astype(np.int64)
    assert "brought to UTC by their offsets" in said(samples)


def test_times_with_and_without_an_offset_do_not_go_together(tmp_path):
    rows = [f"2024-01-01T{i:02}:00:00{'+02:00' if i else ''},{i}.5" for i in range(20)]
    with pytest.raises(
        SourceError, match=r"have an offset from UTC, such as .* and some have none"
    ):
        found(table(tmp_path, rows))


def test_without_times_the_rows_are_in_order(tmp_path):
    rows = [f"a{i},{i}.5" for i in range(20)]
    samples, facts = found(table(tmp_path, rows, "name,x"))
    assert facts.times is None and facts.step is None
    assert "the steps are the rows in their order" in said(samples)
    assert "Left out, no numbers: name." in said(samples)


def test_times_with_the_day_or_the_month_first_are_asked_about(tmp_path):
    months = [f"01/{i % 12 + 1:02}/{2010 + i // 12},{i}.5" for i in range(120)]
    np.random.default_rng(0).shuffle(months)
    with pytest.raises(SourceError) as error:
        found(table(tmp_path, months, "date,x"))
    assert "column date looks like times but cannot be read: " in str(error.value)
    assert "may be written with the day or the month first" in str(error.value)
    assert "--time-column" in str(error.value)


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (
            [f"2024-01-{i + 1:02}" if i % 2 else f"{i + 1:02}/01/2024" for i in range(20)],
            "written in more than one way, such as 01/01/2024 and 2024-01-02",
        ),
        ([f"{i + 1} Jan 2024" for i in range(20)], "when they are written as 1 Jan 2024"),
        ([f"2024-Q{i % 4 + 1}" for i in range(20)], "when they are written as 2024-Q1"),
        ([f"Mon {i + 1} June 2024" for i in range(20)], "written as Mon 1 June 2024"),
        ([f"{i:02}:00" for i in range(20)], "'00:00' is no point of time"),
        ([f"1-{i + 1:02}-2024" for i in range(20)], "when they are written as 1-01-2024"),
    ],
)
def test_times_that_cannot_be_read_are_no_reason_to_take_the_rows_as_they_are(tmp_path, cells, why):
    with pytest.raises(SourceError) as error:
        found(table(tmp_path, [f"{cell},{i}.5" for i, cell in enumerate(cells)], "date,x"))
    assert "column date looks like times but cannot be read: " in str(error.value)
    assert why in str(error.value)
    assert "if the rows stand in their order as they are, pass --rows-in-order" in str(error.value)
    assert "say how they are written, for instance --date-format '%" in str(error.value)


@pytest.mark.parametrize(
    "written",
    ["%d-%m-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%d.%b.%Y", "%a %d %b %Y", "%d %b %Y %H:%M"],
)
def test_the_format_that_is_hinted_at_reads_the_dates(tmp_path, written):
    days = [datetime(1989, 1, 25) + timedelta(days=i) for i in range(60)]
    quote = '"' if "," in written else ""
    rows = [f"{quote}{day.strftime(written)}{quote},{i}.5" for i, day in enumerate(days)]
    path = table(tmp_path, rows, "date,x")
    with pytest.raises(SourceError) as error:
        found(path)
    hint = re.search("--date-format '(.*?)'", str(error.value))[1]
    assert hint == written.removesuffix(" %H:%M")
    _, facts = found(path, date_format=hint)
    assert str(facts.times[0].astype("M8[us]")) == "1989-01-25T00:00:00.000000"


def test_the_order_of_day_and_month_can_be_said(tmp_path):
    months = [f"01/{i % 12 + 1:02}/{2010 + i // 12},{i}.5" for i in range(120)]
    path = table(tmp_path, months, "date,x")
    samples, facts = found(path, date_format="%d/%m/%Y")
    assert facts.step == Step("months", 1)
    assert "Column date is read as day, month, year." in said(samples)
    clocks = [f"{day:02}/01/2024 {i:02}:00,{i}.5" for day in (1, 2, 3) for i in range(24)]
    _, facts = found(table(tmp_path, clocks, "date,x"), date_format="%d/%m/%Y")
    assert facts.step == Step("time", HOUR_US)
    assert str(facts.times[-1].astype("M8[us]")) == "2024-01-03T23:00:00.000000"


@pytest.mark.parametrize(
    ("written", "date_format"),
    [(each, each) for each in ("%d %b %Y", "%Y%m%d", "%d-%m-%Y")],
)
def test_dates_written_otherwise_are_read_by_their_format(tmp_path, written, date_format):
    days = [datetime(2024, 1, 1) + timedelta(days=i) for i in range(60)]
    rows = [f"{day.strftime(written)},{i}.5" for i, day in enumerate(days)]
    samples, facts = found(table(tmp_path, rows, "day,x"), date_format=date_format)
    assert (samples.labels, facts.step) == (("x",), Step("time", 24 * HOUR_US))
    assert str(facts.times[0].astype("M8[us]")) == "2024-01-01T00:00:00.000000"


def test_a_date_format_that_fits_no_column_is_refused(tmp_path):
    path = table(tmp_path, [f"{i + 1:02}/01/2024,{i}.5" for i in range(12)], "date,x")
    with pytest.raises(ConfigError) as error:
        found(path, date_format="%d.%m.%Y")
    assert "most cells of no column are dates written as %d.%m.%Y" in str(error.value)
    assert "(column date: 01/01/2024 is not written as %d.%m.%Y)" in str(error.value)


def test_rows_can_be_said_to_stand_in_their_order(tmp_path):
    rows = [f"{i % 12 + 1:02}/01/2024,{2000 + 7 * i * i},{i}.5" for i in range(40)]
    samples, facts = found(table(tmp_path, rows, "date,year,x"), rows_in_order=True)
    assert (facts.times, facts.values[:, 0].tolist()) == (None, [i + 0.5 for i in range(40)])
    assert "The steps are the rows in their order, as was said." in said(samples)
    assert "Left out, named as times: year." in said(samples)


@pytest.mark.parametrize("written", ["%Y-%m-%d", "%d-%m-%y", "%d %b %Y"])
def test_rows_of_several_series_in_their_order_ask_for_the_column_that_parts_them(
    tmp_path, written
):
    days = [(datetime(2024, 1, 1) + timedelta(days=i)).strftime(written) for i in range(30)]
    pairs = [(store, day) for store in ("north", "south") for day in days]
    rows = [f"{store},{day},{i}.5" for i, (store, day) in enumerate(pairs)]
    path = table(tmp_path, rows, "store,date,sales")
    with pytest.raises(ConfigError) as error:
        found(path, rows_in_order=True)
    assert "the times in column date come again, but not within one store" in str(error.value)
    assert "--id-column store" in str(error.value)
    _, facts = found(path, rows_in_order=True, id_column="store")
    assert facts.series_names == ("north", "south")


@pytest.mark.parametrize("written", ["%Y-%m-%d", "%d-%m-%y"])
def test_what_may_name_parts_of_a_time_is_told_and_not_refused(tmp_path, written):
    """Quarters of a year, shifts of a day: or stores, each of which has a row for each day."""
    days = [(datetime(2024, 1, 1) + timedelta(days=i)).strftime(written) for i in range(30)]
    rows = [f"{day},{shift},{i}.5" for i, day in enumerate(days) for shift in ("early", "late")]
    path = table(tmp_path, rows, "date,shift,x")
    samples, facts = found(path, rows_in_order=True)
    assert len(facts.values) == 60
    assert "if the rows are of several series, give --id-column shift." in said(samples)


def test_words_beside_rows_in_order_are_no_series(tmp_path):
    days = [f"2024-01-{i + 1:02}" for i in range(30)]
    rows = [f"{day},{'rain' if i % 3 else 'sun'},{i}.5" for i, day in enumerate(days)]
    samples, _ = found(table(tmp_path, rows, "date,weather,x"), rows_in_order=True)
    assert len(samples.facts.series_names) == 1
    assert "goes back" not in said(samples)


@pytest.mark.parametrize("written", ["%Y-%m-%d", "%d-%m-%y"])
@pytest.mark.parametrize("name", ["time", "clock"])
def test_a_clock_beside_the_date_parts_no_series(tmp_path, written, name):
    days = [(datetime(2024, 1, 1) + timedelta(days=i)).strftime(written) for i in range(10)]
    rows = [f"{day},{i:02}:00,{i}.5" for day in days for i in range(24)]
    _, facts = found(table(tmp_path, rows, f"date,{name},x"), rows_in_order=True)
    assert facts.series_names == ("",)


def test_dates_against_the_order_of_the_rows_are_told_with_their_first_place(tmp_path):
    days = [f"2024-01-{i + 1:02},{i}.5" for i in range(30)]
    path = table(tmp_path, [*days[10:20], *days[:10], *days[20:]], "date,x")
    samples, facts = found(path, rows_in_order=True)
    assert facts.values[0, 0] == 10.5
    assert "Column date goes back in time in row 12 (the header is row 1)" in said(samples)


def test_a_few_times_in_another_way_are_named_with_the_fix(tmp_path):
    rows = [f"{f'{i + 1:02}/01/2024' if i == 3 else hour(24 * i)},{i}.5" for i in range(20)]
    with pytest.raises(SourceError) as error:
        found(table(tmp_path, rows))
    assert "column time holds no time in row 5 ('04/01/2024')" in str(error.value)
    assert "write them all in one way" in str(error.value)


@pytest.mark.parametrize("word", ["market", "mayor", "decoy", "v1.2."])
def test_words_that_begin_like_months_are_no_times(tmp_path, word):
    samples, _ = found(table(tmp_path, [f"{word} {i},{i}.5" for i in range(20)], "name,x"))
    assert "the steps are the rows in their order" in said(samples)


def test_clocks_of_twelve_hours_are_read(tmp_path):
    clocks = [f"01/{13 + i // 24}/20 {i % 12 or 12}:00 {'AP'[i % 24 // 12]}M" for i in range(48)]
    rows = [f"{clock},{i}.5" for i, clock in enumerate(clocks)]
    _, facts = found(table(tmp_path, rows[::-1]))
    assert facts.step == Step("time", HOUR_US)
    assert facts.values[:, 0].tolist() == [i + 0.5 for i in range(48)]


@pytest.mark.parametrize(("size", "unit"), [(1, "seconds"), (1000, "milliseconds")])
@pytest.mark.parametrize("name", ["timestamp", "Time", "unix_time", "epoch"])
def test_unix_times_are_times_and_no_forecast(tmp_path, name, size, unit):
    hours = [i for i in range(60) if i != 20]
    np.random.default_rng(0).shuffle(hours)
    rows = [f"{(1_700_000_000 + 3600 * i) * size},{i}.5" for i in hours]
    samples, facts = found(table(tmp_path, rows, f"{name},v"))
    assert (samples.labels, facts.step) == (("v",), Step("time", HOUR_US))
    assert facts.time_column == name
    assert facts.times is not None and facts.times[0] == 1_700_000_000_000_000
    assert facts.values[:, 0].tolist() == sorted(i + 0.5 for i in hours)
    assert f"Times are those of column {name}, Unix {unit}." in said(samples)
    assert "1 gap, which no window crosses: after 2023-11-15 17:13:20 (1 step)." in said(samples)


def test_unix_times_that_are_named_are_times_too(tmp_path):
    rows = [f"{1_700_000_000 + 3600 * i},{i}.5" for i in range(30)]
    _, facts = found(table(tmp_path, rows, "timestamp,v"), time_column="timestamp")
    assert facts.step == Step("time", HOUR_US)


def test_a_model_that_counts_by_numbers_goes_on_to_count_by_them(tmp_path):
    path = table(tmp_path, [f"{1_700_000_000 + 3600 * i},{i}.5" for i in range(30)], "timestamp,v")
    step = Step("numbers", HOUR_US)
    data = DataConfig(horizon=1, past=6, time_column="timestamp")
    assert read_table(path, data, step=step).cut.step == step
    assert "numbered by column timestamp" in " ".join(read_table(path, data, step=step).notes)


def test_years_number_the_steps(tmp_path):
    years = list(range(1900, 1980))
    np.random.default_rng(0).shuffle(years)
    samples, facts = found(table(tmp_path, [f"{i},{i}.5" for i in years], "year,v"))
    assert (samples.labels, facts.step) == (("v",), Step("numbers", 1_000_000))
    assert facts.values[:, 0].tolist() == [i + 0.5 for i in range(1900, 1980)]
    assert "The steps are numbered by column year." in said(samples)


def test_years_of_several_series_number_their_steps(tmp_path):
    rows = [f"{year},{land},{year}.5" for land in "ab" for year in range(1950, 1990)]
    _, facts = found(table(tmp_path, rows, "year,land,v"), id_column="land")
    assert (facts.step, facts.series_names) == (Step("numbers", 1_000_000), ("a", "b"))


@pytest.mark.parametrize(
    "numbers",
    [
        np.random.default_rng(0).random(40).round(3),
        1e9 + np.random.default_rng(0).integers(1, 9999, 40).cumsum(),
        [20240101 + i % 28 + i // 28 * 100 for i in range(40)],
        [2020 + i // 12 for i in range(40)],
    ],
)
def test_numbers_that_are_named_as_times_and_may_be_none_are_asked_about(tmp_path, numbers):
    path = table(tmp_path, [f"{number},{i}.5" for i, number in enumerate(numbers)], "time,v")
    with pytest.raises(ConfigError) as error:
        found(path)
    assert "column time is named as times, but its numbers do not go on by one" in str(error.value)
    assert "pass --rows-in-order, or name the columns to forecast with --target" in str(error.value)
    samples, facts = found(path, target=("v",))
    assert (samples.labels, facts.times) == (("v",), None)
    assert "Column time does not go on by one step: the steps are the rows" in said(samples)
    assert found(path, target=("time", "v"))[0].labels == ("time", "v")


def test_two_columns_of_numbers_that_may_be_times_are_asked_about(tmp_path):
    path = table(tmp_path, [f"{i},{1900 + i},{i}.5" for i in range(40)], "t,year,v")
    with pytest.raises(ConfigError, match=r"could be the time of a row: t, year\."):
        found(path)
    samples, _ = found(path, time_column="year")
    assert samples.labels == ("v",)
    assert "Left out, the time of a row said again: t." in said(samples)


def test_what_says_the_time_again_is_no_forecast(tmp_path):
    rows = [f"{hour(i)},2024,{1_704_067_200 + 3600 * i},{i}.5" for i in range(30)]
    samples, _ = found(table(tmp_path, rows, "date,year,timestamp,v"))
    assert samples.labels == ("v",)
    assert "Left out, the time of a row said again: year, timestamp." in said(samples)


def test_unix_times_that_stand_twice_are_named(tmp_path):
    rows = [f"{1_700_000_000 + 60 * (i // 2)},{i}.5" for i in range(40)]
    with pytest.raises(SourceError, match="the first 2023-11-14 22:13:20 in rows 2, 3"):
        found(table(tmp_path, rows, "timestamp,v"))


def test_months_are_steps_however_many_days_they_have(tmp_path):
    rows = [f"{1949 + i // 12}-{i % 12 + 1:02},{i}.5" for i in range(36)]
    samples, facts = found(table(tmp_path, rows))
    assert facts.step == Step("months")
    assert len(samples) == 30
    assert season_of(facts.step) == 12


def test_ends_of_months_are_steps_of_a_month(tmp_path):
    ends = (np.arange("2023-02", "2025-02", dtype="M8[M]").astype("M8[D]") - 1).astype(str)
    _, facts = found(table(tmp_path, [f"{day},{i}.5" for i, day in enumerate(ends)]))
    assert facts.step == Step("months")
    assert facts.times is not None
    following = facts.step.after(int(facts.times[-1]), 2).astype("M8[us]").astype("M8[D]")
    assert following.astype(str).tolist() == ["2025-01-31", "2025-02-28"]


def test_weekends_are_no_gap_where_no_row_is_of_one(tmp_path):
    days = [d for d in np.arange("2024-01-01", "2024-03-01", dtype="M8[D]") if np.is_busday(d)]
    samples, facts = found(table(tmp_path, [f"{day},{i}.5" for i, day in enumerate(days)]))
    assert facts.step == Step("weekdays")
    assert len(samples) == len(days) - 6
    assert season_of(facts.step) == 5


def test_a_column_of_numbers_can_count_the_steps(tmp_path):
    rows = [f"{i},{i}.5" for i in range(20) if i != 9]
    samples, facts = found(table(tmp_path, rows, "t,x"), time_column="t")
    assert facts.step == Step("numbers", 1_000_000)
    assert "after 8 (1 step)" in said(samples)
    assert facts.columns == ("x",)


def test_year_month_day_and_hour_make_a_time(tmp_path):
    rows = [f"{i + 1},2024,1,{i // 24 + 1},{i % 24},NW,{i}.5" for i in range(48)]
    samples, facts = found(table(tmp_path, rows, "No,year,month,day,hour,wind,x"))
    assert facts.columns == ("x",)
    assert facts.step == Step("time", HOUR_US)
    assert "made of the columns year, month, day, hour" in said(samples)
    assert "Left out, it counts the rows: No." in said(samples)
    assert "Left out, no numbers: wind." in said(samples)


def test_columns_are_targets_unless_named_otherwise(tmp_path):
    rows = [f"{hour(i)},{i}.5,{i}.25,{i % 2},{-i}.5" for i in range(20)]
    path = table(tmp_path, rows, "time,x,y,z,w")
    assert found(path)[0].labels == ("x", "y", "z", "w")
    samples, facts = found(path, target=("y",), inputs=("x",), known=("z",))
    assert samples.labels == ("y",)
    assert (facts.columns, facts.targets, facts.known) == (("y", "x", "z"), (0,), (2,))
    assert "looking at x too, with z known in advance" in said(samples)
    assert "Not looked at (--inputs would): w." in said(samples)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"target": ("q",)}, ConfigError, "has no column q"),
        ({"target": ("word",)}, SourceError, "column word \\(for --target\\) holds no numbers"),
        ({"known": ("x",), "target": ("x",)}, ConfigError, "known in advance and be forecast"),
        ({"target": ("n",), "time_column": "n"}, ConfigError, "cannot be one of --target too"),
        ({"missing": "interpolate"}, ConfigError, "would let a forecast see steps"),
        ({"known": ("x",), "target": ("n",), "past": 2, "horizon": 3}, ConfigError, "must reach"),
        ({"past": 30}, SourceError, "longest stretch .* has 20 steps, and a window needs 31"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, options, kind, message):
    rows = [f"{hour(i)},{i}.5,a{i},{2 * i}" for i in range(20)]
    with pytest.raises(kind, match=message):
        found(table(tmp_path, rows, "time,x,word,n"), **options)


@pytest.mark.parametrize("option", ["group", "folds"])
def test_groups_and_folds_have_no_effect(tmp_path, option):
    path = table(tmp_path, [f"{hour(i)},{i}.5" for i in range(20)])
    with pytest.raises(ConfigError, match=f"{option} has no effect on forecasts"):
        read(path, DataConfig(horizon=1), **{option: "x"})


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "t.txt").write_text("x")
    with pytest.raises(SourceError, match=r"is no table \(.csv, .tsv or .parquet\)"):
        read(tmp_path / "t.txt", DataConfig(horizon=1))
    with pytest.raises(SourceError, match="is no file"):
        read(tmp_path / "none.csv", DataConfig(horizon=1))
    with pytest.raises(SourceError, match="holds no table"):
        find_tables(tmp_path)
    with pytest.raises(SourceError, match="does not exist"):
        find_tables(tmp_path / "none.csv")


def test_a_table_of_words_has_nothing_to_forecast(tmp_path):
    with pytest.raises(SourceError, match="has no column of numbers to forecast"):
        found(table(tmp_path, ["a,b", "c,d"], "x,y"))


def holed(tmp_path: Path) -> Path:
    """200 rows: an empty input in row 57, an empty target in row 120, an inf in row 9."""
    rows = [[hour(i), f"{i % 7}.5", f"{i % 5}.25"] for i in range(200)]
    rows[55][1], rows[118][2], rows[7][1] = "", "", "inf"
    return table(tmp_path, [",".join(row) for row in rows], "time,x,y")


def test_missing_numbers_stop_it_with_column_count_and_rows(tmp_path):
    with pytest.raises(SourceError) as error:
        found(holed(tmp_path), target=("y",), inputs=("x",))
    text = str(error.value)
    assert "y: 1 missing or not finite, in row 120" in text
    assert "x: 2 missing or not finite, in rows 9, 57" in text
    assert "--missing ffill" in text


def test_windows_whose_target_is_missing_are_dropped_and_counted(tmp_path):
    samples, facts = found(holed(tmp_path), target=("y",), inputs=("x",), missing="ffill")
    assert len(samples) == 200 - 7 + 1 - 1
    assert 118 - 6 not in facts.firsts
    assert "1 window left out: a number to forecast is missing." in said(samples)
    assert np.isnan(facts.values[[7, 55], 1]).all()


def test_windows_that_see_nothing_of_a_column_are_dropped(tmp_path):
    rows = [f"{hour(i)},{'' if i < 8 else i}" for i in range(20)]
    samples, facts = found(table(tmp_path, rows), past=3, missing="ffill")
    assert facts.firsts.min() == 6
    assert "1 window left out: a column has no number to look back on." in said(samples)


def test_dropped_steps_are_gaps(tmp_path):
    samples, facts = found(holed(tmp_path), target=("y",), inputs=("x",), missing="drop")
    assert not np.isnan(facts.values).any()
    assert "3 steps with missing numbers left out." in said(samples)
    assert "3 gaps, which no window crosses" in said(samples)
    assert len(facts.starts) == 5


def test_no_window_with_all_its_targets_is_an_error(tmp_path):
    rows = [f"{hour(i)},{'' if i % 2 else i}" for i in range(20)]
    with pytest.raises(SourceError, match="no window has all the numbers"):
        found(table(tmp_path, rows), past=2, horizon=2, missing="ffill")


def test_future_rows_with_what_is_known_are_left_out_of_training(tmp_path):
    rows = [f"{hour(i)},{i if i < 18 else ''},{i % 3}" for i in range(20)]
    path = table(tmp_path, rows, "time,x,holiday")
    samples, facts = found(path, target=("x",), known=("holiday",))
    assert len(facts.values) == 18
    assert "2 steps at the end without a target left out." in said(samples)


def test_series_stand_one_after_another(tmp_path):
    rows = [f"{hour(i)},{name},{i}.5" for i in range(10) for name in ("b", "a")]
    samples, facts = found(table(tmp_path, rows, "time,shop,x"), id_column="shop")
    assert facts.series_names == ("b", "a")
    assert facts.starts.tolist() == [0, 10, 20]
    assert len(samples) == 2 * 4
    assert "20 steps of 2 series" in said(samples)
    assert "sorted by series and time" in said(samples)


def test_a_row_without_its_series_is_refused(tmp_path):
    rows = [f"{hour(i)},{'' if i == 3 else 'a'},{i}.5" for i in range(10)]
    with pytest.raises(SourceError, match="names no series in row 5"):
        found(table(tmp_path, rows, "time,shop,x"), id_column="shop")


def test_a_split_column_names_the_part_of_each_step(tmp_path):
    parts = ["train"] * 10 + ["test"] * 10
    rows = [f"{hour(i)},{i}.5,{parts[i]}" for i in range(20)]
    samples, facts = found(table(tmp_path, rows, "time,x,split"), past=3)
    assert samples.given.tolist() == [0] * 7 + [-1] * 3 + [2] * 7
    assert facts.step_parts is not None
    assert "Column split says which rows" in said(samples)


def test_a_strange_word_for_a_split_is_refused(tmp_path):
    rows = [f"{hour(i)},{i}.5,{'later' if i > 9 else 'train'}" for i in range(20)]
    with pytest.raises(SourceError, match="column split holds 'later', which is no split"):
        found(table(tmp_path, rows, "time,x,split"))


def test_how_far_it_looks_back_follows_from_the_step(tmp_path):
    rows = [f"{hour(i)},{i}.5" for i in range(24 * 300)]
    _, facts = found(table(tmp_path, rows), past=None, horizon=24)
    assert facts.past == 14 * 24
    rows = [f"{1949 + i // 12}-{i % 12 + 1:02},{i}.5" for i in range(144)]
    _, facts = found(table(tmp_path, rows), past=None, horizon=12)
    assert facts.past == 12
    minutes = [
        f"{np.datetime64('2024-01-01T00:00') + np.timedelta64(i, 'm')},{i % 7}"
        for i in range(20_000)
    ]
    _, facts = found(table(tmp_path, minutes), past=None, horizon=12)
    assert facts.past == 720  # less than the season of a day
    _, facts = found(table(tmp_path, ["a,1.5", "b,2.5", "c,2", "d,1"], "n,x"), past=None)
    assert facts.past == 1


def test_digests_tell_windows_and_tables_apart(tmp_path):
    path = table(tmp_path, [f"{hour(i)},{i}.5" for i in range(20)])
    other = table(tmp_path, [f"{hour(i)},{i}.25" for i in range(20)], name="u.csv")
    every = np.concatenate([found(path)[0].digests, found(other)[0].digests])
    assert len(np.unique(every)) == 28
    assert np.array_equal(found(path)[0].digests, every[:14])


def test_windows_are_taken_without_copying_steps(tmp_path):
    samples, facts = found(table(tmp_path, [f"{hour(i)},{i}.5" for i in range(20)]))
    some = samples.take([3, 1])
    assert isinstance(some.facts, ForecastFacts)
    assert some.facts.values is facts.values
    assert list(some.paths) == ["t.csv#4", "t.csv#2"]
    assert list(some.paths[:1]) == ["t.csv#4"]


@pytest.mark.parametrize(
    ("name", "options", "windows", "step"),
    [
        ("ETT/ETTh1.csv", {"horizon": 24}, 17_061, "1 hour"),
        ("airline-passengers.csv", {"horizon": 12}, 121, "1 month"),
        ("monthly-sunspots.csv", {"horizon": 12}, 2641, "1 month"),
        ("daily-min-temperatures.csv", {"horizon": 7}, 3359, "1 day"),
        ("shampoo.csv", {"horizon": 3}, 31, "None"),
        (
            "pollution.csv",
            {"horizon": 24, "target": ("pm2.5",), "inputs": ("TEMP",), "missing": "ffill"},
            37_426,
            "1 hour",
        ),
    ],
)
def test_real_tables(data_folder, name, options, windows, step):
    path = data_folder / "timeseries" / name
    if not path.exists():
        pytest.skip(f"no {name}")
    samples, facts = found(path, **{"past": None, **options})
    assert len(samples) == windows
    assert str(facts.step) == step


def dates(count: int, unit: str) -> list[str]:
    points = np.datetime64("2024-01-01").astype(f"M8[{unit}]") + np.arange(count)
    return [str(point.astype("M8[D]")) for point in points]


def weekdays(count: int) -> list[str]:
    return [day for day in dates(2 * count, "D") if np.is_busday(day)][:count]


@pytest.mark.parametrize(
    ("step", "times", "reason"),
    [
        (Step("weekdays"), dates(40, "D"), "has rows of Saturdays or Sundays, and the model"),
        (Step("weekdays"), dates(40, "M"), "lie 1 month apart, and .* that lie 1 weekday apart"),
        (Step("months"), dates(60, "M")[::3], "lie 3 months apart, and .* lie 1 month apart"),
        (Step("months"), dates(60, "D"), "lie 1 day apart, and .* lie 1 month apart"),
        (Step("time", HOUR_US), dates(60, "D"), "lie 1 day apart, and .* lie 1 hour apart"),
        (Step("numbers", 10**6), dates(60, "D"), "lie 1 day apart, and .* 1 apart in number"),
    ],
)
def test_a_step_that_no_model_learned_is_refused(tmp_path, step, times, reason):
    path = table(tmp_path, [f"{time},{i}.5" for i, time in enumerate(times)])
    with pytest.raises(SourceError, match=reason):
        read(path, DataConfig(horizon=1, past=3), step=step)


@pytest.mark.parametrize(
    ("step", "times"),
    [
        (Step("weekdays"), weekdays(4)),  # of one week: found alone, they would be days
        (Step("weekdays"), weekdays(40)),
        (Step("months"), dates(30, "M")),
        (Step("time", HOUR_US), [hour(i) for i in range(60) if i < 9 or i % 3]),
    ],
)
def test_a_model_s_step_is_kept(tmp_path, step, times):
    path = table(tmp_path, [f"{time},{i}.5" for i, time in enumerate(times)])
    samples = read(path, DataConfig(horizon=1, past=3), step=step)
    assert isinstance(samples.facts, ForecastFacts)
    assert samples.facts.step == step and len(samples) > 0
