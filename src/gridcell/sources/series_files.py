"""Series in files of their own: a table for each, in class folders or listed in a label table.

All files of a set have the same columns, found by name; a column of times sorts the steps and is
no input.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import STAGES, ConfigError, GridcellError, SourceError, Stage
from gridcell.samples import SeriesFacts
from gridcell.sources import ts, walk
from gridcell.sources.database import connect
from gridcell.sources.dialect import is_table
from gridcell.sources.frame import Frame, open_frame, read_head
from gridcell.sources.scan import BAD_LISTED, Progress, cannot_open
from gridcell.sources.series_steps import (
    LISTED_COLUMNS,
    VALUE,
    MissingNumbersError,
    Steps,
    digests_of,
    length_words,
    steps_of,
    time_column_of,
    without_wild,
)
from gridcell.sources.wording import counted, itemised, listed, shown

NUMBERED_SHARE = 0.5
NOTES_TOLD = 8
"""Notes of which each holds for some of many files."""
EXAMPLE = re.compile(r": \S+ is \S+\.$")
"""The end of a note that shows a cell of the file; without it the notes of many are one."""


class LackingSorterError(ConfigError):
    """The first of many files has not the column that is to sort the steps."""

    def __init__(self, error: ConfigError, files: Sequence[Path]) -> None:
        super().__init__(error.message, fix=error.fix, stage=error.stage)
        self.files = files
        """All of them; whether others have it was not looked at."""


@dataclass(frozen=True)
class Files:
    """The series of many files."""

    rows: NDArray[np.int64]
    """[N] which of the files asked for they are: those that can be read."""
    facts: SeriesFacts
    digests: NDArray[np.void]
    """[N] of dtype V16."""
    notes: tuple[str, ...]


def read_files(
    root: Path,
    names: Sequence[str],
    data: DataConfig,
    *,
    where: Path,
    progress: Progress | None = None,
) -> Files:
    """Read the files of these names below `root`, a series each.

    The columns are `data.inputs`, else those of numbers that the first file has; the others must
    have them too, in any order. `progress` is called with files done and files in all.

    Raises   SourceError that lists every file that cannot be read, unless `data.on_bad_file` is
             "skip"; for missing numbers in any case, unless `data.missing` says what becomes of
             them. ConfigError where more than one column could sort the steps

    Cost     about 20 ms a file
    """
    rows: list[int] = []
    pieces: list[NDArray[np.float32]] = []
    bad: list[str] = []
    stages: set[Stage] = set()
    lost: list[str] = []
    fix = ""
    said: Counter[str] = Counter()
    examples: dict[str, str] = {}
    columns, first = data.inputs, ""
    sorter: str | None = None
    date_format: str | None = None
    unused: set[str] = set()
    connection = connect()
    try:
        for row, name in enumerate(names):
            try:
                path = root / name
                with open_frame(path, data, connection=connection) as frame:
                    try:
                        time = _time_column(frame, data, data.inputs or columns)
                    except ConfigError as error:
                        if data.time_column is None or sorter is not None:
                            raise
                        raise LackingSorterError(error, [root / each for each in names]) from error
                    if not columns:
                        columns, first = _number_columns(frame, time), name
                    if sorter is None:
                        sorter, date_format = time, frame.date_format(time)
                    _check_columns(frame, columns, first)
                    steps = steps_of(frame, data, inputs=columns, key=None, time=time)
                unused |= set(frame.names) - {*columns, *([time] if time else [])}
            except MissingNumbersError as error:
                lost += [f"{shown(name)}, {line}" for line in error.lines]
                fix = error.fix or ""
            except ConfigError:
                raise
            except (GridcellError, OSError) as error:
                message = (
                    error.message
                    if isinstance(error, GridcellError)
                    else f"{shown(str(path))} {cannot_open(str(path), error)}"
                )
                bad.append(message.removesuffix("."))
                stages.add(error.stage if isinstance(error, GridcellError) else "content")
            else:
                rows.append(row)
                pieces.append(steps.values)
                for note in (*frame.notes, *steps.notes):
                    of_file = note.replace(Path(name).name, "the file").removeprefix("the file: ")
                    alike = EXAMPLE.sub("", of_file)
                    said[alike] += 1
                    examples.setdefault(alike, of_file)
            if progress is not None:
                progress(row + 1, len(names))
    finally:
        connection.close()
    if lost:
        raise MissingNumbersError(
            f"{where}: numbers are missing:{itemised(lost, most=LISTED_COLUMNS)}",
            lines=lost,
            fix=fix,
        )
    stage = min(stages, key=STAGES.index, default=STAGES[-1])
    notes = _bad_notes(bad, len(names), where, data, stage=stage)
    starts = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    values = np.concatenate(pieces)
    facts = SeriesFacts(values, starts, columns, time_column=sorter, date_format=date_format)
    what = [f"Series of {length_words(starts)}; numbers from {listed(columns)}."]
    if unused:
        word = "column" if len(unused) == 1 else "columns"
        what.append(f"Left out, {word} {listed(sorted(unused))} of the files.")
    told = said.most_common(NOTES_TOLD)
    what += [
        f"In {'all files' if count == len(rows) else counted(count, 'file')}: {examples[alike]}"
        for alike, count in told
    ]
    if more := len(said) - len(told):
        what.append(f"And {counted(more, 'more note')} of this sort on single files.")
    return Files(np.array(rows, np.int64), facts, digests_of(values, starts), (*what, *notes))


class Unlabelled(NamedTuple):
    """A series of a file without answers."""

    name: str
    """FILE, FILE#ID or, of a wide table, FILE#ROW."""
    values: NDArray[np.float32]
    """[T, C] NaN where a number is missing."""
    fault: str | None = None
    """What is wrong with it, where a cell holds no number and the others are asked for still."""


