"""Networks that cannot learn from these items, refused before the first step."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gridcell import layers, networks
from gridcell.batches import Items, epoch_batches
from gridcell.errors import ConfigError, NetworkError, ShapeError
from gridcell.networks.build import Step
from gridcell.sources.wording import counted


def check_looks_back(steps: Sequence[Step]) -> None:
    """Refuse windows over time in a network that writes: they thin the steps or look ahead.

    Raises   NetworkError
    """
    for step in steps:
        for branch in step.branches:
            check_looks_back(branch)
        module = step.module
        if not isinstance(module, layers.Conv | layers.Pool) or not module.mixes_steps:
            continue
        if module.windows[0].reach > 1:
            raise NetworkError(
                f"{step.spec} cannot be part of a network that writes: each step is to be answered "
                "from those up to it, and a window over time needs later ones or leaves some out.",
                fix="leave it out; an lstm remembers what came before.",
            )


def check_keeps_steps(network: networks.Network) -> None:
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


def check_leaves_steps(network: networks.Network, items: Items) -> None:
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


def check_single_items(
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
