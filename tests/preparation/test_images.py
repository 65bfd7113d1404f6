"""Each rule from a file to its pixels, with the numbers worked out by hand."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from gridcell.errors import SourceError
from gridcell.preparation import images
from gridcell.preparation.images import (
    Fit,
    ImageReader,
    UnreadableImageError,
    decode,
    decode_picture,
    refit,
)
from gridcell.preparation.unreadable import UnreadableError

FITS: tuple[Fit, ...] = ("stretch", "crop", "pad")


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def pixels_of(
    source: bytes | Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int = 3,
    fit: Fit = "stretch",
) -> NDArray[np.uint8]:
    """Decode at the file's own (turned) size unless another is wanted."""
    if size is None:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file) as image:
            size = image.size[::-1]
    return decode(source, height=size[0], width=size[1], channels=channels, fit=fit)


def grey_of(source: bytes) -> list[int]:
    """Return the grey values of a picture one pixel high."""
    return [int(v) for v in pixels_of(source, channels=1)[0, :, 0]]


def noise(height: int, width: int, *, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """A photo-like picture: no pixel far from its neighbours."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 120 * np.sin(x / width * 5 + k) * np.cos(y / height * 4 - k) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def png_by_hand(width: int, depth: int, kind: int, row: bytes, clear: bytes = b"") -> bytes:
    """A PNG one pixel high, of the formats that Pillow can read but not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"tRNS", clear) if clear else b"")
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )


def tiff_by_hand(data: bytes, **changes: int) -> bytes:
    """A grey TIFF of two pixels in a row, of the formats that Pillow can read but not write."""
    tags = {256: 2, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(data)}
    tags.update({int(tag[1:]): value for tag, value in changes.items()})
    entries = b""
    for tag, value in sorted(tags.items()):
        twice = tag == 258 and tags[277] == 2  # bits of a sample: once for each sample
        pair = struct.pack("<HH", value, value) if twice else struct.pack("<I", value)
        entries += struct.pack("<HHI", tag, 3 if twice else 4, 2 if twice else 1) + pair
    body = data + bytes(len(data) % 2)
    start = struct.pack("<I", 8 + len(body))
    return b"II*\0" + start + body + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"


# --- What a pixel is -----------------------------------------------------------------------------


def test_a_picture_of_the_wanted_size_keeps_its_pixels() -> None:
    whole = noise(5, 7)
    for fit in FITS:
        np.testing.assert_array_equal(pixels_of(encoded(Image.fromarray(whole)), fit=fit), whole)


def test_a_path_and_its_bytes_give_the_same_bits(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(noise(50, 70)), "JPEG")
    (tmp_path / "a.jpg").write_bytes(data)
    np.testing.assert_array_equal(
        pixels_of(tmp_path / "a.jpg", size=(16, 16)), pixels_of(data, size=(16, 16))
    )


def test_hidden_colours_under_alpha_become_white() -> None:
    red = Image.new("RGBA", (3, 2), (255, 0, 0, 0))
    assert (pixels_of(encoded(red)) == 255).all()
    assert (pixels_of(encoded(red), channels=1) == 255).all()
    assert (np.asarray(red.convert("RGB"))[..., 1] == 0).all(), "Pillow alone shows the red"


def test_half_alpha_is_half_white() -> None:
    black = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert pixels_of(encoded(black)).tolist() == [[[127, 127, 127]]]


def test_alpha_is_laid_on_white_before_resizing() -> None:
    picture = np.zeros((8, 8, 4), dtype=np.uint8)
    picture[:, :4] = (255, 255, 255, 255)  # white beside invisible black: all white to the eye
    assert (pixels_of(encoded(Image.fromarray(picture)), size=(3, 3)) == 255).all()


