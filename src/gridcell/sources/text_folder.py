"""Folders of .txt files: a text a file in folders of classes, or a class a file with a text a line.

Folders named train, val and test above them are the data's own split, as for images.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import SPLIT_NAMES, UNASSIGNED, Samples, TextFacts
from gridcell.sources import classes, folder, kinds, walk
from gridcell.sources.characters import clean, codes_of, decode_bytes, own_encoding, western
from gridcell.sources.scan import Progress, Scan, good_rows
from gridcell.sources.text_table import digests_of
from gridcell.sources.wording import SPLIT_WORDS, counted, listed, shown

EXTENSION = ".txt"
ABOUT_DATA = frozenset({"readme", "license", "licence", "notes", "copying", "changelog"})
"""Names of files that say something of the data, and are no class."""
NO_EFFECT = ("text_column", "id_column", "time_column", "inputs", "decimal", "delimiter", "header")


def read(
    path: Path,
    data: DataConfig,
    *,
    group: str | None = None,
    folds: str | None = None,
    progress: Progress | None = None,
    purpose: classes.Purpose = "train",
) -> Samples:
    """Read a folder of .txt files.

    Raises   SourceError if it holds no text, both split and other folders, or files that cannot be
             read; to train, also if it holds fewer than two classes, or one that only other splits
             than training have; ConfigError for a setting that has no effect on a folder
    """
    _refuse_settings(data, group, folds)
    tally = walk.Tally()
    found = walk.files(path, tally, wanted=lambda name: name.lower().endswith(EXTENSION))
    if not found:
        raise folder._no_file(path, tally, MEDIUM)
    has_splits = folder._has_splits(path, found, MEDIUM)
    depth = 2 if has_splits else 1
    inside = [name for name in found if name.count("/") >= depth]
    if inside:
        return _a_text_a_file(
            path, found, inside, data, tally, depth=depth, progress=progress, purpose=purpose
        )
    return _a_text_a_line(
        path, found, data, has_splits=has_splits, progress=progress, purpose=purpose
    )


def read_text(path: str, encoding: str) -> tuple[str, str]:
    """Return the text of a file as it stands, and "" or the reason why it has none.

    The reason is the rest of a sentence that begins with the file's name.

    encoding   of those files that are no UTF-8
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
        taken = own_encoding(content, encoding)
        text, _ = decode_bytes(content, where="", encoding=taken)
    except SourceError as error:
        hint = f" (name its encoding, for instance --encoding {western(content)})"
        return "", error.message.strip().removesuffix(".") + hint * ("byte b" in error.message)
    except OSError as error:
        return "", f"cannot be opened: {error.strerror or error}"
    if not clean(text):
        return "", "holds only white space" if content else "is empty (0 bytes)"
    return text, ""


MEDIUM = replace(kinds.MEDIA["texts"], extensions=(EXTENSION,))
"""What texts are called, for what folders of all kinds say of their files."""


def _refuse_settings(data: DataConfig, group: str | None, folds: str | None) -> None:
    folder._refuse_settings(data, group, folds)
    for name in NO_EFFECT:
        if getattr(data, name) != getattr(DataConfig(), name):
            raise ConfigError(
                f"{name} has no effect on a folder of .txt files: it is for a table.",
                fix=f"leave --{name.replace('_', '-')} out, or name a table of texts instead.",
            )


def _a_text_a_file(
    path: Path,
    found: list[str],
    inside: list[str],
    data: DataConfig,
    tally: walk.Tally,
    *,
    depth: int,
    progress: Progress | None,
    purpose: classes.Purpose,
) -> Samples:
    parts = [name.split("/") for name in inside]
    whole, numbers = classes.encode([folder._label(part[depth - 1], path) for part in parts])
    sides = [SPLIT_WORDS[part[0].lower()] if depth == 2 else UNASSIGNED for part in parts]
    fix = folder._one_class_fix(path, parts, depth=depth)
    classes.settle(whole, numbers, where=str(path), fix=fix, purpose=purpose)

    texts, scan = _read_all(path, inside, data, progress)
    rows, seen = good_rows(scan, inside, MEDIUM, where=path, on_bad_file=data.on_bad_file)
    labels, targets = classes.settle(
        whole, numbers[rows], where=str(path), fix=fix, purpose=purpose
    )
    given = np.array(sides, np.int8)[rows]
    classes.check_given(labels, targets, given, where=str(path), purpose=purpose)

    good = [clean(texts[row]) for row in rows.tolist()]
    stray = [name for name in found if name.count("/") < depth]
    notes = [
        f"{counted(len(rows), 'text')}, one a file, in "
        f"{counted(len(labels), 'class', 'classes')}: {listed(labels)}."
    ]
    notes += _split_notes(sorted({part[0] for part in parts}), given) if depth == 2 else []
    notes += folder._notes(parts, stray, tally, MEDIUM, depth=depth)
    notes += _lost_notes(whole, labels)
    return _samples(
        path, [inside[row] for row in rows], good, labels, targets, given, [*notes, *seen]
    )


