"""The first numbers of a weight: drawn at random, or those that others trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor

Options = ParamSpec("Options")


def draw(
    initialize: Callable[Concatenate[Tensor, Options], Tensor],
    weight: Tensor,
    *args: Options.args,
    **options: Options.kwargs,
) -> None:
    """Fill the weight by a function of `torch.nn.init`, but leave a sketch of one alone.

    A sketch lies on the meta device: it has a size and no numbers. A saved network is built so
    before its own numbers are read. To draw there PyTorch would load its compiler, for a second.

    >>> import torch
    >>> weight = torch.empty(2, 3)
    >>> draw(torch.nn.init.uniform_, weight, 4, 5)
    >>> bool((weight >= 4).all())
    True
    """
    if not weight.is_meta:
        initialize(weight, *args, **options)


@torch.no_grad()
def start_rows(table: Tensor, rows: Tensor, values: Tensor) -> None:
    """Let some rows of an embedding start from given numbers; the others stay as they are.

    All are scaled by one factor, so that their deviation is D ** -0.5 like that of rows drawn at
    random: what comes behind was made for that. Numbers that are all equal are taken as they are.

    Shapes   table [V, D], rows [N] whole numbers, values [N, D]

    >>> table = torch.zeros(3, 4)
    >>> start_rows(table, torch.tensor([2]), torch.tensor([[10.0, -10.0, 10.0, -10.0]]))
    >>> table.tolist()[1:]
    [[0.0, 0.0, 0.0, 0.0], [0.5, -0.5, 0.5, -0.5]]
    """
    deviation = values.double().std(correction=0).item()
    scale = table.shape[1] ** -0.5 / deviation if deviation > 0 else 1.0
    table[rows] = (values * scale).to(table.dtype)
