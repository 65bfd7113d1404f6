"""Stretches of long items: where they begin, and what belongs to their steps."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gridcell.samples import Tags


def window_starts(steps: int, longest: int) -> list[int]:
    """Return where windows of `longest` begin that cover `steps`, evenly, at most half apart.

    >>> window_starts(5, 10), window_starts(20, 10), window_starts(21, 10)
    ([0], [0, 5, 10], [0, 4, 7, 11])
    """
    spare = steps - longest
    if spare <= 0:
        return [0]
    count = 1 + -(-spare // max(1, longest // 2))
    return [round(place) for place in np.linspace(0, spare, count)]


def drawn_starts(spare: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
    """Draw where each stretch begins, from 0 to the steps that are `spare` [B] beside it."""
    draws = torch.rand(len(spare), generator=generator, dtype=torch.float64).numpy()
    return np.asarray((draws * (spare + 1)).astype(np.int64))


def tags_of(
    tags: Tags,
    rows: NDArray[np.int64],
    firsts: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> Tensor:
    """Return the classes of the steps of stretches, int64 [B, T], 0 in the padding."""
    targets = np.zeros((len(rows), max(1, int(counts.max(initial=0)))), np.int64)
    for number, (row, first, count) in enumerate(zip(rows, firsts, counts, strict=True)):
        begin = tags.starts[row] + first
        targets[number, :count] = tags.numbers[begin : begin + count]
    return torch.from_numpy(targets)


def mixed_targets(targets: Tensor, partner: Tensor, share: Tensor, *, classes: int) -> Tensor:
    """Return targets as shares of each class [B, K], where items were mixed with their partner."""
    if targets.ndim == 1:
        targets = F.one_hot(targets, classes).float()
    return torch.lerp(targets[partner], targets, share[:, None])
