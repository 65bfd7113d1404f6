"""Images that are mirrored in turn."""

import numpy as np
import pytest
import torch

from gridcell.augment.images import ImageAugment
from gridcell.batches import Images, training_batches
from gridcell.config import SplitConfig
from gridcell.splits import split

from ..test_splits import made

COUNT = 200


def images(augment: ImageAugment, rows: np.ndarray | None = None) -> Images:
    """Pictures whose first pixel names them, and whose right half is white."""
    pixels = np.zeros((COUNT, 4, 4, 1), np.uint8)
    pixels[:, :, 2:] = 255
    rows = np.arange(COUNT) if rows is None else rows
    return Images(pixels, torch.arange(COUNT), rows, augment)


def mirrored(data: Images, epoch: int, *, seed: int = 0, size: int = 32) -> dict[int, bool]:
    """Of each row, whether training sees it mirrored in this epoch."""
    found: dict[int, bool] = {}
    for batch in training_batches(data, size=size, seed=seed, epoch=epoch):
        left = batch.values[:, 0, 0, 0, 0] == 255
        found |= dict(zip(batch.rows.tolist(), left.tolist(), strict=True))
    return found


def test_each_image_is_mirrored_in_every_other_epoch() -> None:
    data = images(ImageAugment(flip=True))
    first, second, third = (mirrored(data, epoch) for epoch in (1, 2, 3))
    assert sorted(first) == list(range(COUNT))
    assert 0.4 * COUNT < sum(first.values()) < 0.6 * COUNT
    assert second == {row: not is_mirrored for row, is_mirrored in first.items()}
    assert third == first


def test_who_is_mirrored_first_follows_from_the_seed_alone() -> None:
    data = images(ImageAugment(flip=True))
    assert mirrored(data, 1, seed=1) != mirrored(data, 1, seed=2)
    some = mirrored(images(ImageAugment(flip=True), np.arange(7, 90)), 1, size=5)
    whole = mirrored(data, 1)
    assert some == {row: whole[row] for row in range(7, 90)}


@pytest.mark.parametrize("seed", [0, 1])
def test_of_the_training_rows_that_the_seed_draws_half_are_mirrored_first(seed: int) -> None:
    count = 2000
    samples = made(np.arange(count) % 5)
    rows = split(samples, SplitConfig(valid=0.2, test=0.4), seed=seed).rows("train")
    pixels = np.zeros((count, 1, 1, 1), np.uint8)
    data = Images(pixels, torch.zeros(count), rows, ImageAugment(flip=True))
    turned = data.in_epoch(1, seed=seed).is_turned
    assert turned is not None
    assert 0.44 < turned[rows].mean() < 0.56


@pytest.mark.parametrize("is_varied", [False, True])
def test_images_that_are_not_to_be_mirrored_are_not(is_varied: bool) -> None:
    data = images(ImageAugment(flip=not is_varied, brightness=0.1))
    for epoch in (1, 2):
        batches = training_batches(data, size=32, seed=0, epoch=epoch, is_varied=is_varied)
        assert all((batch.values[:, 0, 0, 0, 3] > 200).all() for batch in batches)


def test_a_batch_alone_draws_who_is_mirrored() -> None:
    data = images(ImageAugment(flip=True))
    places = np.arange(COUNT)
    seen = [
        data.batch(places, torch.Generator().manual_seed(n)).values[:, 0, 0, 0, 0] for n in (0, 1)
    ]
    assert (seen[0] != seen[1]).any()
