"""Samples: everything known about the items of a data set before any is decoded.

One row an item, in NumPy columns: no Python object per item survives into the training loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

TRAIN, VALID, TEST = 0, 1, 2
UNASSIGNED = -1
SPLIT_NAMES = ("train", "valid", "test")

Kind = Literal["images", "sounds", "clips"]
ItemTask = Literal["classify", "labels", "regress", "events"]
SPANS = np.dtype([("row", "i8"), ("start", "f8"), ("end", "f8"), ("label", "i8")])
"""An event: the item that it is in, its start and end in seconds, and the label that it has."""
Rows = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class ImageFacts:
    """What the headers say of images, before any is decoded."""

    kind: ClassVar[Kind] = "images"

    sizes: NDArray[np.int32]
    """[N, 2] height and width in pixels as a person sees the image (turned by EXIF)."""
    colours: NDArray[np.bool_]
    """[N] whether the file holds colour."""
    modes: tuple[tuple[str, int], ...] = ()
    """Pixel formats seen (RGB, L, RGBA ...) and how many files of the whole set have each."""
    pixels: NDArray[np.uint8] | None = None
    """[N, H, W, C] where the source already is an array (idx), else None."""

    def take(self, rows: Rows) -> ImageFacts:
        """The facts of these rows, in this order."""
        return replace(
            self,
            sizes=self.sizes[rows],
            colours=self.colours[rows],
            pixels=None if self.pixels is None else self.pixels[rows],
        )


@dataclass(frozen=True)
class SoundFacts:
    """What the headers say of sounds, before any is decoded."""

    kind: ClassVar[Kind] = "sounds"

    seconds: NDArray[np.float64]
    """[N] duration."""
    rates: NDArray[np.int32]
    """[N] samples a second (Hz) in each channel."""
    channels: NDArray[np.int16]
    """[N] how many channels the file holds."""
    formats: tuple[tuple[str, int], ...] = ()
    """File formats seen (WAV PCM_16 ...) and how many files of the whole set have each."""

    def take(self, rows: Rows) -> SoundFacts:
        """The facts of these rows, in this order."""
        return replace(
            self,
            seconds=self.seconds[rows],
            rates=self.rates[rows],
            channels=self.channels[rows],
        )


@dataclass(frozen=True)
class ClipFacts:
    """What the headers say of clips, before any is decoded."""

    kind: ClassVar[Kind] = "clips"

    sizes: NDArray[np.int32]
    """[N, 2] height and width in pixels as a person sees the clip (turned)."""
    seconds: NDArray[np.float64]
    """[N] duration; NaN where the header does not say."""
    colours: NDArray[np.bool_]
    """[N] whether the file holds colour."""
    formats: tuple[tuple[str, int], ...] = ()
    """Formats seen and how many files of the whole set have each."""

    def take(self, rows: Rows) -> ClipFacts:
        """The facts of these rows, in this order."""
        return replace(
            self,
            sizes=self.sizes[rows],
            seconds=self.seconds[rows],
            colours=self.colours[rows],
        )


Facts = ImageFacts | SoundFacts | ClipFacts


@dataclass(frozen=True)
class Samples:
    """The items of a data set: where they are, what they are, what they should be answered with.

    Shapes   N items; K classes or labels; M numbers to predict
    """

    task: ItemTask
    paths: tuple[str, ...]
    """[N] file of each item, relative to `root`; in an idx file `FILE#ROW`."""
    root: str
    """Folder that the paths are relative to."""
    labels: tuple[str, ...]
    """Names of the K classes or labels, or of the M numbers to predict; sorted for classes."""
    targets: NDArray[np.generic]
    """classify: int64 [N], an index into `labels`; labels: float32 [N, K] of 0 and 1;
    regress: float64 [N, M]; events: as labels, whether an item holds any of that label."""
    digests: NDArray[np.generic]
    """[N] of 16 bytes (dtype V16): equal exactly where the files (or idx rows) are equal."""
    facts: Facts
    """What the headers of the files say, as the kind of data has it."""
    given: NDArray[np.int8]
    """[N] split that the data itself names (TRAIN, VALID, TEST), or UNASSIGNED."""
    groups: NDArray[np.int64] | None = None
    """[N] group of each item, where a group column was named."""
    group_names: tuple[str, ...] = ()
    """Name of each group."""
    folds: NDArray[np.int64] | None = None
    """[N] fold of each item, where a column of folds was named: each in turn is the test part."""
    fold_names: tuple[str, ...] = ()
    """Name of each fold."""
    events: NDArray[np.void] | None = None
    """[M] of SPANS, in the order of their items, where each item has labels that come and go."""
    has_label_columns: bool = False
    """Whether each of `labels` is a column of its own, so that nothing is known of a label without
    one. Where labels are written in cells, or are names of folders, one that is not written is not
    there: 0."""
    notes: tuple[str, ...] = ()
    """What was understood of the data and what was left out, a sentence each, for the user."""

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def kind(self) -> Kind:
        """What the items are."""
        return self.facts.kind

    def take(self, rows: Rows) -> Samples:
        """The same data set with only these rows, in this order."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            paths=tuple(self.paths[i] for i in index),
            targets=self.targets[index],
            digests=self.digests[index],
            facts=self.facts.take(index),
            given=self.given[index],
            groups=None if self.groups is None else self.groups[index],
            folds=None if self.folds is None else self.folds[index],
            events=None if self.events is None else _taken(self.events, index),
        )


def _taken(events: NDArray[np.void], rows: NDArray[np.int64]) -> NDArray[np.void]:
    """The events of these rows, numbered as they are."""
    order = np.argsort(events["row"], kind="stable")
    first, last = (
        np.searchsorted(events["row"][order], rows, side=side) for side in ("left", "right")
    )
    parts = [order[start:stop] for start, stop in zip(first, last, strict=True)]
    kept = events[np.concatenate([np.zeros(0, np.int64), *parts])]
    kept["row"] = np.repeat(np.arange(len(rows)), last - first)
    return np.asarray(kept)
