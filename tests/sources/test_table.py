from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from gridcell import sources
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, MissingExtraError, SourceError
from gridcell.samples import TEST, TRAIN, UNASSIGNED, VALID, Samples
from gridcell.sources import cells
from gridcell.sources.answers import could_be
from gridcell.sources.classes import Purpose

Picture = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, picture: Picture) -> Path:
    """A folder with pictures 0.png to 29.png, each different."""
    for number in range(30):
        picture(tmp_path / f"{number}.png", seed=number)
    return tmp_path


def write(
    folder: Path, rows: Iterable[str], *, name: str = "t.csv", encoding: str = "utf-8"
) -> Path:
    path = folder / name
    path.write_bytes(("\n".join(rows) + "\n").encode(encoding))
    return path


def labelled(values: Iterable[object], *, header: str = "path,label") -> list[str]:
    return [header, *(f"{number}.png,{value}" for number, value in enumerate(values))]


def read(
    path: Path,
    *,
    group: str | None = None,
    folds: str | None = None,
    purpose: Purpose = "train",
    **settings: object,
) -> Samples:
    return sources.read(path, DataConfig(**settings), group=group, folds=folds, purpose=purpose)  # type: ignore[arg-type]


def refused(path: Path, kind: type[Exception] = SourceError, **settings: object) -> str:
    with pytest.raises(kind) as caught:
        read(path, **settings)  # type: ignore[arg-type]
    return str(caught.value)


def said(samples: Samples) -> str:
    return "\n".join(samples.notes)


def test_one_column_of_text_is_a_class_each(folder: Path) -> None:
    found = read(write(folder, labelled(["cat", "dog", "cat"])))
    assert (found.task, found.labels) == ("classify", ("cat", "dog"))
    assert found.targets.tolist() == [0, 1, 0]
    assert found.targets.dtype == np.int64
    assert found.paths == ("0.png", "1.png", "2.png")
    assert found.root == str(folder)
    assert found.given.tolist() == [UNASSIGNED] * 3
    assert "3 images from t.csv, named by column path." in found.notes
    assert "Column label gives 2 classes: cat 2, dog 1." in found.notes


def test_rows_keep_their_order(folder: Path) -> None:
    rows = ["path,label", *(f"{n}.png,{'ab'[n % 2]}" for n in (7, 3, 29, 0))]
    assert read(write(folder, rows)).paths == ("7.png", "3.png", "29.png", "0.png")


def test_few_whole_numbers_are_classes_and_the_other_way_is_said(folder: Path) -> None:
    path = write(folder, labelled([3, 1, 3, 10]))
    found = read(path)
    assert (found.task, found.labels) == ("classify", ("1", "10", "3"))
    assert "label holds whole numbers: pass --task regress to learn them so." in said(found)
    as_numbers = read(path, task="regress")
    assert as_numbers.task == "regress"
    assert as_numbers.targets.tolist() == [[3.0], [1.0], [3.0], [10.0]]
    assert "pass --task regress" not in said(read(path, task="classify"))


def test_whole_numbers_with_a_point_are_the_same_classes(folder: Path) -> None:
    assert read(write(folder, labelled(["1.0", "2.0", "1"]))).labels == ("1", "2")


def test_a_leading_zero_is_kept(folder: Path) -> None:
    assert read(write(folder, labelled(["08", "09", "08"]))).labels == ("08", "09")


@pytest.mark.parametrize("values", [[0.5, 1.5, -2e-3], range(21)])
def test_fractions_and_many_numbers_are_regressed(folder: Path, values: Iterable[float]) -> None:
    found = read(write(folder, labelled(values)))
    assert (found.task, found.labels) == ("regress", ("label",))
    assert found.targets.dtype == np.float64
    assert found.targets.tolist() == [[float(value)] for value in values]
    assert "Numbers to learn: label." in found.notes


def test_twenty_different_whole_numbers_are_still_classes(folder: Path) -> None:
    assert read(write(folder, labelled([*range(20), 0]))).task == "classify"


def test_several_columns_of_numbers_are_regressed_together(folder: Path) -> None:
    rows = ["file,x,y", "0.png,1,10", "1.png,2,30"]
    found = read(write(folder, rows), target=("y", "x"))
    assert (found.task, found.labels) == ("regress", ("y", "x"))
    assert found.targets.tolist() == [[10.0, 1.0], [30.0, 2.0]]


def test_several_columns_of_0_and_1_are_labels(folder: Path) -> None:
    rows = ["file,red,round", "0.png,1,0", "1.png,0,0", "2.png,true,False"]
    found = read(write(folder, rows), target=("red", "round"))
    assert (found.task, found.labels) == ("labels", ("red", "round"))
    assert found.targets.dtype == np.float32
    assert found.targets.tolist() == [[1, 0], [0, 0], [1, 0]]
    assert "Columns of 0 and 1 give 2 labels: red, round." in found.notes


