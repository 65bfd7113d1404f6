"""One training step of gridcell against the same network in plain eager PyTorch, and in Keras.

    python benchmarks/step.py                   # beside eager PyTorch, five rounds
    python benchmarks/step.py --net c --rounds 9
    python benchmarks/step.py --peers keras-tensorflow keras-jax --peer-python PATH/TO/python

Nets   a  conv 32, conv 64, pool 2, dense 128 on 28x28x1, batch 128, Adam
       b  [conv-batchnorm-relu] 64 64 pool 128 128 pool 256 256 pool, global pool on 32x32x3,
          batch 128, SGD with momentum
       c  LSTM 64 over series of 100 steps of 9 columns, its last step, batch 32, Adam
       d  embedding 128 of 10,000 words, LSTM 256 over texts of 50 to 100 words (uniform), its last
          step, batch 64, Adam

Each ends in a dense layer for 10 classes.

Our side is the product's own training loop on random items, with its reading of batches, its choice
of arithmetic and its weight average left in. The eager side is PyTorch as tutorials write it:
float32, default layout, default optimizer, batches that lie ready in memory, texts packed by their
lengths. The Keras side is Keras 3 as its guides write it: `compile`, and `fit` on arrays in memory,
texts padded to 100 words and masked by the embedding; it compiles the step as it does by default.

Each side runs in a process of its own, so that none has another's memory settings; the sides
alternate, and the medians over all rounds are compared. Beside each stands the shortest step of all
rounds: where it is far below, the machine was not quiet. All run on the processor. A step is over
when its loss can be read. The first steps, in which kernels are chosen and functions compiled, are
left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROUNDS = 5
WARM_UP = 3
EPOCHS = 50
"""Of the training whose first epoch is timed, or less: a longer one looks at its gradients no more
often than a short one, 24 times."""
CLASSES = 10
SERIES_STEPS, COLUMNS = 100, 9
WORDS, SHORTEST, LONGEST = 10_000, 50, 100
EAGER_BATCHES = 8
"""Batches of texts that the eager side has in memory, each of other lengths."""


@dataclass(frozen=True)
class Net:
    """A network in gridcell's notation, and how it is trained; `steps` are those that are timed."""

    notation: str
    batch: int
    steps: int
    optimizer: Literal["adamw", "sgd"]
    size: tuple[int, ...] = ()
    """Height, width and channels of an image."""

    @property
    def items(self) -> int:
        """Items of the timed steps and those before them."""
        return self.batch * (self.steps + WARM_UP)


# Steps and those before them make 16 batches, or 32 ..., where lengths may differ: so many are
# sorted by length together, and then none is smaller than the others.
NETS = {
    "a": Net(
        "conv(32, 3) relu conv(64, 3) relu maxpool(2) flatten dense(128) relu",
        batch=128,
        steps=30,
        optimizer="adamw",
        size=(28, 28, 1),
    ),
    "b": Net(
        "2*(conv(64, 3) batchnorm relu) maxpool(2) 2*(conv(128, 3) batchnorm relu) maxpool(2) "
        "2*(conv(256, 3) batchnorm relu) maxpool(2) globalpool",
        batch=128,
        steps=10,
        optimizer="sgd",
        size=(32, 32, 3),
    ),
    "c": Net("lstm(64) last", batch=32, steps=93, optimizer="adamw"),
    "d": Net("embed(128) lstm(256) last", batch=64, steps=45, optimizer="adamw"),
}


# --- gridcell ------------------------------------------------------------------------------------


def ours(net: str) -> dict[str, Any]:
    """Steps of the product's training loop."""
    from gridcell.process import wait_politely

    wait_politely()
    import numpy as np

    from gridcell import bench, preparation, training
    from gridcell.config import TrainConfig

    training.keep_memory()
    wanted = NETS[net]
    samples = {"c": series, "d": texts}.get(net, images)(wanted)
    if samples.kind == "images":
        training.take_large_pages()
    rows = np.arange(len(samples))
    config = TrainConfig(
        net=wanted.notation,
        epochs=EPOCHS,
        batch_size=wanted.batch,
        optimizer=wanted.optimizer,
        augment=False,
        ema=0.99,
    )
    with tempfile.TemporaryDirectory() as memory:
        prep, decoded = prepared(samples)
        prep = preparation.fit(prep, decoded, rows)
        job = training.prepare(
            config,
            samples,
            decoded,
            prep,
            train_rows=rows,
            valid_rows=rows[:0],
            memory=Path(memory),
        )
    watcher = Clock(WARM_UP + wanted.steps)
    job.fit(lambda *_: None, name="accuracy", better="higher", watcher=watcher)
    counts = job.train.steps()
    lengths = None if counts is None else counts.tolist()
    work = bench.multiply_adds_of(job.network, len(samples), lengths)
    return {
        "seconds": between(watcher.times),
        "about": job.precision.reason,
        "precision": job.precision.precision,
        # Batches of texts differ in their lengths: this is the mean of all.
        "multiply_adds": work * wanted.batch / len(samples),
        "batch": wanted.batch,
    }


