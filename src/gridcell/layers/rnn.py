"""The plain recurrent layer, to compare the LSTM with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gridcell.axes import Layout, check_shape
from gridcell.errors import NetworkError, ShapeError, did_you_mean
from gridcell.layers.by_length import run_by_length
from gridcell.layers.dense import Dropout
from gridcell.layers.directions import (
    Walk,
    fill_missing_biases,
    last_steps,
    reverse_steps,
    through_layers,
)
from gridcell.layers.engines import EngineChoice, check_engine, choose_engine, refuses_fused
from gridcell.layers.first_weights import draw
from gridcell.layers.lengths import mask_steps, same_lengths, valid_steps
from gridcell.layers.lstm_weights import suffix
from gridcell.layers.pieces import Piece, walk_in_pieces
from gridcell.layers.recurrent_state import Ends, RNNState, check_state, check_values, refuse_both

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}
FUSED = {"tanh": torch._VF.rnn_tanh, "relu": torch._VF.rnn_relu}


class RNNWeights(NamedTuple):
    """What one direction of one layer learns, named as torch.nn.RNN's."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


class RNNTrace(NamedTuple):
    """The state after every step, `[layers, directions, B, T, D]`."""

    h: Tensor


class RNN(nn.Module):
    """A layer whose state is made anew at every step.

        h = tanh(W_ih x_t + b_ih + W_hh h + b_hh)     or relu;     y_t = h

    What it saw k steps ago reaches it through k products with W_hh and k slopes of the activation,
    so it forgets, or explodes; the LSTM was made to mend that.

    layers   one on the other; both   a second walk from the last valid step to the first
    dropout  between layers, while training

    While training, `set_truncation` lets gradients reach back a number of steps only.

    Calls    layer(x, lengths) -> y;  layer.run(x, lengths, state) -> y, state;
             layer.step(x_t, state) -> y_t, state;  layer.trace(x, lengths) -> h at every step
    Shapes   x [B, T, C] -> y [B, T, directions * D]; state h [layers, directions, B, D]
    Lengths  the padding is never read, whatever it holds, and comes out as 0; a sequence of length
             0 gives 0 and leaves the state alone
    Raises   ShapeError if x isn't [B, T, C] with C = `channels`, or a length isn't 0 to T
    Cost     B * T * D * (C + D) multiply-adds a layer and direction
    Weights  named as torch.nn.RNN's, whose state dicts load; Glorot and orthogonal at first
    Source   Elman 1990

    >>> layer = RNN(16, 32)
    >>> layer(torch.zeros(8, 50, 16), torch.full((8,), 40)).shape
    torch.Size([8, 50, 32])
    """

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        layers: int = 1,
        both: bool = False,
        activation: Literal["tanh", "relu"] = "tanh",
        dropout: float = 0.0,
        engine: str = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, count in {"channels": channels, "width": width, "layers": layers}.items():
            if count < 1:
                raise ShapeError(f"rnn {name} must be 1 or more; got {count}.")
        if activation not in ACTIVATIONS:
            raise NetworkError(
                f"rnn activation is tanh or relu; got {activation}."
                f"{did_you_mean(activation, ACTIVATIONS)}"
            )
        if dropout and layers == 1:
            raise NetworkError(
                "rnn dropout lies between layers, and here is one layer: it has no effect.",
                fix="layers=2, or a dropout layer behind the rnn.",
            )
        check_engine(engine, ("fused", "eager"))
        self.channels, self.width, self.layers, self.both = channels, width, layers, both
        self.activation, self.dropout, self.engine = activation, dropout, engine
        self.truncate: int | None = None
        self.keeps_state = False
        self.reads_values = False  # for `read_values` to end here: this layer stays float32
        self.between = Dropout(dropout)
        for layer in range(layers):
            for direction in range(self.directions):
                inputs = self.features if layer else channels
                for name, value in _new_weights(inputs, width, generator).items():
                    self.register_parameter(name + suffix(layer, direction), value)
        self.register_load_state_dict_pre_hook(fill_missing_biases)  # type: ignore[no-untyped-call]

    @property
    def directions(self) -> int:
        """2 with `both`, else 1."""
        return 2 if self.both else 1

    @property
    def features(self) -> int:
        """Numbers in one step of y."""
        return self.directions * self.width

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.run(x, lengths)[0]

    def run(
        self, x: Tensor, lengths: Tensor | None = None, state: RNNState | None = None
    ) -> tuple[Tensor, RNNState]:
        """Return the outputs and the state after each sequence's last valid step.

        Hand the state in with the next piece of the same sequences to go on; None starts anew.
        """
        if self.keeps_state and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self.run(x.to(self.weights(0, 0).weight_ih.dtype), lengths, state)
        x, first = self._checked(x, lengths, state)
        walk_one = _walk_fused if self.engine_for(x).name == "fused" else _walk_eager

        def run(
            x: Tensor, lengths: Tensor | None, first: Ends, pieces: Sequence[Piece]
        ) -> tuple[Tensor, Ends]:
            def walk(x: Tensor, layer: int, direction: int) -> tuple[Tensor, Ends]:
                weights, h = self.weights(layer, direction), first[0][layer, direction]

                def piece(
                    x: Tensor, lengths: Tensor | None, first: Ends, _: slice
                ) -> tuple[Tensor, Ends]:
                    y, h = walk_one(x, lengths, weights, first[0], self.activation)
                    return y, (h,)

                return walk_in_pieces(x, lengths, (h,), pieces, walk=piece)

            return self._walk_layers(x, lengths, walk)

        y, (h,) = run_by_length(
            x,
            lengths,
            first,
            run=run,
            features=self.features,
            is_fused=False,  # the framework's loop is as slow for few examples as for many
            truncate=self.truncate if self.training else None,
        )
        return y, RNNState(h.to(x.dtype))

    def step(self, x: Tensor, state: RNNState | None = None) -> tuple[Tensor, RNNState]:
        """Return the output and the state after one more step of every sequence.

        Shapes   x [B, C] -> y [B, D]
        Raises   NetworkError for a layer that walks both ways: its output needs the whole sequence
        """
        refuse_both(self.both, layer="rnn")
        check_shape(x, "B C", layer="rnn step", C=self.channels)
        y, state = self.run(x[:, None], None, state)
        return y[:, 0], state

    def trace(
        self, x: Tensor, lengths: Tensor | None = None, state: RNNState | None = None
    ) -> RNNTrace:
        """Return h at every step, for every layer and direction, by the eager engine."""
        x, (first,) = self._checked(x, lengths, state)
        seen: list[Tensor] = []

        def walk(x: Tensor, layer: int, direction: int) -> tuple[Tensor, Ends]:
            weights, h = self.weights(layer, direction), first[layer, direction]
            y, h = _walk_eager(x, lengths, weights, h, self.activation)
            seen.append(reverse_steps(y, lengths) if direction else y)
            return y, (h,)

        self._walk_layers(x, lengths, walk)
        return RNNTrace(torch.stack(seen).view(self.layers, self.directions, *seen[0].shape))

    def engine_for(self, x: Tensor) -> EngineChoice:
        """Tell which engine walks over values like `x`, and why."""
        return choose_engine(self.engine, x, {"fused": refuses_fused, "eager": lambda _: None})

    def weights(self, layer: int, direction: int) -> RNNWeights:
        """The weights of one direction (0 or 1) of one layer."""
        end = suffix(layer, direction)
        return RNNWeights(*(cast(Tensor, getattr(self, name + end)) for name in RNNWeights._fields))

    def out_layout(self, layout: Layout) -> Layout:
        """D features a step from each direction; ShapeError where a grid is still there."""
        if layout.grid or not layout.has_time:
            raise ShapeError(f"rnn reads features over time [B, T, D]; got {layout}.")
        return replace(layout, channels=self.features)

    out_lengths = same_lengths

    def extra_repr(self) -> str:
        both = ", both" if self.both else ""
        return f"{self.channels}, {self.width}, {self.activation}, layers={self.layers}{both}"

    def _checked(
        self, x: Tensor, lengths: Tensor | None, state: RNNState | None
    ) -> tuple[Tensor, Ends]:
        weight = self.weights(0, 0).weight_ih
        x = check_values(x, lengths, channels=self.channels, weight=weight, layer="rnn")
        shape = (self.layers, self.directions, x.shape[0], self.width)
        h = None if state is None else state.h
        return x, (check_state(h, name="h", shape=shape, like=x, layer="rnn"),)

    def _walk_layers(self, x: Tensor, lengths: Tensor | None, walk: Walk) -> tuple[Tensor, Ends]:
        layers, both, between = self.layers, self.both, self.between
        return through_layers(x, lengths, layers=layers, both=both, walk=walk, between=between)


