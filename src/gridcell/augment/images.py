"""Random variation of training images, a whole batch at a time.

Every picture of a batch gets its own draw, and each kind of change is one operation on the whole
batch. What only moves whole pixels (flip, shift, erase) stays in 8 bits; turning and scaling share
one bilinear sampling with the flip and the shift; brightness, contrast and saturation share one
product with a 3 x 3 matrix. What comes from outside the picture repeats its border.

The random numbers come from the generator that is handed in, so the same seed gives the same bits,
on whatever device the pixels lie. Targets are never touched: what a label means must not change
under the settings, and a flip, for one, is the caller's to allow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gridcell.axes import check_shape
from gridcell.errors import ConfigError

LUMINANCE = (0.299, 0.587, 0.114)
SMALL_SIDE = 64
"""Up to this side pictures only move by whole pixels: sampling blurs what is small already."""
CHUNK_VALUES = 1 << 18
"""Values varied at a time on a CPU: what stays in its cache takes half the time."""
DRAWS = 13
"""Random numbers of an image: 3 to move it, 2 to turn and scale, 3 for its light, 5 for a
rectangle, whose colour is one more for each channel."""
MANY_ITEMS = 10_000
"""From so many items on the data vary by themselves, and lighter settings learn faster."""


@dataclass(frozen=True)
class ImageAugment:
    """How training images vary; 0 or False leaves that kind of change out.

    Shapes   uint8 or float [B, C, H, W] in 0..255 -> the same shape and memory format
    Units    uint8 stays uint8 while pixels only move; with `rotate`, `scale`, `brightness`,
             `contrast` or `saturation` it becomes float32 in 0..255, not rounded
    Raises   ConfigError for a setting out of range, or `saturation` on grey images
    Cost     128 x 1 x 28 x 28 shifted and flipped: 0.3 ms; 32 x 3 x 128 x 128 with everything:
             11 ms (one core of an AMD EPYC)

    >>> ImageAugment(flip=True, shift=0.1).describe()
    'each image at random: mirrored left to right, shifted by up to 10%'
    """

    flip: bool = False
    """Mirror left to right, half of the images."""
    shift: float = 0.0
    """Largest shift in each direction, as a share of the side; whole pixels."""
    rotate: float = 0.0
    """Largest turn either way, in degrees."""
    scale: float = 0.0
    """Largest zoom: 0.1 is 1/1.1 to 1.1 times the size."""
    brightness: float = 0.0
    """Largest change of brightness: 0.2 multiplies by 0.8 to 1.2."""
    contrast: float = 0.0
    """Largest change of the distance from the image's mean grey: 0.2 is 0.8 to 1.2 times."""
    saturation: float = 0.0
    """Largest change of the distance from grey of each pixel: 0.2 is 0.8 to 1.2 times."""
    erase: float = 0.0
    """Share of the images in which a rectangle is painted over with one random colour."""
    erase_size: float = 0.4
    """Longest side of that rectangle, as a share of the image's."""

    def __post_init__(self) -> None:
        for name, high in (
            ("shift", 0.5),
            ("rotate", 180.0),
            ("scale", 1.0),
            ("brightness", 1.0),
            ("contrast", 1.0),
            ("saturation", 1.0),
            ("erase", 1.0),
            ("erase_size", 1.0),
        ):
            value = getattr(self, name)
            if not 0.0 <= value <= high:
                raise ConfigError(
                    f"augment.{name} = {value:g} is out of range: it must be 0 to {high:g}."
                )

    def __call__(
        self, pixels: Tensor, generator: torch.Generator, *, is_turned: Tensor | None = None
    ) -> Tensor:
        """Return the batch varied; the same tensor if there is nothing to do.

        is_turned   bool [B] which images `flip` mirrors; drawn where left out
        """
        check_shape(pixels, "B C H W", layer="ImageAugment")
        if self.saturation and pixels.shape[1] != 3:
            raise ConfigError(
                f"augment.saturation = {self.saturation:g} has no effect on images of "
                f"{pixels.shape[1]} channel{'' if pixels.shape[1] == 1 else 's'}: it needs 3.",
                fix="set it to 0.",
            )
        count, channels = pixels.shape[:2]
        # Every kind draws whether it is used or not: the flips of a seed stay the same flips.
        draws = torch.rand(
            DRAWS + channels, count, generator=generator, device=generator.device
        ).to(pixels.device, non_blocking=True)
        if is_turned is not None:
            draws[0] = 1 - is_turned.to(draws)
        if self == ImageAugment(erase_size=self.erase_size) or not pixels.numel():
            return pixels
        varied = torch.empty_like(pixels, dtype=torch.float32 if self._blends else pixels.dtype)
        step = count
        if pixels.device.type == "cpu":
            step = max(1, CHUNK_VALUES // pixels[0].numel())
        for first in range(0, count, step):
            some = slice(first, first + step)
            varied[some] = self._varied(pixels[some], draws[:, some])
        return varied

    def describe(self) -> str:
        """Return what is varied as a sentence for the user."""
        kinds = [
            (self.flip, "mirrored left to right"),
            (self.shift, f"shifted by up to {self.shift:.0%}"),
            (self.rotate, f"turned by up to {self.rotate:g} degrees"),
            (self.scale, f"scaled by up to {self.scale:.0%}"),
            (self.brightness, f"brightness by {self.brightness:.0%}"),
            (self.contrast, f"contrast by {self.contrast:.0%}"),
            (self.saturation, f"saturation by {self.saturation:.0%}"),
            (
                self.erase and self.erase_size,
                f"{self.erase:.0%} with a rectangle of up to {self.erase_size:.0%} painted over",
            ),
        ]
        used = [words for strength, words in kinds if strength]
        return f"each image at random: {', '.join(used)}" if used else "images are not varied"

    @staticmethod
    def choose(
        height: int, width: int, channels: int, count: int, *, flip: bool = True
    ) -> ImageAugment:
        """Return settings for `count` training images of this size.

        Small pictures only move; larger ones turn, scale and change in light as well. Few
        pictures vary more than many. `flip` is the caller's word on whether a mirrored picture
        still means the same: not so for letters, digits or arrows.
        """
        is_small = min(height, width) <= SMALL_SIDE
        is_many = count >= MANY_ITEMS
        shift = 0.0 if min(height, width) < 8 else 0.08 if is_small else 0.06
        colour = channels == 3
        if is_small and is_many:
            # Measured: in the few epochs that many items get, erasing costs more than it gives.
            return ImageAugment(flip=flip, shift=shift * (0.75 if colour else 0.5))
        if is_small:
            light = 0.1 if colour else 0.0
            return ImageAugment(
                flip=flip, shift=shift, brightness=light, contrast=light, erase=0.25, erase_size=0.4
            )
        light = 0.1 if is_many else 0.2
        return ImageAugment(
            flip=flip,
            shift=shift,
            rotate=8.0 if is_many else 10.0,
            scale=0.15 if is_many else 0.3,
            brightness=light,
            contrast=light,
            saturation=light if colour else 0.0,
            erase=0.25,
            erase_size=0.4,
        )

    @property
    def _blends(self) -> bool:
        """Whether values are mixed, so that 8 bits do not hold them."""
        return any((self.rotate, self.scale, self.brightness, self.contrast, self.saturation))

    def _varied(self, pixels: Tensor, draws: Tensor) -> Tensor:
        if self.rotate or self.scale:
            pixels = self._sampled(pixels, draws)
        elif self.flip or self.shift:
            pixels = self._moved(pixels, draws)
        if self.brightness or self.contrast or self.saturation:
            pixels = self._coloured(pixels, draws[5:8])
        if self.erase and self.erase_size:
            pixels = self._erased(pixels, draws[8:])
        return pixels

    def _motion(self, pixels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return for each image whether it is mirrored, and its shift down and right, in pixels."""
        height, width = pixels.shape[2:]
        is_mirrored = (draws[0] < 0.5) & self.flip
        most_down, most_right = round(self.shift * height), round(self.shift * width)
        down = (draws[1] * (2 * most_down + 1)).floor() - most_down
        right = (draws[2] * (2 * most_right + 1)).floor() - most_right
        return is_mirrored, down, right

    def _moved(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Flip and shift by whole pixels: each pixel of the result is looked up once."""
        count, channels, height, width = pixels.shape
        is_mirrored, down, right = self._motion(pixels, draws)
        rows = torch.arange(height, device=pixels.device) - down.long()[:, None]
        columns = torch.arange(width, device=pixels.device) - right.long()[:, None]
        rows, columns = rows.clamp_(0, height - 1), columns.clamp_(0, width - 1)
        columns = torch.where(is_mirrored[:, None], width - 1 - columns, columns)
        place = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
        if _memory_format(pixels) == torch.channels_last:
            flat = pixels.permute(0, 2, 3, 1).reshape(count, height * width, channels)
            moved = flat.gather(1, place[:, :, None].expand(-1, -1, channels))
            return moved.view(count, height, width, channels).permute(0, 3, 1, 2)
        flat = pixels.reshape(count, channels, height * width)
        moved = flat.gather(2, place[:, None, :].expand(-1, channels, -1))
        return moved.view(pixels.shape)

    def _sampled(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Flip, shift, turn and scale by one bilinear sampling."""
        count, _, height, width = pixels.shape
        is_mirrored, down, right = self._motion(pixels, draws)
        angle = (draws[3] * 2 - 1) * math.radians(self.rotate)
        zoom = torch.exp((draws[4] * 2 - 1) * math.log1p(self.scale))
        sign = torch.where(is_mirrored, -1.0, 1.0)
        # grid_sample's own coordinates: -1..1 over each axis, pixel centres inside. For each pixel
        # of the result the place in the picture that it is taken from.
        across = (torch.arange(width, device=pixels.device) * 2 + 1) / width - 1
        along = (torch.arange(height, device=pixels.device) * 2 + 1) / height - 1
        across = across[None] - (2 / width * right)[:, None]
        along = along[None] - (2 / height * down)[:, None]
        cosine, sine = (angle.cos() / zoom)[:, None], (angle.sin() / zoom)[:, None]
        # A turn is a turn in pixels, not in shares of unlike sides.
        x_row, x_column = sign[:, None] * cosine * across, sign[:, None] * sine * along
        y_row, y_column = -sine * across * (width / height), cosine * along
        x_column = x_column * (height / width)
        grid = torch.empty(count, height, width, 2, device=pixels.device)
        torch.add(x_row[:, None, :], x_column[:, :, None], out=grid[..., 0])
        torch.add(y_row[:, None, :], y_column[:, :, None], out=grid[..., 1])
        values = pixels.float()
        return F.grid_sample(values, grid, padding_mode="border", align_corners=False)

    def _coloured(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Brightness b, contrast c and saturation s as one product with a matrix for each image.

            grey = luminance(x);   y = b * (m + c * (grey + s * (x - grey) - m))

        where m is the image's mean grey.
        """
        channels = pixels.shape[1]
        strengths = (self.brightness, self.contrast, self.saturation)
        bright, contrast, saturation = (
            1 + strength * (draw * 2 - 1) for strength, draw in zip(strengths, draws, strict=True)
        )
        # In place from here on: a fresh 6 MB for each step costs more than its arithmetic.
        values = pixels.float() if pixels.dtype != torch.float32 else pixels.clone()
        parts = LUMINANCE if channels == 3 else (1 / channels,) * channels
        grey = values[:, :1] * parts[0]
        for channel in range(1, channels):
            grey.add_(values[:, channel : channel + 1], alpha=parts[channel])
        gain = bright * contrast
        offset = bright * (1 - contrast) * grey.mean(dim=(1, 2, 3))
        values.mul_((gain * saturation)[:, None, None, None])
        if self.saturation:
            grey.mul_((gain * (1 - saturation))[:, None, None, None])
            values.add_(grey.add_(offset[:, None, None, None]))
        else:
            values.add_(offset[:, None, None, None])
        return values.clamp_(0, 255)

    def _erased(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Paint a rectangle of one random colour over some of the images."""
        height, width = pixels.shape[2:]
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
        is_inside = in_rows[:, None, :, None] & in_columns[:, None, None, :]
        colour = (draws[5:].T * 256).floor().clamp_(max=255).to(pixels.dtype)
        return torch.where(is_inside, colour[:, :, None, None], pixels)


def _memory_format(pixels: Tensor) -> torch.memory_format:
    """Return channels_last for a batch that lies so, else the plain format."""
    if pixels.is_contiguous() or not pixels.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last
