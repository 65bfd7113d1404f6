"""How good the default command is on texts: each seed a run of its own.

    python benchmarks/texts.py trec PATH/TO/text           # questions, the set's own split
    python benchmarks/texts.py sst2 PATH/TO/text           # film reviews, the set's own split
    python benchmarks/texts.py mr PATH/TO/text             # film reviews, a tenth held out
    python benchmarks/texts.py subj PATH/TO/text           # plot or opinion, a tenth held out
    python benchmarks/texts.py spam PATH/TO/text           # a tenth held out; F1 of spam
    python benchmarks/texts.py names PATH/TO/text          # family names of 18 languages, a tenth
    python benchmarks/texts.py names-lines PATH/TO/text    # a tenth of its lines, copies or not
    python benchmarks/texts.py tags PATH/TO/ud_ewt         # a tag for each token, its own split
    python benchmarks/texts.py shakespeare PATH/TO/text    # nats a character on the last tenth
    python benchmarks/texts.py trec PATH/TO/text --folds 5 --seeds 0   # training rows alone

No pretrained vectors are used. With a tenth held out, each seed holds out another one; copies of
one text then stand on one side, but for `names-lines`, which draws each line for itself, as figures
of others do. The test rows are read once, by the command itself. To choose by, there are folds of
the training rows of sets with a split of their own: the test rows are then not read at all.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """What to train on: one file or folder, or parts that become one table."""

    data: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()
    score: str = "accuracy"
    is_drawn_by_line: bool = False
    """Whether the tenth is drawn here, from all lines of a folder's files, each for itself."""


TENTH = ("--test", "0.1")
TASKS = {
    "trec": Task(parts=(("trec_train.csv", "train"), ("trec_test.csv", "test"))),
    "sst2": Task(
        parts=(("sst2_train.csv", "train"), ("sst2_dev.csv", "valid"), ("sst2_test.csv", "test"))
    ),
    "mr": Task("mr_polarity.csv", options=TENTH),
    "subj": Task("subjectivity.csv", options=TENTH),
    "spam": Task("sms_spam.tsv", options=TENTH, score="F1 of spam"),
    "names": Task("names", options=TENTH),
    "names-lines": Task("names", is_drawn_by_line=True),
    "tags": Task(options=("--target", "upos")),
    "shakespeare": Task(
        "tinyshakespeare.txt", options=("--valid", "0", "--test", "0.1"), score="log loss"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, help="cross-validation on the training rows alone")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="for the command")
    options = parser.parse_args()
    task, found = TASKS[options.task], []
    if options.folds is not None:
        if not task.parts:
            parser.error(f"{options.task} has no training rows of its own to fold")
        training = tuple((name, part) for name, part in task.parts if part == "train")
        task = Task(parts=training, options=("--folds", "fold", "--valid", "0"))
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as place:
        path = options.folder.absolute() / task.data
        if task.parts:
            path = joined(options.folder, task.parts, Path(place), folds=options.folds)
        for seed in options.seeds:
            if task.is_drawn_by_line:
                path = drawn(options.folder / task.data, Path(place), seed=seed)
            out = Path(place) / f"run-{seed}"
            command = [sys.executable, "-m", "gridcell", "train", str(path), *task.options]
            command += ["--seed", str(seed), "--out", str(out), *options.options]
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds = time.perf_counter() - started
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
            value, said = score_of(out, task.score)
            found.append(value)
            end = f"{seconds:.0f} s, {memory:.2f} GB at most"
            print(f"{options.task} seed {seed}: {task.score} {said}, {end}", flush=True)
    spread = f" ± {statistics.stdev(found):.4f}" if len(found) > 1 else ""
    print(f"{options.task}: mean {statistics.fmean(found):.4f}{spread}", flush=True)


def drawn(folder: Path, place: Path, *, seed: int) -> Path:
    """Write the lines of a folder's files as one table; a tenth, drawn at random, are the test."""
    written, draw = place / "lines.csv", random.Random(seed)
    with written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "split"])
        for path in sorted(folder.glob("*.txt")):
            for line in filter(None, map(str.strip, path.read_text("utf-8").splitlines())):
                part = "test" if draw.random() < 0.1 else "train"
                writer.writerow([line, path.stem, part])
    return written


def score_of(out: Path, name: str) -> tuple[float, str]:
    """Return a score on the test rows, and the same with its interval where it has one."""
    scores = json.loads((out / "run.json").read_text("utf-8"))["scores"]
    if name.startswith("F1 of "):
        label = name.removeprefix("F1 of ")
        value = next(c["f1"] for c in scores["per_class"] if c["label"] == label)
        return value, f"{value:.4f}"
    if isinstance(scores, list):  # of folds
        score = next(s for s in scores if s["name"] == name)
        each = ", ".join(f"{value:.4f}" for value in score["values"])
        return score["mean"], f"{score['mean']:.4f} over folds ({each})"
    score = next(s for s in scores["scores"] if s["name"] == name)
    interval = "" if score["low"] is None else f" ({score['low']:.4f} to {score['high']:.4f})"
    return score["value"], f"{score['value']:.4f}{interval}"


def joined(
    folder: Path, parts: tuple[tuple[str, str], ...], place: Path, *, folds: int | None
) -> Path:
    """Write the tables of a set's parts as one, with a column that names the part, or the fold."""
    written, draw = place / "texts.csv", random.Random(0)
    with written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "fold" if folds else "split"])
        for name, part in parts:
            with (folder / name).open(newline="", encoding="utf-8") as rows:
                for row in csv.DictReader(rows):
                    fold = f"fold {draw.randrange(folds) + 1}" if folds else part
                    writer.writerow([row["text"], row["label"], fold])
    return written


if __name__ == "__main__":
    main()
