"""The training loop.

for each epoch: for each batch: loss ─> gradients ─> optimizer ─> average
                score the averaged weights on validation rows; keep the best
                now and then, and at the end: write all of its state, to go on from
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gridcell.batches import (
    Items,
    Onward,
    Texts,
    epoch_batches,
    on_disk,
    training_batches,
    work_in,
)
from gridcell.errors import TrainingError
from gridcell.layers import BatchNorm, set_generator
from gridcell.networks.run import Room, outputs, said
from gridcell.process import peak_memory
from gridcell.training.allocator import return_memory
from gridcell.training.average import WeightAverage, usual_decay
from gridcell.training.best import Best
from gridcell.training.checkpoint import Checkpoints
from gridcell.training.device import reading_threads
from gridcell.training.history import History, Silence, StepRecord, Watcher
from gridcell.training.objective import Objective
from gridcell.training.optimizer import choose_optimizer
from gridcell.training.plan import USUAL_EPOCHS, Plan
from gridcell.training.precision import Precision, arithmetic, on_threads
from gridcell.training.schedule import rate_share
from gridcell.training.signals import Signals
from gridcell.training.state import (
    Ended,
    EpochRecord,
    Position,
    State,
    optimizer_state,
    restore_optimizer,
)
from gridcell.training.step import NotFiniteError, TrainingStep

Score = Callable[[NDArray[np.float64], NDArray[np.generic]], "float | None"]
"""The score of answers against raw targets; None where there is none."""
Names = Callable[[NDArray[np.int64]], list[str]]
"""Names of rows, for the user."""

FORECAST_AFTER = 10
"""Steps after which it is told how long the training will take."""
WARM_UP = 10
"""Steps in which batchnorm's running averages are means of all batches so far; later they forget.
After the six steps that two epochs of few items take, half of them would still be what they began
with."""
WORTH_A_FORECAST_S = 20.0
USUAL_SCORING_SHARE = 0.4
"""Time of an item's scoring to that of its training, until it is measured."""
MOST_TRIED = 64
"""Items, at most a batch, that are scored after the first steps of a budget to see how long they
take."""
MOST_NAMED = 8


@dataclass(frozen=True)
class Around:
    """What takes a command's time besides the training, so that its budget holds for the whole."""

    before_s: float = 0.0
    """Seconds that reading and decoding took."""
    scored_after: int = 0
    """Work, as `work_in` counts it, of the items that are scored when the training is over."""


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
    seed: int,
    watcher: Watcher | None = None,
    checkpoints: Checkpoints | None = None,
    state: State | None = None,
    around: Around | None = None,
    names: Names | None = None,
    room: Room | None = None,
    threads: int | None = None,
) -> History:
    """Train `network` in place; it ends with the weights of the best epoch.

    The best epoch has the best finite validation score, or the lower validation loss where
    scores are equal; without validation rows it is the last.

    valid_targets   raw targets of the validation rows, for `score`
    watcher         is told of every step and epoch, and may stop the training between two steps
    checkpoints     where the state is written now and then; it ends with the last one
    state           goes on from there, to the bits of a training that was never stopped
    around          what else the plan's time budget is to hold
    names           names the rows of a batch whose loss is not a number
    room            how many items at once the memory holds when epochs are scored
    threads         that a step uses; None for all of PyTorch's

    The first loss that is not finite ends the training: the history says so, and the network has
    the weights of the best epoch before.

    Raises   TrainingError where no epoch before gave finite outputs on the validation rows, and
             nothing is worth keeping
             MemoryFullError where not even one item at a time fits into the memory
    """
    watcher = watcher or Silence()
    run = _Run(
        network,
        train,
        valid,
        objective=objective,
        plan=plan,
        precision=precision,
        seed=seed,
        watcher=watcher,
        checkpoints=checkpoints,
        around=around or Around(),
        room=room or Room(watcher.note),
        best=Best(higher_is_better, has_valid=valid is not None and len(valid) > 0),
    )
    ended: Ended = "all epochs"
    failure = ""
    is_over = state is not None and state.position.is_over
    if state is not None:
        run.restore(state)
        # It was stopped after its last step, before the model was written.
        ended = (state.position.ended or ended) if is_over else ended
    here = run.state()
    if is_over and run.number:
        run.scored(score, valid_targets)  # the epoch that the budget cut
    elif not is_over:
        run.keep()
    try:
        while run.epoch <= plan.epochs and not is_over:
            with on_threads(threads):
                cut = run.steps_of_epoch()
            here = run.state()  # of an epoch that was cut: what is scored of it now counts for now
            record = run.scored(score, valid_targets)
            run.watcher.epoch(record)
            if cut is not None:
                ended = cut
                break
            here = run.state()
            if plan.budget_s is not None and run.progress() >= 1.0 and run.epoch <= plan.epochs:
                ended = "budget"
                break
            if valid is not None and record.epoch - run.best.epoch >= plan.patience:
                ended = "early"
                break
            run.keep(is_forced=False)
        run.keep(here, ended=ended)
    except NotFiniteError as error:
        text = _not_finite(error, run, names)
        if not run.best.is_usable:
            raise TrainingError(text) from None
        ended, failure = "diverged", text
    finally:
        run.best.restore(network)
    if not run.best.is_usable:
        raise TrainingError(
            "after no epoch were the network's outputs on the validation rows finite.",
            fix=f"try a lower rate, for instance --rate {plan.rate / 10:.2g}.",
        )
    return History(
        tuple(run.records),
        run.best.epoch,
        ended,
        run.elapsed(),
        run.items / max(run.busy_s, 1e-9),
        score_name,
        failure,
        steps=run.done,
        parts=run.step.parts,
        spent_s=run.spent(),
        signals=tuple(run.signals.taken),
    )


