"""What recurrent layers share: layers of directions, walked over true lengths, one example a time.

Weights are plain dicts of arrays, `weights[layer][direction]`. Direction 0 walks from the first
step to the last; direction 1, where it is given, from the last true step to the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .floats import Array, as_floats

Weights = Mapping[str, ArrayLike]
Arrays = dict[str, Array]
Layers = Sequence[Sequence[Weights]]
Lengths = NDArray[np.int64]


def walks(directions: Sequence[Any], lengths: Lengths) -> list[tuple[int, int, Lengths]]:
    """Every walk of a layer: its direction, its example, and its steps in the order walked.

    >>> [(d, b, steps.tolist()) for d, b, steps in walks(["there", "back"], np.array([2, 0]))]
    [(0, 0, [0, 1]), (0, 1, []), (1, 0, [1, 0]), (1, 1, [])]
    """
    return [
        (direction, example, np.arange(length)[:: -1 if direction else 1])
        for direction in range(len(directions))
        for example, length in enumerate(lengths)
    ]


def as_layers(weights: Layers, x: Array, *, width: Callable[[Arrays], int]) -> list[list[Arrays]]:
    """Return the weights as arrays of x's dtype, checked against the features that reach them.

    `width` tells from a direction's weights how many features it gives.
    """
    if x.ndim != 3:
        raise ValueError(f"a recurrent layer's input must be [B, T, C]; got {x.shape}.")
    layers = [
        [{name: as_floats(value, like=x) for name, value in each.items()} for each in directions]
        for directions in weights
    ]
    channels = x.shape[2]
    for number, directions in enumerate(layers):
        for each in directions:
            if each["input"].ndim != 2 or each["input"].shape[1] != channels:
                raise ValueError(
                    f"layer {number}: input weights must be [rows, C={channels}]; "
                    f"got {each['input'].shape}."
                )
        channels = sum(width(each) for each in directions)
    return layers


def as_lengths(lengths: ArrayLike | None, x: Array) -> Lengths:
    """Return one length an example: all T steps where none are given.

    >>> as_lengths([3, 4], np.zeros((2, 3, 1)))
    Traceback (most recent call last):
        ...
    ValueError: lengths[1] is 4: it must be 0 to 3.
    """
    counts = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
    if counts.shape != (len(x),):
        raise ValueError(f"lengths must be [B={len(x)}]; got {counts.shape}.")
    for example, length in enumerate(counts):
        if not 0 <= length <= x.shape[1]:
            raise ValueError(f"lengths[{example}] is {length}: it must be 0 to {x.shape[1]}.")
    return counts.astype(np.int64)


def as_state(
    state: ArrayLike | None,
    x: Array,
    layers: Sequence[Sequence[Arrays]],
    *,
    width: Callable[[Arrays], int],
) -> Array:
    """Return a state [layers, directions, B, width]: zeros where none is given."""
    shape = (len(layers), len(layers[0]), len(x), width(layers[0][0]))
    if state is None:
        return np.zeros(shape, x.dtype)
    array = as_floats(state, like=x)
    if array.shape != shape:
        raise ValueError(
            f"a state must be [layers, directions, B, D] = {shape}; got {array.shape}."
        )
    return array


def zeros_like_layers(layers: Sequence[Sequence[Arrays]]) -> list[list[Arrays]]:
    """Return zeros in the form of the weights, for gradients to be added to."""
    return [
        [{name: np.zeros_like(value) for name, value in each.items()} for each in directions]
        for directions in layers
    ]
