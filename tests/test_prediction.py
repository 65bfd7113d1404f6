"""What a model answers for one item, in the data's own words and units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gridcell.prediction import ahead, events
from gridcell.preparation.cache import Decoded
from tests.pictures import made, pictures


@pytest.mark.parametrize("task", ["classify", "labels", "regress"])
def test_each_task_answers_in_its_own_way(tmp_path: Path, task: str) -> None:
    model = made(task)
    found = model.predict(pictures(tmp_path, 3))
    read = Decoded.of([model.preparation.reader.read(Path(p.path)) for p in found])
    numbers = model.answers(read, np.arange(3))
    for p, row in zip(found, numbers, strict=True):
        if task == "classify":
            assert p.label == model.labels[row.argmax()] and p.probability == row.max()
            assert sum(p.probabilities.values()) == pytest.approx(1)
            assert p.labels is None and p.values is None
        elif task == "labels":
            assert p.labels == tuple(
                label for label, value in zip(model.labels, row, strict=True) if value >= 0.5
            )
            assert p.label is None and set(p.probabilities) == {"red", "wet"}
        else:
            assert p.values == {"height": row[0]}
            assert p.label is None and not p.probabilities


def test_events_hold_the_steps_that_have_their_label_and_no_other() -> None:
    answer = np.random.default_rng(0).choice([0.2, 0.5, 0.9], (40, 3))
    answer[[0, -1], 0] = 0.9  # from the first step, and to the last
    found, middle = events(answer, "abc", step_s=0.5), 0.5 * np.arange(40)
    assert [(e.start, e.label) for e in found] == sorted((e.start, e.label) for e in found)
    for number, label in enumerate("abc"):
        is_there, seen = answer[:, number] >= 0.5, np.zeros(40, int)
        for event in (event for event in found if event.label == label):
            held = (middle >= event.start) & (middle < event.end)
            first, last = middle[held][[0, -1]]
            assert (event.start, event.end) == (max(0.0, first - 0.25), last + 0.25)
            assert event.probability == pytest.approx(answer[held, number].mean())
            seen += held
        assert (seen == is_there).all()
        begins = is_there & ~np.concatenate([[False], is_there[:-1]])
        assert sum(event.label == label for event in found) == begins.sum()


def test_events_end_where_the_recording_does() -> None:
    """A step hears a stretch around its moment, and short recordings are read as longer ones."""
    answer = np.full((4, 2), 0.9)
    answer[:3, 1] = 0.1
    found = events(answer, "ab", step_s=0.5, seconds=1.2)  # b is there from 1.25 s on
    assert [(e.label, e.start, e.end) for e in found] == [("a", 0.0, 1.2)]


def test_a_forecast_has_the_interval_of_its_column_and_step() -> None:
    answer = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    half = np.array([[0.5, 0.25, 0.75], [5.0, 2.0, 9.0]])
    found = ahead(answer, columns=("x", "y"), times=("1", "2", "3"), half=half)
    assert [(a.column, a.time, a.lower_95, a.value, a.upper_95) for a in found] == [
        ("x", "1", 0.5, 1.0, 1.5),
        ("x", "2", 1.75, 2.0, 2.25),
        ("x", "3", 2.25, 3.0, 3.75),
        ("y", "1", 5.0, 10.0, 15.0),
        ("y", "2", 18.0, 20.0, 22.0),
        ("y", "3", 21.0, 30.0, 39.0),
    ]
