"""Who goes where: every item to training, validation or test, and no leak between them.

What must stay together is one *unit*: items of one group (patient, speaker ...), and copies, whose
files are the same bytes or decode to the same values (`Samples.contents`). Units are shared out so
that each part has its share of every class:

    given splits    are kept as they are; only a part that is missing is taken from training
    large units     one by one, larger ones first, each to the part that then lies nearest its
                    shares of rows and of classes
    single items    by counting: each class gives each part its exact share, and what rounding
                    leaves over goes to the classes that lost most by it

The result depends on the samples, the shares and the seed alone, and is checked before it is
handed out. Windows of a series are split by time: see `split_by_time`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridcell.config import SplitConfig
from gridcell.errors import ConfigError, SplitError
from gridcell.samples import (
    FILE_NOUNS,
    NOUNS,
    SPLIT_NAMES,
    STEP_TASKS,
    TEST,
    TRAIN,
    UNASSIGNED,
    VALID,
    ForecastFacts,
    Samples,
)
from gridcell.sources.wording import listed
from gridcell.split_by_time import split_by_time

Rows = NDArray[np.int64]

NAMES_LISTED = 12
BINS_MOST = 10
STRATUM_SMALLEST = 10
"""Rows that a combination of labels, or a bin of numbers, must have to be balanced by itself."""


@dataclass(frozen=True)
class Parts:
    """The part that each item belongs to, and what the user should know about it."""

    split: NDArray[np.int8]
    """[N] TRAIN, VALID or TEST; UNASSIGNED for a window that lies across parts."""
    notes: tuple[str, ...]
    """Sentences with the counts, what was kept together, and what cannot be evaluated."""

    def rows(self, name: str) -> Rows:
        """Return the rows of "train", "valid" or "test", in ascending order."""
        return np.flatnonzero(self.split == SPLIT_NAMES.index(name))


def split(samples: Samples, config: SplitConfig, *, seed: int) -> Parts:
    """Share out the items; the same samples, shares and seed give the same parts.

    A class whose items are all one unit (a single item, say) stays in training, and is named as
    not evaluated. A share of 0 leaves its part empty; any other share holds one item at least.

    Raises   SplitError if the data's own splits are incomplete or cut through a group, if there
             are too few groups or items for the parts, or if no part can be filled without taking
             the last of a class from training
    """
    return _split(samples, config, seed=seed, is_fold=False)


def _split(samples: Samples, config: SplitConfig, *, seed: int, is_fold: bool) -> Parts:
    """Share out the items as `split` says; of a fold, whose test part is given."""
    if isinstance(samples.facts, ForecastFacts):
        by_time = split_by_time(samples.facts, config)
        return Parts(by_time.split, by_time.notes)
    part = samples.given.astype(np.int8, copy=True)
    is_given = bool((part != UNASSIGNED).any())
    if is_given:
        _check_given(samples, is_fold=is_fold)
        missing = [name for name in (VALID, TEST) if not (part == name).any()]
        _refuse_unheeded(config, missing)
        rows = np.flatnonzero(part == TRAIN)
    else:
        missing = [VALID, TEST]
        rows = np.arange(len(samples), dtype=np.int64)
    # Of a text to write on an item is a piece, and all of them are one text.
    writes = samples.task == "write"
    usual = config.valid_share_of(len(rows), classes=len(samples.labels))
    shares = {VALID: config.valid_share if writes else usual, TEST: config.test}
    wanted = {name: shares[name] for name in missing if shares[name] > 0}

    if writes:
        return _in_order(samples, part, rows, {name: shares[name] for name in missing})
    units = _units(samples, rows)
    if wanted:
        groups = None if samples.groups is None else np.unique(samples.groups[rows]).size
        _check_enough(samples, int(units.max()) + 1, len(rows), groups, wanted)
        strata = _strata(samples, rows)
        part[rows] = _shared_out(units, strata, wanted=wanted, task=samples.task, seed=seed)
    elif not is_given:
        part[rows] = TRAIN
    if wanted or not is_given:
        _check_together(units, part[rows])
    notes = _notes(samples, part, rows, taken=list(wanted), is_given=is_given, is_fold=is_fold)
    return Parts(part, notes)


def _in_order(
    samples: Samples, part: NDArray[np.int8], rows: Rows, shares: dict[int, float]
) -> Parts:
    """Hold out the end: of pieces that follow one another, neighbours stand on one side.

    Raises   SplitError where there are too few pieces
    """
    wanted = {name: share for name, share in shares.items() if share > 0}
    part[rows] = TRAIN
    stop = len(rows)
    for name in (TEST, VALID):
        if name in wanted:
            count = max(1, round(wanted[name] * len(rows)))
            part[rows[stop - count : stop]] = name
            stop -= count
    if stop < 1:
        raise SplitError(
            f"{len(rows)} pieces cannot fill {1 + len(wanted)} splits.", fix=_fewer_parts(wanted)
        )
    counts = np.bincount(part, minlength=len(SPLIT_NAMES))
    text = ", ".join(f"{name} {count:,}" for name, count in zip(SPLIT_NAMES, counts, strict=True))
    return Parts(part, (f"Split in the order of the text, the end held out: {text}.",))


def fold(samples: Samples, config: SplitConfig, *, number: int, seed: int) -> Parts:
    """Make one fold the test part, and take validation rows from the others.

    A file that stands in two folds is noted as a warning.

    Raises   SplitError where there is but one fold, a fold and another hold one group, or the
             others are too few to take validation rows from
    """
    assert samples.folds is not None
    if len(samples.fold_names) < 2:
        raise SplitError(
            f"column {config.folds} holds one fold only, {samples.fold_names[0]}.",
            fix="name a column with two values or more.",
        )
    given = np.where(samples.folds == number, TEST, TRAIN).astype(np.int8)
    parts = _split(replace(samples, given=given), config, seed=seed, is_fold=True)
    if (samples.given == UNASSIGNED).all():
        return parts
    note = "The split that the data name is left out: the folds stand in its place."
    return replace(parts, notes=(note, *parts.notes))


def _refuse_unheeded(config: SplitConfig, missing: Iterable[int]) -> None:
    """Refuse a share of what the data themselves hold out."""
    for part, value, usual in (
        (VALID, config.valid, SplitConfig.valid),
        (TEST, config.test, SplitConfig.test),
    ):
        name = SPLIT_NAMES[part]
        if part not in missing and value != usual:
            raise ConfigError(
                f"{name} has no effect: the data name their own {name} rows.",
                fix=f"leave --{name} out.",
            )


def _check_given(samples: Samples, *, is_fold: bool) -> None:
    counts = {name: int((samples.given == i).sum()) for i, name in enumerate(SPLIT_NAMES)}
    loose = int((samples.given == UNASSIGNED).sum())
    has = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    if loose:
        row = int(np.flatnonzero(samples.given == UNASSIGNED)[0])
        raise SplitError(
            f"{loose:,} of {len(samples):,} items {'is' if loose == 1 else 'are'} in no split, for "
            f"instance "
            f"{samples.paths[row]}, while the data names the split of the others ({has}).",
            fix="give each item a split (train, valid or test), or give none.",
        )
    if not counts["train"]:
        raise SplitError(
            f"the data's own splits hold no training items ({has}).",
            fix="name one of the splits train, or remove the splits to have them made.",
        )
    if samples.groups is not None:
        shared = _on_two_sides(samples.groups, samples.given)
        if shared.size:
            names = [_group_name(samples, int(group)) for group in shared]
            where = "a fold and in others" if is_fold else "more than one of the data's own splits"
            raise SplitError(
                f"{shared.size:,} of {np.unique(samples.groups).size:,} groups "
                f"{'stands' if shared.size == 1 else 'stand'} in {where}: {listed(names)}.",
                fix="give a group one fold alone, or leave out --group or --folds."
                if is_fold
                else "correct the splits, or leave out --group.",
            )


def _check_enough(
    samples: Samples, units: int, rows: int, groups: int | None, wanted: Iterable[int]
) -> None:
    parts = ["train", *(SPLIT_NAMES[part] for part in wanted)]
    if units >= len(parts):
        return
    fix = _fewer_parts(wanted)
    if groups is None:
        what = "1 different item" if units == 1 else f"{units} different items"
        if units == 1 < rows:
            what += f" (all {rows:,} are the same {NOUNS[samples.kind][0]})"
        elif units < rows:
            what += f" ({rows:,} with their copies)"
    else:
        what = "1 group" if groups == 1 else f"{groups} groups"
        what += f", {units} after joining those that share files," if units < groups else ""
        fix += ", or leave out --group"
    raise SplitError(
        f"{what} cannot fill {len(parts)} splits ({', '.join(parts)}) without standing in two.",
        fix=f"{fix}.",
    )


def _units(samples: Samples, rows: Rows) -> NDArray[np.int64]:
    """Return the unit of each of `rows`, numbered from 0: what shares a group or is a copy."""
    _, content, copies = np.unique(samples.contents[rows], return_inverse=True, return_counts=True)
    if samples.groups is None:
        return np.asarray(content, dtype=np.int64)
    names, group = np.unique(samples.groups[rows], return_inverse=True)
    parent = list(range(len(names)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    # Copies in two groups tie these groups together.
    first: dict[int, int] = {}
    for row in np.flatnonzero(copies[content] > 1):
        mine = root(int(group[row]))
        other = root(first.setdefault(int(content[row]), mine))
        parent[max(mine, other)] = min(mine, other)
    roots = np.array([root(node) for node in range(len(names))], dtype=np.int64)
    return np.asarray(np.unique(roots[group], return_inverse=True)[1], dtype=np.int64).reshape(-1)


def _strata(samples: Samples, rows: Rows) -> NDArray[np.int64]:
    """Return for each of `rows` the stratum, numbered from 0, that each part gets its share of."""
    if samples.task == "classify":
        kinds = samples.targets[rows]
    elif samples.task in ("labels", *STEP_TASKS):
        kinds = _label_strata(np.asarray(samples.targets[rows]) > 0)
    else:
        kinds = _number_strata(np.asarray(samples.targets[rows], dtype=np.float64))
    return np.asarray(np.unique(kinds, return_inverse=True)[1], dtype=np.int64).reshape(-1)


def _label_strata(has_label: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give frequent combinations of labels a stratum each, the others one by their rarest label."""
    count, labels = has_label.shape
    _, combo, sizes = np.unique(has_label, axis=0, return_inverse=True, return_counts=True)
    combo = combo.reshape(-1)
    frequency = np.where(has_label, has_label.sum(0)[None], count + 1)
    rarest = np.where(has_label.any(1), frequency.argmin(1), labels)
    chosen = np.where(sizes[combo] >= STRATUM_SMALLEST, combo + labels + 1, rarest)
    return np.asarray(chosen, dtype=np.int64)


