"""Predictions as text: a table for people, CSV for spreadsheets, JSON lines for machines.

Each format is there twice: for an answer a file, and for an answer a window of one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import msgspec

from gridcell.config import json_text
from gridcell.model import Model
from gridcell.prediction import Prediction
from gridcell.sources.wording import shown
from gridcell.timeline import Window

WIDEST_PATH = 60

Times = tuple[float | None, float | None]
"""Start and end in seconds; None where there is no answer that has them."""


def table(predictions: Iterable[Prediction], model: Model) -> Iterator[str]:
    """Yield a line an item: its path, the answer, how probable it is; of events a line each.

    Of tags it is a line for each stretch of steps that have one class; of forecasts one for each
    column at each step ahead, with the interval that is to hold 95 % of the truths.
    """
    if model.task == "tags":
        return _aligned(line for p in predictions for line in _stretches(p))
    if model.task == "events":
        return _timed((p.path, times, answer) for p in predictions for times, answer in _each(p))
    if model.task == "forecast":
        return _aligned(line for p in predictions for line in _ahead_lines(p))
    return _aligned((shown(p.path), *_answer(p)) for p in predictions)


def window_table(windows: Iterable[Window], model: Model) -> Iterator[str]:
    """Yield a line a window: its path, from when to when, the answer, how probable it is."""
    return _timed((w.prediction.path, (w.start, w.end), _answer(w.prediction)) for w in windows)


def as_csv(predictions: Iterable[Prediction], model: Model) -> Iterator[str]:
    """Yield a heading and a row an item, with a column for every class, label or number.

    No two columns have one name: the column of a class or label that is called as one of ours
    (`path`, `probability`) is `p(path)`, that of such a number `value(path)`.

    Of events it is a row each, and one without times for an item that has none; of tags a row a
    step, counted from 1; of forecasts a row for each column at each step ahead, with the interval
    that is to hold 95 % of the truths.
    """
    if model.task == "tags":
        yield _row(["path", "step", "label", "probability", "reason"])
        for p in predictions:
            path = json_text(p.path)
            if p.tags is None or p.tag_probabilities is None:
                yield _row([path, "", "", "", p.reason])
                continue
            for step, (tag, probability) in enumerate(
                zip(p.tags, p.tag_probabilities, strict=True), start=1
            ):
                yield _row([path, str(step), tag, f"{probability:.6f}", ""])
        return
    if model.task == "events":
        yield _row(["path", "start", "end", "label", "probability", "reason"])
        for p in predictions:
            path = json_text(p.path)
            for e in p.events or ():
                times = _seconds((e.start, e.end))
                yield _row([path, *times, e.label, f"{e.probability:.6f}", ""])
            if not p.events:
                yield _row([path, "", "", "", "", p.reason])
        return
    if model.task == "forecast":
        yield _row(["path", "time", "column", "value", "lower_95", "upper_95", "reason"])
        for p in predictions:
            yield from (_row([json_text(p.path), *cells, ""]) for cells in _ahead_cells(p))
            if p.forecast is None:
                yield _row([json_text(p.path), "", "", "", "", "", p.reason])
        return
    yield _row(_heading(["path"], model))
    for p in predictions:
        yield _row([json_text(p.path), *_cells(p, model)])


def window_csv(windows: Iterable[Window], model: Model) -> Iterator[str]:
    """Yield a heading and a row a window, with its start and end in seconds."""
    yield _row(_heading(["path", "start", "end"], model))
    for w in windows:
        times = _seconds((w.start, w.end))
        yield _row([json_text(w.prediction.path), *times, *_cells(w.prediction, model)])


def json_lines(predictions: Iterable[Prediction], model: Model) -> Iterator[str]:
    """Yield an item a line, with null where there is no answer."""
    for prediction in predictions:
        yield msgspec.json.encode(_plain(prediction)).decode()


def window_json_lines(windows: Iterable[Window], model: Model) -> Iterator[str]:
    """Yield a window a line: as of an item, with its start and end in seconds beside the path."""
    for w in windows:
        answer = _plain(w.prediction)
        line = {"path": answer.pop("path"), "start": w.start, "end": w.end, **answer}
        yield msgspec.json.encode(line).decode()


FORMATS: dict[str, Callable[[Iterable[Prediction], Model], Iterator[str]]] = {
    "table": table,
    "csv": as_csv,
    "jsonl": json_lines,
}
WINDOW_FORMATS: dict[str, Callable[[Iterable[Window], Model], Iterator[str]]] = {
    "table": window_table,
    "csv": window_csv,
    "jsonl": window_json_lines,
}


def _aligned(lines: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield lines whose cells stand in columns; the first is the path, the last is not widened."""
    rows = list(lines)
    if not rows:
        return
    path, *widths, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    widths = [min(path, WIDEST_PATH), *widths, 0]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _timed(lines: Iterable[tuple[str, Times, tuple[str, str]]]) -> Iterator[str]:
    """Yield lines of path, times and answer in columns."""
    rows = [(path, _seconds(times, digits=2), answer) for path, times, answer in lines]
    width = max((len(end) for _, (_, end), _ in rows), default=0)
    return _aligned(
        (shown(path), f"{start:>{width}} to {end:>{width}} s" if end else "", *answer)
        for path, (start, end), answer in rows
    )


