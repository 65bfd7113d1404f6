"""A trained model: network, preparation and labels in one file, and what can be done with them.

The file is a zip of three members, none of which can hold code:

    manifest.json        format number, version that wrote it, SHA-256 of the other two
    model.json           notation, sizes, preparation, labels, how it was trained
    weights.safetensors  the numbers
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from gridcell import networks
from gridcell.batches import Images, plain_batches
from gridcell.cache import write_whole
from gridcell.errors import GridcellError, ModelFileError, SourceError
from gridcell.networks.answers import Answers
from gridcell.networks.run import channels_last, outputs
from gridcell.preparation import ImagePreparation
from gridcell.samples import ItemTask
from gridcell.version import MODEL_FORMAT, VERSION

MEMBERS = ("manifest.json", "model.json", "weights.safetensors")
LARGEST_JSON_BYTES = 64 << 20
PREDICT_BATCH = 256


@dataclass(frozen=True)
class Prediction:
    """The answer for one item.

    classify   `label`, its `probability`, and `probabilities` of every class
    labels     `labels` with a probability of at least one half, and `probabilities` of all
    regress    `values`, a number for each target

    An item that could not be read has no answer and says why in `reason`.
    """

    path: str
    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    values: dict[str, float] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Description:
    """Everything of a model but its weights; this is model.json."""

    kind: str
    task: ItemTask
    labels: tuple[str, ...]
    notation: str
    preparation: ImagePreparation
    answers: Answers
    train_targets: tuple[tuple[float, ...], ...]
    """What baselines need to know of the training targets; see `baseline`."""
    trained: dict[str, Any]
    """How it came about, for people: data, rows, scores, versions. Nothing is computed from it."""


class Model:
    """A trained network with all that it needs to answer for a raw file.

    Loading runs no code from the file: weights are numbers, the network is rebuilt from its
    notation, and the digest of every member is checked.
    """

    def __init__(self, network: networks.Network, description: Description) -> None:
        self.network = network.eval()
        self.description = description

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, labels or numbers, in the order of the outputs."""
        return self.description.labels

    @property
    def preparation(self) -> ImagePreparation:
        """The way from a raw file to what the network reads."""
        return self.description.preparation

    @property
    def task(self) -> ItemTask:
        """What it was trained to answer."""
        return self.description.task

    def answers(self, pixels: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return probabilities [N, K], or numbers [N, M], for prepared pixels [_, H, W, C]."""
        data = Images(pixels, torch.zeros(len(pixels)), rows)
        return self.description.answers.of(
            outputs(self.network, plain_batches(data, size=PREDICT_BATCH))
        )

    def predict(
        self, items: str | Path | Sequence[str | Path], *, skip_bad_files: bool = False
    ) -> list[Prediction]:
        """Answer for a file, a folder (every image in it) or a list of files, in order.

        Raises   SourceError for a file that cannot be read, unless `skip_bad_files`: then its
                 Prediction has no answer and a reason
        """
        from gridcell.sources.images import find_images

        if isinstance(items, (str, Path)):
            found = find_images(Path(items))
            if not found:
                raise SourceError(f"{items} holds no image.", fix="name a folder with images.")
            return list(self.predict_files(found, skip_bad_files=skip_bad_files))
        return list(self.predict_files([Path(i) for i in items], skip_bad_files=skip_bad_files))

    def predict_files(
        self, paths: Iterable[Path], *, skip_bad_files: bool = False
    ) -> Iterator[Prediction]:
        """Yield the answers for files as they come, a batch at a time."""
        waiting: list[Path] = []
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for path in paths:
                waiting.append(path)
                if len(waiting) == PREDICT_BATCH:
                    yield from self._predict_some(waiting, pool, skip_bad_files)
                    waiting = []
            yield from self._predict_some(waiting, pool, skip_bad_files)

    def save(self, path: Path) -> None:
        """Write the model file, whole or not at all.

        Raises   StorageError where it cannot be written
        """
        state = {
            name: value.detach().cpu().contiguous()
            for name, value in self.network.state_dict().items()
        }
        weights = save_tensors(state)
        described = msgspec.json.format(msgspec.json.encode(self.description), indent=1)
        manifest = {
            "format": MODEL_FORMAT,
            "written_by": f"gridcell {VERSION}",
            "sha256": {"model.json": _sha256(described), "weights.safetensors": _sha256(weights)},
        }
        members = (msgspec.json.encode(manifest), described, weights)

        def write(stream: BinaryIO) -> None:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                for name, content in zip(MEMBERS, members, strict=True):
                    # A fixed date: the same model gives the same bytes.
                    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)

        write_whole(path, write)

    @classmethod
    def load(cls, path: Path) -> Model:
        """Read a model file; nothing in it is run.

        Raises   ModelFileError where it is missing, cut, changed, unsafe, or from a later version
        """
        described, weights = _read_members(path)
        try:
            description = msgspec.json.decode(described, type=Description)
            network = networks.build(
                description.notation,
                description.preparation.layout,
                outputs=len(description.labels),
                mean=description.preparation.mean,
                deviation=description.preparation.deviation,
            )
            state = load_tensors(weights)
            network.load_state_dict(state)
        except (msgspec.MsgspecError, GridcellError) as error:
            raise ModelFileError(f"{path}: model.json cannot be used: {error}") from None
        except Exception as error:
            # safetensors and load_state_dict raise several kinds for weights that do not fit.
            reason = str(error).splitlines()[0]
            raise ModelFileError(f"{path}: the weights do not fit the network: {reason}") from None
        channels_last(network)
        return cls(network, description)

    def _predict_some(
        self, paths: list[Path], pool: ThreadPoolExecutor, skip_bad_files: bool
    ) -> Iterator[Prediction]:
        def read(path: Path) -> NDArray[np.uint8] | SourceError:
            try:
                return self.description.preparation.read(path)
            except SourceError as error:
                return error

        results = list(pool.map(read, paths))
        errors = [str(r) for r in results if isinstance(r, SourceError)]
        if errors and not skip_bad_files:
            raise SourceError("\n".join(errors), fix="mend them, or pass --on-bad-file skip.")
        good = [r for r in results if not isinstance(r, SourceError)]
        answers = iter(
            self.answers(np.stack(good), np.arange(len(good))) if good else np.zeros((0, 0))
        )
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, SourceError):
                yield Prediction(str(path), reason=result.message)
            else:
                yield self._prediction(str(path), next(answers))

    def _prediction(self, path: str, answer: NDArray[np.float64]) -> Prediction:
        named = {label: float(value) for label, value in zip(self.labels, answer, strict=True)}
        if self.task == "regress":
            return Prediction(path, values=named)
        if self.task == "labels":
            chosen = tuple(label for label, p in named.items() if p >= 0.5)
            return Prediction(path, labels=chosen, probabilities=named)
        best = self.labels[int(answer.argmax())]
        return Prediction(path, best, named[best], named)


def _read_members(path: Path) -> tuple[bytes, bytes]:
    """Return model.json and weights, checked against the manifest."""
    if not path.exists():
        raise ModelFileError(f"{path} does not exist.", fix="name a model.gridcell of a run.")
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder.", fix="name the model.gridcell inside the run.")
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            infos = {info.filename: info for info in archive.infolist()}
            strange = sorted(set(infos) - set(MEMBERS))
            missing = sorted(set(MEMBERS) - set(infos))
            if strange or missing:
                what = f"it holds {strange[0]}" if strange else f"it lacks {missing[0]}"
                raise ModelFileError(f"{path} is not a safe gridcell bundle: {what}.")
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos.values()):
                raise ModelFileError(f"{path} is not a safe gridcell bundle: it is compressed.")
            if any(infos[name].file_size > LARGEST_JSON_BYTES for name in MEMBERS[:2]):
                raise ModelFileError(
                    f"{path} is not a safe gridcell bundle: its JSON is too large."
                )
            contents = {name: archive.read(name) for name in MEMBERS}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(
            f"{path} is not a safe gridcell bundle, or it is cut: {error}.",
            fix="copy it again from where it was trained.",
        ) from None
    manifest = _manifest(path, contents["manifest.json"])
    for name in MEMBERS[1:]:
        if manifest["sha256"].get(name) != _sha256(contents[name]):
            raise ModelFileError(
                f"{path} was changed or damaged after it was written: "
                f"{name} has not the digest that the manifest names.",
                fix="copy it again from where it was trained.",
            )
    return contents["model.json"], contents["weights.safetensors"]


def _manifest(path: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest = msgspec.json.decode(content)
        number = int(manifest["format"])
        digests = dict(manifest["sha256"])
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        raise ModelFileError(f"{path} is not a safe gridcell bundle: bad manifest.") from None
    if number > MODEL_FORMAT:
        raise ModelFileError(
            f"{path} has format {number}, written by {manifest.get('written_by', 'others')}; "
            f"this gridcell {VERSION} reads formats up to {MODEL_FORMAT}.",
            fix="install that version or a later one.",
        )
    return cast(dict[str, Any], {**manifest, "sha256": digests})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
