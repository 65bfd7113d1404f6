"""The plan of a training: every number that the settings leave open, chosen from the data."""

from __future__ import annotations

from dataclasses import dataclass

from gridcell.config import TrainConfig, seconds
from gridcell.training.schedule import Schedule

LARGEST_BATCH = 128
SMALLEST_BATCH = 16
STEPS_WANTED = 30
"""Fewer steps an epoch than this, and smaller batches learn more from the same items."""
WORK_WANTED = 2.6e15
"""Multiply-adds, forward, that a default training may take: some minutes on two cores."""
FEWEST_EPOCHS, MOST_EPOCHS = 4, 100
RATES = {"adamw": 3e-3, "sgd": 0.1}
DECAYS = {"adamw": 0.05, "sgd": 5e-4}


@dataclass(frozen=True)
class Plan:
    """Numbers of a training, all decided."""

    epochs: int
    batch_size: int
    rate: float
    weight_decay: float
    ema: float
    patience: int
    schedule: Schedule
    budget_s: float | None
    epochs_reason: str


def plan(config: TrainConfig, *, items: int, multiply_adds: int) -> Plan:
    """Choose what the settings leave open.

    items           training rows
    multiply_adds   of one item's forward pass; the epochs of a default training follow from it
    """
    batch_size = config.batch_size or _batch_size(items)
    reason = "as asked"
    budget_s = None if config.budget is None else seconds(config.budget)
    if config.epochs is not None:
        epochs = config.epochs
    elif budget_s is not None:
        epochs, reason = MOST_EPOCHS, f"what {config.budget} allow"
    else:
        epochs, reason = _epochs(items, multiply_adds)
    steps = epochs * -(-items // batch_size)
    ema = config.ema
    if ema is None:
        # Averages over about the last twentieth of the training, at most the last 1,000 steps.
        window = min(max(steps // 20, 1), 1000)
        ema = 1 - 1 / window if window > 1 else 0.0
    return Plan(
        epochs=epochs,
        batch_size=batch_size,
        rate=RATES[config.optimizer] if config.rate is None else config.rate,
        weight_decay=DECAYS[config.optimizer]
        if config.weight_decay is None
        else config.weight_decay,
        ema=ema,
        patience=config.patience or max(5, epochs // 3),
        schedule=config.schedule,
        budget_s=budget_s,
        epochs_reason=reason,
    )


def _batch_size(items: int) -> int:
    size = LARGEST_BATCH
    while size > SMALLEST_BATCH and items < STEPS_WANTED * size:
        size //= 2
    return size


def _epochs(items: int, multiply_adds: int) -> tuple[int, str]:
    affordable = WORK_WANTED / max(items * multiply_adds, 1)
    epochs = int(min(max(affordable, FEWEST_EPOCHS), MOST_EPOCHS))
    if affordable >= MOST_EPOCHS:
        return epochs, "the most that a default training takes"
    if affordable <= FEWEST_EPOCHS:
        return epochs, "the fewest that a default training takes; this is much work"
    return epochs, f"chosen for {items:,} items of {multiply_adds / 1e6:.1f} million multiply-adds"