def test_grey_with_alpha_is_laid_on_white() -> None:
    picture = np.array([[[0, 0], [0, 255], [9, 255]]], dtype=np.uint8)
    assert grey_of(encoded(Image.fromarray(picture, mode="LA"))) == [255, 0, 9]


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (encoded(Image.fromarray(np.array([[0, 7, 9]], np.uint8)), transparency=7), [0, 255, 9]),
        (png_by_hand(3, 16, 0, struct.pack(">3H", 0, 2570, 65535), b"\x0a\x0a"), [0, 255, 255]),
        (png_by_hand(3, 16, 0, struct.pack(">3H", 0, 2570, 65535), b"\x0a\x0b"), [0, 10, 255]),
        (png_by_hand(2, 1, 0, b"\x40", b"\0\0"), [255, 255]),
        (png_by_hand(2, 1, 0, b"\x40"), [0, 255]),
        (png_by_hand(2, 8, 2, b"\x05\x05\x05\x06\x06\x06", b"\0\5\0\5\0\5"), [255, 6]),
        (png_by_hand(2, 16, 2, b"\x05\x09" * 3 + b"\6\6" * 3, b"\5\x09" * 3), [255, 6]),
    ],
    ids=["L", "I;16", "I;16-near-miss", "1", "1-without", "RGB", "RGB-16"],
)
def test_one_transparent_colour_becomes_white(data: bytes, wanted: list[int]) -> None:
    assert grey_of(data) == wanted


def test_a_palette_is_expanded_with_its_transparent_colours() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode="P")
    image.putpalette([10, 20, 30, 200, 100, 50, 1, 2, 3])
    assert pixels_of(encoded(image))[0].tolist() == [[10, 20, 30], [200, 100, 50], [1, 2, 3]]
    for clear in (1, bytes([255, 0, 255])):  # one clear colour, or an alpha for each
        got = pixels_of(encoded(image, transparency=clear))[0].tolist()
        assert got == [[10, 20, 30], [255, 255, 255], [1, 2, 3]]


def test_files_of_five_formats_get_one_channel_count() -> None:
    rgb = Image.fromarray(noise(32, 32))
    files = [encoded(rgb.convert(mode)) for mode in ("L", "LA", "RGB", "RGBA")]
    files.append(encoded(rgb.convert("P"), transparency=0))
    for channels in (1, 3):
        shapes = {pixels_of(data, channels=channels).shape for data in files}
        assert shapes == {(32, 32, channels)}


def test_one_bit_becomes_0_and_255() -> None:
    image = Image.fromarray(np.array([[0, 255, 0]], dtype=np.uint8)).convert("1")
    for form in ("PNG", "TIFF", "PPM", "BMP"):
        assert grey_of(encoded(image, form)) == [0, 255, 0]


def test_16_bits_are_scaled_and_never_clipped() -> None:
    values = np.array([[0, 128, 129, 257, 257 * 200, 65535]], dtype=np.uint16)
    for form in ("PNG", "TIFF", "PPM"):
        assert grey_of(encoded(Image.fromarray(values), form)) == [0, 0, 1, 1, 200, 255]
    clipped = np.asarray(Image.open(io.BytesIO(encoded(Image.fromarray(values)))).convert("L"))
    assert clipped[0, 3] != 1, "Pillow alone does not scale"


def test_16_bit_colour_keeps_its_upper_8_bits() -> None:
    row = struct.pack(">3H", 0, 0x8000, 0xFFFF)
    assert pixels_of(png_by_hand(1, 16, 2, row))[0].tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("largest", "values", "wanted"),
    [(100, [0, 50, 100], [0, 128, 255]), (1000, [0, 200, 1000], [0, 51, 255])],
)
def test_a_pgm_is_scaled_by_its_own_maximum(
    largest: int, values: list[int], wanted: list[int]
) -> None:
    text = f"P2 3 1 {largest} {' '.join(str(v) for v in values)}\n"
    assert grey_of(text.encode()) == wanted


@pytest.mark.parametrize("is_read", [False, True])
@pytest.mark.parametrize(
    "source",
    [
        tiff_by_hand(b"\xff\xf0\x00", t258=12),
        tiff_by_hand(b"\x80\x8f\xff", t258=12, t274=6),
        png_by_hand(1, 16, 2, bytes(range(32, 38)), bytes(range(32, 38))),
        png_by_hand(2, 16, 0, bytes([0x20, 0x21, 0x80, 0x80]), bytes([0x20, 0x21])),
    ],
    ids=["12 bits", "12 bits turned", "clear colour", "clear grey"],
)
def test_a_picture_that_was_opened_has_the_depth_of_its_file(source: bytes, is_read: bool) -> None:
    """A copy no longer says that it came from a TIFF of 12 bits or had colours of 16."""
    picture = Image.open(io.BytesIO(source))
    if is_read:
        picture.load()
    size: dict[str, Any] = {"height": 2, "width": 2, "channels": 3, "fit": "stretch"}
    found = decode_picture(picture, name="image 1", **size)
    np.testing.assert_array_equal(found, decode(source, **size))
    assert found.max() == 255


