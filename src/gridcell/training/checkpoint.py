"""The files in a run's folder from which its training goes on, whatever stopped it.

A checkpoint is a bundle of two members: `training.json`, with the settings of the run and where it
stands, and `state.safetensors`. The two newest are kept, when it is over too: one that a failing
disk has damaged leaves the one before it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from gridcell import bundle
from gridcell.errors import ConfigError, DamagedFileError, ModelFileError, StorageError
from gridcell.networks import Network
from gridcell.training.plan import Plan
from gridcell.training.precision import Precision
from gridcell.training.state import Position, State

MEMBERS = (bundle.CHECKPOINT_MEMBER, "state.safetensors")
NAME = re.compile(r"checkpoint-(\d{8})\.gridcell")
KEPT = 2
LEAST_EVERY_S = 1.0
MOST_SHARE = 0.02
"""Of the time, for writing: a large network is written less often."""


@dataclass(frozen=True)
class About:
    """Of what training a checkpoint is: enough to start the same one again."""

    settings: dict[str, Any]
    """As `config.to_mapping` gives them, with paths from the root."""
    data_digest: str
    plan: Plan
    precision: Precision
    threads: int
    """Threads of PyTorch: another number sums in another order, to other bits."""
    step_threads: int | None = None
    """Those that a step uses; None for all of them."""
    fold: int | None = None
    """Which fold of a cross-validation it is."""
    split_digest: str | None = None
    """Over who is in which part; None where an earlier gridcell wrote it."""
    notation: str | None = None
    """The network as it was built, since presets change; None likewise."""


@dataclass(frozen=True)
class _Content:
    about: About
    position: Position


class Checkpoints:
    """Writes the checkpoints of one training: some seconds apart, at little of its time."""

    def __init__(self, folder: Path, about: About) -> None:
        self.folder, self.about = folder, about
        self.failure = ""
        self._written = 0.0
        self._every_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last one was written."""
        return time.monotonic() - self._written >= self._every_s

    def write(self, state: State) -> None:
        """Write a checkpoint and remove those that are older than the one before it.

        Those of later steps go too: this training went on from before them, since they are damaged.

        A full disk does not end the training: `failure` says what went wrong, and the next one is
        tried in its time.
        """
        started = time.monotonic()
        path = self.folder / f"checkpoint-{state.position.done:08d}.gridcell"
        try:
            write(path, self.about, state)
            self.failure = ""
        except StorageError as error:
            self.failure = error.message
        self._written = time.monotonic()
        self._every_s = max(LEAST_EVERY_S, (self._written - started) / MOST_SHARE)
        if not self.failure:
            found = _found(self.folder)
            kept = found[found.index(path) :][:KEPT]
            for other in set(found) - set(kept):
                other.unlink(missing_ok=True)


def write(path: Path, about: About, state: State) -> None:
    """Write one checkpoint, whole or not at all.

    Raises   StorageError where it cannot be written
    """
    tensors = {name: value.contiguous() for name, value in state.tensors.items()}
    described = msgspec.json.encode(_Content(about, state.position))
    bundle.write(path, dict(zip(MEMBERS, (described, save_tensors(tensors)), strict=True)))


def read(path: Path) -> tuple[About, State]:
    """Read one checkpoint; nothing in it is run.

    Raises   DamagedFileError where it is cut or damaged; another ModelFileError where it cannot be
             read now, or is from another version
    """
    described, saved = bundle.read(path, MEMBERS, what="a checkpoint of a run")
    try:
        content = msgspec.json.decode(described, type=_Content)
        return content.about, State(content.position, load_tensors(saved))
    except MemoryError:
        raise
    except Exception as error:
        # msgspec and safetensors raise several kinds for what does not hold together. Its digests
        # do, so nothing is damaged.
        reason = str(error).splitlines()[0]
        raise ModelFileError(
            f"{path} cannot be used: {reason}",
            fix="go on with the version of gridcell that wrote it.",
        ) from None


def latest(folder: Path) -> tuple[About, State, list[str]]:
    """Return the newest checkpoint in a folder that is whole, and what is wrong with newer ones.

    Only what is damaged is passed over, since the training that goes on takes it away.

    Raises   ConfigError where there is none; ModelFileError where all are damaged, or one that may
             be whole cannot be read here and now
    """
    check_has_checkpoint(folder)
    notes: list[str] = []
    for path in _found(folder):
        try:
            about, state = read(path)
        except DamagedFileError as error:
            notes.append(error.message)
            continue
        if notes:
            at = state.position
            notes.append(f"Going back to {path.name}: step {at.done:,}, in epoch {at.epoch}.")
        return about, state, notes
    raise DamagedFileError(
        "\n".join([*notes, "So no checkpoint of this run can be read."]),
        fix="train again, with another --out; what else is in the folder stays as it is.",
    )


def check_fits(folder: Path, network: Network, about: About, state: State) -> None:
    """Raise ModelFileError where the weights of a checkpoint are not this network's.

    So it is where an earlier gridcell wrote it, without the notation, and the preset has changed.
    """
    saved, wanted = state.under("network."), network.state_dict()
    if {n: v.shape for n, v in saved.items()} == {n: v.shape for n, v in wanted.items()}:
        return
    text = f"{folder}: the weights of its checkpoint do not fit the network {network.notation}."
    fix = "go on with the version of gridcell that wrote it."
    if about.notation is None:
        named = about.settings["train"]["net"]
        text += (
            "\n  An earlier gridcell wrote it, without the network that it had built, and to that "
            f"version {named} was another one."
        )
    if about.fold is None:
        again = f'gridcell train {quote(str(folder))} --resume --net "NOTATION"'
        fix = f"name the network as that training printed it: {again}; or {fix}"
    raise ModelFileError(text, fix=fix)


def check_has_checkpoint(folder: Path) -> None:
    """Raise ConfigError where no training that was begun in this folder can go on."""
    if not has_checkpoint(folder):
        raise ConfigError(
            f"{folder} holds no checkpoint, from which a training could go on.",
            fix="name the folder of a run, such as runs/photos.",
        )


def has_checkpoint(folder: Path) -> bool:
    """Whether a training that was begun in this folder can go on."""
    return bool(_found(folder))


def remove_checkpoints(folder: Path) -> None:
    """Take the checkpoints in a folder away: nothing in them is worth going on from."""
    for path in _found(folder):
        path.unlink(missing_ok=True)


def _found(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)
