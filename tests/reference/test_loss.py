"""The losses of the reference against PyTorch, worked examples, differences and broken twins."""

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from gridcell.reference import (
    binary_cross_entropy,
    binary_cross_entropy_backward,
    cross_entropy,
    cross_entropy_backward,
    huber,
    huber_backward,
    log_softmax,
    sigmoid,
    softmax,
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


@st.composite
def cases(draw):
    """Outputs [..., K], targets for every loss, and options, of which each loss takes its own."""
    rows = draw(st.lists(st.integers(1, 4), min_size=0, max_size=2))
    classes, seed = draw(st.integers(1, 5)), draw(st.integers(0, 10_000))
    random = np.random.default_rng(seed)
    outputs = draw(st.sampled_from([1.0, 30.0, 1e6])) * random.normal(size=(*rows, classes))
    valid = None
    if draw(st.booleans()):
        valid = np.asarray(random.random(rows) < 0.6)
        valid.reshape(-1)[0] = True
    return {
        "outputs": outputs,
        "classes": random.integers(0, classes, rows),
        "shares": random.choice([0.0, 0.3, 1.0], size=outputs.shape),
        "numbers": outputs + random.choice([0.1, 1.0, 20.0]) * random.normal(size=outputs.shape),
        "smoothing": draw(st.sampled_from([0.0, 0.1, 0.7, 1.0])),
        "class_weights": random.uniform(0.1, 3, classes) if draw(st.booleans()) else None,
        "delta": draw(st.sampled_from([0.2, 1.0, 5.0])),
        "valid": valid,
        "grad_loss": random.normal(),
    }


def compare(case, torch_loss, forward, backward, targets, **options):
    """Run a loss on the case; PyTorch is given the valid rows alone and knows no mask."""
    valid = case["valid"]
    outputs = leaf(case["outputs"])
    rows = outputs if valid is None else outputs[torch.as_tensor(valid)]
    wanted = torch_loss(rows, targets if valid is None else targets[valid])
    options |= {"valid": valid}
    assert_agrees(forward(case["outputs"], targets, **options), wanted)
    grad = backward(case["grad_loss"], case["outputs"], targets, **options)
    assert_agrees(grad, *autograd(wanted, case["grad_loss"], outputs))


def compare_cross_entropy(case, forward=cross_entropy, backward=cross_entropy_backward):
    weights = case["class_weights"]

    def torch_loss(rows, targets):
        return F.cross_entropy(
            rows.reshape(-1, rows.shape[-1]),
            torch.as_tensor(targets).reshape(-1),
            weight=None if weights is None else torch.as_tensor(weights),
            label_smoothing=case["smoothing"],
        )

    options = {"smoothing": case["smoothing"], "class_weights": weights}
    compare(case, torch_loss, forward, backward, case["classes"], **options)


def compare_binary(case, forward=binary_cross_entropy, backward=binary_cross_entropy_backward):
    def torch_loss(rows, targets):
        return F.binary_cross_entropy_with_logits(rows, torch.as_tensor(targets))

    compare(case, torch_loss, forward, backward, case["shares"])


def compare_huber(case, forward=huber, backward=huber_backward):
    def torch_loss(rows, targets):
        return F.huber_loss(rows, torch.as_tensor(targets), delta=case["delta"])

    compare(case, torch_loss, forward, backward, case["numbers"], delta=case["delta"])


COMPARISONS = [compare_cross_entropy, compare_binary, compare_huber]


@pytest.mark.parametrize("comparison", COMPARISONS)
@quick
@given(case=cases())
def test_loss_agrees_with_pytorch_without_a_warning(comparison, case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        comparison(case)


def test_loss_gradients_agree_with_differences():
    outputs, valid = normal(1, 3, 2, 4), np.array([[1, 1], [0, 1], [1, 0]], bool)
    classes, shares = np.array([[0, 3], [1, 2], [2, 0]]), np.abs(np.sin(normal(2, 3, 2, 4)))
    weights = [0.5, 1.0, 2.0, 0.1]
    losses = [
        (cross_entropy, cross_entropy_backward, classes, {}),
        (
            cross_entropy,
            cross_entropy_backward,
            classes,
            {"smoothing": 0.2, "class_weights": weights, "valid": valid},
        ),
        (binary_cross_entropy, binary_cross_entropy_backward, shares, {"valid": valid}),
        (huber, huber_backward, shares, {"delta": 0.7, "valid": valid}),
    ]
    for forward, backward, targets, options in losses:
        wanted = differences(lambda x: forward(x, targets, **options), outputs, 1.0)  # noqa: B023
        assert_agrees(backward(1.0, outputs, targets, **options), wanted, tolerance=1e-8)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_huge_logits_give_their_true_loss(dtype):
    def array(*values):
        return np.array([values], dtype)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert round(cross_entropy(array(1e8, 1e8), [1]), 6) == 0.693147
        assert cross_entropy(array(1000, 0), [1]) == 1000.0
        assert cross_entropy_backward(1.0, array(1000, 0), [1]).tolist() == [[1, -1]]
        assert binary_cross_entropy(array(-1000, 1000), array(1, 1)) == 500.0
        assert binary_cross_entropy_backward(1.0, array(-1000, 0), array(1, 0)).tolist() == [
            [-0.5, 0.25]
        ]
        assert huber(array(1e30), array(0)) == pytest.approx(1e30)


def test_a_class_that_is_ruled_out_costs_nothing_unless_it_was_right():
    logits = [[0.0, 0.0, -math.inf]]
    assert_agrees(cross_entropy(logits, [0]), math.log(2))
    assert_agrees(cross_entropy_backward(1.0, logits, [0]), [[-0.5, 0.5, 0.0]])
    assert cross_entropy(logits, [2]) == math.inf


def test_a_sure_and_right_answer_costs_0_and_not_minus_0():
    assert math.copysign(1, cross_entropy([[1000.0, 0.0]], [0])) == 1


@quick
@given(case=cases())
def test_masked_steps_change_nothing_whatever_they_hold(case):
    valid = case["valid"]
    if valid is None or valid.all():
        return
    smoothing = {"smoothing": case["smoothing"], "valid": valid}
    losses = [
        (cross_entropy, cross_entropy_backward, case["classes"], -100, smoothing),
        (binary_cross_entropy, binary_cross_entropy_backward, case["shares"], np.nan, {}),
        (huber, huber_backward, case["numbers"], np.nan, {}),
    ]
    spoilt = case["outputs"].copy()
    spoilt[~valid] = np.nan
    for forward, backward, targets, filler, options in losses:
        options = options | {"valid": valid}
        spoilt_targets = targets.copy()
        spoilt_targets[~valid] = filler
        loss = forward(spoilt, spoilt_targets, **options)
        assert loss == forward(case["outputs"], targets, **options)
        gradient = backward(1.0, spoilt, spoilt_targets, **options)
        assert not gradient[~valid].any()
        np.testing.assert_array_equal(gradient, backward(1.0, case["outputs"], targets, **options))


def test_nan_at_a_valid_step_makes_the_loss_nan():
    assert math.isnan(cross_entropy([[math.nan, 0.0]], [1]))
    assert math.isnan(binary_cross_entropy([math.nan], [1]))
    assert math.isnan(huber([1.0], [math.nan]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cross_entropy([[0, 0]], [2]), r"a whole number in 0\.\.1; got 2"),
        (lambda: cross_entropy([[0, 0]], [-1]), r"a whole number in 0\.\.1; got -1"),
        (lambda: cross_entropy([[0, 0]], [0.5]), r"a whole number in 0\.\.1; got 0\.5"),
        (
            lambda: cross_entropy([[0, 0]], [[0]]),
            r"targets must be \[\.\.\.\] for logits .*\(1, 1\)",
        ),
        (
            lambda: cross_entropy([[0, 0]], [1], smoothing=1.5),
            r"smoothing must be in 0\.\.1; got 1.5",
        ),
        (lambda: cross_entropy([[0, 0]], [1], class_weights=[1]), r"must be \[K=2\]; got \(1,\)"),
        (
            lambda: cross_entropy([[0, 0]], [1], class_weights=[1, 0]),
            "no valid target with a weight",
        ),
        (lambda: cross_entropy([[0, 0]], [1], valid=[False]), "no valid target"),
        (lambda: binary_cross_entropy([[0, 0]], [1]), r"outputs' shape \(1, 2\); got \(1,\)"),
        (lambda: binary_cross_entropy([[0]], [[1]], valid=[False]), "no valid output to average"),
        (lambda: huber([0, 0], [0, 0], delta=0), "delta must be above 0; got 0"),
        (lambda: huber([[0, 0]], [[0, 0]], valid=[[True, True]]), r"\(1,\); got \(1, 2\)"),
    ],
)
def test_what_has_no_loss_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Broken twins. Each is a short loss for one thing done wrong; `weighed` is the frame they share.


def weighed(log_p, targets, *, smoothing, class_weights, valid, divisor="weights", spread="all"):
    """Cross-entropy from log-probabilities, right as it stands."""
    if valid is not None and divisor != "every step":
        log_p, targets = log_p[valid], targets[valid]
    classes = log_p.shape[-1]
    weights = np.ones(classes) if class_weights is None else np.asarray(class_weights)
    is_target = np.arange(classes) == np.asarray(targets)[..., None]
    others = ~is_target / max(classes - 1, 1) if spread == "others" else 1 / classes
    q = (1 - smoothing) * is_target + smoothing * others
    count = (weights * is_target).sum() if divisor == "weights" else is_target.sum()
    return -(weights * q * np.where(q > 0, log_p, 0)).sum() / count


def as_it_should_be(logits, targets, **options):
    return weighed(log_softmax(logits), targets, **options)


def logarithm_of_the_softmax(logits, targets, **options):
    return weighed(np.log(softmax(logits)), targets, **options)


def softmax_without_its_maximum_taken_off(logits, targets, **options):
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return weighed(log_p, targets, **options)


def softmax_taken_twice(logits, targets, **options):
    return weighed(log_softmax(softmax(logits)), targets, **options)


def smoothing_forgotten(logits, targets, *, smoothing, **options):
    return cross_entropy(logits, targets, smoothing=0.0, **options)


def smoothing_over_the_other_classes(logits, targets, **options):
    return weighed(log_softmax(logits), targets, spread="others", **options)


def weights_forgotten(logits, targets, *, class_weights, **options):
    return cross_entropy(logits, targets, **options)


def weights_not_divided_out(logits, targets, **options):
    return weighed(log_softmax(logits), targets, divisor="count", **options)


def mask_forgotten(logits, targets, *, valid, **options):
    return cross_entropy(logits, targets, **options)


@quick
@given(case=cases())
def test_the_frame_of_the_cross_entropy_twins_is_sound(case):
    compare_cross_entropy(case, forward=as_it_should_be)


@pytest.mark.parametrize(
    "twin",
    [
        logarithm_of_the_softmax,
        softmax_without_its_maximum_taken_off,
        softmax_taken_twice,
        smoothing_forgotten,
        smoothing_over_the_other_classes,
        weights_forgotten,
        weights_not_divided_out,
        mask_forgotten,
    ],
)
def test_a_wrong_cross_entropy_is_caught(twin):
    catches(compare_cross_entropy, cases(), forward=twin)


def gradient_not_averaged(grad_loss, logits, targets, *, valid, **options):
    steps = targets.size if valid is None else valid.sum()
    return steps * cross_entropy_backward(grad_loss, logits, targets, valid=valid, **options)


def gradient_ignores_grad_loss(grad_loss, logits, targets, **options):
    return cross_entropy_backward(1.0, logits, targets, **options)


def gradient_without_smoothing(grad_loss, logits, targets, *, smoothing, **options):
    return cross_entropy_backward(grad_loss, logits, targets, **options)


def gradient_with_its_sign_turned(grad_loss, logits, targets, **options):
    return -cross_entropy_backward(grad_loss, logits, targets, **options)


@pytest.mark.parametrize(
    "twin",
    [
        gradient_not_averaged,
        gradient_ignores_grad_loss,
        gradient_without_smoothing,
        gradient_with_its_sign_turned,
    ],
)
def test_a_wrong_gradient_of_cross_entropy_is_caught(twin):
    catches(compare_cross_entropy, cases(), backward=twin)


def test_a_binary_cross_entropy_by_way_of_probabilities_is_caught():
    def twin(logits, targets, *, valid):
        p = sigmoid(logits)
        terms = -targets * np.log(p) - (1 - targets) * np.log(1 - p)
        return terms.mean() if valid is None else terms[valid].mean()

    catches(compare_binary, cases(), forward=twin)


def test_a_binary_gradient_that_counts_masked_steps_is_caught():
    def twin(grad_loss, logits, targets, *, valid):
        grad = grad_loss * (sigmoid(logits) - targets) / logits.size
        return grad if valid is None else grad * valid[..., None]

    catches(compare_binary, cases(), backward=twin)


def test_a_huber_loss_with_a_jump_at_delta_is_caught():
    def twin(predictions, targets, *, delta, valid):
        error = np.abs(predictions - targets)
        terms = np.where(error <= delta, error**2 / 2, delta * error)
        return terms.mean() if valid is None else terms[valid].mean()

    catches(compare_huber, cases(), forward=twin)


def test_a_huber_loss_without_delta_is_caught():
    def twin(predictions, targets, *, delta, valid):
        return huber(predictions, targets, valid=valid)

    catches(compare_huber, cases(), forward=twin)


def test_a_huber_gradient_that_is_not_cut_off_is_caught():
    def twin(grad_loss, predictions, targets, *, delta, valid):
        return huber_backward(grad_loss, predictions, targets, delta=1e9, valid=valid)

    catches(compare_huber, cases(), backward=twin)
