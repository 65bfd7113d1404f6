"""The LSTM against its NumPy twin and PyTorch, and what it owes to lengths, states and time."""

import warnings
from copy import deepcopy
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gridcell import reference
from gridcell.axes import Layout
from gridcell.errors import NetworkError, ShapeError
from gridcell.layers import (
    LSTM,
    Chain,
    Conv,
    Dropout,
    Last,
    LSTMState,
    set_generator,
    set_truncation,
)
from gridcell.layers.by_length import cuts_in_time
from gridcell.layers.engines import has_bfloat16_kernels
from gridcell.layers.pieces import cut_in_pieces
from gridcell.reference.heads import as_matrix

from ..reference.comparison import catches, normal, quick
from ..reference.recurrent import draw_lengths
from .checks import (
    assert_no_step_reaches_the_wrong_way,
    assert_padding_changes_nothing,
    assert_same_alone_and_in_a_batch,
    dtypes,
    filled,
    randomize,
    tensor,
)
from .recurrent import as_reference, assert_close, in_order, recorded_noise, run

ENGINES = ["fused", "eager"]


@st.composite
def cases(draw, *, plain=False):
    width = draw(st.sampled_from([1, 2, 4]))
    options = {"layers": draw(st.integers(1, 2)), "both": draw(st.booleans())}
    options["weight_drop"] = draw(st.sampled_from([0.0, 0.4]))
    if options["layers"] > 1 and draw(st.booleans()):
        options["dropout"] = 0.5
    if not plain:
        options |= draw(
            st.fixed_dictionaries(
                {"peephole": st.booleans(), "layernorm": st.booleans()},
                optional={
                    "zoneout": st.just(0.3),
                    "recurrent_dropout": st.just(0.4),
                },
            )
        )
        options |= draw(
            st.sampled_from(
                [
                    {},
                    {"recurrence": "diagonal"},
                    {"heads": width // 2 or 1},
                    {"project": draw(st.integers(1, 3))},
                ]
            )
        )
        # Of few numbers the variance can be next to nothing, and the norm then magnifies rounding.
        width = 4 if options["layernorm"] else width
    batch, steps, channels = (
        draw(st.integers(1, 4)),
        draw(st.integers(1, 6)),
        draw(st.integers(1, 3)),
    )
    return {
        "channels": channels,
        "width": width,
        "options": options,
        "engine": draw(st.sampled_from(ENGINES)) if plain else "eager",
        "cuts": draw(st.booleans()),
        "training": draw(st.booleans()),
        "shape": (batch, steps),
        "lengths": draw(draw_lengths(batch, steps)),
        "dtype": draw(dtypes),
        "seed": draw(st.integers(0, 10_000)),
    }


def compare(case, forward=reference.lstm, backward=reference.lstm_backward):
    """Raise AssertionError where the layer differs from the reference, forward or backward."""
    dtype, seed = case["dtype"], case["seed"]
    layer = LSTM(case["channels"], case["width"], engine=case["engine"], **case["options"])
    layer = randomize(layer, seed).to(dtype).train(case["training"])
    (batch, steps), lengths = case["shape"], case["lengths"]
    states = (layer.layers, layer.directions, batch)
    shapes = [
        (batch, steps, case["channels"]),
        (*states, layer.shown),
        (*states, layer.width),
        (batch, steps, layer.features),
        (*states, layer.shown),
        (*states, layer.width),
    ]
    x, h, c, *grads = (tensor(normal(seed + n, *shape), dtype) for n, shape in enumerate(shapes))
    # Without a price for a call a batch is cut wherever lengths differ.
    cost = mock.patch("gridcell.layers.by_length.CALL_COST", 0.0 if case["cuts"] else 800_000)
    with recorded_noise(layer, seed) as recorded, cost:
        counts = None if lengths is None else torch.tensor(lengths)
        outputs, gradients = run(layer, x, counts, (h, c), grads)
    x, h, c, grad_y, grad_h, grad_c = (value.double().numpy() for value in (x, h, c, *grads))
    order = None
    if lengths is not None and case["engine"] == "fused" and layer.dropout:
        longest_first = sorted(lengths, reverse=True)
        if case["cuts"] and cuts_in_time(longest_first, call_cost=0):
            order = torch.argsort(torch.tensor(lengths), descending=True, stable=True)
    masks = recorded.options(h, c, steps=steps, order=order)
    options = {"lengths": lengths, "h": h, "c": c, **masks}
    weights = as_reference(layer)
    assert_close(outputs, forward(x, weights, **options), dtype)
    options |= {"grad_last_h": grad_h, "grad_last_c": grad_c}
    grad_x, grads, *grad_states = backward(grad_y, x, weights, **options)
    assert_close(gradients, [grad_x, *in_order(layer, grads), *grad_states], dtype)


@quick
@given(cases())
def test_the_lstm_with_any_options_agrees_with_its_twin(case):  # S29 S33
    compare(case)


@quick
@given(cases(plain=True))
def test_both_engines_agree_with_the_twin_on_any_lengths(case):  # S23 S28 S33
    compare(case)


# Broken twins.


def moved(*order):
    def twin(x, weights, **options):
        for each in (each for directions in weights for each in directions):
            for name in ("input", "recurrent", "bias"):
                quarters = np.split(each[name], 4)
                each[name] = np.concatenate([quarters[gate] for gate in order])
        return reference.lstm(x, weights, **options)

    return twin


def without_forget_bias(x, weights, **options):
    for each in (each for directions in weights for each in directions):
        width = len(each["bias"]) // 4
        each["bias"][width : 2 * width] = 0
    return reference.lstm(x, weights, **options)


def padding_read(x, weights, *, lengths, **options):
    return reference.lstm(x, weights, **options)


def backward_end_taken_at_the_last_step(x, weights, **options):
    y, h, c = reference.lstm(x, weights, **options)
    trace = reference.lstm_trace(x, weights, **options)
    for b, length in enumerate(options["lengths"] or []):
        if length:
            h[:, -1, b], c[:, -1, b] = (trace[name][:, -1, b, length - 1] for name in "hc")
    return y, h, c


def cell_run_on_over_the_padding(x, weights, *, lengths, **options):
    y, h, _ = reference.lstm(x, weights, lengths=lengths, **options)
    return y, h, reference.lstm(x, weights, **options)[2]


@pytest.mark.parametrize(
    "twin",
    [
        moved(1, 0, 2, 3),
        moved(0, 2, 1, 3),
        moved(0, 1, 3, 2),
        without_forget_bias,
        padding_read,
        backward_end_taken_at_the_last_step,
        cell_run_on_over_the_padding,
    ],
)
def test_a_wrong_lstm_is_caught(twin):
    catches(compare, cases(plain=True), forward=twin)


def peepholes_swapped(x, weights, **options):
    for each in (each for directions in weights for each in directions):
        if "peephole" in each:
            each["peephole"] = each["peephole"][::-1]
    return reference.lstm(x, weights, **options)


def zoneout_forgotten(x, weights, *, zoneout_h, zoneout_c, **options):
    return reference.lstm(x, weights, **options)


def recurrent_mask_forgotten(x, weights, *, recurrent_mask, **options):
    return reference.lstm(x, weights, **options)


def weight_mask_forgotten(x, weights, *, weight_mask, **options):
    return reference.lstm(x, weights, **options)


def weight_mask_of_the_other_gates(x, weights, *, weight_mask, **options):
    if np.ndim(weight_mask):
        weight_mask = np.roll(weight_mask, weight_mask.shape[2] // 4, 2)
    return reference.lstm(x, weights, weight_mask=weight_mask, **options)


def changed(change):
    """A twin whose weights are those that `change` makes of each direction's."""

    def twin(x, weights, **options):
        for each in (each for directions in weights for each in directions):
            change(each)
        return reference.lstm(x, weights, **options)

    return twin


@changed
def heads_of_their_neighbours(each):
    """Units see the head beside their own."""
    size, units = each["recurrent"].shape[1], len(each["bias"]) // 4
    if size < units and "projection" not in each:
        matrix = as_matrix(each["recurrent"], units)
        each["recurrent"] = np.roll(matrix, size, 1)


@changed
def norms_scales_swapped(each):
    if "scale_input" in each:
        swapped = each["scale_recurrent"], each["scale_input"]
        each["scale_input"], each["scale_recurrent"] = swapped


@changed
def cell_s_norm_without_shift(each):
    if "shift_cell" in each:
        each["shift_cell"] = np.zeros_like(each["shift_cell"])


@changed
def projection_turned_round(each):
    if "projection" in each:
        each["projection"] = each["projection"][:, ::-1]


def norm_forgotten(x, weights, **options):
    plain = [
        [{n: v for n, v in each.items() if not n.startswith("scale_")} for each in directions]
        for directions in weights
    ]
    return reference.lstm(x, plain, **options)


@pytest.mark.parametrize(
    "twin",
    [
        peepholes_swapped,
        zoneout_forgotten,
        recurrent_mask_forgotten,
        heads_of_their_neighbours,
        norms_scales_swapped,
        cell_s_norm_without_shift,
        norm_forgotten,
        projection_turned_round,
    ],
)
def test_a_wrong_option_is_caught(twin):
    catches(compare, cases(), forward=twin)


@pytest.mark.parametrize("twin", [weight_mask_forgotten, weight_mask_of_the_other_gates])
@pytest.mark.parametrize("plain", [True, False])
def test_a_wrong_weight_drop_is_caught(twin, plain):
    catches(compare, cases(plain=plain), forward=twin)


def test_gradients_that_reach_dropped_weights_are_caught():
    def backward(grad_y, x, weights, *, weight_mask, **options):
        dropped = [
            [
                each | {"recurrent": each["recurrent"] * mask}
                for each, mask in zip(*both, strict=True)
            ]
            for both in zip(weights, np.broadcast_to(weight_mask, _shape(weights)), strict=True)
        ]
        return reference.lstm_backward(grad_y, x, dropped, **options)

    def _shape(weights):
        return (len(weights), len(weights[0]), *weights[0][0]["recurrent"].shape)

    catches(compare, cases(), backward=backward)


# Outside oracles.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_state_dicts_go_to_and_from_pytorch_and_packed_sequences_agree(engine, both, layers):
    theirs = nn.LSTM(5, 6, layers, batch_first=True, bidirectional=both)
    ours = LSTM(5, 6, layers=layers, both=both, engine=engine)
    ours.load_state_dict(theirs.state_dict())
    nn.LSTM(5, 6, layers, bidirectional=both).load_state_dict(ours.state_dict())
    x, lengths = torch.randn(7, 9, 5), torch.tensor([9, 3, 5, 1, 2, 9, 4])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, (h, c) = theirs(packed)
    y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    actual, state = ours.run(x, lengths)
    torch.testing.assert_close(actual, y, rtol=0, atol=1e-6)
    torch.testing.assert_close(state.h.flatten(0, 1), h, rtol=0, atol=1e-6)
    torch.testing.assert_close(state.c.flatten(0, 1), c, rtol=0, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_state_dict_without_biases_loads(engine):
    theirs = nn.LSTM(5, 6, 2, batch_first=True, bidirectional=True, bias=False)
    ours = LSTM(5, 6, layers=2, both=True, engine=engine)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, 5)
    torch.testing.assert_close(ours(x), theirs(x)[0], rtol=0, atol=1e-6)


def test_a_single_missing_bias_is_no_layer_without_biases():
    state = LSTM(5, 6).state_dict()
    del state["bias_ih_l0"]
    with pytest.raises(RuntimeError, match=r"Missing key.*bias_ih_l0"):
        LSTM(5, 6).load_state_dict(state)


def test_a_projection_s_state_dict_goes_to_and_from_pytorch():
    theirs = nn.LSTM(5, 6, 2, batch_first=True, proj_size=3)
    ours = LSTM(5, 6, layers=2, project=3)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that oneDNN cannot do this
        wanted, _ = theirs(x)
    torch.testing.assert_close(ours(x), wanted, rtol=0, atol=1e-6)


# Gradients.


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        ("fused", {"layers": 2, "both": True}),
        ("eager", {"layers": 2, "both": True}),
        ("eager", {"peephole": True, "layernorm": True, "project": 1, "zoneout": 0.2}),
        ("eager", {"recurrence": "diagonal", "peephole": True}),
        ("eager", {"heads": 2, "both": True}),
    ],
)
def test_gradients_agree_with_differences(engine, options):
    width = 4 if "heads" in options else 2
    layer = randomize(LSTM(2, width, engine=engine, **options)).double().eval()
    x, lengths = tensor(normal(1, 3, 3, 2)).requires_grad_(), torch.tensor([3, 0, 2])
    shape = (layer.layers, layer.directions, 3)
    h = tensor(normal(2, *shape, layer.shown)).requires_grad_()
    c = tensor(normal(3, *shape, width)).requires_grad_()
    names = [f"layer.{name}" for name, _ in layer.named_parameters()]

    def outputs(x, h, c, *parameters):
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(Running(layer), named, (x, lengths, h, c))

    inputs = (x, h, c, *layer.parameters())
    assert torch.autograd.gradcheck(outputs, inputs, fast_mode=True)
    if engine == "eager":
        assert torch.autograd.gradgradcheck(outputs, inputs, fast_mode=True)


