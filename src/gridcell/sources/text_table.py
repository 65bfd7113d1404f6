"""Tables of texts: one row a text, with what to learn in other columns.

The column of texts is found by what it holds: cells that are mostly different, of several words.
Several tables in one folder may be its split: then their names say train, dev or valid, and test.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, GridcellError, SourceError
from gridcell.samples import SPLIT_NAMES, UNASSIGNED, Samples, TextFacts
from gridcell.sources import classes, kinds
from gridcell.sources.answers import NUMBER, could_be, read_answers
from gridcell.sources.cells import Cells, read_cells
from gridcell.sources.characters import clean, codes_of
from gridcell.sources.columns import (
    check_columns,
    given_split,
    kept_parts,
    named_parts,
    settled_answers,
    split_column,
    told_parts,
)
from gridcell.sources.table import Roles, text_files_named
from gridcell.sources.wording import counted, itemised, listed, shown

PROBED_ROWS = 1000
PATHS_PROBED = 20
LEAST_WORDS = 2
"""Words of letters in the usual cell of a column of texts."""
LEAST_DIFFERENT = 0.5
TEXT_NAMES = frozenset(
    {"text", "texts", "sentence", "message", "review", "comment", "question", "tweet", "sms"}
    | {"document", "body", "content", "utterance"}
)
"""Names that a column of texts has; a word or two in its cells are then enough."""
Part = tuple[Path, int]
"""A table and the side of the split that its name says, or UNASSIGNED."""


def read(
    path: Path,
    parts: Sequence[Part],
    data: DataConfig,
    *,
    group: str | None = None,
    folds: str | None = None,
    purpose: classes.Purpose = "train",
) -> Samples:
    """Read one table of texts, or several that are the sides of one split.

    path    what the user named: the table, or the folder that they lie in

    Raises   SourceError for cells or rows that cannot be used, with their row numbers; ConfigError
             where a column that was named isn't there, or more than one could be meant
    """
    _refuse_settings(data)
    tables = [open_table(file, data) for file, _ in parts]
    first = tables[0]
    for cells in tables[1:]:
        lacking = [name for name in first.names if name not in cells.columns]
        if lacking:
            raise SourceError(
                f"{cells.path} has no column {shown(lacking[0])}, which {first.path.name} has.",
                fix="give the tables of one folder the same columns.",
            )
    roles = _roles(first, data, group, folds)
    if _names_files(first, roles.path):
        raise text_files_named(first.path, roles.path)
    texts: list[str] = []
    kept: list[int] = []
    names: list[str] = []
    empty: list[str] = []
    for cells in tables:
        found = [clean(cell) for cell in cells.columns[roles.path]]
        bad = [row for row, text in enumerate(found) if not text]
        if bad and data.on_bad_file == "stop":
            raise SourceError(
                f"{cells.path}: column {shown(roles.path)} holds no text in {cells.rows(bad)} "
                f"({cells.counting}).",
                fix="remove those rows, or pass --on-bad-file skip to go on without them.",
            )
        if bad:
            empty.append(f"{cells.path.name}, {cells.rows(bad)}")
        kept += [len(texts) + row for row, text in enumerate(found) if text]
        names += [f"{cells.path.name}#{cells.first_row + row}" for row in range(len(found))]
        texts += found
        if len(tables) > 1:  # a fault is named by its row in its own table
            read_answers(
                cells, roles.targets, task=data.task, decimal=data.decimal, purpose="score"
            )
    if not kept:
        raise SourceError(
            f"{path}: column {shown(roles.path)} holds no text at all.",
            fix="name another column with --text-column.",
        )

    whole = _joined(path, tables)
    answers = read_answers(
        whole, roles.targets, task=data.task, decimal=data.decimal, purpose=purpose
    )
    given, split_notes = _sides(whole, roles, tables, parts)
    rows = np.array(kept, np.int64)
    labels, targets = settled_answers(path, roles.targets[0], answers, given, rows, purpose=purpose)
    groups, group_names = kept_parts(*named_parts(whole, roles.group, "group"), rows)
    fold_of, fold_names = kept_parts(*named_parts(whole, roles.folds, "fold"), rows)

    files = listed(cells.path.name for cells in tables)
    notes = [
        f"{counted(len(rows), 'text')} from {files}, in column {shown(roles.path)}.",
        *(note for cells in tables for note in cells.notes),
        *answers.told(rows),
    ]
    notes += [*split_notes, *told_parts(roles.group, group_names, roles.folds, fold_names)]
    if empty:
        count = len(texts) - len(kept)
        notes.append(f"Left out, {counted(count, 'row')} without a text:{itemised(empty, most=6)}")
    lost = [label for label in answers.labels if label not in labels]
    if lost:
        notes.append(f"Left out, none of its texts is left: {listed(lost)}.")
    codes, starts = codes_of(texts[row] for row in kept)
    return Samples(
        task=answers.task,
        paths=tuple(names[row] for row in kept),
        root=os.path.abspath(first.path.parent),
        labels=labels,
        targets=targets,
        has_label_columns=answers.has_label_columns,
        target_columns=roles.targets,
        digests=digests_of(texts[row] for row in kept),
        facts=TextFacts(codes, starts, column=roles.path),
        given=given[rows],
        groups=groups,
        group_names=group_names,
        folds=fold_of,
        fold_names=fold_names,
        notes=tuple(notes),
    )


def open_table(path: Path, data: DataConfig, *, most: int | None = None) -> Cells:
    """Read the cells of a table as the settings say, or those of its first rows."""
    return read_cells(
        path, encoding=data.encoding, delimiter=data.delimiter, header=data.header, most=most
    )


def texts_in(
    path: Path,
    column: str | None,
    data: DataConfig,
    *,
    has_empty: bool = False,
    is_column_needed: bool = False,
) -> list[tuple[str, str]]:
    """Return the name and the cleaned text of every row of a table, whatever else it holds.

    column             the one to read where the table has it; else the only one that can be meant
    data               how the table is written
    has_empty          whether a row may be without a text: it is then empty
    is_column_needed   whether the table must have the column, where one is named

    Raises   SourceError for a row without a text, where the column isn't clear, or where it names
             files of text
    """
    cells = open_table(path, data)
    if is_column_needed and column is not None and column not in cells.columns:
        raise SourceError(
            f"{path} has no column {shown(column)}. Its columns: {listed(cells.names)}.",
            fix="name the column of texts so.",
            stage="columns",
        )
    name = _column_to_answer(cells, column)
    if _names_files(cells, name):
        raise SourceError(
            f"{path}: column {shown(name)} names files of text, and of a table the texts in its "
            "cells are answered.",
            fix="name the files, or the folder that they lie in.",
        )
    found = [clean(cell) for cell in cells.columns[name]]
    bad = [row for row, text in enumerate(found) if not text]
    if bad and not has_empty:
        raise SourceError(
            f"{path}: column {shown(name)} holds no text in {cells.rows(bad)} ({cells.counting}).",
            fix="remove those rows.",
        )
    return [(f"{path}#{cells.first_row + row}", text) for row, text in enumerate(found)]


def _column_to_answer(cells: Cells, column: str | None) -> str:
    if column is not None and column in cells.columns:
        return column
    try:
        return text_column(cells, DataConfig(kind="texts"), [])
    except GridcellError as error:
        called = "" if column is None else f", and call it {shown(column)} as in training"
        raise SourceError(
            error.message, fix=f"leave one column of texts in the table{called}."
        ) from error


def has_text_column(cells: Cells, data: DataConfig) -> bool:
    """Say whether a table is one of texts: it has a column of them, and none that names files."""
    if data.text_column is not None:
        return True
    probes = [_probe(column) for column in cells.columns.values()]
    named = (sum(kinds.medium_named(cell) is not None for cell in probe) for probe in probes)
    if any(2 * count > len(probe) > 0 for count, probe in zip(named, probes, strict=True)):
        return False
    return bool(_free_text(cells, [*data.target]))


def text_column(cells: Cells, data: DataConfig, taken: Sequence[str]) -> str:
    """Return the column of texts: the one that was named, or the only one that can be meant."""
    if data.text_column is not None:
        return data.text_column
    found = _free_text(cells, taken)
    if not found:  # asked for texts that are single words, such as names
        found = [
            name
            for name, column in cells.columns.items()
            if name not in taken
            and _is_different(_probe(column))
            and not _is_number(_probe(column))
        ]
    if not found:
        raise SourceError(
            f"{cells.path}: no column holds texts, mostly different and of several words. "
            f"Its columns: {listed(cells.names)}.",
            fix="name the column of texts with --text-column.",
            stage="columns",
        )
    if len(found) > 1:
        raise ConfigError(
            f"{cells.path} has more than one column that could hold the texts: {listed(found)}.",
            fix=f"name the one to read, for instance --text-column {shown(found[0])}.",
        )
    return found[0]


def _names_files(cells: Cells, column: str) -> bool:
    """Say whether most of the first cells of a column are paths of files that are there.

    What would be learned from them are names of files, and those often say the class.
    """
    some = [cell for cell in cells.columns[column][:PATHS_PROBED] if cell]
    # Of a text that no path can be, os.path says no; pathlib would raise.
    return 2 * sum(os.path.isfile(cells.path.parent / cell) for cell in some) > len(some)


def digests_of(texts: Iterable[str]) -> NDArray[np.generic]:
    """Return the digest (16 bytes) of each text."""
    every = [
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for text in texts
    ]
    return np.frombuffer(b"".join(every), "V16")


def _refuse_settings(data: DataConfig) -> None:
    for name in ("path_column", "id_column", "time_column", "inputs"):
        if getattr(data, name):
            raise ConfigError(
                f"{name} has no effect on a table of texts.",
                fix=f"leave --{name.replace('_', '-')} out.",
            )
    if data.task in ("events", "tags"):
        raise ConfigError(
            f"task {data.task} cannot be read from a table with one text a row.",
            fix="write one row a token, with columns sentence_id, position, token and tag."
            if data.task == "tags"
            else "leave --task out.",
        )


def _roles(cells: Cells, data: DataConfig, group: str | None, folds: str | None) -> Roles:
    """Find out which column is what, from what was asked for and from what they hold."""
    by_itself = None if folds == group else folds
    asked = [("text_column", data.text_column), ("group", group), ("folds", by_itself)]
    asked += [("target", name) for name in data.target]
    check_columns(cells, asked)
    taken = [name for _, name in asked if name is not None]
    split = split_column(cells, taken, is_used=folds is None)
    text = text_column(cells, data, [*taken, *([split] if split else [])])
    if data.target:
        return Roles(text, data.target, split, group, folds)
    rest = [name for name in cells.names if name not in (text, split, group, folds)]
    if len(rest) == 1:
        return Roles(text, (rest[0],), split, group, folds)
    if not rest:
        raise ConfigError(
            f"{cells.path} has no column to learn besides {listed(cells.names)}.",
            fix="add a column with the class or the number of each text.",
        )
    choices = [f"{shown(name)} ({could_be(cells.columns[name])})" for name in rest]
    raise ConfigError(
        f"{cells.path} has more than one column that could be learned:{itemised(choices, most=40)}",
        fix=f"name the column to learn, for instance --target {shown(rest[0])}.",
    )


def _joined(path: Path, tables: Sequence[Cells]) -> Cells:
    """All rows as one table; a single one as it is."""
    if len(tables) == 1:
        return tables[0]
    columns = {
        name: [cell for cells in tables for cell in cells.columns[name]] for name in tables[0].names
    }
    return Cells(path, columns, 1, ())


def _sides(
    whole: Cells, roles: Roles, tables: Sequence[Cells], parts: Sequence[Part]
) -> tuple[NDArray[np.int8], list[str]]:
    """Return the side of each row: the one that its table's name says, or its split column."""
    if all(side == UNASSIGNED for _, side in parts):
        return given_split(whole, roles.split, folds=roles.folds)
    if roles.folds is not None:
        return np.full(len(whole), UNASSIGNED, np.int8), [
            "The names of the tables are ignored: the folds say who is tested."
        ]
    sides = [side for _, side in parts]
    given = np.repeat(np.array(sides, np.int8), [len(cells) for cells in tables])
    said = ", ".join(
        f"{SPLIT_NAMES[side]} {len(cells):,} ({shown(cells.path.name)})"
        for side, cells in zip(sides, tables, strict=True)
    )
    return given, [f"The data's own split is kept, from the names of the tables: {said}."]


Probe = Sequence[str]


def _probe(column: Sequence[str]) -> Probe:
    step = max(1, len(column) // PROBED_ROWS)
    return [cell for cell in column[::step] if cell]


def _is_different(probe: Probe) -> bool:
    return len(set(probe)) > LEAST_DIFFERENT * max(1, len(probe))


def _is_number(probe: Probe) -> bool:
    return 2 * sum(bool(NUMBER.fullmatch(cell)) for cell in probe) > len(probe)


def _free_text(cells: Cells, taken: Sequence[str]) -> list[str]:
    """The columns that hold texts."""
    found = []
    for name, column in cells.columns.items():
        probe = _probe(column)
        if name in taken or not probe or not _is_different(probe):
            continue
        words = [sum(any(map(str.isalpha, word)) for word in cell.split()) for cell in probe]
        least = 1 if name.lower() in TEXT_NAMES else LEAST_WORDS
        if np.median(words) >= least:
            found.append(name)
    return found
