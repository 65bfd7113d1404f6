from __future__ import annotations

import hashlib
import io
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from gridcell.errors import MissingExtraError, SourceError, StorageError
from gridcell.sources import find_files, images, index
from gridcell.sources import scan as scans
from gridcell.sources.images import Header, header_of
from gridcell.sources.scan import Scan, good_rows

Picture = Callable[..., Path]


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


SEEDS = [
    encoded(Image.new("RGB", (9, 7), "red"), form) for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF")
]


def png_claiming(width: int, height: int) -> bytes:
    """A whole PNG header with next to no pixels behind it."""
    data = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, body in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 99))):
        check = struct.pack(">I", zlib.crc32(kind + body))
        data += struct.pack(">I", len(body)) + kind + body + check
    return data


def header(data: bytes) -> Header:
    found = header_of(data)
    assert isinstance(found, Header), found
    return found


def aged(*paths: Path) -> None:
    """Make files look older than the two seconds within which a scan trusts no time of change."""
    for path in paths:
        os.utime(path, (time.time() - 60, time.time() - 60))


def test_a_header_tells_size_mode_and_digest() -> None:
    data = encoded(Image.new("RGB", (7, 5)), "PNG")
    found = header(data)
    assert (found.height, found.width, found.mode) == (5, 7, "RGB")
    assert found.digest == hashlib.blake2b(data, digest_size=16).digest()
    assert found.is_colour and not found.has_more


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_the_one_a_person_sees(form: str, orientation: int) -> None:
    image = Image.new("RGB", (7, 5))
    exif = image.getexif()
    exif[0x0112] = orientation
    data = encoded(image, form, exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        turned = ImageOps.exif_transpose(opened)
    assert turned.size == ((7, 5) if orientation < 5 else (5, 7))  # the oracle itself turns
    assert (header(data).width, header(data).height) == turned.size


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "F"])
def test_grey_formats_hold_no_colour(mode: str) -> None:
    form = "TIFF" if mode == "F" else "PNG"
    found = header(encoded(Image.new("L", (4, 4), 9).convert(mode), form))
    assert found.mode == mode
    assert not found.is_colour


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK"])
def test_colour_formats_hold_colour(mode: str) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    assert header(encoded(Image.new(mode, (4, 4)), form)).is_colour


def test_a_palette_of_greys_holds_no_colour_and_one_with_a_colour_does() -> None:
    for form in ("PNG", "BMP", "TIFF"):
        for colours, expected in ([0, 0, 0, 80, 80, 80], False), ([0, 0, 0, 80, 80, 81], True):
            image = Image.new("P", (4, 4))
            image.putpalette(colours)
            data = encoded(image, form)
            assert header(data).is_colour is expected, (form, colours)


def test_animations_and_pages_are_known() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    for form in ("GIF", "TIFF", "WEBP", "PNG"):
        many = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        assert header(many).has_more
        assert not header(encoded(frames[0], form)).has_more


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"just some text", "isn't an image Pillow can read (first bytes: b'just some te')"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "is HEIC/HEIF, which is not supported: convert it"),
        (b"\0\0\0\x18ftypmif1" + b"\0" * 40, "is HEIC/HEIF"),
        (png_claiming(20_000, 20_000), "claims 400,000,000 pixels, over the limit of 178,956,970"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "isn't an image Pillow can read"),
    ],
)
def test_what_is_no_image_is_told_why(data: bytes, words: str) -> None:
    found = header_of(data)
    assert isinstance(found, str)
    assert words in found


def test_the_pixel_limit_holds_even_where_pillows_is_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert "claims 20000 x 20000 = 400,000,000 pixels" in str(header_of(png_claiming(20000, 20000)))


@pytest.mark.filterwarnings("ignore:Image size")
def test_a_large_image_below_the_limit_is_read() -> None:
    assert header(png_claiming(13_000, 13_000)).width == 13_000


def test_avif_without_its_codec_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_none(*args: object, **options: object) -> None:
        raise __import__("PIL").UnidentifiedImageError("cannot identify")

    monkeypatch.setattr(Image, "open", open_none)
    assert "is AVIF, which this Pillow was built without" in str(header_of(b"\0\0\0\x20ftypavif"))


