"""How long the command takes to start: `gridcell --help` and `gridcell --version`.

python benchmarks/start.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15


def main() -> None:
    """Print median and shortest time of each, in seconds, process start included."""
    for option in ("--help", "--version"):
        seconds = []
        for _ in range(RUNS):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "gridcell", option], check=True, capture_output=True
            )
            seconds.append(time.perf_counter() - start)
        print(f"{option:10} median {statistics.median(seconds):.3f} s, best {min(seconds):.3f} s")


if __name__ == "__main__":
    main()