def test_a_tiff_of_12_bits_is_scaled_by_4095() -> None:
    assert grey_of(tiff_by_hand(b"\xff\xf0\x00", t258=12)) == [255, 0]
    assert grey_of(tiff_by_hand(b"\x80\x8f\xff", t258=12)) == [128, 255]


def test_premultiplied_grey_is_laid_on_white() -> None:
    data = tiff_by_hand(bytes([0, 0, 100, 128]), t277=2, t338=1)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "La"
    assert grey_of(data) == [255, 100 + 255 - 128]


def test_32_bit_integers_are_16_bits_where_they_fit_and_stretched_where_not() -> None:
    small = Image.fromarray(np.array([[0, 257, 25700]], dtype=np.int32))
    large = Image.fromarray(np.array([[-1000, 0, 99000]], dtype=np.int32))
    assert grey_of(encoded(small, "TIFF")) == [0, 1, 100]
    assert grey_of(encoded(large, "TIFF")) == [0, 3, 255]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.0, 0.25, 1.0], [0, 64, 255]),
        ([0.0, 0.25, 0.5], [0, 64, 128]),
        ([0.0, 2.4, 200.0], [0, 2, 200]),
        ([-1.0, 0.0, 3.0], [0, 64, 255]),
        ([0.0, 500.0, 1000.0], [0, 128, 255]),
        ([7000.0, 7000.0, 7000.0], [0, 0, 0]),
        ([float("nan"), 1.0, float("inf")], [0, 255, 255]),
        ([-float("inf"), 7000.0, float("inf")], [0, 0, 255]),
        ([float("nan"), -10.0, float("inf"), 10.0], [0, 0, 255, 255]),
        ([float("nan"), float("nan")], [0, 0]),
    ],
)
def test_floats_are_scaled_by_the_stated_rule(values: list[float], wanted: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert grey_of(encoded(image, "TIFF")) == wanted


def test_cmyk_is_neither_four_channels_nor_inverted() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    got = pixels_of(encoded(cyan, "JPEG", quality=95))
    assert np.abs(got.astype(int) - (0, 255, 255)).max() <= 4
    assert (pixels_of(encoded(cyan, "TIFF")) == (0, 255, 255)).all()


def test_one_channel_from_colour_is_luminance() -> None:
    whole = noise(9, 9)
    got = pixels_of(encoded(Image.fromarray(whole)), channels=1)[..., 0]
    np.testing.assert_array_equal(got, np.asarray(Image.fromarray(whole).convert("L")))
    by_hand = whole @ np.array([0.299, 0.587, 0.114])
    assert np.abs(got - by_hand).max() < 1


def test_three_channels_from_grey_are_the_grey_three_times() -> None:
    grey = noise(6, 5)[..., 0]
    got = pixels_of(encoded(Image.fromarray(grey)))
    np.testing.assert_array_equal(got, np.repeat(grey[..., None], 3, axis=2))


def test_the_first_frame_or_page_is_used() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    for form in ("GIF", "TIFF", "PNG", "WEBP"):
        more = {"lossless": True} if form == "WEBP" else {}
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **more)
        assert (pixels_of(data) == (255, 0, 0)).all(), form


# --- Which way is up -----------------------------------------------------------------------------

STORED_AS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_a_turned_file_equals_the_upright_one(form: str, orientation: int) -> None:
    upright = noise(6, 9)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](upright)))
    more = {"lossless": True} if form == "WEBP" else {}
    data = encoded(stored, form, exif=exif, **more)
    np.testing.assert_array_equal(pixels_of(data, size=(6, 9)), upright)


def test_a_turned_grey_picture_of_16_bits_is_scaled_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.array([[0], [25700], [65535]], dtype=np.uint16))
    got = pixels_of(encoded(stored, exif=exif), size=(1, 3), channels=1)
    assert got[0, :, 0].tolist() == [255, 100, 0]


@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_a_broken_exif_block_is_ignored_without_a_warning(exif: bytes) -> None:
    image = Image.fromarray(smooth(16, 24))
    plain = pixels_of(encoded(image, "JPEG"), size=(16, 24))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = decode(
            encoded(image, "JPEG", exif=exif), height=16, width=24, channels=3, fit="stretch"
        )
    np.testing.assert_array_equal(got, plain)


