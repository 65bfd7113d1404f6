"""Decoding a whole set once: what is kept, when it is believed, and what is left behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gridcell.errors import SourceError, StorageError
from gridcell.preparation import cache
from gridcell.preparation.cache import Decoded, decode_all
from gridcell.preparation.images import decode
from gridcell.samples import UNASSIGNED, Samples


def samples_of(root: Path, names: list[str]) -> Samples:
    digests = [hashlib.blake2b((root / n).read_bytes(), digest_size=16).digest() for n in names]
    count = len(names)
    return Samples(
        kind="images",
        task="classify",
        paths=tuple(names),
        root=str(root),
        labels=("a", "b"),
        targets=np.arange(count) % 2,
        digests=np.frombuffer(b"".join(digests), dtype="V16"),
        sizes=np.full((count, 2), 8, dtype=np.int32),
        colours=np.ones(count, dtype=np.bool_),
        given=np.full(count, UNASSIGNED, dtype=np.int8),
    )


def written(root: Path, count: int) -> Samples:
    root.mkdir(exist_ok=True)
    names = [f"{k:03}.png" for k in range(count)]
    for k, name in enumerate(names):
        values = np.random.default_rng(k).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(values).save(root / name)
    return samples_of(root, names)


def decoded(samples: Samples, folder: Path, **changes: Any) -> Decoded:
    settings: dict[str, Any] = {
        "height": 6,
        "width": 5,
        "channels": 3,
        "fit": "crop",
        "on_bad_file": "stop",
        "folder": folder,
    }
    return decode_all(samples, **{**settings, **changes})


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

    monkeypatch.setattr(cache, "decode", refuse)
    monkeypatch.setattr(cache, "refit", refuse)


def test_all_pixels_are_those_of_each_file_in_order(photos: Samples, tmp_path: Path) -> None:
    got = decoded(photos, tmp_path / "cache")
    assert got.pixels.shape == (40, 6, 5, 3) and got.pixels.dtype == np.uint8
    for row, name in enumerate(photos.paths):
        alone = decode(Path(photos.root) / name, height=6, width=5, channels=3, fit="crop")
        np.testing.assert_array_equal(got.pixels[row], alone)
    np.testing.assert_array_equal(got.rows, np.arange(40))
    assert got.bad == () and not got.was_cached


def test_the_pixels_are_mapped_and_cannot_be_written(photos: Samples, tmp_path: Path) -> None:
    got = decoded(photos, tmp_path / "cache")
    assert isinstance(got.pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        got.pixels[0] = 0


def test_a_second_call_opens_no_image(
    photos: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decoded(photos, tmp_path / "cache")
    no_image_may_be_opened(monkeypatch)
    second = decoded(photos, tmp_path / "cache")
    assert second.was_cached and second.file == first.file
    np.testing.assert_array_equal(second.pixels, first.pixels)


def test_names_and_times_do_not_matter_but_content_and_order_do(
    photos: Samples, tmp_path: Path
) -> None:
    first = decoded(photos, tmp_path / "cache")
    shutil.move(photos.root, tmp_path / "elsewhere")
    moved = replace(photos, root=str(tmp_path / "elsewhere"))
    assert decoded(moved, tmp_path / "cache").was_cached
    turned = decoded(moved.take(list(range(39, -1, -1))), tmp_path / "cache")
    assert not turned.was_cached
    np.testing.assert_array_equal(turned.pixels, first.pixels[::-1])


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
    wanted = np.array(first.pixels)
    assert first.file is not None
    file = first.file
    del first
    damage(file)
    again = decoded(photos, tmp_path / "cache")
    assert not again.was_cached
    np.testing.assert_array_equal(again.pixels, wanted)
    assert decoded(photos, tmp_path / "cache").was_cached


def test_a_large_file_is_recognised_by_blocks_all_over_it(tmp_path: Path) -> None:
    file = tmp_path / "large.npy"
    file.write_bytes(bytes(3 << 20))
    before = cache._fingerprint(file)
    with file.open("r+b") as opened:
        opened.seek(3 << 19)
        opened.write(b"\1" * (1 << 18))
    assert cache._fingerprint(file) != before


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
    assert first.rows.tolist() == good and first.pixels.shape == (10, 6, 5, 3)
    for place, row in enumerate(good):
        path = Path(samples.root) / samples.paths[row]
        alone = decode(path, height=6, width=5, channels=3, fit="crop")
        np.testing.assert_array_equal(first.pixels[place], alone)
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
    return replace(samples, pixels=pixels)


def test_an_array_of_the_wanted_size_is_returned_as_it_is(photos: Samples, tmp_path: Path) -> None:
    samples = as_array(photos, 3)
    got = decoded(samples, tmp_path / "cache")
    assert samples.pixels is not None and np.shares_memory(got.pixels, samples.pixels)
    assert got.file is None and not got.pixels.flags.writeable and samples.pixels.flags.writeable
    assert got.rows.tolist() == list(range(40)) and not (tmp_path / "cache").exists()


def test_an_array_of_another_size_or_channels_is_fitted_and_kept(
    photos: Samples, tmp_path: Path
) -> None:
    samples = as_array(photos, 1)
    assert samples.pixels is not None
    tripled = decoded(samples, tmp_path / "cache")
    np.testing.assert_array_equal(tripled.pixels, np.repeat(samples.pixels, 3, axis=3))
    assert decoded(samples, tmp_path / "cache").was_cached
    assert decoded(samples, tmp_path / "cache", height=12).pixels.shape == (40, 12, 5, 3)


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
    assert "the disk is full. It needs 3,600 bytes for 40 images." in str(caught.value)
    assert files_in(tmp_path / "cache") == []


def test_ctrl_c_leaves_nothing_behind_and_waits_for_few_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = written(tmp_path / "photos", 400)
    opened: list[Path] = []

    def counting(path: Path, **settings: Any) -> NDArray[np.uint8]:
        opened.append(path)
        time.sleep(0.005)
        return decode(path, **settings)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "decode", counting)
    monkeypatch.setattr(cache, "cores", lambda: 2)
    with pytest.raises(KeyboardInterrupt):
        decoded(samples, tmp_path / "cache", progress=interrupt)
    assert files_in(tmp_path / "cache") == []
    count = len(opened)
    assert count < 3 * cache.CHUNK_ROWS, "chunks that had begun are left as well"
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
    assert older.pixels.sum() > 0, "a set that is mapped stays readable"


def test_the_set_just_written_stays_however_large(
    photos: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LIMIT_BYTES", 1)
    got = decoded(photos, tmp_path / "cache")
    assert got.file is not None and got.file.exists()
    assert decoded(photos, tmp_path / "cache").was_cached
