"""Recurrent weights of heads: units see the units of their own head, and no others.

With D units in n heads a row of weights is D / n long, one row for each gate and unit. One head is
the full matrix; as many heads as units is the diagonal, where a unit sees itself alone.
"""

from __future__ import annotations

import numpy as np

from .floats import Array


def as_matrix(blocks: Array, features: int) -> Array:
    """Return [4 D, features] from the columns of each unit's own head; the rest is 0.

    >>> as_matrix(np.ones((4, 1)), 1).shape
    (4, 1)
    >>> as_matrix(np.arange(8.0)[:, None], 2)[:4].tolist()
    [[0.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]]
    """
    size = blocks.shape[1]
    matrix = np.zeros((len(blocks), features), blocks.dtype)
    for row, columns in _heads(len(blocks), features, size):
        matrix[row, columns] = blocks[row]
    return matrix


def as_blocks(matrix: Array, size: int) -> Array:
    """Return the columns of each unit's own head, [4 D, size]: the other way round.

    >>> as_blocks(np.arange(16.0).reshape(8, 2), 1)[:4].tolist()
    [[0.0], [3.0], [4.0], [7.0]]
    """
    rows = _heads(len(matrix), matrix.shape[1], size)
    return np.array([matrix[row, columns] for row, columns in rows])


def _heads(rows: int, features: int, size: int) -> list[tuple[int, slice]]:
    """For each row of R, the columns of the head that its unit belongs to."""
    units = rows // 4
    starts = [0 if size == features else row % units // size * size for row in range(rows)]
    return [(row, slice(start, start + size)) for row, start in enumerate(starts)]
