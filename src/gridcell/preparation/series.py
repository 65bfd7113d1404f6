"""From the numbers of a series to what the network reads: missing ones filled, columns scaled.

Scaling itself is the network's first layer; here its numbers are fitted, on training rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gridcell.axes import Layout
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.preparation.cache import Decoded, Values
from gridcell.preparation.unreadable import Unread, opening
from gridcell.samples import Facts, Samples, SeriesFacts
from gridcell.sources.remembered import UNSAID, Dialect
from gridcell.sources.wording import counted, listed, shown

if TYPE_CHECKING:
    from gridcell.sources.series_files import Unlabelled

Missing = Literal["stop", "ffill", "interpolate", "drop", "mask"]
MISSING: tuple[Missing, ...] = ("stop", "ffill", "interpolate", "drop", "mask")
LONGEST_STEPS = 2000
"""Steps that are read at once where nothing else is asked for: more are read in windows."""
CONSTANT = 1e-8
"""A column whose deviation is at most this share of its size is constant: it is rounding."""
TOLD = {
    "ffill": "a missing number repeats the last one, and is the training mean before the first",
    "interpolate": "missing numbers lie on a line between their neighbours, and are the training "
    "mean where one is lacking",
    "drop": "steps with a missing number are left out",
    "mask": "a missing number is the training mean, and the network is told which are missing",
}


@dataclass(frozen=True)
class SeriesPreparation:
    """How a series becomes `[T, C]`, and each column's mean and deviation."""

    columns: tuple[str, ...]
    missing: Missing
    longest: int
    """Steps that are read at once."""
    form: Literal["files", "long", "wide"] = "files"
    """How series stand in tables: one a file, one below the other, or one a row."""
    id_column: str | None = None
    time_column: str | None = None
    table: Dialect = UNSAID
    """How tables are written, where it was said."""
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def channels(self) -> int:
        """Numbers in one step: with the policy mask also whether each is missing."""
        series = 1 if self.form == "wide" else len(self.columns)
        return series * (2 if self.missing == "mask" else 1)

    @property
    def layout(self) -> Layout:
        """The sizes of one sample."""
        return Layout(self.channels, steps=None)

    @property
    def reader(self) -> SeriesReader:
        """What reads a file, as in training."""
        return SeriesReader(self)

    @property
    def is_whole(self) -> bool:
        """Whether the numbers hold together, as those that `fit_series` gives do."""
        return (
            len(self.columns) > 0
            and self.longest > 0
            and self.missing in MISSING
            and len(self.mean) == len(self.deviation) == self.channels
            and bool(np.isfinite([*self.mean, *self.deviation]).all())
            and all(value > 0 for value in self.deviation)
        )

    def describe(self, facts: Facts) -> str:
        """A sentence for the user, given what the series are."""
        assert isinstance(facts, SeriesFacts)
        counts = np.diff(facts.starts)
        low, high = int(counts.min()), int(counts.max())
        steps = counted(low, "step") if low == high else f"{low:,} to {high:,} steps"
        number = 1 if self.form == "wide" else len(self.columns)
        parts = [f"{steps} of {counted(number, 'column')}"]
        if high > self.longest:
            parts.append(f"read in windows of {self.longest:,} steps")
        if self.missing != "stop":
            parts.append(TOLD[self.missing])
        return ", ".join(parts)

    def filled(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fill the missing numbers of one series [T, C] as the policy says.

        What has nothing before it (ffill) or on either side (interpolate) stays NaN, and becomes
        the training mean when batches are drawn; so does all that is missing with mask.
        """
        is_missing = np.isnan(values)
        if self.missing in ("stop", "mask") or not is_missing.any():
            return values
        if self.missing == "drop":
            return np.ascontiguousarray(values[~is_missing.any(1)])
        steps = np.arange(len(values))
        filled = values.copy()
        for column, gone in zip(filled.T, is_missing.T, strict=True):
            known = np.flatnonzero(~gone)
            if not len(known) or not gone.any():
                continue
            if self.missing == "ffill":
                last = np.maximum.accumulate(np.where(gone, -1, steps))
                column[last >= 0] = column[last[last >= 0]]
            else:
                between = (steps >= known[0]) & (steps <= known[-1])
                column[between] = np.interp(steps[between], known, column[known])
        return filled

    def read(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network reads of filled steps [..., C]: no NaN is left."""
        is_missing = np.isnan(values)
        if self.missing == "mask":
            mean = np.array(self.mean[: values.shape[-1]], np.float32)
            filled = np.where(is_missing, mean, values)
            return np.concatenate([filled, is_missing.astype(np.float32)], -1)
        if not is_missing.any():
            return values
        return np.where(is_missing, np.array(self.mean, np.float32), values)


@dataclass(frozen=True)
class SeriesReader:
    """How series are read; they stand in memory as soon as their tables are read."""

    preparation: SeriesPreparation
    asked: Dialect = UNSAID
    """How this file is said to be written, before what training was told."""

    folder = "series"
    dtype = np.dtype(np.float32)
    is_ragged = True

    @property
    def inner(self) -> tuple[int, ...]:
        """Shape of one step."""
        prep = self.preparation
        return (1 if prep.form == "wide" else len(prep.columns),)

    @property
    def about(self) -> list[object]:
        """Everything that values depend on besides the file's bytes."""
        return ["series", self.preparation.missing, list(self.preparation.columns)]

    def read(self, source: Path) -> tuple[Values, float]:
        """Return the one series of a file.

        Raises   SourceError for a file of several series
        """
        items = self.read_items(source)
        if len(items) != 1:
            raise SourceError(
                f"{shown(str(source))} holds {counted(len(items), 'series', 'series')}.",
                fix="name a file of one series.",
            )
        _, values, scale = items[0]
        return values, scale

    def read_items(self, source: Path) -> list[tuple[str, Values, float]]:
        """Return the series of a file: the name of each, its filled values [T, C], and 1.

        Raises   SourceError for a file that lacks a column, or numbers where none may be missing
        """
        found = self._named(source)
        return [(name, self._complete(name, values), 1.0) for name, values, _ in found]

    def read_each(self, source: Path) -> list[tuple[str, Values, float] | Unread]:
        """Return the series of a file as `read_items` does; of those that cannot be read, why.

        Raises   SourceError for a file that lacks a column, or of which no series can be read
        """
        try:
            every = self._named(source)
        except SourceError:
            # Only now are cells that hold no number passed over: where a table must be told how
            # it is written, as it is not they would be many.
            every = self._named(source, on_bad_file="skip")
            if all(fault is not None for _, _, fault in every):
                raise
        found: list[tuple[str, Values, float] | Unread] = []
        for name, values, fault in every:
            if fault is not None:
                found.append(Unread(name, f"{shown(name)}: {fault}."))
                continue
            try:
                found.append((name, self._complete(name, values), 1.0))
            except SourceError as error:
                found.append(Unread(name, error.message))
        return found

    def _named(
        self, source: Path, on_bad_file: Literal["stop", "skip"] = "stop"
    ) -> list[Unlabelled]:
        from gridcell.sources import series_files

        prep = self.preparation

        def read(data: DataConfig) -> list[Unlabelled]:
            return series_files.read_unlabelled(
                source,
                prep.columns,
                form=prep.form,
                id_column=prep.id_column,
                time_column=None if data.rows_in_order else prep.time_column,
                data=replace(data, on_bad_file=on_bad_file),
            )

        with opening(source):
            return prep.table.read(source, DataConfig(**self.asked.said), read)

    def _complete(self, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.preparation.missing == "stop":
            rows, columns = np.nonzero(np.isnan(values))
            if len(rows):
                # Of a series in a row each step is a column, and together they are one.
                place = rows[0] if self.preparation.form == "wide" else columns[0]
                raise SourceError(
                    f"{shown(name)}: step {rows[0] + 1:,} has no number in column "
                    f"{shown(self.preparation.columns[place])}, and the model was trained "
                    "without missing numbers.",
                    fix="fill it in, or train with --missing ffill.",
                )
        return self.preparation.filled(values)


def choose_series(samples: Samples, config: DataConfig) -> SeriesPreparation:
    """Choose from the tables and the settings how series are read.

    Raises   ConfigError for steps to be left out where each is to have an answer
    """
    facts = samples.facts
    assert isinstance(facts, SeriesFacts)
    if config.missing == "drop" and samples.tags is not None:
        raise ConfigError(
            "missing = 'drop' leaves steps out, and each is to have an answer.",
            fix="choose --missing ffill, interpolate or mask.",
        )
    counts = np.diff(facts.starts)
    if config.window is not None and config.window % 1:
        raise ConfigError(
            f"window = {config.window:g} cannot be used: of a series it is whole steps.",
            fix=f"give --window {max(1, round(config.window))}, for instance.",
        )
    longest = LONGEST_STEPS if config.window is None else int(config.window)
    return SeriesPreparation(
        columns=facts.columns,
        missing=config.missing,
        longest=max(1, min(longest, int(counts.max()))),
        form=facts.form,
        id_column=facts.id_column,
        time_column=facts.time_column,
        table=Dialect.found(config, facts.date_format),
    )


def decode_series(prep: SeriesPreparation, facts: SeriesFacts) -> Decoded:
    """The series of tables that are read, with missing numbers filled."""
    count = len(facts.starts) - 1
    if prep.missing in ("stop", "mask") or not np.isnan(facts.values).any():
        values, starts = facts.values, facts.starts
    else:
        parts = [
            prep.filled(facts.values[start:stop])
            for start, stop in zip(facts.starts[:-1], facts.starts[1:], strict=True)
        ]
        values = np.concatenate(parts)
        starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return Decoded(values, starts, np.ones(count, np.float32), np.arange(count))


def fit_series(
    prep: SeriesPreparation, decoded: Decoded, rows: NDArray[np.int64]
) -> SeriesPreparation:
    """Add each column's mean and deviation over `rows`, the training rows."""
    is_used = np.zeros(len(decoded.values), np.bool_)
    for row in rows:
        is_used[decoded.starts[row] : decoded.starts[row + 1]] = True
    values = decoded.values[is_used].astype(np.float64)
    known = ~np.isnan(values)
    counts = np.maximum(known.sum(0), 1)
    mean = np.where(known, values, 0).sum(0) / counts
    deviation = np.sqrt((np.where(known, values - mean, 0) ** 2).sum(0) / counts)
    # What never moves has nothing to divide by: 1 keeps it finite, whatever comes later.
    deviation = np.where(deviation > CONSTANT * np.abs(mean), deviation, 1.0)
    deviation[deviation == 0] = 1.0
    if prep.missing == "mask":
        mean = np.concatenate([mean, np.zeros_like(mean)])
        deviation = np.concatenate([deviation, np.ones_like(deviation)])
    return replace(prep, mean=tuple(map(float, mean)), deviation=tuple(map(float, deviation)))


def constant_columns(decoded: Decoded, rows: NDArray[np.int64]) -> list[int]:
    """The places of the columns that never move over these rows."""
    low: Any = np.inf
    high: Any = -np.inf
    for row in rows:
        part = decoded.values[decoded.starts[row] : decoded.starts[row + 1]]
        if len(part):
            low = np.fmin(low, np.fmin.reduce(part, 0))
            high = np.fmax(high, np.fmax.reduce(part, 0))
    if isinstance(low, float):
        return []
    size = np.maximum(np.abs(low), np.abs(high))
    return [int(i) for i in np.flatnonzero(~(high - low > CONSTANT * size))]


def told_constant(columns: tuple[str, ...], places: list[int]) -> str:
    """A warning about columns that say nothing."""
    names = listed(shown(columns[i]) for i in places)
    word = "Column" if len(places) == 1 else "Columns"
    verb = "has" if len(places) == 1 else "have"
    return f"{word} {names} {verb} one value in all training rows, and can teach nothing."
