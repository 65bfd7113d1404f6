"""A model answers for files, folders and pictures in memory, and says what it cannot answer for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gridcell import model as model_module
from gridcell import reading
from gridcell.errors import ConfigError, GridcellError, SourceError
from gridcell.model import Model
from gridcell.prediction import Prediction
from gridcell.preparation.cache import Decoded
from tests.pictures import LABELS, SIDE, made, pictures, pixels


def test_a_model_that_is_printed_says_what_it_reads_and_answers() -> None:
    model = made()
    count = f"{len(model.labels)} labels"
    said = f"<gridcell model: kind='images', task='classify', {count}, '{model.network.notation}'>"
    assert repr(model) == said


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"date_fromat": "%Y"}, "predict has no setting date_fromat. Did you mean date_format?"),
        ({"epochs": 3}, "predict has no setting epochs."),
        ({"date_format": "soon"}, "date_format = 'soon' cannot be used"),
        ({"decimal": "dot"}, "decimal = 'dot' cannot be used"),
        ({"decimal": "comma"}, "decimal has no effect on images that are answered for."),
    ],
)
def test_predict_takes_how_tables_are_written_and_nothing_else(
    written: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        made().predict(["a.png"], **written)


@pytest.mark.parametrize("items", ["", ["a.png", ""]])
def test_an_empty_path_is_not_the_folder_one_stands_in(items: str | list[str]) -> None:
    with pytest.raises(ConfigError, match="an empty path names nothing"):
        made().predict(items)


# --- It predicts ---------------------------------------------------------------------------------


def test_an_answer_does_not_depend_on_its_batch_mates() -> None:
    model, data = made(), pixels(40)
    together = model.answers(Decoded.whole(data), np.arange(40))
    for row in (0, 17, 39):
        alone = model.answers(Decoded.whole(data), np.array([row]))
        np.testing.assert_allclose(alone[0], together[row], rtol=0, atol=1e-6)
    others = pixels(40, seed=5)
    others[17] = data[17]
    assert (model.answers(Decoded.whole(others), np.arange(40))[17] == together[17]).all()


def test_more_items_than_a_batch_are_answered_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, files = made(), pictures(tmp_path, 11)
    at_once = model.predict(list(files))
    monkeypatch.setattr(model_module, "PREDICT_BATCH", 4)
    asked: list[Path] = []

    def paths() -> Iterator[Path]:
        for file in files:
            asked.append(file)
            yield file

    stream = model.predict_files(paths())
    first = next(stream)
    assert len(asked) == 4  # answers come while paths still do
    found = [first, *stream]
    assert [p.path for p in found] == [str(file) for file in files]
    assert [p.label for p in found] == [p.label for p in at_once]
    for one, other in zip(found, at_once, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-6)


def test_files_give_the_answers_of_their_cached_pixels_to_the_bit(tmp_path: Path) -> None:
    """The same way from file to pixels in training and in prediction."""
    from gridcell.config import DataConfig
    from gridcell.teller import Silent

    for name, size in (("a", (20, 13)), ("b", (9, 30))):
        pictures(tmp_path / "data" / name, 6, size=size)
    model = made()
    for fit in ("stretch", "crop", "pad"):
        prep = replace(model.preparation, fit=fit)
        fitting = Model(model.network, replace(model.description, preparation=prep))
        data = reading.read(tmp_path / "data", DataConfig(), teller=Silent(), chosen=prep)
        cached = fitting.answers(data.decoded, np.arange(12))
        files = [Path(data.samples.root) / path for path in data.samples.paths]
        found = np.array([list(p.probabilities.values()) for p in fitting.predict(list(files))])
        assert (found == cached).all()


def test_a_model_of_grey_takes_colour_by_luminance(tmp_path: Path) -> None:
    values = pixels(1)[0]
    Image.fromarray(values).save(tmp_path / "colour.png")
    grey = np.round(values @ np.array([0.299, 0.587, 0.114]))
    Image.fromarray(grey.astype(np.uint8)).save(tmp_path / "grey.png")
    model = made(channels=1)
    colour, plain = model.predict([tmp_path / "colour.png", tmp_path / "grey.png"])
    for label, probability in plain.probabilities.items():
        assert colour.probabilities[label] == pytest.approx(probability, abs=0.01)
    # And exactly where the luminance is a whole number.
    Image.new("RGB", (SIDE, SIDE), (100, 100, 100)).save(tmp_path / "one.png")
    Image.new("L", (SIDE, SIDE), 100).save(tmp_path / "two.png")
    one, two = model.predict([tmp_path / "one.png", tmp_path / "two.png"])
    assert one.probabilities == two.probabilities


def test_a_model_of_colour_takes_grey_and_palettes(tmp_path: Path) -> None:
    Image.new("RGB", (SIDE, SIDE), (100, 100, 100)).save(tmp_path / "a.png")
    Image.new("L", (SIDE, SIDE), 100).save(tmp_path / "b.png")
    Image.new("RGBA", (SIDE, SIDE), (100, 100, 100, 255)).save(tmp_path / "c.png")
    Image.new("RGB", (SIDE, SIDE), (100, 100, 100)).convert("P").save(tmp_path / "d.gif")
    found = made().predict(tmp_path)
    assert len(found) == 4
    assert all(p.probabilities == found[0].probabilities for p in found[:3])


def test_a_folder_a_file_and_a_list_are_all_taken(tmp_path: Path) -> None:
    files = pictures(tmp_path / "inner", 3)
    (tmp_path / "inner" / "notes.txt").write_text("no image")
    model = made()
    assert [p.path for p in model.predict(tmp_path)] == [str(file) for file in files]
    assert model.predict(str(files[1]))[0].path == str(files[1])
    assert [p.path for p in model.predict([files[2], str(files[0])])] == [
        str(files[2]),
        str(files[0]),
    ]
    assert model.predict([]) == []


def test_a_folder_without_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no image"):
        made().predict(tmp_path)


def bad_files(folder: Path) -> list[Path]:
    good, cut = pictures(folder, 2)
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    return [good, cut, folder / "empty.jpg", folder / "gone.png"]


def test_bad_files_stop_and_are_all_named(tmp_path: Path) -> None:
    _, cut, empty, gone = bad_files(tmp_path)
    with pytest.raises(SourceError) as caught:
        made().predict(bad_files(tmp_path))
    text = str(caught.value)
    assert f"{cut} is " in text
    assert f"{empty} is empty (0 bytes)." in text
    assert f"{gone} does not exist." in text
    assert text.count("Fix:") == 1
    assert text.endswith("Fix: mend them, or pass --on-bad-file skip.")


def test_bad_files_may_be_skipped_and_say_why(tmp_path: Path) -> None:
    files = bad_files(tmp_path)
    found = made().predict(files, skip_bad_files=True)
    assert [p.path for p in found] == [str(file) for file in files]
    assert found[0].label and not found[0].reason
    for p in found[1:]:
        assert p == Prediction(p.path, reason=p.reason)
        assert p.path in p.reason
    assert made().predict(files[1:], skip_bad_files=True)[0].reason
    gone = tmp_path / "nowhere.png"
    for asked in (gone, str(gone), [gone]):
        (answer,) = made().predict(asked, skip_bad_files=True)
        assert answer.path == str(gone) and "does not exist" in answer.reason
    with pytest.raises(SourceError, match="does not exist"):
        made().predict(gone)


# --- Pictures that are in memory -----------------------------------------------------------------


def test_pictures_in_memory_are_answered_as_their_files_are(tmp_path: Path) -> None:
    files = pictures(tmp_path / "photos", 3, size=(21, 13))
    model = made()
    wanted = [p.probabilities for p in model.predict(list(files))]
    opened = [Image.open(file) for file in files]
    arrays = [np.asarray(picture) for picture in opened]
    assert [p.probabilities for p in model.predict(opened)] == wanted
    found = model.predict(arrays)
    assert [p.probabilities for p in found] == wanted
    assert [p.path for p in found] == ["image 1", "image 2", "image 3"]
    for alone in (opened[1], arrays[1]):
        [answer] = model.predict(alone)
        assert answer.probabilities == pytest.approx(wanted[1])


def test_pictures_are_turned_and_laid_on_white_as_files_are(tmp_path: Path) -> None:
    model, draw = made(), np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = tmp_path / "turned.png"
    Image.fromarray(draw.integers(0, 256, (9, 14, 3), np.uint8)).save(turned, exif=exif)
    clear = tmp_path / "clear.png"
    rgba = draw.integers(0, 256, (9, 14, 4), np.uint8)
    Image.fromarray(rgba).save(clear)
    for file, same in ((turned, [Image.open(turned)]), (clear, [Image.open(clear), rgba])):
        [wanted] = model.predict(file)
        for picture in same:
            [found] = model.predict(picture)
            assert found.probabilities == wanted.probabilities


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (np.zeros((8, 8, 3)), "image 1 is an array of float64 [8, 8, 3]; pixels are whole numbers"),
        (np.zeros((2, 8, 8, 3), np.uint8), "uint8 [2, 8, 8, 3]; pixels are whole numbers 0 to 255"),
        (torch.zeros(3), "cannot answer for a value of the type Tensor"),
        (7, "cannot answer for a value of the type int"),
        ([b"\x89PNG"], "cannot answer for a value of the type bytes"),
        ([Image.new("L", (4, 4)), "a.png"], "files and what is in memory are mixed in one list"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_is_taken(item: Any, words: str) -> None:
    with pytest.raises(GridcellError) as caught:
        made().predict(item)
    assert words in str(caught.value)
    assert "--on-bad-file" not in str(caught.value)
    if "pixels" in words:
        assert caught.value.fix is not None
        assert "an array of the type uint8, or pass skip_bad_files=True" in caught.value.fix


def test_a_picture_of_one_colour_is_told() -> None:
    draw = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    black, other = made().predict([np.zeros((8, 8), np.uint8), draw])
    assert str(black.remark) == "is of one colour throughout, as the network sees it"
    assert other.remark is None
    with pytest.raises(ConfigError, match="rate has no effect on images"):
        made().predict(draw, rate=8000)


def test_a_picture_that_cannot_be_used_can_be_passed_over() -> None:
    good, bad = np.zeros((8, 8), np.uint8), np.zeros((8, 8))
    first, second = made().predict([bad, good], skip_bad_files=True)
    assert first.label is None and "image 1 is an array of float64" in first.reason
    assert second.label in LABELS["classify"]
