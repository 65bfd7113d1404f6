"""Plots: what is drawn is what was measured, the same every time, or a refusal that says why."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gridcell import plots
from gridcell.cache import write_whole
from gridcell.errors import ConfigError, MissingExtraError, ShapeError, StorageError

SVG = "{http://www.w3.org/2000/svg}"
FALLING = {"lstm": torch.logspace(0, -3, 50), "plain rnn": np.logspace(0, -12, 50)}


def texts(path: Path) -> list[str]:
    """Every line of letters in an SVG."""
    return ["".join(text.itertext()) for text in ElementTree.parse(path).iter(f"{SVG}text")]


def curves(path: Path) -> dict[str, list[NDArray[np.float64]]]:
    """The unbroken pieces of the line in each colour, inside the axes, as places [points, 2]."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    for each in ElementTree.parse(path).iter(f"{SVG}path"):
        colour = re.search(r"stroke: (#[0-9a-f]{6})", each.get("style", ""))
        if colour is None or each.get("clip-path") is None or colour[1] == "#dddddd":
            continue
        pieces = [re.findall(r"[\d.]+ [\d.]+", piece) for piece in each.get("d", "").split("M")]
        found[colour[1]] = [
            np.array([p.split() for p in piece], float) for piece in pieces if piece
        ]
    return found


def test_lines_are_where_the_values_are(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    # Two that fall by constant shares are two straight lines, the second falling twice as fast.
    plots.gradient_by_distance({"a": 0.5 ** torch.arange(9), "b": 0.25 ** np.arange(9)}, path)
    slopes = []
    for pieces in curves(path).values():
        (line,) = pieces
        slope = np.polyfit(*line.T, 1)
        np.testing.assert_allclose(np.polyval(slope, line[:, 0]), line[:, 1], atol=0.01)
        slopes.append(slope[0])
    assert len(slopes) == 2
    assert slopes[1] == pytest.approx(2 * slopes[0], rel=1e-3)


def test_title_axes_and_networks_are_named(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    plots.gradient_by_distance(FALLING, path)
    shown = texts(path)
    assert "How much the last output depends on the input k steps before it" in shown
    assert "distance k, in steps" in shown
    assert any(text.startswith("size of the gradient") for text in shown)
    assert {"lstm", "plain rnn"} <= set(shown)


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    names = ["_hidden", "$x_$ & <b>", "50 % \\frac"]
    plots.gradient_by_distance({name: torch.ones(3) for name in names}, path)
    assert set(names) <= set(texts(path))


def test_a_png_has_every_colour_and_is_no_blank_page(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "plot.PNG"
    plots.gradient_by_distance(FALLING, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for colour in plots.COLOURS[:2]:
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert (pixels == wanted).all(1).sum() > 500


def test_lines_differ_without_colour(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    plots.gradient_by_distance(
        {str(number): torch.ones(2) * number for number in range(1, 5)}, path
    )
    styles = [
        re.search(r"stroke-dasharray: ([\d., ]+)", path.get("style", ""))
        for path in ElementTree.parse(path).iter(f"{SVG}path")
        if path.get("clip-path") and "#dddddd" not in path.get("style", "")
    ]
    assert len({style and style[1] for style in styles}) == 4


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_same_values_give_the_same_bytes(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / f"one.{ending}", tmp_path / f"other.{ending}"
    plots.gradient_by_distance(FALLING, one)
    # Neither another day nor a style of the user's own changes them.
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "svg.hashsalt": "x"}):
        plots.gradient_by_distance(FALLING, other)
        assert matplotlib.rcParams["font.size"] == 30
    assert one.read_bytes() == other.read_bytes()


def test_pyplot_is_left_alone(tmp_path: Path) -> None:
    before, settings = set(sys.modules), settings_of_matplotlib()
    plots.gradient_by_distance(FALLING, tmp_path / "plot.svg")
    assert "matplotlib.pyplot" not in set(sys.modules) - before
    assert settings_of_matplotlib() == settings


def settings_of_matplotlib() -> dict[str, object]:
    """All but the backend: to read that loads pyplot."""
    return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}


def test_what_has_no_place_on_a_log_axis_is_a_gap_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    values = np.array([4.0, 2.0, 0.0, 1.0, 0.5, 0.2, np.nan, np.inf, 0.1])
    plots.gradient_by_distance({"rnn": values}, path)
    assert "rnn (0 at 1, not finite at 2 of 9 distances: not drawn)" in texts(path)
    (pieces,) = curves(path).values()
    assert [len(piece) for piece in pieces if len(piece) > 1] == [2, 3]
    # The last value stands between a gap and the end: a dot, since it is no line.
    assert len(list(ElementTree.parse(path).iter(f"{SVG}use"))) == 1 + marks_of_axes(path)


def marks_of_axes(path: Path) -> int:
    """How many ticks there are: they are drawn as marks, like dots."""
    groups = ElementTree.parse(path).iter(f"{SVG}g")
    return sum(
        len(list(group.iter(f"{SVG}use")))
        for group in groups
        if group.get("id", "").startswith("matplotlib.axis")
    )


@pytest.mark.parametrize("values", [torch.zeros(3), torch.ones(1), torch.full((2,), torch.nan)])
def test_even_nothing_to_see_is_drawn_without_complaint(
    values: torch.Tensor, tmp_path: Path
) -> None:
    plots.gradient_by_distance({"rnn": values}, tmp_path / "plot.svg")
    assert any(text.startswith("rnn") for text in texts(tmp_path / "plot.svg"))


def test_a_long_name_is_shown_whole(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    name = " ".join(f"word{number}" for number in range(40))
    plots.gradient_by_distance({name: torch.ones(3)}, path)
    assert name in " ".join(texts(path))


def test_values_that_need_gradients_or_are_half_precise_are_read(tmp_path: Path) -> None:
    values = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    plots.gradient_by_distance({"rnn": values}, tmp_path / "plot.svg")
    assert values.requires_grad


@pytest.mark.parametrize("name", ["plot.pdf", "plot", "svg"])
def test_another_kind_of_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none that can be drawn.*\n.*\.svg or \.png"):
        plots.gradient_by_distance(FALLING, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ({}, "one network or more; got none"),
        ({"rnn": torch.ones(2, 3)}, r"rnn has \(2, 3\)"),
        ({"rnn": torch.ones(0)}, r"one step or more; rnn has \(0,\)"),
        ({"rnn": torch.tensor([0.0, -2.0])}, "0 or more; rnn has -2 at distance 1"),
    ],
)
def test_what_are_no_sizes_is_refused(
    sizes: dict[str, torch.Tensor], text: str, tmp_path: Path
) -> None:
    with pytest.raises(ShapeError, match=text):
        plots.gradient_by_distance(sizes, tmp_path / "plot.svg")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named_and_the_old_one_stays(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", lambda file: None)
    with pytest.raises(StorageError, match=r"plot\.svg cannot be written"):
        plots.gradient_by_distance(FALLING, tmp_path / "file" / "plot.svg")


def test_without_matplotlib_the_message_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="drawn with matplotlib") as caught:
        plots.gradient_by_distance(FALLING, tmp_path / "plot.svg")
    assert "pip install 'gridcell[plots]'" in str(caught.value)
