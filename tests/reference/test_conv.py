"""The convolution of the reference against PyTorch, worked examples, differences, broken twins."""

import math

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from gridcell.reference import (
    conv,
    conv_backward,
    dense,
    max_pool,
    padding_cells,
    relu,
    softmax,
)

from .comparison import (
    assert_agrees,
    assert_all_agree,
    autograd,
    catches,
    differences,
    leaf,
    normal,
    quick,
)

# PyTorch says that its own "same" copies the input for even kernels; no matter here.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

TORCH_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@st.composite
def cases(draw):
    axes = draw(st.integers(1, 3))
    one_each = st.tuples(*[st.integers(1, 3)] * axes)
    kernel = draw(st.tuples(*[st.integers(1, 4 if axes < 3 else 3)] * axes))
    stride, dilation = draw(one_each), draw(one_each)
    padding = draw(st.sampled_from(["same", "same", "valid", 0, 1, 2]))
    grid = []
    for k, d in zip(kernel, dilation, strict=True):
        around = 2 * padding if isinstance(padding, int) else 0
        least = 1 if padding == "same" else max(1, d * (k - 1) + 1 - around)
        grid.append(least + draw(st.integers(0, 4)))
    groups = draw(st.integers(1, 3))
    channels, filters = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    batch, seed = draw(st.integers(1, 2)), draw(st.integers(0, 10_000))
    return {
        "x": normal(seed, batch, channels, *grid),
        "weight": normal(seed + 1, filters, channels // groups, *kernel),
        "bias": normal(seed + 2, filters),
        "seed": seed,
        "options": {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    }


def torch_conv(x, weight, bias, *, stride, padding, dilation, groups):
    kernel = weight.shape[2:]
    if padding == "same" and set(stride) == {1}:
        native = "same"
    elif padding == "same":
        # TensorFlow writes its rule with a remainder; another form than the one under test.
        sides = []
        for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
            covers = (k - 1) * d + 1
            total = max(covers - (s if n % s == 0 else n % s), 0)
            sides.insert(0, (total // 2, total - total // 2))  # F.pad begins with the last axis
        x, native = F.pad(x, [cells for side in sides for cells in side]), 0
    else:
        native = 0 if padding == "valid" else padding
    layer = TORCH_CONV[len(kernel)]
    return layer(x, weight, bias, stride, padding=native, dilation=dilation, groups=groups)


def compare(case, forward=conv, backward=conv_backward):
    x, weight, bias = leaf(case["x"]), leaf(case["weight"]), leaf(case["bias"])
    options = case["options"]
    y = torch_conv(x, weight, bias, **options)
    assert_agrees(forward(case["x"], case["weight"], case["bias"], **options), y)
    grad_y = normal(case["seed"] + 3, *y.shape)
    gradients = backward(grad_y, case["x"], case["weight"], **options)
    assert_all_agree(gradients, autograd(y, grad_y, x, weight, bias))


@quick
@given(cases())
def test_conv_agrees_with_pytorch(case):  # S7
    compare(case)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "valid", "stride": 2},
        {"stride": 2, "dilation": 2, "groups": 2},
        {"padding": 2, "stride": (2, 1), "dilation": (1, 2)},
    ],
)
def test_conv_gradients_agree_with_differences(options):
    x, bias = normal(1, 2, 4, 5, 4), normal(3, 2)
    weight = normal(2, 2, 4 // options.get("groups", 1), 2, 3)
    if options.get("padding") == "valid":
        weight = weight[..., :2]
    grad_y = normal(4, *conv(x, weight, bias, **options).shape)
    wanted = [
        differences(lambda x: conv(x, weight, bias, **options), x, grad_y),
        differences(lambda weight: conv(x, weight, bias, **options), weight, grad_y),
        differences(lambda bias: conv(x, weight, bias, **options), bias, grad_y),
    ]
    assert_all_agree(conv_backward(grad_y, x, weight, **options), wanted, tolerance=1e-7)


# Worked examples


def test_padding_goes_to_the_right_for_even_kernels():
    assert conv([[[1, 2, 3]]], [[[1, 10]]]).tolist() == [[[21, 32, 3]]]
    y = conv([[[1, 2, 3, 4]]], [[[1, 10, 100, 1000]]])
    assert y.tolist() == [[[3210, 4321, 432, 43]]]


def test_same_with_a_stride_gives_the_ceiling_and_pads_as_tensorflow_does():
    assert padding_cells(224, 7, stride=2) == (2, 3)
    assert padding_cells(6, 3, stride=2) == (0, 1)
    assert conv(np.ones((1, 1, 224)), np.ones((1, 1, 7)), stride=2).shape == (1, 1, 112)
    y = conv([[[1, 2, 3, 4, 5, 6]]], [[[1, 10, 100]]], stride=2)
    assert y.tolist() == [[[321, 543, 65]]]


@quick
@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 5), st.integers(1, 3))
def test_same_gives_the_ceiling_of_size_over_stride(size, kernel, stride, dilation):
    y = conv(np.ones((1, 1, size)), np.ones((1, 1, kernel)), stride=stride, dilation=dilation)
    assert y.shape == (1, 1, math.ceil(size / stride))
    left, right = padding_cells(size, kernel, stride=stride, dilation=dilation)
    assert left <= right <= left + 1


