"""How a training goes and went: what is told of every step and epoch, and the history of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from gridcell.sources.wording import counted
from gridcell.training.signals import Signal
from gridcell.training.state import Ended, EpochRecord

FEWEST_IN_VAIN = 5
"""Epochs behind the best one from which on it is said that they were in vain."""


@dataclass(frozen=True)
class StepRecord:
    """Where a training stands after a step; `loss` is the epoch's mean so far."""

    epoch: int
    epochs: int | None
    """How many there are at most; None where time alone decides."""
    step: int
    steps: int
    loss: float
    items_per_s: float
    seconds_left: float


@dataclass(frozen=True)
class History:
    """How a training went. Epochs count from 1."""

    epochs: tuple[EpochRecord, ...]
    best_epoch: int
    ended: Ended
    seconds: float
    items_per_s: float
    score_name: str
    failure: str = ""
    """What went wrong, where the loss was no longer finite."""
    steps: int = 0
    """Steps that were taken, over all epochs."""
    parts: int = 1
    """Pieces that each batch was cut into in the end, where the memory did not hold it whole."""
    spent_s: dict[str, float] = field(default_factory=dict)
    """Seconds by what they went to, see `profile`."""
    signals: tuple[Signal, ...] = ()
    """Norms of gradients, weights and updates by layer, at a few steps."""

    def told(self) -> list[str]:
        """How it went, for the user."""
        count = len(self.epochs)
        epochs = counted(count, "epoch")
        why = {
            "all epochs": epochs,
            "early": f"stopped after {epochs}: no better score for a while",
            "budget": f"stopped after {epochs}: the time budget is spent",
            "interrupted": f"interrupted in epoch {count:,}: the best weights so far are kept",
            "diverged": f"diverged in epoch {count + 1:,}: the best weights before that are kept",
        }[self.ended]
        best = self.epochs[self.best_epoch - 1]
        score = (
            ""
            if best.valid_score is None
            else f", validation {self.score_name} {best.valid_score:.4f}"
        )
        return [
            f"{why}, {self.seconds:,.0f} s, {counted(round(self.items_per_s), 'item')} a second; "
            f"kept: epoch {self.best_epoch:,}{score}.",
            *self._told_in_vain(),
        ]

    def _told_in_vain(self) -> list[str]:
        """Tell of most of a training that made nothing better; early stopping has said so."""
        after, last = len(self.epochs) - self.best_epoch, self.epochs[-1]
        is_told = after >= FEWEST_IN_VAIN and 2 * after >= len(self.epochs)
        if self.ended == "early" or last.valid_score is None or not is_told:
            return []
        return [
            f"None of the {after:,} epochs after it was better; the last one's validation "
            f"{self.score_name} is {last.valid_score:.4f}."
        ]


class Watcher(Protocol):
    """Who wants to see how it goes, and may ask to stop."""

    def step(self, record: StepRecord) -> None: ...
    def epoch(self, record: EpochRecord) -> None: ...
    def note(self, text: str) -> None: ...
    @property
    def wants_stop(self) -> bool: ...


class Silence:
    """Watches without a word."""

    wants_stop = False

    def step(self, record: StepRecord) -> None: ...
    def epoch(self, record: EpochRecord) -> None: ...
    def note(self, text: str) -> None: ...
