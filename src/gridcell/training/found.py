"""Layers whose numbers are found from training rows before the first step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from gridcell import layers
from gridcell.batches import Items
from gridcell.networks import Network

MOST_ITEMS = 1000
MOST_VALUES = 4_000_000
"""Values of the items that are looked at: a photograph holds many patches, so few are enough."""


class _AllFoundError(Exception):
    """Everything wanted was found, and what comes behind need not be computed."""


@torch.no_grad()
def start_from_rows(network: Network, items: Items, *, seed: int) -> str | None:
    """Find what `whiten` layers look at from some of the items; return what to say of it.

    Each layer is found on what reaches it, so it may stand anywhere. The same seed gives the same
    items; None where there is no such layer.
    """
    wanted = [module for module in network.modules() if isinstance(module, layers.Whiten)]
    if not wanted:
        return None
    steps = items.steps()
    longest = 1 if steps is None or not len(steps) else int(steps.max())
    values = items.cells * network.layout.channels * longest
    some = items.sample(min(MOST_ITEMS, max(1, MOST_VALUES // values)), seed=seed)
    batch = some.batch(np.arange(len(some)))
    left = set(wanted)

    def find(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        assert isinstance(module, layers.Whiten)
        if module not in left:
            return
        lengths = given[1] if len(given) > 1 else named.get("lengths")
        module.start_from(given[0], lengths)
        left.discard(module)

    def end(*_: object) -> None:
        if not left:
            raise _AllFoundError

    handles = [module.register_forward_pre_hook(find, with_kwargs=True) for module in wanted]
    handles += [module.register_forward_hook(end) for module in wanted]
    was_training = network.training
    device = next(network.parameters()).device
    lengths = None if batch.lengths is None else batch.lengths.to(device)
    try:
        network.eval()
        network(batch.values.to(device), lengths)
    except _AllFoundError:
        pass
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    count = len(batch.rows)
    return f"Whitening: directions of patches found from {count:,} training rows, not learned."
