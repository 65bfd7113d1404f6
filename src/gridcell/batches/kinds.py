"""From decoded items to batches, whatever their kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gridcell.augment.clips import ClipAugment
from gridcell.augment.images import ImageAugment
from gridcell.augment.sounds import SoundAugment
from gridcell.batches.clips import Clips
from gridcell.batches.images import Images
from gridcell.batches.order import Items
from gridcell.batches.sounds import Sounds
from gridcell.preparation import ImagePreparation, Preparation, SoundPreparation
from gridcell.preparation.cache import Decoded

Variation = ImageAugment | SoundAugment | ClipAugment


def items_of(
    prep: Preparation,
    decoded: Decoded,
    targets: Tensor,
    rows: NDArray[np.int64],
    *,
    variation: Variation | None = None,
    classes: int = 0,
    events: NDArray[np.void] | None = None,
) -> Items:
    """Return some rows of what was decoded as items to draw batches from.

    targets     of all rows
    variation   how each item varies in training; it must be the kind's own
    classes     how many classes targets are numbers of, if they are; or how many labels events have
    events      of sounds whose labels come and go, instead of targets
    """
    if isinstance(prep, SoundPreparation):
        assert variation is None or isinstance(variation, SoundAugment)
        return Sounds(
            decoded, prep, targets, rows, augment=variation, classes=classes, events=events
        )
    if isinstance(prep, ImagePreparation):
        assert variation is None or isinstance(variation, ImageAugment)
        return Images(decoded.values, targets, rows, augment=variation)
    assert variation is None or isinstance(variation, ClipAugment)
    return Clips(decoded, targets, rows, augment=variation)
