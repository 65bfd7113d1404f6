"""Windows as batches: a column of a window is an item, and what is known stands a horizon ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from gridcell.batches import items_of, training_batches
from gridcell.batches.forecast import Forecasts
from gridcell.preparation.forecast import ForecastPreparation, decode_forecast
from gridcell.samples import ForecastFacts, Step

from .plain import plain_batches

HOUR_US = 3_600_000_000
STEPS = 40
PREP = ForecastPreparation(
    columns=("x", "y", "z", "plan"),
    targets=(0, 2),
    known=(3,),
    past=8,
    horizon=3,
    segment=4,
    season=24,
    step=Step("time", HOUR_US),
    calendar=("hour",),
    column_mean=(0.0, 10.0, 0.0, 0.0),
    column_deviation=(1.0, 2.0, 4.0, 1.0),
)


def facts() -> ForecastFacts:
    steps = np.arange(STEPS, dtype=np.float32)
    values = np.stack([steps, steps + 100, steps + 1000, steps + 5000], 1)
    return ForecastFacts(
        values=values,
        starts=np.array([0, STEPS]),
        series=np.array([0]),
        series_names=("",),
        firsts=np.arange(STEPS - 10),
        past=8,
        horizon=3,
        columns=PREP.columns,
        targets=PREP.targets,
        known=PREP.known,
        times=np.arange(STEPS) * HOUR_US,
        step=PREP.step,
    )


def items(prep: ForecastPreparation = PREP, rows: tuple[int, ...] = (5, 9)) -> Forecasts:
    decoded = decode_forecast(prep, facts())
    found = items_of(prep, decoded, torch.zeros(len(decoded)), np.array(rows))
    assert isinstance(found, Forecasts)
    return found


def test_each_column_of_each_window_is_an_item():
    found = items()
    assert len(found) == 4
    assert found.rows.tolist() == [10, 11, 18, 19]
    assert found.steps() is None
    assert found.cells == 4
    batch = found.batch(np.arange(4))
    assert tuple(batch.values.shape) == (4, 2, 5, 4)
    assert batch.lengths is None
    assert batch.rows.tolist() == [10, 11, 18, 19]


def test_an_item_holds_its_own_column_and_what_stands_beside_it():
    values = items().batch(np.array([1])).values  # window 5, column z
    own, other, plan = (values[0, :, channel].reshape(-1).numpy() for channel in range(3))
    steps = np.arange(5, 13)
    np.testing.assert_allclose(own, (steps + 1000) / 4)
    np.testing.assert_allclose(other, (steps + 100 - 10) / 2)
    np.testing.assert_allclose(plan, steps + 3 + 5000)  # a horizon ahead


def test_the_calendar_is_that_of_a_horizon_ahead():
    values = items().batch(np.array([0])).values
    angle = 2 * np.pi * (np.arange(5, 13) + 3) / 24
    np.testing.assert_allclose(values[0, :, 3].reshape(-1), np.sin(angle), atol=1e-6)
    np.testing.assert_allclose(values[0, :, 4].reshape(-1), np.cos(angle), atol=1e-6)


def test_targets_are_the_steps_behind_the_window_on_the_columns_scale():
    batch = items().batch(np.arange(4))
    assert batch.targets[0].tolist() == [13, 14, 15]
    assert batch.targets[1].tolist() == [(1000 + step) / 4 for step in (13, 14, 15)]
    assert torch.equal(items().truths(), batch.targets)
    assert items(rows=()).truths().shape == (0, 3)


def test_the_steps_to_forecast_reach_the_network_by_no_way():
    """The own and other columns of the horizon changed: nothing but the targets differs."""
    changed = facts()
    values = changed.values.copy()
    values[13:, :3] = 1e6
    decoded = decode_forecast(PREP, replace(changed, values=values))
    other = items_of(PREP, decoded, torch.zeros(len(decoded)), np.array([5])).batch(np.arange(2))
    one = items(rows=(5,)).batch(np.arange(2))
    assert torch.equal(one.values, other.values)
    assert not torch.equal(one.targets, other.targets)


def test_flags_say_which_numbers_are_missing():
    prep = replace(PREP, missing="mask")
    holed = facts()
    holed.values[[6, 10], [0, 1]] = np.nan
    decoded = decode_forecast(prep, holed)
    values = items_of(prep, decoded, torch.zeros(30), np.array([5])).batch(np.array([0])).values[0]
    own, _, own_flag, other_flag = (values[:, channel].reshape(-1) for channel in range(4))
    assert own_flag.tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert other_flag.tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert own[1] == own[0]
    assert values.isfinite().all()


def test_what_has_nothing_before_it_is_the_mean():
    holed = facts()
    holed.values[5:7, 0] = np.nan
    decoded = decode_forecast(PREP, holed)
    values = items_of(PREP, decoded, torch.zeros(30), np.array([5])).batch(np.array([0])).values
    assert values[0, 0, 0, :2].tolist() == [0.0, 0.0]


def test_alone_or_in_a_batch():
    found = items(rows=tuple(range(20)))
    whole = torch.cat([batch.values for batch in plain_batches(found, size=7)])
    for place in range(len(found)):
        assert torch.equal(found.batch(np.array([place])).values[0], whole[place])


def test_an_epoch_holds_each_item_once():
    found = items(rows=tuple(range(20)))
    batches = list(training_batches(found, size=16, seed=1, epoch=1))
    assert sorted(np.concatenate([b.rows for b in batches]).tolist()) == found.rows.tolist()
