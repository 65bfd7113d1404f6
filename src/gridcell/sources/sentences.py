"""Sentences whose tokens each have a tag: CoNLL-U files, and tables with one token a row.

The data say what the tokens are, so nothing is split here, and every token is one: "NA" and a
lone comma too. Several files in one folder may be the split: train, dev or valid, and test.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError, did_you_mean
from gridcell.samples import SPLIT_NAMES, UNASSIGNED, Samples, Tags, TextFacts
from gridcell.sources import classes
from gridcell.sources.answers import NUMBER, could_be
from gridcell.sources.cells import Cells
from gridcell.sources.characters import clean, codes_of, decode_bytes
from gridcell.sources.columns import (
    check_columns,
    given_split,
    named_parts,
    split_column,
    told_parts,
)
from gridcell.sources.text_table import Part, digests_of, open_table
from gridcell.sources.wording import counted, itemised, listed, shown

CONLLU = ".conllu"
CONLLU_COLUMNS = 10
ID_NAMES = ("sentence_id", "sent_id", "sentence", "sentence_idx", "sentence #", "sentence_number")
POSITION_NAMES = ("position", "token_id", "token_idx", "word_id", "index", "idx")
TOKEN_NAMES = ("token", "word", "form", "tokens", "words")
CONLLU_TAGS = ("upos", "xpos")
USUAL_TAG = "upos"
"""The column to learn where several could be and none was named: the tags of all languages."""
NO_EFFECT = ("path_column", "inputs", "decimal")
ROWS_LISTED = 20


@dataclass
class Sentences:
    """The sentences of one file: tokens one after another, and what is said of each token."""

    path: Path
    unit: str
    """What places are counted in: line or row."""
    tokens: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Line or row of each token."""
    counts: list[int] = field(default_factory=list)
    """Tokens of each sentence."""
    names: list[str] = field(default_factory=list)
    tags: dict[str, list[str]] = field(default_factory=dict)
    """Each column that could be learned, "" where nothing stands."""
    notes: list[str] = field(default_factory=list)
    table: Cells | None = None
    """The first row of each sentence, where they stand in a table."""


def is_table_of_tokens(cells: Cells, data: DataConfig) -> bool:
    """Say whether a table has one token a row: by the names of its columns, or as asked for."""
    if data.task not in ("auto", "tags"):
        return False
    token = data.text_column or _by_name(cells, TOKEN_NAMES)
    return token is not None and (data.id_column or _by_name(cells, ID_NAMES)) is not None


def read(
    path: Path,
    parts: Sequence[Part],
    data: DataConfig,
    *,
    group: str | None = None,
    folds: str | None = None,
    purpose: classes.Purpose = "train",
) -> Samples:
    """Read CoNLL-U files or tables of tokens.

    path    what the user named: the file, or the folder that they lie in

    Raises   SourceError for lines, rows or tags that cannot be used, with their numbers;
             ConfigError where a column that was named isn't there, or more than one could be meant
    """
    _refuse_settings(data)
    files = [_read_file(file, data, group, folds) for file, _ in parts]
    target = _target(path, files, data)
    kept, notes = [], []
    for found in files:
        lost = _without_tag(found, target)
        if lost and data.on_bad_file == "stop":
            raise SourceError(
                f"{found.path}: {counted(len(lost), 'token')} without a tag in column "
                f"{shown(target)}, in {_places(found, lost)}.",
                fix="fill them in, or pass --on-bad-file skip to leave their sentences out.",
            )
        keep = _whole(found, lost)
        if not all(keep):
            count = counted(len(keep) - sum(keep), "sentence")
            notes.append(f"Left out, {count} of {found.path.name} with a token without a tag.")
        kept.append(np.array(keep, np.bool_))

    tokens = [token for found in files for token in found.tokens]
    counts = np.array([count for found in files for count in found.counts], np.int64)
    named = [tag for found in files for tag in found.tags[target]]
    is_kept = np.concatenate(kept)
    if not is_kept.any():
        raise SourceError(f"{path} holds no sentence with tags.", fix="name another file.")
    is_inside = np.repeat(is_kept, counts)
    tokens = [token for token, inside in zip(tokens, is_inside, strict=True) if inside]
    named = [tag for tag, inside in zip(named, is_inside, strict=True) if inside]
    counts = counts[is_kept]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    labels, numbers = classes.encode(named)
    if purpose == "train" and len(labels) < 2:
        raise SourceError(
            f"{path}, column {shown(target)}: at least 2 classes are needed, only "
            f"{shown(labels[0])} was found.",
            fix="name a column that holds different tags, with --target.",
        )
    targets = np.zeros((len(counts), len(labels)), np.float32)
    targets[np.repeat(np.arange(len(counts)), counts), numbers] = 1.0

    rows = np.flatnonzero(is_kept)
    given, said = _sides(files, parts, folds)
    given = given[rows]
    classes.check_given(labels, targets, given, where=str(path), purpose=purpose)
    groups, group_names = _names_of(files, group, "group", rows)
    fold_of, fold_names = _names_of(files, folds, "fold", rows)
    texts = ["\n".join(tokens[start:stop]) for start, stop in pairwise(starts.tolist())]
    ids = [name for found in files for name in found.names]
    others = [name for name in files[0].tags if name != target]
    choice = "" if data.target or not others else f" (pass --target {others[0]} for the others)"
    every = [
        f"{counted(len(counts), 'sentence')} of {counted(len(tokens), 'token')} from "
        f"{listed(found.path.name for found in files)}.",
        f"Column {shown(target)} gives {counted(len(labels), 'tag')}{choice}: {listed(labels)}.",
        *(note for found in files for note in found.notes),
        *said,
        *notes,
    ]
    every += told_parts(group, group_names, folds, fold_names)
    return Samples(
        task="tags",
        paths=tuple(ids[row] for row in rows),
        root=os.path.abspath(files[0].path.parent),
        labels=labels,
        targets=targets,
        digests=digests_of(texts),
        facts=TextFacts(*codes_of(texts), is_tokenized=True),
        given=given,
        groups=groups,
        group_names=group_names,
        folds=fold_of,
        fold_names=fold_names,
        tags=Tags(numbers, starts),
        target_columns=(target,),
        notes=tuple(every),
    )


