"""Series in a table: a row a step (long), or a row a series (wide).

A long table has a column that says which series a row belongs to, and perhaps one that sorts them;
a wide one has numbered columns, one for each step. Which column is what is found by name and by
what it holds, wherever only one can be meant, and each finding is said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import UNASSIGNED, Samples, SeriesFacts, Tags
from gridcell.sources import classes
from gridcell.sources.answers import (
    CLASSES_OF_NUMBERS,
    COMMA_NUMBER,
    FIX_CUT,
    FIX_MISSING,
    NOT_FINITE,
    NUMBER,
    WHOLE,
    Answers,
    may_name_none,
    read_answers,
)
from gridcell.sources.cells import Cells, is_missing, missing_in
from gridcell.sources.columns import (
    settled_answers,
    told_ignored,
    told_parts,
    told_split,
)
from gridcell.sources.dialect import is_nothing, looks_like_number
from gridcell.sources.frame import Coded, Frame, open_frame, read_head
from gridcell.sources.scan import Progress
from gridcell.sources.series_roles import Roles, roles_of, span
from gridcell.sources.series_steps import (
    Steps,
    check_filled,
    digests_of,
    length_words,
    readable,
    steps_of,
    without_wild,
)
from gridcell.sources.wording import SPLIT_WORDS, counted, listed, shown, with_count

LARGE_BYTES = 2**23
TAGGED_SHARE = 0.5
"""Share of the series in which a column of classes changes, for it to be one for each step."""


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
    """Read a long or a wide table of series.

    Long: what is learned is one value for each series, or, where it changes within them, a class
    for each step (task tags). Split, group and folds have one value for each series.

    Raises   SourceError for cells and rows that cannot be used, by row; for missing numbers unless
             `data.missing` says what becomes of them. ConfigError where a column that was named
             isn't there, or more than one could be meant
    """
    del cache, progress  # one file, which is read whole
    with open_frame(path, data) as frame:
        roles = roles_of(frame, data, group, folds)
        if roles.form == "wide":
            return _wide(frame, roles, data, purpose=purpose)
        return _long(frame, roles, data, purpose=purpose)


def columns_of(path: Path, data: DataConfig) -> tuple[str, ...]:
    """Return the names of the columns of a table of series."""
    return tuple(filter(None, read_head(path, data).names))


def cannot_be_texts(path: Path, data: DataConfig) -> bool:
    """Say whether a large table can hold no texts: besides numbers, a few words that come again.

    It spares such a table being read twice.
    """
    if path.stat().st_size < LARGE_BYTES:
        return False
    head = read_head(path, data)
    columns = [head.column(name) for name in filter(None, head.names)]
    # Numbers and times begin with a digit, or a sign.
    words = [set(c) for c in columns if not all(cell[:1] in "+-.0123456789" for cell in c)]
    return len(words) < len(columns) and all(
        len(found) <= CLASSES_OF_NUMBERS and not any(" " in cell for cell in found)
        for found in words
    )


def has_numbers(path: Path, data: DataConfig) -> bool:
    """Say whether the first rows of a table hold a column of numbers."""
    head = read_head(path, data)
    for name in filter(None, head.names):
        filled = [cell for cell in head.column(name) if not is_nothing(cell)]
        if 2 * sum(map(looks_like_number, filled)) > len(filled):
            return True
    return False


def _row_names(frame: Frame) -> tuple[str, ...]:
    return tuple(f"{frame.path.name}#{frame.first_row + row}" for row in range(len(frame)))


def _wide(frame: Frame, roles: Roles, data: DataConfig, *, purpose: classes.Purpose) -> Samples:
    if data.task == "tags":
        raise ConfigError(
            f"task tags needs a class for each step, and {frame.path.name} has a series in each "
            "row.",
            fix="write a row for each step, with a column that says which series it belongs to.",
        )
    rows, names, left_out = np.arange(len(frame)), _row_names(frame), list[str]()
    strange: dict[int, str] | None = {} if data.on_bad_file == "skip" else None
    values = frame.numbers(roles.inputs, strange=strange)
    if strange is not None:
        left, left_out = readable(frame, values, roles.inputs, data, strange, rows, names)
        rows = np.flatnonzero(left)
        values[~left] = 0.0  # of no series that is read
    values, missing = without_wild(frame, values, roles.inputs, data, is_wide=True)
    answers = _answers_of(frame, roles, data, rows, purpose=purpose)
    steps = len(roles.inputs)
    starts = np.arange(len(rows) + 1, dtype=np.int64) * steps
    values = values if len(rows) == len(values) else values[rows]
    facts = SeriesFacts(values.reshape(-1, 1), starts, roles.inputs, form="wide")
    first = (
        f"{counted(len(rows), 'series', 'series')} of {counted(steps, 'step')} from "
        f"{frame.path.name}, one in each row: columns {span(roles.inputs)}."
    )
    return _samples(
        frame,
        roles,
        answers,
        rows,
        facts,
        tuple(names[row] for row in rows.tolist()),
        purpose=purpose,
        notes=(first, *frame.notes, *roles.notes, *missing, *left_out),
    )


def _long(frame: Frame, roles: Roles, data: DataConfig, *, purpose: classes.Purpose) -> Samples:
    alike = [roles.split, roles.group, roles.folds, *roles.targets]
    steps = steps_of(
        frame,
        data,
        inputs=roles.inputs,
        key=roles.id,
        time=roles.time,
        alike=[name for name in alike if name is not None],
    )
    firsts = steps.rows[steps.starts[:-1]]
    tags = None
    if _is_tagged(frame, roles, data, steps):
        answers, tags = _tags(frame, roles, steps, purpose=purpose)
    else:
        answers = _long_answers(frame, roles, data, firsts, purpose=purpose)
    facts = SeriesFacts(
        steps.values,
        steps.starts,
        roles.inputs,
        form="long",
        id_column=roles.id,
        time_column=roles.time,
        date_format=frame.date_format(roles.time),
    )
    order = f"sorted by column {shown(roles.time)}" if roles.time else "in the order of the rows"
    first = (
        f"{counted(len(firsts), 'series', 'series')} of {length_words(steps.starts)} from "
        f"{frame.path.name}: column {shown(str(roles.id))} says which, {order}; "
        f"numbers from {listed(roles.inputs)}."
    )
    return _samples(
        frame,
        roles,
        answers,
        firsts,
        facts,
        tuple(f"{frame.path.name}#{name}" for name in steps.names),
        tags=tags,
        steps=steps,
        purpose=purpose,
        notes=(first, *frame.notes, *roles.notes, *steps.notes),
    )


def _is_tagged(frame: Frame, roles: Roles, data: DataConfig, steps: Steps) -> bool:
    """Say whether there is a class for each step; refuse values that change where they must not."""
    if data.task == "tags":
        if len(roles.targets) > 1:
            raise ConfigError(
                f"task tags learns one column, but {len(roles.targets)} are named: "
                f"{listed(roles.targets)}.",
                fix="name one --target.",
            )
        return True
    found = frame.texts(roles.targets)
    for name in roles.targets:
        varying = steps.varying(found[name].codes)
        if not len(varying):
            continue
        longer = int((np.diff(steps.starts) > 1).sum())
        values = [cell for cell in found[name].values if not is_missing(cell)]
        are_classes = not all(NUMBER.fullmatch(cell) for cell in values) or (
            len(values) <= CLASSES_OF_NUMBERS and all(WHOLE.fullmatch(cell) for cell in values)
        )
        if (
            data.task == "auto"
            and len(roles.targets) == 1
            and are_classes
            and len(varying) >= TAGGED_SHARE * longer
        ):
            return True
        raise SourceError(
            f"{frame.path}: column {shown(name)} holds more than one value in "
            f"{steps.listed(varying)}.",
            fix="write one value in all rows of a series"
            + (", or pass --task tags to learn a class for each step." if are_classes else "."),
        )
    return False


def _tags(
    frame: Frame, roles: Roles, steps: Steps, *, purpose: classes.Purpose
) -> tuple[Answers, Tags]:
    """Read the class of each step."""
    name = roles.targets[0]
    found = frame.texts([name])[name]
    _check_answers(frame, name, found)
    cells = list(found.values)
    if all(WHOLE.fullmatch(cell) for cell in cells) and any("." in cell for cell in cells):
        cells = [str(int(float(cell))) for cell in cells]  # 1.0 and 1 are one class.
    labels, place = classes.encode(cells)
    numbers = place[found.codes][steps.rows]
    labels, numbers = classes.settle(
        labels,
        numbers,
        where=f"{frame.path}, column {shown(name)}",
        fix="name a column that holds different values, with --target.",
        purpose=purpose,
    )
    targets = np.zeros((len(steps.names), len(labels)), np.float32)
    targets[np.repeat(np.arange(len(steps.names)), np.diff(steps.starts)), numbers] = 1.0
    counts = np.bincount(numbers, minlength=len(labels))
    shares = listed(
        with_count(labels[i], int(counts[i])) for i in np.argsort(-counts, kind="stable")
    )
    note = (
        f"Column {shown(name)} gives each step one of {counted(len(labels), 'class', 'classes')} "
        f"(task tags): {shares}."
    )
    return Answers("tags", labels, targets, (note,)), Tags(numbers, steps.starts)


def _check_answers(
    frame: Frame, name: str, found: Coded, *, may_be_empty: bool = False, fix: str = FIX_MISSING
) -> None:
    bad = missing_in(found.values, may_be_empty=may_be_empty)
    if bad:
        rows = np.flatnonzero(np.isin(found.codes, bad))
        words = sorted({found.values[i] for i in bad} - {""})
        said = f", some written {listed(words)}" if words else ""
        raise SourceError(
            f"{frame.path}: column {shown(name)} has {counted(len(rows), 'missing cell')}{said}, "
            f"in {frame.rows(rows)} ({frame.counting}).",
            fix=fix,
        )


def _long_answers(
    frame: Frame,
    roles: Roles,
    data: DataConfig,
    firsts: NDArray[np.int64],
    *,
    purpose: classes.Purpose,
) -> Answers:
    """Read what each series is answered with, from its first row: all of its rows say the same."""
    for name, found in frame.texts(roles.targets).items():
        may_be_empty = may_name_none(
            found.values, data.task, roles.targets, is_padded=frame.is_padded
        )
        fix = FIX_CUT if data.task == "labels" and frame.is_padded else FIX_MISSING
        _check_answers(frame, name, found, may_be_empty=may_be_empty, fix=fix)
        strange = [
            i
            for i, cell in enumerate(found.values)
            if not (
                NUMBER.fullmatch(cell) or COMMA_NUMBER.fullmatch(cell) or NOT_FINITE.fullmatch(cell)
            )
        ]
        rows = np.flatnonzero(np.isin(found.codes, strange)) if strange else strange
        if data.task in ("auto", "regress") and 0 < 2 * len(rows) < len(frame):
            raise SourceError(
                f"{frame.path}: column {shown(name)} holds numbers, except in "
                f"{frame.cells_at(name, np.asarray(rows))}.",
                fix="mend those cells, or pass --task classify if its values are classes.",
            )
    return _answers_of(frame, roles, data, firsts, purpose=purpose)


def _answers_of(
    frame: Frame,
    roles: Roles,
    data: DataConfig,
    rows: NDArray[np.int64],
    *,
    purpose: classes.Purpose,
) -> Answers:
    """Read what these rows, each of which speaks for a series, are answered with."""
    cells = _answer_cells(frame, roles.targets, rows)
    if np.array_equal(rows, np.arange(len(frame))):
        return read_answers(cells, roles.targets, task=data.task, purpose=purpose)
    cells = replace(cells, first_row=1)
    try:
        return read_answers(cells, roles.targets, task=data.task, purpose=purpose)
    except SourceError as error:
        if not re.search(r"\brows? \d", error.message):
            raise
        # `read_answers` counts what it was given.
        raise SourceError(
            f"{error.message} Here the first series is row 1.", fix=error.fix
        ) from error


def _answer_cells(frame: Frame, names: Sequence[str], rows: NDArray[np.int64]) -> Cells:
    """Return the cells of what is learned, numbers with a decimal point."""
    found = frame.cells(names, rows)
    cells = found.columns
    for name in names:
        column = frame.columns[name]
        if column.holds == "numbers" and column.mark == ",":
            cells[name] = [cell.replace(".", "").replace(",", ".") for cell in cells[name]]
        elif column.holds == "numbers" and column.mark == "." and column.example:
            cells[name] = [cell.replace(",", "") for cell in cells[name]]
    return found


def _samples(
    frame: Frame,
    roles: Roles,
    answers: Answers,
    rows: NDArray[np.int64],
    facts: SeriesFacts,
    paths: tuple[str, ...],
    *,
    purpose: classes.Purpose,
    notes: tuple[str, ...],
    tags: Tags | None = None,
    steps: Steps | None = None,
) -> Samples:
    """Bring together what is known; `rows` are those that speak for the items."""
    path = frame.path
    given, split_notes = _given(frame, roles, rows, steps)
    labels, targets = settled_answers(
        path, roles.targets[0], answers, given, np.arange(len(rows)), purpose=purpose
    )
    groups, group_names = _named(frame, roles.group, "group", rows, steps)
    fold_of, fold_names = _named(frame, roles.folds, "fold", rows, steps)
    said = [*notes, *answers.told(), *split_notes]
    said += told_parts(roles.group, group_names, roles.folds, fold_names)
    return Samples(
        task=answers.task,
        paths=paths,
        root=os.path.abspath(path.parent),
        labels=labels,
        targets=targets,
        digests=digests_of(facts.values, facts.starts, None if tags is None else tags.numbers),
        facts=facts,
        given=given,
        groups=groups,
        group_names=group_names,
        folds=fold_of,
        fold_names=fold_names,
        tags=tags,
        has_label_columns=answers.has_label_columns,
        target_columns=roles.targets,
        notes=tuple(said),
    )


def _given(
    frame: Frame, roles: Roles, rows: NDArray[np.int64], steps: Steps | None
) -> tuple[NDArray[np.int8], list[str]]:
    split = roles.split
    if split is None or roles.folds is not None:
        return np.full(len(rows), UNASSIGNED, np.int8), told_ignored(split)
    found = frame.texts([split])[split]
    _check_constant(frame, split, found, steps)
    sides = np.array([SPLIT_WORDS[cell.lower()] for cell in found.values], np.int8)
    given = sides[found.codes[rows]]
    return given, told_split(split, given)


def _named(
    frame: Frame, name: str | None, noun: str, rows: NDArray[np.int64], steps: Steps | None
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return the number of each item's group or fold, and their names."""
    if name is None:
        return None, ()
    found = frame.texts([name])[name]
    check_filled(frame, name, found, noun)
    _check_constant(frame, name, found, steps)
    names, numbers = classes.encode([found.values[code] for code in found.codes[rows].tolist()])
    return numbers, names


def _check_constant(frame: Frame, name: str, found: Coded, steps: Steps | None) -> None:
    if steps is None:
        return
    varying = steps.varying(found.codes)
    if len(varying):
        raise SourceError(
            f"{frame.path}: column {shown(name)} holds more than one value in "
            f"{steps.listed(varying)}.",
            fix="write one value in all rows of a series.",
        )
