"""A table of what is heard when: times, labels, files without events, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import Samples
from gridcell.sources import read

ROWS = [
    ("a.wav", "0.10", "0.30", "bark"),
    ("b.wav", "", "", ""),
    ("a.wav", "0.20", "0.90", "rain"),
    ("c.wav", "0", "0.5", "rain"),
]


def table(folder: Path, rows: list[tuple[str, ...]], heading: str = "file,start,end,label") -> Path:
    """A table with sounds of one second beside it."""
    for number, name in enumerate(sorted({row[0] for row in rows})):
        wave = np.sin(np.arange(8000) * (0.1 + 0.05 * number)) * 0.5
        soundfile.write(folder / name, wave, 8000)
    path = folder / "events.csv"
    path.write_text("\n".join([heading, *(",".join(row) for row in rows)]) + "\n", "utf-8")
    return path


def found(folder: Path, rows: list[tuple[str, ...]], **settings: object) -> Samples:
    return read(table(folder, rows), DataConfig(**settings))  # type: ignore[arg-type]


def test_a_row_is_an_event_and_a_file_has_several(tmp_path: Path) -> None:
    samples = found(tmp_path, ROWS)
    assert samples.task == "events"
    assert samples.paths == ("a.wav", "b.wav", "c.wav")
    assert samples.labels == ("bark", "rain")
    assert samples.targets.tolist() == [[1, 1], [0, 0], [0, 1]]
    assert samples.events is not None
    assert samples.events.tolist() == [(0, 0.1, 0.3, 0), (0, 0.2, 0.9, 1), (2, 0.0, 0.5, 1)]
    notes = "\n".join(samples.notes)
    assert "3 events of column label, label by label: bark 1 (0.2 s), rain 2 (1.2 s)." in notes
    assert "1 file without any event." in notes


def test_rows_that_are_taken_keep_their_events(tmp_path: Path) -> None:
    samples = found(tmp_path, ROWS).take([2, 0])
    assert samples.paths == ("c.wav", "a.wav")
    assert samples.events is not None
    assert samples.events.tolist() == [(0, 0.0, 0.5, 1), (1, 0.1, 0.3, 0), (1, 0.2, 0.9, 1)]


def test_a_bad_file_takes_its_events_with_it(tmp_path: Path) -> None:
    path = table(tmp_path, ROWS)
    (tmp_path / "a.wav").write_text("no sound")
    samples = read(path, DataConfig(on_bad_file="skip"))
    assert samples.paths == ("b.wav", "c.wav")
    assert samples.events is not None
    assert samples.events.tolist() == [(1, 0.0, 0.5, 1)]


def test_columns_may_be_called_onset_and_offset(tmp_path: Path) -> None:
    path = table(tmp_path, ROWS, "file,onset,offset,event")
    assert read(path, DataConfig()).task == "events"


def test_a_class_can_still_be_asked_for(tmp_path: Path) -> None:
    rows = [("a.wav", "0", "1", "bark"), ("b.wav", "0", "1", "rain")]
    samples = found(tmp_path, rows, task="classify", target=("label",))
    assert samples.task == "classify" and samples.events is None


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (("a.wav", "soon", "0.3", "bark"), "column start is no number in row 2"),
        (("a.wav", "0.1", "", "bark"), "column end is empty in row 2"),
        (("a.wav", "0.1", "0.2", ""), "column label is empty in row 2"),
        (("a.wav", "-0.1", "0.2", "bark"), "column start lies before the file begins in row 2"),
        (("a.wav", "0.3", "0.3", "bark"), "column end isn't after the start in row 2"),
        (("a.wav", "100", "300", "bark"), "1 event of 2 begins after the end of the file"),
    ],
)
def test_what_is_no_event_is_named(tmp_path: Path, row: tuple[str, ...], text: str) -> None:
    with pytest.raises(SourceError) as caught:
        found(tmp_path, [row, ("b.wav", "0", "0.5", "rain")])
    assert text in caught.value.message


def test_an_event_that_ends_behind_its_file_is_told(tmp_path: Path) -> None:
    rows = [("a.wav", "0.1", "4", "bark"), ("b.wav", "0", "0.5", "rain")]
    assert "1 event ends behind the end of the file, by " in "".join(found(tmp_path, rows).notes)


def test_events_need_their_columns(tmp_path: Path) -> None:
    path = table(tmp_path, [("a.wav", "x"), ("b.wav", "y")], "file,label")
    with pytest.raises(ConfigError, match="no one column start and no one column end"):
        read(path, DataConfig(task="events"))


def test_a_split_must_be_the_same_for_all_rows_of_a_file(tmp_path: Path) -> None:
    rows = [("a.wav", "0", "0.5", "x", "train"), ("a.wav", "0.5", "0.9", "x", "test")]
    path = table(tmp_path, rows, "file,start,end,label,split")
    with pytest.raises(SourceError, match="differ in split"):
        read(path, DataConfig())
