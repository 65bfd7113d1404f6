"""The main path, on one screen: from a folder of recordings to a model and its scores.

folder, table ─> Samples ─> decoded, cached once ─> splits ─> Preparation (train rows only)
  ─> network ─> training ─> evaluation on test rows, once ─> model file and run record
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote

import numpy as np
from numpy.typing import NDArray

from gridcell import baseline, doctor, evaluation, preparation, record, sources, splits, training
from gridcell.batches import work_in
from gridcell.cache import cache_folder
from gridcell.config import Config, DataConfig, TrainConfig
from gridcell.errors import ConfigError, GridcellError, TrainingError
from gridcell.inspection import Inspection
from gridcell.model import Model
from gridcell.model_file import Description
from gridcell.networks.answers import Answers
from gridcell.networks.run import FIX_IN_TRAINING, Room
from gridcell.preparation import Preparation, remarks
from gridcell.reading import Data, read
from gridcell.record import Run
from gridcell.samples import SPLIT_NAMES, Samples
from gridcell.scoring import called, score, scored
from gridcell.sources.remembered import Asked
from gridcell.sources.words import UNKNOWN_WORD
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
    found = inspect(config, tell)
    return train_on(found.data, found.parts, config, folder, tell, started=started)


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
    if data.samples.kind == "images":
        training.take_large_pages()
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

    task, train_targets = scored(data, prep, rows)
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
        scores = score(model, data, test_rows, room)  # the test rows are read once, here

        run, took = Run(mine, model, history, scores), time.perf_counter() - started
        written = record.write(run, config, data.samples, parts, job, diagnosis, seconds=took)
    # After writing: printing can never cost the model.
    tell.scores(scores, called(scores, data.samples.task, "test "))
    tell.findings(_least_budget(job, history, resumed, took=took))
    tell.section(f"Written after {took:.0f} s", written)
    if history.failure:
        raise TrainingError(
            f"{history.failure}\n  Kept: {run.model_file} from epoch {history.best_epoch}."
        )
    return run


def inspect(config: Config, teller: Teller | None = None) -> Inspection:
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
    of_files = doctor.examine(data.samples, parts.split)
    of_contents = doctor.without_content(data.samples, parts.split, _empty(data))
    tell.findings(of_files)
    tell.findings(of_contents)
    # Warnings first; the order among them stays.
    findings = sorted([*of_files, *of_contents], key=lambda finding: finding.level == "note")
    return Inspection(data, parts, (*data.samples.notes, *notes), tuple(findings))


@contextlib.contextmanager
def _saying_how_to_go_on(folder: Path) -> Iterator[None]:
    """Note on what stops the work that the training is not lost."""
    try:
        yield
    except (KeyboardInterrupt, MemoryError, RuntimeError, GridcellError) as stop:
        if training.has_checkpoint(folder):
            stop.add_note(f"Go on: gridcell train {quote(str(folder))} --resume")
        raise


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


def _empty(data: Data) -> set[str]:
    """The files of one colour throughout, and the silent ones."""
    return {path for path, remark in data.decoded.remarks if remark.what in remarks.EMPTY}
