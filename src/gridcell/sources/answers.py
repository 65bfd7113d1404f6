"""The columns to learn become targets: one class of many, several labels, or numbers.

The task is the one that was asked for, or follows from the cells by rules that are said aloud:

    one column of text, or of whole numbers with at most 20 different ones   -> classify
    several columns of 0 and 1                                              -> labels
    any other columns of numbers                                            -> regress
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridcell.config import Decimal, Task
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import ItemTask
from gridcell.sources import classes
from gridcell.sources.cells import Cells, is_missing, missing_in
from gridcell.sources.column_types import THOUSANDS_COMMA, THOUSANDS_POINT, Mark
from gridcell.sources.wording import counted, listed, shown, with_count

CLASSES_OF_NUMBERS = 20
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
COMMA_NUMBER = re.compile(r"[+-]?\d+(,\d+)?")
MARKED: dict[Mark, re.Pattern[str]] = {
    ".": re.compile(rf"{NUMBER.pattern}|{THOUSANDS_COMMA}"),
    ",": re.compile(rf"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?|{THOUSANDS_POINT}"),
}
"""Numbers by the mark before their decimals, thousands marked by the other one or not at all."""
ASKED: dict[Decimal, Mark] = {"comma": ",", "point": "."}
WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
NOT_FINITE = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)
BINARY = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
FIX_MISSING = "fill them in, or remove those rows."
FIX_CUT = "fill them in, or remove those rows; some are cut short, so an empty cell may be cut too."
LABEL_SEPARATORS = {";": "semicolon", "|": "bar", ",": "comma"}


@dataclass(frozen=True)
class Answers:
    """What the items should be answered with, as `Samples` holds it."""

    task: ItemTask
    labels: tuple[str, ...]
    targets: NDArray[np.generic]
    notes: tuple[str, ...]
    has_label_columns: bool = False
    classes_of: str = ""
    """Column of classes whose items `told` counts; none where `notes` say all."""

    def told(self, rows: NDArray[np.int64] | None = None) -> tuple[str, ...]:
        """What was understood, with the items of each class among these rows; of all if left out.

        >>> found = Answers("classify", ("a", "b"), np.array([0, 1, 1]), (), classes_of="kind")
        >>> found.told(), found.told(np.array([0, 1]))
        (('Column kind gives 2 classes: b 2, a 1.',), ('Column kind gives 2 classes: a 1, b 1.',))
        """
        if not self.classes_of:
            return self.notes
        found = self.targets if rows is None else self.targets[rows]
        shares = Counter(self.labels[number] for number in found.tolist()).most_common()
        counts = listed(with_count(label, count) for label, count in shares)
        gives = counted(len(shares), "class", "classes")
        return f"Column {shown(self.classes_of)} gives {gives}: {counts}.", *self.notes


def read_answers(
    cells: Cells,
    names: Sequence[str],
    *,
    task: Task,
    decimal: Decimal = "auto",
    is_decimal_due: bool = True,
    purpose: classes.Purpose = "train",
) -> Answers:
    """Turn the named columns into targets.

    An empty cell of a column of labels (`a;b`) names none of them; see `may_name_none`.

    decimal          the mark before the decimals of numbers to learn; found by itself where it is
                     clear
    is_decimal_due   whether that mark was said of these columns, so that they have to have it

    Raises   SourceError for missing cells, mixed or non-finite numbers, with their rows; to train,
             also where there is nothing to tell apart; ConfigError where the task does not fit the
             columns, and for a decimal mark where no numbers are learned
    """
    for name in names:
        may_be_empty = may_name_none(cells.columns[name], task, names, is_padded=cells.is_padded)
        _check_missing(cells, name, task, may_be_empty=may_be_empty)
    chosen = _task(cells, names, decimal) if task == "auto" else task
    if not is_decimal_due and not all(_mark(cells.columns[name], decimal) for name in names):
        decimal = "auto"
    if decimal != "auto" and chosen != "regress" and is_decimal_due:
        learned = "classes" if chosen == "classify" else "labels"
        raise ConfigError(
            f"decimal has no effect: {listed(names)} {'give' if len(names) > 1 else 'gives'} "
            f"{learned}, and no numbers are learned.",
            fix="leave --decimal out, or pass --task regress.",
        )
    if chosen == "classify":
        return _classify(cells, names, is_asked=task != "auto", purpose=purpose)
    if chosen == "labels":
        return _labels(cells, names, purpose=purpose)
    return _regress(cells, names, decimal=decimal, purpose=purpose)


def may_name_none(
    column: Sequence[str], task: Task, names: Sequence[str], *, is_padded: bool
) -> bool:
    """Say whether an empty cell of a column means none of several labels, and not a missing answer.

    Where labels have columns of 0 and 1 it is missing; where rows were filled up, it may be cut.
    """
    if task != "labels" or len(names) > 1 or is_padded:
        return False
    filled = [cell for cell in column if cell]
    return not filled or not _is_binary(filled)


def could_be(column: Sequence[str]) -> str:
    """Say in a few words what a column could be learned as, for a list of columns."""
    filled = [cell for cell in column if not is_missing(cell)]
    different = len(set(filled))
    if not filled:
        return "empty"
    if _are_numbers(filled):
        whole = all(WHOLE.fullmatch(cell) for cell in filled)
        as_class = whole and different <= CLASSES_OF_NUMBERS
        return f"{different:,} different numbers: {'classes or numbers' if as_class else 'numbers'}"
    if different == len(filled) and different > 1:
        return "text, every value different"
    return f"text, {counted(different, 'different value')}: classes"


def _are_numbers(column: Sequence[str]) -> bool:
    return _mark(column, "auto") is not None


def _mark(column: Sequence[str], decimal: Decimal) -> Mark | None:
    """The decimal mark by which all cells are numbers, the asked one or any; ? where either may be.

    >>> _mark(["1,5", "2"], "auto"), _mark(["1,234"], "auto"), _mark(["1,234"], "comma")
    (',', '?', ',')
    >>> _mark(["1,234.5"], "auto"), _mark(["1.5"], "comma"), _mark(["a"], "auto")
    ('.', None, None)
    """
    finite = [cell for cell in column if not NOT_FINITE.fullmatch(cell)]
    fitting = [mark for mark, wanted in MARKED.items() if all(map(wanted.fullmatch, finite))]
    if decimal != "auto":
        return ASKED[decimal] if ASKED[decimal] in fitting else None
    if len(fitting) > 1 and any("," in cell for cell in finite):
        return "?"
    return fitting[0] if fitting else None


def _is_binary(column: Sequence[str]) -> bool:
    return all(cell.lower() in BINARY for cell in column)


def _check_missing(cells: Cells, name: str, task: Task, *, may_be_empty: bool) -> None:
    column = cells.columns[name]
    bad = missing_in(column, may_be_empty=may_be_empty)
    if not bad:
        return
    words = sorted({column[row] for row in bad} - {""})
    said = f", some written {listed(words)}" if words else ""
    fix = FIX_CUT if task == "labels" and cells.is_padded else FIX_MISSING
    if task == "auto" and not words and _several_labels(name, [c for c in column if c]):
        fix = "fill them in, or pass --task labels, of which an empty cell names none."
    raise SourceError(
        f"{cells.path}: column {shown(name)} has {counted(len(bad), 'missing cell')}{said}, in "
        f"{cells.rows(bad)} ({cells.counting}).",
        fix=fix,
    )


def _task(cells: Cells, names: Sequence[str], decimal: Decimal) -> ItemTask:
    """Find the task from the cells.

    Refuse a column that is almost, but not all, numbers, and one that may hold lists of them.
    """
    for name in names:
        column = cells.columns[name]
        if _are_numbers(column) or (len(names) > 1 and _is_binary(column)):
            continue
        strange = _strange(column, "auto")
        if 2 * len(strange) < len(column):
            raise SourceError(
                f"{cells.path}: column {shown(name)} holds numbers, except in "
                f"{_cells_at(cells, name, strange)}.",
                fix="mend those cells, or pass --task classify if its values are classes.",
            )
        if len(names) > 1:
            raise ConfigError(
                f"the columns {listed(names)} cannot be learned together: "
                f"{shown(name)} holds text.",
                fix="name one column of text, or several columns of numbers.",
            )
        return "classify"
    if len(names) > 1:
        return "labels" if all(_is_binary(cells.columns[name]) for name in names) else "regress"
    column = cells.columns[names[0]]
    parted = [cell for cell in column if cell.count(",") > 1]
    if parted and decimal == "auto" and not any("." in cell for cell in column):
        raise SourceError(
            f"{cells.path}: column {shown(names[0])} is ambiguous: {shown(parted[0])} may be one "
            f"number or {parted[0].count(',') + 1} labels.",
            fix="pass --task regress, or --task labels.",
        )
    whole = all(WHOLE.fullmatch(cell) for cell in column)
    return "classify" if whole and len(set(column)) <= CLASSES_OF_NUMBERS else "regress"


def _cells_at(cells: Cells, name: str, rows: Sequence[int]) -> str:
    """Name the cells of a column at some rows, with what they hold."""
    column = cells.columns[name]
    some = [f"{cells.first_row + row} ({shown(column[row])!r})" for row in rows]
    word = "row" if len(rows) == 1 else "rows"
    return f"{word} {', '.join(some[:20])}" + (
        f" and {len(rows) - 20:,} more" if len(rows) > 20 else ""
    )


def _classify(
    cells: Cells, names: Sequence[str], *, is_asked: bool, purpose: classes.Purpose
) -> Answers:
    if len(names) > 1:
        raise ConfigError(
            f"task classify learns one column, but {len(names)} are named: {listed(names)}.",
            fix="name one of them, or pass --task labels or --task regress.",
        )
    name = names[0]
    column = cells.columns[name]
    is_number = all(WHOLE.fullmatch(cell) for cell in column)
    if is_number and any("." in cell for cell in column):
        column = [str(int(float(cell))) for cell in column]  # 1.0 and 1 are one class.
    labels, targets = classes.encode(column)
    several = None if is_asked else _several_labels(name, column)
    if purpose == "train" and len(labels) == len(column) > CLASSES_OF_NUMBERS:
        raise SourceError(
            f"{cells.path}: every value of column {shown(name)} is different, so there is no class "
            "to learn.",
            fix="pass --task labels if its cells hold several labels each, or name another column."
            if several
            else "name another column, or pass --task regress if it holds numbers.",
        )
    notes = [several] if several else []
    if is_number and not is_asked:
        number = f"Column {shown(name)} holds whole numbers: pass --task regress to learn them so."
        notes.append(number)
    return Answers("classify", labels, targets, tuple(notes), classes_of=name)


def _several_labels(name: str, column: Sequence[str]) -> str | None:
    """Say that cells seem to hold several labels each, as `a;b`; None where they do not.

    Most of them then hold one mark, and most of what it separates stands beside different things;
    or all of what it separates stands in cells of its own too.
    """
    column = [classes.composed(cell) for cell in column]
    marks = _separators(column)
    if len(marks) != 1:
        return None
    marked = [cell for cell in column if marks[0] in cell]
    is_most = 2 * len(marked) > len(column)
    parts = set().union(*(_parts(cell, marks[0]) for cell in marked))
    if not is_most and not parts <= set(column):
        return None
    stands_in = Counter(part for cell in set(column) for part in _parts(cell, marks[0]))
    if 2 * sum(count > 1 for count in stands_in.values()) <= len(stands_in):
        return None
    which = "Most" if is_most else f"{len(marked):,} of {len(column):,}"
    verb = "holds" if len(marked) == 1 else "hold"
    return (
        f"{which} cells of column {shown(name)} {verb} a {LABEL_SEPARATORS[marks[0]]}, as "
        f"{shown(marked[0])!r} does, and each is taken as one class. If it separates labels, of "
        f"which there would be {len(stands_in):,}, pass --task labels."
    )


def _separators(column: Sequence[str]) -> list[str]:
    """The marks in these cells that could separate labels."""
    return [mark for mark in LABEL_SEPARATORS if any(mark in cell for cell in column)]


def _parts(cell: str, mark: str) -> set[str]:
    """The labels of a cell."""
    return {classes.composed(part.strip()) for part in cell.split(mark)} - {""}


def _labels(cells: Cells, names: Sequence[str], *, purpose: classes.Purpose) -> Answers:
    columns = [cells.columns[name] for name in names]
    if all(map(_is_binary, columns)):
        truths = [[BINARY[cell.lower()] for cell in column] for column in columns]
        targets = np.array(truths, np.float32).T.copy()
        note = f"Columns of 0 and 1 give {counted(len(names), 'label')}: {listed(names)}."
        return Answers("labels", tuple(names), targets, (note,), has_label_columns=True)
    if len(names) > 1:
        wrong = next(name for name in names if not _is_binary(cells.columns[name]))
        column = cells.columns[wrong]
        rows = [row for row, cell in enumerate(column) if cell.lower() not in BINARY]
        raise ConfigError(
            f"task labels needs 0 or 1 in each of several columns, but {shown(wrong)} holds "
            f"something else in {_cells_at(cells, wrong, rows)}.",
            fix="write 0 and 1, or name one column that holds the labels as text.",
        )
    column = columns[0]
    marks = _separators(column)
    if len(marks) > 1:
        raise SourceError(
            f"{cells.path}: column {shown(names[0])} holds "
            f"{listed(LABEL_SEPARATORS[mark] for mark in marks)}: "
            "it isn't clear which of them separates labels.",
            fix="separate labels by one mark only.",
        )
    parts = [
        _parts(cell, marks[0]) if marks else {classes.composed(cell)} - {""} for cell in column
    ]
    bare = [row for row, part in enumerate(parts) if column[row] and not part]
    if bare:
        raise SourceError(
            f"{cells.path}: column {shown(names[0])} names no label in "
            f"{_cells_at(cells, names[0], bare)}.",
            fix="name one, or leave the cell empty where there is none.",
        )
    labels = tuple(sorted(set().union(*parts)))
    if not labels and purpose == "train":
        raise SourceError(
            f"{cells.path}: every cell of column {shown(names[0])} is empty: there is no label to "
            "learn.",
            fix="name another column.",
        )
    place = {label: number for number, label in enumerate(labels)}
    targets = np.zeros((len(parts), len(labels)), np.float32)
    for row, part in enumerate(parts):
        targets[row, [place[label] for label in part]] = 1.0
    how = f"separated by {LABEL_SEPARATORS[marks[0]]}" if marks else "one in each cell"
    note = (
        f"Column {shown(names[0])} gives {counted(len(labels), 'label')}, {how}: {listed(labels)}."
    )
    if not labels:
        note = f"Every cell of column {shown(names[0])} is empty: no item has any label."
    elif empty := column.count(""):
        are = "is" if empty == 1 else "are"
        note += f" {empty:,} of its {len(column):,} cells {are} empty: none of the labels."
    return Answers("labels", labels, targets, (note,))


def _strange(column: Sequence[str], decimal: Decimal) -> list[int]:
    """The rows that hold no number with the asked mark, or with the one that fits the most."""
    marks = [ASKED[decimal]] if decimal != "auto" else [*MARKED]
    each = [
        [
            row
            for row, cell in enumerate(column)
            if not (MARKED[mark].fullmatch(cell) or NOT_FINITE.fullmatch(cell))
        ]
        for mark in marks
    ]
    return min(each, key=len)


def _regress(
    cells: Cells, names: Sequence[str], *, decimal: Decimal, purpose: classes.Purpose
) -> Answers:
    notes = [f"Numbers to learn: {listed(names)}."]
    columns = []
    for name in names:
        values, note = _numbers(cells, name, decimal)
        if purpose == "train" and values.min() == values.max():
            raise SourceError(
                f"{cells.path}: every value of column {shown(name)} is {values[0]:g}: there is "
                "nothing to learn.",
                fix="name another column.",
            )
        columns.append(values)
        notes += [note] if note else []
    targets = np.stack(columns, axis=1)
    return Answers("regress", tuple(names), targets, tuple(notes), has_label_columns=True)


def _numbers(cells: Cells, name: str, decimal: Decimal) -> tuple[NDArray[np.float64], str | None]:
    """Read a column of numbers, with the decimal mark that was asked for or is the only one."""
    column, note = cells.columns[name], None
    mark = _mark(column, decimal)
    commas = [cell for cell in column if "," in cell]
    if mark == "?":
        raise SourceError(
            f"{cells.path}: column {shown(name)} is ambiguous: {shown(commas[0])} may be "
            f"{commas[0].replace(',', '')} or {commas[0].replace(',', '.')}.",
            fix="say which mark stands before the decimals: --decimal comma or point.",
        )
    strange = [] if mark else _strange(column, decimal)
    if strange and decimal != "auto" and _are_numbers(column):
        other = "point" if decimal == "comma" else "comma"
        raise SourceError(
            f"{cells.path}: --decimal {decimal} does not fit column {shown(name)}: a decimal "
            f"{other} stands in {_cells_at(cells, name, strange)}.",
            fix="leave --decimal out.",
        )
    if strange:
        raise SourceError(
            f"{cells.path}: column {shown(name)} holds no number in "
            f"{_cells_at(cells, name, strange)}.",
            fix="mend those cells, or pass --task classify if its values are classes.",
        )
    marked = [cell for cell in column if "," in cell or (mark == "," and "." in cell)]
    if marked:
        thousands = "," if mark == "." else "."
        column = [cell.replace(thousands, "").replace(",", ".") for cell in column]
        example = f"{marked[0]} is {marked[0].replace(thousands, '').replace(',', '.')}"
        note = f"Column {shown(name)} is read with a decimal comma: {example}."
        if mark == ".":
            note = f"Commas in {shown(name)} are marks for thousands: {example}."
    values = np.array([float(cell) for cell in column], np.float64)
    wild = np.flatnonzero(~np.isfinite(values)).tolist()
    if wild:
        raise SourceError(
            f"{cells.path}: column {shown(name)} holds numbers that are not finite, in "
            f"{_cells_at(cells, name, wild)}.",
            fix="mend those cells, or remove the rows.",
        )
    return values, note
