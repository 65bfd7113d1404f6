"""From the steps of a series to what a network forecasts from: a window, cut into segments.

Each column to forecast is an item of its own, and one network reads them all (as in PatchTST, Nie
et al. 2023): so every column is a lesson for every other. A segment of steps, such as the hours of
a day, is one step of the network (as in SegRNN, Lin et al. 2023): an LSTM then walks over days.

    own column              [past] ─┐
    other columns, flags    [past] ─┼─> [T segments, C channels, steps of a segment]
    known ahead, calendar   [past, shifted by the horizon]

What is known in advance stands a horizon later than what lies beside it, so that the last segments
hold what is known of the very steps to forecast.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gridcell.axes import Layout
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, SourceError
from gridcell.preparation.cache import Decoded
from gridcell.preparation.series import CONSTANT
from gridcell.preparation.unreadable import Unread, opening
from gridcell.samples import Facts, ForecastFacts, Samples, Step
from gridcell.sources.forecast import Table, read_table, season_of
from gridcell.sources.remembered import UNSAID, Dialect
from gridcell.sources.steps import written
from gridcell.sources.wording import counted, listed, shown

Missing = Literal["stop", "ffill", "drop", "mask"]
MISSING: tuple[Missing, ...] = ("stop", "ffill", "drop", "mask")
LONGEST_SEGMENT = 24
FEWEST_SEGMENTS = 4
DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
TOLD = {
    "ffill": "a missing number repeats the last one, and is the training mean before the first",
    "drop": "steps with a missing number are left out",
    "mask": "a missing number repeats the last one, and the network is told which are missing",
}


@dataclass(frozen=True)
class Future:
    """The last window of a series, and the times that follow it."""

    name: str
    values: NDArray[np.float32]
    """[past + horizon, C + extras] as `extended` gives them."""
    times: tuple[str, ...]
    """[horizon] the steps to forecast: their times, or their numbers from 1 on."""


@dataclass(frozen=True)
class ForecastPreparation:
    """How windows of a table become `[T, C, F]`, and each column's mean and deviation."""

    columns: tuple[str, ...]
    targets: tuple[int, ...]
    """Places of the columns to forecast."""
    known: tuple[int, ...]
    """Places of the columns that are known in advance."""
    past: int
    horizon: int
    segment: int
    """Steps of the series that make one of the network's."""
    season: int
    """Steps of a season, for the forecast that repeats the last; 1 where none is known."""
    missing: Missing = "stop"
    step: Step | None = None
    calendar: tuple[str, ...] = ()
    """Rounds of the calendar that the network is told of: hour, weekday, month."""
    time_column: str | None = None
    id_column: str | None = None
    table: Dialect = UNSAID
    """How tables are written, where it was said."""
    column_mean: tuple[float, ...] = ()
    column_deviation: tuple[float, ...] = ()
    """[C] of each column over the training steps; 1 of one that never moves."""
    has_offset: bool | None = None
    """Whether the times of training said how far they are from UTC; None where it is not known."""

    @property
    def others(self) -> tuple[int, ...]:
        """Places of the columns that are looked at and neither forecast nor known in advance."""
        return tuple(
            place
            for place in range(len(self.columns))
            if place not in self.targets and place not in self.known
        )

    @property
    def channels(self) -> int:
        """The own column, others with a flag each where missing ones are flagged, what is known."""
        beside = 1 + len(self.others)
        flags = beside if self.missing == "mask" else 0
        return beside + flags + len(self.known) + 2 * len(self.calendar)

    @property
    def layout(self) -> Layout:
        """The sizes of one item: a column of a window."""
        return Layout(self.channels, (self.segment,), steps=self.past // self.segment)

    @property
    def mean(self) -> tuple[float, ...]:
        """Nothing to subtract in the network: each column is standardised as it is drawn."""
        return (0.0,) * self.channels

    @property
    def deviation(self) -> tuple[float, ...]:
        """Nothing to divide by in the network."""
        return (1.0,) * self.channels

    @property
    def reader(self) -> ForecastReader:
        """What reads a table, as in training."""
        return ForecastReader(self)

    @property
    def is_whole(self) -> bool:
        """Whether the numbers hold together, as those that `fit_forecast` gives do."""
        count = len(self.columns)
        places = [*self.targets, *self.known]
        return (
            len(self.targets) > 0
            and len(set(places)) == len(places)
            and all(0 <= place < count for place in places)
            and min(self.past, self.horizon, self.segment, self.season) > 0
            and self.past % self.segment == 0
            and (self.past >= self.horizon or not (self.known or self.calendar))
            and self.missing in MISSING
            and all(name in ROUNDS for name in self.calendar)
            and (self.step is None or self.step.count > 0)
            and len(self.column_mean) == len(self.column_deviation) == count
            and bool(np.isfinite([*self.column_mean, *self.column_deviation]).all())
            and all(value > 0 for value in self.column_deviation)
        )

    def reading(self, data: DataConfig) -> DataConfig:
        """The settings that read a table as the training one was read.

        Raises   ConfigError where the rows' times are not to be read, and the network needs them
        """
        if data.rows_in_order and self.calendar:
            raise ConfigError(
                "rows_in_order has no effect here: the model was trained with times, and needs "
                "those of a new table.",
                fix="leave --rows-in-order out.",
            )

        def names(places: tuple[int, ...]) -> tuple[str, ...]:
            return tuple(self.columns[place] for place in places)

        return replace(
            data,
            task="forecast",
            kind="forecasts",
            target=names(self.targets),
            inputs=names(self.others),
            known=names(self.known),
            horizon=self.horizon,
            past=self.past,
            missing=self.missing,
            time_column=None if data.rows_in_order else data.time_column or self.time_column,
            id_column=data.id_column or self.id_column,
        )

    def describe(self, facts: Facts) -> str:
        """A sentence for the user."""
        assert isinstance(facts, ForecastFacts)
        each = "" if len(self.targets) == 1 else ", each an item of its own"
        parts = [
            f"{counted(len(self.targets), 'column')}{each}, "
            f"{self.past // self.segment:,} segments of {counted(self.segment, 'step')}"
        ]
        if self.others or self.known:
            parts.append(f"{counted(len(self.others) + len(self.known), 'other column')} beside it")
        if self.calendar:
            *before, last = self.calendar
            named = f"{', '.join(before)} and {last}" if before else last
            parts.append(f"with the {named} of each step")
        if self.missing != "stop":
            parts.append(TOLD[self.missing])
        return ", ".join(parts)

    def in_units(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return standardised forecasts [N * M, H] in the data's own units, [N, M, H]."""
        targets = list(self.targets)
        mean = np.array(self.column_mean)[targets, None]
        deviation = np.array(self.column_deviation)[targets, None]
        found = outputs.reshape(-1, len(targets), self.horizon)
        return np.asarray(found * deviation + mean)

    def extended(
        self,
        values: NDArray[np.float32],
        starts: NDArray[np.int64],
        times: NDArray[np.int64] | None,
    ) -> NDArray[np.float32]:
        """Fill steps [S, C] by looking back, and put flags and calendar beside them.

        What has nothing before it in its stretch stays NaN.
        """
        parts = [values]
        if self.missing in ("ffill", "mask"):
            is_missing = np.isnan(values)
            if is_missing.any():
                parts[0] = _filled(values, is_missing, starts)
            if self.missing == "mask":
                parts.append(is_missing.astype(np.float32))
        if self.calendar:
            assert times is not None
            parts += [ROUNDS[name](times) for name in self.calendar]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)

    def standardised(
        self, values: NDArray[np.float32], columns: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return numbers [..., N] of these columns [N] on a common scale; what is missing is 0."""
        mean = np.array(self.column_mean, np.float32)[columns]
        deviation = np.array(self.column_deviation, np.float32)[columns]
        scaled: NDArray[np.float32] = (values - mean) / deviation
        scaled[np.isnan(scaled)] = 0.0
        return scaled


@dataclass(frozen=True)
class ForecastReader:
    """How a table is read for an answer: its last window, and the steps behind it."""

    preparation: ForecastPreparation
    asked: Dialect = UNSAID
    """How this table is said to be written, before what training was told."""
    folder: str = field(default="forecasts", init=False)
    is_ragged: bool = field(default=True, init=False)

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Type of one value."""
        return np.dtype(np.float32)

    @property
    def inner(self) -> tuple[int, ...]:
        """Shape of one step."""
        return (len(self.preparation.columns),)

    @property
    def about(self) -> list[object]:
        """Everything that values depend on besides the file's bytes."""
        return [list(self.preparation.columns), self.preparation.missing]

    def read(self, source: Path) -> tuple[NDArray[np.float32], float]:
        """Return the last window of a table of one series."""
        futures = self.futures(source)
        if len(futures) != 1:
            raise SourceError(
                f"{shown(str(source))} holds {counted(len(futures), 'series', 'series')}.",
                fix="name a table of one series.",
            )
        return futures[0].values, 1.0

    def futures(self, source: Path) -> list[Future]:
        """Return the last window of each series of a table, and the times to forecast.

        Rows behind the last that has a target are the future: what they say of columns that are
        known in advance is used.

        Raises   SourceError for a table that lacks a column, is shorter than a window looks back,
                 or does not say all that is known in advance
        """
        table = self._table(source)
        return [self._future(source, table, number) for number in range(len(table.series_names))]

    def each(self, source: Path) -> list[Future | Unread]:
        """Return what `futures` does, and of a series that cannot be forecast why.

        Raises   SourceError for a table that cannot be read
        """
        table = self._table(source)
        found: list[Future | Unread] = []
        for number in range(len(table.series_names)):
            try:
                found.append(self._future(source, table, number))
            except SourceError as error:
                found.append(Unread(self._name(source, table, number), error.message))
        return found

    def _table(self, source: Path) -> Table:
        prep = self.preparation
        data = prep.reading(DataConfig(**self.asked.said))

        def read(choice: DataConfig) -> Table:
            return read_table(source, choice, has_future=True, step=prep.step)

        try:
            with opening(source):
                table = prep.table.read(source, data, read)
        except ConfigError as error:
            columns = [name for name in (data.id_column, data.time_column, *prep.columns) if name]
            raise ConfigError(
                "this is no table like the one that the model learned from: " + error.message,
                fix=f"name a table with the columns {listed(columns)}.",
            ) from error
        if prep.calendar and table.times is None:
            raise SourceError(
                f"{shown(str(source))} says no times, and the model was trained with them.",
                fix="add the column of times.",
            )
        check_offsets(prep, source, has_offset=table.has_offset)
        order = [table.columns.index(name) for name in prep.columns]
        return replace(table, values=table.values[:, order], columns=prep.columns)

    def _name(self, source: Path, table: Table, number: int) -> str:
        name = table.series_names[number]
        return f"{source}#{name}" if name else str(source)

    def _future(self, source: Path, table: Table, number: int) -> Future:
        """Return the last window of one series of a table."""
        prep = self.preparation
        targets = list(prep.targets)
        values, where = table.values, self._name(source, table, number)
        parts = np.flatnonzero(table.cut.series == number)
        if not len(parts):
            raise SourceError(f"{shown(where)} has no whole step.", fix="fill its numbers in.")
        rows = np.arange(table.cut.starts[parts[0]], table.cut.starts[parts[-1] + 1])
        has = rows[~np.isnan(values[rows][:, targets]).all(1)]
        end = int(has[-1]) + 1 if len(has) else int(rows[0])
        begin = int(table.cut.starts[np.searchsorted(table.cut.starts, end, side="left") - 1])
        begin = max(begin, int(rows[0]))  # a series of nothing but gaps has no step of its own
        if end - begin < prep.past:
            raise SourceError(
                f"{shown(where)} has {counted(end - begin, 'step')} without a gap at its end, "
                f"and the model looks back on {prep.past:,}.",
                fix="give a longer table.",
            )
        last = slice(begin, end)
        if prep.missing == "stop" and np.isnan(values[end - prep.past : end]).any():
            step, column = np.argwhere(np.isnan(values[end - prep.past : end]))[0]
            raise SourceError(
                f"{shown(where)}: row {table.rows[end - prep.past + step] + 2} has no number "
                f"in column {shown(prep.columns[column])}, and the model was trained without "
                "missing numbers.",
                fix="fill it in, or train with --missing ffill.",
            )
        times = None if table.times is None else table.times[last]
        ahead = self._ahead(where, values, table.times, rows[rows >= end], end)
        window = np.concatenate([values[last], ahead])
        future = (
            None
            if times is None
            else prep.step.after(int(times[-1]), prep.horizon)
            if prep.step is not None
            else None
        )
        every = None if times is None or future is None else np.concatenate([times, future])
        extended = prep.extended(window, np.array([0, len(window)]), every)
        told = (
            tuple(str(n) for n in range(1, prep.horizon + 1))
            if future is None
            else tuple(written(int(time), prep.step, is_utc=table.has_offset) for time in future)
        )
        return Future(where, extended[-prep.past - prep.horizon :], told)

    def _ahead(
        self,
        where: str,
        values: NDArray[np.float32],
        times: NDArray[np.int64] | None,
        rows: NDArray[np.int64],
        end: int,
    ) -> NDArray[np.float32]:
        """Return the steps to forecast [horizon, C]: NaN but for what is known of them."""
        prep = self.preparation
        ahead = np.full((prep.horizon, len(prep.columns)), np.nan, np.float32)
        if not prep.known:
            return ahead
        known = list(prep.known)
        some = rows[: prep.horizon]
        is_next = np.arange(len(some)) == some - end
        if times is not None and prep.step is not None and len(some):
            wanted = prep.step.after(int(times[end - 1]), prep.horizon)[: len(some)]
            is_next &= times[some] == wanted
        count = int(np.argmin(np.append(is_next, False)))
        ahead[:count, known] = values[some[:count]][:, known]
        if np.isnan(ahead[:, known]).any():
            have = int(np.argmax(np.append(np.isnan(ahead[:, known]).any(1), True)))
            names = ", ".join(shown(prep.columns[place]) for place in known)
            if have < count:  # the row is there
                empty = [place for place in known if np.isnan(ahead[have, place])]
                raise SourceError(
                    f"{shown(where)} has a row for step {have + 1:,} of {prep.horizon:,} to "
                    f"forecast, and says nothing of {listed(prep.columns[p] for p in empty)}.",
                    fix="fill in what is known of every step to forecast.",
                )
            raise SourceError(
                f"{shown(where)} says {names} for {counted(have, 'step')} ahead, and the model "
                f"needs {prep.horizon:,}.",
                fix="add rows for the steps to forecast, with their targets left empty.",
            )
        return ahead


def choose_forecast(samples: Samples, config: DataConfig) -> ForecastPreparation:
    """Choose from the table and the settings how windows are read."""
    facts = samples.facts
    assert isinstance(facts, ForecastFacts)
    assert config.missing != "interpolate"  # the source refuses it
    season = season_of(facts.step)
    return ForecastPreparation(
        columns=facts.columns,
        targets=facts.targets,
        known=facts.known,
        past=facts.past,
        horizon=facts.horizon,
        segment=segment_of(facts.past, season),
        season=season,
        missing=config.missing,
        step=facts.step,
        calendar=rounds_of(facts.step) if facts.past >= facts.horizon else (),
        time_column=facts.time_column,
        id_column=facts.id_column,
        table=Dialect.found(config, facts.date_format),
        has_offset=facts.has_offset,
    )


def check_offsets(prep: ForecastPreparation, source: Path, *, has_offset: bool) -> None:
    """Refuse times that mean another clock than those of training did.

    Raises   SourceError where the network is told the hour, and one of both has offsets from UTC
    """
    if not prep.calendar or prep.has_offset in (None, has_offset):
        return
    if has_offset:
        raise SourceError(
            f"{shown(str(source))}: its times say how far they are from UTC, and those of training "
            "said nothing of it.",
            fix="write them without an offset, by the clock of training.",
        )
    raise SourceError(
        f"{shown(str(source))}: its times do not say how far they are from UTC, and those of "
        "training did.",
        fix="write them with their offsets, such as 2024-03-20 14:00+01:00.",
    )


def segment_of(past: int, season: int) -> int:
    """Return how many steps make a segment: a season where a window holds a few, else less.

    An LSTM that walks from day to day sees the same hour at the same place. Measured on the
    validation months of ETTh1, half days instead raise the squared error from 0.362 to 0.381.

    >>> segment_of(336, 24), segment_of(91, 7), segment_of(24, 24), segment_of(97, 1)
    (24, 7, 6, 1)
    """
    most = max(1, past // FEWEST_SEGMENTS)
    if 1 < season <= most and past % season == 0:
        return season
    sizes = [n for n in range(min(most, LONGEST_SEGMENT), 0, -1) if past % n == 0]
    return next((n for n in sizes if n > 1 and season % n == 0), sizes[0])


def rounds_of(step: Step | None) -> tuple[str, ...]:
    """Return the rounds of the calendar that steps go through.

    >>> rounds_of(Step("time", HOUR_US)), rounds_of(Step("months")), rounds_of(None)
    (('hour', 'weekday'), ('month',), ())
    """
    if step is None or step.unit == "numbers":
        return ()
    if step.unit == "months":
        return ("month",) if 12 % step.count == 0 and step.count < 12 else ()
    if step.unit == "weekdays":
        return ("weekday",)
    return ("hour",) * (step.count < DAY_US) + ("weekday",) * (step.count <= DAY_US)


def decode_forecast(prep: ForecastPreparation, facts: ForecastFacts) -> Decoded:
    """The steps of a table with what stands beside them, and the first step of each window.

    Raises   SourceError where the network needs the times of steps, and the table says none
    """
    if prep.calendar and facts.times is None:
        raise SourceError(
            "the data say no times, and the model was trained with them.",
            fix="add the column of times.",
        )
    values = prep.extended(facts.values, facts.starts, facts.times)
    count = len(facts.firsts)
    starts = np.append(facts.firsts, len(values))
    return Decoded(values, starts, np.ones(count, np.float32), np.arange(count))


def fit_forecast(
    prep: ForecastPreparation, decoded: Decoded, rows: NDArray[np.int64]
) -> ForecastPreparation:
    """Add each column's mean and deviation over the steps of `rows`, the training windows."""
    values = decoded.values[training_steps(prep, decoded.starts[rows], len(decoded.values))]
    mean, deviation = [], []
    for column in values[:, : len(prep.columns)].T:
        known = column[~np.isnan(column)].astype(np.float64)
        mean.append(float(known.mean()) if len(known) else 0.0)
        spread = float(known.std()) if len(known) else 0.0
        # What never moves has nothing to divide by: 1 keeps it finite, whatever comes later.
        deviation.append(spread if spread > CONSTANT * abs(mean[-1]) else 1.0)
    return replace(prep, column_mean=tuple(mean), column_deviation=tuple(deviation))


def training_steps(
    prep: ForecastPreparation, firsts: NDArray[np.int64], steps: int
) -> NDArray[np.bool_]:
    """Return which steps lie in one of these windows."""
    edges = np.zeros(steps + 1, np.int64)
    np.add.at(edges, firsts, 1)
    np.add.at(edges, firsts + prep.past + prep.horizon, -1)
    return np.cumsum(edges)[:-1] > 0


def _filled(
    values: NDArray[np.float32], is_missing: NDArray[np.bool_], starts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Repeat the last number of each column within its stretch."""
    steps = np.arange(len(values))
    begin = np.repeat(starts[:-1], np.diff(starts))
    filled = values.copy()
    for column, gone in zip(filled.T, is_missing.T, strict=True):
        if gone.any():
            last = np.maximum.accumulate(np.where(gone, -1, steps))
            has = gone & (last >= begin)
            column[has] = column[last[has]]
    return filled


def _round(share: NDArray[np.float64]) -> NDArray[np.float32]:
    """Sine and cosine [S, 2] of how far a round has come, 0 to 1."""
    angle = 2 * np.pi * share
    return np.stack([np.sin(angle), np.cos(angle)], 1).astype(np.float32)


def _month(times: NDArray[np.int64]) -> NDArray[np.float32]:
    months = times.astype("M8[us]").astype("M8[M]").astype(np.int64)
    return _round(months % 12 / 12)


ROUNDS = {
    "hour": lambda times: _round(times % DAY_US / DAY_US),
    "weekday": lambda times: _round((times // DAY_US + 3) % 7 / 7),
    "month": _month,
}