@pytest.mark.parametrize(
    ("cells", "how"),
    [
        (["red;round", "red", "flat; red"], "separated by semicolon"),
        (["red|round", "red", "flat|red"], "separated by bar"),
        (['"red, round"', "red", '"flat, red"'], "separated by comma"),
    ],
)
def test_labels_in_one_cell_are_separated_and_it_is_said_how(
    folder: Path, cells: list[str], how: str
) -> None:
    found = read(write(folder, labelled(cells), name="t.csv"), task="labels")
    assert found.labels == ("flat", "red", "round")
    assert found.targets.tolist() == [[0, 1, 1], [0, 1, 0], [1, 1, 0]]
    assert f"Column label gives 3 labels, {how}: flat, red, round." in found.notes


def test_one_label_in_each_cell_is_said_too(folder: Path) -> None:
    found = read(write(folder, labelled(["red", "blue", "red"])), task="labels")
    assert found.targets.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert "2 labels, one in each cell" in said(found)


def test_one_column_of_0_and_1_may_be_one_label(folder: Path) -> None:
    found = read(write(folder, labelled([0, 1, 1])), task="labels")
    assert found.targets.tolist() == [[0], [1], [1]]


def test_labels_of_columns_and_labels_in_cells_are_told_apart(folder: Path) -> None:
    columns = write(folder, ["file,red,round", "0.png,1,0", "1.png,0,1"])
    assert read(columns, target=("red", "round")).has_label_columns
    assert read(columns, target=("red",), task="labels").has_label_columns
    assert read(columns, target=("red",), task="regress").has_label_columns
    assert not read(columns, target=("red",)).has_label_columns  # its cells name the classes
    cells = write(folder, labelled(["red;round", "red", "flat"]), name="cells.csv")
    assert not read(cells, task="labels").has_label_columns


def test_two_separators_are_refused(folder: Path) -> None:
    text = refused(write(folder, labelled(["a;b", "a|c", "a"])), task="labels")
    assert "column label holds semicolon, bar: it isn't clear which of them separates" in text


def test_a_cell_of_separators_only_is_refused(folder: Path) -> None:
    text = refused(write(folder, labelled(["a;b", ";"])), task="labels")
    assert "column label names no label in row 3 (';')" in text
    assert "Fix: name one, or leave the cell empty where there is none." in text


def test_an_empty_cell_names_none_of_several_labels(folder: Path) -> None:
    found = read(write(folder, labelled(["red;round", "", "flat", '""'])), task="labels")
    assert found.labels == ("flat", "red", "round")
    assert found.targets.tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]]
    note = "3 labels, separated by semicolon: flat, red, round. 2 of its 4 cells are empty: none of"
    assert note in said(found)
    one = read(write(folder, labelled(["red", "", "flat"])), task="labels")
    assert one.targets.tolist() == [[0, 1], [0, 0], [1, 0]]
    assert "one in each cell: flat, red. 1 of its 3 cells is empty: none of the labels." in said(
        one
    )


def test_an_empty_cell_of_another_task_is_missing(folder: Path) -> None:
    path = write(folder, labelled(["red;round", "", "flat;red", "round;flat"]))
    text = refused(path)
    assert "column label has 1 missing cell, in row 3" in text
    assert "Fix: fill them in, or pass --task labels, of which an empty cell names none." in text
    assert "or remove those rows" in refused(path, task="classify")
    assert "1 missing cell, in row 3" in refused(write(folder, labelled([1, "", 0])), task="labels")
    columns = write(folder, ["file,red,round", "0.png,1,0", "1.png,,1"])
    assert "column red has 1 missing cell" in refused(
        columns, target=("red", "round"), task="labels"
    )


def test_a_word_for_missing_is_not_none_of_the_labels(folder: Path) -> None:
    text = refused(write(folder, labelled(["red;round", "", "NA"])), task="labels")
    assert "column label has 1 missing cell, some written NA, in row 4" in text


def test_a_row_that_is_cut_before_its_labels_is_refused(folder: Path) -> None:
    path = write(folder, [*labelled(["red;round", ""]), "2.png"])
    assert "1 line cannot be read as a row of 2 cells" in refused(path, task="labels")
    packed = folder / "t.csv.gz"  # whose short rows are filled up
    packed.write_bytes(gzip.compress(path.read_bytes()))
    text = refused(packed, task="labels")
    assert "column label has 2 missing cells, in rows 3, 4" in text
    assert "some are cut short, so an empty cell may be cut too" in text


def test_a_column_of_empty_cells_alone_teaches_no_label(folder: Path) -> None:
    path = write(folder, labelled(["", "", ""]))
    text = refused(path, task="labels")
    assert "every cell of column label is empty: there is no label to learn." in text
    found = read(path, task="labels", purpose="score")
    assert found.labels == () and found.targets.shape == (3, 0)
    assert "Every cell of column label is empty: no item has any label." in said(found)


def test_labels_of_something_else_than_0_and_1_are_refused(folder: Path) -> None:
    rows = ["file,red,round", "0.png,1,0", "1.png,0,2"]
    text = refused(write(folder, rows), ConfigError, target=("red", "round"), task="labels")
    assert "needs 0 or 1 in each of several columns, but round holds something else in" in text
    assert "row 3 ('2')" in text


