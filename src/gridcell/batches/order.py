"""Batches: rows of decoded items as tensors, in an order that only the seed and epoch decide.

Nothing here is remembered between batches: batch `b` of epoch `e` is a function of the seed,
`e` and `b`, so a run can be repeated, and a thread may read ahead.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

READ_AHEAD = 2
NEIGHBOURS, NEIGHBOURHOODS = 16, 8
"""Most batches whose items are sorted by length together, enough for little padding; and in
how many such parts an epoch has at least, where it has as many batches.

Few items that are all sorted together meet the same others in every epoch, and where lengths tell
of classes, batches are of one class. In cross-validation on 50 gestures of 29 to 361 steps that
named 42 % in batches of 4, in mixed ones 58 %."""


@dataclass(frozen=True)
class Batch:
    """Some items: values [B, T, C, *grid], lengths [B] where they differ, targets, rows [B].

    Targets of classes are numbers [B], or shares of each class [B, K] where items were mixed;
    of labels that come and go they are [B, T, K].
    """

    values: Tensor
    lengths: Tensor | None
    targets: Tensor
    rows: NDArray[np.int64]
    first_steps: NDArray[np.int64] | None = None
    """[B] step of its row that an item begins with, where it may be a window; else all at 0."""
    goes_on: bool | None = None
    """Whether each item goes on where the one at its place in the batch before ended; False of the
    first of such batches, None of items that stand for themselves."""

    def cut(self, parts: int) -> list[Batch]:
        """Return the items in up to so many pieces of nearly equal size."""
        if parts == 1:
            return [self]
        pieces = []
        for places in np.array_split(np.arange(len(self.rows)), min(parts, len(self.rows))):
            part = slice(int(places[0]), int(places[-1]) + 1)
            pieces.append(
                Batch(
                    self.values[part],
                    None if self.lengths is None else self.lengths[part],
                    self.targets[part],
                    self.rows[part],
                    None if self.first_steps is None else self.first_steps[part],
                    self.goes_on,
                )
            )
        return pieces


class Items(Protocol):
    """Items of one kind to draw batches from: which rows, their targets, how they vary."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """[N] the row of each item in the data set."""

    @property
    def is_varied(self) -> bool:
        """Whether training sees each item varied at random."""

    @property
    def cells(self) -> int:
        """Grid places of one step: H * W of a picture, frequencies of a sound."""

    def __len__(self) -> int: ...

    def steps(self) -> NDArray[np.int64] | None:
        """[N] number of steps of each item; None where all have the same."""

    def truths(self) -> Tensor:
        """Targets of all items in their order, [N, ...]; of every step where steps have some."""

    def windows(self) -> Items:
        """The same data for evaluation: a long item as several, all with its row."""

    def sample(self, count: int, *, seed: int) -> Items:
        """About so many of the items, drawn at random, each once."""

    def batch(self, places: NDArray[np.int64], generator: torch.Generator | None = None) -> Batch:
        """Return the items at these places 0 .. N - 1, varied where a generator is given."""


@runtime_checkable
class InTurn(Protocol):
    """Items whose batches have an order of their own: each goes on where the one before ended."""

    def in_turn(self, size: int, generator: np.random.Generator) -> list[NDArray[np.int64]]:
        """Return the places of the items of each batch of one epoch, in their order."""


@runtime_checkable
class ByEpoch(Protocol):
    """Items of which part of the variation follows from the number of the epoch."""

    def in_epoch(self, epoch: int, *, seed: int) -> Items:
        """Return the items as they vary in this epoch."""


def work_in(items: Items) -> int:
    """Steps of all items, which is what they cost; items, where all have the same number of steps.

    One text of a million characters is no less work than a thousand of a thousand.
    """
    steps = items.steps()
    return len(items) if steps is None else int(steps.sum())


def sampled(rows: NDArray[np.int64], count: int, *, seed: int) -> NDArray[np.int64]:
    """Draw up to so many different rows, in ascending order.

    >>> sampled(np.array([4, 4, 2, 9]), 3, seed=0).tolist()
    [2, 4, 9]
    """
    known = np.unique(rows)
    return np.sort(np.random.default_rng(seed).permutation(known)[: max(count, 1)])


def epoch_batches(items: Items, *, size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Return the places of the items of each batch of one epoch.

    Items that are to be read in turn say themselves how. Others of unlike length are sorted by it
    within a neighbourhood of a few batches, which then come in random order: so a batch holds
    little padding.
    """
    generator = np.random.default_rng((seed, epoch))
    if isinstance(items, InTurn):
        return items.in_turn(size, generator)
    places = generator.permutation(len(items))
    steps = items.steps()
    if steps is None:
        return batch_rows(places, size)
    neighbours = max(1, min(NEIGHBOURS, len(places) // size // NEIGHBOURHOODS))
    near = [
        part[np.argsort(steps[part], kind="stable")]
        for part in batch_rows(places, size * neighbours)
    ]
    batches = [part for group in near for part in batch_rows(group, size)]
    return [batches[number] for number in generator.permutation(len(batches))]


def batch_rows(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Cut an order into batches of nearly equal size, none above `size`.

    No small batch is left over at the end: 33 rows in batches of 32 are 17 and 16, so batchnorm
    always has something to average and every row counts alike.

    >>> [len(rows) for rows in batch_rows(np.arange(33), 32)]
    [17, 16]
    """
    count = max(1, -(-len(order) // size))
    return [np.asarray(part) for part in np.array_split(order, count)]


def training_batches(
    items: Items,
    *,
    size: int,
    seed: int,
    epoch: int,
    is_varied: bool = True,
    first: int = 0,
    threads: int = 1,
) -> Generator[Batch]:
    """Yield the batches of one training epoch, varied, read ahead by threads.

    first     number of the batch to begin with: those before it were seen already
    threads   that read ahead; with 0 each batch is read when it is asked for. The batches are the
              same, however many they are
    """
    is_varied, in_turn = is_varied and items.is_varied, isinstance(items, InTurn)
    if is_varied and isinstance(items, ByEpoch):
        items = items.in_epoch(epoch, seed=seed)

    def make(number: int, places: NDArray[np.int64]) -> Batch:
        draw = torch.Generator().manual_seed(step_seed(seed, epoch, number)) if is_varied else None
        batch = items.batch(places, draw)
        return replace(batch, goes_on=number > 0) if in_turn else batch

    parts = epoch_batches(items, size=size, seed=seed, epoch=epoch)
    if not threads:
        for number, places in enumerate(parts[first:], start=first):
            yield make(number, places)
        return
    used = torch.get_num_threads()
    with ThreadPoolExecutor(threads, "batches", initializer=_use_one_thread) as pool:
        pool.submit(int).result()
        torch.set_num_threads(used)
        waiting: list[Future[Batch]] = []
        try:
            for number, places in enumerate(parts[first:], start=first):
                waiting.append(pool.submit(make, number, places))
                if len(waiting) > READ_AHEAD * threads:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def _use_one_thread() -> None:
    """Keep the reading thread from starting more of its own beside those of the training step."""
    # Asking first makes the number this thread's own; else the next call would set it back.
    torch.get_num_threads()
    torch.set_num_threads(1)


def plain_places(items: Items, *, size: int) -> list[NDArray[np.int64]]:
    """Return the places of all items in batches: in order, or by length where that differs."""
    steps = items.steps()
    order = np.arange(len(items)) if steps is None else np.argsort(steps, kind="stable")
    return [places for places in batch_rows(order, size) if len(places)]


def step_seed(seed: int, epoch: int, step: int) -> int:
    """A seed for one step, well spread however close the three numbers are."""
    return int(np.random.SeedSequence((seed, epoch, step)).generate_state(1, np.uint64)[0] >> 1)
