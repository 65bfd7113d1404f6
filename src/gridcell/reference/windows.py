"""Windows that slide over a grid: how many fit, and which cells one place of them covers.

Convolution and pooling both look at the grid through a window that is moved by `stride`. Rather
than visit the windows one after another, both take one place of the window at a time (its top left
cell, say) and pick that place out of all windows at once; it is one strided slice of the input.

A window of 3 places, stride 2, on 7 cells fits 3 times:

    cells      0  1  2  3  4  5  6
    window 0   0  1  2
    window 1         0  1  2               place 0 of all windows: cells 0, 2, 4 = x[0:5:2]
    window 2               0  1  2         place 1 of all windows: cells 1, 3, 5 = x[1:6:2]

Source   Dumoulin & Visin 2016, A guide to convolution arithmetic for deep learning
"""

from __future__ import annotations

import operator
from collections.abc import Sequence


def per_axis(
    value: int | Sequence[int], axes: int, *, name: str, least: int = 1
) -> tuple[int, ...]:
    """Return one whole number for each grid axis; a single number holds for all of them.

    Raises   ValueError if there are more or fewer numbers than axes, or one is below `least`

    >>> per_axis(2, 3, name="stride")
    (2, 2, 2)
    >>> per_axis((1, 2), 2, name="stride")
    (1, 2)
    >>> per_axis(0, 2, name="stride")
    Traceback (most recent call last):
        ...
    ValueError: stride must be at least 1; got 0.
    """
    if isinstance(value, Sequence):
        numbers = tuple(operator.index(number) for number in value)
    else:
        numbers = (operator.index(value),) * axes
    if len(numbers) != axes:
        raise ValueError(f"{name} must be one number or {axes}, one a grid axis; got {value}.")
    if any(number < least for number in numbers):
        raise ValueError(f"{name} must be at least {least}; got {value}.")
    return numbers


def span(kernel: int, dilation: int) -> int:
    """Return how many cells a window covers from its first place to its last.

    >>> span(3, dilation=1), span(3, dilation=2)
    (3, 5)
    """
    return dilation * (kernel - 1) + 1


def window_count(cells: int, width: int, stride: int) -> int:
    """Return how many windows of `width` cells fit on `cells`: floor((cells - width) / stride) + 1.

    A window that is wider than the cells doesn't fit: 0.

    >>> window_count(7, 3, stride=2), window_count(8, 3, stride=2), window_count(2, 3, stride=1)
    (3, 3, 0)
    """
    return max((cells - width) // stride + 1, 0)


def cells_at(
    place: tuple[int, ...],
    counts: tuple[int, ...],
    *,
    stride: tuple[int, ...],
    dilation: tuple[int, ...] | None = None,
) -> tuple[slice, ...]:
    """Return the index that picks one place of every window out of an array [N, C, *grid].

    `counts` says how many windows there are along each axis; at least one.

    >>> cells_at((1,), (3,), stride=(2,))
    (slice(None, None, None), slice(None, None, None), slice(1, 6, 2))
    """
    slices = [slice(None), slice(None)]
    for axis, count in enumerate(counts):
        first = place[axis] * (1 if dilation is None else dilation[axis])
        last = first + (count - 1) * stride[axis]
        slices.append(slice(first, last + 1, stride[axis]))
    return tuple(slices)
