"""Decoding a whole set once: what is kept, when it is believed, and what is left behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gridcell import workers
from gridcell.errors import SourceError, StorageError
from gridcell.preparation import cache, images
from gridcell.preparation.cache import Decoded, decode_all
from gridcell.preparation.clips import FrameReader
from gridcell.preparation.images import ImageReader, decode
from gridcell.preparation.remarks import Remark
from gridcell.preparation.sounds import SoundReader
from gridcell.preparation.unreadable import UnreadableError
from gridcell.samples import UNASSIGNED, ClipFacts, ImageFacts, Samples, SoundFacts


def samples_of(root: Path, names: list[str]) -> Samples:
    digests = [hashlib.blake2b((root / n).read_bytes(), digest_size=16).digest() for n in names]
    count = len(names)
    return Samples(
        task="classify",
        paths=tuple(names),
        root=str(root),
        labels=("a", "b"),
        targets=np.arange(count) % 2,
        digests=np.frombuffer(b"".join(digests), dtype="V16"),
        facts=ImageFacts(np.full((count, 2), 8, np.int32), np.ones(count, np.bool_)),
        given=np.full(count, UNASSIGNED, dtype=np.int8),
    )


def written(root: Path, count: int) -> Samples:
    root.mkdir(exist_ok=True)
    names = [f"{k:03}.png" for k in range(count)]
    for k, name in enumerate(names):
        values = np.random.default_rng(k).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(values).save(root / name)
    return samples_of(root, names)


def decoded(
    samples: Samples,
    folder: Path,
    *,
    on_bad_file: Literal["stop", "skip"] = "stop",
    progress: cache.Progress | None = None,
    **changes: Any,
) -> Decoded:
    sizes: dict[str, Any] = {"height": 6, "width": 5, "channels": 3, "fit": "crop"}
    reader = ImageReader(**{**sizes, **changes})
    return decode_all(samples, reader, on_bad_file=on_bad_file, folder=folder, progress=progress)


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


class Bad(NamedTuple):
    samples: Samples
    bad_rows: list[int]


@pytest.fixture
def photos(tmp_path: Path) -> Samples:
    return written(tmp_path / "photos", 40)


@pytest.fixture
def with_bad(tmp_path: Path) -> Bad:
    """Ten good files, one cut, one that is text."""
    written(tmp_path / "photos", 12)
    root = tmp_path / "photos"
    (root / "003.png").write_bytes((root / "003.png").read_bytes()[:-60])
    (root / "007.png").write_bytes(b"text")
    return Bad(samples_of(root, [f"{k:03}.png" for k in range(12)]), [3, 7])


def no_image_may_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> NDArray[np.uint8]:
        raise AssertionError("an image was opened")

    monkeypatch.setattr(images, "decode", refuse)
    monkeypatch.setattr(images, "refit", refuse)


def test_all_pixels_are_those_of_each_file_in_order(photos: Samples, tmp_path: Path) -> None:
    got = decoded(photos, tmp_path / "cache")
    assert got.values.shape == (40, 6, 5, 3) and got.values.dtype == np.uint8
    for row, name in enumerate(photos.paths):
        alone = decode(Path(photos.root) / name, height=6, width=5, channels=3, fit="crop")
        np.testing.assert_array_equal(got.values[row], alone)
    np.testing.assert_array_equal(got.rows, np.arange(40))
    np.testing.assert_array_equal(got.starts, np.arange(41))
    np.testing.assert_array_equal(got.scales, np.ones(40))
    assert got.bad == () and not got.was_cached


def test_the_pixels_are_mapped_and_cannot_be_written(photos: Samples, tmp_path: Path) -> None:
    got = decoded(photos, tmp_path / "cache")
    assert isinstance(got.values, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        got.values[0] = 0


def test_a_second_call_opens_no_image(
    photos: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decoded(photos, tmp_path / "cache")
    no_image_may_be_opened(monkeypatch)
    second = decoded(photos, tmp_path / "cache")
    assert second.was_cached and second.file == first.file
    np.testing.assert_array_equal(second.values, first.values)


def test_names_and_times_do_not_matter_but_content_and_order_do(
    photos: Samples, tmp_path: Path
) -> None:
    first = decoded(photos, tmp_path / "cache")
    shutil.move(photos.root, tmp_path / "elsewhere")
    moved = replace(photos, root=str(tmp_path / "elsewhere"))
    assert decoded(moved, tmp_path / "cache").was_cached
    turned = decoded(moved.take(list(range(39, -1, -1))), tmp_path / "cache")
    assert not turned.was_cached
    np.testing.assert_array_equal(turned.values, first.values[::-1])


@pytest.mark.parametrize(
    "change", [{"height": 7}, {"width": 6}, {"channels": 1}, {"fit": "pad"}, {"fit": "stretch"}]
)
def test_another_size_channels_or_fit_is_another_file(
    photos: Samples, tmp_path: Path, change: dict[str, Any]
) -> None:
    first = decoded(photos, tmp_path / "cache")
    other = decoded(photos, tmp_path / "cache", **change)
    assert not other.was_cached and other.file != first.file


def test_another_pillow_is_another_file(
    photos: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decoded(photos, tmp_path / "cache")
    monkeypatch.setattr("PIL.__version__", "99.0")
    assert decoded(photos, tmp_path / "cache").file != first.file


def test_progress_counts_up_to_all(photos: Samples, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    decoded(photos, tmp_path / "cache", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(16, 40), (32, 40), (40, 40)]


# --- What lies there is believed only if it is whole ---------------------------------------------


def damage_cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def damage_foreign(file: Path) -> None:
    np.save(file, np.zeros((40, 6, 5, 3), dtype=np.uint8))


def damage_shape(file: Path) -> None:
    np.save(file, np.zeros((40, 6, 15, 1), dtype=np.uint8))


def damage_text(file: Path) -> None:
    file.write_text("not an array")


def damage_empty(file: Path) -> None:
    file.write_bytes(b"")


def damage_zero_tail(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(-500, os.SEEK_END)
        opened.write(bytes(500))


def damage_gone(file: Path) -> None:
    file.unlink()


def damage_note(file: Path) -> None:
    file.with_suffix(".json").write_text('{"bad": 3')


def damage_note_kind(file: Path) -> None:
    file.with_suffix(".json").write_text("[1, 2]")


def damage_note_rows(file: Path) -> None:
    record = json.loads(file.with_suffix(".json").read_text())
    record["bad"] = [[99, "is bad"]]
    file.with_suffix(".json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    "damage",
    [
        damage_cut,
        damage_foreign,
        damage_shape,
        damage_text,
        damage_empty,
        damage_zero_tail,
        damage_gone,
        damage_note,
        damage_note_kind,
        damage_note_rows,
    ],
)
def test_a_damaged_cache_is_built_again(photos: Samples, tmp_path: Path, damage: Any) -> None:
    first = decoded(photos, tmp_path / "cache")
    wanted = np.array(first.values)
    assert first.file is not None
    file = first.file
    del first
    damage(file)
    again = decoded(photos, tmp_path / "cache")
    assert not again.was_cached
    np.testing.assert_array_equal(again.values, wanted)
    assert decoded(photos, tmp_path / "cache").was_cached


def test_a_large_file_is_recognised_by_blocks_all_over_it(tmp_path: Path) -> None:
    file = tmp_path / "large.npy"
    file.write_bytes(bytes(3 << 20))
    before = cache._fingerprint(file, {})
    with file.open("r+b") as opened:
        opened.seek(3 << 19)
        opened.write(b"\1" * (1 << 18))
    assert cache._fingerprint(file, {}) != before
    assert cache._fingerprint(file, {"bad": []}) != cache._fingerprint(file, {"bad": [[1, "x"]]})


# --- Bad files -----------------------------------------------------------------------------------


def test_stop_lists_every_bad_file_with_its_reason(with_bad: Bad, tmp_path: Path) -> None:
    for _ in range(2):  # decoded, then remembered
        with pytest.raises(SourceError) as caught:
            decoded(with_bad.samples, tmp_path / "cache")
        root = with_bad.samples.root
        lines = str(caught.value).splitlines()
        assert lines[0] == "2 of 12 images cannot be decoded:"
        assert lines[1].strip().startswith(f"{root}/003.png is ")
        assert lines[2].strip().startswith(f"{root}/007.png isn't an image Pillow can read")
        assert lines[3] == "  Fix: convert them, or pass --on-bad-file skip."


def test_one_bad_file_is_one_line(with_bad: Bad, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        decoded(with_bad.samples.take([0, 7, 1]), tmp_path / "cache")
    text = str(caught.value)
    assert text.startswith(f"{with_bad.samples.root}/007.png isn't an image Pillow can read (")
    assert text.endswith("\n  Fix: convert it, or pass --on-bad-file skip.")


def test_many_bad_files_are_listed_up_to_fifty_and_then_counted(tmp_path: Path) -> None:
    samples = written(tmp_path / "photos", 61)
    for name in samples.paths[1:]:
        (tmp_path / "photos" / name).write_bytes(b"text " + name.encode())
    samples = samples_of(tmp_path / "photos", list(samples.paths))
    with pytest.raises(SourceError) as caught:
        decoded(samples, tmp_path / "cache")
    lines = str(caught.value).splitlines()
    assert lines[0] == "60 of 61 images cannot be decoded:"
    assert len(lines) == 53 and lines[51].strip() == "and 10 more"


def test_skip_leaves_bad_files_out_and_names_them(
    with_bad: Bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = with_bad.samples
    first = decoded(samples, tmp_path / "cache", on_bad_file="skip")
    good = [row for row in range(12) if row not in with_bad.bad_rows]
    assert first.rows.tolist() == good and first.values.shape == (10, 6, 5, 3)
    for place, row in enumerate(good):
        path = Path(samples.root) / samples.paths[row]
        alone = decode(path, height=6, width=5, channels=3, fit="crop")
        np.testing.assert_array_equal(first.values[place], alone)
    assert [path for path, _ in first.bad] == ["003.png", "007.png"]
    assert first.bad[1][1].startswith("isn't an image Pillow can read (first bytes: b'text')")

    no_image_may_be_opened(monkeypatch)
    second = decoded(samples, tmp_path / "cache", on_bad_file="skip")
    assert second.was_cached and second.bad == first.bad
    np.testing.assert_array_equal(second.rows, first.rows)


def test_a_set_without_one_good_file_is_refused_even_with_skip(
    with_bad: Bad, tmp_path: Path
) -> None:
    with pytest.raises(SourceError) as caught:
        decoded(with_bad.samples.take([3, 7]), tmp_path / "cache", on_bad_file="skip")
    assert str(caught.value).startswith("none of the 2 images can be decoded:\n")
    assert str(caught.value).endswith("Fix: convert them to PNG or JPEG.")
    assert files_in(tmp_path / "cache") == []


def test_a_file_that_went_away_is_looked_for_again_the_next_time(
    photos: Samples, tmp_path: Path
) -> None:
    gone = Path(photos.root) / photos.paths[5]
    data = gone.read_bytes()
    gone.unlink()
    first = decoded(photos, tmp_path / "cache", on_bad_file="skip")
    assert first.bad == (("005.png", "does not exist"),) and len(first.rows) == 39
    gone.write_bytes(data)
    second = decoded(photos, tmp_path / "cache", on_bad_file="skip")
    assert second.bad == () and len(second.rows) == 40


# --- Sets that are arrays already ----------------------------------------------------------------


def as_array(samples: Samples, channels: int) -> Samples:
    shape = (len(samples), 6, 5, channels)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    return replace(samples, facts=replace(samples.facts, pixels=pixels))


def pixels_in(samples: Samples) -> NDArray[np.uint8]:
    assert isinstance(samples.facts, ImageFacts) and samples.facts.pixels is not None
    return samples.facts.pixels


def test_an_array_of_the_wanted_size_is_returned_as_it_is(photos: Samples, tmp_path: Path) -> None:
    samples = as_array(photos, 3)
    got = decoded(samples, tmp_path / "cache")
    assert np.shares_memory(got.values, pixels_in(samples)) and got.file is None
    assert not got.values.flags.writeable and pixels_in(samples).flags.writeable
    assert got.rows.tolist() == list(range(40)) and not (tmp_path / "cache").exists()


def test_an_array_of_another_size_or_channels_is_fitted_and_kept(
    photos: Samples, tmp_path: Path
) -> None:
    samples = as_array(photos, 1)
    tripled = decoded(samples, tmp_path / "cache")
    np.testing.assert_array_equal(tripled.values, np.repeat(pixels_in(samples), 3, axis=3))
    assert decoded(samples, tmp_path / "cache").was_cached
    assert decoded(samples, tmp_path / "cache", height=12).values.shape == (40, 12, 5, 3)


# --- The disk ------------------------------------------------------------------------------------


def test_a_disk_without_room_is_named_before_anything_is_decoded(
    photos: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=3000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    no_image_may_be_opened(monkeypatch)
    with pytest.raises(StorageError) as caught:
        decoded(photos, tmp_path / "cache")
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "cache" / "pixels"))
    assert ".npy needs 3,600 bytes; 3,000 are free on its disk.\n" in text
    assert "choose a smaller --image-size, or name a folder on another disk with --cache." in text


def test_a_disk_that_fills_up_on_the_way_leaves_nothing_behind(
    photos: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        decoded(photos, tmp_path / "cache")
    assert "the disk is full. It is to hold 40 images decoded." in str(caught.value)
    assert files_in(tmp_path / "cache") == []


@pytest.mark.parametrize("parts", [0, 1])
def test_ctrl_c_leaves_nothing_behind_and_waits_for_few_images(
    parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first are decoded alone, and when all cores have begun."""
    samples = written(tmp_path / "photos", 400)
    opened: list[Path] = []

    def counting(path: Path, **settings: Any) -> NDArray[np.uint8]:
        opened.append(path)
        time.sleep(0.005)
        return decode(path, **settings)

    def interrupt(done: int, total: int) -> None:
        if done > parts * cache.CHUNK_ROWS:
            raise KeyboardInterrupt

    monkeypatch.setattr(images, "decode", counting)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    with pytest.raises(KeyboardInterrupt):
        decoded(samples, tmp_path / "cache", progress=interrupt)
    assert files_in(tmp_path / "cache") == []
    count = len(opened)
    assert count < (1 + 4 * parts) * cache.CHUNK_ROWS, "chunks that had begun are left as well"
    time.sleep(0.05)
    assert len(opened) == count, "no thread goes on"


