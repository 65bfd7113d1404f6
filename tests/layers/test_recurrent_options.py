"""What is set for all recurrent layers at once: how far gradients reach, the dtype of their state.

Of truncated backpropagation values stay; gradients reach back to the start of a piece and end."""

import math
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell.errors import NetworkError
from gridcell.layers import (
    LSTM,
    RNN,
    Chain,
    Conv,
    Dense,
    Last,
    LSTMState,
    RNNState,
    keep_state,
    set_generator,
    set_truncation,
)
from gridcell.layers.engines import has_bfloat16_kernels

from ..reference.comparison import normal, quick
from ..reference.recurrent import draw_lengths
from .checks import FILLERS, filled, randomize, tensor

LAYERS = {
    "fused": (LSTM, {"engine": "fused"}),
    "fused, two layers": (LSTM, {"engine": "fused", "layers": 2}),
    "eager": (LSTM, {"engine": "eager"}),
    "eager, two layers": (LSTM, {"engine": "eager", "layers": 2}),
    "options": (LSTM, {"layers": 2, "peephole": True, "project": 2, "layernorm": True}),
    "heads": (LSTM, {"heads": 2}),
    "rnn": (RNN, {"engine": "fused", "layers": 2}),
    "rnn, eager": (RNN, {"engine": "eager", "layers": 2, "activation": "relu"}),
}
named = pytest.mark.parametrize("name", LAYERS)


def layer_of(name, *, truncate=None, dtype=torch.float64, **more):
    kind, options = LAYERS[name]
    layer = randomize(kind(3, 4, **options, **more), 5).to(dtype).train()
    if truncate is not None:
        set_truncation(layer, truncate)
    return layer


def values_of(examples, steps, *, dtype=torch.float64):
    return tensor(normal(2, examples, steps, 3), dtype).requires_grad_()


def gradients(layer, outputs, *leaves, seed=3):
    """Of the leaves and every weight, for random gradients of the outputs."""
    total = sum(
        (y * tensor(normal(seed + number, *y.shape), y.dtype)).sum()
        for number, y in enumerate(outputs)
    )
    # Of nothing but empty sequences y has no gradient at all.
    total = total + 0 * leaves[0].sum()
    return torch.autograd.grad(total, [*leaves, *layer.parameters()], materialize_grads=True)


def assert_same(actual, wanted, *, tolerance=1e-10):
    for one, other in zip(actual, wanted, strict=True):
        one, other = one.detach(), other.detach()
        scale = max(1.0, float(other.abs().max())) if other.numel() else 1.0
        torch.testing.assert_close(one / scale, other / scale, rtol=0, atol=tolerance)


def piece_by_piece(layer, x, lengths, steps, state):
    """The classical procedure: the whole stack on one piece, then on the next, states detached.

    The last states come back with the gradient of the piece in which each sequence ended.
    """
    outputs, ends = [], state
    for start in range(0, x.shape[1], steps):
        piece = x[:, start : start + steps]
        left = None if lengths is None else (lengths - start).clamp(0, piece.shape[1])
        y, new = layer.run(piece, left, state)
        outputs.append(y)
        if left is None:
            ends = new
        else:
            pairs = zip(new, ends, strict=True)
            ends = type(new)(*(torch.where(left[:, None] > 0, a, b) for a, b in pairs))
        state = type(new)(*(kind.detach() for kind in ends))
    return torch.cat(outputs, 1), ends


def first_state(layer, examples, size=1):
    """A state to start from, random numbers of that size."""
    kind = RNNState if isinstance(layer, RNN) else LSTMState
    widths = [layer.width] if kind is RNNState else [layer.shown, layer.width]
    return kind(
        *(
            tensor(size * normal(20 + n, layer.layers, 1, examples, width)).requires_grad_()
            for n, width in enumerate(widths)
        )
    )


@st.composite
def cases(draw):
    examples, steps = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    return {
        "name": draw(st.sampled_from(sorted(LAYERS))),
        "shape": (examples, steps),
        "lengths": draw(draw_lengths(examples, steps)),
        "truncate": draw(st.integers(1, 10)),
        # Without a price for a call a batch is cut wherever lengths differ.
        "call_cost": draw(st.sampled_from([0.0, 800_000])),
    }


