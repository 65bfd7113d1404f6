"""The table of sizes: arithmetic by hand, sums by counting, what a value sees by gradients."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gridcell.axes import Layout
from gridcell.networks import build, rows

IMAGE = Layout(3, (32, 32), steps=1)


def table(notation, layout, **options):
    return rows(build(notation, layout, **options))


def test_the_text_s_own_example():  # S9
    found = table("conv(12, 3) relu maxpool(2) flatten dense(10)", IMAGE)
    assert [row.layer for row in found] == [
        "conv(12, 3)",
        "relu",
        "maxpool(2)",
        "flatten",
        "dense(10)",
    ]
    assert [row.output for row in found] == ["32x32x12", "32x32x12", "16x16x12", "3072", "10"]
    assert [row.arithmetic for row in found] == [
        "(32 - 3 + 2) / 1 + 1 = 32",
        "",
        "(32 - 2) / 2 + 1 = 16",
        "16 * 16 * 12 = 3072",
        "",
    ]
    assert [(row.parameters, row.parameter_arithmetic) for row in found] == [
        (336, "(3 * 3 * 3 + 1) * 12"),
        (0, ""),
        (0, ""),
        (0, ""),
        (30_730, "(3072 + 1) * 10"),
    ]
    # 32 * 32 places, each 3 * 3 * 3 products for each of 12 filters.
    assert [row.multiply_adds for row in found] == [331_776, 0, 0, 0, 30_720]
    assert [row.bytes for row in found] == [4 * n for n in (12_288, 12_288, 3072, 3072, 10)]
    assert [row.receptive_field for row in found] == ["3x3", "3x3", "4x4", "4x4", "all"]


@pytest.mark.parametrize("a", [3, 5, 7])
def test_a_filter_on_34x34x3_may_be_3_5_or_7_wide(a):  # S9
    (row,) = table(f"conv(1, {a}, padding=valid)", Layout(3, (34, 34), steps=1))
    assert row.output == f"{35 - a}x{35 - a}x1"
    assert row.arithmetic == f"(34 - {a}) / 1 + 1 = {35 - a}"
    assert row.parameter_arithmetic == f"({a} * {a} * 3 + 1) * 1"
    assert row.receptive_field == f"{a}x{a}"


@pytest.mark.parametrize(
    ("notation", "layout", "arithmetic"),
    [
        ("conv(8, 7, stride=2)", Layout(3, (224, 224), 1), "(224 - 7 + 5) / 2 + 1 = 112"),
        ("conv(8, 3, dilation=2)", IMAGE, "(32 - 5 + 4) / 1 + 1 = 32"),
        ("conv(8, 3, padding=valid, stride=2)", IMAGE, "floor((32 - 3) / 2) + 1 = 15"),
        ("conv(8, 3x5)", IMAGE, "(32 - 3 + 2) / 1 + 1 = 32, (32 - 5 + 4) / 1 + 1 = 32"),
        ("maxpool(3)", IMAGE, "floor((32 - 3) / 3) + 1 = 10"),
        ("conv(8, time=8)", Layout(3, steps=100), "time (100 - 8 + 7) / 1 + 1 = 100"),
        ("conv(8, time=8)", Layout(3), ""),
        (
            "maxpool(2, time=4)",
            Layout(3, (16,), steps=10),
            "time floor((10 - 4) / 4) + 1 = 2, (16 - 2) / 2 + 1 = 8",
        ),
        ("parallel(conv(8, 3), conv(4, 5), relu)", IMAGE, "8 + 4 + 3 = 15"),
        ("residual(relu)", IMAGE, "its input is added"),
        ("residual(conv(8, 3))", IMAGE, "its input is added through a 1x1 convolution"),
        (
            "residual(dense(8))",
            Layout(3, has_time=False, steps=1),
            "its input is added through a dense layer",
        ),
    ],
)
def test_the_arithmetic_of_one_layer(notation, layout, arithmetic):
    assert table(notation, layout)[0].arithmetic == arithmetic


def test_layers_inside_others_stand_below_them():
    found = table("parallel(conv(8, 3), residual(conv(4, 1) batchnorm)) relu", IMAGE)
    assert [(row.depth, row.layer, row.parameters) for row in found] == [
        (0, "parallel", 0),
        (1, "branch 1", 0),
        (1, "conv(8, 3)", 224),
        (1, "branch 2", 0),
        (1, "residual", 16),
        (2, "conv(4, 1)", 12),
        (2, "batchnorm", 8),
        (0, "relu", 0),
    ]


NETWORKS = {
    "image": (
        Layout(3, (16, 12), steps=1),
        "conv(8, 3) batchnorm relu maxpool(2) conv(12, 3x2, stride=2, groups=4) "
        "residual(conv(16, 3, padding=1) leaky_relu conv(16, 3, stride=2)) globalpool dense(5)",
    ),
    "branches": (
        Layout(2, (8, 8), steps=1),
        "parallel(conv(4, 1), conv(4, 3) layernorm relu conv(4, 3, dilation=2), residual(relu)) "
        "flatten dense(20) tanh dense(5)",
    ),
    "series": (
        Layout(4, steps=30),
        "conv(6, time=5, stride=2) residual(conv(8, time=3, stride=3) batchnorm) "
        "parallel(last, mean) dense(7) residual(dense(7) relu) dense(5)",
    ),
    "video": (
        Layout(3, (8, 6), steps=9),
        "conv(4, 3, time=2, padding=valid) maxpool(2, time=2) conv(5, 2) flatten dense(6) mean",
    ),
    "rows": (Layout(2, (9, 8), steps=1), "rows conv(3, 3, time=3) flatten conv(4, time=2) last"),
    "volume": (Layout(1, (6, 5, 4), steps=1), "conv(3, 2) avgpool(2, stride=1) flatten dense(4)"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_add_up_to_the_network_s(name):
    layout, notation = NETWORKS[name]
    network = build(notation, layout, outputs=5)
    found = rows(network)
    assert sum(row.parameters for row in found) == network.parameters_count > 0
    for row in found:
        if row.parameter_arithmetic:
            # The arithmetic is Python as it stands, and was made here: it is safe to work out.
            assert eval(row.parameter_arithmetic) == row.parameters


@pytest.mark.parametrize(
    "layer",
    [
        "lstm(8)",
        "lstm(8, both)",
        "lstm(8, heads=4)",
        "lstm(8, recurrence=diagonal, both)",
        "lstm(8, project=6)",
        "lstm(8, project=6, both, layers=3)",
        "lstm(8, peephole, layernorm)",
        "lstm(8, layers=4, both, heads=2, peephole, layernorm)",
        "rnn(8)",
        "rnn(8, both, layers=3)",
    ],
)
def test_the_parameters_of_every_recurrent_layer_are_worked_out(layer):
    row = rows(build(f"{layer} last", Layout(5), outputs=2))[0]
    assert row.parameter_arithmetic.startswith(("4 * ", "2 * ", "("))
    assert eval(row.parameter_arithmetic) == row.parameters > 0


def test_a_spelled_word_is_a_row_and_filters_over_its_letters():
    layout = Layout(1 + 16, vocabulary=50, alphabet=30)
    network = build("spell(8, letters=4)", layout, outputs=2, each=True)
    first, head = rows(network)
    assert first.parameters == 50 * 8 + 30 * 32 + (3 * 32 + 1) * 4
    assert first.parameter_arithmetic == "50 * 8 + 30 * 32 + (3 * 32 + 1) * 4"
    assert sum(row.parameters for row in (first, head)) == network.parameters_count
    assert first.output == "T x 12" and first.receptive_field == "1 step"
    x = torch.ones(1, 1, 17, dtype=torch.int64)
    assert first.multiply_adds + head.multiply_adds == counted(network.eval(), x)


def counted(network, *inputs):
    """PyTorch's own count, which has two operations for each multiply-add."""
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds_are_those_that_pytorch_counts(name):
    layout, notation = NETWORKS[name]
    network = build(notation, layout, outputs=5).eval()
    x = torch.zeros(1, layout.steps, layout.channels, *layout.grid)
    assert sum(row.multiply_adds for row in rows(network)) == counted(network, x)


