"""Presets are lines of notation that fit the images they are chosen for."""

import pytest
import torch

from gridcell import networks
from gridcell.axes import Layout
from gridcell.errors import NetworkError

OF_PICTURES = ("auto", "tiny", "lenet", "resnet", "rows", "cnn", "crnn")
OF_STEPS = ("lstm", "lstm_fcn", "inception")


@pytest.mark.parametrize("net", OF_PICTURES)
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


def test_small_colour_pictures_are_whitened_and_grey_ones_are_not() -> None:
    def first(channels: int, side: int) -> str:
        choice = networks.choose_network("auto", Layout(channels, (side, side), 1))
        return networks.parse(choice.notation)[0].name

    assert first(3, 32) == "whiten"
    assert [first(1, 32), first(3, 12), first(3, 64), first(3, 128)] == ["conv"] * 4


def test_answers_are_means_over_mirror_images_where_those_mean_the_same() -> None:
    layout = Layout(1, (28, 28), 1)
    for net in ("auto", "resnet"):
        plain = networks.choose_network(net, layout)
        choice = networks.choose_network(net, layout, is_mirrored=True)
        assert choice.notation == f"mirrored({plain.notation})"
        assert choice.reason.endswith("answers are means over a picture and its mirror image")
    written = networks.choose_network("conv(8, 3)", layout, is_mirrored=True)
    assert written.notation == "conv(8, 3)"


def test_an_ensemble_stands_inside_what_sets_units_back() -> None:
    forecast = networks.choose_network("forecast", Layout(3, (), steps=48), is_forecast=True)
    several = networks.ensemble_of(forecast, 3).notation
    assert several.startswith("reversible(ensemble(") and ", members=3)" in several
    built = networks.build(several, Layout(3, (), steps=48), outputs=6)
    assert networks.members_of(built) == 3
    plain = networks.choose_network("auto", Layout(1, (28, 28), 1), is_mirrored=True)
    assert networks.ensemble_of(plain, 2).notation == f"ensemble({plain.notation}, members=2)"
    assert networks.members_of(networks.build("conv(2, 3)", Layout(1, (4, 4), 1), outputs=2)) == 1


SEQUENCES = [
    *(Layout(1, (bands,), steps=None) for bands in (1, 2, 5, 16, 40, 64, 128)),
    *(Layout(3, (side, side), steps=None) for side in (1, 4, 16, 32, 64, 128)),
    Layout(1, (16, 48), steps=None),
]


@pytest.mark.parametrize("is_each", [False, True])
@pytest.mark.parametrize("layout", SEQUENCES, ids=str)
@pytest.mark.parametrize("net", ["auto", "cnn", "crnn"])
def test_presets_of_sounds_and_clips_answer_however_few_steps_there_are(
    net: str, layout: Layout, is_each: bool
) -> None:
    choice = networks.choose_network(net, layout, steps=40, is_each=is_each)
    built = networks.build(choice.notation, layout, outputs=5, each=is_each).eval()
    values = torch.randn(2, 9, layout.channels, *layout.grid)
    values[1, 3:] = 0
    y = built(values, torch.tensor([9, 3]))
    assert y.shape == ((2, 9, 5) if is_each else (2, 5)) and y.isfinite().all()
    # Alone, and without the padding.
    alone = built(values[1:, :3], torch.tensor([3]))
    torch.testing.assert_close(alone[0], y[1, :3] if is_each else y[1])


def test_only_sounds_halve_the_time_and_never_where_every_step_has_its_answer() -> None:
    sound, clip = Layout(1, (40,), steps=None), Layout(3, (32, 32), steps=None)
    assert "time=2" in networks.choose_network("crnn", sound).notation
    assert "time=2" not in networks.choose_network("crnn", clip).notation
    assert "time=2" not in networks.choose_network("crnn", sound, is_each=True).notation