def _number_strata(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cut the items into bins of equal size by their number; by the mean rank of several."""
    count = len(values)
    bins = max(1, min(BINS_MOST, count // STRATUM_SMALLEST))
    ranks = values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    order = ranks.sum(1).argsort(kind="stable").argsort(kind="stable")
    return np.asarray(order * bins // max(1, count), dtype=np.int64)


def _shared_out(
    units: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    wanted: dict[int, float],
    task: str,
    seed: int,
) -> NDArray[np.int8]:
    """Return the part of each row, given its unit and its stratum."""
    sizes = np.bincount(units)
    chance = np.random.default_rng(seed)
    shares = np.zeros(len(SPLIT_NAMES))
    for part, share in wanted.items():
        shares[part] = share
    shares[TRAIN] = 1 - shares.sum()

    result = np.full(len(units), TRAIN, dtype=np.int8)
    is_single = sizes[units] == 1
    placed = _place_large(
        units, strata, ~is_single, shares=shares, keeps_classes=task == "classify", chance=chance
    )
    result[~is_single] = placed[units[~is_single]]
    singles = np.flatnonzero(is_single)
    if singles.size:
        held = np.zeros((len(SPLIT_NAMES), int(strata.max()) + 1), dtype=np.int64)
        np.add.at(held, (result[~is_single], strata[~is_single]), 1)
        result[singles] = _place_singles(
            strata[singles], held, wanted=wanted, keeps_strata=task != "regress", chance=chance
        )
    _fill_empty(
        result, units, strata, parts=wanted, keeps_classes=task == "classify", chance=chance
    )
    empty = [SPLIT_NAMES[part] for part in wanted if not (result == part).any()]
    if empty:
        raise SplitError(
            f"no item is left for {' and '.join(empty)}: each class keeps one in training, and "
            f"{len(units):,} items of {int(strata.max()) + 1:,} classes, {len(sizes):,} that can "
            "be placed by themselves, leave none over.",
            fix=f"add items, or {_fewer_parts(wanted)}.",
        )
    return result


def _place_large(
    units: NDArray[np.int64],
    strata: NDArray[np.int64],
    is_large: NDArray[np.bool_],
    *,
    shares: NDArray[np.float64],
    keeps_classes: bool,
    chance: np.random.Generator,
) -> NDArray[np.int8]:
    """Return a part for each unit of several items (the entry of a single item means nothing)."""
    parts = np.full(int(units.max()) + 1, TRAIN, dtype=np.int8)
    rows = np.flatnonzero(is_large)
    if not rows.size:
        return parts
    left = np.bincount(strata).astype(np.float64)
    # Shares of what stands in large units alone: single items are placed later and even out what is
    # missing. Measured against all, training seems empty until they are there, and takes all.
    totals = np.bincount(strata[rows], minlength=len(left)).astype(np.float64)
    target = shares[:, None] * totals[None]
    held = np.zeros_like(target)
    allowed = np.flatnonzero(shares > 0)
    rows = rows[np.argsort(units[rows], kind="stable")]
    members = np.split(rows, np.flatnonzero(np.diff(units[rows])) + 1)
    # Large before small, so that the small ones can even out; at random within a factor of two,
    # so that another seed is another split.
    scale = np.array([int(np.log2(len(member))) for member in members])
    for index in np.lexsort((chance.random(len(members)), -scale)):
        member = members[index]
        kinds, counts = np.unique(strata[member], return_counts=True)
        left[kinds] -= counts
        is_last = (held[TRAIN, kinds] == 0) & (left[kinds] == 0)
        if keeps_classes and is_last.any():
            part = TRAIN
        else:
            # The squared distance from the shares, by class and in all, that this unit would add.
            off = held[allowed] - target[allowed]
            by_class = (counts * (2 * off[:, kinds] + counts) / totals[kinds]).sum(1)
            in_all = len(member) * (2 * off.sum(1) + len(member)) / totals.sum()
            part = int(allowed[np.argmin(by_class + in_all)])
        parts[units[member[0]]] = part
        held[part, kinds] += counts
    return parts


def _place_singles(
    strata: NDArray[np.int64],
    held: NDArray[np.int64],
    *,
    wanted: dict[int, float],
    keeps_strata: bool,
    chance: np.random.Generator,
) -> NDArray[np.int8]:
    """Return a part for each single item, so that each stratum gives its share to each part.

    `held` [part, stratum] counts what the large units have brought already.
    """
    result = np.full(len(strata), TRAIN, dtype=np.int8)
    free = np.bincount(strata, minlength=held.shape[1])
    spare = free - (held[TRAIN] == 0) if keeps_strata else free.copy()
    spare = np.maximum(spare, 0)
    totals = held.sum(0) + free
    # A stratum that cannot give anything counts in no part's share: 20 + 20 + 1 items at a share
    # of 0.2 are 4 + 4, and the one stays.
    counted = np.where((spare > 0) | (held[TRAIN] < held.sum(0)), totals, 0)
    order = np.lexsort((chance.random(len(strata)), strata))
    start = np.concatenate([[0], np.cumsum(free)[:-1]])
    for part in sorted(wanted, reverse=True):  # test first: it must not suffer from rounding
        ideal = np.maximum(wanted[part] * counted - held[part], 0)
        rows = max(1, round(wanted[part] * int(counted.sum()))) - int(held[part].sum())
        give = _apportioned(ideal, spare, rows=rows, chance=chance)
        for stratum in np.flatnonzero(give):
            first = start[stratum]
            result[order[first : first + give[stratum]]] = part
        start, spare = start + give, spare - give
    return result


def _apportioned(
    ideal: NDArray[np.float64],
    spare: NDArray[np.int64],
    *,
    rows: int,
    chance: np.random.Generator,
) -> NDArray[np.int64]:
    """Return whole numbers near `ideal`, none above `spare`, that add up to `rows` if they can."""
    give = np.minimum(np.floor(ideal + 1e-9).astype(np.int64), spare)
    lost = ideal - give
    order = np.lexsort((chance.random(len(ideal)), -lost.round(9)))
    missing = rows - int(give.sum())
    while missing > 0:
        takers = order[spare[order] > give[order]][:missing]
        if not takers.size:
            break
        give[takers] += 1
        missing -= len(takers)
    return give


def _fill_empty(
    result: NDArray[np.int8],
    units: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    parts: Iterable[int],
    keeps_classes: bool,
    chance: np.random.Generator,
) -> None:
    """Give each part that stands empty the smallest unit that another can do without."""
    empty = [p for p in (TRAIN, *sorted(parts, reverse=True)) if not (result == p).any()]
    if not empty:
        return
    rows = np.argsort(units, kind="stable")
    members = np.split(rows, np.flatnonzero(np.diff(units[rows])) + 1)
    sizes = np.bincount(units)
    holders = np.bincount(result[[member[0] for member in members]], minlength=len(SPLIT_NAMES))
    learnt = np.bincount(strata[result == TRAIN], minlength=int(strata.max()) + 1)
    for unit in np.lexsort((chance.random(len(sizes)), sizes)):
        member = members[unit]
        giver = result[member[0]]
        kinds, counts = np.unique(strata[member], return_counts=True)
        is_last = giver == TRAIN and bool((learnt[kinds] == counts).any())
        if holders[giver] < 2 or (keeps_classes and is_last):
            continue
        if giver == TRAIN:
            learnt[kinds] -= counts
        holders[giver] -= 1
        result[member] = empty.pop(0)
        if not empty:
            return


def _check_together(units: NDArray[np.int64], part: NDArray[np.int8]) -> None:
    """Prove that no unit stands on two sides; only a fault of ours can fail here."""
    assert (part >= TRAIN).all() and (part <= TEST).all(), "an item was left without a part"
    assert not _on_two_sides(units, part).size, "a group or a file stands in two parts"


def _on_two_sides(labels: NDArray[np.int64], part: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return the labels that occur in more than one part."""
    pairs = np.unique(np.stack([labels, part.astype(np.int64)], axis=1), axis=0)
    values, counts = np.unique(pairs[:, 0], return_counts=True)
    return np.asarray(values[counts > 1], dtype=np.int64)


def _notes(
    samples: Samples,
    part: NDArray[np.int8],
    rows: Rows,
    *,
    taken: list[int],
    is_given: bool,
    is_fold: bool,
) -> tuple[str, ...]:
    counts = np.bincount(part, minlength=len(SPLIT_NAMES))
    text = ", ".join(f"{name} {count:,}" for name, count in zip(SPLIT_NAMES, counts, strict=True))
    if is_fold:
        notes = [f"The fold is the test part: {text}."]
    elif is_given:
        notes = [f"The data's own splits are kept: {text}."]
    else:
        how = {
            "classify": "each class in its share",
            "labels": "each combination of labels in its share",
            "events": "each combination of labels in its share",
            "tags": "each combination of classes in its share",
            "regress": "small and large numbers in their share",
        }[samples.task]
        notes = [f"Split at random, {how}: {text}."]
    if is_fold and taken:
        notes.append(f"Validation rows were taken at random from the {len(rows):,} others.")
    elif is_given and taken:
        names = " and ".join(SPLIT_NAMES[name] for name in sorted(taken))
        does = "it was" if len(taken) == 1 else "they were"
        notes.append(
            f"The data has no {names} split; {does} taken at random from the {len(rows):,} "
            "training items."
        )
    notes += [
        f"{SPLIT_NAMES[name]} is empty: the data has no such split and its share is 0."
        for name in (VALID, TEST)
        if not counts[name]
    ]
    notes += _notes_on_ties(samples, part, is_given=is_given, is_fold=is_fold)
    notes += _notes_on_labels(samples, part)
    return tuple(notes)


def _notes_on_ties(
    samples: Samples, part: NDArray[np.int8], *, is_given: bool, is_fold: bool
) -> list[str]:
    """Say what was kept together, from the parts as they are and not as they were meant."""
    notes = []
    noun, nouns = FILE_NOUNS[samples.kind]
    if samples.groups is not None:
        shared = _on_two_sides(samples.groups, part)
        total = np.unique(samples.groups).size
        notes.append(f"{shared.size:,} of {total:,} groups shared between splits.")
    copies = np.bincount(samples.contents)
    leaked = int(np.isin(samples.contents, _on_two_sides(samples.contents, part)).sum())
    several = int((copies > 1).sum())
    if leaked:
        assert is_given, "a file stands in two parts"
        whose = "the folds" if is_fold else "the data's own splits"
        notes.append(
            f"Warning: {leaked:,} items are {nouns} that {whose} hold in more than one part; they "
            "were left there, so the scores may be too good."
        )
    elif several:
        notes.append(
            f"{int(copies[copies > 1].sum()):,} items are copies of "
            f"{several:,} {noun if several == 1 else nouns}; "
            "copies stand on one side."
        )
    return notes


def _notes_on_labels(samples: Samples, part: NDArray[np.int8]) -> list[str]:
    """Name the classes that the test rows say nothing about, or that training lacks."""
    if samples.task == "regress":
        return []
    if samples.task == "classify":
        holds = np.asarray(samples.targets)[:, None] == np.arange(len(samples.labels))
    else:
        holds = np.asarray(samples.targets) > 0
    counts = np.stack([holds[part == name].sum(0) for name in range(len(SPLIT_NAMES))])
    totals = counts.sum(0)
    notes = []
    judged = counts[VALID] + counts[TEST]
    if judged.sum():
        for index in np.flatnonzero((totals > 0) & (judged == 0))[:NAMES_LISTED]:
            items = "1 item" if totals[index] == 1 else f"{totals[index]:,} items"
            notes.append(f"{samples.labels[index]}: {items}, not evaluated.")
        more = int(((totals > 0) & (judged == 0)).sum()) - NAMES_LISTED
        if more > 0:
            notes.append(f"{more:,} more are not evaluated: all their items are in training.")
    untested = np.flatnonzero((judged > 0) & (counts[TEST] == 0))
    if untested.size and counts[TEST].sum():
        names = [f"{samples.labels[i]} ({totals[i]:,})" for i in untested]
        notes.append(f"Without a test item: {listed(names)}.")
    unlearnt = np.flatnonzero((totals > 0) & (counts[TRAIN] == 0))
    if unlearnt.size:
        names = [samples.labels[i] for i in unlearnt]
        notes.append(f"Warning: no training item of {listed(names)}; it cannot be learnt.")
    return notes


def _group_name(samples: Samples, group: int) -> str:
    return samples.group_names[group] if group < len(samples.group_names) else str(group)


def _fewer_parts(wanted: Iterable[int]) -> str:
    """Say how to ask for fewer parts."""
    return "leave a part out with " + " or ".join(f"--{SPLIT_NAMES[part]} 0" for part in wanted)
