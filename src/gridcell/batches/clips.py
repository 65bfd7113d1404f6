"""Clips as batches: frames of unlike number, padded to the longest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridcell.augment.clips import ClipAugment
from gridcell.batches.order import Batch, sampled
from gridcell.preparation.cache import Decoded
from gridcell.preparation.read_ahead import read_ahead


@dataclass(frozen=True)
class Clips:
    """Clips to draw batches from: frames of all, their targets, and which rows to use."""

    decoded: Decoded
    targets: Tensor
    rows: NDArray[np.int64]
    augment: ClipAugment | None = None

    @property
    def is_varied(self) -> bool:
        """Whether training sees each clip varied."""
        return self.augment is not None

    @property
    def cells(self) -> int:
        """Pixels of one frame."""
        return int(np.prod(self.decoded.values.shape[1:3]))

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self) -> NDArray[np.int64]:
        """Frames of each clip."""
        return self.decoded.counts(self.rows)

    def truths(self) -> Tensor:
        """Targets of all items in their order."""
        return self.targets[self.rows]

    def windows(self) -> Clips:
        """A clip is seen whole: its frames were chosen over all of it."""
        return self

    def sample(self, count: int, *, seed: int) -> Clips:
        """About so many of the items, drawn at random, each once."""
        return replace(self, rows=sampled(self.rows, count, seed=seed))

    def batch(self, places: NDArray[np.int64], generator: torch.Generator | None = None) -> Batch:
        """Return these clips as uint8 `[B, T, C, H, W]`, channels last in memory, and lengths."""
        order = np.sort(self.rows[places])
        starts, stops = self.decoded.starts[order], self.decoded.starts[order + 1]
        counts = stops - starts
        frames = np.zeros((len(order), int(counts.max()), *self.decoded.values.shape[1:]), np.uint8)
        read_ahead(self.decoded.values, zip(starts.tolist(), stops.tolist(), strict=True))
        for row, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            frames[row, : stop - start] = self.decoded.values[start:stop]
        values = torch.from_numpy(frames).permute(0, 1, 4, 2, 3)
        lengths = torch.from_numpy(counts)
        if generator is not None and self.augment is not None:
            values, lengths = self.augment(values, lengths, generator)
        return Batch(values, lengths, self.targets[order], order)
