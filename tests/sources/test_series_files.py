"""Series in files of their own: class folders, label tables, numbers that stand for files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridcell import sources
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import TEST, TRAIN, Samples, SeriesFacts
from gridcell.sources import find_files
from gridcell.sources.series_files import read_unlabelled


def write(path: Path, rows: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")
    return path


def series(path: Path, *values: float, header: str = "t,x,y") -> Path:
    return write(path, [header, *(f"{t},{v},{-v}" for t, v in enumerate(values))])


def read(path: Path, **settings: object) -> Samples:
    return sources.read(path, DataConfig(**settings))  # type: ignore[arg-type]


def facts(samples: Samples) -> SeriesFacts:
    assert isinstance(samples.facts, SeriesFacts)
    return samples.facts


def refused(path: Path, kind: type[Exception] = SourceError, **settings: object) -> str:
    with pytest.raises(kind) as caught:
        read(path, **settings)  # type: ignore[arg-type]
    return str(caught.value)


def said(samples: Samples) -> str:
    return "\n".join(samples.notes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, of one and two series."""
    series(tmp_path / "run" / "1.csv", 1, 2, 3)
    series(tmp_path / "run" / "2.csv", 4, 5)
    series(tmp_path / "walk" / "1.csv", 6)
    return tmp_path


def test_a_folder_is_a_class_and_a_file_a_series(folder: Path) -> None:
    found = read(folder)
    assert (found.kind, found.task, found.labels) == ("series", "classify", ("run", "walk"))
    assert found.paths == ("run/1.csv", "run/2.csv", "walk/1.csv")
    assert found.targets.tolist() == [0, 0, 1]
    assert facts(found).values.tolist() == [[1, -1], [2, -2], [3, -3], [4, -4], [5, -5], [6, -6]]
    assert facts(found).starts.tolist() == [0, 3, 5, 6]
    assert (facts(found).columns, facts(found).form) == (("x", "y"), "files")
    assert facts(found).time_column == "t"
    assert found.digests.dtype == np.dtype("V16")
    assert "3 data files in 2 classes: run, walk." in found.notes
    assert "Series of 1 to 3 steps; numbers from x, y." in found.notes


def test_split_folders_are_kept(tmp_path: Path) -> None:
    for side in ("train", "test"):
        for label in ("a", "b"):
            series(tmp_path / side / label / "1.csv", 1, 2)
    assert read(tmp_path).given.tolist() == [TEST, TEST, TRAIN, TRAIN]


def test_rows_are_sorted_by_time(folder: Path) -> None:
    write(folder / "walk" / "2.csv", ["t,x,y", "2,20,0", "1,10,0"])
    found = read(folder)
    assert facts(found).values[-2:, 0].tolist() == [10, 20]
    assert "In 1 file: The rows of 1 series were not in the order of column t" in said(found)


def test_columns_are_found_by_name_in_any_order(folder: Path) -> None:
    write(folder / "walk" / "2.csv", ["note,y,x,t", "hm,1,2,0"])
    found = read(folder)
    assert facts(found).values[-1].tolist() == [2, 1]
    assert "Left out, column note of the files." in found.notes


def test_inputs_choose_the_columns(folder: Path) -> None:
    assert facts(read(folder, inputs=("y",))).values[:2].tolist() == [[-1], [-2]]


def test_a_file_that_lacks_a_column_is_named(folder: Path) -> None:
    path = write(folder / "walk" / "2.csv", ["t,x", "0,1"])
    text = refused(folder)
    assert f"{path} has no column y, which run/1.csv has. Its columns: t, x." in text
    assert "--on-bad-file skip" in text
    found = read(folder, on_bad_file="skip")
    assert len(found) == 3
    assert "3 files used, 1 skipped as unreadable" in said(found)


def test_a_file_that_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    for name in ("1.csv", "3.csv"):
        write(tmp_path / name, ["x;y", "1,5;2", "2;3"])
    table = write(tmp_path / "table.csv", ["file,label", "1.csv,a", "2.csv,b", "3.csv,b"])
    found = said(read(table, on_bad_file="skip"))
    assert f"\n    {tmp_path / '2.csv'} does not exist" in found and "Errno" not in found
    assert "In all files: columns separated by semicolon" in found


