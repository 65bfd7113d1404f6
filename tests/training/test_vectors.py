"""An embedding starts from the vectors of the words that are in a file, and only those rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gridcell import networks
from gridcell.errors import ConfigError, SourceError
from gridcell.layers import Embed, Spell
from gridcell.preparation import TextPreparation
from gridcell.training.vectors import start_from, vectors_for

WORDS = TextPreparation("words", 10, vocabulary=("the", "cat", "dog"))
TOKENS = TextPreparation("tokens", 10, vocabulary=("the", "cat", "dog"), spelling=("a", "b"))


def file(path: Path, words: str = "dog the bird", width: int = 50) -> Path:
    draw = np.random.default_rng(0)
    lines = [f"{word} " + " ".join(map(str, 7 * draw.normal(size=width))) for word in words.split()]
    path.write_text("\n".join(lines))
    return path


def built(notation: str, prep: TextPreparation, embedding: int | None) -> networks.Network:
    generator = torch.Generator().manual_seed(0)
    return networks.build(
        notation, prep.layout, outputs=2, embedding=embedding, generator=generator
    )


@pytest.mark.parametrize(
    ("notation", "prep", "kind"),
    [
        ("embed(50) mean", WORDS, Embed),
        ("lstm(4)", WORDS, Embed),
        ("spell(50) mean", TOKENS, Spell),
        ("lstm(4)", TOKENS, Spell),
    ],
)
def test_rows_of_found_words_are_those_of_the_file_at_the_usual_deviation(
    tmp_path: Path, notation: str, prep: TextPreparation, kind: type
) -> None:
    path = file(tmp_path / "glove.txt")
    found = vectors_for(path, prep)
    network, usual = built(notation, prep, found.width), built(notation, prep, found.width)
    said = start_from(network, found, path, prep)
    assert said.startswith("Vectors: 2 of 3 words of the vocabulary are in glove.txt and start")
    (table,) = (module.weight for module in network.modules() if isinstance(module, kind))
    (before,) = (module.weight for module in usual.modules() if isinstance(module, kind))
    assert torch.equal(table[[0, 1, 3]], before[[0, 1, 3]])  # padding, unknown and cat
    numbers = np.array([row.split()[1:] for row in path.read_text().splitlines()[:2]], np.float64)
    changed = table[[4, 2]].detach().double()  # dog and the
    assert changed.std(correction=0).item() == pytest.approx(50**-0.5, rel=1e-5)
    ratio = changed.numpy() / numbers
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)


def test_an_embedding_of_another_width_is_refused_with_both(tmp_path: Path) -> None:
    path = file(tmp_path / "glove.txt")
    found = vectors_for(path, WORDS)
    with pytest.raises(ConfigError) as caught:
        start_from(built("embed(64) mean", WORDS, found.width), found, path, WORDS)
    assert str(caught.value) == (
        f"embed(64) has 64 numbers for a word, and the vectors in {path} have 50.\n"
        "  Fix: write embed(50) in its place, or leave --vectors out."
    )


def test_vectors_without_a_word_of_the_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds none of the 3 words of the vocabulary"):
        vectors_for(file(tmp_path / "glove.txt", "le chat"), WORDS)


@pytest.mark.parametrize(
    ("prep", "net", "is_onward", "first"),
    [
        (WORDS, "auto", False, "embed(50) "),
        (WORDS, "cnn", False, "embed(50) "),
        (WORDS, "auto", True, "embed(50) "),
        (TOKENS, "auto", False, "spell(50) "),
    ],
)
def test_presets_take_the_width_of_the_file(
    prep: TextPreparation, net: str, is_onward: bool, first: str
) -> None:
    choice = networks.choose_network(net, prep.layout, is_onward=is_onward, embedding=50)
    assert choice.notation.startswith(first)
