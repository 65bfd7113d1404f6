"""One training step of gridcell against the same network in plain eager PyTorch.

    python benchmarks/step.py

Nets   a  conv 32, conv 64, pool 2, dense 128 on 28x28x1, batch 128, Adam
       b  [conv-batchnorm-relu] 64 64 pool 128 128 pool 256 256 pool, global pool on 32x32x3,
          batch 128, SGD with momentum

The eager side is PyTorch as tutorials write it: float32, default layout, default optimizer, one
batch in memory. Our side is the product's own training loop on random images, with its reading of
batches, its choice of arithmetic and its weight average left in. Each side runs in a process of its
own, so that neither has the other's memory settings; the sides alternate, and the medians over all
rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

ROUNDS = 5
STEPS = {"a": 30, "b": 10}
WARM_UP = 3
BATCH = 128
NOTATION = {
    "a": "conv(32, 3) relu conv(64, 3) relu maxpool(2) flatten dense(128) relu",
    "b": "2*(conv(64, 3) batchnorm relu) maxpool(2) 2*(conv(128, 3) batchnorm relu) maxpool(2) "
    "2*(conv(256, 3) batchnorm relu) maxpool(2) globalpool",
}
SIZES = {"a": (28, 28, 1), "b": (32, 32, 3)}


def ours(net: str) -> list[float]:
    """Seconds between steps of the product's training loop."""
    import numpy as np

    from gridcell.process import wait_politely

    wait_politely()
    import tempfile
    from pathlib import Path

    from gridcell import training
    from gridcell.config import TrainConfig
    from gridcell.preparation import ImagePreparation
    from gridcell.preparation.cache import Decoded
    from gridcell.samples import ImageFacts, Samples

    training.keep_memory()
    height, width, channels = SIZES[net]
    items = BATCH * (STEPS[net] + WARM_UP)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (items, height, width, channels), dtype=np.uint8)
    samples = Samples(
        task="classify",
        paths=("",) * items,
        root="",
        labels=tuple("0123456789"),
        targets=random.integers(0, 10, items),
        digests=np.zeros(items, "V16"),
        facts=ImageFacts(np.zeros((items, 2), np.int32), np.zeros(items, np.bool_)),
        given=np.zeros(items, np.int8),
    )
    prep = ImagePreparation(
        height, width, channels, "stretch", mean=(128.0,) * channels, deviation=(74.0,) * channels
    )
    rows = np.arange(items)
    config = TrainConfig(
        net=NOTATION[net],
        epochs=1,
        batch_size=BATCH,
        optimizer="adamw" if net == "a" else "sgd",
        augment=False,
        ema=0.99,
    )
    with tempfile.TemporaryDirectory() as memory:
        job = training.prepare(
            config,
            samples,
            Decoded.whole(pixels),
            prep,
            train_rows=rows,
            valid_rows=rows[:0],
            memory=Path(memory),
        )
    watcher = Clock()
    job.fit(lambda *_: None, name="accuracy", better="higher", watcher=watcher)
    print(job.precision.reason, file=sys.stderr)
    return watcher.seconds()


class Clock:
    """A watcher that notes when each step ends."""

    wants_stop = False

    def __init__(self) -> None:
        self.times: list[float] = []

    def step(self, _: object) -> None:
        self.times.append(time.perf_counter())

    def epoch(self, _: object) -> None: ...

    def note(self, _: str) -> None: ...

    def seconds(self) -> list[float]:
        pairs = zip(self.times[WARM_UP - 1 :], self.times[WARM_UP:], strict=False)
        return [after - before for before, after in pairs]


def eager(net: str) -> list[float]:
    """Seconds of each step in plain PyTorch."""
    import torch
    from torch import nn

    height, width, channels = SIZES[net]
    if net == "a":
        network = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 14 * 14, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )
        optimizer: torch.optim.Optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    else:
        layers: list[nn.Module] = []
        for before, after in ((channels, 64), (64, 128), (128, 256)):
            for inner in (before, after):
                layers += [nn.Conv2d(inner, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)]
        network = nn.Sequential(*layers)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(BATCH, channels, height, width)
    targets = torch.randint(0, 10, (BATCH,))
    loss_of = nn.CrossEntropyLoss()
    seconds = []
    for _ in range(WARM_UP + STEPS[net]):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = loss_of(network(images), targets)
        loss.backward()
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - start)
    return seconds[WARM_UP:]


SIDES = {"ours": ours, "eager": eager}


def main() -> None:
    """Run both sides in turn and print the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--net", choices=NOTATION)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(SIDES[asked.side](asked.net)))
        return
    print(f"{'net':4} {'eager ms':>10} {'gridcell ms':>12} {'faster':>8}   ratio of each round")
    for net in [asked.net] if asked.net else list(NOTATION):
        medians: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(asked.rounds):
            for side, collected in medians.items():
                command = [sys.executable, __file__, "--side", side, "--net", net]
                done = subprocess.run(
                    command, capture_output=True, text=True, check=True, env=dict(os.environ)
                )
                collected.append(statistics.median(json.loads(done.stdout)))
        eager_ms, ours_ms = (1000 * statistics.median(medians[s]) for s in ("eager", "ours"))
        ratios = [e / o for e, o in zip(medians["eager"], medians["ours"], strict=True)]
        rounds = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{net:4} {eager_ms:10.1f} {ours_ms:12.1f} {eager_ms / ours_ms:8.2f}   {rounds}")


if __name__ == "__main__":
    main()
