"""Batches from a file that is larger than memory: the system is told what will be read."""

from __future__ import annotations

import mmap
from unittest import mock

import numpy as np
import pytest
import torch

from gridcell.batches.clips import Clips
from gridcell.batches.images import Images
from gridcell.batches.kinds import on_disk
from gridcell.batches.sounds import Sounds
from gridcell.preparation import read_ahead as module
from gridcell.preparation.cache import Decoded
from gridcell.preparation.read_ahead import read_ahead
from gridcell.preparation.sounds import SoundPreparation

pytestmark = pytest.mark.skipif(
    not hasattr(mmap, "MADV_WILLNEED"), reason="this system takes no such advice"
)
HEADER = 128
SIDE = 40


class Told(mmap.mmap):
    """A mapped file that keeps what it was told."""

    def madvise(self, option, start=0, length=0):
        self.spans.append((start, start + length))
        assert option == mmap.MADV_WILLNEED
        super().madvise(option, start, length)


@pytest.fixture
def pixels(tmp_path):
    file = tmp_path / "pixels"
    values = np.random.default_rng(0).integers(0, 256, (30, SIDE, SIDE, 1), np.uint8)
    file.write_bytes(bytes(HEADER) + values.tobytes())
    with file.open("rb") as opened:
        mapped = Told(opened.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.spans = []
    yield np.frombuffer(mapped, np.uint8, offset=HEADER).reshape(values.shape)


def told(pixels):
    return module._map_of(pixels).spans


def pages(start, stop):
    size = SIDE * SIDE
    first = HEADER + start * size
    return first - first % mmap.PAGESIZE, HEADER + stop * size


def test_a_batch_tells_which_pages_it_will_read(pixels):
    images = Images(pixels, torch.arange(30), np.arange(30))
    with mock.patch.object(module, "LEAST_BYTES", 0):
        batch = images.batch(np.array([20, 3, 7]))
    assert told(pixels) == [pages(row, row + 1) for row in (3, 7, 20)]
    assert np.array_equal(batch.values[:, 0, 0], pixels[[3, 7, 20], :, :, 0])


def test_a_clip_is_told_as_a_whole(pixels):
    starts = np.array([0, 10, 12, 30])
    decoded = Decoded(pixels, starts, np.ones(3, np.float32), np.arange(3))
    with mock.patch.object(module, "LEAST_BYTES", 0):
        Clips(decoded, torch.arange(3), np.arange(3)).batch(np.array([2, 0]))
    assert told(pixels) == [pages(0, 10), pages(12, 30)]


def test_of_a_long_sound_the_stretch_is_told_that_is_read(tmp_path):
    values = np.random.default_rng(0).integers(-999, 999, 60_000).astype(np.int16)
    file = tmp_path / "waves"
    file.write_bytes(values.tobytes())
    with file.open("rb") as opened:
        mapped = Told(opened.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.spans = []
    waves = np.frombuffer(mapped, np.int16)
    decoded = Decoded(waves, np.array([0, 20_000, 60_000]), np.ones(2, np.float32), np.arange(2))
    prep = SoundPreparation(
        8000, 12, 25.0, 10.0, 20.0, 4000.0, "none", 1.0, (-7.0,) * 12, (2.0,) * 12
    )
    with mock.patch.object(module, "LEAST_BYTES", 0):
        Sounds(decoded, prep, torch.arange(2), np.arange(2)).batch(np.array([1, 0]))
    ends = [(0, 2 * 8000), (2 * 20_000, 2 * 28_000)]
    assert mapped.spans == [(begin - begin % mmap.PAGESIZE, end) for begin, end in ends]


def test_nothing_is_told_of_an_item_without_steps_and_a_refusal_harms_nothing(pixels):
    with mock.patch.object(module, "LEAST_BYTES", 0):
        read_ahead(pixels, [(30, 30), (2, 2)])
        assert told(pixels) == []
        with mock.patch.object(Told, "madvise", side_effect=OSError("busy")) as refuses:
            read_ahead(pixels, [(0, 1)])
    assert refuses.called


def test_only_items_of_a_large_file_are_on_disk(pixels):
    images = Images(pixels, torch.arange(30), np.arange(30))
    decoded = Decoded(pixels, np.array([0, 10, 30]), np.ones(2, np.float32), np.arange(2))
    clips = Clips(decoded, torch.arange(2), np.arange(2))
    in_memory = Images(pixels.copy(), torch.arange(30), np.arange(30))
    assert not on_disk(images) and not on_disk(clips)
    with mock.patch.object(module, "LEAST_BYTES", 0):
        assert on_disk(images) and on_disk(clips) and not on_disk(in_memory)


def test_small_files_and_arrays_in_memory_are_left_alone(pixels):
    Images(pixels, torch.arange(30), np.arange(30)).batch(np.array([20, 3]))
    assert told(pixels) == []
    with mock.patch.object(module, "LEAST_BYTES", 0):
        read_ahead(pixels.copy(), [(0, 1)])


def test_a_file_is_found_behind_a_view_of_numpys_own_map(tmp_path):
    file = tmp_path / "values.npy"
    np.save(file, np.arange(100_000, dtype=np.float32).reshape(100, 1000))
    values = np.load(file, mmap_mode="r")
    assert module._map_of(values[10:]) is module._map_of(values) is not None
    with mock.patch.object(module, "LEAST_BYTES", 0):
        read_ahead(values[10:], [(0, 90)])
    assert values[10:].sum() == np.arange(10_000, 100_000, dtype=np.float32).sum()