@pytest.mark.parametrize("name", ["split", "Set", "SUBSET"])
def test_a_split_column_is_the_datas_own_split(folder: Path, name: str) -> None:
    sides = ["train", "Val", "TEST", "training", "validation"]
    rows = [f"path,label,{name}"]
    rows += [f"{n}.png,{'ab'[n % 2]},{side}" for n, side in enumerate([*sides, "train"])]
    found = read(write(folder, rows))
    assert found.given.tolist() == [TRAIN, VALID, TEST, TRAIN, VALID, TRAIN]
    assert f"kept, from column {name}: train 3, valid 2, test 1." in said(found)


def test_a_split_column_with_another_word_names_its_row(folder: Path) -> None:
    rows = ["path,label,split", "0.png,a,train", "1.png,b,holdout", "2.png,b,test"]
    text = refused(write(folder, rows))
    assert "column split holds train, val or test, except in row 3 (the header is row 1)" in text
    assert "'holdout'" in text


def test_a_column_named_set_that_holds_other_things_is_an_ordinary_one(folder: Path) -> None:
    found = read(write(folder, ["path,set", "0.png,forks", "1.png,spoons"]))
    assert found.labels == ("forks", "spoons")


def test_a_label_that_only_test_has_is_never_seen_in_training(folder: Path) -> None:
    rows = ["path,label,split", "0.png,a,train", "1.png,b,train", "2.png,c,test"]
    path = write(folder, rows)
    assert "c (1 item in test) is a label never seen in training" in refused(path)
    assert "never seen in training" in refused(path, task="labels")
    assert read(path, purpose="score").labels == ("a", "b", "c")
    assert read(path, task="labels", purpose="score").labels == ("a", "b", "c")


def test_a_number_need_not_be_above_zero_in_training(folder: Path) -> None:
    rows = ["path,x,split", "0.png,-1.5,train", "1.png,-2,train", "2.png,3,test"]
    assert read(write(folder, rows)).task == "regress"


def test_a_split_without_training_rows_is_refused(folder: Path) -> None:
    rows = ["path,label,split", "0.png,a,test", "1.png,b,test"]
    path = write(folder, rows)
    assert "nothing to train on; every item is given to test" in refused(path)
    assert read(path, purpose="score").given.tolist() == [TEST, TEST]


def test_a_group_column_gives_groups(folder: Path) -> None:
    rows = ["path,label,patient", "0.png,a,p2", "1.png,b,p1", "2.png,b,p2"]
    found = read(write(folder, rows), group="patient")
    assert found.group_names == ("p1", "p2")
    assert found.groups is not None and found.groups.tolist() == [1, 0, 1]
    assert "Column patient gives 2 groups, each kept on one side of the split." in found.notes


def test_a_group_column_with_holes_names_the_rows(folder: Path) -> None:
    rows = ["path,label,patient", "0.png,a,p2", "1.png,b,", "2.png,b,NA"]
    assert "column patient names no group in rows 3, 4" in refused(
        write(folder, rows),
        group="patient",
    )


def test_groups_of_skipped_files_are_gone(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"")
    rows = ["path,label,who", "0.png,a,x", "1.png,b,z", "2.png,b,y"]
    found = read(write(folder, rows), group="who", on_bad_file="skip")
    assert found.group_names == ("x", "z")
    assert found.groups is not None and found.groups.tolist() == [0, 1]


def test_a_column_of_folds_gives_folds_and_silences_the_split_column(folder: Path) -> None:
    rows = ["path,label,fold,split", "0.png,a,k2,train", "1.png,b,k1,test", "2.png,b,k2,odd"]
    found = read(write(folder, rows), folds="fold")
    assert found.fold_names == ("k1", "k2")
    assert found.folds is not None and found.folds.tolist() == [1, 0, 1]
    assert found.folds.dtype == np.int64
    assert found.groups is None and found.given.tolist() == [UNASSIGNED] * 3
    assert found.take([1, 2]).folds.tolist() == [0, 1]  # type: ignore[union-attr]
    assert "Column fold gives 2 folds, each in turn the test part: k1, k2." in found.notes
    assert "Column split is ignored: the folds say who is tested." in found.notes


def test_one_column_may_be_groups_and_folds(folder: Path) -> None:
    rows = ["path,label,who", "0.png,a,x", "1.png,b,y", "2.png,a,y"]
    found = read(write(folder, rows), group="who", folds="who")
    assert found.fold_names == found.group_names == ("x", "y")
    assert found.folds is not None and found.folds.tolist() == [0, 1, 1]
    text = refused(write(folder, rows), ConfigError, target=("who",), folds="who")
    assert "column who is named for two uses at once" in text


def test_the_split_column_itself_may_be_the_folds(folder: Path) -> None:
    rows = ["path,label,split", "0.png,a,train", "1.png,b,test"]
    found = read(write(folder, rows), folds="split")
    assert found.fold_names == ("test", "train") and found.given.tolist() == [UNASSIGNED] * 2


