"""What a careful person would say of a training that is over, in sentences with their figures.

Nothing here looks at test rows. Thresholds are set so that trainings that go well are left alone;
the tests hold one of each illness, and some that are healthy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gridcell.batches import Items, plain_places
from gridcell.doctor import Finding
from gridcell.layers import Activation
from gridcell.networks import Network
from gridcell.networks.run import Room, evaluation_batch_size, in_room
from gridcell.sources.wording import counted
from gridcell.training.history import History
from gridcell.training.normed import normed_relus
from gridcell.training.signals import Signal

USUAL_RATE = 3e-3
CURES = ("augmentation", "dropout(0.5) in --net", "a larger --weight-decay", "a smaller --net")
"""Against overfitting, the most useful first."""
FEWEST_JUDGED = 30
"""Rows, of training and validation each, below which a gap between them says little."""
GAP, SMALL_GAP = 0.1, 0.02
GAP_OF_ERRORS, SMALL_GAP_OF_ERRORS = 1.5, 1.1
LEARNED, LITTLE_LEARNED = 0.95, 0.9
LOSS_RISE, RISE_OF_FIRST = 1.5, 0.2
MANY_EPOCHS, LASTING = 30, 3
LEAST_FALL = 0.1
SMALL_UPDATE, USUAL_UPDATE, LARGE_UPDATE = 3e-4, 2e-3, 0.1
"""Of the weights' norm that a step changes, the median of those looked at."""
USUAL_PEAK, LARGE_PEAK, WILD_PEAK = 0.01, 0.1, 0.25
"""The largest of them: with the usual rate; where it is the rate's doing if little is learned; and
where images, series and texts all learned less than at a lower rate."""
TINY_UPDATE, HALF = 5e-5, 0.5
"""Steps so far below the usual leave a network where it began, whatever the noisy loss does or how
few the rows are; by the loss, little was learned unless it fell to half."""
FEWEST_LOOKED_AT = 5
"""Steps looked at below which a training is too short for a rate to be called too low."""
LARGEST_CHANGE = 1000.0
"""Of a rate that is proposed: where a training blew up, its steps tell no more than that, so that
the usual rate is a better guess than a higher one."""
VANISHED = 1e-4
EXPLODED = 100.0
DEAD_SHARE, GONE_SHARE = 0.2, 0.9
LOOKED_AT = 256
"""Training items, drawn at random, by which units are called dead."""


@dataclass(frozen=True)
class Fit:
    """The score by which the epoch was chosen, on training rows as they are and on validation."""

    name: str
    train: float
    valid: float
    rows: int
    """The fewer of both."""
    higher_is_better: bool
    differs_in_bfloat16: bool = False
    """Whether the epoch was scored in bfloat16, and its score is another."""

    def both(self) -> str:
        """Both, for a sentence about them."""
        return f"{self.name} {self.train:.3f} on training rows, {self.valid:.3f} on validation rows"

    def told(self) -> str:
        """Both, for the user."""
        as_is = "as it is" if self.rows == 1 else "as they are"
        text = (
            f"The kept network has {self.name} {self.train:.4f} on "
            f"{counted(self.rows, 'training row')} {as_is}, not varied, and {self.valid:.4f} "
            "on the validation rows"
        )
        if self.differs_in_bfloat16:
            text += ", in float32 as the model answers; epochs are scored in bfloat16"
        return f"{text}."


@dataclass(frozen=True)
class Dead:
    """Units of a relu that answered to none of the items looked at."""

    layer: str
    dead: int
    units: int
    is_normed: bool = False
    """Whether it gets what a batchnorm made, so that another would change little."""


