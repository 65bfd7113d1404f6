"""The plan of a training: every number that the settings leave open, chosen from the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridcell.augment.images import MANY_ITEMS, SMALL_SIDE
from gridcell.config import TrainConfig, seconds
from gridcell.errors import ConfigError
from gridcell.layers.ensemble import FEWEST_ITEMS
from gridcell.samples import ImageFacts, Kind, Samples, TextFacts
from gridcell.sources.wording import counted
from gridcell.training.average import usual_decay
from gridcell.training.optimizer import OptimizerName
from gridcell.training.schedule import Schedule

LARGEST_BATCH = 128
SMALLEST_BATCH = 16
MILLION = 10**6
ENDLESS_EPOCHS = 10_000
"""More than any training has: of one that goes on by a budget, where time alone decides."""
STEPS_WANTED = 30
"""Fewer steps an epoch than this, and smaller batches learn more from the same items."""
FEWEST_EPOCHS, USUAL_EPOCHS, MOST_EPOCHS = 3, 12, 100
USUAL: dict[OptimizerName, tuple[float, float]] = {
    "adamw": (3e-3, 0.05),
    "sgd": (0.1, 5e-4),
    "muon": (3e-3, 1.0),
}
"""The usual rate and weight decay of each."""
USUAL_SMOOTHING = 0.1
"""Share of each target that is spread over all classes."""


@dataclass(frozen=True)
class Effort:
    """How long a kind of data is worth training on where nothing is asked for."""

    steps: int
    """Steps after which few items have been learned as well as they will be."""
    work: float
    """Multiply-adds, forward, of a default training: some minutes on two cores."""
    epochs: int
    """Most epochs, however few the items."""
    largest_batch: int = LARGEST_BATCH
    optimizer: OptimizerName = "adamw"
    rate: float | None = None
    """Learning rate of that optimizer; the usual one where left out."""
    label_smoothing: float = USUAL_SMOOTHING
    """Where a class is learned."""


EFFORTS: dict[Kind, Effort] = {
    "images": Effort(2400, 1.95e13, MOST_EPOCHS),
    # Their convolutions run at a fifth of the speed, and each item teaches more, at every step.
    "sounds": Effort(800, 5.5e12, 40),
    "clips": Effort(800, 3e12, 40),
    "series": Effort(3000, 1e13, 500),
    "texts": Effort(1000, 3e12, 25),
    "forecasts": Effort(2400, 1e12, 100),
}

# On 5,000 validation rows of CIFAR-10, seed 0, a network of half the width, six epochs: AdamW with
# weight decay 0.5 85.9 %, Muon with decay 1 87.0, with 0.3 86.9. Of Fashion-MNIST in three epochs:
# AdamW 93.7 %, Muon 94.5. Few or large images were not measured. The network of photographs runs
# faster, so that it affords more work. Of CIFAR-10 in 12 epochs, the training files alone, a tenth
# held out, seed 0: label smoothing 0.1 89.9 %, 0.2 90.5.
MANY_SMALL_PHOTOS = Effort(2400, 2.7e13, MOST_EPOCHS, optimizer="muon", label_smoothing=0.2)
MANY_SMALL_GREYS = Effort(2400, 1.95e13, MOST_EPOCHS, optimizer="muon")

# Parts of words take longer to learn than words. On validation rows of names, 129 steps an epoch,
# one convolution gave 84.4 % in 12 epochs and 85.8 % in 25, the twelfth of which was best (seed 0).
# Weight decay 1 in place of 0.05 named 0.4 points more of 18,028 lines in four folds (85.1 %), at a
# better log loss, but of small languages less: 50.9 % in the mean of all classes in place of 53.1.
SHORT_TEXTS = Effort(2600, 3e12, 25)
SHORT_TEXT_CHARACTERS = 20
"""Texts of which the usual one has at most so many are words or names, and cost little."""

# Every step of a text teaches, so few stretches are a large batch, and an epoch of small ones takes
# no longer. On validation rows of Shakespeare's characters, seed 0, batches of 16 came to 1.47 nats
# at rate 0.003 and 1.46 at 0.006; from the eighth epoch on the text was learned by heart. Stretches
# were twice as long then, and each began with nothing remembered.
WRITING = Effort(1200, 1.2e13, 40, largest_batch=16, rate=5e-3, label_smoothing=0.0)


@dataclass(frozen=True)
class Plan:
    """Numbers of a training, all decided."""

    epochs: int
    batch_size: int
    rate: float
    weight_decay: float
    ema: float | None
    """None where time decides how many steps there are: then it follows, step by step, how many
    there will be as it looks then."""
    patience: int
    schedule: Schedule
    budget_s: float | None
    epochs_reason: str
    optimizer: OptimizerName = "adamw"
    """With a default, as what follows, since checkpoints of earlier versions do without."""
    label_smoothing: float | None = None
    """The objective's; None where an earlier version did not name it."""

    @property
    def known_epochs(self) -> int | None:
        """Most epochs that there can be; None where time alone decides."""
        is_endless = self.budget_s is not None and self.epochs >= ENDLESS_EPOCHS
        return None if is_endless else self.epochs

    def told_epochs(self) -> str:
        """How many epochs, and why, for the user."""
        known = "" if self.known_epochs is None else f"{self.known_epochs:,}, "
        return f"Epochs: {known}{self.epochs_reason}."