def test_folds_are_checked_as_groups_are(folder: Path) -> None:
    rows = ["path,label,fold", "0.png,a,1", "1.png,b,"]
    assert "column fold names no fold in row 3" in refused(write(folder, rows), folds="fold")
    rows = ["path,label,fold", "0.png,a,1", "0.png,a,2", "1.png,b,1"]
    assert "rows 2, 3 differ in fold" in refused(write(folder, rows), folds="fold")
    (folder / "2.png").write_bytes(b"")
    rows = ["path,label,fold", "0.png,a,x", "1.png,b,z", "2.png,b,y"]
    found = read(write(folder, rows), folds="fold", on_bad_file="skip")
    assert found.fold_names == ("x", "z")
    assert found.folds is not None and found.folds.tolist() == [0, 1]


def test_more_than_one_column_to_learn_lists_them_with_what_they_could_be(folder: Path) -> None:
    rows = ["path,species,mass,age,code"]
    rows += [f"{n}.png,{'ab'[n % 2]},{n}.5,{n % 3},id{n}" for n in range(6)]
    text = refused(write(folder, rows), ConfigError)
    for words in (
        "more than one column that could be learned",
        "species (text, 2 different values: classes)",
        "mass (6 different numbers: numbers)",
        "age (3 different numbers: classes or numbers)",
        "code (text, every value different)",
        "--target species",
    ):
        assert words in text
    assert could_be(["", "NA"]) == "empty"


def test_no_column_to_learn_is_refused(folder: Path) -> None:
    text = refused(write(folder, ["path,split", "0.png,train", "1.png,train"]), ConfigError)
    assert "has no column to learn besides path, split" in text


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"target": ("lable",)}, "target"),
        ({"path_column": "lable"}, "path_column"),
        ({"group": "lable"}, "group"),
        ({"folds": "lable"}, "folds"),
    ],
)
def test_a_near_miss_of_a_column_is_named(
    folder: Path, settings: dict[str, object], option: str
) -> None:
    path = write(folder, labelled(["a", "b"]))
    text = refused(path, ConfigError, **settings)
    assert f"has no column lable (for {option}). Did you mean label?" in text
    assert "Its columns: path, label." in text


def test_one_column_for_two_uses_is_refused(folder: Path) -> None:
    path = write(folder, labelled(["a", "b"]))
    text = refused(path, ConfigError, target=("label",), group="label")
    assert "column label is named for two uses at once" in text


def test_paths_are_relative_to_the_table_and_may_be_absolute(
    tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "in" / "a.png", seed=1)
    picture(tmp_path / "b.png", seed=2)
    (tmp_path / "tables").mkdir()
    rows = ["file,label", "../in/a.png,x", f"{tmp_path / 'b.png'},y"]
    path = write(tmp_path / "tables", rows)
    monkeypatch.chdir(tmp_path / "in")
    found = read(path)
    for name in found.paths:
        assert (Path(found.root) / name).is_file()


def test_paths_written_on_windows_are_found(tmp_path: Path, picture: Picture) -> None:
    for name in "ab":
        picture(tmp_path / "in" / f"{name}.png")
    found = read(write(tmp_path, ["file,label", "in\\a.png,x", "in\\b.png,y"]))
    assert found.paths == ("in/a.png", "in/b.png")


def test_two_columns_of_files_ask_for_one(folder: Path) -> None:
    path = write(folder, ["photo,mask,label", "0.png,1.png,a", "2.png,3.png,b"])
    text = refused(path, ConfigError)
    assert "more than one column that names files: photo, mask" in text
    assert "--path-column photo" in text
    assert read(path, path_column="mask", target=("label",)).paths == ("1.png", "3.png")


def test_no_column_of_files_is_refused(folder: Path) -> None:
    text = refused(write(folder, ["name,label", "x,a", "y,b"]))
    assert f"no column names files that exist in or below {folder}" in text
    assert "Its columns: name, label." in text
    assert "--text-column" not in text
    alike = ["fine weather,a", "bad weather,b"] * 30
    text = refused(write(folder, ["said,label", *alike]))
    assert "if texts are to be learned from, name their column: --text-column said." in text


def test_classes_are_counted_by_the_rows_that_are_used(folder: Path) -> None:
    rows = ["path,label", "0.png,a", "1.png,a", "2.png,b", "3.png,b", "3.png,b", "gone.png,a"]
    found = read(write(folder, rows), on_bad_file="skip")
    assert len(found) == 4
    assert "Column label gives 2 classes: a 2, b 2." in said(found)


def test_the_column_of_files_can_be_nothing_else(folder: Path) -> None:
    path = write(folder, ["file,label", "0.png,a", "2.png,b"])
    for option in ("group", "folds"):
        with pytest.raises(ConfigError, match="column file names the files, and no other does"):
            sources.read(path, DataConfig(), **{option: "file"})


