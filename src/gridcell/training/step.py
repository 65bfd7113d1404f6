"""One training step: loss, gradients, optimizer, average.

Where the memory does not hold a batch, it is cut into pieces whose gradients are added up, so that
the step stays the same but for rounding (and for batchnorm, which averages over a piece, and an
ensemble, whose members share each piece).

Where the items of a batch go on from those of the one before, the network goes on with what it
remembers of them; gradients do not go back so far. A batch that is cut otherwise than the one
before begins anew.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from gridcell.batches import Batch
from gridcell.errors import MemoryFullError, ShapeError, TrainingError
from gridcell.networks import Network
from gridcell.networks.stream import StreamState, detached, from_named, named
from gridcell.process import is_out_of_memory
from gridcell.sources.wording import counted
from gridcell.training.average import WeightAverage
from gridcell.training.objective import Objective
from gridcell.training.precision import Precision, arithmetic


class NotFiniteError(TrainingError):
    """The loss of a batch is no longer a number; the weights are those before it."""

    def __init__(self, loss: Tensor, network: nn.Module, batch: Batch) -> None:
        self.value, self.batch = float(loss.detach()), batch
        self.norm = _gradient_norm(network, loss)
        values = batch.values
        self.has_bad_input = values.is_floating_point() and not bool(torch.isfinite(values).all())
        super().__init__(f"the loss became {self.value}.")


class TrainingStep:
    """What every step needs; `take` is one."""

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        precision: Precision,
        average: WeightAverage | None,
        note: Callable[[str], None],
    ) -> None:
        self.network, self.objective, self.optimizer = network, objective, optimizer
        self.precision, self.average, self.note = precision, average, note
        self.device = next(network.parameters()).device
        self.parts = 1
        self.was_full = False
        self.spent_s: dict[str, float] = defaultdict(float)
        self._memories: list[StreamState] = []
        """What the network remembers of the items of the batch before, by piece."""

    def take(self, batch: Batch, rate: float) -> float:
        """Learn from a batch and return its mean loss.

        Raises   NotFiniteError before anything is changed, where the loss is not a number;
                 MemoryFullError where not even a single item fits into the memory
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        while True:
            try:
                value = self._gradients(batch)
                break
            except ShapeError as error:  # batchnorm needs two items
                if self.was_full:
                    raise self._too_small(len(batch.rows)) from None
                if self.parts > 1:
                    more = "take more items at a time: --resume with a larger --batch-size."
                    raise ShapeError(error.message, fix=more) from None
                raise
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside of the handler: its traceback would hold the tensors that are in the way.
            self._cut_smaller(batch)
        started = time.perf_counter()
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        self.spent_s["optimizer"] += time.perf_counter() - started
        return value

    def _gradients(self, batch: Batch) -> float:
        self.optimizer.zero_grad()
        pieces = batch.cut(self.parts)
        weights = [self.objective.weight(piece.targets, piece.lengths) for piece in pieces]
        total, value = sum(weights), 0.0
        before: list[StreamState | None] = [None] * len(pieces)
        if batch.goes_on and len(self._memories) == len(pieces):  # else they were cut otherwise
            before = [*self._memories]
        after: list[StreamState] = []
        for piece, weight, known in zip(pieces, weights, before, strict=True):
            started = time.perf_counter()
            values = piece.values.to(self.device)
            lengths = None if piece.lengths is None else piece.lengths.to(self.device)
            with arithmetic(self.precision, self.device):
                if piece.goes_on is None:
                    predicted = self.network(values, lengths)
                else:
                    predicted, memory = cast(Network, self.network).go_on(values, known)
                    after.append(detached(memory))
            loss = self.objective.loss(predicted, piece.targets.to(self.device), lengths)
            found = float(loss.detach())
            if not math.isfinite(found):
                raise NotFiniteError(loss, self.network, batch)
            if len(pieces) > 1:
                share = weight / total
                loss, found = loss * share, found * share
            value += found
            forward = time.perf_counter()
            loss.backward()  # type: ignore[no-untyped-call]
            self.spent_s["forward"] += forward - started
            self.spent_s["backward"] += time.perf_counter() - forward
        self._memories = after
        return value

    def remembered(self) -> dict[str, Tensor]:
        """What the network remembers of the items of the batch before, as tensors by name."""
        return {
            f"{number}.{name}": value
            for number, memory in enumerate(self._memories)
            for name, value in named(memory).items()
        }

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Remember what `remembered` gave."""
        pieces = 1 + max((int(name.partition(".")[0]) for name in tensors), default=-1)
        steps = cast(Network, self.network).steps if tensors else ()
        on_device = {name: value.to(self.device) for name, value in tensors.items()}
        self._memories = [from_named(steps, on_device, f"{n}.") for n in range(pieces)]

    def _cut_smaller(self, batch: Batch) -> None:
        """Cut batches into twice as many pieces as before, and say so."""
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        items = len(batch.rows)
        before = -(-items // self.parts)
        if before == 1:
            raise self._too_small(items)
        self.parts, self.was_full = 2 * self.parts, True
        self.note(
            f"The memory is full: {before} -> {counted(-(-items // self.parts), 'item')} at a "
            f"time; their gradients are added up, so each step still learns from {items:,}."
        )

    def _too_small(self, items: int) -> MemoryFullError:
        """The error of a memory that holds no piece of a batch that could be learned from."""
        smallest = -(-items // self.parts)
        tried = [-(-items // 2**n) for n in range(self.parts.bit_length())]
        return MemoryFullError(
            f"the memory is full even with {counted(smallest, 'item')} at a time "
            f"(tried {', '.join(map(str, dict.fromkeys(tried)))} at once).",
            fix="give a smaller --image-size (of sounds and series --window, of clips --frames), "
            "or a smaller --net; --batch-size is as small as it can be.",
        )


def _gradient_norm(network: nn.Module, loss: Tensor) -> float:
    network.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    squares = [
        float((p.grad.double() ** 2).sum()) for p in network.parameters() if p.grad is not None
    ]
    network.zero_grad()
    return math.sqrt(sum(squares)) if all(map(math.isfinite, squares)) else math.inf
