"""The steps of series: rows of a table brought together, in the order of time, without repeats.

What is missing is found here and said; what becomes of it is the preparation's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.sources.cells import is_missing
from gridcell.sources.frame import Coded, Frame
from gridcell.sources.wording import counted, itemised, listed, shown

VALUE = ("value",)
"""The one column of series that stand in rows."""
TIME_NAMES = frozenset(
    {"t", "time", "times", "timestamp", "timestamps", "datetime", "date", "zeit", "datum"}
    | {"zeitstempel", "seconds", "elapsed"}
)
STEP_NAMES = frozenset(
    {"step", "steps", "timestep", "time_step", "position", "pos", "index", "frame", "tick"}
    | {"cycle", "cycles"}
)
ENDINGS = frozenset({"id", "no", "nr", "number", "name"})
UNITS = frozenset({"s", "ms", "us", "ns", "sec", "secs", "min", "h", "utc", "seconds", "stamp"})
SERIES_LISTED = 12
LISTED_COLUMNS = 20


class MissingNumbersError(SourceError):
    """Numbers are missing, and nothing says what becomes of them."""

    def __init__(self, message: str, *, lines: Sequence[str], fix: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.lines = tuple(lines)
        """What is missing, a column each."""


@dataclass(frozen=True)
class Steps:
    """The steps of all series of a table, each series in its order."""

    names: tuple[str, ...]
    """[N] the id of each series."""
    values: NDArray[np.float32]
    """[steps, C] NaN where a cell is missing."""
    starts: NDArray[np.int64]
    """[N + 1] where each series begins, and the end."""
    rows: NDArray[np.int64]
    """[steps] the row of the table that each step is."""
    notes: tuple[str, ...]

    def varying(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the series in which a column of the table holds more than one value."""
        ordered = codes[self.rows]
        low = np.minimum.reduceat(ordered, self.starts[:-1])
        high = np.maximum.reduceat(ordered, self.starts[:-1])
        return np.flatnonzero(low != high)

    def listed(self, items: NDArray[np.int64]) -> str:
        """Name some of the series: `2 series of 40: a, b`."""
        names = listed((self.names[item] for item in items.tolist()), most=SERIES_LISTED)
        return f"{counted(len(items), 'series', 'series')} of {len(self.names):,}: {names}"


def steps_of(
    frame: Frame,
    data: DataConfig,
    *,
    inputs: Sequence[str],
    key: str | None,
    time: str | None,
    alike: Sequence[str] = (),
    strange: dict[int, str] | None = None,
) -> Steps:
    """Bring the rows of each series together, sorted by time where there is a column of it.

    key     column that says which series a row belongs to; the table is one series without
    alike   columns that rows of the same time must agree in, besides the inputs, to be repeats
    strange takes rows with cells that hold no number; see `Frame.numbers`. Where it is left out
            and bad files are to be skipped, the series of such rows are left out of several

    Raises   SourceError for rows without an id or a time, for two of one series that have the same
             time and differ, and for missing numbers if `data.missing` is "stop"
    """
    is_skipping = key is not None and strange is None and data.on_bad_file == "skip"
    if is_skipping:
        strange = {}
    texts = frame.texts(list(dict.fromkeys([*([key] if key else []), *alike])))
    ids = Coded(np.zeros(len(frame), np.int64), (frame.path.name,)) if key is None else texts[key]
    if key is not None:
        check_filled(frame, key, ids, "series")
    values = frame.numbers(inputs, strange=strange)
    notes: list[str] = []
    order = np.argsort(ids.codes, kind="stable")
    if time is not None:
        times = frame.times(time)
        notes += _order_notes(ids, times, order, time)
        order = np.lexsort((times, ids.codes))
        kept = _without_repeats(frame, ids, time, times, order, values, texts)
        if len(kept) < len(order):
            gone = np.setdiff1d(order, kept)
            verb = "repeats" if len(gone) == 1 else "repeat"
            notes.append(
                f"Left out, {counted(len(gone), 'row')} that {verb} another of the same time: "
                f"{frame.rows(gone)}."
            )
            order = kept
    elif (np.diff(ids.codes) < 0).any():
        notes.append("The rows of a series do not stand together: they are read in their order.")
    if is_skipping and strange is not None:
        left, told = readable(frame, values, inputs, data, strange, ids.codes, ids.values)
        order = order[left[order]]
        values[~left] = 0.0  # of no series that is read
        notes += told
    values, missing = without_wild(frame, values, inputs, data)
    if not np.array_equal(order, np.arange(len(values))):
        values = values[order]
    lengths = np.bincount(ids.codes[order], minlength=len(ids.values))
    names = ids.values
    if is_skipping:
        names = tuple(name for name, count in zip(names, lengths, strict=True) if count)
        lengths = lengths[lengths > 0]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Steps(names, values, starts, order, (*notes, *missing))


