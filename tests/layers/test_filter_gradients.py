"""Whatever shape maps are brought to, filters learn the same from them; and nothing but numbers."""

import pytest
import torch
import torch.nn.functional as F

from gridcell.layers import Conv, filter_gradients
from gridcell.layers.filter_gradients import Moves, convolve

from ..reference.comparison import normal


def values(seed, *shape):
    return torch.from_numpy(normal(seed, *shape)).requires_grad_()


PLAIN = Moves([1, 1], [1, 1], [1, 1])
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
        convolve(leaves[0], leaves[1], bias, Moves([1, 1], padding, [1, 1])),
        F.conv2d(leaves[0], leaves[1], bias, padding=padding),
    ]
    grad_y = values(3, *ways[0].shape).detach()
    torch.testing.assert_close(*ways)
    torch.testing.assert_close(*(torch.autograd.grad(y, leaves, grad_y) for y in ways))


def test_gradients_of_its_gradients_are_right():
    leaves = (values(0, 4, 2, 3, 2), values(1, 2, 2, 3, 3), values(2, 2))

    def convolved(x, weight, bias):
        return convolve(x, weight, bias, PLAIN)

    assert torch.autograd.gradcheck(convolved, leaves)
    assert torch.autograd.gradgradcheck(convolved, leaves)


def test_what_is_frozen_gets_no_gradient():
    x, weight, bias = values(0, 4, 2, 3, 3), values(1, 2, 2, 3, 3), values(2, 2)
    convolve(x.detach(), weight, bias.detach(), PLAIN).sum().backward()
    assert weight.grad is not None
    assert x.grad is None and bias.grad is None


def rows_seen(monkeypatch, layer, shape, *, has_tiles=True):
    """How wide the rows are that teach the layer's filters, in bfloat16; empty: none are formed."""
    seen = []
    laid = filter_gradients._side_by_side

    def watched(x, room):
        row = laid(x, room)
        seen.append(tuple(row.shape))
        return row

    monkeypatch.setattr(filter_gradients, "_side_by_side", watched)
    monkeypatch.setattr(filter_gradients, "has_tiles", lambda: has_tiles)
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
    assert rows_seen(monkeypatch, layer, (8, 1, 256, 4, 4)) == [64, 64]
    assert rows_seen(monkeypatch, layer, (4, 2, 256, 4, 2)) == [24, 24]  # steps are in the batch
    over_time = Conv(256, 256, grid_axes=0, time=5)
    assert rows_seen(monkeypatch, over_time, (8, 7, 256)) == [96, 96]


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
    monkeypatch.setattr(filter_gradients, "has_tiles", lambda: True)
    monkeypatch.setattr(filter_gradients, "_side_by_side", None)  # would fail where it is called
    x = torch.ones(8, 1, 256, 4, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            assert not layer(x).requires_grad
        layer.requires_grad_(requires_grad=False)
        layer(x).float().sum().backward()
    assert x.grad is not None


# Rows that end in a part of 32 places; large maps over three axes.
OTHERWISE = [
    ((3, 2, 4, 37), (3, 3), Moves([1, 1], [1, 1], [1, 1])),
    ((1, 4, 3, 80), (1, 5), Moves([1, 2], [0, 1], [1, 1], 2)),
    ((3, 2, 4, 45), (2, 3), Moves([1, 1], [0, 2], [1, 3])),
    ((2, 2, 5, 3, 4), (3, 3, 3), Moves([1, 1, 1], [1, 1, 1], [1, 1, 1])),
    ((2, 2, 7, 3, 6), (2, 1, 3), Moves([2, 1, 2], [1, 0, 1], [2, 1, 1])),
    ((1, 4, 3, 4, 35), (3, 3, 1), Moves([1, 1, 1], [0, 1, 0], [1, 1, 1], 4)),
]


@pytest.mark.parametrize(("shape", "kernel", "moves"), OTHERWISE)
def test_other_maps_teach_the_same_in_another_shape(monkeypatch, shape, kernel, moves):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(filter_gradients, "LARGEST_DEEP", 1)
    monkeypatch.setattr(filter_gradients, "has_tiles", lambda: True)
    leaves = [values(0, *shape), values(1, 4, shape[1] // moves.groups, *kernel), values(2, 4)]
    assert filter_gradients.are_own(leaves[0], leaves[1], moves)
    slide = F.conv2d if len(kernel) == 2 else F.conv3d
    ways = [convolve(*leaves, moves), slide(*leaves, **vars(moves))]
    grad_y = values(3, *ways[0].shape).detach()
    assert torch.equal(*ways)
    torch.testing.assert_close(*(torch.autograd.grad(y, leaves, grad_y) for y in ways))


def test_full_rows_and_threads_with_pictures_of_their_own_take_the_usual_way(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(filter_gradients, "has_tiles", lambda: True)
    weight = values(1, 4, 2, 3, 3)
    for count, sizes, is_own in [
        (3, (4, 63), True),
        (3, (4, 64), False),
        (4, (4, 63), False),
        (3, (4, 31), False),
        (3, (1, 63), False),  # no row for another thread
    ]:
        x = values(0, count, 2, *sizes)
        assert filter_gradients.are_own(x, weight, PLAIN) == is_own


def not_numbers():
    """Leave memory to be given out again that holds no numbers."""
    sizes = [1 << power for power in range(8, 22, 2)]
    held = [torch.full((size,), torch.nan) for size in sizes for _ in range(3)]
    del held


@pytest.mark.skipif(not filter_gradients.has_tiles(), reason="only processors with AMX read it")
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv(16, 8, 3, grid_axes=2), (3, 1, 16, 8, 94)),
        (Conv(16, 16, (2, 5), grid_axes=2), (5, 1, 16, 13, 124)),
        (Conv(96, 128, 3, grid_axes=2), (63, 1, 96, 4, 5)),  # three rows of 21 pictures
        (Conv(32, 16, 3, grid_axes=1, time=3), (3, 6, 32, 187)),
        (Conv(64, 64, 3, grid_axes=2, time=3), (7, 2, 64, 50, 62)),
        (Conv(2, 32, 1, grid_axes=2, stride=(1, 2)), (3, 1, 2, 87, 190)),
    ],
)
def test_what_memory_held_before_teaches_nothing(layer, shape):
    """Without a number in it the gradient had none; of large maps over three axes it was wrong."""
    used = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        x = torch.from_numpy(normal(0, *shape)).float()
        y = layer(x)
        grad_y = torch.from_numpy(normal(1, *y.shape)).float()
        (wanted,) = torch.autograd.grad(y, [layer.weight], grad_y)
        for _ in range(4):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                low = layer(x)
            not_numbers()
            (found,) = torch.autograd.grad(low, [layer.weight], grad_y.to(low.dtype))
            size = wanted.square().mean().sqrt()
            assert (found - wanted).abs().max() <= 0.1 * size
    finally:
        torch.set_num_threads(used)
