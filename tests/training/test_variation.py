"""How training sounds and clips vary, chosen for what is learned from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gridcell.augment.clips import ClipAugment
from gridcell.augment.sounds import SoundAugment
from gridcell.config import TrainConfig
from gridcell.errors import ConfigError
from gridcell.preparation import ClipPreparation
from gridcell.preparation.cache import Decoded
from gridcell.samples import ClipFacts, Samples, SoundFacts
from gridcell.training.variation import Varied, choose_variation
from tests.test_events import PREP

COUNT = 8
ROWS = np.arange(COUNT)
SOUNDS = SoundFacts(np.ones(COUNT), np.full(COUNT, 4000, np.int32), np.ones(COUNT, np.int16))
CLIPS = ClipFacts(np.full((COUNT, 2), 8, np.int32), np.ones(COUNT), np.ones(COUNT, np.bool_))
CLIP_PREP = ClipPreparation(8, 8, 3, "stretch", 16, (0.0,) * 3, (1.0,) * 3)


def varied(task: Any, *, is_sound: bool = True, prep: Any = None, **settings: Any) -> Varied:
    samples = Samples(
        task=task,
        paths=("",) * COUNT,
        root="",
        labels=("a", "b"),
        targets=np.zeros(COUNT, np.int64),
        digests=np.zeros(COUNT, "V16"),
        facts=SOUNDS if is_sound else CLIPS,
        given=np.zeros(COUNT, np.int8),
    )
    if is_sound:
        decoded = Decoded.of([(np.zeros(4000, np.int16), 1.0)] * COUNT)
    else:
        decoded = Decoded.of([(np.zeros((4, 8, 8, 3), np.uint8), 1.0)] * COUNT)
    prep = prep or (PREP if is_sound else CLIP_PREP)
    return choose_variation(TrainConfig(**settings), samples, decoded, prep, ROWS)


def test_classes_are_mixed_and_numbers_are_not_moved_in_pitch() -> None:
    classes, numbers = varied("classify").variation, varied("regress").variation
    assert isinstance(classes, SoundAugment) and isinstance(numbers, SoundAugment)
    assert classes.mix and classes.speed and classes.gain
    assert not numbers.mix and not numbers.speed


def test_nothing_moves_events() -> None:
    found = varied("events").variation
    assert isinstance(found, SoundAugment)
    assert (found.shift, found.speed, found.mix) == (0, 0, 0)
    assert found.noise and found.equalize


def test_a_gain_that_the_peak_would_undo_is_left_out() -> None:
    found, plain = varied("events"), varied("events", prep=replace(PREP, level="none"))
    assert isinstance(found.variation, SoundAugment) and isinstance(plain.variation, SoundAugment)
    assert found.variation.gain == 0 and found.reason.count("louder or softer") == 1
    assert plain.variation.gain > 0


def test_clips_are_mirrored_only_where_asked() -> None:
    found, asked = (varied("classify", is_sound=False, flip=flip) for flip in ("auto", "on"))
    assert isinstance(found.variation, ClipAugment) and isinstance(asked.variation, ClipAugment)
    assert not found.variation.flip and asked.variation.flip
    assert "a mirrored motion may mean another one" in found.reason


def test_it_can_be_turned_off_and_sounds_have_no_mirror() -> None:
    assert varied("classify", augment=False) == Varied(None, "off")
    assert varied("classify", is_sound=False, augment=False) == Varied(None, "off")
    with pytest.raises(ConfigError, match="flip has no effect on sounds"):
        varied("classify", flip="on")
