"""Who is told what a run does: the terminal, or no one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gridcell.doctor import Finding
from gridcell.evaluation import Scores
from gridcell.training import EpochRecord, StepRecord


class Teller(Protocol):
    """Hears of everything that a person may want to see, in the order in which it happens."""

    def section(self, title: str, lines: Iterable[str]) -> None:
        """Something was understood or done: a title and a sentence a line."""

    def findings(self, findings: Iterable[Finding]) -> None:
        """What the doctor has to say of the data."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Work that takes a while, counted."""

    def scores(self, scores: Scores | None, of: str) -> None:
        """The final scores, beside what a trivial guess gets."""

    def step(self, record: StepRecord) -> None:
        """A training step is done."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is done and scored."""

    def note(self, text: str) -> None:
        """Something about the training that is under way."""

    @property
    def wants_stop(self) -> bool:
        """Whether the training should end after this step."""


class Silent:
    """Tells no one."""

    wants_stop = False

    def section(self, title: str, lines: Iterable[str]) -> None: ...
    def findings(self, findings: Iterable[Finding]) -> None: ...
    def progress(self, what: str, done: int, total: int) -> None: ...
    def scores(self, scores: Scores | None, of: str) -> None: ...
    def step(self, record: StepRecord) -> None: ...
    def epoch(self, record: EpochRecord) -> None: ...
    def note(self, text: str) -> None: ...
