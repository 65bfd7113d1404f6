"""Small pictures that a small network learns in a moment, written as files, and a model of such."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gridcell import networks, pipeline
from gridcell.config import from_mapping
from gridcell.model import Model
from gridcell.model_file import Description
from gridcell.networks.answers import Answers
from gridcell.networks.run import channels_last
from gridcell.preparation import ImagePreparation
from gridcell.record import Run

SIDE = 8
BLUE, RED = (40, 60, 200), (200, 60, 40)
SETTINGS: dict[str, Any] = {
    "net": "conv(8, 3) relu maxpool(2)",
    "epochs": 6,
    "rate": 0.02,
    "precision": "float32",
    "ema": 0.0,
}
NOTATION = "conv(4, 3) batchnorm relu maxpool(2)"
LABELS = {"classify": ("cat", "dog", "eel"), "labels": ("red", "wet"), "regress": ("height",)}
TARGETS = {
    "classify": ((5.0, 3.0, 2.0),),
    "labels": ((4.0, 1.0), (6.0, 9.0)),
    "regress": ((1.0,), (2.0,), (9.0,)),
}


def paint(path: Path, colour: Iterable[int], *, seed: int = 0, noise: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    values = np.array(tuple(colour)) + draw.integers(-noise, noise + 1, (SIDE, SIDE, 3))
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(path)
    return path


def colours(folder: Path, count: int = 25, *, seed: int = 0, **more: int) -> Path:
    """A folder of blue and red pictures, `count` each; `more` names further classes."""
    for name, colour, number in (
        ("blue", BLUE, count),
        ("red", RED, count),
        *((name, (60, 200, 60), number) for name, number in more.items()),
    ):
        for i in range(number):
            # Letters, so that no file name looks like one of a series.
            name_of_file = "".join(chr(97 + int(d)) for d in f"{i:04d}")
            paint(
                folder / name / f"{name_of_file}.png",
                colour,
                seed=seed + 10_000 * colour[0] + 100 * colour[1] + i,
            )
    return folder


def trained(path: Path, out: Path, teller: Any = None, **settings: Any) -> Run:
    return pipeline.train(from_mapping(path, SETTINGS | settings, out=out), teller)


def strict_json(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {path.name}")

    return json.loads(path.read_text(), parse_constant=refuse)


def table(folder: Path, heading: str, rows: Iterable[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "table.csv"
    path.write_text("\n".join([heading, *rows]) + "\n")
    return path


def shades(folder: Path, count: int = 80) -> Path:
    rows = []
    for number in range(count):
        shade = 20 + 200 * number / (count - 1)
        paint(folder / f"{number:x}g.png", (shade,) * 3, seed=number, noise=10)
        rows.append(f"{number:x}g.png,{1000 + 3 * shade:.2f}")
    return table(folder, "file,weight", rows)


def tags(folder: Path, columns: tuple[str, ...] = ("red", "light"), count: int = 80) -> Path:
    rows = []
    for number in range(count):
        is_red, is_light = number % 2, number // 2 % 2
        red, blue = (200, 60) if is_red else (60, 200)
        paint(folder / f"{number:x}g.png", (red, 220 if is_light else 20, blue), seed=number)
        value = {"red": is_red, "light": is_light}
        rows.append(",".join([f"{number:x}g.png", *(str(value[name]) for name in columns)]))
    return table(folder, ",".join(["file", *columns]), rows)


def idx_files(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, count, seed in (("train", 60, 0), ("t10k", 20, 1)):
        draw = np.random.default_rng(seed)
        labels = (np.arange(count) % 2).astype(np.uint8)
        pixels = draw.integers(0, 80, (count, 6, 6)) + 150 * labels[:, None, None]
        for kind, values in (("images-idx3", pixels.astype(np.uint8)), ("labels-idx1", labels)):
            head = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + values.tobytes())
    return folder


def own_splits(folder: Path, *, test_colour_shift: int = 0) -> Path:
    colours(folder / "train", 16)
    colours(folder / "test", 8, seed=5_000_000)
    if test_colour_shift:
        for file in (folder / "test").rglob("*.png"):
            values = np.asarray(Image.open(file)).astype(int) + test_colour_shift
            Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(file)
    return folder


def cut(path: Path) -> None:
    """Leave the header of an image whole, and cut its pixels."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 60])


def made(
    task: Any = "classify", *, channels: int = 3, seed: int = 0, notation: str = NOTATION
) -> Model:
    """A model with weights as random as its batchnorm's running numbers."""
    prep = ImagePreparation(
        SIDE, SIDE, channels, "stretch", (120.0,) * channels, (60.0,) * channels
    )
    generator = torch.Generator().manual_seed(seed)
    net = networks.build(
        notation,
        prep.layout,
        outputs=len(LABELS[task]),
        mean=prep.mean,
        deviation=prep.deviation,
        generator=generator,
    )
    for name, value in net.state_dict().items():
        if "running" in name:
            value.add_(torch.rand(value.shape, generator=generator))
    channels_last(net)
    answers = Answers(task, (170.0,), (9.0,)) if task == "regress" else Answers(task)
    described = Description(
        kind="images",
        task=task,
        labels=LABELS[task],
        notation=net.notation,
        preparation=prep,
        answers=answers,
        train_targets=TARGETS[task],
        trained={"items": 10},
    )
    return Model(net, described)


def pixels(count: int, *, channels: int = 3, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, SIDE, SIDE, channels), dtype=np.uint8)


def pictures(folder: Path, count: int, *, size: tuple[int, int] = (SIDE, SIDE)) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    paths = []
    for number in range(count):
        values = draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        paths.append(folder / f"{number:03d}.png")
        Image.fromarray(values).save(paths[-1])
    return paths
