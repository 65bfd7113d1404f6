"""How good the default command is at telling series apart: each seed a run of its own.

    python benchmarks/series.py PATH/TO/GunPoint PATH/TO/ArrowHead ...    # folders of .ts files
    python benchmarks/series.py PATH/TO/exercises.csv --folds person      # cross-validation

The sets' own split is kept and nothing of their training rows is held out, as in the literature:
most have too few to choose an epoch by. Folders of .ts files come with the aeon package, in
aeon/datasets/data. The test rows are read once, by the command itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--folds", help="column whose values are folds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="for the command")
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores")
    for path in options.data:
        found = []
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as place:
                out = Path(place) / "run"
                command = [sys.executable, "-m", "gridcell", "train", str(path), "--valid", "0"]
                command += ["--seed", str(seed), "--out", str(out), *options.options]
                command += ["--folds", options.folds] if options.folds else []
                started = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                value, said = score(out)
                found.append(value)
                seconds = time.perf_counter() - started
                memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
            print(f"{path.name} seed {seed}: {said}, {seconds:.0f} s, {memory:.2f} GB", flush=True)
        spread = f" ± {100 * statistics.stdev(found):.2f}" if len(found) > 1 else ""
        print(f"{path.name}: mean {100 * statistics.fmean(found):.2f}{spread} %", flush=True)


def score(out: Path) -> tuple[float, str]:
    """Return the accuracy on the test rows, or its mean over folds, and how it came about."""
    record = json.loads((out / "run.json").read_text("utf-8"))
    if "folds" in record:
        accuracy = next(s for s in record["scores"] if s["name"] == "accuracy")
        spread = f"± {100 * accuracy['deviation']:.1f} over {len(record['folds'])} folds"
        return accuracy["mean"], f"mean accuracy {100 * accuracy['mean']:.2f} % {spread}"
    accuracy = next(s for s in record["scores"]["scores"] if s["name"] == "accuracy")
    epochs = len(record["training"]["history"]["epochs"])
    text = f"accuracy {100 * accuracy['value']:.2f} %, {epochs} epochs"
    return accuracy["value"], text


if __name__ == "__main__":
    main()
