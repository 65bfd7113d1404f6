"""The optimizers, with weight decay kept off biases and norms."""

from __future__ import annotations

import inspect
from typing import Any, Literal, TypeVar, cast

import torch
from torch import nn

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)
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


def _without_compiler(kind: type[Kind]) -> type[Kind]:
    """Return an optimizer whose methods do without what is around them for torch.compile.

    They would import the compiler at their first call, which takes a training 1.4 seconds, and open
    a range of the profiler at every step.
    """
    plain = {
        name: inspect.unwrap(getattr(kind, name))
        for name in ("add_param_group", "zero_grad", "step")
    }

    def step(self: torch.optim.Optimizer) -> None:
        with torch.no_grad():
            plain["step"](self)

    step.hooked = True  # type: ignore[attr-defined]  # torch would put its own around it
    methods: dict[str, Any] = {**plain, "step": step}
    return cast(type[Kind], type(kind.__name__, (kind,), methods))


_AdamW = _without_compiler(torch.optim.AdamW)
_SGD = _without_compiler(torch.optim.SGD)
