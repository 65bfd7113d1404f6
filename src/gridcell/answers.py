"""Predictions as text: a table for people, CSV for spreadsheets, JSON lines for machines."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import msgspec

from gridcell.config import json_text
from gridcell.model import Model, Prediction
from gridcell.sources.wording import shown

WIDEST_PATH = 60


def table(predictions: Iterable[Prediction], model: Model) -> Iterator[str]:
    """Yield a line an item: its path, the answer, how probable it is."""
    rows = [(shown(p.path), *_answer(p)) for p in predictions]
    width = min(max((len(path) for path, *_ in rows), default=0), WIDEST_PATH)
    answer_width = max((len(answer) for _, answer, _ in rows), default=0)
    for path, answer, probability in rows:
        yield f"{path:<{width}}  {answer:<{answer_width}}  {probability}".rstrip()


def as_csv(predictions: Iterable[Prediction], model: Model) -> Iterator[str]:
    """Yield a heading and a row an item, with a column for every class, label or number."""
    is_number = model.task == "regress"
    answer = (
        [] if is_number else (["label", "probability"] if model.task == "classify" else ["labels"])
    )
    yield _row(["path", *answer, *model.labels, "reason"])
    for p in predictions:
        named = (p.values or {}) if is_number else p.probabilities
        numbers = [f"{named[label]:.6g}" if label in named else "" for label in model.labels]
        given: list[str] = []
        if model.task == "classify":
            given = [p.label or "", "" if p.probability is None else f"{p.probability:.6f}"]
        elif model.task == "labels":
            given = [";".join(p.labels or ())]
        yield _row([json_text(p.path), *given, *numbers, p.reason])


def json_lines(predictions: Iterable[Prediction], model: Model) -> Iterator[str]:
    """Yield an item a line, with null where there is no answer."""
    for prediction in predictions:
        yield msgspec.json.encode(replace(prediction, path=json_text(prediction.path))).decode()


FORMATS: dict[str, Callable[[Iterable[Prediction], Model], Iterator[str]]] = {
    "table": table,
    "csv": as_csv,
    "jsonl": json_lines,
}


def _answer(p: Prediction) -> tuple[str, str]:
    if p.reason:
        return "no answer", p.reason
    if p.values is not None:
        return ", ".join(f"{name} {value:.6g}" for name, value in p.values.items()), ""
    if p.labels is not None:
        return ", ".join(p.labels) or "none", ""
    return p.label or "", f"{100 * (p.probability or 0):.1f} %"


def _row(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
