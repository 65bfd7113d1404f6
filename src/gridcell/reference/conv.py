"""The convolution layer: learned filters that are slid over a grid of one axis or more.

What the field calls convolution is a cross-correlation: the kernel is laid on the input as it
stands, not turned round. For the convolution of mathematics flip the kernel first:
`conv(x, weight[:, :, ::-1, ::-1], bias)` on a grid of two axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .floats import Array, as_floats, check_same_shape
from .windows import cells_at, per_axis, span, window_count

Padding = str | int | Sequence[int]


def conv(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "same",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Array:
    """Slide every filter over the grid and give, at each place, its dot product with the patch.

        y_f[p] = bias_f + sum over channels c and kernel places k of
                 weight_fc[k] * x_c[stride * p + dilation * k - cells padded on the left]

    The input is surrounded by zeros as `padding_cells` says. With `groups` the channels and the
    filters are both cut into that many equal runs, and a filter sees its own run only. NaN in a
    cell reaches the outputs whose kernel covers it, and no other.

    Shapes   x [N, C, *grid], weight [F, C / groups, *kernel], bias [F] -> y [N, F, *out], where
             out is ceil(n / stride) for "same", else
             floor((n + 2 * padding - dilation * (k - 1) - 1) / stride) + 1 with "valid" as 0
    Raises   ValueError if weight or bias doesn't fit x, or the kernel doesn't fit the padded grid
    Cost     N * F * (C / groups) * cells of the output * cells of the kernel multiply-adds
    Source   LeCun et al. 1989; Goodfellow, Bengio & Courville 2016, Deep Learning, chapter 9

    >>> conv([[[1, 2, 3, 4, 5, 6]]], weight=[[[1, 2, 3]]], padding="valid")
    array([[[14., 20., 26., 32.]]])
    >>> conv([[[1, 2, 3]]], weight=[[[1, 10]]])               # the extra zero lies on the right
    array([[[21., 32.,  3.]]])
    """
    x = as_floats(x)
    weight = as_floats(weight, like=x)
    windows = _windows(x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
    batch, filters, kernel = len(x), len(weight), weight.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), *windows.padding))
    weight_by_group = weight.reshape(groups, filters // groups, *weight.shape[1:])

    y = np.zeros((batch, groups, filters // groups, *windows.counts), x.dtype)
    for place in np.ndindex(*kernel):
        patch = _by_group(padded[windows.cells_at(place)], groups)  # [N, G, C / G, *out]
        tap = weight_by_group[(..., *place)]  # [G, F / G, C / G]
        y += np.einsum("ngc...,gfc->ngf...", patch, tap)

    y = y.reshape(batch, filters, *windows.counts)
    if bias is None:
        return y
    bias = as_floats(bias, like=x)
    if bias.shape != (filters,):
        raise ValueError(f"conv bias must be [F={filters}]; got {bias.shape}.")
    return y + bias.reshape(filters, *(1 for _ in kernel))


def conv_backward(
    grad_y: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "same",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """Return the gradients of a loss with respect to x, weight and bias, from the one for y.

    Each product of the forward sum hands its share back to both of its factors:

        grad_x_c[stride * p + dilation * k - left] += weight_fc[k] * grad_y_f[p]
        grad_weight_fc[k] = sum over examples and p of x_c[the same cell] * grad_y_f[p]
        grad_bias_f       = sum over examples and p of grad_y_f[p]

    Shapes   grad_y [N, F, *out], x [N, C, *grid], weight [F, C / groups, *kernel]
             -> [N, C, *grid], [F, C / groups, *kernel], [F]

    >>> x, weight = [[[1, 2, 3]]], [[[1, 10]]]
    >>> grad_x, grad_weight, grad_bias = conv_backward([[[1, 1, 1]]], x, weight)
    >>> grad_x.tolist(), grad_weight.tolist(), grad_bias.tolist()
    ([[[1.0, 11.0, 11.0]]], [[[6.0, 5.0]]], [3.0])
    """
    x = as_floats(x)
    weight = as_floats(weight, like=x)
    grad_y = as_floats(grad_y, like=x)
    windows = _windows(x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
    batch, filters, kernel = len(x), len(weight), weight.shape[2:]
    check_same_shape(grad_y, (batch, filters, *windows.counts), layer="conv")
    padded = np.pad(x, ((0, 0), (0, 0), *windows.padding))
    weight_by_group = weight.reshape(groups, filters // groups, *weight.shape[1:])
    grad_by_group = _by_group(grad_y, groups)  # [N, G, F / G, *out]

    grad_padded = np.zeros_like(padded)
    grad_weight = np.zeros_like(weight_by_group)
    for place in np.ndindex(*kernel):
        cells = windows.cells_at(place)
        patch = _by_group(padded[cells], groups)  # [N, G, C / G, *out]
        tap = weight_by_group[(..., *place)]  # [G, F / G, C / G]
        share = np.einsum("ngf...,gfc->ngc...", grad_by_group, tap)
        grad_padded[cells] += share.reshape(grad_padded[cells].shape)
        grad_weight[(..., *place)] = np.einsum(
            "ngfp,ngcp->gfc", _in_a_row(grad_by_group), _in_a_row(patch)
        )

    inside = [slice(None), slice(None)]
    for (left, _), size in zip(windows.padding, x.shape[2:], strict=True):
        inside.append(slice(left, left + size))
    grad_bias = grad_y.sum(axis=(0, *range(2, grad_y.ndim)))
    return grad_padded[tuple(inside)], grad_weight.reshape(weight.shape), grad_bias


def padding_cells(
    size: int, kernel: int, *, stride: int = 1, padding: str | int = "same", dilation: int = 1
) -> tuple[int, int]:
    """Return how many zeros go on the left and on the right of one grid axis.

    "valid" adds none and n adds n on both sides. "same" adds what ceil(size / stride) windows need,

        total = max((ceil(size / stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)

    the smaller half on the left: an even kernel has its extra cell on the right. With a stride this
    is TensorFlow's rule; the windows then start at other cells than with kernel // 2 on both sides.

    >>> padding_cells(3, 2), padding_cells(4, 4)
    ((0, 1), (1, 2))
    >>> padding_cells(224, 7, stride=2), padding_cells(6, 3, stride=2)
    ((2, 3), (0, 1))
    """
    if padding == "valid":
        return 0, 0
    if padding == "same":
        windows = -(-size // stride)
        total = max((windows - 1) * stride + span(kernel, dilation) - size, 0)
        return total // 2, total - total // 2
    if isinstance(padding, str) or padding < 0:
        raise ValueError(f"padding must be 'same', 'valid' or a number from 0 on; got {padding!r}.")
    return padding, padding


@dataclass(frozen=True)
class _Windows:
    """Where a kernel is laid on a padded grid; every tuple has one entry a grid axis."""

    padding: tuple[tuple[int, int], ...]
    counts: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def cells_at(self, place: tuple[int, ...]) -> tuple[slice, ...]:
        return cells_at(place, self.counts, stride=self.stride, dilation=self.dilation)


def _windows(
    x: Array,
    weight: Array,
    *,
    stride: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
    groups: int,
) -> _Windows:
    _check_weight(x, weight, groups=groups)
    grid, kernel = x.shape[2:], weight.shape[2:]
    strides = per_axis(stride, len(grid), name="stride")
    dilations = per_axis(dilation, len(grid), name="dilation")
    paddings: tuple[str | int, ...]
    if isinstance(padding, str):
        paddings = (padding,) * len(grid)
    else:
        paddings = per_axis(padding, len(grid), name="padding", least=0)

    cells, counts = [], []
    for axis, size in enumerate(grid):
        k, s, d = kernel[axis], strides[axis], dilations[axis]
        left, right = padding_cells(size, k, stride=s, padding=paddings[axis], dilation=d)
        count = window_count(size + left + right, span(k, d), s)
        if count < 1:
            raise ValueError(
                f"conv kernel doesn't fit grid axis {axis}: kernel {k} with dilation {d} covers "
                f"{span(k, d)} cells; the input has {size}, with padding {left} + {size} + {right}."
                f"\n  Fix: a smaller kernel, padding='same', or an input of at least "
                f"{span(k, d) - left - right} cells."
            )
        cells.append((left, right))
        counts.append(count)
    return _Windows(tuple(cells), tuple(counts), strides, dilations)


def _check_weight(x: Array, weight: Array, *, groups: int) -> None:
    if x.ndim < 3:
        raise ValueError(
            f"conv input must be [N, C, *grid] with a grid of at least 1 axis; got {x.shape}."
        )
    channels = x.shape[1]
    if groups < 1 or channels % groups or len(weight) % groups:
        raise ValueError(
            f"conv groups must divide channels and filters; got groups {groups} for "
            f"{channels} channels and {len(weight)} filters."
        )
    if weight.ndim != x.ndim or weight.shape[1] != channels // groups or 0 in weight.shape:
        raise ValueError(
            f"conv weight must be [F, {channels // groups}, *kernel] with a kernel of "
            f"{x.ndim - 2} axes, for {channels} channels in {groups} groups; got {weight.shape}."
        )


def _by_group(values: Array, groups: int) -> Array:
    """[N, C, *grid] -> [N, G, C / G, *grid]."""
    batch, channels, *grid = values.shape
    return values.reshape(batch, groups, channels // groups, *grid)


def _in_a_row(values: Array) -> Array:
    """[N, G, C, *grid] -> [N, G, C, cells]: the grid's cells one after another."""
    return values.reshape(*values.shape[:3], int(np.prod(values.shape[3:])))
