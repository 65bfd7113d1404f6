"""Series as batches: steps of several columns, padded to the longest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridcell.augment.series import SeriesAugment
from gridcell.batches.order import Batch, sampled
from gridcell.batches.stretches import drawn_starts, mixed_targets, tags_of, window_starts
from gridcell.preparation.cache import Decoded
from gridcell.preparation.series import SeriesPreparation
from gridcell.samples import Tags


@dataclass(frozen=True)
class Series:
    """Series to draw batches from: steps of all, their targets, and which rows to use.

    One that is longer than what is read at once is cut to a random stretch each time that training
    sees it; `windows` covers all of it for evaluation.
    """

    decoded: Decoded
    preparation: SeriesPreparation
    targets: Tensor
    rows: NDArray[np.int64]
    augment: SeriesAugment | None = None
    classes: int = 0
    """Classes that targets are numbers of, so that mixed series can have shares of two."""
    tags: Tags | None = None
    """The class of each step, instead of targets: they are then int64 [B, T]."""
    firsts: NDArray[np.int64] | None = None
    """[N] step at which each item begins, where items are windows of their rows."""

    @property
    def is_varied(self) -> bool:
        """Whether training sees each series varied: long ones always are, by the stretch."""
        longest = int(self.decoded.counts(self.rows).max(initial=0))
        return self.augment is not None or longest > self.preparation.longest

    @property
    def cells(self) -> int:
        """A step of a series has no grid."""
        return 1

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self) -> NDArray[np.int64]:
        """Steps of each item."""
        return self._counts(np.arange(len(self)))

    def truths(self) -> Tensor:
        """Targets of all items in order; the class of every step where steps have one."""
        if self.tags is None:
            return self.targets[self.rows]
        return torch.from_numpy(self.tags.take(self.rows).numbers)

    def windows(self) -> Series:
        """Each long series as windows that overlap by at least half and end where it ends."""
        rows, firsts = [], []
        for row, steps in zip(
            self.rows.tolist(), self.decoded.counts(self.rows).tolist(), strict=True
        ):
            starts = window_starts(steps, self.preparation.longest)
            rows += [row] * len(starts)
            firsts += starts
        return replace(
            self, rows=np.array(rows, np.int64), firsts=np.array(firsts, np.int64), augment=None
        )

    def sample(self, count: int, *, seed: int) -> Series:
        """About so many of the items, drawn at random, each once."""
        return replace(self, rows=sampled(self.rows, count, seed=seed))

    def batch(self, places: NDArray[np.int64], generator: torch.Generator | None = None) -> Batch:
        """Return these series as float32 `[B, T, C]`, their lengths, and targets."""
        order = places[np.argsort(self.rows[places], kind="stable")]
        rows, counts = self.rows[order], self._counts(order)
        firsts = self._firsts(order, counts, generator)
        begins = self.decoded.starts[rows] + firsts
        longest = max(1, int(counts.max()))
        values = np.zeros((len(rows), longest, *self.decoded.values.shape[1:]), np.float32)
        for number, (begin, count) in enumerate(zip(begins, counts, strict=True)):
            values[number, :count] = self.decoded.values[begin : begin + count]
        # Once for all: nothing is missing in the padding, so it stays 0.
        found, lengths = torch.from_numpy(self.preparation.read(values)), torch.from_numpy(counts)
        targets = (
            self.targets[rows] if self.tags is None else tags_of(self.tags, rows, firsts, counts)
        )
        if self.augment is not None and generator is not None:
            scale = torch.tensor(self.preparation.deviation)
            found, lengths = self.augment(found, lengths, scale, generator)
            if self.augment.mix and self.tags is None:
                found, lengths, partner, share = self.augment.mix_batch(found, lengths, generator)
                targets = mixed_targets(targets, partner, share, classes=self.classes)
        return Batch(found, lengths, targets, rows, firsts)

    def _counts(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps of the items at these places: of the series, the stretch or the window."""
        left = self.decoded.counts(self.rows[places])
        if self.firsts is not None:
            left = left - self.firsts[places]
        return np.asarray(np.minimum(left, self.preparation.longest))

    def _firsts(
        self,
        places: NDArray[np.int64],
        counts: NDArray[np.int64],
        generator: torch.Generator | None,
    ) -> NDArray[np.int64]:
        """Return at which step of its series each item begins."""
        if self.firsts is not None:
            return np.asarray(self.firsts[places], np.int64)
        if generator is None:
            return np.zeros(len(places), np.int64)
        return drawn_starts(self.decoded.counts(self.rows[places]) - counts, generator)
