from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from gridcell import sources
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import TEST, TRAIN, ImageFacts, Samples
from gridcell.sources.classes import Purpose

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(values: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    axes = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes((0, 0, 8, values.ndim)) + axes + values.tobytes()


def put(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def digits(count: int, *, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, 5, 4), dtype=np.uint8)


def a_set(path: Path, *, ending: str = "", train: int = 30, test: int = 10) -> None:
    for images, labels, count, seed in (
        (TRAIN_IMAGES, TRAIN_LABELS, train, 0),
        (TEST_IMAGES, TEST_LABELS, test, 1),
    ):
        put(path / (images + ending), idx(digits(count, seed=seed)))
        put(path / (labels + ending), idx((np.arange(count) % 10).astype(np.uint8)))


def read(path: Path, *, purpose: Purpose = "train", **settings: object) -> Samples:
    return sources.read(path, DataConfig(**settings), purpose=purpose)  # type: ignore[arg-type]


def refused(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read(path)
    return str(caught.value)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_both_pairs_become_items_with_their_split(tmp_path: Path, ending: str) -> None:
    a_set(tmp_path, ending=ending)
    found = read(tmp_path)
    assert len(found) == 40
    assert found.labels == tuple("0123456789")
    assert found.targets.tolist() == [*(list(range(10)) * 4)]
    assert found.given.tolist() == [TRAIN] * 30 + [TEST] * 10
    assert found.paths[17] == f"{TRAIN_IMAGES}{ending}#17"
    assert found.paths[30] == f"{TEST_IMAGES}{ending}#0"
    facts = found.facts
    assert isinstance(facts, ImageFacts)
    assert facts.pixels is not None and facts.pixels.shape == (40, 5, 4, 1)
    assert (facts.pixels[:30, ..., 0] == digits(30)).all()
    assert facts.sizes.tolist() == [[5, 4]] * 40
    assert not facts.colours.any()
    assert facts.modes.tolist() == [b"L"] * 40
    assert "The data's own split is kept: train 30 from train-images" in "\n".join(found.notes)


def test_digests_are_those_of_the_rows(tmp_path: Path) -> None:
    a_set(tmp_path)
    found = read(tmp_path)
    expected = hashlib.blake2b(digits(30)[17].tobytes(), digest_size=16).digest()
    assert found.digests[17].tobytes() == expected
    assert found.digests.dtype == "V16"


def test_a_file_of_names_beside_them_names_the_classes(tmp_path: Path) -> None:
    a_set(tmp_path)
    (tmp_path / "labels.txt").write_text("\n".join(f"name {n}" for n in range(9, -1, -1)) + "\n")
    found = read(tmp_path)
    assert found.labels[:2] == ("name 9", "name 8")
    assert "(names from labels.txt)" in found.notes[0]


def test_a_name_without_an_image_is_left_out(tmp_path: Path) -> None:
    a_set(tmp_path)
    put(tmp_path / TEST_LABELS, idx(np.full(10, 2, np.uint8)))
    put(tmp_path / TRAIN_LABELS, idx((np.arange(30) % 2 * 2).astype(np.uint8)))
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd")
    found = read(tmp_path)
    assert found.labels == ("a", "c")
    assert found.targets[:3].tolist() == [0, 1, 0]
    assert "Left out, no image of it: b, d." in found.notes


def test_an_unpacked_file_comes_before_its_archive(tmp_path: Path) -> None:
    a_set(tmp_path)
    a_set(tmp_path, ending=".gz", train=20)
    assert len(read(tmp_path)) == 40
    for content in ("images-idx3", "labels-idx1"):
        file = tmp_path / f"train-{content}-ubyte"
        file.rename(tmp_path / file.name.replace("-idx", ".idx"))
    assert len(read(tmp_path)) == 40


def test_training_files_alone_will_do(tmp_path: Path) -> None:
    a_set(tmp_path)
    (tmp_path / TEST_IMAGES).unlink()
    (tmp_path / TEST_LABELS).unlink()
    assert (read(tmp_path).given == TRAIN).all()


def test_test_files_alone_will_not_do_to_train_but_to_score(tmp_path: Path) -> None:
    a_set(tmp_path)
    (tmp_path / TRAIN_IMAGES).unlink()
    (tmp_path / TRAIN_LABELS).unlink()
    text = refused(tmp_path)
    assert "holds test files (t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte) and none" in text
    assert "put train-images-idx3-ubyte" in text
    found = read(tmp_path, purpose="score")
    assert (found.given == TEST).all() and len(found) == 10
    (tmp_path / TEST_LABELS).unlink()
    with pytest.raises(SourceError, match="has no labels file beside it"):
        read(tmp_path, purpose="score")


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (TRAIN_LABELS, f"{TRAIN_IMAGES} has no labels file beside it"),
        (TEST_IMAGES, f"{TEST_LABELS} has no images file beside it"),
    ],
)
def test_half_a_pair_is_refused(tmp_path: Path, missing: str, words: str) -> None:
    a_set(tmp_path)
    (tmp_path / missing).unlink()
    text = refused(tmp_path)
    assert words in text
    assert f"put {missing} into that folder" in text


