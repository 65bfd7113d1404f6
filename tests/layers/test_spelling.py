"""A row for each word beside a convolution over its letters, against a twin in plain loops."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcell.axes import Layout
from gridcell.errors import ShapeError
from gridcell.layers import Spell
from gridcell.layers.spelling import _each_once

from ..reference.comparison import assert_agrees, catches, normal, quick
from .checks import randomize, tensor

WORDS, WIDTH, ALPHABET, LETTERS = 5, 3, 4, 2


@st.composite
def cases(draw):
    batch, steps, length = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    seed = draw(st.integers(0, 999))
    random = np.random.default_rng(seed)
    ids = random.integers(0, WORDS, (batch, steps, 1 + length))
    # Words of unlike lengths, none at all among them; a letter may be 0 in the middle too.
    ids[..., 1:] = random.integers(0, ALPHABET, (batch, steps, length))
    ends = random.integers(0, length + 1, (batch, steps))
    ids[..., 1:][np.arange(length) >= ends[..., None]] = 0
    lengths = None
    if draw(st.booleans()):
        lengths = random.integers(0, steps + 1, batch).tolist()
    return {"ids": ids, "lengths": lengths, "window": draw(st.integers(1, 4)), "seed": seed}


def twin(
    ids,
    lengths,
    weights,
    grad_y,
    *,
    flips=False,
    reads_none=False,
    reads_padding=False,
    window_left=None,
):
    """The layer in plain loops: values, and the gradients of all weights."""
    words, letters, filters, bias = weights
    window = filters.shape[2]
    left = (window - 1) // 2 if window_left is None else window_left(window)
    used = filters[:, :, ::-1] if flips else filters
    y = np.zeros((*ids.shape[:2], WIDTH + LETTERS))
    grads = [np.zeros_like(each) for each in weights]
    for item, rows in enumerate(ids):
        for step, (word, *spelling) in enumerate(rows):
            if lengths is not None and step >= lengths[item] and not reads_padding:
                continue
            grad = grad_y[item, step]
            y[item, step, :WIDTH] = words[word]
            grads[0][word] += grad[:WIDTH]
            for number in range(LETTERS):
                best, place = None, None
                for p, letter in enumerate(spelling):
                    if letter == 0 and not reads_none:
                        continue
                    total = bias[number]
                    for k in range(window):
                        at = p + k - left
                        if 0 <= at < len(spelling) and (spelling[at] or reads_none):
                            total += used[number, :, k] @ letters[spelling[at]]
                    if best is None or total > best:
                        best, place = total, p
                if place is None:
                    continue
                y[item, step, WIDTH + number] = best
                share = grad[WIDTH + number]
                grads[3][number] += share
                for k in range(window):
                    at = place + k - left
                    if 0 <= at < len(spelling) and (spelling[at] or reads_none):
                        grads[1][spelling[at]] += share * used[number, :, k]
                        where = window - 1 - k if flips else k
                        grads[2][number, :, where] += share * letters[spelling[at]]
    return y, grads


def compare(case, **faults):
    layer = randomize(Spell(WORDS, WIDTH, ALPHABET, LETTERS, case["window"]).double())
    lengths = None if case["lengths"] is None else torch.tensor(case["lengths"])
    y = layer(torch.tensor(case["ids"]), lengths)
    grad_y = normal(case["seed"], *y.shape)
    weights = [layer.weight, layer.letter_weight, layer.filters, layer.bias]
    grads = torch.autograd.grad(y, weights, tensor(grad_y))
    arrays = [each.detach().numpy() for each in weights]
    wanted_y, wanted = twin(case["ids"], case["lengths"], arrays, grad_y, **faults)
    assert_agrees(wanted_y, y)
    for one, other in zip(wanted, grads, strict=True):
        assert_agrees(one, other)


@quick
@given(cases())
def test_spell_agrees_with_its_twin(case):
    compare(case)


def test_broken_twins_are_caught():
    catches(compare, cases(), flips=True)
    catches(compare, cases(), reads_none=True)
    catches(compare, cases(), reads_padding=True)
    catches(compare, cases(), window_left=lambda window: window // 2)


def test_the_padding_may_hold_anything():
    layer = randomize(Spell(5, 2, 4, letters=3))
    ids = torch.tensor([[[1, 2, 3], [4, 1, 0], [-9, 10**9, -1]]])
    y = layer(ids, torch.tensor([2]))
    assert torch.equal(y[0, :2], layer(ids[:, :2])[0]) and not y[0, 2:].any()
    assert not layer(ids, torch.tensor([0])).any()
    for dtype in (torch.uint8, torch.int32):
        assert torch.equal(layer(ids[:, :2].to(dtype)), y[:, :2])


def test_a_word_without_letters_has_its_row_alone():
    layer = randomize(Spell(5, 2, 4, letters=3))
    y = layer(torch.tensor([[[3, 0, 0]]]))
    assert torch.equal(y[0, 0, :2], layer.weight[3]) and not y[0, 0, 2:].any()


def test_how_many_places_for_letters_are_empty_changes_nothing():
    layer = randomize(Spell(5, 2, 4, letters=3))
    short = torch.tensor([[[3, 1, 2]]])
    long = torch.tensor([[[3, 1, 2, 0, 0, 0, 0]]])
    torch.testing.assert_close(layer(short), layer(long))


def test_each_spelling_is_looked_at_once_and_none_is_taken_for_another():
    words = torch.tensor([[2, 3, 0], [3, 2, 0], [1, 0, 0], [3, 2, 0], [2, 3, 0], [0, 0, 0]])
    spellings, place = _each_once(words)
    assert len(spellings) == 4 and torch.equal(spellings[place], words)
    with mock.patch("gridcell.layers.spelling.FACTOR", 1):  # which tells no anagrams apart
        spellings, place = _each_once(words)
    assert torch.equal(spellings[place], words)
    spellings, place = _each_once(words[:0])
    assert spellings.shape == (0, 3) and len(place) == 0


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[[5, 1]]], "spell id 5 is outside the table of 5 rows"),
        ([[[0, 4]]], "spell letter 4 is outside the table of 4 rows"),
        ([[[0, -1]]], "spell letter -1 is outside the table of 4 rows"),
        ([[[0.0, 1.0]]], "spell reads whole numbers; got torch.float32"),
        ([[0, 1]], r"spell input must be \[B, T, C\]; got \(1, 2\)"),
        ([[[0]]], r"spell reads an id and its letters; got \(1, 1, 1\)"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids, message):
    with pytest.raises(ShapeError, match=message):
        Spell(5, 2, 4)(torch.tensor(ids))


def test_wrong_lengths_are_refused():
    with pytest.raises(ShapeError, match=r"spell lengths\[0\] is 3: it must be 0 to 2"):
        Spell(5, 2, 4)(torch.ones(1, 2, 3, dtype=torch.int64), torch.tensor([3]))


def test_a_spelling_of_nothing_is_refused():
    with pytest.raises(ShapeError, match="spell needs a vocabulary, a width, an alphabet"):
        Spell(5, 2, 0)
    with pytest.raises(ShapeError, match="spell reads ids with letters beside them; got T x 3"):
        Spell(5, 2, 4).out_layout(Layout(3))
    layout = Layout(1 + 16, vocabulary=5, alphabet=4)
    assert Spell(5, 2, 4, letters=6).out_layout(layout) == Layout(8)


def test_the_same_generator_gives_the_same_weights():
    one, two = (Spell(5, 2, 4, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(first, second)
