"""Filters found in the data: held to their twin, to PCA, and to what whitening means."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from gridcell import reference
from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers import Whiten

from ..reference.comparison import normal
from .checks import assert_padding_changes_nothing, assert_same_alone_and_in_a_batch, tensor

FLOOR = 5e-4


def smooth(*shape):
    """Values of which neighbours are nearly alike, as those of pictures are."""
    x = normal(3, *shape)
    for axis in range(3, len(shape)):
        x = x + np.roll(x, 1, axis)
    return x


def whitened(x, kernel, **options):
    layer = Whiten(x.shape[2], kernel, grid_axes=x.ndim - 3, **options).double()
    layer.start_from(torch.from_numpy(x))
    return layer


def patches(x, kernel):
    """All patches that lie whole inside the grid, [N, C * kernel * kernel]."""
    cut = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(3, 4))
    return cut.transpose(0, 1, 3, 4, 2, 5, 6).reshape(-1, x.shape[2] * kernel**2)


@pytest.mark.parametrize(("grid", "kernel"), [((9,), 3), ((6, 5), (2, 3)), ((4, 4, 4), 2)])
def test_filters_agree_with_their_twin(grid, kernel):
    x = smooth(4, 2, 2, *grid)
    layer = whitened(x, kernel)
    sizes = (kernel,) * len(grid) if isinstance(kernel, int) else kernel
    wanted = reference.whitening_filters(x.reshape(8, 2, *grid), sizes)
    half = len(wanted)
    np.testing.assert_allclose(layer.slide.weight[:half], wanted, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(layer.slide.weight[half:], -layer.slide.weight[:half])


def test_what_comes_out_agrees_with_pca():
    x = smooth(6, 1, 3, 7, 7)
    layer = whitened(x, 2, padding="valid")
    pca = PCA(whiten=True, svd_solver="full").fit(patches(x, 2))
    y = layer(torch.from_numpy(x))[:, 0, :12].movedim(1, -1).reshape(-1, 12)
    y = (y - y.mean(0)).detach().numpy()
    # PCA divides by the variance of a sample, without a floor.
    count = len(y)
    scale = np.sqrt(
        pca.explained_variance_ / (pca.explained_variance_ * (count - 1) / count + FLOOR)
    )
    theirs = pca.transform(patches(x, 2)) * scale
    np.testing.assert_allclose(np.abs(y), np.abs(theirs), rtol=1e-5, atol=1e-7)


def test_what_comes_out_is_uncorrelated_and_of_one_size():
    x = smooth(20, 1, 3, 8, 8)
    y = whitened(x, 3, padding="valid")(torch.from_numpy(x))[:, 0, :27].movedim(1, -1)
    covariance = torch.cov(y.reshape(-1, 27).T.detach())
    torch.testing.assert_close(covariance, torch.eye(27).double(), atol=0.02, rtol=0)


def test_filters_found_without_the_covariance_are_caught():
    """What a plain principal component analysis would give: directions, but no scale."""
    x = 10 * smooth(4, 1, 1, 8, 8)
    layer = whitened(x, 2)
    norms = layer.slide.weight.flatten(1).norm(dim=1)
    assert norms.max() / norms.min() > 1.5


def test_before_it_is_fitted_it_shows_each_cell_both_ways():
    y = Whiten(1, 2, grid_axes=2, padding="valid")(torch.tensor([[[[[1.0, 2.0], [3.0, 4.0]]]]]))
    assert y.flatten().tolist() == [1, 2, 3, 4, -1, -2, -3, -4]


def test_padding_takes_no_part():
    x = smooth(3, 4, 2, 5, 5)
    lengths = torch.tensor([4, 2, 0])
    dirty = torch.from_numpy(x.copy())
    for item, length in enumerate(lengths):
        dirty[item, length:] = torch.nan
    layer = Whiten(2, 2, grid_axes=2).double()
    layer.start_from(dirty, lengths)
    valid = np.concatenate([x[0], x[1, :2]])
    wanted = reference.whitening_filters(valid, (2, 2))
    np.testing.assert_allclose(layer.slide.weight[:8], wanted, rtol=1e-6, atol=1e-8)
    layer.slide.weight.requires_grad_()  # as the checks want of every parameter
    assert_padding_changes_nothing(layer, tensor(x), lengths)
    assert_same_alone_and_in_a_batch(layer, tensor(x), lengths)


@pytest.mark.parametrize("x", [torch.ones(3, 1, 1, 4, 4), torch.zeros(1, 1, 1, 2, 2)])
def test_pictures_that_do_not_vary_give_finite_filters(x):
    layer = Whiten(1, 2, grid_axes=2)
    layer.start_from(x)
    assert layer.slide.weight.isfinite().all()
    assert torch.isfinite(layer(x)).all()


def test_a_grid_without_room_for_a_patch_leaves_the_filters():
    layer = Whiten(1, 3, grid_axes=2)
    before = layer.slide.weight.clone()
    layer.start_from(torch.randn(4, 1, 1, 2, 2))
    assert torch.equal(layer.slide.weight, before)


def test_only_the_bias_is_learned():
    layer = Whiten(1, 2, grid_axes=2)
    layer(torch.randn(2, 1, 1, 4, 4)).sum().backward()
    assert layer.slide.weight.grad is None
    assert layer.slide.bias.grad is not None


def test_sizes():
    assert Whiten(3, 2, grid_axes=2).out_layout(Layout(3, (8, 8), steps=1)).channels == 24
    valid = Whiten(3, 2, grid_axes=2, padding="valid")
    assert valid.out_layout(Layout(3, (8, 8), steps=1)).grid == (7, 7)
    with pytest.raises(ShapeError, match=r"whiten: a kernel of 9 .* has no place on 8 cells"):
        Whiten(3, 9, grid_axes=2, padding="valid").out_layout(Layout(3, (8, 8), steps=1))
    with pytest.raises(ShapeError, match="whiten takes patches of a grid"):
        Whiten(3, 2, grid_axes=0)
    with pytest.raises(ShapeError, match="whiten kernel 2x2 has 2 axes, not 1"):
        Whiten(3, (2, 2), grid_axes=1)
