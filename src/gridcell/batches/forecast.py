"""Windows to forecast from as batches: one column of one window is an item."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridcell.batches.order import Batch, sampled
from gridcell.preparation.cache import Decoded
from gridcell.preparation.forecast import ForecastPreparation

CHUNK = 4096


@dataclass(frozen=True)
class Forecasts:
    """Windows to draw batches from, `windows` [N], each as many items as there are columns [M].

    Targets are standardised: what stands in the steps behind a window, by column.
    """

    decoded: Decoded
    preparation: ForecastPreparation
    windows_used: NDArray[np.int64]
    """[N] row in the data set of each window."""

    is_varied = False

    @property
    def rows(self) -> NDArray[np.int64]:
        """[N * M] a number for each column of each window: row * M + column."""
        return self._rows(np.arange(len(self)))

    @property
    def cells(self) -> int:
        """Steps of a segment."""
        return self.preparation.segment

    def __len__(self) -> int:
        return len(self.windows_used) * len(self.preparation.targets)

    def steps(self) -> None:
        """All windows are of one length."""

    def truths(self) -> Tensor:
        """Targets [N * M, H] of all items in order."""
        places = np.arange(len(self))
        parts = [self._targets(places[i : i + CHUNK]) for i in range(0, len(places), CHUNK)]
        if not parts:
            return torch.zeros(0, self.preparation.horizon)
        return torch.from_numpy(np.concatenate(parts))

    def windows(self) -> Forecasts:
        """A window is one already."""
        return self

    def sample(self, count: int, *, seed: int) -> Forecasts:
        """Windows with about so many items, drawn at random, each once."""
        windows = count // len(self.preparation.targets)
        return replace(self, windows_used=sampled(self.windows_used, windows, seed=seed))

    def batch(self, places: NDArray[np.int64], generator: torch.Generator | None = None) -> Batch:
        """Return these items as float32 `[B, T, C, F]` and their targets `[B, H]`."""
        prep = self.preparation
        firsts, columns = self._at(places)
        back = firsts[:, None] + np.arange(prep.past)
        values = self.decoded.values
        count, names = len(places), len(prep.columns)
        x = np.empty((count, prep.channels, prep.past), np.float32)
        x[:, 0] = prep.standardised(values[back, columns[:, None]].T, columns).T
        channel = 1
        for place in prep.others:
            whole = np.full(count, place)
            x[:, channel] = prep.standardised(values[back, place].T, whole).T
            channel += 1
        behind = names
        if prep.missing == "mask":
            x[:, channel] = values[back, names + columns[:, None]]
            for offset, place in enumerate(prep.others, start=1):
                x[:, channel + offset] = values[back, names + place]
            channel += 1 + len(prep.others)
            behind += names
        ahead = back + prep.horizon
        for place in prep.known:
            x[:, channel] = prep.standardised(values[ahead, place].T, np.full(count, place)).T
            channel += 1
        for place in range(behind, behind + 2 * len(prep.calendar)):
            x[:, channel] = values[ahead, place]
            channel += 1
        steps = prep.past // prep.segment
        found = x.reshape(count, prep.channels, steps, prep.segment).swapaxes(1, 2)
        return Batch(
            torch.from_numpy(np.ascontiguousarray(found)),
            None,
            torch.from_numpy(self._targets(places)),
            self._rows(places),
        )

    def _rows(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        count = len(self.preparation.targets)
        window, number = np.divmod(places, count)
        return np.asarray(self.windows_used[window] * count + number)

    def _at(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first step and the column of the items at these places."""
        window, number = np.divmod(places, len(self.preparation.targets))
        firsts = self.decoded.starts[self.windows_used[window]]
        return firsts, np.array(self.preparation.targets)[number]

    def _targets(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        prep = self.preparation
        firsts, columns = self._at(places)
        steps = firsts[:, None] + prep.past + np.arange(prep.horizon)
        return prep.standardised(self.decoded.values[steps, columns[:, None]].T, columns).T.copy()
