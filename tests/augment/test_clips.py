"""Random variation of clips: every frame of a clip alike, against the change made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gridcell.augment.clips import ClipAugment
from gridcell.augment.images import ImageAugment
from gridcell.errors import ConfigError, ShapeError

EVERYTHING = ClipAugment(
    flip=True,
    shift=0.2,
    scale=0.3,
    brightness=0.5,
    contrast=0.5,
    erase=0.5,
    time_crop=0.25,
)
MOVES = ClipAugment(flip=True, shift=0.2, erase=0.5, time_crop=0.25)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(
    count: int = 12, frames: int = 8, channels: int = 3, height: int = 10, width: int = 14
) -> tuple[Tensor, Tensor]:
    """Clips of random pixels and of unlike length, from none of the frames to all."""
    shape = (count, frames, channels, height, width)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(99))
    return pixels, torch.arange(count) % (frames + 1)


def still(count: int, frames: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    """Clips whose frames are all the same picture."""
    pixels, _ = batch(count, 1, channels)
    return pixels.repeat(1, frames, 1, 1, 1), torch.full((count,), frames)


def with_only(kind: str, strength: float) -> ClipAugment:
    settings: dict[str, Any] = {kind: strength}
    return ClipAugment(**settings)


def channels_last(pixels: Tensor) -> Tensor:
    """The same values, with the channels last in memory."""
    return pixels.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


# --- All kinds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", [EVERYTHING, MOVES])
def test_the_same_seed_gives_the_same_bits(augment: ClipAugment) -> None:
    pixels, lengths = batch()
    first, kept = augment(pixels, lengths, seeded(5))
    again, kept_again = augment(pixels, lengths, seeded(5))
    assert torch.equal(first, again) and torch.equal(kept, kept_again)
    other, _ = augment(pixels, lengths, seeded(6))
    assert first.shape != other.shape or not torch.equal(first, other)
    turned, _ = augment(channels_last(pixels), lengths, seeded(5))
    assert torch.allclose(first.float(), turned.float(), atol=1e-3), "values, not memory, decide"


def test_nothing_to_do_returns_the_input_itself() -> None:
    pixels, lengths = batch()
    for augment in (ClipAugment(), ClipAugment(erase=0.5, erase_size=0)):
        varied, kept = augment(pixels, lengths, seeded())
        assert varied is pixels and kept is lengths


def test_the_input_is_never_written_to() -> None:
    pixels, lengths = batch()
    for values in (pixels, pixels.float(), channels_last(pixels)):
        before, lengths_before = values.clone(), lengths.clone()
        for augment in (EVERYTHING, MOVES, ClipAugment(contrast=0.5), ClipAugment(erase=1)):
            augment(values, lengths, seeded())
            assert torch.equal(values, before) and torch.equal(lengths, lengths_before)


def test_8_bits_stay_8_bits_while_pixels_only_move() -> None:
    pixels, lengths = batch()
    assert MOVES(pixels, lengths, seeded())[0].dtype == torch.uint8
    assert MOVES(pixels.float(), lengths, seeded())[0].dtype == torch.float32
    for kind in ("scale", "brightness", "contrast"):
        assert with_only(kind, 0.1)(pixels, lengths, seeded())[0].dtype == torch.float32


@pytest.mark.parametrize("channels", [1, 3])
def test_values_stay_in_range_and_finite_whatever_the_strength(channels: int) -> None:
    strong = ClipAugment(
        flip=True, shift=0.5, scale=1, brightness=1, contrast=1, erase=1, erase_size=1
    )
    for seed in range(5):
        varied, _ = strong(*batch(channels=channels), seeded(seed))
        assert torch.isfinite(varied).all()
        assert varied.min() >= 0 and varied.max() <= 255
    assert varied.shape == (12, 8, channels, 10, 14)


@pytest.mark.parametrize("shape", [(4, 1, 3, 1, 1), (4, 3, 1, 1, 2), (0, 3, 3, 8, 8)])
def test_clips_of_a_frame_or_a_pixel_or_none_work(shape: tuple[int, ...]) -> None:
    pixels = torch.zeros(shape, dtype=torch.uint8)
    lengths = torch.full((shape[0],), shape[1])
    for augment in (EVERYTHING, ClipAugment.choose(shape[3], shape[4], shape[2], 100)):
        varied, kept = augment(pixels, lengths, seeded())
        assert varied.shape == shape and torch.equal(kept, lengths)


@pytest.mark.parametrize("kind", ["flip", "shift", "scale", "brightness", "contrast", "erase"])
def test_every_frame_of_a_clip_is_varied_alike(kind: str) -> None:
    strength = {"flip": True, "erase": 1.0}.get(kind, 0.4)
    pixels, lengths = still(12, 6)
    varied, _ = with_only(kind, strength)(pixels, lengths, seeded())
    assert torch.equal(varied, varied[:, :1].expand_as(varied))
    change = (varied.float() - pixels)[:, 0].flatten(1)
    assert (change[:, None] != change[None]).any(2).sum() > 12, "and the clips are not"


def test_a_clip_is_varied_alone_whatever_stands_beside_it_or_behind_its_end() -> None:
    pixels, lengths = batch(6, 8)
    lengths[0] = 5
    others = pixels.clone()
    others[1:] = 255 - others[1:]
    others[0, 5:] = 255
    for kind in ("flip", "shift", "scale", "brightness", "contrast", "erase"):
        augment = with_only(kind, 0.5 if kind != "flip" else True)
        for seed in range(3):
            varied, _ = augment(pixels, lengths, seeded(seed))
            beside, _ = augment(others, lengths, seeded(seed))
            assert torch.equal(varied[0, :5], beside[0, :5])


def test_a_clip_varies_alike_with_more_padding_behind_it() -> None:
    pixels, lengths = still(6, 4)
    padded = torch.cat([pixels, torch.full_like(pixels, 255)], 1)
    for augment in (MOVES, EVERYTHING):
        short, kept = augment(pixels, lengths, seeded(3))
        long, kept_long = augment(padded, lengths, seeded(3))
        assert torch.equal(kept, kept_long)
        for clip, beside, count in zip(short, long, kept.tolist(), strict=True):
            assert torch.equal(clip[:count], beside[:count])


# --- Moving --------------------------------------------------------------------------------------


def test_a_marked_pixel_moves_by_the_same_way_in_every_frame() -> None:
    """The mark walks to the right, a pixel a frame; where it walks afterwards tells the shift."""
    clips, frames = 200, 5
    pixels = torch.zeros(clips, frames, 1, 20, 30, dtype=torch.uint8)
    for frame in range(frames):
        pixels[:, frame, 0, 10, 12 + frame] = 200
    lengths = torch.full((clips,), frames)
    varied, _ = ClipAugment(shift=0.2)(pixels, lengths, seeded())
    place = varied[:, :, 0].flatten(2).argmax(2)
    down = place // 30 - 10
    right = place % 30 - 12 - torch.arange(frames)
    assert (varied != 0).flatten(2).sum(2).eq(1).all()
    assert (down == down[:, :1]).all() and (right == right[:, :1]).all()
    assert set(down[:, 0].tolist()) == set(range(-4, 5))
    assert set(right[:, 0].tolist()) == set(range(-6, 7))
    mirrored, _ = ClipAugment(flip=True)(pixels, lengths, seeded())
    column = mirrored[:, :, 0].flatten(2).argmax(2) % 30
    walk = column[:, 1:] - column[:, :-1]
    assert (walk == walk[:, :1]).all() and 0.4 < (walk[:, 0] == -1).float().mean() < 0.6


@pytest.mark.parametrize("settings", [{"flip": True, "shift": 0.2}, {"shift": 0.1, "scale": 0.3}])
def test_a_still_clip_moves_as_the_image_does(settings: dict[str, Any]) -> None:
    pixels, lengths = still(12, 1)
    generator = seeded(4)
    torch.rand(9 + 3, 12, generator=generator)
    wanted = ImageAugment(**settings)(pixels[:, 0], generator)
    varied, _ = ClipAugment(**settings)(pixels, lengths, seeded(4))
    assert torch.equal(varied[:, 0], wanted)


# --- Light ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_light_is_one_straight_line_around_the_mean_grey_of_the_valid_frames(
    channels: int,
) -> None:
    pixels, lengths = batch(30, 6, channels)
    pixels = pixels // 4 + 90
    varied, _ = ClipAugment(brightness=0.2, contrast=0.3)(pixels, lengths, seeded(7))
    draws = torch.rand(9 + channels, 30, generator=seeded(7)).double().numpy() * 2 - 1
    parts = np.array([0.299, 0.587, 0.114] if channels == 3 else [1.0])
    for index, count in enumerate(lengths.tolist()):
        values = pixels[index].double().numpy()
        bright, contrast = 1 + 0.2 * draws[2, index], 1 + 0.3 * draws[3, index]
        mean = (values[:count].mean((0, 2, 3)) * parts).sum() if count else 0.0
        wanted = bright * (mean + contrast * (values - mean))
        assert np.abs(varied[index].numpy() - wanted.clip(0, 255))[:count].max(initial=0) < 0.01


def test_the_strongest_light_is_reached() -> None:
    pixels, lengths = still(300, 2)
    pixels = pixels // 4 + 60
    ratio = (ClipAugment(brightness=0.3)(pixels, lengths, seeded())[0] / pixels).flatten(1)
    assert (ratio - ratio[:, :1]).abs().max() < 1e-4
    assert 0.7 <= ratio.min() + 1e-5 < 0.71 and 1.29 < ratio.max() <= 1.3001


def test_erasing_paints_one_rectangle_of_one_colour_over_all_frames() -> None:
    pixels, lengths = batch(600, 3, 3, 20, 30)
    varied, _ = ClipAugment(erase=0.3, erase_size=0.4)(pixels, lengths, seeded())
    is_changed = (varied != pixels).flatten(1, 2).any(1)
    is_hit = is_changed.flatten(1).any(1)
    assert 0.25 < is_hit.float().mean() < 0.35
    colours = set()
    for clip, changed in zip(varied[is_hit], is_changed[is_hit], strict=True):
        rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
        top, bottom = int(rows.min()), int(rows.max()) + 1
        left, right = int(columns.min()), int(columns.max()) + 1
        assert bottom - top <= 8 and right - left <= 12
        patch = clip[:, :, top:bottom, left:right]
        assert (patch == patch[:1, :, :1, :1]).all()
        colours.add(tuple(patch[0, :, 0, 0].tolist()))
    assert len(colours) > 100
    assert sum(len(set(colour)) == 3 for colour in colours) > 100, "colours, not only greys"


# --- Time ----------------------------------------------------------------------------------------


def test_what_is_left_of_a_clip_is_a_stretch_of_its_frames_in_their_order() -> None:
    frames = torch.arange(1, 21, dtype=torch.uint8)[None, :, None, None, None]
    pixels = frames.repeat(600, 1, 1, 2, 2)
    lengths = torch.tensor([20, 8, 3, 1, 0, 12]).repeat(100)
    pixels[torch.arange(20) >= lengths[:, None]] = 255
    varied, kept = ClipAugment(time_crop=0.25)(pixels, lengths, seeded())
    assert kept.dtype == torch.int64 and varied.shape[1] == int(kept.max())
    seen: dict[int, set[tuple[int, int]]] = {}
    for clip, before, after in zip(varied[:, :, 0, 0, 0], lengths.tolist(), kept, strict=True):
        count = int(after)
        assert before - before // 4 <= count <= before
        stretch = clip[:count].tolist()
        first = stretch[0] if stretch else 1
        assert stretch == list(range(first, first + count)) and first + count - 1 <= before
        seen.setdefault(before, set()).add((first, count))
    assert seen[8] == {(1, 8), (1, 7), (2, 7), (1, 6), (2, 6), (3, 6)}
    assert seen[3] == {(1, 3)} and seen[1] == {(1, 1)} and seen[0] == {(1, 0)}


# --- Settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "high"),
    [
        ("shift", 0.6, "0.5"),
        ("scale", 2, "1"),
        ("brightness", -0.1, "1"),
        ("contrast", 1.5, "1"),
        ("erase", -0.1, "1"),
        ("erase_size", 1.1, "1"),
        ("time_crop", 0.3, "0.25"),
    ],
)
def test_a_setting_out_of_range_is_refused(name: str, value: float, high: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_only(name, value)
    wanted = f"augment.{name} = {value:g} is out of range: it must be 0 to {high}."
    assert str(caught.value) == wanted
    with pytest.raises(ConfigError):
        with_only(name, math.nan)


def test_shapes_and_lengths_that_do_not_fit_are_refused() -> None:
    pixels, lengths = batch()
    with pytest.raises(ShapeError, match=r"ClipAugment input must be \[B, T, C, H, W\]; got"):
        EVERYTHING(pixels[0], lengths, seeded())
    with pytest.raises(ShapeError, match=r"lengths must be int64 \[B=12\]; got int64 \(11,\)"):
        EVERYTHING(pixels, lengths[1:], seeded())
    with pytest.raises(ShapeError, match=r"lengths\[0\] is 9: it must be 0 to 8, the frames"):
        EVERYTHING(pixels, lengths + 9, seeded())


def test_the_chosen_settings_fit_the_size_colour_and_count() -> None:
    small = ClipAugment.choose(32, 32, 1, 500)
    assert small.shift and not small.flip and not small.scale and not small.time_crop
    assert small(*batch(4, 5, 1, 32, 32), seeded())[0].dtype == torch.uint8
    assert ClipAugment.choose(32, 32, 3, 500).brightness
    assert ClipAugment.choose(32, 32, 3, 500, flip=True).flip
    large = ClipAugment.choose(112, 112, 3, 500)
    assert large.scale and large.brightness and not large.flip
    many = ClipAugment.choose(112, 112, 3, 50_000)
    assert many.scale < large.scale and many.brightness < large.brightness
    assert not ClipAugment.choose(4, 4, 3, 500).shift


def test_the_settings_are_told_in_a_sentence() -> None:
    assert ClipAugment().describe() == "clips are not varied"
    assert EVERYTHING.describe() == (
        "each clip at random, all its frames alike: mirrored left to right, shifted by up to 20%, "
        "scaled by up to 30%, brightness by 50%, contrast by 50%, 50% with a rectangle of up to "
        "40% painted over, up to 25% of the frames left out at the ends"
    )
