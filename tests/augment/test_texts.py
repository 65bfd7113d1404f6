"""Steps of training texts that are read as unknown: which, how many, and what stays."""

import pytest
import torch

from gridcell.augment.texts import UNKNOWN_ID, TextAugment
from gridcell.errors import ConfigError, ShapeError
from gridcell.preparation.texts import UNKNOWN


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_about_the_share_of_the_steps_becomes_unknown():
    ids = torch.randint(2, 50, (40, 100), generator=generator(), dtype=torch.int32)
    lengths = torch.full((40,), 100)
    varied = TextAugment(unknown=0.2)(ids, lengths, generator(1))
    assert varied.dtype == ids.dtype
    is_hit = varied != ids
    assert (varied[is_hit] == UNKNOWN_ID).all() and UNKNOWN_ID == UNKNOWN
    assert 0.17 < is_hit.float().mean() < 0.23


def test_the_padding_stays_as_it_is():
    ids = torch.full((4, 6), 7)
    lengths = torch.tensor([6, 3, 0, 1])
    varied = TextAugment(unknown=0.9)(ids, lengths, generator())
    for row, length in enumerate(lengths.tolist()):
        assert (varied[row, length:] == 7).all()
    assert (varied == UNKNOWN_ID).any()


def test_the_letters_beside_a_word_stay():
    ids = torch.randint(2, 9, (3, 5, 1 + 4), generator=generator())
    varied = TextAugment(unknown=0.5)(ids, torch.tensor([5, 5, 2]), generator())
    assert torch.equal(varied[..., 1:], ids[..., 1:])
    assert (varied[..., 0] == UNKNOWN_ID).any() and not (ids[..., 0] == UNKNOWN_ID).any()


def test_the_same_seed_gives_the_same_bits_and_what_came_in_is_kept():
    ids = torch.randint(2, 50, (4, 30), generator=generator())
    before, lengths = ids.clone(), torch.full((4,), 30)
    augment = TextAugment(unknown=0.3)
    one, two, other = (augment(ids, lengths, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(ids, before)
    assert TextAugment()(ids, lengths, generator()) is ids


def test_few_texts_vary_more_than_many():
    assert TextAugment.choose(100).unknown > TextAugment.choose(100_000).unknown > 0
    assert TextAugment().describe() == "texts are not varied"
    assert "10% of its steps read as unknown" in TextAugment.choose(100).describe()


@pytest.mark.parametrize("share", [-0.1, 0.95, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ConfigError, match=r"augment\.unknown = .* must be 0 to 0\.9"):
        TextAugment(unknown=share)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"must be ids \[B, T\] or \[B, T, 1 \+ L\]; got \(3,\)"):
        TextAugment(unknown=0.1)(torch.ones(3), torch.ones(3), generator())
    ids = torch.ones(2, 3, dtype=torch.int64)
    with pytest.raises(ShapeError, match=r"TextAugment lengths\[1\] is 4"):
        TextAugment(unknown=0.1)(ids, torch.tensor([3, 4]), generator())
