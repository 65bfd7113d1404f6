"""How good the default command is on folders of sounds and clips: each seed a run of its own.

    python benchmarks/recordings.py digits PATH/TO/fsdd                  # the set's own split
    python benchmarks/recordings.py speakers PATH/TO/fsdd                # leave one speaker out
    python benchmarks/recordings.py scenes PATH/TO/esc10                 # its five folds
    python benchmarks/recordings.py motion PATH/TO/video_moving_fashion  # its own split
    python benchmarks/recordings.py fights PATH/TO/video_fights          # five folds by source
    python benchmarks/recordings.py fights PATH/TO/video_fights --inside 1 --options --net cnn

With `--inside N` the rows of fold N are left out, and the four folds of the others are scored: so
that ways can be compared without the rows that fold N is to be scored on.

Every row is one call of `gridcell train` with an empty run folder; its seconds are those of the
whole process. Of a cross-validation the score is the mean over its folds, with their spread. The
test rows are read once, by the command itself.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

TASKS: dict[str, tuple[str, list[str]]] = {
    "digits": ("labels.csv", ["--target", "digit", "--task", "classify"]),
    "speakers": (
        "labels.csv",
        ["--target", "digit", "--task", "classify", "--folds", "speaker", "--valid", "0"],
    ),
    "scenes": ("labels.csv", ["--target", "class", "--folds", "fold", "--valid", "0"]),
    "motion": ("clips.csv", ["--target", "motion"]),
    "fights": ("clips.csv", ["--target", "class", "--folds", "fold", "--valid", "0"]),
}
FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--inside", type=int, help="of fights: leave this fold out")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="for the command")
    options = parser.parse_args()
    table, settings = TASKS[options.task]
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as place:
        path = options.folder.absolute() / table
        if options.task == "fights":
            path = with_folds(path, Path(place), options.inside)
        for seed in options.seeds:
            out = Path(place) / f"run-{seed}"
            command = [sys.executable, "-m", "gridcell", "train", str(path), *settings]
            command += ["--seed", str(seed), "--out", str(out), *options.options]
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds = time.perf_counter() - started
            print(row(options.task, seed, out, seconds), flush=True)


def row(task: str, seed: int, out: Path, seconds: float) -> str:
    """One line about a run: its accuracy, and how it came about."""
    record = json.loads((out / "run.json").read_text("utf-8"))
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    end = f"{seconds:.0f} s, {memory:.2f} GB at most"
    if "folds" not in record:
        score = next(s for s in record["scores"]["scores"] if s["name"] == "accuracy")
        interval = f"{100 * score['low']:.1f} to {100 * score['high']:.1f}"
        return f"{task} seed {seed}: accuracy {100 * score['value']:.1f} % ({interval}), {end}"
    score = next(s for s in record["scores"] if s["name"] == "accuracy")
    folds = zip(record["folds"], score["values"], strict=True)
    each = ", ".join(f"{name} {100 * value:.1f}" for name, value in folds)
    longest = max(
        json.loads((out / run / "run.json").read_text("utf-8"))["seconds"] for run in record["runs"]
    )
    return (
        f"{task} seed {seed}: mean accuracy {100 * score['mean']:.1f} %, deviation "
        f"{100 * score['deviation']:.1f} ({each}); longest training {longest:.0f} s, {end}"
    )


def with_folds(table: Path, place: Path, left_out: int | None = None) -> Path:
    """Write the table anew with a column of folds: clips of one source stand in one of five.

    left_out   a fold whose rows are not written
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    for number, entry in enumerate(rows):
        known = entry["source_group"]
        groups[known if known != "-1" else f"unknown {number}"].append(entry)
    names = sorted(groups, key=lambda name: (-len(groups[name]), name))
    random.Random(0).shuffle(names)
    names.sort(key=lambda name: -len(groups[name]))
    sizes = [0] * FOLDS
    written = place / "clips.csv"
    with written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "fold"])
        for name in names:
            fold = sizes.index(min(sizes))
            sizes[fold] += len(groups[name])
            for entry in groups[name] if fold + 1 != left_out else []:
                writer.writerow([table.parent / entry["file"], entry["class"], fold + 1])
    return written


if __name__ == "__main__":
    main()
