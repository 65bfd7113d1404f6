"""All images of a data set as one array on disk, decoded once and mapped into memory.

Decoding costs more than a small network's training step, and the files do not change between
epochs or runs. So every image is decoded on all cores into one `.npy` file, which later runs with
the same content, size and fit open at once without touching an image.

    CACHE/pixels/KEY.npy     [N, H, W, C] of the images that could be decoded, in their order
    CACHE/pixels/KEY.json    rows and reasons of those that could not, and what KEY.npy must be

KEY is a digest over the files' digests in order and everything else that the pixels depend on, so
that names, places and times of change do not matter. What is on disk is believed only if it is
what the `.json` says; anything else is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from gridcell.cache import free_bytes, write_whole
from gridcell.errors import SourceError, StorageError
from gridcell.preparation.images import Fit, UnreadableImageError, decode, refit
from gridcell.process import cores
from gridcell.samples import Samples
from gridcell.sources.wording import counted, itemised, shown

Progress = Callable[[int, int], None]
Faults = dict[int, UnreadableImageError]
Chunk = tuple[NDArray[np.uint8], Faults, int]
"""The pixels of a few rows, the faults of those that have none, and how many rows they were."""

FORMAT = 1
"""Raised whenever `decode` would give other pixels for the same file."""
LIMIT_BYTES = 20 * 10**9
"""Bytes that all decoded sets together may keep; the least recently used go first."""
BAD_LISTED = 50
CHUNK_ROWS = 16
PROBES, PROBE_BYTES = 16, 1 << 16
LITTER_AGE_S = 24 * 3600


@dataclass(frozen=True)
class Decoded:
    """The pixels of a data set, and which of its items they are.

    Shapes   N items of the set that could be decoded, M that could not
    """

    pixels: NDArray[np.uint8]
    """[N, H, W, C], read-only; mapped from `file`, so that it may be larger than memory."""
    rows: NDArray[np.int64]
    """[N] row in the samples of each item."""
    bad: tuple[tuple[str, str], ...]
    """[M] path of each item that could not be decoded, and the reason: `path reason` is a
    sentence."""
    file: Path | None
    """Where the pixels are kept; None if the source already was an array of this size."""
    was_cached: bool
    """Whether they lay there before."""


def decode_all(
    samples: Samples,
    *,
    height: int,
    width: int,
    channels: int,
    fit: Fit,
    on_bad_file: Literal["stop", "skip"],
    folder: Path,
    progress: Progress | None = None,
) -> Decoded:
    """Return the pixels of all items at one size, from the cache in `folder` where it has them.

    `progress` is called with items done and items in all, from the thread that called.

    Raises   SourceError that lists every file that cannot be decoded, unless `on_bad_file` is
             "skip", and in any case if none can; StorageError if the disk cannot hold the pixels
    Cost     N * H * W * C bytes on disk; about 1 ms a small photo and core the first time
    """
    size = (height, width, channels)
    if samples.pixels is not None and samples.pixels.shape[1:] == size:
        pixels = samples.pixels.view()
        pixels.flags.writeable = False
        return Decoded(pixels, np.arange(len(samples), dtype=np.int64), (), None, False)

    file = folder / "pixels" / f"{_key(samples, size=size, fit=fit)}.npy"
    found = _stored(file, len(samples), size=size)
    was_cached = found is not None
    if found is None:
        found = _build(samples, file, size=size, fit=fit, progress=progress)
        _trim(file, limit=LIMIT_BYTES)
    pixels, reasons = found
    _check_faults(samples, reasons, on_bad_file=on_bad_file)
    keep = np.ones(len(samples), dtype=np.bool_)
    keep[list(reasons)] = False
    bad = tuple((samples.paths[row], reason) for row, reason in sorted(reasons.items()))
    return Decoded(pixels, np.flatnonzero(keep), bad, file, was_cached)


def _key(samples: Samples, *, size: tuple[int, int, int], fit: Fit) -> str:
    import PIL

    about = json.dumps([FORMAT, PIL.__version__, *size, fit])
    digest = hashlib.blake2b(about.encode(), digest_size=16)
    digest.update(np.ascontiguousarray(samples.digests).tobytes())
    return digest.hexdigest()


def _stored(
    file: Path, count: int, *, size: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], dict[int, str]] | None:
    """Return the pixels and faults that are kept, or None if there are none to be trusted."""
    note = file.with_suffix(".json")
    try:
        record = json.loads(note.read_bytes())
        reasons = {int(row): str(reason) for row, reason in record["bad"]}
        if record["fingerprint"] != _fingerprint(file):
            return None
        pixels = np.load(file, mmap_mode="r", allow_pickle=False)
        good = count - len(reasons)
        if pixels.shape != (good, *size) or pixels.dtype != np.uint8:
            return None
        if not all(0 <= row < count for row in reasons):
            return None
        os.utime(note)  # the time of last use, by which old sets are removed
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return pixels, reasons


def _fingerprint(file: Path) -> str:
    """Return a digest over a file's length, its header and blocks spread over all of it.

    A file that was cut, filled up with zeros after a power cut, or put there by another program
    does not pass; reading all of 20 GB for the rare flipped bit would cost what the cache saves.
    """
    length = file.stat().st_size
    digest = hashlib.blake2b(str(length).encode(), digest_size=16)
    with file.open("rb") as opened:
        for start in np.linspace(0, max(0, length - PROBE_BYTES), PROBES, dtype=np.int64):
            opened.seek(int(start))
            digest.update(opened.read(PROBE_BYTES))
    return digest.hexdigest()


def _build(
    samples: Samples,
    file: Path,
    *,
    size: tuple[int, int, int],
    fit: Fit,
    progress: Progress | None,
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Decode all items, write the two files, and return pixels and faults."""
    faults: Faults = {}

    def write(out: BinaryIO) -> None:
        # Written in order and not through a map: a full disk is then an error that can be told,
        # where a store into mapped memory would be a SIGBUS that kills the program.
        header = _write_header(out, (len(samples), *size))
        done = 0
        with closing(_decoded_chunks(samples, size=size, fit=fit)) as chunks:
            for pixels, chunk_faults, count in chunks:
                out.write(pixels.data)
                faults.update(chunk_faults)
                done += count
                if progress is not None:
                    progress(done, len(samples))
        _check_any_left(samples, faults)
        out.seek(0)
        # NumPy leaves room in the header for a first axis of any length.
        assert _write_header(out, (len(samples) - len(faults), *size)) == header

    need = len(samples) * int(np.prod(size))
    free = free_bytes(file)
    if need > free:
        raise StorageError(
            f"{file} needs {need:,} bytes; {free:,} are free on its disk.",
            fix="free some space, choose a smaller --image-size, or name a folder on another disk "
            "with --cache.",
        )
    try:
        write_whole(file, write)
    except StorageError as error:
        raise StorageError(
            f"{error.message} It needs {need:,} bytes for {counted(len(samples), 'image')}.",
            fix=error.fix,
        ) from error
    reasons = {row: fault.reason for row, fault in faults.items()}
    if all(fault.is_lasting for fault in faults.values()):
        record = {"bad": sorted(reasons.items()), "fingerprint": _fingerprint(file)}
        _write_text(file.with_suffix(".json"), json.dumps(record))
    pixels = np.load(file, mmap_mode="r", allow_pickle=False)
    return pixels, reasons


