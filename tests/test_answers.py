"""Predictions as text: for people, for spreadsheets, for machines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gridcell import answers
from gridcell.model import Model
from gridcell.prediction import Prediction
from gridcell.samples import ItemTask
from gridcell.timeline import Window

CAT = Prediction("a.jpg", "cat", 0.9312, {"cat": 0.9312, "dog": 0.0688})
DOG = Prediction('far/away, "b".jpg', "dog", 0.5, {"cat": 0.5, "dog": 0.5})
BAD = Prediction("c.jpg", reason="c.jpg is empty (0 bytes).")


def model(task: ItemTask = "classify", labels: tuple[str, ...] = ("cat", "dog")) -> Model:
    """The two things that a format asks a model for."""
    return cast(Model, SimpleNamespace(task=task, labels=labels))


def written(format: str, *predictions: Prediction, of: Model | None = None) -> list[str]:
    return list(answers.FORMATS[format](iter(predictions), of or model()))


def rows(lines: list[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("\n".join(lines))))


def test_the_table_has_a_line_an_item_in_columns() -> None:
    first, second = written("table", CAT, DOG)
    assert first == "a.jpg              cat  93.1 %"
    assert second == 'far/away, "b".jpg  dog  50.0 %'


def test_the_table_says_why_there_is_no_answer() -> None:
    assert written("table", CAT, BAD)[1] == "c.jpg  no answer  c.jpg is empty (0 bytes)."


def test_the_table_does_not_let_one_long_path_widen_all() -> None:
    long = Prediction("x" * 200, "cat", 1.0, {"cat": 1.0, "dog": 0.0})
    first, second = written("table", long, CAT)
    assert first == "x" * 200 + "  cat  100.0 %"
    assert len(second) < 90


def test_nothing_to_answer_is_an_empty_table_and_a_csv_with_its_heading() -> None:
    assert written("table") == []
    assert written("jsonl") == []
    assert written("csv") == ["path,label,probability,cat,dog,reason"]


def test_csv_survives_commas_and_quotes() -> None:
    found = rows(written("csv", CAT, DOG, BAD))
    assert found[0] == {
        "path": "a.jpg",
        "label": "cat",
        "probability": "0.931200",
        "cat": "0.9312",
        "dog": "0.0688",
        "reason": "",
    }
    assert found[1]["path"] == 'far/away, "b".jpg'
    assert found[2]["label"] == found[2]["probability"] == found[2]["cat"] == ""
    assert found[2]["reason"] == "c.jpg is empty (0 bytes)."


def test_no_two_columns_of_csv_have_one_name() -> None:
    labels = ("path", "probability", "reason", "p(path)", "start")
    of = model(labels=labels)
    item = Prediction(
        "a.jpg", "path", 0.6, dict(zip(labels, (0.6, 0.1, 0.2, 0.05, 0.05), strict=True))
    )
    lines = written("csv", item, of=of)
    assert lines[0] == (
        "path,label,probability,p(p(path)),p(probability),p(reason),p(path),start,reason"
    )
    (found,) = rows(lines)
    assert (found["path"], found["probability"], found["reason"]) == ("a.jpg", "0.600000", "")
    assert (found["p(p(path))"], found["p(reason)"], found["p(path)"]) == ("0.6", "0.2", "0.05")
    windows = answers.WINDOW_FORMATS["csv"](iter([Window(0.0, 1.0, item)]), of)
    (found,) = rows(list(windows))
    assert (found["start"], found["p(start)"]) == ("0.000", "0.05")


def test_labels_and_numbers_that_are_called_as_a_column_have_their_own() -> None:
    of = model("labels", ("labels", "wet"))
    item = Prediction("a.jpg", labels=("wet",), probabilities={"labels": 0.1, "wet": 0.8})
    assert written("csv", item, of=of)[0] == "path,labels,p(labels),wet,reason"
    number = Prediction("a.jpg", values={"path": 3.0, "label": 4.0})
    of = model("regress", ("path", "label"))
    assert written("csv", number, of=of) == ["path,value(path),label,reason", "a.jpg,3,4,"]


def test_a_line_is_an_item_even_where_a_name_has_a_line_break() -> None:
    lines = written("jsonl", Prediction("a\nb.jpg", "cat", 1.0, {"cat": 1.0}))
    assert len(lines) == 1 and "\n" not in lines[0]
    assert len(written("table", Prediction("a\nb.jpg", "cat", 1.0, {}))[0].splitlines()) == 1


def test_json_lines_hold_everything_and_null_without_an_answer() -> None:
    found = [json.loads(line) for line in written("jsonl", CAT, BAD)]
    assert found[0]["label"] == "cat"
    assert found[0]["probabilities"] == {"cat": 0.9312, "dog": 0.0688}
    assert found[1]["label"] is None and found[1]["probability"] is None
    assert found[1]["reason"] == "c.jpg is empty (0 bytes)."


def test_several_labels_are_listed_and_none_is_said() -> None:
    of = model("labels", ("wet", "red"))
    both = Prediction("a.jpg", labels=("wet", "red"), probabilities={"wet": 0.8, "red": 0.6})
    none = Prediction("b.jpg", labels=(), probabilities={"wet": 0.1, "red": 0.2})
    assert written("table", both, none, of=of) == [
        "a.jpg  wet, red  80.0 %, 60.0 %",
        "b.jpg  none      red 20.0 %",
    ]
    found = rows(written("csv", both, none, of=of))
    assert found[0] == {
        "path": "a.jpg",
        "labels": "wet;red",
        "wet": "0.8",
        "red": "0.6",
        "reason": "",
    }
    assert found[1]["labels"] == ""
    assert json.loads(written("jsonl", none, of=of)[0])["labels"] == []


def test_numbers_are_named() -> None:
    of = model("regress", ("width", "height"))
    item = Prediction("a.jpg", values={"width": 1.5, "height": -20.0})
    assert written("table", item, of=of) == ["a.jpg  width 1.5, height -20"]
    assert written("csv", item, of=of) == ["path,width,height,reason", "a.jpg,1.5,-20,"]
    bad = rows(written("csv", BAD, of=of))[0]
    assert bad["width"] == "" and bad["reason"]


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_answers_for_machines_come_as_they_are_made(format: str) -> None:
    made: list[int] = []

    def predictions() -> Iterator[Any]:
        for number in range(3):
            made.append(number)
            yield CAT

    lines = answers.FORMATS[format](predictions(), model())
    next(lines)
    assert len(made) <= 1