def diagnose(
    history: History,
    *,
    rate: float,
    layers: Sequence[str],
    usual_rate: float = USUAL_RATE,
    fit: Fit | None = None,
    dead: Sequence[Dead] = (),
    cures: Sequence[str] = CURES,
) -> list[Finding]:
    """Return what went wrong, or could go better, in this training; nothing where it went well.

    layers       names of the layers that `history.signals` are of
    usual_rate   that would have been taken if none had been asked for
    cures        what is left to try against overfitting
    """
    # Units that die at the usual rate die at a tenth of it too: see `_dead`.
    killed = dead if rate > usual_rate else ()
    too_high = _too_high(history, rate, usual_rate, fit, killed)
    too_low = [] if too_high else _too_low(history, rate, usual_rate, fit)
    # What a wrong rate does looks like other illnesses, whose cures would not help.
    others: list[Finding] = []
    if not (too_high or too_low):
        others = [*_unfinished(history, fit), *_gradients(history.signals, layers)]
    # Few rows of a network that stands where it began differ by chance.
    overfitted = [] if too_low else _overfitted(fit, cures)
    return [*too_high, *too_low, *overfitted, *others, *_dead(dead, is_told=bool(too_high))]


def relus(network: nn.Module) -> Iterator[nn.Module]:
    """The relu layers of a network, whose units can die, in their order."""
    for module in network.modules():
        if isinstance(module, Activation) and module.name == "relu":
            yield module


@torch.no_grad()
def dead_units(network: Network, items: Items, room: Room | None = None) -> list[Dead]:
    """Count the channels of each relu that are zero for every one of these items."""
    alive: dict[int, Tensor] = {}
    handles = []

    def look(number: int, output: Tensor) -> None:
        channel = 1 if output.ndim == 2 else 2  # [B, D], or [B, T, C, *grid]
        seen = output.amax([axis for axis in range(output.ndim) if axis != channel]) > 0
        alive[number] = alive.get(number, torch.zeros_like(seen)) | seen

    for number, module in enumerate(relus(network), start=1):

        def hook(_: nn.Module, __: object, output: Tensor, number: int = number) -> None:
            look(number, output)

        handles.append(module.register_forward_hook(hook))
    if not handles:
        return []
    was_training = network.training
    device = next(network.parameters()).device
    network.eval()

    def answer(places: NDArray[np.int64]) -> None:
        batch = items.batch(places)
        lengths = None if batch.lengths is None else batch.lengths.to(device)
        network(batch.values.to(device), lengths)

    try:
        for places in plain_places(items, size=evaluation_batch_size(items)):
            for _ in in_room(places, answer, room or Room()):
                pass
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    normed = normed_relus(network.chain)
    return [
        Dead(f"relu {number}", int((~alive[number]).sum()), len(alive[number]), relu in normed)
        for number, relu in enumerate(relus(network), start=1)
        if number in alive
    ]


def _is_overfitted(fit: Fit | None) -> bool:
    if fit is None or fit.rows < FEWEST_JUDGED:
        return False
    if fit.higher_is_better:
        return fit.train - fit.valid > GAP
    return fit.valid > GAP_OF_ERRORS * fit.train


def _overfitted(fit: Fit | None, cures: Sequence[str]) -> list[Finding]:
    if fit is None or not _is_overfitted(fit):
        return []
    text = f"It overfits: {fit.both()}. More items help most, then {', '.join(cures)}."
    return [Finding("warning", text)]


def _unfinished(history: History, fit: Fit | None) -> list[Finding]:
    if fit is None or fit.rows < FEWEST_JUDGED:
        return []
    if fit.higher_is_better:
        is_near, is_learned = fit.train - fit.valid < SMALL_GAP, fit.train > LEARNED
    else:
        is_near, is_learned = fit.valid < SMALL_GAP_OF_ERRORS * fit.train, False
    is_last = history.best_epoch == len(history.epochs) > 1
    if is_near and is_last and not is_learned and history.ended in ("all epochs", "budget"):
        text = f"It could learn more: {fit.both()}, and the last epoch was the best. Give more "
        return [Finding("note", text + "--epochs or a larger --net.")]
    return []


def _too_high(
    history: History, rate: float, usual_rate: float, fit: Fit | None, dead: Sequence[Dead]
) -> list[Finding]:
    losses = [record.loss for record in history.epochs]
    updates = _updates(history)
    why = _wild_steps(history, updates) or _rise(losses)
    if updates and not why:
        why = _large_steps(history, updates, little=_little_learned(losses, fit), dead=dead)
    if not why:
        return []
    excess = max(updates, default=USUAL_PEAK) / USUAL_PEAK
    lower = rate / min(max(excess, 3.0), LARGEST_CHANGE)
    proposed = f"--rate {lower:.1g}"
    if excess > LARGEST_CHANGE and lower > usual_rate:
        proposed = f"--rate {usual_rate:g}, the usual one"
    text = f"The learning rate {rate:g} was too high: {why}. Try {proposed}."
    return [Finding("warning", text)]


