"""Word vectors that others trained, in text files: a word and its numbers a line.

GloVe writes them so, word2vec and fastText with a line of counts in front. Such files have
gigabytes, so they are read line by line, and only the words that are asked for are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import SourceError
from gridcell.sources.wording import shown


@dataclass(frozen=True)
class Vectors:
    """The vectors of those words that a file holds."""

    places: NDArray[np.int64]
    """[N] which of the words they are of."""
    values: NDArray[np.float32]
    """[N, D] the numbers of each."""

    @property
    def width(self) -> int:
        """Numbers of one vector."""
        return int(self.values.shape[1])


def read(path: Path, words: Sequence[str]) -> Vectors:
    """Read the vectors of some words, written as they stand there; of a word twice, the first.

    Lines of other words are held to their number of numbers alone.

    Raises   SourceError for a file that cannot be opened, and for a line, by its number, that has
             more numbers than the first, fewer, or none
    """
    try:
        with path.open("rb") as file:
            return _read(file, words, where=shown(str(path)))
    except OSError as error:
        raise SourceError(
            f"{shown(str(path))} cannot be opened: {error.strerror or error}.",
            fix="name a text file with a word and its numbers a line.",
        ) from None


def _read(lines: Iterable[bytes], words: Sequence[str], *, where: str) -> Vectors:
    places = {word.encode("utf-8", "surrogatepass"): place for place, word in enumerate(words)}
    found: dict[int, list[float]] = {}
    width = 0
    for number, line in enumerate(lines, start=1):
        # Bytes are split at ASCII white space alone: a no-break space may be part of a word.
        fields = line.removeprefix(b"\xef\xbb\xbf").split()
        if not fields or (number == 1 and _is_counts(fields)):
            continue
        if not width:
            width = len(fields) - 1
            _numbers(fields[1:], number, width, where=where)
        if len(fields) != width + 1 and not _is_word_with_spaces(fields, width):
            raise _wrong(number, width, where=where)
        place = places.get(b" ".join(fields[:-width]))
        if place is not None and place not in found:
            found[place] = _numbers(fields[-width:], number, width, where=where)
    if not width:
        raise SourceError(
            f"{where} holds no word vectors.",
            fix="name a text file with a word and its numbers a line.",
        )
    return Vectors(
        np.array(list(found), np.int64),
        np.array(list(found.values()), np.float32).reshape(-1, width),
    )


def _is_counts(fields: Sequence[bytes]) -> bool:
    """Whether a first line says how many words follow, and of how many numbers each."""
    return len(fields) == 2 and all(field.isdigit() for field in fields)


def _is_word_with_spaces(fields: Sequence[bytes], width: int) -> bool:
    """Whether all numbers are there and more in front that is none: GloVe has words as `. . .`."""
    return len(fields) > width + 1 and _number(fields[-width - 1]) is None


def _numbers(fields: Sequence[bytes], line: int, width: int, *, where: str) -> list[float]:
    values = [_number(field) for field in fields]
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    if not values or len(numbers) != len(values):
        raise _wrong(line, width, where=where)
    return numbers


def _number(field: bytes) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None


def _wrong(line: int, width: int, *, where: str) -> SourceError:
    wanted = f"{width:,} of them" if line > 1 and width else "one or more"
    return SourceError(
        f"{where} line {line:,} is not a word and its numbers ({wanted}).",
        fix="mend it, or name a text file of word vectors; word2vec's binary form is not read.",
    )