def test_an_orientation_that_does_not_exist_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    whole = noise(4, 6)
    data = encoded(Image.fromarray(whole), exif=exif)
    np.testing.assert_array_equal(pixels_of(data, size=(4, 6)), whole)


# --- Sizes ---------------------------------------------------------------------------------------


def test_one_colour_stays_that_colour_at_every_size_and_fit() -> None:
    data = encoded(Image.new("RGB", (37, 23), (12, 200, 77)))
    for fit in FITS:
        for size in ((1, 1), (8, 8), (23, 37), (64, 50)):
            assert (pixels_of(data, size=size, fit=fit) == (12, 200, 77)).all()


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    got = pixels_of(encoded(Image.fromarray(board)), size=(8, 8), channels=1)
    assert np.abs(got.astype(int) - 127).max() <= 3


def test_crop_takes_the_middle_without_mixing_pixels() -> None:
    whole = noise(2, 5)
    data = encoded(Image.fromarray(whole))
    np.testing.assert_array_equal(pixels_of(data, size=(2, 2), fit="crop"), whole[:, 1:3])
    tall = encoded(Image.fromarray(whole.transpose(1, 0, 2).copy()))
    got = pixels_of(tall, size=(2, 2), fit="crop")
    np.testing.assert_array_equal(got, whole.transpose(1, 0, 2)[1:3])


def test_crop_scales_the_short_side_and_leaves_out_the_ends() -> None:
    picture = np.zeros((10, 40, 3), dtype=np.uint8)
    picture[:, 13:27] = 200  # the middle square and what the filter sees of its surroundings
    assert (pixels_of(encoded(Image.fromarray(picture)), size=(5, 5), fit="crop") == 200).all()


def test_pad_repeats_the_border_with_the_odd_pixel_below_and_right() -> None:
    whole = noise(2, 5)
    got = pixels_of(encoded(Image.fromarray(whole)), size=(5, 5), fit="pad")
    np.testing.assert_array_equal(got, whole[[0, 0, 1, 1, 1]])
    turned = whole.transpose(1, 0, 2).copy()
    got = pixels_of(encoded(Image.fromarray(turned)), size=(5, 5), fit="pad")
    np.testing.assert_array_equal(got, turned[:, [0, 0, 1, 1, 1]])


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 500), (500, 1)])
def test_pictures_of_a_pixel_or_two_work(shape: tuple[int, int]) -> None:
    data = encoded(Image.fromarray(noise(*shape)), "JPEG")
    for fit in FITS:
        for channels in (1, 3):
            got = pixels_of(data, size=(12, 10), fit=fit, channels=channels)
            assert got.shape == (12, 10, channels)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_at_no_less_than_twice_the_wanted_size(
    fit: Fit, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(smooth(600, 900)), "JPEG", exif=exif)
    across, down = (900, 600) if orientation == 1 else (600, 900)
    for height, width in ((64, 64), (64, 32), (20, 100), (300, 300), (301, 301), (3, 3)):
        with Image.open(io.BytesIO(data)) as image:
            images._draft(image, height=height, width=width, fit=fit)
            drafted = image.size if orientation == 1 else image.size[::-1]
        box, size = images._placed(across, down, width=width, height=height, fit=fit)
        assert drafted[0] / across * (box[2] - box[0]) >= 2 * size[0] or drafted[0] == across
        assert drafted[1] / down * (box[3] - box[1]) >= 2 * size[1] or drafted[1] == down
    assert drafted[0] < across, "the smallest size is worth a draft"


@pytest.mark.parametrize("fit", FITS)
def test_a_draft_changes_no_pixel_by_much(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(smooth(601, 903)), "JPEG", quality=95)
    drafted = pixels_of(data, size=(48, 48), fit=fit).astype(int)
    monkeypatch.setattr(images, "_draft", lambda *_, **__: None)
    whole = pixels_of(data, size=(48, 48), fit=fit).astype(int)
    assert np.abs(drafted - whole).mean() < 1.5
    assert np.abs(drafted - whole).max() <= 10


def test_pixels_that_are_decoded_already_are_fitted_like_a_file() -> None:
    for whole in (noise(30, 20), noise(30, 20)[..., :1]):
        data = encoded(Image.fromarray(whole if whole.shape[2] == 3 else whole[..., 0]))
        for fit in FITS:
            for channels in (1, 3):
                np.testing.assert_array_equal(
                    refit(whole, height=9, width=11, channels=channels, fit=fit),
                    pixels_of(data, size=(9, 11), channels=channels, fit=fit),
                )


