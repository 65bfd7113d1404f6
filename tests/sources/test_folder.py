from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gridcell import sources
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import TEST, TRAIN, UNASSIGNED, VALID, ImageFacts, Samples
from gridcell.sources import images, walk
from gridcell.sources.classes import Purpose

Picture = Callable[..., Path]

links = pytest.mark.skipif(os.name != "posix", reason="links need rights on this system")


def read(
    path: Path,
    *,
    group: str | None = None,
    folds: str | None = None,
    purpose: Purpose = "train",
    **settings: object,
) -> Samples:
    return sources.read(path, DataConfig(**settings), group=group, folds=folds, purpose=purpose)  # type: ignore[arg-type]


def refused(path: Path, **settings: object) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, **settings)  # type: ignore[arg-type]
    return str(caught.value)


def images_of(samples: Samples) -> ImageFacts:
    assert isinstance(samples.facts, ImageFacts)
    return samples.facts


def said(samples: Samples) -> str:
    return "\n".join(samples.notes)


def cats_and_dogs(path: Path, picture: Picture) -> Path:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        picture(path / name)
    return path


def test_each_folder_is_a_class_and_each_image_an_item(tmp_path: Path, picture: Picture) -> None:
    found = read(cats_and_dogs(tmp_path, picture))
    assert found.paths == ("cat/1.png", "cat/2.png", "dog/1.png")
    assert found.labels == ("cat", "dog")
    assert found.targets.tolist() == [0, 0, 1]
    assert found.targets.dtype == np.int64
    assert found.given.tolist() == [UNASSIGNED] * 3
    assert (found.kind, found.task, found.root) == ("images", "classify", str(tmp_path))
    assert images_of(found).sizes.tolist() == [[4, 6]] * 3
    assert images_of(found).colours.all()
    assert images_of(found).modes.tolist() == [b"RGB"] * 3
    assert found.groups is None and images_of(found).pixels is None
    assert "3 images in 2 classes: cat, dog." in found.notes


def test_upper_case_and_rare_extensions_count_once_each(tmp_path: Path, picture: Picture) -> None:
    for name in ("1.jpg", "2.JPG", "3.Jpeg", "4.PNG", "5.webp", "6.tif"):
        picture(tmp_path / "a" / name)
    (tmp_path / "a" / "7.txt").write_text("no image")
    (tmp_path / "a" / "8").write_bytes((tmp_path / "a" / "4.PNG").read_bytes())
    picture(tmp_path / "b" / "1.png")
    found = read(tmp_path)
    assert [path for path in found.paths if path.startswith("a/")] == [
        f"a/{name}" for name in ("1.jpg", "2.JPG", "3.Jpeg", "4.PNG", "5.webp", "6.tif")
    ]
    assert "Ignored, 2 files not named as images: .txt 1, no extension 1." in found.notes