def _a_text_a_line(
    path: Path,
    found: list[str],
    data: DataConfig,
    *,
    has_splits: bool,
    progress: Progress | None,
    purpose: classes.Purpose,
) -> Samples:
    about = [name for name in found if PurePosixPath(name).stem.lower() in ABOUT_DATA]
    files = [name for name in found if name not in about]
    read_files, scan = _read_all(path, files, data, progress)
    good, seen = good_rows(scan, files, MEDIUM, where=path, on_bad_file=data.on_bad_file)
    texts: list[str] = []
    names: list[str] = []
    owners: list[str] = []
    sides: list[int] = []
    blank = 0
    for row in good.tolist():
        name = PurePosixPath(files[row])
        lines = read_files[row].replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
        for number, line in enumerate(lines, start=1):
            text = clean(line)
            if not text:
                blank += 1
                continue
            texts.append(text)
            names.append(f"{name}#{number}")
            owners.append(folder._label(name.stem, path))
            sides.append(SPLIT_WORDS[name.parts[0].lower()] if has_splits else UNASSIGNED)
    encoded, numbers = classes.encode(owners)
    fix = "put the texts of each class into a file of its own, or into a folder named after it."
    labels, targets = classes.settle(encoded, numbers, where=str(path), fix=fix, purpose=purpose)
    given = np.array(sides, np.int8)
    classes.check_given(labels, targets, given, where=str(path), purpose=purpose)

    counts = Counter(owners).most_common()
    notes = [
        f"{counted(len(texts), 'text')} in {counted(len(labels), 'class', 'classes')}: each file "
        "is a class and each of its lines a text.",
        f"Lines: {listed(f'{shown(label)} {count:,}' for label, count in counts)}.",
    ]
    if has_splits:
        notes += _split_notes(sorted({name.split("/")[0] for name in files}), given)
    if blank:
        notes.append(f"Left out, {counted(blank, 'blank line')}.")
    if about:
        notes.append(f"Left out, not taken for classes: {listed(about)}.")
    wanted = {PurePosixPath(name).stem for name in files}
    notes += _lost_notes(sorted(wanted), labels)
    return _samples(path, names, texts, labels, targets, given, [*notes, *seen])


def _read_all(
    path: Path, names: Sequence[str], data: DataConfig, progress: Progress | None
) -> tuple[list[str], Scan]:
    """Return the text of every file as it stands, and the files that have none, with reasons."""
    texts: list[str] = []
    reasons: dict[int, str] = {}
    for row, name in enumerate(names):
        text, reason = read_text(os.path.join(path, name), data.encoding)
        texts.append(text)
        if reason:
            reasons[row] = reason
        if progress is not None:
            progress(row + 1, len(names))
    return texts, Scan(np.zeros(len(names), MEDIUM.dtype), reasons, len(names))


def _split_notes(folders: Sequence[str], given: NDArray[np.int8]) -> list[str]:
    ordered = sorted(folders, key=lambda name: SPLIT_WORDS[name.lower()])
    counts = ", ".join(f"{SPLIT_NAMES[s]} {(given == s).sum():,}" for s in np.unique(given))
    return [f"The data's own split is kept, from the folders {listed(ordered)}: {counts}."]


def _lost_notes(whole: Sequence[str], labels: Sequence[str]) -> list[str]:
    lost = [label for label in whole if label not in labels]
    return [f"Left out, none of its files can be read: {listed(lost)}."] if lost else []


def _samples(
    path: Path,
    names: Sequence[str],
    texts: Sequence[str],
    labels: tuple[str, ...],
    targets: NDArray[np.int64],
    given: NDArray[np.int8],
    notes: Sequence[str],
) -> Samples:
    return Samples(
        task="classify",
        paths=tuple(names),
        root=os.path.abspath(path),
        labels=labels,
        targets=targets,
        digests=digests_of(texts),
        facts=TextFacts(*codes_of(texts)),
        given=given,
        notes=tuple(notes),
    )
