"""A text to learn writing from: pieces that follow one another, and the next character of each.

Every character is a step, and its target is the one after it. Pieces keep their order, so that the
end of the text can be held out.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import UNASSIGNED, Samples, Tags, TextFacts
from gridcell.sources import classes
from gridcell.sources.characters import codes_of
from gridcell.sources.scan import Progress
from gridcell.sources.text_table import digests_of
from gridcell.sources.texts import text_of
from gridcell.sources.wording import counted, listed, shown

EXTENSION = ".txt"
PIECE = 2048
"""Characters of a piece: so many that hardly any is predicted without much before it."""
LEAST_PIECES = 10


def is_writing(path: Path, data: DataConfig) -> bool:
    """Say whether writing is to be learned: it was asked for, or all there is is one text."""
    if data.task != "auto":
        return data.task == "write"
    return data.kind in ("auto", "texts") and path.name.lower().endswith(EXTENSION)


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
    """Read one .txt file as pieces of characters, each with the one that comes next.

    Raises   SourceError for a file that cannot be read, or is too short to learn from;
             ConfigError for settings without an effect
    """
    for name, value in (("group", group), ("folds", folds), ("target", data.target)):
        if value:
            raise ConfigError(
                f"{name} has no effect on one text, which has no columns.",
                fix=f"leave --{name} out.",
            )
    if data.text_level == "words":
        raise ConfigError("text_level = 'words' has no effect here: writing is by characters.")
    if os.path.isdir(path) or not path.name.lower().endswith(EXTENSION):
        raise SourceError(
            f"{shown(str(path))} is no .txt file, and writing is learned from one.",
            fix="join your texts in one .txt file.",
        )
    text = text_of(path, data.encoding)
    pieces = [text[i : i + PIECE + 1] for i in range(0, len(text) - 1, PIECE)]
    least = LEAST_PIECES if purpose == "train" else 1
    if len(pieces) < least:
        raise SourceError(
            f"{shown(str(path))} has {counted(len(text), 'character')}: at least "
            f"{least * PIECE:,} are needed.",
            fix="name a longer text.",
        )
    codes, starts = codes_of(piece[:-1] for piece in pieces)
    following, _ = codes_of(piece[1:] for piece in pieces)
    labels = tuple(sorted(set(text)))
    known, _ = codes_of(["".join(labels)])
    numbers = np.searchsorted(known, following).astype(np.int64)
    holds = np.zeros((len(pieces), len(labels)), np.float32)
    for row, (start, stop) in enumerate(itertools.pairwise(starts)):
        holds[row, numbers[start:stop]] = 1
    count = len(pieces)
    return Samples(
        task="write",
        paths=tuple(f"{path.name}#{row * PIECE + 1}" for row in range(count)),
        root=os.path.abspath(path.parent),
        labels=labels,
        targets=holds,
        digests=digests_of(pieces),
        facts=TextFacts(codes, starts),
        given=np.full(count, UNASSIGNED, np.int8),
        tags=Tags(numbers, starts),
        notes=(
            f"{counted(len(text), 'character')} from {path.name} in {counted(count, 'piece')} "
            f"that follow one another; of each character the next is to be learned.",
            f"{counted(len(labels), 'different character')}: {listed(map(repr, labels), most=20)}.",
        ),
    )
