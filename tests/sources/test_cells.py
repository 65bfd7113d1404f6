"""Tables as text: encodings, separators, quotes that do not pair up, and rows without names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gridcell.errors import ConfigError, SourceError
from gridcell.sources.cells import Cells, read_cells


def table(folder: Path, text: str, *, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def cells(folder: Path, text: str, name: str = "t.csv", **options: Any) -> Cells:
    return read_cells(table(folder, text, name=name), **options)


def test_names_stand_in_the_first_row(tmp_path: Path) -> None:
    found = cells(tmp_path, "text,label\nab c,x\nde f,y\n")
    assert found.columns == {"text": ["ab c", "de f"], "label": ["x", "y"]}
    assert found.first_row == 2 and found.notes == ()


def test_an_encoding_that_was_named_is_read_and_said(tmp_path: Path) -> None:
    path = table(tmp_path, "text,label\ncafé,x\nthé,y\n", encoding="latin-1")
    found = read_cells(path, encoding="latin-1")
    assert found.columns["text"] == ["café", "thé"]
    assert found.notes == ("t.csv: columns separated by comma, LATIN-1.",)


def test_a_byte_that_is_no_text_names_its_line_and_the_setting(tmp_path: Path) -> None:
    path = table(tmp_path, "text,label\na,x\ncafé,y\n", encoding="latin-1")
    with pytest.raises(SourceError, match=r"t.csv is not UTF-8 text: byte b'\\xe9' in line 3") as e:
        read_cells(path)
    assert "save it as UTF-8" in str(e.value) and "--encoding cp1252" in str(e.value)
    with pytest.raises(SourceError, match="is not ASCII text: byte"):
        read_cells(path, encoding="ascii")


@pytest.mark.parametrize("name", ["latin-99", "hex", "a\0b"])
def test_an_encoding_that_nobody_knows_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not one that Python knows") as caught:
        cells(tmp_path, "a,b\n1,2\n", encoding=name)
    assert "latin-1 or cp1252" in str(caught.value)


def test_a_separator_that_was_named_is_taken(tmp_path: Path) -> None:
    text = "a|b,c\n1|2,3\n"
    assert cells(tmp_path, text, delimiter="bar").columns == {"a": ["1"], "b,c": ["2,3"]}
    assert cells(tmp_path, text, delimiter="comma").columns == {"a|b": ["1|2"], "c": ["3"]}
    assert cells(tmp_path, "a b\nx y\n", delimiter="space").columns == {"a": ["x"], "b": ["y"]}


def test_a_tsv_is_cut_at_tabs_however_many_commas_there_are(tmp_path: Path) -> None:
    found = cells(tmp_path, "a\tb, c, d\n1\tx, y, z\n", name="t.tsv")
    assert found.columns == {"a": ["1"], "b, c, d": ["x, y, z"]}


SPAM = (
    'ham\tgo there, now\nspam\t"win a prize\nham\tsee you\nham\the said "no" twice\nham\tok "bye\n'
)


def test_quotes_that_do_not_pair_up_are_part_of_the_text_and_said(tmp_path: Path) -> None:
    found = cells(tmp_path, "label\ttext\n" + SPAM, name="t.tsv")
    assert len(found) == 5 and found.columns["text"][1] == '"win a prize'
    assert "t.tsv: quotes do not pair up, so they are read as they stand." in found.notes


def test_a_quote_that_swallows_lines_is_found_where_another_ends_it(tmp_path: Path) -> None:
    text = 'label\ttext\na\t"one\nb\ttwo\na\tthree"\nb\tfour\n'
    assert cells(tmp_path, text, name="t.tsv").columns["text"] == ['"one', "two", 'three"', "four"]


def test_quotes_that_pair_up_group_cells_as_ever(tmp_path: Path) -> None:
    text = 'a\tb\n"x\ty"\tz\n"two\nlines"\tw\n'
    found = cells(tmp_path, text, name="t.tsv")
    assert found.columns["a"] == ["x\ty", "two\nlines"] and found.notes == ()
    assert cells(tmp_path, 'a\tb\n"x"\t"y"\n', name="t.tsv").columns == {"a": ["x"], "b": ["y"]}


def test_a_word_that_the_column_repeats_is_no_name(tmp_path: Path) -> None:
    found = cells(tmp_path, SPAM, name="t.tsv")
    assert found.names == ("column_1", "column_2") and found.first_row == 1
    assert found.columns["column_1"] == ["ham", "spam", "ham", "ham", "ham"]
    assert found.counting == "the first row is row 1"
    said = "the first row is read as data, not as names: ham stands in 3 rows below it"
    assert any(said in note and "pass --header" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0,a film for all\n1,not so good\n0,why not so\n", "it holds a number and a text"),
        ("1,0.5,-0.25\n2,0.1,0.3\n", "it holds numbers alone"),
        ("5,7,5\n1,2,3\n", "it holds numbers alone"),
    ],
)
def test_numbers_in_no_order_are_no_names(tmp_path: Path, text: str, reason: str) -> None:
    found = cells(tmp_path, text)
    assert found.first_row == 1 and len(found) == text.count("\n")
    assert reason in " ".join(found.notes)


@pytest.mark.parametrize(
    "text",
    [
        "2019,2020,2021\n1,2,3\n",
        "0,1,2\n0,5,1\n0,5,0\n0,0,1\n",
        "0.5,1.0,1.5\n3,4,5\n",
        "label,0,1\na,0,0\nb,0,0\na,0,0\n",
        "red,size\nred,1\nred,2\nblue,3\nblue,4\n",
        "How old are you?,label\nvery,a\n",
    ],
)
def test_names_that_look_a_little_like_data_stay_names(tmp_path: Path, text: str) -> None:
    assert cells(tmp_path, text).first_row == 2


def test_the_setting_decides_against_the_looks(tmp_path: Path) -> None:
    assert cells(tmp_path, SPAM, name="t.tsv", header=True).names[0] == "ham"
    found = cells(tmp_path, "1,2,3\n", header=False)
    assert found.columns == {"column_1": ["1"], "column_2": ["2"], "column_3": ["3"]}
    assert found.notes == ()


def test_a_table_of_one_row_says_how_to_keep_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no row besides the column names 1, 2, 3") as caught:
        cells(tmp_path, "1,2,3\n")
    assert "pass --no-header if that row is one" in str(caught.value)


def test_the_first_rows_are_enough_where_no_more_are_asked_for(tmp_path: Path) -> None:
    found = cells(tmp_path, "a,b\n1,2\n3,4\n5,6\n", most=2)
    assert found.columns == {"a": ["1", "3"], "b": ["2", "4"]}


def test_lines_above_the_names_may_be_blank_in_any_encoding(tmp_path: Path) -> None:
    path = table(tmp_path, "\n\na,b\né,2\n", encoding="latin-1")
    assert read_cells(path, encoding="latin-1").columns == {"a": ["é"], "b": ["2"]}


def test_a_real_table_of_messages_is_read_whole(data_folder: Path) -> None:
    found = read_cells(data_folder / "text" / "sms_spam.tsv")
    assert len(found) == 5574 and found.columns["column_1"].count("spam") == 747


def test_a_real_table_in_latin_1_is_read_with_its_encoding(data_folder: Path) -> None:
    path = data_folder / "odd" / "tables" / "test_latin1.csv"
    with pytest.raises(SourceError, match="in line 3"):
        read_cells(path)
    assert read_cells(path, encoding="latin-1").columns["c"] == ["3", "©"]
