"""Scores of a model: on test rows once its training is over, and on labelled data that come later.

Later data have names of their own: their labels are put in the order of the model's, those that it
does not know behind them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gridcell import baseline, evaluation, preparation, record
from gridcell.batches import items_of
from gridcell.config import DataConfig, Part
from gridcell.doctor import Finding
from gridcell.errors import ConfigError, SourceError
from gridcell.evaluation import Scores
from gridcell.model import Model
from gridcell.networks.answers import LEVELS
from gridcell.networks.run import Room, said
from gridcell.preparation import (
    ForecastPreparation,
    Preparation,
    SeriesPreparation,
    TextPreparation,
)
from gridcell.preparation.forecast import check_offsets
from gridcell.preparation.texts import NOUNS
from gridcell.reading import Data, read
from gridcell.samples import (
    SPLIT_NAMES,
    STEP_TASKS,
    TEST,
    TRAIN,
    VALID,
    ForecastFacts,
    ItemTask,
    Samples,
)
from gridcell.sources.remembered import Remembered
from gridcell.sources.wording import listed
from gridcell.sources.words import UNKNOWN_WORD
from gridcell.split_by_time import MOST_ITEMS
from gridcell.teller import Silent, Teller


def evaluate(
    model: Model,
    path: Path,
    data: DataConfig,
    *,
    part: Part = "auto",
    teller: Teller | None = None,
) -> Scores | None:
    """Score a model on labelled data; one labelled item will do.

    Where the data are those that it was trained on, and not their own test or validation rows, a
    warning says so.

    Items of classes that the model does not know are left out, and counted in `Scores.unknown`; of
    several labels an item those that it knows are scored.

    part   which of the data's own splits; auto takes test where the data names one, else all

    Raises   SourceError where the model knows no label of the data, or not the columns of it, or
             for a split that the data has not; ConfigError for a setting that the model decides
    """
    tell = teller or Silent()
    for name in ("task", *preparation.SETTINGS):
        if getattr(data, name) != getattr(DataConfig(), name):
            raise ConfigError(
                f"{name} has no effect here: the model brings its own.", fix=f"leave {name} out."
            )
    if data.kind not in ("auto", model.kind):
        raise ConfigError(
            f"kind {data.kind} has no effect here: the model reads {model.kind}.",
            fix="leave kind out.",
        )
    if isinstance(model.preparation, ForecastPreparation):
        for name in ("target", "inputs"):
            if getattr(data, name):
                raise ConfigError(
                    f"{name} has no effect here: the model forecasts the columns that it learned.",
                    fix=f"leave --{name} out, and give the columns the names of training.",
                )
        data = model.preparation.reading(data)
    else:
        data = replace(data, task=model.task, kind=model.kind)
        if isinstance(model.preparation, SeriesPreparation):
            data = replace(data, missing=model.preparation.missing)
    if model.task == "write" and isinstance(model.preparation, TextPreparation):
        data = replace(data, text_level="words" if model.preparation.level == "words" else "auto")
    found = read(
        path,
        data,
        teller=tell,
        chosen=model.preparation,
        purpose="score",
        remembered=_remembered(model),
    )
    if isinstance(found.samples.facts, ForecastFacts):
        assert isinstance(model.preparation, ForecastPreparation)
        check_offsets(model.preparation, path, has_offset=found.samples.facts.has_offset)
    found = replace(found, samples=_with_labels_of(model, found.samples))
    rows, name = _rows_of(found.samples, part)
    _check_known(model, found.samples, rows)
    tell.findings(_seen_in_training(model, found.samples, rows))
    thinned = ""
    if isinstance(model.preparation, ForecastPreparation):
        rows, thinned = _thinned(rows, len(model.labels))
    scores = score(model, found, rows, Room(tell.note))
    tell.scores(scores, f"{called(scores, model.task, f'{name} '.lstrip())}{thinned}")
    return scores


def score(model: Model, data: Data, rows: NDArray[np.int64], room: Room) -> Scores | None:
    """Score a model's answers for some rows; None where there are none."""
    if not len(rows):
        return None
    if isinstance(model.preparation, ForecastPreparation):
        return _score_forecasts(model, model.preparation, data, rows, room)
    if model.task == "write":
        return _score_writing(model, data, rows, room)
    task, truths = scored(data, model.preparation, rows)
    scores = evaluation.score(
        task,
        model.answers(data.decoded, rows, room),
        truths,
        labels=model.labels,
        train_targets=baseline.recall(task, model.description.train_targets),
        unknown=data.samples.labels[len(model.labels) :],
    )
    return evaluation.over_steps(scores, model.task) if model.task in STEP_TASKS else scores


