"""Which column of a table of series is what: found by name and by what it holds, or asked for.

A choice is made only where one column can be meant. Where several could, they are listed with what
they could be.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.sources.answers import WHOLE, could_be
from gridcell.sources.columns import SPLIT_COLUMNS
from gridcell.sources.frame import Coded, Frame
from gridcell.sources.series_steps import STEP_NAMES, is_named, plain_name, time_column_of
from gridcell.sources.wording import SPLIT_WORDS, counted, itemised, listed, shown

ID_NAMES = frozenset(
    {"id", "uid", "series", "sequence", "seq", "sample", "item", "record", "recording", "trial"}
    | {"session", "case", "unit", "instance", "run", "segment", "episode", "sentence"}
)
OWNER_NAMES = frozenset(
    {"subject", "patient", "person", "user", "participant", "speaker", "device", "machine"}
    | {"animal", "site", "station", "sensor", "engine", "household", "customer"}
)
TARGET_NAMES = frozenset(
    {"label", "labels", "class", "classes", "target", "targets", "category", "outcome"}
    | {"class_label", "label_class"}
)
NUMBERED = re.compile(r"(.*?)(\d+)")
NUMBERED_LEAST = 3
STEPS_APART = 0.99
"""Share of the rows that a position must tell apart to be that of a step; a few may be repeats."""

FEW_REPEATS = 0.9
"""Share of the rows from which on those of a time that stands twice are taken for mistakes."""


@dataclass(frozen=True)
class Roles:
    """Which column is what."""

    form: Literal["long", "wide"]
    inputs: tuple[str, ...]
    targets: tuple[str, ...] = ()
    id: str | None = None
    time: str | None = None
    split: str | None = None
    group: str | None = None
    folds: str | None = None
    notes: tuple[str, ...] = ()


def roles_of(frame: Frame, data: DataConfig, group: str | None, folds: str | None) -> Roles:
    """Find out which column is what, from what was asked for and from what they hold."""
    by_itself = None if folds == group else folds
    for option, names in (
        ("id_column", [data.id_column]),
        ("time_column", [data.time_column]),
        ("target", data.target),
        ("inputs", data.inputs),
        ("group", [group]),
        ("folds", [folds]),
    ):
        for name in names:
            if name is not None:
                frame.need(name, option)
    asked = [data.id_column, data.time_column, *data.target, *data.inputs]
    taken = [name for name in asked if name is not None]
    for name in (group, by_itself):
        # A series stays whole in any case, so that its id may also be its group.
        if name is not None and name != data.id_column:
            taken.append(name)
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise ConfigError(
            f"column {listed(twice)} is named for two uses at once.",
            fix="name a different column for each of id_column, time_column, target, inputs and "
            "group or folds.",
        )
    split = _split_column(frame, taken, is_used=folds is None)
    taken += [split] if split else []
    key = data.id_column or id_column_of(frame, taken)
    run = _run(frame, [*taken, *filter(None, [key])])
    time = data.time_column
    if time is None and not data.rows_in_order:
        time = time_column_of(frame, [*taken, *filter(None, [key])])
    if key is not None and data.time_column is None and time is not None:
        time = _if_it_tells_steps_apart(frame, key, time)
    if data.id_column is None and time is None and key is not None and len(run) >= NUMBERED_LEAST:
        _refuse_unsure_form(frame, key, run)
    if key is None and (time is None or (run and not data.time_column)):
        return _wide_roles(frame, data, taken, split=split, group=group, folds=folds)
    if key is None:
        key = _only_key(frame, [*taken, *filter(None, [time])], str(time))
    return _long_roles(
        frame,
        data,
        [*taken, key, *filter(None, [time])],
        Roles("long", (), (), key, time, split, group, folds),
    )


def id_column_of(frame: Frame, taken: Sequence[str]) -> str | None:
    """Find the column that says which series a row belongs to, by its name and its repeats."""
    free = [name for name in frame.names if name not in taken]
    for known in (ID_NAMES, OWNER_NAMES):
        named = [name for name in free if is_named(name, known) and _may_be_key(frame, name)]
        texts = frame.texts(named)
        repeated = [name for name in named if len(texts[name].values) < len(frame)]
        if len(repeated) == 1:
            return repeated[0]
        if repeated:
            # Of several that name the rows, the finest: each of its values has one of the others.
            finest = [
                name
                for name in repeated
                if all(_determines(texts[name], texts[other]) for other in repeated)
            ]
            if finest:
                return finest[0]
            raise ConfigError(
                f"{frame.path} has more than one column that could say which series a row belongs "
                f"to:{itemised(_choices(frame, repeated), most=40)}",
                fix=f"name it, for instance --id-column {shown(repeated[0])}; if it takes two of "
                "them, write both into one column.",
            )
    return None


def _may_be_key(frame: Frame, name: str) -> bool:
    """Say whether a column holds words or whole numbers."""
    column = frame.columns[name]
    if column.holds in ("numbers", "mixed"):
        return all(WHOLE.fullmatch(cell) for cell in frame.texts([name])[name].values)
    return column.holds == "text"


def _determines(fine: Coded, coarse: Coded) -> bool:
    """Say whether rows that are equal in one column are equal in the other."""
    pairs = fine.codes * len(coarse.values) + coarse.codes
    return len(np.unique(pairs)) == len(fine.values)


def _if_it_tells_steps_apart(frame: Frame, key: str, time: str) -> str | None:
    """Return the column of times, unless a position or an index is a reading that comes again."""
    if not is_named(time, STEP_NAMES):
        return time
    texts = frame.texts([key, time])
    pairs = texts[key].codes * len(texts[time].values) + texts[time].codes
    return time if len(np.unique(pairs)) >= STEPS_APART * len(frame) else None


def _only_key(frame: Frame, taken: Sequence[str], time: str) -> str:
    """Find the only column in whose values no time occurs twice; refuse where there are several."""
    free = [
        name
        for name in frame.names
        if name not in taken and not is_named(name, TARGET_NAMES) and _may_be_key(frame, name)
    ]
    texts = frame.texts([*free, time])
    moment = texts[time]
    keys = [
        name
        for name in free
        if 1 < len(texts[name].values) <= len(frame) // 2
        and len(np.unique(texts[name].codes * len(moment.values) + moment.codes)) == len(frame)
    ]
    if len(keys) == 1:
        return keys[0]
    if not keys:
        _refuse_repeated_times(frame, free, time)
    found = f" It could be one of these:{itemised(_choices(frame, keys), most=40)}" if keys else ""
    raise ConfigError(
        f"{frame.path} has a row for each step (column {shown(time)}), but nothing says which "
        f"series a row belongs to. Its columns: {listed(frame.names)}.{found}",
        fix=f"name that column with --id-column{f' {shown(keys[0])}' if keys else ''}; to forecast "
        "the rows themselves, say how many steps with --horizon.",
    )


def _refuse_repeated_times(frame: Frame, free: Sequence[str], time: str) -> None:
    """Refuse a table whose series could be told apart, but for a few times that stand twice."""
    texts = frame.texts([*free, time])
    moment = texts[time]
    lines, near = [], []
    whole = Coded(np.zeros(len(frame), np.int64), ("",))
    for name, found in [*((name, texts[name]) for name in free), ("", whole)]:
        pairs = found.codes * len(moment.values) + moment.codes
        values, counts = np.unique(pairs, return_counts=True)
        is_key = not name or 1 < len(found.values) <= len(frame) // 2
        if not is_key or not FEW_REPEATS * len(frame) <= len(values) < len(frame):
            continue
        again = values[counts > 1]
        rows = np.flatnonzero(pairs == pairs[np.argmax(np.isin(pairs, again))])
        of = f" of {shown(name)} {shown(found.values[found.codes[rows[0]]])}" if name else ""
        more = f", and {counted(len(again) - 1, 'other')} too" if len(again) > 1 else ""
        lines.append(
            f"{shown(moment.values[moment.codes[rows[0]]])}{of} stands in {frame.rows(rows)}{more}"
        )
        near += [name] if name else []
    if not lines:
        return
    option = f" {shown(near[0])}" if near else ""
    raise ConfigError(
        f"{frame.path} has a row for each step (column {shown(time)}), and times that stand twice "
        f"({frame.counting}):{itemised(lines, most=40)}",
        fix="keep one row for each time of a series, or name the column that says which series a "
        f"row belongs to with --id-column{option}; to forecast the rows themselves, say how many "
        "steps with --horizon.",
    )


def _refuse_unsure_form(frame: Frame, key: str, run: Sequence[str]) -> None:
    """Refuse a table that may hold a step or a series in each row."""
    raise ConfigError(
        f"{frame.path} can be read in two ways: a series in each row, of the columns "
        f"{span(run)}; or a step in each row, of the series that column {shown(key)} names.",
        fix=f"pass --inputs with the columns and --group {shown(key)} for the first, or "
        f"--id-column {shown(key)} for the second.",
    )


def _choices(frame: Frame, names: Sequence[str]) -> list[str]:
    texts = frame.texts(names)
    return [
        f"{shown(name)} ({could_be(texts[name].values)})"
        if len(texts[name].values) == len(frame)
        else f"{shown(name)} ({counted(len(texts[name].values), 'different value')})"
        for name in names
    ]


def _split_column(frame: Frame, taken: Sequence[str], *, is_used: bool) -> str | None:
    """Find the column of the data's own split; what it holds is judged only where it is used."""
    for name in frame.names:
        if name.lower() not in SPLIT_COLUMNS or name in taken:
            continue
        found = frame.texts([name])[name]
        strange = [i for i, cell in enumerate(found.values) if cell.lower() not in SPLIT_WORDS]
        if not strange or (not is_used and len(strange) < len(found.values)):
            return name
        if len(strange) < len(found.values):
            rows = np.flatnonzero(np.isin(found.codes, strange))
            raise SourceError(
                f"{frame.path}: column {shown(name)} holds train, val or test, except in "
                f"{frame.rows(rows)} ({frame.counting}), for instance "
                f"{shown(found.values[strange[0]])!r}.",
                fix="write train, val or test in each row, or give the column another name.",
            )
    return None


