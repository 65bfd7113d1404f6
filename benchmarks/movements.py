"""How good the default command is at telling movements apart, by people and rooms it never saw.

    python benchmarks/movements.py exercises PATH/TO/watch_exercises  # leave one of 10 people out
    python benchmarks/movements.py rooms PATH/TO/indoor_movement      # five folds

exercises  7 exercises of 10 people with a watch on either arm, 50 Hz, cut into windows of 2 s; each
           person in turn is the test part
rooms      314 walks heard by 4 radio anchors, whether the person goes on into another room; five
           folds of equal share of both classes, drawn once for all seeds

What lies there is written anew as a table, and `gridcell train` is called on it as a user would.
The test rows are read once, by the command itself.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WINDOW = 100
FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="for the command")
    options = parser.parse_args()
    write, settings = TASKS[options.task]
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores")
    found = []
    with tempfile.TemporaryDirectory() as place:
        table = write(options.folder.absolute(), Path(place))
        for seed in options.seeds:
            out = Path(place) / f"run-{seed}"
            command = [sys.executable, "-m", "gridcell", "train", str(table), *settings]
            command += ["--valid", "0", "--seed", str(seed), "--out", str(out), *options.options]
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds = time.perf_counter() - started
            record = json.loads((out / "run.json").read_text("utf-8"))
            score = next(s for s in record["scores"] if s["name"] == "accuracy")
            found.append(score["mean"])
            folds = zip(record["folds"], score["values"], strict=True)
            each = ", ".join(f"{name} {100 * value:.1f}" for name, value in folds)
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
            print(
                f"{options.task} seed {seed}: mean accuracy {100 * score['mean']:.2f} %, deviation "
                f"{100 * score['deviation']:.1f} over folds ({each}), {seconds:.0f} s in all, "
                f"{memory:.2f} GB",
                flush=True,
            )
    spread = f" ± {100 * statistics.stdev(found):.2f}" if len(found) > 1 else ""
    print(f"{options.task}: mean {100 * statistics.fmean(found):.2f}{spread} %")


def exercises(folder: Path, place: Path) -> Path:
    """Write one long table: a row a step, windows of 2 s as series of their own."""
    written = place / "exercises.csv"
    with written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["window", "t", "ax", "ay", "az", "wx", "wy", "wz", "exercise", "person"])
        for path in sorted(folder.glob("*/*.csv")):
            person = path.stem.split("_")[0]
            with path.open(newline="", encoding="utf-8") as steps:
                rows = list(csv.reader(steps))[1:]
            for number in range(len(rows) // WINDOW):
                name = f"{path.parent.name} {path.stem} {number}"
                for row in rows[number * WINDOW : (number + 1) * WINDOW]:
                    writer.writerow([name, *row, path.parent.name, person])
    return written


def rooms(folder: Path, place: Path) -> Path:
    """Write a label table beside the data files, with folds."""
    with (folder / "dataset" / "MovementAAL_target.csv").open(encoding="utf-8") as file:
        labels = dict(re.split(r",\s*", line.strip()) for line in file if line[0].isdigit())
    folds: dict[str, int] = {}
    for label in sorted(set(labels.values())):
        names = sorted((name for name in labels if labels[name] == label), key=int)
        random.Random(0).shuffle(names)
        folds |= {name: number % FOLDS for number, name in enumerate(names)}
    written = place / "rooms.csv"
    with written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "fold"])
        for name, label in labels.items():
            path = folder / "dataset" / f"MovementAAL_RSS_{name}.csv"
            writer.writerow([path, {"1": "leaves", "-1": "stays"}[label], folds[name] + 1])
    return written


TASKS = {
    "exercises": (
        exercises,
        [
            "--target",
            "exercise",
            "--id-column",
            "window",
            "--time-column",
            "t",
            "--folds",
            "person",
        ],
    ),
    "rooms": (rooms, ["--target", "class", "--folds", "fold"]),
}


if __name__ == "__main__":
    main()
