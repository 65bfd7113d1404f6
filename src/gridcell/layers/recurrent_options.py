"""What is set for all recurrent layers of a network at once, after it was built."""

from __future__ import annotations

from numbers import Integral

from torch import nn

from gridcell.errors import NetworkError
from gridcell.layers.lstm import LSTM
from gridcell.layers.rnn import RNN


def set_truncation(network: nn.Module, steps: int | None) -> None:
    """Let gradients reach back to the start of a piece of `steps` steps at most, while training.

    Every recurrent layer is walked in pieces of that many steps, counted from the first; the state
    is carried from piece to piece, its gradient is not. Values stay what they are. None takes the
    limit away.

    Raises   NetworkError where it would have no effect, or for a layer that walks both ways
    Source   Williams & Peng 1990

    >>> import torch
    >>> layer = LSTM(1, 1)
    >>> set_truncation(layer, 3)
    >>> x = torch.ones(1, 5, 1, requires_grad=True)
    >>> layer(x)[0, 4, 0].backward()
    >>> (x.grad[0, :, 0] != 0).tolist()
    [False, False, False, True, True]
    """
    recurrent = [module for module in network.modules() if isinstance(module, LSTM | RNN)]
    if steps is not None:
        if not isinstance(steps, Integral) or steps < 1:
            raise NetworkError(f"tbptt must be a whole number of 1 step or more; got {steps}.")
        if not recurrent:
            raise NetworkError(
                "tbptt has no effect: the network has no lstm or rnn.", fix="leave tbptt out."
            )
        for layer in recurrent:
            _refuse_both(layer)
    for layer in recurrent:
        layer.truncate = steps


def keep_state(network: nn.Module) -> None:
    """Let recurrent layers carry their state in the dtype of their weights, autocast or not.

    In bfloat16 a state loses what it adds up: a sum of 1,000 steps of 0.002 ends at 0.5, since
    0.5 + 0.002 rounds to 0.5. Where an engine keeps the cell in float32 beside products in
    bfloat16 (the LSTM's fused one, on CPU), it does so; the other layers stay out of autocast.
    """
    for module in network.modules():
        if isinstance(module, LSTM | RNN):
            module.keeps_state = True


def _refuse_both(layer: LSTM | RNN) -> None:
    if layer.both:
        name = "lstm" if isinstance(layer, LSTM) else "rnn"
        raise NetworkError(
            f"{name}({layer.width}, both) cannot train with tbptt: a walk from the end cannot be "
            "cut into pieces that come one after another.",
            fix="leave both out or leave tbptt out.",
        )
