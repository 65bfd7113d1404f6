"""What speaks against rows that are said to stand in the order of time: several series, or dates.

The user has the last word. But rows of several series that no column parts are no one series, and
dates that can be read and jump back are worth a look.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.sources.frame import Frame
from gridcell.sources.numbered_times import named_times
from gridcell.sources.series_steps import TIME_NAMES, is_named
from gridcell.sources.wording import shown

CLOCK = re.compile(r"\d{1,2}\s*(:|h|am|pm)", re.IGNORECASE)
FEWEST_ROWS_EACH = 2


def doubts_of_order(
    frame: Frame, data: DataConfig, codes: NDArray[np.int64], unused: set[str]
) -> list[str]:
    """Return what the columns of times say against the order of the rows, for the user.

    codes    the series of each row
    unused   columns that are left out, one of which may part the rows into series

    Raises   ConfigError where a column of text does, so that each has its own times, which
             begin anew
    """
    notes = []
    for name, times, is_ordered in _times(frame, data):
        if data.id_column is None:
            notes += _several(frame, name, times, is_ordered, unused - {name})
        if is_ordered:
            notes += _jump(frame, name, times, codes)
    return notes


def _times(frame: Frame, data: DataConfig) -> Iterator[tuple[str, NDArray[np.float64], bool]]:
    """Yield columns of times, as numbers, and whether these are in their order or but names."""
    asked = {*filter(None, (data.id_column,)), *data.target, *data.inputs, *data.known}
    numbers = named_times(frame, asked)
    for name, column in frame.columns.items():
        if name in asked:
            continue
        if column.holds == "moments" or name in numbers:
            try:
                yield name, np.asarray(frame.times(name), np.float64), True
            except SourceError:  # some cells are empty: nothing speaks against the order
                continue
        elif column.holds == "text" and column.doubt:
            yield name, frame.texts([name])[name].codes.astype(np.float64), False


def _several(
    frame: Frame, name: str, times: NDArray[np.float64], is_ordered: bool, words: set[str]
) -> list[str]:
    """Doubt rows whose times come again, where a column of text parts them so that none does.

    Where equal times stand together that column may name parts of them, such as quarters of a year.
    """
    whole = np.zeros(len(times), np.int64)
    if _follows(whole, times, is_ordered):
        return []
    for other in frame.names:
        column = frame.columns[other]
        if other not in words or column.holds != "text" or column.doubt:
            continue
        cells = frame.texts([other])[other]
        found = cells.codes
        # Dates and clocks in two columns make one time together.
        if is_named(other, TIME_NAMES) or all(map(CLOCK.match, filter(None, cells.values))):
            continue
        each = len(found) / (int(found.max()) + 1)
        if each >= FEWEST_ROWS_EACH and _follows(found, times, is_ordered):
            again = f"column {shown(name)} come again, but not within one {shown(other)}"
            if _are_together(times):
                return [
                    f"The times in {again}: if the rows are of several series, give --id-column "
                    f"{shown(other)}."
                ]
            raise ConfigError(
                f"{frame.path}: the rows are of several series: the times in {again}.",
                fix=f"name the column that parts them: --id-column {shown(other)}; if they are one "
                "series after all, leave that column out of the table.",
            )
    return []


def _are_together(times: NDArray[np.float64]) -> bool:
    """Whether each time stands in one run of rows."""
    return bool(1 + np.count_nonzero(np.diff(times)) == len(np.unique(times)))


def _follows(codes: NDArray[np.int64], times: NDArray[np.float64], is_ordered: bool) -> bool:
    """Whether the times of each series come once, in the order of their rows if they have one."""
    if is_ordered:
        rows = np.argsort(codes, kind="stable")
        return bool((np.diff(times[rows])[np.diff(codes[rows]) == 0] > 0).all())
    return len(np.unique(np.stack([codes, times]), axis=1).T) == len(times)


def _jump(
    frame: Frame, name: str, times: NDArray[np.float64], codes: NDArray[np.int64]
) -> list[str]:
    """Say where the times first jump back along the rows of a series."""
    rows = np.argsort(codes, kind="stable")
    back = (np.diff(times[rows]) < 0) & (np.diff(codes[rows]) == 0)
    if not back.any():
        return []
    places = np.sort(rows[1:][back])
    return [
        f"Column {shown(name)} goes back in time in {frame.rows(places, most=1)} "
        f"({frame.counting}), though the rows are said to stand in the order of time; without "
        "--rows-in-order they are sorted by it."
    ]
