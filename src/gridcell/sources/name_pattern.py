"""Groups and folds from the names of files: `{person}_*` says where the person stands in them.

Recordings of one person, place or day are alike, and most folders say in the files' names whose
they are. Without that said, they stand on both sides of a split, and scores are too good.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import ConfigError, SourceError
from gridcell.sources import classes
from gridcell.sources.wording import counted, itemised, listed, shown

PLACE = re.compile(r"\{[^{}/*]*\}")
NAMES_TOLD = 6


def is_pattern(text: str | None) -> bool:
    """Say whether this is a pattern of names, and no name of a column.

    >>> is_pattern("{person}_*"), is_pattern("person"), is_pattern(None)
    (True, False, False)
    """
    return text is not None and PLACE.search(text) is not None


def noun_of(text: str) -> str:
    """Return what a column or pattern gives in one word.

    >>> noun_of("{person}_*"), noun_of("*_{}_*"), noun_of("speaker")
    ('person', 'fold', 'speaker')
    """
    place = PLACE.search(text)
    return text if place is None else shown(place[0][1:-1]) or "fold"


def parts_named(
    pattern: str, paths: Sequence[str], option: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the number of each file's group or fold, and their names, as the pattern finds them.

    `{person}`, or any word in braces, stands for what is wanted, `*` for anything. Each takes as
    little as it can, and no slash. The pattern is of the file's whole name, with its ending or
    without; if it has a slash, of the path below the folder of the data.

    Raises   ConfigError for a pattern that names no one place; SourceError for files that do not
             fit it

    >>> numbers, names = parts_named("*_{who}_*", ["7_ann_0.wav", "7_bo_0.wav"], "group")
    >>> numbers.tolist(), names
    ([0, 1], ('ann', 'bo'))
    """
    wanted = _compiled(pattern, option)
    is_path = "/" in pattern
    found = []
    strange = []
    for path in paths:
        whole = PurePosixPath(path)
        tried = (str(whole.with_suffix("")), path) if is_path else (whole.stem, whole.name)
        match = next(filter(None, map(wanted.fullmatch, tried)), None)
        if match is None:
            strange.append(path)
        else:
            found.append(match[1])
    if strange:
        do = "does" if len(strange) == 1 else "do"
        files = f"{len(strange):,} of {counted(len(paths), 'file')}"
        raise SourceError(
            f"{files} {do} not fit {shown(pattern)} (for --{option}):"
            f"{itemised(strange, most=NAMES_TOLD)}",
            fix="give a pattern that all names fit, rename or remove those files, or name a table "
            "of paths with a column for it.",
        )
    names, numbers = classes.encode(found)
    return numbers, names


def told(option: str, pattern: str, names: Sequence[str]) -> str:
    """What a pattern gave, for the user.

    >>> told("group", "{who}_*", ["ann", "bo"])
    'Names of files like {who}_* give 2 groups (ann, bo), each kept on one side of the split.'
    """
    noun, fate = (
        ("group", "each kept on one side of the split")
        if option == "group"
        else ("fold", "each in turn the test part")
    )
    count = counted(len(names), noun)
    some = listed(names, most=NAMES_TOLD)
    return f"Names of files like {shown(pattern)} give {count} ({some}), {fate}."


def _compiled(pattern: str, option: str) -> re.Pattern[str]:
    places = PLACE.findall(pattern)
    if len(places) != 1:
        raise ConfigError(
            f"{option} {shown(pattern)} has {len(places)} places in braces: one is needed.",
            fix=f"write * for what is not wanted: --{option} '{{person}}_*'.",
        )
    (place,) = places
    if f"{place}*" in pattern or f"*{place}" in pattern:
        raise ConfigError(
            f"{option} {shown(pattern)} does not say where {place} begins and ends: * stands "
            "beside it, and may be anything.",
            fix=f"write what stands between them, for instance --{option} '{{person}}_*'.",
        )
    before, after = (
        "[^/]*?".join(map(re.escape, part.split("*"))) for part in PLACE.split(pattern)
    )
    return re.compile(f"{before}([^/]+?){after}")
