"""Files of word vectors: what is kept of them, and which lines are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gridcell.errors import SourceError
from gridcell.sources import vectors

GLOVE = "the 0.1 -2\ncat 3e-1 4\ndog 5 6\n"


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.mark.parametrize(
    "content",
    [
        GLOVE,
        "3 2\n" + GLOVE,  # word2vec says how many words and numbers follow
        GLOVE.replace("\n", " \r\n"),
        GLOVE.replace(" ", "\t") + "\n\n",
        "\ufeff" + GLOVE,
        GLOVE + "cat 9 9\n",  # the first of a word counts
    ],
)
def test_the_numbers_of_wanted_words_are_read(tmp_path: Path, content: str) -> None:
    found = vectors.read(written(tmp_path / "a.txt", content), ["cat", "bird", "the"])
    named = dict(zip(found.places.tolist(), found.values.tolist(), strict=True))
    assert named == {0: pytest.approx([0.3, 4]), 2: pytest.approx([0.1, -2])}
    assert found.width == 2 and found.values.dtype == np.float32


def test_a_word_may_be_of_any_script_and_hold_spaces(tmp_path: Path) -> None:
    words = ["é", "日本", "a\u00a0b", ". . .", "3"]
    content = "".join(f"{word} {n} 1\n" for n, word in enumerate(words))
    content += "\ud800 1 2\n"
    path = written(tmp_path / "a.txt", content.encode("utf-8", "surrogatepass") + b"\xff 1 2\n")
    found = vectors.read(path, words)
    assert found.places.tolist() == [0, 1, 2, 3, 4]
    assert found.values[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_file_with_none_of_the_words_gives_none_of_the_right_width(tmp_path: Path) -> None:
    found = vectors.read(written(tmp_path / "a.txt", GLOVE), ["bird"])
    assert found.values.shape == (0, 2) and found.width == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.txt holds no word vectors"),
        ("3 2\n", "a.txt holds no word vectors"),
        ("hello\n", "a.txt line 1 is not a word and its numbers"),
        ("text,stars\n", "a.txt line 1 is not a word and its numbers"),
        ("once upon a time\n", "a.txt line 1 is not a word and its numbers"),
        ("3 2\nthe 1 2\ncat 1\n", r"a.txt line 3 is not a word and its numbers \(2 of them\)"),
        (GLOVE + "bird 1 2 3\n", "a.txt line 4 is not a word"),
        (GLOVE + "bird\n", "a.txt line 4 is not a word"),
        ("the 1 2\ncat 1 x\n", "a.txt line 2 is not a word"),
        ("the 1 2\ncat 1 nan\n", "a.txt line 2 is not a word"),
        ("the 1 2\ncat 1 1e999\n", "a.txt line 2 is not a word"),
        (b"3 2\nthe \x00\x01\x02\xff\x03", "line 2 .*\n.*binary form is not read"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        vectors.read(written(tmp_path / "a.txt", content), ["cat"])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.txt cannot be opened: No such file"):
        vectors.read(tmp_path / "a.txt", ["cat"])
