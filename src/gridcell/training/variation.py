"""How training items vary, chosen for the kind of data, and said."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridcell.augment.clips import ClipAugment
from gridcell.augment.images import ImageAugment
from gridcell.augment.series import SeriesAugment
from gridcell.augment.sounds import SoundAugment
from gridcell.augment.texts import TextAugment
from gridcell.batches import Variation
from gridcell.config import TrainConfig
from gridcell.errors import ConfigError
from gridcell.preparation import (
    ForecastPreparation,
    ImagePreparation,
    Preparation,
    SeriesPreparation,
    SoundPreparation,
    TextPreparation,
)
from gridcell.preparation.cache import Decoded
from gridcell.samples import Samples
from gridcell.training.mirror import mirror_test


@dataclass(frozen=True)
class Varied:
    """What varies, None for nothing, and a sentence about it."""

    variation: Variation | None
    reason: str


def choose_variation(
    config: TrainConfig,
    samples: Samples,
    decoded: Decoded,
    prep: Preparation,
    rows: NDArray[np.int64],
) -> Varied:
    """Choose how the training rows vary.

    Raises   ConfigError where mirroring is asked of what has no sides
    """
    if config.flip != "auto" and samples.kind not in ("images", "clips"):
        raise ConfigError(f"flip has no effect on {samples.kind}.", fix="leave --flip out.")
    if not config.augment and samples.kind != "images":
        return Varied(None, "off")
    if isinstance(prep, ForecastPreparation):
        return Varied(None, "none: windows are read as they are")
    if isinstance(prep, SeriesPreparation):
        is_number = samples.task == "regress"
        series = SeriesAugment.choose(
            len(rows),
            is_aligned=len(np.unique(np.diff(decoded.starts)[rows])) == 1,
            keeps_steps=samples.tags is not None,
            can_mix=not is_number and samples.tags is None,
        )
        if is_number:
            series = replace(series, scale=0.0)  # the size of the values may be the answer
        if series == SeriesAugment():
            return Varied(None, "none: series of one length are left as they are")
        return Varied(series, series.describe())
    if isinstance(prep, TextPreparation):
        if samples.task == "write":
            return Varied(None, "none: the text is read as it is, each epoch from another step on")
        text = TextAugment.choose(len(rows))
        return Varied(text, text.describe())
    if isinstance(prep, SoundPreparation):
        seconds = np.diff(decoded.starts)[rows] / prep.rate
        is_number = samples.task == "regress"
        sound = SoundAugment.choose(
            len(rows), float(np.median(seconds)), speed=not is_number, can_mix=not is_number
        )
        if samples.task == "events":
            sound = replace(sound, shift=0.0, speed=0.0, mix=0.0)  # what would move the events
        if prep.level == "clip" and not sound.mix:
            sound = replace(sound, gain=0.0)  # each clip is brought to its own peak afterwards
        return Varied(sound, sound.describe())
    if not config.augment:
        return Varied(None, "off")
    reason, is_mirrored = f"mirroring {config.flip}, as asked", config.flip == "on"
    if isinstance(prep, ImagePreparation):
        if config.flip == "auto":
            mirror = mirror_test(
                samples.task, decoded.values, samples.targets, rows, seed=config.seed
            )
            reason, is_mirrored = mirror.reason, mirror.is_kept
        image = ImageAugment.choose(
            prep.height, prep.width, prep.channels, len(rows), flip=is_mirrored
        )
        return Varied(image, f"{image.describe()} ({reason})")
    if config.flip == "auto":
        reason = "not mirrored: a mirrored motion may mean another one; --flip on allows it"
    clip = ClipAugment.choose(prep.height, prep.width, prep.channels, len(rows), flip=is_mirrored)
    return Varied(clip, f"{clip.describe()} ({reason})")