def test_hidden_and_system_entries_are_no_classes_and_counted_once(
    tmp_path: Path, picture: Picture
) -> None:
    cats_and_dogs(tmp_path, picture)
    picture(tmp_path / ".ipynb_checkpoints" / "1.png")
    picture(tmp_path / "__MACOSX" / "cat" / "1.png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "cat/._1.jpg", "cat/._2.jpg"):
        (tmp_path / name).write_bytes(b"\0")
    found = read(tmp_path)
    assert found.labels == ("cat", "dog")
    assert len(found) == 3
    assert (
        "Ignored, 7 hidden or system entries: .DS_Store 1, ._* 2, .ipynb_checkpoints 1, "
        "Thumbs.db 1, __MACOSX 1, desktop.ini 1." in found.notes
    )


def test_nested_folders_belong_to_their_class_and_it_is_said(
    tmp_path: Path, picture: Picture
) -> None:
    cats_and_dogs(tmp_path, picture)
    picture(tmp_path / "dog" / "old" / "older" / "9.png")
    found = read(tmp_path)
    assert found.labels[found.targets[found.paths.index("dog/old/older/9.png")]] == "dog"
    assert "1 image in folders inside a class folder: counted as that class (dog 1)." in said(found)
    assert "same names" not in said(found)


def test_names_that_look_the_same_are_one_class(tmp_path: Path, picture: Picture) -> None:
    """macOS and others write an accent as a character of its own."""
    one, two = "H\u00fcte", "Hu\u0308te"
    picture(tmp_path / "train" / one / "1.png")
    picture(tmp_path / "train" / "Schuhe" / "1.png")
    picture(tmp_path / "test" / two / "2.png")
    found = read(tmp_path)
    assert found.labels == (one, "Schuhe") and sorted(found.targets.tolist()) == [0, 0, 1]
    assert {path.split("/")[1] for path in found.paths} == {one, two, "Schuhe"}


def test_folders_of_splits_below_the_classes_are_called_so(
    tmp_path: Path, picture: Picture
) -> None:
    for label in ("cat", "dog"):
        for side in ("Train", "test"):
            picture(tmp_path / label / side / "1.png")
    assert (
        "folders of the same names (Train, test): these are no split, which is read where they "
        "hold those of the classes."
    ) in said(read(tmp_path))


def test_classes_one_level_too_deep_are_pointed_out(tmp_path: Path, picture: Picture) -> None:
    for site in ("north", "south"):
        for name in ("cat", "dog"):
            picture(tmp_path / site / name / "1.png")
    found = read(tmp_path)
    assert found.labels == ("north", "south")
    assert "folders of the same names (cat, dog): if those are the classes" in said(found)


def test_an_empty_class_folder_is_named_and_left_out(tmp_path: Path, picture: Picture) -> None:
    cats_and_dogs(tmp_path, picture)
    (tmp_path / "bird" / "inside").mkdir(parents=True)
    found = read(tmp_path)
    assert found.labels == ("cat", "dog")
    assert "Left out, no image in it: bird." in found.notes


def test_images_outside_any_class_folder_are_said(tmp_path: Path, picture: Picture) -> None:
    cats_and_dogs(tmp_path, picture)
    picture(tmp_path / "stray.png")
    found = read(tmp_path)
    assert len(found) == 3
    assert "Left out, 1 image lies outside any class folder: stray.png." in found.notes


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "valid", "TESTING"), ("TRAIN", "validation")]
)
def test_split_folders_are_kept_as_the_datas_own_split(
    tmp_path: Path, picture: Picture, names: tuple[str, ...]
) -> None:
    for name in names:
        picture(tmp_path / name / "cat" / "1.png")
        picture(tmp_path / name / "dog" / "1.png")
    found = read(tmp_path)
    by_path = dict(zip(found.paths, found.given.tolist(), strict=True))
    for name, side in zip(names, (TRAIN, VALID, TEST), strict=False):
        assert by_path[f"{name}/cat/1.png"] == side
    assert found.labels == ("cat", "dog")
    assert f"The data's own split is kept, from the folders {', '.join(names)}:" in said(found)


def test_other_names_are_never_taken_for_splits(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "dev" / "cat" / "1.png")
    picture(tmp_path / "holdout" / "dog" / "1.png")
    assert read(tmp_path).labels == ("dev", "holdout")


def test_split_names_beside_others_are_refused_with_both_readings(
    tmp_path: Path, picture: Picture
) -> None:
    for name in ("train", "bus"):
        picture(tmp_path / name / "1.png")
    text = refused(tmp_path)
    assert "train could be split folders or classes, beside bus" in text
    assert "either train is a split and the others do not belong there, or all are classes" in text
    assert "Fix: move bus out of it, or rename train if that is a class." in text


def test_a_folder_without_images_beside_split_folders_is_no_doubt(
    tmp_path: Path, picture: Picture
) -> None:
    for name in ("train/a", "train/b", "test/a"):
        picture(tmp_path / name / "1.png")
    (tmp_path / "docs").mkdir()
    (tmp_path / "train" / "c").mkdir()
    found = read(tmp_path)
    assert found.given.tolist() == [TEST, TRAIN, TRAIN]
    assert "Left out, no image in it: docs, train/c." in found.notes