def read_unlabelled(
    path: Path,
    columns: tuple[str, ...],
    *,
    form: Literal["files", "long", "wide"] = "files",
    id_column: str | None = None,
    time_column: str | None = None,
    data: DataConfig | None = None,
) -> list[Unlabelled]:
    """Return the series of a file without answers.

    columns       `SeriesFacts.columns`: those of the numbers; of a wide table, those of its steps
    id_column     says which series a row of a long table belongs to; a table without it is one
    time_column   sorts the rows, where the file has it
    data          how the table is written, where that cannot be found out; with `on_bad_file` skip,
                  a cell that holds no number is a fault of its series alone

    Of the columns `("value",)`, a file without one may have any one column of numbers. A .ts file
    is read too.

    Raises   SourceError for a file that cannot be read, or lacks a column
    """
    # What becomes of missing numbers is no question here.
    settings = replace(data or DataConfig(), missing="mask")
    if ts.is_named(path.name):
        return [Unlabelled(*each) for each in ts.read_values(path, columns)]
    strange: dict[int, str] | None = {} if settings.on_bad_file == "skip" else None
    with open_frame(path, settings) as frame:
        if form == "wide":
            _check_columns(frame, columns, "")
            values, _ = without_wild(
                frame, frame.numbers(columns, strange=strange), columns, settings, is_wide=True
            )
            return [
                Unlabelled(
                    f"{path}#{frame.first_row + row}",
                    series.reshape(-1, 1),
                    (strange or {}).get(row),
                )
                for row, series in enumerate(values)
            ]
        if columns == VALUE and VALUE[0] not in frame.columns:
            others = [id_column] if id_column else []
            found = _number_columns(frame, time_column, others)
            columns = found if len(found) == 1 else columns
        _check_columns(frame, columns, "")
        key = id_column if id_column in frame.columns else None
        time = time_column if time_column in frame.columns else None
        steps = steps_of(frame, settings, inputs=columns, key=key, time=time, strange=strange)
    faults = _faults(steps, strange or {})
    pieces = np.split(steps.values, steps.starts[1:-1])
    names = [str(path)] if key is None else [f"{path}#{name}" for name in steps.names]
    return list(map(Unlabelled, names, pieces, faults))


