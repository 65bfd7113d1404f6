"""A stream gives the network's own answers, however the steps are cut, and refuses what cannot."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell.axes import Layout
from gridcell.errors import NetworkError, ShapeError
from gridcell.networks import build
from gridcell.networks.stream import detached, from_named, named

from ..layers.checks import randomize
from ..reference.comparison import quick

SERIES, AUDIO, IMAGES = Layout(3), Layout(2, (6,)), Layout(1, (6, 6))
IDS = Layout(1, vocabulary=9)
SPELLED = Layout(1 + 3, vocabulary=9, alphabet=5)

OVER_GRID = [
    "conv(3, 3) relu",
    "conv(4, 2, stride=2, padding=valid) batchnorm",
    "conv(3, 3, time=2, padding=valid) elu",
    "maxpool(2)",
    "avgpool(2, time=2)",
    "layernorm",
    "residual(conv(4, 3) relu conv(4, 3))",
    "parallel(conv(2, 1), conv(2, 3))",
    "delta",
]
OVER_SERIES = [
    "conv(4) leaky_relu",
    "conv(4, time=3, padding=valid)",
    "conv(4, time=2, dilation=2, padding=0)",
    "conv(4, time=3, stride=2, padding=valid)",
    "maxpool(time=2)",
    "avgpool(time=3, stride=2)",
    "maxpool(time=2, stride=1)",
    "batchnorm",
    "softmax",
    "delta",
    "parallel(delta, dense(2))",
]
OF_FEATURES = [
    "dense(4) tanh",
    "dropout(0.5)",
    "sigmoid",
    "lstm(3)",
    "lstm(4, layers=2, dropout=0.5, zoneout=0.2, recurrent_dropout=0.3)",
    "lstm(4, peephole, project=2)",
    "rnn(3)",
    "rnn(2, layers=2, activation=relu)",
    "residual(dense(4) lstm(4))",
    "residual(residual(rnn(3)) gelu)",
    "parallel(lstm(2), dense(2))",
    "parallel(conv(2, time=3, padding=valid), maxpool(time=2, stride=1) avgpool(time=2, stride=1))",
]
ENDS = ["last", "mean", "each", "", "parallel(lstm(2) last, mean)", "parallel(mean, last) relu"]
ENDS += ["max", "parallel(mean, max)", "parallel(lstm(2) max, last, max)"]


@st.composite
def networks(draw):
    """A network of random layers that can stream, with random weights and statistics."""
    layout = draw(st.sampled_from([SERIES, AUDIO, IMAGES, IDS]))
    words = []
    if layout is IDS:
        words = ["embed(3)"]
    elif layout.grid:
        # Twice halved, six cells are one: there is still a grid.
        words = draw(st.lists(st.sampled_from(OVER_GRID), max_size=2))
        words.append(draw(st.sampled_from(["flatten", "globalpool"])))
    words += draw(st.lists(st.sampled_from(OVER_SERIES + OF_FEATURES), max_size=3))
    end = draw(st.sampled_from(ENDS))
    words.append(end)
    is_each = end == "each" or (not end and draw(st.booleans()))
    normal = {"mean": [0.3] * layout.channels, "deviation": [2.0] * layout.channels}
    network = build(
        " ".join(word for word in words if word) or "relu",
        layout,
        outputs=2,
        each=is_each,
        **(normal if layout is not IDS and draw(st.booleans()) else {}),
    )
    return randomize(network, draw(st.integers(0, 1000))).double().eval(), is_each


def values_for(network, *, examples=2, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layout = network.layout
    if layout.vocabulary:
        ids = torch.randint(layout.vocabulary, (examples, steps), generator=generator)
        if not layout.alphabet:
            return ids
        shape = (examples, steps, layout.channels - 1)
        letters = torch.randint(layout.alphabet, shape, generator=generator)
        return torch.cat([ids[..., None], letters], 2)
    shape = (examples, steps, layout.channels, *layout.grid)
    return torch.randn(shape, generator=generator, dtype=next(network.parameters()).dtype)


@torch.no_grad()
def whole(network, values, *, is_each):
    """The network's answer on all steps at once, and where it answers at each, the valid ones."""
    lengths = torch.full((len(values),), values.shape[1])
    y = network(values, lengths)
    return y[:, : int(network.chain.out_lengths(lengths)[0])] if is_each else y


