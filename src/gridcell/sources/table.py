"""A table of paths: one row an image, with what to learn in other columns.

The columns are found by what they hold, wherever only one can be meant, and each finding is said:
paths name files that exist, beside the table; `split` holds train, val and test.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError, did_you_mean
from gridcell.samples import SPLIT_NAMES, UNASSIGNED, ItemTask, Samples
from gridcell.sources import classes, images
from gridcell.sources.answers import Answers, could_be, read_answers
from gridcell.sources.cells import Cells, is_missing, read_cells
from gridcell.sources.wording import SPLIT_WORDS, counted, itemised, listed, shown

SPLIT_COLUMNS = ("split", "set", "subset")
PROBED_ROWS = 200
MISSING_LISTED = 20


@dataclass(frozen=True)
class Roles:
    """Which column is what."""

    path: str
    targets: tuple[str, ...]
    split: str | None
    group: str | None


def read(
    path: Path,
    data: DataConfig,
    *,
    group: str | None = None,
    cache: Path | None = None,
    progress: images.Progress | None = None,
    purpose: classes.Purpose = "train",
) -> Samples:
    """Read a .csv, .tsv or .parquet table that names one image file in each row.

    Raises   SourceError for cells, rows or files that cannot be used, with their row numbers;
             ConfigError where a column that was named isn't there, or more than one could be meant
    """
    cells = read_cells(path)
    roles = _roles(cells, data, group)
    files = _files(cells, roles.path)
    if data.on_bad_file == "stop":
        _check_files(cells, files)
    given, split_note = _given(cells, roles.split)
    answers = read_answers(cells, roles.targets, task=data.task, purpose=purpose)
    groups, group_names = _groups(cells, roles.group)
    said = {"answer": answers.targets, "split": given}
    if groups is not None:
        said["group"] = groups
    unique, repeats = _unique(cells, files, said, task=answers.task)
    _settled(path, roles, answers, given, unique, purpose=purpose)
    names = [files[row] for row in unique]
    scan = images.scan(path.parent, names, about=path, cache=cache, progress=progress)
    good, seen = images.good_rows(scan, names, where=path, on_bad_file=data.on_bad_file)
    rows = np.asarray(unique, np.int64)[good]
    labels, targets = _settled(path, roles, answers, given, rows, purpose=purpose)

    facts = scan.facts[good]
    notes = [
        f"{counted(len(rows), 'image')} from {path.name}, named by column {shown(roles.path)}.",
        *cells.notes,
        *answers.notes,
    ]
    if split_note:
        notes.append(split_note)
    if roles.group is not None:
        notes.append(
            f"Column {shown(roles.group)} gives {counted(len(group_names), 'group')}, each kept on "
            "one side of the split."
        )
    if repeats:
        verb = "repeats" if len(repeats) == 1 else "repeat"
        notes.append(
            f"Left out, {counted(len(repeats), 'row')} that {verb} the file and the answer of an "
            f"earlier one: {cells.rows(repeats)}."
        )
    lost = [label for label in answers.labels if label not in labels]
    if lost:
        notes.append(f"Left out, none of its files can be read: {listed(lost)}.")
    if groups is not None:
        kept, groups = np.unique(groups[rows], return_inverse=True)
        group_names = tuple(group_names[number] for number in kept)
    return Samples(
        kind="images",
        task=answers.task,
        paths=tuple(names[row] for row in good),
        root=os.path.abspath(path.parent),
        labels=labels,
        targets=targets,
        has_label_columns=answers.has_label_columns,
        digests=facts["digest"].copy(),
        sizes=images.sizes(facts),
        colours=facts["is_colour"].copy(),
        given=given[rows],
        groups=None if groups is None else groups.astype(np.int64),
        group_names=group_names,
        notes=(*notes, *seen),
        modes=images.mode_counts(facts),
    )


def _roles(cells: Cells, data: DataConfig, group: str | None) -> Roles:
    """Find out which column is what, from what was asked for and from what they hold."""
    for option, names in (
        ("path_column", [data.path_column]),
        ("target", data.target),
        ("group", [group]),
    ):
        for name in names:
            if name is not None and name not in cells.columns:
                raise ConfigError(
                    f"{cells.path} has no column {shown(name)} (for {option})."
                    f"{did_you_mean(name, cells.names)} Its columns: {listed(cells.names)}.",
                    fix="name one of its columns.",
                )
    taken = [name for name in (data.path_column, *data.target, group) if name is not None]
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise ConfigError(
            f"column {listed(twice)} is named for two uses at once.",
            fix="name a different column for path_column, target and group.",
        )
    paths = data.path_column or _path_column(cells, taken)
    split = _split_column(cells, [paths, *taken])
    if data.target:
        return Roles(paths, data.target, split, group)
    rest = [name for name in cells.names if name not in (paths, split, group)]
    if len(rest) == 1:
        return Roles(paths, (rest[0],), split, group)
    if not rest:
        raise ConfigError(
            f"{cells.path} has no column to learn besides {listed(cells.names)}.",
            fix="add a column with the class or the number of each image.",
        )
    choices = [f"{shown(name)} ({could_be(cells.columns[name])})" for name in rest]
    raise ConfigError(
        f"{cells.path} has more than one column that could be learned:{itemised(choices, most=40)}",
        fix=f"name the column to learn, for instance --target {shown(rest[0])}.",
    )


def _path_column(cells: Cells, taken: Sequence[str]) -> str:
    """Find the column whose values name files that exist, or at least are named as images."""
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
            if 2 * sum(map(images.is_image, probe)) > len(probe)
        ]
    if not found:
        raise SourceError(
            f"{cells.path}: no column names files that exist in or below "
            f"{shown(str(folder.absolute()))}. Its columns: {listed(cells.names)}.",
            fix="write the paths as seen from the table's folder, or name their column with "
            "--path-column.",
        )
    if len(found) > 1:
        raise ConfigError(
            f"{cells.path} has more than one column that names files: {listed(found)}.",
            fix=f"name the one to look at, for instance --path-column {shown(found[0])}.",
        )
    return found[0]


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


def _split_column(cells: Cells, taken: Sequence[str]) -> str | None:
    for name in cells.names:
        if name.lower() not in SPLIT_COLUMNS or name in taken:
            continue
        column = [cell.lower() for cell in cells.columns[name]]
        strange = [row for row, cell in enumerate(column) if cell not in SPLIT_WORDS]
        if not strange:
            return name
        if len(strange) < len(column):
            raise SourceError(
                f"{cells.path}: column {shown(name)} holds train, val or test, except in "
                f"{cells.rows(strange)} ({cells.counting}), for instance "
                f"{shown(cells.columns[name][strange[0]])!r}.",
                fix="write train, val or test in each row, or give the column another name.",
            )
    return None


def _files(cells: Cells, name: str) -> list[str]:
    """Return the path of each row, relative to the table's folder and with forward slashes."""
    column = cells.columns[name]
    bad = [row for row, cell in enumerate(column) if is_missing(cell)]
    if bad:
        raise SourceError(
            f"{cells.path}: column {shown(name)} names no file in {cells.rows(bad)} "
            f"({cells.counting}).",
            fix="fill them in, or remove those rows.",
        )
    folder = cells.path.parent
    return [os.path.normpath(_slashes(folder, cell)).replace(os.sep, "/") for cell in column]


