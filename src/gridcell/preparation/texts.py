"""From characters to ids: what the steps of a text are, and which of them the network knows.

In order, for words:
    characters, cleaned as `sources.characters` says -> lower case -> words and marks
      -> at most so many of them -> the number of each in the vocabulary of the training rows

Ids are 0 for the padding, 1 for what is not in the vocabulary, and 2 and more for what is, the most
frequent first. Where the data say what their tokens are, and where texts of words are short, each
has its letters as written beside its id: an unknown word still shows how it begins and ends.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gridcell.axes import Layout
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.preparation.cache import Decoded
from gridcell.preparation.unreadable import Unread, opening
from gridcell.samples import TEST, VALID, Facts, Samples, TextFacts
from gridcell.sources.characters import clean, codes_of, texts_of
from gridcell.sources.remembered import UNSAID, Dialect
from gridcell.sources.texts import named_sentences, named_texts
from gridcell.sources.wording import counted
from gridcell.sources.words import split_words, words_and_breaks

Level = Literal["words", "characters", "tokens"]
LEVELS: tuple[Level, ...] = ("words", "characters", "tokens")
UNKNOWN, FIRST = 1, 2
"""The id of what is not in the vocabulary, and the first id of what is."""
LETTERS = 16
"""Letters of a token beside its id: of a longer one the first and the last eight."""
WORDS_A_TEXT = 3
"""From so many words in the usual text on, its steps are words; below, characters."""
PROBED_TEXTS = 2000
MOST_WORDS, MOST_CHARACTERS = 400, 1000
COVERED = 0.99
"""Share of the texts that are read whole, where they are not longer than the most."""
LARGEST_VOCABULARY = 30_000
MANY_WORDS = 30_000
"""With more different words than this, those seen once are left out: most of them are mistypings,
and a row that was trained on one text says nothing. Below it every word is kept."""
LARGEST_SPELLING = 1000
MOST_WORDS_SPELLED = 15
"""Texts whose usual one has more words are read without letters: where words are few, each counts.
In five folds of training rows letters named a hundredth more of TREC's questions (10 words), and no
more of SST-2's and MR's sentences (19 and 21 words)."""
STRETCH = {"characters": 128, "words": 64}
"""Steps that training reads at once where a text is to be written on."""
NOUNS = {"words": "word", "characters": "character", "tokens": "token"}
Ids = NDArray[np.int32]
Starts = NDArray[np.int64]
Item = tuple[str, NDArray[np.int32], float]
"""A text with its name, its characters, and the scale 1."""


@dataclass(frozen=True)
class TextReader:
    """How files of texts are read for an answer, as in training."""

    level: Level
    column: str | None = None
    """Column that the texts of training stood in, read where a table has it."""
    table: Dialect = UNSAID
    """How tables are written, where it was said."""
    asked: Dialect = UNSAID
    """How this file is said to be written, before what training was told."""
    folder: str = field(default="texts", init=False)
    is_ragged: bool = field(default=True, init=False)
    inner: tuple[int, ...] = field(default=(), init=False)

    @property
    def dtype(self) -> np.dtype[np.int32]:
        """Type of one value."""
        return np.dtype(np.int32)

    @property
    def about(self) -> list[object]:
        """Everything that characters depend on besides the file's bytes."""
        return [unicodedata.unidata_version, self.level, self.column, astuple(self.table)]

    def read(self, source: Path) -> tuple[NDArray[np.int32], float]:
        """Return the characters of a file that holds one text.

        Raises   SourceError where it cannot be read, or holds several texts or none
        """
        items = self.read_items(source)
        if len(items) != 1:
            raise SourceError(
                f"{source} holds {counted(len(items), 'text')}, where one is wanted.",
                fix="name a file with one text.",
            )
        return items[0][1], items[0][2]

    def read_items(self, source: Path) -> list[Item]:
        """Return every text in a file: of a .txt the whole of it, of a table those of its rows.

        Raises   SourceError where it cannot be read or a text is empty
        """
        named = self._named(source, has_empty=False)
        return [(name, codes, 1.0) for name, codes in named]

    def read_each(self, source: Path) -> list[Item | Unread]:
        """Return the texts of a file as `read_items` does, and of those that are empty why.

        Raises   SourceError where none can be read
        """
        return [
            (name, codes, 1.0) if len(codes) else Unread(name, f"{name} holds no text.")
            for name, codes in self._named(source, has_empty=True)
        ]

    def codes(self, text: str) -> NDArray[np.int32]:
        """Return the characters of a text as training saw them; for tokens it is split to words."""
        text = clean(text)
        if self.level == "tokens":
            text = "\n".join(split_words(text))
        return codes_of([text])[0]

    def _named(self, source: Path, *, has_empty: bool) -> list[tuple[str, NDArray[np.int32]]]:
        asked = DataConfig(**self.asked.said)

        def sentences(data: DataConfig) -> list[tuple[str, list[str]]]:
            return named_sentences(source, split_words, data)

        def texts(data: DataConfig, *, is_column_needed: bool = False) -> list[tuple[str, str]]:
            return named_texts(
                source, self.column, data, has_empty=has_empty, is_column_needed=is_column_needed
            )

        with opening(source):
            if self.level == "tokens":
                found = self.table.read(source, asked, sentences)
                return [(name, codes_of(["\n".join(tokens)])[0]) for name, tokens in found]
            try:  # a table without the column may be one whose cells were cut in the wrong way
                told = self.table.read(source, asked, partial(texts, is_column_needed=True))
            except (SourceError, ConfigError):
                told = self.table.read(source, asked, texts)
        return [(name, self.codes(text)) for name, text in told]


