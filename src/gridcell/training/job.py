"""Everything that one training needs, chosen before it starts and told to the user."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridcell import layers, networks
from gridcell.augment.images import ImageAugment
from gridcell.batches import (
    Items,
    Onward,
    Texts,
    Variation,
    epoch_batches,
    items_of,
    work_in,
)
from gridcell.config import Config, TrainConfig, to_mapping
from gridcell.doctor import Finding
from gridcell.errors import ConfigError, NetworkError, ShapeError
from gridcell.networks.answers import Answers
from gridcell.networks.build import Step
from gridcell.networks.run import Room, channels_last, outputs
from gridcell.preparation import Preparation, TextPreparation, outputs_of, told
from gridcell.preparation.cache import Decoded
from gridcell.preparation.texts import NOUNS
from gridcell.samples import STEP_TASKS, Samples
from gridcell.sources.wording import counted
from gridcell.training import diagnosis, profile
from gridcell.training.calibration import FEWEST_ITEMS, calibrated
from gridcell.training.checkpoint import About, Checkpoints
from gridcell.training.device import choose_device, device_name
from gridcell.training.fit import Around, Names, Score, fit
from gridcell.training.found import start_from_rows
from gridcell.training.history import History, Watcher
from gridcell.training.measured import measured_precision
from gridcell.training.objective import Objective, choose_objective
from gridcell.training.optimizer import muon_filters
from gridcell.training.plan import (
    USUAL_SMOOTHING,
    Effort,
    Plan,
    effort_of,
    plan,
    smoothing_of,
    told_work,
    usual_rate,
)
from gridcell.training.precision import PrecisionChoice
from gridcell.training.residuals import with_intervals
from gridcell.training.signals import learning_layers
from gridcell.training.state import State
from gridcell.training.variation import choose_variation
from gridcell.training.vectors import start_from, vectors_for
from gridcell.training.walked import engines_told

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Job:
    """A network, the rows it learns from and is chosen by, and how."""

    network: networks.Network
    train: Items
    valid: Items | None
    valid_targets: NDArray[np.generic]
    objective: Objective
    plan: Plan
    precision: PrecisionChoice
    variation: Variation | None
    config: TrainConfig
    notes: tuple[str, ...]
    names: Names
    """File names of rows."""
    truths_of: Callable[[Items], NDArray[np.generic]]
    """What answers for some items are scored against."""
    columns: int = 1
    """Columns to forecast, where windows are: each is an item of its own."""

    def fit(
        self,
        score: Score,
        *,
        name: str,
        better: Better,
        watcher: Watcher | None,
        checkpoints: Checkpoints | None = None,
        state: State | None = None,
        around: Around | None = None,
        room: Room | None = None,
    ) -> History:
        """Train the network in place; see `fit`."""
        return fit(
            self.network,
            self.train,
            self.valid,
            objective=self.objective,
            plan=self.plan,
            precision=self.precision.precision,
            threads=self.precision.threads,
            score=score,
            score_name=name,
            valid_targets=self.valid_targets,
            higher_is_better=better == "higher",
            seed=self.config.seed,
            watcher=watcher,
            checkpoints=checkpoints,
            state=state,
            around=around,
            names=self.names,
            room=room,
        )

    def about(
        self, config: Config, *, digest: str, split_digest: str, fold: int | None = None
    ) -> About:
        """What a checkpoint has to say of this training, so that it can be started again.

        digest         of the data
        split_digest   of who is in which part
        fold           which one it is, in a cross-validation
        """
        return About(
            settings=_from_the_root(config),
            data_digest=digest,
            plan=self.plan,
            precision=self.precision.precision,
            threads=torch.get_num_threads(),
            step_threads=self.precision.threads,
            fold=fold,
            split_digest=split_digest,
            notation=self.network.notation,
        )

    def predicted(self, room: Room | None = None) -> NDArray[np.float32] | None:
        """The trained network's outputs for the validation rows; None where they say no more.

        Without such rows there are none; of a text to write on only what came is worth knowing.
        """
        if self.valid is None or self._writes:
            return None
        return outputs(self.network, self.valid, room)

    def answers(self, predicted: NDArray[np.float32] | None) -> Answers:
        """What the trained network's outputs mean, calibrated by those for the validation rows."""
        if predicted is None:
            return self.objective.answers
        if self.objective.task == "forecast":
            return with_intervals(
                self.objective.answers, predicted, self.valid_targets, columns=self.columns
            )
        return calibrated(self.objective.answers, predicted, self.valid_targets)

    def told(self, answers: Answers, predicted: NDArray[np.float32] | None) -> list[str]:
        """What was fitted on validation rows, and why a temperature was not."""
        has_few = predicted is not None and len(predicted) < FEWEST_ITEMS
        is_probable = answers.task in ("classify", "labels") and not self._writes
        if is_probable and (has_few or self.valid is None):
            text = f"Probabilities are not calibrated: that needs {FEWEST_ITEMS} validation rows"
            return [f"{text} or more."]
        return answers.told()

    @property
    def looked_at_after(self) -> int:
        """Work, as `work_in` counts it, of what is looked at between training and last scores."""
        work = 0
        if self.valid is not None and not self._writes:
            work = 2 * work_in(self.valid)  # those rows and as many training rows
        if any(diagnosis.relus(self.network)):
            rows = len(np.unique(self.train.rows))  # of which `sample` takes some
            share = min(diagnosis.LOOKED_AT / max(rows, 1), 1.0)
            work += round(share * work_in(self.train))
        return work

    @property
    def _writes(self) -> bool:
        """Whether it learns to write a text on."""
        return isinstance(self.train, Onward)

    def profile(self, history: History) -> list[str]:
        """Where the time went, for the user."""
        reading = profile.measure_reading(self.train, size=self.plan.batch_size)
        return profile.told(history.spent_s, history.seconds, reading)

    def diagnose(
        self,
        history: History,
        predicted: NDArray[np.float32] | None,
        score: Score,
        *,
        better: Better,
        room: Room | None = None,
    ) -> Diagnosis:
        """Look at how the training went, and how the network does on training rows as they are.

        predicted   outputs for the validation rows, as `predicted` gives them
        """
        room = room or Room()
        fit = None
        if predicted is not None:
            fit = self._fit(predicted, score, history.score_name, better, room)
        if fit is not None and self.precision.precision == "bfloat16":
            told = history.epochs[history.best_epoch - 1].valid_score
            differs = told is not None and f"{told:.4f}" != f"{fit.valid:.4f}"
            fit = replace(fit, differs_in_bfloat16=differs)
        some = self.train.sample(diagnosis.LOOKED_AT, seed=self.config.seed)
        dead = diagnosis.dead_units(self.network, some, room)
        names = list(learning_layers(self.network))
        findings = diagnosis.diagnose(
            history,
            rate=self.plan.rate,
            usual_rate=usual_rate(self.plan.optimizer, writes=self._writes),
            layers=names,
            fit=fit,
            dead=dead,
            cures=self._cures(),
        )
        return Diagnosis(fit, tuple(findings))

    def _cures(self) -> list[str]:
        """What is left to try against overfitting."""
        has_dropout = any(isinstance(m, layers.Dropout) and m.p for m in self.network.modules())
        # Only what was switched off can be switched on: other items vary as their kind can.
        tried = {"augmentation": self.config.augment, "dropout(0.5) in --net": has_dropout}
        return [cure for cure in diagnosis.CURES if not tried.get(cure, False)]

    def _fit(
        self, predicted: NDArray[np.float32], score: Score, name: str, better: Better, room: Room
    ) -> diagnosis.Fit | None:
        """The score on as many training rows as there are validation rows, and on those."""
        assert self.valid is not None
        some = self.train.sample(len(self.valid), seed=self.config.seed)
        of = self.objective.answers.of
        train = score(of(outputs(self.network, some, room)), self.truths_of(some))
        valid = score(of(predicted), self.valid_targets)
        if train is None or valid is None:
            return None
        rows = min(len(some), len(self.valid))
        return diagnosis.Fit(name, train, valid, rows, better == "higher")


