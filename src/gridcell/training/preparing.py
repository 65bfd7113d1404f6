"""Choose all that a training needs from the settings and the data, and tell the user."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gridcell import layers, networks
from gridcell.augment.images import ImageAugment
from gridcell.batches import Items, Onward, Texts, items_of
from gridcell.config import TrainConfig
from gridcell.errors import ConfigError
from gridcell.networks.run import channels_last
from gridcell.preparation import Preparation, TextPreparation, outputs_of, told
from gridcell.preparation.cache import Decoded
from gridcell.preparation.texts import NOUNS
from gridcell.samples import STEP_TASKS, Samples
from gridcell.sources.wording import counted
from gridcell.training.checkpoint import About
from gridcell.training.device import choose_device, device_name
from gridcell.training.found import start_from_rows
from gridcell.training.job import Job
from gridcell.training.measured import measured_precision
from gridcell.training.objective import Objective, choose_objective
from gridcell.training.optimizer import muon_filters
from gridcell.training.plan import (
    USUAL_SMOOTHING,
    Effort,
    Plan,
    effort_of,
    plan,
    smoothing_of,
    told_work,
)
from gridcell.training.precision import PrecisionChoice, Way, told_way
from gridcell.training.refusals import (
    check_keeps_steps,
    check_leaves_steps,
    check_looks_back,
    check_single_items,
)
from gridcell.training.variation import choose_variation
from gridcell.training.vectors import start_from, vectors_for
from gridcell.training.walked import engines_told


def check(config: TrainConfig) -> None:
    """Refuse what cannot work whatever the data is, before any of it is read.

    Raises   NetworkError, ConfigError
    """
    choose_device(config.device)
    networks.check_name(config.net)
    if config.optimizer == "muon" and not networks.may_have_filters(config.net):
        raise _without_filters()
    if config.budget is not None and config.budget.startswith("+"):
        raise ConfigError(
            f"budget {config.budget} is on top of one that was spent.",
            fix=f"give {config.budget[1:]}, or name a run's folder with --resume.",
        )


def prepare(
    config: TrainConfig,
    samples: Samples,
    decoded: Decoded,
    prep: Preparation,
    *,
    train_rows: NDArray[np.int64],
    valid_rows: NDArray[np.int64],
    memory: Path,
    vectors: Path | None = None,
    about: About | None = None,
    parts: int = 1,
) -> Job:
    """Choose network, plan, arithmetic and augmentation for these rows.

    vectors  file of word vectors that the embedding starts from
    memory   folder in which measurements of this machine are kept from run to run
    about    plan and arithmetic of a training that is resumed
    parts    pieces that it takes each batch in

    Raises   ConfigError for a setting that has no effect on these data, or does not fit them;
             NetworkError for a network that does not
    """
    _check_settings(config, samples, has_valid=len(valid_rows) > 0)
    device = choose_device(config.device)
    found = None if vectors is None else vectors_for(vectors, prep)
    embedding = None if found is None else found.width
    varied = choose_variation(config, samples, decoded, prep, train_rows)
    is_mirrored = isinstance(varied.variation, ImageAugment) and varied.variation.flip
    chosen = _chosen(
        config, samples, decoded, prep, embedding=embedding, is_mirrored=is_mirrored, about=about
    )
    network = _built(chosen.notation, config, samples, prep, embedding=embedding)
    starts = []
    if vectors is not None and found is not None:
        starts.append(start_from(network, found, vectors, prep))
    channels_last(network)
    network.to(device)

    effort = effort_of(samples, items=len(train_rows))
    objective = choose_objective(
        STEP_TASKS.get(samples.task, samples.task),
        _learned(samples, train_rows),
        classes=len(samples.labels),
        label_smoothing=_smoothing(config, samples, effort, about),
        is_balanced=config.class_weights == "balanced",
    )
    drawn = partial(
        items_of,
        prep,
        decoded,
        objective.prepare(samples.targets),
        classes=len(samples.labels),
        events=samples.events,
        tags=samples.tags,
    )
    train = drawn(train_rows, variation=varied.variation)
    if isinstance(train, Texts) and train.is_onward:
        train = Onward(train)
    valid = drawn(valid_rows) if len(valid_rows) else None
    check_leaves_steps(network, train)
    work = _work(network, train)
    if about is None:
        whitening = start_from_rows(network, train, seed=config.seed)
        starts += [] if whitening is None else [whitening]
        decided = _planned(config, network, train, objective, effort=effort, work=work)
        size = decided.batch_size
        check_single_items(network, train, size=size, device=device)
        precision = measured_precision(
            config.precision, network, train, objective, size=size, device=device, memory=memory
        )
    else:  # and the checkpoint has what was found
        decided, precision = _as_before(config, about)
    notes = (
        *told(prep, decoded, train_rows),
        *starts,
        f"Network: {network.notation}",
        f"{chosen.reason}; {network.parameters_count:,} parameters, {told_work(work)} an item.",
        *(note[0].upper() + note[1:] for note in network.notes),
        decided.told_epochs(),
        _told_steps(decided, train, network.layout.steps, parts=parts, tbptt=config.tbptt),
        f"Arithmetic: {precision.reason}, on {device_name(device, precision.threads)}.",
        *engines_told(network, precision.precision, device),
        f"Augmentation: {varied.reason}.",
    )
    return Job(
        network=network,
        train=train,
        valid=valid,
        valid_targets=_truths(samples, valid, valid_rows),
        objective=objective,
        plan=decided,
        precision=precision,
        variation=varied.variation,
        config=config,
        notes=notes,
        names=partial(_names, samples),
        truths_of=lambda items: _truths(samples, items, items.rows),
        columns=len(samples.labels),
    )


def _check_settings(config: TrainConfig, samples: Samples, *, has_valid: bool) -> None:
    """Refuse what has no effect on these data.

    Raises   ConfigError
    """
    if config.patience is not None and not has_valid:
        raise ConfigError(
            "patience has no effect without validation rows, by which to see what is better.",
            fix="leave --patience out, or give --valid 0.1.",
        )
    is_classes = STEP_TASKS.get(samples.task, samples.task) == "classify"
    if config.label_smoothing and (not is_classes or samples.task == "write"):
        raise ConfigError(
            f"label_smoothing has no effect on the task {samples.task}.",
            fix="leave --label-smoothing out.",
        )
    if config.members > 1 and samples.task == "write":
        raise ConfigError(
            "members cannot write: what each remembers is not kept apart.",
            fix="leave --members out.",
        )


def _chosen(
    config: TrainConfig,
    samples: Samples,
    decoded: Decoded,
    prep: Preparation,
    *,
    embedding: int | None,
    is_mirrored: bool,
    about: About | None,
) -> networks.Choice:
    """The network as a line of text, and why: that of the checkpoint where there is one."""
    chosen = networks.choose_network(
        config.net,
        prep.layout,
        steps=_usual_steps(prep, decoded),
        is_each=samples.task in STEP_TASKS,
        is_onward=samples.task == "write",
        is_spelled=isinstance(prep, TextPreparation) and prep.level == "characters",
        is_forecast=samples.task == "forecast",
        is_mirrored=is_mirrored,
        embedding=embedding,
    )
    if config.members > 1:
        chosen = networks.ensemble_of(chosen, config.members)
    if about is not None and about.notation is not None:
        return networks.Choice(about.notation, "as before")
    return chosen


def _built(
    notation: str,
    config: TrainConfig,
    samples: Samples,
    prep: Preparation,
    *,
    embedding: int | None,
) -> networks.Network:
    """The network with its first weights, known to fit the task.

    Raises   NetworkError
    """
    is_each = samples.task in STEP_TASKS
    network = networks.build(
        notation,
        prep.layout,
        outputs=outputs_of(prep, samples.labels),
        each=is_each,
        mean=prep.mean,
        deviation=prep.deviation,
        embedding=embedding,
        generator=torch.Generator().manual_seed(config.seed),
    )
    if samples.task == "write":
        check_looks_back(network.steps)
        network.stream()  # refuses what would have to see the answer first
    if is_each:
        check_keeps_steps(network)
    layers.set_truncation(network, config.tbptt)
    if config.precision == "auto":
        layers.keep_state(network)  # the rest of the network may be faster in bfloat16
    return network


def _smoothing(config: TrainConfig, samples: Samples, effort: Effort, about: About | None) -> float:
    """The label smoothing that is asked for or usual for such data, or that of the checkpoint."""
    if about is None or samples.task == "write":
        return smoothing_of(config, effort)
    known = about.plan.label_smoothing
    return smoothing_of(config) if known is None else known  # an earlier version knew one alone


def _planned(
    config: TrainConfig,
    network: networks.Network,
    train: Items,
    objective: Objective,
    *,
    effort: Effort,
    work: int,
) -> Plan:
    """The plan of a training that begins."""
    decided = plan(
        config,
        items=len(train),
        multiply_adds=work,
        members=networks.members_of(network),
        effort=_with_filters(effort, config, network),
    )
    return replace(decided, label_smoothing=objective.label_smoothing)


def _as_before(config: TrainConfig, about: About) -> tuple[Plan, PrecisionChoice]:
    """The plan and arithmetic of a training that goes on."""
    decided = about.plan
    if config.optimizer != "auto":
        # Plans of earlier versions do not name it, the settings do.
        decided = replace(decided, optimizer=config.optimizer)
    reason = f"{told_way(Way(about.precision, about.step_threads))}, as before"
    return decided, PrecisionChoice(about.precision, reason, about.step_threads)


def _with_filters(effort: Effort, config: TrainConfig, network: networks.Network) -> Effort:
    """Take AdamW in place of Muon where a network has no filters for it.

    Raises   ConfigError where Muon is asked for
    """
    if muon_filters(network):
        return effort
    if config.optimizer == "muon":
        raise _without_filters()
    return replace(effort, optimizer="adamw") if effort.optimizer == "muon" else effort


def _without_filters() -> ConfigError:
    return ConfigError(
        "muon takes steps of the filters of convolutions, and this network has none (without "
        "groups).",
        fix="leave --optimizer out.",
    )


def _learned(samples: Samples, rows: NDArray[np.int64]) -> NDArray[np.generic]:
    """Targets of these rows: of tags those of all their steps."""
    if samples.tags is None:
        return samples.targets[rows]
    return samples.tags.take(rows).numbers


def _usual_steps(prep: Preparation, decoded: Decoded) -> int | None:
    """The median number of steps of an item, None where each has one."""
    if prep.layout.steps is not None:
        return None
    items = items_of(prep, decoded, torch.zeros(len(decoded)), np.arange(len(decoded)))
    steps = items.steps()
    return None if steps is None else int(np.median(steps))


def _work(network: networks.Network, items: Items) -> int:
    """Multiply-adds of one item's forward pass, of median length where lengths differ."""
    layout, steps = network.layout, items.steps()
    if steps is not None:
        layout = replace(layout, steps=max(1, int(np.median(steps))))
        with torch.device("meta"):
            network = networks.build(network.notation, layout)
    return sum(row.multiply_adds for row in networks.rows(network))


