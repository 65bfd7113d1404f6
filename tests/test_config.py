"""Settings: unknown names, wrong types, ranges, durations, and what is written to the record."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from gridcell.config import (
    DATE_LETTERS,
    SECTIONS,
    SHORT_LETTERS,
    Config,
    DataConfig,
    SplitConfig,
    TrainConfig,
    from_mapping,
    seconds,
    to_mapping,
)
from gridcell.errors import ConfigError


def refused(**settings: Any) -> str:
    return refused_mapping(settings)


def refused_mapping(settings: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        from_mapping(Path("photos"), settings)
    return str(caught.value)


def test_no_settings_are_the_defaults() -> None:
    assert from_mapping(Path("photos"), {}) == Config(Path("photos"))


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 3, "valid": 0.2},
        {"train.epochs": 3, "split.valid": 0.2},
        {"train": {"epochs": 3}, "split": {"valid": 0.2}},
    ],
)
def test_a_name_may_stand_alone_carry_its_section_or_stand_in_it(settings: dict[str, Any]) -> None:
    found = from_mapping(Path("photos"), settings, out=Path("here"))
    assert found.train == TrainConfig(epochs=3)
    assert found.split == SplitConfig(valid=0.2)
    assert found.out == Path("here")


def test_runs_of_when_the_share_of_validation_rows_was_written_keep_it() -> None:
    found = from_mapping(Path("p"), {"split": {"valid": 0.1}})
    assert found.split.valid_share_of(100_000) == 0.1
    assert from_mapping(Path("p"), {"split": {"valid": None}}).split == SplitConfig()


def test_a_hyphen_may_stand_for_an_underscore() -> None:
    assert from_mapping(Path("p"), {"batch-size": 8}).train.batch_size == 8


def test_no_name_stands_in_two_sections() -> None:
    names = [field.name for kind in SECTIONS.values() for field in dataclasses.fields(kind)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("epoch", "epochs"),
        ("train.epoch", "train.epochs"),
        ("data.epochs", "train.epochs"),
        ("batchsize", "batch_size"),
        ("learning_rates", None),
        ("on-bad-files", "on_bad_file"),
    ],
)
def test_an_unknown_setting_names_the_nearest(name: str, near: str | None) -> None:
    text = refused_mapping({name: 3})
    assert text.startswith(f"{name} is not a setting.")
    assert ("Did you mean" in text) == (near is not None)
    if near:
        assert text.endswith(f"Did you mean {near}?")


def test_an_unknown_section_names_the_nearest_setting() -> None:
    text = refused_mapping({"training": {"epochs": 3}})
    assert text == "training.epochs is not a setting. Did you mean train.epochs?"


def test_a_setting_given_twice_is_refused() -> None:
    text = refused_mapping({"epochs": 3, "train.epochs": 5})
    assert "train.epochs is given twice" in text


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epochs", "many", "a whole number"),
        ("epochs", 2.5, "a whole number"),
        ("epochs", True, "a whole number"),
        ("rate", "fast", "a number"),
        ("rate", True, "a number"),
        ("augment", 1, "true or false"),
        ("net", 7, "a text"),
        ("optimizer", "adam", "'auto' or 'adamw' or 'sgd' or 'muon'"),
        ("kind", "audio", "'auto' or 'images' or 'sounds' or 'clips'"),
        ("folds", 5, "a text"),
        ("target", 3, "a name or a list of names"),
        ("target", ["a", 3], "a name or a list of names"),
        ("cache", 3, "a text"),
    ],
)
def test_a_wrong_type_says_what_was_wanted(name: str, value: Any, wanted: str) -> None:
    text = refused(**{name: value})
    assert f"{name} = {value!r} cannot be used: it must be {wanted}" in text


def test_numpy_s_numbers_are_numbers() -> None:
    found = from_mapping(Path("p"), {"epochs": np.int64(3), "rate": np.float32(0.5), "valid": 0})
    assert found.train.epochs == 3 and type(found.train.epochs) is int
    assert found.train.rate == 0.5 and type(found.train.rate) is float
    json.dumps(to_mapping(found))


def test_values_become_their_own_type() -> None:
    found = from_mapping(
        Path("p"), {"rate": 1, "target": "size", "cache": "there", "budget": None, "seed": 5}
    )
    assert isinstance(found.train.rate, float)
    assert found.data.target == ("size",)
    assert found.data.cache == Path("there")
    assert from_mapping(Path("p"), {"target": ["a", "b"]}).data.target == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value", "low", "high"),
    [
        ("epochs", 0, "1", "100000"),
        ("batch_size", 0, "1", "65536"),
        ("rate", 0.0, "1e-09", "1e+06"),
        ("rate", math.nan, "1e-09", "1e+06"),
        ("rate", math.inf, "1e-09", "1e+06"),
        ("weight_decay", -0.1, "0", "100"),
        ("label_smoothing", 1.0, "0", "0.9"),
        ("ema", 1.0, "0", "0.999999"),
        ("patience", 0, "1", "100000"),
        ("seed", -1, "0", "9223372036854775807"),
        ("valid", 0.95, "0", "0.9"),
        ("test", -0.1, "0", "0.9"),
        ("image_size", 0, "1", "4096"),
        ("image_size", 5000, "1", "4096"),
        ("tbptt", 0, "1", "1000000"),
    ],
)
def test_a_value_out_of_range_names_the_range(name: str, value: float, low: str, high: str) -> None:
    assert refused(**{name: value}) == (
        f"{name} = {value:g} is out of range: it must be {low} to {high}."
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("valid", 0.0), ("test", 0.0), ("ema", 0.0), ("label_smoothing", 0.0), ("seed", 2**63 - 1)],
)
def test_the_ends_of_a_range_may_be_used(name: str, value: float) -> None:
    from_mapping(Path("p"), {name: value})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("day", "it names no part of a date"),
        ("%%", "it names no part"),
        ("%d/%Q", "%Q is no part"),
        ("%d/%", "no part"),
    ],
)
def test_a_date_format_names_parts_of_a_date(text: str, why: str) -> None:
    found = refused(date_format=text)
    assert f"date_format = {text!r} cannot be used: " in found
    assert why in found and "such as '%d/%m/%Y'" in found


@pytest.mark.parametrize("letter", "aAbBYpfz%")
def test_only_numbers_of_a_date_may_be_written_without_zeros(letter: str) -> None:
    """DuckDB raises for a - in front of the others."""
    assert f"%-{letter} is no part of a date" in refused(date_format=f"%d %-{letter}")


@pytest.mark.parametrize("letter", sorted({*DATE_LETTERS, *(f"-{each}" for each in SHORT_LETTERS)}))
def test_duckdb_knows_every_part_of_a_date(letter: str) -> None:
    DataConfig(date_format=f"%{letter} 100 %%")
    duckdb.execute("SELECT try_strptime('x', ?)", [f"%{letter} 100 %%"]).fetchall()


def test_a_column_of_times_and_the_order_of_the_rows_exclude_each_other() -> None:
    found = refused(rows_in_order=True, time_column="t")
    assert "time_column has no effect beside rows_in_order" in found


def test_something_must_be_left_to_learn_from() -> None:
    text = refused(valid=0.5, test=0.45)
    assert "valid (0.5) and test (0.45) leave less than a tenth" in text
    assert "Fix: give a smaller --valid or --test." in text
    SplitConfig(valid=0.45, test=0.45)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), (" 0.5H ", 1800), ("1m1.5s", 61.5)],
)
def test_a_duration_is_read(text: str, expected: float) -> None:
    assert seconds(text) == expected
    assert TrainConfig(budget=text).budget == text


@pytest.mark.parametrize("text", ["", "10", "ten minutes", "10 m", "5d", "-5m", "m", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    found = refused(budget=text)
    assert f"budget {text!r} is not a duration." in found
    assert "Fix: write 90s, 10m or 1h30m." in found


@pytest.mark.parametrize("text", ["0s", "0h0m"])
def test_no_time_at_all_is_told_from_what_is_no_duration(text: str) -> None:
    assert f"budget {text!r} is no time: it must be more than 0." in refused(budget=text)


@pytest.mark.parametrize("name", ["members", "train.members"])
def test_a_setting_is_named_as_it_was_written(name: str) -> None:
    assert refused_mapping({name: 1.5}).startswith(f"{name} = 1.5 cannot be used")


def test_epochs_and_budget_together_are_refused() -> None:
    text = refused(epochs=3, budget="10m")
    assert "epochs and budget both say how long to train." in text
    assert "Fix: give only one of them." in text


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 3  # type: ignore[misc]


def test_the_mapping_is_json_and_holds_every_setting() -> None:
    config = Config(
        Path("photos"),
        data=DataConfig(target=("a", "b"), cache=Path("there")),
        train=TrainConfig(rate=0.1),
    )
    written = to_mapping(config)
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert written["path"] == "photos"
    assert written["out"] is None
    assert written["data"]["target"] == ["a", "b"]
    assert written["data"]["cache"] == "there"
    for section, kind in SECTIONS.items():
        assert set(written[section]) == {field.name for field in dataclasses.fields(kind)}


def test_the_mapping_gives_the_same_settings_back() -> None:
    config = Config(
        Path("photos"),
        data=DataConfig(
            target=("a",), kind="images", image_size=32, on_bad_file="skip", cache=Path("there")
        ),
        split=SplitConfig(valid=0.2, group="patient", folds="fold"),
        train=TrainConfig(epochs=3, augment=False, rate=0.1),
    )
    written = json.loads(json.dumps(to_mapping(config)))
    sections = {name: written[name] for name in SECTIONS}
    assert from_mapping(Path(written["path"]), sections) == config


def test_every_setting_says_what_it_is_for() -> None:
    """The sentence under a field is what --help shows, so each field has one."""
    import ast

    from gridcell import config

    tree = ast.parse(Path(config.__file__).read_text())
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or not node.name.endswith("Config"):
            continue
        for field, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                is_sentence = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert is_sentence, f"{node.name}: line {field.lineno} has no sentence under it"