def assert_agrees(answer, wanted, tolerance=1e-10):
    scale = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
    torch.testing.assert_close(answer, wanted, rtol=0, atol=tolerance * scale)


@quick
@given(networks(), st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 99))
def test_a_stream_equals_the_whole_for_any_split(drawn, sizes, seed):  # S23
    network, is_each = drawn
    values = values_for(network, steps=sum(sizes), seed=seed)
    stream, seen, outputs = network.stream(), 0, []
    for piece in values.split(sizes, 1):
        # Kept, handed back, and gone on with; what lies in `piece` afterwards is not read again.
        stream = network.stream(stream.state)
        mine = piece.clone()
        answer = stream.step(mine[:, 0]) if mine.shape[1] == 1 else stream.piece(mine)
        outputs.append(answer.clone())
        mine.zero_()
        answer.zero_()
        seen += piece.shape[1]
        so_far = torch.cat(outputs, 1) if is_each else outputs[-1]
        assert_agrees(so_far, whole(network, values[:, :seen], is_each=is_each))


FIXED = {
    "lstm(8)": SERIES,
    "lstm(8, layers=2) mean": SERIES,
    "conv(6, time=3, padding=valid) batchnorm relu maxpool(time=2) lstm(6) last": SERIES,
    "conv(4, 3) relu maxpool(2) flatten rnn(6)": IMAGES,
    "delta batchnorm conv(4, 3) relu maxpool(2) flatten lstm(6)": IMAGES,
    "embed(5) lstm(6) mean": IDS,
    "spell(5, letters=4) lstm(6) mean": SPELLED,
}


@pytest.mark.parametrize("notation", FIXED)
def test_step_after_step_in_float32(notation):  # S23
    generator = torch.Generator().manual_seed(3)
    network = build(notation, FIXED[notation], outputs=3, generator=generator).eval()
    values = values_for(network, steps=30)
    stream = network.stream()
    for x_t in values.unbind(1):
        answer = stream.step(x_t)
    assert not answer.requires_grad
    assert_agrees(answer, network(values).detach(), 1e-5)


def test_the_mean_of_a_long_stream_loses_nothing():
    network = build("mean", Layout(1), outputs=None)
    stream = network.stream()
    stream.piece(torch.full((1, 1, 1), 2.0**24))
    for _ in range(20):
        answer = stream.step(torch.ones(1, 1))
    # Summed up in float32, ones beside 2^24 are lost.
    assert answer.item() == torch.tensor((2**24 + 20) / 21).item()


def test_a_stream_leaves_the_network_as_it_was():
    text = "batchnorm dropout(0.5) lstm(4, zoneout=0.5)"
    network = randomize(build(text, SERIES, outputs=2)).train()
    network.chain.layers[0].eval()
    before, modes = deepcopy(network.state_dict()), [m.training for m in network.modules()]
    values = values_for(network, steps=4)
    answer = network.stream().piece(values)
    assert [m.training for m in network.modules()] == modes
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert_agrees(answer, network.eval()(values).detach(), 1e-5)


def test_the_mode_comes_back_after_a_failure_and_nothing_is_remembered_of_it():
    network = build("dense(4) lstm(3)", SERIES, outputs=2).train()
    stream = network.stream()
    stream.step(torch.zeros(2, 3))
    state = stream.state
    with pytest.raises(ShapeError):
        stream.step(torch.zeros(3, 3))
    assert all(module.training for module in network.modules())
    assert stream.state is state


def test_a_kept_state_is_not_changed_by_going_on():  # S23
    network = build("conv(4, time=2, padding=valid) lstm(4) mean", SERIES, outputs=2).eval()
    values = values_for(network, steps=8)
    stream = network.stream()
    stream.piece(values[:, :3])
    kept = stream.state
    first = stream.piece(values[:, 3:])
    again = network.stream(kept).piece(values[:, 3:])
    assert torch.equal(first, again)


