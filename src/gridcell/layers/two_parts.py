"""Recorded values in bfloat16 without losing what they hold.

bfloat16 has 8 bits: a ripple of a hundredth on a swing of 1 is rounded away before the first layer
has seen it. So a layer that reads recorded values reads them as two numbers, what bfloat16 holds of
them and what it leaves, 16 bits together, both on the same weights:

    x = high + low, to x / 2^16;    W x = W high + W low

It costs the first layer its products twice, next to nothing where values have few channels. Pixels
have 8 bits and need none of it; a convolution in groups reads what bfloat16 holds alone.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from gridcell.layers.engines import arithmetic


def is_rounded(x: Tensor) -> bool:
    """Whether products would be formed of fewer bits than `x` holds."""
    return x.dtype == torch.float32 and arithmetic(x) == torch.bfloat16


def in_two_parts(x: Tensor, axis: int) -> Tensor:
    """Return what bfloat16 holds of x and behind it, on `axis`, what that leaves.

    >>> in_two_parts(torch.tensor([[1.001]]), 1).tolist()
    [[1.0, 0.00099945068359375]]
    """
    high = x.to(torch.bfloat16)
    return torch.cat([high, (x - high).to(torch.bfloat16)], axis)


def read_values(module: nn.Module) -> bool:
    """Tell the layers that read what comes into `module` that it is recorded values.

    Those are the first ones with products, on every way that leads through branches. Return whether
    there were some: what comes out are features then.
    """
    if hasattr(module, "reads_values"):
        cast(Any, module).reads_values = True
        return True
    chain = getattr(module, "layers", None)
    if isinstance(chain, nn.ModuleList):
        return any(read_values(layer) for layer in chain)  # and no further than the first
    found = [read_values(branch) for branch in module.children()]  # all of them
    return any(found)
