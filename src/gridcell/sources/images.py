"""The header scan: what every image file of a set is, and which are none, before any is decoded.

Each file is read once: digest of its bytes, size as a person sees it, pixel format, colour or not.
A file whose header is whole but whose pixels are cut is found later, by the decoder.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridcell.cache import cache_folder
from gridcell.errors import MissingExtraError, SourceError, StorageError
from gridcell.process import cores
from gridcell.sources import index, walk
from gridcell.sources.wording import counted, itemised, shown

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

Progress = Callable[[int, int], None]

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".mpo"),
)
UNSUPPORTED = (".heic", ".heif")
"""Extensions of images that cannot be read: such files are named as bad, not passed over."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Pillow's formats that may be opened, whatever a file is called. The others stay closed: EPS, for
one, starts Ghostscript."""
PIXELS_LARGEST = 178_956_970
"""Pixels that a header may claim; Pillow's own limit, a quarter of 2 GiB at three bytes a pixel."""
FILE_LARGEST_BYTES = 2 * 2**30
BAD_LISTED = 50

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"heif"})
# Orientations that lie on their side: the height that a person sees is the width of the file.
TURNED = frozenset({5, 6, 7, 8})
CHUNK_FILES = 64
# A file changed twice within one tick of the file system's clock keeps its time of change; FAT
# ticks every 2 s. So a file that is younger than this when scanned is read again the next time.
SETTLED_NS = 2_000_000_000


class Header(NamedTuple):
    """What a scan keeps of one file; a tuple because it becomes one record of `index.FACTS`."""

    digest: bytes
    height: int
    width: int
    mode: str
    is_colour: bool
    has_more: bool


@dataclass(frozen=True)
class Scan:
    """Facts of every file, in the order asked for, and the reasons of those that are no image."""

    facts: NDArray[np.void]
    """[N] of `index.FACTS`; zero where the file is bad."""
    reasons: dict[int, str]
    """Row of each bad file and what is wrong with it: a sentence whose subject is the file."""
    read: int
    """How many files were read; the others were known from an earlier scan."""
    notes: tuple[str, ...] = ()


def is_image(name: str) -> bool:
    """Say whether the extension, in upper or lower case, is an image's."""
    extension = os.path.splitext(name)[1].lower()
    return extension in EXTENSIONS or extension in UNSUPPORTED


def find_images(path: Path) -> list[Path]:
    """Return every file in a folder, however deep, that is named as an image; or the file itself.

    Hidden and system entries are passed over. The content of no file is looked at.

    Raises   SourceError if nothing is at `path`, or a folder in it may not be opened
    """
    if os.path.isdir(path):
        return [path / name for name in walk.files(path, walk.Tally(), wanted=is_image)]
    if not os.path.exists(path):
        raise SourceError(f"{shown(str(path))} does not exist.", fix="name an image or a folder.")
    return [path]


def scan(
    root: Path,
    paths: Sequence[str],
    *,
    about: Path,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Scan:
    """Read the headers of all files, on all cores; unchanged files are taken from the last scan.

    `paths` are relative to `root`; `about` is the folder or table whose files they are, under which
    the facts are kept in the cache folder. `progress` is called with files done and files in all.

    Cost     about 0.1 ms a file on a core, and the reading; 60,000 known files take half a second
    """
    from_pillow = _reader()
    where = index.place(cache_folder(cache), about)
    known = index.load(where, reader=from_pillow)
    stamps, reasons = _stamps(root, paths)
    is_settled = np.abs(time.time_ns() - stamps[:, 1]) > SETTLED_NS

    facts = np.zeros(len(paths), index.FACTS)
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

    for row, found in _headers(root, paths, wanted, progress):
        if isinstance(found, Header):
            facts[row] = found
        else:
            reasons[row] = found

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
                reader=from_pillow,
            )
        except StorageError as error:
            notes.append(f"The files will be scanned again next time: {error.message}")
    return Scan(facts, dict(sorted(reasons.items())), len(wanted), tuple(notes))


