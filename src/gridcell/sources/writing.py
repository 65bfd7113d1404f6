"""A text to learn writing from: pieces that follow one another, and what comes after each step.

Every character is a step, or every word, and its target is the one after it. Pieces keep their
order, so that the end of the text can be held out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import UNASSIGNED, Samples, Tags, TextFacts
from gridcell.sources import classes
from gridcell.sources.characters import codes_of
from gridcell.sources.scan import Progress
from gridcell.sources.text_table import digests_of
from gridcell.sources.texts import text_of
from gridcell.sources.wording import counted, listed, shown
from gridcell.sources.words import UNKNOWN_WORD, words_and_breaks

EXTENSION = ".txt"
PIECE, PIECE_WORDS = 2048, 512
"""Characters or words of a piece: so many that hardly any is predicted without much before it."""
MOST_WORDS = 10_000
"""Words that can be written: the output layer has a row for each, and most of the work."""
LEAST_SEEN = 2
"""Of a word seen once the text doesn't say where it belongs."""
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
    """Read one .txt file as pieces of characters or words, each with the one that comes next.

    Words are written with one space between them, so that they can be told apart again.

    Raises   SourceError for a file that cannot be read, or is too short to learn from;
             ConfigError for settings without an effect
    """
    for name, value in (("group", group), ("folds", folds), ("target", data.target)):
        if value:
            raise ConfigError(
                f"{name} has no effect on one text, which has no columns.",
                fix=f"leave --{name} out.",
            )
    if data.longest_text is not None:
        raise ConfigError(
            "longest_text has no effect here: all of the text is read.",
            fix="leave --longest-text out.",
        )
    if os.path.isdir(path) or not path.name.lower().endswith(EXTENSION):
        raise SourceError(
            f"{shown(str(path))} is no .txt file, and writing is learned from one.",
            fix="join your texts in one .txt file.",
        )
    text = text_of(path, data.encoding)
    is_words = data.text_level == "words"
    steps: Sequence[str] = words_and_breaks(text) if is_words else text
    noun, size, glue = ("word", PIECE_WORDS, " ") if is_words else ("character", PIECE, "")
    pieces = [steps[i : i + size + 1] for i in range(0, len(steps) - 1, size)]
    least = LEAST_PIECES if purpose == "train" else 1
    if len(pieces) < least:
        raise SourceError(
            f"{shown(str(path))} has {counted(len(steps), noun)}: at least "
            f"{least * size:,} are needed.",
            fix="name a longer text.",
        )
    labels = tuple(sorted({*steps, UNKNOWN_WORD} if is_words else set(steps)))
    place = {label: number for number, label in enumerate(labels)}
    following = (place[step] for piece in pieces for step in piece[1:])
    lengths = [len(piece) - 1 for piece in pieces]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    count = len(pieces)
    return Samples(
        task="write",
        paths=tuple(f"{path.name}#{row * size + 1}" for row in range(count)),
        root=os.path.abspath(path.parent),
        labels=labels,
        targets=np.zeros((count, 0), np.float32),
        digests=digests_of([glue.join(piece) for piece in pieces]),
        facts=TextFacts(*codes_of(glue.join(piece[:-1]) for piece in pieces)),
        given=np.full(count, UNASSIGNED, np.int8),
        tags=Tags(np.fromiter(following, np.int64, int(starts[-1])), starts),
        notes=(
            f"{counted(len(steps), noun)} from {path.name} in {counted(count, 'piece')} "
            f"that follow one another; of each {noun} the next is to be learned.",
            f"{counted(len(labels) - is_words, f'different {noun}')}"
            + ("." if is_words else f": {listed(map(repr, labels), most=20)}."),
        ),
    )


def learned(samples: Samples, rows: NDArray[np.int64]) -> tuple[Samples, str]:
    """Leave the words to be written that `rows`, the training rows, teach; and tell of them.

    Of a word that is seen once the text doesn't say where it belongs. Words seen equally often
    stand in the order of their characters.
    """
    assert samples.tags is not None
    seen = np.bincount(samples.tags.take(rows).numbers, minlength=len(samples.labels))
    unknown = samples.labels.index(UNKNOWN_WORD)
    order = np.argsort(-seen, kind="stable")
    kept = [number for number in order[:MOST_WORDS] if seen[number] >= LEAST_SEEN]
    known = sorted({*kept, unknown})
    place = np.full(len(samples.labels), known.index(unknown))
    place[known] = np.arange(len(known))
    numbers = place[samples.tags.numbers]
    rest = np.mean(numbers == known.index(unknown))
    return (
        replace(
            samples,
            labels=tuple(samples.labels[number] for number in known),
            tags=replace(samples.tags, numbers=numbers),
        ),
        f"{counted(len(known) - 1, 'different word')} to be written, each seen at least twice in "
        f"training; {100 * rest:.1f} % of the text are others, learned as one unknown.",
    )
