"""Intervals: they cover what they should, the same seed gives the same ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gridcell.evaluation import intervals, score


def interval_of_mean(values, *, seed, resamples=400):
    drawn = intervals.bootstrap(
        {"mean": lambda draws: intervals.means(draws, values)},
        len(values),
        resamples=resamples,
        seed=seed,
    )
    return intervals.interval(drawn["mean"], float(values.mean()))


def test_intervals_cover_the_true_share_about_95_times_in_100():
    generator, trials, inside = np.random.default_rng(0), 600, 0
    for trial in range(trials):
        low, high = interval_of_mean((generator.random(150) < 0.7).astype(float), seed=trial)
        inside += low <= 0.7 <= high
    # The percentile bootstrap of 150 items covers 94 %; 600 trials know it to +- 2 %.
    assert 0.92 <= inside / trials <= 0.975


def test_an_interval_of_half_the_width_would_be_caught():
    generator, trials, inside = np.random.default_rng(0), 300, 0
    for trial in range(trials):
        values = (generator.random(150) < 0.7).astype(float)
        low, high = interval_of_mean(values, seed=trial)
        half = (high - low) / 4
        inside += values.mean() - half <= 0.7 <= values.mean() + half
    assert inside / trials < 0.8


def test_the_interval_of_a_share_is_that_of_the_binomial():
    values = np.repeat([1.0, 0.0], [700, 300])
    low, high = interval_of_mean(values, seed=1, resamples=4000)
    wanted = stats.binom(1000, 0.7).ppf([0.025, 0.975]) / 1000
    assert (low, high) == pytest.approx(wanted, abs=0.003)


def test_all_right_and_none_right_have_the_exact_interval():
    for items in (1, 5, 300):
        exact = stats.binomtest(items, items).proportion_ci(0.95, method="exact")
        assert intervals.interval_of_share(items, is_all=True) == pytest.approx(
            (exact.low, exact.high)
        )
        exact = stats.binomtest(0, items).proportion_ci(0.95, method="exact")
        assert intervals.interval_of_share(items, is_all=False) == pytest.approx(
            (exact.low, exact.high)
        )


def scores_of(seed):
    generator = np.random.default_rng(5)
    predictions, targets = generator.normal(size=200), generator.normal(size=200)
    return score("regress", predictions, targets, labels=["x"], train_targets=targets, seed=seed)


def test_the_seed_alone_decides_the_interval():
    assert scores_of(3) == scores_of(3)
    assert scores_of(3)["MAE"].value == scores_of(4)["MAE"].value
    assert scores_of(3)["MAE"].low != scores_of(4)["MAE"].low


def test_the_size_of_a_block_changes_nothing(monkeypatch):
    before = scores_of(3)
    monkeypatch.setattr(intervals, "BLOCK_DRAWS", 700)
    after = scores_of(3)
    for one, other in zip(before.scores, after.scores, strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-12)


def test_draws_take_every_item_equally_often():
    found = intervals.bootstrap({"times": intervals.times}, 20, resamples=2000, seed=0)["times"]
    assert (found.sum(axis=1) == 20).all()
    assert found.mean(axis=0) == pytest.approx(np.ones(20), abs=0.1)
    assert found.var() == pytest.approx(0.95, abs=0.03)  # N draws: 1 - 1/N


def test_an_interval_needs_spread_and_enough_resamples_with_a_score():
    assert intervals.interval(np.full(100, 0.5), 0.5) is None
    assert intervals.interval(np.array([np.nan, np.nan, 0.2]), 0.2) is None
    assert intervals.interval(np.array([0.1, np.nan, 0.2]), 0.15) is not None
    assert intervals.interval(np.array([0.1, 0.2]), float("nan")) is None
    assert intervals.interval(np.empty(0), 0.5) is None


def test_an_interval_is_widened_to_hold_its_score():
    low, high = intervals.interval(np.linspace(0.2, 0.3, 101), 0.1)
    assert low == 0.1
    assert high == pytest.approx(0.2975)


def test_the_interval_of_a_calibration_error_lies_around_it():
    generator = np.random.default_rng(2)
    sure = generator.uniform(0.5, 1.0, 500)
    targets = (generator.random(500) >= sure).astype(int)
    probabilities = np.column_stack([sure, 1 - sure])
    found = score("classify", probabilities, targets, labels="ab", train_targets=targets)
    one = found["calibration error"]
    # Not moved, the resamples lie nearly all above: the noise of drawing again counts as error.
    assert 0.3 < (one.value - one.low) / (one.high - one.low) < 0.7


def test_more_items_take_fewer_resamples_but_never_under_200():
    assert intervals.resamples_for(10, resamples=1000) == 1000
    assert intervals.resamples_for(100_000, resamples=1000) == 500
    assert intervals.resamples_for(10**7, resamples=1000) == 200
    assert intervals.resamples_for(10**7, resamples=50) == 50
