"""A table whose rows are steps of time, read to forecast how its columns go on.

    table ─> columns chosen ─> rows in the order of time, each time once
      ─> stretches without a gap ─> windows: so many steps to look back on, then the horizon

Windows are numbers of first steps; nothing is copied. Missing numbers stay missing here: what
becomes of them is the preparation's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import UNASSIGNED, ForecastFacts, Numbered, Samples, Step
from gridcell.sources import classes
from gridcell.sources.dialect import is_table
from gridcell.sources.frame import Frame, open_frame
from gridcell.sources.numbered_times import (
    named_times,
    numbered_time,
    refuse_unsure,
    repeats_of_order,
    unix_of,
)
from gridcell.sources.order_of_rows import doubts_of_order
from gridcell.sources.scan import Progress
from gridcell.sources.series_steps import TIME_NAMES, is_named
from gridcell.sources.steps import Stretches, in_order, same_moment, stretches, written
from gridcell.sources.wording import SPLIT_WORDS, counted, listed, shown

PIECES = ("year", "month", "day", "hour", "minute", "second")
"""Columns that make a time together; month and year at least."""
SPLIT_COLUMN = "split"
OFFSET = re.compile(r"\d\d:\d\d.*?([+-]\d\d(:?\d\d)?|Z)")
SEASONS_BACK = 14
USUAL_PAST, LONGEST_PAST = 96, 720
SEASONS = {
    **{60 * 1_000_000 * minutes: 1440 // minutes for minutes in (1, 2, 5, 10, 15, 20, 30)},
    **{3600 * 1_000_000 * hours: 24 // hours for hours in (1, 2, 3, 4, 6, 8, 12)},
    86_400_000_000: 7,
    604_800_000_000: 52,
}
"""Steps of a usual season by the microseconds of a step: the hours of a day, the days of a week."""
MONTH_SEASONS = {1: 12, 2: 6, 3: 4, 6: 2}
ROWS_LISTED = 12


@dataclass(frozen=True)
class Table:
    """The steps of a table in their order: numbers, times, and where a stretch ends."""

    values: NDArray[np.float32]
    """[steps, C]; NaN where a cell is missing or not finite."""
    rows: NDArray[np.int64]
    """[steps] row of the table that each step is."""
    times: NDArray[np.int64] | None
    series_names: tuple[str, ...]
    cut: Stretches
    parts: NDArray[np.int8] | None
    """[steps] the split that the table itself names."""
    columns: tuple[str, ...]
    targets: tuple[int, ...]
    known: tuple[int, ...]
    time_column: str | None
    date_format: str | None
    has_offset: bool
    """Whether its times say how far they are from UTC; `times` are then those of UTC."""
    notes: tuple[str, ...]


def read(
    path: Path,
    data: DataConfig,
    *,
    group: str | None = None,
    folds: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    purpose: classes.Purpose = "train",
    step: Step | None = None,
) -> Samples:
    """Read a table of steps as windows to forecast from.

    step   the one that a model learned, which the table must have; it is found where left out

    Raises   SourceError for a table that cannot be used, ConfigError for settings at odds with it
    """
    for name, value in (("group", group), ("folds", folds)):
        if value is not None:
            raise ConfigError(
                f"{name} has no effect on forecasts: they are split by time.",
                fix=f"leave --{name} out.",
            )
    if not path.is_file():
        raise SourceError(
            f"{shown(str(path))} is no file.", fix="name the table that holds the steps."
        )
    table = read_table(path, data, step=step)
    assert data.horizon is not None
    past, why = _past(table, data)
    if purpose == "score":
        why = "as in training"
    facts = ForecastFacts(
        values=table.values,
        starts=table.cut.starts,
        series=table.cut.series,
        series_names=table.series_names,
        firsts=np.zeros(0, np.int64),
        past=past,
        horizon=data.horizon,
        columns=table.columns,
        targets=table.targets,
        known=table.known,
        times=table.times,
        step=table.cut.step,
        step_parts=table.parts,
        time_column=table.time_column,
        date_format=table.date_format,
        has_offset=table.has_offset,
        id_column=data.id_column,
    )
    firsts, said = _windows(path, facts, purpose)
    facts = replace(facts, firsts=firsts)
    given = window_parts(firsts, past + data.horizon, table.parts)
    labels = tuple(table.columns[place] for place in table.targets)
    return Samples(
        task="forecast",
        paths=Numbered(f"{path.name}#", table.rows[firsts] + 1),
        root=str(path.parent),
        labels=labels,
        targets=np.zeros((len(firsts), 0), np.float32),
        digests=_digests(table, firsts),
        facts=facts,
        given=given,
        notes=(*table.notes, *_notes(facts, why), *said),
    )


def find_tables(path: Path) -> list[Path]:
    """Return every table in a folder, or the file itself.

    Raises   SourceError if nothing is at `path`, or no table in it
    """
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if is_table(entry.name))
        if not found:
            raise SourceError(f"{shown(str(path))} holds no table.", fix="name a table.")
        return found
    if not path.exists():
        raise SourceError(f"{shown(str(path))} does not exist.", fix="name a table.")
    return [path]


def read_table(
    path: Path,
    data: DataConfig,
    *,
    has_future: bool = False,
    step: Step | None = None,
) -> Table:
    """Read the steps of a table: its columns chosen, its rows in the order of time.

    has_future   whether the last steps may lack their targets, since they are to be forecast
    step         the step that is known already

    Raises   SourceError, ConfigError
    """
    if not is_table(path.name):
        raise SourceError(
            f"{shown(str(path))} is no table (.csv, .tsv or .parquet).",
            fix="name a table with a row for each step.",
        )
    if data.missing == "interpolate":
        raise ConfigError(
            "missing = 'interpolate' would let a forecast see steps that it is to forecast.",
            fix="choose --missing ffill, which looks back alone, or mask or drop.",
        )
    with open_frame(path, data) as frame:
        notes = list(frame.notes)
        codes, names = _series(frame, data)
        times, time_columns, is_numbered = _times(frame, data, codes, notes, step=step)
        rows = in_order(codes, times)
        parts = _split_column(frame, notes)
        used = {*time_columns, *filter(None, (data.id_column,))}
        if parts is not None:
            used.add(_split_name(frame))
        if times is not None and not data.target and not data.inputs:
            others = named_times(frame, {*used, *data.known})
            again = repeats_of_order(frame, others, rows, codes)
            if again:
                notes.append(f"Left out, the time of a row said again: {listed(again)}.")
            used.update(again)
        if data.rows_in_order and not data.target and not data.inputs:
            times_unused = named_times(frame, {*used, *data.known})
            if times_unused:
                notes.append(f"Left out, named as times: {listed(times_unused)}.")
            used.update(times_unused)
        if data.rows_in_order:
            notes += doubts_of_order(frame, data, codes, {*frame.names} - used)
        time_column = time_columns[0] if len(time_columns) == 1 else None
        date_format = frame.date_format(time_column)
        has_offset = time_column is not None and any(_offsets(frame, time_column))
        columns, targets, known = _columns(frame, data, used, notes)
        values = frame.numbers(columns)
        values[~np.isfinite(values)] = np.nan
        if times is not None and (np.diff(rows) != 1).any():
            notes.append(f"Rows were sorted by {'time' if len(names) == 1 else 'series and time'}.")
        if times is not None:
            rows = _without_duplicates(frame, rows, codes, times, values, parts, is_numbered, notes)
        if not has_future:
            rows = _with_targets(rows, codes, values, targets, notes)
            _check_missing(frame, columns, values, rows, data)
        if data.missing == "drop":
            gone = np.isnan(values[rows]).any(1)
            if gone.any():
                notes.append(f"{counted(int(gone.sum()), 'step')} with missing numbers left out.")
            rows = rows[~gone]
    if not len(rows):
        raise SourceError(f"{path}: no step is left.", fix="name a table with complete rows.")
    cut = stretches(
        codes[rows],
        None if times is None else times[rows],
        names,
        where=str(path),
        is_numbered=is_numbered,
        step=step,
    )
    return Table(
        values=values if np.array_equal(rows, np.arange(len(values))) else values[rows],
        rows=rows,
        times=None if times is None else times[rows],
        series_names=names,
        cut=cut,
        parts=None if parts is None else parts[rows],
        columns=columns,
        targets=targets,
        known=known,
        time_column=time_column,
        date_format=date_format,
        has_offset=has_offset,
        notes=(*notes, *cut.notes),
    )


def window_parts(
    firsts: NDArray[np.int64], length: int, parts: NDArray[np.int8] | None
) -> NDArray[np.int8]:
    """Return the part that all steps of each window are of, or UNASSIGNED.

    >>> window_parts(np.array([0, 1, 2]), 2, np.array([0, 0, 2, 2], np.int8)).tolist()
    [0, -1, 2]
    """
    if parts is None or not len(firsts):
        return np.full(len(firsts), UNASSIGNED, np.int8)
    run = np.concatenate([[0], np.cumsum(np.diff(parts) != 0)])
    is_one = run[firsts] == run[firsts + length - 1]
    return np.where(is_one, parts[firsts], UNASSIGNED).astype(np.int8)


def season_of(step: Step | None) -> int:
    """Return the steps of a usual season: 24 of hours, 7 of days, 12 of months; 1 where none is.

    >>> season_of(Step("time", 3_600_000_000)), season_of(Step("months")), season_of(None)
    (24, 12, 1)
    """
    if step is None or step.unit == "numbers":
        return 1
    if step.unit == "months":
        return MONTH_SEASONS.get(step.count, 1)
    return 5 if step.unit == "weekdays" else SEASONS.get(step.count, 1)


# Columns.


def _times(
    frame: Frame,
    data: DataConfig,
    codes: NDArray[np.int64],
    notes: list[str],
    *,
    step: Step | None,
) -> tuple[NDArray[np.int64] | None, tuple[str, ...], bool]:
    """Return the time of each row, the columns that say it, and whether they are but numbers."""
    if data.rows_in_order:
        notes.append("The steps are the rows in their order, as was said.")
        return None, (), False
    if data.time_column is not None:
        name = frame.need(data.time_column, "--time-column")
    else:
        found = [name for name, column in frame.columns.items() if column.holds == "moments"]
        if not found:
            pieces = _pieces(frame)
            if pieces:
                notes.append(f"The time of a row is made of the columns {listed(pieces)}.")
                return _joined(frame, pieces), pieces, False
            _refuse_unread_times(frame, data)
            asked = {*filter(None, (data.id_column,)), *data.target, *data.inputs, *data.known}
            named = named_times(frame, asked)
            number = numbered_time(frame, named, codes)
            if number is None:
                if named and not data.target and not data.inputs:
                    refuse_unsure(frame, named[0])
                why = "No column holds points of time"
                if named:
                    why = f"Column {shown(named[0])} does not go on by one step"
                notes.append(f"{why}: the steps are the rows in their order.")
                return None, (), False
            found = [number]
        name = found[0]
    times = frame.times(name)
    if frame.columns[name].holds == "moments":
        said = f"Times are those of column {shown(name)}"
        offsets = _offsets(frame, name)
        if any(offsets):
            said += ", brought to UTC by their offsets"
            if not all(offsets):
                raise SourceError(
                    f"{frame.path}: some cells of column {shown(name)} have an offset from UTC, "
                    f"such as {next(filter(None, offsets))!r}, and some have none.",
                    fix="write them all with an offset, or all without.",
                )
        notes.append(f"{said}.")
        return times.astype(np.int64), (name,), False
    unix = unix_of(name, times)
    if unix is not None and (step is None or step.unit != "numbers"):
        notes.append(f"Times are those of column {shown(name)}, Unix {unix.unit}.")
        return unix.moments(times), (name,), False
    notes.append(f"The steps are numbered by column {shown(name)}.")
    return np.round(times * 1e6).astype(np.int64), (name,), True


def _offsets(frame: Frame, name: str) -> list[str]:
    """Of the first cells of a column of times those that say their offset from UTC, else ""."""
    if frame.columns[name].holds != "moments":
        return []
    return [cell if OFFSET.search(cell) else "" for cell in frame.head.column(name) if cell]


def _refuse_unread_times(frame: Frame, data: DataConfig) -> None:
    """Refuse a table whose times cannot be read: its rows may stand in any order."""
    for name, column in frame.columns.items():
        why = column.doubt
        if not why and column.holds == "text" and is_named(name, TIME_NAMES):
            cell = next(filter(None, frame.texts([name])[name].values))
            why = f"{shown(cell)!r} is no point of time"
        if why and name != data.id_column:
            raise SourceError(
                f"{frame.path}: column {shown(name)} looks like times but cannot be read: {why}.",
                fix="say how they are written, for instance --date-format "
                f"'{frame.likely_format(name)}', write them as 2024-12-31 23:59:59, or name "
                "another --time-column; if the rows stand in their order as they are, pass "
                "--rows-in-order.",
                stage="writing",
            )


def _pieces(frame: Frame) -> tuple[str, ...]:
    """Return the columns of year, month and so on that make a time together."""
    by_name = {name.strip().lower(): name for name in frame.names}
    found = []
    for piece in PIECES:
        name = by_name.get(piece)
        if name is None or frame.columns[name].holds != "numbers":
            break
        found.append(name)
    return tuple(found) if len(found) > 1 else ()


def _joined(frame: Frame, pieces: Sequence[str]) -> NDArray[np.int64]:
    """Return microseconds since 1970 of times whose parts stand in columns."""
    found = [frame.times(name).astype(np.int64) for name in pieces]
    firsts = (1, 1, 1, 0, 0, 0)  # of a part that no column says
    found += [np.full(len(frame), first) for first in firsts[len(found) :]]
    year, month, day, hour, minute, second = found
    months = ((year - 1970) * 12 + month - 1).astype("M8[M]")
    days = months.astype("M8[D]").astype(np.int64) + day - 1
    whole: NDArray[np.int64] = ((days * 24 + hour) * 60 + minute) * 60 + second
    return whole * 1_000_000


def _series(frame: Frame, data: DataConfig) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the series of each row and the names of all."""
    if data.id_column is None:
        return np.zeros(len(frame), np.int64), ("",)
    name = frame.need(data.id_column, "--id-column")
    found = frame.texts([name])[name]
    empty = [number for number, value in enumerate(found.values) if not value]
    if empty:
        rows = np.flatnonzero(found.codes == empty[0])
        raise SourceError(
            f"{frame.path}: column {shown(name)} names no series in {frame.rows(rows)} "
            f"({frame.counting}).",
            fix="fill it in, or remove those rows.",
        )
    return found.codes, found.values


