"""Which engine walks the recurrent layers of a training, told to the user."""

from __future__ import annotations

import torch
from torch import nn

from gridcell.layers import LSTM, RNN
from gridcell.training.precision import Precision, arithmetic

ENGINES = {
    "fused": "walks over all steps in one kernel",
    "eager": "walks step by step, slower",
}


def engines_told(network: nn.Module, precision: Precision, device: torch.device) -> list[str]:
    """Return a sentence for each way in which a network's recurrent layers are walked in training.

    >>> from gridcell.layers import Chain
    >>> network = Chain([LSTM(3, 4), LSTM(4, 4, peephole=True)])
    >>> for sentence in engines_told(network, "float32", torch.device("cpu")):
    ...     print(sentence)
    Engine: fused, the lstm walks over all steps in one kernel.
    Engine: eager, the lstm walks step by step, slower (not fused: peephole is in no fused kernel).
    """
    was_training = network.training
    network.train()
    sentences: dict[str, None] = {}
    for layer in network.modules():
        if isinstance(layer, LSTM | RNN):
            with arithmetic(precision, device):
                choice = layer.engine_for(torch.empty(1, 2, layer.channels, device=device))
            kind = type(layer).__name__.lower()
            why = f" ({choice.reason})" if choice.name == "eager" else ""
            sentences[f"Engine: {choice.name}, the {kind} {ENGINES[choice.name]}{why}."] = None
    network.train(was_training)
    return list(sentences)
