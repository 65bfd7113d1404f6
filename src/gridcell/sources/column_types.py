"""What stands in the columns of a table: numbers of one decimal mark or the other, times, words.

The rules are SQL, judged by DuckDB on every cell; a column is described once and read many times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from gridcell.config import DataConfig
from gridcell.sources.dialect import (
    DOTTED,
    NOT_FINITE,
    NOTHING,
    NUMBER,
    Head,
    is_nothing,
    looks_like_number,
)
from gridcell.sources.wording import listed, shown

if TYPE_CHECKING:
    import duckdb

# In RE2's grammar, for DuckDB.
COMMA_SURE = (
    r"[+-]?(\d{1,3}(\.\d{3}){2,}|\d{1,3}(\.\d{3})+,\d*"
    r"|\d+,\d{0,2}|\d+,\d{4,}|0\d*,\d+|\d{4,},\d+|,\d+)([eE][+-]?\d+)?"
)
POINT_SURE = r"[+-]?(\d{1,3}(,\d{3})+\.\d*|\d{1,3}(,\d{3}){2,})"
UNSURE = r"[+-]?[1-9]\d{0,2},\d{3}"
THOUSANDS_COMMA = r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?"
THOUSANDS_POINT = r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?"

SURE, PARTED = re.compile(COMMA_SURE), re.compile(POINT_SURE)

CLOCK = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
OTHER_CLOCKS = ("T%H:%M", "T%H:%M:%S", ", %H:%M", ", %H:%M:%S", " %H:%M:%S.%f")
DAYS = (
    *(
        day.replace("-", mark).replace("%Y", year)
        for day in ("%d-%m-%Y", "%m-%d-%Y", "%Y-%m-%d", "%d-%b-%Y", "%d-%B-%Y", "%b-%d-%Y", "%b-%Y")
        for mark in "/-. "
        for year in ("%y", "%Y")
    ),
    *("%Y%m%d", "%b %d, %Y", "%B %d, %Y", "%B %d %Y", "%B %Y"),
    *("%a %d %b %Y", "%a %d %B %Y", "%a, %d %b %Y", "%a, %d %B %Y"),
)
"""Ways to write a day that are looked for where a hint is to name one."""
ISO = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ]\d{1,2}:\d{2}.*)?")
MONTH = re.compile(r"\d{4}-\d{1,2}")
MONTHS = ("%Y-%m",)
SLASHED = re.compile(
    r"\d{1,2}/\d{1,2}/(\d{2}|\d{4})( \d{1,2}:\d{2}(:\d{2})?( [ap]m)?)?", re.IGNORECASE
)
MONTH_WORD = (
    r"(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?"
    r"|oct(ober)?|nov(ember)?|dec(ember)?)\.?"
)
DAY_LIKE = (
    r"\d{4}(?P<a>[-/.])\d{1,2}(?P=a)\d{1,2}",
    r"\d{1,2}(?P<b>[-/.])\d{1,2}(?P=b)(\d{4}|\d{2})",
    r"\d{4}-\d{1,2}",
    r"\d{4}[- ]?[qw]\d{1,2}",
    rf"(\d{{1,4}}[- ])?{MONTH_WORD}[- ]\d{{1,4}}(,?[- ]\d{{4}})?",
    rf"\d{{4}}[- ]{MONTH_WORD}",
)
WEEKDAY = r"(mon|tue|wed|thu|fri|sat|sun)[a-z]*,? "
TIME_LIKE = re.compile(rf"({WEEKDAY})?({'|'.join(DAY_LIKE)})([ t,].*)?", re.IGNORECASE)
"""What people write for a day or month, whether or not it can be read."""

Mark = Literal[".", ",", "?"]
Holds = Literal["numbers", "mixed", "moments", "text", "nothing"]
"""What stands in a column: only numbers, mostly numbers, points of time, text, or nothing."""


@dataclass(frozen=True)
class Column:
    """A column of a table and what was found in it."""

    name: str
    holds: Holds
    table: str
    place: str
    """The table and column of DuckDB that hold it."""
    is_stored: bool
    """Whether it is stored as numbers already; as text where not."""
    mark: Mark = "."
    """The decimal mark; ? where it cannot be told."""
    example: str = ""
    """A cell that shows the mark, where it is no point."""
    moments: tuple[str, ...] = ()
    """Formats of its points of time; none for ISO 8601."""
    is_at_odds: bool = False
    """Whether cells are numbers only by the other mark than the one that was asked for."""
    doubt: str = ""
    """Why its points of time cannot be read, where it looks as if it held some."""


def describe_numbers(
    connection: duckdb.DuckDBPyConnection,
    stored: Mapping[str, tuple[Mark, str]],
    places: Mapping[str, str],
    rows: int,
    columns: dict[str, Column],
) -> list[str]:
    """Describe the columns that are stored as numbers; return those that hold something else."""
    if not stored:
        return []
    counts = ", ".join(
        f"count({places[name]}), count(CASE WHEN isnan({places[name]}) THEN NULL ELSE 1 END)"
        for name in stored
    )
    with unplanned(connection):
        found = connection.execute(f"SELECT {counts} FROM main_rows").fetchall()[0]
    lost = []
    for i, (name, (mark, example)) in enumerate(stored.items()):
        known, filled = found[2 * i], found[2 * i + 1]
        if known < rows:
            lost.append(name)
        else:
            holds: Holds = "numbers" if filled - (rows - known) else "nothing"
            place = places[name]
            columns[name] = Column(name, holds, "main_rows", place, True, mark, example)
    return lost


def describe_texts(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    names: Sequence[str],
    places: Mapping[str, str],
    head: Head,
    data: DataConfig,
    columns: dict[str, Column],
) -> None:
    """Describe the columns that are stored as text: numbers of which mark, times, or words."""
    for name in names:
        place = places[name]
        column = Column(name, "text", table, place, is_stored=False)
        # Each different cell is judged once, however often it stands there.
        cells = f"(SELECT {place}, count(*) AS n FROM {table} GROUP BY {place})"
        column = _with_moments(connection, column, head, data)
        if column.holds != "moments" and not column.doubt:
            column = _marked(connection, cells, column, data)
        columns[name] = column


def _marked(
    connection: duckdb.DuckDBPyConnection, cells: str, column: Column, data: DataConfig
) -> Column:
    """Say whether a column of text holds numbers after all, and by which decimal mark."""
    x = column.place
    examples = ", ".join(
        f"min({x}) FILTER (regexp_full_match({_trimmed(x)}, {quoted(pattern)}))"
        for pattern in (COMMA_SURE, POINT_SURE, UNSURE)
    )
    is_point, is_comma = (f"{number(x, mark)} IS NOT NULL" for mark in (".", ","))
    query = (
        f"SELECT sum(n), sum(n) FILTER ({_nothing(x)}), sum(n) FILTER (NOT {is_point}), "
        f"sum(n) FILTER (NOT {is_comma}), sum(n) FILTER (NOT ({is_point} OR {is_comma})), "
        f"{examples} FROM {cells}"
    )
    found = connection.execute(query).fetchall()[0]
    rows, missing, not_point, not_comma, neither = (int(count or 0) for count in found[:5])
    comma, thousands, unsure = ((cell or "").strip() for cell in found[5:])
    filled = rows - missing
    if not filled:
        return replace(column, holds="nothing")
    mark: Mark = "."
    example = ""
    if data.decimal == "comma":
        mark, example = ",", comma or unsure
    elif data.decimal == "point" or (thousands and not comma):
        example = unsure or thousands
    elif comma and not_comma <= not_point:
        mark, example = ",", comma
    elif unsure:
        mark, example = "?", unsure
    strange = not_point if mark == "." else not_comma
    is_at_odds = data.decimal != "auto" and strange > neither
    # Numbers by the mark that was not asked for are no words that may be left out in silence.
    if 2 * (neither if is_at_odds else strange) >= filled:
        return column
    holds: Holds = "mixed" if strange else "numbers"
    return replace(column, holds=holds, mark=mark, example=example, is_at_odds=is_at_odds)


def _with_moments(
    connection: duckdb.DuckDBPyConnection, column: Column, head: Head, data: DataConfig
) -> Column:
    """Say whether a column of text holds points of time, and how they are written."""
    some = [cell for cell in head.column(column.name) if not is_nothing(cell)]
    if data.date_format is not None:
        formats = asked_moments(data.date_format)
        x = column.place
        query = f"SELECT count({moment(x, formats)}), count({x}) FROM {column.table}"
        read, rows = connection.execute(query).fetchall()[0]
        if 2 * read > rows:
            return replace(column, holds="moments", moments=formats)
        if some and TIME_LIKE.fullmatch(some[0]) and not ISO.fullmatch(some[0]):
            return replace(column, doubt=f"{some[0]} is not written as {data.date_format}")
    kinds: list[tuple[re.Pattern[str], list[tuple[str, ...]]]] = [
        (ISO, [()]),
        (MONTH, [MONTHS]),
        (DOTTED, [_dated("%d.%m.%y", "%d.%m.%Y")]),
        (SLASHED, [_dated("%d/%m/%y", "%d/%m/%Y"), _dated("%m/%d/%y", "%m/%d/%Y")]),
    ]
    for pattern, choices in kinds:
        if 2 * sum(pattern.fullmatch(cell) is not None for cell in some) <= len(some):
            continue
        x = column.place
        strange = ", ".join(
            f"count(CASE WHEN {moment(x, formats)} IS NULL AND NOT {_nothing(x)} THEN 1 END)"
            for formats in choices
        )
        found = connection.execute(f"SELECT count(*), {strange} FROM {column.table}").fetchall()[0]
        rows, *bad = (int(count) for count in found)
        best = min(bad)
        if 2 * best >= rows:
            break
        if bad.count(best) > 1:
            return replace(
                column, doubt=f"{some[0]} may be written with the day or the month first"
            )
        return replace(column, holds="moments", moments=choices[bad.index(best)])
    return replace(column, doubt=_why_unread(some))


def _why_unread(cells: Sequence[str]) -> str:
    """Say why cells that look like points of time cannot be read; "" where they don't look so."""
    like = [cell for cell in cells if TIME_LIKE.fullmatch(cell)]
    if 2 * len(like) <= len(cells):
        return ""
    ways: dict[str, str] = {}
    for cell in like:
        # 1/2/2024 and 10/12/2024 are written in one way, and so are May and June.
        way = re.sub(r"[^\W\d]+", "a", re.sub(r"\d{1,2}(?!\d)", "1", cell.split(" ")[0]))
        ways.setdefault(re.sub(r"\d{3,}", "1000", way), cell)
    if len(ways) > 1:
        one, other = list(ways.values())[:2]
        return f"its times are written in more than one way, such as {one} and {other}"
    return f"times are not read when they are written as {like[0]}"


