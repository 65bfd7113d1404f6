"""Layers: PyTorch modules on `[B, T, C, *grid]` that take true lengths `[B]`.

Each is called as `layer(x, lengths)`, says what it does to sizes (`out_layout`) and to lengths
(`out_lengths`), and is held to a NumPy twin in `gridcell.reference`.
"""

from gridcell.layers.activation import Activation, LeakyReLU, Softmax
from gridcell.layers.containers import Chain, Layer, Parallel, Residual
from gridcell.layers.conv import Conv
from gridcell.layers.dense import Dense, Dropout, Flatten, set_generator
from gridcell.layers.lengths import mask_steps, valid_steps
from gridcell.layers.norm import BatchNorm, LayerNorm, Normalize
from gridcell.layers.pool import GlobalPool, Pool
from gridcell.layers.reduce import Each, Embed, Last, Mean, Rows

__all__ = [
    "Activation",
    "BatchNorm",
    "Chain",
    "Conv",
    "Dense",
    "Dropout",
    "Each",
    "Embed",
    "Flatten",
    "GlobalPool",
    "Last",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Mean",
    "Normalize",
    "Parallel",
    "Pool",
    "Residual",
    "Rows",
    "Softmax",
    "mask_steps",
    "set_generator",
    "valid_steps",
]
