"""gridcell: from a folder of recordings to a CNN or LSTM to trust, see inside and ship.

    run = gridcell.train("photos/")
    model = gridcell.load("runs/photos/model.gridcell")
    model.predict("new.jpg")

Importing this loads no PyTorch; the first use of a name does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridcell.errors import GridcellError  # loads in no time
from gridcell.process import wait_politely  # early: with it a command's time begins
from gridcell.version import VERSION as __version__

if TYPE_CHECKING:
    from gridcell.folds import CrossRun
    from gridcell.model import Model
    from gridcell.record import Run

__all__ = ["GridcellError", "__version__", "cross_validate", "load", "resume", "train"]


def __dir__() -> list[str]:
    """The public names alone, not what they are made with."""
    return [*__all__]


DATA = "a folder or a table"


def train(
    path: str | Path, *, out: str | Path | None = None, quiet: bool = False, **settings: Any
) -> Run:
    """Train on what lies at `path`; does what the command `gridcell train` does.

    settings   any setting by its name, such as epochs=20, net="lenet", group="patient"

    Raises     GridcellError for data or settings that cannot be used
    """
    wait_politely()
    from gridcell import config, pipeline
    from gridcell.teller import Silent
    from gridcell.terminal import Terminal

    if "resume" in settings:
        raise GridcellError(
            "resume is no setting of a training.",
            fix="gridcell.resume(FOLDER) goes on with the run in a folder.",
        )
    place = config.path_of(path, what=DATA)
    folder = None if out is None else config.path_of(out, what="a folder")
    chosen = config.from_mapping(place, settings, out=folder)
    if quiet:
        return pipeline.train(chosen, Silent())
    with Terminal() as terminal:
        return pipeline.train(chosen, terminal)


def cross_validate(
    path: str | Path,
    *,
    folds: str,
    out: str | Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> CrossRun:
    """Train once for each value of the column `folds` of a table, which in turn is the test part.

    settings   any setting by its name, as for `train`

    Raises     GridcellError for data or settings that cannot be used
    """
    wait_politely()
    from gridcell import config
    from gridcell import folds as crossing
    from gridcell.teller import Silent
    from gridcell.terminal import Terminal

    settings = {**settings, "folds": folds}
    place = config.path_of(path, what=DATA)
    folder = None if out is None else config.path_of(out, what="a folder")
    chosen = config.from_mapping(place, settings, out=folder)
    if quiet:
        return crossing.cross_validate(chosen, Silent())
    with Terminal() as terminal:
        return crossing.cross_validate(chosen, terminal)


def resume(
    folder: str | Path,
    *,
    budget: str | None = None,
    epochs: int | None = None,
    rate: float | None = None,
    batch_size: int | None = None,
    net: str | None = None,
    data: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Go on with the run in `folder`; does what `gridcell train FOLDER --resume` does.

    budget      time to train on for ("+10m"), or of all training together ("30m")
    epochs      epochs of all training together
    rate        another peak of the learning rate
    batch_size  items at a time, fewer than a step learns from, where the memory was full
    net         the network as its training printed it, where an earlier gridcell did not keep it
    data        where the data lie now, if they were moved

    Raises   GridcellError where there is no checkpoint, or nothing is left to do
    """
    wait_politely()
    from gridcell import config, resuming
    from gridcell.teller import Silent
    from gridcell.terminal import Terminal

    run = config.path_of(folder, what="the folder of a run")
    more: dict[str, Any] = {"budget": budget, "epochs": epochs, "rate": rate}
    more |= {} if net is None else {"net": net}
    config.from_mapping(run, more)  # their types and ranges
    more["batch_size"] = batch_size
    more["data"] = None if data is None else config.path_of(data, what=DATA)
    if quiet:
        return resuming.resume(run, **more, teller=Silent())
    with Terminal() as terminal:
        return resuming.resume(run, **more, teller=terminal)


def load(path: str | Path) -> Model:
    """Read a model file; nothing in it is run.

    Raises   ModelFileError where it is missing, damaged, unsafe, or from a later version
    """
    wait_politely()
    from gridcell.config import path_of
    from gridcell.model import Model

    return Model.load(path_of(path, what="a model.gridcell"))
