"""Preparation: the fixed way from a raw item to the array that the network reads.

The same in training, evaluation and prediction; fitted on training rows alone; plain data in the
model file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError
from gridcell.preparation.cache import Decoded, Progress, decode_all
from gridcell.preparation.clips import ClipPreparation, choose_clips, fit_clips
from gridcell.preparation.fit import ImagePreparation, choose_size, fit_images
from gridcell.preparation.forecast import (
    ForecastPreparation,
    choose_forecast,
    decode_forecast,
    fit_forecast,
)
from gridcell.preparation.series import (
    SeriesPreparation,
    choose_series,
    constant_columns,
    decode_series,
    fit_series,
    told_constant,
)
from gridcell.preparation.sounds import SoundPreparation, choose_sound, fit_sounds
from gridcell.preparation.statistics import Statistics, counted_once
from gridcell.preparation.texts import TextPreparation, choose_texts, fit_texts
from gridcell.samples import ForecastFacts, Kind, Samples, SeriesFacts, TextFacts

OfFiles = ImagePreparation | SoundPreparation | ClipPreparation
Preparation = OfFiles | SeriesPreparation | TextPreparation | ForecastPreparation
PREPARATIONS: dict[str, type[Preparation]] = {
    "images": ImagePreparation,
    "sounds": SoundPreparation,
    "clips": ClipPreparation,
    "series": SeriesPreparation,
    "texts": TextPreparation,
    "forecasts": ForecastPreparation,
}

__all__ = [
    "PREPARATIONS",
    "SETTINGS",
    "ClipPreparation",
    "ForecastPreparation",
    "ImagePreparation",
    "Preparation",
    "SeriesPreparation",
    "SoundPreparation",
    "TextPreparation",
    "choose",
    "choose_size",
    "decode",
    "fit",
    "fit_images",
    "outputs_of",
    "steps_of",
    "told",
]


SETTINGS: dict[str, tuple[Kind, ...]] = {
    "image_size": ("images", "clips"),
    "image_fit": ("images", "clips"),
    "sample_rate": ("sounds",),
    "window": ("sounds", "series"),
    "frames": ("clips",),
    "missing": ("series", "forecasts"),
    "horizon": ("forecasts",),
    "past": ("forecasts",),
    "known": ("forecasts",),
    "text_level": ("texts",),
    "longest_text": ("texts",),
    "vectors": ("texts",),
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
    if samples.kind == "series":
        return choose_series(samples, config)
    if samples.kind == "forecasts":
        return choose_forecast(samples, config)
    if samples.kind == "texts":
        return choose_texts(samples, config)
    return choose_size(samples, config)


def decode(
    samples: Samples,
    prep: Preparation,
    *,
    on_bad_file: Literal["stop", "skip"],
    folder: Path,
    progress: Progress | None = None,
) -> Decoded:
    """Return the values of all items: those of files from the cache in `folder`; see `decode_all`.

    Series and texts are in memory as soon as their tables are read.
    """
    facts = samples.facts
    if isinstance(prep, SeriesPreparation) and isinstance(facts, SeriesFacts):
        return decode_series(prep, facts)
    if isinstance(prep, ForecastPreparation) and isinstance(facts, ForecastFacts):
        return decode_forecast(prep, facts)
    if isinstance(prep, TextPreparation) and isinstance(facts, TextFacts):
        count = len(samples)
        return Decoded(facts.codes, facts.starts, np.ones(count, np.float32), np.arange(count))
    assert isinstance(prep, OfFiles)
    return decode_all(
        samples, prep.reader, on_bad_file=on_bad_file, folder=folder, progress=progress
    )


def steps_of(prep: Preparation, decoded: Decoded) -> NDArray[np.int64]:
    """Return the steps [N] that the network sees of each decoded item."""
    if isinstance(prep, TextPreparation):
        return np.asarray(np.diff(prep.ids(decoded.values, decoded.starts, decoded.rows)[1]))
    counts = np.diff(decoded.starts)
    return np.asarray(prep.steps_of(counts) if isinstance(prep, SoundPreparation) else counts)


def outputs_of(prep: Preparation, labels: tuple[str, ...]) -> int:
    """Return how many numbers a network answers with: of a forecast those of all steps ahead."""
    return prep.horizon if isinstance(prep, ForecastPreparation) else len(labels)


def told(prep: Preparation, decoded: Decoded, rows: NDArray[np.int64]) -> list[str]:
    """Return what the user should know of a preparation that was fitted on these rows."""
    if isinstance(prep, TextPreparation):
        words = prep.describe_vocabulary()
        return [f"{words[0].upper()}{words[1:]}."]
    if isinstance(prep, SeriesPreparation):
        constant = constant_columns(decoded, rows)
        names = prep.columns if prep.form != "wide" else ("value",)
        return [told_constant(names, constant)] if constant else []
    return []


def fit(prep: Preparation, decoded: Decoded, rows: NDArray[np.int64]) -> Preparation:
    """Add the statistics of `rows`, the training rows; those of files are counted once."""
    if isinstance(prep, SeriesPreparation):
        return fit_series(prep, decoded, rows)
    if isinstance(prep, ForecastPreparation):
        return fit_forecast(prep, decoded, rows)
    if isinstance(prep, TextPreparation):
        return fit_texts(prep, decoded, rows)

    def counted() -> Statistics:
        found = _fit_files(prep, decoded, rows)
        return Statistics(found.mean, found.deviation)

    found = counted_once(decoded, rows, prep, counted)
    return replace(prep, mean=found.mean, deviation=found.deviation)


def _fit_files(prep: OfFiles, decoded: Decoded, rows: NDArray[np.int64]) -> OfFiles:
    if isinstance(prep, SoundPreparation):
        return fit_sounds(prep, decoded, rows)
    if isinstance(prep, ClipPreparation):
        return fit_clips(prep, decoded, rows)
    return fit_images(prep, decoded.values, rows)