def prepared(samples: Any) -> tuple[Any, Any]:
    """How items are brought to arrays, and all of them as they lie in memory."""
    from gridcell import preparation
    from gridcell.config import DataConfig
    from gridcell.preparation.cache import Decoded

    prep = preparation.choose(samples, DataConfig())
    if samples.kind == "images":
        return prep, Decoded.whole(samples.facts.pixels)
    nowhere = Path(os.devnull)  # series and texts are in memory as soon as they are read
    return prep, preparation.decode(samples, prep, on_bad_file="stop", folder=nowhere)


def images(net: Net) -> Any:
    """Random images of one size, as a source gives them."""
    import numpy as np

    from gridcell.samples import ImageFacts

    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (net.items, *net.size), dtype=np.uint8)
    sizes = np.tile(np.array(net.size[:2], np.int32), (net.items, 1))
    colours = np.full(net.items, net.size[2] == 3)
    return labelled(ImageFacts(sizes, colours, pixels=pixels), net.items)


def series(net: Net) -> Any:
    """Random series of one length, as a source gives them."""
    import numpy as np

    from gridcell.samples import SeriesFacts

    random = np.random.default_rng(0)
    values = random.normal(size=(net.items * SERIES_STEPS, COLUMNS)).astype(np.float32)
    starts = np.arange(net.items + 1) * SERIES_STEPS
    names = tuple(f"column {number}" for number in range(COLUMNS))
    return labelled(SeriesFacts(values, starts, names), net.items)


def texts(net: Net) -> Any:
    """Random words, of a number that differs from text to text, as a source gives them."""
    import numpy as np

    from gridcell.samples import TextFacts
    from gridcell.sources.characters import codes_of

    random = np.random.default_rng(0)
    lengths = random.integers(SHORTEST, LONGEST + 1, net.items)
    every = [
        " ".join(f"w{word}" for word in random.integers(0, WORDS, length)) for length in lengths
    ]
    return labelled(TextFacts(*codes_of(every)), net.items)


def labelled(facts: Any, items: int) -> Any:
    """Items with a class drawn for each."""
    import numpy as np

    from gridcell.samples import UNASSIGNED, Samples

    return Samples(
        task="classify",
        paths=("",) * items,
        root="",
        labels=tuple(map(str, range(CLASSES))),
        targets=np.random.default_rng(1).integers(0, CLASSES, items),
        digests=np.zeros(items, "V16"),
        facts=facts,
        given=np.full(items, UNASSIGNED, np.int8),
    )


class Clock:
    """A watcher that notes when each step ends, and stops the training after so many."""

    def __init__(self, most: int) -> None:
        self.times: list[float] = []
        self.most = most

    @property
    def wants_stop(self) -> bool:
        return len(self.times) >= self.most

    def step(self, _: object) -> None:
        self.times.append(time.perf_counter())

    def epoch(self, _: object) -> None: ...

    def note(self, _: str) -> None: ...


def between(times: list[float]) -> list[float]:
    """Seconds from the end of each step to that of the next, once it is warm."""
    pairs = zip(times[WARM_UP - 1 :], times[WARM_UP:], strict=False)
    return [after - before for before, after in pairs]


# --- PyTorch -------------------------------------------------------------------------------------