def _split_name(frame: Frame) -> str:
    return next((n for n in frame.names if n.strip().lower() == SPLIT_COLUMN), "")


def _split_column(frame: Frame, notes: list[str]) -> NDArray[np.int8] | None:
    """Return the split that each row names, where a column called split does."""
    name = _split_name(frame)
    if not name or frame.columns[name].holds != "text":
        return None
    found = frame.texts([name])[name]
    numbers = [SPLIT_WORDS.get(value.lower()) for value in found.values]
    strange = [v for v, number in zip(found.values, numbers, strict=True) if number is None and v]
    if strange:
        raise SourceError(
            f"{frame.path}: column {shown(name)} holds {shown(strange[0])!r}, which is no split.",
            fix="write train, valid or test, or give the column another name.",
        )
    notes.append(f"Column {shown(name)} says which rows are for training, validation and test.")
    of = np.array([UNASSIGNED if number is None else number for number in numbers], np.int8)
    return of[found.codes]


def _columns(
    frame: Frame, data: DataConfig, used: set[str], notes: list[str]
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    """Choose what is read: the names of the columns, and which are targets or known."""
    for option, asked in (
        ("--target", data.target),
        ("--inputs", data.inputs),
        ("--known", data.known),
    ):
        for name in asked:
            frame.need(name, option)
            if frame.columns[name].holds not in ("numbers", "mixed"):
                raise SourceError(
                    f"{frame.path}: column {shown(name)} (for {option}) holds no numbers.",
                    fix="name columns of numbers.",
                    stage="columns",
                )
            if name in used:
                raise ConfigError(
                    f"column {shown(name)} says which step a row is, and cannot be one of "
                    f"{option} too.",
                    fix=f"leave it out of {option}.",
                )
    both = [name for name in data.known if name in data.target]
    if both:
        raise ConfigError(
            f"column {shown(both[0])} cannot be known in advance and be forecast.",
            fix="name it in --target or in --known.",
        )
    free = [name for name in frame.names if name not in used]
    numbers = [name for name in free if frame.columns[name].holds in ("numbers", "mixed")]
    targets = list(data.target)
    if not targets:
        targets = [n for n in (data.inputs or numbers) if n not in data.known]
        if not data.inputs:
            counters = [name for name in targets if _counts_rows(frame, name)]
            if len(counters) == len(targets):
                counters = []  # there is nothing else
            targets = [name for name in targets if name not in counters]
            if counters:
                notes.append(f"Left out, it counts the rows: {listed(counters)}.")
    if not targets:
        raise SourceError(
            f"{frame.path} has no column of numbers to forecast; its columns: "
            f"{listed(frame.names)}.",
            fix="name the columns with --target.",
            stage="columns",
        )
    columns = tuple(dict.fromkeys([*targets, *data.inputs, *data.known]))
    words = [name for name in free if frame.columns[name].holds in ("text", "moments")]
    if words:
        notes.append(f"Left out, no numbers: {listed(words)}.")
    unused = [name for name in numbers if name not in columns]
    if unused and data.target:
        notes.append(f"Not looked at (--inputs would): {listed(unused)}.")
    places = {name: place for place, name in enumerate(columns)}
    return (
        columns,
        tuple(places[name] for name in targets),
        tuple(places[name] for name in data.known),
    )


def _counts_rows(frame: Frame, name: str) -> bool:
    """Whether a column is 0, 1, 2 ... or 1, 2, 3 ... down the table."""
    values = frame.numbers([name])[:, 0]
    return bool(values[0] in (0, 1) and (np.diff(values) == 1).all())


# Rows.


def _without_duplicates(
    frame: Frame,
    rows: NDArray[np.int64],
    codes: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float32],
    parts: NDArray[np.int8] | None,
    is_numbered: bool,
    notes: list[str],
) -> NDArray[np.int64]:
    """Drop rows that say the same again; two that differ at one time cannot both be right."""
    again = same_moment(codes[rows], times[rows])
    if not len(again):
        return rows
    one, other = rows[again - 1], rows[again]
    differ = ~np.isclose(values[one], values[other], rtol=0, atol=0, equal_nan=True).all(1)
    if parts is not None:
        differ |= parts[one] != parts[other]
    if differ.any():
        place = int(np.flatnonzero(differ)[0])
        step = Step("numbers") if is_numbered else None
        pair = np.sort(np.array([one[place], other[place]]))
        stand = "stands" if differ.sum() == 1 else "stand"
        raise SourceError(
            f"{frame.path}: {counted(int(differ.sum()), 'time')} {stand} in two rows that differ, "
            f"the first {written(int(times[one[place]]), step)} in {frame.rows(pair)} "
            f"({frame.counting}).",
            fix="remove one of them; name --id-column if the rows are of several series, and write "
            "times with their offset from UTC if it is the hour that comes twice in autumn.",
        )
    notes.append(f"{counted(len(again), 'row')} that said the same again left out.")
    return np.delete(rows, again)


