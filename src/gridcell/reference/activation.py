"""Activations: functions of each number alone, and softmax, which turns numbers to probabilities.

Each keeps the shape of its input, and takes x (not y) again for its gradient:
`relu_backward(grad_y, x)`. NaN stays NaN. Where a function has a corner, at 0, its gradient there
is the one for x < 0: 0 for relu, `slope` for leaky_relu.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .floats import Array, as_floats, check_same_shape


def relu(x: ArrayLike) -> Array:
    """Keep what is positive: max(0, x).

    Source   Nair & Hinton 2010

    >>> relu([-2.0, 0.0, 3.0])
    array([0., 0., 3.])
    """
    return np.maximum(as_floats(x), 0)


def relu_backward(grad_y: ArrayLike, x: ArrayLike) -> Array:
    """Pass the gradient where x was positive: grad_x = grad_y if x > 0, else 0.

    >>> relu_backward([1.0, 1.0, 1.0], [-2.0, 0.0, 3.0])
    array([0., 0., 1.])
    """
    grad_y, x = _pair(grad_y, x, layer="relu")
    # "x <= 0 gives 0" and not "x > 0 gives grad_y": at x = NaN the gradient shall not look sound.
    return np.where(x <= 0, 0, grad_y)


def leaky_relu(x: ArrayLike, *, slope: float = 0.01) -> Array:
    """Keep what is positive and shrink what is negative: x if x > 0, else slope * x.

    Source   Maas, Hannun & Ng 2013

    >>> leaky_relu([-2.0, 0.0, 3.0], slope=0.5)
    array([-1.,  0.,  3.])
    """
    x = as_floats(x)
    return np.where(x > 0, x, slope * x)


def leaky_relu_backward(grad_y: ArrayLike, x: ArrayLike, *, slope: float = 0.01) -> Array:
    """Scale the gradient by the slope where x was not positive.

    >>> leaky_relu_backward([1.0, 1.0, 1.0], [-2.0, 0.0, 3.0], slope=0.5)
    array([0.5, 0.5, 1. ])
    """
    grad_y, x = _pair(grad_y, x, layer="leaky_relu")
    return np.where(x > 0, grad_y, slope * grad_y)


def tanh(x: ArrayLike) -> Array:
    """Squash to -1..1: (exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    >>> tanh([-1000.0, 0.0, 1000.0])
    array([-1.,  0.,  1.])
    """
    return np.tanh(as_floats(x))


def tanh_backward(grad_y: ArrayLike, x: ArrayLike) -> Array:
    """Scale the gradient by 1 - tanh(x)^2.

    >>> tanh_backward([1.0, 1.0], [0.0, 1000.0])
    array([1., 0.])
    """
    grad_y, x = _pair(grad_y, x, layer="tanh")
    y = tanh(x)
    return grad_y * (1 - y * y)


def sigmoid(x: ArrayLike) -> Array:
    """Squash to 0..1, the probability of a yes: 1 / (1 + exp(-x)).

    For x < 0 this is written exp(x) / (1 + exp(x)), the same number: exp never meets a large
    positive argument and so never overflows.

    >>> sigmoid([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """
    x = as_floats(x)
    small = np.exp(-np.abs(x))
    y: Array = np.where(x < 0, small, 1) / (1 + small)
    return y


def sigmoid_backward(grad_y: ArrayLike, x: ArrayLike) -> Array:
    """Scale the gradient by sigmoid(x) * (1 - sigmoid(x)), which is sigmoid(x) * sigmoid(-x).

    >>> sigmoid_backward([1.0, 1.0], [0.0, 1000.0])
    array([0.25, 0.  ])
    """
    grad_y, x = _pair(grad_y, x, layer="sigmoid")
    # 1 - sigmoid(x) rounds to 0 from x = 37 on in float64; sigmoid(-x) keeps the small gradient.
    return grad_y * sigmoid(x) * sigmoid(-x)


def elu(x: ArrayLike, *, alpha: float = 1.0) -> Array:
    """Keep what is positive and let the rest run out to -alpha: x, or alpha * (exp(x) - 1).

    Source   Clevert, Unterthiner & Hochreiter 2016

    >>> elu([-1000.0, 0.0, 3.0])
    array([-1.,  0.,  3.])
    """
    x = as_floats(x)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_backward(grad_y: ArrayLike, x: ArrayLike, *, alpha: float = 1.0) -> Array:
    """Scale the gradient by alpha * exp(x) where x was not positive.

    >>> elu_backward([1.0, 1.0, 1.0], [-1000.0, 0.0, 3.0])
    array([0., 1., 1.])
    """
    grad_y, x = _pair(grad_y, x, layer="elu")
    return grad_y * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))


def gelu(x: ArrayLike) -> Array:
    """Weigh x by the chance that a standard normal number is smaller: x * Phi(x).

        Phi(x) = (1 + erf(x / sqrt(2))) / 2

    This is the exact form, not the one with tanh.

    Source   Hendrycks & Gimpel 2016

    >>> gelu([-100.0, 0.0, 1.0, 100.0]).round(6)
    array([ -0.      ,   0.      ,   0.841345, 100.      ])
    """
    x = as_floats(x)
    return x * _below(x)


def gelu_backward(grad_y: ArrayLike, x: ArrayLike) -> Array:
    """Scale the gradient by Phi(x) + x * phi(x), phi the density of the normal distribution.

        phi(x) = exp(-x^2 / 2) / sqrt(2 * pi)

    >>> gelu_backward([1.0, 1.0], [0.0, 100.0])
    array([0.5, 1. ])
    """
    grad_y, x = _pair(grad_y, x, layer="gelu")
    # Past 40 the density is 0 in float64, and x * x could overflow.
    near = np.clip(x, -40, 40)
    density = np.exp(-near * near / 2) / math.sqrt(2 * math.pi)
    return grad_y * (_below(x) + near * density)


def erf(x: ArrayLike) -> Array:
    """The error function, to full float64 precision: Python's own, number by number.

    >>> erf([0.0, 1.0]).round(6)
    array([0.      , 0.842701])
    """
    x = as_floats(x)
    return np.array([math.erf(value) for value in x.flat], x.dtype).reshape(x.shape)


def silu(x: ArrayLike) -> Array:
    """Weigh x by its own sigmoid: x * sigmoid(x).

    Source   Elfwing, Uchibe & Doya 2018

    >>> silu([-1000.0, 0.0, 1000.0])
    array([  -0.,    0., 1000.])
    """
    x = as_floats(x)
    return x * sigmoid(x)


def silu_backward(grad_y: ArrayLike, x: ArrayLike) -> Array:
    """Scale the gradient by s + x * s * (1 - s) with s = sigmoid(x).

    >>> silu_backward([1.0, 1.0], [0.0, 1000.0])
    array([0.5, 1. ])
    """
    grad_y, x = _pair(grad_y, x, layer="silu")
    return grad_y * (sigmoid(x) + x * sigmoid(x) * sigmoid(-x))


def softmax(x: ArrayLike) -> Array:
    """Turn the numbers of the last axis into probabilities, which sum to 1.

        y_k = exp(x_k) / sum over j of exp(x_j)

    Adding a number to all x changes nothing, so the largest x is taken off first: exp then has no
    argument above 0 and the sum is at least 1, however large the x are.

    Shapes   x [..., K] -> y [..., K]
    Source   Bridle 1990

    >>> softmax([1000, 1000, 999]).round(6)
    array([0.422319, 0.422319, 0.155362])
    """
    x = as_floats(x)
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def softmax_backward(grad_y: ArrayLike, x: ArrayLike) -> Array:
    """Return the gradient for x; each probability depends on every x of its row.

        dy_j / dx_k = y_k * ((1 if j = k else 0) - y_j)
        grad_x_k    = y_k * (grad_y_k - sum over j of grad_y_j * y_j)

    >>> softmax_backward([1.0, 0.0], [0.0, 0.0])
    array([ 0.25, -0.25])
    """
    grad_y, x = _pair(grad_y, x, layer="softmax")
    y = softmax(x)
    grad_x: Array = y * (grad_y - (grad_y * y).sum(axis=-1, keepdims=True))
    return grad_x


def log_softmax(x: ArrayLike) -> Array:
    """Give the logarithms of the probabilities without forming the probabilities first.

        log y_k = (x_k - max) - log(sum over j of exp(x_j - max))

    log(softmax(x)) would be log(0) for a class far below the largest; this stays exact.

    >>> log_softmax([1000.0, 0.0])
    array([    0., -1000.])
    """
    x = as_floats(x)
    shifted = x - x.max(axis=-1, keepdims=True)
    logarithms: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logarithms


def log_softmax_backward(grad_y: ArrayLike, x: ArrayLike) -> Array:
    """Return the gradient for x: grad_x_k = grad_y_k - softmax(x)_k * sum over j of grad_y_j.

    >>> log_softmax_backward([1.0, 0.0], [0.0, 0.0])
    array([ 0.5, -0.5])
    """
    grad_y, x = _pair(grad_y, x, layer="log_softmax")
    grad_x: Array = grad_y - softmax(x) * grad_y.sum(axis=-1, keepdims=True)
    return grad_x


def _pair(grad_y: ArrayLike, x: ArrayLike, *, layer: str) -> tuple[Array, Array]:
    """Bring a gradient and its input to one dtype; an activation's output has its input's shape."""
    x = as_floats(x)
    grad_y = as_floats(grad_y, like=x)
    check_same_shape(grad_y, x.shape, layer=layer)
    return grad_y, x


def _below(x: Array) -> Array:
    """Phi(x), the chance that a standard normal number is below x."""
    chance: Array = (1 + erf(x / math.sqrt(2))) / 2
    return chance
