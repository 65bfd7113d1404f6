"""Sounds and clips from end to end, as images are in test_pipeline."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import gridcell
from gridcell import pipeline, reading, scoring
from gridcell.batches.sounds import window_starts
from gridcell.cli import main
from gridcell.config import DataConfig, from_mapping
from gridcell.errors import ConfigError, GridcellError, NetworkError, SourceError
from gridcell.model import Model
from gridcell.preparation import ClipPreparation, SoundPreparation
from gridcell.record import Run
from gridcell.teller import Silent
from tests.recordings import (
    CLIP_NET,
    PITCHES_HZ,
    RATE_HZ,
    SOUND_NET,
    Listening,
    letters,
    motion,
    motions,
    speakers,
    tone,
    tones,
    trained,
    write_clip,
    write_sound,
)

FAST: dict[str, dict[str, Any]] = {
    "sounds": {"net": SOUND_NET, "epochs": 8, "rate": 0.02, "augment": False},
    "clips": {"net": CLIP_NET, "epochs": 10, "rate": 0.01, "batch_size": 8, "augment": False},
}
KINDS = list(FAST)


class Done(NamedTuple):
    """A training that tests of one kind share; not to be changed."""

    data: Path
    run: Run
    heard: str
    model: Model


def done(kind: str, folder: Path) -> Done:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRIDCELL_CACHE", str(folder / "cache"))
        data = tones(folder / "data") if kind == "sounds" else motions(folder / "data")
        teller = Listening()
        run = trained(data, folder / "run", teller, **FAST[kind])
    return Done(data, run, teller.text, gridcell.load(run.model_file))


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    return {kind: done(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def copy_of(data: Path, folder: Path, *, each: int = 6) -> Path:
    """Some files of each class, which a test may change."""
    for path in sorted(data.iterdir()):
        (folder / path.name).mkdir(parents=True)
        for file in sorted(path.iterdir())[:each]:
            shutil.copy(file, folder / path.name)
    return folder


def answered(model: Model, files: list[Path]) -> np.ndarray:
    return np.array([list(p.probabilities.values()) for p in model.predict(list(files))])


# --- Both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_its_classes_are_learned(every: dict[str, Done], kind: str) -> None:  # S5 S15 S16
    run = every[kind].run
    assert run.scores is not None
    assert run.scores["accuracy"].value == 1.0
    assert run.scores["accuracy"].baseline == pytest.approx(0.5, abs=0.11)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["data"]["kind"] == run.model.kind == kind
    assert record["data"]["labels"] == sorted(path.name for path in every[kind].data.iterdir())
    assert sum(record["data"]["rows"].values()) == record["data"]["items"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_understood_is_told(every: dict[str, Done], kind: str) -> None:
    words = {
        "sounds": ("40 sounds in 2 classes: high, low.", "Prepared as: 8,000 Hz; 40 log-mel bands"),
        "clips": ("32 clips in 2 classes: left, right.", "Prepared as: 16x16 colour, 16 frames"),
    }
    for said in (*words[kind], "Decoded: ", "decoded into the cache at ", "Augmentation: off."):
        assert said in every[kind].heard, said


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_is_the_one_that_was_trained(every: dict[str, Done], kind: str) -> None:
    run, again = every[kind].run, every[kind].model
    assert again.description == run.model.description and again.kind == kind
    state = run.model.network.state_dict()
    for name, value in again.network.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_evaluating_says_what_predicting_does(every: dict[str, Done], kind: str) -> None:
    data, model = every[kind].data, every[kind].model
    found = scoring.evaluate(model, data, DataConfig())
    predictions = model.predict(data)
    assert found is not None and found.items == len(predictions)
    truths = [Path(p.path).parent.name for p in predictions]
    right = np.mean([p.label == truth for p, truth in zip(predictions, truths, strict=True)])
    assert found["accuracy"].value == pytest.approx(right)
    loss = -np.log([p.probabilities[truth] for p, truth in zip(predictions, truths, strict=True)])
    assert found["log loss"].value == pytest.approx(loss.mean(), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluate_in_python_is_the_command(every: dict[str, Done], kind: str) -> None:
    data, model = every[kind].data, every[kind].model
    wanted = scoring.evaluate(model, data, DataConfig())
    for named in (model, every[kind].run.model_file, str(every[kind].run.folder)):
        assert gridcell.evaluate(named, str(data), quiet=True) == wanted
    with pytest.raises(SourceError, match="test"):
        gridcell.evaluate(model, data, part="test", quiet=True)
    with pytest.raises(gridcell.GridcellError, match="part = 'tests' is none of auto, train"):
        gridcell.evaluate(model, data, part="tests")  # type: ignore[arg-type]
    with pytest.raises(gridcell.GridcellError, match=r"only settings of the data .* got epochs"):
        gridcell.evaluate(model, data, epochs=3)


@pytest.mark.parametrize("kind", KINDS)
def test_files_alone_get_the_answer_that_they_get_among_others(
    every: dict[str, Done], kind: str
) -> None:
    """Of unlike lengths, so that most of a batch are padded."""
    data, model = every[kind].data, every[kind].model
    files = sorted(data.rglob("*.*"))[::5]
    together = answered(model, files)
    assert len({round(float(p), 5) for p in together[:, 0]}) > 2
    for file, wanted in zip(files, together, strict=True):
        np.testing.assert_allclose(answered(model, [file])[0], wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_files_get_the_answers_of_what_the_cache_holds_of_them(
    every: dict[str, Done], kind: str
) -> None:
    data, model = every[kind].data, every[kind].model
    found = reading.read(data, DataConfig(), teller=Silent(), chosen=model.preparation)
    files = [Path(found.samples.root) / path for path in found.samples.paths]
    cached = model.answers(found.decoded, np.arange(len(files)))
    assert (answered(model, files) == cached).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_decoded_is_found_the_second_time(every: dict[str, Done], kind: str) -> None:
    for words in ("decoded into the cache at", "found in the cache at"):
        teller = Listening()
        pipeline.inspect(from_mapping(every[kind].data, {}), teller)
        assert words in teller.text
        assert {"sounds": "/waves/", "clips": "/frames/"}[kind] in teller.text


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_settings_and_seed_give_the_same_file(
    every: dict[str, Done], tmp_path: Path, kind: str
) -> None:
    data = copy_of(every[kind].data, tmp_path / "data", each=10)
    settings = FAST[kind] | {
        "epochs": 2,
        "augment": True,
        "net": f"{FAST[kind]['net']} dropout(0.2)",
    }
    files = []
    for number, seed in enumerate((1, 1, 2)):
        run = trained(data, tmp_path / f"run{number}", **settings, seed=seed)
        files.append(run.model_file.read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_come_from_training_rows_only(
    every: dict[str, Done], tmp_path: Path, kind: str
) -> None:
    settings = FAST[kind] | {"epochs": 1, "valid": 0.0}
    preparations = []
    for name in ("plain", "changed"):
        data = tmp_path / name
        copy_of(every[kind].data, data / "train")
        for label in sorted(path.name for path in (data / "train").iterdir()):
            is_changed = name == "changed"
            if kind == "sounds":
                wave = tone(3000.0 if is_changed else PITCHES_HZ[label], 0.2, seed=77)
                write_sound(data / "test" / label / "new.wav", wave)
            else:
                frames = np.full((8, 16, 16, 3), 250, np.uint8)
                write_clip(
                    data / "test" / label / "new.mkv",
                    frames if is_changed else motion(label, seed=77),
                )
        run = trained(data, tmp_path / f"run {name}", **settings)
        preparations.append(run.model.preparation)
        assert run.scores is not None and run.scores.items == 2
    assert preparations[0] == preparations[1]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_files_stop_it_or_are_left_out_with_the_reason(
    every: dict[str, Done], tmp_path: Path, kind: str
) -> None:
    data = copy_of(every[kind].data, tmp_path / "data")
    folder = sorted(data.iterdir())[0]
    extension = {"sounds": ".wav", "clips": ".mkv"}[kind]
    empty, other = folder / f"empty{extension}", folder / f"other{extension}"
    empty.write_bytes(b"")
    other.write_text("this is text, and nothing else")
    with pytest.raises(SourceError) as caught:
        pipeline.inspect(from_mapping(data, {}))
    for file in (empty, other):
        assert f"{file.name} is" in str(caught.value)
    assert "--on-bad-file skip" in str(caught.value)
    teller = Listening()
    found = pipeline.inspect(from_mapping(data, {"on_bad_file": "skip"}), teller).data
    assert len(found.samples) == 12
    assert "empty" in teller.text and "other" in teller.text
    model = every[kind].model
    with pytest.raises(SourceError, match="other"):
        model.predict(data)
    predictions = {Path(p.path): p for p in model.predict(data, skip_bad_files=True)}
    assert len(predictions) == 14
    assert predictions[other].label is None and other.name in predictions[other].reason
    assert sum(p.label is not None for p in predictions.values()) == 12


def test_a_sound_that_is_cut_off_gives_what_there_is(every: dict[str, Done]) -> None:
    file = sorted((every["sounds"].data / "low").iterdir())[0]
    whole = file.read_bytes()
    cut = file.with_name("cut.wav")
    try:
        cut.write_bytes(whole[: len(whole) // 2])
        [answer] = every["sounds"].model.predict([cut])
        assert answer.label == "low"
        assert str(answer.remark) == "ends before its header says, and what is there is used"
    finally:
        cut.unlink()


def test_silent_sounds_and_black_clips_are_answered_for_and_told(
    every: dict[str, Done], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = write_sound(tmp_path / "silent.wav", np.zeros(2000))
    black = write_clip(tmp_path / "black.mkv", np.zeros((8, 16, 16, 3), np.uint8))
    for kind, file, said in (
        ("sounds", silent, f"1 file is silent: {silent}."),
        ("clips", black, f"1 file is of one colour throughout, as the network sees it: {black}."),
    ):
        run = every[kind].run
        usual = sorted(every[kind].data.rglob("*.*"))[0]
        one, other = run.model.predict([usual, file])
        assert one.remark is None
        assert other.label is not None and other.remark is not None
        for more in ([], ["--window", "0.1"]):
            words = ["predict", str(run.model_file), str(usual), str(file), *more]
            assert main(words) == 0
            assert capsys.readouterr().err == f"gridcell: {said}\n"


def test_sounds_in_memory_are_answered_as_their_files_are(
    every: dict[str, Done], tmp_path: Path
) -> None:
    model = every["sounds"].model
    files = [
        write_sound(tmp_path / f"{name}.wav", tone(pitch, 0.4, seed=9), rate=rate)
        for name, pitch, rate in (("a", 300, 8000), ("b", 1500, 8000), ("c", 700, 16000))
    ]
    soundfile.write(tmp_path / "two.wav", np.random.default_rng(0).normal(0, 0.1, (900, 2)), 44100)
    for file in (*files, tmp_path / "two.wav"):
        [wanted] = model.predict(file)
        for kind in ("float32", "float64", "int16", "int32"):
            wave, rate = soundfile.read(file, dtype=kind)
            [found] = model.predict(wave, rate=rate)
            assert found == replace(wanted, path="sound 1"), (file, kind)
    waves = [soundfile.read(file)[0] for file in files[:2]]
    found = model.predict(waves, rate=np.int64(8000))
    assert [p.path for p in found] == ["sound 1", "sound 2"]
    assert [p.probabilities for p in found] == [p.probabilities for p in model.predict(files[:2])]
    [silent] = model.predict(np.zeros(2000, np.int16), rate=8000)
    assert silent.label is not None and str(silent.remark) == "is silent"


@pytest.mark.parametrize(
    ("item", "rate", "words"),
    [
        (np.zeros(800), None, "rate = None: a sound in memory needs its samples a second."),
        (np.zeros(800), 0.5, "Fix: give them as a whole number, such as rate=16000."),
        (np.zeros(0), 8000, "sound 1 holds no sample."),
        (np.full(800, np.nan), 8000, "sound 1 holds samples that are no numbers"),
        (np.zeros((2, 800)), 8000, "more channels than samples: [2, 800] is [samples, channels]."),
        (np.zeros((800, 0)), 8000, "sound 1 is an array of float64 [800, 0], which are no"),
        (np.zeros((2, 8, 8)), 8000, "sound 1 is an array of float64 [2, 8, 8], which are no"),
        (np.zeros(800, np.uint8), 8000, "sound 1 is an array of uint8 [800], which are no"),
        ([np.zeros(800), "a.wav"], 8000, "files and what is in memory are mixed in one list"),
        ("a.wav", 8000, "rate has no effect on files, which say their own."),
        (Image.new("L", (4, 4)), None, "the model reads sounds, and is given a picture."),
    ],
)
def test_what_is_no_sound_in_memory_is_refused(
    every: dict[str, Done], tmp_path: Path, item: Any, rate: Any, words: str
) -> None:
    if isinstance(item, str):
        item = write_sound(tmp_path / item, np.zeros(800))
    with pytest.raises(GridcellError) as caught:
        every["sounds"].model.predict(item, rate=rate)
    assert words in str(caught.value)
    assert "--on-bad-file" not in str(caught.value)


def test_a_sound_in_memory_that_cannot_be_used_can_be_passed_over(every: dict[str, Done]) -> None:
    waves = [np.zeros(0), np.ones(800)]
    bad, good = every["sounds"].model.predict(waves, rate=8000, skip_bad_files=True)
    assert bad.label is None and bad.reason == "sound 1 holds no sample."
    assert good.label is not None
    assert every["sounds"].model.predict([], rate=8000) == []
    with pytest.raises(ConfigError, match="the model reads clips, and is given an array"):
        every["clips"].model.predict(np.zeros(800), rate=8000)


def test_evaluating_tells_of_silent_sounds_too(every: dict[str, Done], tmp_path: Path) -> None:
    data = copy_of(every["sounds"].data, tmp_path / "data", each=2)
    write_sound(data / "low" / "silent.wav", np.zeros(2000))
    teller = Listening()
    scoring.evaluate(every["sounds"].model, data, DataConfig(), teller=teller)
    assert "1 file is silent: low/silent.wav." in teller.text


WITHOUT_EFFECT: list[tuple[str, dict[str, Any], str]] = [
    ("sounds", {"frames": 4}, "frames has no effect on sounds.\n  Fix: leave --frames out."),
    ("sounds", {"image_size": 16}, "image_size has no effect on sounds."),
    ("sounds", {"image_fit": "pad"}, "Fix: leave --image-fit out."),
    ("clips", {"window": 1.0}, "window has no effect on clips.\n  Fix: leave --window out."),
    ("clips", {"sample_rate": 8000}, "sample_rate has no effect on clips."),
]


@pytest.mark.parametrize(("kind", "settings", "text"), WITHOUT_EFFECT)
def test_settings_without_effect_are_refused(
    every: dict[str, Done], kind: str, settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline.inspect(from_mapping(every[kind].data, settings))
    assert text in str(caught.value)


@pytest.mark.parametrize("flip", ["on", "off"])
def test_sounds_are_not_mirrored(every: dict[str, Done], tmp_path: Path, flip: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trained(every["sounds"].data, tmp_path / "run", flip=flip)
    assert str(caught.value) == "flip has no effect on sounds.\n  Fix: leave --flip out."
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "settings", "text"),
    [
        ("sounds", {"kind": "clips"}, "kind clips has no effect here: the model reads sounds."),
        ("clips", {"kind": "images"}, "kind images has no effect here: the model reads clips."),
        ("sounds", {"task": "labels"}, "task has no effect here: the model brings its own."),
        ("sounds", {"window": 2.0}, "window has no effect here: the model brings its own."),
        ("clips", {"frames": 2}, "frames has no effect here: the model brings its own."),
    ],
)
def test_a_model_decides_how_it_is_evaluated(
    every: dict[str, Done], kind: str, settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        scoring.evaluate(every[kind].model, every[kind].data, DataConfig(**settings))
    assert text in str(caught.value)
    same = DataConfig(kind=kind)  # type: ignore[arg-type]
    assert scoring.evaluate(every[kind].model, every[kind].data, same) is not None


def test_data_of_another_kind_are_refused(every: dict[str, Done]) -> None:
    for kind, other in (("sounds", "clips"), ("clips", "sounds")):
        with pytest.raises(GridcellError) as caught:
            scoring.evaluate(every[kind].model, every[other].data, DataConfig())
        assert f"holds no {kind[:-1]}" in str(caught.value)


# --- Sounds --------------------------------------------------------------------------------------


def sound_preparation(model: Model) -> SoundPreparation:
    assert isinstance(model.preparation, SoundPreparation)
    return model.preparation


def test_long_sounds_are_answered_by_windows(every: dict[str, Done], tmp_path: Path) -> None:
    plain = every["sounds"].model
    prep = replace(sound_preparation(plain), longest_s=0.4)
    model = Model(plain.network, replace(plain.description, preparation=prep))
    wave = np.concatenate([tone(PITCHES_HZ["low"], 0.7), tone(PITCHES_HZ["high"], 0.6)])
    file = write_sound(tmp_path / "long.wav", wave)
    [found] = model.predict([file])

    values, scale = prep.reader.read(file)
    starts = window_starts(len(values), prep.longest_samples)
    assert starts[0] == 0 and len(starts) > 3
    ends = []
    for start in starts:
        start = -(-start // prep.hop) * prep.hop
        stretch = torch.from_numpy(values[start : start + prep.longest_samples] * np.float32(scale))
        features, steps = prep.features(stretch[None], torch.tensor([len(stretch)]))
        ends.append(plain.network(features[:, :, None], steps).detach().numpy()[0])
        if start + len(stretch) >= len(values):
            break
    else:
        raise AssertionError("the windows do not reach the end")
    wanted = model.description.answers.of(np.mean(ends, axis=0, dtype=np.float32)[None])[0]
    np.testing.assert_allclose(list(found.probabilities.values()), wanted, atol=1e-5)
    # What one window is sure of, the other denies: the whole lies between.
    alone = np.array([model.description.answers.of(end[None])[0][0] for end in ends])
    assert alone.min() < 0.3 < found.probabilities["high"] < 0.7 < alone.max()


def test_training_sees_stretches_of_long_sounds_and_evaluation_all_of_them(
    every: dict[str, Done], tmp_path: Path
) -> None:
    teller = Listening()
    run = trained(every["sounds"].data, tmp_path / "run", teller, **FAST["sounds"], window=0.2)
    longer = sum(gridcell_seconds(file) > 0.2 for file in every["sounds"].data.rglob("*.wav"))
    assert 10 < longer < 40
    assert f"{longer} longer than 0.2 s are read in windows" in teller.text
    assert sound_preparation(run.model).longest_s == 0.2
    assert run.scores is not None and run.scores["accuracy"].value == 1.0


def gridcell_seconds(file: Path) -> float:
    """Seconds of a sound, from the size of its file: 16 bits a sample after 44 bytes."""
    return (file.stat().st_size - 44) / 2 / RATE_HZ


def test_sounds_of_other_rates_and_channels_are_answered(
    every: dict[str, Done], tmp_path: Path
) -> None:
    model = every["sounds"].model
    for name, pitch in PITCHES_HZ.items():
        times = np.arange(12_000) / 24_000
        noise = 0.02 * np.random.default_rng(0).standard_normal(len(times))
        left = 0.3 * np.sin(2 * np.pi * pitch * times) + noise
        file = write_sound(tmp_path / f"{name}.flac", np.stack([left, left], 1), rate=24_000)
        assert model.predict([file])[0].label == name


def test_sounds_vary_in_training_and_are_learned_all_the_same(
    every: dict[str, Done], tmp_path: Path
) -> None:
    teller = Listening()
    settings = FAST["sounds"] | {"augment": True}
    run = trained(every["sounds"].data, tmp_path / "run", teller, **settings)
    assert "Augmentation: each sound at random: " in teller.text
    assert "mixed with another" in teller.text
    assert run.scores is not None and run.scores["accuracy"].value == 1.0


def test_numbers_are_learned_from_sounds(tmp_path: Path) -> None:
    rows = []
    for number in range(60):
        pitch = 300 * 2 ** (3 * number / 59)
        file = write_sound(tmp_path / "data" / f"{letters(number)}.wav", tone(pitch, 0.2))
        rows.append(f"{file.name},{number / 59:.4f}")
    table = tmp_path / "data" / "table.csv"
    table.write_text("\n".join(["file,octaves", *rows]) + "\n")
    teller = Listening()
    net = "conv(4, 5, time=3) relu maxpool(4, time=2)"
    run = trained(table, tmp_path / "run", teller, net=net, epochs=15, rate=0.02)
    assert run.model.task == "regress"
    assert "speed" not in teller.text.split("Augmentation: ")[1].splitlines()[0]
    assert run.scores is not None
    value = run.scores["R2"].value
    assert value is not None and value > 0.7


def test_several_labels_are_learned_from_sounds(tmp_path: Path) -> None:
    rows = []
    for number in range(64):
        on = {"low": number % 2, "high": number // 2 % 2}
        wave = sum(
            (is_on * tone(PITCHES_HZ[name], 0.2, seed=number) for name, is_on in on.items()),
            start=0.02 * np.random.default_rng(number).standard_normal(1600),
        )
        file = write_sound(tmp_path / "data" / f"{letters(number)}.wav", wave)
        rows.append(f"{file.name},{on['low']},{on['high']}")
    table = tmp_path / "data" / "table.csv"
    table.write_text("\n".join(["file,low,high", *rows]) + "\n")
    settings = FAST["sounds"] | {"epochs": 15, "target": ("low", "high")}
    run = trained(table, tmp_path / "run", **settings)
    assert run.model.task == "labels" and run.scores is not None
    value = run.scores["average precision"].value
    assert value is not None and value > 0.9


def test_no_speaker_stands_on_two_sides(tmp_path: Path) -> None:
    table = speakers(tmp_path / "data")
    settings = {"target": ("pitch",), "group": "speaker"}
    inspected = pipeline.inspect(from_mapping(table, settings))
    found, parts = inspected.data, inspected.parts
    groups = found.samples.groups
    assert groups is not None
    sides = [set(groups[parts.rows(name)]) for name in ("train", "valid", "test")]
    assert all(sides) and sum(map(len, sides)) == 6


# --- Labels that come and go ---------------------------------------------------------------------


def bursts(folder: Path, count: int = 24) -> Path:
    """A table of sounds of 1.2 seconds, each with a low and a high tone somewhere, or one."""
    rows = []
    for number in range(count):
        draw = np.random.default_rng(number)
        wave = 0.02 * draw.standard_normal(round(1.2 * RATE_HZ))
        name = f"{letters(number)}.wav"
        for place, label in enumerate(PITCHES_HZ):
            if number % 6 == place:
                continue
            start = 0.1 + 0.6 * place + draw.uniform(0, 0.15)
            burst = tone(PITCHES_HZ[label], 0.3, seed=number)
            first = round(start * RATE_HZ)
            wave[first : first + len(burst)] += burst
            rows.append(f"{name},{start:.4f},{start + 0.3:.4f},{label}")
        write_sound(folder / name, wave)
    path = folder / "events.csv"
    path.write_text("\n".join(["file,start,end,label", *rows]) + "\n")
    return path


@pytest.mark.slow
def test_when_a_label_is_there_is_learned(tmp_path: Path) -> None:
    table = bursts(tmp_path / "data")
    teller = Listening()
    net = "conv(8, 5, time=5) relu maxpool(4)"
    run = trained(table, tmp_path / "run", teller, net=net, epochs=20, rate=0.02, batch_size=8)
    assert run.model.task == "events" and run.model.labels == ("high", "low")
    assert run.scores is not None
    value = run.scores["average precision"].value
    assert value is not None and value > 0.9
    assert run.scores.items > 100 * 2  # steps, not files
    again = gridcell.load(run.model_file)
    [found] = again.predict([tmp_path / "data" / f"{letters(7)}.wav"])
    assert found.events is not None
    wanted = {
        line.split(",")[3]: (float(line.split(",")[1]), float(line.split(",")[2]))
        for line in table.read_text().splitlines()
        if line.startswith(letters(7))
    }
    for label, (start, end) in wanted.items():
        longest = max(
            (event for event in found.events if event.label == label),
            key=lambda event: event.end - event.start,
        )
        assert longest.start == pytest.approx(start, abs=0.08)
        assert longest.end == pytest.approx(end, abs=0.08)
        assert 0.5 <= longest.probability <= 1
    scores = scoring.evaluate(again, table, DataConfig())
    assert scores is not None and scores.items == 24 * (1 + round(1.2 * 100))


def test_a_network_that_thins_time_cannot_answer_at_every_step(tmp_path: Path) -> None:
    with pytest.raises(NetworkError) as caught:
        trained(bursts(tmp_path / "data", 12), tmp_path / "run", net=SOUND_NET)
    assert "of 1,000 steps the network leaves 500" in str(caught.value)


# --- Clips ---------------------------------------------------------------------------------------


def test_clips_are_read_at_so_many_moments(every: dict[str, Done], tmp_path: Path) -> None:
    run = trained(every["clips"].data, tmp_path / "run", **FAST["clips"] | {"epochs": 1}, frames=3)
    prep = run.model.preparation
    assert isinstance(prep, ClipPreparation) and prep.frames == 3
    data = reading.read(every["clips"].data, DataConfig(), teller=Silent(), chosen=prep)
    assert set(np.diff(data.decoded.starts)) == {3}


def test_clips_are_mirrored_only_where_it_is_asked_for(
    every: dict[str, Done], tmp_path: Path
) -> None:
    settings = FAST["clips"] | {"augment": True, "epochs": 1}
    said = {}
    for flip in ("auto", "on", "off"):
        teller = Listening()
        trained(every["clips"].data, tmp_path / flip, teller, **settings, flip=flip)
        said[flip] = teller.text.split("Augmentation: ")[1].splitlines()[0]
    assert "not mirrored: a mirrored motion may mean another one" in said["auto"]
    assert "mirrored left to right" in said["on"] and "mirroring on, as asked" in said["on"]
    assert "mirrored left to right" not in said["off"]


def test_a_clip_keeps_its_order(every: dict[str, Done], tmp_path: Path) -> None:
    """Backward, a motion to the left is one to the right."""
    model = every["clips"].model
    for name, other in (("left", "right"), ("right", "left")):
        frames = motion(name, seed=5)
        forward = write_clip(tmp_path / f"{name}.mkv", frames)
        backward = write_clip(tmp_path / f"{name}-back.mkv", frames[::-1])
        assert [p.label for p in model.predict([forward, backward])] == [name, other]


# --- The command line ----------------------------------------------------------------------------


def command(*words: str | Path) -> int:
    return main([str(word) for word in words])


def test_gradients_may_be_cut_along_time(
    every: dict[str, Done], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = copy_of(every["sounds"].data, tmp_path / "data", each=10)
    words = ["train", data, "--epochs", 2, "--tbptt", 5, "--precision", "float32"]
    assert command(*words, "--net", "flatten lstm(8)", "--out", tmp_path / "cut") == 0
    found = json.loads((tmp_path / "cut" / "run.json").read_text())
    assert found["settings"]["train"]["tbptt"] == 5
    capsys.readouterr()
    assert command(*words, "--net", "flatten lstm(8, both)", "--out", tmp_path / "both") == 2
    said = capsys.readouterr().err
    assert "lstm(8, both) cannot train with tbptt" in said and "Fix: " in said
    assert command(*words, "--net", SOUND_NET, "--out", tmp_path / "none") == 2
    assert "tbptt has no effect: the network has no lstm or rnn." in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "data"]


@pytest.mark.parametrize("kind", KINDS)
def test_commands_of_every_kind(
    every: dict[str, Done], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    data, run = every[kind].data, every[kind].run
    folder = sorted(data.iterdir())[0]
    assert command("inspect", data, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["items"] == {"sounds": 40, "clips": 32}[kind]
    assert command("predict", run.model_file, folder, "--format", "jsonl") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == found["items"] // 2
    answers = [line["label"] for line in lines]
    assert answers == [found.label for found in run.model.predict(folder)]
    assert answers.count(folder.name) >= len(answers) - 2
    assert command("evaluate", run.model_file, data, "--json") == 0
    assert json.loads(capsys.readouterr().out)["items"] == found["items"]
    assert command("show", run.model_file) == 0
    assert command("predict", run.model_file, folder / "none.wav") == 2
    assert "none.wav does not exist" in capsys.readouterr().err


# --- Real recordings -----------------------------------------------------------------------------


def test_spoken_digits_are_understood(data_folder: Path, tmp_path: Path) -> None:
    table = data_folder / "fsdd" / "labels.csv"
    heading, *rows = table.read_text().splitlines()
    some = tmp_path / "some"
    some.mkdir()
    kept = [rows[i] for i in np.random.default_rng(0).choice(len(rows), 60, replace=False)]
    for row in kept:
        name = Path(row.split(",")[0]).name
        shutil.copy(table.parent / "recordings" / name, some / name)
    lines = [row.removeprefix("recordings/") for row in kept]
    (some / "labels.csv").write_text("\n".join([heading, *lines]) + "\n")
    teller = Listening()
    settings = {"target": ("digit",), "task": "classify"}
    inspected = pipeline.inspect(from_mapping(some / "labels.csv", settings), teller)
    found, parts = inspected.data, inspected.parts
    assert found.samples.kind == "sounds" and len(found.samples) == 60
    assert found.samples.labels == tuple("0123456789")
    assert "Prepared as: 8,000 Hz" in teller.text
    listed = [float(row.split(",")[-1]) for row in kept]
    seconds = np.diff(found.decoded.starts) / 8000
    by_name = {row.split(",")[0]: s for row, s in zip(lines, listed, strict=True)}
    np.testing.assert_allclose(seconds, [by_name[path] for path in found.samples.paths], atol=1e-3)
    own = {row.split(",")[0]: row.split(",")[4] for row in lines}
    held_out = {found.samples.paths[row] for row in parts.rows("test")}
    assert held_out == {path for path, split in own.items() if split == "test"} != set()
