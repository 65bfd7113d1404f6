"""The errors that gridcell raises, each with what is wrong, where, and one next step.

A `GridcellError` is the user's to mend: the command line prints its text without a traceback and
exits with `exit_code`. Anything else that escapes is a fault of ours and exits with 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal, get_args

Stage = Literal["writing", "columns", "content"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""How far the reading of a table came: not even how it is written could be told, or its columns or
cells are not what they should be, or it could be read and what it says cannot be used."""
EXIT_DONE = 0
EXIT_FAULT = 1
EXIT_UNUSABLE = 2


class GridcellError(Exception):
    """Something that the user can mend; `fix` says how.

    >>> print(GridcellError("photos/ holds no image.", fix="name a folder with images in it."))
    photos/ holds no image.
      Fix: name a folder with images in it.
    """

    exit_code = EXIT_UNUSABLE

    def __init__(self, message: str, *, fix: str | None = None, stage: Stage = "content") -> None:
        self.message = message
        self.fix = fix
        self.stage = stage
        super().__init__(message if fix is None else f"{message}\n  Fix: {fix}")


class ConfigError(GridcellError):
    """A setting is unknown, out of range, without effect, or at odds with another."""


class SourceError(GridcellError):
    """What lies on disk cannot be read as the data that was asked for."""


class SplitError(GridcellError):
    """The items cannot be divided into training, validation and test rows as asked."""


class NetworkError(GridcellError):
    """A network's notation cannot be read, or its layers do not fit the data."""


class ShapeError(GridcellError, ValueError):
    """An array has not the axes or sizes that a layer needs."""


class ModelFileError(GridcellError):
    """A model file is not ours, damaged, unsafe, or from a later version."""


class DamagedFileError(ModelFileError):
    """A file of ours is cut, or its content is not what was written."""


class StorageError(GridcellError):
    """A file cannot be written: the disk is full, or the folder may not be written to."""


class MissingExtraError(GridcellError):
    """A library that only some uses need is not installed."""


class TrainingError(GridcellError):
    """Training went wrong on the way, for instance by a loss that is no longer finite."""

    exit_code = EXIT_FAULT


class MemoryFullError(GridcellError):
    """The memory does not hold what was asked for, in however small pieces."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean X?` for the nearest known name, or an empty string.

    What cannot be printed is escaped.

    >>> did_you_mean("epoch", ["epochs", "seed"])
    ' Did you mean epochs?'
    >>> did_you_mean("zzz", ["epochs", "seed"])
    ''
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    if not near:
        return ""
    return f" Did you mean {near[0] if near[0].isprintable() else repr(near[0])[1:-1]}?"