def _with_targets(
    rows: NDArray[np.int64],
    codes: NDArray[np.int64],
    values: NDArray[np.float32],
    targets: tuple[int, ...],
    notes: list[str],
) -> NDArray[np.int64]:
    """Leave out steps behind the last one of a series that has any target: they are the future."""
    has = ~np.isnan(values[rows][:, list(targets)]).all(1)
    of = codes[rows]
    last = np.full(int(codes.max()) + 1, -1, np.int64)
    np.maximum.at(last, of[has], np.flatnonzero(has))
    keep = np.arange(len(rows)) <= last[of]
    if not keep.all() and len(values[0]) > len(targets):
        notes.append(f"{counted(int((~keep).sum()), 'step')} at the end without a target left out.")
        return rows[keep]
    return rows


def _check_missing(
    frame: Frame,
    columns: tuple[str, ...],
    values: NDArray[np.float32],
    rows: NDArray[np.int64],
    data: DataConfig,
) -> None:
    """Stop at missing numbers, or numbers that are not finite, where no policy says what to do."""
    if data.missing != "stop":
        return
    lines = []
    is_used = np.zeros(len(values), np.bool_)
    is_used[rows] = True
    for name, column in zip(columns, values.T, strict=True):
        gone = np.flatnonzero(np.isnan(column) & is_used)
        if len(gone):
            lines.append(
                f"\n    {shown(name)}: {len(gone):,} missing or not finite, in "
                f"{frame.rows(gone, most=ROWS_LISTED)}"
            )
    if lines:
        raise SourceError(
            f"{frame.path} lacks numbers ({frame.counting}):{''.join(lines)}",
            fix="say what becomes of them: --missing ffill repeats the last number, mask tells the "
            "network, drop leaves the step out.",
        )