@dataclass(frozen=True)
class Diagnosis:
    """What is to be said of a training that is over."""

    fit: diagnosis.Fit | None
    findings: tuple[Finding, ...]

    def told(self) -> list[str]:
        """How the network does on training and on validation rows, for the user."""
        return [] if self.fit is None else [self.fit.told()]


def _from_the_root(config: Config) -> dict[str, Any]:
    """The settings, with paths that hold wherever they are read."""

    def whole(path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.abspath(path.expanduser()))

    vectors, cache = whole(config.data.vectors), whole(config.data.cache)
    data = replace(config.data, vectors=vectors, cache=cache)
    return to_mapping(replace(config, path=Path(os.path.abspath(config.path)), data=data))


def check(config: TrainConfig) -> None:
    """Refuse what cannot work whatever the data is, before any of it is read.

    Raises   NetworkError, ConfigError
    """
    choose_device(config.device)
    networks.check_name(config.net)
    if config.optimizer == "muon" and not networks.may_have_filters(config.net):
        raise _without_filters()
    if config.budget is not None and config.budget.startswith("+"):
        raise ConfigError(
            f"budget {config.budget} is on top of one that was spent.",
            fix=f"give {config.budget[1:]}, or name a run's folder with --resume.",
        )


def prepare(
    config: TrainConfig,
    samples: Samples,
    decoded: Decoded,
    prep: Preparation,
    *,
    train_rows: NDArray[np.int64],
    valid_rows: NDArray[np.int64],
    memory: Path,
    vectors: Path | None = None,
    about: About | None = None,
    parts: int = 1,
) -> Job:
    """Choose network, plan, arithmetic and augmentation for these rows.

    vectors  file of word vectors that the embedding starts from
    memory   folder in which measurements of this machine are kept from run to run
    about    plan and arithmetic of a training that is resumed
    parts    pieces that it takes each batch in
    """
    if config.patience is not None and not len(valid_rows):
        raise ConfigError(
            "patience has no effect without validation rows, by which to see what is better.",
            fix="leave --patience out, or give --valid 0.1.",
        )
    is_classes = STEP_TASKS.get(samples.task, samples.task) == "classify"
    if config.label_smoothing and (not is_classes or samples.task == "write"):
        raise ConfigError(
            f"label_smoothing has no effect on the task {samples.task}.",
            fix="leave --label-smoothing out.",
        )
    if config.members > 1 and samples.task == "write":
        raise ConfigError(
            "members cannot write: what each remembers is not kept apart.",
            fix="leave --members out.",
        )
    device = choose_device(config.device)
    generator = torch.Generator().manual_seed(config.seed)
    is_each = samples.task in STEP_TASKS
    found = None if vectors is None else vectors_for(vectors, prep)
    embedding = None if found is None else found.width
    varied = choose_variation(config, samples, decoded, prep, train_rows)
    chosen = networks.choose_network(
        config.net,
        prep.layout,
        steps=_usual_steps(prep, decoded),
        is_each=is_each,
        is_onward=samples.task == "write",
        is_spelled=isinstance(prep, TextPreparation) and prep.level == "characters",
        is_forecast=samples.task == "forecast",
        is_mirrored=isinstance(varied.variation, ImageAugment) and varied.variation.flip,
        embedding=embedding,
    )
    if config.members > 1:
        chosen = networks.ensemble_of(chosen, config.members)
    if about is not None and about.notation is not None:
        chosen = networks.Choice(about.notation, "as before")
    network = networks.build(
        chosen.notation,
        prep.layout,
        outputs=outputs_of(prep, samples.labels),
        each=is_each,
        mean=prep.mean,
        deviation=prep.deviation,
        embedding=embedding,
        generator=generator,
    )
    of_vectors: tuple[str, ...] = ()
    if vectors is not None and found is not None:
        of_vectors = (start_from(network, found, vectors, prep),)
    if samples.task == "write":
        _check_looks_back(network.steps)
        network.stream()  # refuses what would have to see the answer first
    if is_each:
        _check_keeps_steps(network)
    channels_last(network)
    network.to(device)
    layers.set_truncation(network, config.tbptt)
    if config.precision == "auto":
        layers.keep_state(network)  # the rest of the network may be faster in bfloat16
    effort = effort_of(samples, items=len(train_rows))
    smoothing = smoothing_of(config, effort)
    if about is not None and about.plan.label_smoothing is not None:
        smoothing = about.plan.label_smoothing
    elif about is not None and samples.task != "write":
        smoothing = smoothing_of(config)  # begun by a version that knew no other
    objective = choose_objective(
        STEP_TASKS.get(samples.task, samples.task),
        _learned(samples, train_rows),
        classes=len(samples.labels),
        label_smoothing=smoothing,
        is_balanced=config.class_weights == "balanced",
    )
    targets = objective.prepare(samples.targets)
    drawn = partial(
        items_of,
        prep,
        decoded,
        targets,
        classes=len(samples.labels),
        events=samples.events,
        tags=samples.tags,
    )
    train = drawn(train_rows, variation=varied.variation)
    if isinstance(train, Texts) and train.is_onward:
        train = Onward(train)
    valid = drawn(valid_rows) if len(valid_rows) else None
    _check_leaves_steps(network, train)
    work = _work(network, train)
    whitening: str | None = None
    if about is None:
        whitening = start_from_rows(network, train, seed=config.seed)
        effort = _with_filters(effort, config, network)
        members = networks.members_of(network)
        decided = replace(
            plan(config, items=len(train), multiply_adds=work, members=members, effort=effort),
            label_smoothing=objective.label_smoothing,
        )
        size = decided.batch_size
        _check_single_items(network, train, size=size, device=device)
        precision = measured_precision(
            config.precision, network, train, objective, size=size, device=device, memory=memory
        )
    else:
        decided = about.plan  # and the checkpoint has what was found
        if config.optimizer != "auto":
            # Plans of earlier versions do not name it, the settings do.
            decided = replace(decided, optimizer=config.optimizer)
        told_before = f"{about.precision}, as before"
        precision = PrecisionChoice(about.precision, told_before, about.step_threads)
    notes = (
        *told(prep, decoded, train_rows),
        *of_vectors,
        *([] if whitening is None else [whitening]),
        f"Network: {network.notation}",
        f"{chosen.reason}; {network.parameters_count:,} parameters, {told_work(work)} an item.",
        *(note[0].upper() + note[1:] for note in network.notes),
        decided.told_epochs(),
        _told_steps(decided, train, parts=parts, tbptt=config.tbptt),
        f"Arithmetic: {precision.reason}, on {device_name(device)}.",
        *engines_told(network, precision.precision, device),
        f"Augmentation: {varied.reason}.",
    )
    return Job(
        network=network,
        train=train,
        valid=valid,
        valid_targets=_truths(samples, valid, valid_rows),
        objective=objective,
        plan=decided,
        precision=precision,
        variation=varied.variation,
        config=config,
        notes=notes,
        names=partial(_names, samples),
        truths_of=lambda items: _truths(samples, items, items.rows),
        columns=len(samples.labels),
    )