def _run(frame: Frame, taken: Sequence[str]) -> tuple[str, ...]:
    """Return the longest run of numbered columns of numbers: h00, h01 ... in order."""
    stems: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in frame.names:
        found = NUMBERED.fullmatch(name)
        if found and name not in taken and frame.columns[name].holds not in ("text", "moments"):
            stems[found[1]].append((int(found[2]), name))
    runs = sorted((run for run in stems.values() if len(run) >= NUMBERED_LEAST), key=len)
    return tuple(name for _, name in sorted(runs[-1])) if runs else ()


def span(names: Sequence[str]) -> str:
    return f"{shown(names[0])} to {shown(names[-1])}" if len(names) > 2 else listed(names)


def _wide_inputs(frame: Frame, data: DataConfig, taken: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a wide table that are its steps, in order."""
    if data.inputs:
        return data.inputs
    run = _run(frame, taken)
    free = [
        name
        for name in frame.names
        if name not in taken and frame.columns[name].holds in ("numbers", "mixed")
    ]
    stems = {found[1] for name in free if (found := NUMBERED.fullmatch(name))}
    counts = {
        stem: sum(1 for name in free if (f := NUMBERED.fullmatch(name)) and f[1] == stem)
        for stem in stems
    }
    several = sorted(stem for stem, count in counts.items() if count >= NUMBERED_LEAST)
    if len(several) > 1:
        raise ConfigError(
            f"{frame.path} has more than one run of numbered columns, beginning with "
            f"{listed(several)}: a row can hold one series of one column.",
            fix="name the columns of one run with --inputs, or write a row for each step, with a "
            "column that says which series it belongs to.",
        )
    if not run:
        raise ConfigError(
            f"{frame.path}: nothing says what its rows are: no column names files or says which "
            f"series a row belongs to, and none are numbered as steps. Its columns: "
            f"{listed(frame.names)}.",
            fix="name the column that says which series a row belongs to with --id-column, or the "
            "columns of one series in a row with --inputs.",
        )
    return run


def _wide_roles(
    frame: Frame,
    data: DataConfig,
    taken: Sequence[str],
    *,
    split: str | None,
    group: str | None,
    folds: str | None,
) -> Roles:
    inputs = _wide_inputs(frame, data, taken)
    rest = [name for name in frame.names if name not in taken and name not in inputs]
    targets = data.target
    if not targets:
        targets = (_target(frame, rest, inputs),)
    left = [name for name in rest if name not in targets]
    notes = [f"Left out, {_columns(left)} without a use."] if left else []
    in_file = [name for name in frame.names if name in inputs]
    if not data.inputs and in_file != list(inputs):
        notes.append(f"The columns {span(inputs)} are read in the order of their numbers.")
    return Roles("wide", inputs, targets, None, None, split, group, folds, tuple(notes))


def _columns(names: Sequence[str]) -> str:
    return f"{'column' if len(names) == 1 else 'columns'} {listed(names)}"


def _target(frame: Frame, rest: Sequence[str], inputs: Sequence[str]) -> str:
    """Find the column to learn: the one of a usual name, else the only one that is left."""
    named = [name for name in rest if is_named(name, TARGET_NAMES)]
    named = named or [name for name in rest if plain_name(name) == "y"]
    found = named or [name for name in rest if frame.columns[name].holds != "nothing"]
    if len(found) == 1:
        return found[0]
    if not found:
        others = [name for name in frame.names if name not in inputs]
        raise ConfigError(
            f"{frame.path} has no column to learn besides "
            f"{listed([*others, *([span(inputs)] if inputs else [])])}.",
            fix="name it with --target, or add a column with the class or number of each series.",
            stage="columns",
        )
    raise ConfigError(
        f"{frame.path} has more than one column that could be learned:"
        f"{itemised(_choices(frame, found), most=40)}",
        fix=f"name the column to learn, for instance --target {shown(found[0])}.",
    )


def _long_roles(frame: Frame, data: DataConfig, taken: Sequence[str], roles: Roles) -> Roles:
    rest = [name for name in frame.names if name not in taken]
    notes = []
    targets = data.target
    if not targets:
        names = [name for name in rest if frame.columns[name].holds == "text"]
        named = [name for name in rest if is_named(name, TARGET_NAMES)]
        candidates = named or names or [name for name in rest if plain_name(name) == "y"]
        candidates = candidates or [name for name in rest if frame.columns[name].holds != "nothing"]
        targets = (_target(frame, candidates, data.inputs),)
        rest = [name for name in rest if name not in targets]
    inputs = data.inputs
    if not inputs:
        owners = [name for name in rest if is_named(name, ID_NAMES | OWNER_NAMES)]
        inputs = tuple(
            name
            for name in rest
            if name not in owners and frame.columns[name].holds in ("numbers", "mixed")
        )
        left = [name for name in rest if name not in inputs]
        if left:
            notes.append(f"Left out, {_columns(left)} without a use.")
        if not inputs:
            raise ConfigError(
                f"{frame.path} has no column of numbers to read besides {listed(taken)}.",
                fix="name the columns of numbers with --inputs.",
                stage="columns",
            )
    return replace(roles, inputs=inputs, targets=targets, notes=tuple(notes))
