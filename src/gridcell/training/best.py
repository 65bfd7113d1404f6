"""The weights of the best epoch."""

from __future__ import annotations

import math

from torch import Tensor, nn

from gridcell.training.state import EpochRecord

KeptRank = tuple[float | None, float | None] | None


class Best:
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

    @property
    def kept_rank(self) -> KeptRank:
        """The rank as JSON can hold it: None for minus infinity."""
        if self.rank is None:
            return None
        score, loss = (None if value == -math.inf else value for value in self.rank)
        return score, loss

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

    def recall(self, epoch: int, rank: KeptRank, weights: dict[str, Tensor]) -> None:
        """Remember what was the best before the training was stopped."""
        self.epoch, self.weights = epoch, weights
        if rank is not None:
            score, loss = (-math.inf if value is None else value for value in rank)
            self.rank = score, loss

    def restore(self, network: nn.Module) -> None:
        """Put the best weights back."""
        if self.weights:
            network.load_state_dict(self.weights)
