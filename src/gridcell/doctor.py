"""What a careful person would say of a data set before an epoch is spent on it.

Each finding is one sentence. A warning is something that spoils what is learned or what the scores
say; a note is good to know.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gridcell.samples import (
    FILE_NOUNS,
    NOUNS,
    SPLIT_NAMES,
    TRAIN,
    UNASSIGNED,
    ClipFacts,
    ForecastFacts,
    ImageFacts,
    Samples,
    SeriesFacts,
    SoundFacts,
    TextFacts,
)
from gridcell.sources.wording import counted, listed, shown, with_count

IMBALANCE_RATIO = 3.0
TINY_CLASS_ITEMS = 10
# A family is what is left of a file's name without its last number, p01 of p01_1 and p01_2; or a
# word with a number that something follows, p01 of p01_left and p01_right.
FAMILY = re.compile(r"(.*[^\W_])[ _.-]+\d+|([^\W\d_]+\d+)[ _.-]+.+")
FAMILY_SHARE = 0.8
# A fact of the files gives a class away if what it says is true of half the class at least, and of
# hardly anything else; and is not said of a handful of files only, or for most of all items anyway.
GIVEN_AWAY_PURITY = 0.95
GIVEN_AWAY_SHARE = 0.5
GIVEN_AWAY_ELSEWHERE = 0.5
GIVEN_AWAY_ITEMS = 10
VALUE_ITEMS = 3
CONSTANT_SHARE = 1e-8


@dataclass(frozen=True)
class Finding:
    """One sentence on the data, and whether it is only good to know or should be acted on."""

    level: Literal["note", "warning"]
    text: str


def examine(samples: Samples, split: NDArray[np.int8] | None = None) -> list[Finding]:
    """Return what is worth knowing of the items and, with `split` [N], of who stands where.

    Warnings come first. Nothing is decoded here: sizes, durations and formats are those of the
    scan, and copies are known by what was decoded where it was (`Samples.contents`).
    """
    if isinstance(samples.facts, ForecastFacts):
        return _of_windows(samples.facts, split)
    findings = [
        *_classes(samples),
        *_labels(samples),
        *_duplicates(samples, split),
        *_groups(samples, split),
        *_families(samples, split),
        *_shapes(samples),
        *_giveaways(samples),
    ]
    return sorted(findings, key=lambda finding: finding.level == "note")


def without_content(
    samples: Samples, split: NDArray[np.int8], empty: Collection[str]
) -> list[Finding]:
    """Warn where most of the training items have nothing in them.

    empty   paths of items of one colour throughout, or silent
    """
    rows = np.flatnonzero(split == TRAIN).tolist()
    count = sum(samples.paths[row] in empty for row in rows)
    if 2 * count <= len(rows):
        return []
    every = "All" if count == len(rows) else f"{count:,} of the"
    what = "are of one colour throughout: nothing else of them can be learned"
    if isinstance(samples.facts, SoundFacts):
        what = "are silent: there is little in them to learn from"
    return [Finding("warning", f"{every} {len(rows):,} training items {what}.")]


def _classes(samples: Samples) -> list[Finding]:
    """Counts, imbalance, classes too small to judge, names that differ in case alone."""
    if samples.task != "classify":
        return []
    counts = np.bincount(samples.targets.astype(np.int64), minlength=len(samples.labels))
    order = np.argsort(-counts, kind="stable").tolist()
    named = [with_count(samples.labels[k], int(counts[k])) for k in order]
    findings = [
        Finding(
            "note",
            f"{counted(len(samples), 'item')} in {counted(len(named), 'class', 'classes')}: "
            f"{listed(named, most=20)}.",
        )
    ]
    most, least = order[0], order[-1]
    ratio = counts[most] / max(1, counts[least])
    if ratio > IMBALANCE_RATIO:
        findings.append(
            Finding(
                "warning",
                f"The largest class, {shown(samples.labels[most])} ({counts[most]:,}), has "
                f"{ratio:.3g} times as many items as the smallest, {shown(samples.labels[least])} "
                f"({counts[least]:,}): look at the recall of each class and not at accuracy alone, "
                "and consider --class-weights balanced.",
            )
        )
    tiny = [text for text, k in zip(named, order, strict=True) if counts[k] < TINY_CLASS_ITEMS]
    if tiny:
        have = "class has" if len(tiny) == 1 else "classes have"
        findings.append(
            Finding(
                "warning",
                f"{len(tiny):,} {have} fewer than {TINY_CLASS_ITEMS} items, too few to learn or to "
                f"judge: {listed(tiny[::-1])}.",
            )
        )
    folded = Counter(label.casefold() for label in samples.labels)
    alike = [label for label in samples.labels if folded[label.casefold()] > 1]
    if alike:
        findings.append(
            Finding(
                "warning",
                f"Classes that differ in upper and lower case alone are taken as different: "
                f"{listed(alike)}.",
            )
        )
    return findings


def _labels(samples: Samples) -> list[Finding]:
    """How often each of several labels is given, and those that never change."""
    if samples.task != "labels":
        return []
    counts = (samples.targets > 0).sum(axis=0)  # type: ignore[operator]
    named = [with_count(label, int(n)) for label, n in zip(samples.labels, counts, strict=True)]
    without = int((samples.targets == 0).all(axis=1).sum())
    have = "has" if without == 1 else "have"
    none = f"; {without:,} {have} none of them" if without else ""
    findings = [
        Finding("note", f"{counted(len(samples), 'item')}, labels: {listed(named, most=20)}{none}.")
    ]
    constant = [
        label for label, n in zip(samples.labels, counts, strict=True) if n in (0, len(samples))
    ]
    if constant:
        findings.append(
            Finding(
                "warning",
                f"Labels that are the same for every item teach nothing: {listed(constant)}.",
            )
        )
    return findings


def _duplicates(samples: Samples, split: NDArray[np.int8] | None) -> list[Finding]:
    """The same content more than once: under one answer, under two, on two sides of the split."""
    content = samples.contents
    sizes = np.bincount(content)
    if not (sizes > 1).any():
        return []
    answers = samples.targets.reshape(len(samples), -1)
    answer = np.unique(answers, axis=0, return_inverse=True)[1].reshape(-1)
    is_mixed = _spread(content, answer) > 1
    is_copied = (sizes > 1) & ~is_mixed

    def example(which: NDArray[np.bool_]) -> str:
        rows = np.flatnonzero(content == np.flatnonzero(which)[0]).tolist()
        return listed((samples.paths[row] for row in rows), most=3)

    noun, nouns = NOUNS[samples.kind]
    findings = []
    if is_mixed.any():
        mixed, files = int(is_mixed.sum()), int(sizes[is_mixed].sum())
        findings.append(
            Finding(
                "warning",
                f"{counted(mixed, f'{noun} stands', f'{nouns} stand')} under different answers "
                f"({counted(files, *FILE_NOUNS[samples.kind])}), of which at most one can be "
                f"right, for instance {example(is_mixed)}.",
            )
        )
    if is_copied.any():
        copies = int((sizes[is_copied] - 1).sum())
        file, several = FILE_NOUNS[samples.kind]
        is_are = f"{file} is a copy" if copies == 1 else f"{several} are copies"
        findings.append(
            Finding(
                "note",
                f"{copies:,} {is_are} of another one with the same answer, for instance "
                f"{example(is_copied)}.",
            )
        )
    if split is not None:
        astride = _spread(content[split != UNASSIGNED], split[split != UNASSIGNED], len(sizes)) > 1
        if torn := int(astride.sum()):
            findings.append(
                Finding(
                    "warning",
                    f"{counted(torn, f'{noun} stands', f'{nouns} stand')} on more than one side of "
                    f"the split ({_sides(content, split, astride)}), so scores are too good; for "
                    f"instance {example(astride)}.",
                )
            )
    return findings


def _groups(samples: Samples, split: NDArray[np.int8] | None) -> list[Finding]:
    """Groups that stand on more than one side of the split."""
    if samples.groups is None or split is None:
        return []
    is_in = split != UNASSIGNED
    astride = _spread(samples.groups[is_in], split[is_in], len(samples.group_names)) > 1
    if not astride.any():
        return []
    names = [samples.group_names[number] for number in np.flatnonzero(astride)]
    stand = "group stands" if len(names) == 1 else "groups stand"
    return [
        Finding(
            "warning",
            f"{len(names):,} {stand} on more than one side of the split "
            f"({_sides(samples.groups, split, astride)}), so scores are too good: "
            f"{listed(names, most=6)}.",
        )
    ]


def _families(samples: Samples, split: NDArray[np.int8] | None) -> list[Finding]:
    """File names that come in families, which may be one patient, speaker or recording each."""
    # Rows of an array or table are numbered, which says nothing.
    is_array = isinstance(samples.facts, ImageFacts) and samples.facts.pixels is not None
    is_file = not is_array and not any("#" in path for path in samples.paths[:1])
    if samples.groups is not None or not is_file or not len(samples):
        return []
    stems = [_stem(path) for path in samples.paths]
    matches = [FAMILY.fullmatch(stem) for stem in stems]
    names = [(m[1] or m[2]) if m else f"\0{row}" for row, m in enumerate(matches)]
    families, family, sizes = np.unique(names, return_inverse=True, return_counts=True)
    is_family = sizes > 1
    members = int(sizes[is_family].sum())
    count = int(is_family.sum())
    # cat_1, cat_2, dog_1 are numbered by class, and IMG_1, IMG_2 by a camera: no families in that.
    # Families are more than the classes, and more than one to a folder.
    folders = len({path.rpartition("/")[0] for path in samples.paths})
    if members < FAMILY_SHARE * len(samples) or count <= max(2, len(samples.labels), folders):
        return []
    first = int(np.flatnonzero(is_family)[0])
    example = [stems[row] for row in np.flatnonzero(family == first)[:2].tolist()]
    text = (
        f"File names come in {count:,} families, such as {listed(example)}: if a family is one "
        f"patient, object or recording, {_how_to_group(stems, names)}, so that none stands on two "
        "sides of the split"
    )
    if split is not None:
        is_in = split != UNASSIGNED
        torn = int(((_spread(family[is_in], split[is_in], len(families)) > 1) & is_family).sum())
        text += f" ({torn:,} do)"
    return [Finding("warning", text + ".")]


def _how_to_group(stems: Sequence[str], families: Sequence[str]) -> str:
    """Say how to tell of families: by a pattern of names that gives just these, if there is one."""
    for mark in "_-. ":
        found = [stem.split(mark, 1)[0] for stem in stems]
        if all(mark in stem for stem in stems) and found == list(families):
            return f"say so with --group '{{family}}{mark}*'"
    return (
        "say where it stands in the names with --group, as in '{patient}_*', or name a column of a "
        "table of paths"
    )


def _shapes(samples: Samples) -> list[Finding]:
    """What the headers say of the files' sizes, durations and formats."""
    facts = samples.facts
    if not len(samples):
        return []
    if isinstance(facts, ImageFacts):
        texts = [_sizes(samples, facts.sizes), *_modes(facts)]
    elif isinstance(facts, SoundFacts):
        texts = [
            _durations(samples, facts.seconds),
            f"Rates: {_counts(facts.rates, '{} Hz'.format)}.",
            f"Channels: {_counts(facts.channels, _channels)}.",
            *_formats(facts.formats),
        ]
    elif isinstance(facts, SeriesFacts):
        texts = [_lengths(samples, facts.starts, "step"), *_missing(facts)]
    elif isinstance(facts, TextFacts):
        texts = [_lengths(samples, facts.starts, "character")]
    elif isinstance(facts, ClipFacts):
        texts = [
            _sizes(samples, facts.sizes),
            _durations(samples, facts.seconds),
            *_formats(facts.formats),
        ]
    else:
        texts = []
    return [Finding("note", text) for text in texts]