def tokens_in(path: Path, data: DataConfig) -> list[tuple[str, list[str]]]:
    """Return the name and the tokens of every sentence in a file, whatever else it says of them.

    data   how the file is written

    Raises   SourceError where it cannot be read, or a token is missing
    """
    if path.name.lower().endswith(CONLLU):
        found = _conllu(path, data.encoding)
    else:
        found = _table(open_table(path, data), data, None, None)
    stops = np.cumsum(found.counts).tolist()
    pieces = zip(found.names, [0, *stops], stops, strict=False)
    return [(str(path.parent / name), found.tokens[start:stop]) for name, start, stop in pieces]


def _refuse_settings(data: DataConfig) -> None:
    for name in NO_EFFECT:
        if getattr(data, name) != getattr(DataConfig(), name):
            raise ConfigError(
                f"{name} has no effect on tokens with tags.",
                fix=f"leave --{name.replace('_', '-')} out.",
            )
    if data.task not in ("auto", "tags"):
        raise ConfigError(
            f"task {data.task} cannot be read from one tag a token.", fix="leave --task out."
        )


def _read_file(path: Path, data: DataConfig, group: str | None, folds: str | None) -> Sentences:
    if path.name.lower().endswith(CONLLU):
        named = [("group", group), ("folds", folds), ("id_column", data.id_column)]
        named += [("time_column", data.time_column), ("text_column", data.text_column)]
        for name, value in named:
            if value is not None:
                raise ConfigError(
                    f"{name} has no effect on CoNLL-U files: it names a column of a table.",
                    fix=f"leave --{name.replace('_', '-')} out.",
                )
        for name in ("delimiter", "header"):
            if getattr(data, name) != getattr(DataConfig(), name):
                raise ConfigError(
                    f"{name} has no effect on CoNLL-U files, which are all written alike.",
                    fix=f"leave --{name} out.",
                )
        return _conllu(path, data.encoding)
    return _table(open_table(path, data), data, group, folds)


def _conllu(path: Path, encoding: str) -> Sentences:
    """Read the words of a CoNLL-U file; several-word tokens and empty nodes are no words."""
    found = Sentences(path, "line", tags={name: [] for name in CONLLU_TAGS})
    ranges = empty = first = 0
    for number, line in enumerate(
        decode_bytes(path.read_bytes(), where=str(path), encoding=encoding)[0].split("\n"), 1
    ):
        line = line.rstrip("\r")
        if not line.strip():
            _close(found, first)
            first = len(found.tokens)
            continue
        if line.startswith("#"):
            continue
        cells = line.split("\t")
        if len(cells) != CONLLU_COLUMNS or not cells[1]:
            raise SourceError(
                f"{path} is not CoNLL-U in line {number:,}: {counted(len(cells), 'column')} "
                f"between tabs instead of {CONLLU_COLUMNS}."
                if len(cells) != CONLLU_COLUMNS
                else f"{path} has no word in line {number:,}.",
                fix="mend that line.",
            )
        if "-" in cells[0]:
            ranges += 1
        elif "." in cells[0]:
            empty += 1
        else:
            found.tokens.append(_token(cells[1]))
            found.places.append(number)
            for name, cell in (("upos", cells[3]), ("xpos", cells[4])):
                found.tags[name].append("" if cell == "_" else cell)
    _close(found, first)
    if not found.counts:
        raise SourceError(f"{path} holds no sentence.", fix="name a file with words in it.")
    for name in ("xpos", "upos"):
        if not any(found.tags[name]) and len(found.tags) > 1:
            del found.tags[name]
    if ranges or empty:
        found.notes.append(
            f"{path.name}: left out, {counted(ranges, 'token')} of several words (the words are "
            f"read) and {counted(empty, 'empty node')}."
        )
    return found


