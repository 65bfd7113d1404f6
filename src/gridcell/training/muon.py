"""Muon: momentum made orthogonal before it is taken as a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""Of Jordan et al. 2024: brings singular values near 1 in five rounds, not exactly to it."""
ROUNDS = 5
LONG = 4
"""Columns to a row from which on `orthogonal` works on the products of rows alone."""
SMALLEST = 1e-7
"""Of a norm that is divided by."""
STEP_SIZE = 1.33
"""Root mean square of a step at rate 1: so large that the rate usual for AdamW, which all that is
no filter keeps, is right for filters too. Liu et al. 2025 make it AdamW's own, 0.2."""


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum whose steps have all their singular values near 1.

        m = momentum * m + gradient
        step = 1.33 * sqrt(max(rows, columns)) * orthogonal(gradient + momentum * m)
        weight = weight - rate * (step + weight_decay * weight)

    A gradient of filters lies in a few directions, along which one pattern is learned while others
    wait; here every direction moves alike. A filter is a row, whatever its axes.

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
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.dtype = dtype
        if any(p.ndim < 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon needs matrices or filters, and a parameter is a vector.")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients at hand."""
        for group in self.param_groups:
            rate = group["lr"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                known = self.state[weight]
                if not known:
                    known["momentum"] = torch.zeros_like(weight)
                moving = known["momentum"]
                torch.add(weight.grad, moving, alpha=MOMENTUM, out=moving)
                ahead = torch.add(weight.grad, moving, alpha=MOMENTUM)
                # A row's values in the order in which the filter's lie in memory: no copies.
                order = (0, *sorted(range(1, weight.ndim), key=weight.stride, reverse=True))
                matrix = ahead.permute(order).flatten(1)
                size = STEP_SIZE * max(matrix.shape) ** 0.5
                step = orthogonal(matrix, self.dtype)
                weight.mul_(1 - rate * group["weight_decay"])
                filters = weight.permute(order)
                filters.add_(step.view(filters.shape), alpha=-rate * size)


def orthogonal(matrix: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Return a matrix with the singular vectors of this one and singular values of about 1.

        round by round   x = (a + b x x' + c (x x')^2) x

    Where a row is much longer than there are rows, the rounds are taken on the small x x' alone,
    which follows them, in float32, and their product meets x once.

    dtype   of products with x; of all of them where rows are shorter

    Shapes   [rows, columns] -> the same, in `dtype`
    Source   the Newton-Schulz iteration of Jordan et al. 2024

    >>> found = orthogonal(torch.diag(torch.tensor([1.0, 0.1, 0.01])))
    >>> bool((found.diagonal() > 0.6).all() and (found.diagonal() < 1.2).all())
    True
    """
    a, b, c = POLYNOMIAL
    is_tall = len(matrix) > matrix.shape[1]
    wide = (matrix.T if is_tall else matrix).float()
    x = wide.to(dtype)
    if x.shape[1] >= LONG * len(x):
        # Rounded to bfloat16, x x' has eigenvalues below 0, which the rounds would blow up.
        square = wide @ wide.T
        norm = square.trace().sqrt().clamp(min=SMALLEST)
        square /= norm**2
        product: Tensor | None = None
        for left in reversed(range(ROUNDS)):
            factor = torch.addmm(square, square, square, beta=b, alpha=c)
            factor.diagonal().add_(a)
            product = factor if product is None else factor @ product
            if left:
                square = factor @ square @ factor
        assert product is not None
        x = (product / norm).to(dtype) @ x
    else:
        x = x / x.norm().clamp(min=SMALLEST)
        for _ in range(ROUNDS):
            square = x @ x.T
            factor = torch.addmm(square, square, square, beta=b, alpha=c)
            x = torch.addmm(x, factor, x, beta=a)
    return x.T if is_tall else x
