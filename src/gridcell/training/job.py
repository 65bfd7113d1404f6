"""All that one training needs, and what is to be said of it when it is over."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from gridcell import layers, networks
from gridcell.batches import Items, Onward, Variation, work_in
from gridcell.config import Config, TrainConfig, to_mapping
from gridcell.doctor import Finding
from gridcell.networks.answers import Answers
from gridcell.networks.run import Room, outputs
from gridcell.training import diagnosis, profile
from gridcell.training.calibration import FEWEST_ITEMS, calibrated
from gridcell.training.checkpoint import About, Checkpoints
from gridcell.training.fit import Around, Names, Score, fit
from gridcell.training.history import History, Watcher
from gridcell.training.objective import Objective
from gridcell.training.plan import Plan, usual_rate
from gridcell.training.precision import PrecisionChoice
from gridcell.training.residuals import with_intervals
from gridcell.training.signals import learning_layers
from gridcell.training.state import State

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
