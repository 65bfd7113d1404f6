"""Gradients of whole networks against differences of their loss, in every layout that memory has.

Layers are right one by one on values that lie in order. Inside a network values lie as the layer
before left them, with channels last or steps first, and a kernel that reads a gradient in another
layout than its values would be silently wrong: this is what is looked at here. S14, S33
"""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gridcell import networks
from gridcell.axes import Layout
from gridcell.layers import BatchNorm
from gridcell.networks.run import channels_last

SOUND, SERIES = Layout(1, (8,), steps=None), Layout(3, (), steps=None)
CLIP, PHOTO = Layout(2, (6, 6), steps=None), Layout(1, (6, 6), steps=1)
CASES = [
    (SOUND, "conv(4, 3, time=3) batchnorm mean"),
    (SOUND, "conv(4, 3, time=3) batchnorm relu maxpool(2, time=2) flatten lstm(3, both) mean"),
    (SOUND, "2*(conv(4, 3, time=3) batchnorm tanh) globalpool parallel(mean, max)"),
    (SOUND, "conv(1, 3, time=3) batchnorm flatten last"),
    (SOUND, "conv(4, 3) batchnorm avgpool(8) flatten rnn(3) last"),
    (SOUND, "conv(4, 8, padding=valid) batchnorm flatten mean"),
    (SERIES, "conv(4, time=3) batchnorm tanh conv(5, time=5) batchnorm tanh mean"),
    (SERIES, "parallel(lstm(3) last, conv(4, time=4) batchnorm relu mean)"),
    (SERIES, "residual(conv(4, time=3) batchnorm tanh conv(4, time=3)) layernorm mean"),
    (CLIP, "conv(3, 3, time=3) batchnorm tanh avgpool(2) conv(4, 3) batchnorm globalpool mean"),
    (CLIP, "conv(3, 3) batchnorm maxpool(2) flatten lstm(4) last"),
    (PHOTO, "conv(3, 3) batchnorm tanh avgpool(2) conv(4, 3) batchnorm tanh flatten dense(5)"),
    (PHOTO, "conv(3, 6, padding=valid) batchnorm tanh"),
    (PHOTO, "conv(1, 3) batchnorm tanh globalpool"),
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("is_padded", [True, False])
@pytest.mark.parametrize(("layout", "notation"), CASES)
def test_the_gradient_is_the_slope_of_the_loss(
    layout: Layout, notation: str, is_padded: bool, dtype: torch.dtype
) -> None:
    draw = torch.Generator().manual_seed(0)
    steps = layout.steps or 7
    values = torch.randn(5, steps, layout.channels, *layout.grid, generator=draw, dtype=dtype)
    lengths = None
    if layout.steps is None:
        lengths = torch.tensor([7, 4, 7, 5, 6] if is_padded else [7] * 5)
    targets = torch.tensor([0, 1, 2, 0, 1])
    built = networks.build(
        notation,
        layout,
        outputs=3,
        mean=[0.1] * layout.channels if len(layout.grid) == 2 else None,
        deviation=[1.1] * layout.channels if len(layout.grid) == 2 else None,
        generator=draw,
    )
    network = built.to(dtype).train()
    channels_last(network)
    parameters = list(network.parameters())

    def loss() -> Tensor:
        found = network(values, lengths)
        assert isinstance(found, Tensor)
        return F.cross_entropy(found, targets)

    gradients = torch.autograd.grad(loss(), parameters)
    ways = [torch.randn(p.shape, generator=draw, dtype=torch.float64) for p in parameters]
    slope = sum(
        float((gradient.double() * way).sum())
        for gradient, way in zip(gradients, ways, strict=True)
    )
    network.double()
    values = values.double()
    small, ends = 1e-6, []
    with torch.no_grad():
        for side in (small, -small):
            for parameter, way in zip(network.parameters(), ways, strict=True):
                parameter += side * way
            ends.append(float(loss()))
            for parameter, way in zip(network.parameters(), ways, strict=True):
                parameter -= side * way
    wanted = (ends[0] - ends[1]) / (2 * small)
    assert slope == pytest.approx(wanted, rel=1e-5 if dtype == torch.float64 else 2e-3, abs=1e-5)


SHAPES = [(1, 1, 3, 7, 1), (1, 2, 3, 1, 2), (2, 3, 2, 7, 1), (3, 1, 1, 1, 4), (2, 2, 5, 3, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_batchnorm_reads_gradients_and_values_in_any_layout(shape: tuple[int, ...]) -> None:
    """F.batch_norm itself is wrong in some of these: its own layouts are not to be trusted."""
    draw = torch.Generator().manual_seed(0)
    plain = torch.randn(shape, generator=draw, dtype=torch.float64)
    above = torch.randn(shape, generator=draw, dtype=torch.float64)
    layer = BatchNorm(shape[2]).double().train()
    places = [0, 1, 3, 4]
    centred = plain - plain.mean(places, keepdim=True)
    normal = centred / (centred.square().mean(places, keepdim=True) + layer.eps).sqrt()
    count = plain.numel() / shape[2]
    spread = (centred.square().mean(places, keepdim=True) + layer.eps).sqrt()
    along = above.sum(places, keepdim=True) + normal * (above * normal).sum(places, keepdim=True)
    wanted = (above - along / count) / spread
    for order, other in itertools.product(itertools.permutations(range(5)), repeat=2):
        if order > other and (order[0] + other[0]) % 3:  # a third of all pairs is enough
            continue
        x = laid_out(plain, order).requires_grad_()
        y = layer(x)
        found = torch.autograd.grad(y, (x, layer.bias), laid_out(above, other))
        torch.testing.assert_close(found[0], wanted, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(found[1], above.sum(places), rtol=1e-9, atol=1e-9)


def laid_out(values: Tensor, order: tuple[int, ...]) -> Tensor:
    """The same values, axes in another order in memory."""
    back = [order.index(axis) for axis in range(len(order))]
    return values.permute(order).contiguous().permute(back)
