"""A folder of class folders: the name of the folder is the class of the files in it.

Folders named train, val and test (and their longer forms) above the class folders are the data's
own split. No other name is given a meaning. What is left out is counted and said.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import Literal

import numpy as np

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import SPLIT_NAMES, UNASSIGNED, Facts, Kind, Samples
from gridcell.sources import classes, kinds, walk
from gridcell.sources.dialect import is_table
from gridcell.sources.media import Medium
from gridcell.sources.scan import Progress, good_rows, scan
from gridcell.sources.series_files import read_files
from gridcell.sources.wording import SPLIT_WORDS, counted, listed, shown

TABLE_EXTENSIONS = (".csv", ".tsv", ".parquet")


def read(
    path: Path,
    data: DataConfig,
    *,
    group: str | None = None,
    folds: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    purpose: classes.Purpose = "train",
) -> Samples:
    """Read a folder of class folders, with or without split folders above them.

    Raises   SourceError if it holds no file of the kind, both split and other folders, or bad
             files; to train, also if it holds fewer than two classes, or one that only other splits
             than training have; ConfigError for a setting that has no effect on a folder, and for
             files of several kinds
    """
    tally, found = _found(path, data.kind)
    medium = kinds.medium_of(found, data.kind, where=path)
    _refuse_settings(data, group, folds, None if medium is None else medium.kind)
    if medium is None or not found:
        raise _no_file(path, tally, medium)
    has_splits = _has_splits(path, found, medium)
    depth = 2 if has_splits else 1
    inside = [name for name in found if name.count("/") >= depth]
    if not inside:
        raise _no_class_folder(path, found, medium, has_splits=has_splits)

    parts = [name.split("/") for name in inside]
    labels, targets = classes.encode([_label(part[depth - 1], path) for part in parts])
    given = np.array(
        [SPLIT_WORDS[part[0].lower()] if has_splits else UNASSIGNED for part in parts], np.int8
    )
    fix = _one_class_fix(path, parts, depth=depth)
    classes.settle(labels, targets, where=str(path), fix=fix, purpose=purpose)
    classes.check_given(labels, targets, given, where=str(path), purpose=purpose)

    facts: Facts
    if medium.kind == "series":
        files = read_files(path, inside, data, where=path, progress=progress)
        rows, seen, facts, digests = files.rows, files.notes, files.facts, files.digests
    else:
        headers = scan(path, inside, medium, about=path, cache=cache, progress=progress)
        rows, seen = good_rows(headers, inside, medium, where=path, on_bad_file=data.on_bad_file)
        facts = medium.facts_of(headers.facts[rows])
        digests = headers.facts[rows]["digest"].copy()
    whole = labels
    labels, targets = classes.settle(
        labels, targets[rows], where=str(path), fix=fix, purpose=purpose
    )
    given = given[rows]
    classes.check_given(labels, targets, given, where=str(path), purpose=purpose)

    stray = [name for name in found if name.count("/") < depth]
    count = counted(len(labels), "class", "classes")
    notes = [f"{counted(len(rows), medium.noun)} in {count}: {listed(labels)}."]
    if has_splits:
        sides = sorted({part[0] for part in parts}, key=lambda name: SPLIT_WORDS[name.lower()])
        notes.append(
            f"The data's own split is kept, from the folders {listed(sides)}: "
            + ", ".join(f"{SPLIT_NAMES[s]} {(given == s).sum():,}" for s in np.unique(given))
            + "."
        )
    notes += _notes(parts, stray, tally, medium, depth=depth)
    lost = [label for label in whole if label not in labels]
    if lost:
        notes.append(f"Left out, none of its files can be read: {listed(lost)}.")
    return Samples(
        task="classify",
        paths=tuple(inside[row] for row in rows),
        root=os.path.abspath(path),
        labels=labels,
        targets=targets,
        digests=digests,
        facts=facts,
        given=given,
        notes=(*notes, *seen),
    )


def _found(path: Path, kind: Literal["auto"] | Kind) -> tuple[walk.Tally, list[str]]:
    """Return the files of the kind; of series, under auto, where there is no other in folders."""
    tally = walk.Tally()
    found = walk.files(path, tally, wanted=lambda name: kinds.is_wanted(name, kind))
    if found or kind != "auto":
        return tally, found
    again = walk.Tally()
    tables = walk.files(path, again, wanted=is_table)
    # Tables at the top say something of files elsewhere.
    return (again, tables) if any("/" in name for name in tables) else (tally, [])


def _refuse_settings(
    data: DataConfig, group: str | None, folds: str | None, kind: Kind | None = None
) -> None:
    """Refuse the settings that only a table gives a meaning to."""
    for name, value in (
        ("target", data.target),
        ("path_column", data.path_column),
        ("id_column", data.id_column),
        *(() if kind == "series" else (("time_column", data.time_column), ("inputs", data.inputs))),
    ):
        if value:
            raise ConfigError(
                f"{name} has no effect on a folder of class folders: it names a column of a table.",
                fix=f"leave --{name.replace('_', '-')} out, or name a table of paths instead.",
            )
    for name, value in (("group", group), ("folds", folds)):
        if value:
            raise ConfigError(
                f"{name} has no effect on a folder of class folders: it names a column of a table.",
                fix=f"say where it stands in the files' names, as in --{name} '{{person}}_*', or "
                "name a table of paths instead.",
            )
    if data.task not in ("auto", "classify"):
        raise ConfigError(
            f"task {data.task} cannot be read from a folder of class folders: "
            "the name of a folder is one class.",
            fix="list the files in a table, with a column of paths and what to learn beside it.",
        )


def _has_splits(path: Path, found: Iterable[str], medium: Medium) -> bool:
    """Say whether the top folders are the data's own split; refuse a mixture with other names."""
    tops = sorted({name.split("/", 1)[0] for name in found if "/" in name})
    named = [top for top in tops if top.lower() in SPLIT_WORDS]
    others = [top for top in tops if top.lower() not in SPLIT_WORDS]
    if named and others:
        verb = "is a split" if len(named) == 1 else "are splits"
        raise SourceError(
            f"{path}: {listed(named)} could be split folders or classes, beside {listed(others)}: "
            f"either {listed(named)} {verb} and the others do not belong there, "
            "or all are classes.",
            fix=f"move {listed(others)} out of it, or rename {listed(named)} if that is a class.",
        )
    sides: defaultdict[int, list[str]] = defaultdict(list)
    for top in named:
        sides[SPLIT_WORDS[top.lower()]].append(top)
    for side, names in sides.items():
        if len(names) > 1:
            raise SourceError(
                f"{path}: the folders {listed(names)} all mean the {SPLIT_NAMES[side]} split.",
                fix=f"keep one of them, or put their {medium.kind} together.",
            )
    return bool(named)


