"""Images as batches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridcell.augment.images import ImageAugment
from gridcell.batches.order import Batch, sampled
from gridcell.preparation.read_ahead import read_ahead


@dataclass(frozen=True)
class Images:
    """Images to draw batches from: pixels [N, H, W, C], their targets, and which rows to use."""

    pixels: NDArray[np.uint8]
    targets: Tensor
    rows: NDArray[np.int64]
    augment: ImageAugment | None = None

    @property
    def is_varied(self) -> bool:
        """Whether training sees each image varied."""
        return self.augment is not None

    @property
    def cells(self) -> int:
        """Pixels of one image."""
        return int(np.prod(self.pixels.shape[1:3]))

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self) -> None:
        """An image is one step."""

    def truths(self) -> Tensor:
        """Targets of all items in their order."""
        return self.targets[self.rows]

    def windows(self) -> Images:
        """An image is seen whole."""
        return self

    def sample(self, count: int, *, seed: int) -> Images:
        """About so many of the items, drawn at random, each once."""
        return replace(self, rows=sampled(self.rows, count, seed=seed))

    def batch(self, places: NDArray[np.int64], generator: torch.Generator | None = None) -> Batch:
        """Return these images as `[B, 1, C, H, W]`, channels last in memory."""
        # The cache lies on disk: ascending rows read forward.
        order = np.sort(self.rows[places])
        read_ahead(self.pixels, ((row, row + 1) for row in order.tolist()))
        values = torch.from_numpy(np.ascontiguousarray(self.pixels[order])).permute(0, 3, 1, 2)
        if generator is not None and self.augment is not None:
            values = self.augment(values, generator)
        return Batch(values[:, None], None, self.targets[order], order)
