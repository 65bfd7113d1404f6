"""How `--help` sets its sentences: each as one paragraph, however it is broken in the source."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from cyclopts.help import DefaultFormatter, HelpEntry, HelpPanel, InlineText

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

NOTHING = ("()", "[]")
"""Defaults that tell a reader nothing."""


class Paragraphs(DefaultFormatter):
    """Prints the help as cyclopts does, but for line ends in sentences and defaults of nothing.

    without   names of settings that the command has but never heeds
    """

    def __init__(self, without: Collection[str] = ()) -> None:
        super().__init__()
        self.hidden = {f"--{name.replace('_', '-')}" for name in without}

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one panel."""
        shown = [each for each in panel.entries if self.hidden.isdisjoint(each.positive_names)]
        entries = [_reflowed(entry) for entry in shown]
        super().__call__(console, options, panel.copy(entries=entries))


def _reflowed(entry: HelpEntry) -> HelpEntry:
    from rich.text import Text

    default = None if entry.default in NOTHING else entry.default
    described = entry.description
    if isinstance(described, InlineText) and isinstance(described.primary_renderable, Text):
        text = re.sub(r"\s*\n\s*", " ", described.primary_renderable.plain)
        described = InlineText(Text(text))
    return entry.copy(description=described, default=default)
