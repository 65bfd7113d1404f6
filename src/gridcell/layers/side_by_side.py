"""The gradient of filters over small maps, from pictures laid side by side.

On processors with AMX oneDNN forms the gradient of filters row by row, 32 places at a time. Rows of
maps that were pooled down have 2 to 8, so that most of the work is on nothing. Here the pictures of
a batch lie in one row, with room for the padding between them: the sum is the same, and of 3x3
filters is there 1.05 to 7 times as soon, the narrower the maps and the more the filters
(`benchmarks/small_maps.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

WIDEST_NARROW = 8
LEAST_PRODUCTS = 128 * 64 * 64
"""Of pictures, channels and filters. With 32 and 128 pictures, 64 to 512 filters of 3x3 and maps of
2 to 8 all gain from here on, and below it all lose; maps of 9 to 14 gained little or lost."""
FEWEST_IN_A_ROW, MOST_IN_A_ROW = 8, 32


@dataclass(frozen=True)
class Moves:
    """How a kernel moves over each axis, named as the framework's convolutions do."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int


def suits_a_row(x: Tensor, weight: Tensor, moves: Moves) -> bool:
    """Whether `convolve` on `x [N, C, H, W]` is the same convolution, and quicker to learn by."""
    is_learned = weight.requires_grad and torch.is_grad_enabled()
    if x.ndim != 4 or not is_learned:
        return False
    is_plain = {*moves.stride, *moves.dilation, moves.groups} == {1}
    cells = zip(moves.padding, weight.shape[2:], strict=True)
    keeps_sizes = all(2 * room == size - 1 for room, size in cells)
    is_narrow = x.shape[3] <= WIDEST_NARROW and weight.shape[3] > 1
    products = len(x) * len(weight) * weight.shape[1]
    is_worth_it = products >= LEAST_PRODUCTS and _in_a_row(len(x)) >= FEWEST_IN_A_ROW
    return is_plain and keeps_sizes and is_narrow and is_worth_it and has_tiles()


@cache
def has_tiles() -> bool:
    """Whether the processor multiplies matrices of bfloat16 in tiles (AMX)."""
    return bool(torch.cpu._is_amx_tile_supported())


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """The convolution of stride 1 that keeps sizes; its gradient comes from pictures in rows.

    Shapes   x [N, C, H, W], weight [filters, C, *kernel], bias [filters] -> [N, filters, H, W]

    >>> x, weight = torch.rand(4, 3, 5, 5), torch.rand(2, 3, 3, 3, requires_grad=True)
    >>> convolve(x, weight, None, [1, 1]).sum().backward()
    >>> by_row, weight.grad = weight.grad, None
    >>> F.conv2d(x, weight, padding=1).sum().backward()
    >>> torch.allclose(by_row, weight.grad)
    True
    """
    y: Tensor = _Convolution.apply(x, weight, bias, list(padding))  # type: ignore[no-untyped-call]
    return y


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.has_bias = padding, bias is not None
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (x, weight) = grads, ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]

        def gradients(of: Tensor, y: Tensor, which: list[bool]) -> list[Tensor | None]:
            found: list[Tensor | None] = torch.ops.aten.convolution_backward(
                y,
                of,
                weight,
                [len(weight)] if ctx.has_bias else None,
                [1, 1],
                ctx.padding,
                [1, 1],
                False,  # not transposed
                [0, 0],
                1,
                which,
            )
            return found

        grad_x = gradients(x, grad, [True, False, False])[0] if of_x else None
        grad_weight = grad_bias = None
        if of_weight or of_bias:
            rows, grad_rows = (_side_by_side(each, ctx.padding[1]) for each in (x, grad))
            _, grad_weight, grad_bias = gradients(rows, grad_rows, [False, of_weight, of_bias])
        return grad_x, grad_weight, grad_bias, None


def _side_by_side(x: Tensor, room: int) -> Tensor:
    """Lay pictures `x [N, C, H, W]` in rows, 0 in the room behind each; channels last in memory."""
    count, channels, height, width = x.shape
    together = _in_a_row(count)
    rows = x.new_zeros(count // together, height, together, width + room, channels)
    pictures = x.permute(0, 2, 3, 1).reshape(-1, together, height, width, channels)
    rows[:, :, :, :width] = pictures.transpose(1, 2)
    return rows.flatten(2, 3).permute(0, 3, 1, 2)


def _in_a_row(count: int) -> int:
    """The most pictures of so many that go into equal rows."""
    return max(n for n in range(1, MOST_IN_A_ROW + 1) if count % n == 0)