def asked_moments(date_format: str) -> tuple[str, ...]:
    """The formats that a user's format stands for: with a clock behind it where it has none.

    >>> asked_moments("%d.%m.%Y %H:%M"), asked_moments("%Y%m%d")[:2]
    (('%d.%m.%Y %H:%M',), ('%Y%m%d', '%Y%m%d %H:%M'))
    """
    has_clock = "%H" in date_format or "%I" in date_format
    return (date_format,) if has_clock else _dated(date_format)


def likely_format(cell: str) -> str:
    """Return a format that a date is written in; %d/%m/%Y where none is known.

    >>> likely_format("31-01-89"), likely_format("31 Jan 1989"), likely_format("12/31/1989 09:00")
    ('%d-%m-%y', '%d %b %Y', '%m/%d/%Y')
    """
    for day in DAYS:
        for clock in (*CLOCK, *OTHER_CLOCKS):
            try:
                datetime.strptime(cell, day + clock)
            except ValueError:
                continue
            return day if clock in CLOCK else day + clock
    return "%d/%m/%Y"


def _are_dates(name: str, cells: Sequence[str], data: DataConfig) -> bool:
    """Say whether cells that look like numbers are dates by the user's format, as 20241231."""
    if data.date_format is None:
        return False
    # A year alone is a number like any other, unless it is said to be the time.
    if name != data.time_column and not re.search("%-?[mbBj]", data.date_format):
        return False
    try:
        for cell in cells:
            datetime.strptime(cell, data.date_format.replace("%-", "%"))
    except ValueError:
        return False
    return True


