"""From an image file to pixels: the one way, in training, evaluation and prediction alike.

Two programs that read the same photo seldom get the same numbers: one turns it by its EXIF tag,
one lets hidden colours show through alpha, one clips 16 bits to white. A model trained on the one
and fed by the other is wrong without a word, so everything here goes through `decode`.

In order:

    first frame or page -> EXIF turn (a broken EXIF block is ignored) -> alpha laid on white
      -> 8 bits -> grey or RGB -> one box of the picture resized -> padded where `fit` is "pad"

    8 bits       palettes are expanded, 1 bit becomes 0 and 255, CMYK and the like become RGB;
                 colour profiles are ignored
    16 bits      scaled by the largest value that the file can hold: round(v * 255 / 65535)
    32-bit int   as 16 bits where all values lie in 0..65535, else as floats
    floats       times 255 where all finite values lie in 0..1, as they are where they lie in
                 0..255, else stretched from their minimum..maximum (all one value: black);
                 NaN and -inf are black, +inf white
    grey         from colour by luminance (0.299 R + 0.587 G + 0.114 B); RGB from grey by repeating

It leaves to others what needs more than one file: choosing the size and the channels, statistics,
caching.
"""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gridcell.preparation.remarks import Remark, look_at
from gridcell.preparation.unreadable import UnreadableError
from gridcell.sources.images import FORMATS, PIXELS_LARGEST, header_of
from gridcell.sources.wording import shown

if TYPE_CHECKING:
    from PIL import Image as PillowImage

    Picture = PillowImage.Image

Fit = Literal["stretch", "crop", "pad"]

FORMAT = 1
"""Raised whenever `decode` would give other pixels for the same file."""
BAD_FILE_FIX = "convert it to PNG or JPEG, or pass --on-bad-file skip."


class UnreadableImageError(UnreadableError):
    """An image cannot be decoded."""

    fix_bad_file = BAD_FILE_FIX


class UnreadablePictureError(UnreadableImageError):
    """A picture that is in memory cannot be used."""

    fix_bad_file = (
        "give a whole picture of Pillow's or an array of the type uint8, or pass "
        "skip_bad_files=True."
    )


