"""What a model remembers of the tables that it was trained on, for those that come after.

A new table need not look alike: what is remembered is used where the table has it, and never in
place of what is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remembered:
    """How the tables of training were read; nothing where the model came from no table."""

    text_column: str | None = None
    """The column that the texts stood in."""
