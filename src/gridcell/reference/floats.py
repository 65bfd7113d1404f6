"""Arrays of floating-point numbers, in the precision that the reader brings.

Every layer here computes in its input's own dtype: float64 unless the input is another floating
type. Weights, biases and gradients are brought to that dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating[Any]]


def as_floats(values: ArrayLike, *, like: Array | None = None) -> Array:
    """Return `values` as an array of the dtype of `like`, or of their own floating dtype.

    Lists and integers become float64. Nothing is copied where nothing has to change.

    >>> as_floats([1, 2, 3]).dtype
    dtype('float64')
    >>> as_floats([1, 2, 3], like=np.zeros(1, np.float32)).dtype
    dtype('float32')
    """
    array = np.asarray(values)
    if like is not None:
        return array.astype(like.dtype, copy=False)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def check_same_shape(grad_y: Array, shape: tuple[int, ...], *, layer: str) -> None:
    """Raise ValueError unless a gradient has the shape of the output that it belongs to.

    Without this check NumPy would stretch a gradient of another shape over the output in silence.

    >>> check_same_shape(np.zeros((2, 1)), (2, 3), layer="dense")
    Traceback (most recent call last):
        ...
    ValueError: dense: grad_y must have the output's shape (2, 3); got (2, 1).
    """
    if grad_y.shape != shape:
        raise ValueError(
            f"{layer}: grad_y must have the output's shape {shape}; got {grad_y.shape}."
        )
