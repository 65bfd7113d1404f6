"""How good the default forecast is on ETTh1 (or ETTh2), beside naive forecasts and published ones.

    python benchmarks/forecast.py PATH/TO/ETTh1.csv --horizons 24 96 --seeds 0 1 2

The first 12 months are for training, the next 4 for validation, the next 4 for the test; later rows
are left out. Every row is one call of `gridcell train`, its seconds those of the whole process, and
the model is scored twice on the test months:

    inside      windows that lie in the test months whole, as gridcell splits by itself
    published   windows whose steps to forecast are all of the test months, however far they look
                back: the windows of the published figures

Figures are the mean squared and absolute error over all seven columns, standardised by training.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MONTH_ROWS = 30 * 24
TRAIN, VALID, TEST = 12 * MONTH_ROWS, 4 * MONTH_ROWS, 4 * MONTH_ROWS
# MSE / MAE of all columns of ETTh1: Informer from its paper (Zhou et al. 2021); of DLinear (Zeng et
# al. 2023) the MSE alone, from memory.
PUBLISHED = {24: "Informer 0.577 / 0.549", 96: "DLinear 0.375"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--horizons", type=int, nargs="+", default=[24, 96])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="for the command")
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores")
    for horizon in options.horizons:
        print(f"horizon {horizon}, published on ETTh1: {PUBLISHED.get(horizon, 'none known here')}")
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as place:
                line = measured(options.table, horizon, seed, Path(place), options.options)
                print(f"horizon {horizon} seed {seed}: {line}", flush=True)


def measured(table: Path, horizon: int, seed: int, place: Path, options: list[str]) -> str:
    """Train once and score twice; one line about it."""
    with table.open(newline="", encoding="utf-8") as file:
        heading, *rows = list(csv.reader(file))[: TRAIN + VALID + TEST + 1]
    parts = ["train"] * TRAIN + ["valid"] * VALID + ["test"] * TEST
    split = place / "months.csv"
    write(split, [*heading, "split"], [[*row, part] for row, part in zip(rows, parts, strict=True)])
    out = place / "run"
    command = ["train", str(split), "--horizon", str(horizon), "--seed", str(seed)]
    started = time.perf_counter()
    run(*command, "--out", str(out), *options)
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6

    record = json.loads((out / "run.json").read_text("utf-8"))
    inside = record["scores"]
    past = record["preparation"]["past"]
    tail = place / "tail.csv"
    write(tail, heading, rows[TRAIN + VALID - past :])
    published = json.loads(run("evaluate", str(out / "model.gridcell"), str(tail), "--json"))
    history = record["training"]["history"]
    return (
        f"inside {told(inside)}; published {told(published)}; coverage of 80 and 95 % intervals "
        f"{coverage(published)}; {len(history['epochs'])} epochs, {seconds:.0f} s, "
        f"{memory:.2f} GB at most"
    )


def told(scores: dict[str, Any]) -> str:
    """MSE / MAE of the network, and of the naive forecasts in brackets."""
    pair = [find(scores, f"standardised {kind}") for kind in ("MSE", "MAE")]
    naive = ", ".join(
        f"{name} {pair[0]['beside'][name]:.3f} / {pair[1]['beside'][name]:.3f}"
        for name in pair[0]["beside"]
    )
    value = f"{pair[0]['value']:.4f} / {pair[1]['value']:.4f}"
    return f"{value} on {scores['items']:,} windows ({naive})"


def coverage(scores: dict[str, Any]) -> str:
    return " and ".join(
        f"{100 * find(scores, f'coverage of {level} % intervals')['value']:.1f} %"
        for level in (80, 95)
    )


def find(scores: dict[str, Any], name: str) -> dict[str, Any]:
    return dict(next(score for score in scores["scores"] if score["name"] == name))


def run(*arguments: str) -> str:
    """The standard output of a gridcell command."""
    command = [sys.executable, "-m", "gridcell", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write(path: Path, heading: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([heading, *rows])


if __name__ == "__main__":
    main()
