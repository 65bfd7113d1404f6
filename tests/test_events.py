"""Labels that come and go: targets at each step, training, scores and the stretches predicted."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gridcell import pipeline, scoring
from gridcell.batches import Sounds
from gridcell.config import from_mapping
from gridcell.errors import NetworkError
from gridcell.model import Model
from gridcell.networks.run import outputs
from gridcell.preparation import SoundPreparation
from gridcell.preparation.cache import Decoded
from gridcell.samples import SPANS

RATE = 4000
PREP = SoundPreparation(
    rate=RATE,
    bins=8,
    window_ms=40,
    hop_ms=20,
    low_hz=20,
    high_hz=2000,
    level="clip",
    longest_s=1.0,
    mean=(0.0,) * 8,
    deviation=(1.0,) * 8,
)


def sounds(seconds: list[float], spans: list[tuple[int, float, float, int]]) -> Sounds:
    waves = [np.full(round(s * RATE), 100, np.int16) for s in seconds]
    decoded = Decoded.of([(wave, 1 / 32767) for wave in waves])
    events = np.array(spans, SPANS)
    rows = np.arange(len(seconds))
    return Sounds(decoded, PREP, torch.zeros(len(rows), 2), rows, classes=2, events=events)


def test_a_step_has_the_labels_that_are_there_at_its_middle() -> None:
    batch = sounds([0.5, 0.2], [(0, 0.1, 0.2, 1), (1, 0.0, 0.05, 0)]).batch(np.arange(2))
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [26, 16]  # a short sound goes on in silence
    assert batch.targets.shape == (2, 26, 2)
    # Steps lie every 20 ms: 0.10, 0.12, 0.14, 0.16, 0.18 are within 0.1 to 0.2.
    assert batch.targets[0, :, 1].nonzero().flatten().tolist() == [5, 6, 7, 8, 9]
    assert batch.targets[1, :, 0].nonzero().flatten().tolist() == [0, 1, 2]
    assert batch.targets.sum() == 8


@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.013, 2.36, 3.999])
def test_windows_cover_every_step_once_in_the_mean(seconds: float) -> None:
    items = sounds([seconds, 0.5], [(0, 0.1, 0.2, 1)])

    class Numbering(torch.nn.Module):
        """Answers each step with the time that it has seen so far, in its window."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return torch.ones(*values.shape[:2], 2) * self.weight

    found = outputs(Numbering(), items)
    assert found.shape == (int(PREP.steps_of(np.diff(items.decoded.starts)).sum()), 2)
    assert (found == 1).all()
    assert items.truths().shape == found.shape


def test_truths_are_those_of_the_batches() -> None:
    items = sounds([0.5, 0.9, 0.2], [(0, 0.1, 0.2, 1), (1, 0.5, 0.9, 0), (1, 0.6, 0.7, 1)])
    batch = items.batch(np.arange(3))
    assert batch.lengths is not None
    lengths = batch.lengths.tolist()
    parts = [batch.targets[i, :count] for i, count in enumerate(lengths)]
    assert torch.equal(items.truths(), torch.cat(parts))


def written(folder: Path) -> Path:
    """Noise in which a low and a high tone come and go, and the table of when."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(24):
        seconds = random.uniform(0.6, 1.6)
        time = np.arange(int(seconds * RATE)) / RATE
        wave = 0.01 * random.standard_normal(len(time))
        for label, hertz in (("low", 400), ("high", 1300)):
            start = random.uniform(0, seconds - 0.4)
            if number % 6:
                is_there = (time >= start) & (time < start + 0.3)
                wave[is_there] += 0.3 * np.sin(2 * np.pi * hertz * time[is_there])
                rows.append([f"{number}.wav", f"{start:.3f}", f"{start + 0.3:.3f}", label])
        if not number % 6:
            rows.append([f"{number}.wav", "", "", ""])
        soundfile.write(folder / f"{number}.wav", wave, RATE)
    table = folder / "events.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["file", "start", "end", "label"], *rows])
    return table


NET = "conv(8, 3, time=3) batchnorm relu flatten lstm(8, both)"


def test_it_learns_when_each_label_is_there(tmp_path: Path) -> None:  # S32
    settings = {"net": NET, "epochs": 12, "batch_size": 4, "rate": 0.02, "precision": "float32"}
    table = written(tmp_path)
    run = pipeline.train(from_mapping(table, settings, out=tmp_path / "run"))
    assert run.scores is not None
    score = run.scores["average precision"]
    assert score.value is not None and score.baseline is not None
    assert score.value > 0.8 > 0.5 > score.baseline
    assert score.low is None and "steps of one recording are alike" in score.note

    model = Model.load(run.model_file)
    again = scoring.evaluate(model, table, from_mapping(table, {}).data)
    assert again is not None and again["average precision"].value is not None
    assert again["average precision"].value > 0.8
    [none, some] = model.predict([tmp_path / "0.wav", tmp_path / "1.wav"])
    assert none.events == () or all(e.end - e.start < 0.1 for e in none.events or ())
    assert some.events
    with table.open(newline="") as file:
        known = [row for row in csv.DictReader(file) if row["file"] == "1.wav"]
    for row in known:
        overlaps = [
            min(e.end, float(row["end"])) - max(e.start, float(row["start"]))
            for e in some.events
            if e.label == row["label"]
        ]
        assert max(overlaps, default=0.0) > 0.15, (row, some.events)


def test_a_network_that_thins_time_is_refused(tmp_path: Path) -> None:
    settings = {"net": "conv(8, 3) maxpool(2, time=2)", "epochs": 1}
    with pytest.raises(NetworkError, match="of 1,000 steps the network leaves 500"):
        pipeline.train(from_mapping(written(tmp_path), settings, out=tmp_path / "run"))
