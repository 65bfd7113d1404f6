"""Small sounds and clips that a small network learns in a moment, written as files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from gridcell import pipeline
from gridcell.config import from_mapping
from gridcell.doctor import Finding
from gridcell.record import Run
from gridcell.teller import Silent

RATE_HZ = 8000
PITCHES_HZ = {"low": 300.0, "high": 1500.0}
SOUND_NET = "conv(4, 5, time=3) relu maxpool(4, time=2)"
CLIP_NET = "conv(8, 5, time=3) relu globalpool mean"
SETTINGS: dict[str, Any] = {"precision": "float32", "ema": 0.0, "schedule": "constant"}


class Listening(Silent):
    """Keeps every sentence that it is told."""

    def __init__(self) -> None:
        self.text = ""

    def section(self, title: str, lines: Iterable[str]) -> None:
        self.text += "\n".join([title, *lines]) + "\n"

    def findings(self, findings: Iterable[Finding]) -> None:
        self.text += "".join(f"{finding.level}: {finding.text}\n" for finding in findings)


def trained(path: Path, out: Path, teller: Any = None, **settings: Any) -> Run:
    return pipeline.train(from_mapping(path, SETTINGS | settings, out=out), teller)


def tone(pitch_hz: float, seconds: float, *, seed: int = 0) -> NDArray[np.float64]:
    """A tone near a pitch, with a phase and some noise of its own."""
    draw = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pitch = pitch_hz * draw.uniform(0.9, 1.1)
    wave = 0.3 * np.sin(2 * np.pi * (pitch * times + draw.uniform()))
    return np.asarray(wave + 0.02 * draw.standard_normal(len(times)))


def write_sound(path: Path, wave: NDArray[np.float64], *, rate: int = RATE_HZ) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate)
    return path


def letters(number: int) -> str:
    """A number as letters, so that no file name looks like one of a series."""
    return "".join(chr(97 + int(digit)) for digit in f"{number:04d}")


def tones(folder: Path, count: int = 20, *, seed: int = 0) -> Path:
    """A folder of low and high tones that last 0.1 to 0.5 seconds, `count` each."""
    draw = np.random.default_rng(seed)
    for kind, (name, pitch) in enumerate(PITCHES_HZ.items()):
        for number in range(count):
            wave = tone(pitch, draw.uniform(0.1, 0.5), seed=1000 * seed + 100 * kind + number)
            write_sound(folder / name / f"{letters(number)}.wav", wave)
    return folder


def write_clip(path: Path, frames: NDArray[np.uint8], *, rate: int = 8) -> Path:
    """Frames [T, H, W, 3] as a video without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream("ffv1", rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def motion(name: str, *, count: int = 8, seed: int = 0) -> NDArray[np.uint8]:
    """A bright square on dark noise that moves to the left or to the right: [count, 16, 16, 3]."""
    draw = np.random.default_rng(seed)
    frames = draw.integers(0, 40, (count, 16, 16, 3)).astype(np.uint8)
    top, first = draw.integers(2, 10), draw.integers(0, 4)
    for number in range(count):
        place = first + number if name == "right" else 12 - first - number
        frames[number, top : top + 4, max(0, place) : max(0, place) + 4] = 220
    return frames


def motions(folder: Path, count: int = 16, *, seed: int = 0) -> Path:
    """A folder of clips in which a square moves left or right, `count` each, of 6 to 8 frames."""
    for kind, name in enumerate(("left", "right")):
        for number in range(count):
            frames = motion(name, count=6 + number % 3, seed=1000 * seed + 100 * kind + number)
            write_clip(folder / name / f"{letters(number)}.mkv", frames)
    return folder


def speakers(folder: Path, *, people: int = 6, folds: int = 3, each: int = 4) -> Path:
    """A table of tones with their speaker and their fold; each speaker is in one fold."""
    rows = []
    for person in range(people):
        for number in range(each):
            name = "low" if number % 2 else "high"
            wave = tone(PITCHES_HZ[name], 0.15, seed=100 * person + number)
            file = write_sound(folder / f"p{person}_{letters(number)}.wav", wave)
            rows.append(f"{file.name},{name},person {person},{person % folds}")
    path = folder / "table.csv"
    path.write_text("\n".join(["file,pitch,speaker,fold", *rows]) + "\n")
    return path
