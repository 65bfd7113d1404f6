"""The main path from end to end: data on disk to a model, its scores and the record of both."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import gridcell
from gridcell import evaluation, pipeline, reading, scoring
from gridcell.batches import Batch, Images
from gridcell.config import Config, DataConfig, from_mapping
from gridcell.errors import ConfigError, NetworkError, TrainingError
from gridcell.record import Run
from gridcell.samples import SPLIT_NAMES
from gridcell.teller import Silent
from tests.pictures import (
    BLUE,
    RED,
    SETTINGS,
    SIDE,
    colours,
    idx_files,
    own_splits,
    paint,
    shades,
    strict_json,
    table,
    tags,
    trained,
)
from tests.recordings import Listening

# --- From end to end -----------------------------------------------------------------------------


def test_two_colours_are_told_apart(toy: Path, tmp_path: Path) -> None:
    run = trained(toy, tmp_path / "run")
    assert run.scores is not None
    assert run.scores["accuracy"].value == 1.0
    assert run.scores["accuracy"].baseline is not None
    assert run.scores["accuracy"].baseline < 0.7
    assert run.model.labels == ("blue", "red")
    assert str(run).startswith(f"Run in {tmp_path / 'run'}\n")
    assert "kept: epoch" in str(run) and str(run).endswith(str(run.scores))
    assert run.model_file == tmp_path / "run" / "model.gridcell"
    model = gridcell.load(run.model_file)
    new = [paint(tmp_path / "new.png", RED, seed=99), paint(tmp_path / "old.png", BLUE, seed=98)]
    assert [p.label for p in model.predict(list(new))] == ["red", "blue"]
    rows = np.arange(50)
    data = reading.read(toy, DataConfig(), teller=Silent(), chosen=model.preparation)
    assert (model.answers(data.decoded, rows) == run.model.answers(data.decoded, rows)).all()


def test_images_read_row_by_row_train_an_lstm(toy: Path, tmp_path: Path) -> None:  # S15 S23 S35
    net = "rows lstm(8, both, dropout=0.2, layers=2)"
    run = trained(toy, tmp_path / "run", net=net, epochs=12)
    assert run.scores is not None and run.scores["accuracy"].value == 1.0
    again = gridcell.load(run.model_file)
    assert again.network.notation == (
        "rows flatten lstm(8, both, dropout=0.2, layers=2) last dense(2)"
    )
    [answer] = again.predict(toy / "red" / "aaaa.png")
    assert answer.label == "red"


def test_an_lstm_trained_twice_gives_the_same_file(toy: Path, tmp_path: Path) -> None:
    net = "rows lstm(8, recurrent_dropout=0.2, zoneout=0.1)"
    for name in ("one", "two"):
        trained(toy, tmp_path / name, net=net, epochs=2)
    one, two = ((tmp_path / name / "model.gridcell").read_bytes() for name in ("one", "two"))
    assert one == two


def test_python_does_what_the_command_does(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = gridcell.train(str(toy), out=tmp_path / "run", quiet=True, **SETTINGS)
    assert capsys.readouterr().out == ""
    again = trained(toy, tmp_path / "again")
    assert run.model_file.read_bytes() == again.model_file.read_bytes()
    with pytest.raises(ConfigError, match=r"epoch is not a setting\. Did you mean epochs\?"):
        gridcell.train(toy, epoch=3, quiet=True)


def test_numbers_of_a_table_are_learned(tmp_path: Path) -> None:
    run = trained(shades(tmp_path / "shades"), tmp_path / "run", epochs=15)
    assert run.model.task == "regress" and run.model.labels == ("weight",)
    assert run.scores is not None
    r2, mae = run.scores["R2"].value, run.scores["MAE"]
    assert r2 is not None and r2 > 0.9
    assert mae.value is not None and mae.baseline is not None and mae.value < mae.baseline / 3
    dark = paint(tmp_path / "dark.png", (20, 20, 20), noise=5)
    values = run.model.predict(dark)[0].values
    assert values is not None and 950 < values["weight"] < 1200
    again = scoring.evaluate(run.model, tmp_path / "shades" / "table.csv", DataConfig())
    assert again is not None and again["R2"].value is not None and again["R2"].value > 0.9


def test_several_labels_of_a_table_are_learned(tmp_path: Path) -> None:
    path = tags(tmp_path / "tags")
    run = trained(path, tmp_path / "run", target=("red", "light"), epochs=12)
    assert run.model.task == "labels" and run.model.labels == ("red", "light")
    assert run.scores is not None
    assert run.scores["average precision"].value == pytest.approx(1.0, abs=0.02)
    found = run.model.predict(paint(tmp_path / "new.png", (200, 220, 60), seed=77))[0]
    assert found.labels == ("red", "light") and found.label is None


def test_idx_files_are_learned_from_with_their_own_split(tmp_path: Path) -> None:
    run = trained(idx_files(tmp_path / "digits"), tmp_path / "run")
    assert run.scores is not None
    assert run.scores.items == 20
    assert run.scores["accuracy"].value == 1.0
    assert run.model.preparation.channels == 1
    assert strict_json(run.folder / "run.json")["data"]["rows"]["test"] == 20
    # A picture of a dark thing, as a file.
    Image.new("L", (6, 6), 30).save(tmp_path / "dark.png")
    assert run.model.predict(tmp_path / "dark.png")[0].label == "0"


def test_the_same_settings_and_seed_give_the_same_file(toy: Path, tmp_path: Path) -> None:
    net = "conv(8, 3) batchnorm relu maxpool(2) dropout(0.3)"
    runs = [
        trained(toy, tmp_path / f"run{number}", net=net, epochs=2, seed=seed, ema=0.5)
        for number, seed in enumerate((1, 1, 2))
    ]
    files = [run.model_file.read_bytes() for run in runs]
    assert files[0] == files[1]
    assert files[0] != files[2]
    assert runs[0].scores == runs[1].scores


def test_without_test_or_validation_rows_it_trains_all_the_same(toy: Path, tmp_path: Path) -> None:
    run = trained(toy, tmp_path / "run", valid=0.0, test=0.0, epochs=2)
    assert run.scores is None
    assert run.history.best_epoch == 2
    found = strict_json(run.folder / "run.json")
    assert found["scores"] is None
    assert found["data"]["rows"] == {"train": 50, "valid": 0, "test": 0}


# --- What is written -----------------------------------------------------------------------------


def test_the_record_holds_what_a_reader_needs(toy: Path, tmp_path: Path) -> None:
    run = trained(toy, tmp_path / "run", epochs=3)
    older, *rest = sorted(path.name for path in run.folder.iterdir())
    assert older.startswith("checkpoint-")
    assert rest == ["checkpoint-00000009.gridcell", "model.gridcell", "run.json"]
    found = strict_json(run.folder / "run.json")
    assert found["gridcell"] == gridcell.__version__
    assert set(found["versions"]) >= {"gridcell", "python", "torch", "numpy", "pillow"}
    assert found["written"].endswith("+00:00")
    assert found["machine"]["system"] and found["machine"]["processor"]
    assert found["settings"]["path"] == str(toy)
    assert found["settings"]["train"]["epochs"] == 3
    assert found["settings"]["train"]["seed"] == 0
    data = found["data"]
    assert (data["kind"], data["task"], data["labels"], data["items"]) == (
        "images",
        "classify",
        ["blue", "red"],
        50,
    )
    assert sum(data["rows"].values()) == 50
    assert len(data["digest"]) == 64
    assert any("Split at random" in note for note in data["notes"])
    assert found["preparation"]["height"] == SIDE and len(found["preparation"]["mean"]) == 3
    assert found["network"]["notation"].startswith("conv(8, 3) relu maxpool(2)")
    assert found["network"]["parameters"] == run.model.network.parameters_count
    training = found["training"]
    assert training["plan"]["epochs"] == 3 and training["precision"] == "float32"
    assert [epoch["epoch"] for epoch in training["history"]["epochs"]] == [1, 2, 3]
    assert training["history"]["best_epoch"] == run.history.best_epoch
    assert any(note.startswith("Network: ") for note in training["notes"])
    assert run.scores is not None
    assert evaluation.Scores.from_json(found["scores"]) == run.scores
    assert found["seconds"] > 0


def test_the_worst_items_are_named_by_their_files(tmp_path: Path) -> None:
    toy = colours(tmp_path / "toy")
    wrong = paint(toy / "red" / "zzzz.png", BLUE, seed=9)  # a blue picture that is called red
    for seed in range(10):
        run = trained(toy, tmp_path / f"run{seed}", seed=seed)
        record = strict_json(tmp_path / f"run{seed}" / "run.json")
        assert run.scores is not None
        assert len(record["worst_files"]) == len(run.scores.worst)
        if run.scores.worst:
            break
    [worst] = record["scores"]["worst"]
    assert record["worst_files"] == [f"red/{wrong.name}"]
    assert (worst["truth"], worst["predicted"]) == ("red", "blue")


def test_the_digest_tells_whether_data_are_the_same(toy: Path, tmp_path: Path) -> None:
    def digest(path: Path) -> str:
        data = reading.read(path, DataConfig(), teller=Silent())
        return gridcell.record.data_digest(data.samples)  # type: ignore[attr-defined, no-any-return]

    first = digest(toy)
    copy = tmp_path / "elsewhere"
    shutil.copytree(toy, copy)
    assert digest(copy) == first
    file = next((copy / "red").iterdir())
    file.rename(copy / "blue" / "moved.png")
    assert digest(copy) != first


def test_runs_are_never_overwritten(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = []
    for _ in range(3):
        run = pipeline.train(from_mapping(toy, SETTINGS | {"epochs": 1}))
        folders.append(run.folder.as_posix())
    assert folders == ["runs/toy", "runs/toy-2", "runs/toy-3"]
    assert all((tmp_path / folder / "run.json").exists() for folder in folders)


@pytest.mark.parametrize(
    ("name", "expected"), [("photos.v2", "photos.v2"), ("my photos (1)", "my-photos-1")]
)
def test_a_run_is_named_after_its_data(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    toy.rename(tmp_path / name)
    run = pipeline.train(from_mapping(Path(name), SETTINGS | {"epochs": 1}))
    assert run.folder == Path("runs") / expected


@pytest.mark.parametrize("has_out", [False, True])
def test_two_runs_at_once_do_not_overwrite_each_other(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_out: bool
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    out = Path("toy") if has_out else None
    config = from_mapping(toy, SETTINGS | {"epochs": 1}, out=out)
    inner: list[Run | str] = []

    class Impatient(Silent):
        """Starts another run while this one trains."""

        def epoch(self, record: Any) -> None:
            try:
                inner.append(pipeline.train(config))
            except ConfigError as error:
                inner.append(str(error))

    run = pipeline.train(config, Impatient())
    other = inner[0]
    if has_out:
        # Both wanted this very folder: the second is told so, not given another one.
        assert isinstance(other, str) and "out: toy already exists" in other
    else:
        assert isinstance(other, Run) and other.model_file.exists()
        assert {run.folder.name, other.folder.name} == {"toy", "toy-2"}
    assert run.model_file.exists()


def test_a_folder_that_holds_something_is_refused_before_any_work(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.gridcell").write_text("precious")

    def must_not(*_: Any, **__: Any) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr(pipeline, "read", must_not)
    with pytest.raises(ConfigError) as caught:
        trained(toy, tmp_path / "mine")
    assert "already exists, and a run never overwrites anything." in str(caught.value)
    assert (tmp_path / "mine" / "model.gridcell").read_text() == "precious"


def test_an_empty_folder_may_be_used(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert trained(toy, tmp_path / "mine", epochs=1).model_file.exists()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"net": "relux"}, NetworkError),
        ({"net": "conv(8, 20, padding=valid)"}, NetworkError),
        ({"rate": 1e6, "optimizer": "sgd", "batch_size": 1}, TrainingError),
        ({"group": "patient"}, ConfigError),
        ({"optimizer": "muon", "net": "flatten dense(4) relu"}, ConfigError),
    ],
)
def test_what_fails_leaves_nothing(
    toy: Path, tmp_path: Path, settings: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        trained(toy, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_training_that_diverges_later_leaves_what_was_best(toy: Path, tmp_path: Path) -> None:
    settings = {"rate": 1e3, "optimizer": "sgd", "schedule": "one-cycle", "epochs": 8}
    with pytest.raises(TrainingError) as caught:
        trained(toy, tmp_path / "run", **settings)
    text = str(caught.value)
    assert "the loss became" in text and "gradient norm" in text
    if "Kept:" in text:
        assert f"Kept: {tmp_path / 'run' / 'model.gridcell'} from epoch " in text
        found = gridcell.load(tmp_path / "run" / "model.gridcell").predict(toy / "red")
        assert all(p.probability is not None and p.probability <= 1 for p in found)
        strict_json(tmp_path / "run" / "run.json")


def test_a_stop_request_leaves_a_usable_model(toy: Path, tmp_path: Path) -> None:
    class Stopping(Silent):
        def step(self, record: Any) -> None:
            self.wants_stop = record.epoch == 2

    run = trained(toy, tmp_path / "run", Stopping(), epochs=1000)
    assert run.history.ended == "interrupted"
    assert len(run.history.epochs) == 2
    assert gridcell.load(run.model_file).predict(toy / "red")[0].label in ("blue", "red")
    assert strict_json(run.folder / "run.json")["training"]["history"]["ended"] == "interrupted"


# --- Nothing leaks -------------------------------------------------------------------------------


def test_statistics_come_from_training_rows_only(tmp_path: Path) -> None:
    plain = trained(own_splits(tmp_path / "a"), tmp_path / "run1", epochs=1)
    bright = own_splits(tmp_path / "b", test_colour_shift=50)
    other = trained(bright, tmp_path / "run2", epochs=1)
    assert plain.model.preparation == other.model.preparation
    assert plain.model.description.answers == other.model.description.answers
    state = plain.model.network.state_dict()
    for name, value in other.model.network.state_dict().items():
        assert torch.equal(value, state[name]), name
    inspected = pipeline.inspect(from_mapping(tmp_path / "a", {}))
    data, parts = inspected.data, inspected.parts
    train = data.decoded.values[parts.rows("train")].astype(np.float64)
    np.testing.assert_allclose(plain.model.preparation.mean, train.mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(plain.model.preparation.deviation, train.std((0, 1, 2)), rtol=1e-9)


def test_test_rows_are_read_once_and_last(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = pipeline.inspect(from_mapping(toy, SETTINGS)).parts
    test, read, scored = set(parts.rows("test").tolist()), [], []
    batch, score = Images.batch, evaluation.score

    def watched(self: Images, places: Any, *more: Any) -> Batch:
        read.append(set(self.rows[places].tolist()))
        return batch(self, places, *more)

    def counted(*arguments: Any, **named: Any) -> Any:
        scored.append(len(arguments[1]))
        return score(*arguments, **named)

    monkeypatch.setattr(Images, "batch", watched)
    monkeypatch.setattr(evaluation, "score", counted)
    trained(toy, tmp_path / "run", epochs=3)
    touched = [rows & test for rows in read]
    assert [rows for rows in touched if rows] == [test]
    assert touched[-1] == test
    assert scored == [len(test)]


def test_no_group_stands_on_two_sides(tmp_path: Path) -> None:
    rows = []
    for person in range(12):
        for shot in range(4):
            name, colour = ("blue", BLUE) if person % 2 else ("red", RED)
            paint(tmp_path / "data" / f"p{person}_{shot}.png", colour, seed=10 * person + shot)
            rows.append(f"p{person}_{shot}.png,{name},person {person}")
    path = table(tmp_path / "data", "file,colour,patient", rows)
    for seed in range(5):
        config = from_mapping(path, {"group": "patient", "seed": seed})
        inspected = pipeline.inspect(config)
        data, parts = inspected.data, inspected.parts
        assert data.samples.groups is not None
        sides = {name: set(data.samples.groups[parts.rows(name)]) for name in SPLIT_NAMES}
        assert all(sides.values())
        assert sum(map(len, sides.values())) == 12
        assert len(set.union(*sides.values())) == 12
    teller = Listening()
    run = trained(path, tmp_path / "run", teller, group="patient", epochs=1)
    assert "0 of 12 groups shared between splits." in teller.text
    notes = strict_json(run.folder / "run.json")["data"]["notes"]
    assert "0 of 12 groups shared between splits." in notes


def test_a_class_with_one_image_stays_in_training_and_is_named(tmp_path: Path) -> None:
    path = colours(tmp_path / "data", 20, green=1)
    teller = Listening()
    run = trained(path, tmp_path / "run", teller, epochs=2)
    assert "green: 1 item, not evaluated." in teller.text
    assert run.model.labels == ("blue", "green", "red")
    assert run.scores is not None
    green = next(row for row in run.scores.per_class if row.label == "green")
    assert green.items == 0 and green.recall is None
    assert run.history.score_name == "balanced accuracy"
    strict_json(run.folder / "run.json")


# --- What is told --------------------------------------------------------------------------------


def test_copies_in_another_format_stand_on_one_side_and_are_told(toy: Path, tmp_path: Path) -> None:
    files = sorted(toy.rglob("*.png"))
    for number, file in enumerate(files[::2]):
        again = file.with_suffix(".bmp" if number else ".tiff")
        Image.open(file).save(again)
        if number == 1:
            again.rename(toy / "red" / "wrong.bmp")
    (toy / "red" / "cut.png").write_bytes(files[0].read_bytes()[:100])
    for _ in range(2):  # decoded, then found in the cache
        teller = Listening()
        inspected = pipeline.inspect(from_mapping(toy, {"on_bad_file": "skip"}), teller)
        data, parts = inspected.data, inspected.parts
        assert len(data.samples) == 75
        side: dict[bytes, set[int]] = {}
        for pixels, part in zip(data.decoded.values, parts.split.tolist(), strict=True):
            side.setdefault(pixels.tobytes(), set()).add(part)
        assert len(side) == 50 and all(len(stands) == 1 for stands in side.values())
        assert "50 items are copies of 25 files; copies stand on one side." in teller.text
        assert "24 files are copies of another one with the same answer" in teller.text
        assert "warning: 1 image stands under different answers (2 files)" in teller.text
        assert "red/wrong.bmp" in teller.text


def test_copies_that_the_own_splits_hold_twice_are_a_warning(tmp_path: Path) -> None:
    colours(tmp_path / "train")
    for kind in ("blue", "red"):
        (tmp_path / "test" / kind).mkdir(parents=True)
        for file in sorted((tmp_path / "train" / kind).iterdir())[:4]:
            Image.open(file).save(tmp_path / "test" / kind / f"{file.stem}x.bmp")
    teller = Listening()
    pipeline.inspect(from_mapping(tmp_path, {}), teller)
    assert "8 images stand on more than one side of the split" in teller.text
    assert "items are files that the data's own splits hold in more than one part" in teller.text


def test_blank_files_are_copies_by_their_bytes_alone(tmp_path: Path) -> None:
    """Else a class of black pictures of all sizes would stand on one side, and not be evaluated."""
    colours(tmp_path)
    (tmp_path / "black").mkdir()
    for number in range(20):
        Image.new("RGB", (9 + number, 9)).save(tmp_path / "black" / f"{number}.png")
    inspected = pipeline.inspect(from_mapping(tmp_path, {}))
    data, parts = inspected.data, inspected.parts
    black = data.samples.targets == data.samples.labels.index("black")
    assert {int(part) for part in parts.split[black]} == {0, 1, 2}
    assert not any("copies" in note or "not evaluated" in note for note in parts.notes)


def test_mostly_black_training_images_are_a_warning(tmp_path: Path) -> None:
    """Of many sizes, so that they are no copies; a few are told neutrally."""
    for number in range(24):
        file = tmp_path / ("dark", "darker")[number % 2] / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8 + number, 8)).save(file)
    teller = Listening()
    pipeline.inspect(from_mapping(tmp_path, {}), teller)
    assert (
        "warning: All 18 training items are of one colour throughout: nothing else of them can "
        "be learned."
    ) in teller.text
    for number in range(4):
        paint(tmp_path / "dark" / f"red{number}.png", (200, 0, 0), seed=number)
    teller = Listening()
    pipeline.inspect(from_mapping(tmp_path, {}), teller)
    assert re.search(r"warning: \d+ of the \d+ training items are of one colour", teller.text)


def test_silent_training_sounds_are_a_warning(tmp_path: Path) -> None:
    for number in range(24):
        file = tmp_path / ("hiss", "hum")[number % 2] / f"{number}.wav"
        file.parent.mkdir(exist_ok=True)
        soundfile.write(file, np.zeros(4000 + number), 8000)
    teller = Listening()
    pipeline.inspect(from_mapping(tmp_path, {}), teller)
    assert "warning: All 18 training items are silent" in teller.text


def test_a_budget_below_what_a_command_needs_is_said_once(toy: Path, tmp_path: Path) -> None:
    teller = Listening()
    began = time.perf_counter() - 100  # loading PyTorch took this long
    config = from_mapping(toy, SETTINGS | {"epochs": None, "budget": "2s"}, out=tmp_path / "run")
    pipeline.train(config, teller, started=began)
    told = "The budget of 2 s is less than the least that this command needs: 10"
    assert teller.text.count(told) == 1 and " s to start, read, score and write." in teller.text
    teller = Listening()
    config = from_mapping(toy, SETTINGS | {"epochs": None, "budget": "8s"}, out=tmp_path / "more")
    pipeline.train(config, teller)
    assert "less than the least" not in teller.text


def test_too_few_validation_rows_to_calibrate_by_are_said(toy: Path, tmp_path: Path) -> None:
    text = "Probabilities are not calibrated: that needs 20 validation rows or more."
    for valid, is_few in ((0.1, True), (0.0, True), (0.45, False)):
        teller = Listening()
        trained(toy, tmp_path / f"run{valid}", teller, epochs=1, valid=valid)
        assert (teller.text.count(text) == 1) == is_few
        assert ("Probabilities are calibrated on" in teller.text) == (not is_few)


def test_inspecting_trains_nothing(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    teller = Listening()
    inspected = pipeline.inspect(Config(toy), teller)
    data, parts = inspected.data, inspected.parts
    assert len(data.samples) == len(parts.split) == 50
    assert "50 images in 2 classes: blue, red." in teller.text
    assert not (tmp_path / "runs").exists()
