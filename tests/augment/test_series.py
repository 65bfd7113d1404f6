"""Training series vary within their own steps, and only as they are told to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gridcell.augment.series import SeriesAugment

DEVIATION = torch.tensor([1.0, 10.0])


def batch() -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([40, 7, 1, 0])
    values = torch.randn(4, 40, 2, generator=torch.Generator().manual_seed(0)) + 3
    return values * (torch.arange(40) < lengths[:, None])[:, :, None], lengths


def varied(augment: SeriesAugment, seed: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    values, lengths = batch()
    found = augment(values, lengths, DEVIATION, torch.Generator().manual_seed(seed))
    return values, lengths, *found


def test_nothing_asked_changes_nothing() -> None:
    values, lengths, found, after = varied(SeriesAugment())
    assert torch.equal(values, found) and torch.equal(lengths, after)


EVERYTHING = SeriesAugment(noise=0.2, scale=0.2, speed=0.3, crop=0.3, mask=0.3)


def test_the_padding_stays_empty_and_a_series_stays_a_series() -> None:
    for seed in range(20):
        _, lengths, found, after = varied(EVERYTHING, seed)
        assert (after[lengths > 0] >= 1).all() and after[3] == 0
        assert found.shape[1] == int(after.max()) and torch.isfinite(found).all()
        for row, count in enumerate(after.tolist()):
            assert (found[row, count:] == 0).all()


def test_noise_is_measured_by_each_column() -> None:
    values, _, found, _ = varied(SeriesAugment(noise=0.5))
    change = (found - values)[0].std(0)
    assert change[0] == pytest.approx(0.5, rel=0.3) and change[1] == pytest.approx(5, rel=0.3)


def test_scaling_multiplies_each_column_of_a_series_alike() -> None:
    values, _, found, _ = varied(SeriesAugment(scale=0.5))
    factors = found[0] / values[0]
    torch.testing.assert_close(factors, factors[:1].expand_as(factors))
    assert factors[0, 0] != factors[0, 1]


def test_a_part_at_another_pace_reads_the_series_on_straight_lines() -> None:
    lengths = torch.tensor([50])
    line = torch.arange(50.0)[None, :, None].expand(1, 50, 2)
    for seed in range(20):
        augment = SeriesAugment(speed=0.2, crop=0.2)
        found, after = augment(line, lengths, DEVIATION, torch.Generator().manual_seed(seed))
        path = found[0, : int(after[0]), 0]
        pace = path.diff()
        assert path.min() >= 0 and path.max() <= 49
        assert float(pace[:-2].min()) >= 1 / 1.2 - 1e-4 and float(pace.max()) <= 1.2 + 1e-4
        assert 50 * 0.8 / 1.2 - 1 <= int(after[0]) <= 50 * 1.2 + 1


def test_a_mask_paints_one_stretch_in_the_mean() -> None:
    values, _, found, _ = varied(SeriesAugment(mask=0.5), seed=3)
    is_hit = (found != values).any(2)[0]
    places = is_hit.nonzero()[:, 0]
    assert 0 < len(places) <= 20 and int(places[-1] - places[0]) + 1 == len(places)
    torch.testing.assert_close(found[0, places], values[0].mean(0).expand(len(places), 2))


def test_what_varies_is_told() -> None:
    assert SeriesAugment().describe() == "series are not varied"
    told = SeriesAugment(noise=0.05, mix=0.5).describe()
    assert "noise of 5% of a column's deviation" in told and "50% mixed" in told


def test_steps_with_answers_of_their_own_stay_where_they_are() -> None:
    chosen = SeriesAugment.choose(100, is_aligned=True, keeps_steps=True, can_mix=False)
    assert chosen.speed == chosen.crop == chosen.mix == 0 < chosen.noise
    free = {"is_aligned": False, "keeps_steps": False, "can_mix": True}
    assert SeriesAugment.choose(100, **free).mix > 0
    assert SeriesAugment.choose(10**6, **free).speed == 0


def test_series_of_one_length_are_left_as_they_are() -> None:
    chosen = SeriesAugment.choose(100, is_aligned=True, keeps_steps=False, can_mix=True)
    assert chosen == SeriesAugment()
