"""Filters that are found in the data, not learned: the directions in which patches vary."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .floats import Array, as_floats


def whitening_filters(x: ArrayLike, kernel: tuple[int, ...], *, floor: float = 5e-4) -> Array:
    """Return filters along which the patches of x are uncorrelated and of about one size.

    Cut x into all patches p that lie whole inside the grid, C * K values each, and take the
    eigenvectors e_d of their covariance, the largest variance v_d first:

        filter_d = e_d / sqrt(v_d + floor)

    so that filter_d . p has deviation 1 where v_d is far above the floor. Of e_d and -e_d the one
    whose cell of the largest size is positive.

    Shapes   x [N, C, *grid] -> [C * K, C, *kernel] with K cells in a patch
    Source   Coates & Ng 2012, Learning Feature Representations with K-means, section 2.2

    >>> whitening_filters([[[1.0, -1.0, 1.0, -1.0]]], kernel=(2,), floor=0.02).round(3)
    array([[[ 0.527, -0.527]],
    <BLANKLINE>
           [[ 5.   ,  5.   ]]])
    """
    x = as_floats(x)
    counts = [size - cells + 1 for size, cells in zip(x.shape[2:], kernel, strict=True)]
    patches = []
    for item in x:
        for place in np.ndindex(*counts):
            window = tuple(slice(p, p + cells) for p, cells in zip(place, kernel, strict=True))
            patches.append(item[(slice(None), *window)].ravel())
    centred = np.array(patches) - np.mean(patches, axis=0)
    variance, directions = np.linalg.eigh(centred.T @ centred / len(patches))
    filters = []
    for number in np.argsort(variance)[::-1]:
        direction = directions[:, number]
        direction = direction * np.sign(direction[np.argmax(np.abs(direction))])
        filters.append(direction / np.sqrt(max(variance[number], 0) + floor))
    return np.array(filters, x.dtype).reshape(-1, x.shape[1], *kernel)
