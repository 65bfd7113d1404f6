"""A table as typed columns: numbers come as arrays, words as codes.

DuckDB parses the cells and types them, so that no Python object is made for a cell of numbers. How
the table is written is the affair of `dialect`, what stands in a column of `column_types`; what a
column is for is no question here.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError, did_you_mean
from gridcell.sources.cells import NESTED, Cells
from gridcell.sources.column_types import (
    MONTHS,
    Column,
    Mark,
    asked_moments,
    describe_numbers,
    describe_texts,
    found_marks,
    likely_format,
    mark_notes,
    moment,
    number,
    plain_number,
    quoted,
    unplanned,
    with_marks,
)
from gridcell.sources.database import connect
from gridcell.sources.dialect import HEAD_ROWS, SEPARATOR_WORDS, Head, plain_copy, text_head
from gridcell.sources.wording import counted, fix_unknown_column, itemised, listed, shown

if TYPE_CHECKING:
    import duckdb

ROWS_LISTED = 20
TABLES = ("main_rows", "late", "words", "reject_errors", "reject_scans")
"""Tables of DuckDB that a frame makes."""


@dataclass(frozen=True)
class Coded:
    """A column of words: each different one once, and for each row which it is."""

    codes: NDArray[np.int64]
    """[rows] an index into `values`."""
    values: tuple[str, ...]
    """The different cells, stripped, as they first appear; "" for an empty one."""


class Frame:
    """A table that is open: its columns are handed out as arrays, as they are asked for."""

    def __init__(
        self,
        path: Path,
        connection: duckdb.DuckDBPyConnection,
        columns: Mapping[str, Column],
        *,
        source: str,
        places: Mapping[str, str],
        rows: int,
        first_row: int,
        head: Head,
        notes: tuple[str, ...],
        is_padded: bool = False,
    ) -> None:
        self.path = path
        self.head = head
        """The first rows, as they were looked at to find out how the table is written."""
        self.columns = dict(columns)
        self.first_row = first_row
        """Number of the first row as a spreadsheet counts: 2 below a header."""
        self.notes = notes
        self.is_padded = is_padded
        """Whether rows that are shorter than the first were filled up with empty cells."""
        self._connection = connection
        self._source, self._places, self._rows = source, dict(places), rows
        self._texts: dict[str, Coded] = {}

    def __len__(self) -> int:
        return self._rows

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    @property
    def counting(self) -> str:
        """How rows are numbered, for the end of a message."""
        if self.first_row == 1:
            return "the first row is row 1"
        return f"the header is row {self.first_row - 1}"

    def rows(self, indices: Sequence[int] | NDArray[np.int64], *, most: int = ROWS_LISTED) -> str:
        """Name rows as a spreadsheet counts them: `rows 2, 3, 7`."""
        word = "row" if len(indices) == 1 else "rows"
        some = [str(self.first_row + int(row)) for row in indices[: most + 1]]
        more = f" and {len(indices) - most:,} more" if len(indices) > most else ""
        return f"{word} {', '.join(some[:most])}{more}"

    def need(self, name: str, option: str) -> str:
        """Return the name, or say that there is no such column and which there are."""
        if name not in self.columns:
            raise ConfigError(
                f"{self.path} has no column {shown(name)} (for {option})."
                f"{did_you_mean(name, self.names)} Its columns: {listed(self.names)}.",
                fix=fix_unknown_column(name, option, self.names),
                stage="columns",
            )
        return name

    def numbers(
        self, names: Sequence[str], *, strange: dict[int, str] | None = None
    ) -> NDArray[np.float32]:
        """Return columns of numbers, float32 [rows, C]; NaN where a cell is missing.

        An infinite number stays one.

        strange   takes what is wrong with a row, by its place, in which a cell holds something
                  else, or a number beyond float32; that cell is then NaN

        Raises   SourceError for such cells, by row, unless `strange` takes them; or where the
                 decimal mark cannot be told
        """
        values = np.empty((len(self), len(names)), np.float32)
        for table in {self.columns[name].table for name in names}:
            here = [name for name in names if self.columns[name].table == table]
            for name in here:
                self._check_numbers(name, strange)
            picked = ", ".join(
                f"TRY_CAST({self._number(name)} AS FLOAT) AS x{i}" for i, name in enumerate(here)
            )
            found = self._fetch(f"SELECT {picked} FROM {table}")
            for i, name in enumerate(here):
                column = found.pop(f"x{i}")
                if isinstance(column, np.ma.MaskedArray):
                    lost = np.flatnonzero(np.ma.getmaskarray(column))
                    if strange is None:
                        self._refuse_huge(name, lost)
                    else:
                        self._note(name, lost, "a number beyond 3.4e38", strange)
                        column = column.filled(np.nan)
                values[:, names.index(name)] = column
        return values

    def doubles(self, name: str) -> NDArray[np.float64]:
        """Return a column of numbers in full, float64 [rows]; NaN where a cell is missing.

        Raises   SourceError as `numbers` does
        """
        self._check_numbers(name)
        query = f"SELECT {self._number(name)} AS x FROM {self.columns[name].table}"
        return np.asarray(self._fetch(query)["x"], np.float64)

    def times(self, name: str) -> NDArray[np.float64] | NDArray[np.int64]:
        """Return what the rows can be sorted by: numbers, or microseconds since 1970 (UTC).

        Raises   SourceError where cells are missing or are no points of time, by row
        """
        column = self.columns[name]
        if column.holds in ("numbers", "mixed"):
            values = self.doubles(name)
            missing = np.flatnonzero(~np.isfinite(values))
        elif column.holds == "moments":
            when = moment(column.place, column.moments)
            found = self._fetch(f"SELECT epoch_us({when}) AS x FROM {column.table}")["x"]
            missing = np.flatnonzero(np.ma.getmaskarray(found))
            values = np.ma.getdata(found).astype(np.int64)
        else:
            why = column.doubt or (
                f"it holds no numbers or points of time, for instance {self._some_cell(name)!r}"
            )
            raise SourceError(
                f"{self.path}: rows cannot be sorted by column {shown(name)}: {why}.",
                fix="say how they are written, for instance --date-format "
                f"'{self.likely_format(name)}', write them as 2024-12-31 23:59:59, or name "
                "another --time-column.",
                stage="writing",
            )
        if len(missing):
            raise SourceError(
                f"{self.path}: column {shown(name)} holds no time in "
                f"{self.cells_at(name, missing)} ({self.counting}).",
                fix="fill them in, write them all in one way, or remove those rows.",
                stage="columns",
            )
        return np.asarray(values)

    def date_format(self, name: str | None) -> str | None:
        """Return how the dates of a column are written, where others may be written otherwise.

        None where it holds none, or dates as 2024-12-31 that tell it themselves.
        """
        formats = () if name is None else self.columns[name].moments
        if not formats or name is None or formats == MONTHS:
            return None
        has_century = re.search(r"\d{4}", self._some_cell(name)) is not None
        wanted = "%Y" if has_century else "%y"
        return next((each for each in formats if wanted in each), formats[0])

    def likely_format(self, name: str) -> str:
        """Return a format of dates that fits the first cell of a column, for a hint."""
        return likely_format(self._some_cell(name))

    def texts(self, names: Sequence[str]) -> dict[str, Coded]:
        """Return columns as words, each as it stands in the file."""
        wanted = [name for name in names if name not in self._texts]
        stored = [name for name in wanted if self.columns[name].is_stored]
        if stored:  # numbers were parsed: 08 is 8 by now
            picked = ", ".join(
                f"CAST({self._places[n]} AS VARCHAR) AS {self._places[n]}" for n in stored
            )
            self._connection.execute(
                f"CREATE OR REPLACE TEMP TABLE words AS SELECT {picked} FROM {self._source}"
            )
        for name in wanted:
            table = "words" if name in stored else self.columns[name].table
            self._texts[name] = self._coded(table, self._places[name])
        if stored:
            self._connection.execute("DROP TABLE words")
        return {name: self._texts[name] for name in names}

    def cells(self, names: Sequence[str], rows: NDArray[np.int64] | None = None) -> Cells:
        """Return columns, or these rows of them, as the cells that answers are read from."""
        texts = self.texts(names)
        columns = {
            name: [
                found.values[code] for code in (found.codes if rows is None else found.codes[rows])
            ]
            for name, found in texts.items()
        }
        return Cells(self.path, columns, self.first_row, (), self.is_padded)

    def cells_at(self, name: str, rows: NDArray[np.int64]) -> str:
        """Name the cells of a column at some rows, with what they hold."""
        some = rows[:ROWS_LISTED].tolist()
        found = self.cells([name], rows[:ROWS_LISTED]).columns[name]
        each = [
            f"{self.first_row + row} ({_cut(cell)!r})"
            for row, cell in zip(some, found, strict=True)
        ]
        word = "row" if len(rows) == 1 else "rows"
        more = f" and {len(rows) - len(some):,} more" if len(rows) > len(some) else ""
        return f"{word} {', '.join(each)}{more}"

    def _fetch(self, query: str) -> dict[str, Any]:
        return self._connection.execute(query).fetchnumpy()

    def _number(self, name: str) -> str:
        column = self.columns[name]
        return column.place if column.is_stored else number(column.place, column.mark)

    def _rows_where(self, name: str, condition: str) -> NDArray[np.int64]:
        """Return the rows whose cell of a column meets a condition in SQL."""
        query = f"SELECT rowid AS r FROM {self.columns[name].table} WHERE {condition} ORDER BY r"
        return np.asarray(self._fetch(query)["r"], np.int64)

    def _check_numbers(self, name: str, noted: dict[int, str] | None = None) -> None:
        """Refuse a column that holds something besides numbers, or numbers of an unsure mark.

        noted   takes the rows of the former, and what is wrong with them, and they are not refused
        """
        column = self.columns[name]
        if column.mark == "?":
            cell = column.example
            raise SourceError(
                f"{self.path}: column {shown(name)} is ambiguous: {shown(cell)} may be "
                f"{cell.replace(',', '').replace('.', '')} or "
                f"{cell.replace(',', '.')}.",
                fix="say which mark stands before the decimals: --decimal comma or point.",
                stage="writing",
            )
        if column.is_stored:
            return
        if column.is_at_odds:
            self._refuse_other_mark(name)
        strange = self._rows_where(name, f"{self._number(name)} IS NULL")
        if noted is not None:
            self._note(name, strange, "no number", noted)
        elif len(strange):
            raise SourceError(
                f"{self.path}: column {shown(name)} holds no number in "
                f"{self.cells_at(name, strange)} ({self.counting}).",
                fix="mend those cells, or leave the column out: name those to read with --inputs.",
                stage="columns",
            )

    def _refuse_other_mark(self, name: str) -> None:
        """Refuse a column whose numbers have another decimal mark than was asked for."""
        column = self.columns[name]
        asked, other, mark = (
            ("comma", "point", ".") if column.mark == "," else ("point", "comma", ",")
        )
        is_other = f"{number(column.place, mark)} IS NOT NULL"
        rows = self._rows_where(name, f"{self._number(name)} IS NULL AND {is_other}")
        raise SourceError(
            f"{self.path}: --decimal {asked} does not fit column {shown(name)}: a decimal {other} "
            f"stands in {self.cells_at(name, rows)} ({self.counting}).",
            fix=f"pass --decimal {other}, or leave it out, if the whole table has it; else write "
            "every column with one mark, or leave the column out: name those to read with "
            "--inputs.",
            stage="writing",
        )

    def _note(self, name: str, rows: NDArray[np.int64], what: str, noted: dict[int, str]) -> None:
        """Note what a column holds in these rows; the first fault of a row counts."""
        cells = self.cells([name], rows).columns[name] if len(rows) else []
        for row, cell in zip(rows.tolist(), cells, strict=True):
            where = f"row {self.first_row + row} ({_cut(cell)!r})"
            noted.setdefault(row, f"column {shown(name)} holds {what} in {where}")

    def _refuse_huge(self, name: str, rows: NDArray[np.int64]) -> None:
        if len(rows):
            raise SourceError(
                f"{self.path}: column {shown(name)} holds numbers beyond 3.4e38 in "
                f"{self.cells_at(name, rows)} ({self.counting}).",
                fix="write the numbers in a larger unit, or leave them out.",
            )

    def _some_cell(self, name: str) -> str:
        found = self.texts([name])[name].values
        return next((_cut(cell) for cell in found if cell), "")

    def _coded(self, table: str, place: str) -> Coded:
        self._connection.execute(
            f"CREATE TEMP TABLE keys AS SELECT {place} AS v, min(rowid) AS r FROM {table} "
            f"WHERE {place} IS NOT NULL GROUP BY v ORDER BY r"
        )
        self._connection.execute("CREATE TYPE word AS ENUM (SELECT v FROM keys ORDER BY r)")
        keys = self._connection.execute("SELECT v FROM keys ORDER BY r").fetchall()
        codes = self._fetch(f"SELECT enum_code(CAST({place} AS word)) AS x FROM {table}")["x"]
        self._connection.execute("DROP TYPE word; DROP TABLE keys")
        is_empty = np.ma.getmaskarray(codes)
        numbers = np.ma.getdata(codes).astype(np.int64)
        numbers[is_empty] = len(keys)
        # Values that differ in white space alone are one; an empty cell is "".
        raw = [value.strip() for (value,) in keys] + ([""] if is_empty.any() else [])
        values = tuple(dict.fromkeys(raw))
        if len(values) < len(keys) or is_empty.any():
            place_of = {value: number for number, value in enumerate(values)}
            numbers = np.array([place_of[value] for value in raw], np.int64)[numbers]
        return Coded(numbers, values)


@contextmanager
def open_frame(
    path: Path,
    data: DataConfig | None = None,
    *,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> Iterator[Frame]:
    """Open a .csv, .tsv (either may be gzipped) or .parquet file; its columns can then be read.

    Raises   SourceError for an empty table, bytes that are no text, rows longer than the header,
             columns of one name; ConfigError for an unknown encoding, a separator that is not
             there, or a first row that may or may not be names

    `connection`, from `connect`, is shared by many small tables, one after another.

    Cost     2 million rows of 8 numbers: about 3 s on two cores and, at most, 400 MB
    """
    settings = data or DataConfig()
    head = read_head(path, settings)
    taken = connection or connect()
    try:
        with ExitStack() as stack:

            def place() -> Path:
                return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gridcell")))

            yield _frame(path, head, settings, taken, place)
    finally:
        if connection is None:
            taken.close()
        else:
            taken.execute("; ".join(f"DROP TABLE IF EXISTS {name}" for name in TABLES))


def read_all_cells(path: Path, data: DataConfig) -> Cells:
    """Return a whole table as cells of text: for one of few rows, which answers or paths are in."""
    with open_frame(path, data) as frame:
        return replace(frame.cells(frame.names), notes=frame.notes)


def read_head(path: Path, data: DataConfig | None = None) -> Head:
    """Return the first rows of a table, and how it is written, without reading the rest."""
    settings = data or DataConfig()
    if not path.stat().st_size:
        raise SourceError(f"{path} is empty (0 bytes).", fix="name a table with rows.")
    if path.name.lower().endswith(".parquet"):
        _refuse_dialect(path, settings)
        return _parquet_head(path)
    return text_head(path, settings)


def _refuse_dialect(path: Path, data: DataConfig) -> None:
    for name, value in (
        ("decimal", data.decimal != "auto"),
        ("delimiter", data.delimiter != "auto"),
        ("encoding", data.encoding != "auto"),
        ("header", data.header is not None),
    ):
        if value:
            raise ConfigError(
                f"{name} has no effect on {path.name}: Parquet says itself how it is written.",
                fix=f"leave --{name} out.",
            )


def _frame(
    path: Path,
    head: Head,
    data: DataConfig,
    connection: duckdb.DuckDBPyConnection,
    place: Callable[[], Path],
) -> Frame:
    """Load the table into DuckDB: columns of plain numbers as numbers, the others as text."""
    places = {name: f"c{i}" for i, name in enumerate(head.names) if name}
    notes = list(head.notes)
    if path.name.lower().endswith(".parquet"):
        source, numeric = _parquet_source(path, connection, places)
        stored: dict[str, tuple[Mark, str]] = dict.fromkeys(numeric, (".", ""))
        parsed = {n: f"coalesce(CAST({places[n]} AS DOUBLE), 'NaN'::DOUBLE)" for n in numeric}
    else:
        file, said = plain_copy(path, head, place)
        notes += said
        source = _csv_call(file, head)
        stored = found_marks(head, list(places), data)
        parsed = {
            name: plain_number(places[name]) if mark == "." else number(places[name], mark)
            for name, (mark, _) in stored.items()
        }
    words = [name for name in places if name not in stored]
    picked = [f"{parsed.get(name, column)} AS {column}" for name, column in places.items()]
    rows, short = _load(path, connection, head, source, ", ".join(picked))
    if short is not None:
        source, said_short = short
        notes.append(said_short)
    if not rows:
        raise SourceError(
            f"{path} is empty: it has no row besides the column names {listed(places)}.",
            fix="name a table with rows.",
        )

    columns: dict[str, Column] = {}
    lost = describe_numbers(connection, stored, places, rows, columns)
    if lost:  # plain numbers in the first rows, something else further down
        again = ", ".join(f"{places[name]} AS {places[name]}" for name in lost)
        connection.execute(f"CREATE TEMP TABLE late AS SELECT {again} FROM {source}")
        describe_texts(connection, "late", lost, places, head, data, columns)
    describe_texts(connection, "main_rows", words, places, head, data, columns)
    columns = with_marks({name: columns[name] for name in places}, head, data)
    _check_date_format(path, columns, data)
    notes += mark_notes(columns)
    if "" in head.names:
        notes.append("Left out, a column without a name (row numbers?).")
    return Frame(
        path,
        connection,
        columns,
        source=source,
        places=places,
        rows=rows,
        first_row=head.skipped + (2 if head.has_header else 1),
        head=head,
        notes=tuple(notes),
        is_padded=short is not None,
    )


def _check_date_format(path: Path, columns: Mapping[str, Column], data: DataConfig) -> None:
    """Refuse a format of dates that no column is written in."""
    if data.date_format is None:
        return
    formats = asked_moments(data.date_format)
    if not any(column.moments == formats for column in columns.values()):
        doubts = [f"column {shown(c.name)}: {c.doubt}" for c in columns.values() if c.doubt]
        raise ConfigError(
            f"{path}: most cells of no column are dates written as {data.date_format}"
            + (f" ({listed(doubts, most=3)})." if doubts else "."),
            fix="mend --date-format, or leave it out where dates are written as 2024-12-31.",
            stage="writing",
        )


def _csv_call(file: Path, head: Head, *, is_padded: bool = False) -> str:
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(head.names)))
    options = {
        "auto_detect": "false",
        "all_varchar": "true",
        "strict_mode": "true",
        "store_rejects": "true",
        "delim": quoted(head.separator),
        "header": str(head.has_header).lower(),
        "skip": str(head.skipped),
        "quote": "'\"'",
        "escape": "'\"'",
        "columns": "{" + columns + "}",
    }
    if is_padded:  # with quoted line ends, DuckDB can pad in one thread only
        options |= {"null_padding": "true", "parallel": "false"}
    # Wildcards are set in brackets, so that they mean themselves.
    name = re.sub(r"([*?\[])", r"[\1]", str(file.absolute()))
    return f"read_csv({quoted(name)}, {', '.join(f'{k}={v}' for k, v in options.items())})"


def _load(
    path: Path, connection: duckdb.DuckDBPyConnection, head: Head, source: str, picked: str
) -> tuple[int, tuple[str, str] | None]:
    """Fill the table `main_rows`; return its rows and, where rows are short, source and a note."""
    import duckdb

    short = None
    try:
        with unplanned(connection):
            connection.execute(f"CREATE TEMP TABLE main_rows AS SELECT {picked} FROM {source}")
        if source.startswith("read_csv"):
            short = _rejected(path, connection, head)
        if short is not None:
            padded = source.replace(
                "store_rejects=true", "store_rejects=true, null_padding=true, parallel=false"
            )
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE main_rows AS SELECT {picked} FROM {padded}"
            )
            source = padded
        if len(head.names) == 1 and source.startswith("read_csv"):
            # A blank line is a missing cell of a table of one column, but not at the end.
            filled = "c0 IS NOT NULL AND NOT coalesce(isnan(TRY_CAST(c0 AS DOUBLE)), false)"
            last = f"SELECT coalesce(max(rowid), -1) FROM main_rows WHERE {filled}"
            connection.execute(f"DELETE FROM main_rows WHERE rowid > ({last})")
    except duckdb.Error as error:
        raise SourceError(
            f"{path} cannot be read as a table: {str(error).splitlines()[0]}.",
            fix="save it again from a spreadsheet or editor, as CSV UTF-8.",
            stage="writing",
        ) from error
    rows = connection.execute("SELECT count(*) FROM main_rows").fetchall()[0][0]
    return int(rows), None if short is None else (source, short)


def _rejected(path: Path, connection: duckdb.DuckDBPyConnection, head: Head) -> str | None:
    """Refuse rows that are too long or broken; return a note on those that are too short."""
    counts: dict[bool, int] = dict(
        connection.execute(
            "SELECT error_type = 'MISSING COLUMNS', count(DISTINCT line) FROM reject_errors "
            "GROUP BY 1"
        ).fetchall()
    )
    if not counts:
        return None
    is_short = False not in counts
    bad = connection.execute(
        "SELECT line, any_value(error_type), any_value(error_message), any_value(csv_line) "
        "FROM reject_errors WHERE (error_type = 'MISSING COLUMNS') = ? GROUP BY line "
        f"ORDER BY line LIMIT {ROWS_LISTED}",
        [is_short],
    ).fetchall()
    count = counts[is_short]
    kept = connection.execute("SELECT count(*) FROM main_rows").fetchall()[0][0]
    if is_short and count <= kept:
        numbers = ", ".join(f"{line:,}" for line, *_ in bad)
        more = f" and {count - len(bad):,} more" if count > len(bad) else ""
        return (
            f"{counted(count, 'row')} of {path.name} {'is' if count == 1 else 'are'} shorter than "
            f"the first, and the cells at the end are missing: {'line' if count == 1 else 'lines'} "
            f"{numbers}{more}."
        )
    lines = [
        f"line {line:,}: {_why(kind, said)}: {_cut(row or '')}" for line, kind, said, row in bad
    ]
    lines += [""] * (count - len(lines))
    mark = SEPARATOR_WORDS[head.separator]
    raise SourceError(
        f"{path}: {counted(count, 'line')} cannot be read as a row of "
        f"{counted(len(head.names), 'cell')}:{itemised(lines, most=ROWS_LISTED)}",
        fix=f"mend them; a cell that holds a {mark} must stand in quotes.",
        stage="writing",
    )


def _why(kind: str, said: str) -> str:
    found = re.search(r"Found: (\d+)", said)
    # DuckDB counts up to the first cell too many; that there are more is all it knows.
    return f"{found[1]}{' or more' if 'MANY' in kind else ''} cells" if found else kind.lower()


def _cut(text: str) -> str:
    line = shown(text.strip())
    return line if len(line) <= 80 else line[:77] + "..."


def _parquet_kinds(path: Path, connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    import duckdb

    name = re.sub(r"([*?\[])", r"[\1]", str(path.absolute()))
    try:
        result = connection.execute(f"SELECT * FROM read_parquet({quoted(name)}) LIMIT 0")
    except duckdb.Error as error:
        raise SourceError(
            f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}.",
            fix="write the file again, or name a .csv table.",
        ) from error
    return [(str(column), str(kind)) for column, kind, *_ in result.description or []]


def _parquet_call(path: Path, kinds: Sequence[tuple[str, str]], names: Sequence[str]) -> str:
    """SQL: the columns that can be read, renamed to their places; texts for all but numbers."""
    name = re.sub(r"([*?\[])", r"[\1]", str(path.absolute()))
    of = dict(kinds)
    picked = [
        '"' + column.replace('"', '""') + f'" AS c{i}'
        if _is_number_kind(of[column])
        else 'CAST("' + column.replace('"', '""') + f'" AS VARCHAR) AS c{i}'
        for i, column in enumerate(names)
        if column
    ]
    return f"(SELECT {', '.join(picked)} FROM read_parquet({quoted(name)}))"


def _is_number_kind(kind: str) -> bool:
    return kind.startswith(
        (
            *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT"),
            *("UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL"),
        )
    )


def _parquet_head(path: Path) -> Head:
    connection = connect()
    try:
        kinds = _parquet_kinds(path, connection)
        plain = [name for name, kind in kinds if not (kind.startswith(NESTED) or "[" in kind)]
        nested = [name for name, _ in kinds if name not in plain]
        if not plain:
            raise SourceError(
                f"{path} holds only nested or binary columns ({listed(nested)}).",
                fix="write its numbers as columns of numbers.",
            )
        call = _parquet_call(path, kinds, plain)
        texts = ", ".join(f"CAST(c{i} AS VARCHAR)" for i, name in enumerate(plain) if name)
        rows = connection.execute(f"SELECT {texts} FROM {call} LIMIT {HEAD_ROWS}").fetchall()
    finally:
        connection.close()
    notes = (f"Left out, nested or binary columns: {listed(nested)}.",) if nested else ()
    cells = tuple(tuple((cell or "").strip() for cell in row) for row in rows)
    return Head(tuple(name for name in plain if name), cells, has_header=False, notes=notes)


def _parquet_source(
    path: Path, connection: duckdb.DuckDBPyConnection, places: Mapping[str, str]
) -> tuple[str, list[str]]:
    kinds = _parquet_kinds(path, connection)
    numeric = [name for name, kind in kinds if name in places and _is_number_kind(kind)]
    return _parquet_call(path, kinds, list(places)), numeric