def plain_cnn() -> Any:
    """Network a in plain PyTorch."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 14 * 14, 128),
        nn.ReLU(),
        nn.Linear(128, CLASSES),
    )


def eager(net: str) -> dict[str, Any]:
    """Steps of plain PyTorch."""
    import torch
    from torch import Tensor, nn

    class Recurrent(nn.Module):
        """An LSTM, behind an embedding where `words` are read, and a dense layer on its end."""

        def __init__(self, channels: int, width: int, words: int = 0) -> None:
            super().__init__()
            self.embed = nn.Embedding(words, channels, padding_idx=0) if words else nn.Identity()
            self.lstm = nn.LSTM(channels, width, batch_first=True)
            self.head = nn.Linear(width, CLASSES)

        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            x = self.embed(x)
            steps: Tensor | nn.utils.rnn.PackedSequence = x
            if lengths is not None:
                steps = nn.utils.rnn.pack_padded_sequence(
                    x, lengths, batch_first=True, enforce_sorted=False
                )
            _, (h, _) = self.lstm(steps)
            y: Tensor = self.head(h[-1])
            return y

    def pixels(height: int, width: int, channels: int) -> tuple[Tensor, ...]:
        return (torch.randn(wanted.batch, channels, height, width),)

    def words() -> tuple[Tensor, ...]:
        lengths = torch.randint(SHORTEST, LONGEST + 1, (wanted.batch,))
        x = torch.randint(1, WORDS + 2, (wanted.batch, int(lengths.max())))
        return x * (torch.arange(x.shape[1]) < lengths[:, None]), lengths

    wanted = NETS[net]
    network: nn.Module
    if net == "a":
        network = plain_cnn()
        batches = [pixels(*wanted.size)]
    elif net == "b":
        layers: list[nn.Module] = []
        for before, after in ((3, 64), (64, 128), (128, 256)):
            for inner in (before, after):
                layers += [nn.Conv2d(inner, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, CLASSES)]
        network = nn.Sequential(*layers)
        batches = [pixels(*wanted.size)]
    elif net == "c":
        network = Recurrent(COLUMNS, 64)
        batches = [(torch.randn(wanted.batch, SERIES_STEPS, COLUMNS),)]
    else:
        network = Recurrent(128, 256, words=WORDS + 2)
        batches = [words() for _ in range(EAGER_BATCHES)]
    optimizer: torch.optim.Optimizer
    if wanted.optimizer == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    else:
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    targets = torch.randint(0, CLASSES, (wanted.batch,))
    loss_of = nn.CrossEntropyLoss()
    seconds = []
    for number in range(WARM_UP + wanted.steps):
        batch = batches[number % len(batches)]
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = loss_of(network(*batch), targets)
        loss.backward()
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds[WARM_UP:], "about": f"PyTorch {torch.__version__}, float32"}


# --- Keras ---------------------------------------------------------------------------------------


def keras_cnn() -> list[Any]:
    """The layers of network a in Keras, without its last."""
    from keras import layers

    return [
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
    ]


def with_keras(net: str) -> dict[str, Any]:
    """Steps of Keras's `fit`, with the backend that KERAS_BACKEND names."""
    import keras
    import numpy as np
    from keras import layers

    wanted, random = NETS[net], np.random.default_rng(0)
    if net in ("a", "b"):
        x = random.normal(size=(wanted.items, *wanted.size)).astype(np.float32)
    elif net == "c":
        x = random.normal(size=(wanted.items, SERIES_STEPS, COLUMNS)).astype(np.float32)
    else:
        lengths = random.integers(SHORTEST, LONGEST + 1, (wanted.items, 1))
        x = random.integers(1, WORDS + 2, (wanted.items, LONGEST)).astype(np.int32)
        x *= np.arange(LONGEST) < lengths
    targets = random.integers(0, CLASSES, wanted.items)

    if net == "a":
        body = keras_cnn()
    elif net == "b":
        body = []
        for width in (64, 128, 256):
            for _ in range(2):
                body += [layers.Conv2D(width, 3, padding="same")]
                body += [layers.BatchNormalization(), layers.ReLU()]
            body.append(layers.MaxPooling2D(2))
        body.append(layers.GlobalAveragePooling2D())
    elif net == "c":
        body = [layers.LSTM(64)]
    else:
        body = [layers.Embedding(WORDS + 2, 128, mask_zero=True), layers.LSTM(256)]
    model = keras.Sequential(
        [keras.Input(x.shape[1:], dtype=x.dtype), *body, layers.Dense(CLASSES)]
    )
    if wanted.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    else:
        optimizer = keras.optimizers.Adam(1e-3)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    times: list[float] = []

    class Ends(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            float(logs["loss"])  # waits until the step is over
            times.append(time.perf_counter())

    model.fit(x, targets, batch_size=wanted.batch, epochs=1, verbose=0, callbacks=[Ends()])
    backend = keras.backend.backend()
    version = __import__(backend).__version__
    compiled = "compiled by XLA" if model.jit_compile else "not compiled by XLA"
    return {
        "seconds": between(times),
        "about": f"Keras {keras.__version__}, {backend} {version}, {compiled}",
    }


# --- All of them ---------------------------------------------------------------------------------


def machine(_: str) -> dict[str, Any]:
    """What the machine can do at best, as `gridcell bench` measures it."""
    import dataclasses

    import torch

    from gridcell import bench, training

    training.keep_memory()
    return dataclasses.asdict(bench.measure_machine(torch.device("cpu")))


SIDES = {"ours": ours, "eager": eager, "keras": with_keras, "machine": machine}
PEERS = {"keras-tensorflow": "tensorflow", "keras-jax": "jax"}
NEEDS = """Each peer needs its libraries: pip install keras tensorflow jax.
--peer-python names the Python that has them."""


def run(side: str, net: str, *, peer_python: str) -> dict[str, Any]:
    """Run one side in a process of its own and return what it found."""
    backend = PEERS.get(side)
    python = sys.executable if backend is None else peer_python
    command = [python, __file__, "--side", side if backend is None else "keras", "--net", net]
    with tempfile.TemporaryDirectory() as home:
        # A folder without settings of the user's own, so that Keras has its defaults.
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        if backend is not None:
            environment |= {"KERAS_BACKEND": backend, "KERAS_HOME": home}
            environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = "\n".join(done.stderr.splitlines()[-5:])
        needs = f"\n{NEEDS}" if "ModuleNotFoundError" in said else ""
        sys.exit(f"{side} on net {net} failed:\n{said}{needs}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(net: str, asked: argparse.Namespace, peaks: dict[str, float | None]) -> None:
    """Run all sides in turn and print the medians over their rounds."""
    sides = ["ours", "eager", *asked.peers]
    medians: dict[str, list[float]] = {side: [] for side in sides}
    shortest = dict.fromkeys(sides, math.inf)
    found: dict[str, dict[str, Any]] = {}
    for _ in range(asked.rounds):
        for side in sides:
            found[side] = run(side, net, peer_python=asked.peer_python)
            medians[side].append(statistics.median(found[side]["seconds"]))
            shortest[side] = min(shortest[side], *found[side]["seconds"])
    seconds = {side: statistics.median(every) for side, every in medians.items()}
    reached = 3 * 2 * found["ours"]["multiply_adds"] / seconds["ours"] / 1e9
    precision = found["ours"]["precision"]
    share = f"{reached / peaks[precision]:.0%} of the peak in {precision}"
    print(f"{net}: {NETS[net].notation}, batch {NETS[net].batch}")
    for side in sides:
        ratios = [other / own for other, own in zip(medians[side], medians["ours"], strict=True)]
        rounds = " ".join(f"{ratio:.2f}" for ratio in ratios)
        times = f"{seconds[side] / seconds['ours']:.2f} times as long as gridcell; rounds {rounds}"
        print(
            f"   {'gridcell' if side == 'ours' else side:18} {1000 * seconds[side]:8.1f} ms   "
            f"shortest {1000 * shortest[side]:8.1f}   "
            + (f"{reached:.1f} GFLOP/s, {share}" if side == "ours" else times)
        )
    for side in sides:
        print(f"   {side}: {found[side]['about']}", file=sys.stderr)


def main() -> None:
    """Run the sides in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", choices=SIDES, help="run this side alone, in this process")
    parser.add_argument("--net", choices=NETS, help="one of the networks; all where left out")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[], help="further sides")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has Keras")
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(SIDES[asked.side](asked.net)))
        return
    nets = [asked.net] if asked.net else list(NETS)
    can = run("machine", nets[0], peer_python=asked.peer_python)
    peaks = {}
    print(f"{time.strftime('%Y-%m-%d')}, {can['device']}, threads: {can['threads']}")
    for peak in can["peaks"]:
        known = [peak["matrix_gflop_per_s"], peak["convolution_gflop_per_s"]]
        peaks[peak["precision"]] = None if None in known else max(known)
        if None not in known:
            print(f"peak in {peak['precision']}: {max(known):.0f} GFLOP/s")
    for net in nets:
        compare(net, asked, peaks)


if __name__ == "__main__":
    main()