def _given(cells: Cells, split: str | None) -> tuple[NDArray[np.int8], str | None]:
    if split is None:
        return np.full(len(cells), UNASSIGNED, np.int8), None
    given = np.array([SPLIT_WORDS[cell.lower()] for cell in cells.columns[split]], np.int8)
    counts = ", ".join(f"{SPLIT_NAMES[s]} {(given == s).sum():,}" for s in np.unique(given))
    return given, f"The data's own split is kept, from column {shown(split)}: {counts}."


def _groups(cells: Cells, group: str | None) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    if group is None:
        return None, ()
    column = cells.columns[group]
    bad = [row for row, cell in enumerate(column) if is_missing(cell)]
    if bad:
        raise SourceError(
            f"{cells.path}: column {shown(group)} names no group in {cells.rows(bad)} "
            f"({cells.counting}).",
            fix="fill them in, or remove those rows.",
        )
    names, numbers = classes.encode(column)
    return numbers, names


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


def _settled(
    path: Path,
    roles: Roles,
    answers: Answers,
    given: NDArray[np.int8],
    rows: Sequence[int] | NDArray[np.int64],
    *,
    purpose: classes.Purpose,
) -> tuple[tuple[str, ...], NDArray[np.generic]]:
    """Return labels and targets of these rows, checked to be something that can be used."""
    labels, targets = answers.labels, answers.targets[rows]
    if answers.task == "classify":
        labels, targets = classes.settle(
            labels,
            targets.astype(np.int64),
            where=f"{path}, column {shown(roles.targets[0])}",
            fix="name a column that holds different values, with --target.",
            purpose=purpose,
        )
    names = () if answers.task == "regress" else labels
    classes.check_given(names, targets, given[rows], where=str(path), purpose=purpose)
    return labels, targets
