"""Batches of sounds: what belongs together, what is cut, varied and mixed, and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gridcell.augment.sounds import SoundAugment
from gridcell.batches import Batch
from gridcell.batches.order import training_batches
from gridcell.batches.sounds import Sounds, window_starts
from gridcell.networks.run import outputs
from gridcell.preparation.cache import Decoded
from gridcell.preparation.sounds import SoundPreparation
from gridcell.samples import SPANS

from .plain import plain_batches

COUNTS = [800, 1, 2400, 1600, 90, 8000, 2000, 2400]
"""Samples of each sound; row 5 is longer than the longest stretch, 3,200."""
EVERYTHING = SoundAugment(
    speed=0.1, gain=6.0, noise=0.5, shift=0.2, time_mask=0.2, band_mask=0.2, mix=0.5
)


def preparation(**changes: Any) -> SoundPreparation:
    whole = SoundPreparation(
        8000, 12, 25.0, 10.0, 20.0, 4000.0, "none", 0.4, (-7.0,) * 12, (2.0,) * 12
    )
    return replace(whole, **changes)


def decoded(counts: list[int], *, seed: int = 0) -> Decoded:
    draw = np.random.default_rng(seed)
    return Decoded.of(
        [
            (draw.integers(-32767, 32768, count).astype(np.int16), float(0.5**k) / 32767)
            for k, count in enumerate(counts)
        ]
    )


def ramp(samples: int) -> Decoded:
    """One sound whose sample n is n, so that a wave tells where it was cut out."""
    return Decoded.of([(np.arange(samples, dtype=np.int16), 1.0)])


def sounds(rows: list[int] | None = None, **changes: Any) -> Sounds:
    count = len(COUNTS)
    chosen = np.arange(count) if rows is None else np.array(rows, np.int64)
    whole = Sounds(decoded(COUNTS), preparation(), torch.arange(count), chosen, classes=count)
    return replace(whole, **changes)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wave_of(items: Sounds, row: int) -> Tensor:
    data = items.decoded
    values = data.values[data.starts[row] : data.starts[row + 1]].astype(np.float32)
    return torch.from_numpy(values * data.scales[row])


def lengths_of(batch: Batch) -> list[int]:
    assert batch.lengths is not None
    return batch.lengths.tolist()  # type: ignore[no-any-return]


# --- What belongs together -----------------------------------------------------------------------


def test_values_lengths_targets_and_rows_belong_together() -> None:
    items = sounds([7, 2, 0, 4, 3, 1], targets=torch.arange(8) * 10)
    places = np.array([5, 0, 2, 3])
    batch = items.batch(places)
    assert batch.values.shape == (4, 31, 1, 12) and batch.values.dtype == torch.float32
    assert sorted(batch.rows.tolist()) == sorted(items.rows[places].tolist()) == [0, 1, 4, 7]
    assert batch.targets.tolist() == (batch.rows * 10).tolist()
    for place, row in enumerate(batch.rows.tolist()):
        wave = wave_of(items, row)
        alone, steps = items.preparation.features(wave[None], torch.tensor([len(wave)]))
        assert lengths_of(batch)[place] == int(steps) == max(16, 1 + COUNTS[row] // 80)
        torch.testing.assert_close(
            batch.values[place, : int(steps), 0], alone[0], atol=1e-5, rtol=1e-5
        )
        assert (batch.values[place, int(steps) :] == 0).all()


def test_steps_are_the_lengths_that_come_out() -> None:
    for items in (sounds(), sounds([5, 3, 3, 0]), sounds().windows()):
        for place, wanted in enumerate(items.steps().tolist()):
            assert lengths_of(items.batch(np.array([place]))) == [wanted]
    assert sounds().steps().tolist() == [16, 16, 31, 21, 16, 41, 26, 31]
    assert sounds().cells == 12 and len(sounds([1, 2])) == 2


@pytest.mark.parametrize("level", ["clip", "none"])
def test_an_item_is_the_same_alone_and_in_a_batch(level: str) -> None:
    items = sounds(preparation=preparation(level=level)).windows()
    together = items.batch(np.arange(len(items)))
    order = np.argsort(items.rows, kind="stable")
    for place in range(len(items)):
        alone = items.batch(order[place : place + 1])
        steps = lengths_of(alone)[0]
        assert steps == lengths_of(together)[place] and alone.rows[0] == together.rows[place]
        torch.testing.assert_close(
            together.values[place, :steps], alone.values[0], atol=1e-5, rtol=1e-5
        )


# --- Long sounds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 9, 10, 11, 15, 16, 20, 21, 99, 1000])
@pytest.mark.parametrize("longest", [1, 2, 10])
def test_windows_cover_every_sample_and_overlap_by_half(samples: int, longest: int) -> None:
    starts = window_starts(samples, longest)
    heard = np.zeros(samples, int)
    for start in starts:
        assert 0 <= start <= max(0, samples - longest)
        heard[start : start + longest] += 1
    assert heard.min() >= 1 and starts == sorted(set(starts))
    if samples > longest > 1:
        assert np.diff(starts).max() <= longest // 2 + 1 and starts[-1] == samples - longest
    if samples <= longest:
        assert starts == [0]


def stretches(items: Sounds, *, seed: int | None = None) -> tuple[Tensor, Tensor]:
    """The waves [B, N] of all items, and their samples [B]."""
    places = np.arange(len(items))
    firsts, counts = items._stretches(places, None if seed is None else generator(seed))
    return items._waves(items.rows[places], firsts, counts)


def test_windows_are_stretches_of_their_sound_on_whole_steps() -> None:
    items = Sounds(ramp(8030), preparation(), torch.tensor([3]), np.array([0]))
    windows = items.windows()
    assert windows.rows.tolist() == [0] * 5 and windows.augment is None
    waves, counts = stretches(windows)
    assert waves[:, 0].tolist() == [0, 1280, 2480, 3680, 4880]
    assert counts.tolist() == [3200, 3200, 3200, 3200, 3150]
    for wave, count in zip(waves, counts.tolist(), strict=True):
        assert (wave[:count].diff() == 1).all() and (wave[count:] == 0).all()
    assert waves[-1, 3149] == 8029, "the last sample"
    assert windows.batch(np.arange(5)).targets.tolist() == [3] * 5


class MeanLevel(nn.Module):
    """The mean of all valid features: one output."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        sums = values.sum((1, 2, 3)) / (lengths * values.shape[3])
        return sums[:, None] * self.weight


