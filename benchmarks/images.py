"""The default command on a folder of images, over several seeds: scores, time, memory.

    python benchmarks/images.py PATH/TO/fashion-mnist
    python benchmarks/images.py PATH --seeds 0 1 2 -- --budget 10m
    python benchmarks/images.py PATH/TO/cifar10 -- --budget 15m

A folder with train.parquet and test.parquet (columns file and jpeg) is written out as files first.

Everything after -- goes to `gridcell train`. Each run is a process of its own with an empty cache,
so the time holds reading, decoding, training, scoring and writing.
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
from pathlib import Path

BYTES_PER_UNIT = 1024 if sys.platform.startswith("linux") else 1


def run(path: Path, seed: int, options: list[str], log: Path | None) -> dict[str, float]:
    """Train once; return scores, seconds and peak memory of the process in GB."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "gridcell", "train", str(path), "--out", str(out)]
        command += ["--seed", str(seed), *options]
        environment = {**os.environ, "GRIDCELL_CACHE": str(Path(folder) / "cache")}
        started = time.perf_counter()
        with (log or Path(os.devnull)).open("ab") as stream:
            process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            raise SystemExit(f"gridcell train failed with status {status}; see the log.")
        record = json.loads((out / "run.json").read_text())
    scores = {score["name"]: score["value"] for score in record["scores"]["scores"]}
    best = record["training"]["history"]
    scores["validation"] = best["epochs"][best["best_epoch"] - 1]["valid_score"]
    scores["seconds"] = seconds
    scores["peak GB"] = usage.ru_maxrss * BYTES_PER_UNIT / 1e9
    return scores


def main() -> None:
    """Run every seed and print a row each, then mean and spread."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--log", type=Path)
    asked, options = parser.parse_known_args()
    options = [option for option in options if option != "--"]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        path = unpacked(asked.path, Path(place))
        for seed in asked.seeds:
            rows.append(run(path, seed, options, asked.log))
            if seed == asked.seeds[0]:
                print("  seed " + " ".join(f"{name:>18}" for name in rows[0]))
            print(f"{seed:6d} " + " ".join(f"{v:18.4f}" for v in rows[-1].values()), flush=True)
    for name, of in (("mean", statistics.mean), ("spread", _spread)):
        values = (of([row[column] for row in rows]) for column in rows[0])
        print(f"{name:>6} " + " ".join(f"{value:18.4f}" for value in values))


def unpacked(path: Path, place: Path) -> Path:
    """Write the files that lie in train.parquet and test.parquet, each split in its own folder."""
    if not (path / "train.parquet").exists():
        return path
    import duckdb

    for split in ("train", "test"):
        rows = duckdb.execute(f"select file, jpeg from '{path / split}.parquet'").fetchall()
        for name, content in rows:
            file = place / split / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return place


def _spread(values: list[float]) -> float:
    return max(values) - min(values)


if __name__ == "__main__":
    main()
