"""Data larger than the memory: 3 GB of decoded images trained under a limit of 1.5 GB, and without.

    python benchmarks/large.py                                   # no limit: items a second, memory
    python benchmarks/large.py --limited-by FOLDER_OF_A_CGROUP   # beside one with the limit

Writes 48,000 grey images of 256 x 256 pixels in two classes (3.1 GB decoded), decodes them into the
cache once, and trains an epoch of a small network on them with and without the limit, in turn; with
it what the system holds of the cache is dropped first. The limit is a control group of Linux, made
beforehand and writable, for instance

    mkdir /sys/fs/cgroup/memory/small
    echo 1500M > /sys/fs/cgroup/memory/small/memory.limit_in_bytes
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 256
SMALL = (
    "--net",
    "conv(16, 3, stride=4) batchnorm relu conv(32, 3, stride=2) batchnorm relu "
    "conv(64, 3, stride=2) batchnorm relu globalpool",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=48_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limited-by", type=Path)
    asked = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder / "images", asked.images)
        settings = [str(folder / "images"), "--cache", str(folder / "cache")]
        settings += ["--image-size", str(SIDE)]
        gridcell("inspect", *settings)
        pixels = sorted((folder / "cache" / "pixels").glob("*.npy"))
        size = sum(file.stat().st_size for file in pixels)
        print(f"{asked.images:,} images, {size / 1e9:.2f} GB decoded")
        sides: dict[str, Callable[[], None] | None] = {"no limit": None}
        if asked.limited_by:
            sides["limited"] = lambda: join(asked.limited_by)
        found: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(asked.rounds):
            for name, before in sides.items():
                out = folder / f"run-{name.replace(' ', '-')}-{number}"
                if before:
                    forget(pixels)
                words = [*SMALL, "--epochs", "1", "--precision", "float32", "--out", str(out)]
                memory = gridcell("train", *settings, *words, before=before)
                record = json.loads((out / "run.json").read_text("utf-8"))
                history = record["training"]["history"]
                found[name].append(history["items_per_s"])
                waiting = history["spent_s"]["waiting"] / history["seconds"]
                print(
                    f"{name:9} {history['items_per_s']:8.0f} items a second, {waiting:.0%} of the "
                    f"time reading, {memory:.2f} GB in the process at most",
                    flush=True,
                )
        if asked.limited_by:
            share = statistics.median(found["limited"]) / statistics.median(found["no limit"])
            print(f"under the limit: {share:.0%} of the speed (medians of {asked.rounds})")


def write(folder: Path, count: int) -> None:
    """Bright and dark waves: smooth, so that the files are small."""
    draw = np.random.default_rng(0)
    across = np.arange(SIDE)
    for number in range(count):
        kind = number % 2
        wave = np.sin(across / draw.uniform(4, 40) + draw.uniform(0, 6))
        pixels = 120 + 40 * kind + 60 * wave[None, :] * np.ones((SIDE, 1))
        file = folder / ("dark", "light")[kind] / f"{number // 1000:02d}" / f"w{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(file, compress_level=1)


def gridcell(*words: str, before: Callable[[], None] | None = None) -> float:
    """Run a command; return the gigabytes that its process held at most, with mapped files."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gridcell", *words], stdout=subprocess.DEVNULL, preexec_fn=before
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"gridcell {words[0]} failed with status {status}")
    return usage.ru_maxrss / 1e6


def forget(files: Sequence[Path]) -> None:
    """Drop what the system holds of these files: else it is on another's account, not the group's.

    Source   posix_fadvise(2)
    """
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def join(group: Path) -> None:
    """Put this process under the group's limit."""
    (group / "cgroup.procs").write_text(str(os.getpid()))


if __name__ == "__main__":
    main()
