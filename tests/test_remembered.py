"""What a model keeps of how its tables were read, and when a new table goes before that."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gridcell import pipeline
from gridcell.cli import main
from gridcell.config import DataConfig, from_mapping
from gridcell.errors import ConfigError, SourceError
from gridcell.model import Model
from gridcell.sources.remembered import Dialect

SERIES = {"net": "lstm(4) last", "epochs": 1, "precision": "float32", "augment": False}
TEXTS = {"net": "embed(4) mean", "epochs": 1, "precision": "float32"}
FORECAST = {"net": "lstm(4) last", "epochs": 1, "precision": "float32", "past": 6, "horizon": 2}


def trained(path: Path, folder: Path, **settings: Any) -> Model:
    run = pipeline.train(from_mapping(path, settings, out=folder))
    return Model.load(run.model_file)


def scored(model: Model, path: Path, **settings: Any) -> int:
    scores = pipeline.evaluate(model, path, DataConfig(**settings))
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
    assert "decimal has no effect on texts that are answered for" in capsys.readouterr().err


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


def test_series_keep_the_order_of_day_and_month_too(tmp_path: Path) -> None:
    def series(path: Path, days: int) -> Path:
        rows = [
            f"{s},{day:02}/01/2024,{np.sin(s + day):.3f},{('a', 'b')[s % 2]}"
            for s in range(20)
            for day in range(1, days)
        ]
        path.write_text("\n".join(["id,date,x,label", *rows]) + "\n", "utf-8")
        return path

    model = trained(series(tmp_path / "t.csv", 28), tmp_path / "run", **SERIES)
    assert len(model.predict(series(tmp_path / "few.csv", 10))) == 20
    assert scored(model, tmp_path / "few.csv") == 20


def test_rows_that_stand_in_their_order_do_so_in_new_tables(tmp_path: Path) -> None:
    table = hours(tmp_path / "t.csv", "%d/%m/%Y %H:%M")
    model = trained(table, tmp_path / "run", **FORECAST, rows_in_order=True)
    (answer,) = model.predict(table)
    assert answer.forecast is not None and len(answer.forecast) == 2
    assert scored(model, table) == 60 - 8 + 1


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