def _too_low(history: History, rate: float, usual_rate: float, fit: Fit | None) -> list[Finding]:
    losses = [record.loss for record in history.epochs]
    updates = _updates(history)
    usual = statistics.median(updates) if len(updates) >= FEWEST_LOOKED_AT else USUAL_UPDATE
    little = ""
    if usual < SMALL_UPDATE and not _is_overfitted(fit):
        little = _little_learned(losses, fit)
    if usual < TINY_UPDATE:
        little = little or _little_for_tiny_steps(losses, fit)
    if not little:
        return []
    text = (
        f"The learning rate {rate:g} was too low: a step changed the weights by {usual:.1g} "
        f"times their size (about {USUAL_UPDATE:g} is usual), and {little}. "
        f"{_higher(rate, usual_rate, usual)}"
    )
    return [Finding("warning", text)]


def _higher(rate: float, usual_rate: float, update: float) -> str:
    """Propose the usual rate, or a lower one whose steps are no larger than with the usual rate.

    Where neither is more than was taken, a rate with steps of the usual size.
    """
    bound = rate * USUAL_PEAK / max(update, 1e-30)
    if 2 * rate < usual_rate <= bound:
        return f"Try --rate {usual_rate:g}, the usual one."
    if 2 * rate < min(usual_rate, bound):
        return f"Try --rate {bound:.1g}."
    higher = rate * min(USUAL_UPDATE / max(update, 1e-30), LARGEST_CHANGE)
    return f"Try --rate {higher:.1g}."


def _updates(history: History) -> list[float]:
    """Of the weights' norm that a step changed, at those looked at."""
    return [_share(signal.updates, signal.weights) for signal in history.signals]


def _little_learned(losses: Sequence[float], fit: Fit | None) -> str:
    """Say what shows that little was learned of the training rows; "" where enough was."""
    if len(losses) > 1 and _fall(losses) < LEAST_FALL:
        return _told_fall(losses)
    is_judged = fit is not None and fit.rows >= FEWEST_JUDGED
    return _poor_score(fit) if is_judged else ""


def _little_for_tiny_steps(losses: Sequence[float], fit: Fit | None) -> str:
    """Say the same where few rows, or a loss that moved by chance, are no proof against it."""
    if fit is not None and fit.higher_is_better:
        return _poor_score(fit)
    return _told_fall(losses) if len(losses) > 1 and _fall(losses) < HALF else ""


def _poor_score(fit: Fit | None) -> str:
    if fit is None or not fit.higher_is_better or fit.train >= LITTLE_LEARNED:
        return ""
    return f"{fit.name} is {fit.train:.3f} on training rows"


def _fall(losses: Sequence[float]) -> float:
    """By how much of the first the loss fell at best."""
    return 1 - min(losses) / losses[0] if losses[0] > 0 else 1.0


def _told_fall(losses: Sequence[float]) -> str:
    fell = f"{_fall(losses):.1%}"
    if fell != "0.0%":
        return f"the training loss fell by {fell}"
    first, last = f"{losses[0]:.4g}", f"{losses[-1]:.4g}"
    if losses[-1] > losses[0] and first != last:
        return f"the training loss rose from {first} to {last}"
    return "the training loss did not fall"


def _wild_steps(history: History, updates: Sequence[float]) -> str:
    """Say by how much steps changed the weights; "" unless that alone shows a rate too high."""
    usual = statistics.median(updates) if updates else 0.0
    if usual > LARGE_UPDATE:
        changed = f"each step changed the weights by {usual:.1g} times their size"
        return f"{changed} (about {USUAL_UPDATE:g} is usual)"
    return _largest_step(history, updates) if max(updates, default=0.0) > WILD_PEAK else ""


