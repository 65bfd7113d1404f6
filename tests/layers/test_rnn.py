"""The plain recurrent layer against its NumPy twin and PyTorch, and what it owes to its lengths."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gridcell import reference
from gridcell.axes import Layout
from gridcell.errors import NetworkError, ShapeError
from gridcell.layers import RNN, Chain, Last, RNNState

from ..reference.comparison import catches, normal, quick
from ..reference.recurrent import draw_lengths
from .checks import (
    assert_no_step_reaches_the_wrong_way,
    assert_padding_changes_nothing,
    assert_same_alone_and_in_a_batch,
    dtypes,
    randomize,
    tensor,
)
from .recurrent import RecordedDropout, as_reference, assert_close, in_order, run

ENGINES = ["fused", "eager"]


@st.composite
def cases(draw):
    batch, steps = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    layers = draw(st.integers(1, 2))
    return {
        "channels": draw(st.integers(1, 3)),
        "width": draw(st.integers(1, 4)),
        "options": {
            "layers": layers,
            "dropout": draw(st.sampled_from([0.0, 0.5])) if layers > 1 else 0.0,
            "both": draw(st.booleans()),
            "activation": draw(st.sampled_from(["tanh", "relu"])),
            "engine": draw(st.sampled_from(ENGINES)),
        },
        "shape": (batch, steps),
        "lengths": draw(draw_lengths(batch, steps)),
        "dtype": draw(dtypes),
        "seed": draw(st.integers(0, 10_000)),
    }


def compare(case, forward=reference.rnn, backward=reference.rnn_backward):
    """Raise AssertionError where the layer differs from the reference, forward or backward."""
    dtype, seed = case["dtype"], case["seed"]
    layer = randomize(RNN(case["channels"], case["width"], **case["options"]), seed).to(dtype)
    (batch, steps), lengths = case["shape"], case["lengths"]
    state = (layer.layers, layer.directions, batch, layer.width)
    shapes = [(batch, steps, layer.channels), state, (batch, steps, layer.features), state]
    x, h, *grads = (tensor(normal(seed + n, *shape), dtype) for n, shape in enumerate(shapes))
    counts = None if lengths is None else torch.tensor(lengths)
    layer.between = recorded = RecordedDropout(layer.dropout, torch.Generator().manual_seed(seed))
    outputs, gradients = run(layer, x, counts, (h,), grads)
    x, h, grad_y, grad_h = (value.double().numpy() for value in (x, h, *grads))
    options = {"lengths": lengths, "h": h, "activation": layer.activation}
    options["dropout_mask"] = recorded.mask()
    weights = as_reference(layer)
    assert_close(outputs, forward(x, weights, **options), dtype)
    grad_x, grads, grad_h = backward(grad_y, x, weights, grad_last_h=grad_h, **options)
    assert_close(gradients, [grad_x, *in_order(layer, grads), grad_h], dtype)


@quick
@given(cases())
def test_both_engines_agree_with_the_twin_on_any_lengths(case):  # S31
    compare(case)


def padding_read(x, weights, *, lengths, **options):
    return reference.rnn(x, weights, **options)


def first_state_forgotten(x, weights, *, h, **options):
    return reference.rnn(x, weights, **options)


def other_activation(x, weights, *, activation, **options):
    other = {"tanh": "relu", "relu": "tanh"}[activation]
    return reference.rnn(x, weights, activation=other, **options)


def dropout_forgotten(x, weights, *, dropout_mask, **options):
    return reference.rnn(x, weights, **options)


@pytest.mark.parametrize(
    "twin", [padding_read, first_state_forgotten, other_activation, dropout_forgotten]
)
def test_a_wrong_rnn_is_caught(twin):
    catches(compare, cases(), forward=twin)


def last_state_s_gradient_forgotten(grad_y, x, weights, *, grad_last_h, **options):
    return reference.rnn_backward(grad_y, x, weights, **options)


def test_a_wrong_gradient_is_caught():
    catches(compare, cases(), backward=last_state_s_gradient_forgotten)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("both", [False, True])
def test_state_dicts_go_to_and_from_pytorch_and_packed_sequences_agree(activation, both):
    theirs = nn.RNN(5, 6, 2, batch_first=True, bidirectional=both, nonlinearity=activation)
    ours = RNN(5, 6, layers=2, both=both, activation=activation)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x, lengths = torch.randn(7, 9, 5), torch.tensor([9, 3, 5, 1, 2, 9, 4])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, h = theirs(packed)
    y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    actual, state = ours.run(x, lengths)
    torch.testing.assert_close(actual, y, rtol=0, atol=1e-6)
    torch.testing.assert_close(state.h.flatten(0, 1), h, rtol=0, atol=1e-6)


def test_a_state_dict_without_biases_loads():
    theirs = nn.Sequential(nn.RNN(5, 6, batch_first=True, bias=False))
    ours = nn.Sequential(RNN(5, 6))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, 5)
    torch.testing.assert_close(ours(x), theirs(x)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_agree_with_differences(engine):
    layer = randomize(RNN(2, 2, layers=2, both=True, engine=engine)).double()
    x, lengths = tensor(normal(1, 3, 3, 2)).requires_grad_(), torch.tensor([3, 0, 2])
    h = tensor(normal(2, 2, 2, 3, 2)).requires_grad_()

    def outputs(x, h):
        y, state = layer.run(x, lengths, RNNState(h))
        return y, state.h

    assert torch.autograd.gradcheck(outputs, (x, h))
    assert torch.autograd.gradgradcheck(outputs, (x, h), fast_mode=True)

    def by_weights(*values):
        names = [name for name, _ in layer.named_parameters()]
        weights = dict(zip(names, values, strict=True))
        return torch.func.functional_call(layer, weights, (x.detach(), lengths))

    weights = tuple(value.detach().clone().requires_grad_() for value in layer.parameters())
    assert torch.autograd.gradcheck(by_weights, weights)


@pytest.fixture(params=[(e, both) for e in ENGINES for both in (False, True)], ids=str)
def layer(request):
    engine, both = request.param
    generator = torch.Generator().manual_seed(0)
    return RNN(3, 4, layers=2, both=both, engine=engine, generator=generator).double()


def test_padding_changes_nothing_whatever_it_holds(layer):
    x, lengths = tensor(normal(1, 4, 6, 3)), torch.tensor([6, 0, 2, 5])
    assert_padding_changes_nothing(layer, x, lengths)
    assert_padding_changes_nothing(Chain([layer, Last(both=layer.both)]), x, lengths)


def test_alone_or_in_a_batch(layer):
    x, lengths = tensor(normal(1, 4, 6, 3)), torch.tensor([6, 1, 2, 5])
    assert_same_alone_and_in_a_batch(layer, x, lengths)
    assert_same_alone_and_in_a_batch(Chain([layer, Last(both=layer.both)]), x, lengths)


def test_the_future_cannot_reach_the_past(layer):
    x = tensor(normal(1, 2, 6, 3))
    changed = x.clone()
    changed[:, 4:] += 1
    one, other = layer.trace(x).h, layer.trace(changed).h
    assert torch.equal(one[0, 0, :, :4], other[0, 0, :, :4])
    assert not torch.equal(one[0, 0, :, 4:], other[0, 0, :, 4:])
    one_layer = RNN(3, 4, both=layer.both, engine=layer.engine).double()
    assert_no_step_reaches_the_wrong_way(one_layer, x)


def test_the_trace_is_what_the_fast_path_computes(layer):
    x, lengths = tensor(normal(1, 4, 6, 3)), torch.tensor([6, 0, 2, 5])
    _, state = layer.run(tensor(normal(2, 4, 2, 3)))
    for first in (None, state):
        trace = layer.trace(x, lengths, first)
        assert trace.h.shape == (2, layer.directions, 4, 6, 4)
        y, last = layer.run(x, lengths, first)
        torch.testing.assert_close(torch.cat(list(trace.h[-1]), -1), y)
        for example, length in enumerate(lengths.tolist()):
            if length:
                ends = [trace.h[:, 0, example, length - 1]]
                ends += [trace.h[:, 1, example, 0]] if layer.both else []
                torch.testing.assert_close(torch.stack(ends, 1), last.h[:, :, example])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("both", [False, True])
def test_weights_in_bfloat16_give_what_float32_gives_to_their_rounding(engine, both):
    generator = torch.Generator().manual_seed(0)
    layer = RNN(3, 4, layers=2, both=both, engine=engine, generator=generator)
    x, lengths = tensor(normal(1, 4, 6, 3), torch.float32), torch.tensor([6, 0, 2, 5])
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        layer = layer.to(torch.bfloat16).to(dtype)  # on the same weights
        values = x.to(torch.bfloat16).to(dtype).requires_grad_()
        y = layer(values, lengths)
        assert y.dtype == dtype
        y.float().square().sum().backward()
        results.append([y, values.grad, layer.weights(0, 0).weight_hh.grad])
        layer.zero_grad()
    for low, exact in zip(*results, strict=True):
        assert (low.float() - exact).norm() < 0.02 * exact.norm()


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.sampled_from(ENGINES))
def test_pieces_and_steps_equal_the_whole_for_any_split(pieces, engine):
    layer = RNN(3, 4, layers=2, engine=engine).double()
    x = tensor(normal(1, 2, sum(pieces), 3))
    whole, end = layer.run(x)
    state, outputs = None, []
    for piece in x.split(pieces, 1):
        y, state = layer.run(piece, None, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), whole)
    torch.testing.assert_close(state.h, end.h)
    state = None
    for t, x_t in enumerate(x.unbind(1)):
        y, state = layer.step(x_t, state)
        torch.testing.assert_close(y, whole[:, t])


def test_saved_and_loaded_equal(layer):
    other = RNN(3, 4, layers=2, both=layer.both, engine=layer.engine).double()
    other.load_state_dict(layer.state_dict())
    x = tensor(normal(1, 4, 6, 3))
    assert torch.equal(layer(x), other(x))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sequence_of_length_0_gives_0_and_keeps_its_state(engine):
    layer = RNN(4, 2, both=True, engine=engine)
    x, state = torch.randn(3, 3, 4), RNNState(torch.randn(1, 2, 3, 2))
    for lengths in ([3, 0, 2], [0, 0, 0]):
        y, last = layer.run(x, torch.tensor(lengths), state)
        for b, length in enumerate(lengths):
            if length == 0:
                assert not y[b].any() and torch.equal(last.h[:, :, b], state.h[:, :, b])
    assert layer(torch.zeros(2, 0, 4)).shape == (2, 0, 4)
    assert layer.trace(torch.zeros(2, 0, 4)).h.shape == (1, 2, 2, 0, 2)


def test_first_weights_come_from_the_generator_and_turn_the_state_without_shrinking_it():
    layer, again = (RNN(3, 5, generator=torch.Generator().manual_seed(3)) for _ in "ab")
    for one, other in zip(layer.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    recurrent = layer.weights(0, 0).weight_hh
    torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "rnn width must be 1 or more; got 0"),
        ({"activation": "thanh"}, "rnn activation is tanh or relu; got thanh. Did you mean tanh?"),
        ({"dropout": 0.5}, "rnn dropout lies between layers, and here is one layer"),
        ({"engine": "native"}, "native is not an engine; there are auto, fused, eager"),
    ],
)
def test_what_makes_no_rnn_is_refused(options, message):
    with pytest.raises((ShapeError, NetworkError), match=message):
        RNN(**({"channels": 3, "width": 4} | options))


def test_what_does_not_fit_is_refused():
    layer = RNN(3, 4, both=True)
    with pytest.raises(NetworkError, match="rnn with both=True cannot step"):
        layer.step(torch.zeros(1, 3))
    with pytest.raises(ShapeError, match=r"rnn lengths\[1\] is 6: it must be 0 to 5"):
        layer(torch.zeros(2, 5, 3), torch.tensor([5, 6]))
    with pytest.raises(ShapeError, match=r"rnn state h must be .* \[1, 2, 2, 4\]; got \(1, 4\)"):
        layer.run(torch.zeros(2, 5, 3), None, RNNState(torch.zeros(1, 4)))
    with pytest.raises(ShapeError, match="rnn reads features over time"):
        layer.out_layout(Layout(3, grid=(8,)))
    assert layer.out_layout(Layout(3)) == Layout(8)
    assert layer.engine_for(torch.zeros(1, 1, 3)).name == "fused"