def _new_weights(
    channels: int, width: int, generator: torch.Generator | None
) -> dict[str, nn.Parameter]:
    """Input weights uniform after Glorot & Bengio 2010, recurrent ones orthogonal, biases 0."""
    weight_ih, weight_hh = torch.empty(width, channels), torch.empty(width, width)
    draw(nn.init.xavier_uniform_, weight_ih, generator=generator)
    draw(nn.init.orthogonal_, weight_hh, generator=generator)
    values = RNNWeights(weight_ih, weight_hh, torch.zeros(width), torch.zeros(width))
    return {name: nn.Parameter(value) for name, value in values._asdict().items()}


def _walk_fused(
    x: Tensor, lengths: Tensor | None, weights: RNNWeights, h: Tensor, activation: str
) -> tuple[Tensor, Tensor]:
    """Walk one direction in the framework's own loop; what lies behind a length is thrown away."""
    x, h = x.to(weights.weight_ih.dtype), h.to(weights.weight_ih.dtype)
    # The third last argument says to keep what backward needs, in evaluation too (cuDNN).
    options = (True, 1, 0.0, torch.is_grad_enabled(), False, True)
    y, last_h = FUSED[activation](x, h[None].contiguous(), list(weights), *options)
    if lengths is None:
        return y, last_h[0]
    return mask_steps(y, lengths), last_steps(y, lengths, h.to(y.dtype))


def _walk_eager(
    x: Tensor, lengths: Tensor | None, weights: RNNWeights, h: Tensor, activation: str
) -> tuple[Tensor, Tensor]:
    """Walk one direction in plain tensor operations."""
    from_x = F.linear(x, weights.weight_ih) + (weights.bias_ih + weights.bias_hh)
    valid_BT = None if lengths is None else valid_steps(lengths, x.shape[1])
    hs = []
    for t, from_x_t in enumerate(from_x.unbind(1)):
        new = ACTIVATIONS[activation](from_x_t + F.linear(h, weights.weight_hh))
        if valid_BT is None:
            h = new
            hs.append(new)
        else:
            valid = valid_BT[:, t, None]
            h = torch.where(valid, new, h)
            hs.append(torch.where(valid, new, 0.0))
    return torch.stack(hs, 1) if hs else from_x, h
