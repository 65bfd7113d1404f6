"""The working size follows from the headers; mean and deviation from training rows alone."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from gridcell.config import IMAGE_SIZE_LARGEST, DataConfig
from gridcell.preparation import ImagePreparation, choose_size, fit_images
from gridcell.preparation.images import ImageReader
from gridcell.samples import ImageFacts, Samples


def samples(*sizes: tuple[int, int], colour: bool = False) -> Samples:
    """Images of which nothing but size and colour is known."""
    count = len(sizes)
    return Samples(
        task="classify",
        paths=("",) * count,
        root="",
        labels=("a", "b"),
        targets=np.zeros(count, np.int64),
        digests=np.zeros(count, "V16"),
        facts=ImageFacts(
            np.array(sizes, np.int32), np.array([False] * (count - 1) + [colour], np.bool_)
        ),
        given=np.zeros(count, np.int8),
    )


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(28, 28), (28, 28)], (28, 28)),  # small and all alike: as they are
        ([(20, 30), (20, 30)], (20, 30)),
        ([(64, 64)], (64, 64)),
        ([(28, 28), (28, 29)], (28, 28)),  # squares of the median short side
        ([(400, 533), (711, 400), (300, 300)], (128, 128)),  # at most 128
        ([(4, 90), (90, 4)], (16, 16)),  # at least 16
        ([(70, 70)], (70, 70)),
    ],
)
def test_the_size_suits_the_images(sizes: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    chosen = choose_size(samples(*sizes), DataConfig())
    assert (chosen.height, chosen.width) == expected


def test_a_size_and_a_fit_that_are_asked_for_are_taken() -> None:
    chosen = choose_size(samples((28, 28)), DataConfig(image_size=40, image_fit="pad"))
    assert (chosen.height, chosen.width, chosen.fit) == (40, 40, "pad")


def test_one_image_in_colour_makes_three_channels() -> None:
    assert choose_size(samples((8, 8), (8, 8)), DataConfig()).channels == 1
    assert choose_size(samples((8, 8), (8, 8), colour=True), DataConfig()).channels == 3


def test_other_proportions_are_spoken_of_only_where_there_are_any() -> None:
    square = samples((400, 400), (300, 300))
    mixed = samples((400, 400), (300, 200))
    chosen = choose_size(square, DataConfig())
    assert isinstance(square.facts, ImageFacts) and isinstance(mixed.facts, ImageFacts)
    assert chosen.describe(square.facts) == "128x128 grey"
    assert chosen.describe(mixed.facts) == (
        "128x128 grey, images of other proportions are stretched"
    )


def test_mean_and_deviation_are_those_of_the_training_rows() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 5, 4, 3), dtype=np.uint8)
    rows = np.array([7, 1, 4])
    found = fit_images(ImagePreparation(5, 4, 3, "stretch"), pixels, rows)
    chosen = pixels[rows].astype(np.float64)
    np.testing.assert_allclose(found.mean, chosen.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, chosen.std((0, 1, 2)), rtol=1e-10)
    changed = pixels.copy()
    changed[[0, 2, 3, 5, 6, 8]] = 255
    assert fit_images(ImagePreparation(5, 4, 3, "stretch"), changed, rows) == found


def test_many_rows_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1), dtype=np.uint8)
    rows = np.arange(50)
    plain = ImagePreparation(4, 4, 1, "stretch")
    whole = fit_images(plain, pixels, rows)
    monkeypatch.setattr(sys.modules[fit_images.__module__], "CHUNK_VALUES", 3 * 16)
    assert fit_images(plain, pixels, rows[::-1]) == whole


def test_a_constant_channel_has_no_deviation() -> None:
    pixels = np.full((4, 3, 3, 1), 200, np.uint8)
    found = fit_images(ImagePreparation(3, 3, 1, "stretch"), pixels, np.arange(4))
    assert found == replace(found, mean=(200.0,), deviation=(0.0,))


def test_the_reader_brings_files_to_the_chosen_size() -> None:
    reader = ImagePreparation(5, 4, 3, "pad").reader
    assert reader == ImageReader(5, 4, 3, "pad") and reader.inner == (5, 4, 3)


def test_numbers_that_do_not_hold_together_are_not_whole() -> None:
    whole = ImagePreparation(5, 4, 3, "pad", (1.0, 2.0, 3.0), (1.0, 1.0, 1.0))
    assert whole.is_whole
    for change in (
        {"height": 0},
        {"width": IMAGE_SIZE_LARGEST + 1},
        {"channels": 2},
        {"channels": 1},
        {"mean": ()},
        {"deviation": (1.0,)},
    ):
        assert not replace(whole, **change).is_whole, change  # type: ignore[arg-type]
