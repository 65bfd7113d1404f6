"""An embedding that starts from word vectors which others trained on far more text."""

from __future__ import annotations

from pathlib import Path

import torch

from gridcell import layers, networks
from gridcell.errors import ConfigError, SourceError
from gridcell.layers.first_weights import start_rows
from gridcell.preparation import Preparation, TextPreparation
from gridcell.preparation.texts import FIRST
from gridcell.sources import vectors
from gridcell.sources.vectors import Vectors
from gridcell.sources.wording import counted, shown


def vectors_for(path: Path, prep: Preparation) -> Vectors:
    """Read the vectors of the words that a fitted preparation knows.

    Raises   SourceError where the file cannot be read or holds none of them
    """
    assert isinstance(prep, TextPreparation), "preparation.choose refuses vectors for other kinds"
    found = vectors.read(path, prep.vocabulary)
    if not len(found.places):
        raise SourceError(
            f"{shown(str(path))} holds none of the {counted(len(prep.vocabulary), 'word')} of the "
            "vocabulary.",
            fix="name vectors of the texts' own language, or leave --vectors out.",
        )
    return found


def start_from(network: networks.Network, found: Vectors, path: Path, prep: Preparation) -> str:
    """Let the layers that read ids start from the vectors; return what to say of it.

    Raises   ConfigError where one has another width
    """
    assert isinstance(prep, TextPreparation)
    for module in network.modules():
        if not isinstance(module, layers.Embed | layers.Spell):
            continue
        name = "embed" if isinstance(module, layers.Embed) else "spell"
        if module.width != found.width:
            raise ConfigError(
                f"{name}({module.width}) has {module.width} numbers for a word, and the vectors in "
                f"{shown(str(path))} have {found.width}.",
                fix=f"write {name}({found.width}) in its place, or leave --vectors out.",
            )
        rows = torch.from_numpy(FIRST + found.places)
        start_rows(module.weight, rows, torch.from_numpy(found.values))
    return (
        f"Vectors: {len(found.places):,} of {counted(len(prep.vocabulary), 'word')} of the "
        f"vocabulary are in {shown(path.name)} and start from its {found.width} numbers; the "
        "others start at random."
    )
