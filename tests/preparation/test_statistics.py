"""Statistics that are kept beside the cache: counted once, and never those of something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridcell import preparation
from gridcell.preparation import SoundPreparation
from gridcell.preparation.cache import Decoded
from gridcell.preparation.statistics import Statistics, counted_once
from tests.preparation.test_sounds import plain

VALUES = [(np.arange(5, dtype=np.int16), 1.0), (np.arange(3, dtype=np.int16), 1.0)]
ROWS = np.array([0, 1])


class Counter:
    """Counts how often it was asked, and gives numbers that no other call gives."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Statistics:
        self.calls += 1
        return Statistics((self.calls + 0.1, -1e-17), (1 / 3,))


@pytest.fixture
def decoded(tmp_path: Path) -> Decoded:
    return replace(Decoded.of(VALUES), file=tmp_path / "cache" / "waves" / "0123.npy")


def test_what_was_counted_is_read_again_to_the_bit(decoded: Decoded) -> None:
    count = Counter()
    found = counted_once(decoded, ROWS, "about", count)
    assert counted_once(decoded, ROWS, "about", count) == found
    assert count.calls == 1
    assert found.mean == (1.1, -1e-17) and found.deviation == (1 / 3,)


def test_other_rows_settings_and_files_are_counted_anew(decoded: Decoded, tmp_path: Path) -> None:
    count = Counter()
    counted_once(decoded, ROWS, "about", count)
    other = replace(decoded, file=tmp_path / "cache" / "waves" / "4567.npy")
    counted_once(decoded, ROWS[:1], "about", count)
    counted_once(decoded, ROWS, "about another", count)
    counted_once(other, ROWS, "about", count)
    counted_once(replace(decoded, bad=(("a.wav", "is empty"),)), ROWS, "about", count)
    assert count.calls == 5


def test_without_a_file_they_are_counted_every_time() -> None:
    count = Counter()
    for _ in range(2):
        counted_once(Decoded.of(VALUES), ROWS, "about", count)
    assert count.calls == 2


@pytest.mark.parametrize("content", [b"", b"{", b'{"mean": [1.0]}', b'{"mean": 1, "deviation": 2}'])
def test_a_damaged_file_is_counted_and_written_again(decoded: Decoded, content: bytes) -> None:
    count = Counter()
    counted_once(decoded, ROWS, "about", count)
    assert decoded.file is not None
    (file,) = (decoded.file.parent.parent / "statistics").iterdir()
    file.write_bytes(content)
    found = counted_once(decoded, ROWS, "about", count)
    assert count.calls == 2
    assert counted_once(decoded, ROWS, "about", count) == found


def test_where_nothing_can_be_written_they_are_counted(decoded: Decoded) -> None:
    assert decoded.file is not None
    decoded.file.parent.parent.parent.mkdir(exist_ok=True)
    decoded.file.parent.parent.write_text("a file where the folder would be")
    count = Counter()
    for _ in range(2):
        counted_once(decoded, ROWS, "about", count)
    assert count.calls == 2


def test_the_statistics_of_a_preparation_are_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    waves = [(draw.integers(-999, 999, n).astype(np.int16), 1e-3) for n in (900, 1600, 2000)]
    decoded = replace(Decoded.of(waves), file=tmp_path / "waves" / "0123.npy")
    prep = plain(bins=20)
    others = [replace(prep, bins=16), replace(prep, longest_s=0.1), replace(prep, level="none")]
    counted = []

    def count(*given: object) -> SoundPreparation:
        counted.append(given)
        return real(*given)  # type: ignore[arg-type]

    real = preparation.fit_sounds
    monkeypatch.setattr(preparation, "fit_sounds", count)
    for _ in range(2):
        for each in (prep, *others):
            for rows in (np.array([2, 0]), np.array([1])):
                assert preparation.fit(each, decoded, rows) == real(each, decoded, rows)
    assert len(counted) == 2 * 4
