"""Chains, shortcuts and branches: they add nothing but the sum and the joining."""

import pytest
import torch

from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers import (
    Activation,
    Chain,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Last,
    Mean,
    Parallel,
    Pool,
    Residual,
    Rows,
)

from ..reference.comparison import assert_all_agree, normal
from .checks import randomize, run, tensor


def series(filters, **options):
    return Conv(3, filters, grid_axes=0, **options)


def image(filters, *, channels=3, **options):
    return Conv(channels, filters, 3, grid_axes=2, **options)


def test_a_chain_hands_values_and_lengths_on():
    first, second = (randomize(series(3, time=3, stride=2).double(), seed) for seed in (1, 2))
    chain, x, lengths = Chain([first, second]), tensor(normal(1, 2, 9, 3)), torch.tensor([9, 4])
    between = first(x, lengths), first.out_lengths(lengths)
    assert torch.equal(chain(x, lengths), second(*between))
    assert chain.out_lengths(lengths).tolist() == [3, 1]
    assert chain.out_layout(Layout(3, steps=9)) == Layout(3, steps=3)


def test_lengths_end_where_time_ends():
    chain = Chain([Last(), Dense(3, 2)])
    assert chain(torch.randn(2, 4, 3), torch.tensor([1, 4])).shape == (2, 2)
    assert chain.out_lengths(torch.tensor([1, 4])) is None


@pytest.mark.parametrize(
    ("body", "layout", "projection"),
    [
        (image(3), Layout(3, (8, 8), 1), None),
        (image(5), Layout(3, (8, 8), 1), Conv),
        (image(3, stride=2), Layout(3, (9, 8), 1), Conv),
        (image(4, stride=(3, 1)), Layout(3, (7, 8), 1), Conv),
        (series(3, time=3), Layout(3), None),
        (series(4, time=3), Layout(3), Dense),
        (series(3, time=3, stride=2), Layout(3), Conv),
        (series(3, time=3, stride=2), Layout(3, steps=8), Conv),
        (Pool("max", grid_axes=0, time=2), Layout(3, steps=8), Conv),
        (Dense(3, 5), Layout(3, has_time=False, steps=1), Dense),
        (Dense(3, 3), Layout(3, has_time=False, steps=1), None),
    ],
)
def test_a_shortcut_adds_its_input_through_what_the_sizes_ask_for(body, layout, projection):
    layer = Residual(Chain([body]), layout).double()
    randomize(layer)
    shape = (layout.steps or 8, layout.channels, *layout.grid)
    x = tensor(normal(1, 2, *(shape if layout.has_time else (3,))))
    assert type(layer.project) is (type(None) if projection is None else projection)
    shortcut = x if projection is None else layer.project(x)
    y, grad_y, (grad_x, *_) = run(layer, x)
    assert torch.equal(y, body(x) + shortcut)
    _, _, (through_body, *_) = run(body, x)
    wanted = grad_y if projection is None else run(layer.project, x)[2][0]
    assert_all_agree([grad_x], [through_body + wanted])
    assert layer.out_layout(layout) == body.out_layout(layout)


def test_a_shortcut_thins_every_length_as_its_body_does():
    layer = randomize(Residual(Chain([series(4, time=3, stride=2)]), Layout(3)).double())
    x = tensor(normal(1, 8, 8, 3))
    for length in range(1, 9):
        alone = layer(x[length - 1 : length, :length])
        lengths = torch.arange(1, 9)
        together = layer(x, lengths)[length - 1, : layer.out_lengths(lengths)[length - 1]]
        assert_all_agree([alone[0].detach()], [together])


@pytest.mark.parametrize(
    ("body", "layout", "message"),
    [
        (Mean(), Layout(3), "input T x 3 to 3 without time: its body must keep the steps"),
        (Rows(), Layout(3, (8, 8), 1), "input 8x8x3 to 8 x 8x3: its body must keep the steps"),
        (
            series(3, time=3, padding="valid"),
            Layout(3),
            "its body must keep the steps, or thin them by a whole stride",
        ),
        (Pool("max", grid_axes=0, time=2), Layout(3), "its body must keep the steps"),
        (Pool("max", 2, grid_axes=2, time=2), Layout(3, (8, 8), 8), "its body must keep the steps"),
        (image(3, padding="valid"), Layout(3, (8, 8), 1), "8x8x3 to 6x6x3: no whole stride"),
        (Flatten(), Layout(3, (8, 8), 1), "8x8x3 to 192: no whole stride leads there"),
    ],
)
def test_a_shortcut_that_leads_nowhere_is_refused(body, layout, message):
    with pytest.raises(ShapeError, match=f"residual cannot add its .*{message}"):
        Residual(Chain([body]), layout)