def header_of(data: bytes) -> Header | str:
    """Return what the bytes of an image file say of it, or the reason why they are no image.

    The reason is the rest of a sentence that begins with the file's name. No pixel is decoded.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        return "is empty (0 bytes)"
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > PIXELS_LARGEST:
                return _too_large(f"{width} x {height} = {width * height:,}")
            mode = image.mode
            has_more = bool(getattr(image, "is_animated", False))
            is_colour = _is_colour(image)
            if _is_turned(image, data):
                width, height = height, width
    except UnidentifiedImageError:
        return _unidentified(data)
    except Image.DecompressionBombError as error:
        claimed = re.search(r"\((\d+) pixels\)", str(error))
        return _too_large(f"{int(claimed[1]):,}" if claimed else "more")
    except (
        Exception
    ) as error:  # Pillow's readers raise a dozen kinds for a header they can't parse.
        return f"has a header that cannot be read ({str(error) or type(error).__name__})"
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return Header(digest, height, width, mode, is_colour, has_more)


def good_rows(
    found: Scan, paths: Sequence[str], *, where: Path, on_bad_file: Literal["stop", "skip"]
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
    if lines and on_bad_file == "stop":
        raise SourceError(
            f"{lines[0]}."
            if len(lines) == 1
            else f"{len(lines):,} of {len(paths):,} files cannot be read as images:{listing}",
            fix="convert or remove what is named, or pass --on-bad-file skip to go on without.",
        )
    if not len(rows):
        raise SourceError(
            f"{where}: none of the {counted(len(paths), 'file')} can be read as an image:{listing}",
            fix="name a folder or table with whole image files.",
        )
    notes = list(found.notes)
    if lines:
        notes.append(
            f"{counted(len(rows), 'file')} used, {len(lines):,} skipped as unreadable:{listing}"
        )
    several = int(found.facts["has_more"][rows].sum())
    if several:
        holds = "holds" if several == 1 else "hold"
        notes.append(
            f"{counted(several, 'file')} {holds} several pictures (animation or pages): "
            "the first is used."
        )
    return rows, tuple(notes)


def mode_counts(facts: NDArray[np.void]) -> tuple[tuple[str, int], ...]:
    """Return the pixel formats and how many files have each, the most frequent first."""
    tally = Counter(mode.decode() for mode in facts["mode"].tolist())
    return tuple(sorted(tally.items(), key=lambda pair: (-pair[1], pair[0])))


def sizes(facts: NDArray[np.void]) -> NDArray[np.int32]:
    """Return height and width of each file, [N, 2]."""
    return np.stack([facts["height"], facts["width"]], axis=1)


def _reader() -> str:
    """Name the library that reads the headers, or say that it is missing."""
    try:
        import PIL
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            "Images are read with Pillow, which is not installed.", fix="pip install pillow"
        ) from error
    Image.init()  # Here, once: two threads at it would each import every plugin.
    return f"Pillow {PIL.__version__}"


def _stamps(root: Path, paths: Sequence[str]) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Return size and time of change of each file, and the reasons of those that have none."""
    stamps = np.zeros((len(paths), 2), np.int64)
    reasons: dict[int, str] = {}
    base = str(root)
    for row, path in enumerate(paths):
        try:
            status = os.stat(os.path.join(base, path))
        except OSError as error:
            reasons[row] = _cannot_open(os.path.join(base, path), error)
        else:
            stamps[row] = status.st_size, status.st_mtime_ns
    return stamps, reasons


def _headers(
    root: Path, paths: Sequence[str], rows: Sequence[int], progress: Progress | None
) -> list[tuple[int, Header | str]]:
    """Read the files of these rows on all cores."""

    def read(chunk: Sequence[int]) -> list[tuple[int, Header | str]]:
        return [(row, _header_at(os.path.join(root, paths[row]))) for row in chunk]

    chunks = [rows[i : i + CHUNK_FILES] for i in range(0, len(rows), CHUNK_FILES)]
    found: list[tuple[int, Header | str]] = []
    pool = ThreadPoolExecutor(cores())
    # Pillow warns of large images and broken EXIF; both are judged here. The filters belong to the
    # whole process, so they are set around the pool and not inside its threads.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for part in pool.map(read, chunks):
                found += part
                if progress is not None:
                    progress(len(paths) - len(rows) + len(found), len(paths))
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C waits for a chunk, not for all files.
    return found


def _header_at(path: str) -> Header | str:
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_LARGEST_BYTES + 1)
    except OSError as error:
        return _cannot_open(path, error)
    if len(data) > FILE_LARGEST_BYTES:
        return f"is larger than {FILE_LARGEST_BYTES // 2**30} GiB"
    return header_of(data)


def _cannot_open(path: str, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "is a link to a file that isn't there" if os.path.islink(path) else "does not exist"
    if error.errno == errno.EISDIR:
        return "is a folder"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "cannot be opened: no permission to read it"
    return f"cannot be opened: {error.strerror or error}"


def _too_large(claimed: str) -> str:
    return f"claims {claimed} pixels, over the limit of {PIXELS_LARGEST:,}"


def _unidentified(data: bytes) -> str:
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in HEIF_BRANDS:
        return "is HEIC/HEIF, which is not supported: convert it to JPEG"
    if brand in (b"avif", b"avis"):
        return "is AVIF, which this Pillow was built without: convert it to JPEG"
    return f"isn't an image Pillow can read (first bytes: {data[:12]!r})"


def _is_colour(image: Image) -> bool:
    """Say whether the format can hold colour; a palette of greys alone holds none."""
    if image.mode in GREY_MODES:
        return False
    palette = image.palette
    if image.mode not in ("P", "PA") or palette is None:
        return True
    # `colors` sorts out the raw orders (RGB;L, BGRX) that some formats keep their palettes in.
    return any(len({*colour[:3]}) > 1 for colour in palette.colors)


def _is_turned(image: ImageFile, data: bytes) -> bool:
    """Say whether EXIF or XMP lays the image on its side."""
    if image.format == "TIFF":
        return False  # Pillow's TIFF size is already the turned one.
    if image.format == "PNG" and not any(
        mark in data for mark in (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
    ):
        return False  # Asking a PNG for EXIF decodes all of it, since the chunk may come last.
    try:
        return image.getexif().get(0x0112) in TURNED
    except Exception:  # Broken EXIF: the picture stands as it is stored.
        return False


def _under(where: Path, path: str) -> str:
    """Name a file as the user would: below the folder, or beside the table, that was given."""
    folder = where.parent if where.is_file() else where
    return shown(os.path.join(str(folder), path))
