"""One training step of the preset for each kind of data, on one thread, in processor time.

    python benchmarks/kinds.py
    PYTHONPATH=ANOTHER_CHECKOUT/src python benchmarks/kinds.py     # beside other code

Processor time does not count what other processes take; the shortest of some steps counts. The
values are random, the sizes those of usual data, every item as long as the longest.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from gridcell import networks, training
from gridcell.axes import Layout
from gridcell.networks.presets import choose_network
from gridcell.networks.run import channels_last

CLASSES = 10
STEPS, WARM_UP = 7, 2
KINDS = {
    "images: auto, 128 of 28x28x1": (Layout(1, (28, 28), steps=1), "auto", 128, 1),
    "sounds: cnn, 16 of 250 steps of 64 bands": (Layout(1, (64,), steps=None), "cnn", 16, 250),
    "sounds: crnn, 32 of 40 steps of 40 bands": (Layout(1, (40,), steps=None), "crnn", 32, 40),
    "clips: crnn, 8 of 16 frames of 64x64x3": (Layout(3, (64, 64), steps=None), "crnn", 8, 16),
    "series: lstm_fcn, 64 of 100 steps of 6": (Layout(6, (), steps=None), "lstm_fcn", 64, 100),
}


def step_of(layout: Layout, preset: str, batch: int, steps: int) -> Callable[[], float]:
    """A training step in float32 on a batch of random values."""
    notation = choose_network(preset, layout, steps=steps).notation
    is_picture = len(layout.grid) == 2
    scale = [1.0] * layout.channels if is_picture else None
    network = networks.build(notation, layout, outputs=CLASSES, mean=scale, deviation=scale)
    channels_last(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    values = torch.randn(batch, steps, layout.channels, *layout.grid)
    lengths = None if layout.steps else torch.full((batch,), steps)
    targets = torch.randint(0, CLASSES, (batch,))

    def take() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(values, lengths), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach())

    return take


def main() -> None:
    """Print the shortest step of each kind."""
    training.keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{time.strftime('%Y-%m-%d')}, PyTorch {torch.__version__}, one thread")
    for name, (layout, preset, batch, steps) in KINDS.items():
        take, seconds = step_of(layout, preset, batch, steps), []
        for _ in range(WARM_UP + STEPS):
            started = time.process_time()
            take()
            seconds.append(time.process_time() - started)
        print(f"{name:42} {1000 * min(seconds[WARM_UP:]):8.1f} ms")


if __name__ == "__main__":
    main()
