"""Words: how a text is split into them, and how they are joined to a text again."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

UNKNOWN_WORD = "<unknown>"
"""What stands for every word that is too rare to be learned; `split_words` never gives it."""
CLOSING = frozenset(".,;:!?%)]}\u201d\u00bb\u2026") | {"''"}
"""Marks with no space in front."""
OPENING = frozenset("([{\u201c\u00ab\u00bf\u00a1$#@") | {"``"}
"""Marks with no space behind."""
INSIDE = frozenset("-/'\u2014")
"""Marks with no space on either side: mother-in-law, o'er."""


def split_words(text: str) -> list[str]:
    """Return the words and marks of a text, in the order in which they stand.

    A word is a run of letters, digits, their accents and underscores; a number keeps its decimals.
    Clitics are words of their own, as in the Penn Treebank (do n't, it 's), and so are its quotes
    of two marks; any other character that is not white space is one too. A typographic apostrophe
    is a plain one.

    >>> split_words("Isn't it 3.5 km, mother-in-law's car?")
    ['Is', "n't", 'it', '3.5', 'km', ',', 'mother', '-', 'in', '-', 'law', "'s", 'car', '?']
    """
    text = text.replace("\u2019", "'")
    return (ASCII_STEPS if text.isascii() else _steps_pattern()).findall(text)


def words_and_breaks(text: str) -> list[str]:
    r"""Return the words and marks of a text, and each line break as one of them.

    >>> words_and_breaks("It's late.\n\nGo!")
    ['It', "'s", 'late', '.', '\n', '\n', 'Go', '!']
    """
    found: list[str] = []
    for number, line in enumerate(text.split("\n")):
        found += ["\n"] * (number > 0) + split_words(line)
    return found


class Spacing:
    r"""Where spaces stand between words and marks that come one after another.

    The second of two plain double quotes in a line closes what the first opened.

    >>> spacing = Spacing()
    >>> words = ["Is", "n't", "he", "here", "?", '"', "Go", "!", '"', "\n", "(", "No"]
    >>> "".join(spacing.spaced(word) for word in words)
    'Isn\'t he here? "Go!"\n(No'
    """

    def __init__(self) -> None:
        self._is_attached = True
        self._is_quoted = False

    def spaced(self, word: str) -> str:
        """Return the next word, with a space in front where one belongs."""
        is_closing = word in CLOSING or word in INSIDE or _is_clitic(word) or word == "\n"
        is_opening = word in OPENING or word in INSIDE or word == "\n"
        if word == '"':
            is_closing, is_opening = self._is_quoted, not self._is_quoted
            self._is_quoted = not self._is_quoted
        elif word == "\n":
            self._is_quoted = False
        shown = word if self._is_attached or is_closing else f" {word}"
        self._is_attached = is_opening
        return shown


def _is_clitic(word: str) -> bool:
    return len(word) > 1 and (word[0] == "'" or word.lower() == "n't")


def _pattern(word: str, marks: str) -> re.Pattern[str]:
    clitics = r"[nN]'[tT]\b|'(?:[sSmMdD]|[rR][eE]|[vV][eE]|[lL][lL])\b|``|''"
    return re.compile(rf"\d+(?:[.,]\d+)+|{word}+?(?=[nN]'[tT]\b)|{clitics}|{word}+|[^\w\s]{marks}")


ASCII_STEPS = _pattern(r"\w", "")


@cache
def _steps_pattern() -> re.Pattern[str]:
    r"""For any script: \w has no combining marks, without which each vowel sign of Hindi would end
    its word. Those of the first plane are enough, and the pattern much faster for it."""
    codes = [c for c in range(0x300, 0x10000) if unicodedata.category(chr(c)).startswith("M")]
    codes += [0x200C, 0x200D]  # what parts and joins letters
    marks = "".join(map(chr, codes))
    return _pattern(rf"[\w{marks}]", rf"[{marks}]*")