def test_missing_files_are_all_listed_up_to_twenty(folder: Path) -> None:
    rows = ["path,label", "0.png,a", *(f"gone{n}.png,b" for n in range(25))]
    text = refused(write(folder, rows))
    assert "25 files of 26 do not exist (the header is row 1):" in text
    assert "\n    row 3: gone0.png\n" in text
    assert "row 22: gone19.png\n    and 5 more" in text
    assert "--on-bad-file skip" in text


def test_skipping_goes_on_without_missing_files(folder: Path) -> None:
    found = read(
        write(folder, ["path,label", "0.png,a", "gone.png,b", "1.png,b", "2.png,a"]),
        on_bad_file="skip",
    )
    assert found.paths == ("0.png", "1.png", "2.png")
    assert found.targets.tolist() == [0, 1, 0]
    assert f"{folder / 'gone.png'} does not exist" in said(found)


def test_a_table_whose_files_are_all_missing_says_so(folder: Path) -> None:
    text = refused(write(folder, ["path,label", "a/x.jpg,a", "a/y.jpg,b"]))
    assert "2 files of 2 do not exist" in text
    assert f"write the paths as seen from {folder}" in text


def test_paths_that_fit_another_folder_are_found_out(folder: Path) -> None:
    (folder / "tables").mkdir()
    text = refused(write(folder / "tables", labelled(["a", "b"])))
    assert "2 files of 2 do not exist" in text
    assert f"the paths fit {folder}: move the table there" in text


def test_a_class_of_skipped_files_is_named_and_left_out(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"")
    found = read(write(folder, labelled(["a", "b", "c"])), on_bad_file="skip")
    assert found.labels == ("a", "b")
    assert "Left out, none of its files can be read: c." in found.notes


def test_bad_files_are_named_below_the_tables_folder(folder: Path) -> None:
    (folder / "1.png").write_bytes(b"")
    assert f"{folder / '1.png'} is empty (0 bytes)" in refused(
        write(folder, labelled(["a", "b", "a"]))
    )


def test_missing_cells_name_their_rows(folder: Path) -> None:
    text = refused(write(folder, labelled(["a", "", "b", "NA", " "])))
    assert "column label has 3 missing cells, some written NA, in rows 3, 5, 6" in text
    assert "(the header is row 1)" in text
    assert "fill them in, or remove those rows" in text


def test_a_row_without_a_path_is_named(folder: Path) -> None:
    text = refused(write(folder, ["path,label", "0.png,a", ",b", "2.png,b"]))
    assert "column path names no file in row 3" in text


def test_none_is_a_class_like_any_other(folder: Path) -> None:
    assert read(write(folder, labelled(["none", "crack"]))).labels == ("crack", "none")


def test_one_file_with_two_answers_is_refused_with_its_rows(folder: Path) -> None:
    path = write(folder, ["path,label", "0.png,a", "./0.png,b", "1.png,b"])
    text = refused(path)
    assert "0.png: rows 2, 3 differ in answer" in text
    assert "For several labels, write one row a file" in text


def test_one_file_with_two_groups_or_splits_is_refused(folder: Path) -> None:
    rows = ["path,label,who,split", "0.png,a,x,train", "0.png,a,y,test", "1.png,b,z,train"]
    assert "rows 2, 3 differ in split, group" in refused(write(folder, rows), group="who")


def test_repeated_rows_are_left_out_and_said(folder: Path) -> None:
    found = read(write(folder, ["path,label", "0.png,a", "1.png,b", "0.png,a"]))
    assert found.paths == ("0.png", "1.png")
    assert "1 row that repeats the file and the answer of an earlier one: row 4" in said(found)


def test_columns_of_one_name_are_refused(folder: Path) -> None:
    text = refused(write(folder, ["path,label,label", "0.png,a,b"]))
    assert "has more than one column named label" in text


@pytest.mark.parametrize("data", [b"", b"\n\n", b"path,label\n", b"\xef\xbb\xbf"])
def test_an_empty_table_is_refused(folder: Path, data: bytes) -> None:
    (folder / "t.csv").write_bytes(data)
    assert "t.csv is empty" in refused(folder / "t.csv")


def test_numbers_that_are_not_finite_name_their_rows(folder: Path) -> None:
    text = refused(write(folder, labelled([1.5, "inf", 2.5, "-Infinity", "1e400"])))
    assert "column label holds numbers that are not finite, in rows 3 ('inf')" in text
    assert "5 ('-Infinity'), 6 ('1e400')" in text
    assert "1 missing cell, some written nan, in row 3" in refused(
        write(folder, labelled([1.5, "nan", 2.5]))
    )


def test_a_column_of_numbers_with_a_few_words_is_no_column_of_classes(folder: Path) -> None:
    text = refused(write(folder, labelled([1.5, 2.5, "?0.2", 3.5])))
    assert "column label holds numbers, except in row 4 ('?0.2')" in text
    assert "--task classify" in text
    assert read(write(folder, labelled([1, 2, "?", 1])), task="classify").labels == ("1", "2", "?")


def test_words_cannot_be_regressed(folder: Path) -> None:
    text = refused(write(folder, labelled(["a", "b", 3])), task="regress")
    assert "column label holds no number in rows 2 ('a'), 3 ('b')" in text


