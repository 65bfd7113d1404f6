"""The LSTM of the reference against PyTorch, differences, worked numbers and broken twins."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gridcell.reference import lstm, lstm_backward, lstm_trace, sigmoid

from .comparison import assert_agrees, assert_all_agree, catches, differences, leaf, normal, quick
from .recurrent import draw_lengths, flat, gradients, load, on_packed

GATES = ["f", "i", "g", "o"]


def direction(seed, channels, width, shown):
    """The weights of one direction; a projection where h is narrower than the cell."""
    weights = {
        "input": normal(seed, 4 * width, channels),
        "recurrent": normal(seed + 1, 4 * width, shown),
        "bias": normal(seed + 2, 4 * width),
    }
    return weights if shown == width else weights | {"projection": normal(seed + 3, shown, width)}


@st.composite
def cases(draw):
    layers, directions = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    batch, steps = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    channels, width = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shown = draw(st.integers(1, width))
    seed = draw(st.integers(0, 10_000))
    weights = [
        [
            direction(
                seed + 10 * layer + 100 * d, directions * shown if layer else channels, width, shown
            )
            for d in range(directions)
        ]
        for layer in range(layers)
    ]
    state = (layers, directions, batch)
    return {
        "x": normal(seed + 1, batch, steps, channels),
        "weights": weights,
        "lengths": draw(draw_lengths(batch, steps)),
        "h": normal(seed + 2, *state, shown),
        "c": normal(seed + 3, *state, width),
        "grad_y": normal(seed + 4, batch, steps, directions * shown),
        "grad_last_h": normal(seed + 5, *state, shown),
        "grad_last_c": normal(seed + 6, *state, width),
    }


def by_torch(case):
    """What torch.nn.LSTM makes of a packed sequence, and its gradients."""
    first = case["weights"][0][0]
    width, shown = len(first["bias"]) // 4, case["h"].shape[3]
    module = nn.LSTM(
        case["x"].shape[2],
        width,
        len(case["weights"]),
        batch_first=True,
        bidirectional=len(case["weights"][0]) == 2,
        proj_size=0 if shown == width else shown,
        dtype=torch.float64,
    )
    load(module, case["weights"])
    x, h, c = leaf(case["x"]), leaf(case["h"]), leaf(case["c"])
    outputs = on_packed(module, x, case["lengths"], h, c)
    grads = [case[name] for name in ("grad_y", "grad_last_h", "grad_last_c")]
    return outputs, gradients(outputs, grads, x, module, h, c)


def compare(case, forward=lstm, backward=lstm_backward):
    outputs, wanted = by_torch(case)
    options = {name: case[name] for name in ("lengths", "h", "c")}
    assert_all_agree(forward(case["x"], case["weights"], **options), outputs)
    options |= {name: case[name] for name in ("grad_last_h", "grad_last_c")}
    grad_x, grads, *states = backward(case["grad_y"], case["x"], case["weights"], **options)
    assert_all_agree([grad_x, *flat(grads), *states], wanted)


@quick
@given(cases())
def test_lstm_agrees_with_pytorch_on_packed_sequences(case):  # S23 S28 S33
    compare(case)


OPTIONS = {
    "full": {},
    "diagonal": {"recurrent": normal(1, 16, 1)},
    "heads": {"recurrent": normal(1, 16, 2)},
    "peephole": {"peephole": normal(2, 3, 4)},
    "layernorm": {
        "scale_input": normal(3, 16),
        "scale_recurrent": normal(4, 16),
        "scale_cell": normal(5, 4),
        "shift_cell": normal(6, 4),
    },
    "projection": {"projection": normal(7, 2, 4), "recurrent": normal(8, 16, 2)},
}
OPTIONS["everything"] = OPTIONS["peephole"] | OPTIONS["layernorm"] | OPTIONS["projection"]


@pytest.mark.parametrize("name", OPTIONS)
def test_lstm_gradients_agree_with_differences(name):
    weights = direction(10, 3, 4, 4) | OPTIONS[name]
    shown = len(weights.get("projection", np.ones(4)))
    random = np.random.default_rng(0)
    x, grad_y = normal(1, 2, 3, 3), normal(2, 2, 3, shown)
    h, c = normal(3, 1, 1, 2, shown), normal(4, 1, 1, 2, 4)
    options = {
        "lengths": [3, 2],
        "zoneout_h": random.integers(0, 2, (1, 1, 2, 3, shown)),
        "zoneout_c": 0.3,
        "recurrent_mask": 2 * random.integers(0, 2, (1, 1, 2, shown)),
        "weight_mask": 2 * random.integers(0, 2, weights["recurrent"].shape),
    }

    def y(x=x, h=h, c=c, **changed):
        return lstm(x, [[weights | changed]], h=h, c=c, **options)[0]

    grad_x, [[grads]], grad_h, grad_c = lstm_backward(grad_y, x, [[weights]], h=h, c=c, **options)
    assert_agrees(grad_x, differences(lambda x: y(x=x), x, grad_y), tolerance=1e-7)
    assert_agrees(grad_h, differences(lambda h: y(h=h), h, grad_y), tolerance=1e-7)
    assert_agrees(grad_c, differences(lambda c: y(c=c), c, grad_y), tolerance=1e-7)
    assert list(grads) == list(weights)
    for key, value in weights.items():
        wanted = differences(lambda value, key=key: y(**{key: value}), value, grad_y)
        assert_agrees(grads[key], wanted, tolerance=1e-7)


def test_gradients_through_two_layers_and_the_mask_between_them_agree_with_differences():
    weights = [[direction(1, 2, 2, 2), direction(5, 2, 2, 2)], [direction(9, 4, 2, 2)] * 2]
    x, grad_y = normal(1, 2, 3, 2), normal(2, 2, 3, 4)
    options = {"lengths": [3, 1], "dropout_mask": 2 * (normal(3, 1, 2, 3, 4) > 0)}
    grad_x, *_ = lstm_backward(grad_y, x, weights, **options)
    wanted = differences(lambda x: lstm(x, weights, **options)[0], x, grad_y)
    assert_agrees(grad_x, wanted, tolerance=1e-7)


def test_many_heads_of_one_unit_are_the_diagonal_and_one_head_is_the_full_matrix():  # S29
    x, blocks = normal(1, 2, 4, 3), normal(2, 16, 1)
    diagonal = direction(3, 3, 4, 4) | {"recurrent": blocks}
    full = np.zeros((16, 4))
    full[np.arange(16), np.arange(16) % 4] = blocks[:, 0]
    as_matrix = diagonal | {"recurrent": full}
    assert_all_agree(lstm(x, [[diagonal]]), lstm(x, [[as_matrix]]))
    # Element by element: a unit's state moves no other unit.
    h = np.zeros((1, 1, 2, 4))
    h[..., 1] = 1
    moved = lstm(x, [[diagonal]], h=h)[0] - lstm(x, [[diagonal]])[0]
    assert moved[..., 1].all() and not moved[..., [0, 2, 3]].any()


def test_the_trace_obeys_the_equations_of_the_text():  # S24 S25 S26 S27 S28
    weights, x, h0, c0 = direction(1, 3, 2, 2), normal(2, 1, 5, 3), normal(3, 2), normal(4, 2)
    trace = lstm_trace(x, [[weights]], h=h0.reshape(1, 1, 1, 2), c=c0.reshape(1, 1, 1, 2))
    seen = {name: values[0, 0, 0] for name, values in trace.items()}
    h, c = h0, c0
    squash = {"i": sigmoid, "f": sigmoid, "g": np.tanh, "o": sigmoid}
    for t in range(5):
        for row, gate in enumerate("ifgo"):
            rows = slice(2 * row, 2 * row + 2)
            inside = weights["input"][rows] @ x[0, t] + weights["recurrent"][rows] @ h
            assert_agrees(seen[gate][t], squash[gate](inside + weights["bias"][rows]))
        c = seen["f"][t] * c + seen["i"][t] * seen["g"][t]
        h = seen["o"][t] * np.tanh(c)
        assert_agrees(seen["c"][t], c)
        assert_agrees(seen["h"][t], h)


def test_a_trace_of_both_directions_stands_in_the_order_of_time_and_is_0_in_the_padding():
    weights = [[direction(1, 3, 2, 2), direction(5, 3, 2, 2)]]
    x = normal(2, 2, 4, 3)
    trace = lstm_trace(x, weights, lengths=[4, 2])
    y, h, c = lstm(x, weights, lengths=[4, 2])
    assert_agrees(np.concatenate([trace["h"][0, 0], trace["h"][0, 1]], -1), y)
    assert_agrees(trace["c"][0, 0, [0, 1], [3, 1]], c[0, 0])
    assert_agrees(trace["c"][0, 1, :, 0], c[0, 1])
    assert_agrees(trace["h"][0, 1, :, 0], h[0, 1])
    assert not any(values[:, :, 1, 2:].any() for values in trace.values())


def gated(*, i=0.0, f=0.0, o=0.0, width=3):
    """Gates set by their biases alone; news from the input."""
    bias = np.repeat([i, f, 0.0, o], width)
    weights = {"input": np.zeros((4 * width, 2)), "bias": bias}
    weights["input"][2 * width : 3 * width] = normal(1, width, 2)
    return weights | {"recurrent": np.zeros((4 * width, width))}


def test_an_open_forget_gate_and_a_shut_input_gate_keep_the_cell_exactly_over_1000_steps():  # S30
    c = normal(2, 1, 1, 1, 3)
    _, _, last = lstm(normal(3, 1, 1000, 2), [[gated(i=-1000.0, f=1000.0)]], c=c)
    assert np.array_equal(last, c)


def test_a_shut_forget_gate_remembers_nothing():  # S24
    x, c = normal(3, 1, 4, 2), normal(2, 1, 1, 1, 3)
    shut = [[gated(i=0.5, f=-1000.0)]]
    assert np.array_equal(lstm(x, shut, c=c)[0], lstm(x, shut, c=100 * c)[0])


def test_one_unit_both_ways_gives_the_worked_numbers():
    each = {
        "input": np.full((4, 1), 0.5),
        "recurrent": np.full((4, 1), 0.5),
        "bias": np.full(4, 0.2),
    }
    for padding in ([], [0.0, 0.0], [99.0, 99.0], [np.nan, np.nan]):
        x = np.array([[1.0, 2.0, *padding]])[..., None]
        y, *_ = lstm(x, [[each, each]], lengths=[2])
        assert y[0, :2, 0].round(6).tolist() == [0.256064, 0.604037]
        assert y[0, :2, 1].round(6).tolist() == [0.536644, 0.434497]
        assert not y[0, 2:].any()


def test_zoneout_of_everything_changes_nothing_and_of_nothing_is_the_plain_layer():
    weights, x = [[direction(1, 3, 2, 2)]], normal(2, 2, 4, 3)
    h, c = normal(3, 1, 1, 2, 2), normal(4, 1, 1, 2, 2)
    y, last_h, last_c = lstm(x, weights, h=h, c=c, zoneout_h=1, zoneout_c=1)
    assert np.array_equal(last_h, h) and np.array_equal(last_c, c)
    assert_agrees(y, np.repeat(h[0, 0][:, None], 4, 1))


# Broken twins.


def rows_moved(order):
    """A forward that takes the gates' rows in another order."""

    def twin(x, weights, **options):
        moved = [
            [
                each
                | {
                    name: np.concatenate([np.split(each[name], 4)[gate] for gate in order])
                    for name in ("input", "recurrent", "bias")
                }
                for each in directions
            ]
            for directions in weights
        ]
        return lstm(x, moved, **options)

    return twin


