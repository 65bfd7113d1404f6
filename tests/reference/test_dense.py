"""The fully connected layer of the reference against PyTorch, differences and broken twins."""

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from gridcell.reference import dense, dense_backward

from .comparison import (
    assert_agrees,
    assert_all_agree,
    autograd,
    catches,
    differences,
    leaf,
    normal,
    quick,
)


@st.composite
def cases(draw):
    rows = tuple(draw(st.lists(st.integers(1, 4), min_size=0, max_size=3)))
    inputs, outputs = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    seed = draw(st.integers(0, 10_000))
    return {
        "x": normal(seed, *rows, inputs),
        "weight": normal(seed + 1, outputs, inputs),
        "bias": normal(seed + 2, outputs),
        "grad_y": normal(seed + 3, *rows, outputs),
    }


def compare(case, forward=dense, backward=dense_backward):
    x, weight, bias = leaf(case["x"]), leaf(case["weight"]), leaf(case["bias"])
    y = F.linear(x, weight, bias)
    assert_agrees(forward(case["x"], case["weight"], case["bias"]), y)
    gradients = backward(case["grad_y"], case["x"], case["weight"])
    assert_all_agree(gradients, autograd(y, case["grad_y"], x, weight, bias))


@quick
@given(cases())
def test_dense_agrees_with_pytorch(case):  # S2 S13
    compare(case)


def test_dense_gradients_agree_with_differences():
    x, weight, bias, grad_y = normal(1, 2, 3, 4), normal(2, 5, 4), normal(3, 5), normal(4, 2, 3, 5)
    wanted = [
        differences(lambda x: dense(x, weight, bias), x, grad_y),
        differences(lambda weight: dense(x, weight, bias), weight, grad_y),
        differences(lambda bias: dense(x, weight, bias), bias, grad_y),
    ]
    assert_all_agree(dense_backward(grad_y, x, weight), wanted, tolerance=1e-7)


def without_bias(x, weight, bias):
    return dense(x, weight)


def bias_gradient_forgotten(grad_y, x, weight):
    grad_x, grad_weight, grad_bias = dense_backward(grad_y, x, weight)
    return grad_x, grad_weight, np.zeros_like(grad_bias)


def bias_gradient_averaged(grad_y, x, weight):
    grad_x, grad_weight, grad_bias = dense_backward(grad_y, x, weight)
    return grad_x, grad_weight, grad_bias / max(1, x[..., 0].size)


def weight_gradient_doubled(grad_y, x, weight):
    grad_x, grad_weight, grad_bias = dense_backward(grad_y, x, weight)
    return grad_x, 2 * grad_weight, grad_bias


def gradient_through_the_transposed_weight(grad_y, x, weight):
    _, grad_weight, grad_bias = dense_backward(grad_y, x, weight)
    square = weight.shape[0] == weight.shape[1]
    return grad_y @ (weight.T if square else weight), grad_weight, grad_bias


def test_a_forgotten_bias_is_caught():
    catches(compare, cases(), forward=without_bias)


@pytest.mark.parametrize(
    "twin",
    [
        bias_gradient_forgotten,
        bias_gradient_averaged,
        weight_gradient_doubled,
        gradient_through_the_transposed_weight,
    ],
)
def test_a_wrong_gradient_is_caught(twin):
    catches(compare, cases(), backward=twin)


def test_no_rows_give_no_outputs_and_zero_gradients():
    assert dense(np.zeros((0, 3)), normal(1, 2, 3), [1, 2]).shape == (0, 2)
    grad_x, grad_weight, grad_bias = dense_backward(
        np.zeros((0, 2)), np.zeros((0, 3)), np.ones((2, 3))
    )
    assert grad_x.shape == (0, 3)
    assert not grad_weight.any() and not grad_bias.any()


def test_what_does_not_fit_is_refused_with_its_shape():
    with pytest.raises(ValueError, match=r"dense weight must be \[D, C\].*weight \(2, 4\) for x"):
        dense(normal(1, 5, 3), normal(2, 2, 4))
    with pytest.raises(ValueError, match=r"dense bias must be \[D=2\]; got \(3,\)"):
        dense(normal(1, 5, 3), normal(2, 2, 3), normal(3, 3))
    with pytest.raises(
        ValueError, match=r"grad_y must have the output's shape \(5, 2\); got \(5, 1\)"
    ):
        dense_backward(normal(1, 5, 1), normal(1, 5, 3), normal(2, 2, 3))
