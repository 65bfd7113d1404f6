"""Presets: from a name and the sizes of the data to a network's notation.

A preset is nothing but text, so what it chose can be read, changed and given back with --net.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gridcell.axes import Layout
from gridcell.errors import NetworkError, did_you_mean
from gridcell.networks.notation import SIGNATURES, parse

LARGEST_SMALL_SIDE = 64


@dataclass(frozen=True)
class Choice:
    """A network's notation and, where it was chosen, why."""

    notation: str
    reason: str


def choose_network(net: str, layout: Layout) -> Choice:
    """Return the notation that a preset's name stands for; notation is returned as it is.

    >>> choose_network("conv(8, 3) relu", Layout(1, (28, 28), steps=1)).notation
    'conv(8, 3) relu'
    """
    check_name(net)
    name = net.strip()
    return PRESETS[name](layout) if name in PRESETS else Choice(name, "as written")


def check_name(net: str) -> None:
    """Raise NetworkError unless `net` is a preset's name or notation that can be read."""
    name = net.strip()
    if name in PRESETS:
        return
    is_word = name.isidentifier() and name not in SIGNATURES
    if is_word:
        near = did_you_mean(name, [*PRESETS, *SIGNATURES])
        raise NetworkError(f"{name} is neither a preset ({', '.join(PRESETS)}) nor a layer.{near}")
    parse(name)


def _tiny(layout: Layout) -> Choice:
    pool = " maxpool(2)" if min(layout.grid) >= 8 else ""
    return Choice(
        f"conv(16, 3) batchnorm relu{pool} conv(32, 3) batchnorm relu globalpool",
        "the tiny preset: two convolutions",
    )


def _lenet(layout: Layout) -> Choice:
    pool = " maxpool(2)" if min(layout.grid) >= 8 else ""
    return Choice(
        f"conv(32, 3) relu conv(64, 3) relu{pool} flatten dense(128) relu dropout(0.5)",
        "the lenet preset: two convolutions and a dense layer, after LeCun et al. 1998",
    )


def _resnet(layout: Layout) -> Choice:
    """A residual CNN: after He et al. 2016, at a size that two cores train in minutes."""
    if max(layout.grid) > LARGEST_SMALL_SIDE:
        return _resnet_of_photos()
    return _resnet_of_small_images(layout)


def _resnet_of_small_images(layout: Layout) -> Choice:
    """Convolve, halve by pooling, widen; a residual pair in the first and last stage."""
    side = min(layout.grid)
    width = 24
    parts = [f"conv({width}, 3) batchnorm relu"]
    stages = min(3, max(0, side.bit_length() - 2))
    for stage in range(1, stages + 1):
        width *= 2
        parts.append(f"conv({width}, 3) batchnorm relu maxpool(2)")
        if stage in (1, stages):
            pair = f"conv({width}, 3) batchnorm relu conv({width}, 3) batchnorm relu"
            parts.append(f"residual({pair})")
    reason = f"a residual CNN of {stages} stages for small images"
    return Choice(" ".join([*parts, "globalpool"]), reason)


def _resnet_of_photos() -> Choice:
    """Shrink to a quarter first, since that is where the work is; then four residual stages."""
    parts = ["conv(32, 3, stride=2) batchnorm relu maxpool(2)"]
    for width in (32, 64, 128, 256):
        stride = "" if width == 32 else ", stride=2"
        pair = f"conv({width}, 3{stride}) batchnorm relu conv({width}, 3) batchnorm"
        parts.append(f"residual({pair}) relu")
    return Choice(" ".join([*parts, "globalpool"]), "a residual CNN of 4 stages for photographs")


def _auto(layout: Layout) -> Choice:
    choice = _resnet(layout)
    return Choice(choice.notation, f"auto took {choice.reason}")


def _rows(layout: Layout) -> Choice:
    return Choice(
        "rows flatten lstm(128, both) last dropout(0.2)",
        "the rows preset: an LSTM that reads the image row by row, both ways",
    )


PRESETS: dict[str, Callable[[Layout], Choice]] = {
    "auto": _auto,
    "tiny": _tiny,
    "lenet": _lenet,
    "resnet": _resnet,
    "rows": _rows,
}
