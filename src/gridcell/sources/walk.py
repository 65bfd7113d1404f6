"""A walk through a folder: its files, each once, in the same order on every system.

What a system leaves behind is passed over, loops of links end, pipes are not waited for; and what
was passed over is counted, so that it can be said.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gridcell.errors import SourceError
from gridcell.sources.wording import shown

SYSTEM_NAMES = frozenset(
    {"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "__pycache__", "lost+found"}
    | {"$recycle.bin", "system volume information", "@eadir"}
)


@dataclass
class Tally:
    """What a walk passes over, counted as it goes."""

    hidden: Counter[str] = field(default_factory=Counter)
    extensions: Counter[str] = field(default_factory=Counter)
    links: int = 0
    folders: list[str] = field(default_factory=list)
    """Every folder met, relative to the root."""


def files(root: Path, tally: Tally, *, wanted: Callable[[str], bool]) -> list[str]:
    """Return every file with a wanted name below `root`: relative, with forward slashes, sorted.

    Links to folders are followed, but to none that was read under the same top folder or that
    holds what is being read: so a loop of links ends.
    """
    found: list[str] = []
    root_real = os.path.realpath(root)
    seen: set[str] = set()
    top_real = root_real
    stack = [(str(root), root_real, "")]
    while stack:
        place, real, prefix = stack.pop()
        if prefix.count("/") == 1:
            seen, top_real = {real}, real
        inner = []
        for entry in entries(place):
            if is_system(entry.name):
                kind = "._*" if entry.name.startswith("._") else entry.name
                tally.hidden[kind] += 1
            elif _is_folder(entry):
                name = prefix + entry.name
                target = os.path.join(real, entry.name)
                if entry.is_symlink():
                    target = os.path.realpath(entry.path)
                    if _holds(target, top_real) or _holds(target, root_real):
                        tally.links += 1
                        continue
                if prefix:
                    if target in seen:
                        tally.links += 1
                        continue
                    seen.add(target)
                tally.folders.append(name)
                inner.append((entry.path, target, name + "/"))
            elif wanted(entry.name) and _is_file_or_lost(entry):
                found.append(prefix + entry.name)
            else:
                extension = os.path.splitext(entry.name)[1].lower()
                tally.extensions[extension or "no extension"] += 1
        # A stack and not recursion: folders may be nested deeper than Python may recurse. Reversed,
        # so that each top folder is finished before the next begins.
        stack += reversed(inner)
    return sorted(found)


def is_system(name: str) -> bool:
    """Say whether an entry is hidden or left behind by a system, and so no part of the data."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def entries(place: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except PermissionError as error:
        raise SourceError(
            f"{shown(place)} cannot be opened: no permission to read that folder.",
            fix="allow reading it, or move it out of the data.",
        ) from error
    except OSError as error:
        raise SourceError(f"{shown(place)} cannot be opened: {error.strerror}.") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_file_or_lost(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a file, or a link to none, which the scan will name as bad.

    Pipes and devices are neither: to open one may wait for ever.
    """
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:  # a link that leads to itself
        return True


def _holds(folder: str, other: str) -> bool:
    return other == folder or other.startswith(folder.rstrip(os.sep) + os.sep)
