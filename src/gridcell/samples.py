"""Samples: everything known about the items of a data set before any is decoded.

One row an item, in NumPy columns: no Python object per item survives into the training loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TRAIN, VALID, TEST = 0, 1, 2
UNASSIGNED = -1
SPLIT_NAMES = ("train", "valid", "test")

ItemTask = Literal["classify", "labels", "regress"]


@dataclass(frozen=True)
class Samples:
    """The items of a data set: where they are, what they are, what they should be answered with.

    Shapes   N items; K classes or labels; M numbers to predict
    """

    kind: Literal["images"]
    task: ItemTask
    paths: tuple[str, ...]
    """[N] file of each item, relative to `root`; in an idx file `FILE#ROW`."""
    root: str
    """Folder that the paths are relative to."""
    labels: tuple[str, ...]
    """Names of the K classes or labels, or of the M numbers to predict; sorted for classes."""
    targets: NDArray[np.generic]
    """classify: int64 [N], an index into `labels`; labels: float32 [N, K] of 0 and 1;
    regress: float64 [N, M]."""
    digests: NDArray[np.generic]
    """[N] of 16 bytes (dtype V16): equal exactly where the files (or idx rows) are equal."""
    sizes: NDArray[np.int32]
    """[N, 2] height and width in pixels as a person sees the image (turned by EXIF)."""
    colours: NDArray[np.bool_]
    """[N] whether the file holds colour."""
    given: NDArray[np.int8]
    """[N] split that the data itself names (TRAIN, VALID, TEST), or UNASSIGNED."""
    groups: NDArray[np.int64] | None = None
    """[N] group of each item, where a group column was named."""
    group_names: tuple[str, ...] = ()
    """Name of each group."""
    has_label_columns: bool = False
    """Whether each of `labels` is a column of its own, so that nothing is known of a label without
    one. Where labels are written in cells, or are names of folders, one that is not written is not
    there: 0."""
    notes: tuple[str, ...] = ()
    """What was understood of the data and what was left out, a sentence each, for the user."""
    modes: tuple[tuple[str, int], ...] = ()
    """Pixel formats seen (RGB, L, RGBA ...) and how many files have each."""
    pixels: NDArray[np.uint8] | None = None
    """[N, H, W, C] where the source already is an array (idx), else None."""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Samples:
        """The same data set with only these rows, in this order."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            paths=tuple(self.paths[i] for i in index),
            targets=self.targets[index],
            digests=self.digests[index],
            sizes=self.sizes[index],
            colours=self.colours[index],
            given=self.given[index],
            groups=None if self.groups is None else self.groups[index],
            pixels=None if self.pixels is None else self.pixels[index],
        )