class Running(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, lengths, h, c):
        y, state = self.layer.run(x, lengths, LSTMState(h, c))
        return y, *state


def test_gradients_are_there_in_evaluation_and_leave_the_mode_alone():
    layer = LSTM(3, 4, layers=2, dropout=0.5).eval()
    x = torch.randn(2, 5, 3, requires_grad=True)
    first = torch.autograd.grad(layer(x).sum(), x)[0]
    assert torch.equal(first, torch.autograd.grad(layer(x).sum(), x)[0]) and first.all()
    assert not layer.training and all(p.grad is None for p in layer.parameters())


# The worked numbers.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("filler", [None, 0.0, 99.0, float("nan")])
def test_one_unit_both_ways_gives_the_worked_numbers(engine, filler):
    layer = LSTM(1, 1, both=True, engine=engine)
    for name, parameter in layer.named_parameters():
        nn.init.constant_(parameter, 0.1 if name.startswith("bias") else 0.5)
    padding = [] if filler is None else [filler, filler]
    x = torch.tensor([[1.0, 2.0, *padding]])[..., None]
    y = layer(x, torch.tensor([2]))[0].detach()
    wanted = torch.tensor([[0.256064, 0.536644], [0.604037, 0.434497]])
    torch.testing.assert_close(y[:2], wanted, rtol=0, atol=1e-6)
    assert torch.equal(y[2:], torch.zeros(len(padding), 2))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sequence_of_length_0_gives_0_and_keeps_its_state(engine):
    layer = LSTM(4, 2, both=True, engine=engine)
    x, state = torch.randn(3, 3, 4), LSTMState(torch.randn(1, 2, 3, 2), torch.randn(1, 2, 3, 2))
    y, last = layer.run(x, torch.tensor([3, 0, 2]), state)
    assert not y[1].any()
    for first, end in zip(state, last, strict=True):
        assert torch.equal(end[:, :, 1], first[:, :, 1])
    rest = [0, 2]
    without = LSTMState(*(kind[:, :, rest] for kind in state))
    other, end = layer.run(x[rest], torch.tensor([3, 2]), without)
    torch.testing.assert_close(y[rest], other, rtol=0, atol=1e-6)
    torch.testing.assert_close(last.c[:, :, rest], end.c, rtol=0, atol=1e-6)
    y, last = layer.run(x, torch.zeros(3, dtype=torch.int64), state)
    assert not y.any() and torch.equal(last.c, state.c) and torch.equal(last.h, state.h)