def readable(
    frame: Frame,
    values: NDArray[np.float32],
    names: Sequence[str],
    data: DataConfig,
    strange: Mapping[int, str],
    items: NDArray[np.int64],
    called: Sequence[str],
) -> tuple[NDArray[np.bool_], list[str]]:
    """Say which rows are of series that can be read, and name the others with the reason.

    A series cannot be read where a cell holds no number, or where one is missing and nothing says
    what becomes of it.

    strange   what is wrong with a row, as `Frame.numbers` gives it
    items     [rows] the series of each row, numbers 0 .. N - 1
    called    [N] how each is called

    Raises   SourceError where none is left
    """
    reasons = {int(items[row]): said for row, said in sorted(strange.items(), reverse=True)}
    if data.missing == "stop":
        lost = ~np.isfinite(values)
        for row in np.flatnonzero(lost.any(axis=1))[::-1].tolist():
            column = shown(names[int(lost[row].argmax())])
            where = f"no number in row {frame.first_row + row}"
            reasons.setdefault(int(items[row]), f"column {column} holds {where}")
    bad = sorted(reasons)
    if not bad:
        return np.ones(len(items), np.bool_), []
    lines = [f"{shown(called[item])}: {reasons[item]}" for item in bad]
    if len(bad) == len(called):
        raise SourceError(
            f"{frame.path}: no series can be read:{itemised(lines, most=SERIES_LISTED)}",
            fix="mend these cells.",
        )
    return ~np.isin(items, bad), [
        f"Left out, {counted(len(bad), 'series', 'series')} that cannot be read:"
        f"{itemised(lines, most=SERIES_LISTED)}"
    ]


def digests_of(
    values: NDArray[np.float32], starts: NDArray[np.int64], tags: NDArray[np.int64] | None = None
) -> NDArray[np.void]:
    """Return a digest of each series (V16), and of its tags: equal exactly where those are."""
    found = np.zeros(len(starts) - 1, "V16")
    values = np.ascontiguousarray(values)
    for item, (start, stop) in enumerate(
        zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ):
        digest = hashlib.blake2b(values[start:stop].tobytes(), digest_size=16)
        if tags is not None:
            digest.update(tags[start:stop].tobytes())
        found[item] = digest.digest()
    return found


def length_words(starts: NDArray[np.int64]) -> str:
    """Say how many steps the series have: `150 steps`, `7 to 29 steps`."""
    lengths = np.diff(starts)
    low, high = int(lengths.min()), int(lengths.max())
    return counted(high, "step") if low == high else f"{low:,} to {high:,} steps"