def _told_steps(
    decided: Plan, train: Items, fixed: int | None, *, parts: int, tbptt: int | None
) -> str:
    """What each step learns from, and how, for the user.

    fixed   steps that every item has, where all have as many
    """
    batches = f"batches of {decided.batch_size}"
    if isinstance(train, Onward):
        each = counted(int(train.steps()[0]), NOUNS[train.texts.preparation.level])
        batches += f" stretches of {each}"
    if parts > 1:
        most = counted(-(-decided.batch_size // parts), "item")
        batches += f" in pieces of at most {most}"
    told = f"Steps: {batches}, {decided.optimizer} at rate {decided.rate:g}, {decided.schedule}"
    if decided.label_smoothing not in (None, 0.0, USUAL_SMOOTHING):
        told += f", label smoothing {decided.label_smoothing:g}"
    if tbptt is not None:
        told += f", gradients back through {counted(tbptt, 'step')} at most"
        counts = train.steps()
        longest = fixed if counts is None else int(counts.max())
        if longest is not None and tbptt >= longest:
            told += f", which cuts nothing: the longest has {longest:,}"
    return f"{told}."


def _names(samples: Samples, rows: NDArray[np.int64]) -> list[str]:
    """Files that some rows came from, each once."""
    return [samples.paths[row] for row in np.unique(rows)]


def _truths(samples: Samples, items: Items | None, rows: NDArray[np.int64]) -> NDArray[np.generic]:
    """What answers of these rows are scored against: raw targets, or labels of every step."""
    is_drawn = samples.task in STEP_TASKS or samples.task == "forecast"
    if is_drawn and items is not None:
        return items.truths().numpy()
    return samples.targets[rows]