# --- What cannot be read -------------------------------------------------------------------------


def test_a_cut_file_is_named_as_truncated(tmp_path: Path) -> None:
    path = tmp_path / "cat 1.jpg"
    path.write_bytes(encoded(Image.fromarray(noise(64, 64)), "JPEG")[:-60])
    with pytest.raises(SourceError) as caught:
        pixels_of(path, size=(8, 8))
    lines = str(caught.value).splitlines()
    start = f"{path} is truncated: the file ends before the picture does (image file is truncated"
    assert lines[0].startswith(start)
    assert lines[1] == "  Fix: convert it to PNG or JPEG, or pass --on-bad-file skip."


def test_half_a_picture_is_refused_even_where_pillow_was_told_to_take_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for form in ("JPEG", "PNG"):
        cut = encoded(Image.fromarray(noise(64, 64)), form)[:-600]
        Image.open(io.BytesIO(cut)).load()  # Pillow takes it
        with pytest.raises(UnreadableImageError, match="the image is truncated"):
            pixels_of(cut, size=(8, 8))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True, "what was set is put back"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_file_cut_anywhere_is_refused_or_whole(form: str) -> None:
    data = encoded(Image.fromarray(noise(20, 20)), form)
    whole = pixels_of(data)
    refused = 0
    for end in [*range(1, len(data), len(data) // 40), *range(len(data) - 5, len(data))]:
        try:
            got = decode(data[:end], height=20, width=20, channels=3, fit="stretch")
        except SourceError:
            refused += 1
        else:
            np.testing.assert_array_equal(got, whole)
    assert refused >= 35


def test_damaged_data_are_named_as_damaged() -> None:
    data = bytearray(encoded(Image.fromarray(noise(40, 40))))
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    with pytest.raises(UnreadableImageError, match=r"the image is damaged \(.+\)\."):
        pixels_of(bytes(data), size=(8, 8))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty (0 bytes)."),
        (b"This is not a picture", "isn't an image Pillow can read (first bytes: b'This is not "),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is HEIC/HEIF, which is not supported"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "isn't an image"),
    ],
)
def test_what_is_no_image_is_named_with_its_reason(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError) as caught:
        decode(path, height=8, width=8, channels=3, fit="stretch")
    assert str(caught.value).startswith(f"{path} {words}")
    assert caught.value.is_lasting
    with pytest.raises(UnreadableImageError) as caught:
        decode(data, height=8, width=8, channels=3, fit="stretch")
    assert str(caught.value).startswith(f"the image {words}")


def test_a_missing_file_is_a_fault_that_may_pass(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"gone\.png does not exist\.") as caught:
        decode(tmp_path / "gone.png", height=8, width=8, channels=3, fit="stretch")
    assert not caught.value.is_lasting
    with pytest.raises(UnreadableImageError, match="cannot be opened: Is a directory") as caught:
        decode(tmp_path, height=8, width=8, channels=3, fit="stretch")
    assert not caught.value.is_lasting


def test_the_fix_of_a_bad_image_names_formats_of_images(tmp_path: Path) -> None:
    for name, content, fix in (
        ("bad.png", b"no image", "convert it to PNG or JPEG, or pass --on-bad-file skip."),
        ("gone.png", None, "name another file, or pass --on-bad-file skip."),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableError) as caught:
            decode(tmp_path / name, height=8, width=8, channels=3, fit="stretch")
        assert caught.value.fix == fix
        assert caught.value.name == str(tmp_path / name)
    assert UnreadableError("a", "is bad").fix == "convert it, or pass --on-bad-file skip."


def test_more_pixels_than_the_limit_are_refused_before_they_are_decoded() -> None:
    data = encoded(Image.fromarray(noise(10, 10)))
    decode(data, height=4, width=4, channels=3, fit="stretch", limit=100)
    with pytest.raises(SourceError, match=r"claims 10 x 10 = 100 pixels, over the limit of 99\."):
        decode(data, height=4, width=4, channels=3, fit="stretch", limit=99)
    bomb = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\0;"
    with pytest.raises(SourceError, match=r"claims .*pixels, over the limit of 178,956,970"):
        decode(bomb, height=4, width=4, channels=3, fit="stretch")


