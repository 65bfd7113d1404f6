"""The run folder: where it is, and the record of everything that went into it and came out."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import importlib.metadata
import itertools
import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import IO, Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from gridcell.bundle import MODEL_FILE
from gridcell.cache import free_bytes, told_bytes, write_whole
from gridcell.config import Config, json_text, to_mapping
from gridcell.errors import ConfigError, StorageError
from gridcell.evaluation import Scores
from gridcell.model import Model
from gridcell.samples import SPLIT_NAMES, Samples
from gridcell.splits import Parts
from gridcell.training import Diagnosis, History, Job
from gridcell.version import VERSION

RECORD_FILE = "run.json"
CLAIM_FILE = ".being-written"
PART = re.compile(r"\..*\.part")
"""What `write_whole` writes to before it has the whole."""
LEAST_FREE_BYTES = 50 << 20


@dataclass(frozen=True)
class Run:
    """What a training leaves: the model, how it went, and how good it is on rows it never saw."""

    folder: Path
    model: Model
    history: History
    scores: Scores | None
    """On the test rows; None where there are none."""

    def __str__(self) -> str:
        """Where it lies, how it went and its scores, as they are told behind a training."""
        scores = () if self.scores is None else (str(self.scores),)
        return "\n".join([f"Run in {self.folder}", *self.history.told(), *scores])

    @property
    def model_file(self) -> Path:
        """The model file."""
        return self.folder / MODEL_FILE

    @property
    def was_interrupted(self) -> bool:
        """Whether the user ended it before it was done."""
        return self.history.ended == "interrupted"


def choose_folder(config: Config) -> Path:
    """Return a folder for the run that holds nothing yet: runs/NAME, NAME-2 and so on.

    Raises   ConfigError where --out names a folder that already holds something
    """
    if config.out is not None:
        _check_room(config.out)
        if _holds_something(config.out):
            raise ConfigError(
                f"out: {config.out} already exists, and a run never overwrites anything.",
                fix="name another folder, or remove that one.",
            )
        return config.out
    path = config.path.resolve()
    # A folder's name has no extension, whatever dots are in it.
    plain = path.name if os.path.isdir(path) else path.stem
    _check_room(Path("runs"))
    return next_free(Path("runs") / file_name(plain))


def file_name(text: str) -> str:
    """The text as a name that any file system takes.

    >>> file_name("001 - Dog bark")
    '001-Dog-bark'
    """
    return re.sub(r"[^\w.]+|-{2,}", "-", text).strip("-.") or "run"


def _check_room(folder: Path) -> None:
    if free_bytes(folder) < LEAST_FREE_BYTES:
        raise StorageError(
            f"{folder}: the disk is full.", fix="free some space, or name another --out."
        )


def next_free(folder: Path) -> Path:
    """Return the folder, or where it holds something, the first of NAME-2, NAME-3 that does not."""
    return next(place for place in _places(folder) if not _holds_something(place))


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Hold the next free folder while something is written to it; no other run gets it.

    Since it was chosen another run may have taken it, or may take it this very moment. It is ours
    by a lock on a file in it, which the system takes away from a process that is killed. The file
    goes at the end, and a folder to which nothing was written too.

    Raises   StorageError where nothing can be written there
    """
    for place in _places(folder):
        if not _holds_something(place):
            with _claim(place, is_new=True) as is_ours:
                if is_ours:
                    yield place
                    return


@contextlib.contextmanager
def reclaimed(folder: Path) -> Iterator[Path]:
    """Hold the folder of an earlier run that goes on, as `claimed` holds a new one.

    Raises   ConfigError where another process is at work there
    """
    with _claim(folder, is_new=False) as is_ours:
        if not is_ours:
            raise ConfigError(
                f"{folder}: another process is training there.",
                fix="wait until it is done, or stop it first.",
            )
        yield folder


def _places(folder: Path) -> Iterator[Path]:
    """NAME, NAME-2, NAME-3 and so on."""
    yield folder
    for number in itertools.count(2):
        yield folder.with_name(f"{folder.name}-{number}")


@contextlib.contextmanager
def _claim(folder: Path, *, is_new: bool) -> Iterator[bool]:
    """Lock the claim in a folder, and tell whether it is ours; a new one must hold nothing else."""
    path = folder / CLAIM_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        if is_new:  # better than after a training whose model would have no place
            raise StorageError(
                f"{folder} cannot be written to: {error.strerror or error}.",
                fix="name another folder: --out FOLDER.",
            ) from None
        yield True  # of a run that is there: whoever writes says why
        return
    is_ours = _lock(file) and _is_at(path, file)
    try:
        if is_ours:
            _sweep(folder)
        # Between the look and the claim another run may have come, written and gone.
        yield is_ours and (not is_new or os.listdir(folder) == [CLAIM_FILE])
    finally:
        if is_ours:
            with contextlib.suppress(OSError):
                path.unlink()
        file.close()
        if is_ours:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)  # Windows removes no file that is open.
                folder.rmdir()


def _holds_something(folder: Path) -> bool:
    """Whether a file, or a folder with something in it, stands where a run would be written.

    A claim counts while it is held; what a killed process left of one does not.
    """
    if not os.path.isdir(folder):
        return os.path.exists(folder)
    held = [name for name in os.listdir(folder) if not PART.fullmatch(name)]
    return bool(held) and (held != [CLAIM_FILE] or _is_held(folder / CLAIM_FILE))


def _sweep(folder: Path) -> None:
    """Remove what a process left that was killed while it wrote: files that are not whole."""
    for path in folder.iterdir():
        if PART.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _is_held(claim: Path) -> bool:
    try:
        with claim.open("rb") as file:
            return not _lock(file)
    except OSError:
        return False


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except OSError:
        return False