def test_the_least_recently_used_sets_go_when_all_together_are_too_large(
    photos: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    oldest, older, newer = (decoded(photos, folder, height=h) for h in (6, 7, 8))
    for age, found in ((300, oldest), (200, older), (100, newer)):
        assert found.file is not None
        stamp = time.time() - age
        os.utime(found.file, (stamp, stamp))
        os.utime(found.file.with_suffix(".json"), (stamp, stamp))
    assert decoded(photos, folder, height=6).was_cached  # used just now, so no longer the oldest
    litter = folder / "pixels" / ".dead.npy.0123.part"
    litter.write_bytes(b"x")
    os.utime(litter, (0, 0))

    each = 40 * 6 * 5 * 3
    monkeypatch.setattr(cache, "LIMIT_BYTES", int(each * 3.4))
    newest = decoded(photos, folder, height=9)
    kept = {Path(name).stem for name in files_in(folder)}
    assert newest.file is not None and oldest.file is not None
    assert kept == {newest.file.stem, oldest.file.stem}
    assert older.values.sum() > 0, "a set that is mapped stays readable"


def test_the_set_just_written_stays_however_large(
    photos: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LIMIT_BYTES", 1)
    got = decoded(photos, tmp_path / "cache")
    assert got.file is not None and got.file.exists()
    assert decoded(photos, tmp_path / "cache").was_cached


def test_sets_of_all_kinds_share_one_limit(
    photos: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = decoded(photos, tmp_path / "cache").file
    assert pixels is not None and pixels.exists()
    monkeypatch.setattr(cache, "LIMIT_BYTES", 1)
    waves = heard(counted_files(tmp_path / "numbers", [3]), tmp_path / "cache").file
    assert waves is not None and waves.exists() and not pixels.exists()


# --- What is said of files that are used all the same --------------------------------------------


def test_pixels_of_one_colour_are_found_whether_or_not_they_are_decoded(tmp_path: Path) -> None:
    pixels = np.zeros((6, 8, 8, 1), np.uint8)
    pixels[1, 2, 3] = 9
    pixels[2, 4, 4] = 9
    pixels[3] = 7
    facts = ImageFacts(np.full((6, 2), 8, np.int32), np.zeros(6, np.bool_), pixels=pixels)
    names = [f"#{row}" for row in range(6)]
    for name in names:
        (tmp_path / name).write_text(name)
    samples = replace(samples_of(tmp_path, names), facts=facts)
    for side in (8, 16):
        got = decode_all(
            samples,
            ImageReader(side, side, 1, "stretch"),
            on_bad_file="stop",
            folder=tmp_path / "cache",
        )
        assert got.remarks == tuple((f"#{row}", Remark("blank")) for row in (0, 3, 4, 5))


# --- Copies whose files differ -------------------------------------------------------------------


def written_again(root: Path) -> Samples:
    """Three pictures: the first in three formats, the second with a note in it, one white twice."""
    root.mkdir()
    draw = np.random.default_rng(0)
    first, second, third = (
        Image.fromarray(draw.integers(0, 256, (8, 9, 3), dtype=np.uint8)) for _ in range(3)
    )
    white, note, exif = Image.new("RGB", (9, 8), "white"), PngInfo(), Image.Exif()
    note.add_text("Comment", "taken again")
    exif[0x010F] = "a camera"
    for name, picture, options in (
        ("0.png", first, {}),
        ("1.png", second, {}),
        ("2.bmp", first, {}),
        ("3.png", white, {}),
        ("4.tiff", first, {"compression": "tiff_lzw"}),
        ("5.bmp", white, {}),
        ("6.png", second, {"pnginfo": note}),
        ("7.png", third, {}),
        ("8.png", second, {"exif": exif, "compress_level": 0}),
    ):
        picture.save(root / name, **options)
    samples = samples_of(root, sorted(path.name for path in root.iterdir()))
    assert len(set(samples.digests.tolist())) == 9
    return samples


@pytest.mark.parametrize("cores", [1, 2])
def test_one_picture_in_several_files_is_alike_but_white_ones_are_not(
    tmp_path: Path, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: cores)
    monkeypatch.setattr(workers, "PATIENCE_S", -1.0)  # threads from the first file on
    samples = written_again(tmp_path / "photos")
    for was_cached in (False, True):
        got = decoded(samples, tmp_path / "cache")
        assert got.was_cached == was_cached and got.alike is not None
        assert got.alike.tolist() == [0, 1, 0, 3, 0, 5, 1, 7, 1]


def test_pictures_left_out_keep_their_numbers_off_those_that_are_alike(tmp_path: Path) -> None:
    samples = written_again(tmp_path / "photos")
    (tmp_path / "photos" / "0.png").write_bytes(b"text")
    samples = samples_of(tmp_path / "photos", list(samples.paths))
    for _ in range(2):
        got = decoded(samples, tmp_path / "cache", on_bad_file="skip")
        assert got.rows.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
        assert got.alike is not None and got.alike.tolist() == [0, 1, 2, 1, 4, 0, 6, 0]


def test_equal_checksums_alone_make_nothing_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "crc32", lambda _: 7)
    got = decoded(written(tmp_path / "photos", 3), tmp_path / "cache")
    assert got.alike is not None and got.alike.tolist() == [0, 1, 2]
    # Nor do they hide what is: the second picture is compared with those that follow it too.
    got = decoded(written_again(tmp_path / "again"), tmp_path / "cache")
    assert got.alike is not None and got.alike.tolist() == [0, 1, 0, 3, 0, 5, 1, 7, 1]


def test_a_cache_that_does_not_say_what_is_alike_is_built_again(tmp_path: Path) -> None:
    samples = written_again(tmp_path / "photos")
    file = decoded(samples, tmp_path / "cache").file
    assert file is not None
    note = file.with_suffix(".json")
    earlier = json.loads(note.read_bytes())
    del earlier["alike"], earlier["fingerprint"]
    earlier["fingerprint"] = cache._fingerprint(file, earlier)
    note.write_text(json.dumps(earlier))
    again = decoded(samples, tmp_path / "cache")
    assert not again.was_cached and again.alike is not None and again.alike[2] == 0
    assert decoded(samples, tmp_path / "cache").was_cached


def test_one_sound_in_several_files_is_alike_but_not_at_another_level_or_silent(
    tmp_path: Path,
) -> None:
    wave = np.random.default_rng(0).integers(-9000, 9000, 4000).astype(np.int16)
    standing = np.full(4000, -256, np.int16)  # as an offset makes of silence
    quiet = np.zeros(4000, np.int16)
    for name, samples_, kind in (
        ("0.wav", wave, "PCM_16"),
        ("1.flac", wave, "PCM_16"),
        ("2.wav", wave * 2, "PCM_16"),
        ("3.wav", wave, "FLOAT"),
        ("4.wav", quiet, "PCM_16"),
        ("5.flac", quiet, "PCM_16"),
        ("6.wav", standing, "PCM_16"),
        ("7.flac", standing, "PCM_16"),
        ("8.wav", wave[:-1], "PCM_16"),
        ("9.wav", np.stack([wave, wave], 1), "PCM_16"),
    ):
        scaled = samples_ / 32768 if kind == "FLOAT" else samples_
        soundfile.write(tmp_path / name, scaled, 8000, kind)
    for name in ("a.wav", "b.flac"):  # not heard, and resampled not constant
        soundfile.write(tmp_path / name, np.full(8000, -1, np.int16), 16000)
    samples = sounds_of(tmp_path, sorted(path.name for path in tmp_path.iterdir()))
    for was_cached in (False, True):
        got = heard(samples, tmp_path / "cache", SoundReader(8000))
        assert got.was_cached == was_cached and got.alike is not None
        assert got.alike.tolist() == [0, 0, 2, 0, 4, 5, 6, 7, 8, 0, 10, 11]
        assert np.ptp(items_in(got)[10]) > 0


def test_one_clip_in_several_files_is_alike_but_black_ones_are_not(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    for name, shown, codec, pixels in (
        ("0.mkv", frames, "ffv1", "bgr0"),
        ("1.avi", frames, "png", "rgb24"),
        ("2.mkv", frames[::-1], "ffv1", "bgr0"),
        ("3.mkv", frames * 0, "ffv1", "bgr0"),
        ("4.avi", frames * 0, "png", "rgb24"),
    ):
        with av.open(str(tmp_path / name), "w") as out:
            stream = out.add_stream(codec, rate=8)
            stream.height, stream.width, stream.pix_fmt = 16, 16, pixels
            for frame in shown:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            out.mux(stream.encode(None))
    names = sorted(path.name for path in tmp_path.iterdir())
    sides, seconds = np.full((5, 2), 16, np.int32), np.full(5, 0.375)
    facts = ClipFacts(sides, seconds, np.ones(5, np.bool_))
    samples = replace(samples_of(tmp_path, names), facts=facts)
    got = heard(samples, tmp_path / "cache", FrameReader(16, 16, 3, "stretch", 16))
    assert got.alike is not None and got.alike.tolist() == [0, 0, 2, 3, 4]


# --- Items of unlike length ----------------------------------------------------------------------


@dataclass(frozen=True)
class NumberReader:
    """Files of text, each a line of whole numbers; the scale is the first of them."""

    opened: list[Path] = field(default_factory=list)
    folder: str = "waves"
    inner: tuple[int, ...] = ()
    is_ragged: bool = True
    dtype: np.dtype[np.int16] = field(default_factory=lambda: np.dtype(np.int16))
    about: list[object] = field(default_factory=lambda: ["numbers"])

    def read(self, source: Path) -> tuple[NDArray[np.int16], float]:
        self.opened.append(source)
        text = source.read_text()
        if text == "bad":
            raise UnreadableError(str(source), "is bad")
        values = np.array(text.split(), np.int16)
        return values, float(values[0]) if len(values) else 1.0

    def read_closely(self, source: Path) -> tuple[NDArray[np.int16], float, Remark | None]:
        return *self.read(source), None


def sounds_of(root: Path, names: list[str]) -> Samples:
    count = len(names)
    facts = SoundFacts(
        np.ones(count), np.full(count, 8000, np.int32), np.ones(count, dtype=np.int16)
    )
    return replace(samples_of(root, names), facts=facts)


def counted_files(root: Path, lengths: list[int]) -> Samples:
    """File k holds the numbers k + 1, k + 2 ...; a negative length stands for a bad one."""
    root.mkdir(exist_ok=True)
    names = [f"{k:03}.txt" for k in range(len(lengths))]
    for k, (name, length) in enumerate(zip(names, lengths, strict=True)):
        numbers = " ".join(str(k + 1 + step) for step in range(length))
        (root / name).write_text("bad" if length < 0 else numbers)
    return sounds_of(root, names)


def heard(
    samples: Samples,
    folder: Path,
    reader: cache.Reader | None = None,
    *,
    on_bad_file: Literal["stop", "skip"] = "stop",
    progress: cache.Progress | None = None,
) -> Decoded:
    reader = NumberReader() if reader is None else reader
    return decode_all(samples, reader, on_bad_file=on_bad_file, folder=folder, progress=progress)


def items_in(got: Decoded) -> list[list[int]]:
    return [got.values[got.starts[i] : got.starts[i + 1]].tolist() for i in range(len(got))]


LENGTHS = [5, 1, 0, 300, 2, 0, 7] * 7


def test_items_of_unlike_length_keep_their_order_lengths_and_scales(tmp_path: Path) -> None:
    samples = counted_files(tmp_path / "numbers", LENGTHS)
    first, second = (heard(samples, tmp_path / "cache") for _ in range(2))
    assert second.was_cached and not first.was_cached
    for got in (first, second):
        assert items_in(got) == [list(range(k + 1, k + 1 + n)) for k, n in enumerate(LENGTHS)]
        assert got.scales.tolist() == [k + 1 if n else 1 for k, n in enumerate(LENGTHS)]
        assert got.values.dtype == np.int16 and not got.values.flags.writeable


def test_a_second_run_opens_no_file_of_unlike_length(tmp_path: Path) -> None:
    samples = counted_files(tmp_path / "numbers", LENGTHS)
    heard(samples, tmp_path / "cache")
    reader = NumberReader()
    assert heard(samples, tmp_path / "cache", reader).was_cached and reader.opened == []
    other = NumberReader(about=["others"])
    assert not heard(samples, tmp_path / "cache", other).was_cached
    assert len(other.opened) == len(LENGTHS)


def test_items_without_a_step_alone_are_a_set_too(tmp_path: Path) -> None:
    samples = counted_files(tmp_path / "numbers", [0, 0])
    for was_cached in (False, True):
        got = heard(samples, tmp_path / "cache")
        assert items_in(got) == [[], []] and got.was_cached == was_cached


def test_bad_items_of_unlike_length_are_left_out_and_named(tmp_path: Path) -> None:
    samples = counted_files(tmp_path / "numbers", [4, -1, 0, 3, -1])
    for was_cached in (False, True):
        got = heard(samples, tmp_path / "cache", on_bad_file="skip")
        assert got.rows.tolist() == [0, 2, 3] and got.was_cached == was_cached
        assert items_in(got) == [[1, 2, 3, 4], [], [4, 5, 6]]
        assert got.scales.tolist() == [1, 1, 4]
        assert got.bad == (("001.txt", "is bad"), ("004.txt", "is bad"))
    with pytest.raises(SourceError, match="2 of 5 sounds cannot be decoded:"):
        heard(samples, tmp_path / "cache")
    with pytest.raises(SourceError, match=r"(?s)none of the 2 sounds.*convert them to WAV or FLAC"):
        heard(samples.take([1, 4]), tmp_path / "cache", on_bad_file="skip")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lengths", [3, 4]),  # the sum is right, the items are not
        ("lengths", [8, -1]),
        ("lengths", [7]),
        ("lengths", "43"),
        ("lengths", None),
        ("scales", [2.0, 1.0]),
        ("scales", [float("nan"), 2.0]),
        ("scales", ["1", "2"]),
        ("scales", [1.0]),
        ("bad", [[0, "is bad"]]),
        ("bad", 3),
        ("fingerprint", ""),
    ],
)
def test_lengths_and_scales_that_were_changed_are_not_trusted(
    tmp_path: Path, name: str, value: object
) -> None:
    samples = counted_files(tmp_path / "numbers", [4, 3])
    file = heard(samples, tmp_path / "cache").file
    assert file is not None
    note = file.with_suffix(".json")
    note.write_text(json.dumps({**json.loads(note.read_text()), name: value}))
    got = heard(samples, tmp_path / "cache")
    assert not got.was_cached and items_in(got) == [[1, 2, 3, 4], [2, 3, 4]]
    assert got.scales.tolist() == [1, 2]
    assert heard(samples, tmp_path / "cache").was_cached


def test_a_full_disk_leaves_no_part_of_items_of_unlike_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    samples = counted_files(tmp_path / "numbers", LENGTHS)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"full\. It is to hold 49 sounds decoded\."):
        heard(samples, tmp_path / "cache")
    assert files_in(tmp_path / "cache") == []


