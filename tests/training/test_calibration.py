"""The temperature makes probabilities mean what they say, and changes no answer."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from gridcell.networks.answers import Answers
from gridcell.training.calibration import calibrated


def drawn(count: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Outputs whose true probabilities are softmax(outputs * scale), with targets drawn so."""
    random = np.random.default_rng(0)
    outputs = random.normal(0, 2, (count, 4)).astype(np.float32)
    chances = np.exp(log_softmax(outputs.astype(float) * scale, axis=1))
    targets = np.array([random.choice(4, p=row) for row in chances])
    return outputs, targets


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_the_temperature_that_made_the_targets_is_found_again(scale: float) -> None:
    outputs, targets = drawn(20_000, scale)
    assert calibrated(Answers("classify"), outputs, targets).temperature == pytest.approx(
        1 / scale, rel=0.05
    )


def test_it_is_the_lowest_log_loss_that_scipy_finds() -> None:
    outputs, targets = drawn(500, 1.7)
    spare = 1 / 501
    wanted = np.full(outputs.shape, spare / 4)
    wanted[np.arange(500), targets] += 1 - spare

    def loss(log_temperature: float) -> float:
        return -(wanted * log_softmax(outputs / np.exp(log_temperature), axis=1)).mean()

    found = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert calibrated(Answers("classify"), outputs, targets).temperature == pytest.approx(
        np.exp(found.x), rel=1e-4
    )


def test_a_wrong_temperature_is_noticed() -> None:
    outputs, targets = drawn(20_000, 2.5)
    assert calibrated(Answers("classify"), outputs, targets).temperature < 0.5


def test_no_answer_changes() -> None:
    outputs, targets = drawn(200, 3.0)
    plain = Answers("classify")
    assert (
        plain.of(outputs).argmax(1) == calibrated(plain, outputs, targets).of(outputs).argmax(1)
    ).all()


def test_a_perfect_validation_set_stays_finite() -> None:
    targets = np.arange(40) % 4
    outputs = (np.eye(4)[targets] * 3).astype(np.float32)
    found = calibrated(Answers("classify"), outputs, targets)
    assert 0.05 < found.temperature < 1
    assert found.of(outputs).max() < 1


def test_several_labels_are_calibrated_too() -> None:
    random = np.random.default_rng(1)
    outputs = random.normal(0, 2, (20_000, 3)).astype(np.float32)
    targets = (random.random((20_000, 3)) < 1 / (1 + np.exp(-2 * outputs))).astype(np.float32)
    assert calibrated(Answers("labels"), outputs, targets).temperature == pytest.approx(
        0.5, rel=0.05
    )


def test_numbers_and_few_items_are_left_alone() -> None:
    outputs, targets = drawn(19, 3.0)
    assert calibrated(Answers("classify"), outputs, targets).temperature == 1.0
    numbers = Answers("regress", (0.0,), (1.0,))
    assert calibrated(numbers, outputs, outputs) == numbers
