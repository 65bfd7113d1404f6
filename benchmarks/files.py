"""From 60,000 PNG files in class folders to a CNN trained for three epochs, everything included.

    python benchmarks/files.py PATH/TO/fashion-mnist
    python benchmarks/files.py PATH --peers torch keras --peer-python PATH/TO/python --rounds 3

The training images of Fashion-MNIST (idx files) are written as PNGs once; the clock runs from the
start of a process to its end. The network is network a of step.py, with Adam and batches of 128,
not varied and not validated:

    cold     `gridcell train` with an empty cache of its own
    warm     the same again, with what the first run left in the cache
    torch    eager PyTorch with a data set of paths that opens each file with Pillow, as
             torchvision's ImageFolder does (which needs a build that fits this torch), in a
             DataLoader of two workers
    keras    `keras.utils.image_dataset_from_directory`, prefetched, and `fit`, on TensorFlow

The sides take turns; the medians over the rounds are compared with those of cold and warm.
"""

from __future__ import annotations

import argparse
import gzip
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from step import CLASSES, NETS, keras_cnn, plain_cnn

EPOCHS, NET = 3, NETS["a"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="folder of idx files, or of PNGs with --side")
    parser.add_argument("--peers", nargs="*", choices=["torch", "keras"], default=["torch"])
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has Keras")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help="run this side alone, in this process")
    asked = parser.parse_args()
    if asked.side:
        return SIDES[asked.side](asked.path)
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        found: dict[str, list[float]] = {}
        print(f"{write(asked.path, folder):,} PNG files")
        for number in range(asked.rounds):
            cache = Path(place) / f"cache-{number}"
            for side in ("cold", "warm", *asked.peers):
                seconds = timed(side, folder, cache, asked.peer_python)
                found.setdefault(side, []).append(seconds)
                print(f"round {number + 1}, {side}: {seconds:.1f} s", flush=True)
    medians = {side: statistics.median(seconds) for side, seconds in found.items()}
    for side, seconds in medians.items():
        times = [f"{seconds / medians[own]:.2f} times {own}" for own in ("cold", "warm")]
        print(f"{side:6} {seconds:7.1f} s   {', '.join(times)}")


def write(source: Path, folder: Path) -> int:
    """Write the training images of a folder of idx files as PNGs, a folder a class."""
    import numpy as np
    from PIL import Image

    def numbers(name: str, start: int) -> Any:
        (path,) = source.glob(f"*{name}*")
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return np.frombuffer(content, np.uint8, offset=start)

    labels = numbers("train-labels", 8)
    images = numbers("train-images", 16).reshape(len(labels), 28, 28)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number:05}.png")
    return len(labels)


def timed(side: str, folder: Path, cache: Path, peer_python: str) -> float:
    """Return the seconds of one side's process."""
    python = sys.executable if side in ("cold", "warm", "torch") else peer_python
    if side in ("cold", "warm"):
        command = [python, "-m", "gridcell", "train", str(folder), "--net", NET.notation]
        command += ["--epochs", str(EPOCHS), "--batch-size", str(NET.batch), "--no-augment"]
        command += ["--optimizer", NET.optimizer]
        command += ["--valid", "0", "--test", "0", "--cache", str(cache)]
        command += ["--out", str(cache / f"run-{side}")]
    else:
        command = [python, __file__, str(folder), "--side", side]
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).splitlines()[-5:])
        sys.exit(f"{side} failed:\n{said}")
    return time.perf_counter() - started


def with_torch(folder: Path) -> None:
    """As tutorials write it: a data set of files, a loader, a network, a loop."""
    import numpy as np
    import torch
    from PIL import Image
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset[tuple[torch.Tensor, int]]):
        def __init__(self) -> None:
            names = sorted(path.name for path in folder.iterdir())
            self.files = [
                (path, label)
                for label, name in enumerate(names)
                for path in sorted((folder / name).iterdir())
            ]

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
            path, label = self.files[number]
            with path.open("rb") as file:
                pixels = np.array(Image.open(file).convert("L"))
            return torch.from_numpy(pixels)[None].float().div(255), label

    loader = DataLoader(Pictures(), NET.batch, shuffle=True, num_workers=2)
    network = plain_cnn()
    optimizer, loss_of = torch.optim.Adam(network.parameters()), nn.CrossEntropyLoss()
    for epoch in range(EPOCHS):
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(network(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(epoch + 1, total / len(loader))


def with_keras(folder: Path) -> None:
    """As its guide on images from files writes it."""
    import keras
    import tensorflow
    from keras import layers

    data = keras.utils.image_dataset_from_directory(
        folder, color_mode="grayscale", image_size=(28, 28), batch_size=NET.batch
    )
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            *keras_cnn(),
            layers.Dense(CLASSES),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    model.fit(data.prefetch(tensorflow.data.AUTOTUNE), epochs=EPOCHS, verbose=2)


SIDES = {"torch": with_torch, "keras": with_keras}

if __name__ == "__main__":
    main()