class _Run:
    """What one training carries from step to step."""

    def __init__(
        self,
        network: nn.Module,
        train: Items,
        valid: Items | None,
        *,
        objective: Objective,
        plan: Plan,
        precision: Precision,
        seed: int,
        watcher: Watcher,
        checkpoints: Checkpoints | None,
        around: Around,
        room: Room,
        best: Best,
    ) -> None:
        self.network, self.train, self.valid = network, train, valid
        self.objective, self.plan, self.precision, self.seed = objective, plan, precision, seed
        self.watcher, self.checkpoints, self.around, self.best = watcher, checkpoints, around, best
        self.room = room
        # By the threads that there are: those of a short step leave a core, but no time to wait.
        self.reading = reading_threads(next(network.parameters()).device, is_on_disk=on_disk(train))
        self.average = None if plan.ema == 0.0 else WeightAverage(network, plan.ema or 0.0)
        self.step = TrainingStep(
            network,
            objective,
            choose_optimizer(
                network,
                plan.optimizer,
                rate=plan.rate,
                weight_decay=plan.weight_decay,
                precision=precision,
            ),
            precision=precision,
            average=self.average,
            note=watcher.note,
        )
        self.generator = torch.Generator(self.step.device).manual_seed(seed)
        set_generator(network, self.generator)
        # Counted, not divided: items sorted by length make a batch or two more.
        self.steps = len(epoch_batches(train, size=plan.batch_size, seed=seed, epoch=1))
        # Counted once: a budget asks for them at every step.
        self.valid_work = 0 if valid is None else work_in(valid)
        self.item_work = work_in(train) / max(len(train), 1)
        # Where time decides, the epochs of the plan are only the most there can be.
        epochs = plan.epochs if plan.budget_s is None else min(plan.epochs, USUAL_EPOCHS)
        self.signals = Signals(network, epochs * self.steps)
        self.epoch, self.number, self.done, self.items, self.seen = 1, 0, 0, 0, 0
        self.loss_sum, self.rate, self.epoch_s, self.busy_s, self.scored_s = 0.0, 0.0, 0.0, 0.0, 0.0
        self.records: list[EpochRecord] = []
        self.other_s = {"waiting": 0.0, "validation": 0.0, "checkpoints": 0.0}
        self.before_s = 0.0
        self.tried_s = self.in_float32_s = 0.0
        """Seconds to score a unit of work as epochs are, and as the model answers, as was tried."""
        self.began = self.done
        self.is_failing = False
        self.started = time.perf_counter()

    def elapsed(self) -> float:
        """Seconds of training so far, those before it was resumed among them."""
        return self.before_s + time.perf_counter() - self.started

    def spent(self) -> dict[str, float]:
        """Seconds by what they went to."""
        return {**self.other_s, **self.step.spent_s}

    def progress(self) -> float:
        """How far the training is, 0 to 1: by steps, or by time where the budget is spent first."""
        by_steps = self.done / (self.plan.epochs * self.steps)
        if self.plan.budget_s is None:
            return by_steps
        # Whichever is spent first, the schedule has come to its end by then.
        return max(by_steps, self.elapsed() / self._available_s(self.plan.budget_s))

    def _available_s(self, budget_s: float) -> float:
        """Seconds that the budget leaves to training itself, the last validation taken off."""
        work = self.around.scored_after
        after = work * self.in_float32_s if self.in_float32_s else self._scoring_s(work)
        return max(budget_s - self.around.before_s - after - self._scoring_s(self.valid_work), 1e-3)

    def _scoring_s(self, work: int) -> float:
        """Seconds that scoring so much takes, as the last validation did, or else a few items."""
        if self.scored_s and self.valid_work:
            return work * self.scored_s / self.valid_work
        if self.tried_s:
            return work * self.tried_s
        return work * USUAL_SCORING_SHARE * self.busy_s / max(self.items * self.item_work, 1)

    def _try_scoring(self) -> float:
        """Score a few items as epochs are scored and as the model answers; seconds that it took."""
        items = self.valid if isinstance(self.train, Onward) else self.train
        if items is None:
            return 0.0
        started = time.perf_counter()
        some = items.sample(min(self.plan.batch_size, MOST_TRIED), seed=self.seed)
        score = said if _is_onward(some) else outputs

        def timed(precision: Precision) -> float:
            start = time.perf_counter()
            with arithmetic(precision, self.step.device):
                score(self.network, some, self.room)
            return time.perf_counter() - start

        # The first time of each is of what is set up once.
        tried: dict[Precision, float] = {
            each: min(timed(each), timed(each))
            for each in dict.fromkeys((self.precision, "float32"))
        }
        work = max(work_in(some), 1)
        self.tried_s, self.in_float32_s = tried[self.precision] / work, tried["float32"] / work
        took = time.perf_counter() - started
        self.other_s["validation"] += took
        return took

    def steps_of_epoch(self) -> Ended | None:
        """Take the steps of this epoch that are left; return why, where some were not taken."""
        self.network.train()
        batches = training_batches(
            self.train,
            size=self.plan.batch_size,
            seed=self.seed,
            epoch=self.epoch,
            first=self.number,
            threads=self.reading,
        )
        earlier, start = self.epoch_s, time.perf_counter()
        waited = start
        try:
            for batch in batches:
                begun = time.perf_counter()
                self.other_s["waiting"] += begun - waited
                progress = min(self.progress(), 1.0)
                self.rate = self.plan.rate * rate_share(self.plan.schedule, progress)
                if self.average is not None and self.plan.ema is None:
                    # There will be about so many steps, as it looks now.
                    self.average.decay = usual_decay(round(self.done / max(progress, 1e-9)))
                if self.done <= WARM_UP:
                    for module in self.network.modules():
                        if isinstance(module, BatchNorm):
                            module.warm_up(self.done)
                self.signals.before(self.done)
                loss = self.step.take(batch, self.rate)
                self.signals.after()
                count = len(batch.rows)
                self.loss_sum, self.seen = self.loss_sum + loss * count, self.seen + count
                self.number, self.done = self.number + 1, self.done + 1
                self.items += count
                so_far = earlier + time.perf_counter() - start
                self.busy_s, self.epoch_s = self.busy_s + so_far - self.epoch_s, so_far
                self.watcher.step(self._record())
                if self.done - self.began == FORECAST_AFTER:
                    if self.plan.budget_s is not None:
                        start += self._try_scoring()
                    self._forecast()
                if self.watcher.wants_stop:
                    return "interrupted"
                is_timed = self.plan.budget_s is not None
                if is_timed and self.number < self.steps and self.progress() >= 1.0:
                    return "budget"
                self.keep(is_forced=False)
                waited = time.perf_counter()
        finally:
            batches.close()
        return None

    def scored(self, score: Score, targets: NDArray[np.generic] | None) -> EpochRecord:
        """Score the averaged weights, keep them if they are the best, and turn to the next epoch.

        An epoch that was cut has its record as well.
        """
        record = EpochRecord(
            self.epoch,
            self.loss_sum / max(self.seen, 1),
            None,
            None,
            self.rate,
            self.epoch_s,
            False,
        )
        start = time.perf_counter()
        with _Averaged(self.average):
            record = _validated(
                record,
                self.network,
                self.valid,
                targets,
                self.objective,
                score,
                self.precision,
                self.room,
            )
            record = replace(record, is_best=self.best.offer(record, self.network))
        self.scored_s = time.perf_counter() - start
        self.other_s["validation"] += self.scored_s
        self.records.append(record)
        if self.train.steps() is not None:
            return_memory()
        self.epoch, self.number, self.seen = self.epoch + 1, 0, 0
        self.loss_sum, self.epoch_s = 0.0, 0.0
        return record

    def state(self) -> State:
        """All that a training needs to go on from here. The tensors are those in use: no copies."""
        position = Position(
            epoch=self.epoch,
            step=self.number,
            done=self.done,
            items=self.items,
            loss_sum=self.loss_sum,
            seen=self.seen,
            rate=self.rate,
            epoch_s=self.epoch_s,
            elapsed_s=self.elapsed(),
            busy_s=self.busy_s,
            scored_s=self.scored_s,
            average_steps=0 if self.average is None else self.average.step,
            parts=self.step.parts,
            best_epoch=self.best.epoch,
            best_rank=self.best.kept_rank,
            records=tuple(self.records),
            spent_s=self.spent(),
            signals=tuple(self.signals.taken),
        )
        tensors: dict[str, Tensor] = {"generator": self.generator.get_state()}
        groups = {
            "network.": self.network.state_dict(),
            "optimizer.": optimizer_state(self.step.optimizer),
            "average.": {} if self.average is None else self.average.state(),
            "best.": self.best.weights,
            "memory.": self.step.remembered(),
        }
        for prefix, group in groups.items():
            tensors |= {prefix + name: value.detach() for name, value in group.items()}
        return State(position, tensors)

    def restore(self, state: State) -> None:
        """Stand where the state was taken."""
        at = state.position
        self.epoch, self.number, self.done, self.items = at.epoch, at.step, at.done, at.items
        self.loss_sum, self.seen, self.rate = at.loss_sum, at.seen, at.rate
        self.epoch_s, self.busy_s, self.scored_s = at.epoch_s, at.busy_s, at.scored_s
        self.before_s, self.began = at.elapsed_s, at.done
        self.records, self.signals.taken = list(at.records), list(at.signals)
        self.step.parts = at.parts
        for name, seconds in at.spent_s.items():
            (self.other_s if name in self.other_s else self.step.spent_s)[name] = seconds
        self.network.load_state_dict(state.under("network."))
        restore_optimizer(self.step.optimizer, state.under("optimizer."))
        if self.average is not None:
            self.average.restore(state.under("average."), at.average_steps)
        self.best.recall(at.best_epoch, at.best_rank, state.under("best."))
        self.step.recall(state.under("memory."))
        generator = state.tensors["generator"]
        if generator.shape == self.generator.get_state().shape:  # else it is another device's
            self.generator.set_state(generator)

    def keep(
        self, state: State | None = None, *, is_forced: bool = True, ended: Ended | None = None
    ) -> None:
        """Write a checkpoint, if it is time or must be."""
        if self.checkpoints is None or not (is_forced or self.checkpoints.is_due):
            return
        state = state or self.state()
        weights = [value for value in state.tensors.values() if value.is_floating_point()]
        if not all(bool(torch.isfinite(value).all()) for value in weights):
            return  # The next loss will say so; from here no training could go on.
        start = time.perf_counter()
        self.checkpoints.write(replace(state, position=replace(state.position, ended=ended)))
        self.other_s["checkpoints"] += time.perf_counter() - start
        failure = self.checkpoints.failure
        if failure and not self.is_failing:
            self.watcher.note(f"No checkpoint: {failure} The training goes on without it.")
        self.is_failing = bool(failure)

    def _record(self) -> StepRecord:
        return StepRecord(
            self.epoch,
            self.plan.known_epochs,
            self.number,
            self.steps,
            self.loss_sum / self.seen,
            self.seen / max(self.epoch_s, 1e-9),
            self._seconds_left(),
        )

    def _seconds_left(self) -> float:
        progress, elapsed = max(self.progress(), 1e-9), self.elapsed()
        return max(elapsed / progress - elapsed, 0.0)

    def _forecast(self) -> None:
        """Say how long it will take, once a few steps are measured."""
        a_step = self.busy_s / max(self.done, 1)
        an_epoch = a_step * self.steps + self._scoring_s(self.valid_work)
        left = (self.plan.epochs - self.done / self.steps) * an_epoch
        if left < WORTH_A_FORECAST_S and self.plan.budget_s is None:
            return
        memory = peak_memory()
        held = "" if memory is None else f", {memory / 1e9:.1f} GB of memory so far"
        digits = 0 if a_step > 0.01 else 1
        text = f"{1000 * a_step:.{digits}f} ms a step, {_lasting(an_epoch)} an epoch"
        if self.plan.budget_s is None:
            text += f": about {_lasting(left)} left"
        else:
            spare = self._available_s(self.plan.budget_s) - self.elapsed()
            enough = self.done / self.steps + spare / an_epoch
            text += (
                f": {self.plan.epochs:,} epochs take less than the budget"
                if left <= spare
                else f": the budget is enough for about {enough:.1f} epochs"
            )
        self.watcher.note(f"Forecast: {text}{held}.")


