"""The main path, on one screen: from a folder of recordings to a model and its scores.

folder, table ─> Samples ─> decoded, cached once ─> splits ─> Preparation (train rows only)
  ─> network ─> training ─> evaluation on test rows, once ─> model file and run record
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gridcell import baseline, doctor, evaluation, preparation, record, sources, splits, training
from gridcell.batches import items_of, work_in
from gridcell.cache import cache_folder, told_bytes
from gridcell.config import Config, DataConfig, Part, TrainConfig
from gridcell.errors import ConfigError, GridcellError, SourceError, TrainingError
from gridcell.evaluation import Scores
from gridcell.model import Description, Model
from gridcell.networks.answers import LEVELS, Answers
from gridcell.networks.run import FIX_IN_TRAINING, Room, said
from gridcell.preparation import (
    ForecastPreparation,
    Preparation,
    SeriesPreparation,
    TextPreparation,
    remarks,
)
from gridcell.preparation.cache import Decoded
from gridcell.preparation.texts import NOUNS
from gridcell.record import Run
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
from gridcell.sources import NOTHING, classes
from gridcell.sources.remembered import Asked, Remembered
from gridcell.sources.wording import counted, listed, shown
from gridcell.sources.words import UNKNOWN_WORD
from gridcell.split_by_time import MOST_ITEMS
from gridcell.splits import Parts
from gridcell.teller import Silent, Teller
from gridcell.training import About, History, Job, State


def train(config: Config, teller: Teller | None = None, *, started: float | None = None) -> Run:
    """Train a network on what lies at `config.path` and leave a run folder with its model.

    started  when the command began, by `time.perf_counter`, for its budget; now where left out

    Raises   GridcellError for data or settings that cannot be used; only the cache is written then.
             TrainingError where the loss diverged; the best weights before that, if there are any,
             are written first
    """
    tell = teller or Silent()
    started = time.perf_counter() if started is None else started
    if config.split.folds is not None:
        raise ConfigError("folds asks for one training a fold.", fix="call cross_validate.")
    training.keep_memory()
    training.check(config.train)
    folder = record.choose_folder(config)
    data, parts = inspect(config, tell)
    return train_on(data, parts, config, folder, tell, started=started)


def train_on(
    data: Data,
    parts: Parts,
    config: Config,
    folder: Path,
    tell: Teller,
    *,
    started: float,
    fold: int | None = None,
    resumed: tuple[About, State] | None = None,
) -> Run:
    """Train on data that are read and split, and leave a run in `folder` or the next free one.

    fold      which one it is, in a cross-validation
    resumed   goes on in this very folder, from this state
    """
    rows, valid_rows, test_rows = (parts.rows(name) for name in SPLIT_NAMES)
    prep = preparation.fit(data.chosen, data.decoded, rows)  # train rows alone
    before = None if resumed is None else resumed[0]
    prepared = partial(
        training.prepare,
        samples=data.samples,
        decoded=data.decoded,
        prep=prep,
        train_rows=rows,
        valid_rows=valid_rows,
        vectors=config.data.vectors,
        memory=cache_folder(config.data.cache),
    )
    in_parts = 1 if resumed is None else resumed[1].position.parts
    job = prepared(config.train, about=before, parts=in_parts)
    if resumed is not None:
        training.check_fits(folder, job.network, *resumed)
    tell.section("Training", job.notes)

    task, train_targets = _scored(data, prep, rows)
    main, better = evaluation.choose_main(task, train_targets)
    if data.samples.task == "write":
        main, better = "log loss", "lower"
    quick = partial(evaluation.quick, task, name=main)
    digest = record.data_digest(data.samples) if before is None else before.data_digest
    split_digest = record.split_digest(data.samples, parts.split)
    room = Room(tell.note, fix=FIX_IN_TRAINING)
    # A run that goes on is held by whoever goes on with it.
    hold = contextlib.nullcontext(folder) if resumed else record.claimed(folder)
    with hold as mine, _saying_how_to_go_on(mine):

        def fit(job: Job, about: About | None, state: State | None) -> History:
            settings = replace(config, train=job.config)
            about = about or job.about(
                settings, digest=digest, split_digest=split_digest, fold=fold
            )
            after = job.looked_at_after + _work_of_test(job, data, rows, test_rows)
            return job.fit(
                quick,
                name=main,
                better=better,
                watcher=tell,
                checkpoints=training.Checkpoints(mine, about),
                state=state,
                around=training.Around(time.perf_counter() - started, scored_after=after),
                room=room,
            )

        job, history = _fitted(job, fit, prepared, mine, tell, resumed=resumed)
        predicted = job.predicted(room)
        answers = job.answers(predicted)  # probabilities calibrated on validation rows
        diagnosis = job.diagnose(history, predicted, quick, better=better, room=room)
        tell.section("Trained", [*history.told(), *job.told(answers, predicted), *diagnosis.told()])
        tell.findings(diagnosis.findings)
        if config.train.profile:
            tell.section("Where the time went", job.profile(history))

        remembered = baseline.remember(task, train_targets, len(data.samples.labels))
        described = _describe(
            data.samples, prep, job, answers, remembered, config.data, digest=digest
        )
        model = Model(job.network.cpu(), described)
        scores = _score(model, data, test_rows, room)  # the test rows are read once, here

        run, took = Run(mine, model, history, scores), time.perf_counter() - started
        written = record.write(run, config, data.samples, parts, job, diagnosis, seconds=took)
    # After writing: printing can never cost the model.
    tell.scores(scores, _called(scores, data.samples.task, "test "))
    tell.findings(_least_budget(job, history, resumed, took=took))
    tell.section(f"Written after {took:.0f} s", written)
    if history.failure:
        raise TrainingError(
            f"{history.failure}\n  Kept: {run.model_file} from epoch {history.best_epoch}."
        )
    return run


def _least_budget(
    job: Job, history: History, resumed: tuple[About, State] | None, *, took: float
) -> list[doctor.Finding]:
    """Warn where the time budget was less than what a command takes besides its steps."""
    budget_s = job.plan.budget_s
    if budget_s is None or resumed is not None:  # what is left of one may be any time
        return []
    least = took - history.seconds
    if least <= budget_s:
        return []
    text = (
        f"The budget of {budget_s:.0f} s is less than the least that this command needs: "
        f"{least:.0f} s to start, read, score and write. The few steps it took anyway are "
        f"{history.seconds:.0f} s more."
    )
    return [doctor.Finding("warning", text)]


def _work_of_test(
    job: Job, data: Data, rows: NDArray[np.int64], test_rows: NDArray[np.int64]
) -> int:
    """What scoring the test rows costs, as `work_in` counts it, told from the training rows."""
    share = len(test_rows) / max(len(rows), 1)
    if data.samples.task == "write":  # few texts, of any length
        sizes = np.diff(data.decoded.starts)
        share = sizes[test_rows].sum() / max(sizes[rows].sum(), 1)
    return round(float(share) * work_in(job.train))


def _fitted(
    job: Job,
    fit: Callable[[Job, About | None, State | None], History],
    prepared: Callable[[TrainConfig], Job],
    folder: Path,
    tell: Teller,
    *,
    resumed: tuple[About, State] | None,
) -> tuple[Job, History]:
    """Train; where that diverges, and it was asked for, once more at a tenth of the rate."""
    is_tried_again = job.config.on_divergence == "retry"
    try:
        history = fit(job, *(resumed or (None, None)))
        failure = history.failure
    except TrainingError as error:
        if resumed is None:
            training.remove_checkpoints(folder)  # nothing in them is worth going on from
        if not is_tried_again:
            raise
        failure = str(error)
    if not (failure and is_tried_again):
        return job, history
    again = replace(job.config, rate=job.plan.rate / 10, on_divergence="stop")
    once_more = f"Once more from the start: --rate {again.rate:g}"
    tell.section("Diverged", [*failure.splitlines(), once_more])
    training.remove_checkpoints(folder)
    return _fitted(prepared(again), fit, prepared, folder, tell, resumed=None)


@contextlib.contextmanager
def _saying_how_to_go_on(folder: Path) -> Iterator[None]:
    """Note on what stops the work that the training is not lost."""
    try:
        yield
    except (KeyboardInterrupt, MemoryError, RuntimeError, GridcellError) as stop:
        if training.has_checkpoint(folder):
            stop.add_note(f"Go on: gridcell train {folder} --resume")
        raise


def inspect(config: Config, teller: Teller | None = None) -> tuple[Data, Parts]:
    """Read, decode and split the data, and tell what was understood of it; nothing is trained."""
    tell = teller or Silent()
    wanted = config.split
    data = read(config.path, config.data, group=wanted.group, folds=wanted.folds, teller=tell)
    if wanted.folds is None:
        parts = splits.split(data.samples, wanted, seed=config.train.seed)
    else:
        parts = splits.fold(data.samples, wanted, number=0, seed=config.train.seed)
    notes = [*parts.notes]
    if data.samples.task == "write" and UNKNOWN_WORD in data.samples.labels:
        samples, told = sources.writing.learned(data.samples, parts.rows("train"))
        data, notes = replace(data, samples=samples), [*notes, told]
    tell.section("Split", notes)
    tell.findings(doctor.examine(data.samples, parts.split))
    tell.findings(doctor.without_content(data.samples, parts.split, _empty(data)))
    return data, parts


def _empty(data: Data) -> set[str]:
    """The files of one colour throughout, and the silent ones."""
    return {path for path, remark in data.decoded.remarks if remark.what in remarks.EMPTY}


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
        data = model.preparation.reading(data)
    else:
        data = replace(data, task=model.task, kind=model.kind)
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
    found = replace(found, samples=_with_labels_of(model, found.samples))
    rows, name = _rows_of(found.samples, part)
    _check_known(model, found.samples, rows)
    tell.findings(_seen_in_training(model, found.samples, rows))
    thinned = ""
    if isinstance(model.preparation, ForecastPreparation):
        rows, thinned = _thinned(rows, len(model.labels))
    scores = _score(model, found, rows, Room(tell.note))
    tell.scores(scores, f"{_called(scores, model.task, f'{name} '.lstrip())}{thinned}")
    return scores


def _called(scores: Scores | None, task: str, part: str) -> str:
    """What was scored, as it is called behind its count: test rows, or a single test row."""
    plural = "" if scores is not None and scores.items == 1 else "s"
    if task in STEP_TASKS:
        return f"step{plural} of the {part}rows"
    return f"{part}{'window' if task == 'forecast' else 'row'}{plural}"


@dataclass(frozen=True)
class Data:
    """Items that lie decoded in the cache: row i of both is the same item."""

    samples: Samples
    chosen: Preparation
    decoded: Decoded


def read(
    path: Path,
    config: DataConfig,
    *,
    teller: Teller,
    group: str | None = None,
    folds: str | None = None,
    chosen: Preparation | None = None,
    purpose: classes.Purpose = "train",
    remembered: Remembered = NOTHING,
) -> Data:
    """Read what lies at `path` and decode it, as `chosen` says or as suits the data."""
    cache = cache_folder(config.cache)
    samples = sources.read(
        path,
        config,
        group=group,
        folds=folds,
        cache=config.cache,
        progress=partial(teller.progress, "Reading"),
        purpose=purpose,
        remembered=remembered,
    )
    chosen = chosen or preparation.choose(samples, config)
    decoded = preparation.decode(
        samples,
        chosen,
        on_bad_file=config.on_bad_file,
        folder=cache,
        progress=partial(teller.progress, "Decoding"),
    )
    said = remarks.told(decoded.remarks, samples.kind)
    samples = replace(samples, notes=(*samples.notes, *said))
    lines = [*samples.notes, f"Prepared as: {chosen.describe(samples.facts)}."]
    if decoded.bad:
        bad = counted(len(decoded.bad), "file")
        lines.append(f"{bad} could not be decoded; left out:")
        lines += [f"  {file}: {reason}" for file, reason in decoded.bad]
        samples, lost = _without_lost_classes(samples.take(decoded.rows), path, purpose=purpose)
        lines += lost
    samples = replace(samples, alike=decoded.alike)
    if decoded.file is not None:
        size = told_bytes(decoded.values.nbytes)
        found = "found in the cache" if decoded.was_cached else "decoded into the cache"
        lines.append(f"Decoded: {size}, {found} at {decoded.file}.")
    teller.section(f"Data: {shown(str(path))}", lines)
    return Data(samples, chosen, decoded)


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
        inputs=prep.columns if isinstance(prep, SeriesPreparation) else (),
        target=target,
        has_label_columns=target == model.labels,
    )


def _without_lost_classes(
    samples: Samples, path: Path, *, purpose: classes.Purpose
) -> tuple[Samples, list[str]]:
    """Leave out the classes of which no file could be decoded, and say so."""
    if samples.task != "classify":
        return samples, []
    labels, targets = classes.settle(
        samples.labels,
        samples.targets.astype(np.int64),
        where=str(path),
        fix="mend the files of the other classes.",
        purpose=purpose,
    )
    lost = [label for label in samples.labels if label not in labels]
    said = [f"Left out, none of its files can be decoded: {listed(lost)}."] if lost else []
    return replace(samples, labels=labels, targets=targets), said


def _score(model: Model, data: Data, rows: NDArray[np.int64], room: Room) -> Scores | None:
    if not len(rows):
        return None
    if isinstance(model.preparation, ForecastPreparation):
        return _score_forecasts(model, model.preparation, data, rows, room)
    if model.task == "write":
        return _score_writing(model, data, rows, room)
    task, truths = _scored(data, model.preparation, rows)
    scores = evaluation.score(
        task,
        model.answers(data.decoded, rows, room),
        truths,
        labels=model.labels,
        train_targets=baseline.recall(task, model.description.train_targets),
        unknown=data.samples.labels[len(model.labels) :],
    )
    return evaluation.over_steps(scores) if model.task in STEP_TASKS else scores


def _score_writing(model: Model, data: Data, rows: NDArray[np.int64], room: Room) -> Scores:
    """Score how probable each step was before it came."""
    prep = model.preparation
    assert isinstance(prep, TextPreparation)
    nothing = torch.zeros(len(data.samples), 0)
    items = items_of(prep, data.decoded, nothing, rows, tags=data.samples.tags)
    return evaluation.writing.score(
        said(model.network, items, room),
        items.truths().numpy(),
        labels=model.labels,
        counts=np.array(model.description.train_targets[0]),
        unit=NOUNS[prep.level],
    )


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


def _scored(
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


def _describe(
    samples: Samples,
    prep: Preparation,
    job: training.Job,
    answers: Answers,
    remembered: tuple[tuple[float, ...], ...],
    data: DataConfig,
    *,
    digest: str,
) -> Description[Preparation]:
    return Description(
        kind=samples.kind,
        task=samples.task,
        labels=samples.labels,
        notation=job.network.notation,
        preparation=prep,
        answers=answers,
        train_targets=remembered,
        trained={"items": len(samples), "data_digest": digest},
        target_columns=samples.target_columns,
        asked=Asked.of(data),
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
    if unknown and (samples.has_label_columns or model.task in ("regress", "write")):
        what = "character" if model.task == "write" else "column"
        # Characters are quoted, since a space or a comma among them would not be seen.
        knows = map(repr, model.labels) if model.task == "write" else model.labels
        raise SourceError(
            f"the data holds the {what} {unknown[0]!r}, which the model never saw in training; "
            f"it knows {listed(knows)}.",
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


def _check_known(model: Model, samples: Samples, rows: NDArray[np.int64]) -> None:
    """Refuse rows of which the model knows no label: there is nothing to score."""
    known = len(model.labels)
    if len(samples.labels) == known:
        return
    targets = samples.targets[rows]
    here = np.unique(targets) if targets.ndim == 1 else np.flatnonzero((targets != 0).any(0))
    if len(here) and here.min() >= known:
        raise SourceError(
            f"the model knows no label of the data: they hold "
            f"{listed(samples.labels[number] for number in here)}, the model knows "
            f"{listed(model.labels)}.",
            fix="give the labels the names that they had in training.",
        )


def _seen_in_training(
    model: Model, samples: Samples, rows: NDArray[np.int64]
) -> list[doctor.Finding]:
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
    return [doctor.Finding("warning", text)]


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


def _thinned(rows: NDArray[np.int64], columns: int) -> tuple[NDArray[np.int64], str]:
    """Leave out windows evenly where they are more than a training would be tested on; say so."""
    every = max(1, -(-len(rows) * columns // MOST_ITEMS[TEST]))
    if every == 1:
        return rows, ""
    told = f", one in {every:,} of {len(rows):,}: neighbours are nearly the same"
    return rows[::every], told
