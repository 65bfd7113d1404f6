"""What a model remembers of the tables that it was trained on, for those that come after.

A new table need not look alike: what is remembered is used where the table has it, and never in
place of what is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from gridcell.config import DataConfig


@dataclass(frozen=True)
class Dialect:
    """How the tables of training are written, as far as that was said; see `DataConfig`."""

    decimal: Literal["auto", "point", "comma"] = "auto"
    delimiter: Literal["auto", "comma", "semicolon", "tab", "bar", "space"] = "auto"
    encoding: str = "auto"
    header: bool | None = None

    @classmethod
    def of(cls, data: DataConfig) -> Dialect:
        """The dialect that was asked for."""
        return cls(data.decimal, data.delimiter, data.encoding, data.header)

    def filled(self, data: DataConfig, path: Path) -> DataConfig:
        """Return the settings with this dialect where they leave it open, to read what is there.

        Parquet says itself how it is written.
        """
        if path.name.lower().endswith(".parquet"):
            return data
        usual = DataConfig()
        mine: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(data, field.name) == getattr(usual, field.name)
        }
        return replace(data, **mine)


UNSAID = Dialect()


@dataclass(frozen=True)
class Remembered:
    """How the tables of training were read; nothing where the model came from no table."""

    dialect: Dialect = UNSAID
    text_column: str | None = None
    """The column that the texts stood in."""