def _seconds(times: Times, *, digits: int = 3) -> tuple[str, str]:
    """The times as text, empty where there are none."""
    start, end = ("" if time is None else f"{time:.{digits}f}" for time in times)
    return start, end


def _each(p: Prediction) -> Iterator[tuple[Times, tuple[str, str]]]:
    """Yield the times and the answer of each event, or that there is none."""
    for e in p.events or ():
        yield (e.start, e.end), (e.label, _percent(e.probability))
    if not p.events:
        yield (None, None), _answer(p)


def _stretches(p: Prediction) -> Iterator[tuple[str, ...]]:
    """Yield path, steps, class and mean probability of each stretch of steps of one class."""
    if not p.tags or p.tag_probabilities is None:
        yield shown(p.path), "", *_answer(p)
        return
    first = 0
    for step in range(1, len(p.tags) + 1):
        if step < len(p.tags) and p.tags[step] == p.tags[first]:
            continue
        mean = sum(p.tag_probabilities[first:step]) / (step - first)
        steps = str(step) if step == first + 1 else f"{first + 1} to {step}"
        yield shown(p.path), steps, p.tags[first], _percent(mean)
        first = step


def _ahead_lines(p: Prediction) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield a line for each column at each step ahead: its value, and the interval about it."""
    for time, column, value, low, high in _ahead_cells(p):
        between = f"95 %: {low} to {high}" if low else ""
        yield shown(p.path), time, shown(column), value, between
    if p.forecast is None:
        yield shown(p.path), "no answer", "", "", p.reason


def _ahead_cells(p: Prediction) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield time, column, value and interval of each step ahead, empty where there is none."""
    for each in p.forecast or ():
        ends = each.lower_95, each.upper_95
        low, high = ("" if end is None else f"{end:.6g}" for end in ends)
        yield each.time, each.column, f"{each.value:.6g}", low, high


def _heading(first: list[str], model: Model) -> list[str]:
    """The columns behind the first, which say the path and times, each with a name of its own."""
    answer = {"classify": ["label", "probability"], "labels": ["labels"]}
    before = [*first, *answer.get(model.task, [])]
    ours, what = {*before, "reason"}, "value" if model.task == "regress" else "p"
    free = {label for label in model.labels if label not in ours}
    named = []
    for label in model.labels:
        name = label
        while name in ours or (name != label and name in free):
            name = f"{what}({name})"
        named.append(name)
    return [*before, *named, "reason"]


def _cells(p: Prediction, model: Model) -> list[str]:
    """What stands in the columns of `_heading`."""
    named = (p.values or {}) if model.task == "regress" else p.probabilities
    numbers = [f"{named[label]:.6g}" if label in named else "" for label in model.labels]
    given: list[str] = []
    if model.task == "classify":
        given = [p.label or "", "" if p.probability is None else f"{p.probability:.6f}"]
    elif model.task == "labels":
        given = [";".join(p.labels or ())]
    return [*given, *numbers, p.reason]


def _plain(p: Prediction) -> dict[str, Any]:
    """The prediction as plain values, with a path that JSON can hold; remarks are told apart."""
    plain: dict[str, Any] = msgspec.to_builtins(replace(p, path=json_text(p.path), remark=None))
    del plain["remark"]
    return plain


def _answer(p: Prediction) -> tuple[str, str]:
    if p.reason:
        return "no answer", p.reason
    if p.values is not None:
        return ", ".join(f"{name} {value:.6g}" for name, value in p.values.items()), ""
    if p.labels is not None:
        return _several(p.labels, p.probabilities)
    if p.events is not None or p.tags is not None:
        return "none", ""
    return p.label or "", _percent(p.probability or 0)


def _several(labels: tuple[str, ...], probabilities: dict[str, float]) -> tuple[str, str]:
    """The labels and how probable each is; where there is none, how probable the likeliest is."""
    if labels:
        return ", ".join(labels), ", ".join(_percent(probabilities[label]) for label in labels)
    likeliest = max(probabilities, key=probabilities.__getitem__, default=None)
    if likeliest is None:
        return "none", ""
    return "none", f"{likeliest} {_percent(probabilities[likeliest])}"


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f} %"


def _row(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
