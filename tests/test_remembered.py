"""What a model keeps of how its tables were read, and when a new table goes before that."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gridcell import pipeline, scoring
from gridcell.cli import main
from gridcell.config import DataConfig, from_mapping
from gridcell.errors import ConfigError, SourceError
from gridcell.model import Model
from gridcell.preparation.series import SeriesReader
from gridcell.sources.remembered import Dialect

SERIES = {"net": "lstm(4) last", "epochs": 1, "precision": "float32", "augment": False}
TEXTS = {"net": "embed(4) mean", "epochs": 1, "precision": "float32"}
FORECAST = {"net": "lstm(4) last", "epochs": 1, "precision": "float32", "past": 6, "horizon": 2}


def trained(path: Path, folder: Path, **settings: Any) -> Model:
    run = pipeline.train(from_mapping(path, settings, out=folder))
    return Model.load(run.model_file)


def scored(model: Model, path: Path, **settings: Any) -> int:
    scores = scoring.evaluate(model, path, DataConfig(**settings))
    assert scores is not None
    return scores.items


# --- How a table is written ----------------------------------------------------------------------


def reviews(path: Path, *, separator: str = ",", encoding: str = "utf-8") -> Path:
    rows = [f"Zoë was here the {n} time{separator}{('up', 'down')[n % 2]}" for n in range(40)]
    path.write_text("\n".join([f"text{separator}stars", *rows]) + "\n", encoding)
    return path


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of texts that was told encoding and separator."""
    folder = tmp_path_factory.mktemp("texts")
    table = reviews(folder / "t.csv", separator=";", encoding="cp1250")
    return trained(table, folder / "run", **TEXTS, encoding="cp1250", delimiter="semicolon")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1250"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_new_table_is_read_as_it_is_written(
    reader: Model, tmp_path: Path, encoding: str, separator: str
) -> None:
    table = reviews(tmp_path / "new.csv", separator=separator, encoding=encoding)
    answers = reader.predict(table)
    plain = reader.predict(reviews(tmp_path / "plain.csv"))
    assert [a.probabilities for a in answers] == [p.probabilities for p in plain]
    assert scored(reader, table) == 40


def test_what_is_asked_for_goes_first(reader: Model, tmp_path: Path) -> None:
    table = reviews(tmp_path / "new.csv", separator=";", encoding="cp1250")
    text = table.read_bytes().decode("cp1250").encode("mac_roman")
    table.write_bytes(text)
    asked = reader.predict(table, dialect=Dialect(encoding="mac_roman"))
    plain = reader.predict(reviews(tmp_path / "plain.csv"))
    assert [a.probabilities for a in asked] == [p.probabilities for p in plain]
    with pytest.raises(SourceError, match="has no column stars"):
        scored(reader, tmp_path / "plain.csv", delimiter="tab", text_column="text")


