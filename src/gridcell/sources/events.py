"""A table of what is heard when: a row an event, with its file, start, end and label.

Several rows name one file; a row without start, end and label says that nothing is heard in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import ConfigError, SourceError
from gridcell.samples import SPANS
from gridcell.sources import classes
from gridcell.sources.answers import NUMBER, Answers
from gridcell.sources.cells import Cells, is_missing
from gridcell.sources.wording import counted, shown

START_COLUMNS = ("start", "onset", "begin")
END_COLUMNS = ("end", "offset", "stop")


def time_columns(cells: Cells) -> tuple[str, str] | None:
    """Return the columns of start and end, where the table has one of each by name."""
    found = [
        [name for name in cells.names if name.lower() in words]
        for words in (START_COLUMNS, END_COLUMNS)
    ]
    if any(len(names) != 1 for names in found):
        return None
    return found[0][0], found[1][0]


def needed_columns(cells: Cells) -> tuple[str, str]:
    """Return the columns of start and end of a table that is to have them.

    Raises   ConfigError where it has not
    """
    found = time_columns(cells)
    if found is None:
        raise ConfigError(
            f"{cells.path} is to hold events, but has no one column start and no one column end.",
            fix="name the columns of seconds start and end.",
        )
    return found


def read_events(
    cells: Cells, files: Sequence[str], target: str, times: tuple[str, str]
) -> tuple[Answers, NDArray[np.void]]:
    """Return which labels each row's file holds, and every event.

    Shapes   targets float32 [rows, K]; events [M] of `samples.SPANS`, `row` is a row of the table
             that is the first of its file
    Units    seconds
    Raises   SourceError for rows with a part of an event only, times that are no numbers, below 0
             or not in order, with their row numbers
    """
    start, end = times
    columns = [cells.columns[name] for name in (start, end, target)]
    is_empty = np.array(
        [all(is_missing(cell) for cell in row) for row in zip(*columns, strict=True)]
    )
    filled = np.flatnonzero(~is_empty)
    rows: list[int] = filled.tolist()
    for name, column in zip((start, end, target), columns, strict=True):
        _check(cells, name, [r for r in rows if is_missing(column[r])], "is empty")
    for name in times:
        column = cells.columns[name]
        _check(cells, name, [r for r in rows if not NUMBER.fullmatch(column[r])], "is no number")
    labels, numbers = classes.encode([columns[2][row] for row in rows])
    if not labels:
        raise SourceError(f"{cells.path}: no row names an event.", fix="fill in start and end.")
    first = {file: row for row, file in reversed(list(enumerate(files)))}
    events = np.zeros(len(rows), SPANS)
    events["row"] = [first[files[row]] for row in rows]
    events["start"] = [float(columns[0][row]) for row in rows]
    events["end"] = [float(columns[1][row]) for row in rows]
    events["label"] = numbers
    _check(cells, start, filled[events["start"] < 0].tolist(), "lies before the file begins")
    _check(cells, end, filled[events["end"] <= events["start"]].tolist(), "isn't after the start")
    targets = np.zeros((len(cells), len(labels)), np.float32)
    targets[events["row"], events["label"]] = 1
    targets = targets[[first[file] for file in files]]
    seconds = np.bincount(numbers, weights=events["end"] - events["start"])
    told = ", ".join(
        f"{shown(label)} {(numbers == k).sum():,} ({seconds[k]:,.1f} s)"
        for k, label in enumerate(labels)
    )
    notes = [f"{counted(len(rows), 'event')} of column {shown(target)}, label by label: {told}."]
    silent = int((targets.sum(1) == 0)[list(first.values())].sum())
    if silent:
        notes.append(f"{counted(silent, 'file')} without any event.")
    return Answers("events", labels, targets, tuple(notes)), events


def _check(cells: Cells, name: str, rows: Sequence[int], what: str) -> None:
    if rows:
        raise SourceError(
            f"{cells.path}: column {shown(name)} {what} in {cells.rows(rows)} ({cells.counting}).",
            fix="mend those rows.",
        )
