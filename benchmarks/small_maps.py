"""How long the gradient of filters takes over small maps, of pictures each alone and side by side.

    python benchmarks/small_maps.py

The framework's convolution beside the one that gridcell takes on processors with AMX, in bfloat16,
3x3 filters, backward alone, two threads; the two take turns, and medians are told.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gridcell import record, training
from gridcell.layers.filter_gradients import Moves, convolve, has_tiles

ROUNDS, WARM_UP = 15, 3
CASES = [
    (items, channels, filters, side)
    for items in (32, 128)
    for channels, filters in ((64, 64), (128, 128), (256, 256), (256, 512), (512, 512))
    for side in (2, 4, 7, 8)
]


def main() -> None:
    """Print a row for each size of maps."""
    training.keep_memory()
    torch.set_num_threads(2)
    tiles = "with AMX" if has_tiles() else "without AMX, where gridcell takes the framework's"
    print(f"{record.processor_name()}, {tiles}; PyTorch {torch.__version__}")
    print("items  channels  filters  maps    alone ms  side by side ms  times as fast")
    for items, channels, filters, side in CASES:
        alone, beside = times(items, channels, filters, side)
        print(
            f"{items:5d}  {channels:8d}  {filters:7d}  {side}x{side}   {1e3 * alone:9.2f}  "
            f"{1e3 * beside:15.2f}  {alone / beside:13.2f}",
            flush=True,
        )


def times(items: int, channels: int, filters: int, side: int) -> tuple[float, float]:
    """Median seconds of the gradient of the filters: each picture alone, and side by side."""
    draw = torch.Generator().manual_seed(0)

    def random(*sizes: int) -> Tensor:
        values = torch.randn(sizes, generator=draw).bfloat16()
        return values.contiguous(memory_format=torch.channels_last)

    x, weight = random(items, channels, side, side), random(filters, channels, 3, 3)
    grad_y = random(items, filters, side, side)
    weight.requires_grad_()
    ways: tuple[Callable[[], Tensor], ...] = (
        lambda: F.conv2d(x, weight, padding=1),
        lambda: convolve(x, weight, None, Moves([1, 1], [1, 1], [1, 1])),
    )
    seconds: tuple[list[float], ...] = ([], [])
    for number in range(WARM_UP + ROUNDS):
        for way, found in zip(ways, seconds, strict=True):
            y = way()
            start = time.perf_counter()
            y.backward(grad_y)  # type: ignore[no-untyped-call]
            if number >= WARM_UP:
                found.append(time.perf_counter() - start)
            weight.grad = None
    return statistics.median(seconds[0]), statistics.median(seconds[1])


if __name__ == "__main__":
    main()
