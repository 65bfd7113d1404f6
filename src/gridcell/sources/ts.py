"""Files of the UCR and UEA archives of series (.ts): text, a series in each line.

    # remarks
    @classLabel true up down       or  @targetLabel true, for a number to predict
    @data
    0.1,0.2,?:1,2,3:up             dimensions between colons, ? for a missing number, the label last

X_TRAIN.ts and X_TEST.ts beside each other are one data set with its own split.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import TEST, TRAIN, UNASSIGNED, Samples, SeriesFacts
from gridcell.sources import classes, walk
from gridcell.sources.answers import NOT_FINITE, NUMBER, read_answers
from gridcell.sources.cells import Cells, is_missing
from gridcell.sources.characters import decode_bytes
from gridcell.sources.scan import Progress
from gridcell.sources.series_steps import (
    LISTED_COLUMNS,
    VALUE,
    MissingNumbersError,
    digests_of,
    length_words,
)
from gridcell.sources.wording import counted, itemised, listed, shown

EXTENSION = ".ts"
SIDES = {"_train.ts": TRAIN, "_test.ts": TEST}
LINES_LISTED = 20


@dataclass(frozen=True)
class _File:
    """What one file holds."""

    path: Path
    values: NDArray[np.float32]
    starts: NDArray[np.int64]
    labels: tuple[str, ...]
    """[N] the label of each line, as it stands there; empty where there are none."""
    lines: tuple[int, ...]
    """[N] the number of each line."""
    is_number: bool
    """Whether the label is a number to predict."""


def is_named(name: str) -> bool:
    """Say whether a file is named as one of these."""
    return name.lower().endswith(EXTENSION)


def files(folder: Path) -> list[str]:
    """Return the names of such files in a folder, not deeper."""
    names = [entry.name for entry in walk.entries(str(folder))]
    return [name for name in names if is_named(name) and not walk.is_system(name)]


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
    """Read a .ts file and the other half of its pair, or the pair that a folder holds.

    Raises   SourceError for lines that cannot be read, by number, and for missing numbers unless
             `data.missing` says what becomes of them; ConfigError for settings without effect
    """
    del cache, progress
    _refuse_settings(data, group, folds)
    paths = _pair(path)
    parts = [_parsed(each, data) for each in paths]
    for part in parts:
        if not part.labels:
            raise SourceError(
                f"{part.path} says @classLabel false: there is nothing to learn.",
                fix="name a file whose lines end in a label.",
            )
        if part.is_number != parts[0].is_number or _width(part) != _width(parts[0]):
            raise SourceError(
                f"{paths[0].name} and {part.path.name} differ in their kind of label or their "
                f"number of dimensions ({_width(parts[0])} and {_width(part)}).",
                fix="name files of one data set.",
            )
    columns = _columns(_width(parts[0]))
    values = np.concatenate([part.values for part in parts])
    lengths = np.concatenate([np.diff(part.starts) for part in parts])
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    missing = _missing_note(parts, columns, data)
    cells = [label for part in parts for label in part.labels]
    task = data.task if data.task != "auto" else "regress" if parts[0].is_number else "classify"
    answers = read_answers(
        Cells(path, {"label": cells}, 1, ()), ["label"], task=task, purpose=purpose
    )
    labels, targets = answers.labels, answers.targets
    if answers.task == "classify":
        labels, targets = classes.settle(
            labels,
            targets.astype(np.int64),
            where=str(path),
            fix="name a file whose lines end in different labels.",
            purpose=purpose,
        )
    sides = [_side(part.path) if len(parts) > 1 else UNASSIGNED for part in parts]
    given = np.repeat(np.array(sides, np.int8), [len(part.lines) for part in parts])
    names = () if answers.task == "regress" else labels
    classes.check_given(names, targets, given, where=str(path), purpose=purpose)
    dimensions = "" if len(columns) == 1 else f" in {len(columns)} dimensions"
    notes = [
        f"{counted(len(cells), 'series', 'series')} of {length_words(starts)}{dimensions} from "
        f"{listed(each.name for each in paths)}.",
        *answers.told(),
    ]
    if len(parts) > 1:
        counts = ", ".join(f"{len(p.lines):,} in {p.path.name}" for p in parts)
        notes.append(f"The data's own split is kept, from the two files: {counts}.")
    return Samples(
        task=answers.task,
        paths=tuple(f"{p.path.name}#{line}" for p in parts for line in p.lines),
        root=os.path.abspath(paths[0].parent),
        labels=labels,
        targets=targets,
        digests=digests_of(values, starts),
        facts=SeriesFacts(_finite(values), starts, columns),
        given=given,
        has_label_columns=answers.has_label_columns,
        notes=(*notes, *missing),
    )


def read_values(path: Path, columns: tuple[str, ...]) -> list[tuple[str, NDArray[np.float32]]]:
    """Return the series of one file without their labels: FILE#LINE, and the numbers [T, C].

    Raises   SourceError as `read` does, and if its dimensions are not those of `columns`
    """
    part = _parsed(path, DataConfig())
    own = _columns(_width(part))
    if own != columns and len(own) == len(columns) == 1:
        own = columns  # one column of numbers, whatever its name
    if own != columns:
        raise SourceError(
            f"{path} holds series of {listed(own)}, but {listed(columns)} "
            f"{'is' if len(columns) == 1 else 'are'} needed.",
            fix="name a file of the data set that the model was trained on.",
        )
    pieces = np.split(_finite(part.values), part.starts[1:-1])
    return [(f"{path}#{line}", piece) for line, piece in zip(part.lines, pieces, strict=True)]


def _refuse_settings(data: DataConfig, group: str | None, folds: str | None) -> None:
    """Refuse the settings that only a table gives a meaning to."""
    for name, value in (
        ("target", data.target),
        ("path_column", data.path_column),
        ("id_column", data.id_column),
        ("time_column", data.time_column),
        ("inputs", data.inputs),
        ("group", group),
        ("folds", folds),
    ):
        if value:
            raise ConfigError(
                f"{name} has no effect on .ts files: it names a column of a table.",
                fix=f"leave --{name.replace('_', '-')} out.",
            )
    if data.task not in ("auto", "classify", "regress"):
        raise ConfigError(
            f"task {data.task} cannot be read from .ts files: each line ends in one label.",
            fix="leave --task out.",
        )


def _side(path: Path) -> int:
    return next(s for ending, s in SIDES.items() if path.name.lower().endswith(ending))


def _pair(path: Path) -> list[Path]:
    """Return the file and the other half of its pair, training first; or the file alone."""
    if path.is_dir():
        return _pair_in(path)
    stem, side = _stem(path.name)
    if side is None:
        return [path]
    beside = {_stem(name): name for name in files(path.parent)}
    found = [beside.get((stem, ending)) for ending in SIDES]
    halves = [path.with_name(name) for name in found if name is not None]
    return halves if len(halves) == len(SIDES) else [path]


def _stem(name: str) -> tuple[str, str | None]:
    """Return the part of a name before _TRAIN.ts or _TEST.ts, and that ending."""
    ending = next((ending for ending in SIDES if name.lower().endswith(ending)), None)
    return (name, None) if ending is None else (name[: -len(ending)], ending)


def _pair_in(folder: Path) -> list[Path]:
    names = files(folder)
    stems = sorted({_stem(name)[0] for name in names})
    own = [stem for stem in stems if stem == folder.name]
    chosen = stems if len(stems) == 1 else own
    if len(chosen) != 1:
        raise ConfigError(
            f"{folder} holds more than one data set: {listed(stems)}.",
            fix=f"name one of its files, for instance {shown(str(folder / names[0]))}.",
        )
    return _pair(folder / next(name for name in names if _stem(name)[0] == chosen[0]))


def _width(part: _File) -> int:
    return int(part.values.shape[1])


def _columns(width: int) -> tuple[str, ...]:
    return VALUE if width == 1 else tuple(f"d{i + 1}" for i in range(width))


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isinf(values), np.float32(np.nan), values)


def _missing_note(parts: Sequence[_File], columns: Sequence[str], data: DataConfig) -> list[str]:
    """Say in which lines numbers are missing; refuse them unless a policy is given."""
    said = []
    for part in parts:
        lost = ~np.isfinite(part.values)
        if not lost.any():
            continue
        steps = np.flatnonzero(lost.any(axis=1))
        items = np.unique(np.searchsorted(part.starts, steps, side="right") - 1)
        numbers = [f"{part.lines[item]:,}" for item in items.tolist()]
        where = [name for i, name in enumerate(columns) if lost[:, i].any()]
        dimensions = "" if len(columns) == 1 else f" of {listed(where)}"
        said.append(
            f"{part.path.name}: {counted(int(lost.sum()), 'number')}{dimensions}, in "
            f"{'line' if len(numbers) == 1 else 'lines'} {listed(numbers, most=LINES_LISTED)}"
        )
    if said and data.missing == "stop":
        place = parts[0].path if len(parts) == 1 else parts[0].path.parent
        raise MissingNumbersError(
            f"{place}: numbers are missing:{itemised(said, most=LISTED_COLUMNS)}",
            lines=said,
            fix="say what becomes of them: --missing ffill|interpolate|drop|mask.",
        )
    listing = itemised(said, most=LISTED_COLUMNS)
    return (
        [f"Numbers are missing, and {data.missing} says what becomes of them:{listing}"]
        if said
        else []
    )


def _parsed(path: Path, data: DataConfig) -> _File:
    text, _ = decode_bytes(path.read_bytes(), where=str(path), encoding=data.encoding)
    lines = text.splitlines()
    settings, first = _settings(path, lines)
    if settings.get("timestamps", "false").lower().startswith("true"):
        raise SourceError(
            f"{path} gives each number a time (@timeStamps true), which is not read.",
            fix="write its series as a table, a row for each step.",
        )
    target = settings.get("targetlabel", "false").lower().startswith("true")
    declared = settings.get("classlabel", "").split()
    has_label = target or bool(declared and declared[0].lower() == "true")
    pieces: list[NDArray[np.float32]] = []
    labels: list[str] = []
    numbers: list[int] = []
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.strip().split(":")
        if has_label:
            labels.append(_label(path, number, parts.pop().strip(), declared[1:], is_number=target))
        piece = _series(path, number, parts)
        if pieces and piece.shape[1] != pieces[0].shape[1]:
            raise SourceError(
                f"{path}, line {number:,}: {counted(piece.shape[1], 'dimension')}, but the first "
                f"series has {pieces[0].shape[1]}.",
                fix="mend that line; dimensions stand between colons.",
            )
        pieces.append(piece)
        numbers.append(number)
    if not pieces:
        raise SourceError(f"{path} holds no series below @data.", fix="name a file with series.")
    starts = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    return _File(
        path, np.concatenate(pieces), starts, tuple(labels), tuple(numbers), is_number=target
    )


def _settings(path: Path, lines: Sequence[str]) -> tuple[dict[str, str], int]:
    """Return what stands behind each @ above the data, and the line below @data."""
    settings: dict[str, str] = {}
    for number, line in enumerate(lines):
        word, _, rest = line.strip().partition(" ")
        if word.lower() == "@data":
            return settings, number + 1
        if word.startswith("@"):
            settings[word[1:].lower()] = rest.strip()
    raise SourceError(
        f"{path} is no .ts file of series: it has no line @data.",
        fix="name a file of the UCR or UEA archive, or a table; video must not be named .ts.",
    )


def _label(path: Path, number: int, label: str, declared: Sequence[str], *, is_number: bool) -> str:
    if is_missing(label) or label == "?":
        raise SourceError(
            f"{path}, line {number:,} has no label.", fix="fill it in, or remove the line."
        )
    if is_number and (not NUMBER.fullmatch(label) or NOT_FINITE.fullmatch(label)):
        raise SourceError(
            f"{path}, line {number:,}: the number to predict is {shown(label)!r}.",
            fix="mend it, or remove the line.",
        )
    if declared and label not in declared:
        raise SourceError(
            f"{path}, line {number:,}: the label {shown(label)} is none of those that @classLabel "
            f"lists: {listed(declared)}.",
            fix="mend the label, or add it to @classLabel.",
        )
    return label


def _series(path: Path, number: int, parts: Sequence[str]) -> NDArray[np.float32]:
    """Return the numbers of one line, float32 [T, C]."""
    rows = []
    for part in parts:
        found = np.zeros(0)
        # What is no number is an error, or in earlier versions a warning and the end.
        with warnings.catch_warnings(), suppress(ValueError):
            warnings.simplefilter("ignore")
            found = np.fromstring(part.replace("?", "nan"), np.float64, sep=",")
        if len(found) != part.count(",") + 1:
            wrong = [c.strip() for c in part.split(",") if not _is_number(c.strip())]
            raise SourceError(
                f"{path}, line {number:,}: {shown((wrong or [part[:40]])[0])!r} is no number.",
                fix="mend that line; a missing number is written ?.",
            )
        rows.append(found)
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1 or not lengths[0]:
        raise SourceError(
            f"{path}, line {number:,}: the dimensions of a series must be of one length, are of "
            f"{listed(map(str, lengths)) or 'none'}.",
            fix="write ? for numbers that are missing.",
        )
    with np.errstate(over="ignore"):
        return np.stack(rows, axis=1).astype(np.float32)


def _is_number(cell: str) -> bool:
    return bool(cell == "?" or NUMBER.fullmatch(cell) or NOT_FINITE.fullmatch(cell))
