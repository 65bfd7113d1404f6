"""Scores of a model on labelled data that come later."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gridcell
from gridcell import evaluation, reading, scoring
from gridcell.config import DataConfig
from gridcell.errors import SourceError
from gridcell.record import Run
from gridcell.samples import SPANS, UNASSIGNED, Samples, SoundFacts
from gridcell.teller import Silent
from tests.pictures import (
    BLUE,
    RED,
    colours,
    cut,
    idx_files,
    own_splits,
    paint,
    shades,
    table,
    tags,
    trained,
)
from tests.recordings import Listening
from tests.test_answer_stream import model as listener


@pytest.mark.parametrize(
    ("task", "part", "one", "several"),
    [
        ("classify", "test ", "test row", "test rows"),
        ("regress", "", "row", "rows"),
        ("forecast", "test ", "test window", "test windows"),
        ("tags", "valid ", "step of the valid rows", "steps of the valid rows"),
    ],
)
def test_what_was_scored_agrees_with_its_count(
    task: str, part: str, one: str, several: str
) -> None:
    def called(items: int) -> str:
        return scoring.called(evaluation.Scores(task, items, "accuracy", ()), task, part)

    assert (called(1), called(2), called(0)) == (one, several, several)


def test_columns_may_stand_in_another_order_where_a_model_is_scored(tmp_path: Path) -> None:
    path = tags(tmp_path / "tags")
    run = trained(path, tmp_path / "run", target=("red", "light"), epochs=4)
    one = scoring.evaluate(run.model, path, DataConfig(target=("red", "light")))
    other = scoring.evaluate(run.model, path, DataConfig(target=("light", "red")))
    assert one is not None and one == other
    with pytest.raises(SourceError, match="lacks the column 'light' that the model answers"):
        scoring.evaluate(run.model, path, DataConfig(target=("red",)))


def test_the_columns_that_were_learned_are_scored_whatever_stands_beside_them(
    tmp_path: Path,
) -> None:
    path = tags(tmp_path / "tags")
    run = trained(path, tmp_path / "run", epochs=1, target=["red"], task="classify")
    found = scoring.evaluate(gridcell.load(run.model_file), path, DataConfig())
    assert found is not None and found.items == 80
    path.write_text(path.read_text().replace("red,", "crimson,", 1))
    with pytest.raises(SourceError, match=r"has no column red, which .*\n.*--target"):
        scoring.evaluate(run.model, path, DataConfig())
    named = scoring.evaluate(run.model, path, DataConfig(target=("crimson",)))
    assert named is not None and named["accuracy"].value == found["accuracy"].value


def test_other_data_are_scored_beside_the_same_baselines(tmp_path: Path) -> None:
    run = trained(own_splits(tmp_path / "data"), tmp_path / "run")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "data" / "test", elsewhere)
    model = gridcell.load(run.model_file)
    found = scoring.evaluate(model, elsewhere, DataConfig())
    assert found is not None and run.scores is not None
    assert found.items == 16
    for score in run.scores.scores:
        assert found[score.name].baseline == pytest.approx(score.baseline), score.name
        assert found[score.name].value == pytest.approx(score.value), score.name


@pytest.mark.parametrize(
    ("part", "items"), [("auto", 16), ("test", 16), ("train", 32), ("all", 48)]
)
def test_the_data_s_own_parts_may_be_named(tmp_path: Path, part: Any, items: int) -> None:
    run = trained(own_splits(tmp_path / "data"), tmp_path / "run", epochs=1)
    found = scoring.evaluate(run.model, tmp_path / "data", DataConfig(), part=part)
    assert found is not None and found.items == items


def test_a_part_that_the_data_has_not_is_refused(toy: Path, tmp_path: Path) -> None:
    run = trained(toy, tmp_path / "run", epochs=1)
    with pytest.raises(SourceError) as caught:
        scoring.evaluate(run.model, toy, DataConfig(), part="test")
    assert "the data names no test rows." in str(caught.value)
    assert "Fix: pass --part all." in str(caught.value)


def test_items_of_a_class_that_the_model_does_not_know_are_left_out_and_counted(
    toy: Path, tmp_path: Path
) -> None:
    run = trained(toy, tmp_path / "run")
    known = scoring.evaluate(run.model, colours(tmp_path / "other", 3), DataConfig())
    path = colours(tmp_path / "other", 3, green=2, amber=4)
    found = scoring.evaluate(run.model, path, DataConfig())
    assert known is not None and found is not None
    assert found == dataclasses.replace(known, unknown=found.unknown)
    assert found.unknown == evaluation.Unknown(6, {"amber": 4, "green": 2}, "accuracy", 0.5)
    assert evaluation.Scores.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_only_the_rows_that_are_scored_count_as_unknown(tmp_path: Path) -> None:
    run = trained(own_splits(tmp_path / "data"), tmp_path / "run", epochs=1)
    paint(tmp_path / "data" / "train" / "green" / "a.png", (60, 200, 60))
    found = scoring.evaluate(run.model, tmp_path / "data", DataConfig())
    assert found is not None and found.items == 16 and found.unknown is None
    found = scoring.evaluate(run.model, tmp_path / "data", DataConfig(), part="all")
    assert found is not None and found.items == 48
    assert found.unknown is not None and found.unknown.labels == {"green": 1}


def test_data_of_which_the_model_knows_no_label_are_refused(toy: Path, tmp_path: Path) -> None:
    run = trained(toy, tmp_path / "run", epochs=1)
    path = colours(tmp_path / "other", 0, green=2, amber=2)
    with pytest.raises(SourceError) as caught:
        scoring.evaluate(run.model, path, DataConfig())
    text = str(caught.value)
    assert "the model knows no label of the data: they hold amber, green, the model" in text
    assert "the model knows blue, red." in text


def test_classes_are_matched_by_name_and_not_by_place(tmp_path: Path) -> None:
    run = trained(colours(tmp_path / "data", 20, green=20), tmp_path / "run", epochs=8)
    assert run.model.labels == ("blue", "green", "red")
    found = scoring.evaluate(run.model, colours(tmp_path / "two", 6, seed=77), DataConfig())
    assert found is not None
    assert found["accuracy"].value == 1.0
    assert found.confusion == [[6, 0, 0], [0, 0, 0], [0, 0, 6]]


def test_one_item_of_one_class_can_be_scored(toy: Path, tmp_path: Path) -> None:
    run = trained(toy, tmp_path / "run")
    paint(tmp_path / "one" / "red" / "new.png", RED, seed=99)
    found = scoring.evaluate(run.model, tmp_path / "one", DataConfig())
    assert found is not None and found["accuracy"].value == 1.0
    assert found.confusion == [[0, 0], [0, 1]]
    with pytest.raises(SourceError, match="holds 1 image, but no class folders"):
        scoring.evaluate(run.model, tmp_path / "one" / "red", DataConfig())
    paint(tmp_path / "one" / "blue" / "cut.png", BLUE)
    cut(tmp_path / "one" / "blue" / "cut.png")
    teller = Listening()
    skipping = DataConfig(on_bad_file="skip")
    found = scoring.evaluate(run.model, tmp_path / "one", skipping, teller=teller)
    assert found is not None and found.items == 1
    assert "Left out, none of its files can be decoded: blue." in teller.text


def test_a_test_split_alone_can_be_scored(toy: Path, tmp_path: Path) -> None:
    run = trained(toy, tmp_path / "run")
    colours(tmp_path / "new" / "test", 3, seed=7)
    found = scoring.evaluate(run.model, tmp_path / "new", DataConfig())
    assert found is not None and found.items == 6
    with pytest.raises(SourceError, match="the data names no train rows"):
        scoring.evaluate(run.model, tmp_path / "new", DataConfig(), part="train")


def test_idx_files_of_test_rows_alone_can_be_scored(tmp_path: Path) -> None:
    run = trained(idx_files(tmp_path / "digits"), tmp_path / "run")
    for file in (tmp_path / "digits").glob("train-*"):
        file.unlink()
    found = scoring.evaluate(run.model, tmp_path / "digits", DataConfig())
    assert found == run.scores


def test_one_row_of_a_table_can_be_scored(tmp_path: Path) -> None:
    path = shades(tmp_path / "shades")
    run = trained(path, tmp_path / "run", epochs=1)
    one = path.with_name("one.csv")
    one.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    found = scoring.evaluate(run.model, one, DataConfig())
    assert found is not None and found.items == 1
    assert found["MAE"].value is not None and found["R2"].value is None


def words(folder: Path, cells: Iterable[str], *, name: str, seed: int = 0) -> Path:
    """A table whose cells name the labels of a picture, separated by semicolons."""
    rows = []
    for number, cell in enumerate(cells):
        on = [200 if label in cell.split(";") else 40 for label in ("r", "g", "b")]
        file = paint(folder / f"{name}{number:x}g.png", on, seed=seed + number)
        rows.append(f"{file.name},{cell}")
    path = table(folder, "file,labels", rows)
    return path.rename(folder / f"{name}.csv")


def test_a_label_that_no_cell_names_counts_as_absent(tmp_path: Path) -> None:
    path = words(tmp_path / "data", ["r;g", "g;b", "b", "r", "r;b", "g"] * 12, name="all")
    run = trained(path, tmp_path / "run", task="labels", epochs=12)
    assert run.model.labels == ("b", "g", "r")
    some = words(tmp_path / "data", ["r;g", "g", "r", "g;r"], name="some", seed=500)
    data = reading.read(some, DataConfig(task="labels"), teller=Silent())
    targets = scoring._with_labels_of(run.model, data.samples).targets
    assert targets.tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 1], [0, 1, 1]]
    assert targets.dtype == np.float32
    found = scoring.evaluate(run.model, some, DataConfig())
    assert found is not None and found.items == 4
    assert [row.items for row in found.per_class] == [0, 3, 3]
    more = words(tmp_path / "data", ["r;g", "x", "g;x", "r"], name="more", seed=900)
    found = scoring.evaluate(run.model, more, DataConfig())
    assert found is not None and found.items == 4
    assert [row.items for row in found.per_class] == [0, 2, 2]  # of what it knows
    assert found.unknown is not None and found.unknown.labels == {"x": 2}
    exact = found["exact match"].value
    assert exact is not None and (found.unknown.value or 0) <= exact
    none = words(tmp_path / "data", ["x", "y", "x;y"], name="none", seed=990)
    with pytest.raises(SourceError, match="they hold x, y, the model knows b, g, r"):
        scoring.evaluate(run.model, none, DataConfig())


def test_labels_that_come_and_go_are_matched_by_name() -> None:
    model = listener("flatten lstm(2)", task="events")
    assert model.labels == ("a", "b")
    samples = Samples(
        task="events",
        paths=("1.wav", "2.wav"),
        root="",
        labels=("b", "c"),
        targets=np.array([[1, 1], [0, 1]], np.float32),
        digests=np.zeros(2, "V16"),
        facts=SoundFacts(np.ones(2), np.full(2, 8000, np.int32), np.ones(2, np.int16)),
        given=np.full(2, UNASSIGNED, np.int8),
        events=np.array([(0, 0.0, 0.1, 1), (0, 0.2, 0.4, 0), (1, 0.3, 0.5, 1)], SPANS),
    )
    found = scoring._with_labels_of(model, samples)
    assert found.labels == ("a", "b", "c")
    assert found.targets.tolist() == [[0, 1, 1], [0, 0, 1]]
    assert found.events is not None and samples.events is not None
    assert [found.labels[number] for number in found.events["label"]] == ["c", "b", "c"]
    assert [samples.labels[number] for number in samples.events["label"]] == ["c", "b", "c"]
    for name in ("row", "start", "end"):
        assert (found.events[name] == samples.events[name]).all()


def test_an_item_may_have_none_of_several_labels(tmp_path: Path) -> None:
    path = words(tmp_path / "data", ["r;g", "", "b", "r", "", "g"] * 12, name="all")
    run = trained(path, tmp_path / "run", task="labels", epochs=12)
    assert run.scores is not None and run.scores["exact match"].value == 1.0
    dark = paint(tmp_path / "new.png", (40, 40, 40), seed=7)
    assert run.model.predict(dark)[0].labels == ()
    none = words(tmp_path / "data", ["", ""], name="none", seed=500)
    found = scoring.evaluate(run.model, none, DataConfig())
    assert found is not None and found.items == 2
    assert found["exact match"].value == 1.0 and found["average precision"].value is None


SEEN = "warning: These are the data that the model was trained on (and chosen by): the scores say"


def heard(run: Run, path: Path, *, part: Any = "auto", **settings: Any) -> str:
    """What is said when the model of a run is scored, by its file as a user has it."""
    teller = Listening()
    model = gridcell.load(run.model_file)
    assert scoring.evaluate(model, path, DataConfig(**settings), part=part, teller=teller)
    return teller.text


def test_scores_on_the_data_of_training_come_with_a_warning(toy: Path, tmp_path: Path) -> None:
    run = trained(toy, tmp_path / "run", epochs=1)
    assert SEEN in heard(run, toy)
    assert "its own test scores are in run.json." in heard(run, toy)
    shutil.copytree(toy, tmp_path / "copy")
    assert SEEN in heard(run, tmp_path / "copy")
    assert SEEN not in heard(run, colours(tmp_path / "other", 3, seed=7))
    (tmp_path / "moved").mkdir()
    toy.rename(tmp_path / "moved" / "test")  # a name of later makes them no test rows
    assert SEEN in heard(run, tmp_path / "moved")
    paint(tmp_path / "copy" / "red" / "new.png", RED, seed=99)
    assert SEEN not in heard(run, tmp_path / "copy")


@pytest.mark.parametrize(
    ("part", "is_warned"),
    [("auto", False), ("test", False), ("train", True), ("all", True)],
)
def test_the_data_s_own_test_rows_come_without_a_warning(
    tmp_path: Path, part: Any, is_warned: bool
) -> None:
    run = trained(own_splits(tmp_path / "data"), tmp_path / "run", epochs=1)
    assert (SEEN in heard(run, tmp_path / "data", part=part)) == is_warned


def test_tables_and_idx_files_of_training_are_known_again(tmp_path: Path) -> None:
    path = tags(tmp_path / "tags")
    run = trained(path, tmp_path / "run1", target=("red", "light"), epochs=1)
    assert SEEN in heard(run, path, target=("light", "red"))
    run = trained(shades(tmp_path / "shades"), tmp_path / "run2", epochs=1)
    assert SEEN in heard(run, tmp_path / "shades" / "table.csv")
    path = words(tmp_path / "words", ["r;g", "g;b", "b", "r"] * 10, name="all")
    run = trained(path, tmp_path / "run3", task="labels", epochs=1)
    assert SEEN in heard(run, path)
    run = trained(idx_files(tmp_path / "digits"), tmp_path / "run4", epochs=1)
    assert SEEN in heard(run, tmp_path / "digits", part="all")
    assert SEEN not in heard(run, tmp_path / "digits")


def test_evaluation_prepares_as_the_model_does_whatever_the_size(tmp_path: Path) -> None:
    run = trained(colours(tmp_path / "data"), tmp_path / "run")
    for file in colours(tmp_path / "large", 4, seed=9).rglob("*.png"):
        Image.open(file).resize((40, 24)).save(file)
    found = scoring.evaluate(run.model, tmp_path / "large", DataConfig())
    assert found is not None and found["accuracy"].value == 1.0
