"""What is said of files that are used though there is little in them, or only a part of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gridcell.samples import FILE_NOUNS, Kind
from gridcell.sources.sounds import ENDS
from gridcell.sources.wording import counted, listed, shown

What = Literal["blank", "silent", "damaged", "cut"]
TOLD: dict[What, tuple[str, str]] = {
    "blank": (
        "is of one colour throughout, as the network sees it",
        "are of one colour throughout, as the network sees them",
    ),
    "silent": ("is silent", "are silent"),
    "damaged": (
        "is damaged, and what can be decoded of it is used",
        "are damaged, and what can be decoded of them is used",
    ),
    "cut": ENDS,
}
EMPTY: tuple[What, ...] = ("blank", "silent")
"""Matters of files that have nothing in them."""
NAMED = 6


@dataclass(frozen=True)
class Remark:
    """What is the matter with a file, and the figures that belong to it.

    >>> print(Remark("damaged", "16 of 60 frames"))
    is damaged, and what can be decoded of it is used (16 of 60 frames)
    """

    what: What
    detail: str = ""

    def __str__(self) -> str:
        """The rest of a sentence that begins with the file's name."""
        return f"{TOLD[self.what][0]} ({self.detail})" if self.detail else TOLD[self.what][0]


def look_at(pixels: NDArray[np.uint8]) -> Remark | None:
    """Say whether pixels [N, H, W, C] are all of one colour, such as black."""
    each = pixels.reshape(-1, pixels.shape[-1])
    if (each[0] != each[len(each) // 2]).any():  # so with nearly all pictures, for 3 us
        return None
    return Remark("blank") if (each == each[0]).all() else None


def look_at_frames(frames: Sequence[NDArray[np.uint8]]) -> Remark | None:
    """Say what `look_at` does of frames [H, W, C] that lie apart, without a copy of them all."""
    first = frames[0]
    is_blank = look_at(first[None]) is not None
    is_blank = is_blank and all((frame == first[:1, :1]).all() for frame in frames[1:])
    return Remark("blank") if is_blank else None


def look_at_pictures(pixels: NDArray[Any]) -> dict[int, Remark]:
    """Say which of the pictures [N, H, W, C] are of one colour throughout."""
    height, width = pixels.shape[1:3]
    # The middle is that of the corner in few pictures, so few are looked at whole.
    is_likely = (pixels[:, 0, 0] == pixels[:, height // 2, width // 2]).all(1)
    found = {row: look_at(pixels[row : row + 1]) for row in np.flatnonzero(is_likely).tolist()}
    return {row: remark for row, remark in found.items() if remark is not None}


def told(remarks: Iterable[tuple[str, Remark]], kind: Kind) -> list[str]:
    """Return a sentence for each matter: how many files have it, and the first of them."""
    every, sentences = list(remarks), []
    for what, (one, several) in TOLD.items():
        named = [_named(path, remark) for path, remark in every if remark.what == what]
        if named:
            file, files = FILE_NOUNS[kind]
            verb = one if len(named) == 1 else several
            sentences.append(
                f"{counted(len(named), file, files)} {verb}: {listed(named, most=NAMED)}."
            )
    return sentences


def _named(path: str, remark: Remark) -> str:
    return f"{shown(path)} ({remark.detail})" if remark.detail else shown(path)
