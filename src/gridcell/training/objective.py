"""What training makes small: the loss of each task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gridcell.errors import ConfigError
from gridcell.layers import valid_steps
from gridcell.networks.answers import Answers
from gridcell.samples import ItemTask


@dataclass(frozen=True)
class Objective:
    """The loss of a task over one batch.

    classify   cross-entropy with label smoothing and class weights
    labels     binary cross-entropy, the mean over labels (and valid steps, where each has some)
    regress    Huber with delta 1 on the standardised target
    forecast   absolute error on the standardised target. Measured on the validation months of
               ETTh1, it leaves a smaller squared error than the squared error does: a few wild
               hours pull less
    """

    answers: Answers
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()

    @property
    def task(self) -> ItemTask:
        """What the network learns to answer."""
        return self.answers.task

    def prepare(self, targets: NDArray[np.generic]) -> Tensor:
        """Return targets as the loss wants them: indices, 0 and 1, or standardised numbers."""
        if self.task == "classify":
            return torch.from_numpy(targets.astype(np.int64))
        if self.task == "labels":
            return torch.from_numpy(targets.astype(np.float32))
        if self.task == "forecast":
            return torch.zeros(len(targets), 0)  # what follows a window is drawn with it
        mean, deviation = self.answers.target_mean, self.answers.target_deviation
        scaled = (targets - np.array(mean)) / np.array(deviation)
        return torch.from_numpy(scaled.astype(np.float32))

    def weight(self, targets: Tensor, lengths: Tensor | None = None) -> float:
        """What the loss of these targets is a mean over: items, or valid steps, by class weight.

        By it the means of a batch's pieces add up to the mean of the whole.
        """
        is_numbers = self.task == "classify" and targets.dtype == torch.int64
        if (is_numbers and targets.ndim == 2) or (self.task == "labels" and targets.ndim == 3):
            if lengths is None:
                targets = targets.flatten(0, 1)
            else:
                targets = targets[valid_steps(lengths, targets.shape[1])]
        if self.class_weights and is_numbers:
            return float(torch.tensor(self.class_weights)[targets].sum())
        return float(len(targets))

    def loss(self, outputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The mean loss of a batch, in float32.

        Shapes   outputs [B, K], targets as `prepare` gives them; or with an answer at each step
                 outputs [B, T, K] and targets [B, T, K] or class numbers [B, T], of which the
                 steps at or past `lengths` do not count
        """
        outputs = outputs.float()
        if outputs.ndim == 3:
            if lengths is None:
                outputs, targets = outputs.flatten(0, 1), targets.flatten(0, 1)
            else:
                valid = valid_steps(lengths, outputs.shape[1])
                outputs, targets = outputs[valid], targets[valid]
        if self.task == "classify":
            weight = (
                torch.tensor(self.class_weights, device=outputs.device)
                if self.class_weights
                else None
            )
            return F.cross_entropy(
                outputs, targets, weight=weight, label_smoothing=self.label_smoothing
            )
        if self.task == "labels":
            return F.binary_cross_entropy_with_logits(outputs, targets)
        if self.task == "forecast":
            return F.l1_loss(outputs, targets)
        return F.huber_loss(outputs, targets)


def choose_objective(
    task: ItemTask,
    targets: NDArray[np.generic],
    *,
    classes: int,
    label_smoothing: float,
    is_balanced: bool,
) -> Objective:
    """Fit what a loss needs to the training targets: class weights, or the target's scale.

    label_smoothing   of a class; other tasks have none

    Raises   ConfigError where classes are to be balanced and the task has none
    """
    if is_balanced and task != "classify":
        raise ConfigError(
            f"class_weights = 'balanced' has no effect on the task {task}.",
            fix="leave --class-weights out.",
        )
    if task == "regress":
        mean = targets.astype(np.float64).mean(0)
        deviation = targets.astype(np.float64).std(0)
        # A constant target has nothing to learn: 1 keeps it finite.
        deviation = np.where(deviation > 1e-8 * np.maximum(np.abs(mean), 1e-30), deviation, 1.0)
        scale = tuple(map(float, mean)), tuple(map(float, deviation))
        return Objective(Answers(task, *scale))
    weights: tuple[float, ...] = ()
    if task == "classify" and is_balanced:
        weights = balanced_weights(targets.astype(np.int64), classes)
    return Objective(Answers(task), label_smoothing if task == "classify" else 0.0, weights)


def balanced_weights(targets: NDArray[np.int64], classes: int) -> tuple[float, ...]:
    """n / (K * n_k) for each class; 0 for a class without items.

    >>> balanced_weights(np.array([0] * 1000 + [1]), 2)
    (0.5005, 500.5)
    """
    counts = np.bincount(targets, minlength=classes)
    present = int((counts > 0).sum())
    return tuple(float(len(targets) / (present * n)) if n else 0.0 for n in counts)