# Windows.


def _past(table: Table, data: DataConfig) -> tuple[int, str]:
    """Choose how many steps a window looks back on, and say why."""
    assert data.horizon is not None
    if data.past is not None:
        if data.known and data.past < data.horizon:
            raise ConfigError(
                f"past ({data.past}) must reach as far as the horizon ({data.horizon}) where "
                "columns are known in advance.",
                fix=f"give --past {data.horizon} or more.",
            )
        return data.past, "as asked"
    season = season_of(table.cut.step)
    wanted = USUAL_PAST
    if season > 1:
        seasons = min(SEASONS_BACK, LONGEST_PAST // season)
        wanted = seasons * season if seasons else LONGEST_PAST
    longest = int(np.diff(table.cut.starts).max())
    # A part of a tenth of the steps must hold windows; short series make do with a season.
    room = max(longest // 15, min(season, longest // 6), 1)
    past = min(wanted, room)
    if past > season:
        past -= past % season
    past = max(past, data.horizon)
    if past < wanted:
        return past, "as many as so short a table allows"
    return past, _seasons_told(past, season)


def _seasons_told(past: int, season: int) -> str:
    if season == 1 or past % season:
        return "as many as are usual"
    return counted(past // season, "season")


def _windows(
    path: Path, facts: ForecastFacts, purpose: classes.Purpose
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the first step of each window, and what was left out."""
    length = facts.past + facts.horizon
    counts = np.maximum(np.diff(facts.starts) - length + 1, 0)
    begins = np.concatenate([[0], np.cumsum(counts)])
    firsts = np.arange(begins[-1]) + np.repeat(facts.starts[:-1] - begins[:-1], counts)
    if not len(firsts):
        longest = int(np.diff(facts.starts).max())
        raise SourceError(
            f"{path}: no window fits: its longest stretch without a gap has "
            f"{counted(longest, 'step')}, and a window needs {length:,} ({facts.past:,} to look "
            f"back on and {facts.horizon:,} to forecast).",
            fix="give a longer table."
            if purpose == "score"
            else "give a smaller --past or --horizon.",
        )
    notes = []
    gone = np.isnan(facts.values[:, list(facts.targets)])
    if gone.any():
        missing = _sums(np.asarray(gone.any(1)))
        has_truth = missing[firsts + length] == missing[firsts + facts.past]
        if not has_truth.all():
            lost = counted(int((~has_truth).sum()), "window")
            notes.append(f"{lost} left out: a number to forecast is missing.")
        firsts = firsts[has_truth]
        has_past = np.ones(len(firsts), np.bool_)
        for column in gone.T:
            missing = _sums(column)
            has_past &= missing[firsts + facts.past] - missing[firsts] < facts.past
        if not has_past.all():
            lost = counted(int((~has_past).sum()), "window")
            notes.append(f"{lost} left out: a column has no number to look back on.")
        firsts = firsts[has_past]
    if not len(firsts):
        raise SourceError(
            f"{path}: no window has all the numbers that are to be forecast.",
            fix="name other columns with --target.",
        )
    return firsts, notes


def _sums(is_there: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[steps + 1] how many there are in front of each step."""
    return np.concatenate([[0], np.cumsum(is_there, dtype=np.int64)])


def _digests(table: Table, firsts: NDArray[np.int64]) -> NDArray[np.generic]:
    """A digest for each window: that of the whole table, and where it begins."""
    digest = hashlib.sha256(np.ascontiguousarray(table.values).tobytes())
    if table.times is not None:
        digest.update(np.ascontiguousarray(table.times).tobytes())
    words = np.empty((len(firsts), 2), np.uint64)
    words[:, 0] = int.from_bytes(digest.digest()[:8], "little")
    words[:, 1] = firsts
    return words.view("V16").reshape(-1)


def _notes(facts: ForecastFacts, why: str) -> list[str]:
    steps, several = len(facts.values), len(facts.series_names) > 1
    text = counted(steps, "step")
    if several:
        text += f" of {counted(len(facts.series_names), 'series', 'series')}"
    if facts.step is not None:
        text += f", each {facts.step} behind the last"
    if facts.times is not None:
        low, high = int(facts.times.min()), int(facts.times.max())
        text += f", from {written(low, facts.step)} to {written(high, facts.step)}"
    labels = [facts.columns[place] for place in facts.targets]
    others = [n for p, n in enumerate(facts.columns) if p not in facts.targets + facts.known]
    looks = ""
    if others:
        looks += f", looking at {listed(others)} too"
    if facts.known:
        looks += f", with {listed(facts.columns[p] for p in facts.known)} known in advance"
    return [
        f"{text}.",
        f"Forecasts {listed(labels)}: {counted(facts.horizon, 'step')} ahead from the last "
        f"{facts.past:,} ({why}){looks}.",
    ]
