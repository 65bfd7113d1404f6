"""Where gridcell keeps what it can make again, and how every file of ours is written.

A file is written beside its name, synced to the disk and renamed, so that a reader meets the old
file or the new one and never half of either, whatever stops us on the way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import platformdirs

from gridcell.errors import StorageError

CACHE_VARIABLE = "GRIDCELL_CACHE"
# File names may have 255 bytes on most systems; the rest is for the dot, the token and ".part".
STEM_LONGEST_BYTES = 200
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_PERMISSION = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def cache_folder(cache: Path | None) -> Path:
    """Return the given folder, else the one GRIDCELL_CACHE names, else the user's own cache.

    Nothing is made yet: `write_whole` makes the folders that it needs.
    """
    if cache is not None:
        return cache.expanduser()
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    return platformdirs.user_cache_path("gridcell", appauthor=False)


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file so that it is there whole or not at all; missing folders above it are made.

    `write` is handed the open file. If it fails, the file that stood at `path` is untouched and
    nothing is left beside it.

    Raises   StorageError that names `path` if the disk is full or the folder may not be written to
    """
    stem = os.fsencode(path.name)[:STEM_LONGEST_BYTES].decode("utf-8", "ignore")
    beside = path.parent / f".{stem}.{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise _storage_error(path, error) from error


def remember(path: Path, value: object) -> None:
    """Keep a small value as JSON for `remembered`; where nothing can be written, nothing is."""
    with contextlib.suppress(StorageError):
        write_whole(path, lambda file: _write_json(file, value))


def remembered(path: Path, kind: Any) -> Any:
    """Return what was kept at `path`; None where there is nothing, or nothing of type `kind`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def _write_json(file: BinaryIO, value: object) -> None:
    file.write(msgspec.json.encode(value))


def free_bytes(path: Path) -> int:
    """Return the bytes that are free where `path` would be written; asked before hours of work.

    Raises   StorageError where nothing may be written there, or no file may have that name
    """
    try:
        os.stat(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise _storage_error(path, error) from error
    above = next(place for place in (path, *path.absolute().parents) if os.path.isdir(place))
    if not os.access(above, os.W_OK | os.X_OK):
        raise _storage_error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return shutil.disk_usage(above).free


def told_bytes(count: int) -> str:
    """Say a number of bytes as a person reads it.

    >>> told_bytes(512), told_bytes(49152), told_bytes(999_960), told_bytes(3_200_000_000)
    ('512 B', '49.2 kB', '1.0 MB', '3.2 GB')
    """
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < (1000 if unit == "B" else 999.95):
            return f"{size:.1f} {unit}" if unit != "B" else f"{count} B"
        size /= 1000
    return f"{size:,.1f} GB"


def _sync_folder(folder: Path) -> None:
    """Make a rename outlast a power cut, where the system lets a folder be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders; its renames are journalled without our help.
        return
    try:
        os.fsync(handle)
    except OSError:  # Some network file systems refuse; the file itself is already synced.
        pass
    finally:
        os.close(handle)


def _storage_error(path: Path, error: OSError) -> StorageError:
    if error.errno in FULL_DISK:
        return StorageError(
            f"{path} cannot be written: the disk is full.",
            fix="free some space, or name a folder on another disk.",
        )
    if error.errno in NO_PERMISSION:
        return StorageError(
            f"{path} cannot be written: no permission to write in that folder.",
            fix=f"name another folder, with --cache or {CACHE_VARIABLE} if this is the cache.",
        )
    return StorageError(
        f"{path} cannot be written: {error.strerror or error}.", fix="name another folder."
    )
