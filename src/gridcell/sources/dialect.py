"""How a table is written: encoding, separator, whether its first row names the columns.

It is found out from the first rows, by rules that are said aloud; what is ambiguous is refused. The
whole text is checked too, before DuckDB reads it, which would settle much in silence.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.sources.characters import (
    marked,
    mixes_line_ends,
    one_line_end,
    refuse_other_files,
    western,
)
from gridcell.sources.wording import listed

TEXT_EXTENSIONS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
EXTENSIONS = (*TEXT_EXTENSIONS, ".parquet")
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " "}
SEPARATOR_WORDS = {mark: word for word, mark in SEPARATORS.items()}
# Words for nothing in a column of numbers; "none" and "-" may be classes, but are no numbers.
NOTHING = ("", "na", "n/a", "#n/a", "nan", "null", "none", ".", "?", "-")
HEAD_BYTES = 2**20
HEAD_BYTES_MOST = 2**26
HEAD_ROWS = 200
PROBED_LINES = 50
CHUNK_BYTES = 2**22
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
NUMBER_LIKE = re.compile(r"[+-]?(\d[\d.,]*|[.,]\d+)([eE][+-]?\d+)?")
NOT_FINITE = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)
DOTTED = re.compile(r"\d{1,2}\.\d{1,2}\.(\d{2}|\d{4})( \d{1,2}:\d{2}(:\d{2})?)?")
"""A day as 31.12.2024, which is no number."""


@dataclass(frozen=True)
class Head:
    """The first rows of a table as text, and how the table is written."""

    names: tuple[str, ...]
    """Every column, "" for one without a name."""
    rows: tuple[tuple[str, ...], ...]
    """Up to 200 rows below the names, their cells stripped."""
    has_header: bool
    skipped: int = 0
    """Blank lines above the first row."""
    separator: str = ","
    encoding: str = "utf-8"
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> list[str]:
        """The cells of a column."""
        place = self.names.index(name)
        return [row[place] if place < len(row) else "" for row in self.rows]


def is_table(name: str) -> bool:
    """Say whether a file is named as a table of text or Parquet, plain or gzipped."""
    return name.lower().endswith(EXTENSIONS)


def is_nothing(cell: str) -> bool:
    """Say whether a cell in a column of numbers is empty, or a word for nothing."""
    return cell.strip().lower() in NOTHING


def looks_like_number(cell: str) -> bool:
    """Say whether a cell could be a number, by one decimal mark or the other."""
    return bool(
        (NUMBER_LIKE.fullmatch(cell) or NOT_FINITE.fullmatch(cell)) and not DOTTED.fullmatch(cell)
    )


def text_head(path: Path, data: DataConfig) -> Head:
    """Return the first rows of a table of text, and how it is written.

    Raises   SourceError for an empty table, bytes that are no text, columns of one name;
             ConfigError for an unknown encoding, a separator that is not there, or a first row that
             may or may not be names
    """
    size = HEAD_BYTES
    while True:
        with _opened(path) as file:
            top = file.read(size)
            is_whole = not file.read(1)
        if is_whole or size >= HEAD_BYTES_MOST or len(re.findall(b"[\r\n]+", top)) >= 3:
            break
        size *= 8
    encoding = _encoding(path, top, data)
    decoder = codecs.getincrementaldecoder(encoding)()
    text = _decoded(path, decoder, top, encoding, lines=0, is_last=is_whole)
    blank = re.match(r"(?:[^\S\r\n]*(?:\r\n|\r|\n))*", text)
    skipped = len(re.findall(r"\r\n|\r|\n", blank[0])) if blank else 0
    text = text[blank.end() :] if blank else text
    if not text.strip():
        raise SourceError(
            f"{path} is empty: it has no column names.", fix="name a table with rows."
        )
    separator = _separator(path, text, data)
    rows = _parsed(path, text, separator, most=HEAD_ROWS + 1)
    if not is_whole and len(rows) <= HEAD_ROWS and len(rows) > 1:
        rows = rows[:-1]  # the last one is cut
    first = rows[0]
    while separator == " " and first and not first[-1]:
        first = first[:-1]
    has_header = _has_header(path, first, rows[1:], data)
    names = tuple(first) if has_header else tuple(f"c{i + 1}" for i in range(len(first)))
    if has_header:
        _check_names(path, first)
    notes = []
    usual = "\t" if path.name.lower().endswith((".tsv", ".tsv.gz")) else ","
    if encoding != "utf-8" or separator != usual:
        mark = " with a byte-order mark" if encoding == "utf-8-sig" else ""
        name = "UTF-8" if encoding.startswith("utf-8") else encoding.upper()
        notes.append(
            f"{path.name}: columns separated by {SEPARATOR_WORDS[separator]}, {name}{mark}."
        )
    if not has_header:
        which = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        called = "its column is called" if len(names) == 1 else "its columns are called"
        notes.append(f"{path.name} has no row of column names: {called} {which}.")
    return Head(
        names,
        tuple(map(tuple, rows[1:] if has_header else rows)),
        has_header,
        skipped,
        separator,
        encoding,
        tuple(notes),
    )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a file, unpacked if it is gzipped."""
    try:
        if path.name.lower().endswith(".gz"):
            with gzip.open(path, "rb") as unpacked:
                yield unpacked
        else:
            with path.open("rb") as file:
                yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(
            f"{path} cannot be unpacked: {str(error).rstrip('.')}.",
            fix="pack it again with gzip, or name the file unpacked.",
        ) from error


