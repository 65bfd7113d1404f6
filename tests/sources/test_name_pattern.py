"""Groups and folds that stand in the names of files."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gridcell.cli import main
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.sources import read
from gridcell.sources.name_pattern import parts_named

Picture = Callable[..., Path]
PEOPLE = ("ann", "bo", "cy", "di", "ed", "fay")


def families(folder: Path, picture: Picture) -> Path:
    for (place, person), shot in itertools.product(enumerate(PEOPLE), range(4)):
        for label in ("cat", "dog"):
            path = folder / label / f"{person}_{shot}.png"
            picture(path, seed=10 * place + shot + 5000 * (label == "dog"))
    return folder


@pytest.mark.parametrize(
    ("pattern", "paths", "expected"),
    [
        ("{person}_*", ["a/p1_0.png", "b/p2_0.png", "a/p1_1_2.png"], "p1 p2 p1"),
        ("*_{speaker}_*", ["0/0_jackson_32.wav", "1/1_theo_3.wav"], "jackson theo"),
        ("*-{}", ["a/walk-p01.csv", "b/run-p02.csv"], "p01 p02"),
        ("*-{}.csv", ["a/walk-p01.csv", "b/run-p02.csv"], "p01 p02"),
        ("{x}", ["a/p1.png", "b/p1.png"], "p1 p1"),
        ("*/{day}/*", ["a/mon/1.png", "a/tue/1.png", "b/mon/2.png"], "mon tue mon"),
        ("rec({x}) *", ["a/rec(5) a.png", "a/rec(6) b.png"], "5 6"),
        ("s{x}.b", ["a/s1.b.png", "a/s2.b.png"], "1 2"),
    ],
)
def test_what_stands_in_braces_is_the_group(pattern: str, paths: list[str], expected: str) -> None:
    numbers, names = parts_named(pattern, paths, "group")
    assert [names[number] for number in numbers] == expected.split()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{a}_{b}", "has 2 places in braces: one is needed"),
        ("*{a}_*", "does not say where {a} begins and ends"),
        ("{a}*", "does not say where {a} begins and ends"),
    ],
)
def test_a_pattern_that_names_no_one_place_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parts_named(pattern, ["a/b_c.png"], "group")
    assert message in caught.value.message and "--group '{person}_*'" in caught.value.fix


def test_files_that_do_not_fit_are_listed() -> None:
    with pytest.raises(SourceError) as caught:
        parts_named("{a}_*", ["x/a_1.png", "x/cover.png", "y/b_1.png"], "folds")
    assert caught.value.message.startswith("1 of 3 files does not fit {a}_* (for --folds):")
    assert "x/cover.png" in caught.value.message


def test_no_person_stands_on_two_sides(tmp_path: Path, picture: Picture) -> None:
    folder = families(tmp_path / "pets", picture)
    samples = read(folder, DataConfig(), group="{person}_*")
    assert samples.groups is not None and samples.group_names == PEOPLE
    owners = [Path(path).name.split("_")[0] for path in samples.paths]
    assert [samples.group_names[number] for number in samples.groups] == owners
    assert samples.notes[-1] == (
        "Names of files like {person}_* give 6 groups (ann, bo, cy, di, ed, fay), each kept on one "
        "side of the split."
    )


def test_the_files_of_a_table_can_be_named_by_too(tmp_path: Path, picture: Picture) -> None:
    folder = families(tmp_path / "pets", picture)
    rows = [
        f"{p.relative_to(tmp_path)},{p.parent.name},{n % 3}"
        for n, p in enumerate(sorted(folder.rglob("*.png")))
    ]
    table = tmp_path / "list.csv"
    table.write_text("\n".join(["file,kind,{part}", *rows]) + "\n")
    data = DataConfig(target=("kind",))
    samples = read(table, data, group="{who}_*")
    assert samples.group_names == PEOPLE
    by_column = read(table, data, group="{part}")
    assert by_column.group_names == ("0", "1", "2")


def test_texts_in_class_folders_have_groups(tmp_path: Path) -> None:
    for label, person in itertools.product(("kind", "rude"), PEOPLE):
        path = tmp_path / label / f"{person}-1.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{person} is {label} today and says so")
    samples = read(tmp_path, DataConfig(kind="texts"), folds="{writer}-*")
    assert samples.fold_names == PEOPLE and samples.folds is not None
    assert np.bincount(samples.folds).tolist() == [2] * 6


def test_one_person_is_left_out_in_turn(
    tmp_path: Path, picture: Picture, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = families(tmp_path / "pets", picture)
    words = ["train", str(folder), "--folds", "{person}_*", "--out", str(tmp_path / "run")]
    words += ["--net", "conv(4, 3) relu globalpool", "--epochs", "1", "--image-size", "8"]
    assert main([*words, "--valid", "0"]) == 0
    said = capsys.readouterr().out
    assert "Fold 2 of 6: person bo is the test part" in said
    assert "give 6 folds (ann, bo, cy, di, ed, fay), each in turn the test part." in said


def test_a_pattern_has_no_effect_where_items_are_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "a.csv"
    table.write_text("h0,h1,h2,label\n" + "1,2,3,a\n2,3,4,b\n" * 10)
    assert main(["inspect", str(table), "--group", "{person}_*"]) == 2
    assert "has no column {person}_*" in capsys.readouterr().err
