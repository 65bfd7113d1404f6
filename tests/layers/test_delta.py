"""Differences to the step before: held to their twin, and what a broken one would do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell import reference
from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers import Delta

from ..reference.comparison import assert_agrees, catches, normal, quick
from .checks import (
    assert_padding_changes_nothing,
    assert_same_alone_and_in_a_batch,
    compare,
    dtypes,
    silenced,
    tensor,
)


@st.composite
def cases(draw):
    channels, batch, steps = (draw(st.integers(1, n)) for n in (3, 3, 5))
    grid = draw(st.lists(st.integers(1, 3), max_size=2))
    lengths = None
    if draw(st.booleans()):
        lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    seed = draw(st.integers(0, 999))
    x = normal(seed, batch, steps, channels, *grid)
    return {"layer": Delta(), "x": x, "lengths": lengths, "seed": seed, "dtype": draw(dtypes)}


def twin(case, x, *, grad_y, fault=None):
    lengths = case["lengths"]
    x, grad_y = silenced(x, lengths), np.array(grad_y)
    y = np.stack([reference.delta(item) for item in x])
    if fault == "the first step too":
        y[:, 0, x.shape[2] :] = x[:, 0]
    if fault == "turned round":
        y[:, :, x.shape[2] :] *= -1
    if fault != "padding changes":
        y, grad_y = silenced(y, lengths), silenced(grad_y, lengths)
    return y, silenced(np.stack([reference.delta_backward(grad) for grad in grad_y]), lengths)


def compare_delta(case, **parts):
    compare(case, lambda *arrays, **grad: twin(*arrays, **grad, **parts))


@quick
@given(cases())
def test_delta_agrees_with_its_twin(case):
    compare_delta(case)


@pytest.mark.parametrize("fault", ["the first step too", "turned round", "padding changes"])
def test_a_wrong_twin_is_caught(fault):
    catches(compare_delta, cases(), fault=fault)


@pytest.mark.parametrize("grid", [(), (4,), (3, 2)])
def test_padding_changes_nothing(grid):
    x, lengths = tensor(normal(1, 3, 5, 2, *grid)), torch.tensor([5, 2, 0])
    assert_padding_changes_nothing(Delta(), x, lengths)
    assert_same_alone_and_in_a_batch(Delta(), x, lengths)


def test_numpy_s_own_differences():
    x = normal(1, 2, 6, 3)
    assert_agrees(Delta()(tensor(x))[:, 1:, 3:], np.diff(x, axis=1))


def test_what_is_shown_whole_but_never_moves_has_no_changes():
    y = Delta()(torch.ones(1, 4, 1, 5, 5))
    assert y[:, :, 0].eq(1).all() and not y[:, :, 1].any()


def test_sizes():
    assert Delta().out_layout(Layout(3, (8, 8), steps=None)) == Layout(6, (8, 8), steps=None)
    assert Delta().out_layout(Layout(2, steps=7)) == Layout(4, steps=7)
    with pytest.raises(ShapeError, match="delta needs more than one step"):
        Delta().out_layout(Layout(3, (8, 8), steps=1))


def test_whole_numbers_are_refused():
    with pytest.raises(ShapeError, match="delta needs floating-point values"):
        Delta()(torch.ones(1, 3, 2, dtype=torch.uint8))
