"""Texts on disk: tables of them, folders of .txt files, and sentences whose tokens have tags.

What lies at the path is told apart here; `text_table`, `text_folder` and `sentences` read it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gridcell.config import DataConfig
from gridcell.errors import GridcellError, SourceError
from gridcell.samples import TRAIN, UNASSIGNED, VALID, Samples
from gridcell.sources import classes, kinds, sentences, text_folder, text_table, walk
from gridcell.sources.cells import HEADER_PROBED
from gridcell.sources.characters import clean
from gridcell.sources.scan import Progress
from gridcell.sources.text_table import Part
from gridcell.sources.wording import SPLIT_WORDS, listed, shown

TABLE_EXTENSIONS = (".csv", ".tsv", ".parquet")
USUAL = DataConfig()
FILE_SPLIT_WORDS = {**SPLIT_WORDS, "dev": VALID, "development": VALID}
"""Words in the names of files that say which side of the split they are."""


@dataclass(frozen=True)
class Found:
    """What lies at a path: which reader it is for, and the files with their sides."""

    form: Literal["table", "tokens", "folder", "text"]
    parts: tuple[Part, ...] = ()


def is_texts(path: Path, data: DataConfig) -> bool:
    """Say whether texts lie at the path, or whether they were asked for.

    A table is one of texts if it has a column of them and none of files, or a token in each row; a
    folder if it holds .conllu files, such tables by the names of a split, or .txt files and no
    images, sounds or clips. What cannot be read is none: whoever reads it next says why.
    """
    if data.kind != "auto":
        return data.kind == "texts"
    try:
        return _found(path, data) is not None
    except (GridcellError, OSError):
        return False


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
    """Read texts: a table, a folder of .txt files, CoNLL-U files, or tables of tokens.

    Raises   SourceError for data that cannot be used, ConfigError for settings at odds with it
    """
    if not os.path.exists(path):
        raise SourceError(
            f"{shown(str(path))} does not exist.", fix="name a table of texts, or a folder."
        )
    found = _found(path, data) or _asked_for(path)
    if found.form == "text":
        why = {
            "train": "training needs many, of at least 2 classes",
            "score": "nothing says which class it is of",
        }
        text_of(path, data.encoding)
        raise SourceError(
            f"{shown(str(path))} is a single text; {why[purpose]}.",
            fix="name a table of texts, or the folder that holds one folder of texts for each "
            "class.",
        )
    if found.form == "folder":
        return text_folder.read(
            path, data, group=group, folds=folds, progress=progress, purpose=purpose
        )
    reader = sentences.read if found.form == "tokens" else text_table.read
    return reader(path, found.parts, data, group=group, folds=folds, purpose=purpose)


def columns_of(path: Path, data: DataConfig) -> tuple[str, ...]:
    """Return the names of the columns of a table of texts; of several tables those of the first.

    Those of CoNLL-U are the two of its columns that can be learned; a .txt has none.
    """
    found = _found(path, data) or _asked_for(path)
    if not found.parts or found.form not in ("table", "tokens"):
        return ()
    if found.parts[0][0].name.lower().endswith(sentences.CONLLU):
        return sentences.CONLLU_TAGS
    return text_table.open_table(found.parts[0][0], data, most=HEADER_PROBED).names


def named_texts(
    path: Path,
    column: str | None,
    data: DataConfig = USUAL,
    *,
    has_empty: bool = False,
    is_column_needed: bool = False,
) -> list[tuple[str, str]]:
    """Return the name and the cleaned text of each text in a file: the whole of a .txt.

    data               how the file is written
    has_empty          whether a row of a table may be without a text: it is then empty
    is_column_needed   whether a table must have the column, where one is named

    Raises   SourceError where it cannot be read or a text is empty
    """
    if path.name.lower().endswith(TABLE_EXTENSIONS):
        return text_table.texts_in(
            path, column, data, has_empty=has_empty, is_column_needed=is_column_needed
        )
    return [(str(path), text_of(path, data.encoding))]


def named_sentences(
    path: Path, split: Callable[[str], list[str]], data: DataConfig = USUAL
) -> list[tuple[str, list[str]]]:
    """Return the name and the tokens of each sentence in a file: of a .txt each line is one.

    split   cuts a line of a .txt, which does not say what its tokens are
    data    how the file is written

    Raises   SourceError where it cannot be read or holds nothing
    """
    if path.name.lower().endswith((sentences.CONLLU, *TABLE_EXTENSIONS)):
        return sentences.tokens_in(path, data)
    lines = enumerate(text_of(path, data.encoding).split("\n"), start=1)
    return [(f"{path}#{number}", split(line)) for number, line in lines if line.strip()]


def text_of(path: Path, encoding: str = "auto") -> str:
    """Return the cleaned text of a file.

    Raises   SourceError where it cannot be read, or holds nothing but white space
    """
    text, reason = text_folder.read_text(str(path), encoding)
    if reason:
        # A reason with an encoding in it is a fix of its own.
        fix = None if "--encoding" in reason else "name a file with text in it."
        raise SourceError(f"{shown(str(path))} {reason}.", fix=fix, stage="writing")
    return clean(text)


def _found(path: Path, data: DataConfig) -> Found | None:
    """Find out what texts lie at the path; None where there are none."""
    if os.path.isdir(path):
        return _in_folder(path, data)
    name = path.name.lower()
    parts = ((path, UNASSIGNED),)
    if name.endswith(sentences.CONLLU):
        return Found("tokens", parts)
    if name.endswith(TABLE_EXTENSIONS):
        form = _form_of(path, data)
        return Found(form, parts) if form else None
    return Found("text", parts) if name.endswith(text_folder.EXTENSION) else None


def _form_of(path: Path, data: DataConfig) -> Literal["table", "tokens"] | None:
    """Say what a table of texts is; None where it is of something else."""
    cells = text_table.open_table(path, data, most=HEADER_PROBED)
    if sentences.is_table_of_tokens(cells, data):
        return "tokens"
    return "table" if text_table.has_text_column(cells, data) else None


def _asked_for(path: Path) -> Found:
    """What a path is read as where nothing at it looks like texts, but texts were asked for."""
    if os.path.isdir(path):
        return Found("folder")
    if path.name.lower().endswith(TABLE_EXTENSIONS):
        return Found("table", ((path, UNASSIGNED),))
    return Found("text")


def _in_folder(path: Path, data: DataConfig) -> Found | None:
    entries = [entry for entry in walk.entries(str(path)) if entry.is_file()]
    names = [entry.name for entry in entries if not walk.is_system(entry.name)]
    conllu = _parts(path, [name for name in names if name.lower().endswith(sentences.CONLLU)])
    tables = _parts(path, [name for name in names if name.lower().endswith(TABLE_EXTENSIONS)])
    # Files that all name a side are a split; without one to train on, they are part of one.
    is_split = any(side == TRAIN for _, side in tables)
    if conllu and not (is_split and all(side != TRAIN for _, side in conllu)):
        return Found("tokens", _checked(path, conllu))
    if is_split and all(side != UNASSIGNED for _, side in tables):
        form = _form_of(next(file for file, side in tables if side == TRAIN), data)
        if form:
            return Found(form, tables)
    tally = walk.Tally()
    extension = text_folder.EXTENSION
    texts = walk.files(path, tally, wanted=lambda name: name.lower().endswith(extension))
    others = [name for name in tally.extensions if kinds.medium_named(f"x{name}") is not None]
    is_one_note = len(texts) == 1 and "/" not in texts[0]
    if not texts or others or tables or is_one_note:
        return None
    return Found("folder")


def _parts(path: Path, names: Sequence[str]) -> tuple[Part, ...]:
    """The files with the sides that their names say, those to train on first."""
    parts = [(path / name, _side(name)) for name in names]
    return tuple(sorted(parts, key=lambda part: (part[1], part[0].name)))


def _side(name: str) -> int:
    """The side that a word in a file's name says.

    >>> _side("en_ewt-ud-dev.conllu") == VALID, _side("latest.csv") == UNASSIGNED
    (True, True)
    """
    words = re.split(r"[^a-z]+", name.lower().rsplit(".", 1)[0])
    sides = {FILE_SPLIT_WORDS[word] for word in words if word in FILE_SPLIT_WORDS}
    return sides.pop() if len(sides) == 1 else UNASSIGNED


def _checked(path: Path, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Refuse files of which only some name a side."""
    without = [file.name for file, side in parts if side == UNASSIGNED]
    if without and len(without) < len(parts):
        raise SourceError(
            f"{path}: {listed(without)} names no side of the split, as the files beside it do.",
            fix="name each train, dev or test, or move it elsewhere.",
        )
    return parts
