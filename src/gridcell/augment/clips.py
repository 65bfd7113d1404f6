"""Random variation of training clips: one draw for a clip, the same for all of its frames.

What moves in a clip is what it is about, so nothing may differ from frame to frame: all frames
are mirrored, shifted and scaled alike, change in light by one straight line, and have the same
rectangle painted over. The order of the frames is never touched; at most some at the ends go.

Frames that lie past a clip's length may hold anything: they are carried along, and no frame of a
clip is varied by what they hold. Mirroring is off unless asked for: it turns left into right.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridcell.augment.images import LUMINANCE, MANY_ITEMS, SMALL_SIDE, ImageAugment
from gridcell.axes import check_shape
from gridcell.errors import ConfigError, ShapeError

DRAWS = 9
"""Random numbers of a clip besides those of its movement: 2 for its ends, 2 for its light, 5 for a
rectangle, whose colour is one more for each channel."""


@dataclass(frozen=True)
class ClipAugment:
    """How training clips vary; 0 or False leaves that kind of change out.

    Shapes   pixels uint8 or float [B, T, C, H, W] in 0..255, lengths int64 [B] -> the same; only
             `time_crop` changes T and the lengths
    Units    uint8 stays uint8 while pixels only move; with `scale`, `brightness` or `contrast` it
             becomes float32 in 0..255, not rounded
    Raises   ConfigError for a setting out of range; ShapeError for lengths that do not fit
    Cost     8 clips of 16 x 3 x 112 x 112: 4 ms shifted, 35 ms with everything (one core of an
             AMD EPYC)

    >>> ClipAugment(shift=0.1, brightness=0.2).describe()
    'each clip at random, all its frames alike: shifted by up to 10%, brightness by 20%'
    """

    flip: bool = False
    """Mirror left to right, half of the clips."""
    shift: float = 0.0
    """Largest shift in each direction, as a share of the side; whole pixels."""
    scale: float = 0.0
    """Largest zoom: 0.1 is 1/1.1 to 1.1 times the size."""
    brightness: float = 0.0
    """Largest change of brightness: 0.2 multiplies by 0.8 to 1.2."""
    contrast: float = 0.0
    """Largest change of the distance from the clip's mean grey: 0.2 is 0.8 to 1.2 times."""
    erase: float = 0.0
    """Share of the clips in which a rectangle is painted over with one random colour."""
    erase_size: float = 0.4
    """Longest side of that rectangle, as a share of the frame's."""
    time_crop: float = 0.0
    """Largest share of a clip's frames that is left out, at its start and end together."""

    def __post_init__(self) -> None:
        # What a clip's settings share with an image's has the same names, limits and messages.
        ImageAugment(
            shift=self.shift,
            scale=self.scale,
            brightness=self.brightness,
            contrast=self.contrast,
            erase=self.erase,
            erase_size=self.erase_size,
        )
        if not 0.0 <= self.time_crop <= 0.25:
            raise ConfigError(
                f"augment.time_crop = {self.time_crop:g} is out of range: it must be 0 to 0.25."
            )

    def __call__(
        self, pixels: Tensor, lengths: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return clips varied and their new lengths; the same tensors if nothing is to do."""
        _check_batch(pixels, lengths)
        channels = pixels.shape[2]
        # Every kind draws whether it is used or not: the flips of a seed stay the same flips.
        draws = torch.rand(
            DRAWS + channels, len(pixels), generator=generator, device=generator.device
        ).to(pixels.device, non_blocking=True)
        if not pixels.numel():
            return pixels, lengths
        if self.time_crop:
            pixels, lengths = self._cropped(pixels, lengths, draws[:2])
        if self.flip or self.shift or self.scale:
            pixels = self._moved(pixels, generator)
        if self.brightness or self.contrast:
            pixels = self._lit(pixels, lengths, draws[2:4])
        if self.erase and self.erase_size:
            pixels = self._erased(pixels, draws[4:])
        return pixels, lengths

    def describe(self) -> str:
        """Return what is varied as a sentence for the user."""
        kinds = [
            (self.flip, "mirrored left to right"),
            (self.shift, f"shifted by up to {self.shift:.0%}"),
            (self.scale, f"scaled by up to {self.scale:.0%}"),
            (self.brightness, f"brightness by {self.brightness:.0%}"),
            (self.contrast, f"contrast by {self.contrast:.0%}"),
            (
                self.erase and self.erase_size,
                f"{self.erase:.0%} with a rectangle of up to {self.erase_size:.0%} painted over",
            ),
            (self.time_crop, f"up to {self.time_crop:.0%} of the frames left out at the ends"),
        ]
        used = [words for strength, words in kinds if strength]
        if not used:
            return "clips are not varied"
        return f"each clip at random, all its frames alike: {', '.join(used)}"

    @staticmethod
    def choose(
        height: int, width: int, channels: int, count: int, *, flip: bool = False
    ) -> ClipAugment:
        """Return settings for `count` training clips with frames of this size.

        As for images: small frames only move; larger ones are scaled and change in light as well;
        few clips vary more than many. `flip` is the caller's word on whether a mirrored clip
        still means the same: not so for movements to the left and right. No frames are left out
        at the ends, since how a movement begins or ends may be what tells it from another.
        """
        is_small = min(height, width) <= SMALL_SIDE
        is_many = count >= MANY_ITEMS
        shift = 0.0 if min(height, width) < 8 else 0.08 if is_small else 0.06
        light = 0.1 if is_many else 0.2
        if is_small:
            light = 0.1 if channels == 3 and not is_many else 0.0
        return ClipAugment(
            flip=flip,
            shift=shift,
            scale=0.0 if is_small else 0.1 if is_many else 0.2,
            brightness=light,
            contrast=light,
            erase=0.25,
        )

    def _cropped(self, pixels: Tensor, lengths: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a stretch of each clip: its frames move to the front, in their order."""
        # Rounded down: so a clip of one frame keeps it.
        most = (self.time_crop * lengths).floor()
        left_out = (draws[0] * (most + 1)).floor().long()
        start = (draws[1] * (left_out + 1)).floor().long()
        kept = lengths - left_out
        steps = torch.arange(int(kept.max()), device=pixels.device)
        # Past a clip's end lies padding, which may hold anything: here its own later frames.
        place = (start[:, None] + steps).clamp_(max=pixels.shape[1] - 1)
        clips = torch.arange(len(pixels), device=pixels.device)[:, None]
        return pixels[clips, place], kept

    def _moved(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Flip, shift and scale: frames folded into channels move as the channels of an image."""
        move = ImageAugment(flip=self.flip, shift=self.shift, scale=self.scale)
        return move(pixels.flatten(1, 2), generator).view(pixels.shape)

    def _lit(self, pixels: Tensor, lengths: Tensor, draws: Tensor) -> Tensor:
        """Brightness b and contrast c, one straight line for all values of a clip.

            y = b * (m + c * (x - m))

        where m is the mean grey of the clip's own frames.
        """
        bright = 1 + self.brightness * (draws[0] * 2 - 1)
        contrast = 1 + self.contrast * (draws[1] * 2 - 1)
        gain = bright * contrast
        lit = torch.empty_like(pixels, dtype=torch.float32)
        # Clip by clip: a clip is large enough to be worth a step, and stays in a CPU's cache.
        for index, clip in enumerate(pixels):
            values = lit[index].copy_(clip)
            grey = _mean_grey(values[: int(lengths[index])])
            values.mul_(gain[index]).add_(bright[index] * (1 - contrast[index]) * grey)
            values.clamp_(0, 255)
        return lit

    def _erased(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Paint the same rectangle of one random colour over all frames of some of the clips."""
        height, width = pixels.shape[3:]
        is_hit = draws[0] < self.erase
        # At least a pixel; sides from a quarter of the largest to the largest.
        high = (draws[1].mul(0.75).add(0.25) * (self.erase_size * height)).ceil()
        wide = (draws[2].mul(0.75).add(0.25) * (self.erase_size * width)).ceil()
        top = (draws[3] * (height - high + 1)).floor()
        left = (draws[4] * (width - wide + 1)).floor()
        rows = torch.arange(height, device=pixels.device)
        columns = torch.arange(width, device=pixels.device)
        in_rows = (rows >= top[:, None]) & (rows < (top + high)[:, None]) & is_hit[:, None]
        in_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
        is_inside = in_rows[:, None, None, :, None] & in_columns[:, None, None, None, :]
        colour = (draws[5:].T * 256).floor().clamp_(max=255).to(pixels.dtype)
        return torch.where(is_inside, colour[:, None, :, None, None], pixels)


def _check_batch(pixels: Tensor, lengths: Tensor) -> None:
    """Raise ShapeError unless there is a whole length within the frames for each clip."""
    check_shape(pixels, "B T C H W", layer="ClipAugment")
    count, frames = pixels.shape[:2]
    if lengths.shape != (count,) or lengths.dtype != torch.int64:
        raise ShapeError(
            f"ClipAugment lengths must be int64 [B={count}]; "
            f"got {str(lengths.dtype).removeprefix('torch.')} {tuple(lengths.shape)}."
        )
    wrong = ((lengths < 0) | (lengths > frames)).nonzero()
    if len(wrong):
        index = int(wrong[0])
        raise ShapeError(
            f"ClipAugment lengths[{index}] is {int(lengths[index])}: it must be 0 to {frames}, "
            "the frames that the clips have."
        )


def _mean_grey(frames: Tensor) -> Tensor:
    """Return the mean grey of float frames [T, C, H, W]; 0 where there is none."""
    if not len(frames):
        return frames.new_zeros(())
    channels = frames.shape[1]
    parts = LUMINANCE if channels == 3 else (1 / channels,) * channels
    return frames.mean((0, 2, 3)) @ frames.new_tensor(parts)
