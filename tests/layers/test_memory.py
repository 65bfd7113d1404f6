"""How far recurrent layers remember: the measure itself, and the LSTM beside the RNN."""

import pytest
import torch

from gridcell.errors import ShapeError
from gridcell.layers import LSTM, RNN, gradient_by_distance

from .checks import randomize


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("at", [None, 0, 2])
@pytest.mark.parametrize(
    "layer",
    [LSTM(2, 3, layers=2), LSTM(2, 3, both=True), RNN(2, 3)],
    ids=["lstm", "both ways", "rnn"],
)
def test_the_size_is_that_of_the_whole_derivative(layer, at):
    layer = randomize(layer).double()
    x = torch.randn(1, 4, 2, dtype=torch.float64, generator=seeded())
    t = 3 if at is None else at
    whole = torch.autograd.functional.jacobian(lambda x: layer(x)[0, t], x)[:, 0]
    wanted = whole.square().sum((0, 2)).sqrt()[: t + 1].flip(0)
    # The same sequence many times over: as many random directions are averaged.
    x = x.expand(20_000, -1, -1)
    size = gradient_by_distance(layer, steps=4, at=at, x=x, generator=seeded())
    torch.testing.assert_close(size, wanted, rtol=0.03, atol=0)


def test_the_lstm_remembers_where_the_rnn_forgets():  # S34
    options = {"steps": 100, "generator": seeded(1)}
    lstm = gradient_by_distance(LSTM(4, 32, generator=seeded()), **options)
    rnn = gradient_by_distance(RNN(4, 32, generator=seeded()), **options)
    assert lstm.shape == rnn.shape == (100,)
    # With their first weights; with the forget gates opened a little more, the LSTM keeps all.
    assert lstm[50] / lstm[0] > 1e3 * rnn[50] / rnn[0]
    opened = LSTM(4, 32, generator=seeded())
    with torch.no_grad():
        opened.bias_ih_l0[32:64] = 6
    size = gradient_by_distance(opened, **options)
    assert size[90] > 0.1 * size[10]


def test_the_layer_is_left_as_it_was():
    layer = LSTM(2, 3, layers=2, dropout=0.5).train()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.no_grad():
        one, other = (gradient_by_distance(layer, steps=5, generator=seeded()) for _ in "ab")
    assert torch.equal(one, other) and layer.training
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert all(p.grad is None for p in layer.parameters())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="needs steps of 1 or more; got 0"):
        gradient_by_distance(LSTM(2, 3), steps=0)
    with pytest.raises(ShapeError, match="has steps 0 to 4; got at=5"):
        gradient_by_distance(LSTM(2, 3), steps=5, at=5)
    with pytest.raises(ShapeError, match="T is 4, not 5"):
        gradient_by_distance(LSTM(2, 3), steps=5, x=torch.zeros(1, 4, 2))
