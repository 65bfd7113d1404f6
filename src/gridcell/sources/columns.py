"""Columns that mean the same in every table: the data's own split, groups, folds, and what is
learned.

Tables of files, texts, tokens and series each find their own columns; what these say of the rows is
read, checked and told here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import ConfigError, SourceError, did_you_mean
from gridcell.samples import SPLIT_NAMES, UNASSIGNED
from gridcell.sources import classes
from gridcell.sources.answers import Answers
from gridcell.sources.cells import Cells, is_missing
from gridcell.sources.wording import SPLIT_WORDS, counted, fix_unknown_column, listed, shown

SPLIT_COLUMNS = ("split", "set", "subset")


def check_columns(
    cells: Cells,
    asked: Sequence[tuple[str, str | None]],
    *,
    fix: str = "name a different column for each.",
) -> None:
    """Refuse names of columns that the table has not, or that are named for two uses.

    asked   the option of each name, and the name; None where it was not given
    """
    for option, name in asked:
        if name is not None and name not in cells.columns:
            raise ConfigError(
                f"{cells.path} has no column {shown(name)} (for {option})."
                f"{did_you_mean(name, cells.names)} Its columns: {listed(cells.names)}.",
                fix=fix_unknown_column(name, option, cells.names),
                stage="columns",
            )
    taken = [name for _, name in asked if name is not None]
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise ConfigError(f"column {listed(twice)} is named for two uses at once.", fix=fix)


def split_column(cells: Cells, taken: Sequence[str], *, is_used: bool) -> str | None:
    """Find the column of the data's own split; what it holds is judged only where it is used."""
    for name in cells.names:
        if name.lower() not in SPLIT_COLUMNS or name in taken:
            continue
        column = [cell.lower() for cell in cells.columns[name]]
        strange = [row for row, cell in enumerate(column) if cell not in SPLIT_WORDS]
        if not strange or (not is_used and len(strange) < len(column)):
            return name
        if len(strange) < len(column):
            raise SourceError(
                f"{cells.path}: column {shown(name)} holds train, val or test, except in "
                f"{cells.rows(strange)} ({cells.counting}), for instance "
                f"{shown(cells.columns[name][strange[0]])!r}.",
                fix="write train, val or test in each row, or give the column another name.",
            )
    return None


def given_split(
    cells: Cells, split: str | None, *, folds: str | None
) -> tuple[NDArray[np.int8], list[str]]:
    """Return the side that each row names, or none where folds say who is tested, and a note."""
    if split is None or folds is not None:
        return np.full(len(cells), UNASSIGNED, np.int8), told_ignored(split)
    given = np.array([SPLIT_WORDS[cell.lower()] for cell in cells.columns[split]], np.int8)
    return given, told_split(split, given)


def told_ignored(split: str | None) -> list[str]:
    """A note on a split column beside folds; nothing where there is none."""
    return [f"Column {shown(split)} is ignored: the folds say who is tested."] if split else []


def told_split(split: str, given: NDArray[np.int8]) -> list[str]:
    """A note on the data's own split, from a column of it."""
    counts = ", ".join(f"{SPLIT_NAMES[s]} {(given == s).sum():,}" for s in np.unique(given))
    return [f"The data's own split is kept, from column {shown(split)}: {counts}."]


def named_parts(
    cells: Cells, name: str | None, noun: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return the number of each row's group or fold, and their names."""
    if name is None:
        return None, ()
    column = cells.columns[name]
    bad = [row for row, cell in enumerate(column) if is_missing(cell)]
    if bad:
        raise SourceError(
            f"{cells.path}: column {shown(name)} names no {noun} in {cells.rows(bad)} "
            f"({cells.counting}).",
            fix="fill them in, or remove those rows.",
        )
    names, numbers = classes.encode(column)
    return numbers, names


def kept_parts(
    numbers: NDArray[np.int64] | None, names: tuple[str, ...], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return numbers and names of these rows, without the names that none of them has."""
    if numbers is None:
        return None, ()
    used, numbers = np.unique(numbers[rows], return_inverse=True)
    return numbers.astype(np.int64), tuple(names[number] for number in used)


def told_parts(
    group: str | None, groups: Sequence[str], folds: str | None, fold_names: Sequence[str]
) -> list[str]:
    """Notes on the columns of groups and folds, where there are any."""
    told = []
    if group is not None:
        told.append(
            f"Column {shown(group)} gives {counted(len(groups), 'group')}, each kept on one side "
            "of the split."
        )
    if folds is not None:
        told.append(
            f"Column {shown(folds)} gives {counted(len(fold_names), 'fold')}, each in turn the "
            f"test part: {listed(fold_names)}."
        )
    return told


def settled_answers(
    path: Path,
    target: str,
    answers: Answers,
    given: NDArray[np.int8],
    rows: Sequence[int] | NDArray[np.int64],
    *,
    purpose: classes.Purpose,
) -> tuple[tuple[str, ...], NDArray[np.generic]]:
    """Return labels and targets of these rows, checked to be something that can be used.

    target   the column that is learned, or the first of them
    """
    labels, targets = answers.labels, answers.targets[rows]
    if answers.task == "classify":
        labels, targets = classes.settle(
            labels,
            targets.astype(np.int64),
            where=f"{path}, column {shown(target)}",
            fix="name a column that holds different values, with --target.",
            purpose=purpose,
        )
    names = () if answers.task == "regress" else labels
    classes.check_given(names, targets, given[rows], where=str(path), purpose=purpose)
    return labels, targets
