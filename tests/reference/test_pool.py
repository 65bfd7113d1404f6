"""The pooling layers of the reference against PyTorch, differences and broken twins."""

import math

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from gridcell.reference import (
    average_pool,
    average_pool_backward,
    global_average_pool,
    global_average_pool_backward,
    max_pool,
    max_pool_backward,
)

from .comparison import (
    assert_agrees,
    autograd,
    catches,
    differences,
    leaf,
    normal,
    quick,
)

TORCH_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
TORCH_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@st.composite
def cases(draw):
    axes = draw(st.integers(1, 3))
    window = draw(st.tuples(*[st.integers(1, 3)] * axes))
    stride = draw(st.none() | st.tuples(*[st.integers(1, 3)] * axes))
    grid = [k + draw(st.integers(0, 4)) for k in window]
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *grid)
    seed = draw(st.integers(0, 10_000))
    # Few different values, so that maxima are shared in many windows; -inf is a value, too.
    few = np.random.default_rng(seed).choice([-np.inf, -1.0, 0.0, 2.0], size=shape)
    x = few if draw(st.booleans()) else normal(seed, *shape)
    return {"x": x, "window": window, "stride": stride, "seed": seed}


def compare(case, layers, forward, backward):
    x, axes = leaf(case["x"]), len(case["window"])
    y = layers[axes](x, case["window"], case["stride"])
    assert_agrees(forward(case["x"], case["window"], stride=case["stride"]), y)
    grad_y = normal(case["seed"] + 1, *y.shape)
    grad_x = backward(grad_y, case["x"], case["window"], stride=case["stride"])
    assert_agrees(grad_x, *autograd(y, grad_y, x))


def compare_max(case, forward=max_pool, backward=max_pool_backward):
    compare(case, TORCH_MAX, forward, backward)


def compare_average(case, forward=average_pool, backward=average_pool_backward):
    case = case | {"x": np.maximum(case["x"], -9)}  # -inf has no average worth the name
    compare(case, TORCH_AVERAGE, forward, backward)


@quick
@given(cases())
def test_max_pool_agrees_with_pytorch(case):  # S11
    compare_max(case)


@quick
@given(cases())
def test_average_pool_agrees_with_pytorch(case):  # S11
    compare_average(case)


@quick
@given(cases())
def test_global_average_pool_agrees_with_pytorch(case):
    values = np.maximum(case["x"], -9)
    x = leaf(values)
    y = x.flatten(2).mean(-1)
    assert_agrees(global_average_pool(values), y)
    grad_y = normal(case["seed"], *y.shape)
    assert_agrees(global_average_pool_backward(grad_y, values), *autograd(y, grad_y, x))


def test_pool_gradients_agree_with_differences():
    x = normal(1, 2, 2, 5, 4)
    for stride in (None, 1, (2, 1)):
        for forward, backward in (
            (max_pool, max_pool_backward),
            (average_pool, average_pool_backward),
        ):
            grad_y = normal(2, *forward(x, (3, 2), stride=stride).shape)
            wanted = differences(lambda x: forward(x, (3, 2), stride=stride), x, grad_y)  # noqa: B023
            assert_agrees(backward(grad_y, x, (3, 2), stride=stride), wanted, tolerance=1e-7)
    grad_y = normal(3, 2, 2)
    wanted = differences(global_average_pool, x, grad_y)
    assert_agrees(global_average_pool_backward(grad_y, x), wanted, tolerance=1e-7)


