"""A floor for images: a random forest on small thumbnails, on the same rows as gridcell's scores.

    python benchmarks/forest.py PATH --side 16

Reads and splits the data as `gridcell train` does, trains scikit-learn's random forest of 300 trees
on the training rows' thumbnails, and prints its accuracy on validation and test rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sklearn.ensemble import RandomForestClassifier

from gridcell import pipeline
from gridcell.config import from_mapping

TREES = 300


def main() -> None:
    """Print one row a seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args()
    print("  seed  validation     test")
    for seed in asked.seeds:
        found = pipeline.inspect(from_mapping(asked.path, {"image_size": asked.side, "seed": seed}))
        targets = found.data.samples.targets
        flat = found.data.decoded.values.reshape(len(targets), -1)
        train, valid, test = (found.parts.rows(name) for name in ("train", "valid", "test"))
        forest = RandomForestClassifier(TREES, n_jobs=-1, random_state=seed)
        forest.fit(flat[train], targets[train])
        scores = [forest.score(flat[rows], targets[rows]) for rows in (valid, test)]
        print(f"{seed:6d}  {scores[0]:10.4f}  {scores[1]:7.4f}", flush=True)


if __name__ == "__main__":
    main()
