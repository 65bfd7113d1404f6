"""Tables of series, from the command to answers: long, wide, tagged, with gaps, and unlabelled."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from gridcell import pipeline, scoring
from gridcell.cli import main
from gridcell.config import DataConfig, from_mapping
from gridcell.errors import ConfigError, SourceError
from gridcell.model import Model
from gridcell.record import Run

NET = "conv(8, time=9) relu lstm(8) mean"


def wave(label: str, draw: np.random.Generator, steps: int) -> np.ndarray[Any, Any]:
    """Slow waves are of one class, fast ones of the other."""
    pace = 0.2 if label == "slow" else 0.8
    return np.sin(pace * np.arange(steps) + draw.uniform(0, 6)) + draw.normal(0, 0.1, steps)


def long_table(path: Path, count: int = 60, *, holes: bool = False) -> Path:
    draw = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["series_id", "t", "x", "y", "label"])
        for number in range(count):
            label = ("slow", "fast")[number % 2]
            steps = int(draw.integers(30, 50))
            for t, value in enumerate(wave(label, draw, steps)):
                hole = holes and t in (0, 7)
                table.writerow([number, t, "" if hole else f"{value:.4f}", 5, label])
    return path


def wide_table(path: Path, count: int = 60) -> Path:
    draw = np.random.default_rng(1)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*(f"v{t:02d}" for t in range(32)), "label"])
        for number in range(count):
            label = ("slow", "fast")[number % 2]
            table.writerow([*(f"{value:.4f}" for value in wave(label, draw, 32)), label])
    return path


def tagged_table(path: Path, count: int = 50) -> Path:
    """Each step is tagged with the sign of the step three before it: only memory can tell."""
    draw = np.random.default_rng(2)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "t", "x", "state"])
        for number in range(count):
            values = draw.normal(size=int(draw.integers(20, 30)))
            for t, value in enumerate(values):
                past = values[t - 3] if t >= 3 else -1.0
                table.writerow([number, t, f"{value:.4f}", "up" if past > 0 else "down"])
    return path


def test_steps_of_a_class_that_the_model_does_not_know_are_left_out(tmp_path: Path) -> None:
    path = tagged_table(tmp_path / "states.csv")
    run = trained(path, tmp_path / "run", net="lstm(4)", epochs=1)
    header, *lines = path.read_text().splitlines()
    changed = [
        line.rsplit(",", 1)[0] + ",odd" if n % 5 == 0 else line for n, line in enumerate(lines)
    ]
    new = tmp_path / "new.csv"
    new.write_text("\n".join([header, *changed]) + "\n")
    scores = scoring.evaluate(run.model, new, DataConfig())
    assert scores is not None and scores.unknown is not None
    odd = -(-len(lines) // 5)
    assert scores.items == len(lines) - odd and scores.unknown.labels == {"odd": odd}
    accuracy = scores["accuracy"].value
    assert accuracy is not None
    assert scores.unknown.value == pytest.approx(accuracy * scores.items / len(lines))


def test_the_mean_of_several_networks_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = long_table(tmp_path / "waves.csv"), tmp_path / "run"
    words = ["train", path, "--net", NET, "--members", 3, "--batch-size", 12, "--epochs", 12]
    assert main([str(word) for word in [*words, "--rate", 0.01, "--out", out]]) == 0
    said = capsys.readouterr().out
    assert f"ensemble({NET}, members=3) dense(2)" in said
    assert "as written; the answer is the mean of 3 of it" in said
    model = Model.load(out / "model.gridcell")
    answers = model.predict(path)
    assert len(answers) == 60
    named = [answer.label for answer in answers]
    assert sum(one == ("slow", "fast")[n % 2] for n, one in enumerate(named)) >= 50


def trained(path: Path, out: Path, **settings: Any) -> Run:
    chosen = {"net": NET, "epochs": 40, "precision": "float32", "rate": 0.02, "augment": False}
    return pipeline.train(from_mapping(path, chosen | settings, out=out))


def test_a_long_table_trains_and_answers_for_new_series(  # S32
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(long_table(tmp_path / "sensors.csv"), tmp_path / "run")
    assert run.scores is not None and run.scores["accuracy"].value == 1.0
    model = Model.load(run.model_file)
    assert model.kind == "series" and model.preparation.columns == ("x", "y")  # type: ignore[union-attr]

    # Two new series in one table, without labels and with columns in another order.
    draw = np.random.default_rng(9)
    new = tmp_path / "new.csv"
    with new.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["y", "x", "t", "series_id"])
        for name in ("slow", "fast"):
            for t, value in enumerate(wave(name, draw, 40)):
                table.writerow([5, value, t, name])
    found = {p.path: p.label for p in model.predict(new)}
    assert found == {f"{new}#slow": "slow", f"{new}#fast": "fast"}
    assert main(["predict", str(run.model_file), str(new), "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["label"] for row in rows} == {"slow", "fast"} and len(rows) == 2


def test_a_table_that_names_files_of_series_has_an_answer_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(3)
    rows = ["file,label"]
    for number in range(24):
        label = ("slow", "fast")[number % 2]
        values = "\n".join(f"{value:.4f}" for value in wave(label, draw, 32))
        (tmp_path / f"s{number}.csv").write_text(f"x\n{values}\n")
        rows.append(f"s{number}.csv,{label}")
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(rows) + "\n")
    run = trained(table, tmp_path / "run", epochs=2, target=["label"])
    files = [str(tmp_path / f"s{number}.csv") for number in range(24)]
    assert [p.path for p in run.model.predict(table)] == files
    assert main(["predict", str(run.model_file), str(table), "--path-column", "file"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 24
    assert main(["predict", str(run.model_file), files[0], "--path-column", "file"]) == 2
    assert "has no column file (for path_column)" in capsys.readouterr().err


def test_a_series_whose_numbers_stand_in_names_of_files_is_a_series(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["file,label"]
    for number in range(20):
        values = "\n".join(f"{np.sin(t + number):.3f},{t}" for t in range(20))
        (tmp_path / f"s{number}.csv").write_text(f"x,y\n{values}\n")
        rows.append(f"s{number}.csv,{'ab'[number % 2]}")
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(rows) + "\n")
    run = trained(table, tmp_path / "run", epochs=1, target=["label"])
    one = str(tmp_path / "s1.csv")  # the column y counts from 0 to 19, as the files do
    assert [p.path for p in run.model.predict(one)] == [one]
    assert main(["predict", str(run.model_file), one]) == 0
    assert capsys.readouterr().out.startswith(one)
    beside = tmp_path / "beside.csv"  # a series that says which file it is from
    beside.write_text("x,y,from\n1,2,s1.csv\n3,4,s1.csv\n5,6,s1.csv\n")
    assert [p.path for p in run.model.predict(beside)] == [str(beside)]


@pytest.mark.parametrize("name", ["nope.csv", "nope.csv.gz", "nope.parquet", "nope.ts"])
def test_a_file_of_series_that_is_not_there_is_named(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(long_table(tmp_path / "a.csv", 20), tmp_path / "run", epochs=1)
    gone = tmp_path / name
    assert main(["predict", str(run.model_file), str(gone)]) == 2
    said = capsys.readouterr().err
    assert f"{name} does not exist." in said and "--on-bad-file skip" in said
    (answer,) = run.model.predict([gone], skip_bad_files=True)
    assert answer.label is None and answer.reason == f"{gone} does not exist."


def test_a_folder_and_a_name_that_no_file_can_have_are_named(tmp_path: Path) -> None:
    run = trained(long_table(tmp_path / "a.csv", 20), tmp_path / "run", epochs=1)
    (tmp_path / "folder.csv").mkdir()
    for path, reason in ((tmp_path / "folder.csv", "is a folder"), (Path("a\0.csv"), "null")):
        (answer,) = run.model.predict([path], skip_bad_files=True)
        assert reason in answer.reason


def test_the_column_that_was_learned_is_scored_whatever_stands_beside_it(tmp_path: Path) -> None:
    path = long_table(tmp_path / "a.csv", 20)
    run = trained(path, tmp_path / "run", epochs=1, target=["label"])
    beside = tmp_path / "beside.csv"
    heading, *rows = path.read_text().splitlines()
    lines = [f"{row},{('a', 'b')[int(row.split(',')[0]) % 3 == 0]}" for row in rows]
    beside.write_text("\n".join([f"{heading},place", *lines]) + "\n")
    scores = scoring.evaluate(Model.load(run.model_file), beside, DataConfig())
    assert scores is not None and scores.labels == ("fast", "slow")
    beside.write_text(beside.read_text().replace("label", "kind", 1))
    with pytest.raises(SourceError, match=r"has no column label, which .*\n.*--target"):
        scoring.evaluate(run.model, beside, DataConfig())


@pytest.mark.parametrize("write", [long_table, wide_table])
@pytest.mark.parametrize(
    ("cell", "said", "counted"),
    [
        ("", "has no number in column", "has no number in column"),
        ("abc", "holds no number in row 4 ('abc').", "holds no number in row 4 ('abc')"),
        ("1e39", "holds a number beyond 3.4e38 in row 4 ('1e39').", "holds numbers beyond 3.4e38"),
    ],
)
def test_a_series_with_a_cell_that_is_no_number_is_skipped_alone(
    tmp_path: Path, write: Any, cell: str, said: str, counted: str
) -> None:
    table = write(tmp_path / "a.csv", 20)
    run = trained(table, tmp_path / "run", epochs=1)
    whole = run.model.predict(table)
    lines = table.read_text().splitlines()
    cells = lines[3].split(",")
    cells[2] = cell
    lines[3] = ",".join(cells)
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(SourceError) as caught:
        run.model.predict(table)
    assert counted in caught.value.message and "--on-bad-file skip" in caught.value.fix
    found = run.model.predict(table, skip_bad_files=True)
    (bad,) = [place for place, answer in enumerate(found) if answer.label is None]
    assert found[bad].path in found[bad].reason and said in found[bad].reason
    assert [p.path for p in found] == [p.path for p in whole]
    for place in set(range(20)) - {bad}:
        assert found[place].probabilities == pytest.approx(whole[place].probabilities, abs=1e-6)


def test_a_missing_number_of_a_series_in_a_row_is_named_by_its_column(tmp_path: Path) -> None:
    table = wide_table(tmp_path / "a.csv", 20)
    run = trained(table, tmp_path / "run", epochs=1)
    heading, first, *rest = table.read_text().splitlines()
    cells = first.split(",")
    cells[4] = ""
    table.write_text("\n".join([heading, ",".join(cells), *rest]) + "\n")
    (bad,) = [p for p in run.model.predict(table, skip_bad_files=True) if p.reason]
    assert f"step 5 has no number in column {heading.split(',')[4]}, and" in bad.reason


def test_a_window_of_a_series_is_a_whole_number_of_steps(tmp_path: Path) -> None:
    table = wide_table(tmp_path / "a.csv", 20)
    with pytest.raises(ConfigError, match=r"window = 2\.5 cannot be used: of a series"):
        trained(table, tmp_path / "run", window=2.5, epochs=1)


def test_a_table_of_which_no_series_can_be_read_has_one_answer(tmp_path: Path) -> None:
    run = trained(wide_table(tmp_path / "a.csv", 20), tmp_path / "run", epochs=1)
    heading = (tmp_path / "a.csv").read_text().splitlines()[0]
    table = tmp_path / "words.csv"
    table.write_text(f"{heading}\n" + ",".join(["word"] * len(heading.split(","))) + "\n")
    (answer,) = run.model.predict(table, skip_bad_files=True)
    assert answer.path == str(table) and "holds no number in row 2 ('word')" in answer.reason


def test_a_cell_that_is_no_number_leaves_the_decimal_mark_of_training(tmp_path: Path) -> None:
    rows = wide_table(tmp_path / "points.csv", 20).read_text().splitlines()
    table = tmp_path / "a.csv"
    table.write_text("\n".join(rows).replace(",", ";").replace(".", ","))
    run = trained(table, tmp_path / "run", epochs=1, decimal="comma")
    whole = run.model.predict(table)
    lines = table.read_text().splitlines()
    cells = lines[3].split(";")
    lines[3] = ";".join([*cells[:2], "abc", *cells[3:]])
    table.write_text("\n".join(lines) + "\n")
    found = run.model.predict(table, skip_bad_files=True)
    assert [place for place, answer in enumerate(found) if answer.reason] == [2]
    for place in set(range(20)) - {2}:
        assert found[place].probabilities == pytest.approx(whole[place].probabilities, abs=1e-6)


def test_the_dialect_that_training_was_told_is_kept(tmp_path: Path) -> None:
    def commas(path: Path) -> Path:
        text = long_table(path).read_text().replace(",", ";")

        def written(found: re.Match[str]) -> str:  # 3,564 may be three thousand
            return f"{float(found[0]) + 3:.3f}".replace(".", ",")

        path.write_text(re.sub(r"-?\d+\.\d{4}", written, text))
        return path

    table = commas(tmp_path / "sensors.csv")
    with pytest.raises(SourceError, match="is ambiguous"):
        trained(table, tmp_path / "no", epochs=1)
    run = trained(table, tmp_path / "run", epochs=1, decimal="comma")
    model = Model.load(run.model_file)
    assert len(model.predict(table)) == 60
    scores = scoring.evaluate(model, commas(tmp_path / "new.csv"), DataConfig())
    assert scores is not None and scores.items == 60
    plain = tmp_path / "points.parquet"  # which says itself how it is written
    duckdb.sql(f"SELECT * FROM read_csv('{long_table(tmp_path / 'p.csv')}')").write_parquet(
        str(plain)
    )
    assert len(model.predict(plain)) == 60
    assert scoring.evaluate(model, plain, DataConfig()) is not None


def test_a_constant_column_is_named_and_stays_finite(tmp_path: Path) -> None:
    run = trained(long_table(tmp_path / "a.csv", 20), tmp_path / "run", epochs=1)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert any("Column y has one value in all" in note for note in record["training"]["notes"])
    new = tmp_path / "new.csv"
    new.write_text("t,x,y\n" + "".join(f"{t},0.5,{6 if t else 1e6}\n" for t in range(30)))
    (answer,) = run.model.predict(new)
    assert answer.probability is not None and np.isfinite(answer.probability)


def test_a_wide_table_trains_and_each_new_row_has_an_answer(tmp_path: Path) -> None:
    run = trained(wide_table(tmp_path / "wide.csv"), tmp_path / "run")
    assert run.scores is not None and run.scores["accuracy"].value == 1.0
    new = wide_table(tmp_path / "new.csv", 6)
    found = run.model.predict(new)
    assert [p.label for p in found] == ["slow", "fast"] * 3
    assert found[0].path == f"{new}#2"


@pytest.mark.parametrize("write", [long_table, wide_table])
def test_a_table_that_lacks_a_column_of_numbers_is_not_scored_by_the_others(
    tmp_path: Path, write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(write(tmp_path / "t.csv"), tmp_path / "run", epochs=1)
    columns = Model.load(run.model_file).preparation.columns  # type: ignore[union-attr]
    header, *rows = write(tmp_path / "new.csv").read_text().splitlines()
    last = columns[-1]
    other = header.split(",")
    other[other.index(last)] = "renamed"
    new = tmp_path / "new.csv"
    new.write_text("\n".join([",".join(other), *rows]))
    for command in ("evaluate", "predict"):
        assert main([command, str(run.model_file), str(new)]) == 2
        said = capsys.readouterr().err
        assert f"has no column {last}" in said
        assert "give the columns the names that they had in training" in said
        assert ("--inputs" in said) == (command == "evaluate")
    new.write_text("\n".join([header, rows[0].replace(".", "x"), *rows[1:]]))
    assert main(["predict", str(run.model_file), str(new)]) == 2
    said = capsys.readouterr().err
    assert "holds no number in row 2" in said and "Fix: mend them, or pass --on-bad" in said
    new.write_text("\n".join([",".join(other), *rows]))
    named = [word for name in (*columns[:-1], "renamed") for word in ("--inputs", name)]
    assert main(["evaluate", str(run.model_file), str(new), *named]) == 0


def test_a_class_for_each_step_is_learned_and_answered(  # S32, S34
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tagged_table(tmp_path / "states.csv")
    run = trained(path, tmp_path / "run", net="lstm(16)", epochs=60)
    assert run.scores is not None and run.model.task == "tags"
    accuracy = run.scores["accuracy"]
    assert accuracy.value is not None and accuracy.value > 0.9 and accuracy.low is None
    new = tmp_path / "new.csv"
    new.write_text("t,x\n" + "".join(f"{t},{1 if t % 8 < 4 else -1}\n" for t in range(24)))
    (answer,) = run.model.predict(new)
    assert answer.tags is not None and len(answer.tags) == 24
    wanted = ["up" if t >= 3 and (t - 3) % 8 < 4 else "down" for t in range(24)]
    assert np.mean([a == b for a, b in zip(answer.tags, wanted, strict=True)]) > 0.9
    assert main(["predict", str(run.model_file), str(new)]) == 0
    first = capsys.readouterr().out.splitlines()[0].split()
    assert first[1:4] == ["1", "to", "3"] and first[4] == "down"
    assert main(["predict", str(run.model_file), str(new), "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["label"] for row in rows] == list(answer.tags)
    assert [row["step"] for row in rows] == [str(n) for n in range(1, 25)]


def test_scores_of_a_saved_model_are_those_of_its_run(tmp_path: Path) -> None:
    path = tagged_table(tmp_path / "states.csv", 30)
    run = trained(path, tmp_path / "run", net="lstm(8)", epochs=3)
    other = tagged_table(tmp_path / "other.csv", 20)
    scores = scoring.evaluate(Model.load(run.model_file), other, from_mapping(other, {}).data)
    assert scores is not None
    answers = [tag for p in run.model.predict(other) for tag in p.tags or ()]
    truths = [row["state"] for row in csv.DictReader(other.read_text().splitlines())]
    share = np.mean([a == b for a, b in zip(answers, truths, strict=True)])
    assert scores["accuracy"].value == pytest.approx(share)


def test_missing_numbers_stop_until_a_policy_is_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = long_table(tmp_path / "holes.csv", 20, holes=True)
    assert main(["train", str(path), "--out", str(tmp_path / "no")]) == 2
    said = capsys.readouterr().err
    assert "x" in said and "40" in said and "--missing" in said and not (tmp_path / "no").exists()


@pytest.mark.parametrize("policy", ["ffill", "interpolate", "drop", "mask"])
def test_a_policy_is_kept_and_used_for_every_later_answer(policy: str, tmp_path: Path) -> None:
    path = long_table(tmp_path / "holes.csv", 40, holes=True)
    run = trained(path, tmp_path / "run", missing=policy)
    assert run.scores is not None and (run.scores["accuracy"].value or 0) > 0.8
    model = Model.load(run.model_file)
    assert model.preparation.missing == policy  # type: ignore[union-attr]
    # The same series by itself gives the answer it gives among all, holes and all.
    rows = [
        row for row in csv.reader(path.read_text().splitlines()) if row[0] in ("series_id", "3")
    ]
    alone = tmp_path / "alone.csv"
    alone.write_text("\n".join(",".join(row) for row in rows) + "\n")
    (one,) = model.predict(alone)
    among = {p.path: p for p in model.predict(path)}[f"{path}#3"]
    assert one.probabilities == pytest.approx(among.probabilities, abs=1e-5)
    # And scores are of all series, as they would be answered.
    scores = scoring.evaluate(model, path, DataConfig())
    assert scores is not None and scores.items == 40
    truths = dict(row[::4] for row in csv.reader(path.read_text().splitlines()))
    right = [truths[p.path.rsplit("#")[1]] == p.label for p in model.predict(path)]
    assert scores["accuracy"].value == pytest.approx(np.mean(right))


@pytest.mark.parametrize("write", [wide_table, tagged_table])
def test_a_policy_is_kept_in_scores_of_rows_and_of_steps(
    write: Callable[[Path, int], Path], tmp_path: Path
) -> None:
    path = write(tmp_path / "holes.csv", 20)
    lines = [line.split(",") for line in path.read_text().splitlines()]
    for cells in lines[1::4]:
        cells[2] = ""
    path.write_text("\n".join(map(",".join, lines)) + "\n")
    run = trained(path, tmp_path / "run", net="lstm(4)", epochs=1, missing="mask")
    scores = scoring.evaluate(Model.load(run.model_file), path, DataConfig())
    answers = run.model.predict(path)
    assert scores is not None
    assert scores.items == sum(1 if p.tags is None else len(p.tags) for p in answers)


def test_a_model_that_knew_no_missing_numbers_refuses_them(tmp_path: Path) -> None:
    run = trained(long_table(tmp_path / "a.csv", 20), tmp_path / "run", epochs=1)
    new = tmp_path / "new.csv"
    new.write_text("t,x,y\n1,0.5,1\n2,,1\n3,0.1,1\n")
    with pytest.raises(SourceError, match="step 2 has no number in column x"):
        run.model.predict(new)


def test_series_longer_than_the_window_are_read_whole(tmp_path: Path) -> None:
    path = tagged_table(tmp_path / "states.csv", 30)
    run = trained(path, tmp_path / "run", net="lstm(8)", epochs=2, window=8)
    assert run.scores is not None
    whole = sum(1 for _ in csv.DictReader(path.read_text().splitlines()))
    answers = run.model.predict(path)
    assert sum(len(p.tags or ()) for p in answers) == whole


def test_how_tables_are_written_is_remembered(tmp_path: Path) -> None:
    """1,234 may be a thousand and more: who said it once need not say it again."""
    path = long_table(tmp_path / "a.csv", 20)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    for row in rows[1:]:
        row[2] = f"{float(row[2]):.3f}".replace(".", ",")
    path.write_text("\n".join(";".join(row) for row in rows) + "\n", "latin-1")
    run = trained(path, tmp_path / "run", epochs=1, decimal="comma", encoding="latin-1")
    new = tmp_path / "new.csv"
    new.write_text(
        "größe;t;x;y\n" + "".join(f"é;{t};0,{500 + t};1\n" for t in range(30)), "latin-1"
    )
    (answer,) = Model.load(run.model_file).predict(new)
    assert answer.label in ("slow", "fast")
