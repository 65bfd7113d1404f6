"""The optimizers, with weight decay kept off biases and norms."""

from __future__ import annotations

import inspect
from typing import Any, Literal, TypeVar, cast

import torch
from torch import nn

SomeOptimizer = TypeVar("SomeOptimizer", bound=torch.optim.Optimizer)
MOMENTUM = 0.9
ADAM_BETAS = (0.9, 0.99)


def choose_optimizer(
    network: nn.Module, name: Literal["adamw", "sgd"], *, rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter 2019) or SGD with Nesterov momentum, fused into one call.

    Biases and the scales of norms are vectors: pulling them to zero would only weaken the layer,
    so weight decay is kept for matrices and filters.
    """
    matrices = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "adamw":
        return _AdamW(groups, lr=rate, betas=ADAM_BETAS, fused=True)
    return _SGD(groups, lr=rate, momentum=MOMENTUM, nesterov=True, fused=True)


def _without_compiler(optimizer: type[SomeOptimizer]) -> type[SomeOptimizer]:
    """Return an optimizer whose methods do without what is around them for torch.compile.

    They would import the compiler at their first call, which takes more than a second, and open a
    range of the profiler at every step. What is left is the optimizer's own arithmetic: `step`
    takes no closure, and hooks around steps are not run. A subclass, since only so is the state
    that a training keeps still the optimizer's own.
    """
    plain = {
        name: inspect.unwrap(getattr(optimizer, name))
        for name in ("add_param_group", "zero_grad", "step")
    }

    def step(self: torch.optim.Optimizer) -> None:
        with torch.no_grad():
            plain["step"](self)

    step.hooked = True  # type: ignore[attr-defined]  # torch would put its own around it
    methods: dict[str, Any] = {**plain, "step": step}
    return cast(type[SomeOptimizer], type(optimizer.__name__, (optimizer,), methods))


_AdamW = _without_compiler(torch.optim.AdamW)
_SGD = _without_compiler(torch.optim.SGD)