def _label(name: str, path: Path) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"{path}: the folder name {name!r} is no valid text, so it cannot name a class.",
            fix="rename the folder.",
        ) from error
    return name


def _no_file(path: Path, tally: walk.Tally, medium: Medium | None) -> SourceError:
    """Say that the folder holds no file of the kind asked for, or of any kind."""
    media = [medium] if medium else list(kinds.MEDIA.values())
    seen = [f"{name} ({count:,})" for name, count in tally.extensions.most_common()]
    supported = dict.fromkeys(name for each in media for name in each.extensions)
    noun = medium.noun if medium else "image, sound or clip"
    wanted = medium.kind if medium else "images, sounds or clips"
    fix = f"name a folder that holds one folder of {wanted} for each class"
    tables = [name for name in tally.extensions if name in supported]
    if tables and len(tables) == len(tally.extensions):
        return SourceError(
            f"{path} holds no folders of classes, only files: {listed(seen)}.",
            fix="put the files of each class into a folder of its own, or name one of the "
            f"{listed(tables)} files itself.",
        )
    if tables:
        fix += f", or one of the {listed(tables)} files itself"
    if ".gridcell" in tally.extensions:
        fix += (
            f"; where a run lies there, it goes on with gridcell train {quote(str(path))} --resume"
        )
    return SourceError(
        f"{path} holds no {noun}. Extensions seen: {listed(seen) or 'none'}. "
        f"Supported: {' '.join(supported)}.",
        fix=f"{fix}.",
    )


