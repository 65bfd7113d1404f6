"""LSTM and RNN in the notation: how they are written, built, sized, and reduced to one answer."""

import pytest
import torch

from gridcell import layers, networks
from gridcell.axes import Layout
from gridcell.errors import NetworkError

IMAGE = Layout(1, (28, 28), steps=1)
SERIES = Layout(9)


def module(network: networks.Network, kind: type) -> torch.nn.Module:
    """The first layer of a kind."""
    return next(m for m in network.modules() if isinstance(m, kind))


def test_flags_are_said_by_their_name_and_written_back() -> None:
    text = "lstm(64, layers=2, both, peephole, heads=4, dropout=0.3)"
    [spec] = networks.parse(text)
    assert spec.options["both"] is True and spec.options["peephole"] is True
    assert str(spec) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lstm(8, both=1)", "both takes no value: it is said by its name alone."),
        ("lstm(8, both, both)", "both is given twice."),
        ("lstm(8, boht)", "Did you mean both?"),
        ("lstm(both)", "lstm needs its width"),
        ("lstm(8, recurrence=half)", "lstm recurrence must be full or diagonal"),
    ],
)
def test_mistakes_are_named(text: str, words: str) -> None:
    with pytest.raises(NetworkError) as caught:
        networks.parse(text)
    assert words in str(caught.value)


def test_the_last_step_is_taken_of_both_directions() -> None:  # S23
    for between in ("", "dropout(0.5) ", "layernorm relu "):
        network = networks.build(f"lstm(8, both) {between}last", SERIES, outputs=3)
        assert module(network, layers.Last).both
    assert not module(networks.build("lstm(8) last", SERIES, outputs=3), layers.Last).both
    mixed = networks.build("lstm(8, both) dense(4) last", SERIES, outputs=3)
    assert not module(mixed, layers.Last).both


def test_where_directions_are_mixed_with_other_features_last_is_refused() -> None:
    with pytest.raises(NetworkError, match="cannot tell which features walked backward"):
        networks.build("parallel(lstm(8, both), lstm(8)) last", SERIES, outputs=3)
    inside = networks.build("parallel(lstm(8, both) last, lstm(8) last)", SERIES, outputs=3)
    assert inside(torch.randn(2, 5, 9)).shape == (2, 3)


def test_time_is_reduced_by_last_after_an_lstm_and_said() -> None:
    network = networks.build("lstm(8, both) dropout(0.1)", SERIES, outputs=3)
    assert network.notation == "lstm(8, both) dropout(0.1) last dense(3)"
    assert network.notes == ("last was added: the task wants one answer for all steps.",)
    assert module(network, layers.Last).both


def test_the_step_to_take_is_seen_through_mirrored() -> None:
    clip = Layout(3, (8, 8))
    network = networks.build("mirrored(conv(4, 3) flatten lstm(8, both))", clip, outputs=3)
    assert network.notation == "mirrored(conv(4, 3) flatten lstm(8, both)) last dense(3)"
    assert module(network, layers.Last).both
    assert network(torch.randn(2, 5, 3, 8, 8)).shape == (2, 3)


def test_an_answer_at_each_step_keeps_time() -> None:  # S32
    network = networks.build("lstm(8)", SERIES, outputs=3, each=True)
    assert network(torch.randn(2, 5, 9), torch.tensor([5, 2])).shape == (2, 5, 3)


def test_an_image_is_read_row_by_row() -> None:  # S15
    network = networks.build("rows lstm(16)", IMAGE, outputs=10).eval()
    image = torch.randn(2, 1, 1, 28, 28)
    lstm, dense = module(network, layers.LSTM), module(network, layers.Dense)
    rows = image[:, 0, 0]  # [B, H, W]: height is time
    torch.testing.assert_close(network(image), dense(lstm(rows)[:, -1]))


def test_a_cnn_looks_at_each_step_and_an_lstm_carries_memory_over_them() -> None:  # S35
    clip = Layout(3, (8, 8))
    network = networks.build("conv(4, 3) relu maxpool(2) lstm(6)", clip, outputs=2).eval()
    x = torch.randn(2, 5, 3, 8, 8)
    alone = network(x[:1, :3])
    padded = x.clone()
    padded[0, 3:] = float("nan")
    torch.testing.assert_close(network(padded, torch.tensor([3, 5]))[:1], alone)


def test_the_table_counts_an_lstm() -> None:
    built = networks.build("rows lstm(128, both) last", IMAGE, outputs=10)
    row = next(row for row in networks.rows(built) if row.layer.startswith("lstm"))
    assert row.output == "28 x 256"
    assert row.parameter_arithmetic == "4 * 2 * (28 + 128 + 2) * 128"
    assert row.parameters == 4 * 2 * (28 + 128 + 2) * 128
    assert row.multiply_adds == 28 * 4 * 2 * (28 + 128) * 128
    assert sum(row.parameters for row in networks.rows(built)) == built.parameters_count


def test_saved_weights_give_the_same_outputs_in_a_network_built_again() -> None:
    first = networks.build("rows lstm(8, layers=2, both)", IMAGE, outputs=4).eval()
    again = networks.build(first.notation, IMAGE, outputs=4).eval()
    again.load_state_dict(first.state_dict())
    image = torch.randn(3, 1, 1, 28, 28)
    assert torch.equal(first(image), again(image))


def test_every_random_layer_draws_from_the_generator_that_is_set() -> None:
    network = networks.build(
        "rows lstm(8, layers=2, dropout=0.5, recurrent_dropout=0.3, zoneout=0.1)", IMAGE, outputs=2
    )
    image = torch.randn(3, 1, 1, 28, 28)

    def outputs(seed: int) -> torch.Tensor:
        layers.set_generator(network, torch.Generator().manual_seed(seed))
        return network(image)

    assert torch.equal(outputs(1), outputs(1))
    assert not torch.equal(outputs(1), outputs(2))
