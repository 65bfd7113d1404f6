"""Which kind of file a folder or table holds: images, sounds or clips.

The extensions say it, unless `--kind` does. One set holds one kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from gridcell.errors import ConfigError
from gridcell.samples import Kind
from gridcell.sources import clips, images, sounds
from gridcell.sources.media import Medium
from gridcell.sources.wording import counted, shown

MEDIA: dict[Kind, Medium] = {
    "images": images.MEDIUM,
    "sounds": sounds.MEDIUM,
    # To the eye a GIF may be either. It is a clip where clips are asked for, and an image, the
    # first kind here that names it, where nothing is.
    "clips": replace(clips.MEDIUM, extensions=(*clips.EXTENSIONS, ".gif")),
}


def medium_named(name: str) -> Medium | None:
    """Return the kind that the extension of a file's name says; None where it says none."""
    return next((medium for medium in MEDIA.values() if medium.is_named(name)), None)


def is_wanted(name: str, kind: Literal["auto"] | Kind) -> bool:
    """Say whether a file is named as what was asked for; under auto, as any kind."""
    return medium_named(name) is not None if kind == "auto" else MEDIA[kind].is_named(name)


def medium_of(names: Iterable[str], kind: Literal["auto"] | Kind, *, where: Path) -> Medium | None:
    """Return the one kind of these files: the one asked for, else the one that their names say.

    None where no name says any. A GIF counts as an image, unless clips are asked for.

    Raises   ConfigError if the names say several kinds and none was asked for
    """
    if kind != "auto":
        return MEDIA[kind]
    counts = Counter(medium.kind for medium in map(medium_named, names) if medium is not None)
    if len(counts) > 1:
        found = [counted(count, MEDIA[kind].noun) for kind, count in counts.most_common()]
        most = counts.most_common(1)[0][0]
        raise ConfigError(
            f"{shown(str(where))} holds {', '.join(found[:-1])} and {found[-1]}, and one set can "
            "hold one kind only.",
            fix=f"say which to read, for instance --kind {most}.",
        )
    return next((MEDIA[kind] for kind in counts), None)