def test_two_folders_for_one_split_are_refused(tmp_path: Path, picture: Picture) -> None:
    for name in ("train", "val", "validation"):
        picture(tmp_path / name / "a" / "1.png")
    assert "the folders val, validation all mean the valid split" in refused(tmp_path)


def test_a_class_that_only_test_has_is_a_label_never_seen_in_training(
    tmp_path: Path, picture: Picture
) -> None:
    for name in ("train/a", "train/b", "test/a", "test/c"):
        picture(tmp_path / name / "1.png")
    text = refused(tmp_path)
    assert "c (1 item in test) is a label never seen in training" in text
    assert "Fix: add training items of it" in text


def test_a_class_that_lost_its_training_files_is_never_seen_either(
    tmp_path: Path, picture: Picture
) -> None:
    for name in ("train/a", "train/b", "test/a", "test/c"):
        picture(tmp_path / name / "1.png")
    (tmp_path / "train" / "c").mkdir()
    (tmp_path / "train" / "c" / "1.png").write_bytes(b"")
    assert "never seen in training" in refused(tmp_path, on_bad_file="skip")


def test_splits_without_training_are_refused(tmp_path: Path, picture: Picture) -> None:
    for name in ("test/a", "test/b"):
        picture(tmp_path / name / "1.png")
    text = refused(tmp_path)
    assert "nothing to train on; every item is given to test" in text
    assert "add a train split" in text


def test_a_test_split_alone_can_be_scored(tmp_path: Path, picture: Picture) -> None:
    for name in ("test/a", "test/b"):
        picture(tmp_path / name / "1.png")
    found = read(tmp_path, purpose="score")
    assert found.labels == ("a", "b") and found.given.tolist() == [TEST, TEST]
    assert "The data's own split is kept, from the folders test: test 2." in found.notes


def test_a_class_that_only_test_has_can_be_scored(tmp_path: Path, picture: Picture) -> None:
    for name in ("train/a", "train/b", "test/a", "test/c"):
        picture(tmp_path / name / "1.png")
    assert "never seen in training" in refused(tmp_path)
    assert read(tmp_path, purpose="score").labels == ("a", "b", "c")


def test_split_folders_without_class_folders_are_told_so(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "train" / "1.png")
    text = refused(tmp_path)
    assert "the split folders hold images, but no class folders" in text
    assert "train/1.png" in text


def test_one_class_is_too_few(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "cat" / "1.png")
    (tmp_path / "dog").mkdir()
    text = refused(tmp_path)
    assert "at least 2 classes are needed, only cat was found" in text
    found = read(tmp_path, purpose="score")
    assert found.labels == ("cat",) and found.targets.tolist() == [0]
    assert "1 image in 1 class: cat." in found.notes
    assert not found.has_label_columns
    assert "add a folder for each further class" in text


def test_one_folder_around_the_classes_is_found_out(tmp_path: Path, picture: Picture) -> None:
    cats_and_dogs(tmp_path / "photos", picture)
    assert f"if cat, dog are the classes, name the folder that holds them: {tmp_path}" in refused(
        tmp_path
    )


def test_one_folder_beside_a_table_points_to_the_table(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "images" / "1.png")
    (tmp_path / "labels.csv").write_text("path,label\nimages/1.png,a\n")
    assert f"name it: {tmp_path / 'labels.csv'}" in refused(tmp_path)


def test_a_folder_with_a_table_and_no_class_folders_asks_to_name_the_table(
    tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "labels.csv").write_text("path,label\n1.png,a\n")
    text = refused(tmp_path)
    assert "holds no class folders, but a table, labels.csv" in text
    assert f"Fix: name the table: {tmp_path / 'labels.csv'}" in text