def test_what_is_done_to_an_answer_does_not_reach_what_is_remembered():
    stream = build("maxpool(time=2) last", SERIES).stream()
    stream.piece(torch.ones(2, 2, 3)).zero_()
    # The next window is not full: the answer is the one before.
    for _ in range(2):
        waiting = build("maxpool(time=2) last", SERIES).stream(stream.state)
        answer = waiting.step(torch.zeros(2, 3))
        assert torch.equal(answer, torch.ones(2, 3))
        answer.zero_()


def test_reset_forgets():
    network = build("lstm(4) mean", SERIES, outputs=2).eval()
    values = values_for(network, steps=5)
    stream = network.stream()
    assert stream.state is None
    first = stream.piece(values)
    assert not torch.equal(stream.piece(values), first)
    stream.reset()
    assert stream.state is None
    # Other sequences, and another number of them.
    assert_agrees(stream.piece(values[:1]), first[:1], 1e-6)


def test_before_the_first_window_is_full_the_answer_is_that_of_too_short_a_sequence():
    network = build("conv(4, time=5, padding=valid) lstm(4)", SERIES, outputs=2).eval()
    values = values_for(network, steps=3)
    answer = network.stream().piece(values)
    assert_agrees(answer, network(values, torch.tensor([3, 3])).detach(), 1e-6)


def test_answers_at_each_step_come_when_their_windows_are_full():
    network = build("maxpool(time=2) dense(4)", SERIES, outputs=2, each=True).eval()
    stream = network.stream()
    counts = [stream.step(torch.zeros(2, 3)).shape[1] for _ in range(5)]
    assert counts == [0, 1, 0, 1, 0]


# What cannot stream

REFUSED = [
    (
        "lstm(64, both) mean",
        SERIES,
        "lstm(64, both) cannot stream: its backward walk starts at the last step, which is not "
        "there yet.\n  Fix: train with lstm(64) instead.",
    ),
    (
        "parallel(dense(2), dense(3) rnn(4, layers=2, both, dropout=0.5))",
        SERIES,
        "rnn(4, layers=2, both, dropout=0.5) cannot stream: its backward walk starts at the last "
        "step, which is not there yet.\n  Fix: train with rnn(4, layers=2, dropout=0.5) instead.",
    ),
    (
        "conv(8, time=3) lstm(4)",
        SERIES,
        "conv(8, time=3) cannot stream: its padding lets a window end behind the last step, which "
        "is not there yet.\n  Fix: train with conv(8, time=3, padding=valid) instead.",
    ),
    (
        "conv(8, 3, time=3) mean",
        AUDIO,
        "conv(8, 3, time=3) cannot stream: its padding lets a window end behind the last step, "
        "which is not there yet.\n  Fix: train with conv(8, 3, time=3, padding=valid) instead.",
    ),
    (
        "conv(8, time=3, padding=1) mean",
        SERIES,
        "conv(8, time=3, padding=1) cannot stream: its padding lets a window end behind the last "
        "step, which is not there yet.\n  Fix: train with conv(8, time=3, padding=valid) instead.",
    ),
    (
        "maxpool(time=2, stride=3) mean",
        SERIES,
        "maxpool(time=2, stride=3) cannot stream: its stride of 3 skips steps between windows of "
        "2.\n  Fix: train with a stride of at most 2.",
    ),
    (
        "residual(maxpool(time=2)) mean",
        Layout(3, steps=8),
        "residual(maxpool(time=2)) cannot stream: its shortcut thins the steps by a stride of its "
        "own.\n  Fix: train with a body that keeps every step.",
    ),
    (
        "parallel(maxpool(time=2), conv(3, time=5, padding=valid)) mean",
        Layout(3, steps=8),
        "parallel(maxpool(time=2), conv(3, time=5, padding=valid)) cannot stream: its branches "
        "complete their steps at different times.\n"
        "  Fix: train with branches whose windows over time have like sizes and strides.",
    ),
    (
        "rows lstm(4)",
        Layout(1, (6, 6), steps=1),
        "rows cannot stream: it makes steps of whole images, which come at once.\n"
        "  Fix: call the network on whole images.",
    ),
    (
        "conv(4, 3) relu",
        Layout(1, (6, 6), steps=1),
        "the network cannot stream: it answers samples of 1 step, no fewer and no more.\n"
        "  Fix: call it on whole samples.",
    ),
    (
        "conv(4, time=8, padding=valid)",
        Layout(3, steps=8),
        "the network cannot stream: it answers samples of 8 steps, no fewer and no more.\n"
        "  Fix: call it on whole samples.",
    ),
]


