"""The optimizers, with weight decay kept off biases and norms."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

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
        return torch.optim.AdamW(groups, lr=rate, betas=ADAM_BETAS, fused=True)
    return torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM, nesterov=True, fused=True)
