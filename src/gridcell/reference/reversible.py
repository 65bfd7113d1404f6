"""Reversible normalisation: an item's level is taken out, a body runs, and the level is put back.

The level m and the size d are those of the first channel of each item alone: `by="mean"` its mean
and deviation, `by="last"` its last number and 1. The body is given as a function and its partner.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from .floats import Array, as_floats

Body = Callable[[Array], Array]


def reversible(x: ArrayLike, body: Body, *, by: str = "mean", epsilon: float = 1e-5) -> Array:
    """Run the body on x whose first channel has no level of its own, and put that back.

        h = (x - m) / d in channel 0;   y = body(h) * d + m

    Shapes   x [T, C, *grid], of one item; the body's y is of any shape
    Source   Kim et al. 2022 (by="mean"), Zeng et al. 2023 (by="last")

    >>> reversible([[1.0], [5.0]], lambda h: h[-1], by="last")
    array([5.])
    """
    x = as_floats(x)
    mean, deviation = _level(x, by, epsilon)
    return body(_without(x, mean, deviation)) * deviation + mean


def reversible_backward(
    grad_y: ArrayLike,
    x: ArrayLike,
    body: Body,
    body_backward: Callable[[Array, Array], Array],
    *,
    by: str = "mean",
    epsilon: float = 1e-5,
) -> Array:
    """Return the gradient of a loss with respect to x, from the one for y.

    m and d stand at both ends, so each gathers a gradient from both:

        grad_out = grad_y * d;   grad_h = body_backward(grad_out, h)
        grad_m   = sum of grad_y - sum of grad_h / d                  (sums over channel 0)
        grad_d   = sum of (grad_y * out) - sum of (grad_h * h) / d
        grad_x   = grad_h / d, and what m and d hand on: by mean grad_m / n + grad_d * h / n to
                   every number, by last grad_m to the last

    Shapes   grad_y as y; `body_backward(grad_out, h)` gives [T, C, *grid] -> [T, C, *grid]

    >>> last = lambda h: h[-1]
    >>> last_backward = lambda grad, h: np.concatenate([np.zeros_like(h[:-1]), grad[None]])
    >>> reversible_backward([1.0], [[1.0], [5.0]], last, last_backward, by="last").tolist()
    [[0.0], [1.0]]
    """
    x = as_floats(x)
    grad_y = as_floats(grad_y, like=x)
    mean, deviation = _level(x, by, epsilon)
    h = _without(x, mean, deviation)
    out = body(h)
    grad_h = body_backward(grad_y * deviation, h)
    grad_x = grad_h.copy()
    own, count = h[:, 0], h[:, 0].size
    grad_mean = grad_y.sum() - grad_h[:, 0].sum() / deviation
    grad_deviation = (grad_y * out).sum() - (grad_h[:, 0] * own).sum() / deviation
    grad_x[:, 0] = grad_h[:, 0] / deviation
    if by == "last":
        grad_x[(-1, 0, *[-1] * (x.ndim - 2))] += grad_mean
    else:
        grad_x[:, 0] += grad_mean / count + grad_deviation * own / count
    return grad_x


def _level(x: Array, by: str, epsilon: float) -> tuple[Array, Array]:
    own = x[:, 0]
    if by == "last":
        return own.reshape(-1)[-1], np.ones((), x.dtype)
    return own.mean(), np.sqrt(own.var() + epsilon)


def _without(x: Array, mean: Array, deviation: Array) -> Array:
    h = x.copy()
    h[:, 0] = (x[:, 0] - mean) / deviation
    return h
