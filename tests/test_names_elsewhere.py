"""Settings by the names that they have in other tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridcell.cli import main
from gridcell.config import SECTIONS, Config, from_mapping
from gridcell.errors import ConfigError
from gridcell.names_elsewhere import ELSEWHERE, LIKEWISE, OURS, WITHOUT, meant

SETTINGS = {name for section in SECTIONS.values() for name in section.__dataclass_fields__}
KNOWN = SETTINGS | set(Config.__dataclass_fields__)


def test_every_name_means_one_setting_that_is_there() -> None:
    others = [name for names in ELSEWHERE.values() for name in names.split()]
    assert set(ELSEWHERE) <= KNOWN and len(others) == len(set(others))
    assert not {*others, *WITHOUT, *LIKEWISE} & KNOWN
    assert set(LIKEWISE.values()) <= set(WITHOUT) and not set(OURS) & {*WITHOUT, *LIKEWISE}


@pytest.mark.parametrize(
    ("option", "answer"),
    [
        ("--learning-rate", "Did you mean --rate?"),
        ("--lr=0.1", "Did you mean --rate?"),
        ("--imgsz", "Did you mean --image-size?"),
        ("--num_workers", "How many threads read is chosen by itself."),
        ("--ratee", "Did you mean --rate?"),
    ],
)
def test_an_option_of_another_tool_is_answered_with_ours(
    option: str, answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(tmp_path), option, "3"]) == 2
    assert f"Unknown option: {option.partition('=')[0]}. {answer}" in capsys.readouterr().err


def test_only_what_a_command_takes_is_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "m.gridcell", "a.png", "--learning-rate", "3"]) == 2
    assert "--rate" not in capsys.readouterr().err
    assert meant("learning_rate", ["seed"]) == ""


def test_python_is_answered_alike() -> None:
    with pytest.raises(ConfigError, match=r"learning_rate is not a setting\. Did you mean rate\?"):
        from_mapping(Path("a"), {"learning_rate": 0.1})
    with pytest.raises(ConfigError, match=r"num_classes is not a setting\. How many"):
        from_mapping(Path("a"), {"num_classes": 10})


@pytest.mark.parametrize(
    "options", [["--id", "who", "--time", "when"], ["--id=who", "--time=when"]]
)
def test_id_and_time_are_enough(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{n},{9 - t},{t * n},{'ab'[n % 2]}" for n in range(20) for t in range(3)]
    table = tmp_path / "a.csv"
    table.write_text("\n".join(["who,when,x,y", *rows]) + "\n")
    assert main(["inspect", str(table), *options, "--target", "y"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "column who says which, sorted by column when; numbers from x." in said
