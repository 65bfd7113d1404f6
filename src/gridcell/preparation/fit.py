"""What is fitted on training rows: size, channels, and each channel's mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridcell.axes import Layout
from gridcell.config import IMAGE_SIZE_LARGEST, DataConfig
from gridcell.preparation.images import Fit, ImageReader
from gridcell.samples import ClipFacts, Facts, ImageFacts, Samples

CHUNK_VALUES = 1 << 24
KEPT_SIDE = 64
"""Images that are all of one size up to this are taken as they are."""
WORKING_SIDE = 128
"""Side that larger images are brought to: detail enough for most, quick on two cores."""


@dataclass(frozen=True)
class ImagePreparation:
    """How an image file becomes `[1, C, H, W]` of whole numbers 0 to 255, and their statistics."""

    height: int
    width: int
    channels: int
    fit: Fit
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def layout(self) -> Layout:
        """The sizes of one sample."""
        return Layout(self.channels, (self.height, self.width), steps=1)

    @property
    def reader(self) -> ImageReader:
        """What decodes a file, as in training."""
        return ImageReader(self.height, self.width, self.channels, self.fit)

    @property
    def is_whole(self) -> bool:
        """Whether the numbers hold together, as those that `fit_images` gives do."""
        sides = self.height, self.width
        return (
            self.channels in (1, 3)
            and 0 < min(sides) <= max(sides) <= IMAGE_SIZE_LARGEST
            and len(self.mean) == len(self.deviation) == self.channels
        )

    @property
    def told_size(self) -> str:
        """The size and colour, for the user."""
        return f"{self.height}x{self.width} {'colour' if self.channels == 3 else 'grey'}"

    def told_fit(self, sizes: NDArray[np.int32]) -> str:
        """How pictures [N, 2] of other proportions are made to fit; empty where there are none."""
        if (sizes[:, 0] * self.width == sizes[:, 1] * self.height).all():
            return ""
        return {"stretch": "stretched", "crop": "cropped in the centre", "pad": "padded"}[self.fit]

    def describe(self, facts: Facts) -> str:
        """A sentence for the user, given what the images are."""
        assert isinstance(facts, ImageFacts)
        how = self.told_fit(facts.sizes)
        return f"{self.told_size}, images of other proportions are {how}" if how else self.told_size


def choose_size(
    samples: Samples, config: DataConfig, *, working_side: int = WORKING_SIDE
) -> ImagePreparation:
    """Choose working size, channels and fit of images or clips from the headers and the settings.

    Pictures that all have one size of at most 64 pixels keep it; others become squares of the
    median short side, 16 to `working_side`. Three channels if any file has colour, else one.
    """
    assert isinstance(samples.facts, ImageFacts | ClipFacts)
    sizes = samples.facts.sizes
    channels = 3 if bool(samples.facts.colours.any()) else 1
    fit: Fit = "stretch" if config.image_fit == "auto" else config.image_fit
    if config.image_size is not None:
        return ImagePreparation(config.image_size, config.image_size, channels, fit)
    if bool((sizes == sizes[0]).all()) and int(sizes[0].max()) <= KEPT_SIDE:
        return ImagePreparation(int(sizes[0, 0]), int(sizes[0, 1]), channels, fit)
    side = min(max(int(np.median(sizes.min(1))), 16), working_side)
    return ImagePreparation(side, side, channels, fit)


def fit_images(
    chosen: ImagePreparation, pixels: NDArray[np.uint8], rows: NDArray[np.int64]
) -> ImagePreparation:
    """Add each channel's mean and deviation over `rows`, the training rows.

    pixels   [N, H, W, C], 0..255

    Exact: the 256 possible values are counted, so no rounding depends on the order of rows.
    """
    counts = np.zeros((chosen.channels, 256), dtype=np.int64)
    per_chunk = max(1, CHUNK_VALUES // max(1, int(np.prod(pixels.shape[1:]))))
    for start in range(0, len(rows), per_chunk):
        part = pixels[np.sort(rows[start : start + per_chunk])]
        for channel in range(chosen.channels):
            counts[channel] += np.bincount(part[..., channel].ravel(), minlength=256)
    values = np.arange(256, dtype=np.float64)
    totals = np.maximum(counts.sum(1), 1)
    mean = counts @ values / totals
    variance = counts @ values**2 / totals - mean**2
    return ImagePreparation(
        chosen.height,
        chosen.width,
        chosen.channels,
        chosen.fit,
        tuple(float(m) for m in mean),
        tuple(float(d) for d in np.sqrt(np.maximum(variance, 0.0))),
    )
