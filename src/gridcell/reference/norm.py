"""Normalisation layers: numbers are shifted and scaled to mean 0 and variance 1, then learned anew.

Batch normalisation takes its statistics over the examples (and the grid), a channel at a time;
layer normalisation over the features of each example alone.

In batch normalisation `valid` marks the steps that are real: [N], [N, T] or [N, *grid], True where
they count. Grid axes behind the last one given are covered whole. Steps that aren't valid are left
out of every statistic, whatever stands there, even NaN; their outputs and gradients are 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .floats import Array, as_floats, check_same_shape

Mask = NDArray[np.bool_]


def batchnorm(
    x: ArrayLike,
    scale: ArrayLike,
    shift: ArrayLike,
    *,
    epsilon: float = 1e-5,
    valid: ArrayLike | None = None,
) -> Array:
    """Normalise each channel by this batch's own mean and variance, as in training.

        mean     = sum over examples and cells of x / count
        variance = sum over examples and cells of (x - mean)^2 / count     (not count - 1)
        y        = scale * (x - mean) / sqrt(variance + epsilon) + shift

    `running_statistics` keeps what `batchnorm_evaluation` will use later.

    Shapes   x [N, C, *grid], scale, shift [C] -> y [N, C, *grid]; x [N, C] has no grid
    Raises   ValueError if a channel has fewer than 2 valid numbers: its variance says nothing
    Source   Ioffe & Szegedy 2015

    >>> batchnorm([[1.0], [3.0]], scale=[10.0], shift=[5.0], epsilon=0.0)
    array([[-5.],
           [15.]])
    """
    x = as_floats(x)
    mask = _mask(x, valid)
    rows = _rows(x, mask)
    _check_count(rows, x)
    mean, variance = rows.mean(axis=0), rows.var(axis=0)
    scale, shift = _per_channel(scale, x, name="scale"), _per_channel(shift, x, name="shift")
    y = scale * (rows - mean) / np.sqrt(variance + epsilon) + shift
    return _put_back(y, mask, like=x)


def batchnorm_backward(
    grad_y: ArrayLike,
    x: ArrayLike,
    scale: ArrayLike,
    *,
    epsilon: float = 1e-5,
    valid: ArrayLike | None = None,
) -> tuple[Array, Array, Array]:
    """Return the gradients of a loss with respect to x, scale and shift, from the one for y.

    Every x moves the mean and the variance too, so two averages are taken off its own gradient:

        h          = (x - mean) / sqrt(variance + epsilon)
        grad_scale = sum of grad_y * h;      grad_shift = sum of grad_y
        grad_h     = grad_y * scale
        grad_x     = (grad_h - mean of grad_h - h * mean of (grad_h * h)) / sqrt(variance + epsilon)

    Sums and means run over examples and cells, the valid ones.

    Shapes   grad_y, x [N, C, *grid], scale [C] -> [N, C, *grid], [C], [C]

    >>> grad_x, grad_scale, grad_shift = batchnorm_backward(
    ...     [[1.0], [0.0]], [[1.0], [3.0]], scale=[1.0], epsilon=0.0
    ... )
    >>> grad_x.tolist(), grad_scale.tolist(), grad_shift.tolist()
    ([[0.0], [0.0]], [-1.0], [1.0])
    """
    x = as_floats(x)
    grad_y = as_floats(grad_y, like=x)
    check_same_shape(grad_y, x.shape, layer="batchnorm")
    mask = _mask(x, valid)
    rows, grad_rows = _rows(x, mask), _rows(grad_y, mask)
    _check_count(rows, x)
    deviation = np.sqrt(rows.var(axis=0) + epsilon)
    h = (rows - rows.mean(axis=0)) / deviation
    grad_h = grad_rows * _per_channel(scale, x, name="scale")
    grad_x = (grad_h - grad_h.mean(axis=0) - h * (grad_h * h).mean(axis=0)) / deviation
    return _put_back(grad_x, mask, like=x), (grad_rows * h).sum(axis=0), grad_rows.sum(axis=0)


def running_statistics(
    x: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    *,
    momentum: float = 0.1,
    valid: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Return the running mean and variance after one more batch.

        new = (1 - momentum) * old + momentum * the batch's own

    The batch's variance is here the unbiased one, divided by count - 1: it stands for the variance
    of the population. The normalisation itself divides by count.

    Shapes   x [N, C, *grid], mean, variance [C] -> [C], [C]
    Raises   ValueError if a channel has fewer than 2 valid numbers

    >>> running_statistics([[1.0], [3.0]], mean=[0.0], variance=[1.0], momentum=0.5)
    (array([1.]), array([1.5]))
    """
    x = as_floats(x)
    rows = _rows(x, _mask(x, valid))
    _check_count(rows, x)
    mean, variance = _per_channel(mean, x, name="mean"), _per_channel(variance, x, name="variance")
    return (
        (1 - momentum) * mean + momentum * rows.mean(axis=0),
        (1 - momentum) * variance + momentum * rows.var(axis=0, ddof=1),
    )