def plan(
    config: TrainConfig,
    *,
    items: int,
    multiply_adds: int,
    members: int = 1,
    effort: Effort | None = None,
) -> Plan:
    """Choose what the settings leave open.

    items           training rows
    multiply_adds   of one item's forward pass; the epochs of a default training follow from it
    members         of an ensemble, each of which is taught its share of an epoch's items
    effort          that the kind of data is worth; that of images where left out
    """
    effort = effort or EFFORTS["images"]
    batch_size = config.batch_size or _batch_size(items, effort.largest_batch)
    if members > 1:
        batch_size = _shared_batch(batch_size, config, items=items, members=members)
    reason = "as asked"
    budget_s = None if config.budget is None else seconds(config.budget)
    if config.epochs is not None:
        epochs, reason = config.epochs, reason + shared_epochs(members)
    elif budget_s is not None:
        reason = f"or fewer, as many as {config.budget} allow{shared_epochs(members)}"
        epochs = MOST_EPOCHS * members
    else:
        steps = -(-items // batch_size)
        epochs, reason = _epochs(items, multiply_adds // members, steps, effort=effort)
        if members > 1:
            epochs *= members
            reason += f", {members} times as many for {members} members that share the items"
    optimizer = effort.optimizer if config.optimizer == "auto" else config.optimizer
    rate, decay = USUAL[optimizer]
    if optimizer == effort.optimizer and effort.rate is not None:
        rate = effort.rate
    steps = epochs * -(-items // batch_size)
    ema = config.ema
    if ema is None and budget_s is None:
        ema = usual_decay(steps)
    return Plan(
        epochs=epochs,
        batch_size=batch_size,
        rate=rate if config.rate is None else config.rate,
        weight_decay=decay if config.weight_decay is None else config.weight_decay,
        ema=ema,
        patience=config.patience or usual_patience(epochs),
        schedule=config.schedule,
        budget_s=budget_s,
        epochs_reason=reason,
        optimizer=optimizer,
    )


def smoothing_of(config: TrainConfig, effort: Effort | None = None) -> float:
    """The label smoothing that is asked for, else that of the kind of data."""
    if config.label_smoothing is not None:
        return config.label_smoothing
    return USUAL_SMOOTHING if effort is None else effort.label_smoothing


def effort_of(samples: Samples, *, items: int) -> Effort:
    """Return how long so many of these samples are worth training on."""
    if samples.task == "write":
        return WRITING
    facts = samples.facts
    if isinstance(facts, ImageFacts) and items >= MANY_ITEMS:
        is_small = np.median(facts.sizes.max(1)) <= SMALL_SIDE
        if is_small:
            return MANY_SMALL_PHOTOS if facts.colours.mean() > 0.5 else MANY_SMALL_GREYS
        return EFFORTS["images"]
    if isinstance(facts, TextFacts) and not facts.is_tokenized:
        usual = np.median(np.diff(facts.starts))
        return SHORT_TEXTS if usual <= SHORT_TEXT_CHARACTERS else EFFORTS["texts"]
    return EFFORTS[samples.kind]


def usual_rate(optimizer: OptimizerName, *, writes: bool) -> float:
    """The rate that a training takes where none is asked for."""
    if writes and optimizer == WRITING.optimizer and WRITING.rate is not None:
        return WRITING.rate
    return USUAL[optimizer][0]


def usual_patience(epochs: int) -> int:
    """Epochs without a better score before a training of so many stops."""
    return max(5, epochs // 2)


def _batch_size(items: int, largest: int) -> int:
    size = largest
    while size > SMALLEST_BATCH and items < STEPS_WANTED * size:
        size //= 2
    return size


def _shared_batch(size: int, config: TrainConfig, *, items: int, members: int) -> int:
    """A batch large enough that each member of an ensemble learns from it.

    Raises   ConfigError where the asked one is not, or all the items are too few
    """
    least = FEWEST_ITEMS * members
    if items < least:
        raise ConfigError(
            f"{items} items to learn from are too few for {members} members: each needs "
            f"{FEWEST_ITEMS} at a time.",
            fix=f"name at most {max(items // FEWEST_ITEMS, 1)} members.",
        )
    if config.batch_size is None:
        return max(size, 2 * least)  # an epoch's batches may be of half that size
    if config.batch_size < least:
        raise ConfigError(
            f"batches of {config.batch_size} are too small for {members} members: each needs "
            f"{FEWEST_ITEMS} items at a time.",
            fix=f"give --batch-size {2 * least}, or fewer members.",
        )
    return size


def shared_epochs(members: int) -> str:
    """Say what epochs that were asked for mean to the members of an ensemble."""
    if members == 1:
        return ""
    return f"; {members} members share the items of each, so each member sees 1 in {members}"


def told_work(multiply_adds: int) -> str:
    """Multiply-adds as a person says them.

    >>> told_work(570_123_456), told_work(1_234_567), told_work(1620)
    ('570 million multiply-adds', '1.2 million multiply-adds', '1,620 multiply-adds')
    """
    if multiply_adds < MILLION:
        return f"{multiply_adds:,} multiply-adds"
    digits = 0 if multiply_adds >= 100 * MILLION else 1
    return f"{multiply_adds / MILLION:,.{digits}f} million multiply-adds"


def _epochs(items: int, multiply_adds: int, steps: int, *, effort: Effort) -> tuple[int, str]:
    """As many epochs as the items can use, fewer where that would be too much work."""
    useful = min(max(USUAL_EPOCHS, round(effort.steps / steps)), effort.epochs)
    affordable = int(effort.work / max(items * multiply_adds, 1))
    if affordable >= useful:
        return useful, f"{useful * steps:,} steps are enough for {counted(items, 'item')}"
    told = f"{counted(items, 'item')} of {told_work(multiply_adds)}"
    return max(affordable, FEWEST_EPOCHS), f"as {told} are much work; --epochs gives more"
