"""From what lies at a path to items that lie decoded in the cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from gridcell import preparation, sources
from gridcell.cache import cache_folder, told_bytes
from gridcell.config import DataConfig
from gridcell.preparation import Preparation, remarks
from gridcell.preparation.cache import Decoded
from gridcell.samples import Samples
from gridcell.sources import NOTHING, classes
from gridcell.sources.remembered import Remembered
from gridcell.sources.wording import counted, listed, shown
from gridcell.teller import Teller


@dataclass(frozen=True)
class Data:
    """Items that lie decoded in the cache: row i of both is the same item."""

    samples: Samples
    chosen: Preparation
    decoded: Decoded


def read(
    path: Path,
    config: DataConfig,
    *,
    teller: Teller,
    group: str | None = None,
    folds: str | None = None,
    chosen: Preparation | None = None,
    purpose: classes.Purpose = "train",
    remembered: Remembered = NOTHING,
) -> Data:
    """Read what lies at `path` and decode it, as `chosen` says or as suits the data."""
    cache = cache_folder(config.cache)
    samples = sources.read(
        path,
        config,
        group=group,
        folds=folds,
        cache=config.cache,
        progress=partial(teller.progress, "Reading"),
        purpose=purpose,
        remembered=remembered,
    )
    chosen = chosen or preparation.choose(samples, config)
    decoded = preparation.decode(
        samples,
        chosen,
        on_bad_file=config.on_bad_file,
        folder=cache,
        progress=partial(teller.progress, "Decoding"),
    )
    prepared = f"Prepared as: {chosen.describe(samples.facts)}."
    said = remarks.told(decoded.remarks, samples.kind)
    if decoded.bad:
        bad = counted(len(decoded.bad), "file")
        said.append(f"{bad} could not be decoded; left out:")
        said += [f"  {file}: {reason}" for file, reason in decoded.bad]
        samples, lost = _without_lost_classes(samples.take(decoded.rows), path, purpose=purpose)
        said += lost
    samples = replace(samples, notes=(*samples.notes, *said), alike=decoded.alike)
    lines = [*samples.notes, prepared]
    if decoded.file is not None:
        size = told_bytes(decoded.values.nbytes)
        found = "found in the cache" if decoded.was_cached else "decoded into the cache"
        lines.append(f"Decoded: {size}, {found} at {decoded.file}.")
    teller.section(f"Data: {shown(str(path))}", lines)
    return Data(samples, chosen, decoded)


def _without_lost_classes(
    samples: Samples, path: Path, *, purpose: classes.Purpose
) -> tuple[Samples, list[str]]:
    """Leave out the classes of which no file could be decoded, and say so."""
    if samples.task != "classify":
        return samples, []
    labels, targets = classes.settle(
        samples.labels,
        samples.targets.astype(np.int64),
        where=str(path),
        fix="mend the files of the other classes.",
        purpose=purpose,
    )
    lost = [label for label in samples.labels if label not in labels]
    said = [f"Left out, none of its files can be decoded: {listed(lost)}."] if lost else []
    return replace(samples, labels=labels, targets=targets), said
