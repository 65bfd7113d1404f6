"""Answers along a long recording: one for each window of it.

`Model.predict` gives one answer for a whole file. Here a sound or a clip is cut into windows, and
each is answered as a file that holds nothing else would be. The first begins where the file does,
the last ends where it does, and nothing in between is left out.

A file is decoded once. What is held of it is what the cache would hold: 16 bits a sample of sound,
small frames of a clip. Only a batch of windows at a time is more than that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import ConfigError, SourceError
from gridcell.model import Model
from gridcell.prediction import Prediction
from gridcell.preparation import ClipPreparation, Preparation, SoundPreparation
from gridcell.preparation.cache import Decoded
from gridcell.preparation.clips import Span, decode_windows
from gridcell.preparation.remarks import Remark

SLACK_S = 0.001
"""A rest up to this long is no window of its own: it would be told with the times of the one
before."""
MOST_WINDOWS = 256
MOST_VALUES = 1 << 25
"""Samples, or values of pixels, of the windows that are answered together: 64 MB as samples."""

Cut = tuple[NDArray[Any], float]
"""Values of one window and their scale, as a reader gives them of a file."""


@dataclass(frozen=True)
class Window:
    """The answer for a stretch of a recording.

    A file that could not be read is one without times; its `prediction` says why in `reason`.
    """

    start: float | None
    """Seconds from the beginning."""
    end: float | None
    prediction: Prediction


def of_files(
    model: Model,
    paths: Iterable[Path],
    *,
    window_s: float,
    step_s: float | None = None,
    skip_bad_files: bool = False,
) -> Iterator[Window]:
    """Return the answers for all windows of files, file after file, as they come.

    window_s   seconds of a window; a file that is shorter is one window
    step_s     seconds from the start of one to that of the next; half a window where left out

    Raises     ConfigError for a model without a timeline (of images, or whose answers have times
               of their own), and for seconds that cannot be used; SourceError for a file that
               cannot be read, unless `skip_bad_files`: it is then a Window without times
    """
    step_s = _checked(model, window_s, step_s)
    return _of_files(model, paths, window_s=window_s, step_s=step_s, skip_bad_files=skip_bad_files)


def of_file(
    model: Model, path: Path, *, window_s: float, step_s: float | None = None
) -> list[Window]:
    """Return the answers for all windows of one file; see `of_files`."""
    return list(of_files(model, [path], window_s=window_s, step_s=step_s))


def spans(seconds: float, *, window_s: float, step_s: float) -> list[Span]:
    """Return start and end of the windows of a recording that lasts so many seconds.

    The last is shifted back to end where the recording does.

    >>> spans(4.5, window_s=2.0, step_s=1.0)
    [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0), (2.5, 4.5)]
    >>> spans(1.5, window_s=2.0, step_s=1.0)
    [(0.0, 1.5)]
    """
    spare = seconds - window_s
    before = max(0, math.ceil((spare - SLACK_S) / step_s))
    starts = [number * step_s for number in range(before)]
    last = max(0.0, min(spare, before * step_s))
    return [*((start, start + window_s) for start in starts), (last, seconds)]


def _checked(model: Model, window_s: float, step_s: float | None) -> float:
    """Return the step, once it is known that there can be windows of these sizes."""
    what = "events" if model.task == "events" else model.kind
    if what not in ("sounds", "clips"):
        why = ": they have times of their own" if what == "events" else ""
        raise ConfigError(f"window has no effect on {what}{why}.", fix="leave --window out.")
    shortest, shortest_step = _shortest(model.preparation)
    _check_seconds("window", window_s, shortest)
    if step_s is None:
        return max(window_s / 2, shortest_step)
    _check_seconds("step", step_s, shortest_step)
    if step_s > window_s:
        raise ConfigError(
            f"step = {step_s:g} s is longer than window = {window_s:g} s: what lies between two "
            "windows would have no answer.",
            fix=f"give a --step of at most {window_s:g}.",
        )
    return step_s


def _check_seconds(name: str, seconds: float, shortest: float) -> None:
    is_number = isinstance(seconds, Real)
    if not is_number or not shortest <= seconds < math.inf:
        said = f"{seconds:g} s" if is_number else repr(seconds)
        raise ConfigError(
            f"{name} = {said} cannot be used: it must be a number of seconds, "
            f"{shortest:g} or more.",
            fix=f"give another --{name}.",
        )


def _shortest(prep: Preparation) -> tuple[float, float]:
    """Return the seconds of the shortest window and step in which the model sees anything new."""
    if isinstance(prep, SoundPreparation):
        return prep.window / prep.rate, prep.hop / prep.rate
    return SLACK_S, SLACK_S


def _of_files(
    model: Model, paths: Iterable[Path], *, window_s: float, step_s: float, skip_bad_files: bool
) -> Iterator[Window]:
    def spans_of(seconds: float) -> list[Span]:
        return spans(seconds, window_s=window_s, step_s=step_s)

    for path in paths:
        try:
            cuts = _cuts(model.preparation, path, spans_of)
        except SourceError as error:
            if not skip_bad_files:
                raise
            yield Window(None, None, Prediction(str(path), reason=error.message))
        else:
            yield from _answered(model, str(path), cuts)


@dataclass(frozen=True)
class Cuts:
    """The windows of one file that was decoded."""

    times: list[Span]
    cut: Callable[[int], Cut]
    """Gives the values of one of them."""
    remark: Remark | None
    """What is to be said of the file."""


def _cuts(prep: Preparation, path: Path, spans_of: Callable[[float], list[Span]]) -> Cuts:
    """Decode a file, and return its windows."""
    if isinstance(prep, SoundPreparation):
        wave, scale, remark = prep.reader.read_new(path)
        rate = prep.rate
        times = spans_of(len(wave) / rate)

        def stretch(number: int) -> Cut:
            start, end = times[number]
            return wave[round(start * rate) : round(end * rate)], scale

        return Cuts(times, stretch, remark)
    assert isinstance(prep, ClipPreparation)
    clip = decode_windows(
        path,
        height=prep.height,
        width=prep.width,
        channels=prep.channels,
        fit=prep.fit,
        frames=prep.frames,
        spans_of=spans_of,
    )
    return Cuts(clip.spans, lambda number: (clip.frames(number), 1.0), clip.remark)


def _answered(model: Model, path: str, cuts: Cuts) -> Iterator[Window]:
    """Yield the windows of one file with their answers, a batch at a time."""
    first = 0
    for some in _batches(map(cuts.cut, range(len(cuts.times)))):
        found = model.answers(Decoded.of(some), np.arange(len(some)))
        times = cuts.times[first : first + len(some)]
        for (start, end), answer, (values, _) in zip(times, found, some, strict=True):
            of_window = model._prediction(path, answer, cuts.remark, length=len(values))
            yield Window(start, end, of_window)
        first += len(some)


def _batches(cuts: Iterable[Cut]) -> Iterator[list[Cut]]:
    """Yield as many windows together as may be in memory."""
    waiting: list[Cut] = []
    held = 0
    for values, scale in cuts:
        waiting.append((values, scale))
        held += values.size
        if len(waiting) == MOST_WINDOWS or held >= MOST_VALUES:
            yield waiting
            waiting, held = [], 0
    if waiting:
        yield waiting