def test_auto_takes_memory_for_words_and_averages_scenes() -> None:
    sound, clip = Layout(1, (40,), steps=None), Layout(3, (32, 32), steps=None)

    def auto(layout: Layout, steps: int) -> networks.Choice:
        return networks.choose_network("auto", layout, steps=steps)

    assert "lstm" in auto(sound, 40).notation
    assert "the order of the steps may matter" in auto(sound, 40).reason
    assert "lstm" not in auto(sound, 250).notation
    assert "items of 250 steps are scenes, in any order" in auto(sound, 250).reason
    assert "lstm" in auto(clip, 250).notation
    each = networks.choose_network("auto", sound, steps=250, is_each=True)
    assert "lstm" in each.notation and "with an answer at every step" in each.reason


@pytest.mark.parametrize("net", ["cnn", "crnn"])
def test_presets_over_time_take_images_too(net: str) -> None:
    image = Layout(3, (32, 32), steps=1)
    found = networks.choose_network(net, image).notation
    assert found == networks.choose_network("resnet" if net == "cnn" else "rows", image).notation


def test_rows_reads_no_sequences() -> None:
    with pytest.raises(NetworkError, match="reads one image row by row, and these are sequences"):
        networks.choose_network("rows", Layout(3, (32, 32), steps=None))


STEPS = [
    Layout(1),
    Layout(9),
    Layout(1, vocabulary=50),
    Layout(17, vocabulary=50, alphabet=30),
]


@pytest.mark.parametrize("layout", STEPS, ids=str)
@pytest.mark.parametrize("is_each", [False, True])
def test_series_and_texts_have_presets_of_their_own(layout: Layout, is_each: bool) -> None:
    names = ("auto", "lstm", "cnn") if layout.vocabulary else ("auto", *OF_STEPS)
    for name in names:
        choice = networks.choose_network(name, layout, is_each=is_each)
        built = networks.build(choice.notation, layout, outputs=7, each=is_each)
        shape = (2, 20, layout.channels) if layout.alphabet or not layout.vocabulary else (2, 20)
        values = torch.ones(shape, dtype=torch.int64 if layout.vocabulary else torch.float32)
        wanted = (2, 20, 7) if is_each else (2, 7)
        assert built(values, torch.tensor([20, 3])).shape == wanted


def test_names_are_read_by_parts_of_them_and_sentences_by_words() -> None:
    letters, words = Layout(1, vocabulary=80), Layout(1, vocabulary=8000)
    name = networks.choose_network("auto", letters, steps=7, is_spelled=True)
    assert "conv(128, time=3)" in name.notation and "last" in name.notation
    assert "texts of 7 characters are words or names" in name.reason
    given = networks.choose_network("auto", letters, steps=7, is_spelled=True, embedding=50)
    assert "embed(50)" in given.notation
    network = networks.build(name.notation, letters, outputs=18)
    ids, longer = torch.tensor([[5, 6, 7]]), torch.tensor([[5, 6, 7, 9, 9]])
    network.eval()
    torch.testing.assert_close(network(ids), network(longer, torch.tensor([3])))
    few_words = Layout(1, vocabulary=20)
    for layout, steps, is_spelled in (
        (letters, 300, True),
        (letters, None, True),
        (words, 7, False),
        (few_words, 7, False),
    ):
        other = networks.choose_network("auto", layout, steps=steps, is_spelled=is_spelled)
        assert other.notation == networks.choose_network("lstm", layout).notation
    tagged = networks.choose_network("auto", letters, steps=7, is_each=True)
    assert "conv" not in tagged.notation


def test_what_is_to_be_written_is_not_seen_before() -> None:
    choice = networks.choose_network("auto", Layout(1, vocabulary=50), is_each=True, is_onward=True)
    network = networks.build(choice.notation, Layout(1, vocabulary=50), outputs=50, each=True)
    network.stream()  # would be refused if any layer needed what comes later


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (Layout(3), "the preset resnet is not for series"),
        (
            Layout(1, vocabulary=5),
            "the preset resnet is not for texts",
        ),
    ],
)
def test_a_preset_for_pictures_is_refused_for_what_has_no_grid(
    layout: Layout, message: str
) -> None:
    with pytest.raises(NetworkError, match=message):
        networks.choose_network("resnet", layout)


@pytest.mark.parametrize("name", OF_STEPS)
def test_a_preset_for_series_is_refused_for_pictures(name: str) -> None:
    with pytest.raises(NetworkError, match="reads series or texts, and these are neither"):
        networks.choose_network(name, Layout(3, (32, 32), steps=1))
