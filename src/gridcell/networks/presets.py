"""Presets: from a name and the sizes of the data to a network's notation.

A preset is nothing but text, so what it chose can be read, changed and given back with --net.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gridcell.axes import Layout
from gridcell.errors import NetworkError, did_you_mean
from gridcell.layers.window import times
from gridcell.networks.notation import SIGNATURES, Spec, parse, write
from gridcell.networks.presets_of_forecasts import of_forecasts
from gridcell.networks.presets_of_steps import Choice, of_steps, spelled, writer

LARGEST_SMALL_SIDE = 64
SMALLEST_WHITENED_SIDE, LARGEST_WHITENED_SIDE, LARGEST_LAST_SIDE = 16, 40, 3
MOST_STEPS_OF_A_WORD = 150
"""Measured on validation rows: of environmental sounds of 250 steps a CNN alone names 88 %, with an
LSTM behind it 78 %, and 89 to 90 % with its convolutions in pairs; of spoken digits of 40 steps by
a new speaker 92 and 93 %."""


def choose_network(
    net: str,
    layout: Layout,
    *,
    steps: int | None = None,
    is_each: bool = False,
    is_onward: bool = False,
    is_spelled: bool = False,
    is_forecast: bool = False,
    is_mirrored: bool = False,
    embedding: int | None = None,
) -> Choice:
    """Return the notation that a preset's name stands for; notation is returned as it is.

    steps     of a usual item, where items differ in their number of steps
    is_each   whether every step is to have an answer of its own
    is_spelled whether the steps of a text are its letters
    is_onward whether it must be given before what comes later is known
    is_forecast whether items are windows whose next steps are wanted
    is_mirrored whether a mirrored picture means the same
    embedding numbers that stand for a word, where vectors that others trained say how many

    >>> choose_network("conv(8, 3) relu", Layout(1, (28, 28), steps=1)).notation
    'conv(8, 3) relu'
    """
    check_name(net)
    name = net.strip()
    if is_forecast and name in PRESETS:
        return of_forecasts(name)
    if is_onward and name in ("auto", "lstm"):
        return writer(embedding)
    if name in ("auto", "resnet") and layout.steps == 1 and layout.grid and is_mirrored:
        plain = choose_network(name, layout, is_each=is_each)
        told = f"{plain.reason}; answers are means over a picture and its mirror image"
        return Choice(f"mirrored({plain.notation})", told)
    if name == "auto":
        return _auto(layout, steps, is_each=is_each, is_spelled=is_spelled, embedding=embedding)
    if name in PRESETS and not layout.grid:
        return of_steps(name, layout, is_each=is_each, embedding=embedding)
    if is_each and name in ("cnn", "crnn"):
        return _each(layout, has_lstm=name == "crnn")
    return PRESETS[name](layout) if name in PRESETS else Choice(name, "as written")


def ensemble_of(alone: Choice, members: int) -> Choice:
    """Return an ensemble of so many of a network, inside the `reversible` that it may stand in.

    >>> ensemble_of(Choice("lstm(8) last", "as written"), 5).notation
    'ensemble(lstm(8) last, members=5)'
    """
    chain = parse(alone.notation)
    around = chain[-1]
    if len(chain) == 1 and around.name == "reversible":
        inside = Spec("ensemble", {"members": members}, around.chains)
        chain = (replace(around, chains=((inside,),)),)
    else:
        chain = (Spec("ensemble", {"members": members}, (chain,)),)
    return Choice(write(chain), f"{alone.reason}; the answer is the mean of {members} of it")


def check_name(net: str) -> None:
    """Raise NetworkError unless `net` is a preset's name or notation that can be read."""
    name = net.strip()
    if name in PRESETS:
        return
    is_word = name.isidentifier() and name not in SIGNATURES
    if is_word:
        near = did_you_mean(name, [*PRESETS, *SIGNATURES])
        raise NetworkError(f"{name} is neither a preset ({', '.join(PRESETS)}) nor a layer.{near}")
    parse(name)


def may_have_filters(net: str) -> bool:
    """Whether a network may have convolutions without groups; those of most presets follow from
    the data, and so does whether `residual` needs one to match sizes.

    >>> may_have_filters("parallel(conv(8, 3), relu)"), may_have_filters("conv(8, 3, groups=8)")
    (True, False)
    """
    name = net.strip()
    if name in PRESETS:
        return name not in WITHOUT_FILTERS
    return any(map(_has_filters, parse(name)))


