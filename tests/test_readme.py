"""What README and docs show is run, and what they say is there is there."""

import re
import shlex
from pathlib import Path

import pytest

from gridcell import demo, networks
from gridcell.axes import Layout
from gridcell.cli import app, main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
NOTATION = (ROOT / "docs" / "notation.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    demo.write_digits(Path("digits"))
    found = blocks(README, "python")
    assert found
    for code in found:
        exec(compile(code, "README.md", "exec"), {})
    *said, accuracy, answer = capsys.readouterr().out.strip().splitlines()
    assert any(line.startswith("calibration error  ") for line in said)
    assert 0.5 < float(accuracy) <= 1
    assert answer.split()[0] in "0123456789"


@pytest.mark.slow
def test_the_python_of_the_page_on_memory_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks((ROOT / "docs" / "memory.md").read_text(), "python")
    assert found
    for code in found:
        exec(compile(code, "memory.md", "exec"), {})
    assert list(tmp_path.glob("*.svg"))


def test_every_command_of_the_readme_is_one_that_gridcell_takes() -> None:
    lines = [line for block in blocks(README, "console") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("gridcell ")]
    assert len(commands) >= 6
    for line in commands:
        app.parse_args(shlex.split(line, comments=True)[1:], exit_on_error=False, print_error=False)


def test_the_first_command_installs_and_runs_and_the_second_is_the_check() -> None:
    first, second, *_ = blocks(README, "console")
    assert first.strip().endswith("gridcell demo digits")
    assert second.strip() == "./check"
    assert "./check" in (ROOT / ".ci" / "run").read_text()


def test_every_network_of_readme_and_notation_can_be_built() -> None:
    lines = [line for block in blocks(README, "text") for line in block.splitlines()]
    lines += re.findall(r"^    ((?:conv|parallel)\(.*)$", NOTATION, re.M)
    assert len(lines) >= 4
    sound, image = Layout(1, (40,), steps=None), Layout(3, (32, 32), steps=1)
    series, text = Layout(9), Layout(1, vocabulary=50)
    for line in lines:
        layout = image
        if "embed" in line:
            layout = text
        elif "time=" in line:  # what has time has a kernel over it, what has a grid another
            layout = sound if re.search(r"conv\(\d+, \d", line) else series
        assert networks.build(line, layout, outputs=10).parameters_count


def test_every_layer_has_a_place_in_the_notation_page() -> None:
    for name in networks.notation.SIGNATURES:
        assert f"`{name}" in NOTATION, name


def test_the_refusal_in_the_notation_page_is_what_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = re.search(r"^    \$ gridcell (.*)\n((?:    .*\n)+)", NOTATION, re.M)
    assert shown is not None
    assert main(shlex.split(shown[1])) == 2
    printed = capsys.readouterr().err
    assert printed.split() == shown[2].split()


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} -> {target}"
