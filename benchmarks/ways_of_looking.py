"""What six ways of looking at a picture give that two do not: the same weights, asked both ways.

    gridcell train FOLDER --out RUN ...
    python benchmarks/ways_of_looking.py RUN [RUN ...]

Each RUN is the folder of a training whose network stands inside `mirrored`, and whose data lie
where they lay. Its validation rows are scored with `shift=0` and `shift=1`, in float32; the
temperature of the probabilities stays the one that was fitted with the run's own shift.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from gridcell import layers, pipeline
from gridcell.config import from_mapping
from gridcell.model import Model
from gridcell.networks.run import Room
from gridcell.scoring import score
from gridcell.teller import Silent

SECTIONS = ("data", "split", "train")


def main() -> None:
    """Print a row for each run and shift."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    print("run                       shift  rows   accuracy  log loss  ms an item")
    for run in parser.parse_args().runs:
        ask(run)


def ask(run: Path) -> None:
    """Print how the run's model does on its validation rows, in place and moved as well."""
    settings = json.loads((run / "run.json").read_text())["settings"]
    config = from_mapping(Path(settings["path"]), {name: settings[name] for name in SECTIONS})
    found = pipeline.inspect(config, Silent())
    model = Model.load(run)
    around = [each for each in model.network.modules() if isinstance(each, layers.Mirrored)]
    if not around:
        raise SystemExit(f"{run}: its network does not stand inside mirrored.")
    rows = found.parts.rows("valid")
    for shift in (0, 1):
        for each in around:
            each.shift = shift
        start = time.perf_counter()
        scores = score(model, found.data, rows, Room())
        an_item = 1e3 * (time.perf_counter() - start) / max(len(rows), 1)
        if scores is None:
            raise SystemExit(f"{run}: it has no validation rows.")
        accuracy, loss = scores["accuracy"].value, scores["log loss"].value
        print(
            f"{run.name:24s}  {shift:5d}  {len(rows):5,}  {accuracy:9.2%}  {loss:8.4f}  "
            f"{an_item:10.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