def scored(
    data: Data, prep: Preparation, rows: NDArray[np.int64]
) -> tuple[ItemTask, NDArray[np.generic]]:
    """Return as what these rows are scored, and their targets: of every step if it has some."""
    samples = data.samples
    if samples.task not in STEP_TASKS:
        return samples.task, samples.targets[rows]
    targets = torch.from_numpy(samples.targets)
    items = items_of(
        prep,
        data.decoded,
        targets,
        rows,
        classes=len(samples.labels),
        events=samples.events,
        tags=samples.tags,
    )
    return STEP_TASKS[samples.task], items.truths().numpy()


def called(scores: Scores | None, task: str, part: str) -> str:
    """What was scored, as it is called behind its count: test rows, or a single test row."""
    plural = "" if scores is not None and scores.items == 1 else "s"
    if task in STEP_TASKS:
        return f"step{plural} of the {part}rows"
    return f"{part}{'window' if task == 'forecast' else 'row'}{plural}"


def _remembered(model: Model) -> Remembered:
    """Return how the tables of training were read."""
    prep, asked = model.preparation, model.description.asked
    target = model.description.target_columns
    of_tables = TextPreparation | SeriesPreparation | ForecastPreparation
    of_series = prep if isinstance(prep, SeriesPreparation) else asked
    return Remembered(
        prep.table if isinstance(prep, of_tables) else asked.dialect,
        path_column=asked.path_column,
        text_column=prep.column if isinstance(prep, TextPreparation) else None,
        id_column=of_series.id_column,
        time_column=of_series.time_column,
        inputs=model.columns,
        target=target,
        step=prep.step if isinstance(prep, ForecastPreparation) else None,
        has_label_columns=target == model.labels,
    )


def _with_labels_of(model: Model, samples: Samples) -> Samples:
    """Return the samples with targets in the order of the model's labels, then those unknown to it.

    The targets are then those of training if the data are: `record.data_digest` says so.
    """
    if isinstance(model.preparation, ForecastPreparation):
        return samples  # read by the names of the model's own columns
    known = {label: number for number, label in enumerate(model.labels)}
    rare = known.get(UNKNOWN_WORD) if model.task == "write" else None
    unknown = [label for label in samples.labels if label not in known and rare is None]
    if unknown and (samples.has_label_columns or model.task == "regress"):
        raise SourceError(
            f"the data holds the column {unknown[0]!r}, which the model never saw in training; "
            f"it knows {listed(model.labels)}.",
            fix="leave it out, or train again with it.",
        )
    missing = [label for label in model.labels if label not in samples.labels]
    if missing and samples.has_label_columns:
        raise SourceError(
            f"the data lacks the column {missing[0]!r} that the model answers.",
            fix=f"name all its columns: {' '.join(f'--target {name}' for name in model.labels)}.",
        )
    labels = (*model.labels, *unknown)
    place = {label: number for number, label in enumerate(labels)}
    where = np.array([place.get(label, rare) for label in samples.labels], np.int64)
    if model.task == "classify":
        numbers = samples.targets.astype(np.int64)
        return replace(samples, labels=labels, targets=where[numbers])
    targets = samples.targets
    if targets.shape[1] or model.task == "labels":
        targets = np.zeros((len(samples), len(labels)), targets.dtype)
        targets[:, where] = samples.targets
    events = samples.events
    if events is not None:
        events = events.copy()
        events["label"] = where[events["label"]]
    tags = samples.tags
    if tags is not None:
        tags = replace(tags, numbers=where[tags.numbers])
    return replace(samples, labels=labels, targets=targets, events=events, tags=tags)


