"""Series in one table, long or wide: which column is what, and what becomes of the rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from gridcell import sources
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.samples import TEST, TRAIN, UNASSIGNED, Samples, SeriesFacts
from gridcell.sources.classes import Purpose
from gridcell.sources.series_files import read_unlabelled


def write(folder: Path, rows: Iterable[str], name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def long(
    series: Sequence[Sequence[float]] = ((1, 2, 3), (4, 5), (6, 7, 8)),
    labels: Sequence[object] = ("a", "b", "a"),
    *,
    header: str = "id,t,x,label",
) -> list[str]:
    rows = [
        f"s{i},{t},{value},{label}"
        for i, (values, label) in enumerate(zip(series, labels, strict=True))
        for t, value in enumerate(values)
    ]
    return [header, *rows]


def wide(labels: Sequence[object] = ("up", "down", "up"), steps: int = 4) -> list[str]:
    names = ",".join(f"h{n:02}" for n in range(steps))
    cells = [",".join(str(row + n / 10) for n in range(steps)) for row in range(len(labels))]
    return [f"{names},label", *(f"{c},{label}" for c, label in zip(cells, labels, strict=True))]


def read(
    path: Path,
    *,
    group: str | None = None,
    folds: str | None = None,
    purpose: Purpose = "train",
    **settings: object,
) -> Samples:
    return sources.read(path, DataConfig(**settings), group=group, folds=folds, purpose=purpose)  # type: ignore[arg-type]


def facts(samples: Samples) -> SeriesFacts:
    assert isinstance(samples.facts, SeriesFacts)
    return samples.facts


def values_of(samples: Samples) -> list[list[list[float]]]:
    found = facts(samples)
    return [part.tolist() for part in np.split(found.values, found.starts[1:-1])]


def refused(path: Path, error: type[Exception] = SourceError, **settings: object) -> str:
    with pytest.raises(error) as caught:
        read(path, **settings)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2  # type: ignore[attr-defined]
    return str(caught.value)


def said(samples: Samples) -> str:
    return "\n".join(samples.notes)


def test_a_row_a_step_is_found_by_the_names_of_its_columns(tmp_path: Path) -> None:
    found = read(write(tmp_path, long()))
    assert (found.kind, found.task, found.labels) == ("series", "classify", ("a", "b"))
    assert values_of(found) == [[[1], [2], [3]], [[4], [5]], [[6], [7], [8]]]
    assert found.targets.tolist() == [0, 1, 0]
    assert found.paths == ("t.csv#s0", "t.csv#s1", "t.csv#s2")
    assert found.root == str(tmp_path)
    assert found.given.tolist() == [UNASSIGNED] * 3
    assert facts(found).values.dtype == np.float32
    assert facts(found).columns == ("x",)
    assert (facts(found).form, facts(found).id_column, facts(found).time_column) == (
        "long",
        "id",
        "t",
    )
    assert (
        "3 series of 2 to 3 steps from t.csv: column id says which, sorted by column t; numbers "
        "from x." in found.notes
    )
    assert "Column label gives 2 classes: a 2, b 1." in found.notes


def test_equal_series_have_equal_digests(tmp_path: Path) -> None:
    found = read(write(tmp_path, long(((1, 2), (1, 2), (1, 3)))))
    assert found.digests.dtype == np.dtype("V16")
    one, two, three = found.digests.tolist()
    assert one == two != three


def test_columns_that_are_named_need_no_usual_names(tmp_path: Path) -> None:
    rows = ["who,when,p,q,what", "1,2,0.5,9,a", "1,1,0.25,8,a", "2,1,0.125,7,b", "2,2,0,6,b"]
    found = read(
        write(tmp_path, rows),
        id_column="who",
        time_column="when",
        inputs=("q", "p"),
        target=("what",),
    )
    assert values_of(found) == [[[8, 0.25], [9, 0.5]], [[7, 0.125], [6, 0]]]
    assert facts(found).columns == ("q", "p")


def test_rows_out_of_order_are_sorted_within_each_series_and_it_is_said(tmp_path: Path) -> None:
    rows = long()
    shuffled = [rows[0], rows[3], rows[1], rows[5], rows[2], rows[4], *rows[6:]]
    found = read(write(tmp_path, shuffled))
    assert values_of(found) == [[[1], [2], [3]], [[4], [5]], [[6], [7], [8]]]
    assert (
        "The rows of 2 series were not in the order of column t: they are sorted by it."
        in found.notes
    )
    assert "sorted by it" not in said(read(write(tmp_path, rows)))


def test_times_are_sorted_as_days_not_as_words(tmp_path: Path) -> None:
    rows = ["id,t,x,label", "1,02.02.2024,2,a", "1,10.01.2024,1,a", "2,01.01.2024,3,b"]
    assert values_of(read(write(tmp_path, rows))) == [[[1], [2]], [[3]]]


def test_without_a_time_rows_keep_their_order(tmp_path: Path) -> None:
    rows = ["id,x,label", "1,3,a", "2,9,b", "1,1,a", "2,8,b"]
    found = read(write(tmp_path, rows))
    assert values_of(found) == [[[3], [1]], [[9], [8]]]
    assert "in the order of the rows" in said(found)
    assert (
        "The rows of a series do not stand together: they are read in their order." in found.notes
    )


def test_rows_that_repeat_another_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = long()
    found = read(write(tmp_path, [*rows[:3], rows[2], *rows[3:], rows[1]]))
    assert values_of(found)[0] == [[1], [2], [3]]
    assert "Left out, 2 rows that repeat another of the same time: rows 4, 11." in found.notes


def test_rows_of_one_time_that_differ_are_refused(tmp_path: Path) -> None:
    text = refused(write(tmp_path, [*long(), "s1,1,99,b"]))
    assert "rows of one series have the same time (column t) and differ" in text
    assert "series s1: rows 6, 10 (both 1)" in text
    assert "--id-column" in text


def test_a_class_for_each_step_is_found_where_it_changes(tmp_path: Path) -> None:  # S16
    rows = ["id,t,x,label"]
    rows += [f"{i},{t},{t},{'ab'[t % 2] if i < 2 else 'c'}" for i in range(3) for t in range(3)]
    found = read(write(tmp_path, rows))
    assert (found.task, found.labels) == ("tags", ("a", "b", "c"))
    assert found.tags is not None
    assert found.tags.numbers.tolist() == [0, 1, 0, 0, 1, 0, 2, 2, 2]
    assert found.tags.starts.tolist() == [0, 3, 6, 9]
    assert found.targets.dtype == np.float32
    assert found.targets.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert (
        "Column label gives each step one of 3 classes (task tags): a 4, c 3, b 2." in found.notes
    )


def test_tags_follow_the_order_of_time(tmp_path: Path) -> None:
    rows = ["id,t,x,label", "1,2,1,b", "1,1,2,a", "2,1,3,a", "2,2,4,b"]
    found = read(write(tmp_path, rows), task="tags")
    assert found.tags is not None
    assert found.tags.numbers.tolist() == [0, 1, 0, 1]
    assert values_of(found)[0] == [[2], [1]]


def test_series_that_differ_in_tags_alone_have_different_digests(tmp_path: Path) -> None:
    rows = ["id,t,x,label", "1,1,1,b", "1,2,2,a", "2,1,1,a", "2,2,2,b"]
    one, two = read(write(tmp_path, rows)).digests.tolist()
    assert one != two


def test_one_label_that_changes_among_many_that_do_not_is_refused(tmp_path: Path) -> None:
    rows = ["id,t,x,label"]
    rows += [
        f"{i},{t},{t},{'b' if (i, t) == (3, 1) else 'ab'[i % 2]}" for i in range(4) for t in (0, 1)
    ]
    rows[7] = "3,0,0,a"
    text = refused(write(tmp_path, rows))
    assert "column label holds more than one value in 1 series of 4: 3" in text
    assert "--task tags" in text
    assert read(write(tmp_path, rows), task="tags").task == "tags"
    assert "more than one value" in refused(write(tmp_path, rows), task="classify")


def test_numbers_that_change_within_a_series_cannot_be_learned(tmp_path: Path) -> None:
    rows = ["id,t,x,y", *(f"{i},{t},{t},{i + t / 10}" for i in range(3) for t in range(3))]
    text = refused(write(tmp_path, rows), target=("y",))
    assert "column y holds more than one value in 3 series of 3: 0, 1, 2" in text
    assert "--task tags" not in text


def test_tags_need_one_column_and_a_row_for_each_step(tmp_path: Path) -> None:
    path = write(tmp_path, ["id,t,x,p,q", "1,1,1,a,b", "1,2,1,b,a", "2,1,1,a,b"])
    assert "task tags learns one column, but 2 are named" in refused(
        path, ConfigError, task="tags", target=("p", "q")
    )
    assert "task tags needs a class for each step" in refused(
        write(tmp_path, wide()), ConfigError, task="tags"
    )


def test_a_number_for_each_series_is_regressed(tmp_path: Path) -> None:
    found = read(write(tmp_path, long(labels=(0.5, 1.5, 2.5))))
    assert (found.task, found.labels) == ("regress", ("label",))
    assert found.targets.tolist() == [[0.5], [1.5], [2.5]]


def test_several_columns_of_0_and_1_are_labels(tmp_path: Path) -> None:
    rows = ["id,t,x,red,round", "1,1,1,1,0", "1,2,2,1,0", "2,1,3,0,1"]
    found = read(write(tmp_path, rows), target=("red", "round"))
    assert (found.task, found.targets.tolist()) == ("labels", [[1, 0], [0, 1]])
    assert found.has_label_columns


def test_numbers_to_learn_may_have_a_decimal_comma(tmp_path: Path) -> None:
    rows = ["id;t;x;y", "1;1;0,5;1,25", "1;2;1,5;1,25", "2;1;2,5;2,75"]
    found = read(write(tmp_path, rows), target=("y",))
    assert found.targets.tolist() == [[1.25], [2.75]]
    assert values_of(found) == [[[0.5], [1.5]], [[2.5]]]


def test_missing_answers_name_their_rows(tmp_path: Path) -> None:
    rows = long()
    rows[3] = "s0,2,3,"
    rows[5] = "s1,1,5,NA"
    text = refused(write(tmp_path, rows))
    assert "column label has 2 missing cells, some written NA, in rows 4, 6" in text


def test_words_among_numbers_to_learn_name_their_rows(tmp_path: Path) -> None:
    rows = ["id,t,x,y", *(f"{i},{t},{t},{i + 0.5}" for i in range(4) for t in (0, 1))]
    rows[7] = rows[8] = "3,0,0,up"
    text = refused(write(tmp_path, rows[:8]), target=("y",))
    assert "column y holds numbers, except in row 8 ('up')" in text


def test_rows_that_answers_count_are_said_to_be_series(tmp_path: Path) -> None:
    rows = ["id,t,x,tags", "1,1,1,a;b", "1,2,2,a;b", "2,1,3,;"]
    text = refused(write(tmp_path, rows), task="labels")
    assert "names no label in row 2" in text
    assert "Here the first series is row 1." in text


def test_a_series_without_a_label_has_none_of_several(tmp_path: Path) -> None:
    rows = long(labels=("a;b", "", "b;c"))
    found = read(write(tmp_path, rows), task="labels")
    assert found.labels == ("a", "b", "c")
    assert found.targets.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert "1 of its 3 cells is empty: none of the labels." in " ".join(found.notes)
    found = read(write(tmp_path, wide(("a;b", "", "b;c"))), task="labels")
    assert found.targets.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize("form", ["long", "wide"])
def test_a_row_cut_before_its_labels_has_missing_ones(tmp_path: Path, form: str) -> None:
    labels = ("a;b", "", "b;c")
    rows = long(((1, 2), (3, 4), (5,)), labels) if form == "long" else wide(labels)
    rows[-1] = rows[-1].rpartition(",")[0]
    text = refused(write(tmp_path, rows), task="labels")
    assert "column label has" in text and "missing cells" in text
    assert "some are cut short, so an empty cell may be cut too" in text


@pytest.mark.parametrize("column", ["id", "t"])
def test_rows_without_an_id_or_a_time_are_named(tmp_path: Path, column: str) -> None:
    rows = long()
    rows[4] = {"id": ",0,4,b", "t": "s1,,4,b"}[column]
    text = refused(write(tmp_path, rows))
    assert "in row 5" in text
    assert {"id": "column id names no series", "t": "column t holds no time"}[column] in text


def gappy(tmp_path: Path) -> Path:
    """200 rows: an empty cell in row 57, inf in row 9, and another column with none."""
    rows = ["id,t,x,y,label"]
    rows += [f"{n // 20},{n % 20},{n}.5,{n},{'ab'[n // 100]}" for n in range(200)]
    rows[56] = rows[56].replace("55.5", "")
    rows[8] = rows[8].replace("7.5", "inf")
    return write(tmp_path, rows)


def test_missing_numbers_name_column_count_and_rows(tmp_path: Path) -> None:
    text = refused(gappy(tmp_path))
    assert "numbers are missing (the header is row 1)" in text
    assert "column x: 2 cells (1 of them infinite), in rows 9, 57" in text
    assert "column y" not in text
    assert "--missing ffill|interpolate|drop|mask" in text


@pytest.mark.parametrize("policy", ["ffill", "interpolate", "drop", "mask"])
def test_with_a_policy_missing_numbers_stay_missing_and_are_said(
    tmp_path: Path, policy: str
) -> None:
    found = read(gappy(tmp_path), missing=policy)
    assert np.flatnonzero(np.isnan(facts(found).values[:, 0])).tolist() == [7, 55]
    assert f"Numbers are missing, and {policy} says what becomes of them" in said(found)
    assert "column x: 2 cells (1 of them infinite), in rows 9, 57" in said(found)


def test_a_column_that_never_moves_is_read_like_any_other(tmp_path: Path) -> None:
    rows = ["id,t,const,x,label", *(f"{i},{t},20,{t},{'ab'[i]}" for i in (0, 1) for t in range(3))]
    assert values_of(read(write(tmp_path, rows)))[0] == [[20, 0], [20, 1], [20, 2]]


def test_the_datas_own_split_groups_and_folds_are_kept(tmp_path: Path) -> None:
    rows = ["id,t,x,label,split,who,fold"]
    for i in range(4):
        rest = f"{'ab'[i % 2]},{('train', 'Test')[i // 2]},p{i % 2},{i % 3}"
        rows += [f"{i},{t},{t},{rest}" for t in (0, 1)]
    path = write(tmp_path, rows)
    found = read(path, group="who", target=("label",))
    assert found.given.tolist() == [TRAIN, TRAIN, TEST, TEST]
    assert found.groups is not None
    assert found.groups.tolist() == [0, 1, 0, 1]
    assert found.group_names == ("p0", "p1")
    assert "The data's own split is kept, from column split: train 2, test 2." in found.notes
    assert "Column who gives 2 groups, each kept on one side of the split." in found.notes
    found = read(path, folds="fold", target=("label",))
    assert found.folds is not None
    assert found.folds.tolist() == [0, 1, 2, 0]
    assert "Column split is ignored: the folds say who is tested." in found.notes
    assert "Column fold gives 3 folds, each in turn the test part: 0, 1, 2." in found.notes


@pytest.mark.parametrize("column", ["split", "who"])
def test_a_split_or_group_that_changes_within_a_series_is_refused(
    tmp_path: Path, column: str
) -> None:
    rows = ["id,t,x,label,split,who", "1,0,1,a,train,p", "1,1,2,a,train,p", "2,0,1,b,train,q"]
    rows += ["2,1,1,b,test,q" if column == "split" else "2,1,1,b,train,r"]
    settings = {} if column == "split" else {"group": "who"}
    text = refused(write(tmp_path, rows), target=("label",), **settings)
    assert f"column {column} holds more than one value in 1 series of 2: 2" in text


def test_a_split_word_that_is_none_names_its_row(tmp_path: Path) -> None:
    rows = ["id,t,x,label,split", "1,0,1,a,train", "2,0,1,b,later", "2,1,1,b,test"]
    text = refused(write(tmp_path, rows))
    assert "column split holds train, val or test, except in row 3" in text
    assert "'later'" in text


def test_a_label_that_only_test_has_is_never_seen_in_training(tmp_path: Path) -> None:
    rows = ["id,t,x,label,split", "1,0,1,a,train", "1,1,1,a,train", "2,0,1,b,train"]
    rows += ["2,1,1,b,train", "3,0,1,c,test", "3,1,1,c,test"]
    assert "c (1 item in test) is a label never seen in training" in refused(write(tmp_path, rows))


def test_one_class_is_too_few_to_train_but_not_to_score(tmp_path: Path) -> None:
    path = write(tmp_path, long(labels=("a", "a", "a")))
    assert "at least 2 classes are needed, only a was found" in refused(path)
    assert read(path, purpose="score").labels == ("a",)


def test_what_says_who_is_no_input(tmp_path: Path) -> None:
    rows = ["series_id,subject,t,x,label"]
    rows += [f"{i},{i // 2},{t},{t},{'ab'[i % 2]}" for i in range(4) for t in (0, 1)]
    found = read(write(tmp_path, rows))
    assert facts(found).columns == ("x",)
    assert facts(found).id_column == "series_id"
    assert "Left out, column subject without a use." in found.notes


def test_ids_that_name_the_rows_in_pairs_are_refused(tmp_path: Path) -> None:
    rows = ["trial,session,t,x,label"]
    for trial, session, t in itertools.product((1, 2), (1, 2), (0, 1)):
        rows.append(f"{trial},{session},{t},{t},{'ab'[trial - 1]}")
    text = refused(write(tmp_path, rows), ConfigError)
    assert "more than one column that could say which series a row belongs to" in text
    assert "trial (2 different values)" in text
    assert "session (2 different values)" in text
    assert "--id-column trial" in text


def test_two_columns_of_time_are_refused(tmp_path: Path) -> None:
    rows = [
        "id,time,date,x,label",
        "1,0,2024-01-01,1,a",
        "1,1,2024-01-02,1,a",
        "2,0,2024-01-01,1,b",
    ]
    text = refused(write(tmp_path, rows), ConfigError)
    assert "more than one column that the rows could be sorted by: time, date" in text
    assert "--time-column time" in text
    assert facts(read(write(tmp_path, rows), time_column="date")).time_column == "date"


def test_a_time_in_some_unit_is_found(tmp_path: Path) -> None:
    rows = long(header="Series ID,time (ms),x,Class Label")
    found = facts(read(write(tmp_path, rows)))
    assert (found.id_column, found.time_column) == ("Series ID", "time (ms)")


def test_a_position_that_comes_again_is_a_reading(tmp_path: Path) -> None:
    rows = ["id,position,label", *(f"{i},{p},{'ab'[i]}" for i in (0, 1) for p in (3, 5, 3))]
    found = read(write(tmp_path, rows))
    assert values_of(found)[0] == [[3], [5], [3]]
    assert facts(found).time_column is None


def test_the_only_column_that_tells_series_apart_is_taken(tmp_path: Path) -> None:
    rows = ["sensor_kind,when,t,x,label"]
    rows += [f"{'pq'[i]},1,{t},{t},{'ab'[i]}" for i in (0, 1) for t in range(4)]
    assert facts(read(write(tmp_path, rows))).id_column == "sensor_kind"


def test_a_table_of_one_series_asks_for_its_id_column(tmp_path: Path) -> None:
    rows = ["date,temp", "2024-01-01,1", "2024-01-02,2", "2024-01-03,3"]
    text = refused(write(tmp_path, rows), ConfigError)
    assert "has a row for each step (column date)" in text
    assert "nothing says which series a row belongs to. Its columns: date, temp." in text
    assert "--id-column" in text
    assert "--horizon" in text


def test_a_time_that_stands_twice_is_named(tmp_path: Path) -> None:
    rows = ["u,t,v,label"]
    rows += [f"s{i},{t},{t + i}.5,{'ab'[i % 2]}" for i in range(6) for t in range(10)]
    assert facts(read(write(tmp_path, rows))).id_column == "u"
    text = refused(write(tmp_path, [*rows, "s3,4,99.5,b"]), ConfigError)
    assert "times that stand twice (the header is row 1)" in text
    assert "4 of u s3 stands in rows 36, 62" in text
    assert "keep one row for each time of a series" in text
    assert "--id-column u" in text
    text = refused(write(tmp_path, [*rows, "s3,4,99.5,b", "s1,2,99.5,b"]), ConfigError)
    assert "2 of u s1 stands in rows 14, 63, and 1 other too" in text


def test_a_time_of_one_series_that_stands_twice_is_named(tmp_path: Path) -> None:
    rows = ["date,temp", *(f"2024-01-{day:02},{day}.5" for day in range(1, 31))]
    text = refused(write(tmp_path, [*rows, "2024-01-07,1.5"]), ConfigError)
    assert "2024-01-07 stands in rows 8, 32" in text
    assert "--horizon" in text


def test_more_than_one_column_to_learn_lists_them(tmp_path: Path) -> None:
    rows = ["id,t,x,mood,weather", "1,0,1,good,sun", "1,1,1,good,sun", "2,0,1,bad,rain"]
    text = refused(write(tmp_path, rows), ConfigError)
    assert "more than one column that could be learned" in text
    assert "mood (2 different values)" in text
    assert "--target mood" in text
    found = read(write(tmp_path, rows), target=("weather",))
    assert "Left out, column mood without a use." in found.notes


def test_a_table_without_numbers_to_read_is_refused(tmp_path: Path) -> None:
    rows = ["id,t,label", "1,0,a", "1,1,a", "2,0,b"]
    text = refused(write(tmp_path, rows), ConfigError, kind="series")
    assert "has no column of numbers to read besides" in text
    assert "--inputs" in text


@pytest.mark.parametrize("option", ["id_column", "time_column", "target", "inputs", "group"])
def test_a_column_that_is_not_there_is_named(tmp_path: Path, option: str) -> None:
    value = ("lable",) if option in ("target", "inputs") else "lable"
    text = refused(write(tmp_path, long()), ConfigError, **{option: value})
    assert f"has no column lable (for {option}). Did you mean label?" in text
    assert "Its columns: id, t, x, label." in text


def test_one_column_for_two_uses_is_refused_but_groups_may_be_ids(tmp_path: Path) -> None:
    path = write(tmp_path, long())
    text = refused(path, ConfigError, inputs=("x",), target=("x",))
    assert "column x is named for two uses at once" in text
    assert read(path, id_column="id", group="id").group_names == ("s0", "s1", "s2")


def test_a_row_a_series_is_found_by_its_numbered_columns(tmp_path: Path) -> None:
    found = read(write(tmp_path, wide()))
    assert (found.task, found.labels) == ("classify", ("down", "up"))
    assert found.targets.tolist() == [1, 0, 1]
    assert found.paths == ("t.csv#2", "t.csv#3", "t.csv#4")
    assert facts(found).values.shape == (12, 1)
    assert facts(found).starts.tolist() == [0, 4, 8, 12]
    assert facts(found).columns == ("h00", "h01", "h02", "h03")
    assert facts(found).form == "wide"
    assert values_of(found)[1] == [
        [1],
        [pytest.approx(1.1)],
        [pytest.approx(1.2)],
        [pytest.approx(1.3)],
    ]
    assert "3 series of 4 steps from t.csv, one in each row: columns h00 to h03." in found.notes


def test_numbered_columns_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    rows = ["x1,x10,x2,label", "1,10,2,a", "3,30,4,b"]
    found = read(write(tmp_path, rows))
    assert values_of(found) == [[[1], [2], [10]], [[3], [4], [30]]]
    assert "The columns x1 to x10 are read in the order of their numbers." in found.notes


def test_bare_numbers_name_the_steps(tmp_path: Path) -> None:
    found = read(write(tmp_path, ["label,0,1,2", "a,0.5,1,2", "b,3,4,5"]))
    assert values_of(found) == [[[0.5], [1], [2]], [[3], [4], [5]]]


def test_a_wide_table_without_names_asks_what_to_learn(tmp_path: Path) -> None:
    path = write(tmp_path, ["1,0.5,0.7,0.9", "2,0.25,0.5,0.1"])
    text = refused(path, ConfigError)
    assert "has no column to learn besides c1 to c4" in text
    found = read(path, target=("c1",))
    assert found.labels == ("1", "2")
    assert facts(found).columns == ("c2", "c3", "c4")
    assert found.paths == ("t.csv#1", "t.csv#2")


def test_columns_of_a_wide_table_can_be_named(tmp_path: Path) -> None:
    found = read(write(tmp_path, ["mo,tu,we,label", "1,2,3,a", "4,5,6,b"]), inputs=("we", "mo"))
    assert values_of(found) == [[[3], [1]], [[6], [4]]]


def test_a_wide_table_may_have_split_group_and_ids(tmp_path: Path) -> None:
    rows = [
        "id,split,who,x1,x2,x3,label",
        "7,train,p,1,2,3,a",
        "8,train,q,1,2,4,b",
        "9,test,p,2,2,3,a",
    ]
    found = read(write(tmp_path, rows), group="who")
    assert found.given.tolist() == [TRAIN, TRAIN, TEST]
    assert found.group_names == ("p", "q")
    assert "Left out, column id without a use." in found.notes


def test_missing_numbers_of_a_wide_table_name_rows_and_columns(tmp_path: Path) -> None:
    rows = wide()
    rows[2] = "1,,NA,4,down"
    text = refused(write(tmp_path, rows))
    assert "2 cells, in row 3, columns h01, h02" in text
    found = read(write(tmp_path, rows), missing="drop")
    assert np.isnan(facts(found).values[5:7, 0]).all()


def test_two_runs_of_numbered_columns_are_refused(tmp_path: Path) -> None:
    rows = ["x1,x2,x3,y1,y2,y3,label", "1,2,3,4,5,6,a", "1,2,3,4,5,6,b"]
    text = refused(write(tmp_path, rows), ConfigError)
    assert "more than one run of numbered columns, beginning with x, y" in text
    assert "--inputs" in text


def test_columns_that_are_no_steps_are_refused(tmp_path: Path) -> None:
    text = refused(write(tmp_path, ["a,b,label", "5,0,0", "5,1,1"]), ConfigError)
    assert "nothing says what its rows are" in text
    assert "Its columns: a, b, label." in text
    assert "--id-column" in text
    assert "--inputs" in text


def test_a_table_that_can_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    rows = ["subject,h0,h1,h2,label", "1,1,2,3,a", "1,1,2,4,a", "2,1,2,3,b", "2,1,2,5,b"]
    text = refused(write(tmp_path, rows), ConfigError)
    assert "can be read in two ways" in text
    assert "--id-column subject" in text
    assert len(read(write(tmp_path, rows), id_column="subject")) == 2
    assert len(read(write(tmp_path, rows), inputs=("h0", "h1", "h2"), group="subject")) == 4


def test_a_time_column_asks_for_the_column_of_series(tmp_path: Path) -> None:
    rows = ["when,x1,x2,x3,label", "1,1,2,3,a", "2,1,2,4,b"]
    text = refused(write(tmp_path, rows), ConfigError, time_column="when")
    assert "nothing says which series a row belongs to" in text


def test_series_are_read_again_without_their_labels(tmp_path: Path) -> None:
    path = write(tmp_path, ["t,x,id", "1,2,p", "0,1,p", "0,,q"])
    found = read_unlabelled(path, ("x",), form="long", id_column="id", time_column="t")
    assert [name for name, _, _ in found] == [f"{path}#p", f"{path}#q"]
    assert found[0][1].tolist() == [[1], [2]]
    assert np.isnan(found[1][1]).tolist() == [[True]]
    alone = read_unlabelled(path, ("x",), form="long", id_column="gone", time_column="gone")
    assert [name for name, _, _ in alone] == [str(path)]


def test_rows_are_read_again_without_their_labels(tmp_path: Path) -> None:
    path = write(tmp_path, ["h1,extra,h0", "2,9,1", "4,9,3"])
    found = read_unlabelled(path, ("h0", "h1"), form="wide")
    assert [name for name, _, _ in found] == [f"{path}#2", f"{path}#3"]
    assert [values.tolist() for _, values, _ in found] == [[[1], [2]], [[3], [4]]]
    with pytest.raises(SourceError, match="has no column h2"):
        read_unlabelled(path, ("h0", "h1", "h2"), form="wide")


@pytest.mark.parametrize(
    ("name", "count", "steps", "columns", "classes"),
    [
        ("GunPoint_long.csv", 200, 150, 1, 2),
        ("BasicMotions_long.csv", 80, 100, 6, 4),
        ("JapaneseVowels_long.parquet", 640, 29, 12, 9),
        ("PLAID_long.parquet", 1074, 1344, 1, 11),
        ("ItalyPowerDemand_wide.csv", 1096, 24, 1, 2),
        ("ArrowHead_wide.csv.gz", 211, 251, 1, 3),
    ],
)
def test_real_tables_are_read_without_a_setting(
    data_folder: Path, name: str, count: int, steps: int, columns: int, classes: int
) -> None:
    found = read(data_folder / "timeseries" / name)
    assert len(found) == count
    assert len(found.labels) == classes
    assert np.diff(facts(found).starts).max() == steps
    assert facts(found).values.shape[1] == columns
    assert np.isfinite(facts(found).values).all()
    assert set(found.given.tolist()) == {TRAIN, TEST}


def test_a_real_table_to_regress(data_folder: Path) -> None:
    found = read(data_folder / "timeseries" / "Covid3Month_long.csv")
    assert (found.task, len(found)) == ("regress", 201)


@pytest.mark.parametrize("policy", ["stop", "ffill"])
def test_series_of_a_long_table_that_cannot_be_read_are_left_out(
    tmp_path: Path, policy: str
) -> None:
    series = [(n, n + 1, n + 2) for n in range(20)]
    rows = long(series, ["ab"[n % 2] for n in range(20)])
    rows[2] = "s0,1,spam,a"  # the second step of the first series
    rows[9] = "s2,2,,a"
    path = write(tmp_path, rows)
    with pytest.raises(SourceError, match="holds no number in row 3"):
        read(path, missing=policy)
    found = read(path, missing=policy, on_bad_file="skip")
    gone = ("s0", "s2") if policy == "stop" else ("s0",)
    assert found.paths == tuple(f"t.csv#s{n}" for n in range(20) if f"s{n}" not in gone)
    assert facts(found).starts.tolist() == [3 * n for n in range(len(found) + 1)]
    assert facts(found).values[-3:, 0].tolist() == [19, 20, 21]
    assert [found.labels[k] for k in found.targets[:2]] == ["b", "b" if policy == "stop" else "a"]
    notes = "\n".join(found.notes)
    assert f"Left out, {len(gone)} series that cannot be read:" in notes
    assert "s0: column x holds no number in row 3 ('spam')" in notes
    assert ("s2: column x holds no number in row 10" in notes) == (policy == "stop")
    assert ("ffill says what becomes of them" in notes) == (policy == "ffill")
    counts = "a 8, b 10" if policy == "stop" else "a 9, b 10"
    assert counts in notes or ", ".join(reversed(counts.split(", "))) in notes


def test_series_of_a_wide_table_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    rows = wide(["up", "down"] * 10)
    rows[1] = rows[1].replace("0.1", "spam")
    rows[4] = rows[4].replace("3.2", "")
    path = write(tmp_path, rows)
    with pytest.raises(SourceError, match="holds no number in row 2"):
        read(path)
    found = read(path, on_bad_file="skip")
    assert found.paths == tuple(f"t.csv#{n}" for n in range(2, 22) if n not in (2, 5))
    assert facts(found).values[:4, 0].tolist() == pytest.approx([1.0, 1.1, 1.2, 1.3])
    notes = "\n".join(found.notes)
    assert "18 series of 4 steps" in notes and "down 9, up 9" in notes
    assert "t.csv#2: column h01 holds no number in row 2 ('spam')" in notes
    assert "t.csv#5: column h02 holds no number in row 5" in notes


def test_a_table_of_which_no_series_can_be_read_is_refused(tmp_path: Path) -> None:
    rows = ["id,t,x,label", *(f"s{n},{t},{'' if t else t},a" for n in range(3) for t in range(2))]
    with pytest.raises(SourceError, match="no series can be read:"):
        read(write(tmp_path, rows), on_bad_file="skip", id_column="id")
