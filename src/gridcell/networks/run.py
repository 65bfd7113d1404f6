"""Run a network over many items without training it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gridcell.batches import Batch, Items, plain_places
from gridcell.errors import MemoryFullError
from gridcell.layers import valid_steps
from gridcell.process import is_out_of_memory
from gridcell.sources.wording import counted

STEP = np.dtype([("row", "i8"), ("step", "i8")])
"""Which step of which row an output is of, where a network answers at each step."""
MOST_ITEMS = 256
MOST_PLACES, MOST_PLACES_OVER_TIME = 1 << 22, 1 << 20
FIX_IN_TRAINING = (
    "give a smaller --image-size (of sounds and series --window, of clips --frames), or a smaller "
    "--net."
)
FIX_OF_A_MODEL = (
    "end other programs, or use a machine with more memory; a model that is trained anew for "
    "smaller items, or with a smaller network, needs less."
)
"""Where the memory is full: who asks a model cannot change it."""
MOST_SAID = 1 << 24
"""Probabilities of what comes next that are held at once."""
Found = TypeVar("Found")


class Room:
    """How many items at once the memory holds in evaluation, which turns out as it is tried.

    note   is told when they become fewer
    fix    what helps where not even one fits
    """

    def __init__(
        self, note: Callable[[str], None] | None = None, *, fix: str = FIX_OF_A_MODEL
    ) -> None:
        self.most = MOST_ITEMS
        self.note, self.fix = note, fix

    def halve(self, items: int) -> None:
        """Take half as many as did not fit.

        Raises   MemoryFullError where that was a single one
        """
        if items == 1:
            raise MemoryFullError(
                "the memory is full even with 1 item at a time, without training.",
                fix=self.fix,
            )
        self.most = -(-items // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.note is not None:
            self.note(
                f"The memory is full: {items} -> {counted(self.most, 'item')} scored at a time; "
                "the answers stay the same but for rounding."
            )


def in_room(
    places: NDArray[np.int64], answer: Callable[[NDArray[np.int64]], Found], room: Room
) -> Iterator[Found]:
    """Yield what `answer` gives for all places at once, or for as many as the memory holds."""
    first = 0
    while first < len(places):
        some = places[first : first + room.most]
        is_full = False
        try:
            found = answer(some)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            is_full = True
        if is_full:  # outside of the handler: its traceback would hold what is in the way
            room.halve(len(some))
            continue
        first += len(some)
        yield found


@torch.no_grad()
def outputs(network: nn.Module, items: Items, room: Room | None = None) -> NDArray[np.float32]:
    """Return the network's outputs [N, K] for all items, in their order, in evaluation mode.

    A long item that is seen in several windows gets the mean of their outputs. Of a network that
    answers at each step they are [steps of all, K], a step that lies in two windows likewise.

    The mode is put back afterwards, whatever happens.

    room   how many at once the memory held before, if it was full

    Raises   MemoryFullError where the memory does not hold a single item
    """
    room = room or Room()
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    parts, keys = [], []
    windows = items.windows()

    def answer(places: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        batch = windows.batch(places)
        lengths = None if batch.lengths is None else batch.lengths.to(device)
        found = network(batch.values.to(device), lengths).float().cpu().numpy()
        if found.ndim == 2:
            return found, batch.rows
        assert batch.lengths is not None
        return _each_step(found, batch.lengths.numpy(), batch)

    try:
        for places in plain_places(windows, size=evaluation_batch_size(windows)):
            for found, key in in_room(places, answer, room):
                parts.append(found)
                keys.append(key)
    finally:
        network.train(was_training)
    if not parts:
        return np.zeros((0, 0), np.float32)
    every = np.concatenate(keys)
    wanted = items.rows
    if every.dtype == STEP:
        rows, counts = np.unique(np.unique(every)["row"], return_counts=True)
        steps = counts[np.searchsorted(rows, items.rows)]
        wanted = _step_keys(items.rows, np.zeros(len(items), np.int64), steps)
    return _by_row(np.concatenate(parts), every, wanted)


@torch.no_grad()
def said(network: nn.Module, items: Items, room: Room | None = None) -> NDArray[np.float64]:
    """Return what a network that writes says of each step [S, 2], in evaluation mode.

    First the logarithm of the probability that it gives to what comes, then 1 where that is the
    likeliest, else 0. All probabilities of thousands of words would be more than the memory holds,
    so they are let go batch by batch.

    room   how many at once the memory held before, if it was full
    """
    room = room or Room()
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    parts, first, size = [np.zeros((0, 2))], 0, 1

    def answer(places: NDArray[np.int64]) -> tuple[NDArray[np.float64], int]:
        batch = items.batch(places)
        assert batch.lengths is not None, "texts have lengths"
        lengths, came = batch.lengths.to(device), batch.targets.to(device)
        found = network(batch.values.to(device), lengths).float()
        logs = found.gather(2, came[..., None])[..., 0] - found.logsumexp(2)
        each = torch.stack([logs, (found.argmax(2) == came).to(logs.dtype)], 2)
        known = each[valid_steps(lengths, each.shape[1])].double().cpu().numpy()
        return known, found[0].numel()

    try:
        while first < len(items):
            places = np.arange(first, min(first + size, len(items)))
            first += size
            for known, probabilities in in_room(places, answer, room):
                parts.append(known)
                size = min(MOST_ITEMS, max(1, MOST_SAID // probabilities))
    finally:
        network.train(was_training)
    return np.concatenate(parts)


def _each_step(
    found: NDArray[np.float32], lengths: NDArray[np.int64], batch: Batch
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return the outputs [B, T, K] of valid steps in turn, and which step of its row each is."""
    firsts = batch.first_steps
    if firsts is None:
        firsts = np.zeros(len(lengths), np.int64)
    valid = np.concatenate([found[i, :count] for i, count in enumerate(lengths)])
    return valid, _step_keys(batch.rows, firsts, lengths)


