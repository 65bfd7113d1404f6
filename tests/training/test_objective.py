"""The losses of training against the book's, and what is fitted to the training targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gridcell import reference
from gridcell.errors import ConfigError
from gridcell.networks.answers import Answers
from gridcell.training.objective import Objective, balanced_weights, choose_objective


def normal(*shape: int, seed: int = 0, scale: float = 3.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(), (1.0, 0.5, 4.0, 0.0)])
def test_cross_entropy_is_the_book_s(smoothing: float, weights: tuple[float, ...]) -> None:
    logits, targets = normal(20, 4), np.random.default_rng(1).integers(0, 4, 20)
    objective = Objective(Answers("classify"), smoothing, weights)
    found = objective.loss(torch.from_numpy(logits), objective.prepare(targets))
    expected = reference.cross_entropy(
        logits, targets, smoothing=smoothing, class_weights=weights or None
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)
    # The comparison can fail: another smoothing is another loss.
    wrong = reference.cross_entropy(
        logits, targets, smoothing=smoothing + 0.05, class_weights=weights or None
    )
    assert float(found) != pytest.approx(wrong, rel=1e-5)


def test_binary_cross_entropy_is_the_book_s() -> None:
    logits = normal(20, 3, scale=30)
    targets = np.random.default_rng(1).integers(0, 2, (20, 3)).astype(np.float32)
    objective = Objective(Answers("labels"))
    found = objective.loss(torch.from_numpy(logits), objective.prepare(targets))
    expected = reference.binary_cross_entropy(logits, targets)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_huber_on_the_standardised_target_is_the_book_s() -> None:
    outputs, targets = normal(20, 2), 1e4 + normal(20, 2, seed=1, scale=500)
    objective = choose_objective(
        "regress", targets, classes=2, label_smoothing=0.1, is_balanced=False
    )
    found = objective.loss(torch.from_numpy(outputs), objective.prepare(targets))
    scaled = (targets - targets.mean(0)) / targets.std(0)
    assert float(found) == pytest.approx(reference.huber(outputs, scaled), rel=1e-4)


def test_answers_undo_what_was_done_to_the_targets() -> None:
    targets = 1e6 + normal(30, 2, scale=1e5)
    objective = choose_objective(
        "regress", targets, classes=2, label_smoothing=0.0, is_balanced=False
    )
    back = objective.answers.of(objective.prepare(targets).numpy())
    np.testing.assert_allclose(back, targets, rtol=1e-6)


@pytest.mark.parametrize("task", ["classify", "labels"])
def test_outputs_that_overflowed_are_no_probabilities(task: Any) -> None:
    """And no warning of NumPy's stands on the user's screen."""
    outputs = np.array([[np.inf, np.inf], [np.nan, 1.0], [3e38, -3e38]], np.float32)
    found = Answers(task).of(outputs)
    assert np.isnan(found[1, 0])
    assert found[2].tolist() == [1.0, 0.0]


def test_the_loss_is_taken_in_float32() -> None:
    objective = Objective(Answers("classify"))
    logits = torch.from_numpy(normal(4, 3)).bfloat16()
    assert objective.loss(logits, torch.tensor([0, 1, 2, 0])).dtype == torch.float32


def test_balanced_weights_are_n_over_k_times_n_of_each() -> None:
    assert balanced_weights(np.array([0] * 1000 + [1]), 2) == (0.5005, 500.5)


def test_each_class_weighs_the_same_under_balanced_weights() -> None:
    targets = np.array([0] * 90 + [1] * 9 + [2])
    weights = balanced_weights(targets, 3)
    assert np.allclose(np.bincount(targets) * weights, 100 / 3)


def test_a_class_without_items_weighs_nothing() -> None:
    assert balanced_weights(np.array([0, 0, 2]), 4) == (0.75, 0.0, 1.5, 0.0)


def test_weights_are_for_classes_only() -> None:
    targets = np.array([0] * 9 + [1])
    is_on = choose_objective("classify", targets, classes=2, label_smoothing=0, is_balanced=True)
    assert is_on.class_weights == balanced_weights(targets, 2)
    is_off = choose_objective("classify", targets, classes=2, label_smoothing=0, is_balanced=False)
    assert is_off.class_weights == ()


@pytest.mark.parametrize("task", ["labels", "regress"])
def test_balanced_weights_without_classes_are_refused(task: str) -> None:
    targets = np.array([[0.0], [1.0]])
    with pytest.raises(ConfigError) as caught:
        choose_objective(
            task,  # type: ignore[arg-type]
            targets,
            classes=1,
            label_smoothing=0.1,
            is_balanced=True,
        )
    assert f"class_weights = 'balanced' has no effect on the task {task}" in str(caught.value)
    assert "Fix: leave --class-weights out." in str(caught.value)


@pytest.mark.parametrize("constant", [0.0, 5.0, -1e9, 1e-30])
def test_a_constant_target_stays_finite(constant: float) -> None:
    targets = np.full((10, 2), constant)
    targets[:, 1] = np.arange(10)
    objective = choose_objective(
        "regress", targets, classes=2, label_smoothing=0.0, is_balanced=False
    )
    prepared = objective.prepare(targets)
    assert torch.isfinite(prepared).all()
    assert prepared[:, 0].abs().max() == 0
    assert objective.answers.target_deviation[0] == 1.0
    assert objective.answers.target_deviation[1] == pytest.approx(np.arange(10).std())


def test_a_tiny_target_is_not_taken_for_a_constant() -> None:
    targets = np.linspace(0, 1e-12, 10)[:, None]
    objective = choose_objective(
        "regress", targets, classes=1, label_smoothing=0.0, is_balanced=False
    )
    assert objective.prepare(targets).std(correction=0) == pytest.approx(1.0)
