"""Texts as batches: ids of words, characters or tokens, padded to the longest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridcell.augment.texts import TextAugment
from gridcell.batches.order import Batch, sampled
from gridcell.batches.stretches import tags_of
from gridcell.preparation.cache import Decoded
from gridcell.preparation.texts import TextPreparation
from gridcell.samples import Tags


@dataclass(frozen=True)
class Texts:
    """Texts to draw batches from: the characters of all, their targets, and which rows to use.

    Words are looked up once, when the first batch is asked for. A text longer than the
    preparation's longest is cut there, in training and evaluation alike; tokens with tags never.
    """

    decoded: Decoded
    preparation: TextPreparation
    targets: Tensor
    rows: NDArray[np.int64]
    augment: TextAugment | None = None
    tags: Tags | None = None
    """The class of each step, instead of targets: they are then int64 [B, T], 0 in the padding."""

    @property
    def is_varied(self) -> bool:
        """Whether training sees each text varied."""
        return self.augment is not None

    @property
    def is_onward(self) -> bool:
        """Whether the class of each step is the step that comes next: a text to write on."""
        return self.preparation.stretch > 0

    @property
    def cells(self) -> int:
        """A step of a text has no grid."""
        return 1

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self) -> NDArray[np.int64]:
        """Steps of each item."""
        return np.asarray(np.diff(self.ids[1]))

    def truths(self) -> Tensor:
        """Targets of all items in order; the class of every step where steps have one."""
        if self.tags is None:
            return self.targets[self.rows]
        return torch.from_numpy(self.tags.take(self.rows).numbers.astype(np.int64))

    def windows(self) -> Texts:
        """A text is read whole, up to the longest."""
        return self

    def sample(self, count: int, *, seed: int) -> Texts:
        """About so many of the items, drawn at random, each once."""
        return replace(self, rows=sampled(self.rows, count, seed=seed))

    def batch(self, places: NDArray[np.int64], generator: torch.Generator | None = None) -> Batch:
        """Return these texts as int32 ids `[B, T]` (or `[B, T, 1 + L]`), lengths and targets."""
        order = places[np.argsort(self.rows[places], kind="stable")]
        rows, (ids, starts) = self.rows[order], self.ids
        counts = self.steps()[order]
        firsts = np.zeros(len(order), np.int64)
        longest = max(1, int(counts.max(initial=0)))
        values = np.zeros((len(order), longest, *ids.shape[1:]), np.int32)
        for number, (place, count) in enumerate(zip(order, counts, strict=True)):
            values[number, :count] = ids[starts[place] : starts[place] + count]
        found, lengths = torch.from_numpy(values), torch.from_numpy(counts)
        if self.augment is not None and generator is not None:
            found = self.augment(found, lengths, generator)
        targets = (
            self.targets[rows] if self.tags is None else tags_of(self.tags, rows, firsts, counts)
        )
        return Batch(found, lengths, targets, rows)

    @cached_property
    def ids(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Ids of all items, one after another, and where each begins, and the end."""
        ids, starts = self.preparation.ids(self.decoded.values, self.decoded.starts, self.rows)
        if self.tags is not None:
            wanted = np.diff(self.tags.starts)[self.rows]
            assert np.array_equal(np.diff(starts), wanted), "each token has one tag"
        return ids, starts
