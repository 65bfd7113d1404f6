"""Batches of series: steps, lengths, targets, windows and tags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gridcell.augment.series import SeriesAugment
from gridcell.batches.series import Series
from gridcell.preparation.cache import Decoded
from gridcell.preparation.series import SeriesPreparation
from gridcell.samples import Tags

from .plain import plain_batches

STEPS = [3, 1, 5, 2, 7]
PREP = SeriesPreparation(("a", "b"), "stop", 100, mean=(0.0, 0.0), deviation=(1.0, 1.0))


def one(row: int, steps: int) -> NDArray[np.float32]:
    return np.random.default_rng(row).normal(size=(steps, 2)).astype(np.float32)


def series(rows: list[int] | None = None, *, longest: int = 100, **changes: Any) -> Series:
    data = Decoded.of([(one(row, steps), 1.0) for row, steps in enumerate(STEPS)])
    chosen = np.arange(len(STEPS)) if rows is None else np.array(rows)
    made = Series(data, replace(PREP, longest=longest), torch.arange(len(STEPS)) * 10, chosen)
    return replace(made, **changes)


def tags() -> Tags:
    starts = np.concatenate([[0], np.cumsum(STEPS)])
    return Tags(np.arange(starts[-1]), starts)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_steps_lengths_targets_and_rows_belong_together() -> None:
    batch = series([4, 0, 3, 1]).batch(np.array([2, 0, 3]))
    assert batch.rows.tolist() == [1, 3, 4] and batch.targets.tolist() == [10, 30, 40]
    assert batch.lengths is not None and batch.lengths.tolist() == [1, 2, 7]
    assert batch.values.shape == (3, 7, 2) and batch.values.dtype == torch.float32
    for place, row in enumerate(batch.rows.tolist()):
        assert np.array_equal(batch.values[place, : STEPS[row]], one(row, STEPS[row]))
        assert (batch.values[place, STEPS[row] :] == 0).all()


def test_every_window_is_a_piece_of_its_series_and_all_steps_are_covered() -> None:
    windows = series(longest=3).windows()
    seen: dict[int, set[int]] = {row: set() for row in range(len(STEPS))}
    for batch in plain_batches(windows, size=2):
        assert batch.lengths is not None and batch.first_steps is not None
        for place, (row, first) in enumerate(zip(batch.rows, batch.first_steps, strict=True)):
            count = int(batch.lengths[place])
            assert count == min(3, STEPS[row])
            piece = one(row, STEPS[row])[first : first + count]
            assert np.array_equal(batch.values[place, :count], piece)
            seen[row] |= set(range(first, first + count))
    assert all(seen[row] == set(range(steps)) for row, steps in enumerate(STEPS))


def test_training_sees_stretches_from_everywhere() -> None:
    items = series([4], longest=3)
    assert items.is_varied and items.steps().tolist() == [3]
    firsts = {
        int(items.batch(np.array([0]), generator(seed)).first_steps[0])  # type: ignore[index]
        for seed in range(60)
    }
    assert firsts == {0, 1, 2, 3, 4}


def test_tags_stand_beside_their_own_steps() -> None:  # S32
    items = series([4, 2], longest=3, tags=tags())
    starts = tags().starts
    for seed in range(5):
        batch = items.batch(np.array([0, 1]), generator(seed))
        assert batch.first_steps is not None and batch.targets.shape == (2, 3)
        for place, row in enumerate(batch.rows):
            first = starts[row] + batch.first_steps[place]
            assert batch.targets[place].tolist() == list(range(first, first + 3))
    assert items.truths().tolist() == [*range(11, 18), *range(4, 9)]


def test_missing_numbers_never_reach_a_batch() -> None:
    values = np.array([[np.nan, 1.0], [2.0, np.nan]], np.float32)
    prep = replace(PREP, missing="mask", mean=(5.0, 6.0, 0.0, 0.0), deviation=(1.0,) * 4)
    items = Series(Decoded.of([(values, 1.0)]), prep, torch.zeros(1), np.arange(1))
    assert items.batch(np.array([0])).values[0].tolist() == [[5, 1, 1, 0], [2, 6, 0, 1]]


def test_a_varied_batch_is_a_function_of_its_generator() -> None:
    items = series(augment=SeriesAugment(noise=0.1, speed=0.1, crop=0.1, scale=0.1, mask=0.2))
    one, same, other = (items.batch(np.arange(5), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.values, same.values) and torch.equal(one.targets, same.targets)
    assert one.values.shape != other.values.shape or not torch.equal(one.values, other.values)
    assert torch.equal(items.batch(np.arange(5)).values, series().batch(np.arange(5)).values)


def test_mixed_series_have_shares_of_two_classes() -> None:
    items = series(augment=SeriesAugment(mix=0.9), classes=50)
    batch = items.batch(np.arange(5), generator())
    assert batch.targets.shape == (5, 50)
    torch.testing.assert_close(batch.targets.sum(1), torch.ones(5))
    assert ((batch.targets > 0).sum(1) == 2).any()