@pytest.mark.parametrize(("wrong", "index"), [([3, -1, 2], 1), ([3, 3, 9], 2)])
def test_a_length_that_cannot_be_is_refused_with_its_place_and_value(wrong, index):
    with pytest.raises(ShapeError, match=rf"lstm lengths\[{index}\] is {wrong[index]}: it must be"):
        LSTM(4, 2)(torch.randn(3, 3, 4), torch.tensor(wrong))


def gated(engine, *, i=0.0, f=0.0, o=0.0, both=False):
    """A layer whose gates are set by their biases alone."""
    layer = LSTM(2, 3, engine=engine, both=both)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        for end in [""] + ["_reverse"] * both:
            getattr(layer, f"bias_ih_l0{end}").copy_(
                torch.tensor([i, f, 0.0, o]).repeat_interleave(3)
            )
            getattr(layer, f"weight_ih_l0{end}")[6:9] = torch.randn(3, 2)
    return layer


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_forget_open_and_input_shut_keep_the_cell_exactly_over_1000_steps(engine, dtype):  # S30
    layer = gated(engine, i=-1000.0, f=1000.0, both=True).to(dtype)
    if dtype == torch.bfloat16 and not has_bfloat16_kernels():
        pytest.skip("this processor has no bfloat16 instructions")
    c = torch.randn(1, 2, 4, 3, dtype=dtype)
    first = LSTMState(torch.zeros_like(c), c)
    x = torch.randn(4, 1000, 2, dtype=dtype)
    for lengths in (None, torch.tensor([1000, 1, 0, 777])):
        _, last = layer.run(x, lengths, first)
        assert torch.equal(last.c, c)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_gates_do_what_the_text_says(engine):  # S24 S25 S26 S27
    x, c = torch.randn(1, 4, 2), torch.randn(1, 1, 1, 3)
    state, other = LSTMState(torch.zeros_like(c), c), LSTMState(torch.zeros_like(c), 100 * c)
    forgetful = gated(engine, i=1.0, f=-1000.0)
    assert torch.equal(forgetful.run(x, None, state)[0], forgetful.run(x, None, other)[0])
    deaf = gated(engine, i=-1000.0, f=1.0)
    assert torch.equal(deaf.run(x, None, state)[0], deaf.run(7 * x, None, state)[0])
    mute = gated(engine, i=1.0, f=1.0, o=-1000.0)
    y, last = mute.run(x, None, state)
    assert not y.any() and last.c.all()
    # The news is zero-mean: the opposite input writes the opposite.
    news = gated(engine, i=1000.0, f=-1000.0)
    assert torch.equal(news.trace(x).c, news.trace(x).g)
    assert torch.equal(news.trace(x).g, -news.trace(-x).g)


