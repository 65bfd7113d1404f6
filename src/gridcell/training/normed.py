"""Which relus get what a batchnorm made: there another one would keep no unit alive.

The layers are followed as values go through them, into the chains that containers hold.
"""

from __future__ import annotations

from torch import nn

from gridcell.layers import (
    Activation,
    BatchNorm,
    Chain,
    Dropout,
    Each,
    Ensemble,
    GlobalPool,
    Last,
    Max,
    Mean,
    Mirrored,
    Parallel,
    Pool,
    Residual,
    Reversible,
)

KEEPING = (Dropout, Pool, GlobalPool, Last, Mean, Max, Each)
"""Behind these a channel holds some of its values or means of them. Not so behind flatten: each
place becomes a channel, which may be dead alone."""


def normed_relus(chain: Chain) -> set[nn.Module]:
    """Return the relus behind a batchnorm, with no layer between that makes other values.

    >>> normed_relus(Chain([BatchNorm(4), Dropout(0.5), Activation("relu")]))
    {Activation(relu)}
    >>> normed_relus(Chain([BatchNorm(4), Activation("tanh"), Activation("relu")]))
    set()
    """
    found: set[nn.Module] = set()
    _follow(chain, False, found)
    return found


def _follow(layer: nn.Module, is_normed: bool, found: set[nn.Module]) -> bool:
    """Add a layer's relus that get what a batchnorm made; return whether it gives such.

    is_normed   whether the layer itself gets such
    """
    if isinstance(layer, Chain):
        for inner in layer.layers:
            is_normed = _follow(inner, is_normed, found)
        return is_normed
    if isinstance(layer, Residual):
        # A sum is as large as both make it, so both must be a batchnorm's.
        is_shortcut_normed = is_normed and layer.project is None
        return _follow(layer.body, is_normed, found) and is_shortcut_normed
    if isinstance(layer, Parallel | Ensemble):
        chains = layer.branches if isinstance(layer, Parallel) else layer.members
        given = [_follow(chain, is_normed, found) for chain in chains]
        return all(given)
    if isinstance(layer, Mirrored):
        return _follow(layer.body, is_normed, found)
    if isinstance(layer, Reversible):
        _follow(layer.body, False, found)  # it gets other values, and gives others
        return False
    if is_normed and isinstance(layer, Activation) and layer.name == "relu":
        found.add(layer)
    return isinstance(layer, BatchNorm) or (is_normed and isinstance(layer, KEEPING))
