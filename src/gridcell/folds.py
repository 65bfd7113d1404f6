"""Cross-validation: each fold in turn is the test part, and a training of its own.

Data are read and decoded once. What a fold's training may not know of its test rows, it does not:
statistics, augmentation and the best epoch come from the other folds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote

from gridcell import pipeline, record, splits, training
from gridcell.config import Config
from gridcell.doctor import Finding
from gridcell.errors import ConfigError
from gridcell.evaluation import Scores
from gridcell.reading import Data
from gridcell.record import Run
from gridcell.resuming import at_place, check_same_data, check_same_split, config_of
from gridcell.sources.name_pattern import noun_of
from gridcell.sources.wording import counted
from gridcell.teller import Silent, Teller


@dataclass(frozen=True)
class FoldScore:
    """One score over all folds: its values, their mean and their spread."""

    name: str
    values: tuple[float | None, ...]
    """One a fold; None where it could not be computed there."""
    mean: float | None
    deviation: float | None
    """Standard deviation over the folds (n - 1); None of fewer than two."""
    baseline: float | None
    """Mean of what a trivial guess gets."""


@dataclass(frozen=True)
class CrossRun:
    """What a cross-validation leaves: a run for each fold, and the scores over all."""

    folder: Path
    names: tuple[str, ...]
    """Name of each fold that was trained."""
    runs: tuple[Run, ...]
    scores: tuple[FoldScore, ...]
    main: str
    """Name of the score by which epochs were chosen."""
    was_interrupted: bool = False
    """Whether folds are missing, since the user ended it."""

    def __getitem__(self, name: str) -> FoldScore:
        """The score of this name."""
        return next(score for score in self.scores if score.name == name)


def cross_validate(config: Config, teller: Teller | None = None) -> CrossRun:
    """Train once for each fold that `config.split.folds` names: a column, or a pattern of names.

    An interrupted fold ends it: the folds before it, and the scores over them, are kept.

    Raises   GridcellError as `pipeline.train` does; ConfigError where no folds are named
    """
    tell, started = teller or Silent(), time.perf_counter()
    if config.split.folds is None:
        raise ConfigError("no folds are named.", fix="name a column of the table: --folds fold.")
    training.keep_memory()
    training.check(config.train)
    chosen = record.choose_folder(config)
    data = pipeline.inspect(config, tell).data
    with record.claimed(chosen) as folder:  # from the first fold to the record of all
        return _over_folds(data, config, folder, tell, started=started)


def resume(folder: Path, teller: Teller | None = None, *, data: Path | None = None) -> CrossRun:
    """Go on with a cross-validation: folds that are done are scored again, the rest is trained.

    data     where the data lie now, if they were moved

    Raises   ConfigError where no fold was begun, or another process is at work there; SourceError
             where the data are not those of before
    """
    tell, started = teller or Silent(), time.perf_counter()
    with record.reclaimed(folder):
        about, _, _ = training.latest(begun(folder)[0])
        about = at_place(about, folder, data)
        config = config_of(about, data)
        training.keep_memory()
        training.check(config.train)
        found = pipeline.inspect(config, tell).data
        check_same_data(about, found)
        return _over_folds(found, config, folder, tell, started=started)


def refuse_other_settings(named: Iterable[str]) -> None:
    """Refuse settings that a cross-validation cannot go on with; where the data lie is none.

    Raises   ConfigError
    """
    for name in named:
        if name != "data":
            raise ConfigError(
                f"{name} has no effect on a cross-validation that goes on.",
                fix=f"leave --{name.replace('_', '-')} out: its scores are over trainings that are "
                "alike.",
            )


def begun(folder: Path) -> list[Path]:
    """The folders of a cross-validation's folds that can be gone on with."""
    return sorted(inner for inner in folder.glob("fold-*") if training.has_checkpoint(inner))


def _over_folds(
    data: Data, config: Config, folder: Path, tell: Teller, *, started: float
) -> CrossRun:
    """Train each fold in a folder inside this one, or go on with what is there."""
    try:
        return _each_fold(data, config, folder, tell, started=started)
    except BaseException as stop:
        if begun(folder):
            stop.add_note(f"Go on: gridcell train {quote(str(folder))} --resume")
        raise