def test_a_constant_number_is_nothing_to_learn(folder: Path) -> None:
    path = write(folder, labelled([2.5, 2.5]))
    assert "every value of column label is 2.5: there is nothing to learn" in refused(path)
    assert read(path, task="regress", purpose="score").targets.tolist() == [[2.5], [2.5]]


def test_text_beside_numbers_cannot_be_learned_together(folder: Path) -> None:
    path = write(folder, ["path,a,b", "0.png,x,1", "1.png,y,2"])
    text = refused(path, ConfigError, target=("a", "b"))
    assert "the columns a, b cannot be learned together: a holds text" in text
    text = refused(path, ConfigError, target=("a", "b"), task="classify")
    assert "task classify learns one column, but 2 are named: a, b" in text


def test_one_class_is_too_few(folder: Path) -> None:
    path = write(folder, labelled(["a", "a"]))
    text = refused(path)
    assert "column label: at least 2 classes are needed, only a was found" in text
    assert read(path, purpose="score").labels == ("a",)


def test_a_column_whose_values_never_repeat_holds_no_classes(folder: Path) -> None:
    path = write(folder, labelled([f"id{n}" for n in range(21)]))
    text = refused(path)
    assert "every value of column label is different, so there is no class to learn" in text
    assert len(read(path, purpose="score").labels) == 21


TAGGED = ["dog;grass", "dog;sky", "grass;sky", "dog", "sky;dog;grass"]


@pytest.mark.parametrize(("mark", "word"), [(";", "semicolon"), ("|", "bar")])
def test_cells_of_several_labels_are_classes_only_with_a_hint(
    folder: Path, mark: str, word: str
) -> None:
    cells = [cell.replace(";", mark) for cell in TAGGED]
    path = write(folder, labelled(cells * 3))
    found = read(path)
    assert found.task == "classify"
    assert said(found).count("pass --task labels") == 1
    assert f"Most cells of column label hold a {word}, as 'dog{mark}grass' does" in said(found)
    assert "of which there would be 3, pass --task labels" in said(found)
    assert "--task labels" not in said(read(path, task="classify"))
    assert read(path, task="labels").labels == ("dog", "grass", "sky")


@pytest.mark.parametrize(
    "cells",
    [
        ["dog", "cat", "dog;sky", "cat"],
        ["Bonn;DE", "Rome;IT", "Oslo;NO"],
        ["dog;sky", "dog|sky", "sky;cat", "cat;dog"],
    ],
    ids=["few, and of no classes", "no part recurs", "two marks"],
)
def test_marks_in_the_names_of_classes_give_no_hint(folder: Path, cells: list[str]) -> None:
    assert "--task labels" not in said(read(write(folder, labelled(cells * 3))))


def test_a_few_cells_that_name_two_of_the_classes_give_a_hint(folder: Path) -> None:
    path = write(folder, labelled(["dog", "cat", "dog;cat", "cat"] * 3))
    assert (
        "3 of 12 cells of column label hold a semicolon, as 'dog;cat' does, and each is taken as "
        "one class. If it separates labels, of which there would be 2, pass --task labels."
    ) in said(read(path))
    accents = ["cafe\u0301", "cat", "cafe\u0301;cat", "cat"]
    assert "of which there would be 2, pass --task labels" in said(
        read(write(folder, labelled(accents * 3)))
    )
    text = refused(write(folder, labelled(["dog", "", "dog;cat", "cat", "dog"])))
    assert "Fix: fill them in, or pass --task labels, of which an empty cell names none." in text


def test_a_column_of_label_sets_that_all_differ_names_the_task(folder: Path) -> None:
    cells = [f"{a};{b}" for a in "abcdef" for b in "vwxyz"][:28]
    text = refused(write(folder, labelled(cells)))
    assert "every value of column label is different" in text
    assert "pass --task labels if its cells hold several labels each" in text


def test_a_semicolon_table_with_a_byte_order_mark_is_read_and_said(folder: Path) -> None:
    rows = ["datei;wert", "0.png;1,5", "1.png;2,25"]
    found = read(write(folder, rows, encoding="utf-8-sig"))
    assert found.labels == ("wert",)
    assert found.targets.tolist() == [[1.5], [2.25]]
    text = said(found)
    assert "t.csv: columns separated by semicolon, UTF-8 with a byte-order mark." in text
    assert "Column wert is read with a decimal comma: 1,5 is 1.5." in text


def test_a_comma_that_may_mean_thousands_is_refused(folder: Path) -> None:
    text = refused(write(folder, ["f;x", "0.png;1,234", "1.png;2,500", "2.png;7"]))
    assert "column x is ambiguous: 1,234 may be 1234 or 1.234" in text
    assert "--decimal comma or point" in text