def _told_steps(decided: Plan, train: Items, *, parts: int, tbptt: int | None) -> str:
    """What each step learns from, and how, for the user."""
    batches = f"batches of {decided.batch_size}"
    if isinstance(train, Onward):
        each = counted(int(train.steps()[0]), NOUNS[train.texts.preparation.level])
        batches += f" stretches of {each}"
    if parts > 1:
        most = counted(-(-decided.batch_size // parts), "item")
        batches += f" in pieces of at most {most}"
    told = f"Steps: {batches}, {decided.optimizer} at rate {decided.rate:g}, {decided.schedule}"
    if decided.label_smoothing not in (None, 0.0, USUAL_SMOOTHING):
        told += f", label smoothing {decided.label_smoothing:g}"
    if tbptt is not None:
        told += f", gradients back through {counted(tbptt, 'step')} at most"
    return f"{told}."


def _names(samples: Samples, rows: NDArray[np.int64]) -> list[str]:
    """Files that some rows came from, each once."""
    return [samples.paths[row] for row in np.unique(rows)]


def _check_looks_back(steps: Sequence[Step]) -> None:
    """Refuse windows over time in a network that writes: they thin the steps or look ahead.

    Raises   NetworkError
    """
    for step in steps:
        for branch in step.branches:
            _check_looks_back(branch)
        module = step.module
        if not isinstance(module, layers.Conv | layers.Pool) or not module.mixes_steps:
            continue
        if module.windows[0].reach > 1:
            raise NetworkError(
                f"{step.spec} cannot be part of a network that writes: each step is to be answered "
                "from those up to it, and a window over time needs later ones or leaves some out.",
                fix="leave it out; an lstm remembers what came before.",
            )


def _check_keeps_steps(network: networks.Network) -> None:
    """Refuse a network that thins time where every step is to have its answer.

    Raises   NetworkError
    """
    tried = torch.tensor([1000])
    left = network.chain.out_lengths(tried)
    if left is None or int(left) != 1000:
        raise NetworkError(
            f"of 1,000 steps the network leaves {0 if left is None else int(left)}, and the task "
            "wants an answer at every one.",
            fix="leave out what pools or thins time, or write padding=same.",
        )


def _check_leaves_steps(network: networks.Network, items: Items) -> None:
    """Refuse a network that leaves no step of the shortest item: it would answer from nothing.

    Raises   NetworkError
    """
    steps = items.steps()
    if steps is None or not len(steps):
        return
    shortest = int(steps.min())
    lengths: Tensor | None = torch.tensor([shortest])
    for step in network.steps:
        lengths = step.module.out_lengths(lengths)  # type: ignore[operator]
        if lengths is None:
            return
        if int(lengths) == 0 < shortest:
            raise NetworkError(
                f"{step.spec} leaves nothing of the shortest item, which has "
                f"{counted(shortest, 'step')}.",
                fix="pool less over time, or leave short items out.",
            )


def _check_single_items(
    network: networks.Network, items: Items, *, size: int, device: torch.device
) -> None:
    """Refuse batches of a single item where batchnorm would have one value a channel.

    Raises   ConfigError
    """
    if size > 2 and len(items) > 1:
        return  # then every batch holds two or more
    if min(map(len, epoch_batches(items, size=size, seed=0, epoch=1))) > 1:
        return
    steps = items.steps()
    batch = items.batch(np.array([0 if steps is None else int(np.argmin(steps))]))
    lengths = None if batch.lengths is None else batch.lengths.to(device)
    trial = copy.deepcopy(network).train()
    layers.set_generator(trial, torch.Generator(device).manual_seed(0))
    try:
        with torch.no_grad():
            trial(batch.values.to(device), lengths)
    except ShapeError as error:
        which = f"of {counted(len(items), 'item')} in batches of {size} "
        which += "each" if size == 1 else "one"
        fix = "write layernorm in place of batchnorm in --net."
        if len(items) > 1:
            fix = f"give --batch-size 3 or more, or {fix}"
        raise ConfigError(f"{which} stands alone: {error.message}", fix=fix) from None


def _learned(samples: Samples, rows: NDArray[np.int64]) -> NDArray[np.generic]:
    """Targets of these rows: of tags those of all their steps."""
    if samples.tags is None:
        return samples.targets[rows]
    return samples.tags.take(rows).numbers


def _truths(samples: Samples, items: Items | None, rows: NDArray[np.int64]) -> NDArray[np.generic]:
    """What answers of these rows are scored against: raw targets, or labels of every step."""
    is_drawn = samples.task in STEP_TASKS or samples.task == "forecast"
    if is_drawn and items is not None:
        return items.truths().numpy()
    return samples.targets[rows]


def _usual_steps(prep: Preparation, decoded: Decoded) -> int | None:
    """The median number of steps of an item, None where each has one."""
    if prep.layout.steps is not None:
        return None
    items = items_of(prep, decoded, torch.zeros(len(decoded)), np.arange(len(decoded)))
    steps = items.steps()
    return None if steps is None else int(np.median(steps))


def _with_filters(effort: Effort, config: TrainConfig, network: networks.Network) -> Effort:
    """Take AdamW in place of Muon where a network has no filters for it.

    Raises   ConfigError where Muon is asked for
    """
    if muon_filters(network):
        return effort
    if config.optimizer == "muon":
        raise _without_filters()
    return replace(effort, optimizer="adamw") if effort.optimizer == "muon" else effort


def _without_filters() -> ConfigError:
    return ConfigError(
        "muon takes steps of the filters of convolutions, and this network has none (without "
        "groups).",
        fix="leave --optimizer out.",
    )


def _work(network: networks.Network, items: Items) -> int:
    """Multiply-adds of one item's forward pass, of median length where lengths differ."""
    layout, steps = network.layout, items.steps()
    if steps is not None:
        layout = replace(layout, steps=max(1, int(np.median(steps))))
        with torch.device("meta"):
            network = networks.build(network.notation, layout)
    return sum(row.multiply_adds for row in networks.rows(network))
