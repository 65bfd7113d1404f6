"""A table as text: column names and the cells below them, as they stand in the file.

DuckDB reads the rows. What it would settle in silence is looked at first, in the bytes: encoding,
separator, column names that occur twice (which it renames), and whether the first row is names.
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from gridcell.errors import SourceError
from gridcell.sources.characters import decode_bytes, mixes_line_ends, one_line_end
from gridcell.sources.database import connect
from gridcell.sources.wording import counted, itemised, listed, shown

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}
FOUND_SEPARATORS = ",;\t|"
"""Those that are found by themselves: a space stands in too many names."""
MAY_BE_UNQUOTED = "\t| "
"""Separators of tables whose quotes may be part of the text; with commas they never are."""
ENCODING_NAMES = {"utf-8-sig": "UTF-8 with a byte-order mark"}
# "none" is not among them: it is a usual name for the class of things without a fault.
MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "nan", "null"})
NESTED = ("STRUCT", "MAP", "UNION", "BLOB")
ROWS_LISTED = 20
HEADER_LONGEST = 2**20
HEADER_PROBED = 10_000
"""Rows below the first that are looked at to see whether it is one of them."""
TEXT_WORDS = 3
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
Row = tuple[str | None, ...]


@dataclass(frozen=True)
class Cells:
    """The columns of a table, each as stripped text, "" where nothing stands."""

    path: Path
    columns: dict[str, list[str]]
    first_row: int
    """Number of the first row as a spreadsheet counts: 2 below a header, 1 without."""
    notes: tuple[str, ...]
    is_padded: bool = False
    """Whether rows that are shorter than the first were filled up with empty cells."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def rows(self, indices: Sequence[int], *, most: int = ROWS_LISTED) -> str:
        """Name rows as a spreadsheet counts them.

        >>> Cells(Path("a.csv"), {}, 2, ()).rows([0, 1, 5])
        'rows 2, 3, 7'
        """
        word = "row" if len(indices) == 1 else "rows"
        return f"{word} {listed((str(self.first_row + i) for i in indices), most=most)}"

    @property
    def counting(self) -> str:
        """How rows are numbered, for the end of a message."""
        return "the header is row 1" if self.first_row == 2 else "the first row is row 1"


def read_cells(
    path: Path,
    *,
    encoding: str = "auto",
    delimiter: str = "auto",
    header: bool | None = None,
    most: int | None = None,
) -> Cells:
    """Read a .csv, .tsv or .parquet file (or other separated text); all cells become text.

    encoding    a name that Python knows; UTF-8, or what the first bytes tell, where auto
    delimiter   comma, semicolon, tab, bar or space; what cuts the first row most where auto
    header      whether the first row is names; None finds out. Columns without names are called
                column_1, column_2 ...
    most        rows from the top that are enough, where only its kind is asked for

    Raises   SourceError for an empty table, columns of one name, bytes that are no text, and rows
             that do not fit the header, by line
    """
    if not path.stat().st_size:
        raise SourceError(f"{path} is empty (0 bytes).", fix="name a table with rows.")
    if path.suffix.lower() == ".parquet":
        cells = _parquet(path)
    else:
        cells = _text(path, encoding=encoding, delimiter=delimiter, header=header, most=most)
    if not len(cells):
        raise SourceError(
            f"{path} is empty: it has no row besides the column names {listed(cells.names)}.",
            fix="name a table with rows, or pass --no-header if that row is one.",
        )
    return _without_nameless(cells)


def is_missing(cell: str) -> bool:
    """Say whether a cell holds nothing, or a word for nothing."""
    return cell.lower() in MISSING_WORDS


def missing_in(cells: Sequence[str], *, may_be_empty: bool = False) -> list[int]:
    """Return the places of cells that hold nothing, or a word for it.

    may_be_empty   whether an empty one says something
    """
    return [
        place for place, cell in enumerate(cells) if is_missing(cell) and (cell or not may_be_empty)
    ]


def _text(
    path: Path, *, encoding: str, delimiter: str, header: bool | None, most: int | None
) -> Cells:
    """Read a table of separated text."""
    text, taken = decode_bytes(path.read_bytes(), where=str(path), encoding=encoding)
    blank_lines, first, separator = _first_row(path, text, delimiter)
    if header is None:
        _check_names_no_file(path, first)
    notes = []
    if taken != "utf-8" or (separator != "," and path.suffix.lower() == ".csv"):
        name = ENCODING_NAMES.get(taken, taken.upper())
        notes.append(f"{path.name}: columns separated by {SEPARATORS[separator]}, {name}.")

    rows = None
    if separator in MAY_BE_UNQUOTED and '"' in text:
        rows = _unquoted(path, text, taken, separator, blank_lines=blank_lines, count=len(first))
        if rows is not None:
            notes.append(f"{path.name}: quotes do not pair up, so they are read as they stand.")
    if rows is None:
        rows = _quoted(
            path, text, taken, separator, blank_lines=blank_lines, count=len(first), most=most
        )
    reason = None
    if header is None:
        reason = _why_no_names(rows)
        if reason is not None:
            notes.append(
                f"{path.name}: the first row is read as data, not as names: {reason} "
                "(pass --header if it is names)."
            )
    if header is False or reason is not None:
        names, first_row = [f"column_{number + 1}" for number in range(len(rows[0]))], 1
    else:
        names, first_row = [_stripped(cell) for cell in rows[0]], 2
        _check_names(path, names)
        rows = rows[1:]
    columns = {name: [_stripped(row[i]) for row in rows] for i, name in enumerate(names)}
    return Cells(path, columns, first_row, tuple(notes))