def _faults(steps: Steps, strange: dict[int, str]) -> list[str | None]:
    """Return the first fault in the rows of each series, None where there is none."""
    faults: list[str | None] = [None] * len(steps.names)
    if not strange:
        return faults
    at = np.flatnonzero(np.isin(steps.rows, list(strange)))
    items = np.searchsorted(steps.starts, at, side="right") - 1
    for item, row in zip(items.tolist(), steps.rows[at].tolist(), strict=True):
        faults[item] = faults[item] or strange[row]
    return faults


def has_column(path: Path, name: str, data: DataConfig) -> bool:
    """Say whether a file has a column of this name; one that cannot be read has none."""
    try:
        return name in read_head(path, data).names
    except (GridcellError, OSError):
        return False


def numbered_files(table: Path, cells: Sequence[str]) -> dict[str, str] | None:
    """Return the data file that each number means, where a column of numbers stands for files.

    Each number occurs once in the column, and in the name of one data file in the table's folder;
    those names differ in their numbers alone. None where most do not. What has no file, or more
    than one, is left out.
    """
    if not 1 < len(set(cells)) == len(cells) or not all(cell.isdigit() for cell in cells):
        return None
    named: defaultdict[int, list[str]] = defaultdict(list)
    for entry in walk.entries(str(table.absolute().parent)):
        if is_table(entry.name) and entry.name != table.name:
            for number in {int(text) for text in re.findall(r"\d+", entry.name)}:
                named[number].append(entry.name)
    found = {cell: named[int(cell)][0] for cell in cells if len(named.get(int(cell), ())) == 1}
    forms = {re.sub(r"\d+", "#", name) for name in found.values()}
    return found if len(forms) == 1 and len(found) > NUMBERED_SHARE * len(cells) else None


def _time_column(frame: Frame, data: DataConfig, taken: Sequence[str]) -> str | None:
    if data.time_column is not None:
        return frame.need(data.time_column, "time_column")
    return None if data.rows_in_order else time_column_of(frame, taken)


def _number_columns(frame: Frame, time: str | None, others: Sequence[str] = ()) -> tuple[str, ...]:
    found = tuple(
        column.name
        for column in frame.columns.values()
        if column.holds in ("numbers", "mixed") and column.name not in (time, *others)
    )
    if not found:
        raise SourceError(
            f"{frame.path} has no column of numbers to read. Its columns: {listed(frame.names)}.",
            fix="name a file of numbers.",
            stage="columns",
        )
    return found


def _check_columns(frame: Frame, columns: Sequence[str], first: str) -> None:
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        word = "column" if len(lacking) == 1 else "columns"
        which = f", which {shown(first)} has" if first else ""
        raise SourceError(
            f"{frame.path} has no {word} {listed(lacking)}{which}. Its columns: "
            f"{listed(frame.names)}.",
            fix="give all files the same columns, or name those that all have with --inputs."
            if first
            else "give the columns the names that they had in training.",
            stage="columns",
        )


def _bad_notes(
    bad: Sequence[str], count: int, where: Path, data: DataConfig, *, stage: Stage
) -> list[str]:
    """Say which files were left out; refuse them unless they may be."""
    if not bad:
        return []
    listing = itemised(bad, most=BAD_LISTED)
    all_files = counted(count, "file")
    if data.on_bad_file == "stop":
        raise SourceError(
            f"{bad[0]}."
            if len(bad) == 1
            else f"{len(bad):,} of {all_files} cannot be read as series:{listing}",
            fix="mend or remove what is named, or pass --on-bad-file skip to go on without.",
            stage=stage,
        )
    if len(bad) == count:
        raise SourceError(
            f"{where}: none of the {all_files} can be read as a series:{listing}",
            fix="name a folder or table with whole data files.",
            stage=stage,
        )
    used = counted(count - len(bad), "file")
    return [f"{used} used, {len(bad):,} skipped as unreadable:{listing}"]