# Properties.

LAYERS = {
    "fused": {"engine": "fused"},
    "fused both ways": {"engine": "fused", "both": True, "layers": 2},
    "eager both ways": {"engine": "eager", "both": True, "layers": 2},
    "options": {"peephole": True, "layernorm": True, "project": 2, "zoneout": 0.2, "both": True},
    "diagonal": {"recurrence": "diagonal", "recurrent_dropout": 0.3},
    "dropout": {"layers": 2, "dropout": 0.5, "heads": 2},
    "weight drop": {"layers": 2, "both": True, "weight_drop": 0.5},
}


@pytest.fixture(params=LAYERS)
def layer(request):
    generator = torch.Generator().manual_seed(0)
    return LSTM(3, 4, **LAYERS[request.param], generator=generator).double()


def test_padding_changes_nothing_whatever_it_holds(layer):
    x, lengths = tensor(normal(1, 4, 6, 3)), torch.tensor([6, 0, 2, 5])
    assert_padding_changes_nothing(layer, x, lengths)
    assert_padding_changes_nothing(Chain([layer, Last(both=layer.both)]), x, lengths)


def test_padding_changes_no_state_and_no_gradient_of_a_state(layer):
    layer.eval()
    x, lengths = tensor(normal(1, 4, 6, 3)), torch.tensor([6, 0, 2, 5])
    outcomes = []
    for filler in (0.0, float("nan")):
        values = filled(x, lengths, filler).requires_grad_()
        y, state = layer.run(values, lengths)
        total = y.sum() + state.h.sum() + state.c.sum()
        leaves = [values, *layer.parameters()]
        outcomes.append([*state, *torch.autograd.grad(total, leaves, materialize_grads=True)])
    for one, other in zip(*outcomes, strict=True):
        assert torch.equal(one, other)


