"""The activations of the reference against PyTorch, differences and broken twins."""

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from gridcell import reference as ref

from .comparison import (
    assert_agrees,
    autograd,
    catches,
    differences,
    leaf,
    normal,
    quick,
)

# name: the function, its gradient, PyTorch's own
ACTIVATIONS = {
    "relu": (ref.relu, ref.relu_backward, F.relu),
    "leaky_relu": (ref.leaky_relu, ref.leaky_relu_backward, F.leaky_relu),
    "leaky_relu(0.3)": (
        lambda x: ref.leaky_relu(x, slope=0.3),
        lambda grad_y, x: ref.leaky_relu_backward(grad_y, x, slope=0.3),
        lambda x: F.leaky_relu(x, 0.3),
    ),
    "tanh": (ref.tanh, ref.tanh_backward, torch.tanh),
    "sigmoid": (ref.sigmoid, ref.sigmoid_backward, torch.sigmoid),
    "elu": (ref.elu, ref.elu_backward, F.elu),
    "elu(1.7)": (
        lambda x: ref.elu(x, alpha=1.7),
        lambda grad_y, x: ref.elu_backward(grad_y, x, alpha=1.7),
        lambda x: F.elu(x, 1.7),
    ),
    "gelu": (ref.gelu, ref.gelu_backward, F.gelu),
    "silu": (ref.silu, ref.silu_backward, F.silu),
    "softmax": (ref.softmax, ref.softmax_backward, lambda x: F.softmax(x, -1)),
    "log_softmax": (ref.log_softmax, ref.log_softmax_backward, lambda x: F.log_softmax(x, -1)),
}


@st.composite
def cases(draw):
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    seed, scale = draw(st.integers(0, 10_000)), draw(st.sampled_from([1.0, 10.0, 1000.0]))
    x = scale * normal(seed, *shape)
    x[normal(seed + 1, *shape) > 1] = 0.0  # the corner of relu and its like
    return {"x": x, "grad_y": normal(seed + 2, *shape)}


def compare(case, name, forward=None, backward=None):
    true_forward, true_backward, torch_forward = ACTIVATIONS[name]
    x = leaf(case["x"])
    y = torch_forward(x)
    assert_agrees((forward or true_forward)(case["x"]), y)
    grad_x = (backward or true_backward)(case["grad_y"], case["x"])
    assert_agrees(grad_x, *autograd(y, case["grad_y"], x))


@pytest.mark.parametrize("name", ACTIVATIONS)
@quick
@given(case=cases())
def test_activation_agrees_with_pytorch_without_a_warning(name, case):  # S10 S3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(case, name)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_gradients_agree_with_differences(name):
    forward, backward, _ = ACTIVATIONS[name]
    x, grad_y = 2 * normal(1, 3, 5), normal(2, 3, 5)
    assert np.abs(x).min() > 1e-3  # away from the corners, where differences have no answer
    assert_agrees(backward(grad_y, x), differences(forward, x, grad_y), tolerance=1e-8)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_huge_inputs_neither_overflow_nor_warn(dtype):
    def is_right(y, wanted):
        assert y.dtype == dtype
        np.testing.assert_allclose(y, wanted, rtol=0, atol=5e-7)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        is_right(ref.softmax(np.array([1000, 1000, 999], dtype)), [0.422319, 0.422319, 0.155362])
        is_right(ref.sigmoid(np.array([-1000, 1000], dtype)), [0, 1])
        is_right(ref.log_softmax(np.array([1e8, 1e8], dtype)), [-math.log(2)] * 2)
        is_right(ref.log_softmax(np.array([1000, 0], dtype)), [0, -1000])
        for name, (forward, backward, _) in ACTIVATIONS.items():
            x = np.array([-1e30, 0, 1e30], dtype)
            assert np.isfinite(forward(x)).all(), name
            assert np.isfinite(backward(np.ones(3, dtype), x)).all(), name


@quick
@given(cases())
def test_softmax_gives_probabilities_that_a_common_shift_leaves_alone(case):  # S3
    y = ref.softmax(case["x"])
    assert (y >= 0).all()
    assert_agrees(y.sum(axis=-1), np.ones(y.shape[:-1]))
    assert_agrees(ref.softmax(case["x"] + 7), y)


