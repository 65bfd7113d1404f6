"""All items of a data set as one array on disk, decoded once and mapped into memory.

Decoding costs more than a small network's training step, and the files do not change between
epochs or runs. So every file is decoded into one `.npy` file, which later runs with
the same content and settings open at once without touching a file of the data.

    CACHE/pixels/KEY.npy     [steps of all items, *inner] of those that could be decoded, in order:
                             pixels [N, H, W, C] of images, in `frames` those of clips, in `waves`
                             the samples of sounds
    CACHE/pixels/KEY.json    steps and scale of each item where items differ in them, rows
                             and reasons of those that could not be decoded, what is to be said of
                             others, which items have the values of an earlier one, and a
                             digest over this and KEY.npy

    CACHE/statistics/...     what was counted of training rows, see `statistics.py`

KEY is a digest over the files' digests in order and everything else that the values depend on, so
that names, places and times of change do not matter. What is on disk is believed only if it is
what the `.json` says; anything else is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gridcell.cache import free_bytes, write_whole
from gridcell.errors import SourceError, StorageError
from gridcell.preparation.images import ImageReader
from gridcell.preparation.remarks import EMPTY, Remark, look_at, look_at_pictures
from gridcell.preparation.unreadable import UnreadableError
from gridcell.samples import ImageFacts, Samples
from gridcell.sources.wording import counted, itemised, shown
from gridcell.workers import in_order

Progress = Callable[[int, int], None]
Values = NDArray[np.generic]
Faults = dict[int, UnreadableError]
Found = tuple[Values, float, Remark | None, int | None]
"""Values, scale and remark of an item, and a checksum of the values; None if nothing is in them."""

FOLDERS = ("pixels", "waves", "frames", "statistics")
"""Folders below the cache: one for each kind of values, and one for what was counted of them."""
LIMIT_BYTES = 20 * 10**9
"""Bytes that all decoded sets together may keep; the least recently used go first."""
BAD_LISTED = 50
CHUNK_ROWS = 16
PROBES, PROBE_BYTES = 16, 1 << 16
LITTER_AGE_S = 24 * 3600
LARGEST_STEPS = 1 << 62
FORMATS_FIX = {
    "images": "convert them to PNG or JPEG.",
    "sounds": "convert them to WAV or FLAC.",
    "clips": "convert them to MP4 (H.264).",
}


class Reader(Protocol):
    """How the files of one kind are decoded."""

    @property
    def folder(self) -> str:
        """Name of the folder below the cache, one of FOLDERS."""

    @property
    def inner(self) -> tuple[int, ...]:
        """Shape of one step: [H, W, C] of a picture, [] of a sample of sound."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one value."""

    @property
    def is_ragged(self) -> bool:
        """Whether items differ in their number of steps; else each has one."""

    @property
    def about(self) -> list[object]:
        """Everything that values depend on besides the file's bytes, fit for JSON."""

    def read(self, source: Path) -> tuple[Values, float]:
        """Return the values [steps, *inner] of a file, and the scale to multiply them by."""

    def read_closely(self, source: Path) -> tuple[Values, float, Remark | None]:
        """Return what `read` does, and what is to be said of a file that is used all the same."""