def test_a_name_that_cannot_be_printed_stays_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a\nb.png"
    path.write_bytes(b"rubbish")
    with pytest.raises(SourceError) as caught:
        decode(path, height=4, width=4, channels=3, fit="stretch")
    assert str(caught.value).count("\n") == 1 and r"a\nb.png" in str(caught.value)


def test_threads_get_the_same_bits_and_leave_pillow_as_it_was() -> None:
    good = [encoded(Image.fromarray(noise(90, 70, seed=k)), "JPEG") for k in range(8)]
    alone = [pixels_of(data, size=(20, 20)) for data in good]
    filters = list(warnings.filters)

    def one(k: int) -> bool:
        if k % 5 == 4:
            with pytest.raises(SourceError):
                decode(good[k % 8][:-50], height=20, width=20, channels=3, fit="stretch")
            return True
        got = decode(good[k % 8], height=20, width=20, channels=3, fit="stretch")
        return bool((got == alone[k % 8]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(400)))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert images._switch_users == 0 and warnings.filters == filters


# --- As the cache asks for them ------------------------------------------------------------------


def test_the_reader_gives_one_step_of_what_decode_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ImageReader(7, 9, 3, "crop")
    whole = noise(30, 20)
    data = encoded(Image.fromarray(whole))
    wanted = pixels_of(data, size=(7, 9), fit="crop")
    for values, scale in (reader.read(data), reader.read_pixels(whole)):
        np.testing.assert_array_equal(values, wanted[None])
        assert scale == 1.0 and values.dtype == reader.dtype and values.shape[1:] == reader.inner
    abouts = [ImageReader(*size, "pad").about for size in ((7, 9, 3), (9, 7, 3), (7, 9, 1))]
    abouts += [reader.about]
    monkeypatch.setattr("PIL.__version__", "99.0")
    abouts += [reader.about]
    assert len({str(about) for about in abouts}) == 5 and not reader.is_ragged


# --- Real odd files ------------------------------------------------------------------------------

REFUSED = {
    "truncated_jpeg.jpg": "is truncated",
    "truncated_image.png": "is truncated",
    "broken_data_stream.png": "is damaged",
    "broken.png": "isn't an image",
    "png_decompression_dos.png": "has a header that cannot be read",
    "decompression_bomb.gif": "over the limit",
    "reallybig.bmp": "over the limit",
    "zero_width.gif": "",
    "hopper.heif": "HEIC/HEIF",
    "empty.jpg": "is empty",
    "text_renamed.jpg": "isn't an image",
}


@pytest.fixture
def odd(data_folder: Path) -> Path:
    folder = data_folder / "odd" / "images"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    return folder


def test_odd_files_are_read_or_refused_as_they_should_be(odd: Path) -> None:
    for path in sorted(odd.iterdir()):
        if path.name in REFUSED:
            with pytest.raises(UnreadableImageError) as caught:
                pixels_of(path, size=(16, 16))
            assert REFUSED[path.name] in caught.value.reason, path.name
        else:
            assert pixels_of(path, size=(16, 16)).shape == (16, 16, 3), path.name


def test_odd_16_bit_files_are_not_white(odd: Path) -> None:
    for name in ("grey_16bit_full_range.png", "hopper_16bit.pgm"):
        got = pixels_of(odd / name, channels=1)[..., 0]
        with Image.open(odd / name) as image:
            values = np.asarray(image)
        np.testing.assert_array_equal(got, np.floor(values / 257 + 0.5))


def test_odd_cmyk_is_red_in_one_corner_and_black_in_the_other(odd: Path) -> None:
    got = pixels_of(odd / "pil_sample_cmyk.jpg")
    red, green, blue = (int(v) for v in got[0, 0])
    assert red > 200 and green < 60 and blue < 60
    assert got[-1, -1].max() < 30


def test_odd_turned_files_stand_upright(odd: Path) -> None:
    plain = pixels_of(odd / "WEIRD name (1) é ü 中.JPG", size=(128, 128)).astype(int)
    turned = pixels_of(odd / "hopper_orientation_6.jpg", size=(128, 128)).astype(int)
    assert np.abs(plain - turned).mean() < 8  # two encodings of one photo
    assert np.abs(plain - np.rot90(turned)).mean() > 40
    assert pixels_of(odd / "orientation_rectangle.jpg", size=(2, 1)).shape == (2, 1, 3)