def test_alone_or_in_a_batch(layer):
    x, lengths = tensor(normal(1, 4, 6, 3)), torch.tensor([6, 1, 2, 5])
    assert_same_alone_and_in_a_batch(layer, x, lengths)
    assert_same_alone_and_in_a_batch(Chain([layer, Last(both=layer.both)]), x, lengths)


def test_a_batch_cut_by_length_is_the_whole_batch(layer):
    x, lengths = tensor(normal(1, 9, 12, 3)), torch.tensor([12, 0, 2, 12, 1, 7, 7, 0, 6])
    layer.eval()
    whole, whole_state = layer.run(x, lengths)
    with mock.patch("gridcell.layers.by_length.CALL_COST", 0.0):
        y, state = layer.run(x, lengths)
    torch.testing.assert_close(y, whole)
    torch.testing.assert_close(tuple(state), tuple(whole_state))


def steps_that_reach_the_kernel(layer, x, lengths):
    """Steps times examples of all calls of the fused kernel, counted at the kernel itself."""
    counted = []
    kernel = torch._VF.lstm

    def counting(x, *args):
        counted.append(x.shape[0] * x.shape[1])
        return kernel(x, *args)

    with mock.patch.object(torch._VF, "lstm", counting):
        layer(x, lengths)
    return counted


def test_examples_that_have_ended_cost_nothing():
    layer, x = LSTM(3, 4, engine="fused"), torch.randn(6, 12, 3)
    with mock.patch("gridcell.layers.by_length.CALL_COST", 0):
        lengths = torch.tensor([2, 12, 7, 0, 12, 2])
        assert steps_that_reach_the_kernel(layer, x, lengths) == [6 * 2, 3 * 5, 2 * 5]
        lengths = torch.full((6,), 7)
        assert steps_that_reach_the_kernel(layer, x, lengths) == [6 * 7]
    with mock.patch("gridcell.layers.by_length.CALL_COST", 1000):
        lengths = torch.tensor([2, 7, 7, 0, 7, 2])
        assert steps_that_reach_the_kernel(layer, x, lengths) == [6 * 7]
        set_truncation(layer, 4)  # pieces that are there anyway leave out what has ended
        assert steps_that_reach_the_kernel(layer, x, lengths) == [6 * 4, 3 * 3]


def test_the_future_cannot_reach_the_past(layer):
    layer.eval()
    x = tensor(normal(1, 2, 6, 3))
    changed = x.clone()
    changed[:, 4:] += 1
    one, other = layer.trace(x).h, layer.trace(changed).h
    assert torch.equal(one[0, 0, :, :4], other[0, 0, :, :4])
    assert not torch.equal(one[0, 0, :, 4:], other[0, 0, :, 4:])
    if layer.both:
        assert not torch.equal(one[0, 1, :, :4], other[0, 1, :, :4])
    else:
        assert torch.equal(layer(x)[:, :4], layer(changed)[:, :4])


@pytest.mark.parametrize("name", LAYERS)
def test_no_output_hears_a_step_that_its_walk_has_not_reached(name):
    layer = LSTM(3, 4, **LAYERS[name] | {"layers": 1, "dropout": 0.0}).double().eval()
    assert_no_step_reaches_the_wrong_way(layer, tensor(normal(1, 2, 6, 3)))


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.sampled_from(sorted(LAYERS)))
def test_pieces_equal_the_whole_for_any_split(pieces, name):
    options = LAYERS[name] | {"both": False}
    layer = LSTM(3, 4, **options, generator=torch.Generator().manual_seed(0)).double().eval()
    x = tensor(normal(1, 2, sum(pieces), 3))
    whole, end = layer.run(x)
    state, outputs = None, []
    for piece in x.split(pieces, 1):
        y, state = layer.run(piece, None, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(tuple(state), tuple(end), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_step_after_step_equals_the_whole(name):
    layer = LSTM(3, 4, **(LAYERS[name] | {"both": False})).double().eval()
    x = tensor(normal(5, 2, 9, 3))
    whole, end = layer.run(x)
    state, outputs = None, []
    for x_t in x.unbind(1):
        y, state = layer.step(x_t, state)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1), whole, rtol=0, atol=1e-10)
    torch.testing.assert_close(tuple(state), tuple(end), rtol=0, atol=1e-10)


def test_a_piece_with_lengths_goes_on_where_each_sequence_stopped():
    layer = LSTM(3, 4, layers=2).double()
    x = tensor(normal(1, 3, 8, 3))
    _, state = layer.run(x[:, :5], torch.tensor([5, 2, 0]))
    rest = torch.stack([x[0, 5:8], x[1, 2:5], x[2, 0:3]])
    y, state = layer.run(rest, torch.tensor([3, 3, 2]), state)
    whole, end = layer.run(x, torch.tensor([8, 5, 2]))
    torch.testing.assert_close(y[0], whole[0, 5:8])
    torch.testing.assert_close(y[1], whole[1, 2:5])
    torch.testing.assert_close(tuple(state), tuple(end))


