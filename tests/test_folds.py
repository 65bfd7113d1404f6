"""Cross-validation: each fold is tested once, by a model that never saw it."""

from __future__ import annotations

import json
import shlex
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gridcell
from gridcell import folds, pipeline
from gridcell.cli import main
from gridcell.config import Config, from_mapping
from gridcell.errors import ConfigError, SplitError
from gridcell.folds import CrossRun
from tests.recordings import SETTINGS, SOUND_NET, Listening, speakers

TOLD: dict[str, Any] = {
    "target": ("pitch",),
    "net": SOUND_NET,
    "epochs": 4,
    "rate": 0.02,
    "augment": False,
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six speakers with four tones each, two speakers a fold."""
    return speakers(tmp_path / "data")


def settings(table: Path, out: Path | None, **more: Any) -> Config:
    return from_mapping(table, SETTINGS | TOLD | {"folds": "fold"} | more, out=out)


def crossed(table: Path, out: Path, teller: Any = None, **more: Any) -> CrossRun:
    return folds.cross_validate(settings(table, out, **more), teller)


def record(folder: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads((folder / "run.json").read_text(), parse_constant=refuse)


def test_the_command_leaves_a_run_a_fold_and_the_scores_over_all(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["train", table, "--target", "pitch", "--folds", "fold", "--net", SOUND_NET]
    words += ["--epochs", 8, "--rate", 0.02, "--precision", "float32", "--no-augment"]
    words += ["--schedule", "constant", "--ema", 0, "--out", out]
    assert main([*map(str, words), "--json"]) == 0
    said = capsys.readouterr()
    names = ["fold-0", "fold-1", "fold-2"]
    assert sorted(path.name for path in out.iterdir()) == [*names, "run.json"]
    whole = record(out)
    assert json.loads(said.out) == whole
    assert whole["folds"] == ["0", "1", "2"] and whole["runs"] == names
    assert whole["settings"]["split"]["folds"] == "fold"
    assert whole["data"]["items"] == 24

    every = [record(out / name) for name in names]
    found = {score["name"]: score for score in whole["scores"]}
    assert set(found) == {score["name"] for score in every[0]["scores"]["scores"]}
    assert whole["main"] in found
    for name, score in found.items():
        single = [next(s for s in run["scores"]["scores"] if s["name"] == name) for run in every]
        values = [s["value"] for s in single]
        assert score["values"] == values
        if None not in values:
            assert score["mean"] == pytest.approx(sum(values) / 3)
            off = [(value - score["mean"]) ** 2 for value in values]
            assert score["deviation"] == pytest.approx((sum(off) / 2) ** 0.5)
        if all(s["baseline"] is not None for s in single):
            assert score["baseline"] == pytest.approx(np.mean([s["baseline"] for s in single]))
    assert found["accuracy"]["mean"] > 0.9
    for number, (name, run) in enumerate(zip(names, every, strict=True)):
        assert run["data"]["rows"]["test"] == run["scores"]["items"] == 8
        assert f"Fold {number + 1} of 3: fold {number} is the test part" in said.err
        answer = gridcell.load(out / name / "model.gridcell").predict(
            [table.parent / "p0_aaaa.wav"]
        )
        assert answer[0].label in ("low", "high")
    assert "Over 3 of 3 folds" in said.err


def test_each_fold_is_tested_by_a_model_that_never_saw_it(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    train_on = pipeline.train_on

    def watched(data: Any, parts: Any, *more: Any, **named: Any) -> Any:
        asked.append((data, parts))
        return train_on(data, parts, *more, **named)

    monkeypatch.setattr(pipeline, "train_on", watched)
    run = crossed(table, tmp_path / "run", epochs=1)
    assert run.names == ("0", "1", "2") and len(asked) == 3
    assert all(data is asked[0][0] for data, _ in asked)  # read and decoded once
    numbers = asked[0][0].samples.folds
    for number, (_, parts) in enumerate(asked):
        assert parts.rows("test").tolist() == np.flatnonzero(numbers == number).tolist()
        assert len(parts.rows("valid")) > 0
        assert number not in numbers[parts.rows("train")]
    preparations = [fold.model.preparation for fold in run.runs]
    assert preparations[0] != preparations[1] != preparations[2]


def test_a_fold_is_trained_as_a_split_of_the_same_rows_would_be(
    table: Path, tmp_path: Path
) -> None:
    run = crossed(table, tmp_path / "run", valid=0.0)
    heading, *lines = table.read_text().splitlines()
    rows = [line.rsplit(",", 1) for line in lines]
    text = [f"{front},{'test' if fold == '1' else 'train'}" for front, fold in rows]
    alone = table.with_name("alone.csv")
    alone.write_text("\n".join([heading.replace("fold", "split"), *text]) + "\n")
    config = from_mapping(alone, SETTINGS | TOLD | {"valid": 0.0}, out=tmp_path / "alone")
    wanted = pipeline.train(config)
    assert run.runs[1].scores == wanted.scores
    assert run.runs[1].model_file.read_bytes() == wanted.model_file.read_bytes()


def test_scores_over_folds_are_told(table: Path, tmp_path: Path) -> None:
    teller = Listening()
    run = crossed(table, tmp_path / "run", teller, valid=0.0)
    score = run["accuracy"]
    assert score.mean == pytest.approx(statistics.fmean(v for v in score.values if v is not None))
    line = next(line for line in folds.told(run) if line.startswith("accuracy: "))
    assert line in teller.text
    assert f"accuracy: {score.mean:.4f} ± {score.deviation:.4f}, trivial guess 0.5000 (" in line
    assert "gives 3 folds, each in turn the test part: 0, 1, 2." in teller.text


class Stopping(Listening):
    """Asks to stop once so many epochs are done, over all folds."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after, self.done = after, 0

    def epoch(self, _: Any) -> None:
        self.done += 1
        self.wants_stop = self.done >= self.after


def test_what_is_done_is_kept_when_it_is_interrupted(table: Path, tmp_path: Path) -> None:
    teller = Stopping(after=6)
    run = crossed(table, tmp_path / "run", teller)
    assert run.was_interrupted and run.names == ("0",) and len(run.runs) == 1
    whole = record(tmp_path / "run")
    assert whole["folds"] == ["0"] and whole["runs"] == ["fold-0"]
    first = record(tmp_path / "run" / "fold-0")
    assert first["training"]["history"]["ended"] != "interrupted"
    accuracy = next(s for s in whole["scores"] if s["name"] == "accuracy")
    assert accuracy["values"] == [accuracy["mean"]] and accuracy["deviation"] is None
    assert "Over 1 of 3 folds" in teller.text
    assert gridcell.load(tmp_path / "run" / "fold-0" / "model.gridcell")
    assert not (tmp_path / "run" / "fold-2").exists()


def test_interrupted_in_the_first_fold_there_are_no_scores(table: Path, tmp_path: Path) -> None:
    run = crossed(table, tmp_path / "run", Stopping(after=1))
    assert run.was_interrupted and run.names == () and run.scores == ()
    assert record(tmp_path / "run")["scores"] == []


def test_python_goes_on_with_folds_as_the_command_does(table: Path, tmp_path: Path) -> None:
    first = crossed(table, tmp_path / "run", Stopping(after=6))
    assert first.was_interrupted and first.names == ("0",)
    with pytest.raises(ConfigError, match="budget has no effect on a cross-validation"):
        gridcell.resume(tmp_path / "run", budget="+10m", quiet=True)
    found = gridcell.resume(tmp_path / "run", quiet=True)
    assert isinstance(found, CrossRun) and not found.was_interrupted
    assert found.names == ("0", "1", "2")


def test_commands_that_are_told_work_as_they_stand(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", table, "--target", "pitch", "--folds", "fold", "--net", SOUND_NET]
    words += ["--epochs", 1, "--precision", "float32", "--out", tmp_path / "my run"]
    assert main([*map(str, words)]) == 0
    said = capsys.readouterr().out
    assert "To train on" not in said
    told = [line.split("gridcell ", 1)[1] for line in said.splitlines() if "Next: " in line]
    words = [word.replace("FILES", str(table.parent)) for word in shlex.split(told[0])]
    assert len(told) == 3 and main(words) == 0


def test_the_command_says_that_it_was_interrupted(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cross_validate = folds.cross_validate

    def interrupted(config: Config, terminal: Any) -> CrossRun:
        terminal.signal = 2
        return cross_validate(config, Stopping(after=1))

    monkeypatch.setattr(folds, "cross_validate", interrupted)
    words = ["train", table, "--target", "pitch", "--folds", "fold", "--net", SOUND_NET]
    words += ["--epochs", 4, "--precision", "float32", "--out", tmp_path / "run"]
    assert main([*map(str, words)]) == 130


def test_each_speaker_in_turn_is_left_out(table: Path, tmp_path: Path) -> None:
    teller = Listening()
    run = crossed(table, tmp_path / "run", teller, folds="speaker", group="speaker", epochs=1)
    assert run.names == tuple(f"person {number}" for number in range(6))
    assert [fold.folder.name for fold in run.runs] == [f"fold-person-{n}" for n in range(6)]
    for fold in run.runs:
        found = record(fold.folder)
        assert found["data"]["rows"]["test"] == 4
        assert "0 of 6 groups shared between splits." in found["data"]["notes"]


def test_folds_whose_names_make_one_folder_name_lie_in_two(table: Path, tmp_path: Path) -> None:
    heading, *lines = table.read_text().splitlines()
    names = {"0": "a b", "1": "a-b", "2": "a/b"}
    rows = [line.rsplit(",", 1) for line in lines]
    table.write_text("\n".join([heading, *(f"{row},{names[fold]}" for row, fold in rows)]) + "\n")
    run = crossed(table, tmp_path / "run", epochs=1)
    found = record(tmp_path / "run")
    assert found["folds"] == sorted(names.values())
    assert found["runs"] == ["fold-a-b", "fold-a-b-2", "fold-a-b-3"]
    assert all(fold.model_file.exists() for fold in run.runs)


def test_one_fold_is_refused_before_anything_is_written(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heading, *lines = table.read_text().splitlines()
    rows = [line.rsplit(",", 1)[0] for line in lines]
    table.write_text("\n".join([heading, *(f"{row},all" for row in rows)]) + "\n")
    with pytest.raises(SplitError, match="column fold holds one fold only, all"):
        crossed(table, tmp_path / "run")
    words = ["train", table, "--target", "pitch", "--folds", "fold", "--out", tmp_path / "run"]
    assert main([*map(str, words)]) == 2
    assert "Fix: name a column with two values or more." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_column_that_is_not_there_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no column folt \(for folds\)\. Did you mean fold\?"):
        crossed(table, tmp_path / "run", folds="folt")


def test_folds_need_a_cross_validation_and_it_needs_folds(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"folds asks for one training a fold\."):
        pipeline.train(settings(table, tmp_path / "run"))
    with pytest.raises(ConfigError, match="no folds are named"):
        crossed(table, tmp_path / "run", folds=None)
    assert not (tmp_path / "run").exists()


def test_a_share_for_tests_beside_folds_is_refused(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        crossed(table, tmp_path / "run", test=0.3)
    assert str(caught.value) == (
        "test has no effect beside folds: each fold in turn is the test part.\n"
        "  Fix: leave --test out."
    )
    words = ["train", table, "--target", "pitch", "--folds", "fold", "--test", 0, "--out"]
    assert main([*map(str, words), str(tmp_path / "run")]) == 2
    assert "Fix: leave --test out." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_is_refused(table: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(ConfigError, match="already exists, and a run never overwrites anything"):
        crossed(table, tmp_path / "mine")


def test_inspecting_shows_the_first_fold(table: Path) -> None:
    inspected = pipeline.inspect(settings(table, None))
    found, parts = inspected.data, inspected.parts
    assert found.samples.folds is not None
    assert set(found.samples.folds[parts.rows("test")].tolist()) == {0}
    assert found.samples.fold_names == ("0", "1", "2")


def test_folders_have_no_folds(tmp_path: Path, table: Path) -> None:
    with pytest.raises(ConfigError, match="folds"):
        crossed(table.parent, tmp_path / "run", target=())


def test_python_has_a_call_of_its_own(table: Path, tmp_path: Path) -> None:
    more = {**SETTINGS, **TOLD, "epochs": 1}
    found = gridcell.cross_validate(table, folds="fold", out=tmp_path / "run", quiet=True, **more)
    assert found.names == ("0", "1", "2") and len(found.runs) == 3
    with pytest.raises(ConfigError, match="one training a fold"):
        gridcell.train(table, folds="fold", out=tmp_path / "other", quiet=True, **more)
