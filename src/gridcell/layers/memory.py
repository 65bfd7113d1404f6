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
    x: Tensor | None = None,
    examples: int = 32,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Measure how strongly the last step's output depends on the input k steps before it.

        size_k = root mean square over examples of | d y_t / d x_{t-k} |,   t = steps - 1

    |.| is the Frobenius norm of the derivative, [features, channels], estimated without bias by
    one random direction of y an example. Where size_k has fallen to nothing, training can teach the
    layer nothing about what lies k steps back; where it grows with k, training explodes.

    x           values [B, steps, C] to measure at; otherwise `examples` of normal random numbers

    Shapes      -> size [steps], size[0] for the input of the same step, in float64
    Source      Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013

    The layer stays as it was: in its mode, with its weights and their gradients.

    >>> layer = RNN(2, 8, generator=torch.Generator().manual_seed(0))
    >>> size = gradient_by_distance(layer, steps=50, generator=torch.Generator().manual_seed(0))
    >>> bool(size[40] < 0.001 * size[0])
    True
    """
    if steps < 1:
        raise ShapeError(f"gradient_by_distance needs steps of 1 or more; got {steps}.")
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
            last = layer(values)[:, -1]
            direction = torch.randn(last.shape, generator=generator).to(last)
            (gradient,) = torch.autograd.grad(last, values, direction)
    finally:
        layer.train(was_training)
    by_step: Tensor = gradient.double().square().sum(2).mean(0).sqrt()
    return by_step.flip(0)
