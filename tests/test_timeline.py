"""Answers along a long file: each window as a file of its own, and none of the file left out."""

from __future__ import annotations

import csv
import io
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

import gridcell
from gridcell import answers, networks, timeline
from gridcell.cli import main
from gridcell.errors import ConfigError, SourceError
from gridcell.model import Model
from gridcell.model_file import Description
from gridcell.networks.answers import Answers
from gridcell.prediction import Event, Prediction
from gridcell.preparation import ClipPreparation, ImagePreparation, SoundPreparation
from gridcell.preparation.clips import USUAL_RATE_HZ, decode_windows
from gridcell.samples import ItemTask
from gridcell.timeline import Window, spans

RATE = 8000
FPS, SIDE = 8, 9
LABELS: dict[ItemTask, tuple[str, ...]] = {
    "classify": ("low", "high"),
    "labels": ("low", "high"),
    "regress": ("pitch",),
}
TARGETS: dict[ItemTask, tuple[tuple[float, ...], ...]] = {
    "classify": ((5.0, 3.0),),
    "labels": ((4.0, 1.0), (6.0, 9.0)),
    "regress": ((1.0,), (2.0,)),
}
SOUND = SoundPreparation(
    rate=RATE,
    bins=8,
    window_ms=25.0,
    hop_ms=10.0,
    low_hz=20.0,
    high_hz=4000.0,
    level="clip",
    longest_s=1.0,
    mean=(-8.0,) * 8,
    deviation=(5.0,) * 8,
)
CLIP = ClipPreparation(SIDE, SIDE, 1, "stretch", FPS, (10.0,), (50.0,))
PICTURE = ImagePreparation(SIDE, SIDE, 1, "stretch", (100.0,), (50.0,))


def described(
    prep: Any, notation: str, kind: Any, task: ItemTask, labels: tuple[str, ...] | None = None
) -> Model:
    labels = labels or LABELS[task]
    net = networks.build(
        notation,
        prep.layout,
        outputs=len(labels),
        mean=prep.mean,
        deviation=prep.deviation,
        generator=torch.Generator().manual_seed(3),
    )
    answers_ = Answers(task, (170.0,), (9.0,)) if task == "regress" else Answers(task)
    trained = {"items": 10}
    return Model(
        net,
        Description(kind, task, labels, net.notation, prep, answers_, TARGETS[task], trained),
    )


def listener(task: ItemTask = "classify") -> Model:
    """A model that knows low sounds from high ones: it compares lower bands with upper ones."""
    model = described(SOUND, "flatten", "sounds", task)
    weight = dict(model.network.named_parameters())["chain.layers.2.weight"]
    rising = torch.where(torch.arange(8) < 4, -1.0, 1.0)
    with torch.no_grad():
        weight.copy_(torch.stack([-rising, rising])[-len(weight) :])
    return model


def tone(hertz: float, seconds: float) -> NDArray[np.float32]:
    moments = np.arange(round(seconds * RATE)) / RATE
    # Clipped at whole level, so that any window of it has the whole's peak and the same 16 bits.
    wave = np.clip(1.2 * np.sin(2 * np.pi * hertz * moments + 0.3), -1, 1)
    return (np.rint(wave * 32767) / 32768).astype(np.float32)


def sound_file(path: Path, wave: NDArray[np.float32]) -> Path:
    soundfile.write(path, wave, RATE, subtype="FLOAT")
    return path


@pytest.fixture
def long_sound(tmp_path: Path) -> Path:
    """Two seconds of a low tone, then two and a half of a high one."""
    return sound_file(tmp_path / "long.wav", np.concatenate([tone(300, 2), tone(2500, 2.5)]))


def times(windows: list[Window]) -> list[tuple[float, float]]:
    assert all(w.start is not None and w.end is not None for w in windows)
    return [(w.start or 0.0, w.end or 0.0) for w in windows]


def square(steps: list[int]) -> NDArray[np.uint8]:
    """Pictures of a bright square that stands `steps` from the left."""
    pictures = np.zeros((len(steps), SIDE, SIDE, 3), np.uint8)
    for picture, step in zip(pictures, steps, strict=True):
        picture[3:6, step : step + 2] = 255
    return pictures


RIGHT = list(range(FPS))
LEFT = RIGHT[::-1]