def _has_filters(spec: Spec) -> bool:
    if spec.name == "residual":
        return True
    is_whole = spec.name == "conv" and spec.options.get("groups", 1) == 1
    return is_whole or any(_has_filters(inner) for chain in spec.chains for inner in chain)


def _tiny(layout: Layout) -> Choice:
    pool = " maxpool(2)" if min(layout.grid) >= 8 else ""
    return Choice(
        f"conv(16, 3) batchnorm relu{pool} conv(32, 3) batchnorm relu globalpool",
        "the tiny preset: two convolutions",
    )


def _lenet(layout: Layout) -> Choice:
    """Two convolutions and a dense layer, of whose units many die without a batchnorm.

    Without and with it, on validation rows, seeds 0 to 2: from 450 photos of clothes, 32x32, 58.7,
    56.6, 57.2 and 61.3, 59.2, 61.3 %; from 100 of them 32.8, 29.3, 29.9 and 33.4, 31.4, 32.6 %;
    from 1,500 pictures of Fashion-MNIST 90.0, 88.0, 88.7 and 90.0, 90.7, 90.7 %.
    """
    pool = " maxpool(2)" if min(layout.grid) >= 8 else ""
    return Choice(
        f"conv(32, 3) relu conv(64, 3) relu{pool} flatten dense(128) batchnorm relu dropout(0.5)",
        "the lenet preset: two convolutions and a dense layer, after LeCun et al. 1998",
    )


def _resnet(layout: Layout) -> Choice:
    """A residual CNN: after He et al. 2016, at a size that two cores train in minutes."""
    if max(layout.grid) > LARGEST_SMALL_SIDE:
        return _resnet_of_photos()
    is_whitened = min(layout.grid) >= SMALLEST_WHITENED_SIDE and (
        max(layout.grid) <= LARGEST_WHITENED_SIDE
    )
    if layout.channels == 3 and is_whitened:
        return _whitened(layout)
    return _resnet_of_small_images(layout)


