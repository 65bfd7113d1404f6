"""The running average of the weights against a loop written by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gridcell.layers import BatchNorm
from gridcell.training.average import WeightAverage

from .toys import network


def changed(net: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.randn(value.shape, generator=generator))


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_average_is_the_loop_s(decay: float) -> None:
    net = network("conv(4, 3) batchnorm relu")
    expected = {name: value.clone() for name, value in net.state_dict().items()}
    average = WeightAverage(net, decay)
    for step in range(30):
        changed(net, step)
        average.update()
        kept = min(decay, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            expected[name] = kept * expected[name] + (1 - kept) * value
    last = {name: value.clone() for name, value in net.state_dict().items()}
    average.swap()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-5)
        assert not torch.allclose(value, last[name]) or name.startswith("normalize")
    average.swap()
    for name, value in net.state_dict().items():
        assert torch.equal(value, last[name])


def test_batchnorm_s_running_numbers_are_averaged_too() -> None:
    net = network("conv(4, 3) batchnorm relu")
    norm = next(module for module in net.modules() if isinstance(module, BatchNorm))
    average = WeightAverage(net, 0.9)
    norm.running_mean += 1.0
    average.update()
    average.swap()
    assert (norm.running_mean > 0).all() and (norm.running_mean < 1).all()


def test_the_random_start_is_soon_forgotten() -> None:
    net = network()
    average = WeightAverage(net, 0.9999)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(7.0)
    for _ in range(100):
        average.update()
    average.swap()
    for parameter in net.parameters():
        torch.testing.assert_close(
            parameter.data, torch.full_like(parameter, 7.0), rtol=1e-3, atol=0
        )


def test_of_a_training_that_had_none_the_average_begins_at_its_weights() -> None:
    net = network()
    average = WeightAverage(net, 0.9)
    changed(net, 0)  # as a checkpoint's weights take the place of the first ones
    average.restore({}, 0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    average.swap()
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_fixed_normalization_stays_as_it_is() -> None:
    net = network()
    average = WeightAverage(net, 0.9)
    for _ in range(5):
        average.update()
    average.swap()
    assert net.normalize is not None
    assert net.normalize.mean.tolist() == [128.0]


@pytest.mark.parametrize("decay", [0.9, 0.97, 0.98, 0.99, 0.999])
def test_of_weights_that_grow_the_average_stays_behind_as_the_decay_says(decay: float) -> None:
    """Whether it takes in every step or every fourth: by decay / (1 - decay) steps."""
    net = network()
    average, weight = WeightAverage(net, decay), next(net.parameters()).data
    for step in range(20_000):
        weight.fill_(step)
        average.update()
    for step in range(20_000, 20_004):  # wherever between two of the fourth
        weight.fill_(step)
        average.update()
        average.swap()
        behind = step - float(weight.mean())
        average.swap()
        assert behind == pytest.approx(decay / (1 - decay), rel=0.01, abs=2)