@pytest.mark.parametrize(
    ("decimal", "cells", "numbers", "note"),
    [
        ("comma", ["1,234", "2,5", "7"], [1.234, 2.5, 7], "a decimal comma: 1,234 is 1.234."),
        ("comma", ["1.234", "2", "7,5"], [1234, 2, 7.5], "a decimal comma: 1.234 is 1234."),
        ("point", ["1,234", "2,500", "7"], [1234, 2500, 7], "thousands: 1,234 is 1234."),
        ("point", ["1.234", "2.5", "7"], [1.234, 2.5, 7], ""),
        ("auto", ["1,234.5", "2", "7"], [1234.5, 2, 7], "thousands: 1,234.5 is 1234.5."),
        ("auto", ["1,234,567", "-2", "7"], [1234567, -2, 7], "thousands: 1,234,567 is 1234567."),
        ("auto", ["1.234,5", ",5", "7,"], [1234.5, 0.5, 7], "a decimal comma: 1.234,5 is 1234.5."),
    ],
)
def test_the_decimal_mark_of_numbers_to_learn_is_taken_as_told(
    folder: Path, decimal: str, cells: list[str], numbers: list[float], note: str
) -> None:
    path = write(folder, ["f;x", *(f"{row}.png;{cell}" for row, cell in enumerate(cells))])
    found = read(path, decimal=decimal, task="regress")
    assert found.targets.tolist() == [[number] for number in numbers]
    assert note in said(found) and ("comma" in said(found)) == ("comma" in note)


def test_numbers_that_may_be_lists_of_labels_are_asked_for(folder: Path) -> None:
    cells = ["101,102", "103", "101,102,103"] * 2
    path = write(folder, ["f;x", *(f"{row}.png;{cell}" for row, cell in enumerate(cells))])
    text = refused(path)
    assert "column x is ambiguous: 101,102,103 may be one number or 3 labels" in text
    assert "--task regress, or --task labels" in text
    assert read(path, task="labels").labels == ("101", "102", "103")
    assert read(path, task="regress").targets[2] == 101_102_103


@pytest.mark.parametrize(("decimal", "row"), [("auto", 4), ("comma", 4)])
def test_the_cell_that_is_no_number_is_named_alone(folder: Path, decimal: str, row: int) -> None:
    cells = ["1,5", "2,5", "x", "3,25"]
    path = write(folder, ["f;x", *(f"{row}.png;{cell}" for row, cell in enumerate(cells))])
    text = refused(path, task="regress", decimal=decimal)
    assert f"column x holds no number in row {row} ('x')." in text
    if decimal == "auto":
        assert f"column x holds numbers, except in row {row} ('x')." in refused(path)


def test_a_decimal_mark_that_does_not_fit_is_refused(folder: Path) -> None:
    path = write(folder, ["f;x", "0.png;1.25", "1.png;2.5", "2.png;7"])
    text = refused(path, decimal="comma", task="regress")
    assert (
        "--decimal comma does not fit column x: a decimal point stands in rows 2 ('1.25')" in text
    )
    text = refused(write(folder, labelled("abab")), ConfigError, decimal="comma")
    assert "decimal has no effect: label gives classes, and no numbers are learned." in text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_read_whole(folder: Path, encoding: str) -> None:
    text = "\ufeffpath,läbel\n0.png,é\n1.png,b\n2.png,é\n"
    (folder / "t.csv").write_bytes(text.encode(encoding))
    found = read(folder / "t.csv")
    assert found.labels == ("b", "é")
    assert found.targets.tolist() == [1, 0, 1]
    assert "UTF-16" in said(found)


@pytest.mark.parametrize("ends", ["\r\n", "\r", "\n"])
def test_all_line_ends_are_read(folder: Path, ends: str) -> None:
    (folder / "t.csv").write_bytes(ends.join(["path,label", "0.png,a", "1.png,b", ""]).encode())
    assert read(folder / "t.csv").targets.tolist() == [0, 1]


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_mixed_line_ends_are_read(folder: Path, ends: str) -> None:
    text = f'path,label{ends}0.png,"a{ends}b"\n1.png,b{ends}2.png,"a\nb"\n'
    (folder / "t.csv").write_bytes(text.encode())
    found = read(folder / "t.csv")
    assert found.labels == ("a\nb", "b") and found.targets.tolist() == [0, 1, 0]


def test_tabs_quotes_and_blank_lines_are_read(folder: Path) -> None:
    rows = ["", "path\tlabel", '0.png\t"big\tcat"', "", '1.png\t"a ""dog"""', ""]
    found = read(write(folder, rows, name="t.tsv"))
    assert found.labels == ('a "dog"', "big\tcat")


def test_ragged_rows_are_refused_by_line(folder: Path) -> None:
    rows = ["path,label", "0.png,a", "1.png,b,c", "2.png", "3.png,d"]
    text = refused(write(folder, rows))
    assert "2 lines cannot be read as a row of 2 cells:" in text
    assert "line 3: 3 or more cells: 1.png,b,c" in text
    assert "line 4: 1 cell: 2.png" in text
    assert "must stand in quotes" in text


def test_a_quote_that_never_ends_is_refused_by_line(folder: Path) -> None:
    text = refused(write(folder, ["path,label", "0.png,a", '"1.png,b', "2.png,c"]))
    assert "line 3: unquoted value" in text