def _no_class_folder(
    path: Path, found: list[str], medium: Medium, *, has_splits: bool
) -> SourceError:
    """Say why no file stands inside a class folder."""
    if has_splits:
        return SourceError(
            f"{path}: the split folders hold {medium.kind}, but no class folders "
            f"(for instance {shown(found[0])}).",
            fix=f"put the {medium.kind} of each class into a folder named after it, below each "
            "split.",
        )
    tables = _tables(path)
    if len(tables) == 1:
        return SourceError(
            f"{path} holds no class folders, but a table, {shown(tables[0])}.",
            fix=f"name the table: {shown(str(path / tables[0]))}",
        )
    return SourceError(
        f"{path} holds {counted(len(found), medium.noun)}, but no class folders: "
        f"nothing says which class {medium.one} is of.",
        fix=f"put the {medium.kind} of each class into a folder named after it, or name a table of "
        "paths and classes.",
    )


def _one_class_fix(path: Path, parts: list[list[str]], *, depth: int) -> str:
    """Find the likely reason why there is one class only."""
    inner = sorted({part[depth] for part in parts if len(part) > depth + 1})
    if len(inner) > 1 and depth == 1:
        return (
            f"if {listed(inner, most=3)} are the classes, name the folder that holds them: "
            f"{shown(str(path / parts[0][0]))}"
        )
    tables = _tables(path)
    if tables:
        return f"if {shown(tables[0])} holds the answers, name it: {shown(str(path / tables[0]))}"
    return "add a folder for each further class, beside this one."


def _tables(path: Path) -> list[str]:
    return [e.name for e in walk.entries(str(path)) if e.name.lower().endswith(TABLE_EXTENSIONS)]


def _notes(
    parts: list[list[str]], stray: list[str], tally: walk.Tally, medium: Medium, *, depth: int
) -> list[str]:
    """Say what a walk met that is not simply a file in a class folder."""
    notes = []
    nested = [part for part in parts if len(part) > depth + 1]
    if nested:
        inside = Counter(part[depth - 1] for part in nested)
        places = listed((f"{name} {count:,}" for name, count in sorted(inside.items())), most=6)
        notes.append(
            f"{counted(len(nested), medium.noun)} in folders inside a class folder: counted as "
            f"that class ({places})."
        )
        owners: defaultdict[str, set[str]] = defaultdict(set)
        for part in nested:
            owners[part[depth]].add(part[depth - 1])
        again = sorted(name for name, classes_ in owners.items() if len(classes_) > 1)
        if len(nested) == len(parts) and again:
            same = f"Every class folder holds folders of the same names ({listed(again, most=6)}): "
            if all(name.lower() in SPLIT_WORDS for name in again):
                same += "these are no split, which is read where they hold those of the classes."
            else:
                same += "if those are the classes, they must stand at the top."
            notes.append(same)
    holding = {"/".join(part[:depth]) for part in parts}
    tops = {part[0] for part in parts}
    empty = [
        name
        for name in tally.folders
        if (name.count("/") == depth - 1 and name not in holding)
        or (depth == 2 and "/" not in name and name not in tops)
    ]
    if empty:
        notes.append(f"Left out, no {medium.noun} in it: {listed(empty)}.")
    if stray:
        verb = "lies" if len(stray) == 1 else "lie"
        notes.append(
            f"Left out, {counted(len(stray), medium.noun)} {verb} outside any class folder: "
            f"{listed(stray, most=6)}."
        )
    if tally.extensions:
        counts = listed((f"{name} {count:,}" for name, count in tally.extensions.most_common()))
        total = counted(tally.extensions.total(), "file")
        notes.append(f"Ignored, {total} not named as {medium.kind}: {counts}.")
    if tally.hidden:
        counts = listed((f"{name} {count:,}" for name, count in sorted(tally.hidden.items())))
        total = counted(tally.hidden.total(), "hidden or system entry", "hidden or system entries")
        notes.append(f"Ignored, {total}: {counts}.")
    if tally.links:
        notes.append(
            f"Ignored, {counted(tally.links, 'link')} to a folder that is already being read."
        )
    return notes
