"""A whole network on sequences that come step by step: what was seen is remembered, not read again.

    stream = network.stream()
    answer = stream.step(x_t)      # one more step of every sequence
    stream.state                   # all that it remembers, a value that the caller may keep

A layer that looks at each step alone has nothing to remember. Of the others each keeps what its
next answer depends on: a recurrent layer its state, `last` and `delta` the newest step, `mean` a
sum and a count, `max` the largest values so far, a window over time the steps that the next window
will read again. A layer that needs steps which are not there yet is refused when the stream is
made, not at its first step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from gridcell import layers
from gridcell.axes import check_shape
from gridcell.errors import NetworkError, ShapeError
from gridcell.layers.delta import beside_changes
from gridcell.layers.window import Window, check_grid
from gridcell.networks.notation import Spec

if TYPE_CHECKING:
    from gridcell.networks.build import Network, Step

Memory = Tensor | tuple["Memory", ...] | None
"""What one layer remembers: tensors, or what its branches remember; None where it is nothing."""
StreamState = tuple[Memory, ...]
"""A memory for each layer of a network, in their order."""
MOST_STEPS_TRIED = 1000


class Stream:
    """A network that answers while its sequences are still going on.

    Each answer is the network's own on all the steps so far, `network(x, lengths)`, to rounding,
    however the steps are cut into pieces. It is in evaluation mode and has no gradient, and the
    network stays as it was, in its mode and with its weights. Until the first window over time is
    full, that is the answer for a sequence too short for it.

    Shapes   a piece [B, n, C, *grid], n at least 1 (ids [B, n], with letters [B, n, 1 + L])
             -> [B, K] where the network reduces time; else [B, m, K], the answers that these steps
             completed: m = n unless a window over time waits for more
    Raises   NetworkError for a layer that needs what comes later, or a state of another network;
             ShapeError where a piece does not fit the network or the sequences before it
    Cost     the network's on the new steps alone

    >>> from gridcell.axes import Layout
    >>> from gridcell.networks import build
    >>> network = build("lstm(8)", Layout(3), outputs=2)
    >>> values = torch.randn(4, 10, 3)
    >>> stream = network.stream()
    >>> for x_t in values.unbind(1):
    ...     answer = stream.step(x_t)
    >>> torch.allclose(answer, network(values), atol=1e-5)
    True
    """

    def __init__(self, network: Network, state: StreamState | None = None) -> None:
        if network.is_squeezed:
            steps = network.layout.steps
            raise NetworkError(
                "the network cannot stream: it answers samples of "
                f"{steps} step{'s' * (steps != 1)}, no fewer and no more.",
                fix="call it on whole samples.",
            )
        _check_steps(network.steps)
        if state is not None and not _fits(network.steps, state):
            raise NetworkError(
                "the state is not one of this network: its layers remember other things.",
                fix="hand in the state of a stream of the same network.",
            )
        self.network = network
        self._state = state

    @property
    def state(self) -> StreamState | None:
        """All that is remembered; None before the first step. Nothing changes it afterwards."""
        return self._state

    def reset(self) -> None:
        """Forget everything: the next step is the first of new sequences."""
        self._state = None

    def step(self, x: Tensor) -> Tensor:
        """Take one step of every sequence, `x [B, C, *grid]` (ids `[B]`), and answer."""
        layout = self.network.layout
        axes = "B" if layout.vocabulary and not layout.alphabet else "B C *grid"
        check_shape(x, axes, layer="stream step")
        return self.piece(x[:, None])

    @torch.no_grad()
    def piece(self, x: Tensor) -> Tensor:
        """Take the next n steps of every sequence, `x [B, n, C, *grid]`, and answer."""
        self._check_piece(x)
        with _in_evaluation(self.network):
            y, self._state = self.network.go_on(x, self._state)
        return y

    def _check_piece(self, x: Tensor) -> None:
        layout = self.network.layout
        if layout.vocabulary and not layout.alphabet:
            check_shape(x, "B T", layer="stream")
        else:
            check_shape(x, "B T C *grid", layer="stream", C=layout.channels)
            check_grid(x, len(layout.grid), layer="stream")
        if x.shape[1] == 0:
            raise ShapeError(f"a piece of a stream needs 1 step or more; got {tuple(x.shape)}.")


@contextmanager
def _in_evaluation(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, put back afterwards module by module: some may have been in it already."""
    training = [module for module in network.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def through(
    steps: Sequence[Step], x: Tensor, state: StreamState | None
) -> tuple[Tensor, StreamState]:
    """Walk through layers one after another; each goes on from its own memory, None at first."""
    memories = (None,) * len(steps) if state is None else state
    after: list[Memory] = []
    for step, memory in zip(steps, memories, strict=True):
        kind = KINDS.get(step.spec.name)
        if kind is None or not kind.remembers(step.module):
            x = step.module(x)
            after.append(None)
        else:
            x, memory = kind.go_on(step, x, memory)
            after.append(memory)
    return x, tuple(after)


def _lstm(step: Step, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    layer = cast(layers.LSTM, step.module)
    return layer.run(x, None, None if memory is None else layers.LSTMState(*_tensors(memory)))


def _rnn(step: Step, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    layer = cast(layers.RNN, step.module)
    return layer.run(x, None, None if memory is None else layers.RNNState(*_tensors(memory)))


def _last(step: Step, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """The newest step. A piece without one, behind a window that waits, changes nothing."""
    check_shape(x, "B T D", layer="last")
    if memory is None:
        newest = x.new_zeros(x.shape[0], x.shape[2])
    else:
        (newest,) = _tensors(memory)
        _check_sequences(newest, x)
    if x.shape[1]:
        newest = x[:, -1].clone()
    # Copies: what the caller does to the answer or the piece must not reach what is remembered.
    return newest.clone(), (newest,)


def _delta(step: Step, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """What changed since the newest step of the piece before."""
    check_shape(x, "B T C *grid", layer="delta")
    (before,) = (x[:, :0],) if memory is None else _tensors(memory)
    _check_sequences(before, x)
    if not before.shape[1]:
        before = x[:, :1]  # the first step ever has changed nothing
    return beside_changes(x, before), (torch.cat([before, x], 1)[:, -1:].clone(),)


def _mean(step: Step, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """The mean of all steps so far; the sum is float64, since a stream may have no end."""
    check_shape(x, "B T D", layer="mean")
    total, count = x.sum(1, dtype=torch.float64), torch.tensor(x.shape[1], device=x.device)
    if memory is not None:
        earlier_total, earlier_count = _tensors(memory)
        _check_sequences(earlier_total, x)
        total, count = earlier_total + total, earlier_count + count
    return (total / count.clamp(min=1)).to(x.dtype), (total, count)


def _max(step: Step, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """The largest values so far. A count, since before the first step they are 0, not -inf."""
    check_shape(x, "B T D", layer="max")
    count = torch.tensor(x.shape[1], device=x.device)
    if memory is not None:
        largest, earlier_count = _tensors(memory)
        _check_sequences(largest, x)
        x, count = torch.cat([largest[:, None], x], 1), earlier_count + count
    else:
        x = torch.cat([x.new_full((x.shape[0], 1, x.shape[2]), -torch.inf), x], 1)
    largest = x.amax(1)
    return torch.where(count > 0, largest, torch.zeros_like(largest)), (largest, count)


def _window(step: Step, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """A window over time on the steps that it kept and the new ones.

    It keeps those from the start of the next window on: where the stride is at most the reach,
    none of them is later than the last step seen.
    """
    window = cast(layers.Conv | layers.Pool, step.module).windows[0]
    if memory is not None:
        (kept,) = _tensors(memory)
        _check_sequences(kept, x)
        x = torch.cat([kept, x], 1)
    places = window.places(x.shape[1])
    if places:
        y = step.module(x)
    else:
        # By its lengths the layer itself says what nothing looks like behind it.
        y = step.module(x, torch.zeros(len(x), dtype=torch.int64, device=x.device))[:, :0]
    return y, (x[:, places * window.stride :].clone(),)


def _residual(step: Step, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    project = cast(layers.Residual, step.module).project
    shortcut = x if project is None else project(x)
    y, after = through(step.branches[0], x, _of_branches(step, memory)[0])
    return y + shortcut, (after,)


def _parallel(step: Step, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    memories = zip(step.branches, _of_branches(step, memory), strict=True)
    outputs = [through(branch, x, each) for branch, each in memories]
    joined = torch.cat([y for y, _ in outputs], 2 if step.after.has_time else 1)
    return joined, tuple(after for _, after in outputs)


def _of_branches(step: Step, memory: Memory) -> tuple[StreamState | None, ...]:
    if memory is None:
        return (None,) * len(step.branches)
    return cast(tuple[StreamState | None, ...], memory)


def _tensors(memory: Memory) -> tuple[Tensor, ...]:
    return cast(tuple[Tensor, ...], memory)


def _check_sequences(kept: Tensor, x: Tensor) -> None:
    """Raise ShapeError unless what is kept is of the same sequences as `x [B, T, ...]`."""
    if kept.shape[0] != x.shape[0]:
        raise ShapeError(
            f"the stream is of {kept.shape[0]} sequences; got a piece of {x.shape[0]}.",
            fix="reset() before other sequences.",
        )
    sizes = kept.shape[2:] if kept.ndim == x.ndim else kept.shape[1:]
    if sizes != x.shape[2:]:
        raise ShapeError(
            f"the stream is of steps that are {tuple(sizes)} here; got {tuple(x.shape[2:])}.",
            fix="hand in the state of a stream of the same network, and steps of one size.",
        )


def _mixes_steps(module: nn.Module) -> bool:
    return cast(layers.Conv | layers.Pool, module).mixes_steps


@dataclass(frozen=True)
class _Kind:
    """How a layer that remembers goes on."""

    go_on: Callable[[Any, Tensor, Memory], tuple[Tensor, Memory]]
    tensors: int = 0
    """Tensors in its memory; 0 where its branches have memories of their own."""
    remembers: Callable[[nn.Module], bool] = lambda _: True


KINDS: dict[str, _Kind] = {
    "lstm": _Kind(_lstm, 2),
    "rnn": _Kind(_rnn, 1),
    "last": _Kind(_last, 1),
    "delta": _Kind(_delta, 1),
    "mean": _Kind(_mean, 2),
    "max": _Kind(_max, 2),
    "conv": _Kind(_window, 1, _mixes_steps),
    "maxpool": _Kind(_window, 1, _mixes_steps),
    "avgpool": _Kind(_window, 1, _mixes_steps),
    "residual": _Kind(_residual),
    "parallel": _Kind(_parallel),
}
"""The layers that remember; every other one looks at each step alone."""


def detached(state: StreamState) -> StreamState:
    """What is remembered, without the way back by which gradients would go."""

    def without(memory: Memory) -> Memory:
        if isinstance(memory, tuple):
            return detached(memory)
        return None if memory is None else memory.detach()

    return tuple(map(without, state))


def named(memory: Memory, name: str = "") -> dict[str, Tensor]:
    """The tensors of what is remembered, each by its way through layers and branches.

    >>> [*named(((torch.zeros(1), torch.zeros(1)), None, (torch.zeros(1),)))]
    ['0.0', '0.1', '2.0']
    """
    if memory is None:
        return {}
    if isinstance(memory, Tensor):
        return {name: memory}
    start = f"{name}." if name else ""
    parts = (named(each, f"{start}{number}") for number, each in enumerate(memory))
    return {key: value for part in parts for key, value in part.items()}


def from_named(steps: Sequence[Step], tensors: dict[str, Tensor], start: str = "") -> StreamState:
    """Return what `named` took apart, for a network of these steps."""
    memories: list[Memory] = []
    for number, step in enumerate(steps):
        kind = KINDS.get(step.spec.name)
        name = f"{start}{number}."
        if kind is None or not kind.remembers(step.module):
            memories.append(None)
        elif step.branches:
            branches = enumerate(step.branches)
            memories.append(
                tuple(from_named(b, tensors, f"{name}{place}.") for place, b in branches)
            )
        else:
            memories.append(tuple(tensors[f"{name}{place}"] for place in range(kind.tensors)))
    return tuple(memories)


def _fits(steps: Sequence[Step], state: object) -> bool:
    """Whether a state has a memory for each layer, of the right form."""
    if not isinstance(state, tuple) or len(state) != len(steps):
        return False
    return all(_has_form(step, memory) for step, memory in zip(steps, state, strict=True))


def _has_form(step: Step, memory: object) -> bool:
    kind = KINDS.get(step.spec.name)
    if kind is None or not kind.remembers(step.module):
        return memory is None
    if not isinstance(memory, tuple):
        return False
    if step.branches:
        return len(memory) == len(step.branches) and all(
            _fits(branch, each) for branch, each in zip(step.branches, memory, strict=True)
        )
    return len(memory) == kind.tensors and all(isinstance(each, Tensor) for each in memory)


def _check_steps(steps: Sequence[Step]) -> None:
    """Raise NetworkError at the first layer that needs more than the steps so far."""
    for step in steps:
        for branch in step.branches:
            _check_steps(branch)
        refusal = _refusal(step)
        if refusal is not None:
            reason, fix = refusal
            raise NetworkError(f"{step.spec} cannot stream: {reason}", fix=fix)


def _refusal(step: Step) -> tuple[str, str] | None:
    """Why a layer cannot stream, and what to do; None where it can."""
    module, spec = step.module, step.spec
    if spec.options.get("both"):
        without = replace(spec, options={k: v for k, v in spec.options.items() if k != "both"})
        return (
            "its backward walk starts at the last step, which is not there yet.",
            f"train with {without} instead.",
        )
    if isinstance(module, layers.Rows):
        return (
            "it makes steps of whole images, which come at once.",
            "call the network on whole images.",
        )
    if isinstance(module, layers.Conv | layers.Pool) and module.mixes_steps:
        return _window_refusal(spec, module.windows[0])
    if isinstance(module, layers.Whole | layers.Reversible):
        return (
            "it reads all steps of an item at once.",
            "call the network on whole items.",
        )
    if isinstance(module, layers.Mirrored | layers.Ensemble):
        return (
            "what it remembers of each way of looking is not kept apart.",
            "call the network on whole items.",
        )
    project = module.project if isinstance(module, layers.Residual) else None
    if isinstance(project, layers.Conv) and project.mixes_steps:
        return (
            "its shortcut thins the steps by a stride of its own.",
            "train with a body that keeps every step.",
        )
    if isinstance(module, layers.Parallel) and not _agrees_on_the_way(module):
        return (
            "its branches complete their steps at different times.",
            "train with branches whose windows over time have like sizes and strides.",
        )
    return None


def _window_refusal(spec: Spec, window: Window) -> tuple[str, str] | None:
    if window.stride > window.reach:
        return (
            f"its stride of {window.stride} skips steps between windows of {window.reach}.",
            f"train with a stride of at most {window.reach}.",
        )
    if window.padding in ("valid", 0) or (window.padding == "same" and window.reach == 1):
        return None
    valid = replace(spec, options={**spec.options, "padding": "valid"})
    return (
        "its padding lets a window end behind the last step, which is not there yet.",
        f"train with {valid} instead.",
    )


def _agrees_on_the_way(module: layers.Parallel) -> bool:
    """Whether all branches leave as many steps of each length.

    Where samples have a fixed number of steps, only that one was compared when they were built.
    """
    lengths = torch.arange(1, MOST_STEPS_TRIED + 1)
    left = [cast(layers.Layer, branch).out_lengths(lengths) for branch in module.branches]
    first = left[0]
    return first is None or all(torch.equal(first, cast(Tensor, other)) for other in left[1:])
