"""Random variation of training texts: some steps are read as unknown.

So the row of the unknown word is learned, which most texts of later on will need, and no answer
may hang on one word alone. The order of steps and their number stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridcell.errors import ConfigError, ShapeError
from gridcell.layers.lengths import check_lengths, valid_steps

UNKNOWN_ID = 1
"""The id of what is not in the vocabulary; `preparation.texts` gives it."""
MANY_ITEMS = 10_000
"""From so many items on the words vary by themselves."""


@dataclass(frozen=True)
class TextAugment:
    """How training texts vary; 0 leaves them as they are.

    Shapes   ids whole numbers [B, T], or [B, T, 1 + L] with letters beside the ids, which stay;
             lengths [B] -> the same
    Raises   ConfigError for a share out of range; ShapeError for lengths that do not fit
    Source   Iyyer et al. 2015 (word dropout)

    >>> TextAugment(unknown=0.1).describe()
    'each text at random: 10% of its steps read as unknown'
    """

    unknown: float = 0.0
    """Share of the steps whose id becomes that of the unknown."""

    def __post_init__(self) -> None:
        if not 0 <= self.unknown <= 0.9:
            raise ConfigError(
                f"augment.unknown = {self.unknown:g} is out of range: it must be 0 to 0.9."
            )

    def __call__(self, ids: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """Return ids of which some valid ones are 1; the padding stays as it is."""
        if ids.ndim not in (2, 3):
            raise ShapeError(
                f"TextAugment input must be ids [B, T] or [B, T, 1 + L]; got {tuple(ids.shape)}."
            )
        check_lengths(lengths, ids, layer="TextAugment")
        if not self.unknown:
            return ids
        draws = torch.rand(ids.shape[:2], generator=generator)
        is_hit = (draws < self.unknown) & valid_steps(lengths, ids.shape[1])
        if ids.ndim == 2:
            return ids.masked_fill(is_hit, UNKNOWN_ID)
        varied = ids.clone()
        varied[..., 0] = varied[..., 0].masked_fill(is_hit, UNKNOWN_ID)
        return varied

    def describe(self) -> str:
        """Return what is varied as a sentence for the user."""
        if not self.unknown:
            return "texts are not varied"
        return f"each text at random: {self.unknown:.0%} of its steps read as unknown"

    @staticmethod
    def choose(items: int) -> TextAugment:
        """Return settings for so many training texts.

        >>> TextAugment.choose(500).unknown
        0.1
        """
        return TextAugment(unknown=0.1 if items < MANY_ITEMS else 0.05)
