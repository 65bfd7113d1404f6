"""Columns of numbers that are times: Unix seconds, years, counters of steps.

A number is a time by its column's name and by how it goes on; what may be one is asked about.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import ConfigError
from gridcell.sources.frame import Frame
from gridcell.sources.series_steps import TIME_NAMES, is_named, plain_name
from gridcell.sources.steps import DOMINANT
from gridcell.sources.wording import listed, shown

NUMBER_NAMES = frozenset({"unix", "ts", "unix_time", "epoch_time", "year", "years", "jahr"})
ENDING = re.compile(r"(.*_)?(timestamp|unixtime|epoch)(_(s|ms|us|ns|seconds|utc))?")
UNIX = (
    (1e8, 1e10, "seconds", 1_000_000.0),
    (1e11, 1e13, "milliseconds", 1_000.0),
    (1e14, 1e16, "microseconds", 1.0),
    (1e17, 1e19, "nanoseconds", 0.001),
)
"""From, below, unit of Unix times between 1973 and 2286, and microseconds in one."""
TOLD_APART = 0.9
"""Share of the rows whose times must differ; a few may be repeats, which are named later."""


@dataclass(frozen=True)
class Unix:
    """How a column counts from 1970."""

    unit: str
    size_us: float

    def moments(self, numbers: NDArray[np.generic]) -> NDArray[np.int64]:
        """Return microseconds since 1970."""
        return np.round(np.asarray(numbers, np.float64) * self.size_us).astype(np.int64)


def named_times(frame: Frame, taken: Collection[str]) -> list[str]:
    """Return the columns of numbers that have a usual name of times."""
    return [
        name
        for name, column in frame.columns.items()
        if name not in taken and column.holds == "numbers" and _is_time(name)
    ]


def unix_of(name: str, numbers: NDArray[np.generic]) -> Unix | None:
    """Say in what unit a column counts from 1970, by its name and the size of its numbers.

    >>> unix_of("timestamp", np.array([1_700_000_000, 1_700_000_060])).unit
    'seconds'
    """
    if not _is_time(name) or not len(numbers):
        return None
    low, high = float(numbers.min()), float(numbers.max())
    return next(
        (Unix(u, size) for least, most, u, size in UNIX if least <= low <= high < most), None
    )


def numbered_time(frame: Frame, names: Sequence[str], codes: NDArray[np.int64]) -> str | None:
    """Return the one of these columns that the rows of each series are ordered by.

    Raises   ConfigError where several could be
    """
    numbers = {name: frame.doubles(name) for name in names}
    found = [name for name in names if _goes_on(name, numbers[name], codes)]
    # A count from 1970 says more than a counter of steps beside it.
    found = [name for name in found if unix_of(name, numbers[name])] or found
    if len(found) > 1:
        raise ConfigError(
            f"{frame.path} has more than one column of numbers that could be the time of a row: "
            f"{listed(found)}.",
            fix=f"name the one, for instance --time-column {shown(found[0])}.",
        )
    return found[0] if found else None


def refuse_unsure(frame: Frame, name: str) -> None:
    """Refuse to forecast a column that is named as times, as long as nobody asked for that."""
    raise ConfigError(
        f"{frame.path}: column {shown(name)} is named as times, but its numbers do not go on by "
        "one step, so that it may be the time of a row or a number to forecast.",
        fix="where the rows stand in their order, pass --rows-in-order, or name the columns to "
        "forecast with --target; say how dates are written with --date-format %Y%m%d; or "
        f"bring {shown(name)} to one step and name it with --time-column.",
    )


def repeats_of_order(
    frame: Frame, names: Sequence[str], rows: NDArray[np.int64], codes: NDArray[np.int64]
) -> list[str]:
    """Return those of these columns that never fall along ordered rows: they say the time again."""
    is_inside = np.diff(codes[rows]) == 0
    return [name for name in names if (np.diff(frame.doubles(name)[rows])[is_inside] >= 0).all()]


def _is_time(name: str) -> bool:
    """Say whether a column has a usual name of times.

    >>> _is_time("Unix time"), _is_time("event_timestamp_ms"), _is_time("reaction time")
    (True, True, False)
    """
    plain = plain_name(name)
    is_ours = plain in NUMBER_NAMES or ENDING.fullmatch(plain) is not None
    return is_ours or is_named(name, TIME_NAMES)


def _goes_on(name: str, numbers: NDArray[np.float64], codes: NDArray[np.int64]) -> bool:
    """Say whether numbers, put in order, go on by one step in each series."""
    if not np.isfinite(numbers).all() or _are_days(numbers):
        return False
    order = np.lexsort((numbers, codes))
    far = np.diff(numbers[order])[np.diff(codes[order]) == 0]
    rising = far[far > 0]
    # Series without an id have each time several times: that is said where repeats are judged.
    is_apart = unix_of(name, numbers) is not None or len(rising) >= TOLD_APART * len(far)
    if not len(rising) or not is_apart:
        return False
    _, counts = np.unique(np.round(rising * 1e6), return_counts=True)
    return bool(counts.max() > DOMINANT * len(rising))


def _are_days(numbers: NDArray[np.float64]) -> bool:
    """Say whether numbers are days written as 20241231, whose steps are no days."""
    days, months = numbers % 100, numbers // 100 % 100
    return bool(
        ((numbers >= 1e7) & (numbers < 1e8) & (numbers == np.round(numbers))).all()
        and ((days >= 1) & (days <= 31) & (months >= 1) & (months <= 12)).all()
    )
