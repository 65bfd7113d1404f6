"""What reads or makes time: last, mean, max, each, rows, embed."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers import Each, Embed, Last, Max, Mean, Rows

from ..reference.comparison import assert_agrees, catches, normal, quick
from .checks import compare, dtypes, randomize, run, tensor


@st.composite
def cases(draw, layer):
    batch, steps, seed = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(0, 999))
    lengths = None
    if draw(st.booleans()):
        lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    return {
        "layer": layer,
        "x": normal(seed, batch, steps, draw(st.integers(1, 4))),
        "lengths": lengths,
        "seed": seed,
        "dtype": draw(dtypes),
    }


def last_weights(length, steps):
    return [float(step == length - 1) for step in range(steps)]


def mean_weights(length, steps):
    return [1 / length if step < length else 0.0 for step in range(steps)]


def reduce_twin(case, x, *, grad_y, weights):
    """Both are a weighted sum over time, y = sum over t of weight_t * x_t."""
    batch, steps, _ = x.shape
    lengths = case["lengths"] if case["lengths"] is not None else [steps] * batch
    weight_BT = np.array(
        [weights(length, steps) if length else [0.0] * steps for length in lengths]
    )
    y = np.einsum("bt,btd->bd", weight_BT, x)
    return y, np.einsum("bt,bd->btd", weight_BT, grad_y)


def compare_reduce(case, weights):
    compare(case, lambda *arrays, **grad: reduce_twin(*arrays, **grad, weights=weights))


@quick
@given(cases(Last()))
def test_last_agrees_with_its_twin(case):
    compare_reduce(case, last_weights)


@pytest.mark.parametrize("lengths", [None, [5, 5, 5], [5, 2, 0]])
@pytest.mark.parametrize("is_time_first", [True, False])
def test_the_gradient_of_last_lies_in_memory_as_its_input_does(is_time_first, lengths):
    x = tensor(normal(0, 5, 3, 4)).transpose(0, 1)
    x = (x if is_time_first else x.contiguous()).detach().requires_grad_()
    known = None if lengths is None else torch.tensor(lengths)
    seen = []
    x.register_hook(seen.append)
    y = Last()(x, known)
    y.sum().backward()
    wanted = torch.zeros(3, 5, 4, dtype=x.dtype)
    for row, length in enumerate(lengths or [5] * 3):
        if length:
            wanted[row, length - 1] = 1
    assert torch.equal(seen[0], wanted) and seen[0].stride() == x.stride()


@quick
@given(cases(Mean()))
def test_mean_agrees_with_its_twin(case):
    compare_reduce(case, mean_weights)


def test_reductions_that_read_the_padding_are_caught():
    catches(compare_reduce, cases(Last()), weights=lambda _, steps: last_weights(steps, steps))
    catches(compare_reduce, cases(Mean()), weights=lambda _, steps: mean_weights(steps, steps))


def test_a_mean_over_all_steps_of_the_batch_is_caught():
    def weights(length, steps):
        return [1 / steps if step < length else 0.0 for step in range(steps)]

    catches(compare_reduce, cases(Mean()), weights=weights)


@st.composite
def largest_cases(draw):
    """Whole numbers too: of them several are equal, and the first one takes the gradient."""
    case = draw(cases(Max()))
    return {**case, "x": np.round(case["x"])} if draw(st.booleans()) else case


def first_largest(values):
    """The weights of the steps [T] in y: 1 at the first of the largest values."""
    return np.arange(len(values)) == np.argmax(values)


def max_twin(case, x, *, grad_y, weights=first_largest, reads=lambda length, steps: length):
    """y is x at the first of the largest values, and there alone the gradient goes."""
    batch, steps, features = x.shape
    lengths = case["lengths"] if case["lengths"] is not None else [steps] * batch
    y, grad_x = np.zeros((batch, features)), np.zeros_like(x)
    for item, length in enumerate(lengths):
        for feature in range(features if length else 0):
            seen = x[item, : reads(length, steps), feature]
            weight = weights(seen)
            y[item, feature] = weight @ seen
            grad_x[item, : len(seen), feature] = weight * grad_y[item, feature]
    return y, grad_x


def compare_max(case, **twin):
    compare(case, lambda *arrays, **grad: max_twin(*arrays, **grad, **twin))


@quick
@given(largest_cases())
def test_max_agrees_with_its_twin(case):
    compare_max(case)


def shared(values):
    is_largest = values == values.max()
    return is_largest / is_largest.sum()


def last_largest(values):
    return first_largest(values[::-1])[::-1]


def not_below_0(values):
    return first_largest(values) * (values.max() > 0)


@pytest.mark.parametrize("weights", [shared, last_largest, not_below_0])
def test_another_choice_of_the_largest_is_caught(weights):
    catches(compare_max, largest_cases(), weights=weights)


def test_a_max_that_reads_the_padding_is_caught():
    catches(compare_max, largest_cases(), reads=lambda _, steps: steps)


def test_max_keeps_the_infinite_and_what_is_no_number():
    x = torch.tensor([[[-torch.inf, torch.nan], [-torch.inf, 1.0], [5.0, 5.0]]])
    y, grad_y, (grad_x,) = run(Max(), x, torch.tensor([2]))
    assert y[0, 0] == -torch.inf and y[0, 1].isnan()
    assert torch.equal(grad_x[0, 0], grad_y[0]) and not grad_x[0, 1:].any()


def test_after_time_no_lengths_are_left():
    for layer in (Last(), Mean(), Max()):
        assert layer.out_lengths(torch.tensor([3])) is None
        after = layer.out_layout(Layout(7))
        assert not after.has_time and after.channels == 7
    assert Each().out_layout(Layout(7)) == Layout(7)


def test_rows_make_steps_of_an_image():
    x = tensor(normal(1, 2, 1, 3, 5, 4))
    y, grad_y, (grad_x,) = run(Rows(), x)
    assert y.shape == (2, 5, 3, 4)
    for row in range(5):
        assert torch.equal(y[:, row], x[:, 0, :, row])
        assert torch.equal(grad_x[:, 0, :, row], grad_y[:, row])
    assert Rows().out_layout(Layout(3, (5, 4), steps=1)) == Layout(3, (4,), steps=5)
    assert Rows().out_lengths(None) is None


def test_rows_read_channels_last_in_the_same_order():
    x = tensor(normal(1, 2, 5, 4, 3)).permute(0, 3, 1, 2).unsqueeze(1)
    assert torch.equal(Rows()(x), Rows()(x.contiguous()))


@pytest.mark.parametrize("layout", [Layout(3, (5,), steps=1), Layout(3, (5, 4), steps=2)])
def test_rows_of_anything_else_are_refused(layout):
    with pytest.raises(ShapeError, match=r"rows needs one image \[1, C, H, W\]; got"):
        Rows().out_layout(layout)


@quick
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=4),
    st.booleans(),
)
def test_embed_looks_up_a_row_for_each_id(ids, has_lengths):
    layer = randomize(Embed(5, 2).double())
    lengths = [step % 4 for step in range(len(ids))] if has_lengths else [3] * len(ids)
    y = layer(torch.tensor(ids), torch.tensor(lengths) if has_lengths else None)
    grad_y = normal(1, *y.shape)
    (grad_weight,) = torch.autograd.grad(y, [layer.weight], tensor(grad_y))
    wanted_y, wanted = np.zeros(y.shape), np.zeros((5, 2))
    for item, length in enumerate(lengths):
        for step in range(length):
            wanted_y[item, step] = layer.weight.detach()[ids[item][step]]
            wanted[ids[item][step]] += grad_y[item, step]
    assert_agrees(wanted_y, y)
    assert_agrees(wanted, grad_weight)


def test_ids_in_the_padding_may_be_anything():
    layer = randomize(Embed(5, 2))
    ids, lengths = torch.tensor([[1, 4, -9, 10**9]]), torch.tensor([2])
    y = layer(ids, lengths)
    assert torch.equal(y[0, :2], layer.weight[[1, 4]]) and not y[0, 2:].any()
    for dtype in (torch.uint8, torch.int32):
        assert torch.equal(layer(ids[:, :2].to(dtype)), y[:, :2])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[0, 5]], "embed id 5 is outside the table of 5 rows"),
        ([[0, -1]], "embed id -1 is outside the table of 5 rows"),
        ([[0.0, 1.0]], "embed reads whole numbers; got torch.float32"),
        ([0, 1], r"embed input must be \[B, T\]; got \(2,\)"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids, message):
    with pytest.raises(ShapeError, match=message):
        Embed(5, 2)(torch.tensor(ids))


def test_an_embedding_of_nothing_is_refused():
    with pytest.raises(ShapeError, match="embed needs a vocabulary and a width; got 0, 3"):
        Embed(0, 3)
    with pytest.raises(ShapeError, match="embed reads ids, one a step; got T x 3"):
        Embed(5, 2).out_layout(Layout(3))
