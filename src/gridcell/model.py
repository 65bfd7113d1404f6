"""A trained model: network, preparation and labels, and what can be done with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gridcell import model_file, networks, prediction
from gridcell.batches import Items, items_of
from gridcell.config import DataConfig, from_mapping, path_of
from gridcell.errors import ConfigError, SourceError, did_you_mean
from gridcell.model_file import Description
from gridcell.networks.answers import LEVELS, Answers
from gridcell.networks.run import Room, outputs
from gridcell.networks.stream import Stream, StreamState
from gridcell.prediction import Prediction
from gridcell.preparation import Preparation, SeriesPreparation, SoundPreparation, steps_of
from gridcell.preparation.cache import Decoded
from gridcell.preparation.clips import FrameReader
from gridcell.preparation.forecast import ForecastPreparation, ForecastReader
from gridcell.preparation.images import ImageReader
from gridcell.preparation.remarks import Remark
from gridcell.preparation.series import SeriesReader
from gridcell.preparation.sounds import SoundReader
from gridcell.preparation.texts import TextReader
from gridcell.preparation.unreadable import Unread
from gridcell.samples import NOUNS, STEP_TASKS, ItemTask, Kind
from gridcell.sources import WRITTEN, ts
from gridcell.sources.dialect import is_table
from gridcell.sources.remembered import UNSAID, Dialect
from gridcell.sources.wording import counted, listed, shown
from gridcell.workers import in_order

if TYPE_CHECKING:
    from PIL import Image as PillowImage

    InMemory = PillowImage.Image | NDArray[Any]
    """A picture or a sound in memory."""

WRITTEN_TEXTS = ("delimiter", "encoding", "header")
"""What of a dialect texts have a use for."""
PREDICT_BATCH = 256

Reader = ImageReader | SoundReader | FrameReader | SeriesReader | TextReader | ForecastReader
Item = tuple[str, NDArray[Any], float]
"""Name, values and scale of one decoded item."""


class AnswerStream:
    """Answers to one sequence whose steps come one after another.

    Each answer is the model's own on all the steps so far, to rounding. `state` is a value: kept
    and set again, the stream goes on from there.
    """

    def __init__(self, stream: Stream, answers: Answers) -> None:
        self._stream, self._answers = stream, answers

    @property
    def state(self) -> StreamState | None:
        """All that is remembered; None before the first step."""
        return self._stream.state

    @state.setter
    def state(self, state: StreamState | None) -> None:
        self._stream = self._stream.network.stream(state)

    def step(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Take one prepared step [C, *grid] and return the answer [K]."""
        return self.piece(np.asarray(values)[None])

    def piece(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Take the next prepared steps [n, C, *grid] and return the answer [K].

        Of a network that answers at each step it is that at the last step. Numbers of any type are
        read as float32, and ids of words as they are.
        """
        values = np.asarray(values)
        is_words = self._stream.network.layout.vocabulary > 0
        steps = np.ascontiguousarray(values, None if is_words else np.float32)
        outputs = self._stream.piece(torch.from_numpy(steps)[None])
        if outputs.ndim == 3:
            outputs = outputs[:, -1]
        return np.asarray(self._answers.of(outputs.numpy())[0])


class Model:
    """A trained network with all that it needs to answer for a raw file.

    Loading runs no code from the file: weights are numbers, the network is rebuilt from its
    notation, and the digests of both members are checked.
    """

    def __init__(self, network: networks.Network, description: Description[Preparation]) -> None:
        self.network = network.eval()
        self.description = description

    def __repr__(self) -> str:
        """What it reads and answers, in a line."""
        return (
            f"<gridcell model: kind={self.kind!r}, task={self.task!r}, "
            f"{counted(len(self.labels), 'label')}, {self.network.notation!r}>"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, labels or numbers, in the order of the outputs."""
        return self.description.labels

    @property
    def preparation(self) -> Preparation:
        """The way from a raw file to what the network reads."""
        return self.description.preparation

    @property
    def task(self) -> ItemTask:
        """What it was trained to answer."""
        return self.description.task

    @property
    def kind(self) -> Kind:
        """What it reads: images, sounds, clips, series or texts."""
        return self.description.kind

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of numbers that it reads of a series; none where it reads something else."""
        prep = self.preparation
        return prep.columns if isinstance(prep, SeriesPreparation) else ()

    def answers(
        self, decoded: Decoded, rows: NDArray[np.int64], room: Room | None = None
    ) -> NDArray[np.float64]:
        """Return probabilities [N, K], or numbers [N, M], for these rows of decoded items.

        Of windows they are the numbers [N, M, H] of the M columns at the H steps behind each.

        room   how many at once the memory held before, if it was full
        """
        items = items_of(self.preparation, decoded, torch.zeros(len(decoded)), rows)
        answers = self.answers_of(items, room)
        if isinstance(self.preparation, ForecastPreparation):
            return self.preparation.in_units(answers)
        return answers

    def answers_of(self, items: Items, room: Room | None = None) -> NDArray[np.float64]:
        """Return probabilities [N, K], or numbers [N, M], for items."""
        return self.description.answers.of(outputs(self.network, items, room))

    def stream(self) -> AnswerStream:
        """Answer while a sequence is still going on, step by step, as for all of it so far.

        Raises   NetworkError for a network that needs what comes later, such as lstm(64, both)
        """
        return AnswerStream(self.network.stream(), self.description.answers)

    def predict(
        self,
        items: str | Path | InMemory | Sequence[str | Path | InMemory],
        *,
        rate: int | None = None,
        path_column: str | None = None,
        skip_bad_files: bool = False,
        dialect: Dialect = UNSAID,
        **written: Any,
    ) -> list[Prediction]:
        """Answer for a file, a folder (every file of the model's kind in it) or a list of files.

        Of images, sounds and clips also for the files that a table names; `path_column` is the one
        that names them, that of training or found by itself where left out.

        A model of images also answers for pictures in memory, one or a list: Pillow's, or arrays
        of 8 bits [H, W] or [H, W, 3]. They are named `image 1`, `image 2` ... One of sounds answers
        for arrays of samples [n] or [n, channels] and their `rate`, as soundfile.read gives them:
        floats with 1.0 at full level, or int16 or int32. They are named `sound 1` ...

        A table of several series or texts gives an answer for each, named `FILE#ROW` or `FILE#ID`.

        rate      samples a second of sounds in memory, for all of them
        written   how tables and texts are written, where neither they nor the model say it, by
                  the names of the command line: date_format="%d/%m/%Y", decimal="comma"
        dialect   the same as one value

        Raises   SourceError for a file that cannot be read, unless `skip_bad_files`: then its
                 Prediction has no answer and a reason; so has that of a series or text alone
                 where the others of its table can be read. ConfigError for what is neither
        """
        from gridcell.sources import check_path_column, find_files

        dialect = _dialect(dialect, written)
        alone = _path(items) if isinstance(items, (str, Path)) else None
        check_path_column(path_column, [alone] if alone else [], self.kind)
        if alone is not None:
            try:
                asked = self.description.asked
                paths = find_files(
                    alone, self.kind, asked=asked, column=path_column, inputs=self.columns
                )
            except SourceError:
                if not skip_bad_files or alone.exists():
                    raise
                paths = [alone]  # whose answer says that it is not there
        else:
            every = [items] if _is_held(items) or not isinstance(items, Iterable) else [*items]
            if any(map(_is_held, every)):
                self._reader(dialect)
                held = self._predict_held(every, rate=rate, skip_bad_files=skip_bad_files)
                return list(held)
            paths = [_path(item) for item in every]
        if rate is not None and paths:
            raise ConfigError(
                "rate has no effect on files, which say their own.", fix="leave rate out."
            )
        return list(self.predict_files(paths, skip_bad_files=skip_bad_files, dialect=dialect))

    def predict_files(
        self, paths: Iterable[Path], *, skip_bad_files: bool = False, dialect: Dialect = UNSAID
    ) -> Iterator[Prediction]:
        """Yield the answers for files as they come, a batch at a time; as `predict` does.

        Raises   ConfigError at once for a dialect that has no effect on the kind or on any file
        """
        reader = self._reader(dialect)
        if dialect.said:  # which may need a look at the names of all
            paths = list(paths)
            self._refuse_unheeded(dialect, paths)
        return self._predict_each(reader, paths, skip_bad_files)

    def _predict_each(
        self, reader: Reader, paths: Iterable[Path], skip_bad_files: bool
    ) -> Iterator[Prediction]:
        waiting: list[Path] = []
        for path in paths:
            waiting.append(path)
            if len(waiting) == PREDICT_BATCH:
                yield from self._predict_some(reader, waiting, skip_bad_files)
                waiting = []
        yield from self._predict_some(reader, waiting, skip_bad_files)

    def _predict_held(
        self, items: Sequence[Any], *, rate: int | None, skip_bad_files: bool
    ) -> Iterator[Prediction]:
        """Yield the answers for pictures or sounds that are in memory, a batch at a time."""
        if not all(map(_is_held, items)):
            raise ConfigError(
                "files and what is in memory are mixed in one list.", fix="ask for each apart."
            )
        read = self._held_reader(items, rate)
        noun = NOUNS[self.kind][0]
        for first in range(0, len(items), PREDICT_BATCH):
            some = items[first : first + PREDICT_BATCH]
            names = [f"{noun} {number}" for number in range(first + 1, first + 1 + len(some))]
            found: list[tuple[NDArray[Any], float, Remark | None] | SourceError] = []
            for name, item in zip(names, some, strict=True):
                try:
                    found.append(read(item, name))
                except SourceError as error:
                    if not skip_bad_files:
                        raise
                    found.append(error)
            good = [item[:2] for item in found if not isinstance(item, SourceError)]
            answers = iter(self._answers_of(good))
            for name, result in zip(names, found, strict=True):
                if isinstance(result, SourceError):
                    yield Prediction(name, reason=result.message)
                else:
                    values, _, remark = result
                    yield self._prediction(name, next(answers), remark, length=len(values))

    def _held_reader(
        self, items: Sequence[Any], rate: int | None
    ) -> Callable[[Any, str], tuple[NDArray[Any], float, Remark | None]]:
        """Return what reads an item in memory, given its name, or refuse what cannot be meant."""
        reader = self.preparation.reader
        is_array = all(isinstance(item, np.ndarray) for item in items)
        if isinstance(reader, SoundReader) and is_array:
            if not isinstance(rate, int | np.integer) or rate < 1:
                raise ConfigError(
                    f"rate = {rate!r}: a sound in memory needs its samples a second.",
                    fix="give them as a whole number, such as rate=16000.",
                )
            return lambda wave, name: reader.read_wave(wave, int(rate), name=name)
        if not isinstance(reader, ImageReader):
            what = "an array" if is_array else "a picture"
            read = "tables of steps" if self.kind == "forecasts" else self.kind
            raise ConfigError(f"the model reads {read}, and is given {what}.", fix="name files.")
        if rate is not None:
            raise ConfigError("rate has no effect on images.", fix="leave rate out.")
        return lambda picture, name: reader.read_picture(picture, name=name)

    def save(self, path: str | Path) -> None:
        """Write the model file, whole or not at all.

        Raises   StorageError where it cannot be written
        """
        model_file.write(Path(path), self.network, self.description)

    @classmethod
    def load(cls, path: Path) -> Model:
        """Read a model file, or that in the folder of a run; nothing in it is run.

        Raises   ModelFileError where it is missing, cut, changed, unsafe, or from a later version
        """
        return cls(*model_file.read(path))

    def _reader(self, dialect: Dialect) -> Reader:
        """Return what reads files, or refuse what of a dialect has no effect on them."""
        reader = self.preparation.reader
        heeded = {"series": WRITTEN, "forecasts": WRITTEN, "texts": WRITTEN_TEXTS}
        for name in dialect.said:
            if name not in heeded.get(self.kind, ()):
                raise ConfigError(
                    f"{name} has no effect on {self.kind} that are answered for.",
                    fix=f"leave --{name.replace('_', '-')} out.",
                )
        if isinstance(reader, ForecastReader):
            reader.preparation.reading(DataConfig(**dialect.said))  # which refuses some
        if isinstance(reader, SeriesReader | TextReader | ForecastReader):
            return replace(reader, asked=dialect)
        return reader

    def _refuse_unheeded(self, dialect: Dialect, paths: Sequence[Path]) -> None:
        """Refuse how tables are written where no file is a table."""
        if self.kind == "forecasts":  # which are read from tables alone, and say so
            return
        told = [name for name in dialect.said if name != "encoding" or self.kind != "texts"]
        if told and paths and all(_is_no_table(path, self.kind) for path in paths):
            names = listed((shown(str(path)) for path in paths), most=3)
            raise ConfigError(
                f"{told[0]} has no effect on {names}: nothing that is asked for is a table.",
                fix=f"leave --{told[0].replace('_', '-')} out.",
            )

    def _predict_some(
        self, reader: Reader, paths: list[Path], skip_bad_files: bool
    ) -> Iterator[Prediction]:
        if isinstance(reader, ForecastReader):
            yield from self._forecasts(reader, paths, skip_bad_files)
            return

        remarks: dict[str, Remark] = {}

        def read(path: Path) -> Sequence[Item | Unread] | SourceError:
            try:
                if isinstance(reader, SeriesReader | TextReader):
                    return reader.read_each(path) if skip_bad_files else reader.read_items(path)
                found: tuple[NDArray[Any], float, Remark | None] = (
                    reader.read_new(path)
                    if isinstance(reader, SoundReader)
                    else reader.read_closely(path)
                )
                values, scale, remark = found
                if remark is not None:
                    remarks[str(path)] = remark
                return [(str(path), values, scale)]
            except SourceError as error:
                return error

        with closing(in_order(read, paths, at_once=1)) as parts:
            results = [result for part in parts for result in part]
        errors = [r for r in results if isinstance(r, SourceError)]
        if errors and not skip_bad_files:
            raise _all_of(errors)
        every = [item for r in results if not isinstance(r, SourceError) for item in r]
        good = [item[1:] for item in every if not isinstance(item, Unread)]
        answers = iter(self._answers_of(good))
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, SourceError):
                yield Prediction(str(path), reason=result.message)
            else:
                for item in result:
                    if isinstance(item, Unread):
                        yield Prediction(item.name, reason=item.reason)
                    else:
                        name, values, _ = item
                        answer, remark = next(answers), remarks.get(name)
                        yield self._prediction(name, answer, remark, length=len(values))

    def _answers_of(self, items: list[tuple[NDArray[Any], float]]) -> Sequence[NDArray[np.float64]]:
        """Return the answer [K] to each decoded item, or those of its steps, [T, K]."""
        if not items:
            return []
        decoded = Decoded.of(items)
        found = self.answers(decoded, np.arange(len(items)))
        if self.task not in STEP_TASKS:
            return list(found)
        return np.split(found, np.cumsum(steps_of(self.preparation, decoded))[:-1])

    def _forecasts(
        self, reader: ForecastReader, paths: list[Path], skip_bad_files: bool
    ) -> Iterator[Prediction]:
        """Answer for tables one by one: each may hold many series."""
        prep = reader.preparation
        scale = np.array(prep.column_deviation)[list(prep.targets), None]
        widths = self.description.answers.half_widths
        half = np.array(widths[LEVELS.index(0.95)]) * scale if widths else None
        for path in paths:
            try:
                every = reader.each(path) if skip_bad_files else reader.futures(path)
            except SourceError as error:
                if not skip_bad_files:
                    raise
                yield Prediction(str(path), reason=error.message)
                continue
            futures = [future for future in every if not isinstance(future, Unread)]
            found: Iterable[NDArray[np.float64]] = ()
            if futures:
                decoded = Decoded.of([(future.values, 1.0) for future in futures])
                found = self.answers(decoded, np.arange(len(futures)))
            answers = iter(found)
            for future in every:
                if isinstance(future, Unread):
                    yield Prediction(future.name, reason=future.reason)
                    continue
                rows = prediction.ahead(
                    next(answers), columns=self.labels, times=future.times, half=half
                )
                yield Prediction(future.name, forecast=rows)

    def _prediction(
        self, path: str, answer: NDArray[np.float64], remark: Remark | None, *, length: int
    ) -> Prediction:
        """Return the answer to an item, or to a window of one, under its labels' names.

        length   how many values it has one after another: samples of a sound
        """
        prep, times = self.preparation, {}
        if isinstance(prep, SoundPreparation):
            times = {"step_s": prep.hop / prep.rate, "seconds": length / prep.rate}
        return prediction.named(
            path, answer, task=self.task, labels=self.labels, remark=remark, **times
        )


def _is_no_table(path: Path, kind: Kind) -> bool:
    """Say whether a file that a model of this kind reads says itself how it is written."""
    return ts.is_named(path.name) if kind == "series" else not is_table(path.name)


def _is_held(item: object) -> bool:
    """Say whether an item is a picture or an array in memory, and no path."""
    from PIL import Image

    return isinstance(item, np.ndarray | Image.Image)


def _path(item: object) -> Path:
    """Return the path that an item is, or say what may be asked for."""
    if isinstance(item, str | os.PathLike):
        return path_of(item, what="a file or folder")
    raise ConfigError(
        f"predict cannot answer for a value of the type {type(item).__name__}.",
        fix="name a file, a folder or a list of files; a model of images takes Pillow's pictures "
        "and arrays of 8 bits [H, W] or [H, W, 3] too, one of sounds arrays of samples.",
    )


def _dialect(dialect: Dialect, written: dict[str, Any]) -> Dialect:
    """Return the dialect with what is said beside it, or say which of it is no setting."""
    strange = next((name for name in written if name not in WRITTEN), None)
    if strange is not None:
        raise ConfigError(
            f"predict has no setting {strange}.{did_you_mean(strange, WRITTEN)}",
            fix=f"its settings are rate, path_column, skip_bad_files, {', '.join(WRITTEN)}.",
        )
    said = from_mapping(Path(), written).data
    return replace(dialect, **{name: getattr(said, name) for name in written})


def _all_of(errors: Sequence[SourceError]) -> SourceError:
    """Return one error that says all; a single one keeps its fix."""
    own = errors[0].fix if len(errors) == 1 else None
    if own is not None and "--inputs" in own:
        own = None  # that is for training: a model reads the columns that it learned from
    fix = (own or "mend them").rstrip(".")
    skip = "" if "--on-bad-file skip" in fix else ", or pass --on-bad-file skip"
    return SourceError("\n".join(error.message for error in errors), fix=f"{fix}{skip}.")