def _whitened(layout: Layout) -> Choice:
    """Whiten patches, then halve early: the work is where the channels are many (Jordan 2024)."""
    sides = [side - 1 for side in layout.grid]
    parts, width = ["whiten(2, padding=valid) gelu"], 64
    while min(sides) > LARGEST_LAST_SIDE:
        sides = [side // 2 for side in sides]
        parts.append(f"conv({width}, 3) maxpool(2) batchnorm gelu")
        parts.append(f"residual(conv({width}, 3) batchnorm gelu)")
        width = 256
    last = f"maxpool({times(sides)}) flatten"
    return Choice(" ".join([*parts, last]), "a residual CNN on whitened patches of small pictures")


def _resnet_of_small_images(layout: Layout) -> Choice:
    """Convolve, halve by pooling, widen; a residual pair in the first and last stage."""
    side = min(layout.grid)
    width = 24
    parts = [f"conv({width}, 3) batchnorm relu"]
    stages = min(3, max(0, side.bit_length() - 2))
    for stage in range(1, stages + 1):
        width *= 2
        parts.append(f"conv({width}, 3) batchnorm relu maxpool(2)")
        if stage in (1, stages):
            pair = f"conv({width}, 3) batchnorm relu conv({width}, 3) batchnorm relu"
            parts.append(f"residual({pair})")
    reason = f"a residual CNN of {stages} stages for small images"
    return Choice(" ".join([*parts, "globalpool"]), reason)


def _resnet_of_photos() -> Choice:
    """Shrink to a quarter first, since that is where the work is; then four residual stages."""
    parts = ["conv(32, 3, stride=2) batchnorm relu maxpool(2)"]
    for width in (32, 64, 128, 256):
        stride = "" if width == 32 else ", stride=2"
        pair = f"conv({width}, 3{stride}) batchnorm relu conv({width}, 3) batchnorm"
        parts.append(f"residual({pair}) relu")
    return Choice(" ".join([*parts, "globalpool"]), "a residual CNN of 4 stages for photographs")


def _crnn(layout: Layout) -> Choice:
    """A CNN looks at each step and its neighbours, an LSTM carries memory over them (S35)."""
    if layout.steps == 1:
        return _rows(layout)
    what = "the crnn preset: convolutions over each step and its neighbours, then an LSTM"
    return Choice(f"{_front(layout)} dropout(0.2) lstm(96, both) mean dropout(0.3)", what)


def _cnn(layout: Layout) -> Choice:
    """Convolutions over grid and time together, averaged over both."""
    if layout.steps == 1:
        return _resnet(layout)
    if len(layout.grid) > 1:
        what = "the cnn preset: convolutions over each step and its neighbours, averaged over time"
        return Choice(f"{_front(layout)} globalpool mean dropout(0.3)", what)
    # A scene may be heard all the time, and an event in it only once.
    what = "the cnn preset: pairs of convolutions over time and frequency, their mean and maximum"
    return Choice(
        f"{_front(layout, depth=2)} globalpool parallel(mean, max) dropout(0.3)",
        what,
    )


def _front(layout: Layout, *, pools_time: bool = True, depth: int = 1) -> str:
    """Convolve over grid and time, halve the grid, widen: for sounds halve the time as well.

    Of clips what moves stands beside what is seen. On 96 clips in which people fight or do not, in
    four folds by source, seeds 0 and 1: 75.0 and 74.0 % with it, 65.6 and 72.9 % without.
    """
    is_sound = len(layout.grid) == 1
    pool = "maxpool(2, time=2)" if is_sound and pools_time else "maxpool(2)"
    widths = (32, 64, 96, 128) if is_sound else (16, 32, 64, 96)
    side = min(layout.grid)
    stages = min(len(widths), max(1, side.bit_length() - 2))
    # A single place has no half.
    pools = f" {pool}" if side > 1 else ""
    parts = [
        " ".join([f"conv({width}, 3, time=3) batchnorm relu"] * depth) + pools
        for width in widths[:stages]
    ]
    return " ".join(parts if is_sound else ["delta batchnorm", *parts, "globalpool"])


def _each(layout: Layout, *, has_lstm: bool) -> Choice:
    """As cnn and crnn, but for an answer at every step."""
    reason = f"the {'crnn' if has_lstm else 'cnn'} preset, with an answer at every step"
    memory = "flatten lstm(96, both) " if has_lstm else "flatten dense(128) relu "
    return Choice(f"{_front(layout, pools_time=False)} dropout(0.2) {memory}dropout(0.3)", reason)


def _auto(
    layout: Layout,
    steps: int | None = None,
    *,
    is_each: bool = False,
    is_spelled: bool = False,
    embedding: int | None = None,
) -> Choice:
    """Images: a residual CNN. Long sounds are scenes, where the order of things says little."""
    if not layout.grid:
        short = spelled(steps, embedding) if is_spelled and not is_each else None
        if short is not None:
            return short
        name = "lstm" if layout.vocabulary or is_each else "lstm_fcn"
        choice = of_steps(name, layout, is_each=is_each, embedding=embedding)
        return Choice(choice.notation, f"auto took {choice.reason}")
    if is_each:
        choice = _each(layout, has_lstm=True)
        return Choice(choice.notation, f"auto took {choice.reason}")
    if layout.steps == 1:
        choice = _resnet(layout)
        return Choice(choice.notation, f"auto took {choice.reason}")
    if len(layout.grid) == 1 and (steps or 0) > MOST_STEPS_OF_A_WORD:
        choice, why = _cnn(layout), f"items of {steps:,} steps are scenes, in any order"
    else:
        choice, why = _crnn(layout), "the order of the steps may matter"
    return Choice(choice.notation, f"auto took {choice.reason} ({why})")


def _of_windows(layout: Layout) -> Choice:
    raise NetworkError(
        "that preset forecasts, and nothing says how many steps.",
        fix="give a --horizon, or name another preset.",
    )


def _of_series(layout: Layout) -> Choice:
    raise NetworkError(
        "that preset reads series or texts, and these are neither.",
        fix="name another preset, for instance --net cnn.",
    )


def _rows(layout: Layout) -> Choice:
    if layout.steps != 1:
        raise NetworkError(
            "the preset rows reads one image row by row, and these are sequences.",
            fix="name another preset, for instance --net crnn.",
        )
    return Choice(
        "rows flatten lstm(128, both) last dropout(0.2)",
        "the rows preset: an LSTM that reads the image row by row, both ways",
    )


PRESETS: dict[str, Callable[[Layout], Choice]] = {
    "auto": _auto,
    "tiny": _tiny,
    "lenet": _lenet,
    "resnet": _resnet,
    "rows": _rows,
    "cnn": _cnn,
    "crnn": _crnn,
    "lstm": _of_series,
    "lstm_fcn": _of_series,
    "inception": _of_series,
    "forecast": _of_windows,
    "linear": _of_windows,
}
WITHOUT_FILTERS = ("rows", "lstm", "linear")
"""Presets without a convolution, whatever the data."""
