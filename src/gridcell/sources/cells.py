"""A table as text: column names and the cells below them, as they stand in the file.

DuckDB reads the rows. What it would settle in silence is looked at first, in the bytes: encoding,
separator, and column names that occur twice (which it renames).
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gridcell.errors import MissingExtraError, SourceError
from gridcell.sources.wording import counted, itemised, listed, shown

if TYPE_CHECKING:
    import duckdb

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
ENCODINGS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# "none" is not among them: it is a usual name for the class of things without a fault.
MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "nan", "null"})
NESTED = ("STRUCT", "MAP", "UNION", "BLOB")
ROWS_LISTED = 20
HEADER_LONGEST = 2**20


@dataclass(frozen=True)
class Cells:
    """The columns of a table, each as stripped text, "" where nothing stands."""

    path: Path
    columns: dict[str, list[str]]
    first_row: int
    """Number of the first row as a spreadsheet counts: 2 below a header, 1 without."""
    notes: tuple[str, ...]

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


def read_cells(path: Path) -> Cells:
    """Read a .csv, .tsv or .parquet file; all cells become text.

    Raises   SourceError for an empty table, columns of one name, bytes that are no text, and rows
             that do not fit the header, by line
    """
    if not path.stat().st_size:
        raise SourceError(f"{path} is empty (0 bytes).", fix="name a table with rows.")
    cells = _parquet(path) if path.suffix.lower() == ".parquet" else _text(path)
    if not len(cells):
        raise SourceError(
            f"{path} is empty: it has no row besides the column names {listed(cells.names)}.",
            fix="name a table with rows.",
        )
    return _without_nameless(cells)


def is_missing(cell: str) -> bool:
    """Say whether a cell holds nothing, or a word for nothing."""
    return cell.lower() in MISSING_WORDS


def _connection() -> duckdb.DuckDBPyConnection:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError(
            "Tables are read with DuckDB, which is not installed.", fix="pip install duckdb"
        ) from error
    # Nothing is fetched from the network because a table asks for it.
    return duckdb.connect(
        ":memory:",
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False},
    )


def _text(path: Path) -> Cells:
    """Read a table of separated text."""
    data = path.read_bytes()
    encoding = next((name for mark, name in ENCODINGS.items() if data.startswith(mark)), "utf-8")
    text = _decoded(path, data, encoding)
    blank_lines, header, separator = _header(path, text)
    _check_header(path, header)

    notes = []
    if encoding != "utf-8" or (separator != "," and path.suffix.lower() == ".csv"):
        mark = {"utf-8-sig": " with a byte-order mark"}.get(encoding, "")
        name = "UTF-16" if encoding == "utf-16" else "UTF-8"
        notes.append(f"{path.name}: columns separated by {SEPARATORS[separator]}, {name}{mark}.")

    options = {
        "auto_detect": "false",
        "all_varchar": "true",
        "sample_size": "-1",
        "strict_mode": "true",
        "store_rejects": "true",
        "header": "true",
        "skip": str(blank_lines),
        "quote": "'\"'",
        "escape": "'\"'",
        "columns": "{" + ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(header))) + "}",
    }
    call = (
        f"read_csv(?, delim=?, {', '.join(f'{name}={value}' for name, value in options.items())})"
    )
    if encoding == "utf-16":
        # DuckDB 2.0 drops rows of big-endian UTF-16 without a word, so it is given UTF-8.
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "table.csv"
            copy.write_bytes(text.encode())
            rows = _rows(path, copy, call, separator, len(header), text)
    else:
        rows = _rows(path, path, call, separator, len(header), text)
    columns = {name: [_stripped(row[i]) for row in rows] for i, name in enumerate(header)}
    return Cells(path, columns, 2, tuple(notes))


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"{path} is not {encoding.upper().removesuffix('-SIG')} text: "
            f"byte {data[error.start : error.start + 1]!r} in line {line:,}.",
            fix="save it as UTF-8 (a spreadsheet calls this CSV UTF-8).",
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SourceError(
            f"{path} holds a zero byte in line {line:,}, so it is damaged or no text.",
            fix="save the table again as UTF-8 text.",
        )
    return text


def _header(path: Path, text: str) -> tuple[int, list[str], str]:
    """Return the blank lines above the header, the column names and the separator."""
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

    order = "\t,;|" if path.suffix.lower() == ".tsv" else ",;\t|"
    try:
        separator = max(order, key=lambda mark: len(cells(mark)))
        return blank_lines, [name.strip() for name in cells(separator)], separator
    except csv.Error as error:
        raise SourceError(
            f"{path}: the line of column names cannot be read ({error}).",
            fix="save the table again as UTF-8 text.",
        ) from error


def _check_header(path: Path, header: list[str]) -> None:
    again = [name for name, count in Counter(header).items() if count > 1 and name]
    if again:
        raise SourceError(
            f"{path} has more than one column named {listed(again)}.",
            fix="give each column its own name.",
        )
    files = [name for name in header if name and _is_file(path.parent, name)]
    if files:
        raise SourceError(
            f"{path} has no column names: its first line names a file, {shown(files[0])}.",
            fix="write a first line such as: path,label",
        )


def _is_file(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):  # longer than a file name may be
        return False


def _rows(
    path: Path, file: Path, call: str, separator: str, columns: int, text: str
) -> list[tuple[str | None, ...]]:
    """Read the rows with DuckDB, and refuse the table if any line does not fit."""
    connection = _connection()
    import duckdb

    try:
        rows = connection.execute(f"SELECT * FROM {call}", [_literal(file), separator]).fetchall()
        bad = connection.execute(
            "SELECT line, error_type, error_message, csv_line FROM reject_errors ORDER BY line"
        ).fetchall()
    except duckdb.Error as error:
        is_mixed = "\r\n" in text and re.search(r"(?<!\r)\n", text)
        why = "it mixes two kinds of line ends" if is_mixed else str(error).splitlines()[0]
        raise SourceError(
            f"{path} cannot be read as a table: {why}.",
            fix="save it again from a spreadsheet or editor, as CSV UTF-8.",
        ) from error
    finally:
        connection.close()
    if bad:
        lines = [f"line {line:,}: {_why(kind, said)}: {_cut(row)}" for line, kind, said, row in bad]
        raise SourceError(
            f"{path}: {counted(len(bad), 'line')} cannot be read as a row of "
            f"{counted(columns, 'cell')}:{itemised(lines, most=ROWS_LISTED)}",
            fix=f"mend them; a cell that holds a {SEPARATORS[separator]} must stand in quotes.",
        )
    return rows


def _why(kind: str, said: str) -> str:
    found = re.search(r"Found: (\d+)", said)
    if not found:
        return kind.lower()
    # DuckDB counts up to the first cell too many; that there are more is all it knows.
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
    connection = _connection()
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
