"""Everything that one training needs, chosen before it starts and told to the user."""

from __future__ import annotations

import contextlib
import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gridcell import networks
from gridcell.augment.images import ImageAugment
from gridcell.batches import Images, plain_batches, training_batches
from gridcell.cache import write_whole
from gridcell.config import TrainConfig
from gridcell.errors import ConfigError, StorageError
from gridcell.layers import LSTM, RNN
from gridcell.networks.answers import Answers
from gridcell.networks.run import channels_last, outputs
from gridcell.preparation import ImagePreparation
from gridcell.samples import Samples
from gridcell.training.calibration import calibrated
from gridcell.training.device import choose_device
from gridcell.training.fit import EVALUATION_BATCH, History, Score, Watcher, fit
from gridcell.training.mirror import mirror_test
from gridcell.training.objective import Objective, choose_objective
from gridcell.training.plan import Plan, plan
from gridcell.training.precision import Precision, PrecisionChoice, choose_precision

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Job:
    """A network, the rows it learns from and is chosen by, and how."""

    network: networks.Network
    train: Images
    valid: Images | None
    valid_targets: NDArray[np.generic]
    objective: Objective
    plan: Plan
    precision: PrecisionChoice
    augment: ImageAugment | None
    config: TrainConfig
    notes: tuple[str, ...]

    def fit(self, score: Score, *, name: str, better: Better, watcher: Watcher | None) -> History:
        """Train the network in place; see `fit`."""
        return fit(
            self.network,
            self.train,
            self.valid,
            objective=self.objective,
            plan=self.plan,
            precision=self.precision.precision,
            augment=self.augment,
            score=score,
            score_name=name,
            valid_targets=self.valid_targets,
            higher_is_better=better == "higher",
            optimizer=self.config.optimizer,
            seed=self.config.seed,
            watcher=watcher,
        )

    def answers(self) -> Answers:
        """What the trained network's outputs mean, calibrated on the validation rows."""
        if self.valid is None:
            return self.objective.answers
        predicted = outputs(self.network, plain_batches(self.valid, size=EVALUATION_BATCH))
        return calibrated(self.objective.answers, predicted, self.valid_targets)


def check(config: TrainConfig) -> None:
    """Refuse what cannot work whatever the data is, before any of it is read.

    Raises   NetworkError, ConfigError
    """
    choose_device(config.device)
    networks.check_name(config.net)


def prepare(
    config: TrainConfig,
    samples: Samples,
    pixels: NDArray[np.uint8],
    prep: ImagePreparation,
    *,
    train_rows: NDArray[np.int64],
    valid_rows: NDArray[np.int64],
    memory: Path,
) -> Job:
    """Choose network, plan, arithmetic and augmentation for these rows.

    memory   folder in which measurements of this machine are kept from run to run
    """
    if config.patience is not None and not len(valid_rows):
        raise ConfigError(
            "patience has no effect without validation rows, by which to see what is better.",
            fix="leave --patience out, or give --valid 0.1.",
        )
    if config.label_smoothing and samples.task != "classify":
        raise ConfigError(
            f"label_smoothing has no effect on the task {samples.task}: it has no classes.",
            fix="leave --label-smoothing out.",
        )
    device = choose_device(config.device)
    generator = torch.Generator().manual_seed(config.seed)
    chosen = networks.choose_network(config.net, prep.layout)
    network = networks.build(
        chosen.notation,
        prep.layout,
        outputs=len(samples.labels),
        mean=prep.mean,
        deviation=prep.deviation,
        generator=generator,
    )
    channels_last(network)
    network.to(device)
    work = sum(row.multiply_adds for row in networks.rows(network))
    decided = plan(config, items=len(train_rows), multiply_adds=work)
    objective = choose_objective(
        samples.task,
        samples.targets[train_rows],
        classes=len(samples.labels),
        label_smoothing=config.label_smoothing,
        is_balanced=config.class_weights == "balanced",
    )
    targets = objective.prepare(samples.targets)
    train = Images(pixels, targets, train_rows)
    augment, varied = _augment(config, samples, pixels, prep, train_rows)
    precision = _precision(config, network, train, objective, decided, device, memory)
    notes = (
        f"Network: {network.notation}",
        f"{chosen.reason}; {network.parameters_count:,} parameters, "
        f"{work / 1e6:.1f} million multiply-adds an item.",
        *(note[0].upper() + note[1:] for note in network.notes),
        f"Epochs: {decided.epochs}, {decided.epochs_reason}.",
        f"Steps: batches of {decided.batch_size}, {config.optimizer} at rate {decided.rate:g}, "
        f"{decided.schedule}.",
        f"Arithmetic: {precision.reason}, on {_device_name(device)}.",
        f"Augmentation: {varied}.",
    )
    valid = Images(pixels, targets, valid_rows) if len(valid_rows) else None
    return Job(
        network=network,
        train=train,
        valid=valid,
        valid_targets=samples.targets[valid_rows],
        objective=objective,
        plan=decided,
        precision=precision,
        augment=augment,
        config=config,
        notes=notes,
    )