def _sizes(samples: Samples, sizes: NDArray[np.int32]) -> str:
    noun = NOUNS[samples.kind][0]
    heights, widths = sizes[:, 0].astype(np.int64), sizes[:, 1].astype(np.int64)
    area = heights * widths
    small, large = int(np.argmin(area)), int(np.argmax(area))
    if (heights == heights[0]).all() and (widths == widths[0]).all():
        return f"All {noun}s are {heights[0]}x{widths[0]} pixels (height x width)."
    return (
        f"{noun.capitalize()} sizes (height x width): smallest {heights[small]}x{widths[small]} "
        f"({shown(samples.paths[small])}), largest {heights[large]}x{widths[large]} "
        f"({shown(samples.paths[large])}), median {np.median(heights):.0f}x"
        f"{np.median(widths):.0f}."
    )


def _lengths(samples: Samples, starts: NDArray[np.int64], unit: str) -> str:
    counts = np.diff(starts)
    short, long = int(np.argmin(counts)), int(np.argmax(counts))
    if counts[short] == counts[long]:
        return f"Lengths: all {counted(int(counts[short]), unit)}."
    return (
        f"Lengths: shortest {counted(int(counts[short]), unit)} ({shown(samples.paths[short])}), "
        f"median {np.median(counts):,.0f}, longest {counts[long]:,} "
        f"({shown(samples.paths[long])})."
    )


