"""The file of a model: a bundle (see there) of two members, neither of which can hold code.

    model.json           notation, sizes, preparation, labels, how it was trained
    weights.safetensors  the numbers

A forged one reserves no memory and runs nothing: what is described is built without its numbers,
and filled once it is known that the file has as many.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec
import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from gridcell import bundle, networks
from gridcell.errors import GridcellError, ModelFileError
from gridcell.networks.answers import LEVELS, Answers
from gridcell.networks.run import channels_last
from gridcell.preparation import PREPARATIONS, Preparation, outputs_of
from gridcell.preparation.forecast import ForecastPreparation
from gridcell.samples import STEP_TASKS, ItemTask, Kind
from gridcell.sources.remembered import NOTHING_ASKED, Asked
from gridcell.sources.wording import counted

MEMBERS = ("model.json", "weights.safetensors")
MOST_REMEMBERED = 10**9

P = TypeVar("P", bound=Preparation)


@dataclass(frozen=True)
class _Kind:
    kind: str


@dataclass(frozen=True)
class Description(Generic[P]):
    """Everything of a model but its weights; this is model.json."""

    kind: Kind
    task: ItemTask
    labels: tuple[str, ...]
    notation: str
    preparation: P
    answers: Answers
    train_targets: tuple[tuple[float, ...], ...]
    """What baselines need to know of the training targets; see `baseline`."""
    trained: dict[str, Any]
    """How many items it came from, and their digest, by which `evaluate` sees that they are given
    to it again."""
    target_columns: tuple[str, ...] = ()
    """Columns of the training table that were learned; none where it came from no table."""
    asked: Asked = NOTHING_ASKED
    """What training was told of the tables that it read."""


def write(path: Path, network: networks.Network, description: Description[Preparation]) -> None:
    """Write a model file, whole or not at all.

    Raises   StorageError where it cannot be written
    """
    state = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    described = msgspec.json.format(msgspec.json.encode(description), indent=1)
    bundle.write(path, dict(zip(MEMBERS, (described, save_tensors(state)), strict=True)))


def read(path: Path) -> tuple[networks.Network, Description[Preparation]]:
    """Read a model file, or that in the folder of a run; nothing in it is run.

    Raises   ModelFileError where it is missing, cut, changed, unsafe, or from a later version
    """
    if os.path.isfile(path / bundle.MODEL_FILE):
        path = path / bundle.MODEL_FILE
    elif os.path.isdir(path):
        _refuse_folder(path)
    described, weights = bundle.read(
        path, MEMBERS, what="a model.gridcell, or the folder of its run"
    )
    try:
        description = _read_description(described)
        network = _sketch(description)
    except (msgspec.MsgspecError, RecursionError, GridcellError) as error:
        reason = str(error).splitlines()[0]
        raise ModelFileError(f"{path}: model.json cannot be used: {reason}") from None
    try:
        state = load_tensors(weights)
        network = _filled(network, state)
    except Exception as error:
        # safetensors and load_state_dict raise several kinds for weights that do not fit.
        reason = str(error).splitlines()[0]
        raise ModelFileError(f"{path}: the weights do not fit the network: {reason}") from None
    channels_last(network)
    return network, description


def _refuse_folder(path: Path) -> None:
    """Say what a folder that is no run is, and which runs there are in it."""
    runs = sorted(file.parent for file in path.glob(f"*/{bundle.MODEL_FILE}"))
    if not runs:
        raise ModelFileError(
            f"{path} is a folder without a {bundle.MODEL_FILE}.",
            fix=f"name a {bundle.MODEL_FILE}, or the folder of its run.",
        )
    are = counted(len(runs), "run with a model of its own", "runs, each with a model of its own")
    raise ModelFileError(
        f"{path} is a folder of {are}.", fix=f"name one of them, for instance {runs[0]}."
    )


def _read_description(content: bytes) -> Description[Preparation]:
    """Read model.json; what its preparation holds depends on the kind that it names."""
    kind = msgspec.json.decode(content, type=_Kind).kind
    if kind not in PREPARATIONS:
        raise ModelFileError(f"this gridcell knows no {kind!r}.")
    # What mypy cannot see: the type that stands in the table at run time.
    wanted: Any = Description.__class_getitem__(PREPARATIONS[kind])  # type: ignore[attr-defined]
    return cast(Description[Preparation], msgspec.json.decode(content, type=wanted))


def _sketch(description: Description[Preparation]) -> networks.Network:
    """Return the network without its numbers: a forged description reserves no memory.

    Raises   GridcellError where the description does not hold together
    """
    prep, answers, labels = description.preparation, description.answers, description.labels
    outputs = len(labels)
    scale = len(answers.target_mean), len(answers.target_deviation)
    is_number = description.task == "regress"
    remembered = description.train_targets
    meant = STEP_TASKS.get(description.task, description.task)
    rows = {"classify": 1, "labels": 2, "forecast": 0}.get(meant, max(1, len(remembered)))
    for holds, what in (
        (outputs > 0 and len(set(labels)) == outputs, "its labels are none or not unique"),
        (prep.is_whole, "its preparation does not hold together"),
        (answers.task == meant, "its answers are of another task"),
        (answers.temperature > 0, "its temperature is not above 0"),
        (_fits_intervals(answers, prep), "the widths of its intervals do not fit"),
        (scale == ((outputs,) * 2 if is_number else (0, 0)), "the targets' scale does not fit"),
        (
            len(remembered) == rows
            and all(len(row) == outputs for row in remembered)
            and (is_number or all(count >= 0 for row in remembered for count in row))
            and (is_number or sum(map(sum, remembered)) <= MOST_REMEMBERED),
            "the training targets that it remembers do not fit",
        ),
    ):
        if not holds:
            raise ModelFileError(f"{what}.")
    with torch.device("meta"):
        return networks.build(
            description.notation,
            prep.layout,
            outputs=outputs_of(prep, labels),
            each=description.task in STEP_TASKS,
            mean=prep.mean,
            deviation=prep.deviation,
        )


def _fits_intervals(answers: Answers, prep: Preparation) -> bool:
    """Whether intervals have a width for each level, column and step ahead, or there are none."""
    if not isinstance(prep, ForecastPreparation) or not answers.half_widths:
        return not answers.half_widths
    shape = len(LEVELS), len(prep.targets), prep.horizon
    flat = [w for level in answers.half_widths for column in level for w in column]
    sizes = {len(column) for level in answers.half_widths for column in level}
    return (
        len(answers.half_widths) == shape[0]
        and {len(level) for level in answers.half_widths} == {shape[1]}
        and sizes == {shape[2]}
        and all(np.isfinite(width) and width >= 0 for width in flat)
    )


def _filled(network: networks.Network, state: dict[str, Tensor]) -> networks.Network:
    """Return the network with its numbers, once it is known that it has as many as there are."""
    sketched = network.state_dict()
    wanted = sum(value.numel() for value in sketched.values())
    held = sum(value.numel() for value in state.values())
    if wanted != held:
        raise ModelFileError(f"it has {wanted:,} numbers, the file {held:,}.")
    # Put in place of the sketched ones: PyTorch's to_empty would import sympy, for half a second.
    filled = {
        name: value.to(sketched[name].dtype, copy=True) if name in sketched else value
        for name, value in state.items()
    }
    network.load_state_dict(filled, assign=True)
    return network
