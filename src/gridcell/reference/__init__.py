"""The layers once more in plain NumPy, forward and backward, as a textbook writes them.

This is where to look up what a layer computes, and what the fast layers are tested against. It is
slow and meant to be: loops over kernel places, no views with clever strides, and each gradient is
written out. It needs NumPy alone and computes in float64, or in its input's own floating dtype.

Every layer is a function with a partner: `y = conv(x, weight, bias)` and
`grad_x, grad_weight, grad_bias = conv_backward(grad_y, x, weight)`. A partner takes the gradient of
a loss for y, and the inputs again; nothing is remembered between the two.

>>> x = [[[1.0, 2.0, 3.0]]]
>>> relu(conv(x, weight=[[[-1.0, 1.0]]], bias=[0.5]))
array([[[1.5, 1.5, 0. ]]])
"""

from .activation import (
    elu,
    elu_backward,
    erf,
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from .conv import conv, conv_backward, padding_cells
from .delta import delta, delta_backward
from .dense import dense, dense_backward
from .loss import (
    binary_cross_entropy,
    binary_cross_entropy_backward,
    cross_entropy,
    cross_entropy_backward,
    huber,
    huber_backward,
)
from .lstm import lstm, lstm_backward, lstm_trace
from .norm import (
    batchnorm,
    batchnorm_backward,
    batchnorm_evaluation,
    batchnorm_evaluation_backward,
    layernorm,
    layernorm_backward,
    running_statistics,
)
from .pool import (
    average_pool,
    average_pool_backward,
    global_average_pool,
    global_average_pool_backward,
    max_pool,
    max_pool_backward,
)
from .reversible import reversible, reversible_backward
from .rnn import rnn, rnn_backward
from .whiten import whitening_filters

__all__ = [
    "average_pool",
    "average_pool_backward",
    "batchnorm",
    "batchnorm_backward",
    "batchnorm_evaluation",
    "batchnorm_evaluation_backward",
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "conv",
    "conv_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "delta",
    "delta_backward",
    "dense",
    "dense_backward",
    "elu",
    "elu_backward",
    "erf",
    "gelu",
    "gelu_backward",
    "global_average_pool",
    "global_average_pool_backward",
    "huber",
    "huber_backward",
    "layernorm",
    "layernorm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_softmax",
    "log_softmax_backward",
    "lstm",
    "lstm_backward",
    "lstm_trace",
    "max_pool",
    "max_pool_backward",
    "padding_cells",
    "relu",
    "relu_backward",
    "reversible",
    "reversible_backward",
    "rnn",
    "rnn_backward",
    "running_statistics",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
    "whitening_filters",
]
