"""The first numbers of a weight, drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

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
