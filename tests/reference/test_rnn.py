"""The plain recurrent layer of the reference against PyTorch, differences and broken twins."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gridcell.reference import rnn, rnn_backward

from .comparison import assert_agrees, assert_all_agree, catches, differences, leaf, normal, quick
from .recurrent import draw_lengths, flat, gradients, load, on_packed


@st.composite
def cases(draw):
    layers, directions = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    batch, steps = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    channels, width = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    seed = draw(st.integers(0, 10_000))
    numbers = iter(range(seed, seed + 100))
    weights = [
        [
            {
                "input": normal(next(numbers), width, directions * width if layer else channels),
                "recurrent": normal(next(numbers), width, width),
                "bias": normal(next(numbers), width),
            }
            for _ in range(directions)
        ]
        for layer in range(layers)
    ]
    state = (layers, directions, batch, width)
    return {
        "x": normal(next(numbers), batch, steps, channels),
        "weights": weights,
        "options": {
            "activation": draw(st.sampled_from(["tanh", "relu"])),
            "lengths": draw(draw_lengths(batch, steps)),
            "h": normal(next(numbers), *state),
        },
        "grad_y": normal(next(numbers), batch, steps, directions * width),
        "grad_last_h": normal(next(numbers), *state),
    }


def by_torch(case):
    """What torch.nn.RNN makes of a packed sequence, and its gradients."""
    options, (first, *_) = case["options"], case["weights"][0]
    module = nn.RNN(
        case["x"].shape[2],
        len(first["bias"]),
        len(case["weights"]),
        nonlinearity=options["activation"],
        batch_first=True,
        bidirectional=len(case["weights"][0]) == 2,
        dtype=torch.float64,
    )
    load(module, case["weights"])
    x, h = leaf(case["x"]), leaf(options["h"])
    outputs = on_packed(module, x, options["lengths"], h)
    return outputs, gradients(outputs, [case["grad_y"], case["grad_last_h"]], x, module, h)


def compare(case, forward=rnn, backward=rnn_backward):
    outputs, wanted = by_torch(case)
    assert_all_agree(forward(case["x"], case["weights"], **case["options"]), outputs)
    grad_x, grads, grad_h = backward(
        case["grad_y"],
        case["x"],
        case["weights"],
        grad_last_h=case["grad_last_h"],
        **case["options"],
    )
    assert_all_agree([grad_x, *flat(grads), grad_h], wanted)


@quick
@given(cases())
def test_rnn_agrees_with_pytorch_on_packed_sequences(case):  # S31
    compare(case)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_rnn_gradients_agree_with_differences(activation):
    x, grad_y = normal(1, 2, 4, 3), normal(2, 2, 4, 2)
    weights = {"input": normal(3, 2, 3), "recurrent": normal(4, 2, 2), "bias": normal(5, 2)}
    options = {"activation": activation, "lengths": [4, 2]}
    h = normal(6, 1, 1, 2, 2)

    def y(x=x, h=h, **changed):
        return rnn(x, [[weights | changed]], h=h, **options)[0]

    grad_x, grads, grad_h = rnn_backward(grad_y, x, [[weights]], h=h, **options)
    assert_agrees(grad_x, differences(lambda x: y(x=x), x, grad_y), tolerance=1e-7)
    assert_agrees(grad_h, differences(lambda h: y(h=h), h, grad_y), tolerance=1e-7)
    for name, value in weights.items():
        wanted = differences(lambda value, name=name: y(**{name: value}), value, grad_y)
        assert_agrees(grads[0][0][name], wanted, tolerance=1e-7)


def test_dropout_stands_between_the_layers():
    x, grad_y = normal(1, 2, 4, 3), normal(2, 2, 4, 2)
    mask, lengths = np.abs(normal(3, 1, 2, 4, 2)) * (normal(4, 1, 2, 4, 2) > 0), [4, 2]
    lower = [{"input": normal(5, 2, 3), "recurrent": normal(6, 2, 2), "bias": normal(7, 2)}]
    upper = [{"input": normal(8, 2, 2), "recurrent": normal(9, 2, 2), "bias": normal(10, 2)}]

    def y(x):
        return rnn(x, [lower, upper], lengths=lengths, dropout_mask=mask)[0]

    by_hand, _ = rnn(rnn(x, [lower], lengths=lengths)[0] * mask[0], [upper], lengths=lengths)
    assert_agrees(y(x), by_hand)
    grad_x, grads, _ = rnn_backward(grad_y, x, [lower, upper], lengths=lengths, dropout_mask=mask)
    assert_agrees(grad_x, differences(y, x, grad_y), tolerance=1e-7)
    for number, each in enumerate((lower, upper)):
        for name, value in each[0].items():

            def with_value(value, number=number, name=name):
                weights = [lower, upper]
                weights[number] = [weights[number][0] | {name: value}]
                return rnn(x, weights, lengths=lengths, dropout_mask=mask)[0]

            wanted = differences(with_value, value, grad_y)
            assert_agrees(grads[number][0][name], wanted, tolerance=1e-7)


def padding_read(x, weights, *, lengths, **options):
    return rnn(x, weights, **options)


def first_state_forgotten(x, weights, *, h, **options):
    return rnn(x, weights, **options)


def one_more_step(x, weights, *, lengths, **options):
    if lengths is not None:
        lengths = np.minimum(np.asarray(lengths) + 1, x.shape[1])
    return rnn(x, weights, lengths=lengths, **options)


def backward_walk_from_the_padding(x, weights, *, lengths, **options):
    y, h = rnn(x, weights, lengths=lengths, **options)
    whole, _ = rnn(x, weights, **options)
    half = y.shape[2] // len(weights[0])
    y[:, :, half:] = whole[:, :, half:]
    return y, h


@pytest.mark.parametrize(
    "twin",
    [padding_read, first_state_forgotten, one_more_step, backward_walk_from_the_padding],
)
def test_a_wrong_walk_is_caught(twin):
    catches(compare, cases(), forward=twin)


def state_gradient_forgotten(grad_y, x, weights, *, grad_last_h, **options):
    return rnn_backward(grad_y, x, weights, **options)


def gradient_cut_after_one_step(grad_y, x, weights, **options):
    grad_x, grads, grad_h = rnn_backward(grad_y, x, weights, **options)
    return grad_x, grads, np.zeros_like(grad_h)


def recurrent_gradient_transposed(grad_y, x, weights, **options):
    grad_x, grads, grad_h = rnn_backward(grad_y, x, weights, **options)
    for directions in grads:
        for each in directions:
            each["recurrent"] = each["recurrent"].T
    return grad_x, grads, grad_h


@pytest.mark.parametrize(
    "twin",
    [state_gradient_forgotten, gradient_cut_after_one_step, recurrent_gradient_transposed],
)
def test_a_wrong_gradient_is_caught(twin):
    catches(compare, cases(), backward=twin)


def test_what_does_not_fit_is_refused_with_its_shape():
    weights = [[{"input": np.ones((2, 3)), "recurrent": np.ones((2, 2)), "bias": np.ones(2)}]]
    with pytest.raises(ValueError, match=r"must be \[B, T, C\]; got \(4, 3\)"):
        rnn(np.ones((4, 3)), weights)
    with pytest.raises(ValueError, match=r"layer 0: input weights must be .*C=4\]; got \(2, 3\)"):
        rnn(np.ones((1, 4, 4)), weights)
    with pytest.raises(ValueError, match=r"lengths\[1\] is 5: it must be 0 to 4"):
        rnn(np.ones((2, 4, 3)), weights, lengths=[0, 5])
    with pytest.raises(ValueError, match=r"lengths\[0\] is -1"):
        rnn(np.ones((2, 4, 3)), weights, lengths=[-1, 4])
    with pytest.raises(ValueError, match=r"lengths must be \[B=2\]; got \(3,\)"):
        rnn(np.ones((2, 4, 3)), weights, lengths=[1, 2, 3])
    with pytest.raises(ValueError, match=r"= \(1, 1, 2, 2\); got \(2, 2\)"):
        rnn(np.ones((2, 4, 3)), weights, h=np.ones((2, 2)))
    with pytest.raises(ValueError, match="tanh or relu; got 'gelu'"):
        rnn(np.ones((2, 4, 3)), weights, activation="gelu")
    with pytest.raises(ValueError, match=r"output's shape \(2, 4, 2\); got \(2, 4, 1\)"):
        rnn_backward(np.ones((2, 4, 1)), np.ones((2, 4, 3)), weights)
