"""From characters to ids: words, characters and tokens, and what is learned of training rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gridcell.axes import Layout
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.preparation import texts as module
from gridcell.preparation.cache import Decoded
from gridcell.preparation.texts import (
    LETTERS,
    TextPreparation,
    TextReader,
    choose_texts,
    fit_texts,
    split_words,
)
from gridcell.samples import TEST, UNASSIGNED, Samples, TextFacts
from gridcell.sources.characters import codes_of, texts_of
from gridcell.sources.text_table import digests_of


def samples(every: list[str], *, is_tokenized: bool = False, given: Any = None) -> Samples:
    count = len(every)
    return Samples(
        task="classify",
        paths=tuple(f"t.csv#{n}" for n in range(count)),
        root="",
        labels=("a", "b"),
        targets=np.arange(count) % 2,
        digests=digests_of(every),
        facts=TextFacts(*codes_of(every), is_tokenized),
        given=np.full(count, UNASSIGNED, np.int8) if given is None else np.array(given, np.int8),
    )


def decoded(every: list[str]) -> Decoded:
    codes, starts = codes_of(every)
    return Decoded(codes, starts, np.ones(len(every), np.float32), np.arange(len(every)))


def fitted(every: list[str], rows: list[int] | None = None, **settings: Any) -> TextPreparation:
    tokenized = settings.pop("is_tokenized", False)
    chosen = choose_texts(samples(every, is_tokenized=tokenized), DataConfig(**settings))
    chosen_rows = np.arange(len(every)) if rows is None else np.array(rows)
    return fit_texts(chosen, decoded(every), chosen_rows)


def ids_of(prep: TextPreparation, every: list[str], rows: list[int] | None = None) -> list[Any]:
    codes, starts = codes_of(every)
    ids, begins = prep.ids(codes, starts, rows if rows is not None else range(len(every)))
    assert ids.dtype == np.int32
    return [ids[a:b].tolist() for a, b in pairwise(begins.tolist())]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("it isn't so", ["it", "is", "n't", "so"]),
        ("I can\u2019t, you'll see", ["I", "ca", "n't", ",", "you", "'ll", "see"]),
        ("does n't the dog's 'tis", ["does", "n't", "the", "dog", "'s", "'", "tis"]),
        ("3.5 or 1,000.25 of 2x", ["3.5", "or", "1,000.25", "of", "2x"]),
        ("a_b (c)... ``d''", ["a_b", "(", "c", ")", ".", ".", ".", "``", "d", "''"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("cafe\u0301 שלום", ["cafe\u0301", "שלום"]),
        ("no\u00a0break\u2003wide", ["no", "break", "wide"]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_words_are_cut_as_the_rule_says(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_every_character_that_is_seen_is_in_some_word() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        codes = random.choice([*range(32, 0x3000), *range(0x1F300, 0x1F700)], 30)
        text = "".join(map(chr, codes)).replace("\u2019", "'")
        assert "".join(split_words(text)) == "".join(text.split())


def test_the_vocabulary_is_that_of_the_training_rows_most_frequent_first() -> None:
    every = ["the cat and the dog", "The dog ran off", "a whale swims here"]
    prep = fitted(every, rows=[1, 0])
    assert prep.level == "words" and prep.vocabulary == ("the", "dog", "and", "cat", "off", "ran")
    words = [[word for word, *_ in text] for text in ids_of(prep, every)]
    assert words == [[2, 5, 4, 2, 3], [2, 3, 7, 6], [1, 1, 1, 1]]
    assert fitted(every, rows=[0, 1]) == prep and prep.is_whole
    alone = replace(prep, is_spelled=False, spelling=())
    assert alone.layout == Layout(1, vocabulary=8) and alone.is_whole
    assert ids_of(alone, every) == words


def test_words_of_short_texts_have_their_letters_as_written_beside_them() -> None:
    every = ["The cat in 1984", "the CAT in 2024 purrs"]
    prep = fitted(every, rows=[0])
    assert prep.vocabulary == ("0000", "cat", "in", "the") and prep.is_spelled
    assert prep.layout == Layout(17, vocabulary=6, alphabet=2 + len(prep.spelling))
    assert "".join(prep.spelling) == "1489Tacehint"  # each once, in the order of their codes
    first, second = ids_of(prep, every)
    assert [word for word, *_ in first] == [5, 3, 4, 2]
    assert [word for word, *_ in second] == [5, 3, 4, 2, 1]
    assert first[0] != second[0]  # a capital is seen
    assert second[1][1:4] == [1, 1, first[0][1]] and not any(second[1][4:])  # C and A are new
    long = fitted([" ".join(["word"] * 16)] * 3)
    assert long.level == "words" and not long.has_letters
    assert fitted(["abc", "de"]).level == "characters" and not fitted(["abc", "de"]).has_letters


def test_rows_come_in_the_order_that_is_asked_for() -> None:
    every = ["one two three", "two two two", "three one two"]
    prep = fitted(every)
    whole = ids_of(prep, every)
    assert ids_of(prep, every, rows=[2, 0]) == [whole[2], whole[0]]
    characters = fitted(every, text_level="characters")
    each = ids_of(characters, every)
    assert ids_of(characters, every, rows=[2, 0]) == [each[2], each[0]]


def test_characters_keep_their_case_and_unknown_ones_are_one() -> None:
    every = ["Anna", "anni", "Zoë"]
    prep = fitted(every, rows=[0, 1])
    assert prep.level == "characters" and not prep.lowercase
    assert prep.vocabulary == ("n", "a", "A", "i")
    assert ids_of(prep, every) == [[4, 2, 2, 3], [3, 2, 2, 5], [1, 1, 1]]
    small = TextPreparation("characters", 3, ("a", "i"), lowercase=True)
    assert ids_of(small, ["ABI\u0130"]) == [[2, 1, 3]]


def test_the_level_follows_from_the_usual_text() -> None:
    def level(every: list[str], **settings: Any) -> str:
        return choose_texts(samples(every), DataConfig(**settings)).level

    assert level(["one two three", "one", "four five six seven"]) == "words"
    assert level(["one two", "one", "four five six seven"]) == "characters"
    assert level(["one two three"] * 3, text_level="characters") == "characters"
    assert level(["one"] * 3, text_level="words") == "words"
    assert level(["我喜欢看书", "他在跑步"]) == "characters"


def test_the_longest_covers_nearly_all_texts_in_a_round_number() -> None:
    def longest(lengths: list[int], **settings: Any) -> int:
        every = [" ".join(["word"] * n) for n in lengths]
        given = settings.pop("given", None)
        return choose_texts(samples(every, given=given), DataConfig(**settings)).longest

    assert longest([7] * 50 + [23]) == 30
    assert longest([7] * 500 + [90]) == 10
    assert longest([103] * 3) == 150
    assert longest([5000] * 3) == 400
    assert longest([7] * 3, longest_text=5) == 5
    assert longest([7, 7, 90], given=[UNASSIGNED, UNASSIGNED, TEST]) == 10
    assert longest([7, 7], given=[TEST, TEST]) == 10
    assert longest([3000] * 3, text_level="characters") == 1000


def test_longer_texts_are_cut_and_counted() -> None:
    every = ["a b c d", "a b", "a b c d e f"]
    prep = fitted(every, longest_text=3)
    assert [len(ids) for ids in ids_of(prep, every)] == [3, 2, 3]
    assert "d" not in prep.vocabulary
    facts = samples(every).facts
    assert prep.describe(facts) == (
        "words in lower case, 4 in the usual text; 2 of 3 texts are longer than 3 and cut there "
        "(the longest has 6); each with its letters beside it"
    )
    whole = fitted(every)
    assert whole.describe(facts) == (
        "words in lower case, 4 in the usual text, 6 in the longest; "
        "each with its letters beside it"
    )
    assert whole.describe_vocabulary() == (
        "6 different words known from the training rows; every other is known by its letters alone"
    )
    alone = replace(whole, is_spelled=False, spelling=())
    assert alone.describe(facts) == "words in lower case, 4 in the usual text, 6 in the longest"
    assert alone.describe_vocabulary() == (
        "6 different words known from the training rows; every other is read as one unknown"
    )


def test_of_very_many_words_those_seen_once_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    every = ["a b c a", "b d e a", "a f"]
    assert len(fitted(every, text_level="words").vocabulary) == 6
    monkeypatch.setattr(module, "MANY_WORDS", 5)
    assert fitted(every, text_level="words").vocabulary == ("a", "b")
    monkeypatch.setattr(module, "LARGEST_VOCABULARY", 1)
    assert fitted(every, text_level="words").vocabulary == ("a",)


TOKENS = ["The\n1984\nWhales", "the\n2001\n,\nswimming-pool-attendants"]


def test_tokens_are_looked_up_in_lower_case_with_digits_alike_beside_their_letters() -> None:
    prep = fitted(TOKENS, rows=[0], is_tokenized=True)
    assert prep.level == "tokens" and prep.vocabulary == ("0000", "the", "whales")
    known = {letter: 2 + n for n, letter in enumerate(prep.spelling)}
    assert set(prep.spelling) == set("The1984Whales") and prep.spelling[0] == "e"
    assert prep.layout == Layout(17, vocabulary=5, alphabet=2 + len(prep.spelling))
    first, second = ids_of(prep, TOKENS)
    assert first[0] == [3, known["T"], known["h"], known["e"], *[0] * 13]
    assert first[1][:5] == [2, known["1"], known["9"], known["8"], known["4"]]
    assert second[0][:2] == [3, 1]  # a small t was never seen
    assert second[1][0] == 2 and second[2] == [1, 1, *[0] * 15]
    shown = "swimming" + "tendants"
    assert second[3] == [1, *[known.get(letter, 1) for letter in shown]]
    assert len(second[3]) == 1 + LETTERS and prep.is_whole
    assert prep.describe(samples(TOKENS, is_tokenized=True).facts) == (
        "tokens as the data have them, 3 in the usual sentence, 4 in the longest; each with its "
        "letters beside it"
    )


def test_no_token_is_ever_cut() -> None:
    long = "\n".join(["a"] * 3000)
    prep = fitted([long, "b"], rows=[1], is_tokenized=True)
    assert prep.longest == 3000
    assert [len(ids) for ids in ids_of(prep, [long * 2, "", "b"])] == [5999, 0, 1]


@pytest.mark.parametrize(
    "settings", [{"text_level": "words"}, {"longest_text": 5}], ids=lambda each: next(iter(each))
)
def test_settings_without_effect_on_tokens_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the data say what their tokens are") as caught:
        choose_texts(samples(TOKENS, is_tokenized=True), DataConfig(**settings))
    name = next(iter(settings)).replace("_", "-")
    assert f"leave --{name} out" in str(caught.value)


def test_nothing_known_reads_everything_as_unknown() -> None:
    assert ids_of(TextPreparation("characters", 5), ["ab", ""]) == [[1, 1], []]
    assert ids_of(TextPreparation("words", 5), ["ab cd", ""]) == [[1, 1], []]
    tokens = ids_of(TextPreparation("tokens", 5), ["ab"])
    assert tokens == [[[1, 1, 1, *[0] * 14]]]


@pytest.mark.parametrize(
    "prep",
    [
        TextPreparation("words", 5),
        TextPreparation("words", 0, ("a",)),
        TextPreparation("words", 5, ("a", "a")),
        TextPreparation("lines", 5, ("a",)),  # type: ignore[arg-type]
        TextPreparation("characters", 5, ("ab",)),
        TextPreparation("tokens", 5, ("a",)),
        TextPreparation("words", 5, ("a",), spelling=("a",)),
        TextPreparation("words", 5, ("a",), is_spelled=True),
        TextPreparation("characters", 5, ("a",), is_spelled=True, spelling=("a",)),
        TextPreparation("tokens", 5, ("a",), spelling=("ab",)),
        TextPreparation("tokens", 5, ("a",), spelling=("a", "a")),
    ],
)
def test_parts_that_do_not_hold_together_are_seen(prep: TextPreparation) -> None:
    assert not prep.is_whole


def test_it_is_plain_data() -> None:
    prep = fitted(TOKENS, is_tokenized=True)
    assert msgspec.json.decode(msgspec.json.encode(prep), type=TextPreparation) == prep
    assert prep.mean == prep.deviation == ()


def test_a_file_is_read_as_training_saw_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\ufeff cafe\u0301\r\nso ", "utf-8", newline="")
    reader = TextReader("words")
    codes, scale = reader.read(path)
    assert (codes.dtype, scale) == (np.int32, 1.0)
    assert texts_of(codes, np.array([0, len(codes)]), [0]) == ["café\nso"]
    assert np.array_equal(reader.codes(" cafe\u0301\nso"), codes)
    assert (reader.folder, reader.inner, reader.is_ragged) == ("texts", (), True)
    with pytest.raises(SourceError, match=r"b\.txt is empty \(0 bytes\)"):
        (tmp_path / "b.txt").touch()
        reader.read(tmp_path / "b.txt")


def test_the_rows_of_a_table_are_items_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,text\n1,one two three\n2,four five six\n")
    items = TextReader("words").read_items(path)
    assert [name for name, _, _ in items] == [f"{path}#2", f"{path}#3"]
    with pytest.raises(SourceError, match="holds 2 texts, where one is wanted"):
        TextReader("words").read(path)


def test_a_file_for_tokens_is_cut_into_words(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("I don't.\nYou do.")
    items = TextReader("tokens").read_items(path)
    found = [texts_of(codes, np.array([0, len(codes)]), [0])[0] for _, codes, _ in items]
    assert found == ["I\ndo\nn't\n.", "You\ndo\n."]
    codes = TextReader("tokens").codes("I don't.")
    assert np.array_equal(codes, items[0][1])


def test_what_the_cache_must_know_is_told() -> None:
    assert TextReader("words").about != TextReader("tokens").about
    assert TextReader("words").about != TextReader("words", "body").about
    prep = TextPreparation("words", 5, column="body")
    assert prep.reader == TextReader("words", "body")
    assert choose_texts(samples(["a b c"]), DataConfig(text_column="x")).column == "x"


def test_real_odd_characters_have_ids(data_folder: Path) -> None:
    for level in ("words", "characters"):
        reader = TextReader(level)  # type: ignore[arg-type]
        codes, _ = reader.read(data_folder / "odd" / "text" / "emoji_rtl_combining.txt")
        items = Decoded.of([(codes, 1.0)])
        chosen = TextPreparation(level, 1000)  # type: ignore[arg-type]
        prep = fit_texts(chosen, items, np.array([0]))
        ids, starts = prep.ids(items.values, items.starts, [0])
        assert starts[-1] == len(ids) > 10 and ids.min() >= 2


def test_a_real_very_long_line_is_cut(data_folder: Path) -> None:
    codes, _ = TextReader("words").read(data_folder / "odd" / "text" / "very_long_line.txt")
    ids, _ = TextPreparation("words", 400).ids(codes, np.array([0, len(codes)]), [0])
    assert len(ids) == 400
