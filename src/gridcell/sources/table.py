"""A table of paths: one row a file, with what to learn in other columns.

The columns are found by what they hold, wherever only one can be meant, and each finding is said:
paths name files that exist, beside the table; `split` holds train, val and test.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import Facts, ItemTask, Kind, Samples, SoundFacts
from gridcell.sources import classes, kinds
from gridcell.sources.answers import could_be, read_answers
from gridcell.sources.cells import HEADER_PROBED, Cells, is_missing, read_cells
from gridcell.sources.columns import (
    check_columns,
    given_split,
    kept_parts,
    named_parts,
    settled_answers,
    split_column,
    told_parts,
)
from gridcell.sources.dialect import is_table
from gridcell.sources.events import needed_columns, read_events, time_columns
from gridcell.sources.frame import read_all_cells, read_head
from gridcell.sources.remembered import Asked, Remembered
from gridcell.sources.scan import Progress, good_rows, scan
from gridcell.sources.series_files import numbered_files, read_files
from gridcell.sources.wording import counted, itemised, listed, shown

PROBED_ROWS = 200
MISSING_LISTED = 20
WORTH_TELLING_S = 0.05
"""Of an event that ends later than its file: less is rounding."""


@dataclass(frozen=True)
class Roles:
    """Which column is what."""

    path: str
    targets: tuple[str, ...]
    split: str | None
    group: str | None
    folds: str | None
    times: tuple[str, str] | None = None
    """Columns of start and end, where each row is an event."""


def read(
    path: Path,
    data: DataConfig,
    *,
    group: str | None = None,
    folds: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    purpose: classes.Purpose = "train",
) -> Samples:
    """Read a .csv, .tsv or .parquet table that names one file in each row, all of one kind.

    `folds` names the column whose values are folds; a split column then says nothing. It may be the
    column of groups.

    Raises   SourceError for cells, rows or files that cannot be used, with their row numbers;
             ConfigError where a column that was named isn't there, or more than one could be meant,
             and for files of several kinds
    """
    cells = _cells(path, data)
    roles = _roles(cells, data, group, folds)
    files, numbered = _files(cells, roles.path)
    if data.on_bad_file == "stop":
        _check_files(cells, files)
    # Names without an extension say nothing of the kind: such files are images unless told.
    medium = kinds.medium_of(files, data.kind, where=path) or kinds.MEDIA["images"]
    are_texts = all(name.lower().endswith(".txt") for name in files)
    if medium.kind == "texts" or (are_texts and data.kind == "auto"):
        raise text_files_named(path, roles.path)
    _refuse_settings(data, medium.kind)
    given, split_notes = given_split(cells, roles.split, folds=roles.folds)
    events = None
    if roles.times is None:
        answers = read_answers(
            cells,
            roles.targets,
            task=data.task,
            decimal=data.decimal,
            # What is said of the numbers of series may not hold for the table that names them.
            is_decimal_due=medium.kind != "series",
            purpose=purpose,
        )
    else:
        if medium.kind != "sounds":
            raise ConfigError(
                f"events are heard in sounds, and {path} names {medium.kind}.",
                fix="name the class of each file instead.",
            )
        answers, events = read_events(cells, files, roles.targets[0], roles.times)
    groups, group_names = named_parts(cells, roles.group, "group")
    fold_of, fold_names = named_parts(cells, roles.folds, "fold")
    said = {"answer": answers.targets, "split": given}
    if groups is not None:
        said["group"] = groups
    if fold_of is not None:
        said["fold"] = fold_of
    unique, repeats = _unique(cells, files, said, task=answers.task)
    if events is not None:
        repeats = []  # a file has as many rows as events
    settled_answers(path, roles.targets[0], answers, given, unique, purpose=purpose)
    names = [files[row] for row in unique]
    facts: Facts
    if medium.kind == "series":
        found_files = read_files(path.parent, names, data, where=path, progress=progress)
        good, seen = found_files.rows, found_files.notes
        facts, digests = found_files.facts, found_files.digests
    else:
        headers = scan(path.parent, names, medium, about=path, cache=cache, progress=progress)
        good, seen = good_rows(headers, names, medium, where=path, on_bad_file=data.on_bad_file)
        facts = medium.facts_of(headers.facts[good])
        digests = headers.facts[good]["digest"].copy()
    rows = np.asarray(unique, np.int64)[good]
    labels, targets = settled_answers(path, roles.targets[0], answers, given, rows, purpose=purpose)

    notes = [
        f"{counted(len(rows), medium.noun)} from {path.name}, named by column {shown(roles.path)}.",
        *numbered,
        *cells.notes,
        *answers.told(rows),
    ]
    notes += [*split_notes, *told_parts(roles.group, group_names, roles.folds, fold_names)]
    if repeats:
        verb = "repeats" if len(repeats) == 1 else "repeat"
        notes.append(
            f"Left out, {counted(len(repeats), 'row')} that {verb} the file and the answer of an "
            f"earlier one: {cells.rows(repeats)}."
        )
    lost = [label for label in answers.labels if label not in labels]
    if lost:
        notes.append(f"Left out, none of its files can be read: {listed(lost)}.")
    groups, group_names = kept_parts(groups, group_names, rows)
    fold_of, fold_names = kept_parts(fold_of, fold_names, rows)
    found = Samples(
        task=answers.task,
        paths=tuple(names[row] for row in good),
        root=os.path.abspath(path.parent),
        labels=labels,
        targets=targets,
        has_label_columns=answers.has_label_columns,
        target_columns=roles.targets,
        digests=digests,
        facts=facts,
        given=given[rows],
        groups=groups,
        group_names=group_names,
        folds=fold_of,
        fold_names=fold_names,
        notes=(*notes, *seen),
        events=None if events is None else _events_of(events, rows),
    )
    return _within_files(found)


def text_files_named(path: Path, column: str) -> SourceError:
    """The error for a table whose column names files of text: a text stands in its cell."""
    return SourceError(
        f"{path}: column {shown(column)} names files of text, and of a table texts are read from "
        "its cells.",
        fix="put the files of each class into a folder named after it and name the folder above, "
        "or write the texts themselves into the table.",
    )


def columns_of(path: Path, data: DataConfig) -> tuple[str, ...]:
    """Return the names of the columns of a table of paths."""
    if path.name.lower().endswith(".gz"):
        return tuple(filter(None, read_head(path, data).names))
    return read_cells(
        path,
        encoding=data.encoding,
        delimiter=data.delimiter,
        header=data.header,
        most=HEADER_PROBED,
    ).names


def files_named(path: Path, asked: Asked, *, column: str | None = None) -> list[Path]:
    """Return the files that a table names, each once, in the order of its rows.

    asked    what training was told of its tables, which counts where this one shows nothing else
    column   the one that names the files; that of training, or found by itself, where left out

    Raises   as `read` does, but for files that do not exist
    """

    def files(data: DataConfig) -> list[Path]:
        cells = _cells(path, data)
        check_columns(cells, [("path_column", column)])
        data = Remembered(path_column=asked.path_column).columns_in(cells.names, data)
        found, _ = _files(cells, data.path_column or _path_column(cells, ()))
        return [path.parent / name for name in dict.fromkeys(found)]

    return asked.dialect.read(path, DataConfig(path_column=column), files)


def names_files(path: Path, data: DataConfig, *, by_number: bool = True) -> bool:
    """Say whether the first rows of a table name files, which may be missing.

    by_number   whether whole numbers may, which stand in the names of files
    """
    is_text = not path.name.lower().endswith(".parquet")
    # Whether the first row is names is of no matter here, and may be hard to tell.
    head = read_head(path, replace(data, header=False) if is_text else data)
    folder = path.parent
    for place in range(len(head.names)):
        cells = [row[place] for row in head.rows if place < len(row) and row[place]]
        probe = cells[:: max(1, len(cells) // PROBED_ROWS)]
        marked = [cell for cell in probe if "." in cell or "/" in cell or "\\" in cell]
        if any(_exists(folder, _slashes(folder, cell)) for cell in marked):
            return True
        if 2 * sum(_is_named(cell) for cell in probe) > len(probe) > 0:
            return True
        below = cells[1:] if cells and not cells[0].isdigit() else cells
        if not by_number or data.id_column is not None:
            continue
        if numbered_files(path, below) is not None:
            return True
    return False


def _is_named(cell: str) -> bool:
    return kinds.medium_named(cell) is not None or is_table(cell)


def _cells(path: Path, data: DataConfig) -> Cells:
    if path.name.lower().endswith(".gz"):
        return read_all_cells(path, replace(data, date_format=None))
    return read_cells(path, encoding=data.encoding, delimiter=data.delimiter, header=data.header)


def _refuse_settings(data: DataConfig, kind: Kind) -> None:
    """Refuse the settings that have no effect on a table of paths, or on files of this kind."""
    of_series = (("time_column", data.time_column), ("inputs", data.inputs))
    for name, value in (("id_column", data.id_column), *(of_series if kind != "series" else ())):
        if value:
            raise ConfigError(
                f"{name} has no effect on a table of paths"
                f"{'' if kind == 'series' else f' of {kind}'}.",
                fix=f"leave --{name.replace('_', '-')} out.",
            )
    if data.task == "tags":
        raise ConfigError(
            "task tags needs a class for each step, and a table of paths has a row for each file.",
            fix="write one table with a row for each step.",
        )


def _events_of(events: NDArray[np.void], rows: NDArray[np.int64]) -> NDArray[np.void]:
    """The events of the files that these rows of the table name first, numbered as they are."""
    place = {row: number for number, row in enumerate(rows.tolist())}
    kept = events[[row in place for row in events["row"].tolist()]]
    kept["row"] = [place[row] for row in kept["row"].tolist()]
    return kept[np.argsort(kept["row"], kind="stable")]


def _within_files(samples: Samples) -> Samples:
    """Refuse events that begin where their file has ended, and say of others how much is behind."""
    if samples.events is None or not isinstance(samples.facts, SoundFacts):
        return samples
    length = samples.facts.seconds[samples.events["row"]]
    late = samples.events["start"] >= length
    if late.any():
        event = samples.events[late][0]
        begin = "begins" if late.sum() == 1 else "begin"
        raise SourceError(
            f"{counted(int(late.sum()), 'event')} of {len(late):,} {begin} after the end of the "
            f"file, for instance at {event['start']:g} s in {shown(samples.paths[event['row']])}, "
            f"which is {samples.facts.seconds[event['row']]:.2f} s long.",
            fix="mend or remove such rows; if times are in other units, write them in seconds.",
        )
    behind = samples.events["end"] - length
    over = behind > WORTH_TELLING_S
    if not over.any():
        return samples
    end = "ends" if over.sum() == 1 else "end"
    note = (
        f"{counted(int(over.sum()), 'event')} {end} behind the end of the file, by "
        f"{behind[over].sum():.1f} s in all, which teach nothing."
    )
    return replace(samples, notes=(*samples.notes, note))


def _roles(cells: Cells, data: DataConfig, group: str | None, folds: str | None) -> Roles:
    """Find out which column is what, from what was asked for and from what they hold."""
    # One column may be both: then each group in turn is the test part.
    by_itself = None if folds == group else folds
    asked = [("path_column", data.path_column), *(("target", name) for name in data.target)]
    asked += [("group", group), ("folds", by_itself)]
    check_columns(
        cells,
        asked,
        fix="name a different column for path_column, target and group or folds.",
    )
    taken = [name for _, name in asked if name is not None]
    paths = data.path_column or _path_column(cells, taken)
    split = split_column(cells, [paths, *taken], is_used=folds is None)
    times = _times(cells, data)
    if data.target:
        if times is not None and len(data.target) > 1:
            raise ConfigError(
                "an event has one label, and several columns are named to learn.",
                fix="name one --target.",
            )
        return Roles(paths, data.target, split, group, folds, times)
    others = (paths, split, group, folds, *(times or ()))
    rest = [name for name in cells.names if name not in others]
    if len(rest) == 1:
        return Roles(paths, (rest[0],), split, group, folds, times)
    if not rest:
        raise ConfigError(
            f"{cells.path} has no column to learn besides {listed(cells.names)}.",
            fix="add a column with the class or the number of each file.",
        )
    choices = [f"{shown(name)} ({could_be(cells.columns[name])})" for name in rest]
    raise ConfigError(
        f"{cells.path} has more than one column that could be learned:{itemised(choices, most=40)}",
        fix=f"name the column to learn, for instance --target {shown(rest[0])}.",
    )


def _times(cells: Cells, data: DataConfig) -> tuple[str, str] | None:
    """The columns of start and end, where rows are events, by what was asked for or by name."""
    if data.task == "events":
        return needed_columns(cells)
    return time_columns(cells) if data.task == "auto" else None


def _path_column(cells: Cells, taken: Sequence[str]) -> str:
    """Find the column whose values name files that exist, or at least are named as such files."""
    free = [name for name in cells.names if name not in taken]
    step = max(1, len(cells) // PROBED_ROWS)
    probes = {name: [c for c in cells.columns[name][::step] if c] for name in free}
    folder = cells.path.parent
    exist = {
        name: sum(_exists(folder, _slashes(folder, cell)) for cell in probe) / max(1, len(probe))
        for name, probe in probes.items()
    }
    found = [name for name in free if exist[name] > 0.5] or [name for name in free if exist[name]]
    if not found:
        found = [
            name
            for name, probe in probes.items()
            if 2 * sum(_is_named(cell) for cell in probe) > len(probe)
        ] or [name for name in free if numbered_files(cells.path, cells.columns[name]) is not None]
    if not found:
        for name in taken:
            if any(_exists(folder, _slashes(folder, cell)) for cell in cells.columns[name][::step]):
                raise ConfigError(
                    f"{cells.path}: column {shown(name)} names the files, and no other does, so "
                    "that it can be nothing else.",
                    fix="name another column. What their names tell is read by a pattern: --group "
                    "'{person}_*'.",
                )
        raise SourceError(
            f"{cells.path}: no column names files that exist in or below "
            f"{shown(str(folder.absolute()))}. Its columns: {listed(cells.names)}.",
            fix="write the paths as seen from the table's folder, or name their column with "
            f"--path-column{_or_texts(probes)}.",
        )
    if len(found) > 1:
        raise ConfigError(
            f"{cells.path} has more than one column that names files: {listed(found)}.",
            fix=f"name the one to look at, for instance --path-column {shown(found[0])}.",
        )
    return found[0]


def _or_texts(probes: Mapping[str, Sequence[str]]) -> str:
    """What to do if texts are meant that are too often the same for a table of them."""
    wordy = [name for name, some in probes.items() if 2 * sum(" " in c for c in some) > len(some)]
    if not wordy:
        return ""
    return f"; if texts are to be learned from, name their column: --text-column {shown(wordy[0])}"


def _exists(folder: Path, name: str) -> bool:
    try:
        return os.path.isfile(os.path.join(folder, name))
    except ValueError:  # a zero byte
        return False


def _slashes(folder: Path, name: str) -> str:
    """Read a path written on Windows, where the name as it stands is no file here."""
    if "\\" in name and not _exists(folder, name):
        return name.replace("\\", "/")
    return name


def _files(cells: Cells, name: str) -> tuple[list[str], list[str]]:
    """Return the path of each row, relative to the table's folder and with forward slashes.

    Where the column holds numbers of files, also a note on what they mean.
    """
    column = cells.columns[name]
    bad = [row for row, cell in enumerate(column) if is_missing(cell)]
    if bad:
        raise SourceError(
            f"{cells.path}: column {shown(name)} names no file in {cells.rows(bad)} "
            f"({cells.counting}).",
            fix="fill them in, or remove those rows.",
        )
    folder = cells.path.parent
    numbered = numbered_files(cells.path, column)
    if numbered is not None and not any(_exists(folder, cell) for cell in column):
        lost = [row for row, cell in enumerate(column) if cell not in numbered]
        if lost:
            raise SourceError(
                f"{cells.path}: column {shown(name)} holds numbers of files, but no data file, or "
                f"more than one, has those of {cells.rows(lost)} ({cells.counting}) in its name.",
                fix="write the names of the files.",
            )
        note = (
            f"Column {shown(name)} holds the numbers in the files' names: {column[0]} is "
            f"{shown(numbered[column[0]])}."
        )
        return [numbered[cell] for cell in column], [note]
    return [os.path.normpath(_slashes(folder, cell)).replace(os.sep, "/") for cell in column], []


def _unique(
    cells: Cells,
    files: Sequence[str],
    said: Mapping[str, NDArray[np.generic]],
    *,
    task: ItemTask,
) -> tuple[list[int], list[int]]:
    """Return the rows that name a file first, and those that repeat one and say the same of it."""
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, file in enumerate(files):
        rows_of[file].append(row)
    conflicts, repeats = [], []
    for file, rows in rows_of.items():
        first = rows[0]
        for row in rows[1:]:
            differs = [
                what for what, values in said.items() if np.any(values[row] != values[first])
            ]
            if differs:
                conflicts.append(
                    f"{shown(file)}: {cells.rows([first, row])} differ in {listed(differs)}"
                )
            else:
                repeats.append(row)
    if conflicts:
        several = (
            " For several labels, write one row a file, the labels separated by a semicolon, and "
            "pass --task labels."
            if task == "classify"
            else ""
        )
        raise SourceError(
            f"{cells.path} names files more than once and says different things of them "
            f"({cells.counting}):{itemised(conflicts, most=MISSING_LISTED)}",
            fix=f"keep one row for each file.{several}",
        )
    return [rows[0] for rows in rows_of.values()], sorted(repeats)


def _check_files(cells: Cells, files: Sequence[str]) -> None:
    folder = cells.path.parent
    first = {file: row for row, file in reversed(list(enumerate(files)))}
    lost = sorted(row for file, row in first.items() if not os.path.lexists(folder / file))
    if lost:
        lines = [f"row {cells.first_row + row}: {shown(files[row])}" for row in lost]
        raise SourceError(
            f"{cells.path}: {counted(len(lost), 'file')} of {len(first):,} "
            f"{'does' if len(lost) == 1 else 'do'} not exist ({cells.counting}):"
            f"{itemised(lines, most=MISSING_LISTED)}",
            fix=_lost_fix(folder, files[lost[0]]),
        )


def _lost_fix(folder: Path, file: str) -> str:
    """Say from where the paths would fit, if that can be seen."""
    for base in (folder.absolute().parent, Path.cwd()):
        if os.path.isfile(base / file):
            return (
                f"the paths fit {shown(str(base))}: move the table there, since they are read as "
                "seen from the table's folder."
            )
    return (
        f"write the paths as seen from {shown(str(folder.absolute()))}, or pass "
        "--on-bad-file skip to go on without them."
    )
