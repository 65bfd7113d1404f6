"""gridcell: from a folder of recordings to a CNN or LSTM to trust, see inside and ship.

    run = gridcell.train("photos/")
    model = gridcell.load("runs/photos/model.gridcell")
    model.predict("new.jpg")

Importing this loads no PyTorch; the first use of a name does.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from gridcell.errors import GridcellError  # loads in no time
from gridcell.process import wait_politely  # early: with it a command's time begins
from gridcell.version import VERSION as __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gridcell.config import Part
    from gridcell.evaluation import Scores
    from gridcell.folds import CrossRun
    from gridcell.inspection import Inspection
    from gridcell.model import Model
    from gridcell.record import Run
    from gridcell.teller import Teller
    from gridcell.timeline import Window

__all__ = [
    "GridcellError",
    "__version__",
    "cross_validate",
    "evaluate",
    "inspect",
    "load",
    "predict_windows",
    "resume",
    "train",
    "write",
]


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

    if "resume" in settings:
        raise GridcellError(
            "resume is no setting of a training.",
            fix="gridcell.resume(FOLDER) goes on with the run in a folder.",
        )
    place = config.path_of(path, what=DATA)
    folder = None if out is None else config.path_of(out, what="a folder")
    chosen = config.from_mapping(place, settings, out=folder)
    with _telling(quiet) as teller:
        return pipeline.train(chosen, teller)


def inspect(path: str | Path, *, quiet: bool = False, **settings: Any) -> Inspection:
    """Say what would be trained on at `path`; does what the command `gridcell inspect` does.

    settings   of the data and the split, such as target="fault" or group="patient", and the seed

    Returns    an `Inspection`: `task`, `labels`, `rows` of each part, `notes` and `findings`
    Raises     GridcellError for data or settings that cannot be used
    """
    wait_politely()
    from gridcell import config, pipeline

    chosen = config.from_mapping(config.path_of(path, what=DATA), settings)
    seed = config.TrainConfig(seed=chosen.train.seed)
    if chosen != config.Config(chosen.path, chosen.data, chosen.split, seed):
        raise _without_effect(settings, beside="the data and the split, and the seed,")
    with _telling(quiet) as teller:
        return pipeline.inspect(chosen, teller)


def cross_validate(
    path: str | Path,
    *,
    folds: str,
    out: str | Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> CrossRun:
    """Train once for each fold, which in turn is the test part.

    folds      the column of a table whose values are the folds, or a pattern of the names of
               files, such as "{person}_*"
    settings   any setting by its name, as for `train`

    Raises     GridcellError for data or settings that cannot be used
    """
    wait_politely()
    from gridcell import config
    from gridcell import folds as crossing

    settings = {**settings, "folds": folds}
    place = config.path_of(path, what=DATA)
    folder = None if out is None else config.path_of(out, what="a folder")
    chosen = config.from_mapping(place, settings, out=folder)
    with _telling(quiet) as teller:
        return crossing.cross_validate(chosen, teller)


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
) -> Run | CrossRun:
    """Go on with the run in `folder`; does what `gridcell train FOLDER --resume` does.

    A cross-validation goes on with the fold that is next; its trainings keep their settings.

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
    from gridcell import folds as crossing

    run = config.path_of(folder, what="the folder of a run")
    more: dict[str, Any] = {"budget": budget, "epochs": epochs, "rate": rate}
    more |= {} if net is None else {"net": net}
    config.from_mapping(run, more)  # their types and ranges
    more["batch_size"] = batch_size
    more["data"] = None if data is None else config.path_of(data, what=DATA)
    with _telling(quiet) as teller:
        if crossing.begun(run):
            crossing.refuse_other_settings(name for name in more if more[name] is not None)
            return crossing.resume(run, teller, data=more["data"])
        return resuming.resume(run, **more, teller=teller)