def _close(found: Sentences, first: int) -> None:
    """End the sentence whose tokens begin at `first`, if it has any."""
    if len(found.tokens) > first:
        found.counts.append(len(found.tokens) - first)
        found.names.append(f"{found.path.name}#{len(found.counts)}")


def _token(cell: str) -> str:
    """A token on one line; one that is nothing but what nobody sees stays as it is."""
    return " ".join(clean(cell).split("\n")) or cell


def _table(cells: Cells, data: DataConfig, group: str | None, folds: str | None) -> Sentences:
    """Read a table with a token in each row."""
    asked = [("text_column", data.text_column), ("id_column", data.id_column)]
    asked += [("time_column", data.time_column), ("group", group)]
    asked += [("folds", None if folds == group else folds)]
    check_columns(cells, [*asked, *(("target", name) for name in data.target)])
    token = data.text_column or _found(cells, TOKEN_NAMES, "the tokens", "--text-column")
    sentence = data.id_column or _found(cells, ID_NAMES, "the sentence", "--id-column")
    position = data.time_column or _by_name(cells, POSITION_NAMES)
    found = Sentences(cells.path, "row")
    ids, is_filled = _filled(cells, sentence)
    if is_filled:
        found.notes.append(
            f"{cells.path.name}: an empty cell in column {shown(sentence)} is the sentence above."
        )
    missing = [row for row, cell in enumerate(cells.columns[token]) if not cell]
    if missing:
        raise SourceError(
            f"{cells.path}: column {shown(token)} has no token in {cells.rows(missing)} "
            f"({cells.counting}).",
            fix="fill them in, or remove those rows.",
        )
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(ids):
        rows_of.setdefault(name, []).append(row)
    if position is not None:
        _sort(cells, position, rows_of)
    order = [row for rows in rows_of.values() for row in rows]
    used = {token, sentence, position, group, folds}
    split = split_column(cells, [name for name in used if name], is_used=folds is None)
    found.tokens = [_token(cells.columns[token][row]) for row in order]
    found.places = [cells.first_row + row for row in order]
    found.counts = [len(rows) for rows in rows_of.values()]
    found.names = [f"{cells.path.name}#{name}" for name in rows_of]
    found.tags = {
        name: [column[row] for row in order]
        for name, column in cells.columns.items()
        if name not in used and name != split
    }
    _check_same(cells, [name for name in (split, group, folds) if name], rows_of)
    firsts = [rows[0] for rows in rows_of.values()]
    first_rows = {name: [column[row] for row in firsts] for name, column in cells.columns.items()}
    found.table = Cells(cells.path, first_rows, cells.first_row, ())
    return found


def _by_name(cells: Cells, names: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in cells.names}
    return next((lower[name] for name in names if name in lower), None)


def _found(cells: Cells, names: Sequence[str], what: str, option: str) -> str:
    name = _by_name(cells, names)
    if name is None:
        raise SourceError(
            f"{cells.path} has no column that is named as {what} of a row ({listed(names)}). Its "
            f"columns: {listed(cells.names)}.",
            fix=f"name it with {option}.",
            stage="columns",
        )
    return name


def _filled(cells: Cells, name: str) -> tuple[list[str], bool]:
    """Return the sentence of each row; where only the first row of each names it, those below."""
    column = cells.columns[name]
    filled: list[str] = []
    if not column[0]:
        raise SourceError(
            f"{cells.path}: column {shown(name)} names no sentence in {cells.rows([0])} "
            f"({cells.counting}).",
            fix="name the sentence of each row.",
        )
    for cell in column:
        filled.append(cell or filled[-1])
    return filled, "" in column


def _sort(cells: Cells, name: str, rows_of: dict[str, list[int]]) -> None:
    """Sort the rows of each sentence by their positions."""
    column = cells.columns[name]
    strange = [row for row, cell in enumerate(column) if not NUMBER.fullmatch(cell)]
    if strange:
        raise SourceError(
            f"{cells.path}: column {shown(name)} holds no number in {cells.rows(strange)} "
            f"({cells.counting}).",
            fix="write the place of each token in its sentence.",
        )
    places = [float(cell) for cell in column]
    for sentence, rows in rows_of.items():
        rows.sort(key=places.__getitem__)
        twice = [b for a, b in pairwise(rows) if places[a] == places[b]]
        if twice:
            raise SourceError(
                f"{cells.path}: sentence {shown(sentence)} has two tokens at position "
                f"{column[twice[0]]}, the second in {cells.rows(twice[:1])} ({cells.counting}).",
                fix="give each sentence its own number.",
            )