def test_the_trace_is_what_the_fast_path_computes(layer):
    layer.eval()
    x, lengths = tensor(normal(1, 4, 6, 3)), torch.tensor([6, 0, 2, 5])
    y, state = layer.run(x, lengths)
    trace = layer.trace(x, lengths)
    shape = (layer.layers, layer.directions, 4, 6, 4)
    assert all(getattr(trace, gate).shape == shape for gate in "figoc")
    last = torch.cat(list(trace.h[-1]), -1)
    torch.testing.assert_close(last, y)
    for b, length in enumerate([6, 0, 2, 5]):
        for kind, end in (("c", state.c), ("h", state.h)):
            seen = getattr(trace, kind)
            assert not seen[:, :, b, length:].any()
            if length:
                torch.testing.assert_close(seen[:, 0, b, length - 1], end[:, 0, b])
                torch.testing.assert_close(
                    seen[:, -1, b, 0 if layer.both else length - 1], end[:, -1, b]
                )


def test_the_trace_equals_the_twin_s(layer):
    layer.eval()
    x, lengths = tensor(normal(1, 4, 6, 3)), torch.tensor([6, 0, 2, 5])
    options = {"lengths": [6, 0, 2, 5], "zoneout_h": layer.zoneout, "zoneout_c": layer.zoneout}
    wanted = reference.lstm_trace(x.numpy(), as_reference(layer), **options)
    trace = layer.trace(x, lengths)
    assert_close(trace, [wanted[name] for name in trace._fields], torch.float64)


def test_saved_and_loaded_equal(layer, tmp_path):
    from safetensors.torch import load_file, save_file

    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other = randomize(deepcopy(layer), 5)
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    x, lengths = tensor(normal(1, 4, 6, 3)), torch.tensor([6, 0, 2, 5])
    assert torch.equal(layer.eval()(x, lengths), other.eval()(x, lengths))


def test_no_steps_and_no_examples_give_nothing_and_keep_the_state(layer):
    state = LSTMState(
        torch.randn(layer.layers, layer.directions, 2, layer.shown),
        torch.randn(layer.layers, layer.directions, 2, 4),
    )
    y, last = layer.run(torch.zeros(2, 0, 3).double(), None, state)
    assert y.shape == (2, 0, layer.features)
    assert torch.equal(last.c, state.c.double()) and torch.equal(last.h, state.h.double())
    assert layer.trace(torch.zeros(2, 0, 3).double()).c.shape[-2:] == (0, 4)
    assert layer(torch.zeros(0, 5, 3).double()).shape == (0, 5, layer.features)


# Random numbers, first weights, engines, refusals.


def test_random_numbers_come_from_the_generator_that_is_set():
    layer = LSTM(3, 4, layers=2, dropout=0.5, zoneout=0.2, recurrent_dropout=0.3)
    x = torch.randn(2, 5, 3)
    outputs = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        set_generator(layer, torch.Generator().manual_seed(7))
        outputs.append(layer(x))
    assert torch.equal(*outputs)
    assert not torch.equal(layer(x), outputs[0])
    assert torch.equal(layer.eval()(x), layer(x))


def test_recurrent_dropout_silences_the_same_units_at_every_step():
    layer = LSTM(3, 40, recurrent_dropout=0.5)
    with recorded_noise(layer, 0) as recorded:
        layer(torch.randn(2, 5, 3))
    (noise,) = recorded.noises
    assert noise.recurrent.shape == (2, 40)
    assert set(noise.recurrent.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layers": 2, "both": True},
        {"heads": 4},
        {"project": 30},
        {"recurrence": "diagonal", "layers": 2},
    ],
)
def test_weight_drop_silences_a_share_of_the_recurrent_weights_and_their_gradients(options):
    layer = LSTM(3, 60, weight_drop=0.3, **options, generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, 5, 3)
    with (
        recorded_noise(layer, 0) as recorded,
        mock.patch("gridcell.layers.by_length.CALL_COST", 0.0),
    ):
        layer(x, torch.tensor([5, 2])).square().sum().backward()
    assert len(recorded.weight_masks) == layer.layers * layer.directions  # not one for each piece
    recurrent = [parameter for name, parameter in layer.named_parameters() if "_hh_" in name]
    weights = [parameter for parameter in recurrent if parameter.ndim == 2]
    for mask, weight in zip(recorded.weight_masks, weights, strict=True):
        kept = mask > 0
        assert mask.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
        spread = (0.3 * 0.7 / mask.numel()) ** 0.5
        assert (~kept).float().mean().item() == pytest.approx(0.3, abs=4 * spread)
        assert not weight.grad[~kept].any() and weight.grad[kept].any()


