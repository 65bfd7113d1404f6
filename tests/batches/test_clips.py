"""Batches of clips: frames, lengths, targets and rows, and when they are varied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gridcell.augment.clips import ClipAugment
from gridcell.batches.clips import Clips
from gridcell.batches.order import training_batches
from gridcell.preparation.cache import Decoded

FRAMES = [3, 1, 5, 2, 5]


def clip(row: int, frames: int) -> NDArray[np.uint8]:
    draw = np.random.default_rng(row)
    return draw.integers(1, 256, (frames, 4, 6, 3), dtype=np.uint8)


def clips(rows: list[int] | None = None, **changes: Any) -> Clips:
    data = Decoded.of([(clip(row, frames), 1.0) for row, frames in enumerate(FRAMES)])
    chosen = np.arange(len(FRAMES)) if rows is None else np.array(rows)
    return replace(Clips(data, torch.arange(len(FRAMES)) * 10, chosen), **changes)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_frames_lengths_targets_and_rows_belong_together() -> None:
    items = clips([4, 0, 3, 1])
    batch = items.batch(np.array([2, 0, 3]))
    assert batch.rows.tolist() == [1, 3, 4] and batch.targets.tolist() == [10, 30, 40]
    assert batch.lengths is not None and batch.lengths.tolist() == [1, 2, 5]
    assert batch.lengths.dtype == torch.int64
    assert batch.values.shape == (3, 5, 3, 4, 6) and batch.values.dtype == torch.uint8
    for place, row in enumerate(batch.rows.tolist()):
        frames = FRAMES[row]
        wanted = torch.from_numpy(clip(row, frames)).permute(0, 3, 1, 2)
        assert torch.equal(batch.values[place, :frames], wanted)
        assert (batch.values[place, frames:] == 0).all()


def test_frames_lie_with_channels_last_in_memory() -> None:
    values = clips().batch(np.arange(5)).values
    assert values.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_steps_are_the_lengths_that_come_out() -> None:
    items = clips([2, 0, 1])
    assert items.steps().tolist() == [5, 3, 1] and items.cells == 24 and len(items) == 3
    for place, steps in enumerate(items.steps().tolist()):
        batch = items.batch(np.array([place]))
        assert batch.lengths is not None and batch.lengths.tolist() == [steps]
        assert batch.values.shape[1] == steps


def test_a_clip_is_the_same_alone_and_in_a_batch() -> None:
    items = clips()
    together = items.batch(np.arange(5))
    for row, frames in enumerate(FRAMES):
        alone = items.batch(np.array([row]))
        assert torch.equal(alone.values[0], together.values[row, :frames])


def test_a_clip_is_varied_only_where_there_is_a_generator() -> None:
    plain, varied = clips(), clips(augment=ClipAugment(brightness=0.4, erase=1.0))
    assert varied.is_varied and not plain.is_varied
    whole = plain.batch(np.arange(5))
    assert torch.equal(varied.batch(np.arange(5)).values, whole.values)
    assert torch.equal(plain.batch(np.arange(5), generator()).values, whole.values)
    first, again, other = (varied.batch(np.arange(5), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.values, again.values)
    assert not torch.equal(first.values, other.values)
    assert not torch.equal(first.values, whole.values.float())
    assert first.rows.tolist() == whole.rows.tolist()
    assert first.targets.tolist() == whole.targets.tolist()


def test_frames_left_out_at_the_ends_shorten_the_lengths() -> None:
    items = clips(augment=ClipAugment(time_crop=0.25))
    lengths = []
    for seed in range(20):
        batch = items.batch(np.arange(5), generator(seed))
        assert batch.lengths is not None
        assert batch.values.shape[1] == int(batch.lengths.max())
        for place, (row, kept) in enumerate(zip(batch.rows, batch.lengths.tolist(), strict=True)):
            frames = torch.from_numpy(clip(int(row), FRAMES[row])).permute(0, 3, 1, 2)
            firsts = range(FRAMES[row] - kept + 1)
            found = batch.values[place, :kept]
            assert any(torch.equal(found, frames[first : first + kept]) for first in firsts)
        lengths.append(batch.lengths.tolist())
    assert np.min(lengths, axis=0).tolist() == [3, 1, 4, 2, 4]
    assert np.max(lengths, axis=0).tolist() == FRAMES


def test_windows_are_the_clips_themselves() -> None:
    items = clips([3, 1])
    assert items.windows() is items


def test_an_epoch_holds_every_clip_once() -> None:
    items = clips(augment=ClipAugment(flip=True))
    epochs = [list(training_batches(items, size=2, seed=0, epoch=number)) for number in (0, 0)]
    rows = np.concatenate([batch.rows for batch in epochs[0]])
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]
    for one, two in zip(*epochs, strict=True):
        assert torch.equal(one.values, two.values)
