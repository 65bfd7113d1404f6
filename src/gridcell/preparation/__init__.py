"""Preparation: the fixed way from a raw item to the array that the network reads.

The same in training, evaluation and prediction; fitted on training rows alone; plain data in the
model file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError
from gridcell.preparation.cache import Decoded
from gridcell.preparation.clips import ClipPreparation, choose_clips, fit_clips
from gridcell.preparation.fit import ImagePreparation, choose_size, fit_images
from gridcell.preparation.sounds import SoundPreparation, choose_sound, fit_sounds
from gridcell.samples import Kind, Samples

Preparation = ImagePreparation | SoundPreparation | ClipPreparation
PREPARATIONS: dict[str, type[Preparation]] = {
    "images": ImagePreparation,
    "sounds": SoundPreparation,
    "clips": ClipPreparation,
}

__all__ = [
    "PREPARATIONS",
    "SETTINGS",
    "ClipPreparation",
    "ImagePreparation",
    "Preparation",
    "SoundPreparation",
    "choose",
    "choose_size",
    "fit",
    "fit_images",
]


SETTINGS: dict[str, tuple[Kind, ...]] = {
    "image_size": ("images", "clips"),
    "image_fit": ("images", "clips"),
    "sample_rate": ("sounds",),
    "window": ("sounds",),
    "frames": ("clips",),
}
"""Settings of a preparation, and the kinds that they have an effect on."""


def choose(samples: Samples, config: DataConfig) -> Preparation:
    """Choose from the files' headers and the settings what items are brought to.

    Raises   ConfigError for a setting that has no effect on the kind
    """
    for name, kinds in SETTINGS.items():
        if samples.kind not in kinds and getattr(config, name) != getattr(DataConfig(), name):
            raise ConfigError(
                f"{name} has no effect on {samples.kind}.",
                fix=f"leave --{name.replace('_', '-')} out.",
            )
    if samples.kind == "sounds":
        return choose_sound(samples, config)
    if samples.kind == "clips":
        return choose_clips(samples, config, frames=config.frames)
    return choose_size(samples, config)


def fit(prep: Preparation, decoded: Decoded, rows: NDArray[np.int64]) -> Preparation:
    """Add the statistics of `rows`, the training rows."""
    if isinstance(prep, SoundPreparation):
        return fit_sounds(prep, decoded, rows)
    if isinstance(prep, ClipPreparation):
        return fit_clips(prep, decoded, rows)
    return fit_images(prep, decoded.values, rows)
