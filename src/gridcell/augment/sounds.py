"""Random variation of training sounds, a whole batch at a time: as waves, then as features.

A wave is rolled, played faster or slower, made louder or softer, and has noise added; its log-mel
features are painted over in stretches of time and bands of frequency; two waves can be mixed. Each
clip of a batch gets its own draw, and every change is measured by the clip's own true length, so
that a short clip varies beside a long one as it would alone. The padding is zero before and after.

Left out: reversed polarity, which a power spectrum cannot show, and any change of length other
than by speed. The random numbers come from the generator that is handed in, so the same seed gives
the same bits. What a label means must not change under the settings: a sound played faster is also
higher, so notes and voices told apart by their pitch are the caller's to exempt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gridcell.axes import check_shape
from gridcell.errors import ConfigError, ShapeError

CHUNK_SAMPLES = 1 << 17
"""Samples varied at a time on a CPU: what stays in its cache takes less time."""
WAVE_DRAWS = 6
"""Random numbers of a wave: one each for the roll, the speed, the gain, whether it has noise, the
noise's level and its colour. The noise itself comes after them."""
MASKS = 2
"""Stretches of time, and bands of frequency, painted over in each clip (as Park et al. 2019)."""
OCTAVES = 12
"""Octaves below half the rate over which pink noise falls; below them it is flat."""
LONG_S = 2.0
"""From so many seconds on a clip is rather a scene than one event with a start of its own."""
CURVE_POINTS = 5
MANY_ITEMS = 10_000
"""From so many items on the data vary by themselves, and lighter settings learn faster."""