def test_images_without_class_folders_are_told_so(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "1.png")
    assert "holds 1 image, but no class folders" in refused(tmp_path)
    assert refused(tmp_path, purpose="score") == refused(tmp_path)


def test_no_image_names_the_extensions_seen_and_the_supported_ones(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.dcm").write_bytes(b"1")
    (tmp_path / "a" / "y.DCM").write_bytes(b"1")
    text = refused(tmp_path)
    assert "holds no image, sound or clip. Extensions seen: .dcm (2). Supported: .jpg .jpeg" in text
    assert ".png" in text and ".heic" not in text


def test_a_folder_of_tables_alone_says_to_name_one(tmp_path: Path) -> None:
    for name in ("test.parquet", "train.parquet"):
        (tmp_path / name).write_bytes(b"1")
    text = refused(tmp_path)
    assert "holds no folders of classes, only files: .parquet (2)." in text
    assert text.endswith("or name one of the .parquet files itself.")


def test_an_empty_folder_is_told_so(tmp_path: Path) -> None:
    assert "holds no image, sound or clip. Extensions seen: none." in refused(tmp_path)
    assert "holds no sound. Extensions seen: none. Supported: .wav" in refused(
        tmp_path, kind="sounds"
    )


def test_a_path_that_does_not_exist_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    text = refused(tmp_path / "fotos")
    assert "fotos does not exist. Did you mean photos?" in text
    assert "does not exist" in refused(tmp_path / "no" / "where")


def test_a_single_image_is_refused(tmp_path: Path, picture: Picture) -> None:
    path = picture(tmp_path / "1.PNG")
    assert "is a single image; training needs many" in refused(path)
    assert "is a single image; nothing says which class" in refused(path, purpose="score")


def test_archives_and_other_files_are_refused(tmp_path: Path) -> None:
    for name, words in (("a.zip", "unpack it"), ("a.dat", "neither a folder nor a table (.csv")):
        (tmp_path / name).write_bytes(b"x")
        assert words in refused(tmp_path / name)


@pytest.mark.parametrize(
    "settings", [{"target": ("x",)}, {"path_column": "x"}, {"group": "patient"}, {"folds": "fold"}]
)
def test_settings_for_tables_have_no_effect_on_folders_and_are_refused(
    tmp_path: Path, picture: Picture, settings: dict[str, object]
) -> None:
    cats_and_dogs(tmp_path, picture)
    with pytest.raises(ConfigError, match=f"{next(iter(settings))} has no effect on a folder"):
        read(tmp_path, **settings)  # type: ignore[arg-type]


def test_a_folder_holds_classes_and_no_other_task(tmp_path: Path, picture: Picture) -> None:
    cats_and_dogs(tmp_path, picture)
    assert len(read(tmp_path, task="classify")) == 3
    with pytest.raises(ConfigError, match="task regress cannot be read from a folder"):
        read(tmp_path, task="regress")


@links
def test_loops_of_links_end_and_are_counted(tmp_path: Path, picture: Picture) -> None:
    cats_and_dogs(tmp_path, picture)
    picture(tmp_path / "cat" / "more" / "3.png")
    (tmp_path / "cat" / "up").symlink_to("..", target_is_directory=True)
    (tmp_path / "cat" / "again").symlink_to("more", target_is_directory=True)
    (tmp_path / "cat" / "more" / "home").symlink_to(tmp_path / "cat", target_is_directory=True)
    (tmp_path / "dog" / "self").symlink_to("self")
    (tmp_path / "round").symlink_to(tmp_path, target_is_directory=True)
    found = read(tmp_path)
    assert found.labels == ("cat", "dog")
    assert len(found) == 4
    assert "Ignored, 4 links to a folder that is already being read." in found.notes


@links
def test_links_to_files_and_to_class_folders_elsewhere_are_fine(
    tmp_path: Path, picture: Picture
) -> None:
    data = cats_and_dogs(tmp_path / "data", picture)
    picture(tmp_path / "elsewhere" / "bird" / "1.png")
    (data / "bird").symlink_to(tmp_path / "elsewhere" / "bird", target_is_directory=True)
    (data / "dog" / "2.png").symlink_to(tmp_path / "elsewhere" / "bird" / "1.png")
    found = read(data)
    assert found.labels == ("bird", "cat", "dog")
    assert found.digests[found.paths.index("bird/1.png")] == found.digests[-1]


@links
def test_a_link_to_nothing_is_a_bad_file(tmp_path: Path, picture: Picture) -> None:
    cats_and_dogs(tmp_path, picture)
    (tmp_path / "dog" / "lost.png").symlink_to("nowhere.png")
    (tmp_path / "dog" / "self.png").symlink_to("self.png")
    text = refused(tmp_path)
    assert "dog/lost.png is a link to a file that isn't there" in text
    assert "dog/self.png cannot be opened" in text


@links
def test_a_pipe_is_not_waited_for(tmp_path: Path, picture: Picture) -> None:
    cats_and_dogs(tmp_path, picture)
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    assert len(read(tmp_path)) == 3


@links
def test_names_with_line_ends_and_accents_are_read_and_shown_on_one_line(
    tmp_path: Path, picture: Picture
) -> None:
    cats_and_dogs(tmp_path, picture)
    picture(tmp_path / "dog" / "WEIRD name (1)\né ü 中.JPG")
    picture(tmp_path / "str\nay.png")
    found = read(tmp_path)
    assert "dog/WEIRD name (1)\né ü 中.JPG" in found.paths
    assert "outside any class folder: str\\nay.png." in said(found)


@links
def test_bytes_that_are_no_text_may_name_a_file_but_no_class(
    tmp_path: Path, picture: Picture
) -> None:
    cats_and_dogs(tmp_path, picture)
    good = (tmp_path / "cat" / "1.png").read_bytes()
    try:
        (tmp_path / "cat" / os.fsdecode(b"\xff.png")).write_bytes(good)
    except OSError:
        pytest.skip("this file system takes text only")
    assert len(read(tmp_path)) == len(read(tmp_path)) == 4
    (tmp_path / os.fsdecode(b"\xff")).mkdir()
    (tmp_path / os.fsdecode(b"\xff") / "1.png").write_bytes(good)
    assert "no valid text, so it cannot name a class" in refused(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_files_and_folders_without_permission_are_named(tmp_path: Path, picture: Picture) -> None:
    cats_and_dogs(tmp_path, picture)
    (tmp_path / "cat" / "1.png").chmod(0)
    assert "cat/1.png cannot be opened: no permission to read it" in refused(tmp_path)
    (tmp_path / "dog").chmod(0)
    try:
        assert "no permission to read that folder" in refused(tmp_path)
    finally:
        (tmp_path / "dog").chmod(0o755)


def test_a_folder_that_may_not_be_opened_is_named(
    tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cats_and_dogs(tmp_path, picture)
    real = os.scandir

    def scandir(place: str) -> object:
        if place.endswith("dog"):
            raise PermissionError(13, "Permission denied", place)
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    text = refused(tmp_path)
    assert f"{tmp_path / 'dog'} cannot be opened: no permission to read that folder" in text


def test_folders_nested_deeper_than_python_recurses_are_walked(
    tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / Path(*["d"] * 200) / "1.png")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        assert len(walk.files(tmp_path, walk.Tally(), wanted=images.MEDIUM.is_named)) == 1
    finally:
        sys.setrecursionlimit(limit)


def test_a_folder_that_fails_to_open_is_named_in_the_systems_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scandir(place: str) -> object:
        raise OSError(5, "Input/output error", place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SourceError, match="cannot be opened: Input/output error"):
        walk.files(tmp_path, walk.Tally(), wanted=images.MEDIUM.is_named)


def test_skipping_bad_files_may_empty_a_class(tmp_path: Path, picture: Picture) -> None:
    cats_and_dogs(tmp_path, picture)
    (tmp_path / "bird").mkdir()
    (tmp_path / "bird" / "1.png").write_bytes(b"")
    found = read(tmp_path, on_bad_file="skip")
    assert found.labels == ("cat", "dog")
    assert found.targets.tolist() == [0, 0, 1]
    assert "Left out, none of its files can be read: bird." in found.notes
    (tmp_path / "dog" / "1.png").write_bytes(b"")
    assert "at least 2 classes are needed" in refused(tmp_path, on_bad_file="skip")
    assert read(tmp_path, on_bad_file="skip", purpose="score").labels == ("cat",)


def test_mixed_pixel_formats_are_counted(tmp_path: Path, picture: Picture) -> None:
    for number, mode in enumerate(("L", "LA", "P", "RGB", "RGBA", "L")):
        picture(tmp_path / "ab"[number % 2] / f"{number}.png", mode=mode)
    found = read(tmp_path)
    assert sorted(images_of(found).modes.tolist()) == [b"L", b"L", b"LA", b"P", b"RGB", b"RGBA"]
    coloured = dict(zip(found.paths, images_of(found).colours.tolist(), strict=True))
    assert coloured == {
        "a/0.png": False,
        "b/1.png": False,
        "a/2.png": True,
        "b/3.png": True,
        "a/4.png": True,
        "b/5.png": False,
    }


def test_progress_ends_with_all_files(tmp_path: Path, picture: Picture) -> None:
    cats_and_dogs(tmp_path, picture)
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        sources.read(
            tmp_path, DataConfig(), progress=lambda done, total: seen.append((done, total))
        )
        assert seen[-1] == (3, 3)


def test_a_messy_folder_of_real_files_is_read_and_all_of_it_is_said(data_folder: Path) -> None:
    found = read(data_folder / "odd" / "folder")
    assert found.labels == ("cats", "dogs", "one_only")
    assert np.bincount(found.targets.astype(int)).tolist() == [3, 4, 1]
    text = said(found)
    for words in (
        "counted as that class (dogs 3)",
        "no image in it: no_images_here",
        "outside any class folder: stray_in_root.jpg",
        "not named as images: .txt 2",
        "Ignored, 3 hidden or system entries: .DS_Store 1, ._* 1, Thumbs.db 1",
    ):
        assert words in text


def test_every_real_odd_image_is_used_or_named(data_folder: Path, tmp_path: Path) -> None:
    odd = sorted((data_folder / "odd" / "images").iterdir())
    for number, file in enumerate(odd):
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        (folder / file.name).write_bytes(file.read_bytes())
    text = refused(tmp_path)
    assert f"8 of {len(odd)} files cannot be read as images" in text
    for name, reason in (
        ("broken.png", "isn't an image Pillow can read"),
        ("decompression_bomb.gif", "claims 4,364,696,535 pixels"),
        ("empty.jpg", "is empty (0 bytes)"),
        ("hopper.heif", "is HEIC/HEIF, which is not supported"),
        ("png_decompression_dos.png", "has a header that cannot be read"),
        ("reallybig.bmp", "claims 6,000,000,000,000 pixels"),
        ("text_renamed.jpg", "isn't an image Pillow can read"),
        ("zero_width.gif", "isn't an image Pillow can read"),
    ):
        assert f"{name} {reason}" in text
    found = read(tmp_path, on_bad_file="skip")
    facts = images_of(found)
    names = [path.rpartition("/")[2] for path in found.paths]
    sizes = dict(zip(names, facts.sizes.tolist(), strict=True))
    assert sizes["orientation_rectangle.jpg"] == [2, 1]
    assert sizes["junk_jpeg_header.jpg"] == [768, 1024]
    assert "5 files hold several pictures (animation or pages): the first is used." in said(found)
    for path, size in zip(found.paths, facts.sizes.tolist(), strict=True):
        with Image.open(tmp_path / path) as image:
            assert sorted(image.size) == sorted(size)
    assert images.MEDIUM.is_named("x.HEIC")
