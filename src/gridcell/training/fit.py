"""The training loop.

for each epoch: for each batch: loss ─> gradients ─> optimizer ─> average
                score the averaged weights on validation rows; keep the best
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gridcell.batches import Batch, Items, Texts, training_batches
from gridcell.errors import TrainingError
from gridcell.layers import set_generator
from gridcell.networks.run import outputs, said
from gridcell.training.allocator import return_memory
from gridcell.training.average import WeightAverage
from gridcell.training.objective import Objective
from gridcell.training.optimizer import choose_optimizer
from gridcell.training.plan import Plan
from gridcell.training.precision import Precision, arithmetic
from gridcell.training.schedule import rate_share

Score = Callable[[NDArray[np.float64], NDArray[np.generic]], "float | None"]
"""The score of answers against raw targets; None where there is none."""


Ended = Literal["all epochs", "early", "budget", "interrupted", "diverged"]


@dataclass(frozen=True)
class StepRecord:
    """Where a training stands after a step; `loss` is the epoch's mean so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    items_per_s: float
    seconds_left: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean training loss, then the averaged weights on validation rows."""

    epoch: int
    loss: float
    valid_loss: float | None
    valid_score: float | None
    rate: float
    seconds: float
    is_best: bool


@dataclass(frozen=True)
class History:
    """How a training went. Epochs count from 1."""

    epochs: tuple[EpochRecord, ...]
    best_epoch: int
    ended: Ended
    seconds: float
    items_per_s: float
    score_name: str
    failure: str = ""
    """What went wrong, where the loss was no longer finite."""

    def told(self) -> list[str]:
        """How it went, for the user."""
        count = len(self.epochs)
        epochs = f"{count} epoch{'' if count == 1 else 's'}"
        why = {
            "all epochs": epochs,
            "early": f"stopped after {epochs}: no better score for a while",
            "budget": f"stopped after {epochs}: the time budget is spent",
            "interrupted": f"interrupted in epoch {count}: the best weights so far are kept",
            "diverged": f"diverged in epoch {count + 1}: the best weights before that are kept",
        }[self.ended]
        best = self.epochs[self.best_epoch - 1]
        score = (
            ""
            if best.valid_score is None
            else f", validation {self.score_name} {best.valid_score:.4f}"
        )
        return [
            f"{why}, {self.seconds:.0f} s, {self.items_per_s:,.0f} items a second; "
            f"kept: epoch {self.best_epoch}{score}."
        ]


class Watcher(Protocol):
    """Who wants to see how it goes, and may ask to stop."""

    def step(self, record: StepRecord) -> None: ...
    def epoch(self, record: EpochRecord) -> None: ...
    @property
    def wants_stop(self) -> bool: ...


class _Silent:
    wants_stop = False

    def step(self, record: StepRecord) -> None: ...
    def epoch(self, record: EpochRecord) -> None: ...


def fit(
    network: nn.Module,
    train: Items,
    valid: Items | None,
    *,
    objective: Objective,
    plan: Plan,
    precision: Precision,
    score: Score,
    score_name: str,
    valid_targets: NDArray[np.generic] | None,
    higher_is_better: bool,
    optimizer: Literal["adamw", "sgd"],
    seed: int,
    watcher: Watcher | None = None,
) -> History:
    """Train `network` in place; it ends with the weights of the best epoch.

    The best epoch has the best finite validation score, or the lower validation loss where
    scores are equal; without validation rows it is the last.

    valid_targets   raw targets of the validation rows, for `score`
    watcher         is told of every step and epoch, and may stop the training between two steps

    The first loss that is not finite ends the training: the history says so, and the network has
    the weights of the best epoch before.

    Raises   TrainingError where no epoch before gave finite outputs on the validation rows, and
             nothing is worth keeping
    """
    run = _Run(
        network, objective, plan, precision, optimizer, seed, watcher or _Silent(), len(train)
    )
    records: list[EpochRecord] = []
    best = _Best(higher_is_better, has_valid=valid is not None and len(valid) > 0)
    ended: Ended = "all epochs"
    failure = ""
    try:
        for epoch in range(1, plan.epochs + 1):
            batches = training_batches(train, size=plan.batch_size, seed=seed, epoch=epoch)
            record = run.epoch(epoch, batches)
            with run.averaged():
                record = _validated(
                    record, network, valid, valid_targets, objective, score, precision
                )
                record = replace(record, is_best=best.offer(record, network))
            records.append(record)
            if train.steps() is not None:
                return_memory()
            run.watcher.epoch(record)
            if run.was_stopped:
                ended = "interrupted"
                break
            if run.progress() >= 1.0 and epoch < plan.epochs:
                ended = "budget"
                break
            if valid is not None and epoch - best.epoch >= plan.patience:
                ended = "early"
                break
    except TrainingError as error:
        if not best.is_usable:
            raise
        ended, failure = "diverged", str(error)
    finally:
        best.restore(network)
    if not best.is_usable:
        raise TrainingError(
            "after no epoch were the network's outputs on the validation rows finite.",
            fix=f"try a lower rate, for instance --rate {plan.rate / 10:.2g}.",
        )
    seconds = time.perf_counter() - run.started
    items_per_s = run.items / max(run.busy_s, 1e-9)
    return History(tuple(records), best.epoch, ended, seconds, items_per_s, score_name, failure)


class _Run:
    """What one training carries from step to step."""

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        plan: Plan,
        precision: Precision,
        optimizer: Literal["adamw", "sgd"],
        seed: int,
        watcher: Watcher,
        items: int,
    ) -> None:
        self.network, self.objective, self.plan = network, objective, plan
        self.precision, self.watcher = precision, watcher
        self.device = next(network.parameters()).device
        self.optimizer = choose_optimizer(
            network, optimizer, rate=plan.rate, weight_decay=plan.weight_decay
        )
        self.average = WeightAverage(network, plan.ema) if plan.ema else None
        self.generator = torch.Generator(self.device).manual_seed(seed)
        set_generator(network, self.generator)
        self.steps = -(-items // plan.batch_size)
        self.done = 0
        self.items = 0
        self.busy_s = 0.0
        self.was_stopped = False
        self.started = time.perf_counter()

    def progress(self) -> float:
        """How far the training is, 0 to 1: by steps, or by time where the budget is spent first."""
        by_steps = self.done / (self.plan.epochs * self.steps)
        if self.plan.budget_s is None:
            return by_steps
        # Whichever is spent first, the schedule has come to its end by then.
        return max(by_steps, (time.perf_counter() - self.started) / self.plan.budget_s)

    def epoch(self, epoch: int, batches: Iterator[Batch]) -> EpochRecord:
        """One pass over the training rows."""
        self.network.train()
        start = time.perf_counter()
        total, seen, rate = 0.0, 0, self.plan.rate
        for step, batch in enumerate(batches, start=1):
            rate = self.plan.rate * rate_share(self.plan.schedule, min(self.progress(), 1.0))
            loss = self._step(batch, rate, epoch, step)
            count = len(batch.rows)
            total, seen = total + loss * count, seen + count
            self.done, self.items = self.done + 1, self.items + count
            elapsed = time.perf_counter() - start
            self.watcher.step(self._record(epoch, step, total / seen, seen / elapsed))
            self.was_stopped = self.watcher.wants_stop
            is_over = self.plan.budget_s is not None and self.progress() >= 1.0
            if self.was_stopped or is_over:
                break
        elapsed = time.perf_counter() - start
        self.busy_s += elapsed
        return EpochRecord(epoch, total / max(seen, 1), None, None, rate, elapsed, False)

    def averaged(self) -> _Averaged:
        """A context in which the network has its averaged weights."""
        return _Averaged(self.average)

    def _step(self, batch: Batch, rate: float, epoch: int, step: int) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        lengths = None if batch.lengths is None else batch.lengths.to(self.device)
        with arithmetic(self.precision, self.device):
            predicted = self.network(batch.values.to(self.device), lengths)
        loss = self.objective.loss(predicted, batch.targets.to(self.device), lengths)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(_not_finite(self.network, loss, epoch, step, rate, batch.values))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return value

    def _record(self, epoch: int, step: int, loss: float, items_per_s: float) -> StepRecord:
        progress = max(self.progress(), 1e-9)
        elapsed = time.perf_counter() - self.started
        left = max(elapsed / progress - elapsed, 0.0)
        return StepRecord(epoch, self.plan.epochs, step, self.steps, loss, items_per_s, left)


class _Averaged:
    def __init__(self, average: WeightAverage | None) -> None:
        self.average = average

    def __enter__(self) -> None:
        if self.average is not None:
            self.average.swap()

    def __exit__(self, *_: object) -> None:
        if self.average is not None:
            self.average.swap()


class _Best:
    """The weights of the best epoch; only finite scores count."""

    def __init__(self, higher_is_better: bool, *, has_valid: bool) -> None:
        self.sign = 1.0 if higher_is_better else -1.0
        self.has_valid = has_valid
        self.epoch = 0
        self.rank: tuple[float, float] | None = None
        self.weights: dict[str, Tensor] = {}

    @property
    def is_usable(self) -> bool:
        """Whether there are weights to keep, with a finite score or loss where there is one."""
        return self.rank is not None and (not self.has_valid or max(self.rank) > -math.inf)

    def offer(self, record: EpochRecord, network: nn.Module) -> bool:
        """Keep the network's weights if this epoch is the best so far."""
        score = record.valid_score
        rank = (
            -math.inf if score is None or not math.isfinite(score) else self.sign * score,
            -math.inf if record.valid_loss is None else -record.valid_loss,
        )
        # Without validation rows the last epoch is the best. With them, an epoch whose loss is not
        # finite has the lowest rank: it must not win by having none.
        if self.has_valid and self.rank is not None and rank <= self.rank:
            return False
        self.rank, self.epoch = rank, record.epoch
        self.weights = {name: value.clone() for name, value in network.state_dict().items()}
        return True

    def restore(self, network: nn.Module) -> None:
        """Put the best weights back."""
        if self.weights:
            network.load_state_dict(self.weights)