def without_wild(
    frame: Frame,
    values: NDArray[np.float32],
    names: Sequence[str],
    data: DataConfig,
    *,
    is_wide: bool = False,
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the numbers with NaN for infinite ones, and a note on what is missing.

    Raises   SourceError that names columns, counts and rows, if `data.missing` is "stop"
    """
    if np.isfinite(values).all():
        return values, ()
    wild = np.isinf(values)
    values = np.where(wild, np.float32(np.nan), values)
    lost = np.isnan(values)
    total = int(lost.sum())
    if is_wide:
        rows, places = np.flatnonzero(lost.any(axis=1)), np.flatnonzero(lost.any(axis=0))
        infinite = int(wild.sum())
        word = "column" if len(places) == 1 else "columns"
        lines = [
            f"{counted(total, 'cell')}{_infinite_words(infinite)}, in {frame.rows(rows)}, {word} "
            f"{listed(names[place] for place in places.tolist())}"
        ]
    else:
        lines = [
            f"column {shown(name)}: {counted(int(lost[:, i].sum()), 'cell')}"
            f"{_infinite_words(int(wild[:, i].sum()))}, in {frame.rows(np.flatnonzero(lost[:, i]))}"
            for i, name in enumerate(names)
            if lost[:, i].any()
        ]
    if data.missing == "stop":
        raise MissingNumbersError(
            f"{frame.path}: numbers are missing ({frame.counting}):"
            f"{itemised(lines, most=LISTED_COLUMNS)}",
            lines=lines,
            fix="fill them in, or say what becomes of them: --missing ffill|interpolate|drop|mask.",
        )
    return values, (
        f"Numbers are missing, and {data.missing} says what becomes of them "
        f"({frame.counting}):{itemised(lines, most=LISTED_COLUMNS)}",
    )


def _infinite_words(count: int) -> str:
    return f" ({count:,} of them infinite)" if count else ""


def time_column_of(frame: Frame, taken: Sequence[str]) -> str | None:
    """Find the column that the rows are sorted by: by its name, or the one of points of time.

    Raises   ConfigError where several could be meant
    """
    free = [
        name
        for name in frame.names
        if name not in taken
        and (
            frame.columns[name].holds in ("numbers", "mixed", "moments")
            or frame.columns[name].doubt
        )
    ]
    named = [name for name in free if is_named(name, TIME_NAMES)]
    moments = [name for name in free if frame.columns[name].holds == "moments"]
    steps = [name for name in free if is_named(name, STEP_NAMES)]
    for found in (named, moments, steps):
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"{frame.path} has more than one column that the rows could be sorted by: "
                f"{listed(found)}.",
                fix=f"name the one, for instance --time-column {shown(found[0])}.",
            )
    return None


def is_named(name: str, known: frozenset[str]) -> bool:
    """Say whether a column has a usual name, perhaps with a usual ending.

    >>> is_named("#Series ID", frozenset({"series"})), is_named("time (ms)", TIME_NAMES)
    (True, True)
    """
    plain = plain_name(name)
    first, *rest = plain.split("_")
    is_unit = known is TIME_NAMES and all(word in UNITS for word in rest)
    is_ending = known is not TIME_NAMES and len(rest) == 1 and rest[0] in ENDINGS
    return plain in known or (first in known and (is_unit or is_ending))


def plain_name(name: str) -> str:
    """Return a column's name as lists of usual names have it.

    >>> plain_name("#Sequence ID")
    'sequence_id'
    """
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")


def check_filled(frame: Frame, name: str, found: Coded, noun: str) -> None:
    """Refuse a column that names no series, group or fold in some rows."""
    empty = [i for i, cell in enumerate(found.values) if is_missing(cell)]
    rows = np.flatnonzero(np.isin(found.codes, empty)) if empty else np.zeros(0, np.int64)
    if len(rows):
        raise SourceError(
            f"{frame.path}: column {shown(name)} names no {noun} in {frame.rows(rows)} "
            f"({frame.counting}).",
            fix="fill them in, or remove those rows.",
        )


def _order_notes(
    ids: Coded,
    times: NDArray[np.float64] | NDArray[np.int64],
    together: NDArray[np.int64],
    time: str,
) -> list[str]:
    codes, moments = ids.codes[together], times[together]
    back = (codes[1:] == codes[:-1]) & (moments[1:] < moments[:-1])
    if not back.any():
        return []
    count = len(np.unique(codes[1:][back]))
    return [
        f"The rows of {counted(count, 'series', 'series')} were not in the order of column "
        f"{shown(time)}: they are sorted by it."
    ]


def _without_repeats(
    frame: Frame,
    ids: Coded,
    time: str,
    times: NDArray[np.float64] | NDArray[np.int64],
    order: NDArray[np.int64],
    values: NDArray[np.float32],
    texts: dict[str, Coded],
) -> NDArray[np.int64]:
    """Return the rows without those that repeat another; refuse two of one time that differ."""
    here, before = order[1:], order[:-1]
    again = (ids.codes[here] == ids.codes[before]) & (times[here] == times[before])
    if not again.any():
        return order
    here, before = here[again], before[again]
    one, two = values[here], values[before]
    same = ((one == two) | (np.isnan(one) & np.isnan(two))).all(axis=1)
    for found in texts.values():
        same &= found.codes[here] == found.codes[before]
    if not same.all():
        moments = frame.texts([time])[time]
        lines = [
            f"series {shown(ids.values[ids.codes[row]])}: {frame.rows(sorted((other, row)))} "
            f"(both {shown(moments.values[moments.codes[row]])})"
            for row, other in zip(here[~same].tolist(), before[~same].tolist(), strict=True)
        ]
        raise SourceError(
            f"{frame.path}: rows of one series have the same time (column "
            f"{shown(time)}) and differ ({frame.counting}):"
            f"{itemised(lines, most=SERIES_LISTED)}",
            fix="keep one row for each time, or name with --id-column the column that tells these "
            "series apart.",
        )
    keep = np.concatenate([[True], ~again])
    return np.asarray(order[keep])
