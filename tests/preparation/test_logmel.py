"""Log-mel features against librosa's numbers and a slow transform, and what padding must not do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from gridcell.errors import ShapeError
from gridcell.preparation.logmel import FLOOR, LogMel, mel_filters

SILENCE = math.log(1e-10)


def signal(samples: int = 2000) -> NDArray[np.float64]:
    """A chirp from 200 to 3,200 Hz and a little noise, at 8,000 Hz."""
    index = np.arange(samples, dtype=np.float64)
    seconds = index / 8000
    chirp = 0.5 * np.sin(2 * np.pi * (200 * seconds + 0.5 * 12000 * seconds**2))
    return np.asarray(chirp + 0.01 * np.sin(1e4 * index**2 % 7919))


def layer(*, hop: int = 80, window: int = 200, bins: int = 20, is_clip: bool = False) -> LogMel:
    return LogMel(
        rate=8000,
        bins=bins,
        window=window,
        hop=hop,
        low_hz=20.0,
        high_hz=4000.0,
        is_level_clip=is_clip,
    )


def features(wave: NDArray[np.float64] | Tensor, module: LogMel | None = None) -> Tensor:
    """[T, F] of one wave [N]."""
    module = layer() if module is None else module
    return module(torch.as_tensor(wave, dtype=torch.float32)[None], None)[0][0]  # type: ignore[no-any-return]


# --- Oracles -------------------------------------------------------------------------------------

# librosa 0.11.0, of signal() in float64:
#     np.log(np.maximum(librosa.feature.melspectrogram(
#         y=y, sr=8000, n_fft=256, hop_length=80, win_length=200, center=True, pad_mode="constant",
#         power=2.0, n_mels=20, htk=False, norm="slaney", fmin=20, fmax=4000), 1e-10)).T
# is [26, 20]; these are three of its rows.
LIBROSA_STEPS = {
    0: [
        0.16196,
        1.1509,
        -0.27343,
        -3.76591,
        -4.95272,
        -5.73051,
        -6.71971,
        -7.22913,
        -7.60023,
        -7.70224,
        -7.45941,
        -8.70249,
        -8.46847,
        -9.03556,
        -9.24027,
        -8.31864,
        -9.96847,
        -9.90822,
        -9.62146,
        -8.98412,
    ],
    7: [
        -9.33885,
        -9.14765,
        -9.04702,
        -8.55146,
        -8.31078,
        -8.93817,
        -4.95083,
        -0.04419,
        1.88601,
        0.8761,
        -3.53732,
        -8.51717,
        -8.65663,
        -9.47109,
        -9.12714,
        -9.18888,
        -8.94655,
        -8.99292,
        -8.64125,
        -9.14766,
    ],
    25: [
        -7.98284,
        -7.61517,
        -8.41771,
        -7.89942,
        -8.03226,
        -8.78607,
        -9.35706,
        -9.05637,
        -7.77198,
        -7.78078,
        -7.50484,
        -7.66072,
        -7.17002,
        -6.93006,
        -6.6776,
        -6.1087,
        -5.22599,
        -1.66751,
        0.31042,
        -2.39821,
    ],
}
# librosa 0.11.0: librosa.filters.mel(sr=8000, n_fft=256, n_mels=20, fmin=20, fmax=4000); of some
# rows the first place that is not 0, and the values from there to the last that is not.
LIBROSA_FILTERS = {
    0: (
        1,
        [0.0009183859, 0.003469458, 0.00602053, 0.008571601, 0.006947667, 0.004396596, 0.001845524],
    ),
    1: (
        5,
        [0.002087503, 0.004638575, 0.007189646, 0.008329622, 0.00577855, 0.003227478, 0.0006764065],
    ),
    10: (
        37,
        [
            0.000822665,
            0.002374584,
            0.003926502,
            0.005478421,
            0.006676371,
            0.005291854,
            0.003907336,
            0.002522819,
            0.001138301,
        ],
    ),
    19: (
        102,
        [
            2.47963e-05,
            0.0002236805,
            0.0004225647,
            0.0006214488,
            0.000820333,
            0.001019217,
            0.001218101,
            0.001416985,
            0.00161587,
            0.001814754,
            0.002013638,
            0.002212522,
            0.002411406,
            0.002306604,
            0.002129173,
            0.001951742,
            0.001774311,
            0.00159688,
            0.001419449,
            0.001242018,
            0.001064587,
            0.0008871555,
            0.0007097244,
            0.0005322933,
            0.0003548622,
            0.0001774311,
        ],
    ),
}


def test_the_steps_are_those_of_librosa() -> None:
    found = features(signal())
    assert found.shape == (26, 20)
    for step, wanted in LIBROSA_STEPS.items():
        np.testing.assert_allclose(found[step].numpy(), wanted, atol=2e-3)


def test_the_filters_are_those_of_librosa() -> None:
    found = mel_filters(rate=8000, points=256, bins=20, low_hz=20, high_hz=4000)
    assert found.shape == (20, 129)
    for row, (first, values) in LIBROSA_FILTERS.items():
        wanted = np.zeros(129)
        wanted[first : first + len(values)] = values
        np.testing.assert_allclose(found[row], wanted, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100])
@pytest.mark.parametrize("window_ms", [25.0, 40.0])
def test_no_band_is_left_without_a_frequency(rate: int, window_ms: float) -> None:
    bins = 40 if rate == 8000 else 64
    module = LogMel(rate=rate, bins=bins, window=round(window_ms * rate / 1000), hop=80, low_hz=20)
    assert module.filters.sum(1).min() > 0


def slow(wave: NDArray[np.float64], *, window: int, hop: int, bins: int) -> NDArray[np.float64]:
    """The same from the equations, one step and one frequency at a time, in float64."""
    points = 2 ** math.ceil(math.log2(window))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.concatenate([np.zeros(points), wave, np.zeros(points)])
    filters = mel_filters(rate=8000, points=points, bins=bins, low_hz=20, high_hz=4000)
    rows = []
    for step in range(1 + len(wave) // hop):
        first = points + step * hop - window // 2
        part = padded[first : first + window] * hann
        wheel = np.exp(
            -2j * np.pi * np.outer(np.arange(points // 2 + 1), np.arange(window)) / points
        )
        rows.append(np.log(np.maximum(filters @ np.abs(wheel @ part) ** 2, 1e-10)))
    return np.array(rows)


@pytest.mark.parametrize(
    ("samples", "window", "hop"),
    [(600, 200, 80), (600, 256, 128), (79, 200, 80), (80, 200, 80), (1, 200, 80), (500, 100, 37)],
)
def test_the_steps_are_those_of_a_slow_transform(samples: int, window: int, hop: int) -> None:
    wave = signal(samples)
    found = features(wave, layer(window=window, hop=hop))
    np.testing.assert_allclose(
        found.numpy(), slow(wave, window=window, hop=hop, bins=20), atol=5e-3
    )


# --- Lengths -------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(
    counts=st.lists(st.integers(0, 500), min_size=1, max_size=4),
    padding=st.sampled_from([0.0, 1e6, math.nan, math.inf]),
    is_clip=st.booleans(),
)
def test_alone_or_in_a_batch_with_anything_in_the_padding(
    counts: list[int], padding: float, is_clip: bool
) -> None:
    module = layer(is_clip=is_clip)
    waves = torch.full((len(counts), 520), padding)
    for row, count in enumerate(counts):
        waves[row, :count] = torch.from_numpy(signal(count) * (row + 1))
    found, steps = module(waves, torch.tensor(counts))
    assert steps.tolist() == [1 + count // 80 if count else 0 for count in counts]
    assert found.shape == (len(counts), max(steps.tolist()), 20)
    for row, count in enumerate(counts):
        alone, _ = module(waves[row : row + 1, :count], torch.tensor([count]))
        torch.testing.assert_close(found[row, : int(steps[row])], alone[0], atol=1e-4, rtol=1e-5)
        assert (found[row, int(steps[row]) :] == 0).all()


def test_without_lengths_every_wave_is_whole() -> None:
    waves = torch.from_numpy(np.stack([signal(), signal()[::-1]])).float()
    found, steps = layer()(waves, None)
    given_too, _ = layer()(waves, torch.tensor([2000, 2000]))
    assert steps.tolist() == [26, 26] and torch.equal(found, given_too)


def test_no_sample_gives_no_step() -> None:
    found, steps = layer()(torch.zeros(2, 0), None)
    assert found.shape == (2, 0, 20) and steps.tolist() == [0, 0]
    found, steps = layer()(torch.zeros(0, 100), None)
    assert found.shape == (0, 0, 20) and steps.tolist() == []


def test_axes_that_are_wrong_are_named() -> None:
    with pytest.raises(ShapeError, match="logmel"):
        layer()(torch.zeros(8), None)


# --- Values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_clip", [False, True])
@pytest.mark.parametrize("samples", [1, 79, 800])
def test_silence_is_the_floor_exactly(samples: int, is_clip: bool) -> None:
    found = features(torch.zeros(samples), layer(is_clip=is_clip))
    assert (found == torch.tensor(FLOOR).log()).all()
    assert float(found[0, 0]) == pytest.approx(SILENCE, abs=1e-5)


def test_a_shift_by_one_step_shifts_the_steps() -> None:
    wave = np.concatenate([np.zeros(240), signal(800), np.zeros(240)])
    found, later = features(wave), features(np.concatenate([np.zeros(80), wave]))
    torch.testing.assert_close(later[1:], found, atol=1e-4, rtol=1e-5)
    assert (found[1:] - found[:-1]).abs().max() > 1


def test_a_step_lies_in_the_middle_of_its_window() -> None:
    wave = np.zeros(800)
    wave[400] = 1.0
    level = features(wave).amax(1)
    assert int(level.argmax()) == 5 and float(level[5]) > float(level[4]) + 0.5
    torch.testing.assert_close(level[4], level[6], atol=1e-3, rtol=0)


@pytest.mark.parametrize("gain", [1e-6, 0.5, 20.0, 1e6])
def test_a_gain_changes_nothing_where_each_clip_has_its_own_level(gain: float) -> None:
    module = layer(is_clip=True)
    torch.testing.assert_close(
        features(signal() * gain, module), features(signal(), module), atol=2e-3, rtol=1e-4
    )
    plain = features(signal() * 0.5) - features(signal())
    assert float(plain.median()) == pytest.approx(2 * math.log(0.5), abs=1e-3)


def test_the_level_of_a_clip_is_its_own_and_not_its_neighbours() -> None:
    module = layer(is_clip=True)
    waves = torch.from_numpy(np.stack([signal() * 1e-3, signal()])).float()
    found, _ = module(waves, None)
    torch.testing.assert_close(found[0], found[1], atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("hertz", [150.0, 500.0, 1000.0, 2500.0])
def test_a_tone_is_loudest_in_its_own_band(hertz: float) -> None:
    wave = np.sin(2 * np.pi * hertz * np.arange(1600) / 8000)
    filters = mel_filters(rate=8000, points=256, bins=20, low_hz=20, high_hz=4000)
    centres = filters.argmax(1) * 8000 / 256
    loudest = centres[int(features(wave)[10].argmax())]
    assert abs(loudest - hertz) <= np.diff(centres).max() / 2 + 16


def test_the_tables_follow_from_the_settings_and_are_not_saved() -> None:
    assert not layer().state_dict()
