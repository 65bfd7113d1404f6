"""Batches of texts: ids, lengths, targets and rows, tags beside tokens, and what is varied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gridcell.augment.texts import TextAugment
from gridcell.batches.order import training_batches
from gridcell.batches.texts import Texts
from gridcell.preparation.cache import Decoded
from gridcell.preparation.texts import TextPreparation, fit_texts
from gridcell.samples import Tags
from gridcell.sources.characters import codes_of

TEXTS = ["a b c", "b", "c c a b d", "", "d a"]
TOKENS = ["A\nb", "c", "b\nA\nA"]
TAGS = Tags(np.array([0, 1, 2, 1, 0, 0]), np.array([0, 2, 3, 6]))


def decoded(every: list[str]) -> Decoded:
    codes, starts = codes_of(every)
    return Decoded(codes, starts, np.ones(len(every), np.float32), np.arange(len(every)))


def items(rows: list[int] | None = None, longest: int = 9, **changes: Any) -> Texts:
    data = decoded(TEXTS)
    prep = fit_texts(TextPreparation("words", longest), data, np.array([0, 1, 2]))
    chosen = np.arange(len(TEXTS)) if rows is None else np.array(rows)
    return replace(Texts(data, prep, torch.arange(len(TEXTS)) * 10, chosen), **changes)


def tagged(rows: list[int], **changes: Any) -> Texts:
    data = decoded(TOKENS)
    prep = fit_texts(TextPreparation("tokens", 3), data, np.arange(3))
    found = Texts(data, prep, torch.zeros(3, 3), np.array(rows), tags=TAGS)
    return replace(found, **changes)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_ids_lengths_targets_and_rows_belong_together() -> None:
    found = items([4, 0, 2, 1])
    assert found.preparation.vocabulary == ("b", "c", "a", "d")
    batch = found.batch(np.array([2, 0, 3]))
    assert batch.rows.tolist() == [1, 2, 4] and batch.targets.tolist() == [10, 20, 40]
    assert batch.lengths is not None and batch.lengths.tolist() == [1, 5, 2]
    assert batch.lengths.dtype == torch.int64 and batch.values.dtype == torch.int32
    assert batch.values.tolist() == [[2, 0, 0, 0, 0], [3, 3, 4, 2, 5], [5, 4, 0, 0, 0]]


def test_steps_are_the_lengths_that_come_out() -> None:
    found = items([2, 3, 0], longest=4)
    assert found.steps().tolist() == [4, 0, 3] and found.cells == 1 and len(found) == 3
    for place, steps in enumerate(found.steps().tolist()):
        batch = found.batch(np.array([place]))
        assert batch.lengths is not None and batch.lengths.tolist() == [steps]
        assert batch.values.shape == (1, max(1, steps))


def test_a_text_is_the_same_alone_and_in_a_batch() -> None:
    found = items()
    together = found.batch(np.arange(5))
    for row, steps in enumerate(found.steps().tolist()):
        alone = found.batch(np.array([row]))
        assert torch.equal(alone.values[0, :steps], together.values[row, :steps])
        assert not together.values[row, steps:].any()


def test_words_are_looked_up_once() -> None:
    found = items()
    assert found.ids is found.ids


def test_a_window_is_the_whole_text() -> None:
    found, places = items(longest=4), np.arange(5)
    assert torch.equal(found.windows().batch(places).values, found.batch(places).values)


def test_a_text_is_varied_only_where_there_is_a_generator() -> None:
    plain, varied = items(), items(augment=TextAugment(unknown=0.5))
    assert varied.is_varied and not plain.is_varied
    whole = plain.batch(np.arange(5))
    assert torch.equal(varied.batch(np.arange(5)).values, whole.values)
    assert torch.equal(plain.batch(np.arange(5), generator()).values, whole.values)
    first, again, other = (varied.batch(np.arange(5), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.values, again.values)
    assert not torch.equal(first.values, other.values)
    assert ((first.values == whole.values) | (first.values == 1)).all()


def test_tokens_have_letters_beside_them_and_a_tag_each() -> None:
    found = tagged([2, 0])
    batch = found.batch(np.array([0, 1]))
    assert batch.rows.tolist() == [0, 2]
    assert batch.values.shape == (2, 3, 17) and batch.targets.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert batch.targets.dtype == torch.int64
    assert batch.lengths is not None and batch.lengths.tolist() == [2, 3]
    place = found.preparation.vocabulary.index("b") + 2
    assert batch.values[0, 1, 0] == place == batch.values[1, 0, 0]


def test_truths_are_those_of_every_step_in_the_order_of_the_rows() -> None:
    assert tagged([2, 0]).truths().tolist() == [1, 0, 0, 0, 1]
    assert items([4, 0]).truths().tolist() == [40, 0]


def test_tags_are_never_cut() -> None:
    found = tagged([2, 0])
    short = replace(found, preparation=replace(found.preparation, longest=1))
    assert short.steps().tolist() == [3, 2]


def test_letters_stay_where_words_become_unknown() -> None:
    plain, varied = tagged([0, 2]), tagged([0, 2], augment=TextAugment(unknown=0.9))
    one, two = plain.batch(np.arange(2)), varied.batch(np.arange(2), generator())
    assert torch.equal(one.values[..., 1:], two.values[..., 1:])
    assert (two.values[..., 0] == 1).any() and torch.equal(one.targets, two.targets)


def test_an_epoch_holds_every_text_once() -> None:
    found = items(augment=TextAugment(unknown=0.3))
    epochs = [list(training_batches(found, size=2, seed=0, epoch=number)) for number in (0, 0)]
    rows = np.concatenate([batch.rows for batch in epochs[0]])
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]
    for one, two in zip(*epochs, strict=True):
        assert torch.equal(one.values, two.values)