def test_what_many_files_have_in_common_is_said_once(tmp_path: Path) -> None:
    for name in range(20):
        write(tmp_path / "ab"[name % 2] / f"{name}.csv", ["x;y", f"1,5{name};2,5", "2,4;3,6"])
    marks = [note for note in read(tmp_path).notes if "decimal comma" in note]
    assert marks == ["In all files: Columns x, y are read with a decimal comma: 1,50 is 1.50."]
    for name in range(20):  # as many rows not in order as the number of the file
        rows = [f"{t},{t}" for t in range(40)]
        write(tmp_path / "ab"[name % 2] / f"{name}.csv", ["t,x", *rows[::-1][: name + 2]])
    notes = [note for note in read(tmp_path).notes if "file" in note]
    assert len(notes) < 12


@pytest.mark.parametrize(
    ("answers", "targets"),
    [("0 1 0", [0, 1, 0]), ("1.5 2.5 0", [[1.5], [2.5], [0]]), ("1,5 2 0", [[1.5], [2], [0]])],
)
def test_the_decimal_mark_of_series_does_not_bind_the_table_that_names_them(
    tmp_path: Path, answers: str, targets: list[Any]
) -> None:
    for row in range(3):
        write(tmp_path / f"{row}.csv", ["x;y", "1,234;2,500", "2,000;3,125"])
    rows = [f"{row}.csv;{answer}" for row, answer in enumerate(answers.split())]
    found = read(write(tmp_path / "table.csv", ["file;said", *rows]), decimal="comma")
    assert facts(found).values[0].tolist() == pytest.approx([1.234, 2.5])
    assert found.targets.tolist() == targets


def test_all_bad_files_are_listed(folder: Path) -> None:
    write(folder / "walk" / "2.csv", ["t,x,y", "0,1,2,3"])
    (folder / "walk" / "3.csv").write_bytes(b"")
    write(folder / "walk" / "4.csv", ["t,x,y", "0,1,2", "1,oops,2", "2,3,4"])
    text = refused(folder)
    assert "3 of 6 files cannot be read as series" in text
    assert "walk/2.csv: 1 line cannot be read as a row of 3 cells" in text
    assert "walk/3.csv is empty (0 bytes)" in text
    assert "walk/4.csv: column x holds no number in row 3 ('oops')" in text


def test_files_that_are_all_bad_leave_nothing(tmp_path: Path) -> None:
    for label in ("a", "b"):
        write(tmp_path / label / "1.csv", ["t,word", "0,x"])
    text = refused(tmp_path, on_bad_file="skip")
    assert "none of the 2 files can be read as a series" in text
    assert "has no column of numbers to read" in text


def test_missing_numbers_are_named_by_file(folder: Path) -> None:
    write(folder / "walk" / "2.csv", ["t,x,y", "0,1,2", "1,,2", "2,inf,4"])
    text = refused(folder, on_bad_file="skip")
    assert "walk/2.csv, column x: 2 cells (1 of them infinite), in rows 3, 4" in text
    assert "--missing ffill|interpolate|drop|mask" in text
    found = read(folder, missing="ffill")
    assert np.isnan(facts(found).values[-2:, 0]).all()
    assert "Numbers are missing, and ffill says what becomes of them" in said(found)


def test_files_without_names_of_columns_are_read(tmp_path: Path) -> None:
    for label in ("a", "b"):
        write(tmp_path / label / "1.csv", ["0.5,1.5", "2.5,3.5"])
    found = read(tmp_path)
    assert facts(found).columns == ("c1", "c2")
    assert (
        "In all files: the file has no row of column names: its columns are called c1 to c2."
        in (found.notes)
    )


def test_a_table_beside_images_is_no_series(tmp_path: Path) -> None:
    series(tmp_path / "labels.csv", 1, 2)
    assert "holds no folders of classes, only files: .csv (1)." in refused(tmp_path)


def test_settings_without_effect_on_folders_are_refused(folder: Path) -> None:
    text = refused(folder, ConfigError, id_column="id")
    assert "id_column has no effect on a folder of class folders" in text


def test_two_columns_of_time_ask_for_one(folder: Path) -> None:
    write(folder / "run" / "1.csv", ["t,time,x,y", "0,0,1,2"])
    assert "more than one column that the rows could be sorted by: t, time" in refused(
        folder, ConfigError
    )


def test_a_table_of_paths_may_name_series(folder: Path) -> None:
    rows = [
        "file,label,split",
        "run/1.csv,fast,train",
        "walk/1.csv,slow,train",
        "run/2.csv,fast,test",
    ]
    found = read(write(folder / "labels.csv", rows))
    assert found.paths == ("run/1.csv", "walk/1.csv", "run/2.csv")
    assert (found.kind, found.labels) == ("series", ("fast", "slow"))
    assert found.given.tolist() == [TRAIN, TRAIN, TEST]
    assert "3 data files from labels.csv, named by column file." in found.notes
    text = refused(write(folder / "labels.csv", [*rows, "run/9.csv,fast,test"]))
    assert "1 file of 4 does not exist" in text


