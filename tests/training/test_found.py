"""Numbers that layers find in training rows before the first step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gridcell import layers, networks, reference
from gridcell.training import found
from gridcell.training.found import start_from_rows

from . import toys


def whitened(notation: str, *, seed: int = 0) -> tuple[networks.Network, list[layers.Whiten]]:
    network = toys.network(notation)
    said = start_from_rows(network, toys.images(), seed=seed)
    assert said == "Whitening: directions of patches found from 40 training rows, not learned."
    return network, [m for m in network.modules() if isinstance(m, layers.Whiten)]


def test_filters_are_those_of_the_normalized_pictures() -> None:
    network, (layer,) = whitened("whiten(2) relu globalpool")
    items = toys.images()
    assert network.normalize is not None
    x = network.normalize(items.batch(np.arange(len(items))).values)
    wanted = reference.whitening_filters(x[:, 0].double().numpy(), (2, 2))
    np.testing.assert_allclose(layer.slide.weight[: len(wanted)], wanted, rtol=1e-3, atol=1e-4)


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
    network, every = whitened(notation)
    fresh = [m for m in toys.network(notation).modules() if isinstance(m, layers.Whiten)]
    for layer, before in zip(every, fresh, strict=True):
        assert not torch.equal(layer.slide.weight, before.slide.weight)
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


def test_in_the_middle_it_is_found_on_what_reaches_it() -> None:
    network, (layer,) = whitened("conv(3, 3) relu whiten(2, padding=valid) globalpool")
    items = toys.images()
    assert network.normalize is not None
    x = network.normalize(items.batch(np.arange(len(items))).values)
    for step in network.steps[:2]:
        x = step.module(x)
    wanted = reference.whitening_filters(x[:, 0].detach().double().numpy(), (2, 2))
    half = len(wanted)
    np.testing.assert_allclose(layer.slide.weight[:half], wanted, rtol=1e-3, atol=1e-3)


def test_one_that_was_found_is_not_found_again_on_mirror_images() -> None:
    _, every = whitened("parallel(mirrored(whiten(2) flatten), whiten(2) flatten)")
    assert torch.equal(every[0].slide.weight, every[1].slide.weight)


@pytest.mark.parametrize("seed", [0, 1])
def test_of_many_rows_some_of_every_class_are_taken(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(found, "MOST_VALUES", 20 * toys.SIDE**2)
    items = toys.images(200)
    items = replace(items, rows=np.argsort(np.arange(200) % 2, kind="stable"))  # by class
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(layers.Whiten, "start_from", lambda _, x, __: seen.append(x))
    said = start_from_rows(toys.network("whiten(2) globalpool"), items, seed=seed)
    assert said is not None and "20 training rows" in said
    light = (seen[0].mean((1, 2, 3, 4)) > 0).sum()
    assert 4 <= int(light) <= 16


def test_the_same_seed_gives_the_same_bits_and_another_other_rows() -> None:
    def filters(seed: int) -> torch.Tensor:
        network = toys.network("whiten(3) globalpool")
        start_from_rows(network, toys.images(1500), seed=seed)
        (layer,) = (m for m in network.modules() if isinstance(m, layers.Whiten))
        return layer.slide.weight

    assert torch.equal(filters(0), filters(0))
    assert not torch.equal(filters(0), filters(1))
