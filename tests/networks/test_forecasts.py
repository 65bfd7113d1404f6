"""Networks for windows of a series: `reversible`, `whole`, their heads, tables and presets."""

import pytest
import torch

from gridcell import networks
from gridcell.axes import Layout
from gridcell.errors import NetworkError
from gridcell.networks import build, parse, write

WINDOW = Layout(3, (6,), steps=4)


@pytest.mark.parametrize(
    ("notation", "written"),
    [
        ("reversible(whole)", "reversible(whole dense(5))"),
        ("reversible(whole, by=last)", "reversible(whole dense(5), by=last)"),
        ("reversible(lstm(8))", "reversible(lstm(8) last dense(5))"),
        ("reversible(whole dense(5))", "reversible(whole dense(5))"),
        (
            "reversible(parallel(whole, flatten lstm(8) last))",
            "reversible(parallel(whole, flatten lstm(8) last) dense(5))",
        ),
        ("reversible(whole dense(9)) relu", "reversible(whole dense(9)) relu dense(5)"),
        ("relu reversible(relu whole)", "relu reversible(relu whole dense(5))"),
        ("lstm(8)", "flatten lstm(8) last dense(5)"),
        ("whole", "whole dense(5)"),
    ],
)
def test_a_head_that_is_missing_is_added_inside(notation, written):
    network = build(notation, WINDOW, outputs=5)
    assert network.notation == written
    assert network(torch.randn(2, 4, 3, 6)).shape == (2, 5)
    assert build(written, WINDOW, outputs=5).notation == written


def test_what_was_added_is_said_once():
    notes = build("reversible(lstm(8))", WINDOW, outputs=5).notes
    assert len(notes) == len(set(notes)) == 2
    assert notes[0].startswith("last was added")


def test_options_stand_behind_the_chain():
    (spec,) = parse("reversible(whole dense(3),by = last)")
    assert spec.options == {"by": "last"}
    assert write((spec,)) == "reversible(whole dense(3), by=last)"


@pytest.mark.parametrize(
    ("notation", "message"),
    [
        ("reversible(relu, tanh)", "reversible stands around one chain of layers."),
        ("reversible()", "reversible stands around one chain of layers."),
        ("reversible(whole, by=first)", "reversible by must be mean or last; found 'first'."),
        ("reversible(whole, bye=last)", "reversible has no bye; it takes by. Did you mean by?"),
        ("reversible(whole, by=last, by=mean)", "by is given twice."),
        ("parallel(whole, by=last)", "'=' is missing|cannot begin with|is not a layer"),
    ],
)
def test_mistakes_in_it_are_named(notation, message):
    with pytest.raises(NetworkError, match=message):
        parse(notation)


@pytest.mark.parametrize(
    ("notation", "layout", "message"),
    [
        ("whole", Layout(3), "whole needs items of one number of steps"),
        ("mean whole", Layout(3, steps=4), "whole needs time, which was reduced before it"),
        ("last reversible(dense(2))", Layout(3, steps=4), "reversible needs time"),
        ("reversible(dense(4) mean mean)", Layout(3, steps=4), "mean needs time"),
    ],
)
def test_what_does_not_fit_is_refused(notation, layout, message):
    with pytest.raises(NetworkError, match=message):
        build(notation, layout, outputs=2)


@pytest.mark.parametrize("notation", ["reversible(lstm(4) last)", "whole"])
def test_neither_can_stream(notation):
    network = build(notation, Layout(3, steps=4), outputs=2)
    with pytest.raises(NetworkError, match="it reads all steps of an item at once"):
        network.stream()


def test_the_table_shows_what_lies_inside():
    rows = networks.rows(build("reversible(whole)", WINDOW, outputs=5))
    assert [(row.depth, row.layer, row.output) for row in rows] == [
        (0, "reversible", "5"),
        (1, "whole", "72"),
        (1, "dense(5)", "5"),
    ]
    assert rows[0].arithmetic == "its mean and deviation are taken out, and put back"
    assert rows[1].arithmetic == "4 * 6 * 3 = 72"
    assert rows[0].receptive_field == "all steps of all"
    assert sum(row.parameters for row in rows) == 73 * 5


@pytest.mark.parametrize("net", ["auto", "forecast", "linear"])
@pytest.mark.parametrize("layout", [WINDOW, Layout(1, (1,), steps=1), Layout(1, (1,), steps=97)])
def test_presets_fit_every_window(net, layout):
    choice = networks.choose_network(net, layout, is_forecast=True)
    network = build(choice.notation, layout, outputs=5)
    steps = layout.steps or 0
    assert network(torch.randn(2, steps, layout.channels, *layout.grid)).shape == (2, 5)
    assert not network.notes or net != "forecast"


def test_notation_is_taken_as_it_is_for_a_forecast():
    assert networks.choose_network("lstm(3)", WINDOW, is_forecast=True).notation == "lstm(3)"


@pytest.mark.parametrize("net", ["resnet", "cnn", "lstm", "lstm_fcn"])
def test_presets_of_other_kinds_are_refused(net):
    with pytest.raises(NetworkError, match=f"the preset {net} does not forecast.*\n.*forecast, "):
        networks.choose_network(net, WINDOW, is_forecast=True)


@pytest.mark.parametrize("net", ["forecast", "linear"])
def test_presets_that_forecast_are_refused_elsewhere(net):
    with pytest.raises(NetworkError):
        networks.choose_network(net, Layout(3, (8, 8), steps=1))
