"""From a wave to its log-mel features, in plain tensor operations that can travel with a model.

The scale and the filters are Slaney's (Auditory Toolbox, 1998), which librosa has by default:

    mel(f) = 3 f / 200                            below 1,000 Hz
           = 15 + 27 ln(f / 1000) / ln 6.4        from there on
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gridcell.axes import check_shape
from gridcell.layers.lengths import valid_steps

FLOOR = 1e-10
"""Power below which a band counts as silent: ln 1e-10 = -23.03, where ln 0 would be -inf."""
KNEE_HZ, KNEE_MEL = 1000.0, 15.0
MEL_PER_HZ = 3 / 200
MEL_PER_LOG = 27 / math.log(6.4)


class LogMel(nn.Module):
    """Logarithm of the power in bands of frequency, step by step.

        power[t, k] = |sum over n of hann[n] wave[t * hop + n - window / 2] exp(-2 pi i k n / N)|^2
        y[t, f]     = ln max(sum over k of filters[f, k] * power[t, k], 1e-10)

    A step lies in the middle of its window. Beyond its own ends a wave counts as silent, so that a
    wave gives the same steps alone and in a batch, whatever lies in the padding.

    level   "clip": each wave is divided by its own peak first, so that loud and soft recordings of
            the same thing are the same; one of silence stays silent. "none": taken as it is

    Shapes   wave float32 [B, N], true samples int64 [B]
             -> y [B, T, F], 0 in the padding, and steps [B] = 1 + samples // hop (0 of no sample)
    Units    natural logarithm of power; rate and band edges in Hz, window and hop in samples
    Cost     an FFT of N = the next power of two of the window, and F * N / 2 multiply-adds a step

    >>> y, steps = LogMel(rate=8000, bins=40, window=200, hop=80)(torch.zeros(2, 800), None)
    >>> y.shape, steps.tolist(), round(float(y.max()), 2)
    (torch.Size([2, 11, 40]), [11, 11], -23.03)
    """

    window_values: Tensor
    filters: Tensor

    def __init__(
        self,
        *,
        rate: int,
        bins: int,
        window: int,
        hop: int,
        low_hz: float = 0.0,
        high_hz: float | None = None,
        is_level_clip: bool = False,
    ) -> None:
        super().__init__()
        self.window, self.hop, self.is_level_clip = window, hop, is_level_clip
        self.points = 1 << max(0, window - 1).bit_length()
        filters = mel_filters(
            rate=rate,
            points=self.points,
            bins=bins,
            low_hz=low_hz,
            high_hz=rate / 2 if high_hz is None else high_hz,
        )
        self.register_buffer("window_values", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters).float(), persistent=False)

    def forward(self, wave: Tensor, samples: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_shape(wave, "B N", layer="logmel")
        if samples is None:
            samples = torch.full((len(wave),), wave.shape[1], device=wave.device)
        else:
            wave = torch.where(valid_steps(samples, wave.shape[1]), wave, 0.0)
        steps = self.steps_of(samples)
        count = int(steps.max()) if len(steps) else 0
        if count == 0:
            return wave.new_zeros(len(wave), 0, len(self.filters)), steps
        if self.is_level_clip:
            peak = wave.abs().amax(1, keepdim=True)
            wave = wave / torch.where(peak > 0, peak, 1.0)
        left = self.points // 2
        right = max(0, (count - 1) * self.hop + self.points - left - wave.shape[1])
        padded = nn.functional.pad(wave, (left, right))
        spectrum = torch.stft(
            padded,
            self.points,
            self.hop,
            self.window,
            self.window_values,
            center=False,
            return_complex=True,
        )[:, :, :count]
        power = spectrum.real.square() + spectrum.imag.square()
        bands = torch.matmul(power.transpose(1, 2), self.filters.t())
        y = bands.clamp(min=FLOOR).log()
        return torch.where(valid_steps(steps, count)[:, :, None], y, 0.0), steps

    def steps_of(self, samples: Tensor) -> Tensor:
        """Steps of waves with so many samples [B]."""
        return torch.where(samples > 0, 1 + samples // self.hop, 0)


def mel_filters(
    *, rate: int, points: int, bins: int, low_hz: float, high_hz: float
) -> NDArray[np.float64]:
    """Return triangles [F, points // 2 + 1] that lie evenly on the mel scale, each of area 1.

    Each rises from its left neighbour's centre to its own and falls to its right neighbour's.

    Units   height in 1 / Hz, so that white noise has the same power in every band
    """
    edges = _hertz(np.linspace(_mel(low_hz), _mel(high_hz), bins + 2))
    frequencies = np.linspace(0, rate / 2, points // 2 + 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - left) / (centre - left)
    falling = (right - frequencies) / (right - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * 2 / (right - left))


def _mel(hertz: float) -> float:
    if hertz < KNEE_HZ:
        return hertz * MEL_PER_HZ
    return KNEE_MEL + MEL_PER_LOG * math.log(hertz / KNEE_HZ)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = KNEE_HZ * np.exp((np.maximum(mel, KNEE_MEL) - KNEE_MEL) / MEL_PER_LOG)
    return np.where(mel < KNEE_MEL, mel / MEL_PER_HZ, above)
