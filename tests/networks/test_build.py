"""From notation to a network: what is added and said, what is refused, and what a network does."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell import layers
from gridcell.axes import Layout
from gridcell.batches import Images
from gridcell.errors import EXIT_UNUSABLE, NetworkError, ShapeError
from gridcell.networks import build, parse, smallest_input
from gridcell.networks.run import outputs as outputs_of

from ..reference.comparison import assert_agrees, normal, quick

IMAGE, SERIES = Layout(3, (32, 32), steps=1), Layout(3)
AUDIO, IDS = Layout(1, (8,)), Layout(1, vocabulary=20)
SPELLED = Layout(1 + 4, vocabulary=20, alphabet=6)
SHRINKING = "4*(conv(8, 3, padding=valid) maxpool(2))"


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def refused(notation, layout, **options):
    with pytest.raises(NetworkError) as caught:
        build(notation, layout, **options)
    assert caught.value.exit_code == EXIT_UNUSABLE
    return str(caught.value)


# Sizes that do not fit


def test_a_network_that_shrinks_too_far_says_how_and_what_would_work():
    assert refused(SHRINKING, Layout(3, (8, 8), steps=1)) == (
        "maxpool(2) (repetition 2 of 4) does not fit: "
        "maxpool: a kernel of 2 with padding valid has no place on 1 cell.\n"
        "  Sizes on the way: 8 -> 6 -> 3 -> 1 -> 0\n"
        "  Fix: the smallest input that works is 46x46; give larger ones, or pool less."
    )


def test_46_works_and_45_does_not():
    network = build(SHRINKING, Layout(3, (46, 46), steps=1))
    assert network(torch.zeros(1, 1, 3, 46, 46)).shape == (1, 1, 8, 1, 1)
    text = refused(SHRINKING, Layout(3, (45, 45), steps=1))
    assert "45 -> 43 -> 21 -> 19 -> 9 -> 7 -> 3 -> 1 -> 0" in text and "46x46" in text


def test_the_same_holds_over_time():
    notation = "4*(conv(8, time=3, padding=valid) maxpool(time=2))"
    assert build(notation, Layout(3, steps=46))(torch.zeros(1, 46, 3)).shape == (1, 1, 8)
    text = refused(notation, Layout(3, steps=45))
    assert "has no place on 1 step." in text
    assert "45 -> 43 -> 21 -> 19 -> 9 -> 7 -> 3 -> 1 -> 0" in text
    assert "the smallest input that works is 46 steps" in text


def test_the_way_into_a_branch_is_shown_and_not_that_through_its_neighbour():
    notation = "maxpool(2) parallel(conv(4, 3) maxpool(2), conv(4, 3) maxpool(4) maxpool(8))"
    text = refused(notation, Layout(3, (32, 32), steps=1))
    assert text.startswith("maxpool(8) does not fit")
    assert "Sizes on the way: 32 -> 16 -> 4 -> 0" in text


@pytest.mark.parametrize("notation", [SHRINKING, "conv(4, 5, padding=valid) 2*(maxpool(3))"])
def test_the_smallest_input_is_the_first_that_works(notation):
    def works(side):
        try:
            return bool(build(notation, Layout(1, (side, side), steps=1)))
        except NetworkError:
            return False

    smallest = smallest_input(parse(notation), IMAGE)
    assert [works(side) for side in range(smallest - 3, smallest + 2)] == [False] * 3 + [True] * 2


def test_where_no_input_works_none_is_named():
    text = refused("flatten conv(4, time=9, padding=valid)", Layout(3, (8, 8), steps=4))
    assert "conv(4, time=9, padding=valid) does not fit" in text and "Fix" not in text


@pytest.mark.parametrize(
    ("notation", "layout", "message"),
    [
        ("conv(8, 3)", SERIES, "none is left; over time write conv(8, time=3)."),
        ("conv(8, 3x5)", SERIES, "none is left; over time write conv(8, time=3x5)."),
        ("maxpool(2)", SERIES, "none is left; over time write maxpool(time=2)."),
        ("maxpool", IMAGE, "maxpool needs a size: maxpool(2), or maxpool(time=2) over time."),
        ("conv(8)", IMAGE, "conv needs a kernel over the grid, for instance conv(32, 3)."),
        ("conv(8, 3x3x3)", IMAGE, "conv kernel 3x3x3 has 3 axes, not 2."),
        ("conv(8, 3, groups=2)", IMAGE, "conv groups=2 must divide both the 3 channels"),
        ("conv(8, 3, padding=-1)", IMAGE, "conv padding must be same, valid or 0 and more"),
        ("conv(0, 3)", IMAGE, "conv filters must be 1 or more; got 0."),
        (
            "conv(999999999, 999999999x999999999)",
            IMAGE,
            "its weights are more than the memory can hold.",
        ),
        ("dense(0)", IMAGE, "dense width must be 1 or more; got 0."),
        ("dropout(1.5)", IMAGE, "dropout p must be at least 0 and below 1; got 1.5."),
        ("mean conv(8, time=3)", SERIES, "conv needs time, which was reduced before it."),
        ("last mean", SERIES, "mean needs time, which was reduced before it."),
        ("rows", SERIES, "rows needs one image [1, C, H, W]; got T x 3."),
        ("embed(8)", IMAGE, "embed reads ids, one a step; got 32x32x3."),
        ("spell(8)", IDS, "spell reads ids with letters beside them; got T x 1."),
        ("parallel(embed(4), relu)", IDS, "relu cannot read ids; write embed(64) in front of it."),
        ("parallel(spell(4), relu)", SPELLED, "write spell(64) in front of it."),
        (
            "parallel(conv(8, 3), conv(8, 3, stride=2))",
            IMAGE,
            "parallel branches must agree in time and grid; "
            "branch 1 gives 32x32x8, branch 2 gives 16x16x8.",
        ),
        (
            "parallel(conv(8, time=3), conv(8, time=3, stride=2)) mean",
            SERIES,
            "parallel branches must agree in time; of length 2 branch 1 leaves 2",
        ),
        (
            "residual(conv(8, 3, padding=valid))",
            IMAGE,
            "residual cannot add its input 32x32x3 to 30x30x8: no whole stride leads there.",
        ),
        (
            "residual(maxpool(time=2))",
            SERIES,
            "its body must keep the steps, or thin them by a whole stride.",
        ),
    ],
)
def test_a_layer_that_does_not_fit_is_named_with_the_reason(notation, layout, message):
    text = refused(notation, layout)
    assert " does not fit: " in text and message in text


def test_a_layer_inside_others_is_named_itself():
    text = refused("residual(relu parallel(tanh, 2*(conv(3, 3, groups=2))))", IMAGE)
    assert text.startswith("conv(3, 3, groups=2) (repetition 1 of 2) does not fit:")


# What is added, and said


def test_a_grid_in_front_of_dense_is_flattened_and_said():  # S12
    network = build("conv(4, 3) dense(7)", IMAGE)
    assert network.notation == "conv(4, 3) flatten dense(7)"
    assert network.notes == ("flatten was added before dense(7): a grid was still there.",)
    network = build("conv(4, 3)", IMAGE, outputs=10)
    assert network.notation == "conv(4, 3) flatten dense(10)"
    assert network.notes == ("flatten was added before dense(10): a grid was still there.",)
    assert build("conv(4, 3) flatten", IMAGE, outputs=10).notes == ()


@pytest.mark.parametrize(
    ("notation", "layout", "wanted", "shape"),
    [
        # The head, where it is missing and where it stands already.  S3
        ("flatten", IMAGE, "flatten dense(5)", (2, 5)),
        ("flatten dense(5)", IMAGE, "flatten dense(5)", (2, 5)),
        ("flatten dense(6)", IMAGE, "flatten dense(6) dense(5)", (2, 5)),
        ("flatten dense(5) relu", IMAGE, "flatten dense(5) relu dense(5)", (2, 5)),
        # One answer for all steps.
        ("relu", SERIES, "relu mean dense(5)", (2, 5)),
        ("relu last", SERIES, "relu last dense(5)", (2, 5)),
        ("mean dense(5)", SERIES, "mean dense(5)", (2, 5)),
        ("dense(5) last", SERIES, "dense(5) last", (2, 5)),
        ("dense(5)", SERIES, "dense(5) mean", (2, 5)),
        ("relu max", SERIES, "relu max dense(5)", (2, 5)),
        ("dense(5) max", SERIES, "dense(5) max", (2, 5)),
        ("parallel(mean, max)", SERIES, "parallel(mean, max) dense(5)", (2, 5)),
        ("max", AUDIO, "flatten max dense(5)", (2, 5)),
        (
            "parallel(mean, max)",
            AUDIO,
            "parallel(mean, max) dense(5)",
            (2, 5),
        ),
        (
            "conv(4, 3, time=3) globalpool",
            AUDIO,
            "conv(4, 3, time=3) globalpool mean dense(5)",
            (2, 5),
        ),
        ("rows", Layout(1, (32, 32), 1), "rows flatten mean dense(5)", (2, 5)),
        ("embed(4)", IDS, "embed(4) mean dense(5)", (2, 5)),
        ("lstm(6)", IDS, "embed(128) lstm(6) last dense(5)", (2, 5)),
        ("embed(4) lstm(6)", SPELLED, "embed(4) lstm(6) last dense(5)", (2, 5)),
        ("lstm(6)", SPELLED, "spell(100) lstm(6) last dense(5)", (2, 5)),
        ("parallel(embed(4), embed(2))", IDS, "parallel(embed(4), embed(2)) mean dense(5)", (2, 5)),
        ("spell(4, letters=3)", SPELLED, "spell(4, letters=3) mean dense(5)", (2, 5)),
    ],
)
def test_the_head_is_added_or_recognized(notation, layout, wanted, shape):
    network = build(notation, layout, outputs=5)
    assert network.notation == wanted
    assert network(inputs(layout)).shape == shape
    assert ("mean was added" in str(network.notes)) == (
        wanted.count("mean") > notation.count("mean")
    )


@pytest.mark.parametrize("notation", ["dense(5)", "relu", "relu each", "dense(5) each"])
def test_an_answer_at_each_step_keeps_time(notation):  # S32
    network = build(notation, SERIES, outputs=5, each=True)
    assert network(inputs(SERIES)).shape == (2, 7, 5)
    assert "mean" not in network.notation and network.notation.count("dense") == 1


def test_an_answer_at_each_step_where_time_is_reduced_is_refused():
    assert refused("relu mean tanh", SERIES, outputs=5, each=True) == (
        "mean leaves one answer for all steps; the task wants one at each step.\n"
        "  Fix: leave mean out."
    )


def inputs(layout, batch=2, steps=7, seed=0):
    steps = layout.steps or steps
    if layout.vocabulary:
        random = np.random.default_rng(seed)
        ids = random.integers(0, layout.vocabulary, (batch, steps))
        if layout.alphabet:
            letters = random.integers(0, layout.alphabet, (batch, steps, layout.channels - 1))
            ids = np.concatenate([ids[..., None], letters], 2)
        return torch.tensor(ids)
    shape = (batch, steps, layout.channels, *layout.grid)
    return torch.tensor(normal(seed, *shape), dtype=torch.float32)


@pytest.mark.parametrize("last", ["softmax", "sigmoid"])
def test_a_last_probability_moves_into_the_loss(last):  # S3
    plain = build("flatten dense(10)", IMAGE, outputs=10, generator=seeded())
    network = build(f"flatten dense(10) {last}", IMAGE, outputs=10, generator=seeded())
    assert network.notes == (f"the last {last} belongs to the loss and is applied there.",)
    assert network.notation == "flatten dense(10)"
    assert torch.equal(network(inputs(IMAGE)), plain(inputs(IMAGE)))
    over_time = build(f"dense(10) mean {last}", SERIES, outputs=10)
    assert over_time.notation == "dense(10) mean"


def test_other_probabilities_stay_where_they_are():
    assert build("flatten dense(8) sigmoid", IMAGE, outputs=10).notation == (
        "flatten dense(8) sigmoid dense(10)"
    )
    assert build("flatten dense(10) softmax", IMAGE).notation == "flatten dense(10) softmax"
    assert build("softmax", SERIES, outputs=10).notation == "softmax mean dense(10)"


def test_a_single_step_is_squeezed():  # S1
    assert build("flatten", IMAGE, outputs=10)(inputs(IMAGE)).shape == (2, 10)
    assert build("flatten", IMAGE)(inputs(IMAGE)).shape == (2, 1, 3072)
    # A series of one step is one; a batch of one step of a longer series is reduced all the same.
    network = build("relu", SERIES, outputs=10)
    assert network(inputs(SERIES, steps=1)).shape == (2, 10)


def test_the_plain_network_can_learn_what_no_single_layer_can():  # S4 S2
    torch.manual_seed(0)
    network = build("dense(8) tanh", Layout(2, steps=1), outputs=1, generator=seeded())
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])[:, None]
    target = torch.tensor([[0.0], [1], [1], [0]])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(network(x), target)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3


def test_a_head_beside_one_of_another_width_is_said():
    network = build("flatten dense(4)", IMAGE, outputs=5)
    assert network.notation == "flatten dense(4) dense(5)"
    assert "dense(5) was added: the task wants 5 numbers, and dense(4) gives 4." in network.notes
    for notation in ("flatten dense(5)", "flatten dense(4) relu", "flatten"):
        assert not any("was added" in note for note in build(notation, IMAGE, outputs=5).notes)


@pytest.mark.parametrize(
    ("body", "projection"),
    [
        ("conv(3, 3) relu", type(None)),
        ("conv(5, 3) relu", layers.Conv),
        ("conv(3, 3, stride=2)", layers.Conv),
    ],
)
def test_a_residual_gets_a_projection_where_sizes_differ(body, projection):
    network = build(f"residual({body})", IMAGE, generator=seeded())
    residual = network.steps[0].module
    assert type(residual.project) is projection
    x = inputs(IMAGE)
    plain = build(body, IMAGE)
    plain.load_state_dict(
        {k.replace("layers.0.body.", ""): v for k, v in network.state_dict().items() if "body" in k}
    )
    shortcut = x if residual.project is None else residual.project(x)
    assert torch.equal(network(x), plain(x) + shortcut)


def test_a_bias_in_front_of_batchnorm_is_left_out():
    network = build("conv(4, 3) batchnorm conv(5, 3) relu batchnorm", IMAGE)
    first, _, second, *_ = (step.module for step in network.steps)
    assert first.bias is None and second.bias is not None
    inside = build("2*(conv(4, 3) batchnorm) residual(conv(4, 3) batchnorm)", IMAGE)
    convs = [module for module in inside.modules() if isinstance(module, layers.Conv)]
    assert [conv.bias is None for conv in convs] == [True, True, True]


def test_the_network_normalizes_by_the_numbers_it_was_given():
    mean, deviation = [1.0, 2.0, 3.0], [4.0, 5.0, 0.0]
    network = build("relu", SERIES, mean=mean, deviation=deviation)
    x = inputs(SERIES)
    wanted = torch.relu((x - torch.tensor(mean)) / torch.tensor([4.0, 5.0, 1.0]))
    assert_agrees(network(x), wanted, tolerance=1e-6)


def test_the_generator_alone_decides_the_first_weights():
    notation = "conv(4, 3) residual(conv(8, 3)) parallel(dense(3), dense(4))"
    one, same, other = (
        build(notation, IMAGE, outputs=3, generator=seeded(seed)) for seed in (1, 1, 2)
    )
    torch.rand(1)
    assert all(map(torch.equal, one.parameters(), same.parameters()))
    assert not torch.equal(one.steps[0].module.weight, other.steps[0].module.weight)


# What a network does, whatever it is made of

NETWORKS = {
    "image": (
        IMAGE,
        "conv(4, 3) batchnorm relu maxpool(2) residual(conv(6, 3, stride=2) batchnorm relu) "
        "parallel(globalpool, avgpool(8) flatten) dropout(0.2) dense(5)",
    ),
    "rows": (Layout(1, (8, 6), 1), "rows conv(4, 3, time=3) relu flatten dense(5) tanh last"),
    "video": (
        Layout(3, (8, 8)),
        "2*(conv(4, 3, time=2) layernorm silu maxpool(2, time=2)) globalpool mean",
    ),
    "audio": (AUDIO, "conv(4, 3, time=3, stride=2) batchnorm gelu flatten dense(6) elu last"),
    "series": (
        SERIES,
        "residual(conv(6, time=4, stride=2) batchnorm relu) "
        "parallel(conv(3, time=3) sigmoid mean, maxpool(time=2, stride=1) last)",
    ),
    "text": (IDS, "embed(6) residual(conv(6, time=3, dilation=2) layernorm tanh) mean"),
    "tokens": (SPELLED, "spell(6, letters=4) lstm(5, both) max"),
}


def network_of(name, **options):
    layout, notation = NETWORKS[name]
    scales = {"mean": [0.5] * layout.channels, "deviation": [2.0] * layout.channels}
    scales = {} if layout.vocabulary else scales
    network = build(notation, layout, outputs=5, generator=seeded(), **scales, **options)
    for module in network.modules():
        if isinstance(module, layers.BatchNorm):
            module.running_mean.uniform_(-1, 1, generator=seeded())
            module.running_variance.uniform_(0.5, 2, generator=seeded())
    return layout, network


LENGTHS = torch.tensor([7, 3, 0, 1, 5])


@pytest.mark.parametrize("name", NETWORKS)
def test_an_output_does_not_depend_on_batch_mates(name):
    layout, network = network_of(name)
    network.double().eval()
    x = inputs(layout, batch=5)
    x = x if layout.vocabulary else x.double()
    lengths = LENGTHS if layout.steps is None else None
    together = network(x, lengths).detach()
    assert together.isfinite().all()
    for item, length in enumerate(LENGTHS.tolist()):
        if lengths is None:
            alone = network(x[item : item + 1])
        else:
            alone = network(x[item : item + 1, : max(length, 1)], lengths[item : item + 1])
        assert_agrees(together[item], alone[0])


@pytest.mark.parametrize("name", ["video", "audio", "series", "text", "tokens"])
@pytest.mark.parametrize("filler", [99, float("inf"), float("nan")])
def test_padding_changes_nothing_from_end_to_end(name, filler):
    layout, network = network_of(name)
    x = inputs(layout, batch=5)
    valid = layers.valid_steps(LENGTHS, 7)
    filler = 99 if layout.vocabulary else filler

    def outcome(filler):
        copy, spoilt = deepcopy(network), x.clone()
        spoilt[~valid] = filler
        spoilt.requires_grad_(not layout.vocabulary)
        y = copy(spoilt, LENGTHS)
        (y**2).sum().backward()
        if not layout.vocabulary:
            assert not spoilt.grad[~valid].any()
        return [y.detach(), *(p.grad for p in copy.parameters()), *copy.buffers()]

    for clean, spoilt in zip(outcome(0), outcome(filler), strict=True):
        assert clean.isfinite().all() and torch.equal(clean, spoilt)


def test_padding_is_silent_even_where_no_weight_looks_at_it():
    network = build("tanh each", SERIES)
    x = inputs(SERIES).requires_grad_()
    lengths, valid = torch.tensor([3, 0]), layers.valid_steps(torch.tensor([3, 0]), 7)
    y = network(torch.where(valid[..., None], x, torch.nan), lengths)
    y.sum().backward()
    assert not y[~valid].any() and not x.grad[~valid].any()


def test_a_network_refuses_wrong_lengths():
    network = build("tanh each", SERIES)
    with pytest.raises(ShapeError, match=r"network lengths\[1\] is 8: it must be 0 to 7"):
        network(inputs(SERIES), torch.tensor([7, 8]))


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_weights_give_the_same_outputs(name):
    layout, network = network_of(name)
    scales = {"mean": [0.0] * layout.channels, "deviation": [1.0] * layout.channels}
    scales = {} if layout.vocabulary else scales
    # From what was written of it: its own notation, with all that was added.
    other = build(network.notation, layout, outputs=5, generator=seeded(2), **scales)
    assert other.notation == network.notation and other.notes == ()
    other.load_state_dict(network.state_dict())
    x = inputs(layout)
    assert torch.equal(network.eval()(x), other.eval()(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_the_sizes_that_its_steps_say(name):
    layout, network = network_of(name)
    x, lengths = inputs(layout), None if layout.steps else torch.tensor([7, 4])
    network.eval()
    x = x if network.normalize is None else network.normalize(x)
    for step in network.steps:
        assert step.module.out_layout(step.before) == step.after
        x, lengths = step.module(x, lengths), step.module.out_lengths(lengths)
        body = x.shape[2:] if step.after.has_time else x.shape[1:]
        assert body == (step.after.channels, *step.after.grid)


def test_batchnorm_needs_two_values_a_channel_and_says_what_to_do():
    network = build("conv(4, 3) batchnorm relu globalpool", IMAGE, outputs=2, generator=seeded())
    # One image is enough where it has a grid to average over ...
    assert network(inputs(IMAGE, batch=1)).isfinite().all()
    # ... and one row of features is not: two ways out are named, and evaluation needs neither.
    flat = build("flatten dense(4) batchnorm", IMAGE, outputs=2)
    with pytest.raises(ShapeError, match="one value a channel has no variance") as caught:
        flat(inputs(IMAGE, batch=1))
    assert caught.value.fix == "use a batch of at least 2 items, or layernorm instead."
    assert flat.eval()(inputs(IMAGE, batch=1)).shape == (1, 2)


def test_running_over_batches_puts_the_mode_back():
    network = build("flatten dropout(0.5)", IMAGE, outputs=2)
    values = inputs(IMAGE, batch=5)
    items = Images(values[:, 0].permute(0, 2, 3, 1).numpy(), torch.zeros(5), np.arange(5))
    found = outputs_of(network, items)
    assert network.training
    wanted = network.eval()(values).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert outputs_of(network, replace(items, rows=np.arange(0))).shape == (0, 0)
    assert not network.training


def test_a_network_that_fails_is_put_back_too():
    network = build("flatten dropout(0.5)", IMAGE, outputs=2)
    items = Images(np.zeros((2, 9, 9, 3), np.uint8), torch.zeros(2), np.arange(2))
    with pytest.raises(ShapeError):
        outputs_of(network, items)
    assert network.training


@st.composite
def small_networks(draw):
    layer = st.sampled_from(
        [
            "conv(4, 3)",
            "conv(2, 2, stride=2)",
            "conv(4, 2x3, padding=valid)",
            "conv(3, 3, padding=2, dilation=2)",
            "batchnorm",
            "layernorm",
            "relu",
            "maxpool(2)",
            "avgpool(3, stride=1)",
            "residual(conv(4, 3) relu)",
            "parallel(conv(2, 3), tanh)",
        ]
    )
    side = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    return " ".join(draw(st.lists(layer, min_size=1, max_size=5))), Layout(2, side, steps=1)


@quick
@given(small_networks())
def test_any_chain_is_built_and_runs_or_is_refused_when_built(case):
    notation, layout = case
    try:
        network = build(notation, layout, outputs=3)
    except NetworkError as error:
        assert "does not fit" in str(error)
        smallest = smallest_input(parse(notation), layout)
        assert smallest is not None and smallest > min(layout.grid)
        return
    y = network(inputs(layout))
    assert y.shape == (2, 3) and y.isfinite().all()


@pytest.mark.parametrize(
    ("layout", "note"),
    [
        (IDS, "embed(128) was added in front: the steps are ids."),
        (SPELLED, "spell(100) was added in front: the steps are ids with letters beside them."),
    ],
)
def test_what_reads_ids_is_added_in_front_and_said(layout, note):
    assert build("lstm(6)", layout, outputs=5).notes[0] == note
