"""How far a recurrent layer remembers, measured by its gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from gridcell.axes import check_shape
from gridcell.errors import ShapeError
from gridcell.layers.lstm import LSTM
from gridcell.layers.rnn import RNN


def gradient_by_distance(
    layer: LSTM | RNN,
    *,
    steps: int,
    at: int | None = None,
    x: Tensor | None = None,
    examples: int = 32,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Measure how strongly a step's output depends on the input k steps before it.

        size_k = root mean square over examples of | d y_t / d x_{t-k} |

    |.| is the Frobenius norm of the derivative, [features, channels], estimated without bias by
    one random direction of y an example. Where size_k has fallen to nothing, training can teach the
    layer nothing about what lies k steps back; where it grows with k, training explodes.

    at          t, the last step where left out. Of a layer that walks both ways its backward half
                comes from the steps behind t, so that at the last step it has seen that one alone
    x           values [B, steps, C] to measure at; otherwise `examples` of normal random numbers

    Shapes      -> size [t + 1], size[0] for the input of the same step, in float64
    Raises      ShapeError where there is no such step
    Source      Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013

    The layer stays as it was: in its mode, with its weights and their gradients.

    >>> layer = RNN(2, 8, generator=torch.Generator().manual_seed(0))
    >>> size = gradient_by_distance(layer, steps=50, generator=torch.Generator().manual_seed(0))
    >>> bool(size[40] < 0.001 * size[0])
    True
    """
    if steps < 1:
        raise ShapeError(f"gradient_by_distance needs steps of 1 or more; got {steps}.")
    step = steps - 1 if at is None else at
    if not 0 <= step < steps:
        raise ShapeError(f"gradient_by_distance has steps 0 to {steps - 1}; got at={at}.")
    weight = layer.weights(0, 0).weight_ih
    if x is None:
        shape = (examples, steps, layer.channels)
        x = torch.randn(shape, generator=generator).to(weight)
    check_shape(x, "B T C", layer="gradient_by_distance", T=steps, C=layer.channels)
    was_training = layer.training
    layer.eval()
    try:
        with torch.enable_grad():
            values = x.detach().clone().requires_grad_()
            y_t = layer(values)[:, step]
            direction = torch.randn(y_t.shape, generator=generator).to(y_t)
            (gradient,) = torch.autograd.grad(y_t, values, direction)
    finally:
        layer.train(was_training)
    by_step: Tensor = gradient[:, : step + 1].double().square().sum(2).mean(0).sqrt()
    return by_step.flip(0)
