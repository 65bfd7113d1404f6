"""The error for one file that cannot be decoded."""

from __future__ import annotations

from typing import ClassVar

from gridcell.errors import SourceError


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
        super().__init__(f"{name} {reason}.", fix=self.fix_bad_file)
