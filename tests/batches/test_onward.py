"""A text to write on in batches: streams side by side, each batch the next stretch of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gridcell.batches import Batch, Onward, Texts, epoch_batches, training_batches
from gridcell.preparation.cache import Decoded
from gridcell.preparation.texts import TextPreparation, fit_texts
from gridcell.samples import Tags
from gridcell.sources.characters import codes_of

PIECE = 7


def text_of(letters: int, *, stretch: int = 5) -> Onward:
    """A text in pieces, of which each step's class is the number of the step."""
    written = "".join(chr(ord("a") + number % 26) for number in range(letters))
    pieces = [written[first : first + PIECE] for first in range(0, letters, PIECE)]
    codes, starts = codes_of(pieces)
    data = Decoded(codes, starts, np.ones(len(pieces), np.float32), np.arange(len(pieces)))
    rows = np.arange(len(pieces))
    prep = fit_texts(TextPreparation("characters", PIECE, lowercase=False), data, rows)
    tags = Tags(np.arange(letters), np.asarray(starts))
    texts = Texts(data, replace(prep, stretch=stretch), torch.zeros(len(pieces)), rows, tags=tags)
    return Onward(texts)


def batches_of(items: Onward, size: int, epoch: int = 1, first: int = 0) -> list[Batch]:
    return [*training_batches(items, size=size, seed=0, epoch=epoch, first=first, threads=0)]


def test_each_item_goes_on_where_the_one_at_its_place_ended() -> None:
    items = text_of(240)
    batches = batches_of(items, 4)
    assert [batch.goes_on for batch in batches] == [False] + 11 * [True]
    streams = torch.cat([batch.targets for batch in batches], 1)
    assert streams.shape == (4, 60)
    for stream, first in zip(streams, streams[:, 0], strict=True):
        assert torch.equal(stream, (first + torch.arange(60)) % 240)
    # All of the text is read once, and every id is that of its step.
    assert sorted(streams.flatten().tolist()) == list(range(240))
    ids = torch.from_numpy(items.texts.ids[0])
    for batch in batches:
        assert torch.equal(batch.values, ids[batch.targets]) and batch.values.dtype == torch.int32
        assert batch.rows.tolist() == [int(first) // PIECE for first in batch.targets[:, 0]]
        assert batch.lengths is not None and batch.lengths.tolist() == [5] * 4


def test_every_epoch_begins_at_another_step_and_the_seed_says_which() -> None:
    items = text_of(240)
    firsts = [int(batches_of(items, 4, epoch)[0].targets[0, 0]) for epoch in range(1, 9)]
    assert len(set(firsts)) > 4
    again = [int(batches_of(items, 4, epoch)[0].targets[0, 0]) for epoch in range(1, 9)]
    assert again == firsts


def test_what_is_left_of_an_epoch_goes_on() -> None:
    items = text_of(240)
    left = batches_of(items, 4, first=5)
    for batch, wanted in zip(left, batches_of(items, 4)[5:], strict=True):
        assert batch.goes_on and torch.equal(batch.values, wanted.values)


@pytest.mark.parametrize(
    ("letters", "size", "streams", "steps"),
    [(240, 100, 48, 1), (3, 16, 1, 1), (23, 2, 2, 2), (27, 2, 2, 3), (20, 16, 4, 1)],
)
def test_texts_of_any_length_are_read(letters: int, size: int, streams: int, steps: int) -> None:
    items = text_of(letters)
    batches = batches_of(items, size)
    assert (len(batches), len(batches[0].rows)) == (steps, streams)
    assert len(items) == max(1, letters // 5) and set(items.steps().tolist()) == {min(5, letters)}
    assert len(epoch_batches(items, size=size, seed=0, epoch=1)) == steps


def test_a_piece_of_a_batch_says_as_well_whether_it_goes_on() -> None:
    _, second, *_ = batches_of(text_of(240), 4)
    assert [part.goes_on for part in second.cut(2)] == [True, True]


def test_for_evaluation_the_text_is_its_pieces() -> None:
    items = text_of(240)
    assert items.windows() is items.texts
    assert len(items.sample(5, seed=0)) == 5 and isinstance(items.sample(5, seed=0), Texts)
