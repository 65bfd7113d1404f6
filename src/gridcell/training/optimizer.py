"""The optimizers, with weight decay kept off biases and norms."""

from __future__ import annotations

import inspect
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from gridcell import layers
from gridcell.training.muon import Muon
from gridcell.training.precision import Precision

OptimizerName = Literal["adamw", "sgd", "muon"]
SomeOptimizer = TypeVar("SomeOptimizer", bound=torch.optim.Optimizer)
MOMENTUM = 0.9
ADAM_BETAS = (0.9, 0.99)


def choose_optimizer(
    network: nn.Module,
    name: OptimizerName,
    *,
    rate: float,
    weight_decay: float,
    precision: Precision = "float32",
) -> torch.optim.Optimizer:
    """Return the optimizer of that name.

    adamw   Loshchilov & Hutter 2019, fused into one call
    sgd     with Nesterov momentum, fused into one call
    muon    `Muon` for the filters of convolutions, AdamW for all else

    precision   of the training; Muon makes its steps orthogonal in the same

    Biases and the scales of norms are vectors: pulling them to zero would only weaken the layer,
    so weight decay is kept for matrices and filters.
    """
    filters = muon_filters(network) if name == "muon" else []
    taken = {id(weight) for weight in filters}
    left = [p for p in network.parameters() if p.requires_grad and id(p) not in taken]
    groups = [
        {"params": [p for p in left if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in left if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "sgd":
        return _SGD(groups, lr=rate, momentum=MOMENTUM, nesterov=True, fused=True)
    both: list[torch.optim.Optimizer] = []
    if filters:
        both.append(
            _Muon(filters, lr=rate, weight_decay=weight_decay, dtype=getattr(torch, precision))
        )
    if groups:
        both.append(_AdamW(groups, lr=rate, betas=ADAM_BETAS, fused=True))
    return both[0] if len(both) == 1 else _Beside(both)


def muon_filters(network: nn.Module) -> list[Tensor]:
    """Return what Muon takes steps of: filters that see all channels, not those of groups.

    What a layer found before the first step is not learned and so not among them.
    """
    convolutions = [m for m in network.modules() if isinstance(m, layers.Conv) and m.groups == 1]
    return [m.weight for m in convolutions if m.weight.requires_grad]


def _without_compiler(optimizer: type[SomeOptimizer]) -> type[SomeOptimizer]:
    """Return an optimizer whose methods do without what is around them for torch.compile.

    They would import the compiler at their first call, which takes more than a second, and open a
    range of the profiler at every step. What is left is the optimizer's own arithmetic: `step`
    takes no closure, `zero_grad` always forgets, and hooks around steps are not run. A subclass,
    since only so is the state that a training keeps still the optimizer's own.
    """
    plain = {name: inspect.unwrap(getattr(optimizer, name)) for name in ("add_param_group", "step")}

    def step(self: torch.optim.Optimizer) -> None:
        with torch.no_grad():
            plain["step"](self)

    def zero_grad(self: torch.optim.Optimizer) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    step.hooked = True  # type: ignore[attr-defined]  # torch would put its own around it
    methods: dict[str, Any] = {**plain, "step": step, "zero_grad": zero_grad}
    return cast(type[SomeOptimizer], type(optimizer.__name__, (optimizer,), methods))


_AdamW = _without_compiler(torch.optim.AdamW)
_SGD = _without_compiler(torch.optim.SGD)
_Muon = _without_compiler(Muon)


class _Beside(torch.optim.Optimizer):
    """Optimizers of different parameters as one: their groups in order, what they keep together.

    Only what a training asks of one: groups, what is kept, `zero_grad` and `step`.
    """

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        self.optimizers = optimizers
        self.param_groups = [group for each in optimizers for group in each.param_groups]
        self.state = optimizers[0].state
        for each in optimizers[1:]:
            each.state = self.state

    def zero_grad(self) -> None:  # type: ignore[override]
        for each in self.optimizers:
            each.zero_grad()

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for each in self.optimizers:
            each.step()
