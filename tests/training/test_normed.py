"""Which relus get what a batchnorm made. S20"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gridcell import networks
from gridcell.axes import Layout
from gridcell.layers import Conv
from gridcell.networks import Network
from gridcell.training import diagnosis
from gridcell.training.normed import normed_relus

from .toys import images, network


def normed(net: Network) -> list[bool]:
    found = normed_relus(net.chain)
    return [relu in found for relu in diagnosis.relus(net)]


@pytest.mark.parametrize(
    ("notation", "told"),
    [
        ("conv(4, 3) batchnorm relu conv(4, 3) relu", [True, False]),
        ("conv(4, 3) relu batchnorm", [False]),
        ("conv(4, 3) batchnorm dropout(0.5) relu", [True]),
        ("conv(4, 3) batchnorm maxpool(2) dropout(0.5) globalpool relu", [True]),
        ("conv(4, 3) batchnorm flatten relu", [False]),
        ("conv(4, 3) batchnorm layernorm relu", [False]),
        ("conv(4, 3) batchnorm relu dropout(0.5) relu", [True, False]),
        ("2*(conv(4, 3) batchnorm) relu 2*(conv(4, 3) relu)", [True, False, False]),
        # Side by side: what is written before a branch is not what runs before it.
        ("conv(4, 3) batchnorm parallel(relu, relu)", [True, True]),
        ("conv(4, 3) parallel(batchnorm, relu)", [False]),
        ("parallel(conv(4, 3) batchnorm, conv(4, 3) batchnorm dropout(0.5)) relu", [True]),
        ("parallel(conv(4, 3), conv(4, 3) batchnorm) relu", [False]),
        ("parallel(conv(4, 3) batchnorm, conv(4, 3)) relu", [False]),
        # Around a shortcut: both that are added up must be a batchnorm's.
        ("conv(4, 3) batchnorm residual(relu conv(4, 3)) relu", [True, False]),
        ("conv(4, 3) relu residual(conv(4, 3) batchnorm) relu", [False, False]),
        ("conv(4, 3) batchnorm residual(conv(4, 3) batchnorm) relu", [True]),
        ("conv(4, 3) batchnorm residual(conv(8, 3) batchnorm) relu", [False]),
        ("residual(parallel(conv(2, 3) batchnorm relu, conv(2, 3)) batchnorm) relu", [True, False]),
        ("mirrored(conv(4, 3) batchnorm globalpool) relu", [True]),
        ("mirrored(conv(4, 3) batchnorm globalpool relu)", [True]),
        ("ensemble(conv(4, 3) batchnorm globalpool, members=2) relu", [True]),
        ("ensemble(conv(4, 3) globalpool relu, members=2) relu", [False, False, False]),
    ],
)
def test_a_relu_is_behind_what_runs_before_it(notation: str, told: list[bool]) -> None:
    assert normed(network(notation)) == told


@pytest.mark.parametrize(
    ("notation", "told"),
    [
        ("conv(4, time=3) batchnorm mean relu", [True]),
        ("conv(4, time=3) batchnorm last relu", [True]),
        ("conv(4, time=3) batchnorm parallel(mean, max) relu", [True]),
        ("conv(4, time=3) batchnorm reversible(relu lstm(4) last) relu", [False, False]),
        ("batchnorm lstm(4) relu", [False]),
    ],
)
def test_over_time_too(notation: str, told: list[bool]) -> None:
    assert normed(networks.build(notation, Layout(2), outputs=2)) == told


@pytest.mark.parametrize(
    "notation",
    [
        "conv(4, 3) batchnorm avgpool(2) relu",
        "parallel(conv(4, 3) batchnorm, conv(4, 3) batchnorm) relu",
        "conv(4, 3) batchnorm residual(conv(4, 3) batchnorm) relu",
        "conv(4, 3) batchnorm residual(conv(8, 3) batchnorm) relu",
        "conv(4, 3) relu residual(conv(4, 3) batchnorm) relu",
        "parallel(conv(4, 3) batchnorm, conv(4, 3)) relu",
        "parallel(conv(4, 3), conv(4, 3) batchnorm) relu",
    ],
)
def test_what_a_batchnorm_made_is_above_0_for_some_items_in_every_channel(notation: str) -> None:
    """It is centred: so a relu that gets it lives, however large the biases before it are."""
    net = network(notation).train()
    for module in net.modules():
        if isinstance(module, Conv) and module.bias is not None:
            torch.nn.init.constant_(module.bias, 0.5)
    got: list[Tensor] = []
    *_, last = diagnosis.relus(net)
    last.register_forward_pre_hook(lambda _, values: got.append(values[0]))
    net(images(40).batch(np.arange(40)).values)
    means = got[0].transpose(1, 2).flatten(2).mean((0, 2))
    assert bool((means.abs() < 1e-4).all()) == normed(net)[-1]


def test_the_diagnosis_knows_them() -> None:
    net = network("conv(4, 3) batchnorm dropout(0.5) relu conv(4, 3) parallel(batchnorm, relu)")
    first, second = diagnosis.dead_units(net, images(40))
    assert (first.is_normed, second.is_normed) == (True, False)
