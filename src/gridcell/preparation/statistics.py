"""Statistics of training rows that take seconds to count: kept beside the values they are of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from gridcell.cache import remember, remembered
from gridcell.preparation.cache import Decoded

FORMAT = 1
"""One more whenever the same preparation would count something else: see LogMel."""


class Statistics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mean and deviation of each band or channel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def counted_once(
    decoded: Decoded, rows: NDArray[np.int64], about: object, count: Callable[[], Statistics]
) -> Statistics:
    """Return what `count` gives, or what it gave before for these rows and settings.

    rows    in any order
    about   what the statistics depend on besides the values and rows; its `repr` tells it apart

    Values that lie in no file are counted every time. So are those whose statistics cannot be
    kept, or read again: nothing is lost by it.
    """
    if decoded.file is None:
        return count()
    # The name of the values' file stands for the content of all files that they are of.
    told = repr((FORMAT, torch.__version__, decoded.file.name, decoded.bad, about)).encode()
    digest = hashlib.sha256(told + np.sort(rows).astype(np.int64).tobytes()).hexdigest()[:32]
    file = decoded.file.parent.parent / "statistics" / f"{digest}.json"
    found: Statistics | None = remembered(file, Statistics)
    if found is None:
        found = count()
        remember(file, found)
    return found
