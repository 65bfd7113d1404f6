"""A text to write on as batches, each of which goes on where the one before it ended.

The text is laid side by side, as many streams as a batch has items, and a batch is the next stretch
of each. A network that carries what it remembers from batch to batch has read far more than a
stretch when it is asked what comes next, as in use; and stretches can be short, so that an epoch
has many steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridcell.batches.order import Batch
from gridcell.batches.texts import Texts


@dataclass(frozen=True)
class Onward:
    """Stretches of a text in the order in which it is read. A place is the step it begins with.

    The text counts as a ring: what stands at its end is followed by its beginning. So each epoch
    can begin at another step, and stretches are never cut at the same places twice.
    """

    texts: Texts

    @property
    def rows(self) -> NDArray[np.int64]:
        """The pieces that the text is kept in."""
        return self.texts.rows

    @property
    def is_varied(self) -> bool:
        """Steps are read as they are: only where an epoch begins is drawn."""
        return False

    @property
    def cells(self) -> int:
        """A step of a text has no grid."""
        return self.texts.cells

    def __len__(self) -> int:
        return max(1, self._whole // self._stretch)

    def steps(self) -> NDArray[np.int64]:
        """Steps of each stretch: all alike."""
        return np.full(len(self), self._stretch, np.int64)

    def truths(self) -> Tensor:
        """What comes after each step."""
        return self.texts.truths()

    def windows(self) -> Texts:
        """For evaluation the text is read piece by piece."""
        return self.texts

    def sample(self, count: int, *, seed: int) -> Texts:
        """About so many of the pieces, drawn at random, each once."""
        return self.texts.sample(count, seed=seed)

    def in_turn(self, size: int, generator: np.random.Generator) -> list[NDArray[np.int64]]:
        """Return the places of each batch of an epoch, in their order: a stretch of each stream.

        size   streams, unless the text has fewer stretches
        """
        streams = min(size, len(self))
        each = self._whole / streams
        firsts = generator.integers(self._whole) + np.round(np.arange(streams) * each)
        starts = np.arange(max(1, round(each / self._stretch))) * self._stretch
        return [np.asarray((firsts + start) % self._whole, np.int64) for start in starts]

    def batch(self, places: NDArray[np.int64], generator: torch.Generator | None = None) -> Batch:
        """Return these stretches as int32 ids `[B, T]`, their lengths, and what comes after each.

        `goes_on` is left open: it is for the order to say.
        """
        ids, starts = self.texts.ids
        wanted = (places[:, None] + np.arange(self._stretch)) % self._whole
        lengths = torch.full((len(places),), self._stretch)
        targets = self._following[torch.from_numpy(wanted)]
        rows = self.rows[np.searchsorted(starts, places, side="right") - 1]
        return Batch(torch.from_numpy(ids[wanted]), lengths, targets, rows)

    @cached_property
    def _following(self) -> Tensor:
        return self.truths()

    @property
    def _whole(self) -> int:
        """Steps of the text."""
        return int(self.texts.ids[1][-1])

    @property
    def _stretch(self) -> int:
        return min(self.texts.preparation.stretch, self._whole)