def _first_row(path: Path, text: str, delimiter: str) -> tuple[int, list[str], str]:
    """Return the blank lines above the first row, its cells, and the separator."""
    lines = io.StringIO(text, newline=None)
    blank_lines, first = 0, ""
    for first in lines:
        if first.strip():
            break
        blank_lines += 1
    else:
        raise SourceError(
            f"{path} is empty: it has no column names.", fix="name a table with rows."
        )
    begin = text.index(first.rstrip("\n"))
    top = text[begin : begin + HEADER_LONGEST]

    def cells(separator: str) -> list[str]:
        return next(csv.reader(io.StringIO(top, newline=""), delimiter=separator))

    try:
        if delimiter != "auto":
            separator = next(mark for mark, name in SEPARATORS.items() if name == delimiter)
        elif path.suffix.lower() == ".tsv" and "\t" in first:
            separator = "\t"
        else:
            separator = max(FOUND_SEPARATORS, key=lambda mark: len(cells(mark)))
        return blank_lines, [name.strip() for name in cells(separator)], separator
    except csv.Error as error:
        raise SourceError(
            f"{path}: the line of column names cannot be read ({error}).",
            fix="save the table again as UTF-8 text.",
            stage="writing",
        ) from error


def _unquoted(
    path: Path, text: str, encoding: str, separator: str, *, blank_lines: int, count: int
) -> list[Row] | None:
    """Return the rows cut at every separator, where only so each line fits; else None."""
    lines = [line.rstrip("\n") for line in io.StringIO(text, newline=None) if line.strip()]
    rows: list[Row] = [tuple(line.split(separator)) for line in lines]
    if len(rows[0]) < 2 or any(len(row) != len(rows[0]) for row in rows):
        return None
    try:
        quoted = _quoted(path, text, encoding, separator, blank_lines=blank_lines, count=count)
    except SourceError:
        return rows
    # A quote that is never closed swallows the lines up to the next one.
    return rows if len(quoted) != len(rows) else None


def _quoted(
    path: Path,
    text: str,
    encoding: str,
    separator: str,
    *,
    blank_lines: int,
    count: int,
    most: int | None = None,
) -> list[Row]:
    """Return the rows as quotes group them, read by DuckDB."""
    options = {
        "auto_detect": "false",
        "all_varchar": "true",
        "sample_size": "-1",
        "strict_mode": "true",
        "store_rejects": "true",
        "header": "false",
        "skip": str(blank_lines),
        "quote": "'\"'",
        "escape": "'\"'",
        "columns": "{" + ", ".join(f"'c{i}': 'VARCHAR'" for i in range(count)) + "}",
    }
    call = (
        f"read_csv(?, delim=?, {', '.join(f'{name}={value}' for name, value in options.items())})"
    )
    if most is not None:
        call += f" LIMIT {most + 1}"
    is_probe = most is not None
    is_mixed = mixes_line_ends(*(text.count(end) for end in ("\n", "\r\n", "\r")))
    if encoding in ("utf-8", "utf-8-sig") and not is_mixed:
        return _rows(path, path, call, separator, count, is_probe=is_probe)
    # DuckDB 2.0 drops rows of big-endian UTF-16 without a word, so it is given UTF-8; and it
    # refuses two kinds of line ends.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "table.csv"
        raw = text.encode()
        copy.write_bytes(one_line_end(raw) if is_mixed else raw)
        return _rows(path, copy, call, separator, count, is_probe=is_probe)


def _why_no_names(rows: Sequence[Row]) -> str | None:
    """Say why the first row is one of the data, where it must be; None where it may be names.

    Names stand once. So a word that the column below holds again and again is none; nor are
    numbers in no order of their own, alone or beside a text of several words.
    """
    first = [_stripped(cell) for cell in rows[0]]
    columns = list(zip(*rows[1 : HEADER_PROBED + 1], strict=True))
    if not columns:
        return None
    is_number = [bool(NUMBER.fullmatch(cell)) for cell in first]
    if any(
        not own and cell and all(NUMBER.fullmatch(_stripped(other)) for other in column)
        for own, cell, column in zip(is_number, first, columns, strict=True)
    ):
        return None  # a word above numbers is their name
    for own, cell, column in zip(is_number, first, columns, strict=True):
        again = 0 if own or not cell else sum(_stripped(other) == cell for other in column)
        if again >= 2 and 2 * len(set(column)) <= len(column):
            return f"{shown(cell)} stands in {again:,} rows below it"
    numbers = [float(cell) for own, cell in zip(is_number, first, strict=True) if own]
    others = [cell for own, cell in zip(is_number, first, strict=True) if not own]
    if numbers and others and all(len(cell.split()) >= TEXT_WORDS for cell in others):
        return "it holds a number and a text"
    is_whole = all(value == int(value) for value in numbers if abs(value) < 1e15)
    rises = all(one < other for one, other in pairwise(numbers))
    is_repeated = len(set(numbers)) < len(numbers)
    if numbers and not others and not rises and (is_repeated or not is_whole):
        return "it holds numbers alone"
    return None


