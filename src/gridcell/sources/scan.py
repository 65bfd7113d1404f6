"""The header scan: what every file of a set is, and which are none of its kind, before decoding.

Each file is read once, by its Medium. A file whose header is whole but whose data are
cut is found later, by the decoder.
"""

from __future__ import annotations

import errno
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gridcell.cache import cache_folder
from gridcell.errors import SourceError, StorageError
from gridcell.sources import index
from gridcell.sources.index import STAMPS
from gridcell.sources.media import Medium, Record
from gridcell.sources.wording import counted, itemised, shown
from gridcell.workers import in_order

Progress = Callable[[int, int], None]

BAD_LISTED = 50
CHUNK_FILES = 64
# A file changed twice within one tick of the file system's clock keeps its time of change; FAT
# ticks every 2 s. So a file that is younger than this when scanned is read again the next time.
SETTLED_NS = 2_000_000_000
LARGEST = (1 << 63) - 1


@dataclass(frozen=True)
class Scan:
    """Facts of every file, in the order asked for, and the reasons of those of another kind."""

    facts: NDArray[np.void]
    """[N] of the Medium's `dtype`; zero where the file is bad."""
    reasons: dict[int, str]
    """Row of each bad file and what is wrong with it: a sentence whose subject is the file."""
    read: int
    """How many files were read; the others were known from an earlier scan."""
    notes: tuple[str, ...] = ()


def scan(
    root: Path,
    paths: Sequence[str],
    medium: Medium,
    *,
    about: Path,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Scan:
    """Read the headers of all files; unchanged files are taken from the last scan.

    `paths` are relative to `root`; `about` is the folder or table whose files they are, under which
    the facts are kept in the cache folder. `progress` is called with files done and files in all.

    Cost     about 0.1 ms an image on a core, and the reading; 60,000 known files take half a second
    """
    reader = medium.reader()
    where = index.place(cache_folder(cache), about)
    known = index.load(where, dtype=medium.dtype, reader=reader)
    stamps, reasons = _stamps(root, paths)
    is_settled = np.abs(time.time_ns() - stamps[:, 1]) > SETTLED_NS

    facts = np.zeros(len(paths), medium.dtype)
    rows = np.fromiter((known.rows.get(path, -1) for path in paths), np.int64, len(paths))
    hits = np.flatnonzero(rows >= 0)
    hits = hits[(known.stamps[rows[hits]] == stamps[hits]).all(axis=1)]
    facts[hits] = known.facts[rows[hits]]
    unread = np.ones(len(paths), np.bool_)
    unread[hits] = False
    unread[list(reasons)] = False
    wanted = np.flatnonzero(unread).tolist()
    if progress is not None:
        progress(len(paths) - len(wanted), len(paths))

    for row, found in _headers(root, paths, wanted, medium, progress):
        if isinstance(found, str):
            reasons[row] = found
        else:
            facts[row] = found

    notes: list[str] = []
    if wanted:
        keep = is_settled.copy()
        keep[list(reasons)] = False
        try:
            kept = np.flatnonzero(keep).tolist()
            index.save(
                where,
                [paths[row] for row in kept],
                stamps=stamps[kept],
                facts=facts[kept],
                reader=reader,
            )
        except StorageError as error:
            notes.append(f"The files will be scanned again next time: {error.message}")
    return Scan(facts, dict(sorted(reasons.items())), len(wanted), tuple(notes))


def good_rows(
    found: Scan,
    paths: Sequence[str],
    medium: Medium,
    *,
    where: Path,
    on_bad_file: Literal["stop", "skip"],
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the rows of the files that can be read, and notes on what the scan saw.

    Raises   SourceError that lists every bad file, unless `on_bad_file` is "skip"; and in any case
             if no file is left
    """
    lines = [f"{_under(where, paths[row])} {why}" for row, why in found.reasons.items()]
    keep = np.ones(len(paths), np.bool_)
    keep[list(found.reasons)] = False
    rows = np.flatnonzero(keep)
    listing = itemised(lines, most=BAD_LISTED)
    all_files = counted(len(paths), "file")
    if lines and on_bad_file == "stop":
        raise SourceError(
            f"{lines[0]}."
            if len(lines) == 1
            else f"{len(lines):,} of {all_files} cannot be read as {medium.kind}:{listing}",
            fix="convert or remove what is named, or pass --on-bad-file skip to go on without.",
        )
    if not len(rows):
        raise SourceError(
            f"{where}: none of the {all_files} can be read as {medium.one}:{listing}",
            fix=f"name a folder or table with whole {medium.noun} files.",
        )
    notes = list(found.notes)
    if lines:
        notes.append(
            f"{counted(len(rows), 'file')} used, {len(lines):,} skipped as unreadable:{listing}"
        )
    notes += medium.notes_of(found.facts[rows], [paths[row] for row in rows.tolist()])
    return rows, tuple(notes)


def cannot_open(path: str, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "is a link to a file that isn't there" if os.path.islink(path) else "does not exist"
    if error.errno == errno.EISDIR:
        return "is a folder"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "cannot be opened: no permission to read it"
    return f"cannot be opened: {error.strerror or error}"


def _stamps(root: Path, paths: Sequence[str]) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Return what changes with a file's content, and the reasons of those that have none.

    Size and time of change are not enough: two folders of unpacked files of one size and one time
    may change their names. The number that the disk knows a file by goes with the file, and the
    time at which it was last touched in any way nobody can set.

    Shapes   -> [N, STAMPS]: size, time of change, time of touch, number
    """
    stamps = np.zeros((len(paths), STAMPS), np.int64)
    reasons: dict[int, str] = {}
    base = str(root)
    for row, path in enumerate(paths):
        try:
            status = os.stat(os.path.join(base, path))
        except OSError as error:
            reasons[row] = cannot_open(os.path.join(base, path), error)
        else:
            number = status.st_ino & LARGEST  # it may have 64 bits, and here a sign
            stamps[row] = status.st_size, status.st_mtime_ns, status.st_ctime_ns, number
    return stamps, reasons


def _headers(
    root: Path,
    paths: Sequence[str],
    rows: Sequence[int],
    medium: Medium,
    progress: Progress | None,
) -> list[tuple[int, Record | str]]:
    """Read the files of these rows."""

    def read(row: int) -> tuple[int, Record | str]:
        return row, _header_at(os.path.join(root, paths[row]), medium)

    found: list[tuple[int, Record | str]] = []
    # Readers warn of what is judged here (large images, broken EXIF). The filters belong to the
    # whole process, so they are set around the threads and not inside of them.
    with (
        warnings.catch_warnings(),
        closing(in_order(read, rows, at_once=CHUNK_FILES)) as parts,
    ):
        warnings.simplefilter("ignore")
        for part in parts:
            found += part
            if progress is not None:
                progress(len(paths) - len(rows) + len(found), len(paths))
    return found


def _header_at(path: str, medium: Medium) -> Record | str:
    try:
        return medium.header(path)
    except OSError as error:
        return cannot_open(path, error)


def _under(where: Path, path: str) -> str:
    """Name a file as the user would: below the folder, or beside the table, that was given."""
    folder = where.parent if where.is_file() else where
    return shown(os.path.join(str(folder), path))
