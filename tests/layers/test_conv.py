"""Convolution against its NumPy twin, over every grid, with and without time; broken twins."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell import reference
from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers import Conv, Dense, Flatten, Pool, conv

from ..reference.comparison import assert_agrees, catches, normal, quick
from .checks import compare, dtypes, randomize, silenced, steps_in_the_batch, tensor


@st.composite
def cases(draw):
    axes = draw(st.integers(0, 3))
    kernel = draw(st.tuples(*[st.integers(1, 3)] * axes))
    time = draw(st.integers(1, 4)) if axes < 3 else 1
    one_each = st.tuples(*[st.integers(1, 3)] * max(axes, 1))
    stride, dilation = draw(one_each), draw(one_each)
    padding = draw(st.sampled_from(["same", "same", "valid", 0, 1, 2]))
    groups = draw(st.integers(1, 2))
    channels, filters = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    layer = Conv(
        channels,
        filters,
        kernel,
        grid_axes=axes,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        time=time,
        bias=draw(st.booleans()),
    )
    over_time = [window for window in layer.windows if window.is_time]
    over_grid = [window for window in layer.windows if not window.is_time]
    grid = [window.least() + draw(st.integers(0, 3)) for window in over_grid]
    steps = draw(st.integers(1, 5))
    batch, seed = draw(st.integers(1, 3)), draw(st.integers(0, 10_000))
    lengths = None
    if draw(st.booleans()):
        lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    elif over_time:
        steps += over_time[0].least()
    return {
        "layer": layer,
        "options": {"kernel": kernel, "time": time, "padding": padding, "groups": groups},
        "strides": stride if axes == 0 else (1, *stride),
        "dilations": dilation if axes == 0 else (1, *dilation),
        "x": normal(seed, batch, steps, channels, *grid),
        "lengths": lengths,
        "seed": seed,
        "dtype": draw(dtypes),
    }


def sides(size, kernel, stride, padding, dilation, *, is_time):
    """Zeros on the left and right; over time the left ones are those of a round length."""
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    if padding != "same" or not is_time:
        return reference.padding_cells(size, kernel, **options)
    left, _ = reference.padding_cells(1000 * stride, kernel, **options)
    last = (-(-size // stride) - 1) * stride + dilation * (kernel - 1)
    return left, max(last + 1 - size - left, 0)


def conv_twin(
    case,
    x,
    weight,
    bias=None,
    *,
    grad_y,
    conv=reference.conv,
    backward=reference.conv_backward,
    sides=sides,
    silenced=silenced,
):
    """The reference over time and grid at once: time is one more axis in front of the grid."""
    kernel, padding = case["options"]["kernel"], case["options"]["padding"]
    time, lengths = case["options"]["time"], case["lengths"]
    strides, dilations = case["strides"], case["dilations"]
    over_time = padding if not kernel or padding == "valid" else "same"
    rows = np.moveaxis(silenced(x, lengths), 1, 2)  # [B, C, T, *grid]
    around = [
        sides(n, k, s, p, d, is_time=axis == 0)
        for axis, (n, k, s, p, d) in enumerate(
            zip(
                rows.shape[2:],
                (time, *kernel),
                strides,
                (over_time, *[padding] * len(kernel)),
                dilations,
                strict=True,
            )
        )
    ]
    if lengths is not None:
        # A batch of short items is lengthened until the window has a place.
        missing = dilations[0] * (time - 1) + 1 - rows.shape[2] - sum(around[0])
        around[0] = (around[0][0], around[0][1] + max(missing, 0))
    padded = np.pad(rows, [(0, 0), (0, 0), *around])
    weight = weight.reshape(*weight.shape[:2], time, *kernel)
    options = {"stride": strides, "dilation": dilations, "groups": case["options"]["groups"]}
    options["padding"] = "valid"
    y = np.moveaxis(conv(padded, weight, bias, **options), 2, 1)
    left = None if lengths is None else case["layer"].out_lengths(torch.tensor(lengths)).tolist()
    grad_rows = np.moveaxis(silenced(grad_y, left), 1, 2)
    grad_x, grad_weight, grad_bias = backward(grad_rows, padded, weight, **options)
    inside = [slice(start, start + n) for (start, _), n in zip(around, rows.shape[2:], strict=True)]
    grad_x = silenced(np.moveaxis(grad_x[(..., *inside)], 2, 1), lengths)
    grad_weight = grad_weight.reshape(case["layer"].weight.shape)
    return silenced(y, left), grad_x, grad_weight, *([] if bias is None else [grad_bias])


def compare_conv(case, **parts):
    compare(case, lambda *arrays, **grad: conv_twin(*arrays, **grad, **parts))


@quick
@given(cases())
def test_conv_agrees_with_its_twin(case):  # S7 S5 S15
    compare_conv(case)


@quick
@given(cases())
def test_conv_does_to_sizes_and_lengths_what_it_says(case):
    layer, x = case["layer"], tensor(case["x"], torch.float32)
    if case["lengths"] is not None:
        return
    _, steps, channels, *grid = x.shape
    after = layer.out_layout(Layout(channels, tuple(grid), steps))
    assert layer(x).shape[1:] == (after.steps, after.channels, *after.grid)
    assert layer.out_lengths(torch.tensor([steps])).tolist() == [after.steps]


# Worked examples


def series_conv(weight, **options):
    layer = Conv(1, 1, grid_axes=0, time=len(weight), bias=False, **options)
    layer.weight.data = tensor(weight).reshape(1, 1, -1)
    return layer


def over_series(layer, values):
    return layer(tensor(values).reshape(1, -1, 1)).flatten().tolist()


def test_the_extra_cell_of_an_even_kernel_lies_on_the_right():
    assert over_series(series_conv([1, 10]), [1, 2, 3]) == [21, 32, 3]
    layer = series_conv([1, 10, 100, 1000])
    assert over_series(layer, [1, 2, 3, 4]) == [3210, 4321, 432, 43]


def test_the_kernel_is_not_flipped():
    layer = series_conv([1, 2, 3], padding="valid")
    assert over_series(layer, [1, 2, 3, 4, 5, 6]) == [14, 20, 26, 32]
    layer = Conv(1, 1, (2, 1), grid_axes=2, padding="valid", bias=False)
    layer.weight.data = tensor([[[[1], [2]]]])
    y = layer(torch.arange(10, dtype=torch.float64).reshape(1, 1, 1, 5, 2))
    assert y[0, 0, 0].tolist() == [[4, 7], [10, 13], [16, 19], [22, 25]]


def test_over_time_a_stride_starts_where_it_starts_for_every_length():
    layer = series_conv([1, 10, 100], stride=2)
    x = tensor([1, 2, 3, 4, 5, 0, 0, 0]).reshape(1, -1, 1)
    alone = layer(x[:, :5]).flatten().tolist()
    assert alone == [321, 543, 5]
    assert layer(x, torch.tensor([5])).flatten().tolist() == [*alone, 0]


@pytest.mark.parametrize("grid", [(6,), (5, 4), (3, 4, 2)])
def test_a_patch_as_large_as_the_input_is_a_dense_layer(grid):  # S8
    layer = Conv(2, 7, grid, grid_axes=len(grid), padding="valid").double()
    randomize(layer)
    dense = Dense(2 * int(np.prod(grid)), 7).double()
    dense.weight.data, dense.bias.data = layer.weight.data.flatten(1), layer.bias.data
    x = tensor(normal(1, 3, 2, 2, *grid))
    y = layer(x)
    assert y.shape == (3, 2, 7, *(1 for _ in grid))
    assert_agrees(y.flatten(2).detach(), dense(Flatten()(x)))


def test_the_worked_sizes_come_out():  # S9 S10 S11 S12 S13
    x = torch.randn(2, 1, 3, 32, 32)
    x = Conv(3, 12, 3, grid_axes=2)(x)
    assert x.shape == (2, 1, 12, 32, 32)
    x = Pool("max", 2, grid_axes=2)(torch.relu(x))
    assert x.shape == (2, 1, 12, 16, 16)
    x = Flatten()(x)
    assert x.shape == (2, 1, 3072)
    assert Dense(3072, 10)(x).shape == (2, 1, 10)


@pytest.mark.parametrize("a", [3, 5, 7])
def test_one_output_is_the_dot_product_of_a_filter_with_a_patch(a):  # S7 S9
    layer = randomize(Conv(3, 12, a, grid_axes=2).double())
    x = tensor(normal(1, 1, 1, 3, 34, 34))
    y, half = layer(x), a // 2
    patch = x[0, 0, :, 9 - half : 10 + half, 20 - half : 21 + half]
    assert_agrees(y[0, 0, 5, 9, 20].item(), (patch * layer.weight[5]).sum() + layer.bias[5])


def test_channels_last_in_memory_gives_the_same_numbers():
    layer = randomize(Conv(3, 4, 3, grid_axes=2, stride=2).double())
    x = tensor(normal(1, 2, 9, 8, 3))  # [B, H, W, C]
    x_last = x.permute(0, 3, 1, 2).unsqueeze(1)
    assert not x_last.is_contiguous()
    assert_agrees(layer(x_last).detach(), layer(x_last.contiguous()))
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    assert_agrees(layer(x_last).detach(), layer(x_last.contiguous()))


def test_the_first_weights_come_from_the_generator_alone():
    def weights(seed):
        generator = torch.Generator().manual_seed(seed)
        return Conv(3, 64, 3, grid_axes=2, generator=generator).weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    # He et al.: the variance is 2 over the number of inputs of a filter.
    assert abs(weights(1).var().item() * 27 / 2 - 1) < 0.15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": ()}, r"conv needs a kernel over the grid, for instance conv\(32, 3\)\."),
        ({"kernel": (3, 3, 3)}, "conv kernel 3x3x3 has 3 axes, not 2"),
        ({"kernel": 0}, "conv kernel must be 1 or more; got 0x0"),
        ({"filters": 0}, "conv filters must be 1 or more; got 0"),
        ({"groups": 2}, "conv groups=2 must divide both the 3 channels .* and the 4 filters"),
        ({"stride": 0}, "conv stride must be 1 or more; got 0x0"),
        ({"time": 0}, "conv time must be 1 or more; got 0"),
        ({"padding": -1}, "conv padding must be same, valid or 0 and more; got -1"),
        ({"padding": "full"}, "conv padding must be same, valid or 0 and more; got full"),
        ({"grid_axes": 3, "time": 2}, "conv can slide over 3 axes, not over time and 3 more"),
        ({"grid_axes": 0}, r"none is left; over time write conv\(4, time=3\)"),
        (
            {"grid_axes": 0, "kernel": (3, 5)},
            r"none is left; over time write conv\(4, time=3x5\)",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ShapeError, match=message):
        Conv(**({"channels": 3, "filters": 4, "kernel": 3, "grid_axes": 2} | options))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 3, 8), r"conv was built for 2 grid axes; got \(1, 1, 3, 8\), which has 1"),
        ((1, 1, 4, 8, 8), r"\[B, T, C=3, \*grid\]; got \(1, 1, 4, 8, 8\): C is 4, not 3"),
        ((3, 8), r"got \(3, 8\): 2 axes, not at least 3"),
        ((1, 1, 3, 2, 2), "a kernel of 3 with padding valid has no place on 2 cells"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shape, message):
    layer = Conv(3, 4, 3, grid_axes=2, padding="valid")
    with pytest.raises(ShapeError, match=message):
        layer(torch.zeros(shape))


# Broken twins


def kernel_flipped(x, weight, bias, **options):
    flipped = np.flip(weight, axis=tuple(range(2, weight.ndim)))
    return reference.conv(x, flipped, bias, **options)


def bias_forgotten(x, weight, bias, **options):
    return reference.conv(x, weight, **options)


def stride_of_the_last_axis_everywhere(x, weight, bias, *, stride, **options):
    return reference.conv(x, weight, bias, stride=stride[-1], **options)


def first_example_only(grad_y, x, weight, **options):
    grad_x, _, grad_bias = reference.conv_backward(grad_y, x, weight, **options)
    return grad_x, reference.conv_backward(grad_y[:1], x[:1], weight, **options)[1], grad_bias


def padding_of_the_length_itself(size, *window, is_time):
    return sides(size, *window, is_time=False)


def extra_cell_on_the_left(size, *window, is_time):
    left, right = sides(size, *window, is_time=is_time)
    return right, left


def padding_left_as_it_is(values, lengths):
    return np.array(values)


@pytest.mark.parametrize(
    "parts",
    [
        {"conv": kernel_flipped},
        {"conv": bias_forgotten},
        {"conv": stride_of_the_last_axis_everywhere},
        {"backward": first_example_only},
        {"sides": padding_of_the_length_itself},
        {"sides": extra_cell_on_the_left},
        {"silenced": padding_left_as_it_is},
    ],
    ids=lambda parts: next(iter(parts.values())).__name__,
)
def test_a_wrong_conv_is_caught(parts):
    catches(compare_conv, cases(), **parts)


def test_steps_are_convolved_each_alone_where_time_is_1():
    layer = randomize(Conv(2, 3, 3, grid_axes=2).double())
    x = tensor(normal(1, 2, 4, 2, 5, 5))
    y = layer(steps_in_the_batch(x)[:, None])
    assert_agrees(layer(x).detach().reshape(8, 1, 3, 5, 5), y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv(1, 8, 3, grid_axes=2), (4, 1, 1, 6, 5)),
        (Conv(1, 8, (3, 2), stride=2, grid_axes=2, bias=False), (4, 2, 1, 9, 8)),
    ],
)
def test_behind_one_channel_channels_lie_last(layer, shape, dtype):
    y = layer.to(dtype)(torch.ones(shape, dtype=dtype))
    folded = y.flatten(0, 1)
    assert folded.is_contiguous(memory_format=torch.channels_last)
    assert not folded.is_contiguous()


SHAPES = [
    (channels, size, options)
    for channels in (1, 2, 3, 4, 6, 8, 12, 14, 16)
    for size in (3, 4, 8, 16, 32)
    for options in ({}, {"stride": 2}, {"dilation": 2}, {"groups": channels})
]


@pytest.mark.parametrize("is_read_in_parts", [False, True])
def test_in_bfloat16_it_is_the_same_convolution_whatever_the_sizes(is_read_in_parts):
    """With AMX some came out as something else: 8 channels under a window of 8, 4 under 16 ..."""
    for channels, size, options in SHAPES:
        layer = Conv(channels, 2 * channels, grid_axes=0, time=size, **options)
        layer.reads_values = is_read_in_parts
        x = torch.from_numpy(normal(0, 2, 70, channels)).float()
        wanted = layer(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = layer(x)
        assert found.dtype == torch.bfloat16
        apart = (found - wanted).abs().max() / wanted.std()
        assert apart < 0.1, (channels, size, options)


@pytest.mark.parametrize(("channels", "size"), [(8, 8), (4, 16), (12, 8), (2, 32)])
@pytest.mark.parametrize("axes", [0, 1, 2])
def test_what_a_processor_gets_wrong_is_formed_in_float32(monkeypatch, channels, size, axes):
    kernel = {0: (), 1: (size,), 2: (2, size)}[axes]
    layer = Conv(channels, 3, kernel, grid_axes=axes, time=1 if axes else size)
    seen = []

    def slid(x, *arguments, **options):
        seen.append((x.dtype, torch.is_autocast_enabled("cpu")))
        return torch.nn.functional.conv2d(x, *arguments, **options)

    monkeypatch.setitem(conv.CONVOLUTIONS, max(axes, 1), slid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(torch.ones(1, 40, channels, *(40,) * axes))
        assert seen == [(torch.float32, False)]
        Conv(16, 3, grid_axes=0, time=8)(torch.ones(1, 40, 16))
    assert axes == 2 or seen[1:] == [(torch.float32, True)]


OTHERS = [
    (Conv(6, 3, (2, 2), stride=2, padding=1, grid_axes=2), (1, 3, 6, 1, 1)),
    (Conv(5, 8, 3, stride=3, grid_axes=1), (2, 3, 5, 3)),
    (Conv(8, 4, 3, stride=2, grid_axes=1, time=3, padding="valid"), (2, 8, 8, 3)),
    (Conv(5, 33, (5, 3), grid_axes=2, time=3), (1, 1, 5, 1, 5)),
    (Conv(8, 1, (2, 3), grid_axes=2, time=3, dilation=2, padding=1), (2, 20, 8, 1, 20)),
]


@pytest.mark.parametrize(("layer", "shape"), OTHERS)
def test_in_bfloat16_gradients_are_those_of_the_same_convolution(layer, shape):
    """With AMX these came out wrong, forward or backward, and the last one crashed."""
    x = torch.from_numpy(normal(0, *shape)).float().requires_grad_()
    y = layer(x)
    grad_y = torch.from_numpy(normal(1, *y.shape)).float()
    wanted = torch.autograd.grad(y, [x, layer.weight], grad_y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = layer(x)
    found = torch.autograd.grad(low, [x, layer.weight], grad_y.to(low.dtype))
    for one, other in zip([low, *found], [y, *wanted], strict=True):
        size = other.square().mean().sqrt()
        assert (one.float() - other).abs().max() <= 0.1 * size


def test_where_a_processor_is_wrong():
    wrong = {(8, 8), (8, 12), (4, 16), (4, 24), (12, 8), (6, 16), (2, 32), (3, 32), (15, 32)}
    right = {(4, 8), (8, 4), (16, 4), (16, 8), (32, 8), (9, 8), (1, 32), (3, 8)}
    assert all(conv.is_miscounted(*each) for each in wrong)
    assert not any(conv.is_miscounted(*each) for each in right)
