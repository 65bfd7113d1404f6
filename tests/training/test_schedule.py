"""How the learning rate moves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gridcell.training.schedule import (
    COSINE_WARM_UP,
    END_SHARE,
    ONE_CYCLE_WARM_UP,
    START_SHARE,
    rate_share,
)

PROGRESS = np.linspace(0, 1, 501)


def shares(schedule: Any) -> np.ndarray:
    return np.array([rate_share(schedule, float(p)) for p in PROGRESS])


@pytest.mark.parametrize(
    ("schedule", "warm_up"), [("one-cycle", ONE_CYCLE_WARM_UP), ("cosine", COSINE_WARM_UP)]
)
def test_the_rate_rises_to_its_peak_and_falls(schedule: str, warm_up: float) -> None:
    found = shares(schedule)
    assert found[0] == START_SHARE
    assert found.max() == pytest.approx(1.0, abs=1e-3)
    assert PROGRESS[found.argmax()] == pytest.approx(warm_up)
    assert found[-1] == pytest.approx(END_SHARE)
    before = warm_up >= PROGRESS
    assert (np.diff(found[before]) > 0).all()
    assert (np.diff(found[~before]) < 0).all()
    assert np.abs(np.diff(found)).max() < 0.05  # no jump where the two parts meet


@pytest.mark.parametrize(
    ("schedule", "warm_up"), [("one-cycle", ONE_CYCLE_WARM_UP), ("cosine", COSINE_WARM_UP)]
)
def test_the_fall_is_half_a_cosine(schedule: Any, warm_up: float) -> None:
    middle = (1 + warm_up) / 2
    assert rate_share(schedule, middle) == pytest.approx((1 + END_SHARE) / 2)
    late = warm_up + 0.9 * (1 - warm_up)
    expected = END_SHARE + (1 - END_SHARE) * (1 + math.cos(0.9 * math.pi)) / 2
    assert rate_share(schedule, late) == pytest.approx(expected)


def test_constant_stays() -> None:
    assert (shares("constant") == 1).all()


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
def test_past_the_end_the_rate_stays_where_it_ended(schedule: Any) -> None:
    assert rate_share(schedule, 1.5) == pytest.approx(rate_share(schedule, 1.0))
    assert rate_share(schedule, 1.5) > 0
