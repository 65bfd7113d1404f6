"""Tables as typed columns: how they are written, and what stands in them."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, GridcellError, MissingExtraError, SourceError
from gridcell.sources import database
from gridcell.sources.dialect import looks_like_number
from gridcell.sources.frame import open_frame, read_head


def write(folder: Path, text: str | bytes, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def names_of(path: Path, **settings: object) -> tuple[str, ...]:
    with open_frame(path, DataConfig(**settings)) as found:  # type: ignore[arg-type]
        return found.names


def numbers_of(path: Path, *names: str, **settings: object) -> list[list[float]]:
    with open_frame(path, DataConfig(**settings)) as found:  # type: ignore[arg-type]
        return found.numbers(names or found.names).tolist()


def notes_of(path: Path, **settings: object) -> str:
    with open_frame(path, DataConfig(**settings)) as found:  # type: ignore[arg-type]
        return "\n".join(found.notes)


def refused(path: Path, *names: str, **settings: object) -> str:
    with pytest.raises((SourceError, ConfigError)) as caught:
        numbers_of(path, *names, **settings)
    assert caught.value.exit_code == 2
    return str(caught.value)


def holds_of(path: Path, name: str, **settings: object) -> str:
    with open_frame(path, DataConfig(**settings)) as found:  # type: ignore[arg-type]
        return found.columns[name].holds


def test_numbers_words_and_times_are_told_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "id,t,x,label,note\n1,2024-01-01,0.5,a,\n2,2024-01-02,-1e3,b,\n3,2024-01-03,.5,a,\n",
    )
    with open_frame(path) as found:
        assert {name: column.holds for name, column in found.columns.items()} == {
            "id": "numbers",
            "t": "moments",
            "x": "numbers",
            "label": "text",
            "note": "nothing",
        }
        assert found.numbers(["x", "id"]).tolist() == [[0.5, 1], [-1000, 2], [0.5, 3]]
        assert found.numbers(["x"]).dtype == np.float32
        words = found.texts(["label", "id"])
        assert words["label"].values == ("a", "b")
        assert words["label"].codes.tolist() == [0, 1, 0]
        assert words["id"].values == ("1", "2", "3")
        day = 86_400_000_000
        assert np.diff(found.times("t")).tolist() == [day, day]
        assert len(found) == 3


@pytest.mark.parametrize("word", ["", "NA", "n/a", "#N/A", "NaN", "NULL", "None", ".", "?", "-"])
def test_words_of_nothing_are_missing_numbers(tmp_path: Path, word: str) -> None:
    values = numbers_of(write(tmp_path, f"x,y\n1,2\n{word},3\n"))
    assert np.isnan(values[1][0])
    assert values[1][1] == 3
    assert values[0] == [1, 2]


def test_infinite_numbers_stay_so(tmp_path: Path) -> None:
    values = numbers_of(write(tmp_path, "x,y\ninf,1\n-Infinity,2\n3,3\n"))
    assert values == [[np.inf, 1], [-np.inf, 2], [3, 3]]


def test_a_leading_zero_is_kept_in_words(tmp_path: Path) -> None:
    with open_frame(write(tmp_path, "zip,x\n08123,1\n08124,2\n")) as found:
        assert found.texts(["zip"])["zip"].values == ("08123", "08124")
        assert found.numbers(["zip"]).tolist() == [[8123], [8124]]


def test_cells_that_are_no_numbers_name_their_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y\n1,1\n?0.2,2\n3,3\nup,4\n5,5\n6,6\n")
    assert holds_of(path, "x") == "mixed"
    text = refused(path, "x")
    assert "column x holds no number in rows 3 ('?0.2'), 5 ('up') (the header is row 1)" in text
    assert "--inputs" in text


def test_at_most_twenty_cells_are_listed(tmp_path: Path) -> None:
    rows = ["1"] * 30 + [f"word{n}" for n in range(25)]
    text = refused(write(tmp_path, "x\n" + "\n".join(rows) + "\n"), "x")
    assert "('word19')" in text
    assert "('word20')" not in text
    assert "and 5 more" in text


def test_a_word_far_down_a_column_of_numbers_is_found(tmp_path: Path) -> None:
    rows = [f"{n},{n}" for n in range(5000)]
    rows[4000] = "oops,4000"
    path = write(tmp_path, "x,y\n" + "\n".join(rows) + "\n")
    assert "column x holds no number in row 4002 ('oops')" in refused(path, "x")
    assert numbers_of(path, "y")[4000] == [4000]


def test_underscores_make_no_number(tmp_path: Path) -> None:
    assert "row 3 ('1_000')" in refused(write(tmp_path, "x,y\n1,1\n1_000,2\n3,3\n"), "x")


def test_numbers_beyond_float32_name_their_rows(tmp_path: Path) -> None:
    text = refused(write(tmp_path, "x,y\n1,1\n1e39,2\n"), "x")
    assert "column x holds numbers beyond 3.4e38 in row 3 ('1e39')" in text


def test_a_semicolon_table_with_decimal_comma_and_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfZeit;wert\n2024-01-01;1,5\n2024-01-02;2,5\n")
    assert names_of(path) == ("Zeit", "wert")
    assert numbers_of(path, "wert") == [[1.5], [2.5]]
    said = notes_of(path)
    assert "t.csv: columns separated by semicolon, UTF-8 with a byte-order mark." in said
    assert "Column wert is read with a decimal comma: 1,5 is 1.5." in said


def test_a_comma_that_may_part_thousands_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "id;x\n1;1,234\n2;5,678\n")
    text = refused(path, "x")
    assert "column x is ambiguous: 1,234 may be 1234 or 1.234" in text
    assert "--decimal comma or point" in text
    assert numbers_of(path, "x", decimal="comma")[0] == [pytest.approx(1.234)]
    assert numbers_of(path, "x", decimal="point") == [[1234], [5678]]
    assert "Commas in x are marks for thousands: 1,234 is 1234." in notes_of(path, decimal="point")


def test_another_column_can_settle_the_comma(tmp_path: Path) -> None:
    path = write(tmp_path, "x;y\n1,234;0,5\n5,678;1,25\n")
    assert numbers_of(path) == [[pytest.approx(1.234), 0.5], [pytest.approx(5.678), 1.25]]


def test_a_point_that_may_part_thousands_is_refused_beside_decimal_commas(tmp_path: Path) -> None:
    path = write(tmp_path, "x;y\n1.234;0,5\n5.678;1,25\n")
    assert "column x is ambiguous: 1.234 may be 1234 or 1.234" in refused(path, "x")
    assert numbers_of(path, "x", decimal="comma") == [[1234], [5678]]


def test_both_marks_in_one_cell_are_clear(tmp_path: Path) -> None:
    assert numbers_of(write(tmp_path, 'x;y\n"1.234,5";1\n"2,5";2\n'), "x") == [[1234.5], [2.5]]
    assert numbers_of(write(tmp_path, 'x,y\n"1,234.5",1\n2.5,2\n'), "x") == [[1234.5], [2.5]]
    assert numbers_of(write(tmp_path, 'x,y\n"1,7","200.000.000"\n'), "y") == [[2e8]]


def test_one_comma_among_points_is_a_wrong_cell(tmp_path: Path) -> None:
    text = refused(write(tmp_path, "x;y\n1.5;1\n1,5;2\n2.5;3\n"), "x")
    assert "column x holds no number in row 3 ('1,5')" in text


@pytest.mark.parametrize("cell", ["0.975", "-0.975", "1.5", "12.34", "1,234.5", "0.1234"])
def test_a_decimal_point_is_no_mark_for_thousands(tmp_path: Path, cell: str) -> None:
    rows = "".join(f'"{cell}","1,863"\n"2.125","0,5"\n' for _ in range(5))
    path = write(tmp_path, "v,amb\n" + rows)
    text = refused(path, "v", decimal="comma")
    assert "--decimal comma does not fit column v: a decimal point stands in rows 2" in text
    assert f"2 ({cell!r})" in text
    assert "pass --decimal point" in text
    assert numbers_of(path, "amb", decimal="comma")[0] == [pytest.approx(1.863)]


@pytest.mark.parametrize("cell", ["0,975", "-0,975", "1,5", "12,34", "1.234,5"])
def test_a_decimal_comma_is_no_mark_for_thousands(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path, f"v;x\n{cell};1.5\n2,125;2.5\n")
    text = refused(path, "v", decimal="point")
    assert "--decimal point does not fit column v: a decimal comma stands in row 2" in text
    assert numbers_of(path, "x", decimal="point") == [[1.5], [2.5]]


def test_words_beside_an_asked_mark_are_still_words(tmp_path: Path) -> None:
    path = write(tmp_path, "v;x\na;1,5\nb;2,5\nc;3,5\n0.5;1,5\n")
    assert holds_of(path, "v", decimal="comma") == "text"


def test_decimal_comma_that_is_asked_for_refuses_points(tmp_path: Path) -> None:
    path = write(tmp_path, "x;y\n20.7;1\n1,5;2\n2,5;3\n")
    assert "row 2 ('20.7')" in refused(path, "x", decimal="comma")


@pytest.mark.parametrize(
    ("text", "name", "mark"),
    [
        ("a,b\n1,2\n", "t.csv", ""),
        ("a;b\n1;2\n", "t.csv", "semicolon"),
        ("a|b\n1|2\n", "t.csv", "bar"),
        ("a\tb\n1\t2\n", "t.csv", "tab"),
        ("a\tb\n1\t2\n", "t.tsv", ""),
        ("a,b\n1,2\n", "t.tsv", "comma"),
        ("a   b\n 1 2  \n", "t.csv", "space"),
    ],
)
def test_the_separator_is_found_and_said(tmp_path: Path, text: str, name: str, mark: str) -> None:
    path = write(tmp_path, text, name)
    assert numbers_of(path, "a", "b") == [[1, 2]]
    assert notes_of(path) == (f"{name}: columns separated by {mark}, UTF-8." if mark else "")


def test_commas_in_numbers_do_not_separate(tmp_path: Path) -> None:
    assert numbers_of(write(tmp_path, "1,5;2,5;3,5\n4,5;5,5;6,5\n")) == [
        [1.5, 2.5, 3.5],
        [4.5, 5.5, 6.5],
    ]


def test_a_separator_that_is_not_there_is_refused(tmp_path: Path) -> None:
    text = refused(write(tmp_path, "a,b\n1,2\n"), delimiter="tab")
    assert "has no tab in the line of its column names, which comma separates" in text
    assert "--delimiter comma" in text


def test_a_separator_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    assert names_of(write(tmp_path, "a,x;b,y\n1;2\n"), delimiter="semicolon") == ("a,x", "b,y")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_marked_encodings_are_found(tmp_path: Path, encoding: str) -> None:
    assert names_of(write(tmp_path, "größe,b\n1,2\n", encoding=encoding)) == ("größe", "b")


def test_other_encodings_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "größe,b\n1,2\n", encoding="latin-1")
    text = refused(path)
    assert "is not UTF-8 text: byte b'\\xf6' in line 1" in text
    assert "--encoding cp1252" in text
    assert names_of(path, encoding="latin-1") == ("größe", "b")
    assert "ISO8859-1" in notes_of(path, encoding="latin-1")


def test_the_encoding_that_is_proposed_knows_the_euro(tmp_path: Path) -> None:
    path = write(tmp_path, "Umsatz (€);Käufer\n1;2\n", encoding="cp1252")
    assert "byte b'\\x80' in line 1" in refused(path)
    assert "--encoding cp1252" in refused(path)
    assert names_of(path, encoding="cp1252") == ("Umsatz (€)", "Käufer")
    with (
        pytest.raises(ConfigError) as caught,
        open_frame(path, DataConfig(encoding="latin-1")) as file,
    ):
        file.need("Umsatz (€)", "target")
    assert "Did you mean Umsatz (\\x80)?" in str(caught.value)


def test_a_wrong_byte_far_down_names_its_line(tmp_path: Path) -> None:
    lines = [b"x,word"] + [b"%d,a" % n for n in range(300_000)]
    lines[250_000] = b"1,\xe9"
    text = refused(write(tmp_path, b"\n".join(lines)))
    assert "byte b'\\xe9' in line 250,001" in text


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    assert "encoding 'latin-99' is not known" in refused(
        write(tmp_path, "a\n1\n"), encoding="latin-99"
    )


def test_a_zero_byte_names_its_line(tmp_path: Path) -> None:
    assert "holds a zero byte in line 2" in refused(write(tmp_path, b"a,b\n\0,2\n"))


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_all_line_ends_are_read(tmp_path: Path, ends: str) -> None:
    assert numbers_of(write(tmp_path, ends.join(["a,b", "1,2", "3,4", ""]))) == [[1, 2], [3, 4]]


def test_two_kinds_of_line_ends_are_read(tmp_path: Path) -> None:
    assert numbers_of(write(tmp_path, "a,b\n1,2\r\n3,4\n")) == [[1, 2], [3, 4]]


def test_line_ends_in_quotes_are_part_of_a_cell(tmp_path: Path) -> None:
    with open_frame(write(tmp_path, 'a,b\r"Once\rupon",2\rx,4\r')) as found:
        assert found.texts(["a"])["a"].values == ("Once\rupon", "x")


def test_rows_longer_than_the_header_name_their_lines(tmp_path: Path) -> None:
    text = refused(write(tmp_path, "a,b,c\n1,2,3\n1,27,,too long\n4,5,6\n"))
    assert "1 line cannot be read as a row of 3 cells" in text
    assert "line 3: 4 or more cells: 1,27,,too long" in text
    assert "a cell that holds a comma must stand in quotes" in text


def test_rows_shorter_than_the_header_are_missing_at_the_end_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b,c\n1,2\n4,5,6\n"7",8,9\n3\n')
    values = numbers_of(path)
    assert np.isnan(values[0][2])
    assert np.isnan(values[3][1:]).all()
    assert values[1:3] == [[4, 5, 6], [7, 8, 9]]
    assert (
        "2 rows of t.csv are shorter than the first, and the cells at the end are missing: "
        "lines 2, 5." in notes_of(path)
    )


def test_a_table_whose_rows_are_mostly_short_is_refused(tmp_path: Path) -> None:
    assert "3 lines cannot be read as a row of 3 cells" in refused(
        write(tmp_path, "a,b,c\n1,2,3\n1,2\n1,2\n1,2\n")
    )


def test_blank_lines_are_left_out_and_said(tmp_path: Path) -> None:
    path = write(tmp_path, "\n\na,b\n1,2\n\n3,4\n\n")
    assert numbers_of(path) == [[1, 2], [3, 4]]
    assert "t.csv holds blank lines, which are left out and not counted as rows." in notes_of(path)
    with open_frame(path) as found:
        assert found.first_row == 4
        assert found.counting == "the header is row 3"


def test_a_blank_line_is_a_missing_number_of_one_column_but_not_at_the_end(tmp_path: Path) -> None:
    values = numbers_of(write(tmp_path, "x\n1\n\n3\n\n\n"))
    assert len(values) == 3
    assert np.isnan(values[1][0])


def test_numbers_alone_are_no_names(tmp_path: Path) -> None:
    path = write(tmp_path, "0.5,1\n0.7,2\n")
    assert names_of(path) == ("c1", "c2")
    assert numbers_of(path)[0] == [0.5, 1]
    assert "t.csv has no row of column names: its columns are called c1 to c2." in notes_of(path)
    with open_frame(path) as found:
        assert found.rows([0, 1]) == "rows 1, 2"
        assert found.counting == "the first row is row 1"


def test_counting_numbers_above_other_numbers_are_names(tmp_path: Path) -> None:
    assert names_of(write(tmp_path, "0,1,2\n0.5,0.6,0.7\n")) == ("0", "1", "2")
    assert names_of(write(tmp_path, "label,0,1\na,0.6,0.7\n")) == ("label", "0", "1")


@pytest.mark.parametrize(
    "text", ["1,2,3\n", "1,2,3\n4,5,6\n", "0,1\n0.5,0.6\n", "0.5,walk\n1,run\n"]
)
def test_a_first_row_that_may_be_names_or_data_is_asked_for(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    said = refused(path)
    assert "the first row may be names or data" in said
    assert "--header" in said
    assert "--no-header" in said
    assert names_of(path, header=False)[0] == "c1"


def test_a_first_row_of_words_can_be_data(tmp_path: Path) -> None:
    with open_frame(write(tmp_path, "a,b\nc,d\n"), DataConfig(header=False)) as found:
        assert found.texts(["c1"])["c1"].values == ("a", "c")


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    assert "more than one column named b" in refused(write(tmp_path, "a,b,b\n1,2,3\n"))


def test_a_column_without_a_name_is_left_out_and_said(tmp_path: Path) -> None:
    path = write(tmp_path, ",a\n0,5\n1,6\n")
    assert numbers_of(path) == [[5], [6]]
    assert "Left out, a column without a name (row numbers?)." in notes_of(path)
    assert "has no column with a name" in refused(write(tmp_path, ",\nx,5\n"))


@pytest.mark.parametrize("text", ["", "\n", "a,b\n"])
def test_an_empty_table_is_refused(tmp_path: Path, text: str) -> None:
    assert "is empty" in refused(write(tmp_path, text))


def test_invisible_characters_of_a_name_are_shown(tmp_path: Path) -> None:
    path = write(tmp_path, "\u200bwert,b\n1,2\n")
    with open_frame(path) as found, pytest.raises(ConfigError) as caught:
        found.need("b,b", "inputs")
    assert caught.value.fix == "repeat the option: --inputs b --inputs b."
    with open_frame(path) as found, pytest.raises(ConfigError) as caught:
        found.need("wert", "inputs")
    text = str(caught.value)
    assert "has no column wert (for inputs). Did you mean" in text
    assert r"Its columns: \u200bwert, b." in text


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["2024-01-02", "2024-01-01"], [1, 0]),
        (["2024-01-01T10:00:00Z", "2024-01-01T10:30:00+02:00"], [1, 0]),
        (["2024-01-01 10:00", "2024-01-01 09:59:59.5"], [1, 0]),
        (["1949-02", "1949-01"], [1, 0]),
        (["02.01.2024", "01.02.2024"], [0, 1]),
        (["31.12.99 23:00", "01.01.00 01:00"], [0, 1]),
        (["13/01/2024", "02/02/2024"], [0, 1]),
        (["01/13/2024", "02/02/2024", "02/01/2024"], [0, 2, 1]),
        (["10", "9"], [1, 0]),
        (["1e3", "9.5"], [1, 0]),
    ],
)
def test_times_are_sorted_as_what_they_mean(
    tmp_path: Path, cells: list[str], order: list[int]
) -> None:
    path = write(tmp_path, "x,t\n" + "".join(f"1,{cell}\n" for cell in cells))
    with open_frame(path) as found:
        assert np.argsort(found.times("t"), kind="stable").tolist() == order


def test_how_days_are_read_is_said(tmp_path: Path) -> None:
    assert "Column t is read as day, month, year." in notes_of(
        write(tmp_path, "x,t\n1,01.02.2024\n")
    )
    assert "Column t is read as month, day, year." in notes_of(
        write(tmp_path, "x,t\n1,01/13/2024\n")
    )


def times_refused(path: Path) -> str:
    with open_frame(path) as found, pytest.raises(SourceError) as caught:
        found.times("t")
    return str(caught.value)


def test_days_of_two_readings_are_refused(tmp_path: Path) -> None:
    text = times_refused(write(tmp_path, "x,t\n1,01/02/2024\n2,03/04/2024\n"))
    assert "01/02/2024 may be written with the day or the month first" in text
    assert "2024-12-31 23:59:59" in text


def test_words_are_no_times(tmp_path: Path) -> None:
    text = times_refused(write(tmp_path, "x,t\n1,morning\n2,noon\n"))
    assert "rows cannot be sorted by column t" in text
    assert "'morning'" in text


@pytest.mark.parametrize("cells", [["1", "", "3"], ["2024-01-01", "soon", "2024-01-03"]])
def test_rows_without_a_time_are_named(tmp_path: Path, cells: list[str]) -> None:
    rows = [f"1,{cell}" for cell in ["2024-01-01" if "-" in cells[0] else "1"] * 3 + cells]
    text = times_refused(write(tmp_path, "x,t\n" + "\n".join(rows) + "\n"))
    assert f"column t holds no time in row 6 ({cells[1]!r})" in text


def test_a_gzipped_table_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"a,b\n1,2\n"), "t.csv.gz")
    assert numbers_of(path) == [[1, 2]]
    assert "cannot be unpacked" in refused(write(tmp_path, b"a,b\n1,2\n", "u.csv.gz"))
    cut = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)[:-20]
    assert "cannot be unpacked" in refused(write(tmp_path, cut, "v.csv.gz"))


def parquet(path: Path, query: str) -> Path:
    import duckdb

    duckdb.sql(query).write_parquet(str(path))
    return path


def test_parquet_is_read_as_it_is_typed(tmp_path: Path) -> None:
    query = (
        "SELECT 7 AS id, 0.5::DOUBLE AS x, NULL::FLOAT AS y, DATE '2024-01-02' AS t, "
        "'08' AS label, [1] AS nested"
    )
    path = parquet(tmp_path / "t.parquet", query)
    with open_frame(path) as found:
        assert found.names == ("id", "x", "y", "t", "label")
        assert found.columns["t"].holds == "moments"
        assert found.columns["y"].holds == "nothing"
        assert found.numbers(["x", "id"]).tolist() == [[0.5, 7]]
        assert found.texts(["id", "label"])["label"].values == ("08",)
        assert found.texts(["id"])["id"].values == ("7",)
        assert found.first_row == 1
    assert "Left out, nested or binary columns: nested." in notes_of(path)
    assert "encoding has no effect on t.parquet" in refused(path, encoding="latin-1")
    assert "cannot be read as Parquet" in refused(write(tmp_path, b"PAR1", "u.parquet"))


def test_a_quote_in_a_path_and_wildcards_mean_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "it's [a] folder*"
    folder.mkdir()
    assert numbers_of(write(folder, "a,b\n1,2\n", "o'k?.csv")) == [[1, 2]]
    path = parquet(tmp_path / "ok.parquet", "SELECT 1 AS a").rename(folder / "p'q.parquet")
    assert numbers_of(path) == [[1]]


def test_one_connection_serves_many_tables(tmp_path: Path) -> None:
    connection = database.connect()
    bad = write(tmp_path, "a,b\n1,2,3\n", "bad.csv")
    with pytest.raises(SourceError), open_frame(bad, connection=connection):
        pass
    good = write(tmp_path, "a,b\n1,2\n", "good.csv")
    with open_frame(good, connection=connection) as found:
        assert found.numbers(["a"]).tolist() == [[1]]
    connection.close()


def test_the_head_is_read_without_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n" + "1,x\n" * 400_000 + "1,2,3\n")
    head = read_head(path)
    assert head.names == ("a", "b")
    assert len(head.rows) == 200
    assert head.column("b")[:2] == ["x", "x"]


@pytest.mark.parametrize("cell", ["1", "-1.5", "1,5", "1.234,5", "1e-3", ".5", "inf", "NaN"])
def test_what_looks_like_a_number(cell: str) -> None:
    assert looks_like_number(cell)


@pytest.mark.parametrize("cell", ["", "a", "1a", "01.02.2024", "2024-01-01", "1 2", "-"])
def test_what_does_not_look_like_a_number(cell: str) -> None:
    assert not looks_like_number(cell)


def test_without_duckdb_the_message_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtraError, match="Tables are read with DuckDB"):
        names_of(write(tmp_path, "a\n1\n"))


def test_every_real_odd_table_is_read_or_refused_in_words(data_folder: Path) -> None:
    for path in sorted((data_folder / "odd" / "tables").glob("*.csv")):
        try:
            with open_frame(path) as found:
                found.texts(found.names)
        except GridcellError as error:
            assert path.name in error.message, path
            assert error.fix, path


def test_decimal_commas_that_begin_far_down_are_found(tmp_path: Path) -> None:
    rows = [f"{n};{n}" for n in range(1000)]
    rows[900] = "1,5;900"
    path = write(tmp_path, "x;y\n" + "\n".join(rows) + "\n")
    assert numbers_of(path, "x")[900] == [1.5]
    assert "Column x is read with a decimal comma: 1,5 is 1.5." in notes_of(path)


def test_a_point_far_down_a_column_of_decimal_commas_is_a_wrong_cell(tmp_path: Path) -> None:
    rows = [f"{n},5;{n}" for n in range(1000)]
    rows[900] = "900.5;900"
    path = write(tmp_path, "x;y\n" + "\n".join(rows) + "\n")
    assert "column x holds no number in row 902 ('900.5')" in refused(path, "x")


def test_a_table_of_a_thousand_columns_is_read(tmp_path: Path) -> None:
    names = ",".join(f"t{n}" for n in range(1000))
    rows = [",".join(str(row + n / 8) for n in range(1000)) for row in range(3)]
    path = write(tmp_path, "\n".join([names, *rows, ""]))
    with open_frame(path) as found:
        values = found.numbers(found.names)
    assert values.shape == (3, 1000)
    assert values[2, 8] == 3


def test_the_library_prints_nothing_of_its_own() -> None:
    connection = database.connect()
    (answer,) = connection.execute("SELECT current_setting('enable_progress_bar')").fetchall()
    connection.close()
    assert answer == (False,)


def test_months_without_zeros_are_dates_where_that_was_asked_for(tmp_path: Path) -> None:
    """2024.1 could be a number, so that the first rows are looked at by the format."""
    path = write(tmp_path, "month,x\n" + "".join(f"2024.{n},{n}.5\n" for n in range(1, 13)))
    with open_frame(path, DataConfig(date_format="%Y.%-m")) as found:
        months = found.times("month").astype("M8[us]").astype("M8[M]")
    assert months.tolist() == np.arange("2024-01", "2025-01", dtype="M8[M]").tolist()
