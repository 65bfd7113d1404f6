"""True lengths `[B]` beside padded values `[B, T, ...]`: check them, and silence the padding.

Nothing in the padding, not even NaN, may reach a valid step or the gradient of a weight. So

- layers that mix steps, have weights, or turn 0 into something else read the padding as 0 and
  leave 0 there, and no gradient goes back to it;
- layers that look at each number alone (relu, dropout, flatten ...) pay nothing: 0 stays 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gridcell.errors import ShapeError

WHOLE = (torch.int64, torch.int32)


def check_lengths(lengths: Tensor | None, x: Tensor, *, layer: str) -> None:
    """Raise ShapeError unless there is a whole length from 0 to T for each example of `x`."""
    if lengths is None:
        return
    if not isinstance(lengths, Tensor):
        raise ShapeError(
            f"{layer} lengths must be a tensor; got {type(lengths).__name__}.",
            fix="torch.as_tensor(lengths).",
        )
    if x.ndim == 2 and x.is_floating_point():
        raise ShapeError(f"{layer} takes no lengths for {tuple(x.shape)}: it has no time.")
    examples, steps = x.shape[:2]
    if lengths.shape != (examples,) or lengths.dtype not in WHOLE:
        raise ShapeError(
            f"{layer} lengths must be int64 or int32 [B={examples}]; "
            f"got {str(lengths.dtype).removeprefix('torch.')} {tuple(lengths.shape)}."
        )
    counts: list[int] = lengths.tolist()  # every layer asks: ten times as fast as tensors
    if counts and (min(counts) < 0 or max(counts) > steps):
        index = next(n for n, count in enumerate(counts) if not 0 <= count <= steps)
        raise ShapeError(
            f"{layer} lengths[{index}] is {counts[index]}: it must be 0 to {steps}, "
            "the steps that the values have."
        )


def valid_steps(lengths: Tensor, steps: int) -> Tensor:
    """Return bool `[B, T]`, True where a step is not padding.

    >>> valid_steps(torch.tensor([2, 0]), 3).tolist()
    [[True, True, False], [False, False, False]]
    """
    return torch.arange(steps, device=lengths.device)[None, :] < lengths[:, None]


def is_traced() -> bool:
    """Whether a graph is being recorded: then lengths are symbols, and nothing may look at them."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]


def is_full(lengths: Tensor | None, steps: int) -> bool:
    """Whether it is known that there is no padding; on a GPU to look would cost more than it saves.

    >>> is_full(torch.tensor([3, 3]), 3), is_full(torch.tensor([3, 2]), 3)
    (True, False)
    """
    if lengths is None:
        return True
    if lengths.device.type != "cpu" or is_traced():
        return False
    return min(lengths.tolist(), default=steps) == steps


def mask_steps(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Set the padding of `x [B, T, ...]` to zero; without lengths every step is valid."""
    if lengths is None or is_full(lengths, x.shape[1]):
        return x
    valid_BT = valid_steps(lengths, x.shape[1])
    valid = valid_BT.reshape(*valid_BT.shape, *(1,) * (x.ndim - 2))
    # Not a product: 0 * NaN is NaN, and the padding may hold anything.
    return torch.where(valid, x, torch.zeros((), dtype=x.dtype, device=x.device))


def at_least(x: Tensor, steps: int) -> Tensor:
    """Lengthen `x [B, T, ...]` with zeros to `steps`.

    A batch of nothing but short items has to go where they would go beside a long one: a window
    that finds no place on them gives them length 0.
    """
    missing = steps - x.shape[1]
    return F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing)) if missing > 0 else x


def same_lengths(_layer: object, lengths: Tensor | None) -> Tensor | None:
    """The lengths after a layer that keeps every step."""
    return lengths