def load(path: str | Path) -> Model:
    """Read a model file, or that in the folder of a run; nothing in it is run.

    Raises   ModelFileError where it is missing, damaged, unsafe, or from a later version
    """
    wait_politely()
    from gridcell.config import path_of
    from gridcell.model import Model

    return Model.load(path_of(path, what="a model.gridcell"))


def evaluate(
    model: Model | str | Path,
    path: str | Path,
    *,
    part: Part = "auto",
    quiet: bool = False,
    **settings: Any,
) -> Scores | None:
    """Score a model on labelled data; does what the command `gridcell evaluate` does.

    model      as `load` or a run gives it, or the path of its file
    part       which of the data's own splits; auto takes test where there is one, else all rows
    settings   how data are read, such as target="fault" or encoding="cp1252"

    Returns    the scores, None where nothing can be scored
    Raises     GridcellError for data or settings that cannot be used
    """
    wait_politely()
    from gridcell import config, scoring

    parts = get_args(config.Part)
    if part not in parts:
        raise GridcellError(f"part = {part!r} is none of {', '.join(parts)}.", fix="name one.")
    chosen = config.from_mapping(config.path_of(path, what=DATA), settings)
    if chosen != config.Config(chosen.path, data=chosen.data):
        raise _without_effect(settings, beside="the data", others="the split and the training")
    known = _model_of(model)
    with _telling(quiet) as teller:
        return scoring.evaluate(known, chosen.path, chosen.data, part=part, teller=teller)


def predict_windows(
    model: Model | str | Path,
    files: str | Path | Sequence[str | Path],
    *,
    window: float,
    step: float | None = None,
    skip_bad_files: bool = False,
) -> Iterator[Window]:
    """Answer along sounds or clips, window by window: `gridcell predict --window`.

    model    as `load` or a run gives it, or the path of its file
    window   seconds of a window; a file that is shorter is one window
    step     seconds from the start of one to that of the next; half a window where left out

    Yields   a `Window` with `start` and `end` in seconds and a `prediction`, file after file
    Raises   GridcellError for a model without a timeline, or seconds or files that cannot be used
    """
    wait_politely()
    from gridcell import timeline
    from gridcell.config import path_of

    every = [files] if isinstance(files, str | Path) else files
    paths = [path_of(file, what="a sound or a clip") for file in every]
    return timeline.of_files(
        _model_of(model), paths, window_s=window, step_s=step, skip_bad_files=skip_bad_files
    )


def write(
    model: Model | str | Path,
    steps: int,
    *,
    prompt: str = "\n",
    temperature: float = 1.0,
    seed: int = 0,
) -> str:
    """Return so many characters, or words, as a text might go on: `gridcell predict --write`.

    model         as `load` or a run gives it, or the path of its file
    prompt        what stands before the first; it is read and not returned
    temperature   below 1 the likely becomes likelier still, above 1 everything more alike
    seed          the same writes the same

    Raises        GridcellError for a model that was not trained to write, or numbers out of range
    """
    wait_politely()
    from gridcell import writing

    written = writing.write(
        _model_of(model), steps, prompt=prompt, temperature=temperature, seed=seed
    )
    return "".join(written)


def _without_effect(
    settings: Iterable[str], *, beside: str, others: str = "the training"
) -> GridcellError:
    """What to raise where some of the settings are none of those beside which nothing counts."""
    return GridcellError(
        f"only settings of {beside} have an effect here; got {', '.join(settings)}.",
        fix=f"leave those of {others} out.",
    )


@contextmanager
def _telling(quiet: bool) -> Iterator[Teller]:
    """Who is told how things go: the terminal, unless it is to be quiet."""
    from gridcell.teller import Silent
    from gridcell.terminal import Terminal

    if quiet:
        yield Silent()
    else:
        with Terminal() as terminal:
            yield terminal


def _model_of(model: Model | str | Path) -> Model:
    from gridcell.model import Model

    return model if isinstance(model, Model) else load(model)