def _augment(
    config: TrainConfig,
    samples: Samples,
    pixels: NDArray[np.uint8],
    prep: ImagePreparation,
    rows: NDArray[np.int64],
) -> tuple[ImageAugment | None, str]:
    """Choose how images vary, and say it."""
    if not config.augment:
        return None, "off"
    reason, is_mirrored = f"mirroring {config.flip}, as asked", config.flip == "on"
    if config.flip == "auto":
        mirror = mirror_test(samples.task, pixels, samples.targets, rows, seed=config.seed)
        reason, is_mirrored = mirror.reason, mirror.is_kept
    chosen = ImageAugment.choose(
        prep.height, prep.width, prep.channels, len(rows), flip=is_mirrored
    )
    return chosen, f"{chosen.describe()} ({reason})"


def _precision(
    config: TrainConfig,
    network: networks.Network,
    train: Images,
    objective: Objective,
    decided: Plan,
    device: torch.device,
    memory: Path,
) -> PrecisionChoice:
    """Measure, or remember what was measured here for this network and batch size."""
    if config.precision == "auto" and any(isinstance(m, (LSTM, RNN)) for m in network.modules()):
        # A sum of 1,000 steps of 0.002 ends at 0.5 there, since 0.5 + 0.002 rounds to 0.5.
        reason = "float32: in bfloat16 a recurrent state would lose what it adds up"
        return PrecisionChoice("float32", reason)
    batches = training_batches(train, size=decided.batch_size, seed=0, epoch=0, augment=None)
    batch = next(batches)
    batches.close()  # type: ignore[attr-defined]
    values, targets = batch.values.to(device), batch.targets.to(device)

    def loss(trial: nn.Module) -> Tensor:
        return objective.loss(trial(values), targets)

    machine = (platform.node(), _device_name(device), torch.__version__, torch.get_num_threads())
    about = (*machine, network.notation, str(network.layout), decided.batch_size)
    file = memory / "precision" / f"{hashlib.sha256(repr(about).encode()).hexdigest()[:20]}.json"
    choice = choose_precision(config.precision, network, loss, device, remembered=_remembered(file))
    if config.precision == "auto" and not file.exists():
        _keep(file, choice.precision)
    return choice


def _remembered(file: Path) -> Precision | None:
    try:
        return cast(Precision, msgspec.json.decode(file.read_bytes(), type=Precision))
    except (OSError, msgspec.MsgspecError):
        return None


def _keep(file: Path, precision: Precision) -> None:
    # Without a place for it, the next run measures again: nothing is lost.
    with contextlib.suppress(StorageError):
        write_whole(file, lambda stream: _write(stream.write, precision))


def _write(write: Callable[[bytes], object], precision: Precision) -> None:
    write(msgspec.json.encode(precision))


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"the processor, {threads} thread{'' if threads == 1 else 's'}"