def _dated(*days: str) -> tuple[str, ...]:
    # A year of two digits is tried first: of four, it would leave two over, and not fit.
    return tuple(day + clock for day in days for clock in CLOCK)


def with_marks(columns: Mapping[str, Column], head: Head, data: DataConfig) -> dict[str, Column]:
    """Settle unsure marks by the other columns of the table: it is written in one way."""
    sure = [
        column for column in columns.values() if column.mark == "," and column.holds == "numbers"
    ]
    settled = dict(columns)
    if data.decimal != "auto":
        return settled
    for name, column in columns.items():
        if column.mark == "?" and sure:
            settled[name] = replace(column, mark=",")
        elif sure and column.is_stored and column.mark == ".":
            cells = [cell for cell in head.column(name) if "." in cell and NUMBER.fullmatch(cell)]
            if cells and all(re.fullmatch(r"[+-]?[1-9]\d{0,2}\.\d{3}", cell) for cell in cells):
                settled[name] = replace(column, mark="?", example=cells[0])
    return settled


def mark_notes(columns: Mapping[str, Column]) -> list[str]:
    commas = [c for c in columns.values() if c.mark == "," and c.holds == "numbers" and c.example]
    notes = []
    if commas:
        cell = commas[0].example
        shown_as = cell.replace(".", "").replace(",", ".")
        word = "Column" if len(commas) == 1 else "Columns"
        verb = "is" if len(commas) == 1 else "are"
        notes.append(
            f"{word} {listed(c.name for c in commas)} {verb} read with a decimal comma: {cell} is "
            f"{shown_as}."
        )
    points = [c for c in columns.values() if c.mark == "." and c.holds == "numbers" and c.example]
    if points:
        cell = points[0].example
        notes.append(
            f"Commas in {listed(c.name for c in points)} are marks for thousands: {cell} is "
            f"{cell.replace(',', '')}."
        )
    days = [c.name for c in columns.values() if c.moments]
    for name in days:
        order = columns[name].moments[0]
        if order.startswith("%d"):
            notes.append(f"Column {shown(name)} is read as day, month, year.")
        elif order.startswith("%m"):
            notes.append(f"Column {shown(name)} is read as month, day, year.")
    return notes


