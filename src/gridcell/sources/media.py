"""What a scan must know of a kind of file: images, sounds and clips each describe themselves so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridcell.samples import Facts, Kind

Record = tuple[Any, ...]
"""What a scan keeps of one file: a value for each field of the Medium's `dtype`, in its order."""


def _no_notes(facts: NDArray[np.void], paths: Sequence[str]) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Medium:
    """A kind of file: how it is named, and how its headers are read."""

    kind: Kind
    noun: str
    """What one item is called: image, sound, clip."""
    extensions: tuple[str, ...]
    """Extensions that can be read, in lower case and with their dot. One that two kinds name (.gif:
    images and clips) is the earlier kind's, unless the other is asked for."""
    dtype: np.dtype[np.void]
    """The record of one file; its field `digest` (V16) is that of the file's bytes."""
    header: Callable[[str], Record | str]
    """Reads one file: a record, or the reason why it is none of this kind, as the rest of a
    sentence that begins with its name. An OSError of opening or reading is let through. It is
    called from several threads at once, with warnings off."""
    reader: Callable[[], str]
    """Names the library and version that reads the headers; MissingExtraError where it is missing.
    It is called once, before any header is read."""
    facts_of: Callable[[NDArray[np.void]], Facts]
    """The columns that `Samples` holds, of records [N]."""
    unsupported: tuple[str, ...] = ()
    """Extensions of the kind that cannot be read: such files are named as bad, not passed over."""
    article: str = "a"
    notes_of: Callable[[NDArray[np.void], Sequence[str]], tuple[str, ...]] = _no_notes
    """What the user should know of the files that are used, a sentence each: called with their
    records [N] and their paths."""

    def is_named(self, name: str) -> bool:
        """Say whether a file's extension, in upper or lower case, is of this kind."""
        return name.lower().endswith((*self.extensions, *self.unsupported))

    @property
    def one(self) -> str:
        """The noun with its article: an image."""
        return f"{self.article} {self.noun}"


def digest_of(file: BufferedReader) -> bytes:
    """Return the digest (16 bytes) of what is left to read in a file, a piece at a time."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
