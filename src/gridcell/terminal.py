"""What a person sees in the terminal while gridcell works: sections, live bars, tables."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from gridcell.evaluation import Scores, tables
from gridcell.evaluation.scores import LABELLED

if TYPE_CHECKING:
    from gridcell.doctor import Finding
    from gridcell.training import EpochRecord, StepRecord

LARGEST_CONFUSION = 12
MOST_EPOCH_LINES = 60
"""Of more epochs than this only every few have a line, so that the whole fits a screen or two."""
BAR_AFTER_S = 0.5
WIDTH_OF_A_FILE = 160


class PatientConsole(Console):
    """A console that falls silent when whoever reads it, such as `head`, has gone.

    rich would end the process there, and with it hours of training. Names are printed as they are:
    `weight [kg]` is no markup, and `:cat:` no picture.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, stderr=stderr)

    def on_broken_pipe(self) -> None:
        """Print no more, and go on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class Terminal:
    """A Teller that writes to a console; a bar only where a person watches.

    Ctrl-C or SIGTERM during training asks it to end after the step; a second one ends at once.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or PatientConsole()
        if not self.console.is_terminal:
            # A file has no edge: tables need not be squeezed into 80 columns.
            self.console.width = max(self.console.width, WIDTH_OF_A_FILE)
        self.wants_stop = False
        self.signal = 0
        self._is_training = False
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""
        self._work_started = 0.0
        self._has_table = False
        self._epochs: int | None = None
        self._left = 0.0

    def section(self, title: str, lines: Iterable[str]) -> None:
        """Print a title and its lines."""
        self._end_bar()
        self._is_training = False
        self.console.print(Text(title, style="bold"))
        for line in lines:
            self.console.print(Text(f"  {line}"))

    def findings(self, findings: Iterable[Finding]) -> None:
        """Print the doctor's findings, warnings first."""
        ordered = sorted(findings, key=lambda finding: finding.level != "warning")
        for finding in ordered:
            is_warning = finding.level == "warning"
            mark = Text("  ! " if is_warning else "  · ", style="yellow" if is_warning else "dim")
            self.console.print(mark + Text(finding.text, style="yellow" if is_warning else ""))

    def progress(self, what: str, done: int, total: int) -> None:
        """Show a bar for work that takes more than half a second."""
        if what != self._what:
            self._end_bar()
            self._what, self._work_started = what, time.monotonic()
        if done >= total:
            self._end_bar()
        elif time.monotonic() - self._work_started > BAR_AFTER_S:
            self._show(what, done, total, f"{done:,} of {total:,}")

    def step(self, record: StepRecord) -> None:
        """Move the training bar."""
        self._is_training = True
        self._epochs, self._left = record.epochs, record.seconds_left
        of = "" if record.epochs is None else f"/{record.epochs:,}"
        what = f"Epoch {record.epoch:,}{of}"
        left = _clock(record.seconds_left)
        about = f"loss {record.loss:.3f} · {record.items_per_s:,.0f} items/s · {left} left"
        self._show(what, record.step, record.steps, about)

    def epoch(self, record: EpochRecord) -> None:
        """Print a line about an epoch that is done; of many epochs about every few."""
        self._end_bar()
        # A budget has no number of epochs: as many more as the time that is left is enough for.
        expected = record.epoch + int(self._left / max(record.seconds, 1e-6))
        expected = min(self._epochs or expected, expected)
        every = -(-expected // MOST_EPOCH_LINES)
        is_first_or_last = not self._has_table or record.epoch == self._epochs
        if every > 1 and record.epoch % every and not is_first_or_last:
            return
        if not self._has_table:
            self.console.print(
                Text(
                    "  epoch    loss   valid loss   valid score   seconds   * best so far",
                    style="dim",
                )
            )
            self._has_table = True
        valid = "-" if record.valid_loss is None else f"{record.valid_loss:.4f}"
        score = "-" if record.valid_score is None else f"{record.valid_score:.4f}"
        best = " *" if record.is_best and record.valid_score is not None else ""
        self.console.print(
            Text(
                f"  {record.epoch:5,d} {record.loss:7.4f}   {valid:>10}   {score:>11}   "
                f"{record.seconds:7.1f}{best}"
            )
        )

    def note(self, text: str) -> None:
        """Print a line while a training is under way."""
        self._end_bar()
        self.console.print(Text(f"  {text}", style="dim"))

    def scores(self, scores: Scores | None, of: str) -> None:
        """Print the scores beside their baselines, then each class and what is confused."""
        self._end_bar()
        self._is_training = False
        if scores is None:
            self.console.print(Text("There are no test rows: nothing was scored.", style="yellow"))
            return
        self.console.print(Text(f"Scores on {scores.items:,} {of}", style="bold"))
        if unknown := tables.beside_unknown(scores):
            self.console.print(Text(f"  ! {unknown}", style="yellow"))
        heading, *rows = tables.score_rows(scores)
        table = _table(*heading)
        for row in rows:
            table.add_row(*row)
        self.console.print(table)
        if doubt := tables.beside_a_guess(scores):
            self.console.print(Text(f"  ! {doubt}", style="yellow"))
        if scores.per_class:
            table = _table("label" if scores.task in LABELLED else "class")
            for name in ("items", "precision", "recall", "F1"):
                table.add_column(name, justify="right")
            for class_row in tables.class_rows(scores):
                table.add_row(*class_row)
            self.console.print(table)
        if scores.confusion is not None and len(scores.labels) <= LARGEST_CONFUSION:
            rows = tables.confusion_rows(scores)
            table = _table(*rows[0])
            for confusion_row in rows[1:]:
                table.add_row(*confusion_row)
            self.console.print(Text("  Truth in rows, answer in columns", style="dim"))
            self.console.print(table)
        for line in (*tables.confused_pairs(scores), *tables.notes(scores)):
            self.console.print(Text(f"  {line}"))

    def __enter__(self) -> Terminal:
        # Python lets only the main thread say what a signal does.
        is_main = threading.current_thread() is threading.main_thread()
        self._before = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM)
            if is_main
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        if not self._is_training or self.wants_stop:
            raise KeyboardInterrupt(number)
        self.wants_stop = True
        self._end_bar()
        self.console.print(
            Text("  Stopping after this step; the best weights so far are kept.", style="yellow")
        )

    def _show(self, what: str, done: int, total: int, about: str) -> None:
        if not self.console.is_terminal:
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("  {task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[about]}"),
                console=self.console,
                transient=True,
                refresh_per_second=5,
            )
            self._task = self._bar.add_task(what, total=total, about=about)
            self._bar.start()
        assert self._task is not None
        self._bar.update(self._task, description=what, completed=done, total=total, about=about)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
        self._what = ""


def _table(*names: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left", header_style="dim")
    return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
