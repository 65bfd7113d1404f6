"""The gradient of a convolution's filters, formed so that oneDNN is quick and right about it.

On processors with AMX oneDNN forms it row by row, 32 places at a time, in bfloat16. Three kinds of
maps are brought to it in another shape; the sum stays the same.

- Narrow ones, pooled down to rows of 2 to 8, of whose work most is on nothing: the pictures of a
  batch lie in one row, with room for the padding between them. Of 3x3 filters the gradient is there
  1.05 to 7 times as soon, the narrower the maps and the more the filters
  (`benchmarks/small_maps.py`).
- Wide ones whose rows end in a part of 32 places, where threads share a picture: what lies in
  memory behind a row is then read as well, and not a number comes out where that holds none. They
  are filled up with places whose gradient is 0.
- Large ones over three axes, whose gradient comes out wrong, or is written past its end: each step
  of the kernel's first axis is a convolution over the two others.

The last two are faults of oneDNN 3.12, found by comparing some 10,000 drawn shapes with float32 in
memory that held no numbers before; float32 has neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gridcell.layers.window import Window

WIDEST_NARROW = 8
LEAST_PRODUCTS = 128 * 64 * 64
"""Of pictures, channels and filters. With 32 and 128 pictures, 64 to 512 filters of 3x3 and maps of
2 to 8 all gain from here on, and below it all lose; maps of 9 to 14 gained little or lost."""
FEWEST_IN_A_ROW, MOST_IN_A_ROW = 8, 32
ROW = 32
"""Places of a row that are formed at once."""
LARGEST_DEEP = 1 << 16
"""Places of a picture, its rows filled up, times channels or filters; the smallest wrong was twice
that."""


@dataclass(frozen=True)
class Moves:
    """How a kernel moves over each axis, named as the framework's convolutions do."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int = 1

    def places(self, size: int, kernel: int, *, axis: int) -> int:
        """How many places a kernel has on an axis of this size."""
        stride, padding, dilation = self.stride[axis], self.padding[axis], self.dilation[axis]
        return Window(kernel, stride, padding, dilation).places(size)

    def of_one_step(self) -> Moves:
        """How it moves over the axes after the first."""
        return Moves(self.stride[1:], self.padding[1:], self.dilation[1:], self.groups)


def are_own(x: Tensor, weight: Tensor, moves: Moves) -> bool:
    """Whether filters that see `x [N, C, *axes]` in bfloat16 are to learn by `convolve`."""
    if not (weight.requires_grad and torch.is_grad_enabled() and has_tiles()):
        return False
    return _suit_a_row(x, weight, moves) or _end_in_a_part(x, weight, moves) or _are_deep(x, weight)


@cache
def has_tiles() -> bool:
    """Whether the processor multiplies matrices of bfloat16 in tiles (AMX)."""
    return bool(torch.cpu._is_amx_tile_supported())


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, moves: Moves) -> Tensor:
    """The framework's convolution, but for the gradient of its filters; see above.

    Shapes   x [N, C, *axes], weight [filters, C / groups, *kernel], bias [filters], 2 or 3 axes

    >>> x, weight = torch.rand(4, 3, 5, 5), torch.rand(2, 3, 3, 3, requires_grad=True)
    >>> convolve(x, weight, None, Moves([1, 1], [1, 1], [1, 1])).sum().backward()
    >>> by_row, weight.grad = weight.grad, None
    >>> F.conv2d(x, weight, padding=1).sum().backward()
    >>> torch.allclose(by_row, weight.grad)
    True
    """
    y: Tensor = _Convolution.apply(x, weight, bias, moves)  # type: ignore[no-untyped-call]
    return y


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, moves: Moves) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.moves, ctx.has_bias = moves, bias is not None
        slide = F.conv2d if x.ndim == 4 else F.conv3d
        return slide(x, weight, bias, **vars(moves))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (x, weight) = grads, ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        grad_x = grad_weight = None
        if of_x:
            grad_x = _gradients(x, grad, weight, ctx.moves, [True, False, False])[0]
        if of_weight:
            grad_weight = _of_filters(x, grad, weight, ctx.moves)
        grad_bias = grad.sum([0, *range(2, grad.ndim)]) if of_bias else None
        return grad_x, grad_weight, grad_bias, None


