"""Pooling layers: a window of the grid becomes its largest value, or its average.

Pooling has no padding: windows that would reach over the end are left out, and every window has
real cells only. NaN in a window makes its output NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .floats import Array, as_floats, check_same_shape
from .windows import cells_at, per_axis, window_count


def max_pool(
    x: ArrayLike, window: int | Sequence[int], *, stride: int | Sequence[int] | None = None
) -> Array:
    """Keep the largest value of each window, channel by channel.

        y_c[p] = max over window places k of x_c[stride * p + k]

    `stride` is the window's own size if it isn't given: windows side by side.

    Shapes   x [N, C, *grid] -> y [N, C, *out] with out = floor((n - window) / stride) + 1
    Raises   ValueError if the window doesn't fit the grid
    Cost     a comparison for each place of each window
    Source   Zhou & Chellappa 1988; Goodfellow, Bengio & Courville 2016, section 9.3

    >>> max_pool([[[1, 3, 2, 2, 9]]], 2)
    array([[[3., 2.]]])
    """
    return _largest(as_floats(x), window, stride=stride)[0]


def max_pool_backward(
    grad_y: ArrayLike,
    x: ArrayLike,
    window: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
) -> Array:
    """Return the gradient for x: each window's gradient goes to the cell that was its maximum.

    Where several cells share the maximum, the first of them (in reading order) takes all of it.
    Cells under overlapping windows take the sum.

    Shapes   grad_y [N, C, *out], x [N, C, *grid] -> [N, C, *grid]

    >>> max_pool_backward([[[10, 20]]], [[[1, 3, 2, 2, 9]]], 2)
    array([[[ 0., 10., 20.,  0.,  0.]]])
    """
    x = as_floats(x)
    grad_y = as_floats(grad_y, like=x)
    y, winner = _largest(x, window, stride=stride)
    check_same_shape(grad_y, y.shape, layer="max_pool")
    windows, strides, counts = _windows(x, window, stride=stride)
    grad_x = np.zeros_like(x)
    for number, place in enumerate(np.ndindex(*windows)):
        grad_x[cells_at(place, counts, stride=strides)] += np.where(winner == number, grad_y, 0)
    return grad_x


def average_pool(
    x: ArrayLike, window: int | Sequence[int], *, stride: int | Sequence[int] | None = None
) -> Array:
    """Give the average of each window, channel by channel.

        y_c[p] = sum over window places k of x_c[stride * p + k] / places

    Shapes   x [N, C, *grid] -> y [N, C, *out] with out = floor((n - window) / stride) + 1
    Raises   ValueError if the window doesn't fit the grid
    Cost     an addition for each place of each window
    Source   LeCun et al. 1989; Goodfellow, Bengio & Courville 2016, section 9.3

    >>> average_pool([[[1, 3, 2, 2, 9]]], 2)
    array([[[2., 2.]]])
    """
    x = as_floats(x)
    windows, strides, counts = _windows(x, window, stride=stride)
    total = np.zeros((*x.shape[:2], *counts), x.dtype)
    for place in np.ndindex(*windows):
        total += x[cells_at(place, counts, stride=strides)]
    return total / math.prod(windows)


def average_pool_backward(
    grad_y: ArrayLike,
    x: ArrayLike,
    window: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
) -> Array:
    """Return the gradient for x: every cell of a window takes an equal share of its gradient.

    Shapes   grad_y [N, C, *out], x [N, C, *grid] -> [N, C, *grid]

    >>> average_pool_backward([[[10, 20]]], [[[1, 3, 2, 2, 9]]], 2)
    array([[[ 5.,  5., 10., 10.,  0.]]])
    """
    x = as_floats(x)
    grad_y = as_floats(grad_y, like=x)
    windows, strides, counts = _windows(x, window, stride=stride)
    check_same_shape(grad_y, (*x.shape[:2], *counts), layer="average_pool")
    grad_x = np.zeros_like(x)
    for place in np.ndindex(*windows):
        grad_x[cells_at(place, counts, stride=strides)] += grad_y / math.prod(windows)
    return grad_x


def global_average_pool(x: ArrayLike) -> Array:
    """Give one number a channel: its average over the whole grid.

        y_c = sum over cells of x_c / cells

    Shapes   x [N, C, *grid] -> y [N, C]
    Raises   ValueError if the grid has no cell
    Source   Lin, Chen & Yan 2013, Network in network

    >>> global_average_pool([[[[1, 2], [3, 6]]]])
    array([[3.]])
    """
    x = as_floats(x)
    _check_grid(x)
    y: Array = x.mean(axis=tuple(range(2, x.ndim)))
    return y


def global_average_pool_backward(grad_y: ArrayLike, x: ArrayLike) -> Array:
    """Return the gradient for x: every cell takes an equal share of its channel's gradient.

    Shapes   grad_y [N, C], x [N, C, *grid] -> [N, C, *grid]

    >>> global_average_pool_backward([[8]], [[[[1, 2], [3, 6]]]])
    array([[[[2., 2.],
             [2., 2.]]]])
    """
    x = as_floats(x)
    grad_y = as_floats(grad_y, like=x)
    _check_grid(x)
    check_same_shape(grad_y, x.shape[:2], layer="global_average_pool")
    grid = x.shape[2:]
    share = grad_y / math.prod(grid)
    return np.broadcast_to(share.reshape(*x.shape[:2], *(1 for _ in grid)), x.shape).copy()


def _largest(
    x: Array, window: int | Sequence[int], *, stride: int | Sequence[int] | None
) -> tuple[Array, np.ndarray]:
    """Return each window's largest value and the number of the place where it first stands."""
    windows, strides, counts = _windows(x, window, stride=stride)
    places = list(np.ndindex(*windows))
    largest = x[cells_at(places[0], counts, stride=strides)].copy()
    winner = np.zeros(largest.shape, np.intp)
    for number, place in enumerate(places[1:], start=1):
        patch = x[cells_at(place, counts, stride=strides)]
        # Strictly larger, so that the first of equals stays. NaN compares false with everything
        # and would be passed over; a fault in the data must not vanish here.
        wins = (patch > largest) | (np.isnan(patch) & ~np.isnan(largest))
        largest[wins] = patch[wins]
        winner[wins] = number
    return largest, winner


def _windows(
    x: Array, window: int | Sequence[int], *, stride: int | Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return window size, stride and number of windows, one of each a grid axis."""
    _check_grid(x)
    grid = x.shape[2:]
    windows = per_axis(window, len(grid), name="window")
    strides = windows if stride is None else per_axis(stride, len(grid), name="stride")
    counts = tuple(map(window_count, grid, windows, strides))
    for axis, count in enumerate(counts):
        if count < 1:
            raise ValueError(
                f"pool window doesn't fit grid axis {axis}: window {windows[axis]}; "
                f"the input has {grid[axis]} cells, and pooling adds no padding."
                f"\n  Fix: a smaller window, or an input of at least {windows[axis]} cells."
            )
    return windows, strides, counts


def _check_grid(x: Array) -> None:
    if x.ndim < 3 or 0 in x.shape[2:]:
        raise ValueError(
            f"pool input must be [N, C, *grid] with a grid of at least 1 cell; got {x.shape}."
        )
