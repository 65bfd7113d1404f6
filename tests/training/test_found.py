"""Numbers that layers find in training rows before the first step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gridcell import layers, networks, reference
from gridcell.training.found import start_from_rows

from . import toys


def whitened(notation: str, *, seed: int = 0) -> tuple[networks.Network, list[layers.Whiten]]:
    network = toys.network(notation)
    said = start_from_rows(network, toys.images(), seed=seed)
    assert said == "Whitening: directions of patches found from 40 training rows, not learned."
    return network, [m for m in network.modules() if isinstance(m, layers.Whiten)]


def test_filters_are_those_of_the_normalized_pictures() -> None:
    network, (found,) = whitened("whiten(2) relu globalpool")
    items = toys.images()
    assert network.normalize is not None
    x = network.normalize(items.batch(np.arange(len(items))).values)
    wanted = reference.whitening_filters(x[:, 0].double().numpy(), (2, 2))
    np.testing.assert_allclose(found.weight[: len(wanted)], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "notation",
    [
        "conv(3, 3) relu whiten(2, padding=valid) globalpool",
        "mirrored(whiten(2) relu globalpool)",
        "residual(whiten(1) relu conv(1, 1)) globalpool",
        "parallel(whiten(2), whiten(3)) globalpool",
    ],
)
def test_it_may_stand_anywhere(notation: str) -> None:
    network, found = whitened(notation)
    fresh = [m for m in toys.network(notation).modules() if isinstance(m, layers.Whiten)]
    for layer, before in zip(found, fresh, strict=True):
        assert not torch.equal(layer.weight, before.weight)
    assert network.training
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in network.modules())


def test_a_network_without_such_a_layer_is_left_alone() -> None:
    network = toys.network()
    before = [p.clone() for p in network.parameters()]
    assert start_from_rows(network, toys.images(), seed=0) is None
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_batchnorm_in_front_sees_nothing_of_it() -> None:
    network, _ = whitened("batchnorm whiten(2) globalpool")
    (norm,) = (m for m in network.modules() if isinstance(m, layers.BatchNorm))
    assert not norm.running_mean.any()


def test_the_same_rows_give_the_same_bits() -> None:
    _, (one,) = whitened("whiten(3) globalpool")
    _, (other,) = whitened("whiten(3) globalpool")
    assert torch.equal(one.weight, other.weight)
