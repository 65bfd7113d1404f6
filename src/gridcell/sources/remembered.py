"""What a model remembers of the tables that it was trained on, for those that come after.

A new table need not look alike: what is remembered is used where the table has it, and never in
place of what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from gridcell.config import DataConfig, Decimal, Delimiter
from gridcell.errors import STAGES, ConfigError, SourceError
from gridcell.samples import Step
from gridcell.sources.characters import is_stateful
from gridcell.sources.wording import listed, shown

T = TypeVar("T")
HIDDEN = ("decimal", "rows_in_order")
"""What a table doesn't show by itself, so that what was told goes before what is found."""
OF_PARQUET = ("date_format", "rows_in_order")
"""What is open in Parquet, which says itself how it is written but for dates that are words."""


@dataclass(frozen=True)
class Dialect:
    """How the tables of training are written, as far as that was said; see `DataConfig`.

    The dates of a large table may show which of day and month stands first; those of the few rows
    that come later may not.
    """

    decimal: Decimal = "auto"
    delimiter: Delimiter = "auto"
    encoding: str = "auto"
    header: bool | None = None
    date_format: str | None = None
    rows_in_order: bool = False
    is_date_format_found: bool = False
    """Whether the dates were found to be written so, and nobody said it."""

    @classmethod
    def of(cls, data: DataConfig) -> Dialect:
        """The dialect that was asked for."""
        return cls(**{name: getattr(data, name) for name in cls.settings()})

    @classmethod
    def found(cls, data: DataConfig, date_format: str | None) -> Dialect:
        """The dialect that was asked for, and how the dates turned out to be written."""
        if data.date_format is not None or date_format is None:
            return cls.of(data)
        return replace(cls.of(data), date_format=date_format, is_date_format_found=True)

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """The settings that it is made of."""
        return tuple(field.name for field in fields(cls) if hasattr(DataConfig, field.name))

    @property
    def said(self) -> dict[str, Any]:
        """What of it was said."""
        every = {name: getattr(self, name) for name in self.settings()}
        return {name: value for name, value in every.items() if value != getattr(UNSAID, name)}

    def read(self, path: Path, data: DataConfig, reader: Callable[[DataConfig], T]) -> T:
        """Read a new table as it shows itself to be written, and as was told where that fails.

        A new table may be written otherwise than those of training, so what can be seen in it goes
        first. Where it can't be read so, it may be one of those of which it had to be told. What
        cannot be seen, or not for certain, is taken as told.

        data   the settings for this table, of which none is changed

        Raises   SourceError or ConfigError: of the readings, that of the one which came furthest;
                 where none could tell how the table is written, that of it as it shows itself
        """
        failures: dict[DataConfig, SourceError | ConfigError] = {}
        for choice in self._choices(path, data):
            try:
                return reader(choice)
            except (SourceError, ConfigError) as error:
                failures[choice] = error
        furthest = max(failures.values(), key=lambda error: STAGES.index(error.stage))
        raise failures[data] if furthest.stage == STAGES[0] else furthest

    def _choices(self, path: Path, data: DataConfig) -> list[DataConfig]:
        """The settings to read a table by, one after another; `data` is among them."""
        names = OF_PARQUET if path.name.lower().endswith(".parquet") else tuple(self.said)
        told = {
            name: value
            for name, value in self.said.items()
            if name in names and getattr(data, name) == getattr(UNSAID, name)
        }
        if data.time_column is not None:
            told.pop("rows_in_order", None)
        unsure = [name for name in told if self._is_mistaken(name)]
        every: list[dict[str, Any]] = []
        for left_out in ([], *([name] for name in unsure), unsure):
            some = _without(told, left_out)
            first = {name: some[name] for name in some if name in (*HIDDEN, *unsure)}
            every += [first, some, *(first | {name: value} for name, value in some.items())]
        return list(dict.fromkeys([*(replace(data, **changes) for changes in every), data]))

    def _is_mistaken(self, name: str) -> bool:
        """Say whether a table may seem to be written otherwise than was told, and be read so.

        20240101 is a number too, and bytes of ASCII are UTF-8. What was told then goes first, and
        is left out where the table cannot be read so.
        """
        if name == "date_format":
            return not self.is_date_format_found
        return name == "encoding" and is_stateful(self.encoding)


def _without(told: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in names}


UNSAID = Dialect()


@dataclass(frozen=True)
class Asked:
    """What a training was told of the tables that it read, for a model to keep."""

    dialect: Dialect = UNSAID
    path_column: str | None = None
    id_column: str | None = None
    time_column: str | None = None

    @classmethod
    def of(cls, data: DataConfig) -> Asked:
        """What was asked for."""
        return cls(Dialect.of(data), data.path_column, data.id_column, data.time_column)


NOTHING_ASKED = Asked()


@dataclass(frozen=True)
class Remembered:
    """How the tables of training were read; nothing where the model came from no table."""

    dialect: Dialect = UNSAID
    path_column: str | None = None
    text_column: str | None = None
    """The column that the texts stood in."""
    id_column: str | None = None
    """The column that said which series a row belonged to."""
    time_column: str | None = None
    """The column that the steps were sorted by."""
    inputs: tuple[str, ...] = ()
    """The columns of numbers that were read."""
    target: tuple[str, ...] = ()
    """The columns that were learned."""
    step: Step | None = None
    """From a step to the next, of a table that was learned to be forecast."""
    has_label_columns: bool = False
    """Whether each of them is an answer of its own, so that another name is another answer."""

    def columns_in(self, names: Sequence[str], data: DataConfig) -> DataConfig:
        """Return the settings with the columns of training that are there and not asked otherwise.

        names   the columns of the new table
        """
        found: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("path_column", "text_column", "id_column", "time_column")
            if getattr(data, name) is None and getattr(self, name) in names
        }
        if data.rows_in_order:
            found.pop("time_column", None)
        if self.inputs and not data.inputs and set(self.inputs) <= set(names):
            found["inputs"] = self.inputs
        return replace(data, **found)

    def check_inputs(self, names: Sequence[str], path: Path) -> None:
        """Refuse a table that lacks a column of numbers: others in its place are other numbers.

        Raises   SourceError
        """
        lacking = [name for name in self.inputs if name not in names]
        if lacking:
            word = "column" if len(lacking) == 1 else "columns"
            raise SourceError(
                f"{shown(str(path))} has no {word} {listed(map(shown, lacking))}, which the model "
                f"reads. Its columns: {listed(names)}.",
                fix="give the columns the names that they had in training, or name those to read "
                "in their place with --inputs.",
                stage="columns",
            )

    def target_in(self, names: Sequence[str], path: Path) -> tuple[str, ...]:
        """Return the columns that were learned, which must be among those of the table at `path`.

        Raises   SourceError where one of them isn't
        """
        lacking = [name for name in self.target if name not in names]
        if lacking:
            raise SourceError(
                f"{shown(str(path))} has no column {listed(map(shown, lacking))}, which the model "
                f"was trained to answer. Its columns: {listed(names)}.",
                fix="give the column that holds it this name."
                if self.has_label_columns
                else "name the column that holds it with --target.",
                stage="columns",
            )
        return self.target
