"""What is decoded, what is told of it, and what is left out where files cannot be decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from gridcell import pipeline
from gridcell.config import from_mapping
from gridcell.errors import SourceError
from tests.pictures import colours, cut, strict_json, trained
from tests.recordings import Listening


def test_cut_files_are_all_named_or_left_out(toy: Path, tmp_path: Path) -> None:
    bad = sorted((toy / "red").iterdir())[:3]
    for file in bad:
        cut(file)
    with pytest.raises(SourceError) as caught:
        trained(toy, tmp_path / "run")
    assert all(f"{file} is " in str(caught.value) for file in bad)
    teller = Listening()
    run = trained(toy, tmp_path / "run", teller, on_bad_file="skip", epochs=1)
    assert "3 files could not be decoded; left out:" in teller.text
    assert all(file.name in teller.text for file in bad)
    assert strict_json(run.folder / "run.json")["data"]["items"] == 47
    assert "Pixel formats: RGB 47; all colour." in teller.text


def test_black_images_are_told_and_used(toy: Path, tmp_path: Path) -> None:
    for number in range(8):
        size = (12, 12)
        Image.new("RGB", size).save(toy / "red" / f"black{number}.png")
    for _ in range(2):  # decoded, then found in the cache
        teller = Listening()
        data = pipeline.inspect(from_mapping(toy, {}), teller).data
        assert len(data.samples) == 58
        assert (
            "8 files are of one colour throughout, as the network sees them: red/black0.png, "
            "red/black1.png, red/black2.png, red/black3.png, red/black4.png, "
            "red/black5.png and 2 more."
        ) in teller.text
        assert any("one colour throughout" in note for note in data.samples.notes)


def test_silent_sounds_are_told_and_used(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for number in range(12):
        for label, wave in (("hiss", draw.normal(0, 0.1, 4000)), ("hum", np.sin(np.arange(4000)))):
            file = tmp_path / label / f"{number}.wav"
            file.parent.mkdir(exist_ok=True)
            soundfile.write(file, np.zeros(4000) if number == 3 else 0.5 * wave, 8000)
    teller = Listening()
    data = pipeline.inspect(from_mapping(tmp_path, {}), teller).data
    assert len(data.samples) == 24
    assert "2 files are silent: hiss/3.wav, hum/3.wav." in teller.text


def test_a_class_whose_files_are_all_cut_is_left_out_and_said(tmp_path: Path) -> None:
    path = colours(tmp_path / "data", 20, green=4)
    for file in (path / "green").iterdir():
        cut(file)
    teller = Listening()
    run = trained(path, tmp_path / "run", teller, on_bad_file="skip", epochs=1)
    assert run.model.labels == ("blue", "red")
    assert "Left out, none of its files can be decoded: green." in teller.text


def test_one_class_left_after_skipping_is_refused(toy: Path, tmp_path: Path) -> None:
    for file in (toy / "red").iterdir():
        cut(file)
    with pytest.raises(SourceError, match="at least 2 classes are needed, only blue was found"):
        trained(toy, tmp_path / "run", on_bad_file="skip")