def test_the_kernel_is_not_flipped():
    x = np.arange(10).reshape(1, 1, 5, 2)
    y = conv(x, [[[[1], [2]]]], padding="valid")
    assert y.tolist() == [[[[4, 7], [10, 13], [16, 19], [22, 25]]]]
    x, weight = [[[1, 2, 3, 4, 5, 6]]], np.array([[[1, 2, 3]]])
    assert conv(x, weight, padding="valid").tolist() == [[[14, 20, 26, 32]]]
    # The convolution of mathematics, for who wants it: flip the kernel.
    assert conv(x, weight[:, :, ::-1], padding="valid").tolist() == [[[10, 16, 22, 28]]]
    assert np.convolve(np.ravel(x), weight.ravel(), mode="valid").tolist() == [10, 16, 22, 28]


@pytest.mark.parametrize("grid", [(6,), (5, 4), (3, 4, 2)])
def test_a_patch_as_large_as_the_image_is_a_fully_connected_layer(grid):  # S8
    x, weight, bias = normal(1, 3, 2, *grid), normal(2, 7, 2, *grid), normal(3, 7)
    y = conv(x, weight, bias, padding="valid")
    assert y.shape == (3, 7, *(1 for _ in grid))
    assert_agrees(y.reshape(3, 7), dense(x.reshape(3, -1), weight.reshape(7, -1), bias))


def test_the_worked_sizes_come_out():  # S9 S10 S11 S12 S13 S3
    x = normal(1, 1, 3, 32, 32)
    y = conv(x, normal(2, 12, 3, 3, 3), np.zeros(12))
    assert y.shape == (1, 12, 32, 32)
    y = relu(y)
    assert y.shape == (1, 12, 32, 32)
    y = max_pool(y, 2, stride=2)
    assert y.shape == (1, 12, 16, 16)
    y = y.reshape(1, -1)
    assert y.shape == (1, 3072)
    y = softmax(dense(y, normal(3, 10, 3072) / 100, np.zeros(10)))
    assert y.shape == (1, 10)
    assert_agrees(y.sum(), 1.0)


@pytest.mark.parametrize("a", [3, 5, 7])
def test_a_filter_on_34x34x3_may_be_3_5_or_7_wide(a):  # S9
    x, weight = normal(1, 1, 3, 34, 34), normal(2, 1, 3, a, a)
    assert conv(x, weight).shape == (1, 1, 34, 34)
    y = conv(x, weight, padding="valid")
    assert y.shape == (1, 1, 35 - a, 35 - a)
    # S7: one number is the dot product of the filter, as deep as the input, with a patch.
    assert_agrees(y[0, 0, 4, 9], np.sum(x[0, :, 4 : 4 + a, 9 : 9 + a] * weight[0]))


def test_the_same_filter_serves_every_position():  # S7
    x = np.zeros((1, 1, 12, 12))
    x[0, 0, 3, 4] = 1.0
    weight = normal(2, 1, 1, 3, 3)
    moved = np.roll(x, (2, 5), axis=(2, 3))
    assert_agrees(conv(moved, weight), np.roll(conv(x, weight), (2, 5), axis=(2, 3)))