def _each_fold(
    data: Data, config: Config, folder: Path, tell: Teller, *, started: float
) -> CrossRun:
    names, noun = data.samples.fold_names, noun_of(config.split.folds or "")
    inner_names = _folder_names(names)
    runs: list[Run] = []
    was_interrupted = False
    for number, name in enumerate(names):
        parts = splits.fold(data.samples, config.split, number=number, seed=config.train.seed)
        which = f"Fold {number + 1:,} of {len(names):,}"
        tell.section(f"{which}: {noun} {name} is the test part", parts.notes)
        inner = folder / inner_names[number]
        resumed = None
        if training.has_checkpoint(inner):
            about, state, notes = training.latest(inner)
            check_same_split(about, data, parts)
            resumed = at_place(about, folder, config.path), state
            tell.section(f"Going on with {inner}", [])
            tell.findings(Finding("warning", note) for note in notes)
        run = pipeline.train_on(
            data,
            parts,
            config,
            inner,
            tell,
            started=time.perf_counter(),
            fold=number,
            resumed=resumed,
        )
        runs.append(run)
        if runs[-1].was_interrupted:
            runs.pop()
            was_interrupted = True
            break
    found = CrossRun(folder, names[: len(runs)], tuple(runs), *_over(runs), was_interrupted)
    took = time.perf_counter() - started
    content = {
        "folds": list(found.names),
        "runs": [run.folder.name for run in runs],
        "main": found.main,
        "scores": [asdict(score) for score in found.scores],
        "seconds": round(took, 2),
    }
    written = record.write_folds(folder, config, data.samples, content)
    tell.section(f"Over {len(runs):,} of {counted(len(names), 'fold')}", told(found))
    rest = (
        [f"To train the rest: gridcell train {quote(str(folder))} --resume"]
        if was_interrupted
        else []
    )
    tell.section(f"Written after {took:.0f} s", [written, *rest])
    return found


def _folder_names(names: Sequence[str]) -> list[str]:
    """A folder's name for each fold, the same whenever it goes on.

    >>> _folder_names(["a b", "a/b", "c"])
    ['fold-a-b', 'fold-a-b-2', 'fold-c']
    """
    found: list[str] = []
    for name in names:
        plain = f"fold-{record.file_name(name)}"
        numbered = (plain, *(f"{plain}-{number}" for number in range(2, len(names) + 2)))
        found.append(next(choice for choice in numbered if choice not in found))
    return found


def told(run: CrossRun) -> list[str]:
    """Each score's mean and spread over the folds, for the user."""
    lines = []
    for score in run.scores:
        if score.mean is None:
            continue
        spread = "" if score.deviation is None else f" ± {score.deviation:.4f}"
        guess = "" if score.baseline is None else f", trivial guess {score.baseline:.4f}"
        each = ", ".join("n/a" if value is None else f"{value:.4f}" for value in score.values)
        lines.append(f"{score.name}: {score.mean:.4f}{spread}{guess} ({each})")
    return lines


def _over(runs: Sequence[Run]) -> tuple[tuple[FoldScore, ...], str]:
    """Return every score over the folds, and the name of the main one."""
    every = [run.scores for run in runs if run.scores is not None]
    if not every:
        return (), ""
    names = [score.name for score in every[0].scores]
    return tuple(_fold_score(name, every) for name in names), every[0].main


def _fold_score(name: str, every: Sequence[Scores]) -> FoldScore:
    found = [next((s for s in scores.scores if s.name == name), None) for scores in every]
    values = tuple(None if score is None else score.value for score in found)
    known = [value for value in values if value is not None]
    guesses = [s.baseline for s in found if s is not None and s.baseline is not None]
    return FoldScore(
        name,
        values,
        statistics.fmean(known) if known else None,
        statistics.stdev(known) if len(known) > 1 else None,
        statistics.fmean(guesses) if guesses else None,
    )