def _write_text(path: Path, text: str) -> None:
    def write(out: BinaryIO) -> None:
        out.write(text.encode())

    write_whole(path, write)


def _write_header(out: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write the header of a `.npy` file and return its length."""
    np.lib.format.write_array_header_1_0(
        out, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return out.tell()


def _decoded_chunks(
    samples: Samples, *, size: tuple[int, int, int], fit: Fit
) -> Generator[Chunk, None, None]:
    """Yield chunk after chunk in order, while later ones are decoded on all cores."""
    height, width, channels = size
    root = Path(samples.root)
    is_stopped = threading.Event()

    def read(row: int) -> NDArray[np.uint8]:
        if samples.pixels is not None:
            whole = samples.pixels[row]
            return refit(whole, height=height, width=width, channels=channels, fit=fit)
        path = root / samples.paths[row]
        return decode(path, height=height, width=width, channels=channels, fit=fit)

    def chunk(first: int) -> Chunk:
        rows = range(first, min(first + CHUNK_ROWS, len(samples)))
        pixels = np.empty((len(rows), *size), dtype=np.uint8)
        faults: Faults = {}
        good = 0
        for row in rows:
            if is_stopped.is_set():
                break
            try:
                pixels[good] = read(row)
                good += 1
            except UnreadableImageError as error:
                faults[row] = error
        return pixels[:good], faults, len(rows)

    workers = cores()
    waiting: deque[Future[Chunk]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="gridcell-decode")
    try:
        for first in range(0, len(samples), CHUNK_ROWS):
            waiting.append(pool.submit(chunk, first))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        is_stopped.set()  # Ctrl-C waits for one image a core, not for all that were asked for
        pool.shutdown(cancel_futures=True)


def _check_any_left(samples: Samples, faults: Faults) -> None:
    if len(faults) == len(samples):
        lines = _lines(samples, {row: fault.reason for row, fault in faults.items()})
        raise SourceError(
            f"none of the {counted(len(samples), 'image')} can be decoded:"
            f"{itemised(lines, most=BAD_LISTED)}",
            fix="convert them to PNG or JPEG.",
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
        f"{len(lines):,} of {counted(len(samples), 'image')} cannot be decoded:"
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
    for file in newest.parent.glob("*.npy"):
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
    for litter in newest.parent.glob(".*.part"):  # of runs that were killed outright
        try:
            is_old = time.time() - litter.stat().st_mtime > LITTER_AGE_S
        except OSError:
            continue
        if is_old:
            _removed(litter)


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
