"""Random variation of whole batches, against the same change made by hand."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gridcell.augment.images import ImageAugment
from gridcell.errors import ConfigError, ShapeError

EVERYTHING = ImageAugment(
    flip=True,
    shift=0.2,
    rotate=30,
    scale=0.3,
    brightness=0.5,
    contrast=0.5,
    saturation=0.5,
    erase=0.5,
)
MOVES = ImageAugment(flip=True, shift=0.2, erase=0.5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 32, channels: int = 3, height: int = 10, width: int = 14) -> Tensor:
    shape = (count, channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(99))


def with_only(kind: str, strength: float) -> ImageAugment:
    settings: dict[str, Any] = {kind: strength}
    return ImageAugment(**settings)


def luminance(pixels: Tensor) -> Tensor:
    return (pixels * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def shifted_by_hand(image: Tensor, down: int, right: int) -> Tensor:
    """Move an image [C, H, W] and repeat its border into what comes free."""
    padded = np.pad(image.numpy(), ((0, 0), (9, 9), (9, 9)), mode="edge")
    height, width = image.shape[1:]
    top, left = 9 - down, 9 - right
    return torch.from_numpy(padded[:, top : top + height, left : left + width].copy())


# --- All kinds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", [EVERYTHING, MOVES])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_same_seed_gives_the_same_bits(
    augment: ImageAugment, layout: torch.memory_format
) -> None:
    pixels = batch().contiguous(memory_format=layout)
    first, second = augment(pixels, seeded(5)), augment(pixels, seeded(5))
    assert torch.equal(first, second)
    assert not torch.equal(first, augment(pixels, seeded(6)))
    assert first.is_contiguous(memory_format=layout)
    assert torch.equal(first, augment(batch(), seeded(5))), "the memory format changes no value"


def test_nothing_to_do_returns_the_input_itself() -> None:
    pixels = batch()
    assert ImageAugment()(pixels, seeded()) is pixels
    assert ImageAugment(erase=0.5, erase_size=0)(pixels, seeded()).equal(pixels)


def test_the_input_is_never_written_to() -> None:
    for pixels in (batch(), batch().float()):
        before = pixels.clone()
        for augment in (EVERYTHING, MOVES, ImageAugment(brightness=0.5), ImageAugment(erase=1)):
            augment(pixels, seeded())
            assert torch.equal(pixels, before)


def test_8_bits_stay_8_bits_while_pixels_only_move() -> None:
    assert MOVES(batch(), seeded()).dtype == torch.uint8
    assert MOVES(batch().float(), seeded()).dtype == torch.float32
    for kind in ("rotate", "scale", "brightness", "contrast", "saturation"):
        assert with_only(kind, 0.1)(batch(), seeded()).dtype == torch.float32


@pytest.mark.parametrize("channels", [1, 3])
def test_values_stay_in_range_and_finite_whatever_the_strength(channels: int) -> None:
    strong = ImageAugment(
        flip=True,
        shift=0.5,
        rotate=180,
        scale=1,
        brightness=1,
        contrast=1,
        saturation=1 if channels == 3 else 0,
        erase=1,
        erase_size=1,
    )
    for seed in range(5):
        varied = strong(batch(channels=channels), seeded(seed))
        assert torch.isfinite(varied).all()
        assert varied.min() >= 0 and varied.max() <= 255
    assert varied.shape == (32, channels, 10, 14)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (3, 40)])
def test_pictures_of_a_pixel_or_two_work(shape: tuple[int, int]) -> None:
    for channels in (1, 3):
        augment = ImageAugment.choose(*shape, channels, 100)
        assert augment(batch(4, channels, *shape), seeded()).shape == (4, channels, *shape)
    assert EVERYTHING(batch(4, 3, *shape), seeded()).shape == (4, 3, *shape)
    assert EVERYTHING(batch(0, 3, *shape), seeded()).shape == (0, 3, *shape)


def test_an_image_is_varied_alone_whatever_stands_beside_it() -> None:
    pixels = batch()
    others = pixels.clone()
    others[1:] = 255 - others[1:]
    for augment in (EVERYTHING, MOVES):
        assert torch.equal(augment(pixels, seeded())[0], augment(others, seeded())[0])


def test_a_large_batch_is_varied_as_its_images_are(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = EVERYTHING(batch(), seeded())
    monkeypatch.setattr("gridcell.augment.images.CHUNK_VALUES", 3 * 10 * 14 * 5)
    assert torch.equal(EVERYTHING(batch(), seeded()), whole)


def test_one_kind_more_leaves_the_draws_of_the_others_alone() -> None:
    pixels = batch()
    plain = ImageAugment(flip=True)(pixels, seeded())
    light = ImageAugment(flip=True, erase=0.3)(pixels, seeded())
    is_same = (plain == light).flatten(1).all(1)
    assert 0.5 < is_same.float().mean() < 1


# --- Moving --------------------------------------------------------------------------------------


def test_half_of_the_images_are_mirrored_and_a_mirrored_mirror_is_the_image() -> None:
    pixels = batch(400)
    flip = ImageAugment(flip=True)
    once = flip(pixels, seeded(1))
    is_mirrored = (once == pixels.flip(3)).flatten(1).all(1)
    is_kept = (once == pixels).flatten(1).all(1)
    assert (is_mirrored ^ is_kept).all()
    assert 0.42 < is_mirrored.float().mean() < 0.58
    assert torch.equal(flip(once, seeded(1)), pixels)


def test_a_shifted_image_equals_the_one_shifted_by_hand() -> None:
    pixels = batch(300)
    varied = ImageAugment(shift=0.2)(pixels, seeded(2))
    seen = set()
    for before, after in zip(pixels, varied, strict=True):
        fits = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-3, 4)
            if torch.equal(shifted_by_hand(before, down, right), after)
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == 5 * 7, "each shift of up to 2 down and 3 across occurs"


def test_sampling_with_hardly_a_turn_is_the_shift_and_the_flip() -> None:
    pixels = batch()
    moved = ImageAugment(flip=True, shift=0.2)(pixels, seeded(3)).float()
    for almost in (
        ImageAugment(flip=True, shift=0.2, rotate=1e-6),
        ImageAugment(flip=True, shift=0.2, scale=1e-8),
    ):
        sampled = almost(pixels, seeded(3))
        inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
        assert (sampled - moved)[inside].abs().max() < 0.05


def test_a_turn_is_one_of_the_angle_drawn_and_keeps_shapes() -> None:
    """A disc off the centre of an oblong image moves along a circle of pixels, not an ellipse."""
    y, x = torch.meshgrid(torch.arange(41.0), torch.arange(61.0), indexing="ij")
    disc = (((x - 42) ** 2 + (y - 20) ** 2) < 16).to(torch.uint8) * 200
    pixels = disc.expand(200, 1, 41, 61).contiguous()
    varied = ImageAugment(rotate=60)(pixels, seeded(4))[:, 0]
    mass = varied.sum((1, 2))
    at_x = (varied * x).sum((1, 2)) / mass - 30
    at_y = (varied * y).sum((1, 2)) / mass - 20
    assert (torch.hypot(at_x, at_y) - 12).abs().max() < 0.1
    angles = torch.rad2deg(torch.atan2(at_y, at_x))
    assert angles.min() < -55 and angles.max() > 55 and angles.abs().max() < 60.5
    assert (mass / mass.mean() - 1).abs().max() < 0.05


def test_a_zoom_is_as_often_larger_as_smaller() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    disc = (((x - 31.5) ** 2 + (y - 31.5) ** 2) < 144).to(torch.uint8) * 200
    pixels = disc.expand(400, 1, 64, 64).contiguous()
    before = pixels[0].sum().item()
    zoom = (ImageAugment(scale=0.5)(pixels, seeded(5)).sum((1, 2, 3)) / before).sqrt()
    assert 1.4 < zoom.max() < 1.53 and 0.65 < zoom.min() < 0.7
    assert abs(zoom.log().mean()) < 0.05


def test_what_comes_from_outside_repeats_the_border() -> None:
    pixels = torch.full((16, 3, 20, 20), 77, dtype=torch.uint8)
    for augment in (ImageAugment(shift=0.5), ImageAugment(shift=0.5, rotate=90, scale=1)):
        assert (augment(pixels, seeded()).float() - 77).abs().max() < 1e-3


# --- Light ---------------------------------------------------------------------------------------


def test_brightness_multiplies_every_pixel_of_an_image_alike() -> None:
    pixels = (batch(200) // 4 + 60).to(torch.uint8)
    ratio = ImageAugment(brightness=0.3)(pixels, seeded()) / pixels
    factors = ratio.mean((1, 2, 3))
    assert (ratio - factors[:, None, None, None]).abs().max() < 1e-4
    assert 0.7 <= factors.min() < 0.75 and 1.25 < factors.max() <= 1.3


@pytest.mark.parametrize("channels", [1, 3])
def test_contrast_scales_the_distance_from_the_mean_grey(channels: int) -> None:
    pixels = (batch(100, channels) // 4 + 90).to(torch.uint8)
    varied = ImageAugment(contrast=0.5)(pixels, seeded())
    grey = luminance(pixels) if channels == 3 else pixels.float()
    mean = grey.mean((1, 2, 3), keepdim=True)
    factor = (varied - mean)[:, :1, :1, :1] / (pixels - mean)[:, :1, :1, :1]
    assert (varied - (mean + factor * (pixels - mean))).abs().max() < 0.01
    assert 0.5 <= factor.min() < 0.6 and 1.4 < factor.max() <= 1.5


def test_saturation_keeps_the_luminance_and_scales_the_rest() -> None:
    pixels = (batch(100) // 4 + 90).to(torch.uint8)
    varied = ImageAugment(saturation=0.5)(pixels, seeded())
    grey = luminance(pixels)
    assert (luminance(varied) - grey).abs().max() < 0.01
    factor = (varied - grey).flatten(1).norm(dim=1) / (pixels - grey).flatten(1).norm(dim=1)
    factor = factor[:, None, None, None]
    assert (varied - (grey + factor * (pixels - grey))).abs().max() < 0.01
    greys = pixels[:, :1].expand(-1, 3, -1, -1).contiguous()
    assert (ImageAugment(saturation=1)(greys, seeded()) - greys).abs().max() < 0.01


def test_light_changes_in_the_order_saturation_contrast_brightness() -> None:
    pixels = batch(100) // 4 + 90
    varied = ImageAugment(brightness=0.2, contrast=0.3, saturation=0.4)(pixels, seeded(7))
    draws = torch.rand(13 + 3, 100, generator=seeded(7))[5:8, :, None, None, None] * 2 - 1
    bright, contrast, saturation = (
        1 + torch.tensor([0.2, 0.3, 0.4])[:, None, None, None, None] * draws
    )
    grey = luminance(pixels)
    wanted = grey + saturation * (pixels - grey)
    mean = grey.mean((1, 2, 3), keepdim=True)
    wanted = bright * (mean + contrast * (wanted - mean))
    assert (varied - wanted).abs().max() < 0.01


def test_erasing_paints_one_rectangle_of_one_colour_over_its_share_of_images() -> None:
    pixels = batch(1000, 3, 20, 30)
    varied = ImageAugment(erase=0.3, erase_size=0.4)(pixels, seeded())
    is_changed = (varied != pixels).any(1)
    is_hit = is_changed.flatten(1).any(1)
    assert 0.26 < is_hit.float().mean() < 0.34
    for image, changed in zip(varied[is_hit], is_changed[is_hit], strict=True):
        rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
        top, bottom = int(rows.min()), int(rows.max()) + 1
        left, right = int(columns.min()), int(columns.max()) + 1
        assert bottom - top <= 8 and right - left <= 12
        patch = image[:, top:bottom, left:right]
        assert (patch == patch[:, :1, :1]).all()


# --- Settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "high"),
    [("shift", 0.6, "0.5"), ("rotate", 181, "180"), ("erase", -0.1, "1"), ("scale", 2, "1")],
)
def test_a_setting_out_of_range_is_refused(name: str, value: float, high: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_only(name, value)
    wanted = f"augment.{name} = {value:g} is out of range: it must be 0 to {high}."
    assert str(caught.value) == wanted
    with pytest.raises(ConfigError):
        with_only(name, math.nan)


def test_saturation_on_grey_images_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        ImageAugment(saturation=0.2)(batch(channels=1), seeded())
    assert str(caught.value) == (
        "augment.saturation = 0.2 has no effect on images of 1 channel: it needs 3.\n"
        "  Fix: set it to 0."
    )


def test_an_image_without_a_batch_axis_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"ImageAugment input must be \[B, C, H, W\]; got"):
        EVERYTHING(batch()[0], seeded())


def test_the_chosen_settings_fit_the_size_colour_and_count() -> None:
    small = ImageAugment.choose(28, 28, 1, 60_000)
    assert small.flip and small.shift and not small.rotate and not small.saturation
    assert not ImageAugment.choose(28, 28, 1, 60_000, flip=False).flip
    assert small(batch(8, 1, 28, 28), seeded()).dtype == torch.uint8
    few, many = (ImageAugment.choose(32, 32, 3, count) for count in (500, 50_000))
    assert few.erase and few.brightness and not many.erase and not many.brightness
    assert 0 < many.shift < few.shift
    large = ImageAugment.choose(128, 128, 3, 500)
    assert large.flip and large.rotate and large.saturation
    assert not ImageAugment.choose(128, 128, 1, 500).saturation
    many = ImageAugment.choose(128, 128, 3, 50_000)
    assert many.rotate < large.rotate and many.brightness < large.brightness


def test_the_settings_are_told_in_a_sentence() -> None:
    assert ImageAugment().describe() == "images are not varied"
    assert EVERYTHING.describe() == (
        "each image at random: mirrored left to right, shifted by up to 20%, turned by up to 30 "
        "degrees, scaled by up to 30%, brightness by 50%, contrast by 50%, saturation by 50%, "
        "50% with a rectangle of up to 40% painted over"
    )


@pytest.mark.parametrize(
    ("shape", "limit_ms"), [((128, 1, 28, 28), 2.0), ((32, 3, 128, 128), 15.0)]
)
def test_a_batch_is_varied_in_a_few_milliseconds_of_one_core(
    shape: tuple[int, int, int, int], limit_ms: float
) -> None:
    pixels = batch(*shape)
    augment = ImageAugment.choose(shape[2], shape[3], shape[1], 1000)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        spent = []
        for seed in range(12):
            start = time.thread_time()
            augment(pixels, seeded(seed))
            spent.append((time.thread_time() - start) * 1000)
    finally:
        torch.set_num_threads(threads)
    # Half as much again for slower machines: this is to catch a loop over images, not a bad day.
    assert min(spent) < limit_ms * 1.5
