"""The idx files that MNIST and its kin come in: whole arrays of images and labels, gzipped or not.

`train-images-idx3-ubyte` and `train-labels-idx1-ubyte` are training rows, `t10k-...` test rows.
A `labels.txt` or `classes.txt` beside them, one name a line, gives the classes their names.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import SPLIT_NAMES, TEST, TRAIN, ImageFacts, Samples
from gridcell.sources import classes, walk
from gridcell.sources.scan import Progress
from gridcell.sources.wording import counted, listed

NAME = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?", re.IGNORECASE)
NAME_FILES = ("labels.txt", "classes.txt")
SIDES = {"train": TRAIN, "t10k": TEST, "test": TEST}
# An idx header: two zero bytes, the type (8 = unsigned byte), the count of axes, then the axes.
UNSIGNED_BYTE = 8
AXES = {"images": 3, "labels": 1}
VALUES_LARGEST = 16 * 2**30
CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Part:
    """One pair of files: the pixels [N, H, W] and labels [N] of one side of the split."""

    side: int
    name: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def files(path: Path) -> dict[tuple[int, str], Path]:
    """Return the idx files of a folder by split and content; an unpacked one before its .gz."""
    found: dict[tuple[int, str], Path] = {}
    for entry in walk.entries(os.fspath(path)):
        match = NAME.fullmatch(entry.name)
        if match and entry.is_file():
            key = SIDES[match[1].lower()], match[2].lower()
            if key not in found or not match[3]:
                found[key] = path / entry.name
    return found


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
    """Read all idx files of a folder; classes keep the order of their numbers.

    `cache` is not used: the arrays are already decoded.

    Raises   SourceError if a file is missing, cut, not idx, or at odds with another; to train, also
             if there are no training files; ConfigError for a setting that has no effect on idx
             files
    """
    _refuse_settings(data, group, folds)
    found = files(path)
    parts = [_part(path, found, side) for side in (TRAIN, TEST) if _has(found, side)]
    if purpose == "train" and not _has(found, TRAIN):
        raise SourceError(
            f"{path} holds test files ({listed(f.name for f in found.values())}) and none to train "
            "on.",
            fix="put train-images-idx3-ubyte and train-labels-idx1-ubyte beside them.",
        )
    shapes = {part.name: part.pixels.shape[1:] for part in parts}
    if len(set(shapes.values())) > 1:
        text = ", ".join(f"{name}: {h}x{w}" for name, (h, w) in shapes.items())
        raise SourceError(f"{path}: the images of the files differ in size ({text}).")

    pixels = np.concatenate([part.pixels for part in parts])
    numbers = np.concatenate([part.labels for part in parts]).astype(np.int64)
    given = np.concatenate([np.full(len(part.labels), part.side, np.int8) for part in parts])
    names, named_by = _class_names(path, numbers)
    labels, targets = classes.settle(
        names,
        numbers,
        where=str(path),
        fix="name a folder whose labels differ.",
        purpose=purpose,
    )
    classes.check_given(labels, targets, given, where=str(path), purpose=purpose)
    height, width = pixels.shape[1:]
    count = len(pixels)
    sides = ", ".join(f"{SPLIT_NAMES[p.side]} {len(p.labels):,} from {p.name}" for p in parts)
    notes = [
        f"{counted(count, 'image')} of {height}x{width} in "
        f"{counted(len(labels), 'class', 'classes')}: {listed(labels)} ({named_by}).",
        f"The data's own split is kept: {sides}.",
    ]
    if len(labels) < len(names):
        notes.append(
            f"Left out, no image of it: {listed(name for name in names if name not in labels)}."
        )
    if progress is not None:
        progress(count, count)
    return Samples(
        task="classify",
        paths=tuple(f"{part.name}#{row}" for part in parts for row in range(len(part.labels))),
        root=os.path.abspath(path),
        labels=labels,
        targets=targets,
        digests=_digests(pixels),
        facts=ImageFacts(
            sizes=np.tile(np.array([height, width], np.int32), (count, 1)),
            colours=np.zeros(count, np.bool_),
            modes=np.full(count, b"L"),
            pixels=pixels[..., None],
        ),
        given=given,
        notes=tuple(notes),
    )


def _refuse_settings(data: DataConfig, group: str | None, folds: str | None) -> None:
    for name, value in (
        ("target", data.target),
        ("path_column", data.path_column),
        ("group", group),
        ("folds", folds),
    ):
        if value:
            raise ConfigError(
                f"{name} has no effect on idx files: it names a column of a table.",
                fix=f"leave --{name.replace('_', '-')} out.",
            )
    if data.kind not in ("auto", "images"):
        raise ConfigError(
            f"kind {data.kind} cannot be read from idx files: they hold images.",
            fix="leave --kind out.",
        )
    if data.task not in ("auto", "classify"):
        raise ConfigError(
            f"task {data.task} cannot be read from idx files: each image has one class number.",
            fix="leave --task out.",
        )


def _has(found: dict[tuple[int, str], Path], side: int) -> bool:
    return any(key[0] == side for key in found)


def _part(path: Path, found: dict[tuple[int, str], Path], side: int) -> Part:
    for content, other in (("images", "labels"), ("labels", "images")):
        if (side, content) not in found:
            raise SourceError(
                f"{path / found[side, other].name} has no {content} file beside it.",
                fix=f"put {_usual_name(side, content)} into that folder.",
            )
    pixels = _array(found[side, "images"], "images")
    labels = _array(found[side, "labels"], "labels")
    if len(pixels) != len(labels):
        raise SourceError(
            f"{found[side, 'images']} holds {counted(len(pixels), 'image')}, but "
            f"{found[side, 'labels'].name} {counted(len(labels), 'label')}.",
            fix="the two files are not of one set: fetch both again.",
        )
    return Part(side, found[side, "images"].name, pixels, labels)


def _usual_name(side: int, content: str) -> str:
    return f"{'train' if side == TRAIN else 't10k'}-{content}-idx{AXES[content]}-ubyte"


def _array(file: Path, content: str) -> NDArray[np.uint8]:
    """Read one idx file of unsigned bytes, with the axes that the content must have."""
    axes = AXES[content]
    try:
        with cast(
            BinaryIO, gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb")
        ) as f:
            head = _exactly(f, 4 + 4 * axes)
            if head[:4] != bytes((0, 0, UNSIGNED_BYTE, axes)):
                raise SourceError(
                    f"{file} is no idx file of {content}: it begins with {head[:4].hex(' ')}, "
                    f"not {bytes((0, 0, UNSIGNED_BYTE, axes)).hex(' ')}.",
                    fix="fetch the file again; only idx files of unsigned bytes are read.",
                )
            shape = tuple(int(n) for n in np.frombuffer(head, ">u4", offset=4))
            wanted = int(np.prod(shape, dtype=object))
            if wanted > VALUES_LARGEST or 0 in shape:
                raise SourceError(
                    f"{file} has a header that cannot be right: {_times(shape)} values.",
                    fix="fetch the file again.",
                )
            values = _exactly(f, wanted + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(
            f"{file} is cut or damaged: it cannot be unpacked ({error}).", fix="fetch it again."
        ) from error
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}.") from error
    if len(values) != wanted:
        has = "more" if len(values) > wanted else f"{len(values):,}"
        raise SourceError(
            f"{file} is cut or damaged: its header promises {_times(shape)} = {wanted:,} bytes, "
            f"it holds {has}.",
            fix="fetch it again.",
        )
    return np.frombuffer(values, np.uint8).reshape(shape)


def _exactly(file: BinaryIO, count: int) -> bytearray:
    """Read up to `count` bytes in pieces, so that a false header reserves no memory."""
    data = bytearray()
    while len(data) < count:
        piece = file.read(min(CHUNK_BYTES, count - len(data)))
        if not piece:
            break
        data += piece
    return data


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape)


def _class_names(path: Path, numbers: NDArray[np.int64]) -> tuple[tuple[str, ...], str]:
    """Return the name of each class number, and where the names are from."""
    count = int(numbers.max()) + 1
    for name in NAME_FILES:
        file = path / name
        if not file.is_file():
            continue
        try:
            lines = file.read_text("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise SourceError(f"{file} is not UTF-8 text.", fix="save it as UTF-8.") from error
        names = tuple(line.strip() for line in lines if line.strip())
        if len(names) < count:
            raise SourceError(
                f"{file} names {counted(len(names), 'class', 'classes')}, but the labels go up to "
                f"{count - 1}.",
                fix=f"write one name a line, {count} of them, for the labels 0 to {count - 1}.",
            )
        again = sorted({name for name in names if names.count(name) > 1})
        if again:
            raise SourceError(
                f"{file} gives two classes one name: {listed(again)}.",
                fix="write a different name on each line.",
            )
        return names, f"names from {name}"
    return tuple(str(number) for number in range(count)), "the labels' own numbers"


def _digests(pixels: NDArray[np.uint8]) -> NDArray[np.void]:
    rows = pixels.reshape(len(pixels), -1)
    digests = b"".join(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows)
    return np.frombuffer(digests, "V16")
