"""Words of a text, split and joined again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcell.sources.words import UNKNOWN_WORD, Spacing, split_words, words_and_breaks


def joined(words: list[str]) -> str:
    spacing = Spacing()
    return "".join(spacing.spaced(word) for word in words)


@pytest.mark.parametrize(
    "text",
    [
        "Isn't it late, mother-in-law? It's 3.5 km!",
        "First line.\n\nThird; line: (with this).",
        'He said "go" and "stay".\n"No," she\'d say.',
        "\u201cNo\u201d \u00abnon\u00bb [a] 5%",
    ],
)
def test_a_text_that_is_split_and_joined_is_itself(text: str) -> None:
    assert joined(words_and_breaks(text)) == text


def test_an_open_quote_ends_with_its_line() -> None:
    assert joined(['"', "a", "\n", '"', "b", '"', "c"]) == '"a\n"b" c'


@given(
    st.text(alphabet="ab \n.,'n't12-\u0301\u0936\u093f\u201c`", max_size=30) | st.text(max_size=30)
)
def test_words_with_a_space_between_them_are_told_apart_again(text: str) -> None:
    words = words_and_breaks(text)
    assert words_and_breaks(" ".join(words)) == words
    assert [word for word in words if word != "\n"] == split_words(text)
    assert UNKNOWN_WORD not in words
