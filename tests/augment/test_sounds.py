"""Random variation of sounds, against the same change made by hand."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridcell.augment.sounds import SoundAugment
from gridcell.errors import ConfigError, ShapeError

EVERYTHING = SoundAugment(
    shift=0.3, speed=0.2, gain=6, noise=0.5, time_mask=0.3, band_mask=0.3, mix=0.7
)
COUNTS = [400, 0, 1, 17, 399, 250, 2, 123]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def waves(counts: list[int], longest: int = 400) -> tuple[Tensor, Tensor]:
    """Noise of these lengths, zero in the padding."""
    values = torch.randn(len(counts), longest, generator=seeded(99)) * 0.1
    valid = torch.tensor(counts)
    values[torch.arange(longest) >= valid[:, None]] = 0
    return values, valid


def tones(clips: int, samples: int, cycles: float) -> tuple[Tensor, Tensor]:
    """The same tone in each clip."""
    tone = torch.sin(torch.arange(samples, dtype=torch.float64) * (2 * math.pi * cycles / samples))
    return tone.float().repeat(clips, 1), torch.full((clips,), samples)


def features(steps: list[int], bins: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """Features without a value twice, their steps, and a fill that none of them equals."""
    longest = max(steps)
    values = torch.arange(len(steps) * longest * bins, dtype=torch.float32)
    fill = -1 - torch.arange(bins, dtype=torch.float32)
    return values.view(len(steps), longest, bins), torch.tensor(steps), fill


def with_only(kind: str, strength: float) -> SoundAugment:
    settings: dict[str, Any] = {kind: strength}
    return SoundAugment(**settings)


def power_db(values: Tensor) -> Tensor:
    return 10 * values.double().square().sum(1).log10()


# --- All kinds -----------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits() -> None:
    values, counts = waves(COUNTS)
    grid, steps, fill = features([9, 4])

    def varied(seed: int) -> list[Tensor]:
        generator = seeded(seed)
        sound, samples = EVERYTHING.wave(values, counts, generator)
        return [
            sound,
            samples,
            *EVERYTHING.mix_batch(sound, samples, generator),
            EVERYTHING.features(grid, steps, fill, generator),
        ]

    for one, again, other in zip(varied(5), varied(5), varied(6), strict=True):
        assert torch.equal(one, again)
        assert one.shape != other.shape or not torch.equal(one, other)


def test_nothing_to_do_returns_the_input_itself() -> None:
    values, counts = waves(COUNTS)
    same, same_counts = SoundAugment(time_mask=0.3, mix=0.5).wave(values, counts, seeded())
    assert same is values and same_counts is counts
    same, same_counts, partner, share = SoundAugment(gain=6).mix_batch(values, counts, seeded())
    assert same is values and same_counts is counts
    assert partner.tolist() == list(range(8)) and share.eq(1).all()
    grid, steps, fill = features([9, 4])
    assert SoundAugment(gain=6, mix=0.5).features(grid, steps, fill, seeded()) is grid


def test_the_input_is_never_written_to() -> None:
    values, counts = waves(COUNTS)
    grid, steps, fill = features([9, 4])
    kept = [tensor.clone() for tensor in (values, counts, grid, steps, fill)]
    for kind in ("shift", "speed", "gain", "noise", "time_mask", "band_mask", "mix"):
        augment = with_only(kind, 0.4)
        augment.wave(values, counts, seeded())
        augment.mix_batch(values, counts, seeded())
        augment.features(grid, steps, fill, seeded())
        for tensor, before in zip((values, counts, grid, steps, fill), kept, strict=True):
            assert torch.equal(tensor, before)


@pytest.mark.parametrize("kind", ["shift", "speed", "gain", "noise"])
def test_the_padding_stays_silent_and_every_clip_keeps_a_sample(kind: str) -> None:
    values, counts = waves(COUNTS)
    for seed in range(20):
        varied, samples = with_only(kind, 0.5).wave(values, counts, seeded(seed))
        assert torch.isfinite(varied).all() and varied.dtype == torch.float32
        assert samples.dtype == torch.int64
        assert torch.equal(samples > 0, counts > 0)
        assert not varied[torch.arange(varied.shape[1]) >= samples[:, None]].any()
        assert int(samples.max()) <= varied.shape[1]


@pytest.mark.parametrize("shape", [(0, 10), (3, 0), (0, 0)])
def test_empty_batches_and_batches_of_empty_clips_work(shape: tuple[int, int]) -> None:
    values, counts = torch.zeros(shape), torch.zeros(shape[0], dtype=torch.int64)
    varied, samples = EVERYTHING.wave(values, counts, seeded())
    assert varied.shape == shape and torch.equal(samples, counts)
    mixed, samples, _, _ = EVERYTHING.mix_batch(values, counts, seeded())
    assert mixed.shape == shape and torch.equal(samples, counts)
    grid = torch.zeros(*shape, 4)
    assert EVERYTHING.features(grid, counts, torch.zeros(4), seeded()).shape == grid.shape


def test_clips_of_nothing_in_a_wide_batch_stay_nothing() -> None:
    varied, samples = EVERYTHING.wave(*waves([0, 0], 50), seeded())
    assert not varied.any() and samples.tolist() == [0, 0]


def test_a_clip_is_varied_alone_whatever_stands_beside_it() -> None:
    values, counts = waves([400] * 8)
    others = values.clone()
    others[1:] *= -3
    for kind in ("shift", "speed", "gain", "noise"):
        augment = with_only(kind, 0.5)
        varied, _ = augment.wave(values, counts, seeded(1))
        beside, _ = augment.wave(others, counts, seeded(1))
        assert torch.equal(varied[0], beside[0])


def test_a_short_clip_varies_beside_a_long_one_as_it_would_alone() -> None:
    """The padding changes no draw, so but for the noise the bits are the same."""
    augment = SoundAugment(shift=0.3, speed=0.2, gain=6, time_mask=0.3, band_mask=0.3)
    alone, counts = waves([100] * 30, 100)
    padded = torch.cat([alone, torch.zeros(30, 300)], 1)
    for seed in range(5):
        one, samples = augment.wave(alone, counts, seeded(seed))
        two, beside = augment.wave(padded, counts, seeded(seed))
        assert torch.equal(samples, beside) and torch.equal(one, two)
    grid, steps, fill = features([10] * 30)
    wide = torch.cat([grid, torch.full((30, 7, 20), torch.nan)], 1)
    one = augment.features(grid, steps, fill, seeded())
    two = augment.features(wide, steps, fill, seeded())
    assert torch.equal(one, two[:, :10]) and two[:, 10:].isnan().all()


def test_a_large_batch_is_varied_as_its_clips_are(monkeypatch: pytest.MonkeyPatch) -> None:
    values, counts = waves(COUNTS)
    whole, samples = EVERYTHING.wave(values, counts, seeded())
    monkeypatch.setattr("gridcell.augment.sounds.CHUNK_SAMPLES", 1000)
    parts, same = EVERYTHING.wave(values, counts, seeded())
    assert torch.equal(whole, parts) and torch.equal(samples, same)


def test_one_kind_more_leaves_the_draws_of_the_others_alone() -> None:
    values, counts = waves([400] * 30)
    plain, _ = SoundAugment(gain=6).wave(values, counts, seeded())
    noisy, _ = SoundAugment(gain=6, noise=0.5).wave(values, counts, seeded())
    assert 0.2 < (plain == noisy).all(1).float().mean() < 0.8
    rolled, _ = SoundAugment(gain=6, shift=0.3).wave(values, counts, seeded())
    assert (power_db(plain) - power_db(rolled)).abs().max() < 1e-3


# --- Waves ---------------------------------------------------------------------------------------


def test_a_rolled_clip_is_the_one_rolled_by_hand_within_its_own_length() -> None:
    values, counts = waves([10, 7, 1, 2, 0] * 80, 12)
    varied, samples = SoundAugment(shift=0.5).wave(values, counts, seeded())
    assert torch.equal(samples, counts)
    seen: dict[int, set[int]] = {}
    for before, after, count in zip(values, varied, counts.tolist(), strict=True):
        most = count // 2
        rolls = [
            roll
            for roll in range(-most, most + 1)
            if torch.equal(before[:count].roll(roll), after[:count])
        ]
        assert rolls and not after[count:].any()
        seen.setdefault(count, set()).update(rolls)
    assert seen[10] == set(range(-5, 6)) and seen[7] == set(range(-3, 4))


def test_speed_1_is_the_identity_and_a_roll_with_hardly_a_speed_is_the_roll() -> None:
    values, counts = waves(COUNTS)
    # So little that every factor rounds to 1 in float64, and all the arithmetic of speed is done.
    almost, samples = SoundAugment(speed=1e-17).wave(values, counts, seeded())
    assert torch.equal(almost, values) and torch.equal(samples, counts)
    rolled, _ = SoundAugment(shift=0.3).wave(values, counts, seeded())
    both, _ = SoundAugment(shift=0.3, speed=1e-17).wave(values, counts, seeded())
    assert torch.equal(both, rolled) and not torch.equal(rolled, values)


def test_a_faster_clip_is_shorter_and_read_on_straight_lines() -> None:
    values, counts = waves([400, 250, 37, 3] * 20)
    varied, samples = SoundAugment(speed=0.25).wave(values, counts, seeded(3))
    pace = torch.rand(6, 80, generator=seeded(3))[1].double()
    factors = (1.25 ** (pace * 2 - 1)).numpy()
    for before, count, after, new, factor in zip(
        values, counts.tolist(), varied, samples.tolist(), factors, strict=True
    ):
        assert new == round(count / factor)
        wanted = np.interp(np.arange(new) * factor, np.arange(count), before[:count].numpy())
        assert np.abs(after[:new].numpy() - wanted).max() < 1e-5
    assert varied.shape[1] == int(samples.max())
    ratio = samples[::4] / 400
    assert ratio.min() < 0.83 and ratio.max() > 1.2 and abs(ratio.log().mean()) < 0.05


def test_a_single_sample_survives_twice_the_speed() -> None:
    values, counts = torch.full((1000, 1), 0.5), torch.ones(1000, dtype=torch.int64)
    varied, samples = SoundAugment(speed=1).wave(values, counts, seeded())
    assert samples.min() == 1 and samples.max() == 2
    assert varied[:, 0].eq(0.5).all()


def test_a_long_tone_stays_a_clean_tone_and_its_pitch_goes_with_its_speed() -> None:
    """Half a million samples: the place in the clip must not be rounded to float32."""
    values, counts = tones(1, 500_000, 5_000)
    varied, samples = SoundAugment(speed=0.1).wave(values, counts, seeded(2))
    factor = 1.1 ** (float(torch.rand(6, 1, generator=seeded(2))[1, 0]) * 2 - 1)
    place = np.arange(int(samples[0])) * factor
    inside = place < 499_998
    wanted = np.sin(place * (2 * np.pi / 100))
    # A straight line misses the top of a sine of 100 samples by (2 pi / 100)^2 / 8 = 0.0005.
    assert np.abs(varied[0].numpy() - wanted)[inside].max() < 0.0006


def test_gain_changes_the_level_by_up_to_so_many_db_and_nothing_else() -> None:
    values, counts = waves([400] * 300)
    varied, _ = SoundAugment(gain=6).wave(values, counts, seeded(4))
    level = power_db(varied) - power_db(values)
    drawn = (torch.rand(6, 300, generator=seeded(4))[2] * 2 - 1) * 6
    assert (level - drawn).abs().max() < 1e-4
    assert level.min() < -5.8 and level.max() > 5.8
    ratio = varied / values
    assert (ratio / ratio[:, :1] - 1).abs().max() < 1e-5


def test_noise_lies_exactly_as_far_below_its_share_of_clips_as_drawn() -> None:
    values, counts = waves([400, 100, 30] * 300)
    augment = SoundAugment(noise=0.3, noise_least=25, noise_most=5)
    varied, _ = augment.wave(values, counts, seeded(5))
    draws = torch.rand(6, 900, generator=seeded(5))
    is_hit = (varied != values).any(1)
    assert torch.equal(is_hit, draws[3] < 0.3) and 0.25 < is_hit.float().mean() < 0.35
    ratio = power_db(values[is_hit]) - power_db((varied - values)[is_hit])
    assert (ratio - (5 + 20 * draws[4, is_hit])).abs().max() < 0.01
    assert ratio.min() < 6 and ratio.max() > 24


def test_half_of_the_noise_is_white_and_half_falls_as_1_over_f() -> None:
    samples = 4096
    values, counts = tones(400, samples, samples / 2 - 1)
    augment = SoundAugment(noise=1, noise_least=0, noise_most=0)
    varied, _ = augment.wave(values, counts, seeded(6))
    is_pink = (torch.rand(6, 400, generator=seeded(6))[5] < 0.5).numpy()
    assert 0.4 < is_pink.mean() < 0.6
    power = np.abs(np.fft.rfft((varied - values).numpy())) ** 2
    frequency = np.arange(power.shape[1])

    def decibels(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """The mean of each octave from 8 cycles on."""
        octaves = [values[:, 1 << octave : 1 << (octave + 1)] for octave in range(3, 11)]
        return np.array([10 * np.log10(octave.mean()) for octave in octaves])

    assert np.ptp(decibels(power[~is_pink])) < 0.6
    assert np.ptp(decibels(power[is_pink] * frequency)) < 1.2
    assert np.ptp(decibels(power[is_pink])) > 20


def test_a_silent_clip_stays_silent() -> None:
    values, counts = torch.zeros(4, 50), torch.full((4,), 50)
    varied, _ = EVERYTHING.wave(values, counts, seeded())
    assert not varied.any()


# --- Mixing --------------------------------------------------------------------------------------


def test_a_mixture_is_the_share_of_each_and_as_long_as_the_longer() -> None:
    values, counts = waves(COUNTS * 50)
    mixed, samples, partner, share = SoundAugment(mix=0.6).mix_batch(values, counts, seeded())
    assert partner.dtype == torch.int64 and share.dtype == torch.float32
    wanted = share[:, None] * values + (1 - share)[:, None] * values[partner]
    assert (mixed - wanted).abs().max() < 1e-6
    assert torch.equal(samples, torch.maximum(counts, counts[partner]))
    is_mixed = partner != torch.arange(400)
    assert 0.53 < is_mixed.float().mean() < 0.67
    assert torch.equal(mixed[~is_mixed], values[~is_mixed]) and share[~is_mixed].eq(1).all()
    drawn = share[is_mixed]
    assert drawn.min() < 0.51 and drawn.max() > 0.99 and drawn.min() >= 0.5
    assert abs(float(drawn.mean()) - 0.75) < 0.03
    assert mixed.shape == values.shape


def test_every_clip_gets_another_as_partner_and_no_two_the_same() -> None:
    for clips in (2, 3, 33):
        _, _, partner, _ = SoundAugment(mix=1).mix_batch(*waves([5] * clips, 5), seeded())
        assert sorted(partner.tolist()) == list(range(clips))
        assert (partner != torch.arange(clips)).all()
    values, counts = waves([5], 5)
    alone, _, partner, share = SoundAugment(mix=1).mix_batch(values, counts, seeded())
    assert alone is values and partner.tolist() == [0] and share.tolist() == [1]


def test_a_mixture_of_equal_clips_is_the_clip() -> None:
    values, counts = waves([300])
    values, counts = values.repeat(20, 1), counts.repeat(20)
    mixed, samples, _, share = SoundAugment(mix=1).mix_batch(values, counts, seeded())
    assert torch.equal(mixed, values) and torch.equal(samples, counts)
    assert (share < 1).all()


# --- Features ------------------------------------------------------------------------------------


def test_masks_are_stretches_and_bands_of_the_fill_within_the_clip() -> None:
    steps = [30, 12, 1, 0, 5] * 60
    values, lengths, fill = features(steps)
    varied = SoundAugment(time_mask=0.2, band_mask=0.25).features(values, lengths, fill, seeded())
    is_hit = varied != values
    assert torch.equal(varied[is_hit], fill.expand_as(values)[is_hit])
    widest_time, widest_band = 0, 0
    for hit, count in zip(is_hit, steps, strict=True):
        assert not hit[count:].any()
        rows, columns = hit[:count].all(1), hit[:count].all(0) if count else hit[:0].any(0)
        assert torch.equal(hit[:count], rows[:, None] | columns)
        assert int(rows.sum()) <= 2 * math.floor(0.2 * count) and int(columns.sum()) <= 2 * 5
        assert runs(rows) <= 2 and runs(columns) <= 2
        widest_time = max(widest_time, int(rows.sum()) if count == 30 else 0)
        widest_band = max(widest_band, int(columns.sum()))
    assert widest_time > 8 and widest_band > 8


def runs(is_hit: Tensor) -> int:
    """How many stretches of True there are."""
    padded = torch.cat([torch.zeros(1, dtype=torch.bool), is_hit])
    return int((padded[1:] & ~padded[:-1]).sum())


def test_masks_never_cover_everything_whatever_the_length() -> None:
    strong = SoundAugment(time_mask=0.4, band_mask=0.4)
    for bins in (1, 2, 3, 5):
        values, lengths, fill = features([*range(1, 12)] * 100, bins)
        varied = strong.features(values, lengths, fill, seeded(bins))
        is_kept = (varied == values) & (torch.arange(11) < lengths[:, None])[:, :, None]
        assert is_kept.flatten(1).any(1).all()


def test_every_step_and_bin_is_painted_over_in_some_clip() -> None:
    values, lengths, fill = features([20] * 500)
    augment = SoundAugment(time_mask=0.2, band_mask=0.2)
    is_hit = augment.features(values, lengths, fill, seeded()) != values
    assert is_hit.all(2).any(0).all() and is_hit.all(1).any(0).all()


# --- Settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("shift", 0.6, "0 to 0.5"),
        ("speed", -0.1, "0 to 1"),
        ("gain", 61, "0 to 60"),
        ("noise", 1.1, "0 to 1"),
        ("noise_least", 121, "-60 to 120"),
        ("noise_most", -61, "-60 to 120"),
        ("time_mask", 0.5, "0 to 0.4"),
        ("band_mask", 0.5, "0 to 0.4"),
        ("mix", 2, "0 to 1"),
    ],
)
def test_a_setting_out_of_range_is_refused(name: str, value: float, limits: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_only(name, value)
    wanted = f"augment.{name} = {value:g} is out of range: it must be {limits}."
    assert str(caught.value) == wanted
    with pytest.raises(ConfigError):
        with_only(name, math.nan)


def test_noise_levels_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        SoundAugment(noise=0.5, noise_least=10, noise_most=30)
    assert str(caught.value) == (
        "augment.noise_most = 30 is softer noise than augment.noise_least = 10: both say by how "
        "many dB the noise lies below the clip.\n"
        "  Fix: exchange the two."
    )


def test_lengths_and_fills_that_do_not_fit_are_refused() -> None:
    values, counts = waves([5, 3], 5)
    with pytest.raises(ShapeError, match=r"counts must be int64 \[B=2\]; got float32 \(2,\)"):
        EVERYTHING.wave(values, counts.float(), seeded())
    with pytest.raises(ShapeError, match=r"counts\[1\] is 6: it must be 0 to 5, what the values"):
        EVERYTHING.mix_batch(values, torch.tensor([5, 6]), seeded())
    with pytest.raises(ShapeError, match=r"SoundAugment input must be \[B, N\]; got \(5,\)"):
        EVERYTHING.wave(values[0], counts, seeded())
    grid, steps, fill = features([4, 2])
    with pytest.raises(ShapeError, match=r"steps\[0\] is -1: it must be 0 to 4"):
        EVERYTHING.features(grid, torch.tensor([-1, 2]), fill, seeded())
    with pytest.raises(ShapeError, match=r"fill must be \[F=20\], a value a bin; got \(19,\)"):
        EVERYTHING.features(grid, steps, fill[1:], seeded())


def test_the_chosen_settings_fit_the_length_and_count() -> None:
    words = SoundAugment.choose(2_700, 0.43)
    assert not words.shift and words.speed and words.noise and words.time_mask and not words.mix
    scenes = SoundAugment.choose(2_000, 5.0)
    assert scenes.shift == 0.5
    many = SoundAugment.choose(50_000, 1.0)
    assert many.speed < words.speed and many.gain < words.gain and many.noise < words.noise
    assert not SoundAugment.choose(100, 1.0, speed=False).speed
    assert SoundAugment.choose(100, 1.0, can_mix=True).mix
    assert not SoundAugment.choose(50_000, 1.0, can_mix=True).mix


def test_the_settings_are_told_in_a_sentence() -> None:
    assert SoundAugment().describe() == "sounds are not varied"
    assert EVERYTHING.describe() == (
        "each sound at random: rolled in time by up to 30%, played at 83% to 120% of its speed, "
        "louder or softer by up to 6 dB, 50% with noise 10 to 30 dB below them, two stretches of "
        "up to 30% painted over, two bands of up to 30% painted over, 70% mixed with another"
    )


@pytest.mark.parametrize(("clips", "samples", "limit_ms"), [(64, 8_000, 20), (16, 110_250, 60)])
def test_a_batch_is_varied_in_milliseconds_of_one_core(
    clips: int, samples: int, limit_ms: float
) -> None:
    values, counts = tones(clips, samples, 100)
    augment = SoundAugment.choose(2_700, samples / 20_000, can_mix=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        spent = []
        for seed in range(8):
            generator = seeded(seed)
            start = time.thread_time()
            varied, lengths = augment.wave(values, counts, generator)
            augment.mix_batch(varied, lengths, generator)
            spent.append((time.thread_time() - start) * 1000)
    finally:
        torch.set_num_threads(threads)
    # Half as much again for slower machines: this is to catch a loop over clips, not a bad day.
    assert min(spent) < limit_ms * 1.5


def test_equalizing_adds_one_smooth_curve_to_all_steps_of_a_clip() -> None:
    augment = SoundAugment(equalize=6.0)
    values = torch.randn(40, 12, 33, generator=torch.Generator().manual_seed(0))
    steps = torch.full((40,), 12)
    steps[3] = 5
    generator = torch.Generator().manual_seed(1)
    varied = augment.features(values, steps, torch.zeros(33), generator)
    change = varied - values
    assert torch.equal(change[3, 5:], torch.zeros(7, 33))
    curve = change[:, 0]
    torch.testing.assert_close(change[3, :5], curve[3].expand(5, -1), rtol=0, atol=1e-5)
    decibels = curve * 10 / math.log(10)
    assert 5.0 < float(decibels.abs().max()) <= 6.0001
    # Straight between 5 levels: bends at 3 places alone.
    bends = curve.diff(dim=1).diff(dim=1).abs() > 1e-4
    assert int(bends.any(0).sum()) == 3
    assert float((curve[0] - curve[1]).abs().max()) > 0.1
    loud = augment.features(values + 1, steps, torch.zeros(33), torch.Generator().manual_seed(1))
    torch.testing.assert_close(loud - values - 1, change, rtol=0, atol=1e-5)
