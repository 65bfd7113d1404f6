"""How a recurrent layer is run beside the reference: weights, states, gradients, random masks."""

from unittest import mock

import numpy as np
import torch
from torch import nn

from gridcell.layers import LSTM, RNN, LSTMState, RNNState
from gridcell.layers import lstm as lstm_file
from gridcell.layers.dense import Dropout

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
    """Each within a share of its own largest number, or of a tenth of the largest of all.

    Behind a norm a gradient can be what is left of numbers that take each other away: it is no more
    exact than they were.
    """
    wanted = [np.asarray(other) for other in wanted]
    largest = [float(np.abs(other).max(initial=0)) for other in wanted]
    for one, other, own in zip(actual, wanted, largest, strict=True):
        scale = max(own, 0.1 * max(largest)) or 1.0
        one = one.detach().double().numpy()
        assert one.shape == other.shape
        np.testing.assert_allclose(one / scale, other / scale, rtol=0, atol=TOLERANCE[dtype])


class RecordedDropout(nn.Module):
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

    def mask(self, *, steps=None, order=None):
        """All that was drawn, for the reference: [layers - 1, B, T, features], 1 if nothing was.

        steps   of the whole batch, where the layer ran on fewer
        order   which example of the batch each row was, where the layer sorted it
        """
        if not (self.inner.p and self.masks):
            return 1.0
        masks = torch.stack(self.masks).double()
        if order is not None:
            masks = masks[:, torch.argsort(order)]
        if steps is not None:
            masks = nn.functional.pad(masks, (0, 0, 0, steps - masks.shape[2]))
        return masks.numpy()


class recorded_noise:
    """Record what one run of an LSTM draws, in the form in which the reference takes it."""

    def __init__(self, layer, seed):
        self.layer, self.noises, self.weight_masks = layer, [], []
        layer.between = RecordedDropout(layer.dropout, torch.Generator().manual_seed(seed))
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

    def options(self, h, c, *, steps=None, order=None):
        """Masks for a run from states h and c [layers, directions, B, D]."""

        def gathered(values, default):
            if not values or values[0] is None:
                return default
            if not isinstance(values[0], torch.Tensor):
                return values[0]
            stacked = torch.stack(values).double().numpy()
            return stacked.reshape(*h.shape[:2], *stacked.shape[1:])

        return {
            "zoneout_h": gathered([noise.zoneout_h for noise in self.noises], 0.0),
            "zoneout_c": gathered([noise.zoneout_c for noise in self.noises], 0.0),
            "recurrent_mask": gathered([noise.recurrent for noise in self.noises], 1.0),
            "weight_mask": gathered(self.weight_masks, 1.0),
            "dropout_mask": self.layer.between.mask(steps=steps, order=order),
        }
