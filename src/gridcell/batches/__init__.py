"""Batches: decoded items as tensors, in an order that only the seed and the epoch decide."""

from gridcell.batches.clips import Clips
from gridcell.batches.images import Images
from gridcell.batches.kinds import Variation, items_of, on_disk
from gridcell.batches.onward import Onward
from gridcell.batches.order import (
    Batch,
    Items,
    batch_rows,
    epoch_batches,
    plain_places,
    step_seed,
    training_batches,
    work_in,
)
from gridcell.batches.series import Series
from gridcell.batches.sounds import Sounds
from gridcell.batches.texts import Texts

__all__ = [
    "Batch",
    "Clips",
    "Images",
    "Items",
    "Onward",
    "Series",
    "Sounds",
    "Texts",
    "Variation",
    "batch_rows",
    "epoch_batches",
    "items_of",
    "on_disk",
    "plain_places",
    "step_seed",
    "training_batches",
    "work_in",
]
