"""Whether the arithmetic that `auto` takes costs accuracy: each seed in plain float32 and in it.

    python benchmarks/arithmetic.py PATH/TO/fashion-mnist -- --epochs 3
    python benchmarks/arithmetic.py PATH/TO/ETTh1.csv -- --horizon 24
    python benchmarks/arithmetic.py PATH/TO/reviews.csv --seeds 0 1 2 3 4

Everything after -- goes to `gridcell train`. A row is a seed: the main score on the test rows in
both arithmetics. At the end stand the means, the spread of float32 over its seeds, and the mean of
the differences with its standard error; so two seeds at least.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked, options = parser.parse_known_args()
    options = [option for option in options if option != "--"]
    if len(asked.seeds) < 2:
        parser.error("a spread needs two seeds or more.")
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores")
    plain: list[float] = []
    fast: list[float] = []
    for seed in asked.seeds:
        line = f"seed {seed}:"
        for precision, found in (("float32", plain), ("auto", fast)):
            name, value, taken = trained(asked.path, seed, precision, options)
            found.append(value)
            said = precision if precision == taken else f"{precision} ({taken})"
            line += f" {said} {name} {value:.4f};"
        print(line.removesuffix(";"), flush=True)
    gains = [b - a for a, b in zip(plain, fast, strict=True)]
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    print(
        f"mean {statistics.fmean(plain):.4f} and {statistics.fmean(fast):.4f}, spread of float32 "
        f"{statistics.stdev(plain):.4f}; difference {statistics.fmean(gains):+.4f} ± {error:.4f}"
    )


def trained(path: Path, seed: int, precision: str, options: list[str]) -> tuple[str, float, str]:
    """Train once; return the main score, its value and the arithmetic taken."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "gridcell", "train", str(path), "--out", str(out)]
        command += ["--seed", str(seed), "--precision", precision, *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        record = json.loads((out / "run.json").read_text("utf-8"))
    main_score = record["scores"]["main"]
    value = next(s["value"] for s in record["scores"]["scores"] if s["name"] == main_score)
    return main_score, value, record["training"]["precision"]


if __name__ == "__main__":
    main()
