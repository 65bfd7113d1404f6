"""Windows of a series go to training, validation and test by time: the end is for the test.

Steps are shared out, not windows, and a window is of a part only if all its steps are. Windows that
lie across a border are of none, so that no step stands in windows of two parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridcell.config import SplitConfig
from gridcell.errors import SplitError
from gridcell.samples import (
    SPLIT_NAMES,
    TEST,
    TRAIN,
    UNASSIGNED,
    VALID,
    ForecastFacts,
)
from gridcell.sources.forecast import window_parts
from gridcell.sources.wording import counted

MOST_ITEMS = {TRAIN: 200_000, VALID: 30_000, TEST: 100_000}
"""Columns of windows that are enough of a part: neighbouring windows are nearly the same."""


@dataclass(frozen=True)
class TimeParts:
    """The part of each window, and what the user should know about it."""

    split: NDArray[np.int8]
    notes: tuple[str, ...]


def split_by_time(facts: ForecastFacts, config: SplitConfig) -> TimeParts:
    """Return the part of each window: from the splits that the steps name, or by shares of them.

    The last steps of each series are the test part, those before them the validation part. A part
    that would hold no window is made just long enough for as many as the horizon has steps.

    Raises   SplitError where a part that was asked for, or training, would hold no window
    """
    length = facts.past + facts.horizon
    parts, notes = _step_parts(facts, config)
    split = window_parts(facts.firsts, length, parts)
    if not (split == TRAIN).any():
        longest = int(_series_steps(facts).max())
        raise SplitError(
            f"no window is left for training: the longest series has {counted(longest, 'step')}, a "
            f"window needs {length:,} ({facts.past:,} to look back on and {facts.horizon:,} to "
            "forecast), and each part holds windows of its own.",
            fix="give a smaller --past, or leave a part out with --valid 0.",
        )
    across = int((split == UNASSIGNED).sum())
    split, thinned = _thinned(split, len(facts.targets))
    counts = [int((split == number).sum()) for number in range(len(SPLIT_NAMES))]
    said = ", ".join(f"{name} {n:,}" for name, n in zip(SPLIT_NAMES, counts, strict=True))
    how = "by the table's own splits"
    if facts.step_parts is None:
        one = len(facts.series_names) == 1
        how = "by time, the end last" if one else "by time, the end of each series last"
        notes += _told_overlap(facts, parts)
    notes = [f"Windows are split {how}: {said}.", *notes, *thinned]
    if across:
        lie = "window lies" if across == 1 else "windows lie"
        notes.append(
            f"{across:,} {lie} across borders and belong to no part: no step is in windows of two."
        )
    return TimeParts(split, tuple(notes))


def _step_parts(facts: ForecastFacts, config: SplitConfig) -> tuple[NDArray[np.int8], list[str]]:
    """Return the part of each step."""
    steps, length = len(facts.values), facts.past + facts.horizon
    if facts.step_parts is not None and (facts.step_parts != UNASSIGNED).any():
        given = facts.step_parts
        missing = [
            f"{SPLIT_NAMES[part]} is empty: the table has no such steps."
            for part in (VALID, TEST)
            if not (given == part).any()
        ]
        return given, missing
    wanted = {VALID: config.valid_share, TEST: config.test}
    parts = np.full(steps, TRAIN, np.int8)
    ends = np.cumsum(_series_steps(facts))
    notes, short = [], 0
    made: dict[int, set[int]] = {VALID: set(), TEST: set()}
    enough = facts.past + 2 * facts.horizon - 1
    for end, count in zip(ends.tolist(), _series_steps(facts).tolist(), strict=True):
        sizes = {part: round(share * count) for part, share in wanted.items()}
        for part, size in sizes.items():
            if wanted[part] and size < length:
                sizes[part] = enough
                made[part].add(enough)
        if count - sum(sizes.values()) < length:
            short += 1  # too short to be cut: all of it is for training
            continue
        middle = end - sizes[TEST]
        parts[middle:end] = TEST
        parts[middle - sizes[VALID] : middle] = VALID
    if short == len(ends):
        named = [f"--{SPLIT_NAMES[part]} 0" for part in wanted if wanted[part]]
        longest = int(_series_steps(facts).max())
        raise SplitError(
            f"{counted(longest, 'step')} are too few for {1 + len(named)} parts that each hold a "
            f"window of {length:,} ({facts.past:,} to look back on and {facts.horizon:,} to "
            "forecast).",
            fix="give a smaller --past or --horizon"
            + (f", or leave a part out with {' or '.join(named)}." if named else "."),
        )
    if short:
        have = "series is" if short == 1 else "series are"
        notes.append(f"{short:,} {have} too short to be cut and stand in training whole.")
    for part, sizes_made in made.items():
        if sizes_made and short < len(ends):
            notes.append(
                f"{SPLIT_NAMES[part]} has {enough:,} steps, more than its share: with fewer it "
                "would hold no window."
            )
    return parts, notes


def _told_overlap(facts: ForecastFacts, parts: NDArray[np.int8]) -> list[str]:
    """Say how many test steps lie at times that other series are learned from.

    What moves all series at once, such as the weather, is then known of those times.
    """
    test = parts == TEST
    if facts.times is None or len(facts.series_names) == 1 or not test.any():
        return []
    own = np.repeat(facts.series, np.diff(facts.starts))
    is_learned = parts == TRAIN
    last = np.full(len(facts.series_names), np.iinfo(np.int64).min)
    np.maximum.at(last, own[is_learned], facts.times[is_learned])
    order = np.argsort(last)
    latest = np.full(len(last), last[order[-1]])  # of the other series
    latest[order[-1]] = last[order[-2]]
    seen = int((facts.times[test] <= latest[own[test]]).sum())
    if not seen:
        return []
    are = "is" if seen == 1 else "are"
    return [
        f"{seen:,} of {counted(int(test.sum()), 'test step')} {are} of times that other series are "
        "learned from. A column split with train, val and test cuts all series at one time."
    ]


def _series_steps(facts: ForecastFacts) -> NDArray[np.int64]:
    """Steps of each series, whose stretches stand one after another."""
    return np.bincount(facts.series, weights=np.diff(facts.starts)).astype(np.int64)


def _thinned(split: NDArray[np.int8], columns: int) -> tuple[NDArray[np.int8], list[str]]:
    """Leave out evenly what is more than enough of a part."""
    notes = []
    split = split.copy()
    for part, most in MOST_ITEMS.items():
        rows = np.flatnonzero(split == part)
        every = -(-len(rows) * columns // most)
        if every > 1:
            split[rows] = UNASSIGNED
            split[rows[::every]] = part
            notes.append(
                f"Of {len(rows):,} {SPLIT_NAMES[part]} windows one in {every:,} is used: "
                "neighbours are nearly the same."
            )
    return split, notes
