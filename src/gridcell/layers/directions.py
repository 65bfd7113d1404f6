"""Walking a padded batch `[B, T, ...]` in both directions, each exactly over the true lengths.

The backward direction is the forward one on a copy that is reversed within each length: the
padding stays behind the valid steps, so that no direction ever walks over it first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gridcell.layers.recurrent_state import Ends

Walk = Callable[[Tensor, int, int], tuple[Tensor, Ends]]
"""Values, layer, direction -> outputs [B, T, D] and the last states [B, D] of one walk."""


def fill_missing_biases(
    layer: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object
) -> None:
    """Before a state dict is loaded, give zeros to a layer that PyTorch made with bias=False."""
    names = [name for name, _ in layer.named_parameters() if name.startswith("bias_")]
    if not any(prefix + name in state_dict for name in names):
        for name in names:
            weight = state_dict.get(prefix + name.replace("bias_", "weight_"))
            if weight is not None:
                state_dict[prefix + name] = weight.new_zeros(len(weight))


def reverse_steps(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Turn round the valid steps of each example; the padding stays where it is.

    >>> x = torch.tensor([[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]])[..., None]
    >>> reverse_steps(x, torch.tensor([2, 3]))[..., 0].tolist()
    [[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]]
    """
    if lengths is None:
        return x.flip(1)
    examples, steps = x.shape[:2]
    step = torch.arange(steps, device=x.device)[None, :]
    length = lengths[:, None].to(step.dtype)
    source_BT = torch.where(step < length, length - 1 - step, step)
    source_BT = source_BT + steps * torch.arange(examples, device=x.device)[:, None]
    # As rows of one long matrix: three times as fast as gather, forward and backward.
    rows = x.flatten(0, 1).index_select(0, source_BT.flatten())
    return rows.view(x.shape)


def last_steps(y: Tensor, lengths: Tensor, first: Tensor) -> Tensor:
    """Return the last valid step of each example, or `first` where the length is 0.

    Shapes   y [B, T, D], lengths [B], first [B, D] -> [B, D]
    """
    rows = torch.arange(y.shape[0], device=y.device)
    return torch.where(lengths[:, None] > 0, y[rows, (lengths - 1).clamp(min=0)], first)


def through_layers(
    x: Tensor,
    lengths: Tensor | None,
    *,
    layers: int,
    both: bool,
    walk: Walk,
    between: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Ends]:
    """Walk every layer in every direction; `between` is applied to what one layer gives the next.

    Shapes   x [B, T, C], zero in the padding
             -> y [B, T, directions * D], last states [layers, directions, B, D] each
    """
    ends: list[Ends] = []
    for layer in range(layers):
        y, end = walk(x, layer, 0)
        ends.append(end)
        if both:
            reversed_y, end = walk(reverse_steps(x, lengths), layer, 1)
            ends.append(end)
            y = torch.cat([y, reverse_steps(reversed_y, lengths)], -1)
        x = y if layer == layers - 1 else between(y)
    directions = 2 if both else 1
    kinds = [
        torch.stack(kind) if len(kind) > 1 else kind[0][None] for kind in zip(*ends, strict=True)
    ]
    return x, tuple(kind.view(layers, directions, *kind.shape[1:]) for kind in kinds)