def _check_names(path: Path, header: list[str]) -> None:
    again = [name for name, count in Counter(header).items() if count > 1 and name]
    if again:
        raise SourceError(
            f"{path} has more than one column named {listed(again)}.",
            fix="give each column its own name.",
        )


def _check_names_no_file(path: Path, header: list[str]) -> None:
    files = [name for name in header if name and _is_file(path.parent, name)]
    if files:
        raise SourceError(
            f"{path} has no column names: its first line names a file, {shown(files[0])}.",
            fix="pass --no-header, which calls the columns column_1, column_2 and so on, or write "
            "names above them.",
        )


def _is_file(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):  # longer than a file name may be
        return False


def _rows(
    path: Path, file: Path, call: str, separator: str, columns: int, *, is_probe: bool
) -> list[Row]:
    """Read the rows with DuckDB, and refuse the table if any line does not fit.

    is_probe   whether only what stands in the first rows is asked: those that fit tell
    """
    connection = connect()
    import duckdb

    try:
        rows = connection.execute(f"SELECT * FROM {call}", [_literal(file), separator]).fetchall()
        bad = connection.execute(
            "SELECT line, error_type, error_message, csv_line FROM reject_errors ORDER BY line"
        ).fetchall()
    except duckdb.Error as error:
        raise SourceError(
            f"{path} cannot be read as a table: {str(error).splitlines()[0].removesuffix('.')}.",
            fix="save it again from a spreadsheet or editor, as CSV UTF-8.",
            stage="writing",
        ) from error
    finally:
        connection.close()
    if bad and not (is_probe and len(rows) > 1):
        lines = [f"line {line:,}: {_why(kind, said)}: {_cut(row)}" for line, kind, said, row in bad]
        raise SourceError(
            f"{path}: {counted(len(bad), 'line')} cannot be read as a row of "
            f"{counted(columns, 'cell')}:{itemised(lines, most=ROWS_LISTED)}",
            fix=f"mend them; a cell that holds a {SEPARATORS[separator]} must stand in quotes.",
            stage="writing",
        )
    return rows


def _why(kind: str, said: str) -> str:
    found = re.search(r"Found: (\d+)", said)
    if not found:
        return kind.lower()
    # DuckDB counts up to the first cell too many; that there are more is all it knows.
    if found[1] == "1" and "MANY" not in kind:
        return "1 cell"
    return f"{found[1]}{' or more' if 'MANY' in kind else ''} cells"


def _cut(text: str | None) -> str:
    line = shown((text or "").strip())
    return line if len(line) <= 80 else line[:77] + "..."


def _literal(file: Path) -> str:
    """Return the path with DuckDB's wildcards set in brackets, so that they mean themselves."""
    return re.sub(r"([*?\[])", r"[\1]", str(file.absolute()))


def _stripped(cell: str | None) -> str:
    return (cell or "").strip()


def _parquet(path: Path) -> Cells:
    connection = connect()
    import duckdb

    try:
        result = connection.execute("SELECT * FROM read_parquet(?) LIMIT 0", [_literal(path)])
        kinds = [(str(name), str(kind)) for name, kind, *_ in result.description or []]
        plain = [name for name, kind in kinds if not (kind.startswith(NESTED) or "[" in kind)]
        names = [name.replace('"', '""') for name in plain]
        quoted = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in names)
        rows = (
            connection.execute(f"SELECT {quoted} FROM read_parquet(?)", [_literal(path)]).fetchall()
            if plain
            else []
        )
    except duckdb.Error as error:
        raise SourceError(
            f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}.",
            fix="write the file again, or name a .csv table.",
        ) from error
    finally:
        connection.close()
    nested = [name for name, _ in kinds if name not in plain]
    if nested and not plain:
        raise SourceError(
            f"{path} holds only nested or binary columns ({listed(nested)}).",
            fix="write the images as files and name them in a column of paths.",
        )
    notes = [f"Left out, nested or binary columns: {listed(nested)}."] if nested else []
    columns = {name: [_stripped(row[i]) for row in rows] for i, name in enumerate(plain)}
    return Cells(path, columns, 1, tuple(notes))


def _without_nameless(cells: Cells) -> Cells:
    """Leave out a column without a name, such as the row numbers that pandas writes."""
    if "" not in cells.columns:
        return cells
    named = {name: column for name, column in cells.columns.items() if name}
    if not named:
        raise SourceError(
            f"{cells.path} has no column with a name.", fix="write a first line such as: path,label"
        )
    note = "Left out, a column without a name (row numbers?)."
    return Cells(cells.path, named, cells.first_row, (*cells.notes, note))
