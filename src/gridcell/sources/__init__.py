"""What is on disk becomes `Samples`: nothing is decoded yet, everything is said.

The kinds of source are told apart by what lies at the path, never by a setting.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gridcell.config import DataConfig
from gridcell.errors import ConfigError, GridcellError, SourceError, did_you_mean
from gridcell.samples import Kind, Samples
from gridcell.sources import (
    classes,
    folder,
    forecast,
    idx,
    kinds,
    name_pattern,
    sentences,
    series,
    table,
    texts,
    ts,
    walk,
    writing,
)
from gridcell.sources.dialect import EXTENSIONS, is_table
from gridcell.sources.remembered import NOTHING_ASKED, Asked, Remembered
from gridcell.sources.scan import Progress
from gridcell.sources.series_files import LackingSorterError, has_column
from gridcell.sources.series_steps import VALUE
from gridcell.sources.wording import shown

READERS = {
    "folder": folder.read,
    "table": table.read,
    "idx": idx.read,
    "series": series.read,
    "ts": ts.read,
    "texts": texts.read,
    "writing": writing.read,
    "forecast": forecast.read,
}
COLUMNS = ("id_column", "time_column", "inputs")
WRITTEN = ("decimal", "delimiter", "encoding", "header", "date_format", "rows_in_order")
"""How a table is written, where that cannot be found out."""
OF_TEXTS = ("decimal", "delimiter", "encoding", "header")
HEEDED: dict[str, tuple[str, ...]] = {
    "folder": (),
    "table": ("path_column", "decimal", "delimiter", "encoding", "header"),
    "idx": (),
    "series": (*COLUMNS, *WRITTEN),
    "ts": (),
    "texts": ("text_column", "id_column", "time_column", *OF_TEXTS),
    "writing": ("encoding",),
    "forecast": (*COLUMNS, *WRITTEN),
}
"""Settings of reading that each reader has a use for. Those that have files of series to read heed
what is said of series too; what only some of a reader's data have a use for, it refuses itself."""
NAMES = {"table": table.columns_of, "series": series.columns_of, "texts": texts.columns_of}
"""What gives the names of columns, of the readers that read a table with answers in it."""
NOTHING = Remembered()
FIRST_LINE_BYTES = 2**16
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


def read(
    path: Path,
    data: DataConfig,
    *,
    group: str | None = None,
    folds: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    purpose: classes.Purpose = "train",
    remembered: Remembered = NOTHING,
) -> Samples:
    """Read a folder of class folders, a table (of paths, series or texts), idx or .ts files.

    `group` names the table's column whose equal values must not stand on two sides of a split,
    `folds` the one whose values are folds; they may be one column. Where items are files, either
    may be a pattern of their names; see `name_pattern`.
    `progress` is called with files done and files in all. What only training needs (two classes,
    numbers that differ, training rows) isn't asked of data that are read to score a model, whose
    training is `remembered`.

    Raises   SourceError for data that cannot be used, ConfigError for settings at odds with it
    """

    def read_as(choice: DataConfig) -> Samples:
        name = "forecast" if choice.is_forecast else _reader(path, choice, purpose)
        settings = _as_remembered(path, choice, name, remembered, asked=data)
        patterns = {
            option: said
            for option, said in (("group", group), ("folds", folds))
            if said is not None and _is_of_names(said, path, settings, name)
        }
        reader = partial(
            READERS[name],
            path,
            group=None if "group" in patterns else group,
            folds=None if "folds" in patterns else folds,
            cache=cache,
            progress=progress,
            purpose=purpose,
        )
        if name == "forecast":
            reader = partial(reader, step=remembered.step)
        if _of_files(name, settings.kind):
            samples = _files_as_remembered(settings, remembered, reader)
        else:
            samples = reader(settings)
        _refuse_unheeded(settings, name, samples.kind)
        return _named_by(samples, patterns)

    return remembered.dialect.read(path, data, read_as)


def _is_of_names(said: str, path: Path, data: DataConfig, reader: str) -> bool:
    """Say whether what was said for groups or folds is a pattern of the names of files."""
    if not name_pattern.is_pattern(said):
        return False
    if reader == "table":
        return said not in table.columns_of(path, data)
    return reader in ("folder", "texts") and path.is_dir()