def found_marks(head: Head, names: Sequence[str], data: DataConfig) -> dict[str, tuple[Mark, str]]:
    """Return the columns that are numbers as far as the first rows tell: the decimal mark of each,
    and a cell that shows it where it is no point."""
    found: dict[str, tuple[Mark, str]] = {}
    unsure: dict[str, tuple[Mark, str]] = {}
    for name in names:
        filled = [cell for cell in head.column(name) if not is_nothing(cell)]
        if not filled or not all(map(looks_like_number, filled)):
            continue
        if _are_dates(name, filled, data):
            continue
        if all(NUMBER.fullmatch(cell) or NOT_FINITE.fullmatch(cell) for cell in filled):
            if data.decimal != "comma":
                found[name] = ".", ""
            elif not any("." in cell for cell in filled):
                found[name] = ",", ""
            continue
        sure = [cell for cell in filled if SURE.fullmatch(cell)]
        commas = [cell for cell in filled if "," in cell]
        if data.decimal == "point" or any(map(PARTED.fullmatch, filled)) or not commas:
            continue
        if sure or data.decimal == "comma":
            found[name] = ",", (sure or commas)[0]
        else:
            unsure[name] = ",", commas[0]
    # A table is written in one way: what may mean thousands is a decimal where others are sure.
    is_comma = any(mark == "," for mark, _ in found.values())
    return found | unsure if is_comma else found


@contextmanager
def unplanned(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let DuckDB run a query as it stands: of 1,500 columns, planning it takes half a minute."""
    connection.execute("PRAGMA disable_optimizer")
    try:
        yield
    finally:
        connection.execute("PRAGMA enable_optimizer")


def _trimmed(place: str) -> str:
    return f"trim({place}, ' \t\n\x0b\x0c\r\u00a0')"


def _nothing(place: str) -> str:
    words = ", ".join(quoted(word) for word in NOTHING)
    return f"({place} IS NULL OR lower({_trimmed(place)}) IN ({words}))"


def plain_number(place: str) -> str:
    """SQL: the number in a cell; NaN where nothing stands, NULL where something else does."""
    # DuckDB takes 1_000 for a number.
    cast = f"TRY_CAST(replace({place}, '_', 'x') AS DOUBLE)"
    return f"coalesce({cast}, CASE WHEN {_nothing(place)} THEN 'NaN'::DOUBLE END)"


def number(place: str, mark: str) -> str:
    """SQL: as `_plain_number`, for a decimal mark, with marks for thousands."""
    other, thousands = (",", THOUSANDS_COMMA) if mark == "." else (".", THOUSANDS_POINT)
    bare = f"replace({place}, '{other}', '')"
    if mark == ".":
        plain = f"TRY_CAST({place} AS DOUBLE)"
        parted = f"TRY_CAST({bare} AS DOUBLE)"
    else:
        plain = f"TRY_CAST(replace({place}, ',', '.') AS DOUBLE)"
        parted = f"TRY_CAST(replace({bare}, ',', '.') AS DOUBLE)"
    number = (
        f"CASE WHEN contains({place}, '_') THEN NULL WHEN contains({place}, '{other}') THEN "
        f"CASE WHEN regexp_full_match({_trimmed(place)}, {quoted(thousands)}) THEN {parted} END "
        f"ELSE {plain} END"
    )
    return f"coalesce({number}, CASE WHEN {_nothing(place)} THEN 'NaN'::DOUBLE END)"


def moment(place: str, formats: Sequence[str]) -> str:
    """SQL: the point of time in a cell, NULL where it holds none."""
    cell = _trimmed(place)
    if not formats:
        # "epoch" and "infinity" are times to DuckDB.
        return f"CASE WHEN {cell} ~ '^[0-9].*' THEN TRY_CAST({cell} AS TIMESTAMPTZ) END"
    return f"try_strptime({cell}, [{', '.join(map(quoted, formats))}])"


def quoted(text: str) -> str:
    """SQL: the text as a literal."""
    return "'" + text.replace("'", "''") + "'"