def forget_bias_dropped(x, weights, **options):
    def without(each):
        bias = each["bias"].copy()
        bias[len(bias) // 4 : len(bias) // 2] = 0
        return each | {"bias": bias}

    return lstm(x, [[without(each) for each in layer] for layer in weights], **options)


def padding_read(x, weights, *, lengths, **options):
    return lstm(x, weights, **options)


def last_step_wrong(x, weights, **options):
    y, h, c = lstm(x, weights, **options)
    trace = lstm_trace(x, weights, **options)
    for b, length in enumerate(options["lengths"] or []):
        if length:
            # The backward walk ends at step 0; taken at the last step it has seen one step only.
            h[:, -1, b] = trace["h"][:, -1, b, length - 1]
    return y, h, c


def cell_not_squashed(x, weights, **options):
    y, h, c = lstm(x, weights, **options)
    return y, np.arctanh(np.clip(h, -0.99, 0.99)), c


def states_mixed_up(x, weights, *, h, c, **options):
    if h.shape == c.shape:
        h, c = c, h
    return lstm(x, weights, h=h, c=c, **options)


def directions_mixed_up(x, weights, **options):
    y, h, c = lstm(x, weights, **options)
    return np.roll(y, y.shape[2] // len(weights[0]), axis=2), h, c


@pytest.mark.parametrize(
    "twin",
    [
        rows_moved([1, 0, 2, 3]),
        rows_moved([0, 1, 3, 2]),
        rows_moved([0, 3, 1, 2]),
        forget_bias_dropped,
        padding_read,
        last_step_wrong,
        cell_not_squashed,
        states_mixed_up,
        directions_mixed_up,
    ],
)
def test_a_wrong_lstm_is_caught(twin):
    catches(compare, cases(), forward=twin)


def cell_gradient_forgotten(grad_y, x, weights, *, grad_last_c, **options):
    return lstm_backward(grad_y, x, weights, **options)


def padding_gets_a_gradient(grad_y, x, weights, *, lengths, **options):
    return lstm_backward(grad_y, x, weights, **options)


def forget_gate_gradient_lost(grad_y, x, weights, **options):
    grad_x, grads, *states = lstm_backward(grad_y, x, weights, **options)
    for directions in grads:
        for each in directions:
            width = len(each["bias"]) // 4
            each["bias"][width : 2 * width] = 0
    return grad_x, grads, *states


def gradient_not_through_time(grad_y, x, weights, **options):
    grad_x, grads, _, grad_c = lstm_backward(grad_y, x, weights, **options)
    return grad_x, grads, options["grad_last_h"], grad_c


@pytest.mark.parametrize(
    "twin",
    [
        cell_gradient_forgotten,
        padding_gets_a_gradient,
        forget_gate_gradient_lost,
        gradient_not_through_time,
    ],
)
def test_a_wrong_gradient_of_lstm_is_caught(twin):
    catches(compare, cases(), backward=twin)


def test_what_does_not_fit_is_refused_with_its_shape():
    weights = [[direction(1, 3, 2, 2)]]
    with pytest.raises(ValueError, match=r"layer 0: input weights must be .*C=4\]; got \(8, 3\)"):
        lstm(np.ones((1, 4, 4)), weights)
    with pytest.raises(ValueError, match=r"lengths\[1\] is 5: it must be 0 to 4"):
        lstm(np.ones((2, 4, 3)), weights, lengths=[0, 5])
    with pytest.raises(ValueError, match=r"= \(1, 1, 2, 2\); got \(2, 2\)"):
        lstm(np.ones((2, 4, 3)), weights, c=np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"output's shape \(2, 4, 2\); got \(2, 4, 1\)"):
        lstm_backward(np.ones((2, 4, 1)), np.ones((2, 4, 3)), weights)
