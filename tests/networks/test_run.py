"""Answers for many items, when the memory holds fewer of them than were tried at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gridcell.errors import MemoryFullError
from gridcell.networks.run import FIX_IN_TRAINING, Room, in_room, outputs
from tests.training.toys import images, network


class Narrow(nn.Module):
    """A network in a memory that holds only so many items."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.inner, self.most, self.error = network(), most, error
        self.tried: list[int] = []

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Any:
        self.tried.append(len(values))
        if len(values) > self.most:
            raise self.error
        return self.inner(values, lengths)


FULL = [torch.OutOfMemoryError("no room"), MemoryError()]


@pytest.mark.parametrize("error", FULL)
@pytest.mark.parametrize("most", [1, 3, 39])
def test_answers_in_pieces_are_those_of_the_whole(most: int, error: Exception) -> None:
    items, notes = images(40), list[str]()
    narrow = Narrow(most, error)
    found = outputs(narrow, items, Room(notes.append))
    np.testing.assert_allclose(found, outputs(narrow.inner, items), rtol=1e-5, atol=1e-6)
    assert notes[0].startswith("The memory is full: 40 -> 20 items scored at a time; the answers")
    assert narrow.training


def test_a_room_remembers_what_the_memory_held() -> None:
    room, narrow = Room(), Narrow(10, MemoryError())
    for _ in range(2):
        outputs(narrow, images(40), room)
    assert narrow.tried == [40, 20, 10, 10, 10, 10] + [10] * 4


def test_every_place_is_answered_once_and_in_its_order() -> None:
    def answer(places: Any) -> list[int]:
        if len(places) > 3:
            raise MemoryError
        return places.tolist()

    parts = list(in_room(np.arange(7, 30), answer, Room()))
    assert [place for part in parts for place in part] == list(range(7, 30))


def test_a_memory_too_small_for_one_item_is_named() -> None:
    """What whoever asks a model is told to do is nothing that only a training could."""
    full = "full even with 1 item at a time, without training"
    with pytest.raises(MemoryFullError, match=full) as asked:
        outputs(Narrow(0, MemoryError()), images(8))
    assert asked.value.fix is not None and "--" not in asked.value.fix
    with pytest.raises(MemoryFullError, match=full) as trained:
        outputs(Narrow(0, MemoryError()), images(8), Room(fix=FIX_IN_TRAINING))
    assert trained.value.fix is not None and "a smaller --net" in trained.value.fix


def test_another_error_is_not_taken_for_a_full_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"):
        outputs(Narrow(3, RuntimeError("shapes differ")), images(8))
