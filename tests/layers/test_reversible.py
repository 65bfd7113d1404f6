"""Reversible normalization and whole windows: twins, what they promise, and broken twins."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell import reference
from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers import Chain, Dense, Flatten, Last, Reversible, Whole

from ..reference.comparison import assert_agrees, catches, normal, quick
from .checks import (
    assert_padding_changes_nothing,
    assert_same_alone_and_in_a_batch,
    compare,
    dtypes,
    randomize,
    run,
    silenced,
    tensor,
)

BYS = ("mean", "last")


@st.composite
def cases(draw):
    channels, batch, steps = (draw(st.integers(1, n)) for n in (3, 3, 4))
    grid = draw(st.lists(st.integers(1, 3), max_size=1))
    seed, width = draw(st.integers(0, 999)), draw(st.integers(1, 3))
    body = Chain([Flatten(), Dense(channels * int(np.prod(grid)), width), Last()])
    # Rounding divided by a small eps would be all that is left of an item of one number.
    layer = Reversible(body, by=draw(st.sampled_from(BYS)), eps=draw(st.sampled_from([0.1, 0.5])))
    lengths = None
    if draw(st.booleans()):
        lengths = draw(st.lists(st.integers(1, steps), min_size=batch, max_size=batch))
    x = draw(st.sampled_from([0.0, 2.0])) + normal(seed, batch, steps, channels, *grid)
    dtype = draw(dtypes)
    return {"layer": layer, "x": x, "lengths": lengths, "seed": seed, "dtype": dtype}


def twin(case, x, weight, bias, *, grad_y, fault=None):
    layer, y = case["layer"], []
    grad_x, grad_weight, grad_bias = np.zeros_like(x), np.zeros_like(weight), np.zeros_like(bias)
    lengths = case["lengths"] or [x.shape[1]] * len(x)
    options = {"by": layer.by, "epsilon": layer.eps}
    if fault == "other level":
        options["by"] = "last" if layer.by == "mean" else "mean"
    for item, length in enumerate(lengths):
        kept = x.shape[1] if fault == "padding counted" else length
        values = silenced(x[item : item + 1], [length])[0, :kept]

        def body(h, last=length - 1):
            return weight @ h[last].reshape(-1) + bias

        def body_backward(grad, h, last=length - 1):
            nonlocal grad_weight, grad_bias
            grad_weight = grad_weight + np.outer(grad, h[last].reshape(-1))
            grad_bias = grad_bias + grad
            grad_h = np.zeros_like(h)
            grad_h[last] = (weight.T @ grad).reshape(h[last].shape)
            return grad_h

        y.append(reference.reversible(values, body, **options))
        if fault == "not put back":
            y[-1] = body(values)
        found = reference.reversible_backward(grad_y[item], values, body, body_backward, **options)
        grad_x[item, :length] = found[:length]
    return np.stack(y), grad_x, grad_weight, grad_bias


def compare_reversible(case, **parts):
    compare(case, lambda *arrays, **grad: twin(*arrays, **grad, **parts))


@quick
@given(cases())
def test_reversible_agrees_with_its_twin(case):
    compare_reversible(case)


@pytest.mark.parametrize("fault", ["other level", "padding counted", "not put back"])
def test_a_wrong_twin_is_caught(fault):
    catches(compare_reversible, cases(), fault=fault)


def layer_of(by, channels=2):
    return randomize(Reversible(Chain([Dense(channels, 3), Last()]), by=by).double())


@pytest.mark.parametrize("by", BYS)
def test_padding_changes_nothing(by):
    x, lengths = tensor(normal(1, 3, 5, 2)), torch.tensor([5, 2, 0])
    assert_padding_changes_nothing(layer_of(by), x, lengths)
    assert_same_alone_and_in_a_batch(layer_of(by), x, lengths)


@pytest.mark.parametrize("by", BYS)
def test_a_body_that_keeps_the_steps_leaves_no_padding(by):
    layer = randomize(Reversible(Chain([Dense(2, 3)]), by=by).double())
    assert_padding_changes_nothing(layer, tensor(normal(1, 3, 5, 2)), torch.tensor([5, 2, 0]))


@pytest.mark.parametrize("by", BYS)
def test_a_shift_of_the_own_channel_shifts_the_answer_alone(by):
    layer, x = layer_of(by), tensor(normal(1, 4, 6, 2))
    shifted = x.clone()
    shifted[:, :, 0] += 50
    assert_agrees((layer(shifted) - 50).detach(), layer(x), tolerance=1e-8)


def test_a_stretch_of_the_own_channel_stretches_the_answer():
    layer = randomize(Reversible(Chain([Dense(1, 3), Last()]), eps=0.0).double())
    x = tensor(normal(1, 4, 6, 1))
    assert_agrees(layer(7 * x).detach(), 7 * layer(x))


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("level", [0.0, 20.0, 1e6])
def test_an_item_that_never_moves_is_finite_and_stays(by, level):
    layer = Reversible(Chain([Dense(1, 3), Last()]), by=by)
    x = torch.full((2, 8, 1), level, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    torch.testing.assert_close(y, torch.full((2, 3), level), rtol=1e-6, atol=1e-2)
    assert x.grad.isfinite().all()


def test_whole_lays_steps_side_by_side():
    x = tensor(normal(1, 2, 3, 2, 4))
    y, grad_y, (grad_x,) = run(Whole(), x)
    assert_agrees(y, x.reshape(2, 24))
    assert_agrees(grad_x, grad_y.reshape(2, 3, 2, 4))
    assert Whole().out_layout(Layout(2, (4,), steps=3)) == Layout(24, steps=1, has_time=False)
    assert_padding_changes_nothing(Whole(), tensor(normal(1, 3, 4, 2)), torch.tensor([4, 1, 0]))


def test_whole_needs_one_number_of_steps():
    with pytest.raises(ShapeError, match="whole needs items of one number of steps"):
        Whole().out_layout(Layout(3))