def _named_by(samples: Samples, patterns: dict[str, str]) -> Samples:
    """Return the samples with the groups and folds that the names of their files give."""
    found = {
        option: name_pattern.parts_named(pattern, tuple(samples.paths), option)
        for option, pattern in patterns.items()
    }
    notes = [
        name_pattern.told(option, patterns[option], names) for option, (_, names) in found.items()
    ]
    groups, group_names = found.get("group", (samples.groups, samples.group_names))
    folds, fold_names = found.get("folds", (samples.folds, samples.fold_names))
    return replace(
        samples,
        groups=groups,
        group_names=group_names,
        folds=folds,
        fold_names=fold_names,
        notes=(*samples.notes, *notes),
    )


def _as_remembered(
    path: Path, data: DataConfig, reader: str, remembered: Remembered, *, asked: DataConfig
) -> DataConfig:
    """Take the columns of training where they are there and no others are named.

    data    the settings with the dialect of training, which stays where the reader has a use for it
    asked   the settings without
    """
    if remembered == NOTHING or reader not in NAMES:
        names: tuple[str, ...] = ()
    else:
        names = NAMES[reader](path, data)
    heeded: tuple[str, ...] = (*HEEDED[reader], *_of_files(reader, data.kind))
    if reader == "texts" and names in ((), sentences.CONLLU_TAGS):
        heeded = ("encoding",)
    unheeded: dict[str, Any] = {
        name: getattr(asked, name) for name in WRITTEN if name not in heeded
    }
    data = replace(data, **unheeded)
    data = remembered.columns_in(names, data)
    if reader == "series" and names and not data.inputs and remembered.inputs != VALUE:
        remembered.check_inputs(names, path)
    if names and not data.target:
        data = replace(data, target=remembered.target_in(names, path))
    return data


def _files_as_remembered(
    data: DataConfig, remembered: Remembered, reader: Callable[[DataConfig], Samples]
) -> Samples:
    """Read files of series by the columns of training, but those that sort where none has them."""
    if not data.inputs and remembered.inputs != VALUE:
        data = replace(data, inputs=remembered.inputs)
    sorter = remembered.time_column
    if sorter is not None and data.time_column is None and not data.rows_in_order:
        try:
            return reader(replace(data, time_column=sorter))
        except LackingSorterError as error:
            if any(has_column(file, sorter, data) for file in error.files):
                raise ConfigError(
                    error.message,
                    fix="give all files the column that sorted the steps in training, or pass "
                    "--rows-in-order.",
                    stage=error.stage,
                ) from error
    return reader(data)


def _of_files(reader: str, kind: str) -> tuple[str, ...]:
    """The settings that a reader of files heeds because they are series."""
    return HEEDED["series"] if kind == "series" and reader in ("folder", "table") else ()


def _refuse_unheeded(data: DataConfig, reader: str, kind: Kind) -> None:
    """Refuse settings of reading that had no effect on what was read."""
    heeded = (*HEEDED[reader], *_of_files(reader, kind))
    for name in ("path_column", "text_column", *COLUMNS, *WRITTEN):
        is_given = getattr(data, name) != getattr(DataConfig(), name)
        if is_given and name not in heeded:
            raise ConfigError(
                f"{name} has no effect on these {kind}.",
                fix=f"leave --{name.replace('_', '-')} out.",
            )


def is_list_of_files(
    path: Path, kind: Kind, *, column: str | None = None, inputs: Sequence[str] = ()
) -> bool:
    """Say whether a model of this kind finds a table that names files here.

    What is seen or heard stands in no table; series do, so that the table must say it.

    column   the one that was said to name them
    inputs   columns of numbers that the model reads of a series: a table that has them is one
    """
    if kind != "series" or not is_table(path.name) or not os.path.isfile(path):
        return kind in kinds.SEEN and is_table(path.name)
    if column is not None:
        return True
    if inputs and set(inputs) <= _first_cells(path):
        return False  # found without the care that takes ten milliseconds a file
    try:
        if inputs and set(inputs) <= set(table.columns_of(path, DataConfig())):
            return False
        return table.names_files(path, DataConfig(), by_number=False)
    except GridcellError:
        return False  # what reads it as a series says what is wrong with it


