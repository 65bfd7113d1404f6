"""How a recurrent layer is run beside the reference: weights, states, gradients, random masks."""

from unittest import mock

import numpy as np
import torch
from torch import nn

from gridcell.layers import LSTM, RNN, LSTMState, RNNState
from gridcell.layers import lstm as lstm_file
from gridcell.layers.dense import Dropout

from ..reference.comparison import assert_agrees
from .checks import TOLERANCE

NAMES = {
    "input": "weight_ih",
    "recurrent": "weight_hh",
    "bias": "bias_ih",
    "projection": "weight_hr",
    "peephole": "weight_ch",
    "scale_input": "scale_ih",
    "scale_recurrent": "scale_hh",
    "scale_cell": "scale_c",
    "shift_cell": "shift_c",
}


STATES = {LSTM: LSTMState, RNN: RNNState}


def as_reference(layer):
    """A layer's weights in the form of the reference, whose one bias is the sum of both."""
    return [
        [_one_direction(layer.weights(number, direction)) for direction in range(layer.directions)]
        for number in range(layer.layers)
    ]


def _one_direction(weights):
    values = {
        name: getattr(weights, theirs).detach().double().numpy()
        for name, theirs in NAMES.items()
        if getattr(weights, theirs, None) is not None
    }
    values["bias"] = values["bias"] + weights.bias_hh.detach().double().numpy()
    if "peephole" in values:
        values["peephole"] = values["peephole"].reshape(3, -1)
    return values


def in_order(layer, grads):
    """The reference's gradients in the order of the layer's own parameters."""
    ours = {theirs: name for name, theirs in NAMES.items()} | {"bias_hh": "bias"}
    order = []
    for name, parameter in layer.named_parameters():
        kind, place = name.rsplit("_l", 1)
        number, _, end = place.partition("_")
        order.append(grads[int(number)][bool(end)][ours[kind]].reshape(parameter.shape))
    return order


def run(layer, x, lengths, state, grads):
    """Outputs and gradients, of everything, for given gradients of y and the last states."""
    x, *state = (value.detach().clone().requires_grad_() for value in (x, *state))
    y, last = layer.run(x, lengths, STATES[type(layer)](*state))
    outputs = [y, *last]
    total = sum((value * grad).sum() for value, grad in zip(outputs, grads, strict=True))
    leaves = [x, *layer.parameters(), *state]
    return outputs, torch.autograd.grad(total, leaves, materialize_grads=True)


def assert_close(actual, wanted, dtype):
    """Each within a share of its own largest number."""
    for one, other in zip(actual, wanted, strict=True):
        other = np.asarray(other)
        scale = max(1.0, float(np.abs(other).max(initial=0)))
        one = one.detach().double() / scale
        assert_agrees(one, other / scale, tolerance=TOLERANCE[dtype])


class Recorded(nn.Module):
    """A dropout that tells what it multiplied by."""

    def __init__(self, p, generator):
        super().__init__()
        self.inner = Dropout(p)
        self.inner.generator = generator
        self.generator = generator
        self.masks = []

    def forward(self, x):
        mask = self.inner(torch.ones_like(x))
        self.masks.append(mask)
        return x * mask


class recorded_noise:
    """Record what one run of an LSTM draws, in the form in which the reference takes it."""

    def __init__(self, layer, seed):
        self.layer, self.noises, self.weight_masks = layer, [], []
        layer.between = Recorded(layer.dropout, torch.Generator().manual_seed(seed))
        self.draw, self.draw_mask = lstm_file.draw_noise, lstm_file.draw_weight_mask

    def __enter__(self):
        def draw(*args, **options):
            noise = self.draw(*args, **options)
            self.noises.append(noise)
            return noise

        def draw_mask(*args, **options):
            self.weight_masks.append(self.draw_mask(*args, **options))
            return self.weight_masks[-1]

        self.patch = mock.patch.multiple(lstm_file, draw_noise=draw, draw_weight_mask=draw_mask)
        self.patch.start()
        return self

    def __exit__(self, *_):
        self.patch.stop()

    def options(self, h, c):
        """Masks for a run from states h and c [layers, directions, B, D]."""

        def gathered(values, default):
            if not values or values[0] is None:
                return default
            if not isinstance(values[0], torch.Tensor):
                return values[0]
            stacked = torch.stack(values).double().numpy()
            return stacked.reshape(*h.shape[:2], *stacked.shape[1:])

        masks = [mask.double().numpy() for mask in self.layer.between.masks if self.layer.dropout]
        return {
            "zoneout_h": gathered([noise.zoneout_h for noise in self.noises], 0.0),
            "zoneout_c": gathered([noise.zoneout_c for noise in self.noises], 0.0),
            "recurrent_mask": gathered([noise.recurrent for noise in self.noises], 1.0),
            "weight_mask": gathered(self.weight_masks, 1.0),
            "dropout_mask": np.stack(masks) if masks else 1.0,
        }
