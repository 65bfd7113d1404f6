"""Presets: from a name, the sizes of the data and the number of items to a network's notation.

A preset is nothing but text, so what it chose can be read, changed and given back with --net.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gridcell.axes import Layout
from gridcell.errors import NetworkError, did_you_mean
from gridcell.networks.notation import SIGNATURES


@dataclass(frozen=True)
class Choice:
    """A network's notation and, where it was chosen, why."""

    notation: str
    reason: str


def choose_network(net: str, layout: Layout, *, items: int) -> Choice:
    """Return the notation that a preset's name stands for; notation is returned as it is.

    >>> choose_network("conv(8, 3) relu", Layout(1, (28, 28), steps=1), items=100).notation
    'conv(8, 3) relu'
    """
    name = net.strip()
    if name in PRESETS:
        return PRESETS[name](layout, items)
    is_word = name.isidentifier() and name not in SIGNATURES
    if is_word:
        near = did_you_mean(name, [*PRESETS, *SIGNATURES])
        raise NetworkError(f"{name} is neither a preset ({', '.join(PRESETS)}) nor a layer.{near}")
    return Choice(name, "as written")


def _tiny(layout: Layout, items: int) -> Choice:
    pool = " maxpool(2)" if min(layout.grid) >= 8 else ""
    return Choice(
        f"conv(16, 3) batchnorm relu{pool} conv(32, 3) batchnorm relu globalpool",
        "the tiny preset: two convolutions",
    )


def _lenet(layout: Layout, items: int) -> Choice:
    pool = " maxpool(2)" if min(layout.grid) >= 8 else ""
    return Choice(
        f"conv(32, 3) relu conv(64, 3) relu{pool} flatten dense(128) relu dropout(0.5)",
        "the lenet preset: two convolutions and a dense layer, after LeCun et al. 1998",
    )


def _resnet(layout: Layout, items: int) -> Choice:
    """Residual stages, each half the size and twice the width of the one before."""
    side = min(layout.grid)
    stages = ["conv(32, 3) batchnorm relu"]
    width = 32
    while side >= 8 and width < 256:
        width *= 2
        side //= 2
        stages.append(f"maxpool(2) conv({width}, 3) batchnorm relu")
        stages.append(f"residual(conv({width}, 3) batchnorm relu conv({width}, 3) batchnorm) relu")
    return Choice(" ".join([*stages, "globalpool"]), f"a residual CNN for {layout}")


def _auto(layout: Layout, items: int) -> Choice:
    return _resnet(layout, items)


PRESETS: dict[str, Callable[[Layout, int], Choice]] = {
    "auto": _auto,
    "tiny": _tiny,
    "lenet": _lenet,
    "resnet": _resnet,
}