def _encoding(path: Path, top: bytes, data: DataConfig) -> str:
    if data.encoding == "auto":
        return marked(top) or "utf-8"
    try:
        name = codecs.lookup(data.encoding).name
        "".encode(name)
    except (LookupError, UnicodeError) as error:
        raise ConfigError(
            f"encoding {data.encoding!r} is not known.",
            fix="name one such as utf-8, latin-1, cp1252 or utf-16.",
            stage="writing",
        ) from error
    # A mark says more than what was asked for all tables, some of which may have none.
    return "utf-8-sig" if top.startswith(codecs.BOM_UTF8) else name


def _decoded(
    path: Path,
    decoder: codecs.IncrementalDecoder,
    chunk: bytes,
    encoding: str,
    *,
    lines: int,
    is_last: bool,
) -> str:
    """Decode a piece of text, or name the byte and line that cannot be; `lines` came before it."""
    try:
        text = decoder.decode(chunk, is_last)
    except UnicodeError as error:
        if not lines:
            refuse_other_files(chunk, str(path))
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        held = error.object if isinstance(error, UnicodeDecodeError) else chunk
        line = lines + len(re.findall(b"\r\n|\r|\n", held[:start])) + 1
        raise SourceError(
            f"{path} is not {encoding.upper().removesuffix('-SIG')} text: "
            f"byte {held[start : start + 1]!r} in line {line:,}.",
            fix=f"name its encoding, for instance --encoding {western(bytes(held))}, or save it as "
            "UTF-8 (a spreadsheet calls this CSV UTF-8).",
            stage="writing",
        ) from error
    if "\0" in text:
        if not lines:
            refuse_other_files(chunk, str(path))
        line = lines + len(re.findall("\r\n|\r|\n", text[: text.index("\0")])) + 1
        raise SourceError(
            f"{path} holds a zero byte in line {line:,}, so it is damaged or no text.",
            fix="save the table again as UTF-8 text, or name its encoding if it is --encoding "
            "utf-16-le.",
            stage="writing",
        )
    return text


def _parsed(path: Path, text: str, separator: str, *, most: int) -> list[list[str]]:
    """Return the first rows of a text, blank ones left out, their cells stripped."""
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        for row in reader:
            if row:
                rows.append([cell.strip() for cell in row])
            if len(rows) == most:
                break
    except csv.Error as error:
        if not rows:
            raise SourceError(
                f"{path}: the line of column names cannot be read ({error}).",
                fix="save the table again as UTF-8 text.",
                stage="writing",
            ) from error
    return rows


def _separator(path: Path, text: str, data: DataConfig) -> str:
    """Find what separates the columns: what makes rows as long as the first, of cells that fit."""
    is_tsv = path.name.lower().endswith((".tsv", ".tsv.gz"))
    widths, scores = {}, {}
    for mark in "\t,;|" if is_tsv else ",;\t|":
        rows = _parsed(path, text, mark, most=PROBED_LINES + 1)
        widths[mark] = len(rows[0])
        if len(rows[0]) > 1:
            agree = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
            cells = [cell for row in rows[1:] or rows for cell in row]
            fits = sum(looks_like_number(cell) for cell in cells) / max(1, len(cells))
            scores[mark] = (round(agree, 1), round(fits, 1), len(rows[0]))
    if data.delimiter != "auto":
        asked = SEPARATORS[data.delimiter]
        if widths.get(asked, 2) == 1 and scores:
            best = SEPARATOR_WORDS[max(scores, key=lambda mark: scores[mark])]
            raise ConfigError(
                f"{path} has no {data.delimiter} in the line of its column names, which {best} "
                "separates.",
                fix=f"leave --delimiter out, or pass --delimiter {best}.",
                stage="writing",
            )
        return asked
    if scores:
        return max(scores, key=lambda mark: scores[mark])
    lines = [line.split() for line in text.splitlines()[: PROBED_LINES + 1] if line.strip()]
    below = lines[1:] or lines
    if len(lines[0]) > 1 and all(
        len(line) == len(lines[0]) and all(map(looks_like_number, line)) for line in below
    ):
        return " "
    return "\t" if is_tsv else ","