def test_the_output_has_as_many_cells_as_windows_fit():
    for n, window, stride in [(7, 3, 2), (8, 3, 2), (3, 3, 5), (32, 2, 2), (5, 2, 1)]:
        y = max_pool(np.zeros((1, 1, n)), window, stride=stride)
        assert y.shape == (1, 1, (n - window) // stride + 1)


def test_the_gradient_goes_to_the_first_of_equal_maxima():
    x = [[[[1, 5], [5, 5]]]]
    assert max_pool_backward([[[[7]]]], x, 2).tolist() == [[[[0, 7], [0, 0]]]]


def test_nan_is_not_passed_over():
    x = np.array([[[1.0, np.nan, 3.0, 4.0, 5.0, np.nan, 0.0, 1.0]]])
    assert np.isnan(max_pool(x, 2)[0, 0]).tolist() == [True, False, True, False]
    assert np.isnan(average_pool(x, 2)[0, 0]).tolist() == [True, False, True, False]
    assert max_pool_backward([[[1, 1, 1, 1]]], x, 2).tolist() == [[[0, 1, 0, 1, 0, 1, 0, 1]]]


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match="pool window doesn't fit grid axis 1: window 3; the input"
    ):
        max_pool(np.zeros((1, 1, 4, 2)), 3)
    with pytest.raises(ValueError, match=r"pool input must be \[N, C, \*grid\].*got \(4, 2\)"):
        average_pool(np.zeros((4, 2)), 1)
    with pytest.raises(ValueError, match=r"a grid of at least 1 cell; got \(4, 2, 0\)"):
        global_average_pool(np.zeros((4, 2, 0)))
    with pytest.raises(ValueError, match=r"window must be one number or 2, one a grid axis; got"):
        max_pool(np.zeros((1, 1, 4, 2)), (2,))
    with pytest.raises(ValueError, match=r"output's shape \(1, 1, 2\); got \(1, 1, 4\)"):
        max_pool_backward(np.zeros((1, 1, 4)), np.zeros((1, 1, 4)), 2)


# Broken twins. `each_window` goes from window to window, another way than the one under test.


def each_window(x, window, stride):
    stride = window if stride is None else stride
    counts = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], window, stride, strict=True)]
    for n, c, *place in np.ndindex(*x.shape[:2], *counts):
        corner = [p * s for p, s in zip(place, stride, strict=True)]
        cells = tuple(slice(at, at + k) for at, k in zip(corner, window, strict=True))
        yield (n, c, *place), (n, c, *cells)


def max_pool_backward_by(rule, *, is_added=True):
    def twin(grad_y, x, window, *, stride):
        grad_x = np.zeros_like(x)
        for output, cells in each_window(x, window, stride):
            share = rule(x[cells]) * grad_y[output]
            grad_x[cells] = grad_x[cells] + share if is_added else share
        return grad_x

    return twin


def first(patch):
    return (np.arange(patch.size) == patch.argmax()).reshape(patch.shape)


def last(patch):
    return (np.arange(patch.size) == patch.size - 1 - patch.ravel()[::-1].argmax()).reshape(
        patch.shape
    )


def to_all(patch):
    return patch == patch.max()


def shared(patch):
    return to_all(patch) / to_all(patch).sum()


@quick
@given(cases())
def test_the_frame_of_the_gradient_twins_is_sound(case):
    compare_max(case, backward=max_pool_backward_by(first))


@pytest.mark.parametrize("rule", [last, to_all, shared])
def test_a_max_gradient_to_other_cells_than_the_first_maximum_is_caught(rule):
    catches(compare_max, cases(), backward=max_pool_backward_by(rule))


def test_overlapping_windows_that_do_not_add_up_are_caught():
    catches(compare_max, cases(), backward=max_pool_backward_by(first, is_added=False))


def stride_of_one(x, window, *, stride):
    return max_pool(x, window, stride=1 if stride is None else stride)


def stride_ignored(x, window, *, stride):
    return max_pool(x, window)


def window_over_the_end(x, window, *, stride):
    stride = window if stride is None else stride
    sizes = zip(x.shape[2:], window, stride, strict=True)
    more = [(0, math.ceil((n - k) / s) * s + k - n) for n, k, s in sizes]
    more = [(0, max(right, 0)) for _, right in more]
    return max_pool(
        np.pad(x, ((0, 0), (0, 0), *more), constant_values=-np.inf), window, stride=stride
    )


def starting_from_zero(x, window, *, stride):
    return np.maximum(max_pool(x, window, stride=stride), 0)


@pytest.mark.parametrize(
    "twin", [stride_of_one, stride_ignored, window_over_the_end, starting_from_zero]
)
def test_a_wrong_max_pool_is_caught(twin):
    catches(compare_max, cases(), forward=twin)


def test_a_sum_in_place_of_the_average_is_caught():
    def summed(x, window, *, stride):
        return average_pool(x, window, stride=stride) * math.prod(window)

    catches(compare_average, cases(), forward=summed)


def test_an_average_gradient_that_is_not_divided_is_caught():
    def undivided(grad_y, x, window, *, stride):
        return average_pool_backward(grad_y, x, window, stride=stride) * math.prod(window)

    catches(compare_average, cases(), backward=undivided)
