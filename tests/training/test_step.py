"""A step when the memory is full or the loss is no number: what is said, and what stays right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gridcell.batches import Batch
from gridcell.errors import MemoryFullError, TrainingError
from gridcell.networks.answers import Answers
from gridcell.training import Objective
from gridcell.training.optimizer import choose_optimizer
from gridcell.training.step import TrainingStep

from .test_fit import Watching, fitted, is_same, state
from .toys import OBJECTIVE, images, network, plan


class Narrow(nn.Module):
    """A network in a memory that holds only so many items."""

    def __init__(self, most: int, error: Exception | None = None) -> None:
        super().__init__()
        self.inner = network("conv(4, 3) relu")
        self.most = most
        self.error = error or torch.OutOfMemoryError("no room")
        self.sizes: list[int] = []

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.training and len(values) > self.most:
            raise self.error
        if self.training:
            self.sizes.append(len(values))
        found = self.inner(values, lengths)
        assert isinstance(found, Tensor)
        return found


# C01
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        MemoryError(),
        RuntimeError("alloc_cpu.cpp:117: DefaultCPUAllocator: not enough memory"),
    ],
)
def test_a_full_memory_takes_smaller_pieces_and_says_so(error: Exception) -> None:
    narrow = Narrow(3, error)
    watcher = Watching(narrow)
    history = fitted(narrow, images(40), plan=plan(epochs=2), watcher=watcher)
    assert watcher.notes == [
        "The memory is full: 8 -> 4 items at a time; their gradients are added up, so each step "
        "still learns from 8.",
        "The memory is full: 4 -> 2 items at a time; their gradients are added up, so each step "
        "still learns from 8.",
    ]
    assert max(narrow.sizes) == 2
    assert history.parts == 4
    assert len(watcher.steps) == 10


# C01
def test_steps_in_pieces_learn_what_whole_steps_learn() -> None:
    whole, narrow = network("conv(4, 3) relu"), Narrow(3)
    first, second = fitted(whole), fitted(narrow)
    for name, value in state(whole).items():
        found = narrow.inner.state_dict()[name]
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-5)
    assert [r.loss for r in first.epochs] == pytest.approx([r.loss for r in second.epochs], 1e-4)


# C01
def test_a_memory_too_small_for_one_item_names_what_was_tried() -> None:
    with pytest.raises(MemoryFullError) as caught:
        fitted(Narrow(0))
    text = str(caught.value)
    assert "the memory is full even with 1 item at a time (tried 8, 4, 2, 1 at once)." in text
    assert "--image-size" in text and "--batch-size" in text
    assert caught.value.exit_code == 2


def test_a_memory_for_single_items_cannot_train_batchnorm_and_that_is_said() -> None:
    narrow = Narrow(1)
    narrow.inner = network("flatten dense(8) batchnorm relu")
    with pytest.raises(MemoryFullError, match=r"even with 1 item at a time \(tried 8, 4, 2, 1 at"):
        fitted(narrow)


def test_another_error_is_not_taken_for_a_full_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"):
        fitted(Narrow(3, RuntimeError("shapes differ")))


def pieces_of(
    objective: Objective, outputs: Tensor, targets: Tensor, lengths: Tensor | None
) -> tuple[float, float]:
    """The loss of a batch, whole and as the weighted mean of its pieces."""
    batch = Batch(outputs, lengths, targets, np.arange(len(outputs)))
    pieces = batch.cut(3)
    weights = [objective.weight(p.targets, p.lengths) for p in pieces]
    losses = [float(objective.loss(p.values, p.targets, p.lengths)) for p in pieces]
    mean = sum(w * x for w, x in zip(weights, losses, strict=True)) / sum(weights)
    return float(objective.loss(outputs, targets, lengths)), mean


@pytest.mark.parametrize(
    "case", ["classes", "weighted", "mixed", "labels", "numbers", "tags", "weighted tags", "events"]
)
def test_the_pieces_means_add_up_to_the_whole_s(case: str) -> None:
    draw = torch.Generator().manual_seed(0)
    outputs, lengths = torch.randn(7, 3, generator=draw, dtype=torch.float64), None
    steps = torch.randn(7, 5, 3, generator=draw, dtype=torch.float64)
    classes = torch.randint(0, 3, (7,), generator=draw)
    tags = torch.randint(0, 3, (7, 5), generator=draw)
    there = (torch.rand(7, 5, 3, generator=draw) > 0.5).float()
    weights = (0.2, 1.0, 3.0)
    objective, targets = Objective(Answers("classify"), 0.1), classes
    if case == "weighted":
        objective = Objective(Answers("classify"), 0.0, weights)
    elif case == "mixed":
        targets = torch.rand(7, 3, generator=draw)
    elif case == "labels":
        objective, targets = Objective(Answers("labels")), there[:, 0]
    elif case == "numbers":
        objective, targets = Objective(Answers("regress")), there[:, 0]
    elif case in ("tags", "weighted tags"):
        objective = Objective(Answers("classify"), 0.0, weights if case != "tags" else ())
        outputs, targets = steps, tags
    elif case == "events":
        objective, outputs, targets = Objective(Answers("labels")), steps, there
    if outputs.ndim == 3:
        lengths = torch.tensor([5, 1, 2, 4, 3, 1, 5])
    whole, mean = pieces_of(objective, outputs, targets, lengths)
    assert mean == pytest.approx(whole, rel=1e-6)


# C05
def test_a_loss_that_is_no_number_changes_nothing_and_names_its_items() -> None:
    net = network("conv(4, 3) relu")
    before = state(net)
    optimizer = choose_optimizer(net, "adamw", rate=0.1, weight_decay=0.1)
    step = TrainingStep(
        net, OBJECTIVE, optimizer, precision="float32", average=None, note=lambda _: None
    )
    batch = images(8).batch(np.arange(8))
    spoiled = Batch(batch.values.float() * math.nan, None, batch.targets, batch.rows)
    with pytest.raises(TrainingError):
        step.take(spoiled, 0.1)
    assert is_same(before, state(net))

    def spoil(values: Tensor, generator: torch.Generator, **_: Tensor) -> Tensor:
        return values.float() * math.nan

    def names(rows: Any) -> list[str]:
        return [f"picture-{row}.png" for row in rows]

    with pytest.raises(TrainingError) as caught:
        fitted(network(), images(40), augment=spoil, names=names)
    assert "Its items: picture-" in str(caught.value)
    assert str(caught.value).count(".png") == 8
