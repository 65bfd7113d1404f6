"""Long short-term memory: a recurrent layer whose cell keeps what its gates let it keep.

Weights are plain dicts of arrays, `weights[layer][direction]`, and gradients come back in the same
form. A direction of width D on C channels has

    input       [4 D, C]      W: rows in the order i, f, g, o
    recurrent   [4 D, D]      R: every unit sees every unit
                [4 D, D / n]  n heads: a unit sees the D / n units of its own head
                [4 D, 1]      diagonal: a unit sees itself alone (element by element)
    bias        [4 D]         b

and, where an option is wanted, the weights that belong to it: an option is on where they are given.

    peephole           [3, D]   p: the gates i, f and o see the cell     (Gers & Schmidhuber 2000)
    scale_input,
    scale_recurrent    [4 D]    layer normalisation of W x and of R h    (Ba, Kiros & Hinton 2016)
    scale_cell,
    shift_cell         [D]      layer normalisation of the cell on its way to h
    projection         [P, D]   h is P numbers, made from D of them      (Sak, Senior & Beaufays)

Examples are walked one at a time, over their true lengths: padding is never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .activation import sigmoid
from .floats import Array, as_floats, check_same_shape
from .heads import as_blocks, as_matrix
from .norm import layernorm, layernorm_backward
from .walks import Arrays, Layers, as_layers, as_lengths, as_state, walks, zeros_like_layers

EPSILON = 1e-5
TRACED = ("f", "i", "g", "o", "c", "h")


def lstm(
    x: ArrayLike,
    weights: Layers,
    *,
    lengths: ArrayLike | None = None,
    h: ArrayLike | None = None,
    c: ArrayLike | None = None,
    zoneout_h: ArrayLike = 0.0,
    zoneout_c: ArrayLike = 0.0,
    recurrent_mask: ArrayLike = 1.0,
    weight_mask: ArrayLike = 1.0,
    dropout_mask: ArrayLike = 1.0,
) -> tuple[Array, Array, Array]:
    """Walk over time with a cell c that is kept, written and shown through gates.

        i, f, g, o = W x_t + R h_{t-1} + b                    four vectors of D numbers
        i = sigmoid(i);  f = sigmoid(f);  g = tanh(g)         what to write, keep; the news
        c_t = f * c_{t-1} + i * g                             element by element
        o = sigmoid(o)                                        what to show
        h_t = o * tanh(c_t);  y_t = h_t

    With every option, from the weights that are given (see the head of this file):

        i, f, g, o = norm(W x_t) * scale_input + norm((w * R) (m * h_{t-1})) * scale_recurrent + b
        i += p_i * c_{t-1};  f += p_f * c_{t-1};  o += p_o * (f * c_{t-1} + i * g)
        new  = f * c_{t-1} + i * g
        show = projection (o * tanh(norm(new) * scale_cell + shift_cell))
        c_t  = z_c * c_{t-1} + (1 - z_c) * new
        h_t  = z_h * h_{t-1} + (1 - z_h) * show

    zoneout_c, zoneout_h   z: which numbers stay as they were, 0 or 1 each while training, in
                           evaluation the share that stayed; in the order in which a direction walks
    recurrent_mask         m: the same mask at every step (recurrent dropout), already divided by
                           the share that is kept
    weight_mask            w: multiplies R at every step of every example (weight drop), likewise
                           divided
    dropout_mask           multiplies what one layer gives the next, likewise divided

    Steps at or past an example's length give y = 0; the last state is the one after its last step,
    or the first state where the length is 0.

    Shapes   x [B, T, C], lengths [B], h [layers, directions, B, P], c [.., D] (P = D without a
             projection); masks broadcast to [layers, directions, B, T, P or D],
             [layers, directions, B, P], [layers, directions, 4 D, columns of R] and
             [layers - 1, B, T, directions * P]
             -> y [B, T, directions * P], last h, last c
    Raises   ValueError if a length isn't 0 to T, or a state or a weight doesn't fit
    Cost     4 * B * T * D * (C + D) multiply-adds a direction
    Source   Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000;
             zoneout: Krueger et al. 2016; recurrent dropout: Gal & Ghahramani 2016; weight
             drop: Merity et al. 2018

    Forget gate wide open and input gate shut, the cell stays what it was:

    >>> weights = [[{"input": np.zeros((4, 1)), "recurrent": np.zeros((4, 1)),
    ...              "bias": [-1000.0, 1000.0, 0.0, 1000.0]}]]
    >>> y, h, c = lstm([[[7.0], [8.0]]], weights, c=[[[[0.5]]]])
    >>> y.round(4).tolist(), c.tolist()
    ([[[0.4621], [0.4621]]], [[[[0.5]]]])
    """
    run = _Run.of(
        x, weights, lengths, h, c, zoneout_h, zoneout_c, recurrent_mask, weight_mask, dropout_mask
    )
    values = [run.x]
    last_h, last_c = run.h.copy(), run.c.copy()
    for layer in range(len(run.layers)):
        y = _layer(run, layer, values[-1], last_h, last_c)
        values.append(_dropped(run, layer, y))
    return values[-1], last_h, last_c


def lstm_trace(x: ArrayLike, weights: Layers, **options: Any) -> Arrays:
    """Return f, i, g, o, c and h at every step, for every layer and direction.

    The options are those of `lstm`. Step t stands at place t for both directions; the padding is 0.

    Shapes   -> each [layers, directions, B, T, D], h with P instead of D

    >>> weights = [[{"input": [[0.0], [0.0], [1.0], [0.0]], "recurrent": np.zeros((4, 1)),
    ...              "bias": [1000.0, 0.0, 0.0, 0.0]}]]
    >>> trace = lstm_trace([[[0.5], [0.5]]], weights)
    >>> trace["f"].ravel().tolist(), trace["c"].round(4).ravel().tolist()
    ([0.5, 0.5], [0.4621, 0.6932])
    """
    run = _Run.of(x, weights, **options)
    shape = (*run.h.shape[:3], run.x.shape[1])
    trace = {name: np.zeros((*shape, run.c.shape[3]), run.x.dtype) for name in TRACED}
    trace["h"] = np.zeros((*shape, run.h.shape[3]), run.x.dtype)
    values = run.x
    for layer, directions in enumerate(run.layers):
        for direction, example, steps in walks(directions, run.lengths):
            walked = _walk(run, layer, direction, example, values[example, steps])
            for t, moment in zip(steps, walked, strict=True):
                for name in TRACED:
                    trace[name][layer, direction, example, t] = getattr(moment, name)
        y = _layer(run, layer, values, run.h.copy(), run.c.copy())
        values = _dropped(run, layer, y)
    return trace


def lstm_backward(
    grad_y: ArrayLike,
    x: ArrayLike,
    weights: Layers,
    *,
    grad_last_h: ArrayLike | None = None,
    grad_last_c: ArrayLike | None = None,
    **options: Any,
) -> tuple[Array, list[list[Arrays]], Array, Array]:
    """Return the gradients for x, the weights and the first h and c: backpropagation through time.

    The options are those of `lstm`. From the last step to the first, without options:

        grad_h  = grad_y_t + R^T grad_a_{t+1}                 (grad_last_h after the last step)
        grad_c  = f_{t+1} * grad_c_{t+1} + grad_h * o * (1 - tanh(c_t)^2)
        grad_a  = [ grad_c * g         * i * (1 - i),         a: what stands inside the gates
                    grad_c * c_{t-1}   * f * (1 - f),
                    grad_c * i         * (1 - g^2),
                    grad_h * tanh(c_t) * o * (1 - o) ]
        grad_W, grad_R, grad_b = sums over steps of grad_a x_t^T, grad_a h_{t-1}^T, grad_a
        grad_x_t = W^T grad_a

    Along the cell the gradient is multiplied by f alone, no matrix and no slope of an activation:
    where f stays near 1 it reaches far back. That is the whole point of the cell.

    Shapes   grad_y [B, T, directions * P], grad_last_h like h, grad_last_c like c
             -> like x, like weights (as arrays), like h, like c
    Source   Graves 2012, Supervised sequence labelling, section 4.6; Greff et al. 2017, appendix A

    >>> weights = [[{"input": np.zeros((4, 1)), "recurrent": np.zeros((4, 1)),
    ...              "bias": [-1000.0, 1000.0, 0.0, 1000.0]}]]
    >>> *_, grad_c = lstm_backward([[[0.0], [0.0]]], [[[7.0], [8.0]]], weights,
    ...                            grad_last_c=[[[[3.0]]]])
    >>> grad_c.tolist()
    [[[[3.0]]]]
    """
    run = _Run.of(x, weights, **options)
    values = [run.x]
    for layer in range(len(run.layers)):
        y = _layer(run, layer, values[-1], run.h.copy(), run.c.copy())
        values.append(_dropped(run, layer, y))
    grad_y = as_floats(grad_y, like=run.x)
    check_same_shape(grad_y, values[-1].shape, layer="lstm")
    grad_h = as_state(grad_last_h, run.x, run.layers, width=_shown).copy()
    grad_c = as_state(grad_last_c, run.x, run.layers, width=_width).copy()
    gradients = zeros_like_layers(run.layers)
    for layer, directions in reversed(list(enumerate(run.layers))):
        grads = _dropped(run, layer, grad_y).reshape(*run.x.shape[:2], len(directions), -1)
        grad_y = np.zeros_like(values[layer])
        for direction, example, steps in walks(directions, run.lengths):
            at = (layer, direction, example)
            grad_x, grad_h[at], grad_c[at] = _walk_back(
                run,
                at,
                values[layer][example, steps],
                grads[example, steps, direction],
                (grad_h[at], grad_c[at]),
                gradients[layer][direction],
            )
            grad_y[example, steps] += grad_x
    return grad_y, gradients, grad_h, grad_c


@dataclass(frozen=True)
class _Run:
    """Everything that one call was given, checked and in one dtype."""

    x: Array
    layers: list[list[Arrays]]
    lengths: Any
    h: Array
    c: Array
    zoneout_h: Array
    zoneout_c: Array
    recurrent_mask: Array
    weight_mask: Array
    dropout_mask: Array

    @classmethod
    def of(
        cls,
        x: ArrayLike,
        weights: Layers,
        lengths: ArrayLike | None = None,
        h: ArrayLike | None = None,
        c: ArrayLike | None = None,
        zoneout_h: ArrayLike = 0.0,
        zoneout_c: ArrayLike = 0.0,
        recurrent_mask: ArrayLike = 1.0,
        weight_mask: ArrayLike = 1.0,
        dropout_mask: ArrayLike = 1.0,
    ) -> _Run:
        x = as_floats(x)
        layers = as_layers(weights, x, width=_shown)
        h = as_state(h, x, layers, width=_shown)
        c = as_state(c, x, layers, width=_width)
        steps = x.shape[1]

        def spread(mask: ArrayLike, *shape: int) -> Array:
            return np.broadcast_to(as_floats(mask, like=x), shape)

        return cls(
            x,
            layers,
            as_lengths(lengths, x),
            h,
            c,
            spread(zoneout_h, *h.shape[:3], steps, h.shape[3]),
            spread(zoneout_c, *c.shape[:3], steps, c.shape[3]),
            spread(recurrent_mask, *h.shape),
            spread(weight_mask, *h.shape[:2], *layers[0][0]["recurrent"].shape),
            spread(dropout_mask, len(layers) - 1, len(x), steps, h.shape[1] * h.shape[3]),
        )


@dataclass(frozen=True)
class _Moment:
    """One step of one example, with what its gradient will need."""

    before_h: Array
    before_c: Array
    i: Array
    f: Array
    g: Array
    o: Array
    new: Array
    shown: Array
    c: Array
    h: Array


def _layer(run: _Run, layer: int, values: Array, last_h: Array, last_c: Array) -> Array:
    """Return what a layer gives; write its last states into `last_h` and `last_c`."""
    directions = run.layers[layer]
    y = np.zeros((*values.shape[:2], len(directions), run.h.shape[3]), values.dtype)
    for direction, example, steps in walks(directions, run.lengths):
        walked = _walk(run, layer, direction, example, values[example, steps])
        for t, moment in zip(steps, walked, strict=True):
            y[example, t, direction] = moment.h
            last_h[layer, direction, example] = moment.h
            last_c[layer, direction, example] = moment.c
    return y.reshape(*values.shape[:2], -1)


def _dropped(run: _Run, layer: int, y: Array) -> Array:
    """Multiply by the mask between this layer and the next; the last layer has none."""
    is_last = layer == len(run.layers) - 1
    return y if is_last else y * run.dropout_mask[layer]


def _walk(run: _Run, layer: int, direction: int, example: int, x: Array) -> list[_Moment]:
    """Walk one example in one direction of one layer."""
    at = (layer, direction, example)
    weights = run.layers[layer][direction]
    recurrent = as_matrix(run.weight_mask[at[:2]] * weights["recurrent"], _shown(weights))
    peep_i, peep_f, peep_o = weights.get("peephole", np.zeros((3, _width(weights)), x.dtype))
    h, c = run.h[at], run.c[at]
    moments = []
    for x_t, zone_h, zone_c in zip(x, run.zoneout_h[at], run.zoneout_c[at], strict=False):
        from_x = _norm(weights["input"] @ x_t, weights.get("scale_input"))
        from_h = _norm(recurrent @ (run.recurrent_mask[at] * h), weights.get("scale_recurrent"))
        gates: list[Array] = np.split(from_x + from_h + weights["bias"], 4)
        i, f, g, o = gates
        i, f, g = sigmoid(i + peep_i * c), sigmoid(f + peep_f * c), np.tanh(g)
        new = f * c + i * g
        o = sigmoid(o + peep_o * new)
        shown = np.tanh(_norm(new, weights.get("scale_cell"), weights.get("shift_cell")))
        out = o * shown
        if "projection" in weights:
            out = weights["projection"] @ out
        next_h, next_c = zone_h * h + (1 - zone_h) * out, zone_c * c + (1 - zone_c) * new
        moments.append(_Moment(h, c, i, f, g, o, new, shown, next_c, next_h))
        h, c = next_h, next_c
    return moments


def _walk_back(
    run: _Run,
    at: tuple[int, int, int],
    x: Array,
    grad_y: Array,
    grad_state: tuple[Array, Array],
    gradients: Arrays,
) -> tuple[Array, Array, Array]:
    """Return the gradients for one example's x, first h and first c; add the weights' own."""
    weights = run.layers[at[0]][at[1]]
    recurrent = as_matrix(run.weight_mask[at[:2]] * weights["recurrent"], _shown(weights))
    grad_recurrent = np.zeros_like(recurrent)
    peep_i, peep_f, peep_o = weights.get("peephole", np.zeros((3, _width(weights)), x.dtype))
    grad_h, grad_c = grad_state
    grad_x: Array = np.zeros_like(x)
    for t, m in reversed(list(enumerate(_walk(run, *at, x)))):
        zone_h, zone_c, mask = run.zoneout_h[at][t], run.zoneout_c[at][t], run.recurrent_mask[at]
        grad_h = grad_h + grad_y[t]
        grad_out = (1 - zone_h) * grad_h
        if "projection" in weights:
            gradients["projection"] += np.outer(grad_out, m.o * m.shown)
            grad_out = weights["projection"].T @ grad_out
        grad_shown = grad_out * m.o * (1 - m.shown**2)
        grad_new = _norm_back(grad_shown, m.new, weights, gradients, "scale_cell", "shift_cell")
        grad_o = grad_out * m.shown * m.o * (1 - m.o)
        grad_new = grad_new + (1 - zone_c) * grad_c + peep_o * grad_o
        grad_i = grad_new * m.g * m.i * (1 - m.i)
        grad_f = grad_new * m.before_c * m.f * (1 - m.f)
        grad_g = grad_new * m.i * (1 - m.g**2)
        grad_a = np.concatenate([grad_i, grad_f, grad_g, grad_o])

        gradients["bias"] += grad_a
        if "peephole" in weights:
            gradients["peephole"] += [grad_i * m.before_c, grad_f * m.before_c, grad_o * m.new]
        heard = mask * m.before_h
        from_x = _norm_back(grad_a, weights["input"] @ x[t], weights, gradients, "scale_input")
        from_h = _norm_back(grad_a, recurrent @ heard, weights, gradients, "scale_recurrent")
        gradients["input"] += np.outer(from_x, x[t])
        grad_recurrent += np.outer(from_h, heard)

        grad_x[t] = weights["input"].T @ from_x
        grad_h = zone_h * grad_h + mask * (recurrent.T @ from_h)
        grad_c = zone_c * grad_c + m.f * grad_new + peep_i * grad_i + peep_f * grad_f
    grad_blocks = as_blocks(grad_recurrent, weights["recurrent"].shape[1])
    gradients["recurrent"] += run.weight_mask[at[:2]] * grad_blocks
    return grad_x, grad_h, grad_c


def _norm(values: Array, scale: Array | None, shift: Array | None = None) -> Array:
    """Normalise a vector where the option is on; leave it alone where it is off."""
    if scale is None:
        return values
    return layernorm(
        values, scale, np.zeros_like(scale) if shift is None else shift, epsilon=EPSILON
    )


def _norm_back(
    grad: Array, values: Array, weights: Arrays, gradients: Arrays, scale: str, shift: str = ""
) -> Array:
    if scale not in weights:
        return grad
    grad_values, grad_scale, grad_shift = layernorm_backward(
        grad, values, weights[scale], epsilon=EPSILON
    )
    gradients[scale] += grad_scale
    if shift:
        gradients[shift] += grad_shift
    return grad_values


def _width(weights: Arrays) -> int:
    return len(weights["bias"]) // 4


def _shown(weights: Arrays) -> int:
    """How many numbers h has: P with a projection, else D."""
    return len(weights["projection"]) if "projection" in weights else _width(weights)
