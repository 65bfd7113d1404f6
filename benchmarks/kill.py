"""A training that is killed again and again ends with the bits of one that was left alone.

    python benchmarks/kill.py --kills 50

Trains on built-in digits, once undisturbed and once killed with SIGKILL at random moments (while
reading, in a step, while scoring, in the middle of writing), each time gone on with by --resume.
Every resume must succeed, and the model files must be equal byte by byte.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--least", type=float, default=2.0, help="seconds before a kill")
    parser.add_argument("--most", type=float, default=9.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = ["--epochs", str(asked.epochs), "--precision", "float32"]
        settings += ["--cache", str(folder / "cache"), "--patience", "100000"]
        data = write_digits(folder)
        started = time.perf_counter()
        train(str(data), *settings, "--out", str(folder / "whole")).wait()
        undisturbed = time.perf_counter() - started
        killed, kills, steps = folder / "killed", 0, []
        while True:
            has_begun = killed.exists() and any(killed.glob("checkpoint-*.gridcell"))
            words = [str(killed), "--resume"]
            if not has_begun:
                words = [str(data), *settings, "--out", str(killed)]
            process = train(*words)
            if kills < asked.kills:
                time.sleep(draw.uniform(asked.least, asked.most))
                process.send_signal(signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL
                steps.append(newest(killed))
            code = process.wait()
            if code not in (0, -signal.SIGKILL):
                raise SystemExit(f"a resume failed with exit code {code}")
            if code == 0:
                break
        one, other = (digest(folder / name / "model.gridcell") for name in ("whole", "killed"))
        left = [path.name for path in killed.iterdir() if path.name.endswith(".part")]
        print(f"undisturbed: {undisturbed:.0f} s; killed {kills} times after steps {steps}")
        print(f"parts left beside the files: {left or 'none'}")
        print(
            f"model files: {one[:16]} and {other[:16]}, {'equal' if one == other else 'DIFFERENT'}"
        )
        if one != other:
            raise SystemExit(1)


def write_digits(folder: Path) -> Path:
    """Write the built-in digits as images."""
    from gridcell import demo

    return demo.WRITERS["digits"](folder / "digits").folder


def train(*words: str) -> subprocess.Popen[bytes]:
    """Start a training."""
    command = [sys.executable, "-m", "gridcell", "train", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def newest(folder: Path) -> int:
    """The step of the newest checkpoint, 0 where there is none."""
    found = sorted(folder.glob("checkpoint-*.gridcell")) if folder.exists() else []
    return int(found[-1].stem.removeprefix("checkpoint-")) if found else 0


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