def test_where_steps_differ_the_work_is_that_of_one_step():
    network = build("conv(6, 3) flatten dense(4)", Layout(2, (5,)))
    assert sum(row.multiply_adds for row in rows(network)) * 7 == counted(
        network, torch.zeros(1, 7, 2, 5)
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_bytes_are_those_of_each_output(name):
    layout, notation = NETWORKS[name]
    network = build(notation, layout, outputs=5).eval()
    x = torch.zeros(1, layout.steps, layout.channels, *layout.grid)
    found = [row for row in rows(network) if row.depth == 0]
    for step, row in zip(network.steps, found, strict=True):
        x = step.module(x)
        assert row.bytes == x.numel() * x.element_size()


def seen(network, layout):
    """How far apart the input cells lie that move the features in the middle of the output."""
    for parameter in network.parameters():
        parameter.data.abs_()
    x = torch.rand(1, layout.steps, layout.channels, *layout.grid, requires_grad=True)
    y = network(x)[0]
    y = y.movedim(1, -1) if y.ndim > 1 else y
    y[tuple(size // 2 for size in y.shape[:-1])].sum().backward()
    touched = x.grad[0].abs().sum(1).nonzero()
    return (touched.max(0).values - touched.min(0).values + 1).tolist()


@pytest.mark.parametrize(
    ("notation", "layout", "wanted"),
    [
        ("conv(2, 3)", (40, 40), "3x3"),
        ("conv(2, 3) conv(2, 3) conv(2, 3)", (40, 40), "7x7"),
        ("conv(2, 3x5, stride=2) conv(2, 3)", (60, 60), "7x9"),
        ("conv(2, 3, dilation=3) relu conv(2, 2)", (40, 40), "8x8"),
        ("conv(2, 3) avgpool(2) conv(2, 3) avgpool(3, stride=1)", (60, 60), "12x12"),
        ("avgpool(2x4) conv(3, 3)", (60, 60), "6x12"),
        ("residual(conv(2, 5) relu conv(2, 3))", (40, 40), "7x7"),
        ("parallel(conv(2, 3), conv(2, 1x7))", (40, 40), "3x7"),
        ("conv(2, 3) layernorm", (11, 12), "all"),
        ("conv(2, 3) globalpool", (11, 12), "all"),
        ("conv(2, 3) flatten dense(4)", (11, 12), "all"),
        ("conv(2, 3) parallel(globalpool, flatten)", (11, 12), "all"),
    ],
)
def test_a_value_sees_the_cells_that_move_it(notation, layout, wanted):
    layout = Layout(2, layout, steps=1)
    network = build(notation, layout).eval()
    *_, last = [row for row in rows(network) if row.depth == 0]
    assert last.receptive_field == wanted
    _, *grid = seen(network, layout)
    if wanted == "all":
        assert tuple(grid) == layout.grid
    else:
        assert "x".join(map(str, grid)) == wanted


@pytest.mark.parametrize(
    ("notation", "layout", "wanted"),
    [
        ("relu", Layout(2, steps=40), "1 step"),
        ("conv(2, time=8) conv(2, time=8)", Layout(2, steps=60), "15 steps"),
        ("conv(2, time=3, stride=2) conv(2, time=3)", Layout(2, steps=60), "7 steps"),
        ("conv(2, time=3, dilation=4)", Layout(2, steps=60), "9 steps"),
        ("avgpool(time=4) conv(2, time=3)", Layout(2, steps=60), "12 steps"),
        ("conv(2, time=3) mean", Layout(2, steps=20), "all steps"),
        ("conv(2, 3, time=5)", Layout(2, (20,), steps=20), "5 steps of 3"),
        ("conv(2, 3) conv(2, 3x5, time=2)", Layout(2, (20, 20), steps=9), "2 steps of 5x7"),
        ("conv(2, 3, time=5) globalpool", Layout(2, (20,), steps=20), "5 steps of all"),
        ("flatten conv(2, time=3)", Layout(2, (7,), steps=20), "3 steps of all"),
    ],
)
def test_a_value_sees_the_steps_that_move_it(notation, layout, wanted):
    network = build(notation, layout).eval()
    *_, last = rows(network)
    assert last.receptive_field == wanted
    steps, *grid = seen(network, layout)
    text = f"{'all' if 'all step' in wanted else steps} step{'s' * (steps != 1)}"
    over_grid = "all" if tuple(grid) == layout.grid else "x".join(map(str, grid))
    assert f"{text} of {over_grid}" == wanted if grid else text == wanted
    if "all step" in wanted:
        assert steps == layout.steps


def test_rows_keep_the_axes_of_the_image():
    notation = "rows conv(2, 3, time=5)"
    layout = Layout(1, (20, 16), steps=1)
    network = build(notation, layout).eval()
    assert [row.receptive_field for row in rows(network)] == ["1x1", "5x3"]
    assert seen(network, layout) == [1, 5, 3]
    assert rows(build(f"{notation} flatten dense(3)", layout))[-1].receptive_field == "5xall"
    for reduce in ("mean", "max"):
        assert rows(build(f"{notation} {reduce}", layout))[-1].receptive_field == "allx3"


def test_a_branch_that_reads_by_rows_stands_beside_one_that_sees_the_image():
    layout = Layout(1, (20, 16), steps=1)
    by_rows, whole = "rows conv(2, 3, time=5) mean", "conv(2, 3) globalpool mean"
    for branches in (f"{by_rows}, {whole}", f"{whole}, {by_rows}"):
        table = rows(build(f"parallel({branches})", layout, outputs=3))
        assert table[-1].receptive_field == "all"
    narrow = rows(build("parallel(rows conv(2, 3, time=5) last, conv(2, 3) last)", layout))
    assert narrow[0].receptive_field == "5x3"


def test_a_step_beside_its_change_has_seen_the_step_before():
    network = build("delta conv(4, 3, time=3)", Layout(3, (8, 8), steps=5), outputs=2)
    change, window = rows(network)[:2]
    assert (change.output, change.arithmetic) == ("5 x 8x8x6", "2 * 3 = 6")
    assert change.receptive_field == "2 steps of 1x1"
    assert window.receptive_field == "4 steps of 3x3"
