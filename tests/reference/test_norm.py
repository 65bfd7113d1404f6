"""The normalisation layers of the reference against PyTorch, differences and broken twins."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from gridcell.reference import (
    batchnorm,
    batchnorm_backward,
    batchnorm_evaluation,
    batchnorm_evaluation_backward,
    layernorm,
    layernorm_backward,
    running_statistics,
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


@st.composite
def cases(draw):
    grid = draw(st.lists(st.integers(1, 4), min_size=0, max_size=3))
    batch, channels = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    seed = draw(st.integers(0, 10_000))
    random = np.random.default_rng(seed)
    valid = None
    if draw(st.booleans()):
        axes = draw(st.integers(0, len(grid)))
        valid = random.random((batch, *grid[:axes])) < 0.6
        valid[:2] = True
    x = 3 * random.normal(size=(batch, channels, *grid)) + draw(st.sampled_from([0.0, 5.0]))
    return {
        "x": x,
        "scale": random.normal(size=channels),
        "shift": random.normal(size=channels),
        "mean": random.normal(size=channels),
        "variance": random.uniform(0.1, 3, size=channels),
        "grad_y": random.normal(size=x.shape),
        "epsilon": draw(st.sampled_from([1e-5, 1e-3, 0.5])),
        "momentum": draw(st.sampled_from([0.0, 0.1, 0.7, 1.0])),
        "valid": valid,
    }


def torch_batchnorm(case, x, scale, shift, *, is_training):
    """PyTorch knows no mask: it is given the valid cells as rows [M, C] and they are put back."""
    mask = torch.ones(x.shape[0], *x.shape[2:], dtype=torch.bool)
    if case["valid"] is not None:
        valid = torch.as_tensor(case["valid"])
        mask &= valid.reshape(*valid.shape, *[1] * (mask.ndim - valid.ndim))
    mean, variance = torch.tensor(case["mean"]), torch.tensor(case["variance"])
    rows = F.batch_norm(
        x.movedim(1, -1)[mask],
        mean,
        variance,
        scale,
        shift,
        training=is_training,
        momentum=case["momentum"],
        eps=case["epsilon"],
    )
    y = torch.zeros_like(x).movedim(1, -1).clone()
    y[mask] = rows
    return y.movedim(-1, 1), mean, variance


def compare_batchnorm(
    case, forward=batchnorm, backward=batchnorm_backward, statistics=running_statistics
):
    x, scale, shift = leaf(case["x"]), leaf(case["scale"]), leaf(case["shift"])
    y, mean, variance = torch_batchnorm(case, x, scale, shift, is_training=True)
    options = {"epsilon": case["epsilon"], "valid": case["valid"]}
    assert_agrees(forward(case["x"], case["scale"], case["shift"], **options), y)
    gradients = backward(case["grad_y"], case["x"], case["scale"], **options)
    assert_all_agree(gradients, autograd(y, case["grad_y"], x, scale, shift))
    options = {"momentum": case["momentum"], "valid": case["valid"]}
    running = statistics(case["x"], case["mean"], case["variance"], **options)
    assert_all_agree(running, (mean, variance))


def compare_evaluation(case, forward=batchnorm_evaluation, backward=batchnorm_evaluation_backward):
    x, scale, shift = leaf(case["x"]), leaf(case["scale"]), leaf(case["shift"])
    y, *_ = torch_batchnorm(case, x, scale, shift, is_training=False)
    options = {key: case[key] for key in ("mean", "variance", "epsilon", "valid")}
    assert_agrees(forward(case["x"], case["scale"], case["shift"], **options), y)
    gradients = backward(case["grad_y"], case["x"], case["scale"], **options)
    assert_all_agree(gradients, autograd(y, case["grad_y"], x, scale, shift))


def compare_layernorm(case, forward=layernorm, backward=layernorm_backward):
    rows, grad_y = np.moveaxis(case["x"], 1, -1), np.moveaxis(case["grad_y"], 1, -1)
    x, scale, shift = leaf(rows), leaf(case["scale"]), leaf(case["shift"])
    y = F.layer_norm(x, x.shape[-1:], scale, shift, case["epsilon"])
    assert_agrees(forward(rows, case["scale"], case["shift"], epsilon=case["epsilon"]), y)
    gradients = backward(grad_y, rows, case["scale"], epsilon=case["epsilon"])
    assert_all_agree(gradients, autograd(y, grad_y, x, scale, shift))


@quick
@given(cases())
def test_batchnorm_in_training_agrees_with_pytorch(case):
    compare_batchnorm(case)


@quick
@given(cases())
def test_batchnorm_in_evaluation_agrees_with_pytorch(case):
    compare_evaluation(case)


@quick
@given(cases())
def test_layernorm_agrees_with_pytorch(case):
    compare_layernorm(case)


def test_norm_gradients_agree_with_differences():
    x, scale, shift, grad_y = normal(1, 3, 2, 4), normal(2, 2), normal(3, 2), normal(4, 3, 2, 4)
    valid = np.arange(4) < np.array([4, 1, 3])[:, None]
    fixed = {"mean": [0.3, -1.0], "variance": [2.0, 0.5], "valid": valid}
    for forward, backward, options in [
        (batchnorm, batchnorm_backward, {}),
        (batchnorm, batchnorm_backward, {"valid": valid}),
        (batchnorm_evaluation, batchnorm_evaluation_backward, fixed),
    ]:
        wanted = [
            differences(lambda x: forward(x, scale, shift, **options), x, grad_y),  # noqa: B023
            differences(lambda scale: forward(x, scale, shift, **options), scale, grad_y),  # noqa: B023
            differences(lambda shift: forward(x, scale, shift, **options), shift, grad_y),  # noqa: B023
        ]
        assert_all_agree(backward(grad_y, x, scale, **options), wanted, tolerance=1e-7)
    scale, shift = normal(5, 4), normal(6, 4)
    wanted = [
        differences(lambda x: layernorm(x, scale, shift), x, grad_y),
        differences(lambda scale: layernorm(x, scale, shift), scale, grad_y),
        differences(lambda shift: layernorm(x, scale, shift), shift, grad_y),
    ]
    assert_all_agree(layernorm_backward(grad_y, x, scale), wanted, tolerance=1e-7)


def test_a_normalised_batch_has_mean_0_and_variance_1():
    y = batchnorm(7 + 3 * normal(1, 8, 3, 5), np.ones(3), np.zeros(3), epsilon=0)
    assert_agrees(y.mean(axis=(0, 2)), np.zeros(3))
    assert_agrees(y.var(axis=(0, 2)), np.ones(3))


@quick
@given(cases(), st.sampled_from([np.nan, np.inf, 1e300, 0.0]))
def test_padding_changes_nothing_whatever_it_holds(case, filler):
    if case["valid"] is None:
        return
    behind = [1] * (case["x"].ndim - 1 - case["valid"].ndim)
    is_padding = np.broadcast_to(
        ~case["valid"].reshape(*case["valid"].shape, *behind), case["x"][:, 0].shape
    )
    spoilt = {"x": case["x"].copy(), "grad_y": case["grad_y"].copy()}
    for values in spoilt.values():
        np.moveaxis(values, 1, -1)[is_padding] = filler
    scale, shift, options = case["scale"], case["shift"], {"valid": case["valid"]}
    fixed = options | {"mean": case["mean"], "variance": case["variance"]}

    def everything(x, grad_y):
        return [
            batchnorm(x, scale, shift, **options),
            batchnorm_evaluation(x, scale, shift, **fixed),
            *batchnorm_backward(grad_y, x, scale, **options),
            *batchnorm_evaluation_backward(grad_y, x, scale, **fixed),
            *running_statistics(x, case["mean"], case["variance"], **options),
        ]

    clean = everything(case["x"], case["grad_y"])
    for one, other in zip(everything(**spoilt), clean, strict=True):
        np.testing.assert_array_equal(one, other)
    for padded in (clean[0], clean[1], clean[2], clean[5]):
        assert not np.moveaxis(padded, 1, -1)[is_padding].any()


def test_a_mask_over_time_covers_the_grid_behind_it():
    x, valid = normal(1, 2, 3, 4, 5), np.array([[1, 1, 0, 0], [1, 1, 1, 0]], bool)
    everywhere = np.repeat(valid[:, :, None], 5, axis=2)
    y = batchnorm(x, np.ones(3), np.zeros(3), valid=valid)
    assert_agrees(y, batchnorm(x, np.ones(3), np.zeros(3), valid=everywhere))


def test_in_evaluation_an_example_is_the_same_alone_and_in_a_batch():
    x = normal(1, 4, 3, 5)
    options = {"mean": normal(2, 3), "variance": [1.0, 2.0, 3.0]}
    alone = [
        batchnorm_evaluation(x[n : n + 1], np.ones(3), np.zeros(3), **options) for n in range(4)
    ]
    assert_agrees(
        batchnorm_evaluation(x, np.ones(3), np.zeros(3), **options), np.concatenate(alone)
    )


def test_one_number_a_channel_cannot_be_normalised_and_two_ways_out_are_named():
    scale, shift = np.ones(3), np.zeros(3)
    with pytest.raises(ValueError) as caught:
        batchnorm(normal(1, 1, 3), scale, shift)
    assert str(caught.value) == (
        "batchnorm needs at least 2 valid numbers a channel to train; got 1 from (1, 3).\n"
        "  Fix: a batch of more examples, or batchnorm_evaluation, "
        "which uses the running statistics."
    )
    with pytest.raises(ValueError, match=r"got 1 from \(2, 3, 4\)"):
        batchnorm(normal(1, 2, 3, 4), scale, shift, valid=[[1, 0, 0, 0], [0, 0, 0, 0]])
    with pytest.raises(ValueError, match="at least 2 valid numbers"):
        running_statistics(normal(1, 1, 3), shift, scale)
    assert np.isfinite(batchnorm(normal(1, 1, 3, 8, 8), scale, shift)).all()
    options = {"mean": shift, "variance": scale}
    assert batchnorm_evaluation(normal(1, 1, 3), scale, shift, **options).shape == (1, 3)


def test_layernorm_of_one_feature_is_its_shift():
    assert layernorm([[3.0], [5.0]], [2.0], [0.7]).tolist() == [[0.7], [0.7]]


def test_nan_stays_in_its_channel_and_in_its_row():
    x = normal(1, 3, 2, 4)
    x[1, 0, 2] = np.nan
    y = batchnorm(x, np.ones(2), np.zeros(2))
    assert np.isnan(y[:, 0]).all() and np.isfinite(y[:, 1]).all()
    y = layernorm(x, np.ones(4), np.zeros(4))
    assert np.isnan(y[1, 0]).all() and np.isfinite(y).sum() == y.size - 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: batchnorm(np.ones(3), [1], [0]), r"must be \[N, C, \*grid\]; got \(3,\)"),
        (lambda: batchnorm(np.ones((2, 3)), [1], np.ones(3)), r"scale must be \[C=3\]; got \(1,\)"),
        (
            lambda: batchnorm(np.ones((2, 3, 4)), np.ones(3), np.ones(3), valid=np.ones((2, 3))),
            r"valid must be .* the first axes of \(2, 4\); got \(2, 3\)",
        ),
        (
            lambda: batchnorm_backward(np.ones((2, 1)), np.ones((2, 3)), np.ones(3)),
            r"output's shape \(2, 3\); got \(2, 1\)",
        ),
        (
            lambda: layernorm(np.ones((2, 3)), np.ones(2), np.ones(3)),
            r"layernorm scale must be \[D\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Broken twins. `normalised` is the frame that they share, right as it stands.


def normalised(
    x, scale, shift, *, epsilon, valid, ddof=0, over="batch", is_masked=True, is_inside=True
):
    mask = np.ones((x.shape[0], *x.shape[2:]), bool)
    if valid is not None and is_masked:
        mask &= valid.reshape(*valid.shape, *[1] * (mask.ndim - valid.ndim))
    cells, rows = np.moveaxis(x, 1, -1), np.moveaxis(x, 1, -1)[mask]
    axis = 0 if over == "batch" else None
    mean, variance = rows.mean(axis=axis), rows.var(axis=axis, ddof=ddof)
    deviation = np.sqrt(variance + epsilon) if is_inside else np.sqrt(variance) + epsilon
    y = np.where(mask[..., None], scale * (cells - mean) / deviation + shift, 0)
    return np.moveaxis(y, -1, 1)


@quick
@given(cases())
def test_the_frame_of_the_batchnorm_twins_is_sound(case):
    compare_batchnorm(case, forward=normalised)


@pytest.mark.parametrize(
    "fault",
    [
        {"ddof": 1},  # the unbiased variance, which is for the running statistics alone
        {"over": "everything"},
        {"is_masked": False},
        {"is_inside": False},  # epsilon added behind the square root
    ],
)
def test_a_wrong_batchnorm_is_caught(fault):
    def twin(x, scale, shift, **options):
        return normalised(x, scale, shift, **options, **fault)

    catches(compare_batchnorm, cases(), forward=twin)


def test_padding_that_gets_the_shift_is_caught():
    def twin(x, scale, shift, *, epsilon, valid):
        y = batchnorm(x, scale, shift, epsilon=epsilon, valid=valid)
        return np.where(y == 0, shift.reshape(-1, *[1] * (x.ndim - 2)), y)

    catches(compare_batchnorm, cases(), forward=twin)


def statistics_as_constants(grad_y, x, scale, *, epsilon, valid):
    _, grad_scale, grad_shift = batchnorm_backward(grad_y, x, scale, epsilon=epsilon, valid=valid)
    mean, variance = running_statistics(x, 0 * scale, 0 * scale, momentum=1.0, valid=valid)
    options = {"mean": mean, "variance": variance, "epsilon": epsilon, "valid": valid}
    return batchnorm_evaluation_backward(grad_y, x, scale, **options)[0], grad_scale, grad_shift


def mask_forgotten(grad_y, x, scale, *, epsilon, valid):
    return batchnorm_backward(grad_y, x, scale, epsilon=epsilon)


def scale_gradient_without_normalisation(grad_y, x, scale, *, epsilon, valid):
    grad_x, _, grad_shift = batchnorm_backward(grad_y, x, scale, epsilon=epsilon, valid=valid)
    return grad_x, (grad_y * x).sum(axis=(0, *range(2, x.ndim))), grad_shift


def scale_left_out(grad_y, x, scale, *, epsilon, valid):
    _, *others = batchnorm_backward(grad_y, x, scale, epsilon=epsilon, valid=valid)
    return batchnorm_backward(grad_y, x, np.ones_like(scale), epsilon=epsilon, valid=valid)[
        0
    ], *others


@pytest.mark.parametrize(
    "twin",
    [
        statistics_as_constants,
        mask_forgotten,
        scale_gradient_without_normalisation,
        scale_left_out,
    ],
)
def test_a_wrong_gradient_of_batchnorm_is_caught(twin):
    catches(compare_batchnorm, cases(), backward=twin)


def momentum_turned_round(x, mean, variance, *, momentum, valid):
    return running_statistics(x, mean, variance, momentum=1 - momentum, valid=valid)


def biased_running_variance(x, mean, variance, *, momentum, valid):
    new_mean, new_variance = running_statistics(x, mean, variance, momentum=momentum, valid=valid)
    count = x[:, 0].size
    if valid is not None:
        count = valid.sum() * (count // valid.size)
    batch = new_variance - (1 - momentum) * variance
    return new_mean, (1 - momentum) * variance + batch * (count - 1) / count


def running_statistics_over_padding(x, mean, variance, *, momentum, valid):
    return running_statistics(x, mean, variance, momentum=momentum)


@pytest.mark.parametrize(
    "twin", [momentum_turned_round, biased_running_variance, running_statistics_over_padding]
)
def test_wrong_running_statistics_are_caught(twin):
    catches(compare_batchnorm, cases(), statistics=twin)


def test_an_evaluation_by_the_batch_s_own_statistics_is_caught():
    def twin(x, scale, shift, *, mean, variance, epsilon, valid):
        return batchnorm(x, scale, shift, epsilon=epsilon, valid=valid)

    catches(compare_evaluation, cases(), forward=twin)


def test_an_evaluation_gradient_through_the_batch_is_caught():
    def twin(grad_y, x, scale, *, mean, variance, epsilon, valid):
        return batchnorm_backward(grad_y, x, scale, epsilon=epsilon, valid=valid)

    catches(compare_evaluation, cases(), backward=twin)


def test_a_layernorm_with_the_unbiased_variance_is_caught():
    def twin(x, scale, shift, *, epsilon):
        features = x.shape[-1]
        variance = x.var(axis=-1, keepdims=True) * features / max(features - 1, 1)
        return scale * (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(variance + epsilon) + shift

    catches(compare_layernorm, cases(), forward=twin)


def test_a_layernorm_over_all_axes_is_caught():
    def twin(x, scale, shift, *, epsilon):
        return scale * (x - x.mean()) / np.sqrt(x.var() + epsilon) + shift

    catches(compare_layernorm, cases(), forward=twin)


def test_a_layernorm_gradient_without_its_averages_is_caught():
    def twin(grad_y, x, scale, *, epsilon):
        _, *others = layernorm_backward(grad_y, x, scale, epsilon=epsilon)
        return grad_y * scale / np.sqrt(x.var(axis=-1, keepdims=True) + epsilon), *others

    catches(compare_layernorm, cases(), backward=twin)
