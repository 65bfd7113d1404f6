"""Windows are shared out by time, and no step stands in windows of two parts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gridcell.config import SplitConfig
from gridcell.errors import SplitError
from gridcell.samples import SPLIT_NAMES, TEST, TRAIN, UNASSIGNED, VALID, ForecastFacts
from gridcell.split_by_time import MOST_ITEMS, split_by_time


def facts(*counts: int, past: int = 3, horizon: int = 1, **options: Any) -> ForecastFacts:
    starts = np.concatenate([[0], np.cumsum(counts)])
    length = past + horizon
    firsts = [np.arange(a, b - length + 1) for a, b in itertools.pairwise(starts)]
    settings: dict[str, Any] = {
        "series": np.arange(len(counts)),
        "series_names": tuple(f"s{i}" for i in range(len(counts))),
    }
    return ForecastFacts(
        values=np.zeros((int(starts[-1]), 1), np.float32),
        starts=starts.astype(np.int64),
        firsts=np.concatenate(firsts),
        past=past,
        horizon=horizon,
        columns=("x",),
        targets=(0,),
        **settings | options,
    )


def firsts_of(found: ForecastFacts, part: int, **shares: float) -> list[int]:
    return found.firsts[split_by_time(found, SplitConfig(**shares)).split == part].tolist()


def test_twelve_steps_of_which_four_are_the_test():
    found = facts(12)
    assert firsts_of(found, TRAIN, valid=0, test=1 / 3) == [0, 1, 2, 3, 4]
    assert firsts_of(found, TEST, valid=0, test=1 / 3) == [8]
    assert firsts_of(found, VALID, valid=0, test=1 / 3) == []


@pytest.mark.parametrize("counts", [(400,), (300, 250), (90, 400, 12)])
def test_no_step_is_in_windows_of_two_parts(counts):
    found = facts(*counts, past=10, horizon=4)
    split = split_by_time(found, SplitConfig()).split
    seen = {}
    for part in (TRAIN, VALID, TEST):
        rows = found.firsts[split == part]
        assert len(rows)
        seen[part] = set((rows[:, None] + np.arange(14)).reshape(-1).tolist())
    assert not seen[TRAIN] & seen[VALID] | seen[TRAIN] & seen[TEST] | seen[VALID] & seen[TEST]
    assert (split == UNASSIGNED).any()


def test_the_end_of_each_series_is_the_test_part():
    found = facts(200, 100)
    split = split_by_time(found, SplitConfig(valid=0.1, test=0.2)).split
    assert found.firsts[split == TEST].tolist() == [*range(160, 197), *range(280, 297)]
    assert found.firsts[split == VALID].tolist() == [*range(140, 157), *range(270, 277)]


def test_times_of_the_test_that_other_series_are_learned_from_are_told():
    times = np.concatenate([np.arange(200), np.arange(100, 400)])
    shares = SplitConfig(valid=0.1, test=0.2)
    notes = split_by_time(facts(200, 300, times=times), shares).notes
    assert notes[0].startswith("Windows are split by time, the end of each series last: train ")
    assert "40 of 100 test steps are of times that other series are learned from." in notes[1]
    alike = split_by_time(facts(200, 200, times=np.tile(np.arange(200), 2)), shares).notes
    assert not any("other series" in note for note in alike)


def test_counts_and_windows_across_borders_are_said():
    notes = split_by_time(facts(200), SplitConfig(valid=0.1, test=0.2)).notes
    assert notes[0] == "Windows are split by time, the end last: train 137, valid 17, test 37."
    assert "6 windows lie across borders and belong to no part" in notes[-1]


def test_a_part_that_would_hold_no_window_is_made_long_enough():
    found = facts(60, past=6, horizon=2)
    by_time = split_by_time(found, SplitConfig(valid=0.05, test=0.2))
    assert (by_time.split == VALID).sum() == 2  # as many windows as the horizon has steps
    assert "valid has 9 steps, more than its share" in " ".join(by_time.notes)


def test_a_series_too_short_to_be_cut_is_for_training():
    by_time = split_by_time(facts(200, 8), SplitConfig())
    assert (by_time.split[-5:] == TRAIN).all()
    assert "1 series is too short to be cut" in " ".join(by_time.notes)


def test_too_few_steps_name_the_numbers():
    with pytest.raises(SplitError) as error:
        split_by_time(facts(20, past=8, horizon=2), SplitConfig())
    assert "20 steps are too few for 3 parts that each hold a window of 10" in str(error.value)
    assert "--valid 0 or --test 0" in str(error.value)


def test_named_parts_are_kept():
    parts = np.array([TRAIN] * 10 + [VALID] * 5 + [TEST] * 5, np.int8)
    by_time = split_by_time(facts(20, step_parts=parts), SplitConfig())
    counts = [(by_time.split == part).sum() for part in (TRAIN, VALID, TEST)]
    assert counts == [7, 2, 2]
    assert by_time.notes[0].startswith("Windows are split by the table's own splits")


def test_a_part_that_is_not_named_is_empty_and_said():
    parts = np.array([TRAIN] * 10 + [TEST] * 10, np.int8)
    by_time = split_by_time(facts(20, step_parts=parts), SplitConfig())
    assert "valid is empty: the table has no such steps." in by_time.notes


def test_named_parts_without_a_training_window_are_refused():
    parts = np.array([TRAIN] * 3 + [TEST] * 17, np.int8)
    with pytest.raises(SplitError, match="no window is left for training"):
        split_by_time(facts(20, step_parts=parts), SplitConfig())


def test_more_windows_than_are_enough_are_thinned_evenly():
    found = facts(1_000_000)
    by_time = split_by_time(found, SplitConfig())
    for part, most in MOST_ITEMS.items():
        rows = found.firsts[by_time.split == part]
        assert most / 2 < len(rows) <= most
        assert len(set(np.diff(rows))) == 1
        assert f"{SPLIT_NAMES[part]} windows one in" in " ".join(by_time.notes)