class _Averaged:
    """A context in which the network has its averaged weights."""

    def __init__(self, average: WeightAverage | None) -> None:
        self.average = average

    def __enter__(self) -> None:
        if self.average is not None:
            self.average.swap()

    def __exit__(self, *_: object) -> None:
        if self.average is not None:
            self.average.swap()


def _is_onward(items: Items) -> bool:
    """Whether every step is scored by how probable the next was: texts to write on."""
    return isinstance(items, Texts) and items.is_onward


def _validated(
    record: EpochRecord,
    network: nn.Module,
    valid: Items | None,
    targets: NDArray[np.generic] | None,
    objective: Objective,
    score: Score,
    precision: Precision,
    room: Room,
) -> EpochRecord:
    if valid is None or targets is None or not len(valid):
        return record
    device = next(network.parameters()).device
    if _is_onward(valid):
        with arithmetic(precision, device):
            nats = -float(said(network, valid, room)[:, 0].mean())
        known = nats if math.isfinite(nats) else None
        return replace(record, valid_loss=known, valid_score=known)
    with arithmetic(precision, device):
        predicted = outputs(network, valid, room)
    loss = float(objective.loss(torch.from_numpy(predicted), valid.truths()))
    is_finite = bool(np.isfinite(predicted).all())
    value = score(objective.answers.of(predicted), targets) if is_finite else None
    return replace(record, valid_loss=loss if math.isfinite(loss) else None, valid_score=value)


def _not_finite(error: NotFiniteError, run: _Run, names: Names | None) -> str:
    """Say where the loss stopped being a number, and what the inputs and weights look like."""
    inputs = (
        "the batch holds values that are not finite"
        if error.has_bad_input
        else "the batch is finite"
    )
    lines = [
        f"the loss became {error.value} in epoch {run.epoch:,}, step {run.number + 1:,}, at "
        f"learning rate {run.rate:.3g}; gradient norm {error.norm:.3g}; {inputs}."
    ]
    if names is not None:
        found = names(error.batch.rows)
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        lines.append(f"  Its items: {', '.join(found[:MOST_NAMED])}{more}.")
    lines.append(f"  Fix: try a lower rate, for instance --rate {run.plan.rate / 10:.2g}.")
    return "\n".join(lines)


def _lasting(seconds: float) -> str:
    """A duration as a person says it.

    >>> _lasting(8.2), _lasting(95), _lasting(7260)
    ('8 s', '1 min 35 s', '2 h 1 min')
    >>> _lasting(0.0123), _lasting(1.84)
    ('12 ms', '1.8 s')
    """
    if seconds < 5:
        return f"{1000 * seconds:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