def test_ctrl_c_leaves_no_part_of_items_of_unlike_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    samples = counted_files(tmp_path / "numbers", LENGTHS * 4)
    monkeypatch.setattr(workers, "cores", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        heard(samples, tmp_path / "cache", progress=interrupt)
    assert files_in(tmp_path / "cache") == []
    assert len(heard(samples, tmp_path / "cache")) == len(LENGTHS) * 4


def test_sounds_are_kept_as_their_reader_gives_them(tmp_path: Path) -> None:
    root = tmp_path / "sounds"
    root.mkdir()
    names = [f"{k}.wav" for k in range(5)]
    for k, name in enumerate(names):
        wave = np.random.default_rng(k).uniform(-0.1 * (k + 1), 0.1 * (k + 1), 400 + 100 * k)
        soundfile.write(root / name, wave, 16000 if k % 2 else 8000)
    (root / names[3]).write_bytes(b"text")
    samples, reader = sounds_of(root, names), SoundReader(8000)
    for was_cached in (False, True):
        got = heard(samples, tmp_path / "cache", reader, on_bad_file="skip")
        assert got.was_cached == was_cached and got.rows.tolist() == [0, 1, 2, 4]
        assert np.diff(got.starts).tolist() == [400, 250, 600, 800]
        for place, row in enumerate(got.rows):
            values, scale = reader.read(root / names[row])
            assert items_in(got)[place] == values.tolist()
            assert got.scales[place] == np.float32(scale)
    assert got.file is not None and got.file.parent.name == "waves"
    assert not heard(samples, tmp_path / "cache", SoundReader(7999), on_bad_file="skip").was_cached


def test_items_held_in_memory_are_laid_out_as_those_on_disk() -> None:
    items = [(np.array([1, 2], np.int16), 0.5), (np.array([], np.int16), 1.0)]
    got = Decoded.of([*items, (np.array([3], np.int16), 2.0)])
    assert items_in(got) == [[1, 2], [], [3]] and got.scales.tolist() == [0.5, 1, 2]
    assert got.rows.tolist() == [0, 1, 2] and got.file is None and len(got) == 3