@dataclass(frozen=True)
class TextPreparation:
    """How a text becomes ids `[T]`, or ids with letters `[T, 1 + L]`, and the vocabulary."""

    level: Level
    longest: int
    """Most steps of a text that are read; of tokens, each of which may need its answer, all are."""
    vocabulary: tuple[str, ...] = ()
    """What has an id of its own, from id 2 on, the most frequent first."""
    lowercase: bool = True
    """Whether capitals are read as small letters; never in the letters beside a token's id."""
    is_spelled: bool = False
    """Whether words have their letters beside their ids, as tokens always do."""
    spelling: tuple[str, ...] = ()
    """Characters that have a number of their own beside a word's id, from 2 on."""
    column: str | None = None
    """Column that the texts of training stood in, read where a table has it."""
    table: Dialect = UNSAID
    """How tables are written, where it was said."""
    stretch: int = 0
    """Steps that training reads at once, one stretch behind the other; 0 for all of a text. Where
    it is not 0 the text is to be written on, and a line break is a word."""

    @property
    def layout(self) -> Layout:
        """The sizes of one sample."""
        size = FIRST + len(self.vocabulary)
        if self.has_letters:
            return Layout(1 + LETTERS, vocabulary=size, alphabet=FIRST + len(self.spelling))
        return Layout(1, vocabulary=size)

    @property
    def has_letters(self) -> bool:
        """Whether the letters of each step stand beside its id, as they always do for tokens."""
        return self.is_spelled or self.level == "tokens"

    @property
    def reader(self) -> TextReader:
        """What reads a file, as in training."""
        return TextReader(self.level, self.column, self.table)

    @property
    def mean(self) -> tuple[float, ...]:
        """Nothing: ids are not scaled."""
        return ()

    @property
    def deviation(self) -> tuple[float, ...]:
        """Nothing: ids are not scaled."""
        return ()

    @property
    def is_whole(self) -> bool:
        """Whether the parts hold together, as those that `fit_texts` gives do."""
        return (
            self.level in LEVELS
            and self.longest > 0
            and self.stretch >= 0
            and 0 < len(self.vocabulary) == len(set(self.vocabulary))
            and (self.level != "characters" or all(len(each) == 1 for each in self.vocabulary))
            and not (self.is_spelled and self.level == "characters")
            and self.has_letters == bool(self.spelling)
            and len(self.spelling) == len(set(self.spelling))
            and all(len(each) == 1 for each in self.spelling)
        )

    def ids(
        self, values: NDArray[np.int32], starts: Starts, rows: Sequence[int] | Starts
    ) -> tuple[Ids, Starts]:
        """Return the ids of texts, one after another, and where each begins.

        rows   which of the texts whose characters are `values`, and their order

        Shapes   -> [steps of all], or with letters [steps of all, 1 + L]; [rows + 1]
        """
        if self.level == "characters":
            return self._of_characters(values, starts, rows)
        every = [self.steps(text) for text in texts_of(values, starts, rows)]
        begins = _begins([len(steps) for steps in every])
        if not self.has_letters:
            place = self._place
            ids = [place.get(word, UNKNOWN) for steps in every for word in steps]
            return np.array(ids, np.int32), begins
        flat = [word for steps in every for word in steps]
        number = {word: n for n, word in enumerate(dict.fromkeys(flat))}
        known = np.zeros((len(number), 1 + LETTERS), np.int32)
        for word, row in number.items():
            known[row] = self._with_letters(word)
        order = np.fromiter((number[word] for word in flat), np.int64, len(flat))
        return known[order], begins

    def steps(self, text: str) -> list[str]:
        """Return the steps of a text as they are looked up, but as written where letters count."""
        if self.level == "tokens":
            return text.split("\n") if text else []
        text = text.lower() if self.lowercase and not self.is_spelled else text
        if self.level == "characters":
            return list(text)[: self.longest]
        return (words_and_breaks(text) if self.stretch else split_words(text))[: self.longest]

    def describe(self, facts: Facts) -> str:
        """A sentence for the user, given what the texts are."""
        assert isinstance(facts, TextFacts)
        rows = np.arange(len(facts.starts) - 1)
        counts = _counts(self.level, facts, rows, has_breaks=self.stretch > 0)
        usual = f"{int(np.median(counts)):,}"
        case = " in lower case" if self.lowercase else ""
        if self.level == "tokens":
            return (
                f"tokens as the data have them, {usual} in the usual sentence, "
                f"{int(counts.max()):,} in the longest; each with its letters beside it"
            )
        cut = int((counts > self.longest).sum())
        told = f"{self.level}{case}, {usual} in the usual text"
        spelled = "; each with its letters beside it" if self.is_spelled else ""
        if not cut:
            return f"{told}, {int(counts.max()):,} in the longest{spelled}"
        verb = "is" if cut == 1 else "are"
        return (
            f"{told}; {cut:,} of {counted(len(counts), 'text')} {verb} longer than "
            f"{self.longest:,} and cut there (the longest has {int(counts.max()):,}){spelled}"
        )

    def describe_vocabulary(self) -> str:
        """A sentence for the user on what is known after `fit_texts`."""
        size = counted(len(self.vocabulary), f"different {NOUNS[self.level]}")
        if self.has_letters:
            return f"{size} known from the training rows; every other is known by its letters alone"
        return f"{size} known from the training rows; every other is read as one unknown"

    def _of_characters(
        self, values: NDArray[np.int32], starts: Starts, rows: Sequence[int] | Starts
    ) -> tuple[Ids, Starts]:
        if self.lowercase:  # which may change the number of characters
            values, starts = codes_of(text.lower() for text in texts_of(values, starts, rows))
            rows = np.arange(len(starts) - 1)
        index = np.asarray(rows, np.int64)
        counts = np.minimum(starts[index + 1] - starts[index], self.longest)
        begins = _begins(counts)
        places = np.arange(begins[-1]) + np.repeat(starts[index] - begins[:-1], counts)
        codes = np.asarray(values)[places]
        known = codes_of(self.vocabulary)[0]
        order = np.argsort(known)
        near = np.searchsorted(known, codes, sorter=order).clip(max=max(0, len(known) - 1))
        if not len(known):
            return np.full(len(codes), UNKNOWN, np.int32), begins
        found = order[near]
        return np.where(known[found] == codes, FIRST + found, UNKNOWN).astype(np.int32), begins

    @cached_property
    def _place(self) -> dict[str, int]:
        return {word: FIRST + number for number, word in enumerate(self.vocabulary)}

    @cached_property
    def _letter(self) -> dict[str, int]:
        return {letter: FIRST + number for number, letter in enumerate(self.spelling)}

    def _with_letters(self, written: str) -> list[int]:
        shown = written
        if len(written) > LETTERS:
            shown = written[: LETTERS // 2] + written[-LETTERS // 2 :]
        letters = [self._letter.get(letter, UNKNOWN) for letter in shown]
        word = _looked_up(written, lowercase=self.lowercase)
        return [self._place.get(word, UNKNOWN), *letters, *[0] * (LETTERS - len(letters))]


def choose_texts(samples: Samples, config: DataConfig) -> TextPreparation:
    """Choose from the texts and the settings what steps are, and how many are read.

    Words where the usual text has three of them or more, else characters; tokens where the data
    say what they are. As many steps are read as 99 in 100 of the texts have that are not held out
    by the data's own split, rounded up, and at most 400 words or 1,000 characters.

    Raises   ConfigError for a setting that has no effect on tokens
    """
    facts = samples.facts
    assert isinstance(facts, TextFacts)
    level: Level
    if samples.task == "write":
        level = "words" if config.text_level == "words" else "characters"
        longest = int(_counts(level, facts, np.arange(len(samples)), has_breaks=True).max())
        return TextPreparation(
            level, longest, lowercase=False, table=Dialect.of(config), stretch=STRETCH[level]
        )
    if facts.is_tokenized:
        for name in ("text_level", "longest_text"):
            if getattr(config, name) != getattr(DataConfig(), name):
                raise ConfigError(
                    f"{name} has no effect here: the data say what their tokens are, and every "
                    "one is read.",
                    fix=f"leave --{name.replace('_', '-')} out.",
                )
        longest = int(_counts("tokens", facts, np.arange(len(samples))).max(initial=1))
        return TextPreparation("tokens", max(1, longest), table=Dialect.of(config))
    probe = np.arange(0, len(samples), max(1, len(samples) // PROBED_TEXTS))
    usual = float(np.median(_counts("words", facts, probe)))
    if config.text_level == "auto":
        level = "words" if usual >= WORDS_A_TEXT else "characters"
    else:
        level = config.text_level
    longest_text = config.longest_text
    if longest_text is None:
        rows = np.flatnonzero((samples.given != VALID) & (samples.given != TEST))
        rows = rows if len(rows) else np.arange(len(samples))
        covered = float(np.quantile(_counts(level, facts, rows), COVERED, method="higher"))
        most = MOST_WORDS if level == "words" else MOST_CHARACTERS
        longest_text = min(most, _round_up(int(covered)))
    return TextPreparation(
        level,
        longest_text,
        lowercase=level == "words",
        is_spelled=level == "words" and usual <= MOST_WORDS_SPELLED,
        column=config.text_column or facts.column,
        table=Dialect.of(config),
    )


def fit_texts(
    chosen: TextPreparation, decoded: Decoded, rows: NDArray[np.int64]
) -> TextPreparation:
    """Add the vocabulary of `rows`, the training rows: the same for any order of them."""
    texts = texts_of(decoded.values, decoded.starts, rows)
    if chosen.has_letters:
        written = Counter(word for text in texts for word in chosen.steps(text))
        words: Counter[str] = Counter()
        letters: Counter[str] = Counter()
        for each, count in written.items():
            words[_looked_up(each, lowercase=chosen.lowercase)] += count
            for letter in each:
                letters[letter] += count
        spelling = _most_frequent(letters, most=LARGEST_SPELLING)
        return replace(chosen, vocabulary=_kept_words(words), spelling=spelling)
    steps: Counter[str] = Counter()
    for text in texts:
        steps.update(chosen.steps(text))
    if chosen.level == "words":
        if chosen.stretch:
            # Words seen once are read as unknown, so that the unknown of a later text is learned.
            steps = Counter({word: count for word, count in steps.items() if count > 1})
        return replace(chosen, vocabulary=_kept_words(steps))
    return replace(chosen, vocabulary=_most_frequent(steps, most=LARGEST_VOCABULARY))


def _kept_words(counts: Counter[str]) -> tuple[str, ...]:
    if len(counts) > MANY_WORDS:
        counts = Counter({word: count for word, count in counts.items() if count > 1})
    return _most_frequent(counts, most=LARGEST_VOCABULARY)


def _most_frequent(counts: Counter[str], *, most: int) -> tuple[str, ...]:
    """Return the most frequent, ties in the order of their characters."""
    order = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(name for name, _ in order[:most])


def _looked_up(written: str, *, lowercase: bool) -> str:
    """Return a word as the vocabulary has it: every digit is a 0, since years are alike."""
    return re.sub(r"\d", "0", written.lower() if lowercase else written)


def _counts(
    level: Level, facts: TextFacts, rows: NDArray[np.int64], *, has_breaks: bool = False
) -> NDArray[np.int64]:
    """Return how many steps each text has, before any is cut; line breaks may be words too."""
    if level == "characters":
        return np.asarray(np.diff(facts.starts)[rows])
    texts = texts_of(facts.codes, facts.starts, rows)
    if level == "tokens":
        return np.array([text.count("\n") + 1 if text else 0 for text in texts], np.int64)
    split = words_and_breaks if has_breaks else split_words
    return np.array([len(split(text)) for text in texts], np.int64)


def _begins(counts: Iterable[int] | NDArray[np.int64]) -> Starts:
    return np.concatenate([[0], np.cumsum(np.fromiter(counts, np.int64))]).astype(np.int64)


def _round_up(count: int) -> int:
    """Return the next round number.

    >>> _round_up(37), _round_up(55), _round_up(230)
    (40, 60, 250)
    """
    step = 10 if count <= 100 else 50
    return max(1, -(-count // step)) * step