def test_a_cut_file_is_told_with_what_it_promises(tmp_path: Path) -> None:
    a_set(tmp_path)
    whole = (tmp_path / TRAIN_IMAGES).read_bytes()
    (tmp_path / TRAIN_IMAGES).write_bytes(whole[:-100])
    text = refused(tmp_path)
    assert "is cut or damaged: its header promises 30 x 5 x 4 = 600 bytes, it holds 500" in text
    (tmp_path / TRAIN_IMAGES).write_bytes(whole + b"x")
    assert "it holds more" in refused(tmp_path)


def test_a_cut_archive_is_told(tmp_path: Path) -> None:
    a_set(tmp_path, ending=".gz")
    whole = (tmp_path / f"{TRAIN_IMAGES}.gz").read_bytes()
    for damaged in (whole[:-40], whole[:60] + b"\xff" * 30 + whole[90:], b"no gzip"):
        (tmp_path / f"{TRAIN_IMAGES}.gz").write_bytes(damaged)
        assert "is cut or damaged" in refused(tmp_path)


def test_a_file_that_fails_to_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise OSError(5, "Input/output error")

    a_set(tmp_path)
    monkeypatch.setattr("gridcell.sources.idx._exactly", broken)
    assert f"{TRAIN_IMAGES} cannot be read: Input/output error." in refused(tmp_path)


def test_another_type_of_numbers_is_refused(tmp_path: Path) -> None:
    a_set(tmp_path)
    whole = (tmp_path / TRAIN_IMAGES).read_bytes()
    (tmp_path / TRAIN_IMAGES).write_bytes(b"\0\0\x0d\x03" + whole[4:])
    text = refused(tmp_path)
    assert "is no idx file of images: it begins with 00 00 0d 03, not 00 00 08 03" in text
    (tmp_path / TRAIN_IMAGES).write_bytes(b"")
    assert "is no idx file of images" in refused(tmp_path)


@pytest.mark.parametrize("shape", [(2**32 - 1, 2**32 - 1, 2**32 - 1), (0, 5, 4)])
def test_a_header_that_cannot_be_right_reserves_no_memory(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    a_set(tmp_path)
    (tmp_path / TRAIN_IMAGES).write_bytes(b"\0\0\x08\x03" + struct.pack(">3I", *shape))
    assert "has a header that cannot be right" in refused(tmp_path)


def test_images_and_labels_of_two_sets_are_refused(tmp_path: Path) -> None:
    a_set(tmp_path)
    put(tmp_path / TRAIN_LABELS, idx(np.zeros(29, np.uint8)))
    assert f"holds 30 images, but {TRAIN_LABELS} 29 labels" in refused(tmp_path)


def test_two_image_sizes_are_refused(tmp_path: Path) -> None:
    a_set(tmp_path)
    put(tmp_path / TEST_IMAGES, idx(np.zeros((10, 6, 6), np.uint8)))
    text = refused(tmp_path)
    assert f"differ in size ({TRAIN_IMAGES}: 5x4, {TEST_IMAGES}: 6x6)" in text


def test_too_few_or_equal_names_are_refused(tmp_path: Path) -> None:
    a_set(tmp_path)
    (tmp_path / "labels.txt").write_text("a\nb\nc")
    assert "labels.txt names 3 classes, but the labels go up to 9" in refused(tmp_path)
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\nf\na\nh\ni\nj")
    assert "labels.txt gives two classes one name: a" in refused(tmp_path)
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\xff")
    assert "labels.txt is not UTF-8 text" in refused(tmp_path)


def test_one_class_is_too_few(tmp_path: Path) -> None:
    a_set(tmp_path)
    put(tmp_path / TRAIN_LABELS, idx(np.full(30, 3, np.uint8)))
    put(tmp_path / TEST_LABELS, idx(np.full(10, 3, np.uint8)))
    assert "at least 2 classes are needed, only 3 was found" in refused(tmp_path)
    found = read(tmp_path, purpose="score")
    assert found.labels == ("3",) and set(found.targets.tolist()) == {0}
    assert "40 images of 5x4 in 1 class: 3 (the labels' own numbers)." in found.notes


def test_a_label_never_seen_in_training_is_refused(tmp_path: Path) -> None:
    a_set(tmp_path)
    put(tmp_path / TRAIN_LABELS, idx((np.arange(30) % 9).astype(np.uint8)))
    assert "9 (1 item in test) is a label never seen in training" in refused(tmp_path)
    assert read(tmp_path, purpose="score").labels == tuple("0123456789")


def test_one_of_the_files_itself_points_to_its_folder(tmp_path: Path) -> None:
    a_set(tmp_path, ending=".gz")
    text = refused(tmp_path / f"{TRAIN_IMAGES}.gz")
    assert "is one idx file of several" in text
    assert f"name the folder that holds them: {tmp_path}" in text


def test_settings_for_tables_are_refused(tmp_path: Path) -> None:
    a_set(tmp_path)
    with pytest.raises(ConfigError, match="target has no effect on idx files"):
        read(tmp_path, target=("x",))
    with pytest.raises(ConfigError, match="folds has no effect on idx files"):
        sources.read(tmp_path, DataConfig(), folds="x")
    with pytest.raises(ConfigError, match="kind sounds cannot be read from idx files"):
        read(tmp_path, kind="sounds")
    assert read(tmp_path, kind="images").kind == "images"
    with pytest.raises(ConfigError, match="task regress cannot be read from idx files"):
        read(tmp_path, task="regress")
