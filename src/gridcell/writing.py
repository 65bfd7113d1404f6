"""Text from a model that was trained to write: one character after another, drawn at random.

The model streams: what it has written is remembered as the state of its layers, not read again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from gridcell.errors import ConfigError
from gridcell.model import Model
from gridcell.preparation import TextPreparation
from gridcell.sources.characters import codes_of

WARM_UP = 2048
"""Characters of a prompt that are read, as many as training reads at once."""


def write(
    model: Model,
    characters: int,
    *,
    prompt: str = "\n",
    temperature: float = 1.0,
    seed: int = 0,
) -> Iterator[str]:
    """Yield so many characters, each drawn from what the model expects after those before it.

    prompt        what stands before the first; it is read and not yielded
    temperature   below 1 the likely becomes likelier still, above 1 everything more alike

    Raises   ConfigError for a model that was not trained to write, or for numbers out of range;
             NetworkError for a network that needs what comes later
    """
    if model.task != "write" or not isinstance(model.preparation, TextPreparation):
        raise ConfigError(
            f"write has no effect on a model that answers the task {model.task}.",
            fix="train one on a .txt file.",
        )
    if not 0.05 <= temperature <= 10 or not math.isfinite(temperature):
        raise ConfigError(f"temperature = {temperature:g} is out of range: it must be 0.05 to 10.")
    if characters < 1:
        raise ConfigError(f"write = {characters} is out of range: it must be 1 or more.")
    return _written(model, model.preparation, characters, prompt or "\n", temperature, seed)


def _written(
    model: Model,
    prep: TextPreparation,
    characters: int,
    prompt: str,
    temperature: float,
    seed: int,
) -> Iterator[str]:
    generator = torch.Generator().manual_seed(seed)
    stream = model.network.stream()
    piece = prompt[-WARM_UP:]
    for _ in range(characters):
        ids, _ = prep.ids(*codes_of([piece]), np.arange(1))
        outputs = stream.piece(torch.from_numpy(ids.astype(np.int64))[None])[0, -1]
        shares = torch.softmax(outputs.double() / temperature, 0)
        piece = model.labels[int(torch.multinomial(shares, 1, generator=generator))]
        yield piece
