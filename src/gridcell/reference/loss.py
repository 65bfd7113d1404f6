"""Losses: how wrong a network's outputs are, as one number, and the gradient that it sends back.

The losses take logits, the raw outputs, not probabilities: a probability has already been rounded
to 0 or 1 where the logit is large, and its logarithm is lost.

Each is an average over all outputs, or over the valid ones: `valid` is a mask over the axes in
front of the last one, [N] or [N, T], False where a step is padding. Whatever stands at a masked
step, even NaN, changes nothing, and its gradient is 0. NaN at a valid step makes the loss NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activation import log_softmax, sigmoid, softmax
from .floats import Array, as_floats

Mask = NDArray[np.bool_]


def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    smoothing: float = 0.0,
    class_weights: ArrayLike | None = None,
    valid: ArrayLike | None = None,
) -> float:
    """Average the surprise at the right class: minus the log of the probability given to it.

        q_k   = (1 - smoothing) * (1 if k is the target else 0) + smoothing / K
        loss  = sum over rows and k of -weight_k * q_k * log softmax(logits)_k
                / sum over rows of weight_target

    Smoothing spreads a little of the target over all K classes, so that the network isn't driven
    to be sure beyond measure. Weights let a rare class count for more; 1 each if not given.

    Shapes   logits [..., K], targets [...] whole numbers 0..K-1, class_weights [K] -> one number
    Raises   ValueError if a target isn't a class, or nothing with weight is left to average
    Source   Goodfellow, Bengio & Courville 2016, section 6.2.2; smoothing: Szegedy et al. 2016

    >>> round(cross_entropy([[1e8, 1e8]], [1]), 6)
    0.693147
    >>> cross_entropy([[1000, 0]], [1])
    1000.0
    """
    rows = _class_rows(
        as_floats(logits), targets, smoothing=smoothing, class_weights=class_weights, valid=valid
    )
    # A class ruled out by a logit of -inf surprises infinitely, and 0 * inf would be NaN: a class
    # without share in the target is left out of the sum. "0 - 0" is 0 where "-0.0" would show.
    surprise = np.where(rows.shares > 0, 0 - log_softmax(rows.logits), 0)
    return float((rows.shares * surprise).sum() / rows.total)


def cross_entropy_backward(
    grad_loss: float,
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    smoothing: float = 0.0,
    class_weights: ArrayLike | None = None,
    valid: ArrayLike | None = None,
) -> Array:
    """Return the gradient for the logits: probability less target, the best known of formulas.

        a_k           = weight_k * q_k
        grad_logits_k = grad_loss * (softmax(logits)_k * sum over j of a_j - a_k)
                        / sum over rows of weight_target

    Shapes   logits [..., K], targets [...] -> [..., K]

    >>> cross_entropy_backward(1.0, [[0.0, 0.0]], [1])
    array([[ 0.5, -0.5]])
    """
    logits = as_floats(logits)
    rows = _class_rows(
        logits, targets, smoothing=smoothing, class_weights=class_weights, valid=valid
    )
    pull = softmax(rows.logits) * rows.shares.sum(axis=-1, keepdims=True) - rows.shares
    return _at_valid(grad_loss * pull / rows.total, rows.valid, like=logits)


def binary_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, valid: ArrayLike | None = None
) -> float:
    """Average the surprise at each yes or no, with p = sigmoid(logit) the probability of a yes.

        loss = mean of -t * log(p) - (1 - t) * log(1 - p)
             = mean of max(x, 0) - x * t + log(1 + exp(-|x|))      for x the logit

    The second line is the first one rearranged: nothing in it overflows or loses its small part.

    Shapes   logits, targets [..., K] with targets in 0..1 -> one number
    Raises   ValueError if the shapes differ, or nothing is left to average
    Source   Goodfellow, Bengio & Courville 2016, section 6.2.2

    >>> binary_cross_entropy([-1000.0, 1000.0], [1, 1])
    500.0
    """
    x, t, _, _ = _number_rows(logits, targets, valid=valid, loss="binary_cross_entropy")
    return float((np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))).mean())


def binary_cross_entropy_backward(
    grad_loss: float, logits: ArrayLike, targets: ArrayLike, *, valid: ArrayLike | None = None
) -> Array:
    """Return the gradient for the logits: grad_loss * (sigmoid(x) - t) / count.

    Shapes   logits, targets [..., K] -> [..., K]

    >>> binary_cross_entropy_backward(1.0, [0.0, 1000.0], [1, 1])
    array([-0.25,  0.  ])
    """
    x, t, like, mask = _number_rows(logits, targets, valid=valid, loss="binary_cross_entropy")
    return _at_valid(grad_loss * (sigmoid(x) - t) / x.size, mask, like=like)


def huber(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    delta: float = 1.0,
    valid: ArrayLike | None = None,
) -> float:
    """Average the error: squared while it is small, in proportion once it is beyond delta.

        r    = |prediction - target|
        loss = mean of r^2 / 2                   where r <= delta
                       delta * (r - delta / 2)   beyond
             = mean of a * (r - a / 2)           with a = min(r, delta)

    A single wild value pulls with a force of at most delta, where a squared error would let it
    rule the rest.

    Shapes   predictions, targets [..., K] -> one number
    Raises   ValueError if the shapes differ, delta isn't above 0, or nothing is left to average
    Source   Huber 1964

    >>> huber([0.0, 0.0], [1.0, 10.0])
    5.0
    """
    x, t, _, _ = _number_rows(predictions, targets, valid=valid, loss="huber")
    _check_delta(delta)
    error = np.abs(x - t)
    bounded = np.minimum(error, delta)
    return float((bounded * (error - bounded / 2)).mean())


def huber_backward(
    grad_loss: float,
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    delta: float = 1.0,
    valid: ArrayLike | None = None,
) -> Array:
    """Return the gradient for the predictions: the error, cut off at -delta and delta, / count.

    Shapes   predictions, targets [..., K] -> [..., K]

    >>> huber_backward(1.0, [0.0, 0.0], [1.0, 10.0])
    array([-0.5, -0.5])
    """
    x, t, like, mask = _number_rows(predictions, targets, valid=valid, loss="huber")
    _check_delta(delta)
    return _at_valid(grad_loss * np.clip(x - t, -delta, delta) / x.size, mask, like=like)


@dataclass(frozen=True)
class _ClassRows:
    """The valid rows of a classification; `shares` holds weight_k * q_k, `total` the divisor."""

    logits: Array
    shares: Array
    total: float
    valid: Mask


def _class_rows(
    logits: Array,
    targets: ArrayLike,
    *,
    smoothing: float,
    class_weights: ArrayLike | None,
    valid: ArrayLike | None,
) -> _ClassRows:
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must be in 0..1; got {smoothing}.")
    if logits.ndim < 1 or np.shape(targets) != logits.shape[:-1]:
        raise ValueError(
            f"cross_entropy targets must be [...] for logits [..., K]; "
            f"got {np.shape(targets)} for {logits.shape}."
        )
    mask = _mask(logits, valid)
    classes = logits.shape[-1]
    chosen = np.asarray(targets)[mask]
    for target in chosen.flat:
        # Without this check -1 would be read as the last class.
        if not (0 <= target < classes and target == int(target)):
            raise ValueError(
                f"cross_entropy target must be a whole number in 0..{classes - 1}; got {target}."
            )
    if class_weights is None:
        weights = np.ones(classes, logits.dtype)
    else:
        weights = as_floats(class_weights, like=logits)
    if weights.shape != (classes,):
        raise ValueError(f"class_weights must be [K={classes}]; got {weights.shape}.")
    is_target = np.eye(classes, dtype=logits.dtype)[chosen.astype(np.intp)]
    shares = weights * ((1 - smoothing) * is_target + smoothing / classes)
    total = float((weights * is_target).sum())
    if not total > 0:
        raise ValueError("cross_entropy has no valid target with a weight above 0 to average.")
    return _ClassRows(logits[mask], shares, total, mask)


def _number_rows(
    values: ArrayLike, targets: ArrayLike, *, valid: ArrayLike | None, loss: str
) -> tuple[Array, Array, Array, Mask]:
    """Return the valid values and targets, then all values and the mask, to put gradients back."""
    values = as_floats(values)
    targets = as_floats(targets, like=values)
    if values.ndim < 1 or values.shape != targets.shape:
        raise ValueError(
            f"{loss} needs targets of the outputs' shape {values.shape}; got {targets.shape}."
        )
    mask = _mask(values, valid)
    if values[mask].size == 0:
        raise ValueError(f"{loss} has no valid output to average.")
    return values[mask], targets[mask], values, mask


def _mask(values: Array, valid: ArrayLike | None) -> Mask:
    if valid is None:
        return np.ones(values.shape[:-1], np.bool_)
    mask = np.asarray(valid, np.bool_)
    if mask.shape != values.shape[:-1]:
        raise ValueError(
            f"valid must cover the axes in front of the last one, {values.shape[:-1]}; "
            f"got {mask.shape}."
        )
    return mask


def _at_valid(grad_rows: Array, mask: Mask, *, like: Array) -> Array:
    grad = np.zeros_like(like)
    grad[mask] = grad_rows
    return grad


def _check_delta(delta: float) -> None:
    if not delta > 0:
        raise ValueError(f"delta must be above 0; got {delta}.")
