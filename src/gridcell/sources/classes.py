"""Class names as numbers, and what any set of classes must fulfil to be learned."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import SourceError
from gridcell.samples import SPLIT_NAMES, TEST, TRAIN, UNASSIGNED, VALID
from gridcell.sources.wording import counted, listed, shown

Purpose = Literal["train", "score"]
"""What data are read for. To train needs different answers and training rows; to score a model, one
labelled item will do."""


def encode(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the different names, sorted, and for each item the place of its name among them.

    >>> labels, numbers = encode(["u\\u0308ber", "\\u00fcber", "ab"])
    >>> labels, numbers.tolist()
    (('ab', 'über'), [1, 1, 0])
    """
    forms = {name: composed(name) for name in set(names)}
    labels = tuple(sorted(set(forms.values())))
    place = {label: number for number, label in enumerate(labels)}
    return labels, np.fromiter((place[forms[name]] for name in names), np.int64, len(names))


def composed(name: str) -> str:
    """A name with each accent and its letter as one character (Unicode's form NFC).

    Some file systems write them as two, and what looks the same is to be the same class.
    """
    return unicodedata.normalize("NFC", name)


def settle(
    labels: tuple[str, ...],
    targets: NDArray[np.int64],
    *,
    where: str,
    fix: str,
    purpose: Purpose = "train",
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return labels and targets without the classes that have no item.

    Raises   SourceError if fewer than two classes are left to train on, or none to score; it names
             `where` and carries `fix`
    """
    used, targets = np.unique(targets, return_inverse=True)
    left = tuple(labels[number] for number in used)
    least = 2 if purpose == "train" else 1
    if len(left) < least:
        found = f"only {shown(left[0])}" if left else "none"
        needed = f"{counted(least, 'class is', 'classes are')} needed"
        raise SourceError(f"{where}: at least {needed}, {found} was found.", fix=fix)
    return left, targets.astype(np.int64)


def check_given(
    labels: tuple[str, ...],
    targets: NDArray[np.generic],
    given: NDArray[np.int8],
    *,
    where: str,
    purpose: Purpose = "train",
) -> None:
    """Refuse a split of the data's own that has no training items, or not of every label.

    `targets` are class numbers [N], or 0 and 1 [N, K] for several labels; without `labels`
    (numbers to learn) there is only the first thing to check. Neither matters to score a model that
    was trained elsewhere.

    Raises   SourceError that names the labels never seen in training
    """
    if purpose == "score" or not (given != UNASSIGNED).any():
        return
    trains = (given == TRAIN) | (given == UNASSIGNED)
    if not trains.any():
        raise SourceError(
            f"{where}: nothing to train on; every item is given to "
            f"{listed(SPLIT_NAMES[side] for side in np.unique(given))}.",
            fix="add a train split, or take the split names away so that one is drawn.",
        )
    hits = targets > 0 if targets.ndim == 2 else None  # type: ignore[operator]

    def count(label: int, rows: NDArray[np.bool_]) -> int:
        is_label = targets == label if hits is None else hits[:, label]
        return int((is_label & rows).sum())

    unseen = []
    for number, label in enumerate(labels):
        others = [
            f"{counted(found, 'item')} in {SPLIT_NAMES[side]}"
            for side in (VALID, TEST)
            if (found := count(number, given == side))
        ]
        if others and not count(number, trains):
            unseen.append(f"{shown(label)} ({', '.join(others)})")
    if unseen:
        verb = "is a label" if len(unseen) == 1 else "are labels"
        raise SourceError(
            f"{where}: {', '.join(unseen)} {verb} never seen in training.",
            fix="add training items of it, or take it out of the other splits.",
        )
