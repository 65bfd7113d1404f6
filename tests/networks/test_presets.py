"""Presets are lines of notation that fit the images they are chosen for."""

import pytest

from gridcell import networks
from gridcell.axes import Layout
from gridcell.errors import NetworkError
from gridcell.networks.presets import PRESETS


@pytest.mark.parametrize("net", PRESETS)
@pytest.mark.parametrize("side", [1, 2, 5, 8, 28, 32, 64, 65, 128, 300])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_preset_can_be_built_for_every_size(net: str, side: int, channels: int) -> None:
    for grid in ((side, side), (side, 2 * side)):
        layout = Layout(channels, grid, steps=1)
        choice = networks.choose_network(net, layout)
        # What was chosen is notation: it can be read back, and given to --net.
        again = networks.write(networks.parse(choice.notation))
        built = networks.build(again, layout, outputs=7)
        assert built.steps[-1].spec.name == "dense" and built.steps[-1].after.channels == 7
        assert choice.reason


def test_notation_is_taken_as_it_is() -> None:
    layout = Layout(1, (28, 28), steps=1)
    choice = networks.choose_network(" conv(8, 3) relu ", layout)
    assert choice == networks.Choice("conv(8, 3) relu", "as written")


def test_a_near_miss_of_a_preset_is_named() -> None:
    with pytest.raises(NetworkError, match=r"resnett is neither a preset .* Did you mean resnet\?"):
        networks.check_name("resnett")


def test_notation_that_cannot_be_read_is_refused_before_any_data_is() -> None:
    with pytest.raises(NetworkError, match="is missing"):
        networks.check_name("conv(3")


def test_photographs_are_shrunk_before_the_work_begins() -> None:
    small = networks.build(
        networks.choose_network("auto", Layout(3, (32, 32), 1)).notation,
        Layout(3, (32, 32), 1),
        outputs=10,
    )
    photo = networks.build(
        networks.choose_network("auto", Layout(3, (128, 128), 1)).notation,
        Layout(3, (128, 128), 1),
        outputs=10,
    )
    work = [sum(row.multiply_adds for row in networks.rows(n)) for n in (small, photo)]
    assert work[1] < 2 * work[0]
