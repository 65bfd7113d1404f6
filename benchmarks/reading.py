r"""Whether batches are better read beside the training step or between two of them.

    python benchmarks/reading.py PATH/TO/fashion-mnist --rounds 3 -- --epochs 1
    python benchmarks/reading.py PATH/TO/fsdd/labels.csv --rounds 6 -- \
        --target digit --task classify --epochs 2

The default command on both sides, in turn, each in a process of its own: with one thread that reads
ahead, and with none. What is compared is the items trained on a second. Everything after `--` goes
to `gridcell train`. The first run, which decodes, is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDES = {"beside the step": 1, "between two steps": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, help="run one side, in this process")
    asked, options = parser.parse_known_args()
    command = [str(asked.data), *(option for option in options if option != "--")]
    if asked.threads is not None:
        raise SystemExit(one_side(asked.threads, command))
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores")
    found: dict[str, list[float]] = {name: [] for name in SIDES}
    items_per_s(1, command)
    for _ in range(asked.rounds):
        for name, threads in SIDES.items():
            found[name].append(items_per_s(threads, command))
            print(f"{name:18} {found[name][-1]:8.0f} items a second", flush=True)
    beside, between = (statistics.median(values) for values in found.values())
    print(f"between two steps {between / beside:.2f} times as fast (medians of {asked.rounds})")


def items_per_s(threads: int, command: list[str]) -> float:
    """Train once in a process of its own."""
    data, *options = command
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        side = [sys.executable, __file__, data, "--threads", str(threads), "--"]
        subprocess.run([*side, *options, "--out", out], check=True, stdout=subprocess.DEVNULL)
        record = json.loads((out / "run.json").read_text("utf-8"))
        return float(record["training"]["history"]["items_per_s"])


def one_side(threads: int, command: list[str]) -> int:
    """Call `gridcell train` with so many threads that read ahead; return its exit code."""
    from gridcell.process import wait_politely

    wait_politely()
    from gridcell import cli
    from gridcell.training import fit

    fit.reading_threads = lambda _, *, is_on_disk: threads  # type: ignore[attr-defined]
    return cli.main(["train", *command])


if __name__ == "__main__":
    main()
