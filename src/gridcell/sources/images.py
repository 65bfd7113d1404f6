"""Images on disk: what the header of an image file says, and why a file is none.

Each file is read once: digest of its bytes, size as a person sees it, pixel format, colour or not.
A file whose header is whole but whose pixels are cut is found later, by the decoder.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import MissingExtraError
from gridcell.samples import ImageFacts
from gridcell.sources.media import Medium
from gridcell.sources.wording import counted

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

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

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"heif"})
# Orientations that lie on their side: the height that a person sees is the width of the file.
TURNED = frozenset({5, 6, 7, 8})

RECORD = np.dtype(
    [
        ("digest", "V16"),
        ("height", np.int32),
        ("width", np.int32),
        ("mode", "S8"),
        ("is_colour", np.bool_),
        ("has_more", np.bool_),
    ]
)


class Header(NamedTuple):
    """What a scan keeps of one file: the fields of `RECORD`."""

    digest: bytes
    """Of the file's bytes."""
    height: int
    """As a person sees the image (turned by EXIF)."""
    width: int
    mode: str
    """Pillow's pixel format."""
    is_colour: bool
    has_more: bool
    """Whether the file holds more pictures than the first."""


def header(path: str) -> Header | str:
    """Read an image file and return what it says of itself, or the reason why it is no image.

    Raises   OSError if it cannot be read
    """
    with open(path, "rb") as file:
        data = file.read(FILE_LARGEST_BYTES + 1)
    if len(data) > FILE_LARGEST_BYTES:
        return f"is larger than {FILE_LARGEST_BYTES // 2**30} GiB"
    return header_of(data)


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


def facts_of(records: NDArray[np.void]) -> ImageFacts:
    """Return the records as the columns of `Samples`."""
    return ImageFacts(
        sizes=np.stack([records["height"], records["width"]], axis=1),
        colours=records["is_colour"].copy(),
        modes=records["mode"].copy(),
    )


def _notes(records: NDArray[np.void], paths: Sequence[str]) -> tuple[str, ...]:
    several = int(records["has_more"].sum())
    if not several:
        return ()
    holds = "holds" if several == 1 else "hold"
    return (
        f"{counted(several, 'file')} {holds} several pictures (animation or pages): "
        "the first is used.",
    )


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


MEDIUM = Medium(
    kind="images",
    noun="image",
    article="an",
    extensions=EXTENSIONS,
    unsupported=UNSUPPORTED,
    dtype=RECORD,
    header=header,
    reader=_reader,
    facts_of=facts_of,
    notes_of=_notes,
)