def test_a_header_that_breaks_its_reader_is_a_reason_and_no_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise struct.error("unpack requires 4 bytes")

    monkeypatch.setattr(Image, "open", broken)
    assert header_of(b"x") == "has a header that cannot be read (unpack requires 4 bytes)"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_leaves_the_picture_as_it_is_stored() -> None:
    data = encoded(Image.new("RGB", (7, 5)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\xff garbage")
    assert (header(data).width, header(data).height) == (7, 5)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.integers(0, 400), st.binary(max_size=24), st.integers(0, 900))
def test_no_damage_to_a_file_escapes_as_an_exception(
    data: bytes, at: int, junk: bytes, end: int
) -> None:
    damaged = (data[:at] + junk + data[at + len(junk) :])[:end]
    found = header_of(damaged)
    assert isinstance(found, str) or found.height * found.width <= images.PIXELS_LARGEST


def scan(root: Path, paths: list[str], **options: Any) -> Scan:
    return scans.scan(root, paths, images.MEDIUM, about=root, **options)


def test_equal_files_have_equal_digests_and_others_do_not(tmp_path: Path, picture: Picture) -> None:
    for name, seed in (("1.png", 1), ("2.png", 1), ("3.png", 2)):
        picture(tmp_path / name, seed=seed)
    digests = scan(tmp_path, ["1.png", "2.png", "3.png"]).facts["digest"]
    assert digests.dtype == "V16"
    assert digests[0] == digests[1] != digests[2]


def test_a_second_scan_reads_no_file_and_finds_the_same(tmp_path: Path, picture: Picture) -> None:
    names = [f"{number}.png" for number in range(100)]
    for number, name in enumerate(names):
        aged(picture(tmp_path / name, mode=("RGB", "L")[number % 2], size=(number + 1, 3)))
    first, second = scan(tmp_path, names), scan(tmp_path, names)
    assert (first.read, second.read) == (100, 0)
    assert (first.facts == second.facts).all()
    assert len(np.unique(first.facts["digest"])) == 100
    some = scan(tmp_path, names[::-3])
    assert some.read == 0 and (some.facts == first.facts[::-3]).all()


def test_a_changed_file_is_read_again(tmp_path: Path, picture: Picture) -> None:
    names = ["1.bmp", "2.bmp"]
    for name in names:
        aged(picture(tmp_path / name, seed=1))
    before = scan(tmp_path, names)
    aged(picture(tmp_path / "2.bmp", seed=2))  # same size in bytes, another time of change
    after = scan(tmp_path, names)
    assert after.read == 1
    assert after.facts["digest"][0] == before.facts["digest"][0]
    assert after.facts["digest"][1] != before.facts["digest"][1]


def test_files_of_one_size_and_time_that_change_their_names_are_read_again(
    tmp_path: Path, picture: Picture
) -> None:
    for name in "ab":  # as an archive unpacks them, all of one time
        aged(picture(tmp_path / name / "1.bmp", seed=ord(name)))
        os.utime(tmp_path / name / "1.bmp", (1e9, 1e9))
    paths = ["a/1.bmp", "b/1.bmp"]
    before = scan(tmp_path, paths)
    assert scan(tmp_path, paths).read == 0
    for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
        (tmp_path / old).rename(tmp_path / new)
    after = scan(tmp_path, paths)
    assert after.read == 2
    assert (after.facts["digest"] == before.facts["digest"][::-1]).all()
    kept = (tmp_path / "a" / "1.bmp").read_bytes()
    (tmp_path / "a" / "1.bmp").write_bytes(bytes(reversed(kept)))  # in place, as long as before
    os.utime(tmp_path / "a" / "1.bmp", (1e9, 1e9))
    assert scan(tmp_path, paths).read == 1


def test_a_file_that_changed_a_moment_ago_is_not_trusted(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "1.png")
    assert scan(tmp_path, ["1.png"]).read == 1
    assert scan(tmp_path, ["1.png"]).read == 1


def test_bad_files_are_read_anew_each_time(tmp_path: Path, picture: Picture) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    aged(tmp_path / "1.png")
    for _ in range(2):
        assert scan(tmp_path, ["1.png", "gone.png", "."]).reasons == {
            0: "is empty (0 bytes)",
            1: "does not exist",
            2: "is a folder",
        }


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half", b"not an archive"])
def test_a_damaged_index_costs_a_scan_and_nothing_else(
    tmp_path: Path, picture: Picture, own_cache: Path, damage: bytes
) -> None:
    aged(picture(tmp_path / "1.png"))
    scan(tmp_path, ["1.png"])
    (file,) = (own_cache / "scans").iterdir()
    whole = file.read_bytes()
    for data in (damage, whole[:-30], whole[: len(whole) // 2]):
        file.write_bytes(data)
        assert scan(tmp_path, ["1.png"]).read == 1
        assert scan(tmp_path, ["1.png"]).read == 0


def test_an_index_of_another_pillow_is_not_used(
    tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(picture(tmp_path / "1.png"))
    scan(tmp_path, ["1.png"])
    monkeypatch.setattr("PIL.__version__", "0.1")
    assert scan(tmp_path, ["1.png"]).read == 1


def test_an_index_whose_columns_disagree_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    index.save(
        file,
        ["a", "b"],
        stamps=np.zeros((1, index.STAMPS), np.int64),
        facts=np.zeros(2, images.RECORD),
        reader="r",
    )
    assert index.load(file, dtype=images.RECORD, reader="r").rows == {}


def test_two_folders_have_two_indexes(tmp_path: Path, picture: Picture, own_cache: Path) -> None:
    for name in "ab":
        picture(tmp_path / name / "1.png")
        scan(tmp_path / name, ["1.png"])
    assert len(list((own_cache / "scans").iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_a_note_and_no_failure(
    tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise StorageError("x.npz cannot be written: the disk is full.", fix="free some space")

    picture(tmp_path / "1.png")
    monkeypatch.setattr(index, "write_whole", full)
    found = scan(tmp_path, ["1.png"])
    assert found.notes == (
        "The files will be scanned again next time: x.npz cannot be written: the disk is full.",
    )


def test_a_file_too_large_to_hold_is_refused(
    tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "1.png")
    monkeypatch.setattr(images, "FILE_LARGEST_BYTES", 20)
    assert scan(tmp_path, ["1.png"]).reasons == {0: "is larger than 0 GiB"}


def test_progress_counts_every_file(tmp_path: Path, picture: Picture) -> None:
    names = [f"{number}.png" for number in range(150)]
    picture(tmp_path / names[0])
    for name in names[1:]:
        (tmp_path / name).write_bytes((tmp_path / names[0]).read_bytes())
    seen: list[int] = []
    scan(tmp_path, names, progress=lambda done, total: seen.append(done))
    # How many are done at once depends on how quick they are.
    assert seen[0] == 0 and seen[-1] == 150
    assert all(0 < later - earlier <= 64 for earlier, later in pairwise(seen))


def test_a_stop_in_the_middle_stops(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "1.png")

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(tmp_path, ["1.png"] * 1000, progress=stop)


def bad(tmp_path: Path, picture: Picture, count: int) -> tuple[Scan, list[str]]:
    picture(tmp_path / "good.png")
    names = ["good.png"]
    for number in range(count):
        (tmp_path / f"bad{number:02d}.png").write_bytes(b"")
        names.append(f"bad{number:02d}.png")
    return scan(tmp_path, names), names


def test_all_bad_files_are_listed_before_any_work_is_done(tmp_path: Path, picture: Picture) -> None:
    found, names = bad(tmp_path, picture, 60)
    with pytest.raises(SourceError) as caught:
        good_rows(found, names, images.MEDIUM, where=tmp_path, on_bad_file="stop")
    text = str(caught.value)
    assert "60 of 61 files cannot be read as images:" in text
    assert f"\n    {tmp_path}/bad49.png is empty (0 bytes)\n    and 10 more" in text
    assert "bad50.png" not in text
    assert "--on-bad-file skip" in text


def test_a_single_bad_file_is_told_in_one_sentence(tmp_path: Path, picture: Picture) -> None:
    found, names = bad(tmp_path, picture, 1)
    with pytest.raises(SourceError, match=r"^\S*bad00\.png is empty \(0 bytes\)\.\n  Fix: "):
        good_rows(found, names, images.MEDIUM, where=tmp_path, on_bad_file="stop")


def test_skipping_keeps_the_good_files_and_lists_the_others(
    tmp_path: Path, picture: Picture
) -> None:
    found, names = bad(tmp_path, picture, 3)
    rows, notes = good_rows(found, names, images.MEDIUM, where=tmp_path, on_bad_file="skip")
    assert rows.tolist() == [0]
    assert notes[0].startswith("1 file used, 3 skipped as unreadable:\n    ")
    assert "bad02.png is empty" in notes[0]


def test_nothing_left_is_refused_even_when_skipping(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    found = scan(tmp_path, ["1.png"])
    with pytest.raises(SourceError, match="none of the 1 file can be read as an image"):
        good_rows(found, ["1.png"], images.MEDIUM, where=tmp_path, on_bad_file="skip")


def test_without_pillow_the_message_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match="Images are read with Pillow") as caught:
        scan(tmp_path, [])
    assert "pip install pillow" in str(caught.value)


def test_a_file_whose_pixels_are_cut_is_left_to_the_decoder() -> None:
    data = encoded(Image.effect_noise((64, 64), 90).convert("RGB"), "JPEG")
    assert header(data[:-60]).width == 64


def test_all_images_of_a_folder_are_found_however_deep(tmp_path: Path, picture: Picture) -> None:
    for name in ("b.PNG", "a/c.jpg", "a/deep/er/1.webp", ".hidden/1.png", "a/._1.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    found = find_files(tmp_path, "images")
    assert found == [tmp_path / name for name in ("a/c.jpg", "a/deep/er/1.webp", "b.PNG")]
    assert find_files(tmp_path / "b.PNG", "images") == [tmp_path / "b.PNG"]
    with pytest.raises(SourceError, match="gone does not exist"):
        find_files(tmp_path / "gone", "images")
    with pytest.raises(SourceError, match="holds no sound"):
        find_files(tmp_path, "sounds")