@quick
@given(cases())
def test_it_is_the_classical_procedure_piece_by_piece(case):  # S33
    x = values_of(*case["shape"])
    lengths = None if case["lengths"] is None else torch.tensor(case["lengths"])
    layer = layer_of(case["name"])
    first = first_state(layer, len(x))
    wanted, wanted_state = piece_by_piece(layer, x, lengths, case["truncate"], first)
    whole, whole_state = layer.run(x, lengths, first)
    from_zero, _ = piece_by_piece(
        layer, x, lengths, case["truncate"], first_state(layer, len(x), 0)
    )
    set_truncation(layer, case["truncate"])
    with mock.patch("gridcell.layers.by_length.CALL_COST", case["call_cost"]):
        y, state = layer.run(x, lengths, first)
        from_y = layer(x, lengths)
    for values, last in ((wanted, wanted_state), (whole, whole_state)):
        assert_same([y, *state], [values, *last], tolerance=1e-12)
    assert_same([from_y], [from_zero], tolerance=1e-12)
    assert_same(gradients(layer, [from_y], x), gradients(layer, [from_zero], x))
    assert_same(
        gradients(layer, [y, *state], x, *first),
        gradients(layer, [wanted, *wanted_state], x, *first),
    )


@named
def test_a_gradient_ends_at_the_start_of_its_piece(name):  # S33
    x, truncate = values_of(2, 11), 4
    y = layer_of(name, truncate=truncate)(x)
    whole = layer_of(name)(x)
    for step in range(11):
        (one,) = torch.autograd.grad(y[:, step].sum(), x, retain_graph=True)
        (full,) = torch.autograd.grad(whole[:, step].sum(), x, retain_graph=True)
        start = step // truncate * truncate
        assert not one[:, :start].any()
        assert one[:, start : step + 1].abs().sum() > 0
        if start == 0:
            assert_same([one], [full], tolerance=1e-12)
        else:
            assert full[:, :start].any()


@named
def test_the_last_state_reaches_back_in_the_piece_in_which_it_was_made(name):  # S33
    x, lengths = values_of(3, 9), torch.tensor([9, 5, 2])
    layer = layer_of(name, truncate=4)
    _, state = layer.run(x, lengths)
    (gradient,) = torch.autograd.grad(sum(kind.sum() for kind in state), x)
    for item, (start, stop) in enumerate([(8, 9), (4, 5), (0, 2)]):
        reached = gradient[item].abs().sum(-1) > 0
        assert reached.tolist() == [start <= step < stop for step in range(9)]


@named
def test_a_state_handed_in_keeps_its_gradient_over_the_first_piece(name):  # S33
    layer = layer_of(name, truncate=3)
    x = values_of(2, 7)
    _, first = layer.run(values_of(2, 2))
    first = type(first)(*(kind.detach().requires_grad_() for kind in first))
    y, _ = layer.run(x, None, first)
    assert all(
        gradient.any() for gradient in torch.autograd.grad(y[:, 2].sum(), first, retain_graph=True)
    )
    later = torch.autograd.grad(y[:, 3].sum(), first, allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in later)


@named
@pytest.mark.parametrize("truncate", [9, 100])
def test_one_piece_is_no_truncation(name, truncate):
    x = values_of(2, 9)
    layer = layer_of(name)
    wanted = layer(x)
    wanted_gradients = gradients(layer, [wanted], x)
    set_truncation(layer, truncate)
    y = layer(x)
    assert torch.equal(y, wanted)
    for one, other in zip(gradients(layer, [y], x), wanted_gradients, strict=True):
        assert torch.equal(one, other)


@named
def test_nothing_changes_in_evaluation(name):
    x = values_of(2, 9)
    layer = layer_of(name).eval()
    wanted = gradients(layer, [layer(x)], x)
    set_truncation(layer, 2)
    for one, other in zip(gradients(layer, [layer(x)], x), wanted, strict=True):
        assert torch.equal(one, other)


@named
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_keep_their_dtype(name, dtype):
    layer = layer_of(name, truncate=2, dtype=dtype)
    y, state = layer.run(values_of(2, 5, dtype=dtype), torch.tensor([5, 1]))
    assert {kind.dtype for kind in (y, *state)} == {dtype}


@named
@pytest.mark.parametrize("filler", FILLERS)
def test_padding_changes_nothing(name, filler):
    lengths = torch.tensor([7, 3, 0])
    layer = layer_of(name, truncate=2)
    results = []
    for values in (0, filler):
        x = filled(values_of(3, 7).detach(), lengths, values).requires_grad_()
        y, state = layer.run(x, lengths)
        results.append([y, *state, *gradients(layer, [y, *state], x)])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("options", [{"recurrent_dropout": 0.5}, {"zoneout": 0.5}])