def clip_file(path: Path, pictures: NDArray[np.uint8], fps: int = FPS) -> Path:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("ffv1", rate=fps)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    path.write_bytes(file.getvalue())
    return path


@pytest.fixture(scope="module")
def watcher() -> Model:
    """A small LSTM that was shown which way a square moves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = described(CLIP, "flatten lstm(8)", "clips", "classify", ("left", "right"))
    shown = [square(moves)[..., :1].transpose(0, 3, 1, 2) for moves in (LEFT, RIGHT)]
    frames, lengths = torch.from_numpy(np.stack(shown)), torch.full((2,), FPS)
    weights = list(model.network.parameters())
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model.network(frames, lengths), torch.arange(2))
        with torch.no_grad():
            for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight -= 0.3 * slope
    torch.set_num_threads(threads)
    return model


@pytest.mark.parametrize("seconds", [0.3, 2.0, 2.0005, 2.3, 3.0, 4.5, 5.00006, 61.7])
@pytest.mark.parametrize("step_s", [0.1, 0.7, 1.0, 2.0])
def test_windows_cover_all_of_a_file_and_end_where_it_ends(seconds: float, step_s: float) -> None:
    found = spans(seconds, window_s=2.0, step_s=step_s)
    assert found[0][0] == 0.0 and found[-1][1] == seconds
    for (start, end), (later, later_end) in pairwise(found):
        assert start < later <= end + 1e-9 and later - start <= step_s + 1e-9
        assert later_end > end
    lasting = [end - start for start, end in found]
    np.testing.assert_allclose(lasting, min(seconds, 2.0), atol=timeline.SLACK_S + 1e-9)


def test_a_rest_that_is_too_short_to_be_told_is_no_window_of_its_own() -> None:
    assert len(spans(5.0004, window_s=2.0, step_s=1.0)) == 4
    assert len(spans(5.0020, window_s=2.0, step_s=1.0)) == 5
    assert spans(2.0004, window_s=2.0, step_s=2.0) == [(0.0, 2.0004)]


def test_a_tone_that_changes_is_seen_to_change(long_sound: Path) -> None:
    found = timeline.of_file(listener(), long_sound, window_s=1.0)
    starts = [0.5 * k for k in range(8)]
    assert times(found) == [(start, start + 1.0) for start in starts]
    labels = [w.prediction.label for w in found]
    assert labels[:3] == ["low"] * 3 and labels[4:] == ["high"] * 4
    assert {w.prediction.path for w in found} == {str(long_sound)}
    for files in (long_sound, [str(long_sound)]):
        assert [*gridcell.predict_windows(listener(), files, window=1.0)] == found


@pytest.mark.parametrize("task", ["classify", "labels", "regress"])
@pytest.mark.parametrize("window_s", [0.5, 1.8])
def test_a_window_of_a_sound_is_answered_as_a_file_of_its_own(
    task: ItemTask, window_s: float, long_sound: Path, tmp_path: Path
) -> None:
    model = listener(task)
    wave, _ = soundfile.read(long_sound, dtype="float32")
    tolerance = 1e-3 if task == "regress" else 1e-5  # numbers are some hundreds
    found = timeline.of_file(model, long_sound, window_s=window_s, step_s=0.5)
    for window, (start, end) in zip(found, times(found), strict=True):
        part = wave[round(start * RATE) : round(end * RATE)]
        [alone] = model.predict(sound_file(tmp_path / "part.wav", part))
        wanted, got = (p.values or p.probabilities for p in (alone, window.prediction))
        np.testing.assert_allclose(
            list(got.values()), list(wanted.values()), rtol=0, atol=tolerance
        )
        assert window.prediction.labels == alone.labels
        assert window.prediction.label == alone.label


def test_a_file_shorter_than_a_window_is_one_window(tmp_path: Path) -> None:
    path = sound_file(tmp_path / "short.wav", tone(300, 0.3))
    [window] = timeline.of_file(listener(), path, window_s=1.0)
    assert (window.start, window.end) == (0.0, 0.3)
    assert window.prediction == listener().predict(path)[0]


def test_windows_answered_few_at_a_time_are_the_same(
    long_sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    model = listener()
    whole = timeline.of_file(model, long_sound, window_s=0.5, step_s=0.1)
    answer = model.answers
    monkeypatch.setattr(
        model, "answers", lambda decoded, rows: asked.append(len(rows)) or answer(decoded, rows)
    )
    monkeypatch.setattr(timeline, "MOST_VALUES", 7 * RATE // 2)
    parts = timeline.of_file(model, long_sound, window_s=0.5, step_s=0.1)
    assert asked == [7] * 5 + [6]
    assert times(parts) == times(whole)
    for one, other in zip(parts, whole, strict=True):
        assert one.prediction.probabilities == pytest.approx(other.prediction.probabilities)


def test_a_square_that_turns_round_is_seen_to_turn(watcher: Model, tmp_path: Path) -> None:
    path = clip_file(tmp_path / "clip.mkv", square(2 * RIGHT + 2 * LEFT))
    found = timeline.of_file(watcher, path, window_s=1.0, step_s=1.0)
    np.testing.assert_allclose(times(found), [(0, 1), (1, 2), (2, 3), (3, 4)], atol=2e-3)
    assert [w.prediction.label for w in found] == ["right", "right", "left", "left"]


@pytest.mark.parametrize("window_s", [0.5, 1.25, 2.5])
def test_a_window_of_a_clip_is_answered_as_a_file_of_its_own(
    window_s: float, watcher: Model, tmp_path: Path
) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (37, SIDE, SIDE, 3), np.uint8)
    path = clip_file(tmp_path / "clip.mkv", pictures)
    found = timeline.of_file(watcher, path, window_s=window_s, step_s=0.5)
    for window, (start, end) in zip(found, times(found), strict=True):
        part = pictures[round(start * FPS) : round(end * FPS)]
        [alone] = watcher.predict(clip_file(tmp_path / "part.mkv", part))
        assert window.prediction.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert len(found) == 1 + math.ceil((37 / FPS - window_s) / 0.5)


def test_frames_that_windows_share_are_made_small_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gridcell.preparation import clips

    path = clip_file(tmp_path / "clip.mkv", square(4 * RIGHT))
    opaque, made = clips._opaque, []
    monkeypatch.setattr(clips, "_opaque", lambda frame: made.append(frame.pts) or opaque(frame))
    windows = decode_clip(path, window_s=1.0, step_s=0.25)
    assert len(windows.spans) == 13 and len(made) == len(set(made)) == 4 * FPS
    assert [len(windows.frames(number)) for number in range(13)] == [FPS] * 13


def test_times_that_the_file_gets_wrong_change_no_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gridcell.preparation import clips

    path = clip_file(tmp_path / "clip.mkv", square(4 * RIGHT))
    right = decode_clip(path, window_s=1.5, step_s=0.5)
    for promised in ({0, 125}, set()):
        monkeypatch.setattr(clips, "_promised", lambda clip, choose, told=promised: told)
        again = decode_clip(path, window_s=1.5, step_s=0.5)
        assert again.spans == right.spans
        for number in range(len(right.spans)):
            np.testing.assert_array_equal(again.frames(number), right.frames(number))


def decode_clip(path: Path, *, window_s: float, step_s: float) -> Any:
    return decode_windows(
        path,
        height=SIDE,
        width=SIDE,
        channels=1,
        fit="stretch",
        frames=FPS,
        spans_of=lambda seconds: spans(seconds, window_s=window_s, step_s=step_s),
    )


def test_a_clip_of_a_single_frame_is_one_window(watcher: Model, tmp_path: Path) -> None:
    path = clip_file(tmp_path / "still.mkv", square([3]))
    [window] = timeline.of_file(watcher, path, window_s=1.0)
    assert (window.start, window.end) == (0.0, 1 / USUAL_RATE_HZ)
    assert window.prediction == watcher.predict(path)[0]


def test_a_frame_that_stands_long_is_in_every_window(watcher: Model, tmp_path: Path) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("ffv1", rate=FPS)
        stream.height = stream.width = SIDE
        stream.pix_fmt = "bgr0"
        for picture, pts in zip(square([0, 7]), (0, 5 * FPS), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = pts
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    path = tmp_path / "frozen.mkv"
    path.write_bytes(file.getvalue())
    windows = decode_clip(path, window_s=1.0, step_s=1.0)
    assert windows.spans[-1] == (9.0, 10.0)
    assert [place.tolist() for place in windows.places] == [[0]] * 5 + [[1]] * 5


@pytest.mark.parametrize(
    ("window_s", "step_s", "words"),
    [
        (0.0, None, "window = 0 s"),
        (-1.0, None, "window = -1 s"),
        (math.nan, None, "window = nan s"),
        (math.inf, None, "window = inf s"),
        (0.001, None, "window = 0.001 s"),
        (1.0, 0.0, "step = 0 s"),
        (1.0, 1e-9, "step = 1e-09 s"),
        (1.0, math.nan, "step = nan s"),
        (1.0, 1.5, "step = 1.5 s is longer than window = 1 s"),
        ("1", None, "window = '1' cannot be used"),
        (None, None, "window = None cannot be used"),
    ],
)
def test_seconds_that_cannot_be_are_refused(
    window_s: float, step_s: float | None, words: str, long_sound: Path, watcher: Model
) -> None:
    for model in (listener(), watcher):
        if window_s == 0.001 and model is watcher:
            continue  # a clip may have a window of a millisecond
        with pytest.raises(ConfigError, match="--") as caught:
            timeline.of_files(model, [long_sound], window_s=window_s, step_s=step_s)
        assert words in str(caught.value)


def test_images_and_events_have_no_windows() -> None:
    picture = described(PICTURE, "flatten", "images", "classify")
    with pytest.raises(ConfigError, match="window has no effect on images"):
        timeline.of_files(picture, [], window_s=1.0)

    prep = SOUND
    net = networks.build(
        "flatten", prep.layout, outputs=1, each=True, mean=prep.mean, deviation=prep.deviation
    )
    rows = ((1.0,), (2.0,))
    events = Description(
        "sounds", "events", ("dog",), net.notation, prep, Answers("labels"), rows, {}
    )
    with pytest.raises(ConfigError, match="window has no effect on events"):
        timeline.of_files(Model(net, events), [], window_s=1.0)


@pytest.mark.parametrize("kind", ["sounds", "clips"])
def test_a_bad_file_stops_or_is_a_row_without_an_answer(
    kind: str, long_sound: Path, watcher: Model, tmp_path: Path
) -> None:
    is_sound = kind == "sounds"
    good = long_sound if is_sound else clip_file(tmp_path / "a.mkv", square(2 * RIGHT))
    model = listener() if is_sound else watcher
    bad = tmp_path / f"bad{good.suffix}"
    bad.write_bytes(b"no " * 99)
    missing = tmp_path / f"missing{good.suffix}"
    with pytest.raises(SourceError, match="bad"):
        list(timeline.of_files(model, [good, bad], window_s=1.0))
    found = list(timeline.of_files(model, [bad, missing, good], window_s=1.0, skip_bad_files=True))
    assert [(w.start, w.end) for w in found[:2]] == [(None, None)] * 2
    assert str(bad) in found[0].prediction.reason
    assert "does not exist" in found[1].prediction.reason
    assert len(found) > 3 and all(w.prediction.label for w in found[2:])


# Formats

HEARD = [
    Window(0.0, 2.0, Prediction("a.wav", "low", 0.9312, {"low": 0.9312, "high": 0.0688})),
    Window(8.0, 10.0625, Prediction("a.wav", "high", 1.0, {"low": 0.0, "high": 1.0})),
    Window(None, None, Prediction("b,c.wav", reason="b,c.wav is empty (0 bytes).")),
]


class Asked:
    """What a format asks a model for."""

    def __init__(self, task: str, labels: tuple[str, ...] = ("low", "high")) -> None:
        self.task, self.labels = task, labels


def written(format: str, windows: list[Window], task: str = "classify", **more: Any) -> list[str]:
    return list(answers.WINDOW_FORMATS[format](iter(windows), cast(Model, Asked(task, **more))))


def test_the_table_has_a_line_a_window() -> None:
    assert written("table", HEARD) == [
        "a.wav     0.00 to  2.00 s  low        93.1 %",
        "a.wav     8.00 to 10.06 s  high       100.0 %",
        "b,c.wav                    no answer  b,c.wav is empty (0 bytes).",
    ]
    assert written("table", []) == []


def test_csv_has_a_row_a_window_with_milliseconds() -> None:
    lines = written("csv", HEARD)
    assert lines[0] == "path,start,end,label,probability,low,high,reason"
    assert lines[1] == "a.wav,0.000,2.000,low,0.931200,0.9312,0.0688,"
    assert lines[2].startswith("a.wav,8.000,10.062,high,")
    bad = list(csv.DictReader(io.StringIO("\n".join(lines))))[2]
    assert bad["path"] == "b,c.wav" and bad["reason"] == "b,c.wav is empty (0 bytes)."
    assert bad["start"] == bad["end"] == bad["label"] == bad["low"] == ""


def test_csv_of_labels_and_numbers_has_their_columns() -> None:
    labels = [Window(0, 1, Prediction("a.wav", labels=("low",), probabilities={"low": 0.75}))]
    assert written("csv", labels, "labels") == [
        "path,start,end,labels,low,high,reason",
        "a.wav,0.000,1.000,low,0.75,,",
    ]
    numbers = [Window(0, 1, Prediction("a.wav", values={"pitch": 440.0}))]
    assert written("csv", numbers, "regress", labels=("pitch",)) == [
        "path,start,end,pitch,reason",
        "a.wav,0.000,1.000,440,",
    ]


def test_json_lines_have_a_line_a_window() -> None:
    found = [json.loads(line) for line in written("jsonl", HEARD)]
    assert list(found[0])[:4] == ["path", "start", "end", "label"]
    assert (found[1]["start"], found[1]["end"]) == (8.0, 10.0625)
    assert found[1]["probabilities"] == {"low": 0.0, "high": 1.0}
    assert found[2]["start"] is None and found[2]["label"] is None and found[2]["reason"]


def test_events_are_told_one_by_one() -> None:
    barks = (Event("dog", 0.5, 1.25, 0.8), Event("cat", 10.0, 11.0, 0.5))
    predictions = [
        Prediction("a.wav", events=barks),
        Prediction("b.wav", events=()),
        Prediction("c.wav", reason="c.wav is empty (0 bytes)."),
    ]

    def told(format: str) -> list[str]:
        model = cast(Model, Asked("events", ("dog", "cat")))
        return list(answers.FORMATS[format](iter(predictions), model))

    assert told("table") == [
        "a.wav   0.50 to  1.25 s  dog        80.0 %",
        "a.wav  10.00 to 11.00 s  cat        50.0 %",
        "b.wav                    none",
        "c.wav                    no answer  c.wav is empty (0 bytes).",
    ]
    assert told("csv") == [
        "path,start,end,label,probability,reason",
        "a.wav,0.500,1.250,dog,0.800000,",
        "a.wav,10.000,11.000,cat,0.500000,",
        "b.wav,,,,,",
        "c.wav,,,,,c.wav is empty (0 bytes).",
    ]
    assert json.loads(told("jsonl")[0])["events"][0]["label"] == "dog"


# The command


def test_the_command_prints_a_timeline(
    long_sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.gridcell"
    listener().save(path)
    words = ["predict", str(path), str(long_sound), "--format", "csv"]
    assert main([*words, "--window", "2", "--step", "1.5"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["start"], row["end"]) for row in rows] == [
        ("0.000", "2.000"),
        ("1.500", "3.500"),
        ("2.500", "4.500"),
    ]
    assert [rows[0]["label"], rows[2]["label"]] == ["low", "high"]
    assert main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--step", "1"], "step has no effect without window"),
        (["--window", "0"], "window = 0 s cannot be used"),
        (["--window", "-1"], "window = -1 s cannot be used"),
        (["--window", "1", "--step", "2"], "give a --step of at most 1"),
        (["--windw", "1"], "Did you mean --window?"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: list[str],
    words: str,
    long_sound: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "model.gridcell"
    listener().save(path)
    assert main(["predict", str(path), str(long_sound), *options]) == 2
    said = capsys.readouterr()
    assert words in said.err and "  Fix: " in said.err and not said.out


def test_a_bad_file_is_told_by_the_command(
    long_sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, bad = tmp_path / "model.gridcell", tmp_path / "bad.wav"
    listener().save(path)
    bad.write_bytes(b"")
    words = ["predict", str(path), str(bad), str(long_sound), "--window", "2"]
    assert main(words) == 2
    assert "bad.wav is empty" in capsys.readouterr().err
    assert main([*words, "--on-bad-file", "skip"]) == 0
    assert "no answer" in capsys.readouterr().out.splitlines()[0]
