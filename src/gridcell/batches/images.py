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

TURNS = 1 << 32
"""Beside the seed: draws of their own, since no epoch has that number, and the split draws by the
seed alone."""


@dataclass(frozen=True)
class Images:
    """Images to draw batches from: pixels [N, H, W, C], their targets, and which rows to use."""

    pixels: NDArray[np.uint8]
    targets: Tensor
    rows: NDArray[np.int64]
    augment: ImageAugment | None = None
    is_turned: NDArray[np.bool_] | None = None
    """[N of pixels] which images `augment` mirrors; drawn for each batch where left out."""

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

    def in_epoch(self, epoch: int, *, seed: int) -> Images:
        """The same images, each mirrored where it was not in the epoch before, half of them first.

        Source   Jordan 2024, alternating flip
        """
        is_first = np.random.default_rng((seed, TURNS)).random(len(self.pixels)) < 0.5
        return replace(self, is_turned=is_first ^ bool(epoch % 2))

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
            turned = None if self.is_turned is None else torch.from_numpy(self.is_turned[order])
            values = self.augment(values, generator, is_turned=turned)
        return Batch(values[:, None], None, self.targets[order], order)
