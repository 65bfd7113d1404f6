"""Batches: every row once an epoch, in an order that only the seed and the epoch decide."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from gridcell.batches import (
    Batch,
    Images,
    batch_rows,
    epoch_batches,
    step_seed,
    training_batches,
)

from .plain import plain_batches

steady = settings(deadline=None, derandomize=True, max_examples=60)


def images(count: int, rows: NDArray[np.int64] | None = None) -> Images:
    """Images of 3 x 2 pixels that each hold their own row number, and targets that do."""
    pixels = np.zeros((count, 3, 2, 3), np.uint8)
    pixels[:] = np.arange(count)[:, None, None, None] % 256
    pixels[..., 1] += 1
    return Images(pixels, torch.arange(count), np.arange(count) if rows is None else rows)


def drawn(data: Images, *, size: int = 8, seed: int = 0, epoch: int = 1) -> list[Batch]:
    return list(training_batches(data, size=size, seed=seed, epoch=epoch))


def order(data: Images, *, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.concatenate(epoch_batches(data, size=8, seed=seed, epoch=epoch))


def varied(count: int, vary: Callable[..., Tensor]) -> Images:
    return replace(images(count), augment=vary)  # type: ignore[arg-type]


@steady
@given(count=st.integers(1, 300), size=st.integers(1, 70))
def test_no_batch_is_tiny_and_none_too_large(count: int, size: int) -> None:
    lengths = [len(rows) for rows in batch_rows(np.arange(count), size)]
    assert sum(lengths) == count
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert len(lengths) == -(-count // size)


def test_33_rows_in_batches_of_32_leave_none_alone() -> None:
    assert [len(rows) for rows in batch_rows(np.arange(33), 32)] == [17, 16]


@pytest.mark.parametrize("size", [1, 7, 32, 100])
def test_every_row_comes_exactly_once_an_epoch(size: int) -> None:
    rows = np.arange(3, 60)
    seen = np.concatenate([batch.rows for batch in drawn(images(64, rows), size=size)])
    assert sorted(seen) == rows.tolist()


def test_values_targets_and_rows_belong_together() -> None:
    for batch in drawn(images(40)):
        assert batch.values.shape[1:] == (1, 3, 3, 2)
        assert batch.values.dtype == torch.uint8
        assert batch.targets.tolist() == batch.rows.tolist()
        assert batch.values[:, 0, 0, 2, 1].tolist() == batch.rows.tolist()
        assert batch.values[:, 0, 1, 2, 1].tolist() == (batch.rows + 1).tolist()
        assert batch.values[:, 0].is_contiguous(memory_format=torch.channels_last)


def test_the_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    data = images(50)
    first = order(data, seed=3, epoch=2)
    np.random.seed(1)
    torch.manual_seed(1)
    assert (order(data, seed=3, epoch=2) == first).all()
    assert (order(data, seed=3, epoch=1) != first).any()
    assert (order(data, seed=4, epoch=2) != first).any()
    # Seed 2 in epoch 3 is not seed 3 in epoch 2.
    assert (order(data, seed=2, epoch=3) != first).any()


def test_drawing_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(7)
    np.random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    drawn(images(50))
    assert (torch.get_rng_state() == before[0]).all()
    assert (np.random.get_state()[1] == before[1]).all()  # type: ignore[index]


def shaken(values: Tensor, generator: torch.Generator, **_: Tensor) -> Tensor:
    return values.float() + torch.rand(values.shape, generator=generator)


def test_the_reading_thread_gives_what_would_be_made_inline() -> None:
    data, size, seed, epoch = images(50), 8, 5, 3
    inline = []
    for number, rows in enumerate(epoch_batches(data, size=size, seed=seed, epoch=epoch)):
        plain = data.batch(rows)
        generator = torch.Generator().manual_seed(step_seed(seed, epoch, number))
        inline.append((shaken(plain.values[:, 0], generator), plain.targets, plain.rows))
    data = replace(data, augment=shaken)  # type: ignore[arg-type]
    read = list(training_batches(data, size=size, seed=seed, epoch=epoch))
    assert len(read) == len(inline)
    for batch, (values, targets, rows) in zip(read, inline, strict=True):
        assert torch.equal(batch.values[:, 0], values)
        assert torch.equal(batch.targets, targets)
        assert (batch.rows == rows).all()


@pytest.mark.parametrize("threads", [0, 1, 2, 4])
def test_any_number_of_threads_reads_the_same_batches(threads: int) -> None:
    data = replace(images(50), augment=shaken)  # type: ignore[arg-type]
    whole = drawn(data)
    read = list(training_batches(data, size=8, seed=0, epoch=1, threads=threads))
    later = list(training_batches(data, size=8, seed=0, epoch=1, threads=threads, first=3))
    assert len(read) == len(whole) and len(later) == len(whole) - 3
    for some, other in ((read, whole), (later, whole[3:])):
        for batch, wanted in zip(some, other, strict=True):
            assert torch.equal(batch.values, wanted.values)
            assert (batch.rows == wanted.rows).all()


def test_augmentation_draws_from_the_seed_of_its_step() -> None:
    def numbers(seed: int, epoch: int) -> list[float]:
        drawn: list[float] = []

        def draw(values: Tensor, generator: torch.Generator, **_: Tensor) -> Tensor:
            drawn.append(float(torch.rand(1, generator=generator, dtype=torch.float64)))
            return values

        list(training_batches(varied(40, draw), size=8, seed=seed, epoch=epoch))
        return drawn

    first = numbers(0, 1)
    assert numbers(0, 1) == first
    assert len(set(first)) == 5
    assert not set(first) & set(numbers(0, 2))
    assert not set(first) & set(numbers(1, 1))
    # The seed alone: not what was drawn before it, nor how many batches there are.
    assert first[2] == float(
        torch.rand(
            1, generator=torch.Generator().manual_seed(step_seed(0, 1, 2)), dtype=torch.float64
        )
    )


def test_step_seeds_of_near_numbers_are_far_apart() -> None:
    seeds = {step_seed(s, e, b) for s in range(6) for e in range(6) for b in range(6)}
    assert len(seeds) == 216
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_reader_that_is_left_early_ends_its_thread() -> None:
    batches = training_batches(images(200), size=4, seed=0, epoch=1)
    next(batches)
    assert any(thread.name.startswith("batches") for thread in threading.enumerate())
    batches.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_a_fault_while_reading_reaches_the_training() -> None:
    def fails(values: Tensor, generator: torch.Generator, **_: Tensor) -> Tensor:
        raise OSError("the drive is gone")

    with pytest.raises(OSError, match="the drive is gone"):
        list(training_batches(varied(20, fails), size=4, seed=0, epoch=1))


def test_the_threads_of_the_training_step_stay_as_they_were() -> None:
    torch.set_num_threads(2)
    inside: list[int] = []

    def look(values: Tensor, generator: torch.Generator, **_: Tensor) -> Tensor:
        inside.append(torch.get_num_threads())
        return values

    list(training_batches(varied(20, look), size=4, seed=0, epoch=1))
    assert set(inside) == {1}
    assert torch.get_num_threads() == 2


def test_plain_batches_keep_the_order_of_the_rows() -> None:
    rows = np.array([2, 5, 7, 11, 30])
    seen = [batch.rows.tolist() for batch in plain_batches(images(40, rows), size=2)]
    assert [row for part in seen for row in part] == rows.tolist()
    assert not list(plain_batches(images(4, np.arange(0)), size=2))


@dataclass(frozen=True)
class Sequences:
    """Items of unlike length whose values are their row numbers."""

    lengths: NDArray[np.int64]
    is_varied: bool = False
    cells: int = 1

    @property
    def rows(self) -> NDArray[np.int64]:
        return np.arange(len(self.lengths))

    @property
    def targets(self) -> Tensor:
        return torch.zeros(len(self.lengths))

    def __len__(self) -> int:
        return len(self.lengths)

    def steps(self) -> NDArray[np.int64]:
        return self.lengths

    def windows(self) -> Sequences:
        return self

    def batch(self, places: NDArray[np.int64], generator: torch.Generator | None = None) -> Batch:
        lengths = torch.from_numpy(self.lengths[places])
        values = torch.zeros(len(places), int(lengths.max()), 1)
        return Batch(values, lengths, self.targets[places], places)


def padding(batches: list[NDArray[np.int64]], lengths: NDArray[np.int64]) -> float:
    """Share of the steps that are padding."""
    padded = sum(int(lengths[places].max()) * len(places) for places in batches)
    return 1 - int(lengths.sum()) / padded


def test_unlike_lengths_are_batched_with_their_like() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 2000)
    items = Sequences(lengths)
    batches = epoch_batches(items, size=16, seed=0, epoch=1)
    assert sorted(np.concatenate(batches)) == list(range(2000))
    at_random = batch_rows(np.random.default_rng(1).permutation(2000), 16)
    assert padding(batches, lengths) < 0.1 < 0.4 < padding(at_random, lengths)
    again = epoch_batches(items, size=16, seed=0, epoch=2)
    first = {tuple(sorted(places)) for places in batches}
    assert not first & {tuple(sorted(places)) for places in again}
    # Short and long batches come mixed, not from short to long.
    means = [float(lengths[places].mean()) for places in batches]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4


@pytest.mark.parametrize("count", [40, 100, 314])
def test_few_items_of_unlike_lengths_meet_others_in_every_epoch(count: int) -> None:
    """Sorted all together they would be the same batches in each, by whatever lengths tell of."""
    lengths = 10 + np.random.default_rng(0).permutation(count)
    met: dict[int, set[int]] = {item: set() for item in range(count)}
    for epoch in range(1, 61):
        batches = epoch_batches(Sequences(lengths), size=16, seed=0, epoch=epoch)
        assert sorted(np.concatenate(batches)) == list(range(count))
        for places in batches:
            for place in places.tolist():
                met[place].update(places.tolist())
    shortest, longest = int(lengths.argmin()), int(lengths.argmax())
    assert longest in met[shortest] or count > 300
    assert min(map(len, met.values())) > 0.7 * min(count, 200)


def test_plain_batches_of_unlike_lengths_hold_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 500)
    seen = list(plain_batches(Sequences(lengths), size=16))
    assert sorted(np.concatenate([batch.rows for batch in seen])) == list(range(500))
    assert padding([batch.rows for batch in seen], lengths) < 0.04