def _lock(file: IO[bytes]) -> bool:
    """Lock an open file for whoever has it open here; False where another has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write(
    run: Run,
    config: Config,
    samples: Samples,
    parts: Parts,
    job: Job,
    diagnosis: Diagnosis,
    *,
    seconds: float,
) -> list[str]:
    """Write model file and record; return a line about each for the user."""
    model, model_file, record_file = run.model, run.model_file, run.folder / RECORD_FILE
    model.save(model_file)
    counts = {name: int((parts.split == number).sum()) for number, name in enumerate(SPLIT_NAMES)}
    content = {
        "gridcell": VERSION,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": {"system": platform.platform(), "processor": processor()},
        "settings": to_mapping(config),
        "data": {
            "kind": samples.kind,
            "task": samples.task,
            "labels": list(samples.labels),
            "items": len(samples),
            "digest": model.description.trained["data_digest"],
            "rows": counts,
            "notes": [*samples.notes, *parts.notes],
        },
        "preparation": dataclasses.asdict(model.description.preparation),
        "network": {
            "notation": model.network.notation,
            "parameters": model.network.parameters_count,
        },
        "training": {
            "plan": dataclasses.asdict(job.plan),
            "precision": job.precision.precision,
            "threads": job.precision.threads,
            "notes": list(job.notes),
            "history": dataclasses.asdict(run.history),
            "diagnosis": dataclasses.asdict(diagnosis),
        },
        "scores": None if run.scores is None else run.scores.to_json(),
        "worst_files": _worst_files(run.scores, samples, parts),
        "seconds": round(seconds, 2),
    }
    encoded = msgspec.json.format(msgspec.json.encode(content), indent=1)

    def save(stream: BinaryIO) -> None:
        stream.write(encoded)

    write_whole(record_file, save)
    more = "" if run.was_interrupted else " --budget +10m"
    if run.history.failure:
        more = f" --rate {job.plan.rate / 10:.2g}"
    # A fold is gone on with as one of all, whose scores are over trainings that are alike.
    on = f"To train on: gridcell train {quote(str(run.folder))} --resume{more}"
    return [
        f"{model_file}, {told_bytes(model_file.stat().st_size)}",
        f"{record_file}: settings, history, scores",
        *([on] if config.split.folds is None else []),
        f"Next: gridcell predict {quote(str(model_file))} "
        + ("--write 300" if samples.task == "write" else "FILES"),
    ]


def steps_written(folder: Path) -> int | None:
    """Steps of the training whose model and record lie in a folder; None where none are whole."""
    try:
        content = msgspec.json.decode((folder / RECORD_FILE).read_bytes())
        return int(content["training"]["history"]["steps"])
    except (OSError, msgspec.MsgspecError, KeyError, TypeError, ValueError):
        return None


def write_folds(folder: Path, config: Config, samples: Samples, content: dict[str, Any]) -> str:
    """Write the record of a cross-validation; return a line about it for the user."""
    whole = {
        "gridcell": VERSION,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "settings": to_mapping(config),
        "data": {"kind": samples.kind, "items": len(samples), "digest": data_digest(samples)},
        **content,
    }
    encoded = msgspec.json.format(msgspec.json.encode(whole), indent=1)

    def save(stream: BinaryIO) -> None:
        stream.write(encoded)

    write_whole(folder / RECORD_FILE, save)
    return f"{folder / RECORD_FILE}: scores over the folds; each fold's run lies beside it"


def _worst_files(scores: Scores | None, samples: Samples, parts: Parts) -> list[str]:
    """The file of each of the worst items, which the scores know only by its row."""
    test_rows = parts.rows("test")
    worst = () if scores is None else scores.worst
    return [json_text(samples.paths[test_rows[item.row]]) for item in worst]


def data_digest(samples: Samples) -> str:
    """SHA-256 over the content of all items with their targets, whatever order they stand in."""
    order = _order(samples, np.zeros(len(samples), np.int8))
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(samples.digests[order]).tobytes())
    digest.update(np.ascontiguousarray(samples.targets[order]).tobytes())
    digest.update("\0".join(samples.labels).encode())
    return digest.hexdigest()


def split_digest(samples: Samples, split: NDArray[np.int8]) -> str:
    """SHA-256 over the part of each item, in the order in which `data_digest` takes them."""
    order = _order(samples, split)
    return hashlib.sha256(np.ascontiguousarray(split[order], np.int8).tobytes()).hexdigest()


def _order(samples: Samples, split: NDArray[np.int8]) -> NDArray[np.int64]:
    """By content, then by target, then by part: copies of one file may stand under several."""
    targets = samples.targets.reshape(len(samples), -1)
    return np.lexsort([split, *targets.T, samples.digests.view("S16").ravel()])


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    import PIL
    import torch

    return {
        "gridcell": VERSION,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        **_installed("soundfile", "soxr", "av"),
    }


def _installed(*names: str) -> dict[str, str]:
    """Versions of those of the libraries that are there."""
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def processor() -> str:
    """The processor's name as the system tells it, and its cores where it names each."""
    names = _processor_names()
    return f"{names[0]}, {len(names)} cores" if names else processor_name()


def processor_name() -> str:
    """The processor's name as the system tells it."""
    names = _processor_names()
    return names[0] if names else platform.processor() or platform.machine()


def _processor_names() -> list[str]:
    """The name of each core, where the system lists them."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(errors="replace") if info.exists() else ""
    return re.findall(r"^model name\s*:\s*(.+)$", text, re.M)
