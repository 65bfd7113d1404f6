"""Each step beside its difference to the step before."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .floats import Array, as_floats


def delta(x: ArrayLike) -> Array:
    """Return each step, and behind it in the same step its difference to the step before.

        y_t = x_t, x_t - x_{t-1};   y_0 = x_0, 0

    Shapes   x [T, C, *grid], of one item -> [T, 2 C, *grid]

    >>> delta([[1.0], [4.0], [2.0]])
    array([[ 1.,  0.],
           [ 4.,  3.],
           [ 2., -2.]])
    """
    x = as_floats(x)
    steps, channels = x.shape[:2]
    y = np.zeros((steps, 2 * channels, *x.shape[2:]), x.dtype)
    for t in range(steps):
        y[t, :channels] = x[t]
        if t:
            y[t, channels:] = x[t] - x[t - 1]
    return y


def delta_backward(grad_y: ArrayLike) -> Array:
    """Return the gradient of a loss with respect to x, from the one for y.

    x_t stands in y_t twice, and in y_{t+1} once, taken away:

        grad_x_t = grad_value_t + grad_change_t - grad_change_{t+1}

    >>> delta_backward([[0.0, 0.0], [0.0, 1.0]])
    array([[-1.],
           [ 1.]])
    """
    grad_y = as_floats(grad_y)
    channels = grad_y.shape[1] // 2
    grad_x = grad_y[:, :channels].copy()
    for t in range(1, len(grad_y)):
        grad_x[t] += grad_y[t, channels:]
        grad_x[t - 1] -= grad_y[t, channels:]
    return grad_x