def test_the_outputs_of_windows_are_averaged_for_each_row() -> None:
    items = sounds([7, 5, 1, 0])
    found = outputs(MeanLevel(), items)
    assert found.shape == (4, 1)
    for place, row in enumerate(items.rows.tolist()):
        wave = wave_of(items, row)
        starts = [80 * -(-start // 80) for start in window_starts(len(wave), 3200)]
        parts = [wave[start : start + 3200] for start in starts]
        means = [
            float(items.preparation.features(part[None], torch.tensor([len(part)]))[0].mean())
            for part in parts
        ]
        assert len(parts) == (4 if row == 5 else 1)
        assert found[place, 0] == pytest.approx(np.mean(means), abs=1e-4)


def test_without_a_generator_a_long_sound_is_its_beginning() -> None:
    items = Sounds(ramp(8000), preparation(), torch.tensor([0]), np.array([0]))
    waves, counts = stretches(items)
    assert waves[0].tolist() == list(range(3200)) and counts.tolist() == [3200]


def test_a_random_stretch_lies_inside_its_sound() -> None:
    data = Decoded.of(
        [(np.full(n, k + 1, np.int16), 1.0) for k, n in enumerate([3201, 3200, 5000, 10])]
    )
    items = Sounds(data, preparation(), torch.zeros(4).long(), np.arange(4))
    for seed in range(30):
        waves, counts = stretches(items, seed=seed)
        assert counts.tolist() == [3200, 3200, 3200, 10]
        for place, count in enumerate(counts.tolist()):
            assert (waves[place, :count] == place + 1).all(), "a sample of a neighbour"
            assert (waves[place, count:] == 0).all()


def test_random_stretches_reach_both_ends() -> None:
    items = Sounds(ramp(3203), preparation(), torch.tensor([0]), np.array([0]))
    firsts = [int(stretches(items, seed=seed)[0][0, 0]) for seed in range(60)]
    assert set(firsts) == {0, 1, 2, 3}


def test_long_sounds_are_varied_by_their_stretch_alone() -> None:
    assert sounds().is_varied and not sounds([0, 1, 2]).is_varied
    assert sounds([0], augment=EVERYTHING).is_varied and not sounds(rows=[]).is_varied


# --- Variation -----------------------------------------------------------------------------------


def test_the_same_generator_gives_the_same_bits() -> None:
    items = sounds(augment=EVERYTHING)
    first, again, other = (items.batch(np.arange(8), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.values, again.values) and torch.equal(first.targets, again.targets)
    assert lengths_of(first) == lengths_of(again)
    assert not torch.equal(first.targets, other.targets)


def test_no_generator_gives_the_plain_item() -> None:
    plain, varied = sounds(), sounds(augment=EVERYTHING)
    assert torch.equal(plain.batch(np.arange(8)).values, varied.batch(np.arange(8)).values)
    assert varied.batch(np.arange(8)).targets.tolist() == list(range(8))


def test_mixed_sounds_have_shares_of_their_classes() -> None:
    items = sounds([0, 2, 3, 6, 7], augment=SoundAugment(mix=1.0))
    batch = items.batch(np.arange(5), generator())
    assert batch.targets.shape == (5, 8)
    np.testing.assert_allclose(batch.targets.sum(1), 1.0, rtol=1e-6)
    assert batch.targets.min() >= 0 and ((batch.targets > 0).sum(1) == 2).all()
    assert batch.targets[:, [1, 4, 5]].sum() == 0, "classes that are not in the batch"
    own = batch.targets[torch.arange(5), torch.from_numpy(batch.rows)]
    assert (own >= 0.5).all()
    for place, row in enumerate(batch.rows.tolist()):
        others = batch.targets[place].clone()
        others[row] = 0
        partner, share = int(others.argmax()), float(own[place])
        waves = [torch.zeros(3200) for _ in range(2)]
        for wave, of in zip(waves, (row, partner), strict=True):
            wave[: COUNTS[of]] = wave_of(items, of)
        count = max(COUNTS[row], COUNTS[partner])
        wanted, steps = items.preparation.features(
            (share * waves[0] + (1 - share) * waves[1])[None, :count], torch.tensor([count])
        )
        assert lengths_of(batch)[place] == int(steps)
        torch.testing.assert_close(
            batch.values[place, : int(steps), 0], wanted[0], atol=5e-3, rtol=1e-3
        )


def test_mixed_labels_are_mixed_as_they_are() -> None:
    labels = torch.eye(8)[:, :3] + torch.eye(8)[:, 1:4]
    items = sounds(augment=SoundAugment(mix=1.0), targets=labels, classes=0)
    batch = items.batch(np.arange(8), generator())
    assert batch.targets.shape == (8, 3) and batch.targets.dtype == torch.float32
    assert batch.targets.min() >= 0 and batch.targets.max() <= 2
    assert not torch.equal(batch.targets, labels)


def test_without_mixing_targets_stay_numbers() -> None:
    batch = sounds(augment=SoundAugment(gain=6.0)).batch(np.arange(8), generator())
    assert batch.targets.tolist() == batch.rows.tolist() == list(range(8))


def test_a_sound_made_longer_by_its_speed_keeps_all_its_steps() -> None:
    items = sounds([2, 7, 5], augment=SoundAugment(speed=0.5))
    plain = items.steps()
    found = np.array([lengths_of(items.batch(np.arange(3), generator(seed))) for seed in range(20)])
    order = np.argsort(items.rows)
    assert (found > plain[order]).any() and (found < plain[order]).any()
    assert found.max() <= 1 + 3200 * 1.5 // 80
    for seed in range(5):
        batch = items.batch(np.arange(3), generator(seed))
        assert batch.values.shape[1] == max(lengths_of(batch)) and batch.values.isfinite().all()
        for place, steps in enumerate(lengths_of(batch)):
            assert (batch.values[place, steps:] == 0).all()
            assert (batch.values[place, :steps].abs().amax((1, 2)) > 0).all()


def test_bands_and_stretches_are_painted_in_the_training_mean() -> None:
    mean = tuple(-20.0 - k for k in range(12))
    items = sounds(
        [0, 2, 3], preparation=preparation(mean=mean), augment=SoundAugment(band_mask=0.4)
    )
    plain, varied = items.batch(np.arange(3)), items.batch(np.arange(3), generator())
    is_hit = varied.values != plain.values
    assert is_hit.any() and not is_hit.all()
    fill = torch.tensor(mean).expand_as(varied.values)
    assert torch.equal(varied.values[is_hit], fill[is_hit])


def test_an_epoch_holds_every_sound_once_and_can_be_repeated() -> None:
    items = sounds(augment=EVERYTHING)

    def epoch(number: int) -> list[Batch]:
        return list(training_batches(items, size=3, seed=4, epoch=number))

    first, again, other = epoch(0), epoch(0), epoch(1)
    rows = np.concatenate([batch.rows for batch in first])
    assert sorted(rows.tolist()) == list(range(8))
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one.values, two.values) and torch.equal(one.targets, two.targets)
    assert not torch.equal(first[0].values[:, :1], other[0].values[:, :1])


def test_plain_batches_hold_every_window_once() -> None:
    windows = sounds().windows()
    rows: NDArray[np.int64] = np.concatenate([b.rows for b in plain_batches(windows, size=3)])
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4, 5, 5, 5, 5, 6, 7]


# --- Events --------------------------------------------------------------------------------------


def spans(*events: tuple[int, float, float, int]) -> NDArray[np.void]:
    """Row, start and end in seconds, and label of each event."""
    found = np.zeros(len(events), SPANS)
    for name, values in zip(
        ("row", "start", "end", "label"), zip(*events, strict=True), strict=True
    ):
        found[name] = values
    return found


EVENTS = spans((2, 0.05, 0.1, 1), (2, 0.08, 0.3, 0), (5, 0.0, 0.011, 2), (5, 0.5, 9.0, 1))


def test_a_step_has_the_labels_of_the_moment_in_its_middle() -> None:
    items = sounds([2, 0, 5], events=EVENTS, classes=3)
    batch = items.batch(np.arange(3))
    assert batch.rows.tolist() == [0, 2, 5] and batch.targets.shape == (3, 41, 3)
    assert batch.targets.dtype == torch.float32 and not batch.targets[0].any()
    for place, row in enumerate(batch.rows):
        for step in range(lengths_of(batch)[place]):
            moment = step * 80 / 8000
            wanted = {
                int(e["label"])
                for e in EVENTS
                if e["row"] == row and e["start"] <= moment < e["end"]
            }
            assert set(batch.targets[place, step].nonzero()[:, 0].tolist()) == wanted, (row, step)
        assert not batch.targets[place, lengths_of(batch)[place] :].any()


def test_the_truths_of_events_are_those_of_every_step_of_whole_sounds() -> None:
    items = sounds([2, 5], events=EVENTS, classes=3)
    truths = items.truths()
    assert truths.shape == (31 + 101, 3) and torch.equal(
        truths[:31], items.batch(np.array([0])).targets[0]
    )
    assert truths[31:].sum(0).tolist() == [0, 51, 2]
    windows = items.windows()
    for place, first in enumerate(windows.firsts.tolist() if windows.firsts is not None else []):
        batch = windows.batch(np.array([place]))
        begin = (31 if batch.rows[0] == 5 else 0) + first // 80
        assert torch.equal(batch.targets[0], truths[begin : begin + lengths_of(batch)[0]])


def test_without_events_the_truths_are_the_targets() -> None:
    assert sounds([7, 2], targets=torch.arange(8) * 10).truths().tolist() == [70, 20]
