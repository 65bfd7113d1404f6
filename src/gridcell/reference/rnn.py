"""The plain recurrent layer: each step sees its input and what the step before it gave.

Weights are plain dicts of arrays, `weights[layer][direction]`, and gradients come back in the same
form. Direction 0 walks from the first step to the last; direction 1, where it is given, from the
last to the first, on weights of its own. The outputs of both are joined and feed the next layer.

Examples are walked one at a time, over their true lengths: padding is never looked at. That is
slow, and makes it plain that no example and no padding can reach another example.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .floats import Array, as_floats, check_same_shape
from .walks import Arrays, Layers, as_layers, as_lengths, as_state, walks, zeros_like_layers


def rnn(
    x: ArrayLike,
    weights: Layers,
    *,
    activation: str = "tanh",
    lengths: ArrayLike | None = None,
    h: ArrayLike | None = None,
    dropout_mask: ArrayLike = 1.0,
) -> tuple[Array, Array]:
    """Walk over time with a state h that every step renews.

        h_t = tanh(W x_t + R h_{t-1} + b)       or max(0, ...) for "relu";    y_t = h_t

    Each `weights[layer][direction]` holds `input` W, `recurrent` R and `bias` b. Steps at or past
    an example's length give y = 0; the last state is the one after its last step, or the first
    state where the length is 0.

    dropout_mask   multiplies what one layer gives the next, already divided by the share that is
                   kept

    Shapes   x [B, T, C], W [D, C], R [D, D], b [D], lengths [B], h [layers, directions, B, D],
             the mask broadcasts to [layers - 1, B, T, directions * D]
             -> y [B, T, directions * D], last h [layers, directions, B, D]
    Raises   ValueError if a length isn't 0 to T, or h or a weight doesn't fit
    Source   Elman 1990; Goodfellow, Bengio & Courville 2016, section 10.2

    >>> weights = [[{"input": [[1.0]], "recurrent": [[2.0]], "bias": [0.5]}]]
    >>> y, h = rnn([[[1.0], [0.0], [9.0]]], weights, activation="relu", lengths=[2])
    >>> y.tolist(), h.tolist()
    ([[[1.5], [3.5], [0.0]]], [[[[3.5]]]])
    """
    x = as_floats(x)
    layers = as_layers(weights, x, width=_width)
    counts = as_lengths(lengths, x)
    state = as_state(h, x, layers, width=_width)
    last = state.copy()
    masks = _masks(dropout_mask, x, layers)
    values = x
    for layer, directions in enumerate(layers):
        y = np.zeros((*x.shape[:2], len(directions), _width(directions[0])), x.dtype)
        for direction, example, steps in walks(directions, counts):
            hs = _walk(
                values[example, steps],
                directions[direction],
                state[layer, direction, example],
                activation,
            )
            y[example, steps, direction] = hs[1:]
            last[layer, direction, example] = hs[-1]
        values = y.reshape(*x.shape[:2], -1)
        if layer < len(layers) - 1:
            values = values * masks[layer]
    return values, last


def rnn_backward(
    grad_y: ArrayLike,
    x: ArrayLike,
    weights: Layers,
    *,
    grad_last_h: ArrayLike | None = None,
    activation: str = "tanh",
    lengths: ArrayLike | None = None,
    h: ArrayLike | None = None,
    dropout_mask: ArrayLike = 1.0,
) -> tuple[Array, list[list[Arrays]], Array]:
    """Return the gradients for x, the weights and the first state: backpropagation through time.

    From the last step to the first, with a_t what stands inside the tanh:

        grad_h_t     = grad_y_t + R^T grad_a_{t+1}         (grad_last_h after the last step)
        grad_a_t     = grad_h_t * (1 - h_t^2)              (or * (h_t > 0) for "relu")
        grad_W, grad_R, grad_b = sums over steps of grad_a_t x_t^T, grad_a_t h_{t-1}^T, grad_a_t
        grad_x_t     = W^T grad_a_t

    The factor R^T diag(1 - h^2) is applied once a step: over k steps the gradient shrinks or
    grows like its k-th power, which is why a plain recurrent layer forgets.

    Shapes   grad_y [B, T, directions * D], grad_last_h like h
             -> like x, like weights (as arrays), like h
    Source   Werbos 1990; Bengio, Simard & Frasconi 1994

    >>> weights = [[{"input": [[1.0]], "recurrent": [[2.0]], "bias": [0.5]}]]
    >>> grad_x, grads, grad_h = rnn_backward(
    ...     [[[0.0], [1.0]]], [[[1.0], [0.0]]], weights, activation="relu"
    ... )
    >>> grad_x.tolist(), grads[0][0]["recurrent"].tolist(), grad_h.tolist()
    ([[[2.0], [1.0]]], [[1.5]], [[[[4.0]]]])
    """
    x = as_floats(x)
    layers = as_layers(weights, x, width=_width)
    counts = as_lengths(lengths, x)
    state = as_state(h, x, layers, width=_width)
    masks = _masks(dropout_mask, x, layers)
    values = [x]
    for layer in range(len(layers) - 1):
        y, _ = rnn(
            values[-1],
            layers[layer : layer + 1],
            activation=activation,
            lengths=counts,
            h=state[layer : layer + 1],
        )
        values.append(y * masks[layer])
    grad_state = as_state(grad_last_h, x, layers, width=_width).copy()
    grad_values = as_floats(grad_y, like=x)
    check_same_shape(
        grad_values, (*x.shape[:2], len(layers[0]) * _width(layers[0][0])), layer="rnn"
    )
    gradients = zeros_like_layers(layers)
    for layer, directions in reversed(list(enumerate(layers))):
        if layer < len(layers) - 1:
            grad_values = grad_values * masks[layer]
        grads = grad_values.reshape(*x.shape[:2], len(directions), -1)
        grad_values = np.zeros_like(values[layer])
        for direction, example, steps in walks(directions, counts):
            grad_x, grad_h = _walk_back(
                grads[example, steps, direction],
                grad_state[layer, direction, example],
                values[layer][example, steps],
                directions[direction],
                state[layer, direction, example],
                activation,
                gradients[layer][direction],
            )
            grad_values[example, steps] += grad_x
            grad_state[layer, direction, example] = grad_h
    return grad_values, gradients, grad_state


def _walk(x: Array, weights: Arrays, h: Array, activation: str) -> Array:
    """Return h_0, h_1, ... h_T of one example: the first state, then one a step."""
    hs = [h]
    for x_t in x:
        a = weights["input"] @ x_t + weights["recurrent"] @ hs[-1] + weights["bias"]
        hs.append(_activate(a, activation))
    return np.array(hs)


def _walk_back(
    grad_y: Array,
    grad_h: Array,
    x: Array,
    weights: Arrays,
    h: Array,
    activation: str,
    gradients: Arrays,
) -> tuple[Array, Array]:
    """Return the gradients for one example's x and first state; add the weights' own."""
    hs = _walk(x, weights, h, activation)
    grad_x = np.zeros_like(x)
    for t in reversed(range(len(x))):
        grad_h = grad_h + grad_y[t]
        grad_a = grad_h * _slope(hs[t + 1], activation)
        gradients["input"] += np.outer(grad_a, x[t])
        gradients["recurrent"] += np.outer(grad_a, hs[t])
        gradients["bias"] += grad_a
        grad_x[t] = weights["input"].T @ grad_a
        grad_h = weights["recurrent"].T @ grad_a
    return grad_x, grad_h


def _masks(dropout_mask: ArrayLike, x: Array, layers: list[list[Arrays]]) -> Array:
    """What multiplies the outputs of each layer but the last, [layers - 1, B, T, features]."""
    shape = (len(layers) - 1, *x.shape[:2], len(layers[0]) * _width(layers[0][0]))
    return np.broadcast_to(as_floats(dropout_mask, like=x), shape)


def _activate(a: Array, activation: str) -> Array:
    if activation not in ("tanh", "relu"):
        raise ValueError(f"rnn activation must be tanh or relu; got {activation!r}.")
    h: Array = np.tanh(a) if activation == "tanh" else np.maximum(a, 0)
    return h


def _slope(h: Array, activation: str) -> Array:
    """The derivative of the activation, told from its value."""
    slope: Array = 1 - h**2 if activation == "tanh" else (h > 0).astype(h.dtype)
    return slope


def _width(weights: Arrays) -> int:
    return len(weights["bias"])
