"""Layers: PyTorch modules on `[B, T, C, *grid]` that take true lengths `[B]`.

Each is called as `layer(x, lengths)`, says what it does to sizes (`out_layout`) and to lengths
(`out_lengths`). Those that compute are held to NumPy twins in `gridcell.reference`.
"""

from gridcell.layers.activation import Activation, LeakyReLU, Softmax
from gridcell.layers.containers import Chain, Layer, Parallel, Residual
from gridcell.layers.conv import Conv
from gridcell.layers.delta import Delta
from gridcell.layers.dense import Dense, Dropout, Flatten, set_generator
from gridcell.layers.ensemble import Ensemble
from gridcell.layers.lengths import mask_steps, valid_steps
from gridcell.layers.lstm import LSTM
from gridcell.layers.lstm_eager import Trace
from gridcell.layers.memory import gradient_by_distance
from gridcell.layers.mirrored import Mirrored
from gridcell.layers.norm import BatchNorm, LayerNorm, Normalize
from gridcell.layers.pool import GlobalPool, Pool
from gridcell.layers.recurrent_options import keep_state, set_truncation
from gridcell.layers.recurrent_state import LSTMState, RNNState
from gridcell.layers.reduce import Each, Embed, Last, Max, Mean, Rows, Whole
from gridcell.layers.reversible import Reversible
from gridcell.layers.rnn import RNN, RNNTrace
from gridcell.layers.spelling import Spell
from gridcell.layers.two_parts import read_values
from gridcell.layers.whiten import Whiten

__all__ = [
    "LSTM",
    "RNN",
    "Activation",
    "BatchNorm",
    "Chain",
    "Conv",
    "Delta",
    "Dense",
    "Dropout",
    "Each",
    "Embed",
    "Ensemble",
    "Flatten",
    "GlobalPool",
    "LSTMState",
    "Last",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Max",
    "Mean",
    "Mirrored",
    "Normalize",
    "Parallel",
    "Pool",
    "RNNState",
    "RNNTrace",
    "Residual",
    "Reversible",
    "Rows",
    "Softmax",
    "Spell",
    "Trace",
    "Whiten",
    "Whole",
    "gradient_by_distance",
    "keep_state",
    "mask_steps",
    "read_values",
    "set_generator",
    "set_truncation",
    "valid_steps",
]
