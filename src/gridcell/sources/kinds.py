"""Which kind of file a folder or table holds: images, sounds or clips, or tables of series.

The extensions say it, unless `--kind` does. One set holds one kind. A table beside images is no
series but says something of them, so that tables count only where nothing else is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from gridcell.errors import ConfigError
from gridcell.samples import Kind
from gridcell.sources import clips, images, sounds, ts
from gridcell.sources.dialect import EXTENSIONS, is_table
from gridcell.sources.media import Medium
from gridcell.sources.wording import counted, shown


def _unread(*_: object) -> NoReturn:
    raise AssertionError("series and texts have no headers: they are read whole")


SEEN: dict[Kind, Medium] = {
    "images": images.MEDIUM,
    "sounds": sounds.MEDIUM,
    # To the eye a GIF may be either. It is a clip where clips are asked for, and an image, the
    # first kind here that names it, where nothing is.
    "clips": replace(clips.MEDIUM, extensions=(*clips.EXTENSIONS, ".gif")),
}
"""Kinds that are told by a file's extension alone."""


def _whole(kind: Kind, noun: str, extensions: tuple[str, ...]) -> Medium:
    """A kind whose files are read whole, by a reader of their own."""
    dtype = np.dtype([("digest", "V16")])
    return Medium(kind, noun, extensions, dtype, header=_unread, reader=_unread, facts_of=_unread)


MEDIA: dict[Kind, Medium] = {
    **SEEN,
    "series": _whole("series", "data file", (*EXTENSIONS, ts.EXTENSION)),
    "texts": _whole("texts", "text", (".txt", ".conllu")),
}


def medium_named(name: str) -> Medium | None:
    """Return the kind that the extension of a file's name says; None where it says none."""
    return next((medium for medium in SEEN.values() if medium.is_named(name)), None)


def is_wanted(name: str, kind: Literal["auto"] | Kind) -> bool:
    """Say whether a file is named as what was asked for; under auto, as any kind."""
    return medium_named(name) is not None if kind == "auto" else MEDIA[kind].is_named(name)


def medium_of(names: Iterable[str], kind: Literal["auto"] | Kind, *, where: Path) -> Medium | None:
    """Return the one kind of these files: the one asked for, else the one that their names say.

    None where no name says any. A GIF counts as an image, unless clips are asked for; tables count
    as series where no name says another kind.

    Raises   ConfigError if the names say several kinds and none was asked for
    """
    if kind != "auto":
        return MEDIA[kind]
    every = list(names)
    counts = Counter(medium.kind for medium in map(medium_named, every) if medium is not None)
    if len(counts) > 1:
        found = [counted(count, MEDIA[kind].noun) for kind, count in counts.most_common()]
        most = counts.most_common(1)[0][0]
        raise ConfigError(
            f"{shown(str(where))} holds {', '.join(found[:-1])} and {found[-1]}, and one set can "
            "hold one kind only.",
            fix=f"say which to read, for instance --kind {most}.",
        )
    if not counts and any(map(is_table, every)):
        return MEDIA["series"]
    return next((MEDIA[kind] for kind in counts), None)
