"""Run a network over many items without training it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gridcell.batches import Batch


@torch.no_grad()
def outputs(network: nn.Module, batches: Iterable[Batch]) -> NDArray[np.float32]:
    """Return the network's outputs [N, K] for all batches in turn, in evaluation mode.

    The mode is put back afterwards, whatever happens.
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    try:
        parts = []
        for batch in batches:
            lengths = None if batch.lengths is None else batch.lengths.to(device)
            parts.append(network(batch.values.to(device), lengths).float().cpu().numpy())
    finally:
        network.train(was_training)
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def channels_last(network: nn.Module) -> None:
    """Lay 2-D filters out with channels last in memory, as convolutions like them."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
