"""Reversible normalisation of the reference, against PyTorch and central differences."""

import numpy as np
import pytest
import torch

from gridcell import reference as ref

from .comparison import assert_agrees, autograd, differences, leaf, normal


def linear(weight):
    def body(h):
        return weight @ h.reshape(-1)

    def backward(grad, h):
        return (weight.T @ grad).reshape(h.shape)

    return body, backward


@pytest.mark.parametrize("by", ["mean", "last"])
@pytest.mark.parametrize("shape", [(4, 1), (3, 2), (2, 2, 3), (1, 1)])
def test_it_agrees_with_pytorch_and_with_differences(by, shape):
    x, weight = normal(1, *shape), normal(2, 5, int(np.prod(shape)))
    body, backward = linear(weight)
    y, grad_y = ref.reversible(x, body, by=by, epsilon=0.1), normal(3, 5)
    own = leaf(x)
    flat = own[:, 0].reshape(-1)
    mean, deviation = flat[-1], torch.tensor(1.0, dtype=torch.float64)
    if by == "mean":
        mean, deviation = flat.mean(), (flat.var(correction=0) + 0.1).sqrt()
    h = torch.cat([(own[:, :1] - mean) / deviation, own[:, 1:]], 1)
    wanted = torch.tensor(weight) @ h.reshape(-1) * deviation + mean
    assert_agrees(y, wanted)
    grad_x = ref.reversible_backward(grad_y, x, body, backward, by=by, epsilon=0.1)
    assert_agrees(grad_x, autograd(wanted, grad_y, own)[0])
    found = differences(lambda v: ref.reversible(v, body, by=by, epsilon=0.1), x, grad_y)
    assert_agrees(grad_x, found, tolerance=1e-6)


def test_a_shift_of_the_series_shifts_the_answer_alone():
    body, _ = linear(normal(1, 3, 4))
    x = normal(2, 4, 1)
    for by in ("mean", "last"):
        one, other = (ref.reversible(values, body, by=by) for values in (x, x + 100))
        assert_agrees(other, one + 100, tolerance=1e-9)
