"""Text from a model that was trained to write: one character or word after another, at random.

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
from gridcell.preparation.texts import UNKNOWN
from gridcell.sources.characters import codes_of
from gridcell.sources.words import UNKNOWN_WORD, Spacing, words_and_breaks


def write(
    model: Model,
    steps: int,
    *,
    prompt: str = "\n",
    temperature: float = 1.0,
    seed: int = 0,
) -> Iterator[str]:
    """Yield so many characters, or words, each drawn from what the model expects to come next.

    A word comes with the space in front of it, where one belongs; one that the model doesn't know
    by name is never drawn.

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
    if steps < 1:
        raise ConfigError(f"write = {steps} is out of range: it must be 1 or more.")
    return _written(model, model.preparation, steps, prompt or "\n", temperature, seed)


def unknown_in(model: Model, prompt: str) -> list[str]:
    """Return the characters or words of a prompt that the model does not know, each once."""
    prep = model.preparation
    assert isinstance(prep, TextPreparation)
    each = dict.fromkeys(words_and_breaks(prompt) if prep.level == "words" else prompt)
    return [step for step in each if UNKNOWN in prep.ids(*codes_of([step]), np.arange(1))[0]]


def _written(
    model: Model,
    prep: TextPreparation,
    steps: int,
    prompt: str,
    temperature: float,
    seed: int,
) -> Iterator[str]:
    is_words = prep.level == "words"
    read = (words_and_breaks(prompt) or ["\n"]) if is_words else list(prompt)
    # As many as training had in a piece: what is further back was never of use.
    piece = (" " if is_words else "").join(read[-prep.longest :])
    spacing = Spacing()
    for word in read:
        spacing.spaced(word)
    is_spaced = prompt[-1:].isspace()
    unknown = [number for number, label in enumerate(model.labels) if label == UNKNOWN_WORD]
    generator = torch.Generator().manual_seed(seed)
    stream = model.network.stream()
    for _ in range(steps):
        ids, _ = prep.ids(*codes_of([piece]), np.arange(1))
        outputs = stream.piece(torch.from_numpy(ids.astype(np.int64))[None])[0, -1].double()
        outputs[unknown] = -torch.inf
        shares = torch.softmax(outputs / temperature, 0)
        piece = model.labels[int(torch.multinomial(shares, 1, generator=generator))]
        shown = spacing.spaced(piece) if is_words else piece
        yield shown.lstrip(" ") if is_words and is_spaced else shown
        is_spaced = False
