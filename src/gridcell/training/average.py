"""The running average of the weights, which generalises better than the last step's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEPS_AT_ONCE = 4
LONG_DECAY = 1 - 1 / (8 * STEPS_AT_ONCE)


def usual_decay(steps: int) -> float:
    """The decay that averages over about the last fiftieth of so many steps; 0 where that is one.

    >>> usual_decay(1000), usual_decay(60)
    (0.95, 0.0)
    """
    return 1 - 1 / max(steps // 50, 1)


class WeightAverage:
    """An exponential moving average of a network's floating-point weights and buffers.

        average = decay * average + (1 - decay) * weights

    While few steps are seen the decay is (1 + step) / (10 + step), so that the random start is
    forgotten soon. An average over 32 steps and more takes every fourth in, for all four: it is
    nearly the same, and reading all weights at every step costs up to a twentieth of it.

    Source   Polyak & Juditsky 1992
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.step = 0
        self._live = _floating(network)
        self._average = [value.clone() for value in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """Take the network's present weights into the average."""
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        self.step += 1
        steps = 1 if decay < LONG_DECAY else STEPS_AT_ONCE
        if self.step % steps == 0:
            torch._foreach_lerp_(self._average, self._live, 1 - decay**steps)

    def state(self) -> dict[str, Tensor]:
        """The averages, by their number."""
        return {str(number): value for number, value in enumerate(self._average)}

    @torch.no_grad()
    def restore(self, saved: dict[str, Tensor], step: int) -> None:
        """Go on from averages that `state` gave after `step` updates.

        Where nothing was averaged so far, `saved` is empty, and the average begins at the weights.
        """
        self.step = step
        for number, (value, live) in enumerate(zip(self._average, self._live, strict=True)):
            value.copy_(saved[str(number)] if saved else live)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the network's weights with the average; call again to change them back."""
        for live, average in zip(self._live, self._average, strict=True):
            kept = live.clone()
            live.copy_(average)
            average.copy_(kept)


def _floating(network: nn.Module) -> list[Tensor]:
    values: list[Tensor] = [p.data for p in network.parameters()]
    values += [b for b in network.buffers() if b.is_floating_point()]
    return values