def shrunk(size):
    """The trail of sizes through 4 blocks of a 3x3 convolution without padding and a 2x2 pool."""
    x, sizes = np.ones((1, 1, size, size)), [size]
    for _ in range(4):
        x = conv(x, np.ones((1, 1, 3, 3)), padding="valid")
        sizes.append(x.shape[-1])
        x = max_pool(x / 9, 2)
        sizes.append(x.shape[-1])
    return sizes


def test_46_is_the_smallest_image_that_four_blocks_can_shrink():
    assert shrunk(46) == [46, 44, 22, 20, 10, 8, 4, 2, 1]
    with pytest.raises(
        ValueError, match=r"pool window doesn't fit grid axis 0: window 2.* 1 cells"
    ):
        shrunk(45)


def test_an_input_smaller_than_the_kernel_is_refused_with_kernel_input_and_padding():
    with pytest.raises(ValueError) as caught:
        conv(np.ones((1, 1, 2, 2)), np.ones((2, 1, 3, 3)), padding="valid")
    assert str(caught.value) == (
        "conv kernel doesn't fit grid axis 0: kernel 3 with dilation 1 covers 3 cells; "
        "the input has 2, with padding 0 + 2 + 0.\n"
        "  Fix: a smaller kernel, padding='same', or an input of at least 3 cells."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": np.ones((2, 4))}, r"conv weight must be \[F, 4, \*kernel\].*got \(2, 4\)"),
        ({"weight": np.ones((2, 3, 3))}, r"for 4 channels in 1 groups; got \(2, 3, 3\)"),
        ({"groups": 3}, "groups must divide channels and filters; got groups 3 for 4 channels"),
        ({"bias": np.ones(3)}, r"conv bias must be \[F=2\]; got \(3,\)"),
        ({"x": np.ones((4, 9))}, r"conv input must be \[N, C, \*grid\].*got \(4, 9\)"),
        ({"padding": "full"}, "padding must be 'same', 'valid' or a number from 0 on; got 'full'"),
        ({"padding": -1}, "padding must be at least 0; got -1"),
        ({"stride": 0}, "stride must be at least 1; got 0"),
        ({"dilation": (1, 1)}, r"dilation must be one number or 1, one a grid axis; got \(1, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    arguments = {"x": np.ones((1, 4, 9)), "weight": np.ones((2, 4, 3)), "bias": np.ones(2)}
    with pytest.raises(ValueError, match=message):
        conv(**(arguments | options))


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 2, 9\); got \(1, 2, 1\)"):
        conv_backward(np.ones((1, 2, 1)), np.ones((1, 4, 9)), np.ones((2, 4, 3)))


def test_an_example_is_the_same_alone_and_in_a_batch():
    x, weight, bias = normal(1, 4, 2, 6, 5), normal(2, 3, 2, 3, 2), normal(3, 3)
    alone = [conv(x[n : n + 1], weight, bias, stride=2) for n in range(4)]
    assert_agrees(conv(x, weight, bias, stride=2), np.concatenate(alone))


def test_nan_reaches_only_the_outputs_whose_kernel_covers_it():
    x = np.zeros((1, 1, 7))
    x[0, 0, 3] = np.nan
    y = conv(x, np.ones((1, 1, 3)))
    assert np.isnan(y[0, 0]).tolist() == [False, False, True, True, True, False, False]


# Broken twins of conv


def kernel_flipped(x, weight, bias, **options):
    return conv(x, np.flip(weight, axis=tuple(range(2, weight.ndim))), bias, **options)


def axes_of_the_kernel_swapped(x, weight, bias, **options):
    if weight.ndim > 3 and weight.shape[-2] == weight.shape[-1]:
        weight = weight.swapaxes(-2, -1)
    return conv(x, weight, bias, **options)


def padded_by(rule):
    """A conv that pads "same" by another rule: (left, right, stride) -> (left, right)."""

    def twin(x, weight, bias, *, stride, padding, dilation, groups):
        if padding == "same":
            sides = []
            for n, k, s, d in zip(x.shape[2:], weight.shape[2:], stride, dilation, strict=True):
                left, right = padding_cells(n, k, stride=s, dilation=d)
                sides.append(rule(left, right, s))
            x, padding = np.pad(x, ((0, 0), (0, 0), *sides)), "valid"
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return conv(x, weight, bias, **options)

    return twin


PADDINGS = {
    "as it should be": lambda left, right, stride: (left, right),
    "extra cell on the left": lambda left, right, stride: (right, left),
    "extra cell on the left under a stride": (
        lambda left, right, stride: (right, left) if stride > 1 else (left, right)
    ),
    "all of it on the right": lambda left, right, stride: (0, left + right),
}


def edge_repeated_instead_of_zeros(x, weight, bias, *, padding, **options):
    if isinstance(padding, int):
        around = [(padding, padding)] * (x.ndim - 2)
        x, padding = np.pad(x, ((0, 0), (0, 0), *around), mode="edge"), 0
    return conv(x, weight, bias, padding=padding, **options)


def bias_forgotten(x, weight, bias, **options):
    return conv(x, weight, **options)


def stride_of_the_first_axis_everywhere(x, weight, bias, *, stride, **options):
    return conv(x, weight, bias, stride=stride[0], **options)


def dilation_ignored(x, weight, bias, *, dilation, **options):
    return conv(x, weight, bias, dilation=1, **options)


def groups_interleaved(x, weight, bias, *, groups, **options):
    order = np.arange(x.shape[1]).reshape(-1, groups).T.ravel()
    return conv(x[:, order], weight, bias, groups=groups, **options)


@pytest.mark.parametrize(
    "twin",
    [
        kernel_flipped,
        axes_of_the_kernel_swapped,
        edge_repeated_instead_of_zeros,
        bias_forgotten,
        stride_of_the_first_axis_everywhere,
        dilation_ignored,
        groups_interleaved,
    ],
)
def test_a_wrong_conv_is_caught(twin):
    catches(compare, cases(), forward=twin)


@quick
@given(cases())
def test_the_frame_of_the_padding_twins_is_sound(case):
    compare(case, forward=padded_by(PADDINGS["as it should be"]))


@pytest.mark.parametrize("name", [name for name in PADDINGS if name != "as it should be"])
def test_padding_on_the_wrong_side_is_caught(name):
    catches(compare, cases(), forward=padded_by(PADDINGS[name]))


# Broken twins of conv_backward


def input_gradient_through_the_flipped_kernel(grad_y, x, weight, **options):
    _, grad_weight, grad_bias = conv_backward(grad_y, x, weight, **options)
    flipped = np.flip(weight, axis=tuple(range(2, weight.ndim)))
    return conv_backward(grad_y, x, flipped, **options)[0], grad_weight, grad_bias


def input_gradient_without_the_padding_taken_off(grad_y, x, weight, **options):
    grad_x, grad_weight, grad_bias = conv_backward(grad_y, x, weight, **options)
    return np.roll(grad_x, 1, axis=-1), grad_weight, grad_bias


def weight_gradient_of_the_first_example(grad_y, x, weight, **options):
    grad_x, _, grad_bias = conv_backward(grad_y, x, weight, **options)
    return grad_x, conv_backward(grad_y[:1], x[:1], weight, **options)[1], grad_bias


def weight_gradient_flipped(grad_y, x, weight, **options):
    grad_x, grad_weight, grad_bias = conv_backward(grad_y, x, weight, **options)
    return grad_x, np.flip(grad_weight, axis=-1), grad_bias


def bias_gradient_forgotten(grad_y, x, weight, **options):
    grad_x, grad_weight, grad_bias = conv_backward(grad_y, x, weight, **options)
    return grad_x, grad_weight, np.zeros_like(grad_bias)


def bias_gradient_averaged_over_the_grid(grad_y, x, weight, **options):
    grad_x, grad_weight, _ = conv_backward(grad_y, x, weight, **options)
    return grad_x, grad_weight, grad_y.mean(axis=tuple(range(2, grad_y.ndim))).sum(axis=0)


@pytest.mark.parametrize(
    "twin",
    [
        input_gradient_through_the_flipped_kernel,
        input_gradient_without_the_padding_taken_off,
        weight_gradient_of_the_first_example,
        weight_gradient_flipped,
        bias_gradient_forgotten,
        bias_gradient_averaged_over_the_grid,
    ],
)
def test_a_wrong_gradient_of_conv_is_caught(twin):
    catches(compare, cases(), backward=twin)
