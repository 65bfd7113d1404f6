"""Activations and softmax against their NumPy twins."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell import reference
from gridcell.errors import NetworkError
from gridcell.layers import Activation, LeakyReLU, Softmax

from ..reference.comparison import assert_agrees, catches, normal, quick
from .checks import compare, dtypes, run, silenced, tensor

NAMES = ["relu", "tanh", "sigmoid", "elu", "gelu", "silu"]


@st.composite
def cases(draw, name):
    layers = {
        "leaky_relu": LeakyReLU(draw(st.sampled_from([0.0, 0.01, 0.3]))),
        "softmax": Softmax(),
    }
    layer = layers[name] if name in layers else Activation(name)
    has_time = draw(st.booleans())
    batch, steps, seed = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(0, 999))
    grid = draw(st.lists(st.integers(1, 3), max_size=2))
    shape = (batch, steps, draw(st.integers(1, 4)), *grid) if has_time else (batch, steps)
    lengths = None
    # The others look at each number alone and know no lengths.
    if has_time and name in ("sigmoid", "softmax") and draw(st.booleans()):
        lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    return {
        "layer": layer,
        "name": name,
        "options": {"slope": layer.slope} if name == "leaky_relu" else {},
        "x": draw(st.sampled_from([1.0, 10.0])) * normal(seed, *shape),
        "lengths": lengths,
        "seed": seed,
        "dtype": draw(dtypes),
    }


def activation_twin(case, x, *, grad_y, instead=None):
    name, lengths = case["name"], case["lengths"]
    forward = getattr(reference, instead or name)
    backward = getattr(reference, f"{instead or name}_backward")
    # The reference has softmax on the last axis; channels are axis 2, or 1 without time.
    channels = 1 if x.ndim == 2 else 2
    x, grad_y = (np.moveaxis(silenced(values, lengths), channels, -1) for values in (x, grad_y))
    y = forward(x, **case["options"])
    grad_x = backward(grad_y, x, **case["options"])
    return (silenced(np.moveaxis(values, -1, channels), lengths) for values in (y, grad_x))


def compare_activation(case, **parts):
    compare(case, lambda *arrays, **grad: activation_twin(*arrays, **grad, **parts))


@pytest.mark.parametrize("name", [*NAMES, "leaky_relu", "softmax"])
def test_activations_agree_with_their_twins(name):  # S10 S3
    @quick
    @given(cases(name))
    def agrees(case):
        compare_activation(case)

    agrees()


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("relu", "gelu"),
        ("gelu", "silu"),
        ("silu", "gelu"),
        ("elu", "relu"),
        ("tanh", "sigmoid"),
        ("sigmoid", "tanh"),
        ("softmax", "sigmoid"),
        ("softmax", "log_softmax"),
    ],
)
def test_one_activation_for_another_is_caught(name, instead):
    catches(compare_activation, cases(name), instead=instead)


def test_gelu_is_the_exact_form():
    x = tensor(normal(1, 1, 50))
    wanted = x * (1 + torch.erf(x / math.sqrt(2))) / 2
    assert_agrees(Activation("gelu")(x), wanted)


@pytest.mark.parametrize("layer", [*map(Activation, NAMES), LeakyReLU(0.2), Softmax()])
def test_large_numbers_stay_finite(layer):
    x = tensor([[[-1e4, -50.0, 0.0, 50.0, 1e4]]])
    y, _, (grad_x,) = run(layer, x)
    assert y.isfinite().all() and grad_x.isfinite().all()


def test_probabilities_add_to_1_along_the_channels():  # S3
    y = Softmax()(torch.randn(2, 3, 5, 4))
    torch.testing.assert_close(y.sum(2), torch.ones(2, 3, 4))


def test_an_unknown_activation_is_refused_with_the_nearest():
    with pytest.raises(NetworkError) as caught:
        Activation("rleu")
    assert str(caught.value) == "rleu is not an activation. Did you mean relu?"
