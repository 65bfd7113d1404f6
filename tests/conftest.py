"""What all tests share: one thread, a cache of their own, real data if there is some, pictures."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

DATA_VARIABLE = "GRIDCELL_DATA"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test out of the user's cache folder, and of each other's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GRIDCELL_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread for PyTorch: on arrays this small, threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data that GRIDCELL_DATA names; the test is skipped where there is none."""
    named = os.environ.get(DATA_VARIABLE)
    if named is None or not Path(named).is_dir():
        pytest.skip(f"no real data: {DATA_VARIABLE} names no folder")
    return Path(named)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which each look takes a tenth of a second: no test waits for time to pass."""
    now = [0.0]

    def clock() -> float:
        now[0] += 0.1
        return now[0]

    monkeypatch.setattr(time, "perf_counter", clock)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A folder of blue and red pictures."""
    from tests.pictures import colours

    return colours(tmp_path / "toy")


@pytest.fixture
def picture() -> Callable[..., Path]:
    """A function that writes a small picture, a different one for each seed, and its folders."""

    def write(
        path: Path,
        *,
        seed: int | None = None,
        mode: str = "RGB",
        size: tuple[int, int] = (6, 4),
        **options: Any,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(zlib.crc32(str(path).encode()) if seed is None else seed)
        values = draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(values).convert(mode).save(path, **options)
        return path

    return write
