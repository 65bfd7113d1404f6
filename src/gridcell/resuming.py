"""Going on with a training, whatever stopped it, or giving more to one that is done.

The run's folder holds checkpoints: the settings of the run and all of its state. Data are read as
before, must be the same, and the training takes its next step.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path
from shlex import quote

import torch

from gridcell import pipeline, record, splits, training
from gridcell.config import SECTIONS, Config, from_mapping, json_text, seconds
from gridcell.doctor import Finding
from gridcell.errors import ConfigError, SourceError
from gridcell.networks import PRESETS
from gridcell.reading import Data
from gridcell.record import Run
from gridcell.sources.wording import counted
from gridcell.teller import Silent, Teller
from gridcell.training import About, State
from gridcell.training.plan import ENDLESS_EPOCHS, shared_epochs, usual_patience


def resume(
    folder: Path,
    *,
    budget: str | None = None,
    epochs: int | None = None,
    rate: float | None = None,
    batch_size: int | None = None,
    net: str | None = None,
    data: Path | None = None,
    profile: bool = False,
    teller: Teller | None = None,
    started: float | None = None,
) -> Run:
    """Go on with the training whose run folder this is, from its newest checkpoint.

    A training that was stopped ends with the bits of one that was not. One that is done goes on
    where more is given, its schedule stretched over the whole.

    budget      time to train on for (`+10m`), or of all training together (`30m`)
    epochs      epochs of all training together
    rate        another peak of the learning rate
    batch_size  items at a time, fewer than a step learns from, where the memory was full; in place
                of what was given, or found, before
    net         the network as its training printed it, where an earlier gridcell did not keep it
    data        where the data lie now, if they were moved
    profile     tell where the time went
    started     when the command began, for its budget, as for `pipeline.train`

    Raises   ConfigError where there is no checkpoint, nothing is left to do, or another process
             trains there; SourceError where the data are not those of before
    """
    tell = teller or Silent()
    started = time.perf_counter() if started is None else started
    training.check_has_checkpoint(folder)  # before the folder is touched
    with record.reclaimed(folder):
        about, state, notes = training.latest(folder)
        about = at_place(about, folder, data)
        of_all = {"budget": budget, "epochs": epochs, "rate": rate, "batch_size": batch_size}
        _check_alike(about, {**of_all, "net": net})
        about = _with_network(about, net)
        state, in_pieces = _in_pieces(about, state, batch_size)
        position = state.position
        about = _with_more(about, state, budget=budget, epochs=epochs, rate=rate)
        if state.position.is_over:
            has_more = budget is not None or epochs is not None
            if not has_more and record.steps_written(folder) == state.position.done:
                raise ConfigError(
                    f"{folder}: that training is done ({state.position.ended}).",
                    fix="give it more: --budget +10m, or more --epochs.",
                )
            # Else it was stopped after its last step, before the model was written.
            state = replace(
                state, position=replace(state.position, ended=None if has_more else position.ended)
            )
        config = config_of(about, data)
        config = replace(config, train=replace(config.train, profile=profile))
        training.keep_memory()
        training.check(config.train)
        tell.section(
            f"Resuming {folder}",
            [
                f"After {counted(position.done, 'step')} and {position.elapsed_s:,.0f} s, in epoch "
                f"{position.epoch:,}{_of(about.plan.known_epochs)}.",
                *in_pieces,
                *_threads(about),
            ],
        )
        tell.findings(Finding("warning", note) for note in notes)
        inspected = pipeline.inspect(config, tell)
        found, parts = inspected.data, inspected.parts
        if about.fold is not None:
            parts = splits.fold(
                found.samples, config.split, number=about.fold, seed=config.train.seed
            )
        check_same_data(about, found)
        check_same_split(about, found, parts)
        return pipeline.train_on(
            found, parts, config, folder, tell, started=started, resumed=(about, state)
        )


def at_place(about: About, folder: Path, data: Path | None) -> About:
    """Return the settings with the place where the data lie now, if they were moved.

    folder   of the run, for what is said where they are not there

    Raises   SourceError where nothing lies there
    """
    settings, place = about.settings, _place(about, data)
    if data is not None:
        settings = {**settings, "path": json_text(str(place))}
    if not os.path.exists(place):
        again = f"gridcell train {quote(str(folder))} --resume --data PATH"
        fix = f"put it back, or name its place: {again}."
        raise SourceError(
            f"{settings['path']} does not exist, and the run learns from it.",
            fix=fix if data is None else "name the place where the data lie now with --data.",
        )
    return replace(about, settings=settings)


def check_same_data(about: About, data: Data) -> None:
    """Raise SourceError unless these are the data that the training began with."""
    if record.data_digest(data.samples) != about.data_digest:
        raise SourceError(
            f"{about.settings['path']}: these are not the data that the training began with.",
            fix="put those back, name their place with --data, or begin a new training.",
        )


def check_same_split(about: About, data: Data, parts: splits.Parts) -> None:
    """Raise SourceError where items are in other parts than when the training began.

    An earlier gridcell took items for copies by their files alone, and so split otherwise those
    whose files are unlike and whose values are equal.
    """
    has_unlike_copies = data.samples.has_unlike_copies
    if about.split_digest == record.split_digest(data.samples, parts.split):
        return
    if about.split_digest is None and not has_unlike_copies:
        return
    since = " Copies whose files differ stand on one side now, as they did not in earlier versions."
    raise SourceError(
        f"{about.settings['path']}: the data are those that the training began with, but split "
        "otherwise, so that it would be scored on rows that it has learned from."
        f"{since if has_unlike_copies else ''}",
        fix="put their splits, groups and names back as they were, or begin a new training.",
    )


def config_of(about: About, data: Path | None) -> Config:
    """Return the settings that a training was begun with, as they hold here.

    data   where the data lie now, if they were moved
    """
    settings = about.settings
    config = from_mapping(_place(about, data), {name: settings[name] for name in SECTIONS})
    if config.train.device == "cuda" and not torch.cuda.is_available():
        # Begun on a GPU, and there is none here: the processor goes on, with other last bits.
        config = replace(config, train=replace(config.train, device="auto"))
    return config


def _place(about: About, data: Path | None) -> Path:
    """Return where the data lie; a name that is no UTF-8 stands in no settings as it is."""
    if data is None:
        return Path(about.settings["path"])
    return Path(os.path.abspath(data.expanduser()))


def _of(epochs: int | None) -> str:
    return "" if epochs is None else f" of {epochs:,}"


def _threads(about: About) -> list[str]:
    before = about.step_threads or about.threads
    now = min(about.step_threads or math.inf, torch.get_num_threads())
    if now != before:
        return [f"Threads: {before} before, {now} now, so the last bits of its sums will differ."]
    scoring = torch.get_num_threads()
    if scoring == about.threads:
        return []
    return [
        f"Threads: a step takes {before} as before, scoring {scoring} in place of {about.threads}, "
        "so the last bits of scores may differ."
    ]


def _in_pieces(about: About, state: State, size: int | None) -> tuple[State, list[str]]:
    """Return a state that takes each batch in pieces of at most so many items, and say so."""
    if size is None:
        return state, []
    from_mapping(Path(about.settings["path"]), {"batch_size": size})  # its type and range
    whole = about.plan.batch_size
    if size > whole or (size == whole and state.position.parts == 1):
        raise ConfigError(
            f"batch_size {size}: each step of this run learns from {counted(whole, 'item')}, and "
            "goes on so.",
            fix=f"give fewer than {whole}, to take them in pieces, or leave --batch-size out.",
        )
    parts = -(-whole // size)  # whatever it was: fewer pieces may be what is wanted now
    note = (
        f"At most {counted(-(-whole // parts), 'item')} at a time; their gradients are added up, "
        f"so each step still learns from {whole:,}. The last bits of the weights will differ; "
        "batchnorm averages over fewer, and members of an ensemble share fewer."
    )
    if parts == 1:
        note = f"The {whole:,} items of a step are taken at once again."
    return replace(state, position=replace(state.position, parts=parts)), [note]


def _check_alike(about: About, given: dict[str, object]) -> None:
    """Raise ConfigError where one fold would be trained otherwise than the others."""
    name = next((name for name, value in given.items() if value is not None), None)
    if about.fold is not None and name is not None:
        raise ConfigError(
            f"{name} has no effect on a fold: the scores are over trainings that are alike.",
            fix=f"leave --{name.replace('_', '-')} out.",
        )


def _with_network(about: About, net: str | None) -> About:
    """Return what was begun, with the network that it was where an earlier gridcell did not say."""
    if net is None:
        return about
    if about.notation is not None:
        raise ConfigError(
            "net has no effect beside resume: the run keeps its own.",
            fix="leave --net out, or begin a new training.",
        )
    if net.strip() in PRESETS:
        raise ConfigError(
            f"net {net.strip()}: a preset may be another network in each version.",
            fix="name the network in notation, as its training printed it.",
        )
    return replace(about, notation=net)


def _with_more(
    about: About, state: State, *, budget: str | None, epochs: int | None, rate: float | None
) -> About:
    """Return the plan and settings with what is given now in place of what was given before."""
    if budget is not None and epochs is not None:
        raise ConfigError(
            "epochs and budget both say how long to train.", fix="give only one of them."
        )
    plan, position = about.plan, state.position
    train = dict(about.settings["train"])
    shared = shared_epochs(train.get("members", 1))
    if budget is not None:
        spent = position.elapsed_s if budget.startswith("+") else 0.0
        total = spent + seconds(budget.removeprefix("+"))
        if total <= position.elapsed_s:
            raise ConfigError(
                f"budget {budget}: {position.elapsed_s:.0f} s of training are spent already.",
                fix=f"give more on top, for instance --budget +{budget}.",
            )
        # Time decides: so many epochs that they do not.
        plan = replace(plan, budget_s=total, epochs=position.epoch + ENDLESS_EPOCHS)
        plan = replace(plan, epochs_reason=f"as many as {total:,.0f} s in all allow{shared}")
        train |= {"budget": f"{total:.3f}s", "epochs": None}
        if train.get("ema") is None:
            plan = replace(plan, ema=None)
    if epochs is not None:
        if epochs < position.epoch:
            raise ConfigError(
                f"epochs = {epochs}: {position.epoch - 1} are done already.",
                fix="give more of them; they count from the beginning.",
            )
        plan = replace(plan, epochs=epochs, budget_s=None, epochs_reason=f"as asked{shared}")
        train |= {"budget": None, "epochs": epochs}
    if (budget or epochs) and train["patience"] is None:
        plan = replace(plan, patience=usual_patience(plan.epochs))
    if rate is not None:
        plan = replace(plan, rate=rate)
        train["rate"] = rate
    return replace(about, plan=plan, settings={**about.settings, "train": train})