def test_weight_drop_leaves_evaluation_and_the_weights_as_they_are():
    generators = [torch.Generator().manual_seed(0) for _ in "ab"]
    layer, plain = (
        LSTM(3, 4, layers=2, weight_drop=share, generator=generator)
        for share, generator in zip((0.5, 0.0), generators, strict=True)
    )
    x = torch.randn(2, 5, 3)
    assert not torch.equal(layer(x), plain(x))
    assert torch.equal(layer.eval()(x), plain(x))
    assert torch.equal(layer.trace(x).h, plain.trace(x).h)
    for one, other in zip(layer.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("both", [False, True])
def test_engines_drop_the_same_weights_from_the_same_seed(both):
    layer = LSTM(3, 8, layers=2, both=both, dropout=0.0, weight_drop=0.5)
    assert layer.engine_for(torch.zeros(1, 2, 3)).name == "fused"
    x, lengths, outcomes = torch.randn(3, 6, 3), torch.tensor([6, 0, 4]), []
    for engine in ("fused", "fused", "eager"):
        layer.engine = engine
        set_generator(layer, torch.Generator().manual_seed(7))
        outcomes.append(layer(x, lengths))
    assert torch.equal(outcomes[0], outcomes[1])
    torch.testing.assert_close(outcomes[0], outcomes[2], rtol=0, atol=1e-6)
    assert not torch.equal(layer(x, lengths), outcomes[2])


def test_a_walk_cut_into_pieces_drops_the_same_weights_in_all():
    layer, x = LSTM(3, 8, weight_drop=0.5), torch.randn(2, 7, 3)
    outcomes = []
    for layer.truncate in (None, 2):
        set_generator(layer, torch.Generator().manual_seed(7))
        outcomes.append(layer(x))
    torch.testing.assert_close(*outcomes, rtol=0, atol=1e-6)


def test_first_weights_are_those_of_the_books_and_come_from_the_generator():
    layer, again = (LSTM(8, 6, layers=2, generator=torch.Generator().manual_seed(3)) for _ in "ab")
    for one, other in zip(layer.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    weights = layer.weights(0, 0)
    bias = (weights.bias_ih + weights.bias_hh).view(4, 6)
    assert torch.equal(bias, torch.tensor([0.0, 1, 0, 0])[:, None].expand(4, 6))
    for gate in weights.weight_hh.split(6):
        torch.testing.assert_close(gate @ gate.T, torch.eye(6))
    bound = (6 / (8 + 6)) ** 0.5
    assert weights.weight_ih.abs().max() <= bound < 1.1 * weights.weight_ih.abs().max()
    heads = LSTM(8, 6, heads=2).weights(0, 0).weight_hh
    for head in heads.split(3):
        torch.testing.assert_close(head @ head.T, torch.eye(3))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"recurrence": "diagonal"}, 'not fused: recurrence="diagonal" is in no fused kernel'),
        ({"heads": 2}, "not fused: heads=2 is in no fused kernel"),
        ({"peephole": True}, "not fused: peephole is in no fused kernel"),
        ({"layernorm": True}, "not fused: layernorm is in no fused kernel"),
        ({"zoneout": 0.1}, "not fused: zoneout is in no fused kernel"),
        ({"recurrent_dropout": 0.1}, "not fused: recurrent_dropout is in no fused kernel"),
        ({"project": 2}, "not fused: project is in no fused kernel"),
        ({"engine": "eager"}, "eager, as asked"),
    ],
)
def test_the_engine_is_told_with_its_reason(options, reason):
    choice = LSTM(3, 4, **options).engine_for(torch.zeros(1, 2, 3))
    assert (choice.name, choice.reason) == ("eager", reason)


def test_a_plain_lstm_is_fused_and_recurrent_dropout_ends_with_training():
    x = torch.zeros(1, 2, 3)
    assert LSTM(3, 4, layers=2, both=True, dropout=0.5).engine_for(x).name == "fused"
    assert LSTM(3, 4).engine_for(x[:, :1]).name == "eager"
    assert LSTM(3, 4, recurrent_dropout=0.5).eval().engine_for(x).name == "fused"


def test_bfloat16_runs_on_either_engine():
    x, lengths = torch.randn(3, 5, 4), torch.tensor([5, 0, 3])
    layer = LSTM(4, 8, both=True)
    wanted = layer(x, lengths)
    for engine in ("auto", "eager"):
        layer.engine = engine
        with torch.autocast("cpu", torch.bfloat16):
            y, state = layer.run(x, lengths)
        torch.testing.assert_close(y.float(), wanted, rtol=0, atol=0.03)
        assert state.c.dtype == torch.float32
        half = deepcopy(layer).bfloat16()
        y = half(x.bfloat16(), lengths)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), wanted, rtol=0, atol=0.03)
        y.float().sum().backward()
        assert all(p.grad.isfinite().all() for p in half.parameters())


def test_last_takes_the_last_valid_step_of_both_directions():
    layer = LSTM(3, 4, both=True)
    x, lengths = torch.randn(3, 6, 3), torch.tensor([6, 0, 2])
    y, state = layer.run(x, lengths)
    last = Last(both=True)(y, lengths)
    assert torch.equal(last, torch.cat([state.h[0, 0], state.h[0, 1]], -1))
    assert torch.equal(Last(both=True)(y[:1]), last[:1])
    # The fault that this mends: at the last step the backward walk has seen one step only.
    assert not torch.equal(Last()(y, lengths)[:, 4:], last[:, 4:])
    with pytest.raises(ShapeError, match="features in pairs; got 3"):
        Last(both=True)(torch.zeros(1, 2, 3))


