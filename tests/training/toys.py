"""A toy that a small network learns in a moment: dark and light pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gridcell import networks, training
from gridcell.axes import Layout
from gridcell.batches import Images
from gridcell.config import TrainConfig
from gridcell.networks import Network
from gridcell.networks.answers import Answers
from gridcell.preparation import ImagePreparation
from gridcell.preparation.cache import Decoded
from gridcell.samples import ImageFacts, Samples
from gridcell.training import Job, Objective, Plan

SIDE = 6
NOTATION = "conv(4, 3) relu maxpool(2)"
PLAN = Plan(
    epochs=4,
    batch_size=8,
    rate=0.01,
    weight_decay=0.01,
    ema=0.0,
    patience=100,
    schedule="constant",
    budget_s=None,
    epochs_reason="as asked",
)
PREPARATION = ImagePreparation(SIDE, SIDE, 1, "stretch", (128.0,), (60.0,))
OBJECTIVE = Objective(Answers("classify"))


def plan(**changes: Any) -> Plan:
    return replace(PLAN, **changes)


def images(count: int = 40, *, seed: int = 0) -> Images:
    """Dark pictures of class 0 and light ones of class 1, in turn."""
    draw = np.random.default_rng(seed)
    classes = np.arange(count) % 2
    noise = draw.integers(-60, 61, (count, SIDE, SIDE, 1))
    pixels = (90 + 80 * classes[:, None, None, None] + noise).astype(np.uint8)
    return Images(pixels, torch.from_numpy(classes), np.arange(count))


def network(notation: str = NOTATION, *, seed: int = 0, outputs: int = 2) -> Network:
    return networks.build(
        notation,
        Layout(1, (SIDE, SIDE), steps=1),
        outputs=outputs,
        mean=[128.0],
        deviation=[60.0],
        generator=torch.Generator().manual_seed(seed),
    )


def job(memory: Path, *, valid: int = 10, **settings: Any) -> Job:
    """A job on the toy's dark and light pictures."""
    toy = images(60)
    samples = Samples(
        task="classify",
        paths=("",) * 60,
        root="",
        labels=("dark", "light"),
        targets=toy.targets.numpy(),
        digests=np.zeros(60, "V16"),
        facts=ImageFacts(np.full((60, 2), SIDE, np.int32), np.zeros(60, np.bool_)),
        given=np.zeros(60, np.int8),
    )
    rows = np.arange(60)
    config = TrainConfig(**({"net": "conv(4, 3) relu", "epochs": 2} | settings))
    return training.prepare(
        config,
        samples,
        Decoded.whole(toy.pixels),
        PREPARATION,
        train_rows=rows[: 60 - valid],
        valid_rows=rows[60 - valid :],
        memory=memory,
    )
