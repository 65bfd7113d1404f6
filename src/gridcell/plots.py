"""Pictures of what was measured, as SVG or PNG files; matplotlib, an optional extra, draws them.

Nothing here measures: each function takes the values and a path. The same values give the same
bytes, whatever style the user has set for pictures of their own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridcell.cache import write_whole
from gridcell.errors import ConfigError, MissingExtraError, ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# What each kind of file says of itself besides the picture. The date would make every file differ.
METADATA: dict[str, dict[str, str | None]] = {".svg": {"Date": None}, ".png": {}}
DOTS_PER_INCH = 150
LEGEND_LETTERS = 84  # as many as fit beside a line sample
# Okabe & Ito's colours, which the colour-blind tell apart; their yellow is too pale for a line.
# There are five colours and four strokes, so that 20 lines differ in one or the other, and the
# first four in stroke alone, for print without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
STROKES = ("solid", "dashed", "dashdot", "dotted")


def gradient_by_distance(sizes: Mapping[str, Tensor | NDArray[np.floating]], path: Path) -> None:
    """Draw how the gradient's size falls with distance, one line a network, on a log axis.

    sizes       a name for the legend -> what `gridcell.layers.gradient_by_distance` gave
    path        where to write to; its ending, .svg or .png, says as what

    Shapes      each [steps] with steps of its own; the value at place k is of k steps back
    Raises      ConfigError for another ending; ShapeError where there is nothing to draw, or values
                that are no sizes; MissingExtraError without matplotlib; StorageError where `path`
                cannot be written

    A log axis has no place for 0, nor for what is not finite: the line has a gap there, and the
    legend says at how many distances. The file is there whole or not at all.
    """
    ending = path.suffix.lower()
    if ending not in METADATA:
        raise ConfigError(
            f"{path} should be a picture, but {ending or 'no ending'} is none that can be drawn.",
            fix="name a file that ends in .svg or .png.",
        )
    lines = {name: _checked(name, size) for name, size in sizes.items()}
    if not lines:
        raise ShapeError("A plot of gradients needs one network or more; got none.")
    with _our_style():
        figure, axes = _empty(
            title="How much the last output depends on the input k steps before it",
            across="distance k, in steps",
            upward="size of the gradient  |∂y(t) / ∂x(t−k)|",
        )
        axes.set_yscale("log")
        strokes = zip(cycle(COLOURS), cycle(STROKES), strict=False)
        drawn = [
            _draw_line(axes, values, label=_label(name, values), colour=colour, stroke=stroke)
            for (name, values), (colour, stroke) in zip(lines.items(), strokes, strict=False)
        ]
        _draw_legend(figure, drawn)
        # As far as the longest was measured, drawn or not; at least one step, or there is no axis.
        axes.set_xlim(0, max(1, *(len(values) - 1 for values in lines.values())))

        def write(file: BinaryIO) -> None:
            figure.savefig(file, format=ending[1:], dpi=DOTS_PER_INCH, metadata=METADATA[ending])

        write_whole(path, write)


def _checked(name: str, size: Tensor | NDArray[np.floating]) -> NDArray[np.float64]:
    if isinstance(size, Tensor):
        size = size.detach().to("cpu", torch.float64).numpy()
    values = np.asarray(size, np.float64)
    if values.ndim != 1 or not values.size:
        raise ShapeError(
            f"Sizes to plot must be [steps] with one step or more; {name} has {values.shape}."
        )
    if (values < 0).any():
        raise ShapeError(
            f"Sizes of gradients are 0 or more; {name} has {values[values < 0][0]:g} at distance "
            f"{int(np.argmax(values < 0))}.",
            fix="hand in what gridcell.layers.gradient_by_distance gave, not its logarithm.",
        )
    return values


def _label(name: str, values: NDArray[np.float64]) -> str:
    """The name, and at how many distances its line has a gap.

    >>> _label("rnn", np.array([1.0, 0.0, 0.0]))
    'rnn (0 at 2 of 3 distances: not drawn)'
    """
    counts = {"0": np.sum(values == 0), "not finite": np.sum(~np.isfinite(values))}
    gaps = [f"{what} at {count}" for what, count in counts.items() if count]
    if not gaps:
        return name
    return f"{name} ({', '.join(gaps)} of {len(values)} distances: not drawn)"


def _draw_line(
    axes: Axes, values: NDArray[np.float64], *, label: str, colour: str, stroke: str
) -> Line2D:
    is_drawn = np.isfinite(values) & (values > 0)
    (line,) = axes.plot(
        np.where(is_drawn, values, np.nan),
        label=label,
        color=colour,
        linestyle=stroke,
        linewidth=1.8,
    )
    # A point between two gaps is no line, and would not be seen without a dot.
    around = np.pad(is_drawn, 1)
    alone = np.flatnonzero(is_drawn & ~around[:-2] & ~around[2:])
    if alone.size:
        axes.plot(
            alone,
            values[alone],
            color=colour,
            marker="o",
            markersize=4,
            linestyle="none",
            clip_on=False,
        )
    return line


def _draw_legend(figure: Figure, lines: Sequence[Line2D]) -> None:
    """Below the picture: inside it, long names would lie on the lines."""
    legend = figure.legend(
        handles=lines,
        labels=[""] * len(lines),
        loc="outside lower left",
        frameon=False,
        handlelength=3.5,
    )
    for text, line in zip(legend.get_texts(), lines, strict=True):
        # Set afterwards, since a legend leaves out names that begin with _; $ is no formula here.
        text.set_parse_math(False)
        text.set_text(textwrap.fill(str(line.get_label()), LEGEND_LETTERS))


def _empty(*, title: str, across: str, upward: str) -> tuple[Figure, Axes]:
    """A figure that belongs to nobody's windows or pyplot, with axes that are named."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(across)
    axes.set_ylabel(upward)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


@contextmanager
def _our_style() -> Iterator[None]:
    """Set matplotlib's defaults and ours while a picture is drawn, and the user's again after."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError(
            "Plots are drawn with matplotlib, which is not installed.",
            fix="pip install 'gridcell[plots]'",
        ) from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # Letters stay letters, so that they can be searched and read aloud; a fixed salt gives the
        # parts of an SVG the same names every time.
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "gridcell"})
        yield
