"""A forecast from end to end: a small table in, a model, scores beside naive ones, answers."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import gridcell
from gridcell import pipeline, scoring
from gridcell.cli import main
from gridcell.config import DataConfig, from_mapping
from gridcell.errors import ConfigError, ModelFileError, NetworkError, SourceError
from gridcell.model import Model
from gridcell.record import Run
from tests.recordings import Listening

DAYS = 40
FAST: dict[str, Any] = {
    "horizon": 6,
    "past": 48,
    "net": "reversible(flatten lstm(16) last, by=last)",
    "epochs": 12,
    "rate": 0.01,
    "precision": "float32",
}


def hour(number: int) -> str:
    return str(np.datetime64("2024-01-01T00:00") + np.timedelta64(number, "h")).replace("T", " ")


def write_table(path: Path, *, steps: int = 24 * DAYS, seed: int = 0) -> Path:
    """Two columns with the round of a day and some noise, and one that never moves."""
    draw = np.random.default_rng(seed)
    times = np.arange(steps)
    wave = np.sin(2 * np.pi * times / 24)
    x = 10 + 3 * wave + draw.normal(0, 0.3, steps)
    y = -500 + 40 * np.cos(2 * np.pi * times / 24) + draw.normal(0, 4, steps)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "x", "y", "still"])
        for i in range(steps):
            writer.writerow([hour(i), f"{x[i]:.4f}", f"{y[i]:.4f}", "20"])
    return path


class Done(NamedTuple):
    """A training that tests share; not to be changed."""

    table: Path
    run: Run
    told: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("forecast")
    table, teller = write_table(folder / "two.csv"), Listening()
    torch.set_num_threads(1)
    run = pipeline.train(from_mapping(table, FAST, out=folder / "run"), teller)
    return Done(table, run, teller.text)


def test_it_beats_the_naive_forecasts(done):
    scores = done.run.scores
    assert scores is not None
    main = scores["standardised MSE"]
    assert set(main.beside) == {"last value", "a season ago", "drift"}
    assert main.value is not None and main.baseline is not None
    assert main.value < main.baseline
    assert scores["MAE of y"].value > 10 * scores["MAE of x"].value  # each in its own unit
    assert 0.6 < scores["coverage of 80 % intervals"].value < 0.95
    assert scores["coverage of 95 % intervals"].value > 0.85


def test_what_was_understood_is_told(done):
    assert "Forecasts x, y, still: 6 steps ahead from the last 48 (as asked)." in done.told
    assert "4 segments of 12 steps, with the hour and weekday of each step" in done.told
    assert "Windows are split by time, the end last" in done.told
    assert "Column still has one value in all training steps and teaches nothing." in done.told
    assert "Intervals of 80 % and 95 %" in done.told


def test_a_constant_column_is_forecast_as_it_is(done):
    rows = done.run.model.predict(done.table)[0].forecast
    assert rows is not None
    still = [row.value for row in rows if row.column == "still"]
    assert still == pytest.approx([20.0] * 6, abs=0.2)


def test_a_saved_model_forecasts_the_same(done):
    loaded = Model.load(done.run.model_file)
    assert loaded.predict(done.table) == done.run.model.predict(done.table)
    assert loaded.description == done.run.model.description


def test_forecasts_follow_the_end_of_the_table(done):
    (answer,) = done.run.model.predict(done.table)
    assert answer.forecast is not None
    assert len(answer.forecast) == 3 * 6
    first = answer.forecast[0]
    assert (first.time, first.column) == ("2024-02-10 00:00", "x")
    assert first.lower_95 < first.value < first.upper_95
    wanted = 10 + 3 * np.sin(2 * np.pi * np.arange(6) / 24)
    found = [row.value for row in answer.forecast if row.column == "x"]
    np.testing.assert_allclose(found, wanted, atol=1.5)


def test_rows_in_another_order_forecast_the_same(done, tmp_path):
    heading, *rows = done.table.read_text("utf-8").splitlines()
    np.random.default_rng(0).shuffle(rows)
    other = tmp_path / "shuffled.csv"
    other.write_text("\n".join([heading, *rows]) + "\n", "utf-8")
    one, two = (done.run.model.predict(path)[0].forecast for path in (done.table, other))
    assert one == two


def test_a_table_shorter_than_the_window_is_refused_with_both_numbers(done, tmp_path):
    short = write_table(tmp_path / "short.csv", steps=30)
    with pytest.raises(SourceError, match=r"has 30 steps .* looks back on 48"):
        done.run.model.predict(short)
    (answer,) = done.run.model.predict(short, skip_bad_files=True)
    assert answer.forecast is None
    assert "looks back on 48" in answer.reason


def test_a_table_that_is_not_there_is_named(done, tmp_path, capsys):
    for name in ("nope.csv", "nope.parquet"):
        assert main(["predict", str(done.run.model_file), str(tmp_path / name)]) == 2
        said = capsys.readouterr().err
        assert f"{name} does not exist." in said and "--on-bad-file skip" in said
    (answer,) = done.run.model.predict([tmp_path / "nope.csv"], skip_bad_files=True)
    assert "does not exist" in answer.reason


def test_a_series_that_cannot_be_forecast_is_skipped_alone(tmp_path):
    heading, *rows = write_table(tmp_path / "t.csv", steps=400).read_text("utf-8").splitlines()
    each = {name: [f"{name},{row}" for row in rows] for name in ("east", "north", "west")}

    def written(path):
        lines = [f"place,{heading}", *(row for part in each.values() for row in part)]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    table = written(tmp_path / "places.csv")
    settings = FAST | {"epochs": 1, "past": 24, "target": ["x", "y"], "id_column": "place"}
    run = pipeline.train(from_mapping(table, settings, out=tmp_path / "run"))
    whole = run.model.predict(table)
    place, time, _, *others = each["north"][-2].split(",")
    each["north"][-2] = ",".join([place, time, "", *others])
    written(table)
    with pytest.raises(SourceError, match="#north: row 800 has no number in column x"):
        run.model.predict(table)
    east, north, west = run.model.predict(table, skip_bad_files=True)
    assert (east.path, west.path) == (f"{table}#east", f"{table}#west")
    assert east.forecast == whole[0].forecast and west.forecast == whole[2].forecast
    assert north.forecast is None and "#north: row 800 has no number" in north.reason
    heads = [row.split(",")[:2] for row in each["north"]]
    each["north"] = [",".join([*head, "", "", "20"]) for head in heads]
    north = run.model.predict(written(table), skip_bad_files=True)[1]
    assert north.forecast is None and "#north has 0 steps" in north.reason
    for name in each:
        each[name] = each[name][:20]
    found = run.model.predict(written(table), skip_bad_files=True)
    assert ["looks back on 24" in p.reason for p in found] == [True] * 3


def test_the_dialect_that_training_was_told_is_kept(tmp_path):
    def commas(path, *, seed=0):
        lines = write_table(path, steps=400, seed=seed).read_text("utf-8").splitlines()
        rows = [line.replace(",", ";") for line in lines]
        # Three decimals: 1,564 may be a thousand or one and a half.
        cut = [re.sub(r"(\d)\.(\d{3})\d", r"\1,\2", row) for row in rows]
        path.write_text("\n".join(cut) + "\n", "utf-8")
        return path

    table = commas(tmp_path / "t.csv")
    settings = FAST | {"epochs": 1, "past": 24, "target": ["x", "y"]}
    with pytest.raises(SourceError, match="is ambiguous"):
        pipeline.train(from_mapping(table, settings, out=tmp_path / "no"))
    run = pipeline.train(from_mapping(table, settings | {"decimal": "comma"}, out=tmp_path / "run"))
    model = Model.load(run.model_file)
    (answer,) = model.predict(table)
    assert answer.forecast is not None and abs(answer.forecast[0].value) < 100
    new = commas(tmp_path / "new.csv", seed=3)
    scores = scoring.evaluate(model, new, DataConfig())
    assert scores is not None and scores["RMSE of x"].value < 100
    asked = scoring.evaluate(model, new, DataConfig(decimal="point"))  # which goes first
    assert asked is not None and asked["RMSE of x"].value > 100


def test_evaluate_reads_new_data_as_training_did(done, tmp_path):
    table = write_table(tmp_path / "new.csv", steps=24 * 6, seed=3)
    scores = scoring.evaluate(done.run.model, table, DataConfig())
    assert scores is not None
    assert scores.items == 24 * 6 - 54 + 1
    assert scores["standardised MSE"].value < scores["standardised MSE"].baseline


class Counting(Listening):
    def scores(self, scores, of):
        self.text += f"{scores.items:,} {of}\n"


def test_evaluate_says_that_it_scores_windows_and_which(done, tmp_path, monkeypatch):
    table = write_table(tmp_path / "new.csv", steps=24 * 6, seed=3)
    teller = Counting()
    scoring.evaluate(done.run.model, table, DataConfig(), teller=teller)
    assert teller.text.endswith("91 windows\n")
    monkeypatch.setitem(scoring.MOST_ITEMS, scoring.TEST, 200)  # of 3 columns
    teller = Counting()
    scores = scoring.evaluate(done.run.model, table, DataConfig(), teller=teller)
    assert scores is not None and scores.items == 46
    assert teller.text.endswith("46 windows, one in 2 of 91: neighbours are nearly the same\n")


def test_evaluate_on_the_training_data_warns(done):
    teller = Listening()
    scoring.evaluate(done.run.model, done.table, DataConfig(), teller=teller)
    assert "the data that the model was trained on" in teller.text


def test_settings_that_the_model_brings_are_refused(done):
    with pytest.raises(ConfigError, match="horizon has no effect here"):
        scoring.evaluate(done.run.model, done.table, DataConfig(horizon=6, past=9))


@pytest.mark.parametrize("setting", ["target", "inputs"])
def test_a_forecast_is_scored_on_the_columns_it_learned_alone(done, setting):
    with pytest.raises(ConfigError, match=f"{setting} has no effect here: the model forecasts"):
        scoring.evaluate(done.run.model, done.table, from_mapping(Path(), {setting: ["x"]}).data)


def rewritten(table: Path, path: Path, time: Callable[[int], str]) -> Path:
    """The same table with other times: `time` of each row."""
    header, *rows = table.read_text("utf-8").splitlines()
    kept = [f"{time(i)},{row.split(',', 1)[1]}" for i, row in enumerate(rows[:240])]
    path.write_text("\n".join([header, *kept]) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("time", "apart"),
    [
        (
            lambda i: f"2024-02-{1 + i // 96:02d} {i // 4 % 24:02d}:{i % 4 * 15:02d}",
            "15 minutes apart",
        ),
        (lambda i: str(np.datetime64("2024-01-01") + i), "1 day apart"),
        (lambda i: str(3600 * i), "3600 apart in number"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_table_of_another_step_is_refused(done, command, time, apart, tmp_path, capsys):
    table = rewritten(done.table, tmp_path / "other.csv", time)
    assert main([command, str(done.run.model_file), str(table)]) == 2
    said = capsys.readouterr().err
    assert f"most of its rows lie {apart}, and the model learned from rows that lie" in said
    assert "1 hour apart." in said


def test_a_table_with_gaps_has_the_step_of_training(done, tmp_path):
    lines = done.table.read_text("utf-8").splitlines()
    gaps = [line for i, line in enumerate(lines) if i < 400 or i % 3]
    table = tmp_path / "gaps.csv"
    table.write_text("\n".join(gaps) + "\n", "utf-8")
    scores = scoring.evaluate(done.run.model, table, DataConfig())
    assert scores is not None and scores.items > 200


def test_fixes_say_which_options_are_those_of_a_training(done, tmp_path, capsys):
    header, first, second, *rows = done.table.read_text("utf-8").splitlines()
    time, _, rest = second.split(",", 2)
    table = tmp_path / "hole.csv"
    table.write_text("\n".join([header, first, f"{time},,{rest}", *rows]) + "\n", "utf-8")
    assert main(["evaluate", str(done.run.model_file), str(table)]) == 2
    assert "--missing is an option of train; evaluate has no such." in capsys.readouterr().err
    assert main(["train", str(table), "--horizon", "6"]) == 2
    said = capsys.readouterr().err
    assert "--missing ffill" in said and "no such" not in said
    assert main(["show", "forecast", "--input", "Tx24x8", "--outputs", "5"]) == 2
    assert "--horizon is an option of train; show has no such." in capsys.readouterr().err


def test_the_same_seed_gives_the_same_numbers(done, tmp_path):
    again = pipeline.train(from_mapping(done.table, FAST, out=tmp_path / "again"))
    one, two = (run.model.network.state_dict() for run in (done.run, again))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("format", ["table", "csv", "jsonl"])
def test_answers_are_printed(done, format, capsys):
    arguments = ["predict", str(done.run.model_file), str(done.table), "--format", format]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    if format == "table":
        assert len(lines) == 18
        assert "2024-02-10 00:00  x" in lines[0]
        assert "  95 %: " in lines[0] and " to " in lines[0]
    elif format == "csv":
        rows = list(csv.DictReader(lines))
        assert len(rows) == 18
        assert list(rows[0]) == [
            "path",
            "time",
            "column",
            "value",
            "lower_95",
            "upper_95",
            "reason",
        ]
        assert float(rows[0]["lower_95"]) < float(rows[0]["value"]) < float(rows[0]["upper_95"])
    else:
        (line,) = map(json.loads, lines)
        assert line["forecast"][0]["time"] == "2024-02-10 00:00"
        assert line["forecast"][0]["lower_95"] < line["forecast"][0]["upper_95"]


@pytest.mark.parametrize("format", ["table", "csv"])
def test_a_table_without_an_answer_says_why(done, format, tmp_path, capsys):
    short = write_table(tmp_path / "short.csv", steps=30)
    arguments = ["predict", str(done.run.model_file), str(short), "--on-bad-file", "skip"]
    assert main([*arguments, "--format", format]) == 0
    assert "looks back on 48" in capsys.readouterr().out


def test_an_evaluation_proposes_no_settings_of_training(done, tmp_path, capsys):
    table = write_table(tmp_path / "more.csv", steps=120)
    assert main(["evaluate", str(done.run.model_file), str(table)]) == 0
    assert "6 steps ahead from the last 48 (as in training)." in capsys.readouterr().out
    table = write_table(tmp_path / "short.csv", steps=30)
    assert main(["evaluate", str(done.run.model_file), str(table)]) == 2
    said = capsys.readouterr().err
    assert "no window fits" in said and "Fix: give a longer table." in said


def test_a_single_column_is_not_called_each_of_several(tmp_path, capsys):
    table = write_table(tmp_path / "t.csv", steps=480)
    words = ["inspect", str(table), "--horizon", "6", "--past", "24", "--target", "x"]
    assert main(words) == 0
    assert "Prepared as: 1 column, 4 segments of 6 steps, with" in capsys.readouterr().out


def test_an_array_is_no_table_of_steps(done):
    model = Model.load(done.run.model_file)
    with pytest.raises(ConfigError, match="the model reads tables of steps, and is given an array"):
        model.predict(np.zeros((200, 3)))


def test_the_command_exits_with_2_for_what_cannot_be_used(tmp_path, capsys):
    table = write_table(tmp_path / "t.csv", steps=60)
    assert main(["train", str(table), "--horizon", "24", "--past", "48"]) == 2
    assert "no window fits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"task": "forecast"}, ConfigError, "a forecast needs its horizon"),
        ({"past": 5}, ConfigError, "past has no effect without horizon"),
        ({"known": ["x"]}, ConfigError, "known has no effect without horizon"),
        ({"horizon": 5, "task": "classify"}, ConfigError, "no effect on the task classify"),
        ({"horizon": 5, "kind": "images"}, ConfigError, "horizon has no effect on images"),
        ({"horizon": 0}, ConfigError, "horizon = 0 is out of range"),
        ({"horizon": 5, "net": "resnet"}, NetworkError, "the preset resnet does not forecast"),
        ({"horizon": 5, "flip": "on"}, ConfigError, "flip has no effect on forecasts"),
        ({"horizon": 5, "class_weights": "balanced"}, ConfigError, "no effect on the task"),
        ({"horizon": 5, "label_smoothing": 0.1}, ConfigError, "no effect on the task"),
        ({"horizon": 5, "group": "x"}, ConfigError, "group has no effect on forecasts"),
    ],
)
def test_settings_without_effect_are_refused(tmp_path, settings, kind, message):
    table = write_table(tmp_path / "t.csv", steps=200)
    with pytest.raises(kind, match=message):
        pipeline.train(from_mapping(table, {"epochs": 1} | settings, out=tmp_path / "run"))


def test_a_preset_that_forecasts_is_refused_elsewhere(picture, tmp_path):
    for label in "ab":
        for number in range(6):
            picture(tmp_path / "set" / label / f"{number}.png")
    with pytest.raises(NetworkError, match="nothing says how many steps"):
        settings = {"net": "forecast", "epochs": 1}
        pipeline.train(from_mapping(tmp_path / "set", settings, out=tmp_path / "run"))


@pytest.mark.parametrize("net", ["auto", "linear", "lstm(8)", "conv(4, 3, time=3) relu"])
def test_networks_for_forecasts(tmp_path, net):
    table = write_table(tmp_path / "t.csv", steps=400)
    settings = FAST | {"net": net, "epochs": 1, "past": 24}
    run = pipeline.train(from_mapping(table, settings, out=tmp_path / "run"))
    assert run.scores is not None
    assert run.model.network.notation.count("dense(6)") == 1


@pytest.mark.parametrize("missing", ["ffill", "mask", "drop"])
def test_missing_numbers_are_read_alike_in_training_and_prediction(tmp_path, missing):
    table = write_table(tmp_path / "t.csv", steps=500)
    lines = table.read_text("utf-8").splitlines()
    for row in (57, 120, 470, 498):
        time, _, y, still = lines[row].split(",")
        lines[row] = f"{time},{'inf' if row == 120 else ''},{y},{still}"
    table.write_text("\n".join(lines) + "\n", "utf-8")
    settings = FAST | {"epochs": 1, "past": 24, "target": ["x", "y"]}
    with pytest.raises(SourceError, match="x: 4 missing or not finite, in rows 58, 121, 471, 499"):
        pipeline.train(from_mapping(table, settings, out=tmp_path / "run"))
    run = pipeline.train(from_mapping(table, settings | {"missing": missing}, out=tmp_path / "run"))
    if missing == "drop":  # what follows the gap is too short
        with pytest.raises(SourceError, match="looks back on 24"):
            run.model.predict(table)
        return
    (answer,) = run.model.predict(table)
    assert answer.forecast is not None
    assert all(
        np.isfinite([row.value, row.lower_95, row.upper_95]).all() for row in answer.forecast
    )


def test_few_validation_windows_give_no_intervals(tmp_path):
    table = write_table(tmp_path / "t.csv", steps=300)
    run = pipeline.train(
        from_mapping(table, FAST | {"epochs": 1, "past": 24, "valid": 0.12}, out=tmp_path / "run")
    )
    assert run.model.description.answers.half_widths == ()
    (answer,) = run.model.predict(table)
    assert answer.forecast is not None and answer.forecast[0].lower_95 is None


def test_what_is_known_in_advance_is_used(tmp_path):
    """Nothing but the plan says how the column goes on."""
    path, draw = tmp_path / "plan.csv", np.random.default_rng(0)
    plan = draw.integers(0, 2, 612)
    with path.open("w", encoding="utf-8") as file:
        file.write("time,sold,plan\n")
        for i, here in enumerate(plan):
            sold = f"{10 + 5 * here + draw.normal(0, 0.1):.3f}" if i < 600 else ""
            file.write(f"{hour(i)},{sold},{here}\n")
    settings = FAST | {"target": ["sold"], "known": ["plan"], "past": 24, "epochs": 30}
    run = pipeline.train(from_mapping(path, settings, out=tmp_path / "run"))
    assert run.scores is not None
    main = run.scores["standardised MSE"]
    assert main.value < 0.2 * main.baseline
    (answer,) = run.model.predict(path)
    assert answer.forecast is not None
    found = np.array([row.value for row in answer.forecast])
    np.testing.assert_array_equal(found > 12.5, plan[600:606] == 1)


def test_many_series_are_learned_together(tmp_path):
    steps = 200
    path = tmp_path / "shops.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("time,shop,sold\n")
        for shop, level in (("east", 10), ("west", 500)):
            for i in range(steps):
                file.write(f"{hour(i)},{shop},{level + 5 * np.sin(2 * np.pi * i / 24):.3f}\n")
    settings = FAST | {"id_column": "shop", "past": 12, "epochs": 2}
    run = pipeline.train(from_mapping(path, settings, out=tmp_path / "run"))
    east, west = run.model.predict(path)
    assert (east.path, west.path) == (f"{path}#east", f"{path}#west")
    assert east.forecast is not None and west.forecast is not None
    assert west.forecast[0].value - east.forecast[0].value == pytest.approx(490, abs=20)
    alone = tmp_path / "alone.csv"
    rows = [row for row in path.read_text().splitlines() if "east" not in row]
    alone.write_text("\n".join(rows) + "\n")
    (only,) = run.model.predict(alone)
    assert only.path == f"{alone}#west"


@pytest.mark.parametrize("widths", ["one level", "one column", "none", "negative"])
def test_a_model_whose_intervals_do_not_fit_is_refused(done, tmp_path, widths):
    answers = done.run.model.description.answers
    whole = answers.half_widths
    changed = {
        "one level": whole[:1],
        "one column": tuple(level[:1] for level in whole),
        "none": ((), ()),
        "negative": tuple(tuple((-1.0, *c[1:]) for c in level) for level in whole),
    }[widths]
    description = replace(done.run.model.description, answers=replace(answers, half_widths=changed))
    Model(done.run.model.network, description).save(tmp_path / "m.gridcell")
    with pytest.raises(ModelFileError, match="the widths of its intervals do not fit"):
        Model.load(tmp_path / "m.gridcell")


def test_python_can_train_one_too(tmp_path):
    table = write_table(tmp_path / "t.csv", steps=300)
    run = gridcell.train(table, out=tmp_path / "run", quiet=True, **FAST | {"epochs": 1})
    assert run.model.kind == "forecasts"


def test_where_there_are_no_intervals_it_is_said(tmp_path):
    teller = Listening()
    table = write_table(tmp_path / "two.csv", steps=24 * 8)
    settings = {**FAST, "epochs": 1, "valid": 0.0}
    run = pipeline.train(from_mapping(table, settings, out=tmp_path / "run"), teller)
    assert "No intervals are given: they need 20 validation windows or more." in teller.text
    (answer,) = run.model.predict(table)
    assert all(step.lower_95 is None and step.upper_95 is None for step in answer.forecast)


def test_a_table_of_other_columns_is_refused_with_those_that_are_wanted(done, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("when,z\n2024-01-01,1\n2024-01-02,2\n")
    with pytest.raises(
        ConfigError, match=r"^this is no table like the one that the model learned"
    ) as refused:
        done.run.model.predict(other)
    assert "name a table with the columns time, x, y, still." in str(refused.value)
