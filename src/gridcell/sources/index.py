"""What an earlier scan found in each file, kept so that unchanged files are not read again.

One .npz without pickle for each folder or table that was read. An entry holds for as long as the
file has the same stamps (`scan` says which). A damaged or older index counts as none: all it costs
is reading the files once more.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gridcell.cache import write_whole

FORMAT = 2
STAMPS = 4


@dataclass(frozen=True)
class Index:
    """Facts by path, each with the stamps [STAMPS] of the file for which it was true."""

    rows: dict[str, int]
    stamps: NDArray[np.int64]
    facts: NDArray[np.void]


def place(cache: Path, about: Path) -> Path:
    """Return the file that holds the index of the folder or table `about`."""
    key = hashlib.blake2b(os.fsencode(about.resolve()), digest_size=16).hexdigest()
    return cache / "scans" / f"{key}.npz"


def load(file: Path, *, dtype: np.dtype[np.void], reader: str) -> Index:
    """Return the index in `file`, or an empty one if it is missing, damaged or another reader's.

    `dtype` is that of one record of facts. `reader` names the library and version that found them:
    another one may see other facts.
    """
    empty = Index(rows={}, stamps=np.empty((0, STAMPS), np.int64), facts=np.empty(0, dtype))
    try:
        # Opened here: NumPy leaves a file that it cannot read open.
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            if json.loads(stored["about"].tobytes()) != _about(reader):
                return empty
            paths = os.fsdecode(stored["paths"].tobytes()).split("\0")
            stamps, facts = stored["stamps"], stored["facts"]
    except Exception:  # NumPy and zipfile raise half a dozen kinds for a damaged file.
        return empty
    fits = stamps.shape == (len(paths), STAMPS) and stamps.dtype == np.int64
    if not fits or facts.shape != (len(paths),) or facts.dtype != dtype:
        return empty
    return Index({path: row for row, path in enumerate(paths)}, stamps, facts)


def save(
    file: Path,
    paths: Sequence[str],
    *,
    stamps: NDArray[np.int64],
    facts: NDArray[np.void],
    reader: str,
) -> None:
    """Write the index, whole or not at all.

    Raises   StorageError if it cannot be written
    """

    def write(out: BinaryIO) -> None:
        np.savez(
            out,
            about=np.frombuffer(json.dumps(_about(reader)).encode(), np.uint8),
            paths=np.frombuffer(os.fsencode("\0".join(paths)), np.uint8),
            stamps=stamps,
            facts=facts,
        )

    write_whole(file, write)


def _about(reader: str) -> dict[str, object]:
    return {"format": FORMAT, "reader": reader}
