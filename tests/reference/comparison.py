"""How the tests of the reference compare: with PyTorch, with differences, and with broken twins.

A comparison is a function `compare(case, ...)` that runs a layer on a case and raises
AssertionError where it differs from the oracle. The layer is an argument, so that the comparison
that must accept the true layer can be shown to refuse a wrong one (`catches`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis.strategies import SearchStrategy

TOLERANCE = 1e-10

quick = settings(deadline=None, derandomize=True, max_examples=100)


def assert_agrees(actual: Any, wanted: Any, *, tolerance: float = TOLERANCE) -> None:
    """Raise AssertionError unless both have the same shape and the same numbers."""
    if isinstance(wanted, torch.Tensor):
        wanted = wanted.detach().numpy()
    assert np.shape(actual) == np.shape(wanted), f"{np.shape(actual)} is not {np.shape(wanted)}"
    np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance)


def assert_all_agree(actual: Sequence[Any], wanted: Sequence[Any], **options: float) -> None:
    for one, other in zip(actual, wanted, strict=True):
        assert_agrees(one, other, **options)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def leaf(values: Any) -> torch.Tensor:
    """A float64 tensor whose gradient autograd will keep."""
    return torch.tensor(np.asarray(values, np.float64), requires_grad=True)


def autograd(y: torch.Tensor, grad_y: Any, *leaves: torch.Tensor) -> list[torch.Tensor]:
    """The gradients that PyTorch finds for the leaves, from the one for y."""
    return list(torch.autograd.grad(y, leaves, torch.as_tensor(grad_y, dtype=torch.float64)))


def differences(
    function: Callable[[np.ndarray], Any], x: np.ndarray, grad_y: Any, *, step: float = 1e-5
) -> np.ndarray:
    """The gradient of sum(function(x) * grad_y) by central differences, one x at a time."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = np.sum((function(up) - function(down)) * grad_y) / (2 * step)
    return gradient


def catches(compare: Callable[..., None], cases: SearchStrategy[Any], **twin: Any) -> None:
    """Fail unless the comparison refuses the twin on one of the cases that it is tested with."""

    # It ends at the first case that is refused, most often within ten. A fault that shows in few
    # cases (an even kernel under a stride) gets the patience to be found by any version's draws.
    @settings(
        quick,
        max_examples=1000,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    @given(cases)
    def search(case: Any) -> None:
        with np.errstate(all="ignore"):
            compare(case, **twin)

    with pytest.raises(AssertionError):
        search()
