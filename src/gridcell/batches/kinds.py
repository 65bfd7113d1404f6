"""From decoded items to batches, whatever their kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gridcell.augment.clips import ClipAugment
from gridcell.augment.images import ImageAugment
from gridcell.augment.series import SeriesAugment
from gridcell.augment.sounds import SoundAugment
from gridcell.augment.texts import TextAugment
from gridcell.batches.clips import Clips
from gridcell.batches.forecast import Forecasts
from gridcell.batches.images import Images
from gridcell.batches.order import Items
from gridcell.batches.series import Series
from gridcell.batches.sounds import Sounds
from gridcell.batches.texts import Texts
from gridcell.preparation import (
    ForecastPreparation,
    ImagePreparation,
    Preparation,
    SeriesPreparation,
    SoundPreparation,
    TextPreparation,
)
from gridcell.preparation.cache import Decoded
from gridcell.preparation.read_ahead import is_on_disk
from gridcell.samples import Tags

Variation = ImageAugment | SoundAugment | ClipAugment | SeriesAugment | TextAugment


def items_of(
    prep: Preparation,
    decoded: Decoded,
    targets: Tensor,
    rows: NDArray[np.int64],
    *,
    variation: Variation | None = None,
    classes: int = 0,
    events: NDArray[np.void] | None = None,
    tags: Tags | None = None,
) -> Items:
    """Return some rows of what was decoded as items to draw batches from.

    targets     of all rows
    variation   how each item varies in training; it must be the kind's own
    classes     how many classes targets are numbers of, if they are; or how many labels events have
    events      of sounds whose labels come and go, instead of targets
    tags        of series and texts with a class at each step, instead of targets
    """
    if isinstance(prep, SoundPreparation):
        assert variation is None or isinstance(variation, SoundAugment)
        return Sounds(
            decoded, prep, targets, rows, augment=variation, classes=classes, events=events
        )
    if isinstance(prep, ImagePreparation):
        assert variation is None or isinstance(variation, ImageAugment)
        return Images(decoded.values, targets, rows, augment=variation)
    if isinstance(prep, SeriesPreparation):
        assert variation is None or isinstance(variation, SeriesAugment)
        return Series(decoded, prep, targets, rows, augment=variation, classes=classes, tags=tags)
    if isinstance(prep, ForecastPreparation):
        assert variation is None
        return Forecasts(decoded, prep, rows)
    if isinstance(prep, TextPreparation):
        assert variation is None or isinstance(variation, TextAugment)
        return Texts(decoded, prep, targets, rows, augment=variation, tags=tags)
    assert variation is None or isinstance(variation, ClipAugment)
    return Clips(decoded, targets, rows, augment=variation)


def on_disk(items: Items) -> bool:
    """Whether batches come from a file that may be larger than memory.

    Series and texts are read into memory as a whole.
    """
    if isinstance(items, Images):
        return is_on_disk(items.pixels)
    return isinstance(items, Clips | Sounds) and is_on_disk(items.decoded.values)
