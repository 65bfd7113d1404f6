"""Telling the system which parts of a mapped file are about to be read.

A batch reads items from all over the file. Where the file is larger than what memory is free, each
touch of a page waits for the disk, and the system, which guesses that a reader goes forward, reads
much beside that nobody wants and drops for it what is needed. Told in advance, the disk works on a
whole batch at once (`benchmarks/large.py`).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES = 1 << 28
"""Size of a file from which it is told: a smaller one stays in memory once it was read."""


def read_ahead(values: NDArray[Any], spans: Iterable[tuple[int, int]]) -> None:
    """Tell the system that `values[start:stop]` will be read, for each of the spans.

    Changes no value. Does nothing for arrays in memory, for small files, and where the system
    takes no such advice (Windows) or will not hear it now.

    Source   madvise(2), MADV_WILLNEED
    """
    advice = getattr(mmap, "MADV_WILLNEED", None)
    whole = _large_map_of(values)
    if whole is None or advice is None:
        return
    first = values.ctypes.data - np.frombuffer(whole, np.uint8).ctypes.data
    for start, stop in spans:
        begin = first + start * values.strides[0]
        page = begin - begin % mmap.PAGESIZE
        if stop > start:  # there is no page behind the end
            with suppress(OSError):
                whole.madvise(advice, page, first + stop * values.strides[0] - page)


def is_on_disk(values: NDArray[Any]) -> bool:
    """Whether an array is a mapped file so large that reading it may mean to wait for the disk."""
    return _large_map_of(values) is not None


def _large_map_of(values: NDArray[Any]) -> mmap.mmap | None:
    return _map_of(values) if values.nbytes >= LEAST_BYTES else None


def _map_of(values: NDArray[Any]) -> mmap.mmap | None:
    """The file that an array is a view of; None if it is in memory."""
    base: object = values
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None