def _step_keys(
    rows: NDArray[np.int64], firsts: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[Any]:
    """Name `counts` steps of each row, from its step `firsts` on."""
    keys = np.zeros(int(counts.sum()), STEP)
    keys["row"] = np.repeat(rows, counts)
    parts = [np.arange(first, first + n) for first, n in zip(firsts, counts, strict=True)]
    keys["step"] = np.concatenate(parts) if parts else 0
    return keys


def evaluation_batch_size(items: Items) -> int:
    """As many items as keep what one layer holds of them to some hundred megabytes."""
    steps = items.steps()
    if steps is None or not len(steps):
        return min(MOST_ITEMS, max(1, MOST_PLACES // items.cells))
    places = items.cells * max(1, int(steps.max()))
    return min(MOST_ITEMS, max(1, MOST_PLACES_OVER_TIME // places))


def _by_row(
    found: NDArray[np.float32], rows: NDArray[Any], wanted: NDArray[Any]
) -> NDArray[np.float32]:
    """Return the mean of what was found for each wanted row (or step of one).

    >>> _by_row(np.array([[1.0], [5.0], [3.0]], np.float32), np.array([7, 4, 7]), np.array([4, 7]))
    array([[5.],
           [2.]], dtype=float32)
    """
    order = np.argsort(rows, kind="stable")
    seen, first, counts = np.unique(rows[order], return_index=True, return_counts=True)
    means = np.add.reduceat(found[order], first) / counts[:, None].astype(np.float32)
    return np.asarray(means[np.searchsorted(seen, wanted)])


def channels_last(network: nn.Module) -> None:
    """Lay filters out with channels last in memory, as convolutions like them."""
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.ndim in layouts:
            layout = layouts[parameter.ndim]
            parameter.data = parameter.data.contiguous(memory_format=layout)