def batchnorm_evaluation(
    x: ArrayLike,
    scale: ArrayLike,
    shift: ArrayLike,
    *,
    mean: ArrayLike,
    variance: ArrayLike,
    epsilon: float = 1e-5,
    valid: ArrayLike | None = None,
) -> Array:
    """Normalise by the running statistics: an example's output depends on that example alone.

        y = scale * (x - mean) / sqrt(variance + epsilon) + shift

    Shapes   x [N, C, *grid], the rest [C] -> y [N, C, *grid]; one example is enough
    Source   Ioffe & Szegedy 2015

    >>> batchnorm_evaluation([[7.0]], [10.0], [5.0], mean=[3.0], variance=[4.0], epsilon=0.0)
    array([[25.]])
    """
    x = as_floats(x)
    mask = _mask(x, valid)
    scale, shift = _per_channel(scale, x, name="scale"), _per_channel(shift, x, name="shift")
    mean, variance = _per_channel(mean, x, name="mean"), _per_channel(variance, x, name="variance")
    y = scale * (_rows(x, mask) - mean) / np.sqrt(variance + epsilon) + shift
    return _put_back(y, mask, like=x)


def batchnorm_evaluation_backward(
    grad_y: ArrayLike,
    x: ArrayLike,
    scale: ArrayLike,
    *,
    mean: ArrayLike,
    variance: ArrayLike,
    epsilon: float = 1e-5,
    valid: ArrayLike | None = None,
) -> tuple[Array, Array, Array]:
    """Return the gradients for x, scale and shift; mean and variance are constants here.

        grad_x = grad_y * scale / sqrt(variance + epsilon)

    Shapes   grad_y, x [N, C, *grid], the rest [C] -> [N, C, *grid], [C], [C]

    >>> grad_x, grad_scale, grad_shift = batchnorm_evaluation_backward(
    ...     [[1.0]], [[7.0]], [10.0], mean=[3.0], variance=[4.0], epsilon=0.0
    ... )
    >>> grad_x.tolist(), grad_scale.tolist(), grad_shift.tolist()
    ([[5.0]], [2.0], [1.0])
    """
    x = as_floats(x)
    grad_y = as_floats(grad_y, like=x)
    check_same_shape(grad_y, x.shape, layer="batchnorm_evaluation")
    mask = _mask(x, valid)
    rows, grad_rows = _rows(x, mask), _rows(grad_y, mask)
    mean, variance = _per_channel(mean, x, name="mean"), _per_channel(variance, x, name="variance")
    deviation = np.sqrt(variance + epsilon)
    grad_x = grad_rows * _per_channel(scale, x, name="scale") / deviation
    grad_scale = (grad_rows * (rows - mean) / deviation).sum(axis=0)
    return _put_back(grad_x, mask, like=x), grad_scale, grad_rows.sum(axis=0)


def layernorm(x: ArrayLike, scale: ArrayLike, shift: ArrayLike, *, epsilon: float = 1e-5) -> Array:
    """Normalise the last axis by its own mean and variance; rows know nothing of each other.

        y = scale * (x - mean) / sqrt(variance + epsilon) + shift

    With one feature (D = 1) the variance is 0 and y is the shift alone.

    Shapes   x [..., D], scale, shift [D] -> y [..., D]
    Source   Ba, Kiros & Hinton 2016

    >>> layernorm([[1.0, 3.0]], scale=[10.0, 10.0], shift=[0.0, 5.0], epsilon=0.0)
    array([[-10.,  15.]])
    """
    x = as_floats(x)
    scale, shift = _per_feature(scale, x, name="scale"), _per_feature(shift, x, name="shift")
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    y: Array = scale * (x - mean) / np.sqrt(variance + epsilon) + shift
    return y


