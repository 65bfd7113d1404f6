"""Normalization against its NumPy twins: outputs, gradients, running statistics; broken twins."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell import reference
from gridcell.errors import ShapeError
from gridcell.layers import BatchNorm, LayerNorm, Normalize, valid_steps

from ..reference.comparison import assert_agrees, catches, normal, quick
from .checks import compare, dtypes, randomize, run, silenced, tensor


@st.composite
def cases(draw, kind):
    channels, batch, steps = (
        draw(st.integers(1, 3)),
        draw(st.integers(2, 4)),
        draw(st.integers(1, 4)),
    )
    grid = draw(st.lists(st.integers(1, 3), max_size=3))
    has_time, seed = draw(st.booleans()) or kind is Normalize, draw(st.integers(0, 999))
    dtype, lengths = draw(dtypes), None
    # One value alone has variance 0, and what is left of it is rounding divided by sqrt(eps).
    epsilons = st.sampled_from([1e-5, 1e-3, 0.5] if dtype == torch.float64 else [0.1, 0.5])
    if has_time and draw(st.booleans()):
        lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
        # Two valid steps, so that a batch has a variance.
        lengths[:2] = [max(length, 1) for length in lengths[:2]]
    if kind is BatchNorm:
        layer = BatchNorm(
            channels,
            momentum=draw(st.sampled_from([0.0, 0.1, 0.7, 1.0])),
            eps=draw(epsilons),
        ).train(draw(st.booleans()))
    elif kind is LayerNorm:
        layer = LayerNorm(channels, eps=draw(epsilons))
    else:
        layer = Normalize(tensor(normal(seed, channels)), tensor(normal(seed + 1, channels)) ** 2)
    shape = (batch, steps, channels, *grid) if has_time else (batch, channels)
    return {
        "layer": layer,
        "x": draw(st.sampled_from([0.0, 2.0])) + 3 * normal(seed, *shape),
        "lengths": lengths,
        "seed": seed,
        "dtype": dtype,
    }


def valid(case, x):
    if x.ndim == 2:
        return None
    lengths = [x.shape[1]] * len(x) if case["lengths"] is None else case["lengths"]
    return valid_steps(torch.tensor(lengths), x.shape[1]).numpy()


def channels_second(values):
    """[B, T, C, *grid] -> [B, C, T, *grid]; [B, D] stays."""
    return values if values.ndim == 2 else np.moveaxis(values, 1, 2)


def batchnorm_twin(case, x, scale, shift, *, grad_y, fault=None):
    layer = randomize(deepcopy(case["layer"]), case["seed"]).to(case["dtype"])
    options = {"epsilon": layer.eps, "valid": valid(case, x)}
    if fault == "padding counted":
        options["valid"] = None
    if fault == "epsilon forgotten":
        options["epsilon"] = 0.0
    x, grad_y = channels_second(x), channels_second(grad_y)
    if layer.training or fault == "the batch's own statistics":
        y = reference.batchnorm(x, scale, shift, **options)
        gradients = reference.batchnorm_backward(grad_y, x, scale, **options)
    else:
        options["mean"] = layer.running_mean.double().numpy()
        options["variance"] = layer.running_variance.double().numpy()
        y = reference.batchnorm_evaluation(x, scale, shift, **options)
        gradients = reference.batchnorm_evaluation_backward(grad_y, x, scale, **options)
    grad_x, *others = gradients
    return channels_second(y), channels_second(grad_x), *others


def compare_batchnorm(case, **parts):
    compare(case, lambda *arrays, **grad: batchnorm_twin(*arrays, **grad, **parts))


def compare_statistics(case, statistics=reference.running_statistics):
    layer = randomize(deepcopy(case["layer"]).double().train(), case["seed"])
    before = [layer.running_mean.numpy().copy(), layer.running_variance.numpy().copy()]
    lengths = None if case["lengths"] is None else torch.tensor(case["lengths"])
    layer(tensor(case["x"]), lengths)
    options = {"momentum": layer.momentum, "valid": valid(case, case["x"])}
    mean, variance = statistics(channels_second(case["x"]), *before, **options)
    assert_agrees(mean, layer.running_mean)
    assert_agrees(variance, layer.running_variance)


def layernorm_twin(case, x, scale, shift, *, grad_y, over_the_grid=True):
    """The values of a step in a row, [C * cells], with the scale of their channel each."""
    shape, cells = x.shape, int(np.prod(x.shape[3:]))
    channels = shape[1] if x.ndim == 2 else shape[2]
    x, grad_y = silenced(x, case["lengths"]), silenced(grad_y, case["lengths"])

    def rows(values):
        if over_the_grid:
            return values.reshape(-1, channels * cells)
        return np.moveaxis(values.reshape(-1, channels, cells), 1, 2).reshape(-1, channels)

    scale, shift = (np.repeat(v, cells if over_the_grid else 1) for v in (scale, shift))
    epsilon = case["layer"].eps
    y = reference.layernorm(rows(x), scale, shift, epsilon=epsilon)
    grad_x, *others = reference.layernorm_backward(rows(grad_y), rows(x), scale, epsilon=epsilon)
    if over_the_grid:
        others = [gradient.reshape(channels, cells).sum(1) for gradient in others]
    y, grad_x = (silenced(values.reshape(shape), case["lengths"]) for values in (y, grad_x))
    return y, grad_x, *others


def compare_layernorm(case, **parts):
    compare(case, lambda *arrays, **grad: layernorm_twin(*arrays, **grad, **parts))


@quick
@given(cases(BatchNorm))
def test_batchnorm_agrees_with_its_twin(case):
    compare_batchnorm(case)


@quick
@given(cases(BatchNorm))
def test_running_statistics_agree_with_their_twin(case):
    compare_statistics(case)


@quick
@given(cases(LayerNorm))
def test_layernorm_agrees_with_its_twin(case):
    compare_layernorm(case)


@quick
@given(cases(Normalize))
def test_normalize_subtracts_the_mean_and_divides_by_the_deviation(case):
    layer, lengths = deepcopy(case["layer"]).double(), case["lengths"]
    shape = (-1, *[1] * (case["x"].ndim - 3))
    mean, deviation = (v.numpy().reshape(shape) for v in (layer.mean, layer.deviation))
    lengths = None if lengths is None else torch.tensor(lengths)
    y, grad_y, (grad_x,) = run(layer, tensor(case["x"]), lengths)
    assert_agrees(silenced((case["x"] - mean) / deviation, case["lengths"]), y)
    assert_agrees(silenced(grad_y.numpy() / deviation, case["lengths"]), grad_x)


def test_normalize_reads_bytes_and_keeps_a_constant_channel_at_0():
    layer = Normalize(torch.tensor([100.0, 7.0]), torch.tensor([50.0, 0.0]))
    x = torch.tensor([[[[0, 200], [7, 7]]]], dtype=torch.uint8)
    y = layer(x)
    assert y.dtype == torch.float32
    assert y.tolist() == [[[[-2, 2], [0, 0]]]]


@quick
@given(
    st.integers(1, 3),
    st.lists(st.integers(1, 4), min_size=1, max_size=2),
    st.booleans(),
)
def test_normalize_may_hold_a_mean_for_each_channel_and_grid_place(channels, grid, has_lengths):
    place = (channels, *grid)
    mean, deviation = normal(1, *place), normal(2, *place) ** 2 + 0.1
    layer = Normalize(tensor(mean), tensor(deviation)).double()
    mean, deviation = layer.mean.numpy(), layer.deviation.numpy()  # as float32 holds them
    x = normal(3, 2, 4, *place)
    lengths = [4, 1] if has_lengths else None
    y, grad_y, (grad_x,) = run(layer, tensor(x), None if lengths is None else torch.tensor(lengths))
    assert_agrees(silenced((x - mean) / deviation, lengths), y)
    assert_agrees(silenced(grad_y.numpy() / deviation, lengths), grad_x)


def test_a_place_that_never_varies_stays_at_0_and_the_others_do_not():
    layer = Normalize(torch.tensor([[5.0, 7.0]]), torch.tensor([[2.0, 0.0]]))
    assert layer(torch.tensor([[[[9.0, 7.0]]]])).tolist() == [[[[2.0, 0.0]]]]


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 1, 2, 2), (1, 1, 2), (1, 1, 1, 2, 2)])
def test_values_of_another_shape_than_the_means_are_refused(shape):
    layer = Normalize(torch.zeros(1, 2), torch.ones(1, 2))
    with pytest.raises(ShapeError, match="normalize"):
        layer(torch.zeros(shape))


def test_channels_last_in_memory_gives_the_same_numbers():
    x = tensor(normal(1, 2, 9, 8, 3)).permute(0, 3, 1, 2).unsqueeze(1)
    for layer in (BatchNorm(3), BatchNorm(3).eval(), LayerNorm(3)):
        randomize(layer.double())
        assert_agrees(layer(x).detach(), layer(x.contiguous()))


def test_a_normalized_batch_has_mean_0_and_variance_1_over_its_valid_steps():
    x, lengths = 7 + 3 * tensor(normal(1, 8, 5, 3, 4)), torch.tensor([5, 4, 3, 2, 1, 0, 5, 5])
    y = BatchNorm(3, eps=1e-12).double()(x, lengths).detach()
    rows = y[valid_steps(lengths, 5)].movedim(1, -1).reshape(-1, 3)
    assert_agrees(rows.mean(0), torch.zeros(3))
    assert_agrees(rows.var(0, correction=0), torch.ones(3))


def test_one_value_a_channel_cannot_train_and_two_ways_out_are_named():
    layer = BatchNorm(3)
    with pytest.raises(ValueError) as caught:
        layer(torch.randn(1, 3))
    assert str(caught.value) == (
        "batchnorm cannot train on (1, 3): one value a channel has no variance.\n"
        "  Fix: use a batch of at least 2 items, or layernorm instead."
    )
    assert isinstance(caught.value, ShapeError)
    with pytest.raises(ShapeError, match="one value a channel has no variance"):
        layer(torch.randn(2, 4, 3), torch.tensor([1, 0]))
    assert layer(torch.randn(1, 1, 3, 8, 8)).isfinite().all()
    assert layer.eval()(torch.randn(1, 3)).isfinite().all()


def test_a_batch_of_nothing_but_padding_leaves_the_running_averages_alone():
    layer = randomize(BatchNorm(3))
    before = [buffer.clone() for buffer in layer.buffers()]
    y = layer(torch.full((2, 4, 3), torch.nan), torch.tensor([0, 0]))
    assert not y.any()
    assert all(map(torch.equal, before, layer.buffers()))


def test_first_batches_count_alike_also_in_pieces():
    layer, batches = BatchNorm(3).double(), torch.randn(12, 8, 3, dtype=torch.float64)
    layer.warm_up(0)
    for number, batch in enumerate(batches[:5], start=1):
        layer(batch)
        torch.testing.assert_close(layer.running_mean, batches[:number].mean((0, 1)))
        torch.testing.assert_close(layer.running_variance, batches[:number].var(1).mean(0))
    layer.warm_up(100)
    before = layer.running_mean.clone()
    layer(batches[5])
    torch.testing.assert_close(layer.running_mean, 0.9 * before + 0.1 * batches[5].mean(0))


def test_layernorm_of_one_feature_is_its_bias():
    layer = randomize(LayerNorm(1))
    assert torch.equal(layer(torch.randn(4, 1)), layer.bias.expand(4, 1))


# Broken twins


@pytest.mark.parametrize(
    "fault", ["padding counted", "epsilon forgotten", "the batch's own statistics"]
)
def test_a_wrong_batchnorm_is_caught(fault):
    catches(compare_batchnorm, cases(BatchNorm), fault=fault)


def momentum_turned_round(x, mean, variance, *, momentum, valid):
    return reference.running_statistics(x, mean, variance, momentum=1 - momentum, valid=valid)


def padding_counted(x, mean, variance, *, momentum, valid):
    return reference.running_statistics(x, mean, variance, momentum=momentum)


@pytest.mark.parametrize("twin", [momentum_turned_round, padding_counted])
def test_wrong_running_statistics_are_caught(twin):
    catches(compare_statistics, cases(BatchNorm), statistics=twin)


def test_a_layernorm_over_the_channels_alone_is_caught():
    catches(compare_layernorm, cases(LayerNorm), over_the_grid=False)