def test_branches_are_joined_on_the_features():
    branches = [Chain([randomize(image(2))]), Chain([Activation("tanh")])]
    layer, x = Parallel(branches), torch.randn(2, 1, 3, 8, 8)
    y, grad_y, (grad_x, *_) = run(layer, x)
    assert torch.equal(y, torch.cat([branch(x) for branch in branches], 2).detach())
    gradients = zip(branches, grad_y.split([2, 3], 2), strict=True)
    leaf = x.clone().requires_grad_()
    wanted = sum(torch.autograd.grad(branch(leaf), leaf, grad)[0] for branch, grad in gradients)
    torch.testing.assert_close(grad_x, wanted)
    assert layer.out_layout(Layout(3, (8, 8), 1)) == Layout(5, (8, 8), 1)


def test_branches_without_time_are_joined_too():
    layer, x, lengths = Parallel([Chain([Last()]), Chain([Mean()])]), torch.randn(2, 4, 3), None
    y = layer(x, lengths)
    assert torch.equal(y, torch.cat([x[:, -1], x.mean(1)], 1))
    assert layer.out_layout(Layout(3)) == Layout(6, has_time=False, steps=1)
    assert layer.out_lengths(torch.tensor([4, 4])) is None


@pytest.mark.parametrize(
    ("branches", "layout", "message"),
    [
        (
            [image(2), image(2, stride=2)],
            Layout(3, (8, 8), 1),
            "must agree in time and grid; branch 1 gives 8x8x2, branch 2 gives 4x4x2",
        ),
        (
            [Mean(), Activation("relu")],
            Layout(3),
            "branch 1 gives 3 without time, branch 2 gives T x 3",
        ),
        (
            [Chain([GlobalPool(), Mean()]), GlobalPool()],
            Layout(3, (8, 8), 1),
            "branch 1 gives 3 without time, branch 2 gives 3",
        ),
        (
            [series(2), series(2, time=3), series(2, time=3, stride=2)],
            Layout(3),
            "in time; of length 2 branch 1 leaves 2, branch 3 leaves 1",
        ),
        (
            [series(2, time=3, stride=2), Pool("max", grid_axes=0, time=2)],
            Layout(3),
            "in time; of length 1 branch 1 leaves 1, branch 2 leaves 0",
        ),
    ],
)
def test_branches_that_disagree_are_refused(branches, layout, message):
    with pytest.raises(ShapeError, match=f"parallel branches .*{message}"):
        Parallel(Chain([branch]) for branch in branches).out_layout(layout)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "body",
    [
        [Activation("relu"), Pool("max", 2, grid_axes=2)],
        [Activation("relu"), Pool("max", 2, grid_axes=2, time=2)],
        [Activation("relu"), Activation("relu"), Pool("max", 3, stride=2, grid_axes=2)],
        [Activation("relu"), Pool("max", 2, grid_axes=2), Pool("max", 2, grid_axes=2)],
        # What must stay as it is.
        [Activation("gelu"), Pool("max", 2, grid_axes=2)],
        [Activation("relu"), Pool("mean", 2, grid_axes=2)],
        [Pool("max", 2, grid_axes=2), Activation("relu")],
    ],
)
@pytest.mark.parametrize("lengths", [None, torch.tensor([4, 3, 0])])
def test_training_gives_the_bits_of_the_order_as_written(body, lengths, dtype):
    chain = Chain(body)
    # Of few different numbers, so that many windows have no largest.
    x = tensor(normal(1, 3, 4, 2, 9, 8).round(), dtype).requires_grad_()
    results = []
    for is_training in (True, False):
        y = chain.train(is_training)(x, lengths)
        (gradient,) = torch.autograd.grad(y, x, tensor(normal(2, *y.shape), dtype))
        results.append((y, gradient))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_layers_run_in_the_order_as_written_where_somebody_looks():
    """In evaluation; while training the pool goes first, over a quarter of the numbers."""
    chain = Chain([Activation("relu"), Pool("max", 2, grid_axes=2)])
    seen = []
    chain.layers[0].register_forward_hook(lambda _, __, y: seen.append(tuple(y.shape)))
    for is_training in (False, True):
        chain.train(is_training)(torch.zeros(1, 1, 1, 4, 4))
    assert seen == [(1, 1, 1, 4, 4), (1, 1, 1, 2, 2)]