def test_a_convolution_at_each_step_and_then_the_lstm():  # S35
    network = Chain([Conv(3, 5, time=3, grid_axes=0), LSTM(5, 4), Dropout(0.1), Last()]).double()
    x, lengths = tensor(normal(1, 4, 6, 3)), torch.tensor([6, 0, 2, 5])
    assert_padding_changes_nothing(network, x, lengths)
    assert_same_alone_and_in_a_batch(network, x, lengths)
    assert network.out_layout(Layout(3)) == Layout(4, steps=1, has_time=False)


def test_layouts_and_lengths_tell_what_comes_out():
    layer = LSTM(3, 4, both=True, project=2)
    assert layer.out_layout(Layout(3, steps=7)) == Layout(4, steps=7)
    lengths = torch.tensor([1, 2])
    assert layer.out_lengths(lengths) is lengths
    with pytest.raises(ShapeError, match="lstm reads features over time"):
        layer.out_layout(Layout(3, grid=(8,)))


def test_both_ways_cannot_step():
    with pytest.raises(NetworkError) as caught:
        LSTM(3, 4, both=True).step(torch.zeros(1, 3))
    assert str(caught.value) == (
        "lstm with both=True cannot step: its backward walk starts at the last step, "
        "which is not there yet.\n  Fix: both=False, or run() on whole sequences."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "lstm width must be 1 or more; got 0"),
        ({"layers": 0}, "lstm layers must be 1 or more; got 0"),
        ({"project": 0}, "lstm project must be 1 or more; got 0"),
        ({"heads": 0}, "lstm heads must be 1 or more; got 0"),
        ({"heads": 3}, "lstm heads=3 must divide the width 4"),
        ({"recurrence": "diagonel"}, "got diagonel. Did you mean diagonal?"),
        ({"recurrence": "diagonal", "heads": 2}, "heads has no effect"),
        ({"heads": 2, "project": 2}, "lstm project needs recurrence=full and heads=1"),
        ({"zoneout": 1.0}, "lstm zoneout must be at least 0 and below 1; got 1"),
        ({"recurrent_dropout": -0.1}, "lstm recurrent_dropout must be at least 0"),
        ({"weight_drop": 1.0}, "lstm weight_drop must be at least 0 and below 1; got 1"),
        ({"dropout": 0.5}, "lstm dropout lies between layers, and here is one layer"),
        ({"engine": "fusedd"}, "fusedd is not an engine; .* Did you mean fused?"),
    ],
)
def test_what_makes_no_lstm_is_refused(options, message):
    with pytest.raises((ShapeError, NetworkError), match=message):
        LSTM(**({"channels": 3, "width": 4} | options))


def test_what_does_not_fit_is_refused():
    layer = LSTM(3, 4)
    with pytest.raises(ShapeError, match=r"lstm input must be \[B, T, C=3\]; got \(2, 3\)"):
        layer(torch.zeros(2, 3))
    with pytest.raises(
        ShapeError, match=r"lstm weights are torch\.float32; got values of torch\.float64"
    ):
        layer(torch.zeros(1, 2, 3).double())
    with pytest.raises(
        ShapeError, match=r"lstm state c must be .* \[1, 1, 2, 4\]; got \(1, 2, 4\)"
    ):
        layer.run(
            torch.zeros(2, 5, 3), None, LSTMState(torch.zeros(1, 1, 2, 4), torch.zeros(1, 2, 4))
        )
    with pytest.raises(NetworkError, match="the fused engine cannot run here: peephole is in no"):
        LSTM(3, 4, peephole=True, engine="fused")(torch.zeros(1, 2, 3))


def test_lengths_are_cut_where_it_saves_most():
    lengths = [100] * 4 + [50] * 4 + [10] * 8
    assert cuts_in_time(lengths, call_cost=0) == [10, 50]
    assert cuts_in_time(lengths, call_cost=0, most=1) == [10]
    assert cuts_in_time(lengths, call_cost=200) == [10]  # the other would save 50 steps of 4
    assert cuts_in_time(lengths, call_cost=1000) == []
    assert cuts_in_time([5, 5, 5], call_cost=0) == []
    assert cuts_in_time([9, 0], call_cost=0) == []


@quick
@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.integers(0, 30), st.integers(0, 3))
def test_cuts_never_cost_more_than_none(lengths, call_cost, most):
    lengths = sorted([*lengths, 12], reverse=True)
    cuts = cuts_in_time(lengths, call_cost=call_cost, most=most)
    assert cuts == sorted(set(cuts))
    assert len(cuts) <= most
    pieces = cut_in_pieces(lengths[0], len(lengths), cuts=cuts, descending=lengths)
    cost = sum((p.stop - p.start) * p.examples + call_cost for p in pieces)
    assert cost <= lengths[0] * len(lengths) + call_cost
    for row, length in enumerate(lengths):  # every valid step is in a piece
        walked = [p for p in pieces if row < p.examples]
        assert sum(p.stop - p.start for p in walked) >= length
