"""Where the time of a training went, for the user."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from gridcell.batches import Items, epoch_batches

TRIED = 5
NAMES = {
    "forward": "forward",
    "backward": "backward",
    "optimizer": "optimizer and average",
    "waiting": "reading data",
    "validation": "validation",
    "checkpoints": "writing checkpoints",
}


@dataclass(frozen=True)
class Reading:
    """Milliseconds that a batch takes."""

    reading_ms: float
    augmenting_ms: float


def measure_reading(items: Items, *, size: int) -> Reading:
    """Make some batches as they are and varied: the difference is what varying takes."""
    parts = epoch_batches(items, size=size, seed=0, epoch=0)[:TRIED]
    generator = torch.Generator().manual_seed(0) if items.is_varied else None
    plain, varied = [], []
    for places in parts:
        plain.append(_seconds_of(items, places, None))
        varied.append(_seconds_of(items, places, generator))
    reading, both = 1000 * median(plain), 1000 * median(varied)
    return Reading(reading, max(0.0, both - reading) if generator is not None else 0.0)


def told(spent_s: Mapping[str, float], whole_s: float, reading: Reading) -> list[str]:
    """A line for each thing that took time, the longest first, and one about a batch."""
    known = {NAMES[name]: seconds for name, seconds in spent_s.items() if name in NAMES}
    rest = max(0.0, whole_s - sum(known.values()))
    rows = sorted({**known, "everything else": rest}.items(), key=lambda row: -row[1])
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:{width}} {s:9.2f} s {s / max(whole_s, 1e-9):7.1%}" for name, s in rows]
    return [
        *lines,
        f"Of each batch: {reading.reading_ms:.1f} ms to read, {reading.augmenting_ms:.1f} ms to "
        "vary.",
    ]


def _seconds_of(items: Items, places: NDArray[np.int64], draw: torch.Generator | None) -> float:
    started = time.perf_counter()
    items.batch(places, draw)
    return time.perf_counter() - started
