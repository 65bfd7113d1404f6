"""What every layer owes its padding: nothing in it can be noticed anywhere."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers import (
    LSTM,
    RNN,
    Activation,
    BatchNorm,
    Chain,
    Conv,
    Dense,
    Dropout,
    Each,
    Embed,
    Flatten,
    GlobalPool,
    Last,
    LayerNorm,
    LeakyReLU,
    Max,
    Mean,
    Normalize,
    Parallel,
    Pool,
    Residual,
    Softmax,
    mask_steps,
    valid_steps,
)
from gridcell.layers.lengths import at_least

from ..reference.comparison import normal, quick
from .checks import (
    assert_padding_changes_nothing,
    assert_same_alone_and_in_a_batch,
    randomize,
    tensor,
)

STEPS, CHANNELS = 6, 4

# Layers by their grid axes. These silence the padding.
SILENCING = {
    "conv of each step": (2, lambda: Conv(4, 3, 3, grid_axes=2)),
    "conv of each step, no bias": (2, lambda: Conv(4, 3, 3, grid_axes=2, bias=False)),
    "conv over time": (0, lambda: Conv(4, 3, grid_axes=0, time=3)),
    "conv over time, strided": (0, lambda: Conv(4, 3, grid_axes=0, time=4, stride=3)),
    "conv over time, valid": (
        0,
        lambda: Conv(4, 3, grid_axes=0, time=3, padding="valid", stride=2),
    ),
    "conv over time, padded": (0, lambda: Conv(4, 2, grid_axes=0, time=2, padding=2, groups=2)),
    "conv over grid and time": (2, lambda: Conv(4, 3, 3, grid_axes=2, time=3, stride=2)),
    "conv over grid and time, valid": (
        1,
        lambda: Conv(4, 3, 2, grid_axes=1, time=2, padding="valid"),
    ),
    "maxpool of each step": (2, lambda: Pool("max", 2, grid_axes=2)),
    "maxpool over time": (0, lambda: Pool("max", grid_axes=0, time=2)),
    "maxpool over time, overlapping": (0, lambda: Pool("max", grid_axes=0, time=3, stride=1)),
    "avgpool over grid and time": (1, lambda: Pool("mean", 2, grid_axes=1, time=2)),
    "dense": (0, lambda: Dense(4, 3)),
    "batchnorm": (1, lambda: BatchNorm(4)),
    "batchnorm in evaluation": (1, lambda: BatchNorm(4).eval()),
    "layernorm": (0, lambda: LayerNorm(4)),
    "layernorm over a grid": (2, lambda: LayerNorm(4)),
    "normalize": (2, lambda: Normalize(torch.ones(4), torch.full((4,), 2.0))),
    "sigmoid": (1, lambda: Activation("sigmoid")),
    "softmax": (1, lambda: Softmax()),
    "last": (0, lambda: Last()),
    "mean": (0, lambda: Mean()),
    "max": (0, lambda: Max()),
    "chain": (
        0,
        lambda: Chain([Conv(4, 4, grid_axes=0, time=3), BatchNorm(4), Activation("tanh"), Mean()]),
    ),
    "residual": (
        1,
        lambda: Residual(Chain([Conv(4, 3, 3, grid_axes=1, time=3)]), Layout(4, (4,))),
    ),
    "residual over time": (
        0,
        lambda: Residual(Chain([Conv(4, 4, grid_axes=0, time=3, stride=2)]), Layout(4)),
    ),
    "parallel of mean and max": (0, lambda: Parallel([Chain([Mean()]), Chain([Max()])])),
    "parallel": (
        0,
        lambda: Parallel(
            [Chain([Last()]), Chain([Conv(4, 2, grid_axes=0, time=2), Activation("relu"), Mean()])]
        ),
    ),
}
# These look at each number, or each step, alone and leave the padding as it is.
INDIFFERENT = {
    **{
        name: (1, lambda name=name: Activation(name))
        for name in ("relu", "tanh", "elu", "gelu", "silu")
    },
    "leaky_relu": (1, lambda: LeakyReLU(0.1)),
    "dropout": (1, lambda: Dropout(0.5)),
    "flatten": (2, lambda: Flatten()),
    "globalpool": (2, lambda: GlobalPool()),
    "each": (0, lambda: Each()),
    "residual around relu": (
        1,
        lambda: Residual(Chain([Activation("relu")]), Layout(4, (4,))),
    ),
}
EVERY = SILENCING | INDIFFERENT
LENGTHS = [[6, 2, 5], [3, 0, 4], [1, 6, 0], [2, 2, 1]]


def made(name, *, seed=0):
    axes, make = EVERY[name]
    layer = randomize(make().double())
    return layer, tensor(normal(seed, 3, STEPS, CHANNELS, *(4, 5)[:axes]))


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("name", EVERY)
def test_padding_changes_nothing(name, lengths):
    layer, x = made(name)
    silences = name in SILENCING
    assert_padding_changes_nothing(layer, x, torch.tensor(lengths), silences=silences)


@pytest.mark.parametrize("name", EVERY)
def test_alone_or_in_a_batch(name):
    for seed, lengths in enumerate(LENGTHS):
        layer, x = made(name, seed=seed)
        assert_same_alone_and_in_a_batch(layer, x, torch.tensor(lengths))


@pytest.mark.parametrize("name", EVERY)
def test_full_lengths_are_no_lengths(name):
    layer, x = made(name)
    layer.eval()
    lengths = torch.full((len(x),), STEPS)
    torch.testing.assert_close(layer(x, lengths), layer(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_items_of_length_0_give_0(name):
    layer, x = made(name)
    y = layer.eval()(torch.zeros_like(x), torch.zeros(len(x), dtype=torch.int64))
    assert not y.any()


@pytest.mark.parametrize("name", EVERY)
def test_lengths_of_either_kind_are_read(name):
    layer, x = made(name)
    layer.eval()
    x = mask_steps(x, torch.tensor([4, 0, 6]))
    wanted = layer(x, torch.tensor([4, 0, 6]))
    assert torch.equal(layer(x, torch.tensor([4, 0, 6], dtype=torch.int32)), wanted)


WRONG = [
    (torch.tensor([6, -1, 3]), r"lengths\[1\] is -1: it must be 0 to 6, the steps that"),
    (torch.tensor([6, 3, 7]), r"lengths\[2\] is 7: it must be 0 to 6, the steps that"),
    (torch.tensor([6, 3]), r"lengths must be int64 or int32 \[B=3\]; got int64 \(2,\)"),
    (torch.tensor([[6, 3, 1]]), r"must be int64 or int32 \[B=3\]; got int64 \(1, 3\)"),
    (torch.tensor([6.0, 3.0, 1.0]), r"must be int64 or int32 \[B=3\]; got float32 \(3,\)"),
    (torch.tensor([True, True, False]), r"must be int64 or int32 \[B=3\]; got bool \(3,\)"),
    # In 8 bits 0 - 1 is 255.
    (torch.tensor([6, 3, 0], dtype=torch.uint8), r"\[B=3\]; got uint8 \(3,\)"),
]


@pytest.mark.parametrize(("lengths", "message"), WRONG, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("name", SILENCING)
def test_wrong_lengths_are_refused(name, lengths, message):
    layer, x = made(name)
    with pytest.raises(ShapeError, match=message):
        layer(x, lengths)


@pytest.mark.parametrize(("lengths", "message"), WRONG, ids=lambda value: str(value)[:20])
def test_embed_refuses_wrong_lengths(lengths, message):
    with pytest.raises(ShapeError, match=f"embed {message}" if "lengths" in message else message):
        Embed(5, 2)(torch.zeros(3, 6, dtype=torch.int64), lengths)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_agree_with_differences(name):
    layer, x = made(name)
    layer = layer.eval() if "dropout" in name else layer
    lengths = torch.tensor([3, 0, 2])
    x, parameters = x[:, :3].clone().requires_grad_(), tuple(layer.parameters())

    def function(x, *_):
        return layer(x, lengths)

    # Random directions instead of every entry: as strict on a fault, and a tenth of the time.
    assert torch.autograd.gradcheck(function, (x, *parameters), fast_mode=True)


@quick
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_masking_keeps_valid_steps_and_nothing_else(lengths):
    x = tensor(normal(1, len(lengths), 5, 2, 3))
    y = mask_steps(x, torch.tensor(lengths))
    for item, length in enumerate(lengths):
        assert torch.equal(y[item, :length], x[item, :length])
        assert not y[item, length:].any()
        assert valid_steps(torch.tensor(lengths), 5)[item].tolist() == [
            step < length for step in range(5)
        ]
    assert mask_steps(x, None) is x


def test_masking_keeps_the_type():
    for dtype in (torch.uint8, torch.int64, torch.float16):
        assert mask_steps(torch.ones(1, 2, dtype=dtype), torch.tensor([1])).dtype == dtype


def test_lengthening_adds_zeros_at_the_end():
    x = tensor(normal(1, 2, 3, 4))
    assert at_least(x, 3) is x
    y = at_least(x, 5)
    assert torch.equal(y[:, :3], x) and y.shape == (2, 5, 4) and not y[:, 3:].any()


# The checks can fail


class Careless(Dense):
    """A dense layer that forgets its lengths."""

    def forward(self, x, lengths=None):
        return super().forward(x)


class Reckless(Conv):
    """A convolution over time that silences what comes out, but not what goes in."""

    def forward(self, x, lengths=None):
        return mask_steps(super().forward(x), self.out_lengths(lengths))


class Hasty(Last):
    """The last step of the batch for all."""

    def forward(self, x, lengths=None):
        return x[:, -1]


class Levelled(Max):
    """The largest value, where padding that was silenced counts as a 0."""

    def forward(self, x, lengths=None):
        return mask_steps(x, lengths).amax(1)


BROKEN = [Careless(4, 3), Reckless(4, 3, grid_axes=0, time=3), Hasty()]


@pytest.mark.parametrize("layer", BROKEN, ids=lambda layer: type(layer).__name__)
def test_a_layer_that_lets_the_padding_through_is_caught(layer):
    x = tensor(normal(1, 3, STEPS, CHANNELS))
    with pytest.raises(AssertionError):
        assert_padding_changes_nothing(randomize(layer.double()), x, torch.tensor([6, 2, 5]))


@pytest.mark.parametrize("layer", [*BROKEN[1:], Levelled()], ids=lambda layer: type(layer).__name__)
def test_a_layer_that_reads_its_batch_mates_is_caught(layer):
    x = tensor(normal(1, 3, STEPS, CHANNELS))
    with pytest.raises(AssertionError):
        assert_same_alone_and_in_a_batch(randomize(layer.double()), x, torch.tensor([6, 2, 5]))


@pytest.mark.parametrize("layer", [LSTM(3, 4), RNN(3, 4), Conv(3, 4, grid_axes=0, time=3), Mean()])
@pytest.mark.parametrize("lengths", [np.array([5, 3]), [5, 3]])
def test_lengths_that_are_no_tensor_are_named(layer, lengths):
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(2, 5, 3), lengths)
    assert f"lengths must be a tensor; got {type(lengths).__name__}." in caught.value.message
    assert caught.value.fix == "torch.as_tensor(lengths)."
