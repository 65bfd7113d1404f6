"""Batches: rows of a cached array as tensors, in an order that only the seed and epoch decide.

Nothing here is remembered between batches: batch `b` of epoch `e` is a function of the seed,
`e` and `b`, so a run can be repeated, and a thread may read ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Augment = Callable[[Tensor, torch.Generator], Tensor]
READ_AHEAD = 2


@dataclass(frozen=True)
class Batch:
    """Some items: values [B, T, C, *grid], lengths [B] where they differ, targets, rows [B]."""

    values: Tensor
    lengths: Tensor | None
    targets: Tensor
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """Images to draw batches from: pixels [N, H, W, C], their targets, and which rows to use."""

    pixels: NDArray[np.uint8]
    targets: Tensor
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return these rows as `[B, 1, C, H, W]`, channels last in memory."""
        order = np.sort(rows)
        # The cache lies on disk: ascending rows read forward.
        values = torch.from_numpy(np.ascontiguousarray(self.pixels[order]))
        return Batch(values.permute(0, 3, 1, 2).unsqueeze(1), None, self.targets[order], order)


def epoch_order(data: Images, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the rows in the order in which one epoch sees them."""
    generator = np.random.default_rng((seed, epoch))
    return data.rows[generator.permutation(len(data.rows))]


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
    data: Images, *, size: int, seed: int, epoch: int, augment: Augment | None
) -> Iterator[Batch]:
    """Yield the batches of one training epoch, augmented, read ahead by a thread."""

    def make(number: int, rows: NDArray[np.int64]) -> Batch:
        batch = data.batch(rows)
        if augment is None:
            return batch
        generator = torch.Generator().manual_seed(step_seed(seed, epoch, number))
        values = augment(batch.values[:, 0], generator)
        return Batch(values[:, None], batch.lengths, batch.targets, batch.rows)

    parts = batch_rows(epoch_order(data, seed=seed, epoch=epoch), size)
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        pool.submit(_use_one_thread).result()
        torch.set_num_threads(threads)
        waiting: list[Future[Batch]] = []
        try:
            for number, rows in enumerate(parts):
                waiting.append(pool.submit(make, number, rows))
                if len(waiting) > READ_AHEAD:
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


def plain_batches(data: Images, *, size: int) -> Iterator[Batch]:
    """Yield all rows in their own order, as they are."""
    for rows in batch_rows(data.rows, size):
        if len(rows):
            yield data.batch(rows)


def step_seed(seed: int, epoch: int, step: int) -> int:
    """A seed for one step, well spread however close the three numbers are."""
    return int(np.random.SeedSequence((seed, epoch, step)).generate_state(1, np.uint64)[0] >> 1)
