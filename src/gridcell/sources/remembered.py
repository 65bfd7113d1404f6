"""What a model remembers of the tables that it was trained on, for those that come after.

A new table need not look alike: what is remembered is used where the table has it, and never in
place of what is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from gridcell.config import DataConfig
from gridcell.errors import SourceError
from gridcell.sources.wording import listed, shown


@dataclass(frozen=True)
class Dialect:
    """How the tables of training are written, as far as that was said; see `DataConfig`."""

    decimal: Literal["auto", "point", "comma"] = "auto"
    delimiter: Literal["auto", "comma", "semicolon", "tab", "bar", "space"] = "auto"
    encoding: str = "auto"
    header: bool | None = None
    date_format: str | None = None
    rows_in_order: bool = False

    @classmethod
    def of(cls, data: DataConfig) -> Dialect:
        """The dialect that was asked for."""
        return cls(**{field.name: getattr(data, field.name) for field in fields(cls)})

    def filled(self, data: DataConfig, path: Path) -> DataConfig:
        """Return the settings with this dialect where they leave it open, to read what is there.

        Parquet says itself how it is written, but for dates that are words.
        """
        is_parquet = path.name.lower().endswith(".parquet")
        usual = DataConfig()
        mine: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(data, field.name) == getattr(usual, field.name)
            and (not is_parquet or field.name in ("date_format", "rows_in_order"))
        }
        return replace(data, **mine)


UNSAID = Dialect()


@dataclass(frozen=True)
class Remembered:
    """How the tables of training were read; nothing where the model came from no table."""

    dialect: Dialect = UNSAID
    text_column: str | None = None
    """The column that the texts stood in."""
    target: tuple[str, ...] = ()
    """The columns that were learned."""
    has_label_columns: bool = False
    """Whether each of them is an answer of its own, so that another name is another answer."""

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
            )
        return self.target