def test_sigmoid_is_softmax_between_x_and_0():  # S3
    x = normal(1, 9)
    pairs = np.stack([x, np.zeros(9)], axis=-1)
    assert_agrees(ref.sigmoid(x), ref.softmax(pairs)[:, 0])


def test_sigmoid_keeps_its_small_gradient_where_it_rounds_to_1():
    assert ref.sigmoid(40.0) == 1.0
    assert_agrees(ref.sigmoid_backward(1.0, 40.0) / math.exp(-40), 1.0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan_and_the_other_rows_stay_sound(name):
    forward, backward, _ = ACTIVATIONS[name]
    x = np.array([[np.nan, 1.0], [2.0, 3.0]])
    assert np.isnan(forward(x)[0, 0])
    assert_agrees(forward(x)[1], forward(x[1:])[0])
    assert np.isfinite(backward(np.ones((2, 2)), x)[1]).all()


def test_erf_has_the_published_values():
    # Abramowitz & Stegun 1964, table 7.1
    assert_agrees(ref.erf([0, 0.5, 1, 2]), [0, 0.5204998778, 0.8427007929, 0.9953222650])
    assert_agrees(ref.erf(-np.arange(5.0)), -ref.erf(np.arange(5.0)))
    assert ref.erf(np.zeros((2, 0, 3))).shape == (2, 0, 3)


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(
        ValueError, match=r"relu: grad_y must have the output's shape \(3,\); got \(1,\)"
    ):
        ref.relu_backward([1.0], [1.0, 2.0, 3.0])


def naive_sigmoid(x):
    return np.exp(x) / (1 + np.exp(x))


def softmax_without_its_maximum_taken_off(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def gelu_by_tanh(x):
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


WRONG_FORWARDS = [
    ("relu", lambda x: np.abs(x)),
    ("relu", lambda x: np.minimum(ref.relu(x), 6)),
    ("leaky_relu", lambda x: ref.leaky_relu(x, slope=0.1)),
    ("leaky_relu(0.3)", lambda x: np.where(x > 0, 0.3 * x, x)),
    ("tanh", lambda x: 2 * ref.sigmoid(x) - 1),
    ("sigmoid", naive_sigmoid),
    ("elu", lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)))),
    ("elu(1.7)", ref.elu),
    ("gelu", gelu_by_tanh),
    ("gelu", lambda x: x * ref.sigmoid(1.702 * x)),
    ("silu", ref.sigmoid),
    ("softmax", softmax_without_its_maximum_taken_off),
    ("softmax", lambda x: ref.softmax(x.reshape(x.shape[0], -1).T).T.reshape(x.shape)),
    ("log_softmax", lambda x: np.log(ref.softmax(x))),
]

WRONG_BACKWARDS = [
    ("relu", lambda grad_y, x: grad_y * (x >= 0)),
    ("relu", lambda grad_y, x: grad_y),
    ("leaky_relu", lambda grad_y, x: np.where(x >= 0, grad_y, 0.01 * grad_y)),
    ("leaky_relu(0.3)", lambda grad_y, x: ref.relu_backward(grad_y, x)),
    ("tanh", lambda grad_y, x: grad_y * (1 - np.tanh(x))),
    ("sigmoid", lambda grad_y, x: grad_y * ref.sigmoid(x)),
    ("elu", lambda grad_y, x: grad_y * np.where(x > 0, 1, np.expm1(np.minimum(x, 0)))),
    ("elu(1.7)", ref.elu_backward),
    ("gelu", lambda grad_y, x: grad_y * (1 + ref.erf(x / math.sqrt(2))) / 2),
    ("silu", lambda grad_y, x: grad_y * ref.sigmoid(x)),
    ("softmax", lambda grad_y, x: grad_y * ref.softmax(x) * (1 - ref.softmax(x))),
    ("log_softmax", lambda grad_y, x: grad_y - ref.softmax(x)),
]


@pytest.mark.parametrize(("name", "twin"), WRONG_FORWARDS)
def test_a_wrong_activation_is_caught(name, twin):
    catches(lambda case, forward: compare(case, name, forward), cases(), forward=twin)


@pytest.mark.parametrize(("name", "twin"), WRONG_BACKWARDS)
def test_a_wrong_activation_gradient_is_caught(name, twin):
    catches(lambda case, backward: compare(case, name, backward=backward), cases(), backward=twin)
