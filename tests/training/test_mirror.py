"""Whether mirroring keeps the class is judged from the training rows."""

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from gridcell.training.mirror import mirror_test

Pixels = NDArray[np.uint8]


def blobs(count: int, *, where: str) -> tuple[Pixels, NDArray[np.int64]]:
    """Images of two classes: a bright spot on the left or right, or above or below."""
    random = np.random.default_rng(0)
    targets = np.arange(count) % 2
    pixels = random.integers(0, 60, (count, 16, 16, 1)).astype(np.uint8)
    for image, target in zip(pixels, targets, strict=True):
        start = 2 if target else 10
        rows, columns = (slice(6, 10), slice(start, start + 4))
        if where == "above or below":
            rows, columns = columns, rows
        image[rows, columns] = 250
    return pixels, targets


def test_classes_that_are_each_others_mirror_image_are_not_mirrored() -> None:
    pixels, targets = blobs(300, where="left or right")
    found = mirror_test("classify", pixels, targets, np.arange(300), seed=0)
    assert not found.is_kept
    assert (
        found.reason
        == "not mirrored: nearest neighbours name 0% of them mirrored, 100% as they are"
    )


def test_classes_that_look_the_same_in_a_mirror_are_mirrored() -> None:
    pixels, targets = blobs(300, where="above or below")
    found = mirror_test("classify", pixels, targets, np.arange(300), seed=0)
    assert found.is_kept and found.reason.startswith("mirrored: ")


def test_real_handwritten_digits_are_not_mirrored() -> None:
    digits = load_digits()
    pixels = (digits.images * 15).astype(np.uint8)[..., None]
    rows = np.arange(len(pixels))
    assert not mirror_test("classify", pixels, digits.target, rows, seed=0).is_kept


def test_only_the_rows_given_are_looked_at() -> None:
    pixels, targets = blobs(300, where="left or right")
    rows = np.arange(0, 200)
    before = mirror_test("classify", pixels, targets, rows, seed=0)
    pixels[200:] = 255
    assert mirror_test("classify", pixels, targets, rows, seed=0) == before


def test_numbers_labels_and_few_images_are_not_mirrored() -> None:
    pixels, targets = blobs(40, where="above or below")
    assert not mirror_test("regress", pixels, targets[:, None], np.arange(40), seed=0).is_kept
    assert not mirror_test("labels", pixels, targets[:, None], np.arange(40), seed=0).is_kept
    few = mirror_test("classify", pixels, targets, np.arange(10), seed=0)
    assert "too few images" in few.reason and not few.is_kept


def test_large_images_are_thinned_out_and_judged_alike() -> None:
    pixels, targets = blobs(300, where="left or right")
    large = pixels.repeat(8, axis=1).repeat(8, axis=2)
    assert not mirror_test("classify", large, targets, np.arange(300), seed=0).is_kept