def _check_same(cells: Cells, names: Sequence[str], rows_of: dict[str, list[int]]) -> None:
    """Refuse a sentence on two sides, in two groups or in two folds."""
    for name in names:
        column = cells.columns[name]
        for sentence, rows in rows_of.items():
            other = [row for row in rows if column[row] != column[rows[0]]]
            if other:
                raise SourceError(
                    f"{cells.path}: sentence {shown(sentence)} has two values in column "
                    f"{shown(name)}, the second in {cells.rows(other[:1])} ({cells.counting}).",
                    fix="give all tokens of a sentence the same.",
                )


def _target(path: Path, files: Sequence[Sentences], data: DataConfig) -> str:
    """Return the column to learn."""
    columns = list(files[0].tags)
    for found in files[1:]:
        columns = [name for name in columns if name in found.tags]
    if len(data.target) > 1:
        raise ConfigError(
            f"a token has one tag, and {listed(data.target)} are named to learn.",
            fix="name one --target.",
        )
    if data.target:
        name = data.target[0]
        if name not in columns:
            raise ConfigError(
                f"{path} has no tags {shown(name)} (for target).{did_you_mean(name, columns)} "
                f"It has: {listed(columns)}.",
                fix="name one of them.",
            )
        return name
    if len(columns) == 1:
        return columns[0]
    usual = [name for name in columns if name.lower() == USUAL_TAG]
    if usual:
        return usual[0]
    if not columns:
        raise ConfigError(
            f"{path} has no column of tags to learn.", fix="add one with the tag of each token."
        )
    choices = [f"{shown(name)} ({could_be(files[0].tags[name])})" for name in columns]
    raise ConfigError(
        f"{path} has more than one column that could be learned:{itemised(choices, most=40)}",
        fix=f"name the column to learn, for instance --target {shown(columns[0])}.",
    )


def _without_tag(found: Sentences, target: str) -> list[int]:
    return [number for number, tag in enumerate(found.tags[target]) if not tag]


def _places(found: Sentences, tokens: Sequence[int]) -> str:
    """Name the lines or rows of some tokens."""
    numbers = (f"{found.places[token]}" for token in tokens)
    plural = "s" * (len(tokens) > 1)
    return f"{found.unit}{plural} {listed(numbers, most=ROWS_LISTED)}"


def _whole(found: Sentences, lost: Sequence[int]) -> list[bool]:
    """Say of each sentence whether all of its tokens have a tag."""
    is_lost = np.zeros(len(found.tokens), np.int64)
    is_lost[list(lost)] = 1
    begins = np.concatenate([[0], np.cumsum(found.counts)])[:-1].astype(np.int64)
    return [count == 0 for count in np.add.reduceat(is_lost, begins).tolist()]


def _sides(
    files: Sequence[Sentences], parts: Sequence[Part], folds: str | None
) -> tuple[NDArray[np.int8], list[str]]:
    """Return the side of each sentence: what its file's name says, or its table's split column."""
    total = sum(len(found.counts) for found in files)
    none = np.full(total, UNASSIGNED, np.int8)
    if all(side == UNASSIGNED for _, side in parts):
        given: list[NDArray[np.int8]] = []
        said: list[str] = []
        for found in files:
            if found.table is None:
                given.append(np.full(len(found.counts), UNASSIGNED, np.int8))
                continue
            split = split_column(found.table, [folds] if folds else [], is_used=folds is None)
            own, notes = given_split(found.table, split, folds=folds)
            given.append(own)
            said += notes
        return np.concatenate(given), said
    if folds is not None:
        return none, ["The names of the files are ignored: the folds say who is tested."]
    sides = [side for _, side in parts]
    counts = [len(found.counts) for found in files]
    told = ", ".join(
        f"{SPLIT_NAMES[side]} {count:,} ({shown(found.path.name)})"
        for side, count, found in zip(sides, counts, files, strict=True)
    )
    note = f"The data's own split is kept, from the names of the files: {told}."
    return np.repeat(np.array(sides, np.int8), counts), [note]


def _names_of(
    files: Sequence[Sentences], name: str | None, noun: str, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return the group or fold of each sentence that is kept, and their names."""
    if name is None:
        return None, ()
    cells: list[str] = []
    for found in files:
        assert found.table is not None
        named_parts(found.table, name, noun)
        cells += found.table.columns[name]
    names, numbers = classes.encode([cells[row] for row in rows])
    return numbers, names