@pytest.mark.parametrize(("notation", "layout", "text"), REFUSED)
def test_what_needs_later_steps_is_refused_when_the_stream_is_made(notation, layout, text):  # S23
    network = build(notation, layout, outputs=2)
    with pytest.raises(NetworkError) as caught:
        network.stream()
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "state",
    [(), (None, None), (None, None, None, None), [None], ((torch.zeros(1),), None, None), "state"],
)
def test_a_state_of_another_network_is_refused(state):
    network = build("lstm(4) last", SERIES, outputs=2)
    with pytest.raises(NetworkError) as caught:
        network.stream(state)
    assert str(caught.value) == (
        "the state is not one of this network: its layers remember other things.\n"
        "  Fix: hand in the state of a stream of the same network."
    )


@pytest.mark.parametrize("notation", ["mean", "max", "last", "conv(4, time=2, padding=valid) last"])
def test_other_sequences_are_not_mixed_in(notation):
    stream = build(notation, SERIES, outputs=2).stream()
    stream.step(torch.zeros(2, 3))
    with pytest.raises(ShapeError) as caught:
        stream.step(torch.zeros(1, 3))
    assert str(caught.value) == (
        "the stream is of 2 sequences; got a piece of 1.\n  Fix: reset() before other sequences."
    )


def test_steps_of_another_size_are_refused():
    stream = build("conv(4, 1, time=2, padding=valid) globalpool", AUDIO, outputs=2).stream()
    stream.step(torch.zeros(2, 2, 6))
    with pytest.raises(ShapeError, match=r"steps that are \(2, 6\) here; got \(2, 5\)\."):
        stream.step(torch.zeros(2, 2, 5))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 0, 3), "a piece of a stream needs 1 step or more; got (2, 0, 3)."),
        ((2, 3), "stream input must be [B, T, C=3, *grid]; got (2, 3): 2 axes"),
        ((2, 1, 4), "C is 4, not 3."),
        ((2, 1, 3, 5), "stream was built for 0 grid axes"),
    ],
)
def test_a_piece_that_does_not_fit_is_refused(shape, words):
    stream = build("relu", SERIES, outputs=2).stream()
    with pytest.raises(ShapeError) as caught:
        stream.piece(torch.zeros(shape))
    assert words in str(caught.value)


def test_a_step_without_axes_is_refused():
    stream = build("relu", SERIES, outputs=2).stream()
    with pytest.raises(ShapeError, match="stream step input must be"):
        stream.step(torch.tensor(1.0))


@pytest.mark.parametrize(
    "notation",
    [
        "embed(4) lstm(3, layers=2) dropout(0.5)",
        "embed(4) rnn(3) parallel(delta, residual(lstm(3) dense(3)), dense(2))",
        "embed(4) dense(3)",
    ],
)
def test_going_on_with_gradients_is_the_whole_to_rounding(notation: str) -> None:
    network = build(notation, IDS, outputs=9, each=True)
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout) or hasattr(module, "p"):
            module.p = 0.0
    ids = torch.randint(2, 9, (3, 12), generator=torch.Generator().manual_seed(0)).int()
    whole = network(ids)
    whole.square().sum().backward()
    wanted = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    network.zero_grad()
    state, outputs = None, []
    for part in ids.split([5, 1, 6], 1):
        y, state = network.go_on(part, state)
        state = from_named(network.steps, named(state))
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), whole, rtol=1e-5, atol=1e-6)
    torch.cat(outputs, 1).square().sum().backward()
    found = [p.grad for p in network.parameters() if p.grad is not None]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_what_is_detached_has_no_way_back() -> None:
    network = build("embed(4) rnn(3) parallel(delta, residual(lstm(3)))", IDS, outputs=9, each=True)
    _, state = network.go_on(torch.full((2, 3), 4))
    assert any(value.requires_grad for value in named(state).values())
    left = named(detached(state))
    assert not any(value.requires_grad for value in left.values())
    assert all(torch.equal(left[name], value) for name, value in named(state).items())