def test_predict_is_told_on_the_command_line(
    reader: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader.save(tmp_path / "m.gridcell")
    table = reviews(tmp_path / "new.csv", encoding="utf-16-le")
    words = ["predict", str(tmp_path / "m.gridcell"), str(table), "--format", "csv"]
    assert main(words) == 2
    capsys.readouterr()
    assert main([*words, "--encoding", "utf-16-le"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 41
    assert main([*words, "--decimal", "comma"]) == 2
    said = capsys.readouterr()
    assert "decimal has no effect on texts that are answered for" in said.err
    assert said.out == ""  # not even the heading


def test_what_is_told_of_tables_is_refused_where_none_is_asked_for(
    reader: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "a.txt"
    text.write_text("Zoë was here", "cp1250")
    reader.save(tmp_path / "m.gridcell")
    words = ["predict", str(tmp_path / "m.gridcell"), str(text), "--format", "csv"]
    assert main([*words, "--delimiter", "tab", "--no-header"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"delimiter has no effect on {text}: nothing that is asked for is a table" in said.err
    assert main([*words, "--encoding", "cp1250"]) == 0
    table = reviews(tmp_path / "t.csv", separator="\t")
    assert main([*words, str(table), "--delimiter", "tab"]) == 0
    capsys.readouterr()


def test_a_fault_is_told_as_without_what_training_was_told(reader: Model, tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    table.write_bytes(b"\x81\x8d\n")
    with pytest.raises(SourceError, match="UTF-8") as caught:
        reader.predict(table)
    assert "cp1250" not in str(caught.value).lower()


def sensors(path: Path, *, written: Callable[[float], str] = str, header: str = "") -> Path:
    """A long table of 20 series with two columns of numbers and two that could sort the steps."""
    draw = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow((header or "series_id trial time t x y z label").split())
        for series in range(20):
            for step in range(10):
                x, y, z = (written(float(value)) for value in draw.normal(1500, 200, 3).round(3))
                order = 9 - step
                label = "slow" if series % 2 else "fast"
                table.writerow([series // 2, series, step, order, x, y, z, label])
    return path


def test_a_decimal_comma_that_was_told_is_no_hindrance_to_points(tmp_path: Path) -> None:
    def comma(value: float) -> str:
        return f"{value / 1000:.3f}".replace(".", ",")

    settings = SERIES | {"id_column": "trial", "time_column": "t"}
    model = trained(
        sensors(tmp_path / "t.csv", written=comma), tmp_path / "run", **settings, decimal="comma"
    )
    commas = model.predict(sensors(tmp_path / "a.csv", written=comma))
    points = model.predict(sensors(tmp_path / "b.csv", written=lambda v: f"{v / 1000:.4f}"))
    for one, other in zip(commas, points, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-3)


def hours(path: Path, written: str, count: int = 60) -> Path:
    times = np.datetime64("2024-02-01T00:00") + np.arange(count) * np.timedelta64(1, "h")
    rows = [f"{t.item().strftime(written)},{np.sin(i / 4):.3f}" for i, t in enumerate(times)]
    path.write_text("\n".join(["when,x", *rows]) + "\n", "utf-8")
    return path


def test_dates_are_read_as_training_was_told_where_they_do_not_tell(tmp_path: Path) -> None:
    days = "%d/%m/%Y %H:%M"
    table = hours(tmp_path / "t.csv", days)
    model = trained(table, tmp_path / "run", **FORECAST, date_format="%d/%m/%Y")
    iso = hours(tmp_path / "iso.csv", "%Y-%m-%d %H:%M")
    months = hours(tmp_path / "months.csv", "%m/%d/%Y %H:%M")
    for path in (table, iso):
        (answer,) = model.predict(path)
        assert answer.forecast is not None
        assert str(answer.forecast[0].time) == "2024-02-03 12:00"
        assert scored(model, path) == 60 - 8 + 1
    (answer,) = model.predict(months, dialect=Dialect(date_format="%m/%d/%Y"))
    assert answer.forecast is not None and str(answer.forecast[0].time) == "2024-02-03 12:00"
    assert [answer] == model.predict(months, date_format="%m/%d/%Y")


@pytest.mark.parametrize("written", ["%d/%m/%Y %H:%M", "%m/%d/%y %H:%M", "%d.%m.%Y %H:%M"])
def test_an_order_of_day_and_month_that_training_found_is_that_of_fewer_rows(
    tmp_path: Path, written: str
) -> None:
    table = hours(tmp_path / "t.csv", written, 400)  # 17 days of February
    model = trained(table, tmp_path / "run", **FORECAST)
    (answer,) = model.predict(hours(tmp_path / "few.csv", written))
    assert answer.forecast is not None and str(answer.forecast[0].time) == "2024-02-03 12:00"
    (answer,) = model.predict(hours(tmp_path / "iso.csv", "%Y-%m-%dT%H:%M"))
    assert answer.forecast is not None and str(answer.forecast[0].time) == "2024-02-03 12:00"


def days(path: Path, written: str, count: int = 90) -> Path:
    """A day a row from 1 January 2024 on, in no order."""
    dates = np.datetime64("2024-01-01") + np.arange(count) * np.timedelta64(1, "D")
    rows = [f"{d.item().strftime(written)},{np.sin(i / 4):.3f}" for i, d in enumerate(dates)]
    shuffled = np.random.default_rng(0).permutation(rows)
    path.write_text("\n".join(["when,x", *shuffled]) + "\n", "utf-8")
    return path


def moved(path: Path, written: str, last: int = 31) -> Path:
    """20 series of a row a day, but none behind the `last` of a month, in no order.

    The classes differ in the order of the numbers alone.
    """
    dates = (np.datetime64("2024-01-01") + np.arange(40) * np.timedelta64(1, "D")).tolist()
    draw = np.random.default_rng(0)
    rows = []
    for series in range(20):
        label, sign = (("up", 1), ("down", -1))[series % 2]
        some = [
            f"s{series},{date.strftime(written)},{sign * i + series / 10:.1f},{label}"
            for i, date in enumerate(dates)
            if date.day <= last
        ]
        rows += draw.permutation(some).tolist()
    path.write_text("\n".join(["id,date,x,label", *rows]) + "\n", "utf-8")
    return path


def test_series_keep_the_order_of_day_and_month_too(tmp_path: Path) -> None:
    """Of the first 12 days of months nothing tells which number is the month."""
    settings = SERIES | {"id_column": "id", "time_column": "date"}
    model = trained(moved(tmp_path / "t.csv", "%d/%m/%Y"), tmp_path / "run", **settings)
    reader = model.preparation.reader
    assert isinstance(reader, SeriesReader)
    few = moved(tmp_path / "few.csv", "%d/%m/%Y", last=12)
    for number, (_, values, _) in enumerate(reader.read_items(few)):
        days = [*range(12), *range(31, 40)]
        wanted = [(-1) ** number * day + number / 10 for day in days]
        np.testing.assert_allclose(values[:, 0], wanted, atol=1e-5)
    assert scored(model, few) == 20


@pytest.mark.parametrize("written", ["%Y%m%d", "%y/%m/%d"])
def test_a_date_format_that_was_told_goes_before_what_the_dates_look_like(
    tmp_path: Path, written: str
) -> None:
    """They look like plain numbers, or like the day first; either way rows would be mis-sorted."""
    table = days(tmp_path / "t.csv", written)
    model = trained(table, tmp_path / "run", **FORECAST, date_format=written)
    for path in (table, days(tmp_path / "iso.csv", "%Y-%m-%d")):
        (answer,) = model.predict(path)
        assert answer.forecast is not None and answer.forecast[0].time == "2024-03-31"
        assert scored(model, path) == 90 - 8 + 1
        told = scoring.evaluate(model, path, DataConfig())
        asked = scoring.evaluate(model, tmp_path / "t.csv", DataConfig(date_format=written))
        assert told is not None and asked is not None
        assert told.scores == asked.scores


def test_a_date_format_that_was_found_stays_behind_what_a_table_shows() -> None:
    """What was found is no more than what the tables of training looked like."""
    told, found = DataConfig(date_format="%y/%m/%d"), DataConfig()
    tried: list[str | None] = []

    def read(data: DataConfig) -> None:
        tried.append(data.date_format)
        raise SourceError("no.")

    for dialect in (Dialect.of(told), Dialect.found(found, "%d/%m/%y")):
        with pytest.raises(SourceError, match="no"):
            dialect.read(Path("t.csv"), found, read)
    assert tried == ["%y/%m/%d", None, None, "%d/%m/%y"]


@pytest.mark.parametrize("written", ["%Y%m%d", "%y/%m/%d"])
def test_series_are_sorted_by_dates_as_training_was_told(tmp_path: Path, written: str) -> None:
    table = moved(tmp_path / "t.csv", written)
    settings = SERIES | {"id_column": "id", "time_column": "date"}
    model = trained(table, tmp_path / "run", **settings, date_format=written)
    asked = model.predict(table, dialect=Dialect(date_format=written))
    for path in (table, moved(tmp_path / "iso.csv", "%Y-%m-%d")):
        found = model.predict(path)
        assert [a.probabilities for a in found] == [b.probabilities for b in asked]
        assert scored(model, path) == 20


def test_the_fault_is_told_of_the_reading_that_came_furthest(tmp_path: Path) -> None:
    written = "%d/%m/%Y"
    table = hours(tmp_path / "t.csv", f"{written} %H:%M")
    model = trained(table, tmp_path / "run", **FORECAST, date_format=written)
    lines = table.read_text("utf-8").splitlines()
    lines[30] = lines[30].split(",")[0] + ","
    table.write_text("\n".join(lines), "utf-8")
    with pytest.raises(SourceError, match=r"x: 1 missing.*31"):
        scored(model, table)


def test_a_missing_number_is_told_where_a_decimal_comma_was(tmp_path: Path) -> None:
    def comma(value: float) -> str:  # 2,345 may be a number of thousands
        return f"{value / 1000 + 1:.3f}".replace(".", ",")

    settings = SERIES | {"id_column": "trial", "time_column": "t"}
    table = sensors(tmp_path / "t.csv", written=comma)
    model = trained(table, tmp_path / "run", **settings, decimal="comma")
    lines = table.read_text("utf-8").splitlines()
    cells = lines[9].split(";")
    lines[9] = ";".join([*cells[:4], "", *cells[5:]])
    table.write_text("\n".join(lines), "utf-8")
    with pytest.raises(SourceError, match="missing") as caught:
        scored(model, table)
    assert "ambiguous" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["iso2022_jp", "hz", "utf-7"])
def test_an_encoding_whose_bytes_are_those_of_ascii_is_taken_as_told(
    tmp_path: Path, encoding: str
) -> None:
    def table(path: Path, encoding: str) -> Path:
        rows = [f"本 {n} {('上', '下')[n % 2]},{('up', 'down')[n % 2]}" for n in range(40)]
        path.write_text("\n".join(["text,stars", *rows]) + "\n", encoding)
        return path

    told = table(tmp_path / "t.csv", encoding)
    model = trained(told, tmp_path / "run", **TEXTS, encoding=encoding)
    plain = model.predict(table(tmp_path / "plain.csv", "utf-8"))
    found = model.predict(told)
    assert [a.probabilities for a in found] == [p.probabilities for p in plain]
    assert scored(model, told) == scored(model, tmp_path / "plain.csv") == 40


def test_rows_that_stand_in_their_order_do_so_in_new_tables(tmp_path: Path) -> None:
    table = hours(tmp_path / "t.csv", "%d/%m/%Y %H:%M")
    model = trained(table, tmp_path / "run", **FORECAST, rows_in_order=True)
    (answer,) = model.predict(table)
    assert answer.forecast is not None and len(answer.forecast) == 2
    assert scored(model, table) == 60 - 8 + 1


def test_rows_in_order_are_refused_where_the_model_needs_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = hours(tmp_path / "t.csv", "%Y-%m-%d %H:%M")
    model = trained(table, tmp_path / "run", **FORECAST)
    file = tmp_path / "m.gridcell"
    model.save(file)
    for command in ("predict", "evaluate"):
        assert main([command, str(file), str(table), "--rows-in-order"]) == 2
        said = capsys.readouterr()
        assert "rows_in_order has no effect here: the model was trained with times" in said.err
        assert "Fix: leave --rows-in-order out." in said.err
    table.write_text("x\n" + "\n".join(str(n % 7) for n in range(60)), "utf-8")
    with pytest.raises((ConfigError, SourceError), match=r"when|no times"):
        scored(model, table)


def test_how_a_table_of_paths_is_written_is_kept(tmp_path: Path) -> None:
    rows = ["path\tbück"]
    for number in range(40):
        Image.new("RGB", (8, 8), (200 * (number % 2), number, 0)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png\t{('röt', 'blaü')[number % 2]}")
    table = tmp_path / "t.csv"
    table.write_text("\n".join(rows) + "\n", "latin-1")
    model = trained(table, tmp_path / "run", net="tiny", epochs=1, encoding="latin-1")
    assert scored(model, table) == 40
    table.write_text("\n".join(rows).replace("\t", ",") + "\n", "utf-8")
    assert scored(model, table) == 40


# --- Which columns are what ----------------------------------------------------------------------


def test_the_columns_that_training_named_are_used_again(tmp_path: Path) -> None:
    """`time` and `t` could both sort the steps, and `series_id` holds two series each."""
    named = {"id_column": "trial", "time_column": "t", "inputs": ("x", "z")}
    table = sensors(tmp_path / "t.csv")
    with pytest.raises((ConfigError, SourceError)):
        trained(table, tmp_path / "no", **SERIES)
    model = trained(table, tmp_path / "run", **SERIES, **named)
    assert scored(model, sensors(tmp_path / "new.csv")) == 20
    other = sensors(tmp_path / "other.csv", header="series_id session time t x y z label")
    assert scored(model, other, id_column="session") == 20


def test_the_columns_of_files_that_training_named_are_used_again(tmp_path: Path) -> None:
    def folder(path: Path, header: str) -> Path:
        draw = np.random.default_rng(0)
        for number in range(24):
            file = path / ("slow", "fast")[number % 2] / f"{number}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            rows = [f"{9 - i},{i},{draw.random():.3f},{draw.random():.3f}" for i in range(10)]
            file.write_text("\n".join([header, *rows]) + "\n", "utf-8")
        return path

    data = folder(tmp_path / "data", "time,t,x,y")
    model = trained(data, tmp_path / "run", **SERIES, time_column="t", inputs=("y",))
    assert scored(model, data) == 24
    assert scored(model, folder(tmp_path / "without", "a,b,x,y")) == 24


def test_files_are_read_unsorted_only_where_none_has_the_column_of_training(
    tmp_path: Path,
) -> None:
    def folder(path: Path, header: str = "kk,x") -> Path:
        for number in range(24):
            file = path / ("slow", "fast")[number % 2] / f"{number}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            rows = [f"{9 - i},{(i * number) % 7}.5" for i in range(10)]
            file.write_text("\n".join([header, *rows]) + "\n", "utf-8")
        return path

    model = trained(folder(tmp_path / "data"), tmp_path / "run", **SERIES, time_column="kk")
    assert scored(model, folder(tmp_path / "without", "a,x")) == 24
    new = folder(tmp_path / "new")
    file = new / "fast" / "7.csv"
    rows = file.read_text("utf-8")
    file.write_text(rows.replace("\n5,", "\n,"), "utf-8")
    with pytest.raises(SourceError, match=r"7\.csv: column kk holds no time in"):
        scored(model, new)
    file.write_text(rows.replace("kk,x", "a,x"), "utf-8")
    with pytest.raises(ConfigError, match=r"7.csv has no column kk"):
        scored(model, new)
    file.write_text(rows, "utf-8")
    first = new / "fast" / "1.csv"
    first.write_text(first.read_text("utf-8").replace("kk,x", "a,x"), "utf-8")
    with pytest.raises(ConfigError, match=r"1.csv has no column kk") as caught:
        scored(model, new)
    assert caught.value.fix is not None and "give all files the column" in caught.value.fix


def test_the_columns_of_a_table_of_tokens_are_used_again(tmp_path: Path) -> None:
    rows = [
        f"{s},{s % 3},{w},{word},{'NAME' if word[0].isupper() else 'X'}"
        for s in range(30)
        for w, word in enumerate(["Ada", "walks", f"to{s}", "Rome"])
    ]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["line,sentence_id,position,token,tag", *rows]) + "\n", "utf-8")
    settings = {"net": "embed(4) lstm(4, both)", "epochs": 1, "precision": "float32"}
    model = trained(table, tmp_path / "run", **settings, id_column="line", target=("tag",))
    assert scored(model, table) > 0
    assert model.description.asked.id_column == "line"


def test_the_column_of_paths_is_used_again(tmp_path: Path) -> None:
    rows = ["file,mask,colour"]
    for number in range(40):
        for name in ("a", "b"):
            picture = Image.new("RGB", (8, 8), (200 * (number % 2), number, 5 * (name == "a")))
            picture.save(tmp_path / f"{name}{number}.png")
        rows.append(f"a{number}.png,b{number}.png,{('red', 'blue')[number % 2]}")
    table = tmp_path / "t.csv"
    table.write_text("\n".join(rows) + "\n", "utf-8")
    settings = {"net": "tiny", "epochs": 1, "target": ("colour",), "path_column": "file"}
    model = trained(table, tmp_path / "run", **settings)
    assert scored(model, table) == 40
