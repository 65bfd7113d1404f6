"""Samples: everything known about the items of a data set before any is decoded.

One row an item, in NumPy columns: no Python object per item survives into the training loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

TRAIN, VALID, TEST = 0, 1, 2
UNASSIGNED = -1
SPLIT_NAMES = ("train", "valid", "test")

Kind = Literal["images", "sounds", "clips", "series", "texts", "forecasts"]
ItemTask = Literal["classify", "labels", "regress", "events", "tags", "write", "forecast"]
NOUNS: dict[Kind, tuple[str, str]] = {
    "images": ("image", "images"),
    "sounds": ("sound", "sounds"),
    "clips": ("clip", "clips"),
    "series": ("series", "series"),
    "texts": ("text", "texts"),
    "forecasts": ("window", "windows"),
}
"""What one item of a kind is called, and several."""
FILE_NOUNS: dict[Kind, tuple[str, str]] = {
    kind: NOUNS[kind] if kind in ("series", "texts", "forecasts") else ("file", "files")
    for kind in NOUNS
}
"""What it is called as something on disk: series and texts may be rows of one file."""
STEP_TASKS: dict[ItemTask, ItemTask] = {
    "events": "labels",
    "tags": "classify",
    "write": "classify",
}
"""Tasks that want an answer at every step, and the task that each of these answers is of."""
TIME_UNITS = (
    (604_800_000_000, "week"),
    (86_400_000_000, "day"),
    (3_600_000_000, "hour"),
    (60_000_000, "minute"),
    (1_000_000, "second"),
    (1000, "millisecond"),
)
SPANS = np.dtype([("row", "i8"), ("start", "f8"), ("end", "f8"), ("label", "i8")])
"""An event: the item that it is in, its start and end in seconds, and the label that it has."""
Rows = Sequence[int] | NDArray[np.int64]


def _none_said() -> NDArray[np.bytes_]:
    """Formats of which nothing is known."""
    return np.zeros(0, "S1")


@dataclass(frozen=True)
class ImageFacts:
    """What the headers say of images, before any is decoded."""

    kind: ClassVar[Kind] = "images"

    sizes: NDArray[np.int32]
    """[N, 2] height and width in pixels as a person sees the image (turned by EXIF)."""
    colours: NDArray[np.bool_]
    """[N] whether the file holds colour."""
    modes: NDArray[np.bytes_] = field(default_factory=_none_said)
    """[N] pixel format (RGB, L, RGBA ...), or none of any."""
    pixels: NDArray[np.uint8] | None = None
    """[N, H, W, C] where the source already is an array (idx), else None."""

    def take(self, rows: Rows) -> ImageFacts:
        """The facts of these rows, in this order."""
        return replace(
            self,
            sizes=self.sizes[rows],
            colours=self.colours[rows],
            modes=self.modes[rows] if len(self.modes) else self.modes,
            pixels=None if self.pixels is None else self.pixels[rows],
        )


@dataclass(frozen=True)
class SoundFacts:
    """What the headers say of sounds, before any is decoded."""

    kind: ClassVar[Kind] = "sounds"

    seconds: NDArray[np.float64]
    """[N] duration."""
    rates: NDArray[np.int32]
    """[N] samples a second (Hz) in each channel."""
    channels: NDArray[np.int16]
    """[N] how many channels the file holds."""
    formats: NDArray[np.bytes_] = field(default_factory=_none_said)
    """[N] file format (WAV PCM_16 ...), or none of any."""

    def take(self, rows: Rows) -> SoundFacts:
        """The facts of these rows, in this order."""
        return replace(
            self,
            seconds=self.seconds[rows],
            rates=self.rates[rows],
            channels=self.channels[rows],
            formats=self.formats[rows] if len(self.formats) else self.formats,
        )


@dataclass(frozen=True)
class ClipFacts:
    """What the headers say of clips, before any is decoded."""

    kind: ClassVar[Kind] = "clips"

    sizes: NDArray[np.int32]
    """[N, 2] height and width in pixels as a person sees the clip (turned)."""
    seconds: NDArray[np.float64]
    """[N] duration; NaN where the header does not say."""
    colours: NDArray[np.bool_]
    """[N] whether the file holds colour."""
    formats: NDArray[np.bytes_] = field(default_factory=_none_said)
    """[N] how each is coded (h264 ...), or none of any."""

    def take(self, rows: Rows) -> ClipFacts:
        """The facts of these rows, in this order."""
        return replace(
            self,
            sizes=self.sizes[rows],
            seconds=self.seconds[rows],
            colours=self.colours[rows],
            formats=self.formats[rows] if len(self.formats) else self.formats,
        )


@dataclass(frozen=True)
class SeriesFacts:
    """Series as they stand in their tables: all numbers, one series after another."""

    kind: ClassVar[Kind] = "series"

    values: NDArray[np.float32]
    """[steps of all, C] the numbers; NaN where a cell is missing."""
    starts: NDArray[np.int64]
    """[N + 1] where each series begins in `values`, and the end."""
    columns: tuple[str, ...]
    """[C] name of each column; of a wide table, whose rows are series of one column, the names
    of its steps."""
    form: Literal["files", "long", "wide"] = "files"
    """How series stand in tables: one a file, one below the other, or one a row."""
    id_column: str | None = None
    time_column: str | None = None
    date_format: str | None = None
    """How its dates are written, where others may be written otherwise."""

    def take(self, rows: Rows) -> SeriesFacts:
        """The series of these rows, in this order."""
        values, starts = taken_pieces(self.values, self.starts, rows)
        return replace(self, values=values, starts=starts)


@dataclass(frozen=True)
class TextFacts:
    """Texts as the numbers of their characters, one text after another."""

    kind: ClassVar[Kind] = "texts"

    codes: NDArray[np.int32]
    """[characters of all] the Unicode number of each character."""
    starts: NDArray[np.int64]
    """[N + 1] where each text begins in `codes`, and the end."""
    is_tokenized: bool = False
    """Whether the data themselves say what the tokens are: then a line feed ends each but the
    last, and there is none otherwise."""
    column: str | None = None
    """Column of the table that they stand in, where it holds one text a row."""

    def take(self, rows: Rows) -> TextFacts:
        """The texts of these rows, in this order."""
        codes, starts = taken_pieces(self.codes, self.starts, rows)
        return replace(self, codes=codes, starts=starts)


@dataclass(frozen=True)
class Step:
    """How far it is from one step of a series to the next.

    Months differ in their days, and weekdays leave out Saturday and Sunday; both are one step.

    >>> str(Step("time", 900_000_000)), str(Step("months", 3)), str(Step("weekdays"))
    ('15 minutes', '3 months', '1 weekday')
    """

    unit: Literal["time", "months", "weekdays", "numbers"]
    """time: microseconds; numbers: millionths of a number that counts the steps."""
    count: int = 1

    def __str__(self) -> str:
        if self.unit == "numbers":
            return f"{self.count / 1e6:g}"
        if self.unit != "time":
            return f"{self.count} {self.unit if self.count > 1 else self.unit[:-1]}"
        size, name = next(
            (pair for pair in TIME_UNITS if self.count % pair[0] == 0), (1, "microsecond")
        )
        return f"{self.count // size} {name}{'s' * (self.count > size)}"

    def between(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps from each time to the next, 0 where that is no whole number of them."""
        if self.unit == "months":
            months = times.astype("M8[us]").astype("M8[M]").astype(np.int64)
            far = months[1:] - months[:-1]
        elif self.unit == "weekdays":
            days = times.astype("M8[us]").astype("M8[D]")
            far = np.asarray(np.busday_count(days[:-1], days[1:]), np.int64)
        else:
            far = times[1:] - times[:-1]
        return np.where(far % self.count == 0, far // self.count, 0)

    def after(self, time: int, steps: int) -> NDArray[np.int64]:
        """The times of so many steps behind this one."""
        ahead = np.arange(1, steps + 1) * self.count
        if self.unit in ("time", "numbers"):
            return np.asarray(time + ahead)
        point = np.datetime64(time, "us")
        day = point.astype("M8[D]")
        if self.unit == "weekdays":
            days = np.busday_offset(day, ahead, roll="backward")
        else:
            month = day.astype("M8[M]")
            ends = (month + 1).astype("M8[D]") - 1
            months = month + ahead
            last = (months + 1).astype("M8[D]") - 1
            same = months.astype("M8[D]") + (day - month.astype("M8[D]"))
            # The end of a month stays one: 31 January, 28 February, 31 March.
            days = np.where(day == ends, last, np.minimum(same, last))
        return np.asarray((days.astype("M8[us]") + (point - day)).astype(np.int64))


@dataclass(frozen=True)
class ForecastFacts:
    """Series to forecast, as windows over their steps: so many to look back on, then the horizon.

    Windows overlap and are never copied: each is known by its first step.
    """

    kind: ClassVar[Kind] = "forecasts"

    values: NDArray[np.float32]
    """[steps of all, C] the numbers, in the order of time; NaN where a cell is missing."""
    starts: NDArray[np.int64]
    """[stretches + 1] where each stretch without a gap begins in `values`, and the end."""
    series: NDArray[np.int64]
    """[stretches] which series each stretch is of."""
    series_names: tuple[str, ...]
    """Name of each series; one "" where there is one without a name."""
    firsts: NDArray[np.int64]
    """[N] first step of each window; none crosses the end of a stretch."""
    past: int
    """Steps that a window looks back on."""
    horizon: int
    """Steps behind them, to forecast."""
    columns: tuple[str, ...]
    """[C] name of each column."""
    targets: tuple[int, ...]
    """Places of the columns to forecast."""
    known: tuple[int, ...] = ()
    """Places of the columns that are known in advance."""
    times: NDArray[np.int64] | None = None
    """[steps of all] microseconds since 1970 (UTC), or millionths where steps are numbered; None
    where the rows have nothing but their order."""
    step: Step | None = None
    """From a step to the next; None where the rows have nothing but their order."""
    step_parts: NDArray[np.int8] | None = None
    """[steps of all] split of each step that the data itself names, or UNASSIGNED."""
    time_column: str | None = None
    date_format: str | None = None
    """How its dates are written, where others may be written otherwise."""
    has_offset: bool = False
    """Whether its times said how far they are from UTC."""
    id_column: str | None = None

    def take(self, rows: Rows) -> ForecastFacts:
        """The windows of these rows, in this order; the steps stay as they are."""
        return replace(self, firsts=self.firsts[rows])


Facts = ImageFacts | SoundFacts | ClipFacts | SeriesFacts | TextFacts | ForecastFacts


@dataclass(frozen=True)
class Numbered(Sequence[str]):
    """Names that differ in a number alone, so that two million need no text each.

    >>> list(Numbered("a.csv#", np.array([2, 3])))
    ['a.csv#2', 'a.csv#3']
    """

    stem: str
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Numbered: ...
    def __getitem__(self, place: int | slice) -> str | Numbered:
        if isinstance(place, slice):
            return Numbered(self.stem, self.numbers[place])
        return f"{self.stem}{self.numbers[place]}"

    def take(self, rows: Rows) -> Numbered:
        """The names of these rows."""
        return Numbered(self.stem, self.numbers[rows])


@dataclass(frozen=True)
class Tags:
    """The class of each step (task tags): one item after another."""

    numbers: NDArray[np.int64]
    """[steps of all] an index into the labels."""
    starts: NDArray[np.int64]
    """[N + 1] where each item begins in `numbers`, and the end."""

    def take(self, rows: Rows) -> Tags:
        """The tags of these rows, in this order."""
        return Tags(*taken_pieces(self.numbers, self.starts, rows))


@dataclass(frozen=True)
class Samples:
    """The items of a data set: where they are, what they are, what they should be answered with.

    Shapes   N items; K classes or labels; M numbers to predict
    """

    task: ItemTask
    paths: tuple[str, ...] | Numbered
    """[N] file of each item, relative to `root`; `FILE#ROW` in an idx file or a table of values."""
    root: str
    """Folder that the paths are relative to."""
    labels: tuple[str, ...]
    """Names of the K classes or labels, or of the M numbers to predict; sorted for classes."""
    targets: NDArray[np.generic]
    """classify: int64 [N], an index into `labels`; labels: float32 [N, K] of 0 and 1;
    regress: float64 [N, M]; events and tags: as labels, whether an item holds any of that label;
    forecast and write: nothing, [N, 0], since what follows stands in the facts or the tags."""
    digests: NDArray[np.generic]
    """[N] of 16 bytes (dtype V16): equal exactly where the files (or idx rows) are equal."""
    facts: Facts
    """What the headers of the files say, as the kind of data has it."""
    given: NDArray[np.int8]
    """[N] split that the data itself names (TRAIN, VALID, TEST), or UNASSIGNED."""
    alike: NDArray[np.int64] | None = None
    """[N] a number for each item, equal where what was decoded of them is equal; None before that,
    and where the digests say it already."""
    groups: NDArray[np.int64] | None = None
    """[N] group of each item, where a group column was named."""
    group_names: tuple[str, ...] = ()
    """Name of each group."""
    folds: NDArray[np.int64] | None = None
    """[N] fold of each item, where a column of folds was named: each in turn is the test part."""
    fold_names: tuple[str, ...] = ()
    """Name of each fold."""
    events: NDArray[np.void] | None = None
    """[M] of SPANS, in the order of their items, where each item has labels that come and go."""
    tags: Tags | None = None
    """The class of each step, where each step has one."""
    has_label_columns: bool = False
    """Whether each of `labels` is a column of its own, so that nothing is known of a label without
    one. Where labels are written in cells, or are names of folders, one that is not written is not
    there: 0."""
    target_columns: tuple[str, ...] = ()
    """Columns of the table that say what items are answered with, where one does."""
    notes: tuple[str, ...] = ()
    """What was understood of the data and what was left out, a sentence each, for the user."""

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def kind(self) -> Kind:
        """What the items are."""
        return self.facts.kind

    @cached_property
    def contents(self) -> NDArray[np.int64]:
        """[N] a number from 0 for each item, equal where they are copies: by digest, or `alike`."""
        words = np.ascontiguousarray(self.digests).view(np.uint64).reshape(len(self), 2)
        numbers = np.unique(words, axis=0, return_inverse=True)[1].reshape(-1)
        if self.alike is not None:
            # Items that are alike take the number of the first of them. So the numbers, and with
            # them a random split, stay what the digests make them where no others are copies.
            _, first, same = np.unique(self.alike, return_index=True, return_inverse=True)
            numbers = np.unique(numbers[first][same], return_inverse=True)[1]
        return np.asarray(numbers, np.int64)

    @property
    def has_unlike_copies(self) -> bool:
        """Whether there are copies whose digests differ, such as a picture as PNG and as BMP."""
        if self.alike is None:
            return False
        return len(np.unique(self.contents)) < len(np.unique(self.digests))

    def take(self, rows: Rows) -> Samples:
        """The same data set with only these rows, in this order."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            paths=self.paths.take(index)
            if isinstance(self.paths, Numbered)
            else tuple(self.paths[i] for i in index),
            targets=self.targets[index],
            digests=self.digests[index],
            facts=self.facts.take(index),
            given=self.given[index],
            alike=None if self.alike is None else self.alike[index],
            groups=None if self.groups is None else self.groups[index],
            folds=None if self.folds is None else self.folds[index],
            events=None if self.events is None else _taken(self.events, index),
            tags=None if self.tags is None else self.tags.take(index),
        )


V = TypeVar("V", bound=np.generic)


def taken_pieces(
    values: NDArray[V], starts: NDArray[np.int64], rows: Rows
) -> tuple[NDArray[V], NDArray[np.int64]]:
    """Return pieces of an array, in the order of `rows`, and where each begins now.

    >>> taken_pieces(np.array([7, 7, 8, 9, 9]), np.array([0, 2, 3, 5]), [2, 0])
    (array([9, 9, 7, 7]), array([0, 2, 4]))
    """
    index = np.asarray(rows, np.int64)
    firsts, counts = starts[index], starts[index + 1] - starts[index]
    begins = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    if np.array_equal(firsts, begins[:-1]):  # rows in their own order from the first on
        return values[: begins[-1]], begins
    places = np.arange(begins[-1]) + np.repeat(firsts - begins[:-1], counts)
    return values[places], begins


def _taken(events: NDArray[np.void], rows: NDArray[np.int64]) -> NDArray[np.void]:
    """The events of these rows, numbered as they are."""
    order = np.argsort(events["row"], kind="stable")
    first, last = (
        np.searchsorted(events["row"][order], rows, side=side) for side in ("left", "right")
    )
    parts = [order[start:stop] for start, stop in zip(first, last, strict=True)]
    kept = events[np.concatenate([np.zeros(0, np.int64), *parts])]
    kept["row"] = np.repeat(np.arange(len(rows)), last - first)
    return np.asarray(kept)