@dataclass(frozen=True)
class PictureReader:
    """The size that pictures are brought to, each an image or a frame of a clip."""

    height: int
    width: int
    channels: int
    fit: Fit

    @property
    def inner(self) -> tuple[int, ...]:
        """Shape of one picture."""
        return (self.height, self.width, self.channels)

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Type of one value."""
        return np.dtype(np.uint8)


@dataclass(frozen=True)
class ImageReader(PictureReader):
    """What the cache needs to decode images and to know which pixels it has kept."""

    folder: str = field(default="pixels", init=False)
    is_ragged: bool = field(default=False, init=False)

    @property
    def about(self) -> list[object]:
        """Everything that the pixels depend on besides the file's bytes."""
        import PIL

        return [FORMAT, PIL.__version__, *self.inner, self.fit]

    def read(self, source: Path | bytes) -> tuple[NDArray[np.uint8], float]:
        """Return the pixels [1, H, W, C] of a file, and 1: they have no scale of their own."""
        pixels = decode(
            source, height=self.height, width=self.width, channels=self.channels, fit=self.fit
        )
        return pixels[None], 1.0

    def read_closely(self, source: Path | bytes) -> tuple[NDArray[np.uint8], float, Remark | None]:
        """Return what `read` does, and whether all of it is one colour."""
        pixels, scale = self.read(source)
        return pixels, scale, look_at(pixels)

    def read_picture(
        self, picture: Picture | NDArray[Any], *, name: str
    ) -> tuple[NDArray[np.uint8], float, Remark | None]:
        """Return a picture in memory as `read_closely` would a file of it; see `decode_picture`."""
        pixels = decode_picture(
            picture,
            name=name,
            height=self.height,
            width=self.width,
            channels=self.channels,
            fit=self.fit,
        )
        return pixels[None], 1.0, look_at(pixels[None])

    def read_pixels(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
        """Return pixels [H', W', C'] that are already decoded as `read` would a file of them."""
        fitted = refit(
            pixels, height=self.height, width=self.width, channels=self.channels, fit=self.fit
        )
        return fitted[None], 1.0


def decode(
    source: Path | bytes,
    *,
    height: int,
    width: int,
    channels: int,
    fit: Fit,
    limit: int = PIXELS_LARGEST,
) -> NDArray[np.uint8]:
    """Return the picture in a file, or in the bytes of one, as pixels of the wanted size.

    "stretch" gives each axis its own scale. "crop" scales the short side to fit and leaves out
    what then stands over, half on each side. "pad" scales the long side to fit and repeats the
    border of the picture into the rest, half on each side, the odd pixel on the right or below:
    the border is white in a scan, black in an X-ray, sky in a photo, so no edge appears that
    filters could learn, as any fixed colour would draw one in some of them.

    Shapes   -> [H, W, C], C = `channels`, 1 or 3
    Units    0..255
    Raises   UnreadableImageError, a SourceError, that names the file and the reason: not an
             image, empty, cut off, damaged, or of more than `limit` pixels. Half a picture is
             never returned, whatever ImageFile.LOAD_TRUNCATED_IMAGES says.
    Cost     a JPEG of more than twice the wanted size is decoded at 1/2, 1/4 or 1/8 of its size

    Threads may decode at the same time; Pillow lets go of the GIL while it decodes and resizes.
    """
    from PIL import Image

    name = "the image" if isinstance(source, bytes) else shown(str(source))
    try:
        _check_not_empty(source, name)
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with _strict_pillow(), Image.open(file, formats=FORMATS) as image:
            _check_size(image, name, limit=limit)
            depth = _depth(image)
            _draft(image, height=height, width=width, fit=fit)
            image.load()
            opaque = _opaque(_turned(image, _orientation(image)), depth)
            return _fitted(opaque, height=height, width=width, channels=channels, fit=fit)
    except UnreadableImageError:
        raise
    except Exception as error:  # decoders raise whatever their file format makes them stumble on
        reason, is_lasting = _explain(error, source)
        raise UnreadableImageError(name, reason, is_lasting=is_lasting) from error


def decode_picture(
    picture: Picture | NDArray[Any], *, name: str, height: int, width: int, channels: int, fit: Fit
) -> NDArray[np.uint8]:
    """Return a picture of Pillow's, or an array of pixels, as `decode` would a file of it.

    name   what the picture is called in a message

    Shapes   arrays of 8 bits: [H', W'], or [H', W', C'] with C' = 1, 3 or 4, of which the fourth is
             alpha -> [H, W, C]
    Raises   UnreadablePictureError for an array of another shape or type, or a picture whose file
             cannot be read after all
    """
    from PIL import Image

    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(_checked_pixels(picture, name))
    try:
        with _strict_pillow():
            _check_size(picture, name, limit=PIXELS_LARGEST)
            depth = _depth(picture)
            whole = picture.copy()  # which reads the file of one that was only opened
            opaque = _opaque(_turned(whole, _orientation(picture)), depth)
            return _fitted(opaque, height=height, width=width, channels=channels, fit=fit)
    except UnreadableImageError as error:
        raise UnreadablePictureError(name, error.reason) from error
    except Exception as error:  # of a file that was opened and is damaged
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise UnreadablePictureError(name, f"cannot be read ({said})") from error


def _checked_pixels(pixels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return pixels as Pillow takes them: grey ones [H, W]."""
    is_picture = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))
    if not is_picture or pixels.dtype != np.uint8:
        raise UnreadablePictureError(
            name,
            f"is an array of {pixels.dtype} {list(pixels.shape)}; pixels are whole numbers 0 to "
            "255 of the type uint8, [height, width] or [height, width, 3]",
        )
    return np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels)


def refit(
    pixels: NDArray[np.uint8], *, height: int, width: int, channels: int, fit: Fit
) -> NDArray[np.uint8]:
    """Return pixels that are already decoded at another size or channel count, as `decode` would.

    Shapes   [H', W', C'], C' = 1 or 3 -> [H, W, C]
    """
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return _fitted(image, height=height, width=width, channels=channels, fit=fit)


# Pillow keeps these switches for the whole process. The first thread in sets them, the last one
# out puts back what it found; a lock that were held while decoding would let one thread in.
_switch_lock = threading.Lock()
_switch_users = 0
_switch_undo: list[Any] = []


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Refuse cut files and keep warnings of Pillow off the user's screen, for a while."""
    global _switch_users
    from PIL import ImageFile

    with _switch_lock:
        if _switch_users == 0:
            quiet = warnings.catch_warnings()
            quiet.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _switch_undo[:] = [quiet, ImageFile.LOAD_TRUNCATED_IMAGES]
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        _switch_users += 1
    try:
        yield
    finally:
        with _switch_lock:
            _switch_users -= 1
            if _switch_users == 0:
                quiet, ImageFile.LOAD_TRUNCATED_IMAGES = _switch_undo
                quiet.__exit__(None, None, None)


def _check_not_empty(source: Path | bytes, name: str) -> None:
    if (len(source) if isinstance(source, bytes) else source.stat().st_size) == 0:
        raise UnreadableImageError(name, "is empty (0 bytes)")


def _check_size(image: Picture, name: str, *, limit: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise UnreadableImageError(name, f"has no pixels ({width} x {height})")
    if width * height > limit:
        raise UnreadableImageError(
            name,
            f"claims {width} x {height} = {width * height:,} pixels, over the limit of {limit:,}",
        )


def _orientation(image: Picture) -> int:
    """Return the EXIF orientation, 1 to 8, or 1 where there is none or it makes no sense."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # a broken EXIF block says nothing about the picture
        return 1
    return value if value in range(1, 9) else 1


def _turned(image: Picture, orientation: int) -> Picture:
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _draft(image: Picture, *, height: int, width: int, fit: Fit) -> None:
    """Let a large JPEG be decoded at a fraction that is still twice the wanted size or more.

    libjpeg averages blocks of 2, 4 or 8 pixels as it decodes. A last block that is not whole makes
    the picture longer by less than one drafted pixel, under half a pixel of the result.
    """
    if image.format not in ("JPEG", "MPO"):
        return
    is_turned = _orientation(image) >= 5
    across, down = image.size[::-1] if is_turned else image.size
    box, (to_width, to_height) = _placed(across, down, width=width, height=height, fit=fit)
    wanted = (
        math.ceil(2 * to_width * across / (box[2] - box[0])),
        math.ceil(2 * to_height * down / (box[3] - box[1])),
    )
    image.draft(None, wanted[::-1] if is_turned else wanted)


@dataclass(frozen=True)
class _Depth:
    """What only the file of a picture says of its values; a copy of it doesn't."""

    largest: int
    """Of grey values of 16 bits."""
    is_deep: bool
    """Whether colours have 16 bits, of which Pillow keeps the upper 8."""


def _depth(image: Picture) -> _Depth:
    """Return it of a picture as it was opened: 4095 is the largest value of a 12-bit TIFF.

    What is no longer known of one that is read already shows in its clear colour, if at all.
    """
    bits = 16
    if image.format == "TIFF":
        bits = int(getattr(image, "tag_v2", {}).get(258, (16,))[0])
    clear = image.info.get("transparency")
    is_deep = any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    is_deep |= isinstance(clear, tuple) and max(clear) > 255
    return _Depth(int(2 ** min(bits, 16)) - 1, is_deep)


def _opaque(image: Picture, depth: _Depth) -> Picture:
    """Return the picture in mode L or RGB, alpha laid on white."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(image, depth.largest))
    if image.has_transparency_data:
        clear = image.info.get("transparency")
        if depth.is_deep and image.mode == "RGB" and isinstance(clear, tuple):
            # Of 16 bits a colour Pillow keeps the upper 8, but the clear colour whole.
            image.info["transparency"] = tuple(value >> 8 for value in clear)
        if image.mode == "La":  # premultiplied grey, from a TIFF: Pillow has no direct way
            image = image.convert("LA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _eight_bits(image: Picture, largest: int) -> NDArray[np.uint8]:
    """Scale grey values of 16 or 32 bits to 0..255 by the rules at the head of this file."""
    values = np.asarray(image)
    clear = image.info.get("transparency")
    is_clear = None if clear is None else values == clear
    if image.mode.startswith("I;16"):
        grey = _scaled(values, low=0, high=largest)
    elif image.mode == "I" and values.min() >= 0 and values.max() <= 65535:
        grey = _scaled(values, low=0, high=65535)  # Pillow stretches a PGM of any maxval to this
    else:
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        if image.mode == "F" and low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        elif image.mode == "F" and low >= 0 and high <= 255:
            low, high = 0.0, 255.0
        grey = _scaled(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low=low, high=high)
        grey[values == np.inf] = 255
    if is_clear is not None:
        grey[is_clear] = 255
    return grey


def _scaled(values: NDArray[Any], *, low: float, high: float) -> NDArray[np.uint8]:
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    share = (values.astype(np.float64) - low) / (high - low)
    return np.asarray(np.floor(share * 255 + 0.5).clip(0, 255), dtype=np.uint8)


def _fitted(
    image: Picture, *, height: int, width: int, channels: int, fit: Fit
) -> NDArray[np.uint8]:
    """Return an L or RGB picture as an array of the wanted size and channels."""
    from PIL import Image

    assert channels in (1, 3), channels
    if channels == 1:
        image = image.convert("L")
    box, size = _placed(image.width, image.height, width=width, height=height, fit=fit)
    if size != image.size or box != (0, 0, *size):
        # Bilinear with antialiasing: it makes no ringing and no value that was not there.
        image = image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    pixels = np.array(image)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], channels, axis=2)
    if fit == "pad":
        down, across = height - pixels.shape[0], width - pixels.shape[1]
        sides = ((down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0))
        pixels = np.pad(pixels, sides, mode="edge")
    return np.ascontiguousarray(pixels)


def _placed(
    across: int, down: int, *, width: int, height: int, fit: Fit
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Return the box of the picture that is used, and the (width, height) it is resized to."""
    if fit == "stretch":
        return (0, 0, across, down), (width, height)
    if fit == "pad":
        scale = max(across / width, down / height)
        size = (max(1, round(across / scale)), max(1, round(down / scale)))
        return (0, 0, across, down), (min(width, size[0]), min(height, size[1]))
    scale = min(across / width, down / height)
    wide, high = min(across, width * scale), min(down, height * scale)
    # Whole pixels, so that a crop without scaling copies values instead of mixing neighbours.
    left, top = int((across - wide) / 2), int((down - high) / 2)
    return (left, top, left + wide, top + high), (width, height)


def _explain(error: Exception, source: Path | bytes) -> tuple[str, bool]:
    """Return the reason in the user's words, and whether the content itself is at fault."""
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return "does not exist", False
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be opened: {error.strerror or said}", False
    if isinstance(error, MemoryError):
        return "needs more memory than there is", False
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        with _strict_pillow():
            header = header_of(data)
    except OSError as gone:
        return f"cannot be opened: {gone.strerror or gone}", False
    except ValueError as gone:  # no file can have that name, for instance one with a zero byte
        return f"cannot be opened: {gone}", False
    if isinstance(header, str):
        return header, True  # the words of the scan, so that one fault has one name
    if "truncated" in said.lower():
        return f"is truncated: the file ends before the picture does ({said})", True
    return f"is damaged ({said})", True