def _has_header(
    path: Path, first: Sequence[str], below: Sequence[Sequence[str]], data: DataConfig
) -> bool:
    """Say whether the first row names the columns; refuse where it may or may not."""
    if data.header is not None:
        return data.header
    numbers = [cell for cell in first if looks_like_number(cell)]
    if not numbers:
        return True
    if len(numbers) == len(first):
        whole = [int(cell) for cell in first if cell.isdigit()]
        is_counting = (
            len(first) > 1
            and len(whole) == len(first)
            and whole == list(range(whole[0], whole[0] + len(whole)))
            and whole[0] in (0, 1)
        )
        if not is_counting:
            return False
        cells = [cell for row in below for cell in row if cell]
        if len(first) > 2 and any(not cell.isdigit() for cell in cells):
            return True  # 0, 1, 2 ... above numbers of another kind
    elif all(cell.isdigit() or not looks_like_number(cell) for cell in first):
        return True  # a wide table: label,0,1,2
    raise ConfigError(
        f"{path}: the first row may be names or data: {listed(first, most=6)}.",
        fix="pass --header if it names the columns, or --no-header if it is data.",
        stage="writing",
    )


def _check_names(path: Path, names: Sequence[str]) -> None:
    again = [name for name, count in Counter(names).items() if count > 1 and name]
    if again:
        raise SourceError(
            f"{path} has more than one column named {listed(again)}.",
            fix="give each column its own name.",
            stage="columns",
        )
    if not any(names):
        raise SourceError(
            f"{path} has no column with a name.",
            fix="write a first line such as: id,time,value",
            stage="columns",
        )


def plain_copy(path: Path, head: Head, place: Callable[[], Path]) -> tuple[Path, list[str]]:
    """Check the whole text; return the file, or a copy of it that DuckDB can read as it is.

    A copy is made in the folder that `place` returns: of text in another encoding, gzipped, of
    cells between any number of spaces, or with two kinds of line ends, which DuckDB refuses. Notes
    are returned too.
    """
    is_squeezed = head.separator == " "
    is_plain = head.encoding in ("utf-8", "utf-8-sig") and not path.name.lower().endswith(".gz")
    copy = None if is_plain and not is_squeezed else place() / "table.csv"
    blank = feeds = pairs = returns = 0
    tail = ""
    with ExitStack() as stack:
        out = None
        if copy is not None:
            out = stack.enter_context(copy.open("w", encoding="utf-8", newline=""))
        for text in _pieces(path, head.encoding):
            feeds += text.count("\n")
            pairs += text.count("\r\n")
            returns += text.count("\r")
            seam = tail + text
            if "\n\n" in seam or "\n\r\n" in seam:
                blank += len(re.findall(r"\n\r?(?=\n[^\r\n])", seam))
            tail = seam[-3:]
            if out is not None:
                out.write(_squeezed(text) if is_squeezed else text)
    if mixes_line_ends(feeds, pairs, returns):
        raw = one_line_end((copy or path).read_bytes())
        copy = copy or place() / "table.csv"
        copy.write_bytes(raw)
    notes = []
    if blank and len(head.names) > 1:
        notes.append(f"{path.name} holds blank lines, which are left out and not counted as rows.")
    return copy or path, notes


def _pieces(path: Path, encoding: str) -> Iterator[str]:
    """Yield the text of a file a piece at a time, each ending at a line end where it can."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 0
    with _opened(path) as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            chunk += file.readline() if chunk else b""
            text = _decoded(path, decoder, chunk, encoding, lines=lines, is_last=not chunk)
            yield text
            if not chunk:
                return
            lines += text.count("\n")


def _squeezed(text: str) -> str:
    """Make one space of several, and none of those at the ends of a line."""
    return re.sub(r"(?m)^ +| +$", "", re.sub(r"[ \t]+", " ", text))