def _first_cells(path: Path) -> set[str]:
    """What stands in the first line of a table, where that is plain to see."""
    try:
        with path.open("rb") as file:
            line = file.readline(FIRST_LINE_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return set()
    return {cell.strip().strip('"') for cell in re.split(r"[,;|\t]", line)}


def check_path_column(column: str | None, paths: Iterable[Path], kind: Kind) -> None:
    """Refuse the name of the column of paths where no table of them is among `paths`.

    Raises   ConfigError
    """
    if column is not None and not any(
        is_list_of_files(path, kind, column=column) for path in paths
    ):
        raise ConfigError(
            f"path_column has no effect: nothing that is asked for is a table of paths of {kind}."
            if kind in (*kinds.SEEN, "series")
            else f"path_column has no effect on {kind} that are answered for.",
            fix="leave --path-column out.",
        )


def find_files(
    path: Path,
    kind: Kind,
    *,
    asked: Asked = NOTHING_ASKED,
    column: str | None = None,
    inputs: Sequence[str] = (),
) -> list[Path]:
    """Return every file in a folder, however deep, that is named as this kind; the files that a
    table names; or the file itself.

    Hidden and system entries of a folder are passed over. The content of no file that is returned
    is looked at.

    asked, column   for a table, see `table.files_named`
    inputs          for a model of series, see `is_list_of_files`

    Raises   SourceError if nothing is at `path`, no such file is in it, or a folder in it may not
             be opened
    """
    if kind == "forecasts":
        return forecast.find_tables(path)
    medium = kinds.MEDIA[kind]
    if os.path.isdir(path):
        found = walk.files(path, walk.Tally(), wanted=medium.is_named)
        if not found:
            raise SourceError(
                f"{shown(str(path))} holds no {medium.noun}.", fix=f"name a folder with {kind}."
            )
        return [path / name for name in found]
    if not os.path.exists(path):
        places = f"{medium.one}, a folder, or a table of paths"
        raise SourceError(
            f"{shown(str(path))} does not exist.{did_you_mean(path.name, _beside(path))}",
            fix=f"name {places if kind in kinds.SEEN else f'{medium.one} or a folder'}.",
        )
    if is_list_of_files(path, kind, column=column, inputs=inputs):
        return table.files_named(path, asked, column=column)
    return [path]


def _beside(path: Path) -> list[str]:
    """Names of what lies where a missing file was looked for."""
    with contextlib.suppress(OSError):
        return os.listdir(path.parent)
    return []


def _reader(path: Path, data: DataConfig, purpose: classes.Purpose) -> str:
    """Say which reader the path is for, or why none is."""
    if os.path.isdir(path):  # False, not an OSError, for a name longer than any file's
        if idx.files(path):
            return "idx"
        if data.kind in ("auto", "series") and ts.files(path):
            return "ts"
        return "texts" if texts.is_texts(path, data) else "folder"
    name = path.name.lower()
    if not os.path.exists(path):
        raise SourceError(
            f"{shown(str(path))} does not exist.{did_you_mean(path.name, _beside(path))}",
            fix="name a folder of class folders, a table, or a text.",
        )
    if writing.is_writing(path, data):
        return "writing"
    if is_table(name):
        return _table_reader(path, data)
    if ts.is_named(name):
        return "ts"
    if texts.is_texts(path, data):
        return "texts"
    medium = kinds.medium_named(name)
    if medium is not None:
        why = {
            "train": "training needs many, of at least 2 classes",
            "score": "nothing says which class it is of",
        }
        raise SourceError(
            f"{shown(str(path))} is a single {medium.noun}; {why[purpose]}.",
            fix=f"name the folder that holds one folder of {medium.kind} for each class.",
        )
    if idx.NAME.fullmatch(path.name):
        raise SourceError(
            f"{shown(str(path))} is one idx file of several.",
            fix=f"name the folder that holds them: {shown(str(path.parent))}",
        )
    if name.endswith(ARCHIVES):
        raise SourceError(
            f"{shown(str(path))} is an archive, which is not read as it is.",
            fix="unpack it and name the folder.",
        )
    raise SourceError(
        f"{shown(str(path))} is neither a folder nor a table ({' '.join(EXTENSIONS)}).",
        fix="name a folder of class folders, a table, or a text.",
    )


def _table_reader(path: Path, data: DataConfig) -> str:
    """Say whether the rows of a table name files, or hold texts, or series and their steps."""
    if data.kind in ("images", "sounds", "clips") or data.path_column is not None:
        return "table"
    if data.kind == "texts" or data.text_column is not None:
        return "texts"
    if table.names_files(path, data):
        return "table"
    if data.kind == "series":
        return "series"
    if not series.cannot_be_texts(path, data) and texts.is_texts(path, data):
        return "texts"
    return "series" if series.has_numbers(path, data) else "table"
