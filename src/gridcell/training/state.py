"""All that a training carries from one step to the next, as a value.

With the settings and the data it is enough to go on as if nothing had happened: batches follow from
the seed, the epoch and the step, so the position is two numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from gridcell.training.signals import Signal

Ended = Literal["all epochs", "early", "budget", "interrupted", "diverged"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean training loss, then the averaged weights on validation rows."""

    epoch: int
    loss: float
    valid_loss: float | None
    valid_score: float | None
    rate: float
    seconds: float
    is_best: bool


@dataclass(frozen=True)
class Position:
    """Where a training stands between two steps: all of its state that is no tensor."""

    epoch: int = 1
    """The epoch under way, from 1."""
    step: int = 0
    """Steps of that epoch that are done."""
    done: int = 0
    """Steps of all epochs that are done."""
    items: int = 0
    loss_sum: float = 0.0
    """Sum of the losses of this epoch's items so far, and how many they are."""
    seen: int = 0
    rate: float = 0.0
    epoch_s: float = 0.0
    elapsed_s: float = 0.0
    """Seconds of the training so far, those that validation took among them."""
    busy_s: float = 0.0
    scored_s: float = 0.0
    """Seconds that the last validation took."""
    average_steps: int = 0
    parts: int = 1
    """Pieces that each batch is cut into, where the memory does not hold it whole."""
    best_epoch: int = 0
    best_rank: tuple[float | None, float | None] | None = None
    """Score, higher is better, and negative loss of the best epoch; None for minus infinity."""
    records: tuple[EpochRecord, ...] = ()
    spent_s: dict[str, float] = field(default_factory=dict)
    """Seconds by what they went to, see `profile`."""
    signals: tuple[Signal, ...] = ()
    ended: Ended | None = None
    """Why the training ended; None while it is under way."""

    @property
    def is_over(self) -> bool:
        """Whether the training came to its own end, so that nothing of it is left to do."""
        return self.ended not in (None, "interrupted")


@dataclass(frozen=True)
class State:
    """A position, and the tensors that belong to it by name."""

    position: Position
    tensors: dict[str, Tensor]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name begins with a prefix, without it."""
        return {
            name.removeprefix(prefix): value
            for name, value in self.tensors.items()
            if name.startswith(prefix)
        }


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what the optimizer remembers of each parameter, named `NUMBER.WHAT`."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        f"{number}.{name}": value
        for number, parameter in enumerate(parameters)
        for name, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


@torch.no_grad()
def restore_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Tensor]) -> None:
    """Give the optimizer back what it remembered, to the bit."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, value in saved.items():
        number, name = key.split(".")
        parameter = parameters[int(number)]
        if value.shape == parameter.shape:
            # As it lay in memory beside its parameter: the fused step walks over both alike.
            value = torch.zeros_like(parameter, dtype=value.dtype).copy_(value)
        else:
            value = value.to(parameter.device)
        optimizer.state[parameter][name] = value
