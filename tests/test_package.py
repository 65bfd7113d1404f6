"""The names that `import gridcell` gives, and what they say of values that are no paths."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import gridcell
from gridcell.cli import main
from gridcell.errors import ConfigError


def test_the_public_names_are_those_that_are_meant_to_be() -> None:
    verbs = "cross_validate evaluate inspect load predict_windows resume train write"
    names = ["GridcellError", "__version__", *verbs.split()]
    assert dir(gridcell) == sorted(gridcell.__all__) == names
    assert issubclass(ConfigError, gridcell.GridcellError)


CALLS: list[Callable[[Any], object]] = [
    gridcell.train,
    gridcell.inspect,
    gridcell.load,
    gridcell.resume,
    lambda value: gridcell.evaluate("model.gridcell", value),
    lambda value: gridcell.evaluate(value, "photos"),
    lambda value: gridcell.write(value, 3),
    lambda value: gridcell.predict_windows(value, ["a.wav"], window=1.0),
    lambda value: gridcell.cross_validate(value, folds="fold"),
    lambda value: gridcell.train("photos", out=value if value is not None else 3),
    lambda value: gridcell.resume("runs/photos", data=value if value is not None else 3),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("value", "why"),
    [(3, "the type int"), (None, "is no path"), ("", "an empty path"), (b"x", "bytes")],
)
def test_what_is_no_path_is_refused(call: Callable[[Any], object], value: Any, why: str) -> None:
    with pytest.raises(gridcell.GridcellError, match=why) as caught:
        call(value)
    assert "as a text or a pathlib.Path" in str(caught.value)


def test_a_look_at_the_data_is_a_value_of_what_the_command_prints(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("blue", "red"):  # more than there are others
        for number in range(40):
            Image.new("RGB", (9 + number, 9)).save(toy / name / f"black-{number}.png")
    cut = next(file for file in (toy / "red").iterdir() if "black" not in file.name)
    cut.write_bytes(cut.read_bytes()[:-30])
    settings = {"valid": 0.25, "test": 0.0, "on_bad_file": "skip"}
    found = gridcell.inspect(toy, quiet=True, **settings)
    assert capsys.readouterr() == ("", "")
    assert (found.task, found.labels) == ("classify", ["blue", "red"])
    assert found.rows["valid"] and not found.rows["test"]
    assert sum(found.rows.values()) == len(found.data.samples) > 80
    # What shows itself only when files are decoded is said too.
    assert any(cut.name in note for note in found.notes)
    assert any("are of one colour throughout" in finding.text for finding in found.findings)
    levels = [finding.level for finding in found.findings]
    assert levels == sorted(levels, reverse=True)  # warnings first
    options = ["--valid", "0.25", "--test", "0", "--on-bad-file", "skip", "--json"]
    assert main(["inspect", str(toy), *options]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == found.to_json()
    assert str(found).splitlines()[-1] == f"{levels[-1]}: {found.findings[-1].text}"


def test_a_look_at_the_data_takes_no_settings_of_a_training(toy: Path) -> None:
    with pytest.raises(gridcell.GridcellError, match="got epochs"):
        gridcell.inspect(toy, epochs=3)
    assert gridcell.inspect(toy, quiet=True, seed=3).rows["train"] > 0


def test_to_go_on_with_a_run_is_a_verb_of_its_own() -> None:
    with pytest.raises(gridcell.GridcellError, match=r"gridcell\.resume\(FOLDER\) goes on"):
        gridcell.train("runs/x", resume=True)


def test_settings_of_a_run_that_goes_on_are_checked(tmp_path: Path) -> None:
    for settings in (
        {"epochs": 1.5},
        {"epochs": "+3"},
        {"rate": "high"},
        {"budget": 5},
        {"net": 3},
    ):
        with pytest.raises(gridcell.GridcellError, match="cannot be used"):
            gridcell.resume(tmp_path, **settings)  # type: ignore[arg-type]
