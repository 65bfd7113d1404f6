"""The axes of a sample, `[T, C, *grid]`, and the checks that a tensor has them.

Axis letters, everywhere the same:

    B examples   T time   C channels   H W F grid   D features   K classes
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

from gridcell.errors import ShapeError


@dataclass(frozen=True)
class Layout:
    """The sizes of one sample without its batch axis, as they travel from layer to layer.

    `channels` are features once the grid is gone. `steps` is None where it differs from item to
    item. After time is reduced (`last`, `mean`) `has_time` is False and a batch is `[B, D]`.

    >>> str(Layout(channels=3, grid=(32, 32), steps=1))
    '32x32x3'
    >>> str(Layout(channels=40))
    'T x 40'
    """

    channels: int
    grid: tuple[int, ...] = ()
    steps: int | None = None
    has_time: bool = True
    vocabulary: int = 0
    """Above 0 the steps are ids 0 .. vocabulary - 1, `[B, T]`, that only `embed` can read."""
    alphabet: int = 0
    """Above 0 the letters of each step stand beside its id, numbers 0 .. alphabet - 1 with 0 for
    none: `[B, T, 1 + L]` whole numbers, which only `spell` can read; `channels` is then 1 + L."""

    def __str__(self) -> str:
        sizes = "x".join(str(size) for size in (*self.grid, self.channels))
        if not self.has_time or self.steps == 1:
            return sizes
        return f"{'T' if self.steps is None else self.steps} x {sizes}"

    @property
    def cells(self) -> int:
        """Grid cells of one step: H * W for an image, 1 without a grid."""
        return math.prod(self.grid)

    @property
    def values(self) -> int:
        """Numbers in one step: channels times grid cells."""
        return self.channels * self.cells

    def with_features(self, features: int) -> Layout:
        """The layout after the grid has become `features` numbers a step."""
        return replace(self, channels=features, grid=())

    def without_time(self) -> Layout:
        """The layout after time is reduced to one answer."""
        return replace(self, steps=1, has_time=False)


class HasShape(Protocol):
    """Anything with a shape: a NumPy array or a tensor (this room knows neither library)."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def check_shape(values: HasShape, axes: str, *, layer: str, **sizes: int) -> None:
    """Raise ShapeError unless `values` has the named axes and, where given, their sizes.

    `axes` names one axis a word; a last word `*grid` stands for any number of them.

    >>> import numpy
    >>> check_shape(numpy.zeros((8, 16)), "B T C", layer="LSTM", C=16)
    Traceback (most recent call last):
        ...
    gridcell.errors.ShapeError: LSTM input must be [B, T, C=16]; got (8, 16): 2 axes, not 3.
      Fix: one example still needs a batch axis: x[None].
    """
    names = axes.split()
    shape = tuple(values.shape)
    is_open = names[-1] == "*grid"
    fixed = names[:-1] if is_open else names
    wanted = ", ".join(f"{n}={sizes[n]}" if n in sizes else n for n in names)
    text = f"{layer} input must be [{wanted}]; got {shape}"
    if len(shape) < len(fixed) or (not is_open and len(shape) > len(fixed)):
        count = f"at least {len(fixed)}" if is_open else f"{len(fixed)}"
        is_one_short = len(shape) + 1 == len(fixed)
        fix = "one example still needs a batch axis: x[None]." if is_one_short else None
        raise ShapeError(f"{text}: {len(shape)} axes, not {count}.", fix=fix)
    for name, size in zip(fixed, shape, strict=False):
        if name in sizes and size != sizes[name]:
            raise ShapeError(f"{text}: {name} is {size}, not {sizes[name]}.")