@dataclass(frozen=True)
class Decoded:
    """The values of a data set, and which of its items they are.

    Shapes   N items of the set that could be decoded, M that could not
    """

    values: NDArray[Any]
    """[steps of all, *inner], read-only; mapped from `file`, so that it may be larger than memory.
    Item i is `values[starts[i] : starts[i + 1]]`; of images it is `values[i]`."""
    starts: NDArray[np.int64]
    """[N + 1] where each item begins, and the end."""
    scales: NDArray[np.float32]
    """[N] what to multiply each item's values by."""
    rows: NDArray[np.int64]
    """[N] row in the samples of each item."""
    bad: tuple[tuple[str, str], ...] = ()
    """[M] path of each item that could not be decoded, and the reason: `path reason` is a
    sentence."""
    remarks: tuple[tuple[str, Remark], ...] = ()
    """Path of each item that is used though little is in it, and what is to be said of it."""
    alike: NDArray[np.int64] | None = None
    """[N] the first item that has the same values, itself where none before it has them or where
    nothing is in them; None where they were not compared."""
    file: Path | None = None
    """Where the values are kept; None if they are in memory."""
    was_cached: bool = False
    """Whether they lay there before."""

    def __len__(self) -> int:
        return len(self.rows)

    def counts(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps of these items; those of all of many would take as long as a batch."""
        return np.asarray(self.starts[items + 1] - self.starts[items])

    @classmethod
    def of(cls, items: Sequence[tuple[Values, float]]) -> Decoded:
        """Items as readers give them, at least one: values [steps, *inner], and scales."""
        values = np.concatenate([values for values, _ in items])
        starts = _starts([len(values) for values, _ in items])
        scales = np.array([scale for _, scale in items], np.float32)
        return cls(values, starts, scales, np.arange(len(items)))

    @classmethod
    def whole(cls, values: NDArray[Any]) -> Decoded:
        """Items of one step each, such as pixels [N, H, W, C]."""
        count = len(values)
        values = values.view()
        values.flags.writeable = False
        return cls(values, np.arange(count + 1), np.ones(count, np.float32), np.arange(count))


@dataclass(frozen=True)
class _Kept:
    """What the `.json` says of the items."""

    lengths: list[int]
    scales: list[float]
    reasons: dict[int, str]
    remarks: dict[int, Remark]
    alike: dict[int, int]
    """Each item that has the values of an earlier one, and the first of those."""


def decode_all(
    samples: Samples,
    reader: Reader,
    *,
    on_bad_file: Literal["stop", "skip"],
    folder: Path,
    progress: Progress | None = None,
) -> Decoded:
    """Return the values of all items, from the cache in `folder` where it has them.

    `progress` is called with items done and items in all, from the thread that called.

    Raises   SourceError that lists every file that cannot be decoded, unless `on_bad_file` is
             "skip", and in any case if none can; StorageError if the disk cannot hold the values
    Cost     the values' bytes on disk; about 1 ms a small photo and core the first time
    """
    facts = samples.facts
    pixels = facts.pixels if isinstance(facts, ImageFacts) else None
    if pixels is not None and pixels.shape[1:] == reader.inner:
        found_blank = look_at_pictures(pixels)
        return replace(Decoded.whole(pixels), remarks=_by_path(samples, found_blank))

    file = folder / reader.folder / f"{_key(samples, reader)}.npy"
    found = _stored(file, len(samples), reader)
    was_cached = found is not None
    if found is None:
        found = _build(samples, file, reader, progress=progress)
        _trim(file, limit=LIMIT_BYTES)
    values, kept = found
    _check_faults(samples, kept.reasons, on_bad_file=on_bad_file)
    keep = np.ones(len(samples), dtype=np.bool_)
    keep[list(kept.reasons)] = False
    alike = np.arange(len(kept.lengths))
    alike[list(kept.alike)] = list(kept.alike.values())
    return Decoded(
        values,
        _starts(kept.lengths),
        np.array(kept.scales, np.float32),
        np.flatnonzero(keep),
        tuple((samples.paths[row], reason) for row, reason in sorted(kept.reasons.items())),
        _by_path(samples, kept.remarks),
        alike,
        file,
        was_cached,
    )


def _by_path(samples: Samples, remarks: dict[int, Remark]) -> tuple[tuple[str, Remark], ...]:
    return tuple((samples.paths[row], remark) for row, remark in sorted(remarks.items()))


def _starts(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _key(samples: Samples, reader: Reader) -> str:
    about = json.dumps(reader.about)
    digest = hashlib.blake2b(about.encode(), digest_size=16)
    digest.update(np.ascontiguousarray(samples.digests).tobytes())
    return digest.hexdigest()


def _stored(file: Path, count: int, reader: Reader) -> tuple[NDArray[Any], _Kept] | None:
    """Return the values and what is known of them, or None if there are none to be trusted."""
    note = file.with_suffix(".json")
    try:
        record = json.loads(note.read_bytes())
        if record.pop("fingerprint") != _fingerprint(file, record):
            return None
        reasons = {int(row): str(reason) for row, reason in record["bad"]}
        remarks = {int(row): Remark(what, str(detail)) for row, what, detail in record["remarks"]}
        alike = {int(item): int(first) for item, first in record["alike"]}
        good = count - len(reasons)
        if reader.is_ragged:
            kept = _Kept(record["lengths"], record["scales"], reasons, remarks, alike)
        else:
            kept = _Kept([1] * good, [1.0] * good, reasons, remarks, alike)
        values = np.load(file, mmap_mode="r", allow_pickle=False)
        if values.shape != (sum(kept.lengths), *reader.inner) or values.dtype != reader.dtype:
            return None
        if not len(kept.lengths) == len(kept.scales) == good:
            return None
        os.utime(note)  # the time of last use, by which old sets are removed
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None
    return values, kept


def _fingerprint(file: Path, told: dict[str, object]) -> str:
    """Return a digest over what is told of a file, its length, and blocks spread over all of it.

    A file that was cut, filled up with zeros after a power cut, or put there by another program
    does not pass; reading all of 20 GB for the rare flipped bit would cost what the cache saves.
    """
    length = file.stat().st_size
    digest = hashlib.blake2b(json.dumps([length, told]).encode(), digest_size=16)
    with file.open("rb") as opened:
        for start in np.linspace(0, max(0, length - PROBE_BYTES), PROBES, dtype=np.int64):
            opened.seek(int(start))
            digest.update(opened.read(PROBE_BYTES))
    return digest.hexdigest()


def _build(
    samples: Samples, file: Path, reader: Reader, *, progress: Progress | None
) -> tuple[NDArray[Any], _Kept]:
    """Decode all items, write the two files, and return the values and what is known of them."""
    faults: Faults = {}
    kept = _Kept([], [], {}, {}, {})
    sums: list[int | None] = []

    def write(out: BinaryIO) -> None:
        # Written in order and not through a map: a full disk is then an error that can be told,
        # where a store into mapped memory would be a SIGBUS that kills the program.
        header = _write_header(out, reader, LARGEST_STEPS)
        done = 0
        with closing(_decoded(samples, reader)) as parts:
            for part in parts:
                for row, found in enumerate(part, start=done):
                    if isinstance(found, UnreadableError):
                        faults[row] = found
                        continue
                    values, scale, remark, checksum = found
                    if remark is not None:
                        kept.remarks[row] = remark
                    out.write(np.ascontiguousarray(values).data)
                    kept.lengths.append(len(values))
                    kept.scales.append(scale)
                    sums.append(checksum)
                done += len(part)
                if progress is not None:
                    progress(done, len(samples))
        _check_any_left(samples, faults)
        out.seek(0)
        # The first header was as long as that of the longest array: this one fills its place.
        assert _write_header(out, reader, sum(kept.lengths)) == header

    _check_room(samples, file, reader)
    try:
        write_whole(file, write)
    except StorageError as error:
        raise StorageError(
            f"{error.message} It is to hold {counted(len(samples), _noun(samples))} decoded.",
            fix=error.fix,
        ) from error
    values = np.load(file, mmap_mode="r", allow_pickle=False)
    kept.alike.update(_alike(values, kept, sums))
    kept.reasons.update({row: fault.reason for row, fault in faults.items()})
    if all(fault.is_lasting for fault in faults.values()):
        record: dict[str, object] = {
            "bad": sorted(kept.reasons.items()),
            "remarks": [[row, r.what, r.detail] for row, r in sorted(kept.remarks.items())],
            "alike": list(kept.alike.items()),
        }
        if reader.is_ragged:
            record |= {"lengths": kept.lengths, "scales": kept.scales}
        record["fingerprint"] = _fingerprint(file, record)
        _write_text(file.with_suffix(".json"), json.dumps(record))
    return values, kept


def _alike(values: Values, kept: _Kept, sums: Sequence[int | None]) -> dict[int, int]:
    """Return each item that has the values of an earlier one, and the first of those.

    Checksums say what is worth comparing. Items with nothing in them, a white picture or a silent
    sound, may be of a thousand different things: they are left to the digests of their files.
    """
    starts = _starts(kept.lengths)
    firsts: dict[tuple[int, int, float], list[int]] = {}
    found: dict[int, int] = {}
    told = zip(sums, kept.lengths, kept.scales, strict=True)
    for item, (checksum, length, scale) in enumerate(told):
        if checksum is None:
            continue
        mine = values[starts[item] : starts[item + 1]]
        unlike = firsts.setdefault((checksum, length, scale), [])
        for first in unlike:
            if np.array_equal(mine, values[starts[first] : starts[first + 1]]):
                if not _is_constant(mine):
                    found[item] = first
                break
        else:
            unlike.append(item)
    return found


def _is_constant(values: Values) -> bool:
    """Whether samples [n] are all one number, or pixels [n, H, W, C] all of one colour."""
    each = values.reshape(-1, *values.shape[1:][-1:])
    return bool((each == each[:1]).all())


def _check_room(samples: Samples, file: Path, reader: Reader) -> None:
    """Refuse to begin what the disk cannot hold, where that can be known: of one step each."""
    if reader.is_ragged:
        return
    need = len(samples) * int(np.prod(reader.inner)) * reader.dtype.itemsize
    free = free_bytes(file)
    if need > free:
        raise StorageError(
            f"{file} needs {need:,} bytes; {free:,} are free on its disk.",
            fix="free some space, choose a smaller --image-size, or name a folder on another disk "
            "with --cache.",
        )


def _write_text(path: Path, text: str) -> None:
    def write(out: BinaryIO) -> None:
        out.write(text.encode())

    write_whole(path, write)


def _write_header(out: BinaryIO, reader: Reader, steps: int) -> int:
    """Write the header of a `.npy` file and return its length, the same for any `steps`."""
    # NumPy leaves room in the header for a first axis of any length.
    np.lib.format.write_array_header_1_0(
        out,
        {
            "descr": np.lib.format.dtype_to_descr(reader.dtype),
            "fortran_order": False,
            "shape": (steps, *reader.inner),
        },
    )
    return out.tell()


def _decoded(
    samples: Samples, reader: Reader
) -> Generator[list[Found | UnreadableError], None, None]:
    """Yield what is found of each row in order, or its fault, a few at a time."""
    root = Path(samples.root)

    def closely(row: int) -> tuple[Values, float, Remark | None]:
        facts = samples.facts
        if isinstance(facts, ImageFacts) and facts.pixels is not None:
            assert isinstance(reader, ImageReader)
            pixels, scale = reader.read_pixels(facts.pixels[row])
            return pixels, scale, look_at(pixels)
        return reader.read_closely(root / samples.paths[row])

    def read(row: int) -> Found | UnreadableError:
        try:
            values, scale, remark = closely(row)
        except UnreadableError as error:
            return error
        assert values.dtype == reader.dtype and values.shape[1:] == reader.inner
        if remark is not None and remark.what in EMPTY:
            return values, scale, remark, None
        return values, scale, remark, crc32(np.ascontiguousarray(values).data)

    return in_order(read, range(len(samples)), at_once=CHUNK_ROWS)


def _noun(samples: Samples) -> str:
    """What one item is called."""
    return samples.kind.removesuffix("s")


def _check_any_left(samples: Samples, faults: Faults) -> None:
    if len(faults) == len(samples):
        lines = _lines(samples, {row: fault.reason for row, fault in faults.items()})
        raise SourceError(
            f"none of the {counted(len(samples), _noun(samples))} can be decoded:"
            f"{itemised(lines, most=BAD_LISTED)}",
            fix=FORMATS_FIX[samples.kind],
        )


def _check_faults(
    samples: Samples, reasons: dict[int, str], *, on_bad_file: Literal["stop", "skip"]
) -> None:
    if not reasons or on_bad_file == "skip":
        return
    lines = _lines(samples, reasons)
    fix = "convert them, or pass --on-bad-file skip."
    if len(lines) == 1:
        raise SourceError(f"{lines[0]}.", fix=fix.replace("them", "it"))
    raise SourceError(
        f"{len(lines):,} of {counted(len(samples), _noun(samples))} cannot be decoded:"
        f"{itemised(lines, most=BAD_LISTED)}",
        fix=fix,
    )


def _lines(samples: Samples, reasons: dict[int, str]) -> list[str]:
    return [
        f"{shown(str(Path(samples.root) / samples.paths[row]))} {reason}"
        for row, reason in sorted(reasons.items())
    ]


def _trim(newest: Path, *, limit: int) -> None:
    """Remove the least recently used sets until all together keep to `limit` bytes.

    The newest stays, however large. One that another run has mapped stays readable to it: POSIX
    keeps the bytes until the last reader is gone, Windows refuses to remove the file.
    """
    sets: list[tuple[float, int, Path]] = []
    for file in _found(newest, "*.npy"):
        try:
            used = max(p.stat().st_mtime for p in (file, file.with_suffix(".json")) if p.exists())
            sets.append((used, file.stat().st_size, file))
        except (OSError, ValueError):  # another run removed it just now
            continue
    total = sum(length for _, length, _ in sets)
    for _, length, file in sorted(sets):
        if total <= limit:
            break
        if file != newest and _removed(file.with_suffix(".json")) and _removed(file):
            total -= length
    for litter in _found(newest, ".*.part"):  # of runs that were killed outright
        try:
            is_old = time.time() - litter.stat().st_mtime > LITTER_AGE_S
        except OSError:
            continue
        if is_old:
            _removed(litter)


def _found(newest: Path, pattern: str) -> list[Path]:
    """Return the files of that pattern in the cache's folders of values."""
    return [path for name in FOLDERS for path in (newest.parent.parent / name).glob(pattern)]


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