def test_a_gzipped_table_of_paths_is_read(folder: Path) -> None:
    import gzip

    rows = "file,label\nrun/1.csv,fast\nwalk/1.csv,slow\n"
    (folder / "labels.csv.gz").write_bytes(gzip.compress(rows.encode()))
    assert read(folder / "labels.csv.gz").labels == ("fast", "slow")


def numbered(folder: Path, rows: Sequence[str]) -> Path:
    for number in (1, 2, 11):
        series(folder / f"rec_{number:02}.csv", number)
    return write(folder / "answers.csv", ["#nr, class_label", *rows])


def test_numbers_may_stand_for_files_and_it_is_said(tmp_path: Path) -> None:
    found = read(numbered(tmp_path, ["11,1", "1,-1", "2,1"]))
    assert found.paths == ("rec_11.csv", "rec_01.csv", "rec_02.csv")
    assert found.labels == ("-1", "1")
    assert facts(found).values[:, 0].tolist() == [11, 1, 2]
    assert "Column #nr holds the numbers in the files' names: 11 is rec_11.csv." in found.notes


def test_numbers_without_a_file_are_named(tmp_path: Path) -> None:
    text = refused(numbered(tmp_path, ["11,1", "1,-1", "2,1", "3,1"]))
    assert (
        "column #nr holds numbers of files, but no data file, or more than one, has those of"
        in text
    )
    assert "row 5" in text


def test_numbers_of_files_of_many_names_mean_none(tmp_path: Path) -> None:
    series(tmp_path / "a1.csv", 1)
    series(tmp_path / "b2.csv", 1)
    path = write(tmp_path / "t.csv", ["n,label", "1,x", "2,y"])
    assert "holds numbers of files" not in refused(path, ConfigError)


def test_settings_without_effect_on_tables_of_paths_are_refused(folder: Path) -> None:
    path = write(folder / "labels.csv", ["file,label", "run/1.csv,fast", "walk/1.csv,slow"])
    text = refused(path, ConfigError, id_column="label")
    assert "id_column has no effect on a table of paths" in text
    assert "task tags needs a class for each step" in refused(path, ConfigError, task="tags")


def test_one_file_is_read_again_without_a_label(tmp_path: Path) -> None:
    path = write(tmp_path / "new.csv", ["t,y,x", "1,20,2", "0,10,"])
    [(name, values, _)] = read_unlabelled(path, ("x", "y"), time_column="t")
    assert name == str(path)
    assert np.isnan(values[0, 0])
    assert values[:, 1].tolist() == [10, 20]
    with pytest.raises(SourceError) as caught:
        read_unlabelled(path, ("x", "z"))
    assert "has no column z. Its columns: t, y, x." in str(caught.value)


def test_one_column_of_numbers_may_have_any_name(tmp_path: Path) -> None:
    path = write(tmp_path / "new.csv", ["t,level", "0,1", "1,2"])
    [(_, values, _)] = read_unlabelled(path, ("value",), time_column="t")
    assert values.tolist() == [[1], [2]]


def test_files_of_series_and_texts_are_found_by_their_names(tmp_path: Path) -> None:
    for name in ("a.csv", "b/c.TSV", "d.parquet", "e.ts", "f.csv.gz", "g.txt", "h.conllu", "i.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    names = [str(path.relative_to(tmp_path)) for path in find_files(tmp_path, "series")]
    assert names == ["a.csv", "b/c.TSV", "d.parquet", "e.ts", "f.csv.gz"]
    assert [path.name for path in find_files(tmp_path, "texts")] == ["g.txt", "h.conllu"]


def test_real_class_folders_of_series(data_folder: Path) -> None:
    found = read(data_folder / "timeseries" / "watch_exercises")
    assert (len(found), len(found.labels)) == (140, 7)
    assert facts(found).columns == ("ax", "ay", "az", "wx", "wy", "wz")
    lengths = np.diff(facts(found).starts)
    assert (lengths.min(), lengths.max()) == (947, 2618)


def test_real_files_that_numbers_stand_for(data_folder: Path) -> None:
    path = data_folder / "timeseries" / "indoor_movement" / "dataset" / "MovementAAL_target.csv"
    found = read(path)
    assert (len(found), found.labels) == (314, ("-1", "1"))
    assert facts(found).columns == ("#RSS_anchor1", "RSS_anchor2", "RSS_anchor3", "RSS_anchor4")
    assert "1 is MovementAAL_RSS_1.csv" in said(found)