@dataclass(frozen=True)
class SoundAugment:
    """How training sounds vary; 0 leaves that kind of change out.

    Shapes   wave      values float [B, N], counts int64 [B] -> the same; only `speed` changes N
             mix       values float [B, N], counts int64 [B] -> the same, partner [B], share [B]
             features  values float [B, T, F], steps int64 [B], fill float [F] -> [B, T, F]
    Units    `gain` and the noise levels in dB; waves in any unit, and never clipped
    Raises   ConfigError for a setting out of range; ShapeError for counts that do not fit
    Cost     with everything, 64 waves of 1 s at 8 kHz: 11 ms to vary, 0.5 ms to mix; 16 waves of
             5 s at 22.05 kHz: 35 ms and 1.6 ms; features 64 x 100 x 64: 1 ms (one core of an
             AMD EPYC)
    Source   speed: Ko et al. 2015; curves over the bins: Nam et al. 2022 (FilterAugment); masks:
             Park et al. 2019 (SpecAugment); mixing: Zhang et al. 2018 (mixup)

    >>> SoundAugment(speed=0.1, gain=6).describe()
    'each sound at random: played at 91% to 110% of its speed, louder or softer by up to 6 dB'
    """

    shift: float = 0.0
    """Largest roll in time, as a share of the clip: what leaves at one end comes in at the other,
    so that nothing is lost."""
    speed: float = 0.0
    """Largest change of speed and, with it, of pitch: 0.1 is 1/1.1 to 1.1 times as fast."""
    gain: float = 0.0
    """Largest change of level either way, in dB."""
    noise: float = 0.0
    """Share of the clips to which noise is added, white for half of them and pink for the rest."""
    noise_least: float = 30.0
    """How far below the clip the softest noise lies, in dB (the signal-to-noise ratio)."""
    noise_most: float = 10.0
    """How far below the clip the loudest noise lies, in dB."""
    equalize: float = 0.0
    """Largest change of the level of any frequency, in dB: a smooth random curve over the bins, as
    another microphone or room would give."""
    time_mask: float = 0.0
    """Longest stretch of time painted over, as a share of the clip; two in each clip."""
    band_mask: float = 0.0
    """Widest band of frequencies painted over, as a share of all bins; two in each clip."""
    mix: float = 0.0
    """Share of the clips that are mixed with another clip of their batch."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("shift", 0.0, 0.5),
            ("speed", 0.0, 1.0),
            ("gain", 0.0, 60.0),
            ("noise", 0.0, 1.0),
            ("noise_least", -60.0, 120.0),
            ("noise_most", -60.0, 120.0),
            ("equalize", 0.0, 60.0),
            # Two masks of 40% leave a fifth of the clip, even where they lie side by side.
            ("time_mask", 0.0, 0.4),
            ("band_mask", 0.0, 0.4),
            ("mix", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(
                    f"augment.{name} = {value:g} is out of range: it must be {low:g} to {high:g}."
                )
        if self.noise_most > self.noise_least:
            raise ConfigError(
                f"augment.noise_most = {self.noise_most:g} is softer noise than "
                f"augment.noise_least = {self.noise_least:g}: both say by how many dB the noise "
                "lies below the clip.",
                fix="exchange the two.",
            )

    def wave(
        self, values: Tensor, counts: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return waves varied and their new counts; the same tensors if there is nothing to do.

        In order: the roll, the speed, the gain, the noise. A clip of zeros stays one, since its
        noise is measured by its own level; a clip of any samples keeps at least one.
        """
        _check_batch(values, counts, "B N", name="counts")
        # Every kind draws whether it is used or not: the gains of a seed stay the same gains.
        draws = _draws(WAVE_DRAWS, values, generator)
        if not (self.shift or self.speed or self.gain or self.noise) or not values.numel():
            return values, counts
        if self.shift or self.speed:
            values, counts = self._played(values, counts, draws[0], draws[1])
        if self.gain:
            values = values * _amplitude((draws[2] * 2 - 1) * self.gain)[:, None]
        if self.noise:
            values = self._noisy(values, counts, draws[3:], generator)
        return values, counts

    def mix_batch(
        self, values: Tensor, counts: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return waves mixed with others of the batch, their counts, partners and own shares.

            y = share * x + (1 - share) * x[partner];   count = max(count, count[partner])

        The loss is to be mixed alike: share * loss(target) + (1 - share) * loss(target[partner]).
        A clip that is left as it is has itself as partner and share 1, and is the same to the bit.

        The share is uniform in 0.5 to 1: Zhang et al.'s Beta(a, a) at a = 1, folded, since a pair
        and its mirror image are the same mixture. Any other `a` would need draws that PyTorch
        makes from a generator in a private function only. Partners form one circle through the
        batch, so each clip is mixed into at most one other, and none into itself.
        """
        _check_batch(values, counts, "B N", name="counts")
        is_mixed_draw, share_draw, order_draw = _draws(3, values, generator)
        count = len(values)
        partner = torch.arange(count, device=values.device)
        share = torch.ones(count, device=values.device)
        if not self.mix or count < 2 or not values.numel():
            return values, counts, partner, share
        is_mixed = is_mixed_draw < self.mix
        order = order_draw.argsort()
        partner[order] = torch.where(is_mixed[order], order.roll(1), order)
        share = torch.where(is_mixed, 0.5 + 0.5 * share_draw, share)
        # From one wave to the other, so that equal waves give the wave itself.
        mixed = torch.lerp(values[partner], values, share.to(values.dtype)[:, None])
        return mixed, torch.maximum(counts, counts[partner]), partner, share

    def features(
        self, values: Tensor, steps: Tensor, fill: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return log-mel features equalized, and stretches and bands painted over in `fill` [F].

        The training mean of each bin says the least there: 0 would be a level like any other. What
        lies at or past `steps` is left alone. The same tensor if there is nothing to do.
        """
        _check_batch(values, steps, "B T F", name="steps")
        longest, bins = values.shape[1:]
        if fill.shape != (bins,):
            raise ShapeError(
                f"SoundAugment fill must be [F={bins}], a value a bin; got {tuple(fill.shape)}."
            )
        curves = _draws(CURVE_POINTS, values, generator)
        draws = _draws(4 * MASKS, values, generator).view(4, MASKS, len(values))
        if not values.numel():
            return values
        if self.equalize:
            values = self._equalized(values, steps, curves)
        if not (self.time_mask or self.band_mask):
            return values
        in_time = _masked(longest, steps, self.time_mask, draws[0], draws[1])
        in_band = _masked(bins, torch.full_like(steps, bins), self.band_mask, draws[2], draws[3])
        is_step = torch.arange(longest, device=values.device) < steps[:, None]
        is_hit = in_time[:, :, None] | (is_step[:, :, None] & in_band[:, None, :])
        return torch.where(is_hit, fill.to(values.dtype), values)

    def describe(self) -> str:
        """Return what is varied as a sentence for the user."""
        slowest, fastest = 1 / (1 + self.speed), 1 + self.speed
        kinds = [
            (self.shift, f"rolled in time by up to {self.shift:.0%}"),
            (self.speed, f"played at {slowest:.0%} to {fastest:.0%} of its speed"),
            (self.gain, f"louder or softer by up to {self.gain:g} dB"),
            (
                self.noise,
                f"{self.noise:.0%} with noise {self.noise_most:g} to {self.noise_least:g} dB "
                "below them",
            ),
            (self.equalize, f"frequencies louder or softer by up to {self.equalize:g} dB"),
            (self.time_mask, f"two stretches of up to {self.time_mask:.0%} painted over"),
            (self.band_mask, f"two bands of up to {self.band_mask:.0%} painted over"),
            (self.mix, f"{self.mix:.0%} mixed with another"),
        ]
        used = [words for strength, words in kinds if strength]
        return f"each sound at random: {', '.join(used)}" if used else "sounds are not varied"

    @staticmethod
    def choose(
        items: int, median_seconds: float, *, speed: bool = True, can_mix: bool = False
    ) -> SoundAugment:
        """Return settings for `items` training sounds of this usual length.

        Long clips are scenes without a fixed start and roll as far as they can. Short ones are
        one event: rolled, a word would begin in its middle. Few clips vary more than many.
        `speed` is the caller's word on whether a sound played faster, and so higher, still means
        the same; `can_mix` is its word that it mixes the loss as well.
        """
        is_many = items >= MANY_ITEMS
        is_long = median_seconds >= LONG_S
        return SoundAugment(
            shift=0.5 if is_long else 0.0,
            speed=(0.05 if is_many else 0.1) if speed else 0.0,
            gain=3.0 if is_many else 6.0,
            noise=0.25 if is_many else 0.5,
            noise_least=40.0,
            noise_most=15.0,
            equalize=3.0 if is_many else 6.0,
            time_mask=0.1 if is_many else 0.15,
            band_mask=0.1 if is_many else 0.15,
            mix=0.5 if can_mix and not is_many else 0.0,
        )

    def _equalized(self, values: Tensor, steps: Tensor, draws: Tensor) -> Tensor:
        """Add a curve over the bins, straight between a few random levels, to each clip."""
        decibels = (draws.t()[:, None] * 2 - 1) * self.equalize
        curve = F.interpolate(decibels, values.shape[2], mode="linear", align_corners=True)
        is_step = torch.arange(values.shape[1], device=values.device) < steps[:, None]
        power = curve * (math.log(10) / 10)
        return torch.where(is_step[:, :, None], values + power.to(values.dtype), values)

    def _played(
        self, values: Tensor, counts: Tensor, roll: Tensor, pace: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Roll each clip within its own length and play it at its own speed: one look-up."""
        most = (self.shift * counts).floor()
        later = ((roll * (2 * most + 1)).floor() - most).long()
        factor = torch.exp((pace.double() * 2 - 1) * math.log1p(self.speed))
        # No factor reaches 2, so that even a single sample rounds to one.
        played = (counts / factor).round().long()
        longest = int(played.max()) if self.speed else values.shape[1]
        result = values.new_empty(len(values), longest)
        step = _chunk(values, longest)
        for first in range(0, len(values), step):
            some = slice(first, first + step)
            place = (values[some], counts[some], later[some])
            if self.speed:
                result[some] = _interpolated(*place, factor[some], longest)
            else:
                result[some] = _rolled(*place, torch.arange(longest, device=values.device))
        return _silenced(result, played), played

    def _noisy(
        self, values: Tensor, counts: Tensor, draws: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Add noise at a drawn level below the clip to the clips that were drawn for it."""
        rows = (draws[0] < self.noise).nonzero()[:, 0]
        if not len(rows):
            return values
        level, is_pink = draws[1, rows], draws[2, rows] < 0.5
        ratio_db = self.noise_most + level * (self.noise_least - self.noise_most)
        clips, valid = values[rows], counts[rows]
        noise = _silenced(_noise(clips, is_pink, generator), valid)
        # Both are zero in the padding, so the ratio of the sums is that of the mean powers; it is
        # met exactly, not on average. A clip of few samples may draw hardly any noise at all.
        ratio = clips.square().sum(1) / noise.square().sum(1).clamp(min=1e-12)
        noise *= (ratio.sqrt() * _amplitude(-ratio_db))[:, None]
        return values.index_copy(0, rows, noise.add_(clips))


def _check_batch(values: Tensor, lengths: Tensor, axes: str, *, name: str) -> None:
    """Raise ShapeError unless there is a whole length within the values for each clip."""
    check_shape(values, axes, layer="SoundAugment")
    count, longest = values.shape[:2]
    if lengths.shape != (count,) or lengths.dtype != torch.int64:
        raise ShapeError(
            f"SoundAugment {name} must be int64 [B={count}]; "
            f"got {str(lengths.dtype).removeprefix('torch.')} {tuple(lengths.shape)}."
        )
    wrong = ((lengths < 0) | (lengths > longest)).nonzero()
    if len(wrong):
        index = int(wrong[0])
        raise ShapeError(
            f"SoundAugment {name}[{index}] is {int(lengths[index])}: it must be 0 to {longest}, "
            "what the values have."
        )


def _draws(count: int, values: Tensor, generator: torch.Generator) -> Tensor:
    """Return `count` random numbers from 0 to 1 for each clip, `[count, B]`."""
    draws = torch.rand(count, len(values), generator=generator, device=generator.device)
    return draws.to(values.device, non_blocking=True)


def _amplitude(level_db: Tensor) -> Tensor:
    """Return the factor on a wave that changes its power by so many dB."""
    return torch.pow(10.0, level_db / 20)


def _chunk(values: Tensor, longest: int) -> int:
    """Return how many clips to vary at a time."""
    if values.device.type != "cpu":
        return len(values)
    return max(1, CHUNK_SAMPLES // max(1, longest))


def _silenced(values: Tensor, counts: Tensor) -> Tensor:
    """Set what lies at or past each count to zero, in place."""
    is_padding = torch.arange(values.shape[1], device=values.device) >= counts[:, None]
    return values.masked_fill_(is_padding, 0)


def _rolled(values: Tensor, counts: Tensor, later: Tensor, index: Tensor) -> Tensor:
    """Return sample `index` ([N'] or [B, N']) of each clip rolled by `later` samples."""
    last = counts[:, None].clamp(min=1) - 1
    place = torch.minimum(index, last) - later[:, None]
    # A roll of at most half a clip leaves it at one end only, and by less than its length.
    place += (place < 0) * counts[:, None]
    place -= (place > last) * counts[:, None]
    return values.gather(1, place)


def _interpolated(
    values: Tensor, counts: Tensor, later: Tensor, factor: Tensor, longest: int
) -> Tensor:
    """Return each clip rolled and read at steps of `factor` samples, on straight lines between.

    Lines instead of a filter: at these factors the highest tones are softened and mirrored a
    little, which is a variation like the others.
    """
    # In float32 the place in a clip of a minute would be rounded to a tenth of a sample.
    place = torch.arange(longest, device=values.device, dtype=torch.float64) * factor[:, None]
    before = place.long()
    part = place.sub_(before).to(values.dtype)
    left = _rolled(values, counts, later, before)
    right = _rolled(values, counts, later, before.add_(1))
    return torch.lerp(left, right, part)


def _noise(values: Tensor, is_pink: Tensor, generator: torch.Generator) -> Tensor:
    """Return noise of the shape of `values`; where `is_pink`, its power falls as 1 / frequency.

    Pink as Voss made it: white noises, each held for twice as many samples as the one before,
    added up. Within about 1 dB of 1 / f, at two random numbers a sample.
    """
    clips, samples = values.shape
    device = generator.device
    noise = torch.randn(clips, samples, generator=generator, device=device).to(values)
    pink = is_pink.nonzero()[:, 0]
    held = noise[pink]
    for octave in range(1, OCTAVES + 1):
        span = 1 << octave
        if span > samples:
            break
        coarse = torch.randn(len(pink), samples // span + 1, generator=generator, device=device)
        held += coarse.to(values).repeat_interleave(span, dim=1)[:, :samples]
    return noise.index_copy_(0, pink, held)


def _masked(
    size: int, lengths: Tensor, share: float, wide_draws: Tensor, start_draws: Tensor
) -> Tensor:
    """Return bool [B, size], True in the masks, each within the clip's own length."""
    # Rounded down: so even the shortest clip keeps something.
    most = (share * lengths).floor()
    wide = (wide_draws * (most + 1)).floor()
    start = (start_draws * (lengths - wide + 1)).floor()
    index = torch.arange(size, device=lengths.device)
    is_inside = (index >= start[:, :, None]) & (index < (start + wide)[:, :, None])
    return is_inside.any(0)
