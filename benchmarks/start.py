"""How long the command takes to start: `--help`, `--version`, and until a training's first step.

    python benchmarks/start.py
    python benchmarks/start.py PATH/TO/fsdd/labels.csv --target digit --task classify

With a path, and options for `gridcell train` behind it, the clock runs from the start of the
process to the last line that is said before the first step: once with an empty cache, then from it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 15
RUNS_OF_TRAINING = 5


def main() -> None:
    """Print median and shortest time of each, in seconds, process start included."""
    if sys.argv[1:]:
        return training(sys.argv[1:])
    for option in ("--help", "--version"):
        seconds = []
        for _ in range(RUNS):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "gridcell", option], check=True, capture_output=True
            )
            seconds.append(time.perf_counter() - start)
        print(f"{option:10} median {statistics.median(seconds):.3f} s, best {min(seconds):.3f} s")


def training(words: list[str]) -> None:
    """Print how long it takes from an empty cache, and from a full one."""
    with tempfile.TemporaryDirectory() as place:
        first, *later = [until_first_step(words, place, run) for run in range(1 + RUNS_OF_TRAINING)]
    print(f"empty cache {first:.2f} s")
    print(f"from it     median {statistics.median(later):.2f} s, best {min(later):.2f} s")


def until_first_step(words: list[str], place: str, run: int) -> float:
    """Return the seconds until a training begins; it is stopped then."""
    command = [sys.executable, "-m", "gridcell", "train", *words]
    command += ["--cache", f"{place}/cache", "--out", f"{place}/run-{run}"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().startswith("Augmentation"):
                seconds = time.perf_counter() - start
                process.kill()
                return seconds
    raise SystemExit("the training ended before its first step; see what it says.")


if __name__ == "__main__":
    main()