def _missing(facts: SeriesFacts) -> list[str]:
    """How many numbers are missing, by column."""
    gone = np.isnan(facts.values).sum(0)
    names = facts.columns if facts.form != "wide" else ("value",)
    said = [f"{shown(name)} {n:,}" for name, n in zip(names, gone, strict=True) if n]
    return [f"Missing numbers: {listed(said)}."] if said else []


def _of_windows(facts: ForecastFacts, split: NDArray[np.int8] | None) -> list[Finding]:
    """Columns that never move over the training steps, and how many numbers are missing."""
    firsts = facts.firsts if split is None else facts.firsts[split == TRAIN]
    edges = np.zeros(len(facts.values) + 1, np.int64)
    np.add.at(edges, firsts, 1)
    np.add.at(edges, firsts + facts.past + facts.horizon, -1)
    used = facts.values[np.cumsum(edges)[:-1] > 0]
    findings = []
    for name, column in zip(facts.columns, used.T, strict=True):
        known = column[~np.isnan(column)].astype(np.float64)
        # Near-constant is constant: what is left is rounding.
        if len(known) and known.std() <= CONSTANT_SHARE * abs(known.mean()):
            text = f"Column {shown(name)} has one value in all training steps and teaches nothing."
            findings.append(Finding("warning", text))
    gone = np.isnan(facts.values).sum(0)
    said = [f"{shown(name)} {n:,}" for name, n in zip(facts.columns, gone, strict=True) if n]
    if said:
        findings.append(Finding("note", f"Missing numbers: {listed(said)}."))
    return findings


