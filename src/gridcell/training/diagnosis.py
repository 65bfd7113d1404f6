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
from gridcell.training.history import History
from gridcell.training.signals import Signal

FEWEST_JUDGED = 30
"""Rows, of training and validation each, below which a gap between them says little."""
GAP, SMALL_GAP = 0.1, 0.02
GAP_OF_ERRORS, SMALL_GAP_OF_ERRORS = 1.5, 1.1
LEARNED, LITTLE_LEARNED = 0.95, 0.9
LOSS_RISE, RISE_OF_FIRST = 1.5, 0.2
LEAST_FALL = 0.1
SMALL_UPDATE, USUAL_UPDATE, LARGE_UPDATE = 3e-4, 2e-3, 0.1
"""Of the weights' norm that a step changes, the median of those looked at."""
USUAL_PEAK, LARGE_PEAK, WILD_PEAK = 0.01, 0.1, 0.25
"""The largest of them: with the usual rate; where it is the rate's doing if little is learned; and
where images, series and texts all learned less than at a lower rate."""
LARGEST_CHANGE = 1000.0
"""Of a rate that is proposed: where a training blew up, its steps tell no more than that."""
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

    def both(self) -> str:
        """Both, for a sentence about them."""
        return f"{self.name} {self.train:.3f} on training rows, {self.valid:.3f} on validation rows"

    def told(self) -> str:
        """Both, for the user."""
        return (
            f"Of as many training rows as there are validation rows, as they are: {self.name} "
            f"{self.train:.4f}; of those {self.valid:.4f}."
        )


@dataclass(frozen=True)
class Dead:
    """Units of a relu that answered to none of the items looked at."""

    layer: str
    dead: int
    units: int


def diagnose(
    history: History,
    *,
    rate: float,
    layers: Sequence[str],
    fit: Fit | None = None,
    dead: Sequence[Dead] = (),
) -> list[Finding]:
    """Return what went wrong, or could go better, in this training; nothing where it went well.

    layers   names of the layers that `history.signals` are of
    """
    of_rate = _rate(history, rate, fit, dead)
    # What a wrong rate does looks like other illnesses, whose cures would not help.
    others = [] if of_rate else [*_unfinished(history, fit), *_gradients(history.signals, layers)]
    return [*of_rate, *_overfitted(fit), *others, *_dead(dead)]


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
    return [
        Dead(f"relu {number}", int((~units).sum()), len(units))
        for number, units in sorted(alive.items())
    ]


def _overfitted(fit: Fit | None) -> list[Finding]:
    if fit is None or fit.rows < FEWEST_JUDGED:
        return []
    if fit.higher_is_better:
        is_apart = fit.train - fit.valid > GAP
    else:
        is_apart = fit.valid > GAP_OF_ERRORS * fit.train
    if not is_apart:
        return []
    text = f"It overfits: {fit.both()}. More items help most, then augmentation, dropout(0.5) in "
    return [Finding("warning", text + "--net, a larger --weight-decay, a smaller --net.")]


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


def _rate(history: History, rate: float, fit: Fit | None, dead: Sequence[Dead]) -> list[Finding]:
    losses = [record.loss for record in history.epochs]
    updates = [_share(signal.updates, signal.weights) for signal in history.signals]
    little = _little_learned(losses, fit)
    why = _wild_steps(history, updates) or _rise(losses)
    if updates and not why:
        why = _large_steps(history, updates, little=little, dead=dead)
    if why:
        excess = max(updates, default=USUAL_PEAK) / USUAL_PEAK
        lower = rate / min(max(excess, 3.0), LARGEST_CHANGE)
        text = f"The learning rate {rate:g} was too high: {why}. Try --rate {lower:.1g}."
        return [Finding("warning", text)]
    usual = statistics.median(updates) if updates else USUAL_UPDATE
    if little and usual < SMALL_UPDATE and not _overfitted(fit):
        higher = rate * min(USUAL_UPDATE / max(usual, 1e-30), LARGEST_CHANGE)
        text = (
            f"The learning rate {rate:g} was too low: a step changed the weights by {usual:.1g} "
            f"times their size (about {USUAL_UPDATE:g} is usual), and {little}. "
            f"Try --rate {higher:.1g}."
        )
        return [Finding("warning", text)]
    return []


def _little_learned(losses: Sequence[float], fit: Fit | None) -> str:
    """Say what shows that little was learned of the training rows; "" where enough was."""
    fall = 1 - min(losses) / losses[0] if losses[0] > 0 else 1.0
    if len(losses) > 1 and fall < LEAST_FALL:
        return f"the training loss fell by {fall:.1%}"
    is_judged = fit is not None and fit.rows >= FEWEST_JUDGED and fit.higher_is_better
    if fit is not None and is_judged and fit.train < LITTLE_LEARNED:
        return f"{fit.name} is {fit.train:.3f} on training rows"
    return ""


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
    """Say by how much the training loss rose; "" where it did not."""
    for epoch in range(1, len(losses)):
        lowest = min(losses[:epoch])
        # Near zero a loss may double and mean nothing.
        if losses[epoch] > max(LOSS_RISE * lowest, RISE_OF_FIRST * losses[0]) > 0:
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


def _dead(dead: Sequence[Dead]) -> list[Finding]:
    worst = max(dead, key=lambda layer: layer.dead / layer.units, default=None)
    if worst is None or worst.dead <= DEAD_SHARE * worst.units:
        return []
    return [
        Finding(
            "warning",
            f"Dead units: {worst.dead} of the {worst.units} of {worst.layer} are zero for every "
            "item looked at. A lower --rate or batchnorm before relu keeps them alive.",
        )
    ]


def _total(norms: Sequence[float]) -> float:
    return math.hypot(*norms)


def _share(part: Sequence[float], whole: Sequence[float]) -> float:
    return _total(part) / max(_total(whole), 1e-12)
