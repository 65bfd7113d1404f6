"""The fully connected layer: every output is a weighted sum of every input, plus a bias."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .floats import Array, as_floats, check_same_shape


def dense(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None) -> Array:
    """Multiply the last axis by a matrix of weights and add a bias.

        y_d = sum over c of weight_dc * x_c + bias_d

    Shapes   x [..., C], weight [D, C], bias [D] -> y [..., D]; the axes in front are left alone
    Raises   ValueError if weight or bias doesn't fit x
    Cost     C * D multiply-adds for each row of x
    Source   Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.5

    >>> dense([[1.0, 2.0]], weight=[[1.0, 0.0], [3.0, 4.0], [1.0, 1.0]], bias=[0.0, 0.0, 10.0])
    array([[ 1., 11., 13.]])
    """
    x = as_floats(x)
    weight = as_floats(weight, like=x)
    _check_weight(x, weight)
    y: Array = x @ weight.T
    if bias is None:
        return y
    bias = as_floats(bias, like=x)
    if bias.shape != weight.shape[:1]:
        raise ValueError(f"dense bias must be [D={weight.shape[0]}]; got {bias.shape}.")
    return y + bias


def dense_backward(
    grad_y: ArrayLike, x: ArrayLike, weight: ArrayLike
) -> tuple[Array, Array, Array]:
    """Return the gradients of a loss with respect to x, weight and bias, from the one for y.

        grad_x_c       = sum over d of grad_y_d * weight_dc
        grad_weight_dc = sum over rows of grad_y_d * x_c
        grad_bias_d    = sum over rows of grad_y_d

    Shapes   grad_y [..., D], x [..., C], weight [D, C] -> [..., C], [D, C], [D]

    >>> grad_x, grad_weight, grad_bias = dense_backward([[1.0, 10.0]], [[2.0]], [[3.0], [4.0]])
    >>> grad_x.tolist(), grad_weight.tolist(), grad_bias.tolist()
    ([[43.0]], [[2.0], [20.0]], [1.0, 10.0])
    """
    x = as_floats(x)
    weight = as_floats(weight, like=x)
    grad_y = as_floats(grad_y, like=x)
    _check_weight(x, weight)
    outputs, inputs = weight.shape
    check_same_shape(grad_y, (*x.shape[:-1], outputs), layer="dense")
    grad_rows = grad_y.reshape(x.size // inputs, outputs)
    x_rows = x.reshape(x.size // inputs, inputs)
    return grad_y @ weight, grad_rows.T @ x_rows, grad_rows.sum(axis=0)


def _check_weight(x: Array, weight: Array) -> None:
    if x.ndim < 1 or weight.ndim != 2 or weight.shape[1] != x.shape[-1]:
        raise ValueError(
            f"dense weight must be [D, C] with C the size of x's last axis; "
            f"got weight {weight.shape} for x {x.shape}."
        )