def test_bytes_that_are_no_text_name_the_line(folder: Path) -> None:
    text = refused(write(folder, ["path,label", "0.png,a", "1.png,\xe9"], encoding="latin-1"))
    assert "is not UTF-8 text: byte b'\\xe9' in line 3" in text
    assert "save it as UTF-8" in text


def test_a_zero_byte_names_the_line(folder: Path) -> None:
    text = refused(write(folder, ["path,label", "0.png,a\0b"]))
    assert "holds a zero byte in line 2" in text


def test_a_table_without_column_names_is_told_so(folder: Path) -> None:
    text = refused(write(folder, ["0.png,a", "1.png,b"]))
    assert "has no column names: its first line names a file, 0.png" in text
    assert "Fix: pass --no-header, which calls the columns column_1, column_2" in text
    found = read(folder / "t.csv", header=False)
    assert found.paths == ("0.png", "1.png") and found.target_columns == ("column_2",)


def test_a_column_without_a_name_is_left_out_and_said(folder: Path) -> None:
    found = read(write(folder, [",path,label", "0,0.png,a", "1,1.png,b"]))
    assert found.labels == ("a", "b")
    assert "Left out, a column without a name (row numbers?)." in found.notes
    assert "has no column with a name" in refused(write(folder, ['"",', "0,1"]))


def test_a_column_name_with_a_line_end_is_shown_on_one_line(folder: Path) -> None:
    rows = ['path,"la', 'bel",x', "0.png,a,1", "1.png,b,2"]
    text = refused(write(folder, rows), ConfigError)
    assert "la\\nbel (text, every value different)" in text
    assert read(write(folder, rows), target=("la\nbel",)).labels == ("a", "b")


def test_a_line_of_names_that_cannot_be_read_is_told(folder: Path) -> None:
    text = refused(write(folder, ["path,label," + "x" * 200_000, "0.png,a,1"]))
    assert "the line of column names cannot be read (field larger" in text


def test_what_duckdb_cannot_read_is_told_in_its_first_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "_literal", lambda file: str(folder / "gone.csv"))
    text = refused(write(folder, labelled(["a", "b"])))
    assert "t.csv cannot be read as a table: IO Error: No files found" in text


def test_wildcards_in_a_table_name_mean_themselves(folder: Path) -> None:
    write(folder, labelled(["x", "y"]), name="a1.csv")
    found = read(write(folder, labelled(["a", "b"]), name="a[1].csv"))
    assert found.labels == ("a", "b")


def parquet(path: Path, query: str) -> Path:
    import duckdb

    duckdb.connect(":memory:").execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path


def test_parquet_is_read_and_what_is_nested_left_out(folder: Path) -> None:
    query = (
        """SELECT i || '.png' AS file, i + 0.5 AS "the ""x""\", i % 2 = 0 AS ok, [i] AS many """
        "FROM range(4) t(i)"
    )
    path = parquet(folder / "t.parquet", query)
    found = read(path, target=('the "x"',))
    assert found.targets.tolist() == [[0.5], [1.5], [2.5], [3.5]]
    assert "Left out, nested or binary columns: many." in found.notes
    assert read(path, target=("ok",)).labels == ("false", "true")


def test_rows_of_parquet_count_from_one(folder: Path) -> None:
    cell = "CASE WHEN i = 2 THEN NULL ELSE i + 0.5 END"
    query = f"SELECT i || '.png' AS file, {cell} AS x FROM range(4) t(i)"
    text = refused(parquet(folder / "t.parquet", query))
    assert "1 missing cell, in row 3 (the first row is row 1)" in text


def test_parquet_of_images_as_bytes_is_refused(folder: Path) -> None:
    path = parquet(folder / "t.parquet", "SELECT {'bytes': 'a'::BLOB} AS image, 'a'::BLOB AS b")
    text = refused(path)
    assert "holds only nested or binary columns (image, b)" in text


def test_a_file_that_is_no_parquet_is_refused(folder: Path) -> None:
    assert "cannot be read as Parquet" in refused(write(folder, ["x"], name="t.parquet"))


def test_without_duckdb_the_message_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    text = refused(write(folder, labelled(["a", "b"])), MissingExtraError)
    assert "Tables are read with DuckDB, which is not installed" in text
    assert "pip install duckdb" in text


def test_a_real_table_with_a_missing_file_names_it(data_folder: Path) -> None:
    text = refused(data_folder / "odd" / "tables" / "paths_with_missing_file.csv")
    assert "row 3: images/does_not_exist.jpg" in text
    assert f"the paths fit {data_folder / 'odd'}: move the table there" in text


def test_no_real_odd_table_ends_in_a_traceback(data_folder: Path) -> None:
    tables = sorted((data_folder / "odd" / "tables").glob("*.csv"))
    assert len(tables) > 20
    for path in tables:
        with pytest.raises((SourceError, ConfigError)) as caught:
            read(path)
        assert path.name in str(caught.value)
