"""The one form in which gridcell writes what it will read again: a zip that cannot hold code.

    manifest.json        format number, version that wrote it, SHA-256 of the other members
    ...                  JSON and safetensors, named by whoever writes

Nothing is compressed and nothing is run: a member is bytes whose digest the manifest names. A file
that is cut, changed, from a later version or not ours is refused with one sentence.
"""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from gridcell.cache import write_whole
from gridcell.errors import DamagedFileError, ModelFileError
from gridcell.sources.wording import shown
from gridcell.version import MODEL_FORMAT, VERSION

MANIFEST = "manifest.json"
CHECKPOINT_MEMBER = "training.json"
MODEL_FILE = "model.gridcell"
"""What a model is called in the folder of its run."""
LARGEST_JSON_BYTES = 64 << 20


def write(path: Path, members: Mapping[str, bytes]) -> None:
    """Write the file, whole or not at all; the same members give the same bytes.

    Raises   StorageError where it cannot be written
    """
    manifest = {
        "format": MODEL_FORMAT,
        "written_by": f"gridcell {VERSION}",
        "sha256": {name: _sha256(content) for name, content in members.items()},
    }

    def save(stream: BinaryIO) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name, content in {MANIFEST: msgspec.json.encode(manifest), **members}.items():
                # A fixed date: the same model gives the same bytes.
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)

    write_whole(path, save)


def read(path: Path, names: Sequence[str], *, what: str) -> list[bytes]:
    """Return the members of these names, checked against the manifest.

    what     which file the user could name instead, such as "a checkpoint of a run"

    Raises   DamagedFileError where it is cut, changed or unsafe; another ModelFileError where it is
             missing, cannot be read now, or is from a later version
    """
    if not os.path.exists(path):
        raise ModelFileError(f"{path} does not exist.", fix=f"name {what}.")
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder.", fix=f"name {what}.")
    try:
        content = path.read_bytes()
    except OSError as error:  # of the disk or the network: the file itself may be whole
        raise ModelFileError(
            f"{path} cannot be read: {error.strerror or error}.",
            fix="try once more; if it stays so, look after the disk and who may read the file.",
        ) from None
    _check_begins(path, content, what)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_sizes(path, archive)
            # The format first: a later one may have other members.
            manifest = _manifest(path, archive)
            _refuse_checkpoint(path, archive, names)
            _check_names(path, archive, [MANIFEST, *names])
            contents = {name: archive.read(name) for name in names}
    except (ModelFileError, MemoryError):
        raise
    except Exception as error:
        # zipfile raises half a dozen kinds for a file that was cut or changed.
        raise DamagedFileError(
            f"{path} is not a safe gridcell bundle, or it is cut: {error}.",
            fix="copy it again from where it was trained.",
        ) from None
    for name in names:
        if manifest["sha256"].get(name) != _sha256(contents[name]):
            raise DamagedFileError(
                f"{path} was changed or damaged after it was written: "
                f"{name} has not the digest that the manifest names.",
                fix="copy it again from where it was trained.",
            )
    return [contents[name] for name in names]


def _check_begins(path: Path, content: bytes, what: str) -> None:
    """Refuse what holds nothing, and what neither begins nor is named as our files are."""
    if not content:
        raise DamagedFileError(
            f"{path} is empty: it is cut.", fix="copy it again from where it was trained."
        )
    if not content.startswith(b"PK") and path.suffix != ".gridcell":  # as every zip
        raise ModelFileError(f"{path} is no gridcell file.", fix=f"name {what}.")


def _refuse_checkpoint(path: Path, archive: zipfile.ZipFile, names: Sequence[str]) -> None:
    """Name the model where a checkpoint of its training is given in its place."""
    if CHECKPOINT_MEMBER in names or CHECKPOINT_MEMBER not in archive.namelist():
        return
    model = path.parent / MODEL_FILE
    resume = f"gridcell train {shlex.quote(str(path.parent))} --resume"
    raise ModelFileError(
        f"{path} is a checkpoint of a training, and no model.",
        fix=f"name {model}."
        if model.is_file()
        else f"{resume} ends the training, which writes {model}.",
    )


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse what could unpack to more than it seems; nothing is unpacked for that."""
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            raise DamagedFileError(f"{path} is not a safe gridcell bundle: it is compressed.")
        if info.filename.endswith(".json") and info.file_size > LARGEST_JSON_BYTES:
            raise DamagedFileError(f"{path} is not a safe gridcell bundle: its JSON is too large.")


def _check_names(path: Path, archive: zipfile.ZipFile, wanted: Sequence[str]) -> None:
    names = archive.namelist()
    strange = sorted(set(names) - set(wanted))
    twice = [name for name in wanted if names.count(name) > 1]
    missing = [name for name in wanted if name not in names]
    if strange or twice or missing:
        what = (
            f"it holds {shown(strange[0])}"
            if strange
            else f"it holds {twice[0]} twice"
            if twice
            else f"it lacks {missing[0]}"
        )
        raise DamagedFileError(f"{path} is not a safe gridcell bundle: {what}.")


def _manifest(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    if MANIFEST not in archive.namelist():
        raise DamagedFileError(f"{path} is not a safe gridcell bundle: it lacks {MANIFEST}.")
    try:
        manifest = msgspec.json.decode(archive.read(MANIFEST))
        number = int(manifest["format"])
        digests = dict(manifest["sha256"])
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, RecursionError):
        raise DamagedFileError(f"{path} is not a safe gridcell bundle: bad manifest.") from None
    if number > MODEL_FORMAT:
        raise ModelFileError(
            f"{path} has format {number}, written by {manifest.get('written_by', 'others')}; "
            f"this gridcell {VERSION} reads formats up to {MODEL_FORMAT}.",
            fix="install that version or a later one.",
        )
    return cast(dict[str, Any], {**manifest, "sha256": digests})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
