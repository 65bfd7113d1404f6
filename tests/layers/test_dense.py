"""Dense, flatten and dropout: against their NumPy twins, and dropout by its statistics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell import reference
from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers import Chain, Conv, Dense, Dropout, Flatten, set_generator

from ..reference.comparison import assert_agrees, catches, normal, quick
from .checks import compare, dtypes, run, silenced, tensor


@st.composite
def cases(draw):
    features, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    batch, steps, seed = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(0, 999))
    has_time, lengths = draw(st.booleans()), None
    if has_time and draw(st.booleans()):
        lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    shape = (batch, steps, features) if has_time else (batch, features)
    return {
        "layer": Dense(features, width),
        "x": normal(seed, *shape),
        "lengths": lengths,
        "seed": seed,
        "dtype": draw(dtypes),
    }


def dense_twin(
    case,
    x,
    weight,
    bias,
    *,
    grad_y,
    forward=reference.dense,
    backward=reference.dense_backward,
    silenced=silenced,
):
    lengths = case["lengths"]
    x, grad_y = silenced(x, lengths), silenced(grad_y, lengths)
    grad_x, grad_weight, grad_bias = backward(grad_y, x, weight)
    return silenced(forward(x, weight, bias), lengths), grad_x, grad_weight, grad_bias


def compare_dense(case, **parts):
    compare(case, lambda *arrays, **grad: dense_twin(*arrays, **grad, **parts))


@quick
@given(cases())
def test_dense_agrees_with_its_twin(case):  # S2 S13
    compare_dense(case)


def bias_forgotten(x, weight, bias):
    return reference.dense(x, weight)


def bias_gradient_averaged(grad_y, x, weight):
    *others, grad_bias = reference.dense_backward(grad_y, x, weight)
    return *others, grad_bias / len(x)


def input_gradient_of_the_first_output(grad_y, x, weight):
    _, *others = reference.dense_backward(grad_y, x, weight)
    return grad_y[..., :1] @ weight[:1], *others


def padding_left_as_it_is(values, lengths):
    return np.array(values)


@pytest.mark.parametrize(
    "parts",
    [
        {"forward": bias_forgotten},
        {"backward": bias_gradient_averaged},
        {"backward": input_gradient_of_the_first_output},
        {"silenced": padding_left_as_it_is},
    ],
    ids=lambda parts: next(iter(parts.values())).__name__,
)
def test_a_wrong_dense_is_caught(parts):
    catches(compare_dense, cases(), **parts)


def test_dense_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"dense input must be \[B, T, D=3\].*D is 4, not 3"):
        Dense(3, 2)(torch.zeros(1, 1, 4))
    with pytest.raises(ShapeError, match=r"dense input must be \[B, T, D=3\].*4 axes, not 3"):
        Dense(3, 2)(torch.zeros(1, 1, 3, 3))
    with pytest.raises(ShapeError, match="dense width must be 1 or more; got 0"):
        Dense(3, 0)
    with pytest.raises(ShapeError, match=r"dense takes no lengths for \(2, 3\): it has no time"):
        Dense(3, 2)(torch.zeros(2, 3), torch.tensor([1, 1]))


@pytest.mark.parametrize("grid", [(), (5,), (4, 3), (2, 3, 4)])
def test_flatten_lays_channels_and_grid_in_reading_order(grid):  # S12
    x = tensor(normal(1, 2, 3, 4, *grid))
    y, grad_y, (grad_x,) = run(Flatten(), x)
    assert torch.equal(y, x.reshape(2, 3, -1))
    assert torch.equal(grad_x, grad_y.reshape(x.shape))
    assert Flatten().out_layout(Layout(4, grid, steps=3)) == Layout(y.shape[2], (), steps=3)


def test_flatten_reads_channels_last_in_the_same_order():
    x = tensor(normal(1, 2, 5, 4, 3)).permute(0, 3, 1, 2).unsqueeze(1)
    assert torch.equal(Flatten()(x), x.contiguous().reshape(2, 1, -1))


# Dropout


def dropped(p, seed, x):
    layer = Dropout(p)
    set_generator(layer, torch.Generator().manual_seed(seed))
    return layer(x)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_1_minus_p_and_scales_it_up(p):  # S20
    y = dropped(p, 1, torch.ones(100, 1000))
    kept = y != 0
    # Five deviations of the mean of 100,000 draws.
    assert abs(kept.double().mean().item() - (1 - p)) < 5 * (p * (1 - p) / 100_000) ** 0.5
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 1 / (1 - p)))
    assert abs(y.mean().item() - 1) < 5 * (p / (1 - p) / 100_000) ** 0.5
    # Each value is drawn alone: rows and columns all differ.
    assert len({tuple(row.tolist()) for row in kept[:, :200]}) == 100


def test_dropout_repeats_with_its_generator_whatever_else_draws():
    x = torch.randn(4, 50)
    first = dropped(0.5, 1, x)
    torch.rand(10)
    assert torch.equal(first, dropped(0.5, 1, x))
    assert not torch.equal(first, dropped(0.5, 2, x))
    layer = Dropout(0.5)
    set_generator(layer, torch.Generator().manual_seed(1))
    before = torch.get_rng_state()
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_is_off_in_evaluation_and_at_0():
    x = torch.randn(4, 50)
    assert Dropout(0.9).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_the_gradient_of_dropout_goes_through_what_was_kept():
    layer = Dropout(0.5)
    set_generator(layer, torch.Generator().manual_seed(1))
    x = tensor(normal(1, 4, 50))
    y, grad_y, (grad_x,) = run(layer, x)
    assert_agrees(grad_x, torch.where(y == 0, 0, 2 * grad_y))


def test_every_dropout_of_a_network_gets_the_generator():
    inner, outer = Dropout(0.5), Dropout(0.5)
    generator = torch.Generator()
    set_generator(Chain([Chain([inner]), Conv(1, 1, grid_axes=0), outer]), generator)
    assert inner.generator is generator and outer.generator is generator


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, float("nan")])
def test_a_share_that_cannot_be_dropped_is_refused(p):
    with pytest.raises(ShapeError, match=f"dropout p must be at least 0 and below 1; got {p:g}"):
        Dropout(p)
