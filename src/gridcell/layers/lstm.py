"""Long short-term memory over time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor, nn

from gridcell.axes import Layout, check_shape
from gridcell.errors import NetworkError, ShapeError, did_you_mean
from gridcell.layers.by_length import run_by_length
from gridcell.layers.dense import Dropout
from gridcell.layers.directions import (
    Walk,
    fill_missing_biases,
    reverse_steps,
    through_layers,
)
from gridcell.layers.engines import EngineChoice, check_engine, choose_engine
from gridcell.layers.lengths import same_lengths
from gridcell.layers.lstm_eager import Noise, Trace, draw_noise, walk_eager
from gridcell.layers.lstm_engines import ENGINES
from gridcell.layers.lstm_fused import keeps_cell
from gridcell.layers.lstm_weights import (
    LSTMSizes,
    LSTMWeights,
    draw_weight_mask,
    new_weights,
    suffix,
)
from gridcell.layers.pieces import Piece, walk_in_pieces
from gridcell.layers.recurrent_state import (
    Ends,
    LSTMState,
    check_state,
    check_values,
    refuse_both,
)
from gridcell.layers.two_parts import in_two_parts, is_rounded


class LSTM(nn.Module):
    """Long short-term memory over the time axis.

        i, f, g, o = split(W_ih x_t + b_ih + W_hh h + b_hh)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g);   h = sigmoid(o) * tanh(c);   y_t = h

    layers              one LSTM on the other
    both                a second walk from the last valid step to the first, with weights of its
                        own; outputs joined
    recurrence, heads   "full": W_hh h is a product with a matrix; heads=n: each unit hears only
                        the units of its head; "diagonal": itself alone, element by element
    peephole            i and f also hear the cell before the step, o the one after it
    layernorm           W_ih x, W_hh h and the cell on its way to h are normalized
    zoneout             the share of numbers in h and c that stay as they were, while training;
                        in evaluation each number stays by that share
    dropout             between layers, while training, each number for itself
    recurrent_dropout   of h on its way into the gates, while training, the same units at every
                        step of a sequence
    weight_drop         the share of the numbers in W_hh that are 0 while training, the others
                        divided by what is kept: drawn once a call, the same for all sequences and
                        steps, so that the fused engine stays usable
    project             h becomes a product of that many numbers
    engine              "auto", or the name of one in lstm_engines.ENGINES
    generator           for the first weights; `set_generator` sets the one for what is random later

    While training, `set_truncation` lets gradients reach back a number of steps only.

    Calls    layer(x, lengths) -> y;  layer.run(x, lengths, state) -> y, state;
             layer.step(x_t, state) -> y_t, state;  layer.trace(x, lengths) -> Trace
    Shapes   x [B, T, C] -> y [B, T, directions * D]; state h, c [layers, directions, B, D]
    Lengths  the padding is never read, whatever it holds, and comes out as 0; a sequence of length
             0 gives 0 and leaves the state alone
    Raises   ShapeError if x isn't [B, T, C] with C = `channels`, or a length isn't 0 to T
    Cost     4 * B * T * D * (C + D) multiply-adds a layer and direction
    Weights  named and ordered as torch.nn.LSTM's, whose state dicts load; see lstm_weights.py
    Source   Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000; peepholes: Gers &
             Schmidhuber 2000; layer norm: Ba et al. 2016; zoneout: Krueger et al. 2016; recurrent
             dropout: Gal & Ghahramani 2016; weight drop: Merity et al. 2018; projection: Sak et
             al. 2014

    >>> layer = LSTM(16, 32, both=True)
    >>> layer(torch.zeros(8, 50, 16), torch.full((8,), 40)).shape
    torch.Size([8, 50, 64])
    """

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        layers: int = 1,
        both: bool = False,
        recurrence: Literal["full", "diagonal"] = "full",
        heads: int = 1,
        peephole: bool = False,
        layernorm: bool = False,
        zoneout: float = 0.0,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        project: int | None = None,
        engine: str = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.width, self.layers, self.both = channels, width, layers, both
        self.heads = width if recurrence == "diagonal" else heads
        self.shown = width if project is None else project
        self.project, self.peephole, self.layernorm = project, peephole, layernorm
        self.zoneout, self.dropout, self.recurrent_dropout = zoneout, dropout, recurrent_dropout
        self.weight_drop = weight_drop
        self.engine = engine
        self.truncate: int | None = None
        self.keeps_state = False
        self.reads_values = False
        self._refuse_what_does_not_fit(recurrence, heads)
        self.between = Dropout(dropout)
        check_engine(engine, ENGINES)
        for layer in range(layers):
            sizes = LSTMSizes(
                channels=self.features if layer else channels,
                width=width,
                heads=self.heads,
                project=project,
                peephole=peephole,
                layernorm=layernorm,
            )
            for direction in range(self.directions):
                for name, value in new_weights(sizes, generator).items():
                    self.register_parameter(name + suffix(layer, direction), value)
        self.register_load_state_dict_pre_hook(fill_missing_biases)  # type: ignore[no-untyped-call]

    @property
    def directions(self) -> int:
        """2 with `both`, else 1."""
        return 2 if self.both else 1

    @property
    def features(self) -> int:
        """Numbers in one step of y."""
        return self.directions * self.shown

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        y, _ = self._run(x, lengths, None, is_end_wanted=False)
        return y

    def run(
        self, x: Tensor, lengths: Tensor | None = None, state: LSTMState | None = None
    ) -> tuple[Tensor, LSTMState]:
        """Return the outputs and the state after each sequence's last valid step.

        Hand the state in with the next piece of the same sequences to go on; None starts anew.
        """
        return self._run(x, lengths, state, is_end_wanted=True)

    def step(self, x: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Return the output and the state after one more step of every sequence.

        Shapes   x [B, C] -> y [B, D]
        Raises   NetworkError for a layer that walks both ways: its output needs the whole sequence

        >>> layer = LSTM(3, 4)
        >>> y, state = layer.step(torch.zeros(1, 3))
        >>> y, state = layer.step(torch.zeros(1, 3), state)
        """
        refuse_both(self.both, layer="lstm")
        check_shape(x, "B C", layer="lstm step", C=self.channels)
        y, state = self.run(x[:, None], None, state)
        return y[:, 0], state

    def trace(
        self, x: Tensor, lengths: Tensor | None = None, state: LSTMState | None = None
    ) -> Trace:
        """Return f, i, g, o, c and h at every step, by the eager engine.

        Gates are shown after their activation, in the order of time both ways; the padding is 0.
        A layer in training draws new random numbers here; in evaluation the last h is y.

        Shapes   -> each [layers, directions, B, T, D], h with `project` numbers instead of D
        """
        x = check_values(x, lengths, channels=self.channels, weight=self._weight, layer="lstm")
        first, walked = self._first(x, state), self._walked_weights()
        seen: list[Trace] = []

        def walk(x: Tensor, layer: int, direction: int) -> tuple[Tensor, Ends]:
            h, c = (kind[layer, direction] for kind in first)
            noise = self._noise(x, h, c)
            moments, h, c = walk_eager(x, lengths, walked[layer][direction], h, c, noise=noise)
            turned = (reverse_steps(kind, lengths) for kind in moments)
            seen.append(Trace(*turned) if direction else moments)
            return moments.h, (h, c)

        self._walk_layers(x, lengths, walk)
        kinds = [torch.stack(kind) for kind in zip(*seen, strict=True)]
        shape = (self.layers, self.directions)
        return Trace(*(kind.view(*shape, *kind.shape[1:]) for kind in kinds))

    def engine_for(self, x: Tensor) -> EngineChoice:
        """Tell which engine walks over values like `x`, and why.

        >>> LSTM(3, 4, peephole=True).engine_for(torch.zeros(1, 2, 3)).reason
        'not fused: peephole is in no fused kernel'
        """
        if self.engine == "auto" and x.shape[1] == 1 and x.device.type == "cpu":
            # For one sequence of width 64, 120 microseconds against 165.
            return EngineChoice("eager", "a single step is over before a kernel has started")
        options = self._options()
        refusals = {name: partial(each.refuses, options) for name, each in ENGINES.items()}
        return choose_engine(self.engine, x, refusals)

    def weights(self, layer: int, direction: int) -> LSTMWeights:
        """The weights of one direction (0 or 1) of one layer."""
        end = suffix(layer, direction)
        return LSTMWeights(
            *(cast(Tensor, getattr(self, n + end, None)) for n in LSTMWeights._fields)
        )

    def out_layout(self, layout: Layout) -> Layout:
        """D features a step from each direction; ShapeError where a grid is still there."""
        if layout.grid or not layout.has_time:
            raise ShapeError(f"lstm reads features over time [B, T, D]; got {layout}.")
        return replace(layout, channels=self.features)

    out_lengths = same_lengths

    def extra_repr(self) -> str:
        options = ["both"] * self.both + self._options()
        options += [f"weight_drop={self.weight_drop:g}"] * (self.weight_drop > 0)
        return ", ".join([f"{self.channels}, {self.width}, layers={self.layers}", *options])

    def _options(self) -> list[str]:
        """The options in use that no plain LSTM has."""
        options = {
            'recurrence="diagonal"': self.heads == self.width > 1,
            f"heads={self.heads}": 1 < self.heads < self.width,
            "peephole": self.peephole,
            "layernorm": self.layernorm,
            "zoneout": self.zoneout > 0,
            "recurrent_dropout": self.training and self.recurrent_dropout > 0,
            "project": self.project is not None,
        }
        return [name for name, is_used in options.items() if is_used]

    def _refuse_what_does_not_fit(self, recurrence: str, heads: int) -> None:
        counts = {"channels": self.channels, "width": self.width, "layers": self.layers}
        for name, count in (counts | {"heads": heads, "project": self.shown}).items():
            if count < 1:
                raise ShapeError(f"lstm {name} must be 1 or more; got {count}.")
        if recurrence not in ("full", "diagonal"):
            known = ["full", "diagonal"]
            raise NetworkError(
                f"lstm recurrence is full or diagonal; got {recurrence}."
                f"{did_you_mean(recurrence, known)}"
            )
        if recurrence == "diagonal" and heads != 1:
            raise NetworkError(
                "lstm recurrence=diagonal has a head for every unit; heads has no effect.",
                fix="leave heads out.",
            )
        if self.width % heads:
            raise ShapeError(f"lstm heads={heads} must divide the width {self.width}.")
        if self.project is not None and self.heads > 1:
            raise NetworkError("lstm project needs recurrence=full and heads=1: h has no units.")
        for name in ("zoneout", "dropout", "recurrent_dropout", "weight_drop"):
            rate = getattr(self, name)
            if not 0 <= rate < 1:
                raise ShapeError(f"lstm {name} must be at least 0 and below 1; got {rate:g}.")
        if self.dropout and self.layers == 1:
            raise NetworkError(
                "lstm dropout lies between layers, and here is one layer: it has no effect.",
                fix="layers=2, or a dropout layer behind the lstm.",
            )

    @property
    def _weight(self) -> Tensor:
        return cast(Tensor, self.weight_ih_l0)

    def _first(self, x: Tensor, state: LSTMState | None) -> Ends:
        """The states to start from, as asked or 0."""
        shape = (self.layers, self.directions, x.shape[0])
        h, c = (None, None) if state is None else state
        return (
            check_state(h, name="h", shape=(*shape, self.shown), like=x, layer="lstm"),
            check_state(c, name="c", shape=(*shape, self.width), like=x, layer="lstm"),
        )

    def _walked_weights(self) -> list[list[LSTMWeights]]:
        """The weights of one call, by layer and direction: while training some are dropped."""
        every = [
            [self.weights(layer, direction) for direction in range(self.directions)]
            for layer in range(self.layers)
        ]
        if not (self.training and self.weight_drop):
            return every

        def dropped(weights: LSTMWeights) -> LSTMWeights:
            mask = draw_weight_mask(
                weights.weight_hh, self.weight_drop, generator=self.between.generator
            )
            return weights._replace(weight_hh=weights.weight_hh * mask)

        return [[dropped(weights) for weights in directions] for directions in every]

    def _noise(self, x: Tensor, h: Tensor, c: Tensor) -> Noise:
        return draw_noise(
            x,
            h,
            c,
            recurrent_dropout=self.recurrent_dropout,
            zoneout=self.zoneout,
            is_training=self.training,
            generator=self.between.generator,
        )

    def _walk_layers(self, x: Tensor, lengths: Tensor | None, walk: Walk) -> tuple[Tensor, Ends]:
        return through_layers(
            x,
            lengths,
            layers=self.layers,
            both=self.both,
            walk=walk,
            between=self.between,
        )

    def _run(
        self, x: Tensor, lengths: Tensor | None, state: LSTMState | None, *, is_end_wanted: bool
    ) -> tuple[Tensor, LSTMState]:
        x = check_values(x, lengths, channels=self.channels, weight=self._weight, layer="lstm")
        is_cell_kept = keeps_cell(x) and ENGINES[self.engine_for(x).name].is_fused
        is_autocast = torch.is_autocast_enabled(x.device.type)
        stays_out = self.keeps_state and is_autocast and not is_cell_kept
        with torch.autocast(x.device.type, enabled=False) if stays_out else nullcontext():
            return self._walked(x, lengths, state, is_cell_kept, is_end_wanted=is_end_wanted)

    def _walked(
        self,
        x: Tensor,
        lengths: Tensor | None,
        state: LSTMState | None,
        is_cell_kept: bool,
        *,
        is_end_wanted: bool,
    ) -> tuple[Tensor, LSTMState]:
        """Walk over checked values; `is_cell_kept` says that products are formed in bfloat16."""
        engine = ENGINES[self.engine_for(x).name]
        first = self._first(x, state)
        walked = self._walked_weights()  # once, however the batch is cut
        values = x
        if is_cell_kept and self.reads_values and is_rounded(x):
            values = in_two_parts(x, -1)
            walked[0] = [
                weights._replace(weight_ih=torch.cat([weights.weight_ih] * 2, 1))
                for weights in walked[0]
            ]
        elif is_cell_kept:
            values = x.to(torch.bfloat16)  # once for all walks over it

        def run(
            x: Tensor, lengths: Tensor | None, first: Ends, pieces: Sequence[Piece]
        ) -> tuple[Tensor, Ends]:
            def walk(x: Tensor, layer: int, direction: int) -> tuple[Tensor, Ends]:
                h, c = (kind[layer, direction] for kind in first)
                weights, noise = walked[layer][direction], self._noise(x, h, c)

                def piece(
                    x: Tensor, lengths: Tensor | None, first: Ends, steps: slice
                ) -> tuple[Tensor, Ends]:
                    # Only fused engines are given fewer examples, and what they run has no noise.
                    return engine.walk(x, lengths, weights, first, noise.at(steps), is_end_wanted)

                return walk_in_pieces(x, lengths, (h, c), pieces, walk=piece)

            return self._walk_layers(x, lengths, walk)

        y, end = run_by_length(
            values,
            lengths,
            first,
            run=run,
            features=self.features,
            is_fused=engine.is_fused,
            truncate=self.truncate if self.training else None,
        )
        return y, LSTMState(*(kind.to(x.dtype) for kind in end) if is_end_wanted else end)
