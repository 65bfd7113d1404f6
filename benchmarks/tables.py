"""How long a table of two million rows takes until it is windows, and how much memory.

    python benchmarks/tables.py                      # 2,000,000 rows of 4 columns of numbers
    python benchmarks/tables.py --rows 500000

The table is written first, from a fixed seed; reading and windowing it is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

READ = """
import resource, sys, time
start = time.perf_counter()
from pathlib import Path
from gridcell import preparation, sources, splits
from gridcell.config import DataConfig, SplitConfig
loaded = time.perf_counter()
config = DataConfig(horizon=24)
samples = sources.read(Path(sys.argv[1]), config)
read = time.perf_counter()
parts = splits.split(samples, SplitConfig(), seed=0)
prep = preparation.choose(samples, config)
decoded = preparation.decode(samples, prep, on_bad_file="stop", folder=Path("."))
prep = preparation.fit(prep, decoded, parts.rows("train"))
end = time.perf_counter()
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"{len(samples):,} windows: {read - loaded:.1f} s to read, {end - read:.1f} s to split and "
      f"fit, {loaded - start:.1f} s to import; {memory:.2f} GB at most")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=4)
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "table.csv"
        write(path, rows=options.rows, columns=options.columns)
        size = path.stat().st_size / 1e6
        print(f"{options.rows:,} rows, {options.columns} columns of numbers, {size:.0f} MB")
        subprocess.run([sys.executable, "-c", READ, str(path)], check=True)


def write(path: Path, *, rows: int, columns: int, chunk: int = 100_000) -> None:
    """A row a minute; each column is a walk with the round of a day."""
    draw = np.random.default_rng(0)
    level = np.zeros(columns)
    with path.open("w", encoding="utf-8") as file:
        file.write("time," + ",".join(f"x{i}" for i in range(columns)) + "\n")
        for first in range(0, rows, chunk):
            count = min(chunk, rows - first)
            steps = np.arange(first, first + count)
            walk = level + np.cumsum(draw.normal(0, 0.01, (count, columns)), 0)
            level = walk[-1]
            values = walk + np.sin(2 * np.pi * steps / 1440)[:, None]
            times = (np.datetime64("2020-01-01T00:00", "m") + steps).astype(str)
            lines = (
                f"{t.replace('T', ' ')}," + ",".join(f"{v:.4f}" for v in row)
                for t, row in zip(times, values.tolist(), strict=True)
            )
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
