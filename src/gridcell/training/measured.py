"""The arithmetic of a network on this machine: measured once, then remembered from run to run."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from gridcell.batches import Batch, Items, training_batches
from gridcell.cache import remember, remembered
from gridcell.networks import Network
from gridcell.process import is_out_of_memory
from gridcell.training.device import device_name
from gridcell.training.objective import Objective
from gridcell.training.precision import PrecisionChoice, Way, choose_precision

FORMAT = 5
"""One more whenever layers compute otherwise in one of the two, so that all is measured anew."""


def measured_precision(
    asked: Literal["auto", "float32", "bfloat16"],
    network: Network,
    train: Items,
    objective: Objective,
    *,
    size: int,
    device: torch.device,
    memory: Path,
) -> PrecisionChoice:
    """Measure, or remember what was measured here for this network and batch size.

    size     items of a batch; where the memory does not hold them, a part of them is measured
    memory   folder in which measurements of this machine are kept
    """
    whole = next(training_batches(train, size=size, seed=0, epoch=0, is_varied=False, threads=0))
    machine = (platform.node(), device_name(device), torch.__version__, torch.get_num_threads())
    about = (FORMAT, *machine, network.notation, str(network.layout), tuple(whole.values.shape))
    file = memory / "precision" / f"{hashlib.sha256(repr(about).encode()).hexdigest()[:20]}.json"
    known: Way | None = remembered(file, Way)
    for parts in (2**n for n in range(len(whole.rows).bit_length() + 1)):
        try:
            loss = _loss_of(whole.cut(parts)[0], objective, device)
            choice = choose_precision(asked, network, loss, device, remembered=known)
            break
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
    else:
        return PrecisionChoice("float32", "float32: the memory is too full to try another")
    if asked == "auto" and known is None:
        remember(file, Way(choice.precision, choice.threads))
    return choice


def _loss_of(
    batch: Batch, objective: Objective, device: torch.device
) -> Callable[[nn.Module], Tensor]:
    values, targets = batch.values.to(device), batch.targets.to(device)
    lengths = None if batch.lengths is None else batch.lengths.to(device)
    return lambda trial: objective.loss(trial(values, lengths), targets, lengths)