def test_the_same_numbers_are_drawn_as_without(options):  # S33
    layer = LSTM(3, 4, layers=2, dropout=0.5, **options).double().train()
    x, outputs = values_of(2, 9), []
    for truncate in (None, 2):
        set_truncation(layer, truncate)
        set_generator(layer, torch.Generator().manual_seed(1))
        outputs.append(layer(x))
    assert_same(outputs[:1], outputs[1:], tolerance=1e-12)


def test_every_recurrent_layer_of_a_network_is_set_and_set_free():
    network = Chain([Conv(3, 4, grid_axes=0, time=1), LSTM(4, 4), RNN(4, 2), Last(), Dense(2, 2)])
    set_truncation(network, 5)
    assert [network.layers[n].truncate for n in (1, 2)] == [5, 5]
    set_truncation(network, None)
    assert [network.layers[n].truncate for n in (1, 2)] == [None, None]


@pytest.mark.parametrize(
    ("network", "steps", "text"),
    [
        (
            Chain([Dense(3, 2)]),
            4,
            "tbptt has no effect: the network has no lstm or rnn.\n  Fix: leave tbptt out.",
        ),
        (
            Chain([LSTM(3, 4), LSTM(4, 8, both=True)]),
            4,
            "lstm(8, both) cannot train with tbptt: a walk from the end cannot be cut into pieces "
            "that come one after another.\n  Fix: leave both out or leave tbptt out.",
        ),
        (
            RNN(3, 4, both=True),
            4,
            "rnn(4, both) cannot train with tbptt: a walk from the end cannot be cut into pieces "
            "that come one after another.\n  Fix: leave both out or leave tbptt out.",
        ),
        (LSTM(3, 4), 0, "tbptt must be a whole number of 1 step or more; got 0."),
        (LSTM(3, 4), 2.5, "tbptt must be a whole number of 1 step or more; got 2.5."),
    ],
)
def test_what_cannot_be_truncated_is_refused_and_nothing_is_set(network, steps, text):  # S33
    with pytest.raises(NetworkError) as caught:
        set_truncation(network, steps)
    assert str(caught.value) == text
    assert all(getattr(module, "truncate", None) is None for module in network.modules())