def _of_filters(x: Tensor, grad: Tensor, weight: Tensor, moves: Moves) -> Tensor:
    """The gradient of `weight`, which saw `x`, from that of what came out."""
    if _are_deep(x, weight) or (x.ndim == 5 and _end_in_a_part(x, weight, moves)):
        return _of_each_step(x, grad, weight, moves)
    if _suit_a_row(x, weight, moves):
        x, grad = (_side_by_side(each, moves.padding[1]) for each in (x, grad))
    elif _end_in_a_part(x, weight, moves):
        more = -grad.shape[-1] % ROW
        grad = _last_in_memory(F.pad(grad, (0, more)))
        x = _last_in_memory(F.pad(x, (0, more * moves.stride[-1])))
    found = _gradients(x, grad, weight, moves, [False, True, False])[1]
    assert found is not None
    return found


def _gradients(
    x: Tensor, grad: Tensor, weight: Tensor, moves: Moves, which: list[bool]
) -> list[Tensor | None]:
    """Those of x, weight and bias which are asked for, as the framework forms them."""
    found: list[Tensor | None] = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        moves.stride,
        moves.padding,
        moves.dilation,
        False,  # not transposed
        [0] * len(moves.stride),
        moves.groups,
        which,
    )
    return found


def _of_each_step(x: Tensor, grad: Tensor, weight: Tensor, moves: Moves) -> Tensor:
    """The gradient of `weight [filters, C, steps, *kernel]`, each of its steps for itself."""
    count, room, hop = grad.shape[2], moves.padding[0], moves.stride[0]
    x = F.pad(x, (0, 0, 0, 0, room, room))
    grad = _as_pictures(grad)
    found = []
    for number in range(weight.shape[2]):
        first = number * moves.dilation[0]
        seen = _as_pictures(x[:, :, first : first + hop * (count - 1) + 1 : hop])
        found.append(_of_filters(seen, grad, weight[:, :, number], moves.of_one_step()))
    return torch.stack(found, 2)


def _as_pictures(x: Tensor) -> Tensor:
    """Steps of `x [N, C, T, H, W]` as pictures `[N T, C, H, W]`."""
    return _last_in_memory(x.transpose(1, 2).flatten(0, 1))


def _last_in_memory(x: Tensor) -> Tensor:
    """The same values, channels last in memory."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.contiguous(memory_format=formats[x.ndim])


def _suit_a_row(x: Tensor, weight: Tensor, moves: Moves) -> bool:
    """Whether pictures side by side teach the same, and sooner."""
    if x.ndim != 4:
        return False
    is_plain = {*moves.stride, *moves.dilation, moves.groups} == {1}
    cells = zip(moves.padding, weight.shape[2:], strict=True)
    keeps_sizes = all(2 * room == size - 1 for room, size in cells)
    is_narrow = x.shape[3] <= WIDEST_NARROW and weight.shape[3] > 1
    products = len(x) * len(weight) * weight.shape[1]
    is_worth_it = products >= LEAST_PRODUCTS and _in_a_row(len(x)) >= FEWEST_IN_A_ROW
    return is_plain and keeps_sizes and is_narrow and is_worth_it


def _end_in_a_part(x: Tensor, weight: Tensor, moves: Moves) -> bool:
    """Whether rows end in a part of what is formed at once, and threads may share a picture."""
    sizes = zip(x.shape[2:], weight.shape[2:], strict=True)
    *rows, places = (moves.places(*each, axis=axis) for axis, each in enumerate(sizes))
    is_shared = len(x) % torch.get_num_threads() > 0 and max(rows) > 1
    return is_shared and places > ROW and places % ROW > 0


def _are_deep(x: Tensor, weight: Tensor) -> bool:
    """Whether these are large maps over three axes."""
    if x.ndim != 5:
        return False
    across = math.ceil(x.shape[-1] / ROW) * ROW
    return x.shape[-2] * across * max(x.shape[1], len(weight)) > LARGEST_DEEP


def _side_by_side(x: Tensor, room: int) -> Tensor:
    """Lay pictures `x [N, C, H, W]` in rows, 0 in the room behind each; channels last in memory.

    A row of more than `ROW` places is filled up, for the sake of `_end_in_a_part`.
    """
    count, channels, height, width = x.shape
    together = _in_a_row(count)
    across = together * (width + room)
    more = -across % ROW if across > ROW else 0
    rows = x.new_zeros(count // together, height, across + more, channels)
    pictures = x.permute(0, 2, 3, 1).reshape(-1, together, height, width, channels)
    places = rows[:, :, :across].view(-1, height, together, width + room, channels)
    places[:, :, :, :width] = pictures.transpose(1, 2)
    return rows.permute(0, 3, 1, 2)


def _in_a_row(count: int) -> int:
    """The most pictures of so many that go into equal rows."""
    return max(n for n in range(1, MOST_IN_A_ROW + 1) if count % n == 0)
