"""Whether lengths tell classes: held to a leave-one-out in plain Python, and where they do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcell.training import durations
from gridcell.training.durations import telling_durations


def named_by_hand(steps: list[int], classes: list[int]) -> float:
    """Each row is named by the others nearest to it in length, which share one vote."""
    total = 0.0
    for place, length in enumerate(steps):
        others = [other for other in range(len(steps)) if other != place]
        gap = min(abs(steps[other] - length) for other in others)
        near = [other for other in others if abs(steps[other] - length) == gap]
        total += sum(classes[other] == classes[place] for other in near) / len(near)
    return total / len(steps)


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), min_size=30, max_size=60),
)
def test_what_lengths_name_is_that_of_leaving_one_out(rows: list[tuple[int, int]]) -> None:
    steps, classes = zip(*rows, strict=True)
    found = telling_durations(np.array(steps), np.array(classes))
    named = named_by_hand(list(steps), list(classes))
    shares = np.bincount(classes) / len(classes)
    chance = float((shares**2).sum())
    deviation = (chance * (1 - chance) / len(rows)) ** 0.5
    if found is None:
        assert named < 1.5 * chance or named < chance + 3 * deviation or len(set(steps)) == 1
    else:
        assert found.named == pytest.approx(named) and found.chance == pytest.approx(chance)


def test_lengths_drawn_alike_for_all_classes_tell_nothing() -> None:
    for seed in range(50):
        draw = np.random.default_rng(seed)
        assert telling_durations(draw.integers(20, 60, 200), draw.integers(0, 5, 200)) is None


def test_lengths_of_their_own_tell_the_class_and_it_is_said() -> None:
    draw = np.random.default_rng(0)
    classes = np.arange(100) % 4
    found = telling_durations(30 * (classes + 1) + draw.integers(-5, 6, 100), classes)
    assert found is not None and found.named > 0.95
    assert found.told.endswith("name 100% of them, chance 25%")


def test_few_rows_and_rows_of_one_length_and_one_class_tell_nothing() -> None:
    steps = np.arange(durations.FEWEST_ROWS - 1)
    assert telling_durations(steps, steps // 10) is None
    assert telling_durations(np.full(100, 7), np.arange(100) % 2) is None
    assert telling_durations(np.arange(100), np.zeros(100, np.int64)) is None