def in_bfloat16(layer, x, lengths):
    """What a layer gives under autocast, and gradients of x and its weights."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer.run(x, lengths)
    return [y, *state], gradients(layer, [y, *state], x)


KEPT_OUT = [name for name in LAYERS if not name.startswith("fused")]
"""Layers that keep their state by staying out of autocast."""
has_bfloat16 = pytest.mark.skipif(not has_bfloat16_kernels(), reason="no bfloat16 instructions")


@pytest.mark.parametrize("name", KEPT_OUT)
@pytest.mark.parametrize("both", [False, True])
def test_a_layer_that_keeps_its_state_computes_as_without_autocast(name, both):
    layer = layer_of(name, both=both, dtype=torch.float32)
    x, lengths = values_of(3, 6, dtype=torch.float32), torch.tensor([6, 2, 0])
    y, state = layer.run(x, lengths)
    wanted, wanted_gradients = [y, *state], gradients(layer, [y, *state], x)
    keep_state(layer)
    found, found_gradients = in_bfloat16(layer, x, lengths)
    assert {values.dtype for values in found} == {torch.float32}
    for one, other in zip([*found, *found_gradients], [*wanted, *wanted_gradients], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", KEPT_OUT)
def test_a_layer_that_keeps_its_state_takes_what_bfloat16_gives(name):
    layer = layer_of(name, dtype=torch.float32)
    keep_state(layer)
    x = values_of(2, 5, dtype=torch.float32).detach().to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
    assert torch.equal(found, layer(x.float()))


@has_bfloat16
@pytest.mark.parametrize("name", ["fused", "fused, two layers"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("lengths", [None, [40, 40, 40], [40, 13, 0]])
@pytest.mark.parametrize("call_cost", [0.0, 800_000])
def test_products_in_bfloat16_give_what_float32_gives_to_their_rounding(
    name, both, is_kept, lengths, call_cost
):
    layer = layer_of(name, both=both, dtype=torch.float32)
    x = values_of(3, 40, dtype=torch.float32)
    lengths = None if lengths is None else torch.tensor(lengths)
    y, state = layer.run(x, lengths)
    wanted, wanted_gradients = [y, *state], gradients(layer, [y, *state], x)
    if is_kept:
        keep_state(layer)
    with mock.patch("gridcell.layers.by_length.CALL_COST", call_cost):
        found, found_gradients = in_bfloat16(layer, x, lengths)
    assert [values.dtype for values in found] == [torch.bfloat16, torch.float32, torch.float32]
    for one, other in zip([*found, *found_gradients], [*wanted, *wanted_gradients], strict=True):
        # 8 bits of mantissa, over 40 steps and two layers.
        difference = (one.float() - other).norm() / other.norm().clamp(min=1e-6)
        assert difference < 0.03
    assert not torch.equal(found[2], wanted[2])


@has_bfloat16
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_cell_adds_up_small_things_beside_products_in_bfloat16(dtype):  # S30
    """1,000 times 0.001 on top of 4; in bfloat16 alone it would stay at 4."""
    layer = LSTM(1, 2, engine="fused")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias_ih_l0.copy_(torch.tensor([1e4, 1e4, 1e4, 1e4, 0.001, 0.001, 1e4, 1e4]))
    layer, x = layer.to(dtype), torch.zeros(1, 1000, 1, dtype=dtype)
    first = LSTMState(*(torch.full((1, 1, 1, 2), value, dtype=dtype) for value in (0.0, 4.0)))
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        y, (_, c) = layer.run(x, None, first)
    assert c.float().flatten().tolist() == pytest.approx([5.0, 5.0], rel=4e-3)
    assert float(y[0, -1, 0]) == pytest.approx(math.tanh(5), rel=4e-3)


@named
def test_without_autocast_keeping_the_state_changes_nothing(name):
    layer, x = layer_of(name), values_of(2, 5)
    wanted = layer(x)
    keep_state(layer)
    assert torch.equal(layer(x), wanted)


def test_only_recurrent_layers_of_a_network_leave_autocast():
    network = Chain([Conv(3, 4, grid_axes=0, time=1), RNN(4, 4), Last(), Dense(4, 2)])
    keep_state(network)
    seen = []
    for layer in network.layers:
        layer.register_forward_hook(lambda _, __, y: seen.append(y.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(values_of(2, 5, dtype=torch.float32))
    assert seen == [torch.bfloat16, torch.float32, torch.float32, torch.bfloat16]


def test_a_plain_recurrent_state_adds_up_small_things_only_where_it_is_kept():
    """1,000 times 0.002 are 2; in bfloat16 it stays where the step is less than half a place."""
    layer = RNN(1, 1, activation="relu", engine="eager")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        for name, parameter in layer.named_parameters():
            if parameter.ndim > 1:
                parameter.fill_(1.0)
                assert "bias" not in name
    x = torch.full((1, 1000, 1), 0.002)
    ends = []
    for keeps in (False, True):
        if keeps:
            keep_state(layer)
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
            ends.append(float(layer(x)[0, -1, 0]))
    assert ends[0] < 1.1
    assert ends[1] == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("name", [name for name in LAYERS if name.startswith("fused")])
@pytest.mark.parametrize("is_kept", [False, True])
def test_float64_stays_float64_under_autocast(name, is_kept):
    layer, x = layer_of(name), values_of(2, 5)
    wanted, wanted_state = layer.run(x)
    if is_kept:
        keep_state(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer.run(x)
    assert y.dtype == torch.float64
    assert_same([y, *state], [wanted, *wanted_state])


@pytest.mark.parametrize("engine", ["auto", "fused"])
def test_without_bfloat16_kernels_a_kept_state_is_that_of_float32(engine):
    layer = randomize(LSTM(3, 4, engine=engine), 5)
    x = values_of(2, 5, dtype=torch.float32)
    wanted = layer(x)
    keep_state(layer)
    with (
        mock.patch("gridcell.layers.engines.has_bfloat16_kernels", lambda: False),
        mock.patch("gridcell.layers.lstm_fused.has_bfloat16_kernels", lambda: False),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        assert torch.equal(layer(x), wanted)


@pytest.mark.filterwarnings("ignore")  # tracing warns of every size that it fixes
def test_a_kept_state_can_be_traced_under_autocast():
    layer = randomize(LSTM(3, 4), 5).eval().requires_grad_(False)
    keep_state(layer)
    x = values_of(2, 5, dtype=torch.float32).detach()
    wanted = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        traced = torch.jit.trace(layer, (x,), check_trace=False)
    assert torch.equal(traced(x), wanted)