def _large_steps(
    history: History, updates: Sequence[float], *, little: str, dead: Sequence[Dead]
) -> str:
    """Say by how much a step changed the weights and what came of it; "" where both are usual."""
    peak, step = max(updates), _largest_step(history, updates)
    if not little or peak < USUAL_PEAK:
        return ""
    if peak > LARGE_PEAK:
        return f"{step}, and {little}"
    gone = next((layer for layer in dead if layer.dead > GONE_SHARE * layer.units), None)
    if gone is not None:
        return f"{step}, {gone.dead} of the {gone.units} units of {gone.layer} died, and {little}"
    return ""


def _largest_step(history: History, updates: Sequence[float]) -> str:
    peak = max(updates)
    step = history.signals[updates.index(peak)].step + 1
    return f"step {step:,} changed the weights by {peak:.2g} times their size"


def _rise(losses: Sequence[float]) -> str:
    """Say by how much the training loss rose; "" where it did not.

    Many epochs are of few items, whose loss jumps by chance: there the rise has to last.
    """
    lasting = LASTING if len(losses) >= MANY_EPOCHS else 1
    for epoch in range(1, len(losses) + 1 - lasting):
        lowest, risen = min(losses[:epoch]), min(losses[epoch : epoch + lasting])
        # Near zero a loss may double and mean nothing.
        if risen > max(LOSS_RISE * lowest, RISE_OF_FIRST * losses[0]) > 0:
            rise = f"from {lowest:.3g} to {losses[epoch]:.3g} in epoch {epoch + 1}"
            return f"the training loss rose {rise}"
    return ""


def _gradients(signals: Sequence[Signal], layers: Sequence[str]) -> list[Finding]:
    found = []
    whole = [_total(signal.gradients) for signal in signals]
    for place in range(2, len(whole)):
        # Beside those before it: in a training that goes well gradients become small.
        usual, largest = statistics.median(whole[:place]), whole[place]
        if largest > EXPLODED * usual > 0:
            signal = signals[place]
            worst = layers[max(range(len(layers)), key=lambda n: signal.gradients[n])]
            found.append(
                Finding(
                    "warning",
                    f"Gradients exploded: their norm was {largest:.3g} at step {signal.step + 1} "
                    f"where {usual:.3g} was usual before, most of it in {worst}. Try a lower "
                    "--rate.",
                )
            )
            break
    if len(layers) > 1 and signals:
        shares = [
            statistics.median(_share([s.gradients[n]], [s.weights[n]]) for s in signals)
            for n in range(len(layers))
        ]
        strongest = max(shares)
        faint = [n for n, share in enumerate(shares) if share < VANISHED * strongest]
        if faint:
            named = layers[faint[0]] + (f" and {len(faint) - 1} more" if faint[1:] else "")
            found.append(
                Finding(
                    "warning",
                    f"Gradients vanish: in {named} they are {shares[faint[0]] / strongest:.1g} of "
                    "the strongest layer's, by the size of its weights, so it hardly learns. Put "
                    "batchnorm and relu, or residual(...), around deep layers.",
                )
            )
    return found


def _dead(dead: Sequence[Dead], *, is_told: bool) -> list[Finding]:
    """Name the layer with most dead units; where the rate is told to be the cause, no cure.

    Measured with what lenet was, without batchnorm behind its dense layer of 128 units, on 450
    photos of clothes in 10 classes, 32x32: 1 to 3 were dead before the first step. After 20 epochs
    116 and 91 were at the usual rate (seeds 1, 2), 121 and 115 at a tenth of it; without dropout
    101 after 8. With batchnorm before the relu fewer than a fifth were, and it knew 70 and 90 % of
    its training rows in place of 25 and 47.
    """
    worst = max(dead, key=lambda layer: layer.dead / layer.units, default=None)
    if worst is None or worst.dead <= DEAD_SHARE * worst.units:
        return []
    text = (
        f"Dead units: {worst.dead} of the {worst.units} of {worst.layer} are zero for every item "
        "looked at."
    )
    if not (is_told or worst.is_normed):
        text += " Batchnorm before that relu keeps them alive."
    return [Finding("warning", text)]


def _total(norms: Sequence[float]) -> float:
    return math.hypot(*norms)


def _share(part: Sequence[float], whole: Sequence[float]) -> float:
    return _total(part) / max(_total(whole), 1e-12)
