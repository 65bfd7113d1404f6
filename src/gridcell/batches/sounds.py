"""Sounds as batches: stretches of waves, varied, then their log-mel features."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridcell.augment.sounds import SoundAugment
from gridcell.batches.order import Batch, sampled
from gridcell.batches.stretches import drawn_starts, mixed_targets, window_starts
from gridcell.preparation.cache import Decoded
from gridcell.preparation.read_ahead import read_ahead
from gridcell.preparation.sounds import SoundPreparation


@dataclass(frozen=True)
class Sounds:
    """Sounds to draw batches from: waves of all, their targets, and which rows to use.

    A sound longer than the preparation's longest stretch is cut to a random one each time that
    training sees it; `windows` covers all of it for evaluation.
    """

    decoded: Decoded
    preparation: SoundPreparation
    targets: Tensor
    rows: NDArray[np.int64]
    augment: SoundAugment | None = None
    classes: int = 0
    """Classes that targets are numbers of, so that mixed sounds can have shares of two."""
    firsts: NDArray[np.int64] | None = None
    """[N] sample at which each item begins, where items are windows of their rows."""
    events: NDArray[np.void] | None = None
    """[M] of `samples.SPANS`, sorted by row: targets are then labels at each step, float32
    [B, T, K], and `classes` says how many labels there are."""

    @property
    def is_varied(self) -> bool:
        """Whether training sees each sound varied: long ones always are, by the stretch."""
        longest = int(self.decoded.counts(self.rows).max(initial=0))
        return self.augment is not None or longest > self.preparation.longest_samples

    @property
    def cells(self) -> int:
        """Frequencies of one step."""
        return self.preparation.bins

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self) -> NDArray[np.int64]:
        """Steps of each item's features."""
        return np.asarray(self.preparation.steps_of(self._counts(np.arange(len(self)))))

    def windows(self) -> Sounds:
        """Each long sound as windows that overlap by at least half and end where it ends."""
        whole, longest = self.decoded.counts(self.rows), self.preparation.longest_samples
        hop = self.preparation.hop
        rows, firsts = [], []
        for row, samples in zip(self.rows.tolist(), whole.tolist(), strict=True):
            # On whole steps, so that steps of two windows that overlap are the same moments; up,
            # so that the last window reaches the last step.
            starts = [hop * -(-start // hop) for start in window_starts(samples, longest)]
            rows += [row] * len(starts)
            firsts += starts
        return replace(
            self, rows=np.array(rows, np.int64), firsts=np.array(firsts, np.int64), augment=None
        )

    def sample(self, count: int, *, seed: int) -> Sounds:
        """About so many of the items, drawn at random, each once."""
        return replace(self, rows=sampled(self.rows, count, seed=seed))

    def batch(self, places: NDArray[np.int64], generator: torch.Generator | None = None) -> Batch:
        """Return these sounds as float32 features `[B, T, 1, F]` and their lengths."""
        order = places[np.argsort(self.rows[places], kind="stable")]
        rows = self.rows[order]
        firsts, samples = self._stretches(order, generator)
        waves, counts = self._waves(rows, firsts, samples)
        targets = self.targets[rows]
        augment = self.augment if generator is not None else None
        if augment is not None and generator is not None:
            waves, counts = augment.wave(waves, counts, generator)
            if augment.mix:
                waves, counts, partner, share = augment.mix_batch(waves, counts, generator)
                targets = mixed_targets(targets, partner, share, classes=self.classes)
        features, steps = self.preparation.features(waves, counts)
        if augment is not None and generator is not None:
            fill = torch.tensor(self.preparation.mean)
            features = augment.features(features, steps, fill, generator)
        if self.events is not None:
            targets = self._labels(rows, firsts, steps)
        return Batch(features[:, :, None], steps, targets, rows, firsts // self.preparation.hop)

    def truths(self) -> Tensor:
        """Targets of all items in order; of events those of every step, [steps of all, K]."""
        if self.events is None:
            return self.targets[self.rows]
        steps = torch.from_numpy(self.preparation.steps_of(self.decoded.counts(self.rows)))
        labels = self._labels(self.rows, np.zeros(len(self), np.int64), steps)
        return torch.cat([labels[i, :count] for i, count in enumerate(steps.tolist())])

    def _labels(self, rows: NDArray[np.int64], firsts: NDArray[np.int64], steps: Tensor) -> Tensor:
        """Which labels there are at each step, float32 [B, T, K]: at the middle of its window."""
        assert self.events is not None
        prep = self.preparation
        labels = np.zeros((len(rows), int(steps.max()), self.classes), np.float32)
        begin, end = (
            np.searchsorted(self.events["row"], rows, side=side) for side in ("left", "right")
        )
        for number, first in enumerate(firsts / prep.rate):
            for event in self.events[begin[number] : end[number]]:
                span = (np.array([event["start"], event["end"]]) - first) * prep.rate / prep.hop
                start, stop = np.clip(np.ceil(span), 0, int(steps[number])).astype(np.int64)
                labels[number, start:stop, event["label"]] = 1
        return torch.from_numpy(labels)

    def _counts(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Samples of the items at these places: of the sound, the stretch or the window."""
        left = self.decoded.counts(self.rows[places])
        if self.firsts is not None:
            left = left - self.firsts[places]
        return np.minimum(left, self.preparation.longest_samples)

    def _stretches(
        self, places: NDArray[np.int64], generator: torch.Generator | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return at which sample of its sound each item begins, and how many samples it has."""
        rows, counts = self.rows[places], self._counts(places)
        if self.firsts is not None:
            return self.firsts[places], counts
        if generator is None:
            return np.zeros(len(rows), np.int64), counts
        return drawn_starts(self.decoded.counts(rows) - counts, generator), counts

    def _waves(
        self, rows: NDArray[np.int64], firsts: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Return waves [B, N], zero past their samples, and the samples of each [B]."""
        starts = self.decoded.starts[rows] + firsts
        stops = starts + counts
        waves = np.zeros((len(rows), int(counts.max())), np.float32)
        read_ahead(self.decoded.values, zip(starts.tolist(), stops.tolist(), strict=True))
        for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            waves[number, : stop - start] = self.decoded.values[start:stop]
        waves *= self.decoded.scales[rows][:, None]
        return torch.from_numpy(waves), torch.from_numpy(counts)
