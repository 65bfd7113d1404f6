"""Pictures in one row teach filters what each alone does, to rounding, and only where it pays."""

import pytest
import torch
import torch.nn.functional as F

from gridcell.layers import Conv, side_by_side

from ..reference.comparison import normal


def values(seed, *shape):
    return torch.from_numpy(normal(seed, *shape)).requires_grad_()


CASES = [
    ((6, 3, 5, 4), (3, 3)),
    ((7, 2, 4, 3), (3, 5)),  # an odd number of pictures: in one row
    ((8, 2, 1, 6), (1, 3)),  # as steps lie
    ((37, 2, 3, 2), (5, 3)),  # more than go into a row, and a prime: each alone
    ((34, 2, 3, 2), (3, 3)),  # two rows of 17
]


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(("shape", "kernel"), CASES)
def test_the_gradients_are_those_of_the_frameworks_convolution(shape, kernel, has_bias):
    leaves = [values(0, *shape), values(1, 4, shape[1], *kernel)]
    bias = values(2, 4) if has_bias else None
    leaves += [bias] * has_bias
    padding = [size // 2 for size in kernel]
    ways = [
        side_by_side.convolve(leaves[0], leaves[1], bias, padding),
        F.conv2d(leaves[0], leaves[1], bias, padding=padding),
    ]
    grad_y = values(3, *ways[0].shape).detach()
    torch.testing.assert_close(*ways)
    torch.testing.assert_close(*(torch.autograd.grad(y, leaves, grad_y) for y in ways))


def test_gradients_of_its_gradients_are_right():
    leaves = (values(0, 4, 2, 3, 2), values(1, 2, 2, 3, 3), values(2, 2))

    def convolved(x, weight, bias):
        return side_by_side.convolve(x, weight, bias, [1, 1])

    assert torch.autograd.gradcheck(convolved, leaves)
    assert torch.autograd.gradgradcheck(convolved, leaves)


def test_what_is_frozen_gets_no_gradient():
    x, weight, bias = values(0, 4, 2, 3, 3), values(1, 2, 2, 3, 3), values(2, 2)
    side_by_side.convolve(x.detach(), weight, bias.detach(), [1, 1]).sum().backward()
    assert weight.grad is not None
    assert x.grad is None and bias.grad is None


def rows_seen(monkeypatch, layer, shape, *, has_tiles=True):
    """How wide the rows are that teach the layer's filters, in bfloat16; empty: none are formed."""
    seen = []
    laid = side_by_side._side_by_side

    def watched(x, room):
        row = laid(x, room)
        seen.append(tuple(row.shape))
        return row

    monkeypatch.setattr(side_by_side, "_side_by_side", watched)
    monkeypatch.setattr(side_by_side, "has_tiles", lambda: has_tiles)
    x = torch.from_numpy(normal(0, *shape)).float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    grad_y = torch.from_numpy(normal(1, *y.shape)).float()
    parts = [x, layer.weight, layer.bias]
    found = torch.autograd.grad(y, parts, grad_y.bfloat16())
    wanted = torch.autograd.grad(layer(x), parts, grad_y)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).abs().max() <= 0.1 * other.square().mean().sqrt()
    return [size[-1] for size in seen]


def test_small_maps_in_bfloat16_are_learned_in_rows(monkeypatch):
    layer = Conv(256, 256, 3, grid_axes=2)
    # What came in, and the gradient of what came out.
    assert rows_seen(monkeypatch, layer, (8, 1, 256, 4, 4)) == [40, 40]
    assert rows_seen(monkeypatch, layer, (4, 2, 256, 4, 2)) == [24, 24]  # steps are in the batch
    over_time = Conv(256, 256, grid_axes=0, time=5)
    assert rows_seen(monkeypatch, over_time, (8, 7, 256)) == [72, 72]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv(256, 256, 3, grid_axes=2), (8, 1, 256, 4, 9)),  # wide
        (Conv(256, 255, 3, grid_axes=2), (8, 1, 256, 4, 4)),  # few products
        (Conv(724, 725, 3, grid_axes=2), (1, 1, 724, 4, 4)),  # nothing to lay beside it
        (Conv(256, 256, 3, grid_axes=2), (74, 1, 256, 2, 2)),  # 37 rows of 2
        (Conv(256, 256, 3, grid_axes=2, stride=2, padding=1), (8, 1, 256, 4, 4)),
        (Conv(256, 256, 3, grid_axes=2, dilation=2, padding=1), (8, 1, 256, 4, 4)),
        (Conv(256, 256, 3, grid_axes=2, padding="valid"), (8, 1, 256, 4, 4)),
        (Conv(512, 512, 3, grid_axes=2, groups=2), (8, 1, 512, 4, 4)),
        (Conv(256, 256, 1, grid_axes=2), (8, 1, 256, 4, 4)),
        (Conv(256, 256, 2, grid_axes=2), (8, 1, 256, 4, 4)),  # room on one side alone
        (Conv(256, 256, 3, grid_axes=2, time=3), (8, 3, 256, 4, 4)),
    ],
)
def test_other_convolutions_are_not(monkeypatch, layer, shape):
    assert rows_seen(monkeypatch, layer, shape) == []


def test_without_tiles_none_are(monkeypatch):
    layer = Conv(256, 256, 3, grid_axes=2)
    assert rows_seen(monkeypatch, layer, (8, 1, 256, 4, 4), has_tiles=False) == []


def test_what_is_not_learned_takes_the_usual_way(monkeypatch):
    layer = Conv(256, 256, 3, grid_axes=2)
    monkeypatch.setattr(side_by_side, "has_tiles", lambda: True)
    monkeypatch.setattr(side_by_side, "_side_by_side", None)  # would fail where it is called
    x = torch.ones(8, 1, 256, 4, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            assert not layer(x).requires_grad
        layer.requires_grad_(requires_grad=False)
        layer(x).float().sum().backward()
    assert x.grad is not None
