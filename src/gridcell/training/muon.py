"""Muon: momentum made orthogonal before it is taken as a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""Of Jordan et al. 2024: brings singular values near 1 in five rounds, not exactly to it."""
ROUNDS = 5
STEP_SIZE = 1.33
"""Root mean square of a step at rate 1: so large that the rate usual for AdamW, which all that is
no filter keeps, is right for filters too. Liu et al. 2025 make it AdamW's own, 0.2."""


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum whose steps have all their singular values near 1.

        m = momentum * m + gradient
        step = 1.33 * sqrt(max(rows, columns)) * orthogonal(gradient + momentum * m)
        weight = weight - rate * (step + weight_decay * weight)

    A gradient of filters lies in a few directions, along which one pattern is learned while others
    wait; here every direction moves alike. A filter is a row, whatever its axes; the weights of an
    LSTM are as many matrices, one under the other, as a group's `blocks` says.

    dtype   of the arithmetic that makes a step orthogonal; bfloat16 is exact enough

    Raises   ValueError where a parameter has fewer than two axes
    Source   Jordan et al. 2024; a step whose size is the same for all shapes from Liu et al. 2025
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        *,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "blocks": 1})
        self.dtype = dtype
        if any(p.ndim < 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon needs matrices or filters, and a parameter is a vector.")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients at hand."""
        for group in self.param_groups:
            rate, blocks = group["lr"], group["blocks"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                known = self.state[weight]
                if not known:
                    known["momentum"] = torch.zeros_like(weight)
                moving = known["momentum"].mul_(MOMENTUM).add_(weight.grad)
                ahead = weight.grad.add(moving, alpha=MOMENTUM)
                matrices = ahead.reshape(blocks, len(weight) // blocks, -1)
                size = STEP_SIZE * max(matrices.shape[1:]) ** 0.5
                step = orthogonal(matrices, self.dtype).reshape(weight.shape)
                weight.mul_(1 - rate * group["weight_decay"]).add_(step, alpha=-rate * size)


def orthogonal(matrices: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Return matrices with the singular vectors of these and singular values of about 1.

    Shapes   [N, rows, columns] -> the same
    Source   the Newton-Schulz iteration of Jordan et al. 2024

    >>> found = orthogonal(torch.diag(torch.tensor([1.0, 0.1, 0.01]))[None])[0]
    >>> bool((found.diagonal() > 0.6).all() and (found.diagonal() < 1.2).all())
    True
    """
    a, b, c = POLYNOMIAL
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if is_tall else matrices).to(dtype)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ROUNDS):
        square = x @ x.mT
        poly = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, poly, x, beta=a)
    return (x.mT if is_tall else x).to(matrices.dtype)