def layernorm_backward(
    grad_y: ArrayLike, x: ArrayLike, scale: ArrayLike, *, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Return the gradients for x, scale and shift: as in batchnorm, with means over a row.

        grad_x = (grad_h - mean of grad_h - h * mean of (grad_h * h)) / sqrt(variance + epsilon)

    Shapes   grad_y, x [..., D], scale [D] -> [..., D], [D], [D]

    >>> grad_x, grad_scale, grad_shift = layernorm_backward(
    ...     [[1.0, 0.0]], [[1.0, 3.0]], scale=[1.0, 1.0], epsilon=0.0
    ... )
    >>> grad_x.tolist(), grad_scale.tolist(), grad_shift.tolist()
    ([[0.0, 0.0]], [-1.0, 0.0], [1.0, 0.0])
    """
    x = as_floats(x)
    grad_y = as_floats(grad_y, like=x)
    check_same_shape(grad_y, x.shape, layer="layernorm")
    deviation = np.sqrt(x.var(axis=-1, keepdims=True) + epsilon)
    h = (x - x.mean(axis=-1, keepdims=True)) / deviation
    grad_h = grad_y * _per_feature(scale, x, name="scale")
    grad_x = (
        grad_h - grad_h.mean(axis=-1, keepdims=True) - h * (grad_h * h).mean(axis=-1, keepdims=True)
    ) / deviation
    rows = tuple(range(x.ndim - 1))
    return grad_x, (grad_y * h).sum(axis=rows), grad_y.sum(axis=rows)


def _mask(x: Array, valid: ArrayLike | None) -> Mask:
    """Return the mask [N, *grid] of the cells that count."""
    if x.ndim < 2:
        raise ValueError(f"batchnorm input must be [N, C, *grid]; got {x.shape}.")
    cells = (x.shape[0], *x.shape[2:])
    if valid is None:
        return np.ones(cells, np.bool_)
    mask = np.asarray(valid, np.bool_)
    if not 1 <= mask.ndim <= len(cells) or mask.shape != cells[: mask.ndim]:
        raise ValueError(
            f"valid must be [N], [N, T] or [N, *grid], the first axes of {cells}; got {mask.shape}."
        )
    behind = len(cells) - mask.ndim
    return np.broadcast_to(mask.reshape(*mask.shape, *(1 for _ in range(behind))), cells)


def _rows(x: Array, mask: Mask) -> Array:
    """[N, C, *grid] -> [M, C]: one row for each of the M valid cells of all examples."""
    return np.moveaxis(x, 1, -1)[mask]


def _put_back(rows: Array, mask: Mask, *, like: Array) -> Array:
    """[M, C] -> [N, C, *grid], each row where it came from and 0 at the other cells."""
    values = np.zeros_like(like)
    np.moveaxis(values, 1, -1)[mask] = rows
    return values


def _check_count(rows: Array, x: Array) -> None:
    if len(rows) < 2:
        raise ValueError(
            f"batchnorm needs at least 2 valid numbers a channel to train; got {len(rows)} "
            f"from {x.shape}.\n  Fix: a batch of more examples, or batchnorm_evaluation, "
            f"which uses the running statistics."
        )


def _per_channel(values: ArrayLike, x: Array, *, name: str) -> Array:
    values = as_floats(values, like=x)
    if values.shape != (x.shape[1],):
        raise ValueError(f"batchnorm {name} must be [C={x.shape[1]}]; got {values.shape}.")
    return values


def _per_feature(values: ArrayLike, x: Array, *, name: str) -> Array:
    values = as_floats(values, like=x)
    if x.ndim < 1 or values.shape != x.shape[-1:]:
        raise ValueError(
            f"layernorm {name} must be [D], x's last axis of {x.shape}; got {values.shape}."
        )
    return values