def _validated(
    record: EpochRecord,
    network: nn.Module,
    valid: Items | None,
    targets: NDArray[np.generic] | None,
    objective: Objective,
    score: Score,
    precision: Precision,
) -> EpochRecord:
    if valid is None or targets is None or not len(valid):
        return record
    device = next(network.parameters()).device
    if isinstance(valid, Texts) and valid.is_onward:
        with arithmetic(precision, device):
            nats = -float(said(network, valid)[:, 0].mean())
        known = nats if math.isfinite(nats) else None
        return replace(record, valid_loss=known, valid_score=known)
    with arithmetic(precision, device):
        predicted = outputs(network, valid)
    loss = float(objective.loss(torch.from_numpy(predicted), valid.truths()))
    is_finite = bool(np.isfinite(predicted).all())
    value = score(objective.answers.of(predicted), targets) if is_finite else None
    return replace(record, valid_loss=loss if math.isfinite(loss) else None, valid_score=value)


def _not_finite(
    network: nn.Module, loss: Tensor, epoch: int, step: int, rate: float, values: Tensor
) -> str:
    """Say where the loss stopped being a number, and what the inputs and weights look like."""
    network.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    squares = [
        float((p.grad.double() ** 2).sum()) for p in network.parameters() if p.grad is not None
    ]
    norm = math.sqrt(sum(squares)) if all(map(math.isfinite, squares)) else math.inf
    has_bad_input = values.is_floating_point() and not bool(torch.isfinite(values).all())
    inputs = (
        "the batch holds values that are not finite" if has_bad_input else "the batch is finite"
    )
    return (
        f"the loss became {float(loss.detach())} in epoch {epoch}, step {step}, at learning rate "
        f"{rate:.3g}; gradient norm {norm:.3g}; {inputs}.\n"
        f"  Fix: try a lower rate, for instance --rate {rate / 10:.2g}."
    )