def _modes(facts: ImageFacts) -> list[str]:
    if not len(facts.modes):
        return []
    count, colours = len(facts.colours), int(facts.colours.sum())
    if colours in (0, count):
        said = "all grey" if not colours else "all colour"
    else:
        said = f"{colours:,} colour and {count - colours:,} grey, all read as colour"
    return [f"Pixel formats: {_tallied(facts.modes)}; {said}."]


def _formats(formats: NDArray[np.bytes_]) -> list[str]:
    return [f"File formats: {_tallied(formats)}."] if len(formats) else []


def _tallied(formats: NDArray[np.bytes_]) -> str:
    """List the formats and how many files have each, the most frequent first."""
    counts = Counter(name.decode() for name in formats.tolist())
    return _listed_counts(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _durations(samples: Samples, seconds: NDArray[np.float64]) -> str:
    known = np.flatnonzero(~np.isnan(seconds))
    unknown = len(seconds) - len(known)
    if not len(known):
        return "Durations: no header says any."
    short = int(known[np.argmin(seconds[known])])
    long = int(known[np.argmax(seconds[known])])
    if seconds[short] == seconds[long]:
        text = f"Durations: all {_seconds(seconds[short])}"
    else:
        text = (
            f"Durations: shortest {_seconds(seconds[short])} ({shown(samples.paths[short])}), "
            f"median {_seconds(float(np.median(seconds[known])))}, "
            f"longest {_seconds(seconds[long])} ({shown(samples.paths[long])})"
        )
    return text + (f"; {unknown:,} headers do not say." if unknown else ".")


def _giveaways(samples: Samples) -> list[Finding]:
    """Facts of the files, not of what is heard or seen, that tell the class."""
    facts = samples.facts
    if samples.task != "classify" or not len(samples):
        return []
    told: list[tuple[str, NDArray[np.generic], Callable[[Any], str]]] = []
    if isinstance(facts, SoundFacts):
        told += [
            ("sample rate", facts.rates, "{} Hz".format),
            ("number of channels", facts.channels, _channels),
        ]
    if isinstance(facts, ClipFacts):
        sides = facts.sizes.astype(np.int64)
        told.append(("frame size", sides[:, 0] * 2**32 + sides[:, 1], _side_by_side))
    if isinstance(facts, SeriesFacts):
        told.append(("number of steps", np.diff(facts.starts), str))
    if isinstance(facts, SoundFacts | ClipFacts):
        told.append(("duration", np.round(facts.seconds, 3), _seconds))
    return [
        Finding(
            "warning",
            f"The {name} tells the class ({listed(classes, most=4)}), so a network may learn how "
            "the files were made, and the scores would not show it.",
        )
        for name, values, said in told
        if (classes := _given_away(samples, values, said))
    ]


def _given_away(
    samples: Samples, values: NDArray[np.generic], said: Callable[[Any], str]
) -> list[str]:
    """Return the classes that a fact gives away, each with its figures; `values` [N].

    A value speaks for a class if nearly all of its items are of that class.
    """
    distinct, value = np.unique(values, return_inverse=True, equal_nan=True)
    value = value.reshape(-1)
    targets = samples.targets.astype(np.int64)
    counts = np.zeros((len(distinct), len(samples.labels)), np.int64)
    np.add.at(counts, (value, targets), 1)
    items, total = counts.sum(1), counts.sum(0)
    is_pure = (counts >= GIVEN_AWAY_PURITY * items[:, None]) & (items >= VALUE_ITEMS)[:, None]
    lines = []
    for label in range(len(samples.labels)):
        pure = is_pure[:, label]
        have, others = int(counts[pure, label].sum()), int(items[~pure].sum())
        if have < max(GIVEN_AWAY_ITEMS, GIVEN_AWAY_SHARE * total[label]) or not others:
            continue
        if counts[~pure, label].sum() > GIVEN_AWAY_ELSEWHERE * others:
            continue
        wrong = int(items[pure].sum()) - have
        which = " or ".join(said(distinct[row]) for row in np.flatnonzero(pure)[:3].tolist())
        more = int(pure.sum()) - 3
        which += f" or {counted(more, 'other value')}" if more > 0 else ""
        lines.append(
            f"{which}: {have:,} of {total[label]:,} {samples.labels[label]} and {wrong:,} of "
            f"{len(targets) - total[label]:,} others"
        )
    return lines


def _counts(values: NDArray[np.generic], said: Callable[[Any], str]) -> str:
    """List the values and how many files have each, the most frequent first."""
    distinct, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable").tolist()
    return _listed_counts([(said(distinct[row]), int(counts[row])) for row in order])


def _listed_counts(pairs: Iterable[tuple[str, int]]) -> str:
    return listed((f"{name} {count:,}" for name, count in pairs), most=20)


def _channels(count: int) -> str:
    return {1: "mono", 2: "stereo"}.get(int(count), f"{count} channels")


def _seconds(seconds: float) -> str:
    if np.isnan(seconds):
        return "unknown duration"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:,.0f} s"


def _side_by_side(packed: int) -> str:
    return f"{packed >> 32}x{packed & 0xFFFFFFFF} pixels"


def _spread(
    keys: NDArray[np.int64], values: NDArray[np.generic], count: int | None = None
) -> NDArray[np.int64]:
    """Return for each key 0 .. count - 1 how many different values it meets."""
    pairs = np.unique(np.stack([keys, values.astype(np.int64)], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=count or 0)


def _sides(keys: NDArray[np.int64], split: NDArray[np.int8], astride: NDArray[np.bool_]) -> str:
    """Say on which sides the astride keys stand, with their items."""
    rows = astride[keys]
    counts = [(name, int((rows & (split == side)).sum())) for side, name in enumerate(SPLIT_NAMES)]
    return ", ".join(f"{count:,} in {name}" for name, count in counts if count)


def _stem(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name
