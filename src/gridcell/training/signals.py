"""Signs of how a network learns, taken at a few steps: gradients, weights and updates by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gridcell.networks import MEANS, Network
from gridcell.networks.build import Step

LOOKS = 24
"""Steps of a training at which is looked: often enough to see, too seldom to cost time."""
LONGEST_NAME = 48
SMALLEST_SAFE, LARGEST_SAFE = 1e-12, 1e15
"""Between these the squares of a norm in float32 neither vanish nor overflow."""


@dataclass(frozen=True)
class Signal:
    """Euclidean norms at one step, a number for each layer that learns, from input to output."""

    step: int
    gradients: tuple[float, ...]
    weights: tuple[float, ...]
    updates: tuple[float, ...]
    """Of what the step changed the weights by."""


class Signals:
    """Looks at a network while it trains."""

    def __init__(self, network: nn.Module, steps: int) -> None:
        self.every = max(1, steps // LOOKS)
        self.layers = learning_layers(network)
        self.taken: list[Signal] = []
        self._step = 0
        self._before: list[list[Tensor]] | None = None

    @torch.no_grad()
    def before(self, step: int) -> None:
        """Remember the weights, if this is a step to look at."""
        self._step, self._before = step, None
        if step % self.every == 0:
            self._before = [[p.clone() for p in layer] for layer in self.layers.values()]

    @torch.no_grad()
    def after(self) -> None:
        """Take the norms, once the step is done and its gradients are still there."""
        if self._before is None:
            return
        gradients, weights, updates = [], [], []
        for layer, before in zip(self.layers.values(), self._before, strict=True):
            gradients.append(_norm([p.grad for p in layer if p.grad is not None]))
            weights.append(_norm(before))
            pairs = zip(layer, before, strict=True)
            updates.append(_norm([parameter - old for parameter, old in pairs]))
        self.taken.append(Signal(self._step, tuple(gradients), tuple(weights), tuple(updates)))
        self._before = None


def learning_layers(network: nn.Module) -> dict[str, list[Tensor]]:
    """The matrices and filters of each layer that has some, under the layer's name as written."""
    found: dict[str, list[Tensor]] = {}
    if isinstance(network, Network):
        for number, step in enumerate(_unwrapped(network.steps), start=1):
            name = f"layer {number}, {step.spec}"
            if len(name) > LONGEST_NAME:
                name = f"{name[: LONGEST_NAME - 4]} ..."
            found[name] = [p for p in step.module.parameters() if p.requires_grad and p.ndim > 1]
    else:
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and parameter.ndim > 1:
                found.setdefault(name.rpartition(".")[0] or name, []).append(parameter)
    return {name: layer for name, layer in found.items() if layer}


def _unwrapped(steps: Sequence[Step]) -> Iterator[Step]:
    """Layers in their order, with those inside a mean in its place: it has no weights of its own.

    Of an ensemble they are those of its first member, which the others are like.
    """
    for step in steps:
        if step.spec.name in MEANS:
            yield from _unwrapped(step.branches[0])
        else:
            yield step


def _norm(values: list[Tensor]) -> float:
    return math.hypot(*map(_norm_of, values))


def _norm_of(value: Tensor) -> float:
    """The norm of one tensor, to about 1e-4; summed in float64 only where squares need it."""
    norm = float(torch.linalg.vector_norm(value))
    if SMALLEST_SAFE < norm < LARGEST_SAFE:
        return norm
    return float(torch.linalg.vector_norm(value.double()))