def _rows_of(samples: Samples, part: str) -> tuple[NDArray[np.int64], str]:
    """Return the rows of one of the data's own splits, and its name; "" of all."""
    given = {name: samples.given == number for number, name in enumerate(SPLIT_NAMES)}
    if part == "auto":
        part = "test" if given["test"].any() else "all"
    if part == "all":
        return np.arange(len(samples)), ""
    if not given[part].any():
        raise SourceError(f"the data names no {part} rows.", fix="pass --part all.")
    return np.flatnonzero(given[part]), part


def _check_known(model: Model, samples: Samples, rows: NDArray[np.int64]) -> None:
    """Refuse rows of which the model knows no label: there is nothing to score."""
    known = len(model.labels)
    if len(samples.labels) == known:
        return
    if samples.tags is not None:
        here = np.unique(samples.tags.take(rows).numbers)
    else:
        targets = samples.targets[rows]
        here = np.unique(targets) if targets.ndim == 1 else np.flatnonzero((targets != 0).any(0))
    if len(here) and here.min() >= known:
        raise SourceError(
            f"the model knows no label of the data: they hold "
            f"{listed(samples.labels[number] for number in here)}, the model knows "
            f"{listed(model.labels)}.",
            fix="give the labels the names that they had in training.",
        )


def _seen_in_training(model: Model, samples: Samples, rows: NDArray[np.int64]) -> list[Finding]:
    """Warn where the data are those of training; rows that their own split holds out are fine."""
    if record.data_digest(samples) != model.description.trained.get("data_digest"):
        return []
    # Without training rows a split isn't the one that was trained by: it was named since.
    has_own = (samples.given == TRAIN).any()
    if has_own and np.isin(samples.given[rows], (VALID, TEST)).all():
        return []
    text = (
        "These are the data that the model was trained on (and chosen by): the scores say nothing "
        "about new data; its own test scores are in run.json."
    )
    return [Finding("warning", text)]


def _thinned(rows: NDArray[np.int64], columns: int) -> tuple[NDArray[np.int64], str]:
    """Leave out windows evenly where they are more than a training would be tested on; say so."""
    every = max(1, -(-len(rows) * columns // MOST_ITEMS[TEST]))
    if every == 1:
        return rows, ""
    told = f", one in {every:,} of {len(rows):,}: neighbours are nearly the same"
    return rows[::every], told


def _score_forecasts(
    model: Model, prep: ForecastPreparation, data: Data, rows: NDArray[np.int64], room: Room
) -> Scores:
    """Score forecasts beside the naive ones, all from the same windows."""
    facts, targets = data.samples.facts, list(prep.targets)
    assert isinstance(facts, ForecastFacts)
    firsts = facts.firsts[rows]
    ahead = firsts[:, None] + prep.past + np.arange(prep.horizon)
    deviation = np.array(prep.column_deviation)[targets]
    widths = model.description.answers.half_widths
    return evaluation.forecast.score(
        model.answers(data.decoded, rows, room),
        facts.values[:, targets][ahead].swapaxes(1, 2),
        labels=model.labels,
        deviation=deviation.tolist(),
        beside=evaluation.forecast.naive(
            data.decoded.values[:, targets].astype(np.float64),
            firsts,
            past=prep.past,
            horizon=prep.horizon,
            season=prep.season,
        ),
        half_widths={
            level: np.array(half) * deviation[:, None]
            for level, half in zip(LEVELS, widths, strict=False)
        },
    )


def _score_writing(model: Model, data: Data, rows: NDArray[np.int64], room: Room) -> Scores:
    """Score how probable each step was before it came.

    For what the model cannot say it is asked for something else, and that is left out.
    """
    prep, tags = model.preparation, data.samples.tags
    assert isinstance(prep, TextPreparation) and tags is not None
    drawn = partial(items_of, prep, data.decoded, torch.zeros(len(data.samples), 0), rows)
    sayable = replace(tags, numbers=np.minimum(tags.numbers, len(model.labels) - 1))
    return evaluation.writing.score(
        said(model.network, drawn(tags=sayable), room),
        drawn(tags=tags).truths().numpy(),
        labels=model.labels,
        counts=np.array(model.description.train_targets[0]),
        unit=NOUNS[prep.level],
        unknown=data.samples.labels[len(model.labels) :],
    )
