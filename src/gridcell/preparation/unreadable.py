"""The errors for one file that cannot be opened or decoded."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gridcell.errors import SourceError
from gridcell.sources.scan import cannot_open
from gridcell.sources.wording import shown

ANOTHER_FILE = "name another file, or pass --on-bad-file skip."


class UnreadableError(SourceError):
    """A file cannot be decoded; `reason` is the rest of the sentence that `name` begins.

    `is_lasting` is False where the fault is not in the bytes of the file, such as a missing file
    or a network drive that went away: the same content may be readable the next time.
    """

    fix_bad_file: ClassVar[str] = "convert it, or pass --on-bad-file skip."

    def __init__(self, name: str, reason: str, *, is_lasting: bool = True) -> None:
        self.name = name
        self.reason = reason
        self.is_lasting = is_lasting
        # Converting a file that is not there helps nobody.
        fix = self.fix_bad_file if is_lasting else ANOTHER_FILE
        super().__init__(f"{name} {reason}.", fix=fix)


class UnopenedError(UnreadableError):
    """A file cannot be opened: it isn't there, is a folder, or may not be read."""

    fix_bad_file: ClassVar[str] = ANOTHER_FILE


@dataclass(frozen=True)
class Unread:
    """A text or series of a file that cannot be read, where the others of the file can."""

    name: str
    reason: str
    """A whole sentence."""


@contextmanager
def opening(source: Path) -> Iterator[None]:
    """Read a file inside; where the system refuses it, that is an UnopenedError."""
    name = shown(str(source))
    try:
        source.lstat()
    except ValueError as error:  # no file can have that name, for instance one with a zero byte
        raise UnopenedError(name, f"cannot be opened: {error}", is_lasting=False) from error
    except OSError as error:
        raise UnopenedError(name, cannot_open(str(source), error), is_lasting=False) from error
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:  # of a copy that a reader makes: no fault of the file's
            raise
        raise UnopenedError(name, cannot_open(str(source), error), is_lasting=False) from error
