"""Pooling against its NumPy twin, over every grid, with and without time; broken twins."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell import reference
from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers import GlobalPool, Pool

from ..reference.comparison import assert_agrees, catches, normal, quick
from .checks import compare, dtypes, run, silenced, steps_in_the_batch, tensor


@st.composite
def cases(draw):
    axes = draw(st.integers(0, 3))
    size = draw(st.tuples(*[st.integers(1, 3)] * axes))
    time = draw(st.integers(1, 3)) if axes < 3 else 1
    stride = draw(st.none() | st.tuples(*[st.integers(1, 3)] * max(axes, 1)))
    layer = Pool(
        draw(st.sampled_from(["max", "mean"])), size, grid_axes=axes, stride=stride, time=time
    )
    steps = draw(st.integers(1, 6))
    batch, seed = draw(st.integers(1, 3)), draw(st.integers(0, 10_000))
    lengths = None
    if draw(st.booleans()):
        lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    else:
        steps += time
    grid = [size + draw(st.integers(0, 3)) for size in size]
    strides = stride or size or (time,)
    return {
        "layer": layer,
        "window": (time, *size),
        "strides": strides if axes == 0 else (time, *strides),
        "x": normal(seed, batch, steps, draw(st.integers(1, 2)), *grid),
        "lengths": lengths,
        "seed": seed,
        "dtype": draw(dtypes),
    }


FORWARD = {"max": reference.max_pool, "mean": reference.average_pool}
BACKWARD = {"max": reference.max_pool_backward, "mean": reference.average_pool_backward}


def pool_twin(case, x, *, grad_y, forward=FORWARD, backward=BACKWARD):
    layer, lengths = case["layer"], case["lengths"]
    # A window that is not wholly valid gives padding, so what stands there cannot matter.
    rows = np.moveaxis(silenced(x, lengths), 1, 2)
    missing = max(case["window"][0] - rows.shape[2], 0) if lengths is not None else 0
    longer = np.pad(rows, [(0, 0), (0, 0), (0, missing), *[(0, 0)] * (rows.ndim - 3)])
    y = forward[layer.reduce](longer, case["window"], stride=case["strides"])
    left = None if lengths is None else layer.out_lengths(torch.tensor(lengths)).tolist()
    grad_rows = np.moveaxis(silenced(grad_y, left), 1, 2)
    grad_x = backward[layer.reduce](grad_rows, longer, case["window"], stride=case["strides"])
    grad_x = np.moveaxis(grad_x[:, :, : rows.shape[2]], 2, 1)
    return silenced(np.moveaxis(y, 2, 1), left), grad_x


def compare_pool(case, **parts):
    compare(case, lambda *arrays, **grad: pool_twin(*arrays, **grad, **parts))


@quick
@given(cases())
def test_pool_agrees_with_its_twin(case):  # S11
    compare_pool(case)


@quick
@given(cases())
def test_pool_does_to_sizes_and_lengths_what_it_says(case):
    layer, x = case["layer"], tensor(case["x"])
    if case["lengths"] is not None:
        return
    _, steps, channels, *grid = x.shape
    after = layer.out_layout(Layout(channels, tuple(grid), steps))
    assert layer(x).shape[1:] == (after.steps, after.channels, *after.grid)
    assert layer.out_lengths(torch.tensor([steps])).tolist() == [after.steps]


@pytest.mark.parametrize("axes", [0, 1, 2, 3])
def test_globalpool_agrees_with_its_twin(axes):
    x = tensor(normal(1, 3, 2, 4, *(5, 3, 2)[:axes]))
    y, grad_y, (grad_x,) = run(GlobalPool(), x)
    rows, grad_rows = steps_in_the_batch(x.numpy()), steps_in_the_batch(grad_y.numpy())
    if axes == 0:
        assert_agrees(y, x)
        return
    assert_agrees(reference.global_average_pool(rows).reshape(3, 2, 4), y)
    wanted = reference.global_average_pool_backward(grad_rows, rows)
    assert_agrees(wanted.reshape(x.shape), grad_x)


def test_channels_last_in_memory_gives_the_same_numbers():
    x = tensor(normal(1, 2, 9, 8, 3)).permute(0, 3, 1, 2).unsqueeze(1)
    for layer in (Pool("max", 2, grid_axes=2), Pool("mean", (3, 2), grid_axes=2), GlobalPool()):
        assert_agrees(layer(x), layer(x.contiguous()))


def test_a_nan_in_a_window_is_not_passed_over():
    x = torch.zeros(1, 1, 1, 4)
    x[..., 1] = torch.nan
    for reduce in ("max", "mean"):
        y = Pool(reduce, 2, grid_axes=1)(x)
        assert y.isnan().flatten().tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "maxpool size must be 1 or more; got 0x0"),
        ({"size": (2, 2, 2)}, "maxpool size 2x2x2 has 3 axes, not 2"),
        ({"stride": 0}, "maxpool stride must be 1 or more; got 0x0"),
        ({"time": 0}, "maxpool time must be 1 or more; got 0"),
        ({"grid_axes": 0}, r"none is left; over time write maxpool\(time=2\)"),
        ({"grid_axes": 0, "size": (2, 3)}, r"none is left; over time write maxpool\(time=2x3\)"),
        ({"grid_axes": 3, "time": 2}, "maxpool can slide over 3 axes, not over time and 3 more"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ShapeError, match=message):
        Pool(**({"reduce": "max", "size": 2, "grid_axes": 2} | options))


def test_inputs_that_do_not_fit_are_refused():
    layer = Pool("mean", 2, grid_axes=2)
    with pytest.raises(ShapeError, match=r"avgpool was built for 2 grid axes.*which has 1"):
        layer(torch.zeros(1, 1, 3, 8))
    with pytest.raises(ShapeError, match=r"avgpool: a kernel of 2 .* has no place on 1 cell"):
        layer(torch.zeros(1, 1, 3, 8, 1))


# Broken twins


def swapped(functions):
    return {"max": functions["mean"], "mean": functions["max"]}


def stride_ignored(x, window, *, stride):
    return reference.max_pool(x, window, stride=1)


def last_of_equals(grad_y, x, window, *, stride):
    def turned(values):
        return np.flip(values, axis=tuple(range(2, values.ndim)))

    grad = reference.max_pool_backward(turned(grad_y), turned(x), window, stride=stride)
    return turned(grad)


def shared_among_all(grad_y, x, window, *, stride):
    return reference.average_pool_backward(grad_y, x, window, stride=stride)


@pytest.mark.parametrize(
    "parts",
    [
        {"forward": swapped(FORWARD)},
        {"forward": FORWARD | {"max": stride_ignored}},
        {"backward": swapped(BACKWARD)},
        {"backward": BACKWARD | {"max": last_of_equals}},
        {"backward": BACKWARD | {"max": shared_among_all}},
    ],
)
def test_a_wrong_pool_is_caught(parts):
    catches(compare_pool, cases(), **parts)
