"""The model file: what is saved comes back to the bit, and nothing else comes in."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gridcell.bundle
from gridcell.errors import ModelFileError, StorageError
from gridcell.model import Model
from gridcell.preparation.cache import Decoded
from gridcell.version import MODEL_FORMAT, VERSION
from tests.pictures import LABELS, NOTATION, SIDE, made, pictures, pixels

MEMBERS = ("manifest.json", "model.json", "weights.safetensors")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.gridcell"
    made().save(path)
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def bundle(path: Path, contents: dict[str, bytes], *, signed: bool = False, **options: Any) -> Path:
    """Write a zip of these members; `signed` with the right digests, as a forger would."""
    contents = dict(contents)
    if signed:
        manifest = json.loads(contents["manifest.json"])
        for name in manifest["sha256"]:
            manifest["sha256"][name] = hashlib.sha256(contents[name]).hexdigest()
        contents["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        Model.load(path)
    assert caught.value.exit_code == 2
    text = str(caught.value)
    assert text.startswith(str(path))
    assert len(text.split("\n  Fix: ")[0].splitlines()) == 1
    return text


def forged(path: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """Change model.json and sign it anew, and return how it is refused."""
    contents = members(path)
    described = json.loads(contents["model.json"])
    change(described)
    contents["model.json"] = json.dumps(described).encode()
    return refused(bundle(path, contents, signed=True))


# --- It comes back -------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classify", "labels", "regress"])
def test_what_is_saved_comes_back_to_the_bit(tmp_path: Path, task: str) -> None:
    first = made(task)
    first.save(tmp_path / "deep" / "er" / "model.gridcell")
    again = Model.load(tmp_path / "deep" / "er" / "model.gridcell")
    assert again.description == first.description
    assert again.labels == LABELS[task] and again.task == task
    assert again.network.notation == first.network.notation
    state = first.network.state_dict()
    assert set(again.network.state_dict()) == set(state)
    for name, value in again.network.state_dict().items():
        assert torch.equal(value, state[name]), name
        assert value.device.type == "cpu"
    data, rows = Decoded.whole(pixels(50)), np.arange(50)
    assert (again.answers(data, rows) == first.answers(data, rows)).all()
    files = pictures(tmp_path / "new", 5)
    assert again.predict(list(files)) == first.predict(list(files))


def test_the_folder_of_a_run_stands_for_its_model(saved: Path) -> None:
    assert Model.load(saved.parent).description == Model.load(saved).description


def test_a_loaded_network_can_be_trained_on(saved: Path) -> None:
    net = Model.load(saved).network
    assert not net.training
    assert all(p.requires_grad and p.is_leaf for p in net.parameters())
    net.train()(torch.zeros(4, 1, 3, SIDE, SIDE)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    "notation", [NOTATION, "rows rnn(4) lstm(4, both) lstm(4, project=2) residual(dense(2)) max"]
)
def test_loading_does_not_load_pytorch_s_compiler(tmp_path: Path, notation: str) -> None:
    """With it, or with sympy, loading would take a hundred times as long."""
    path = tmp_path / "model.gridcell"
    made(notation=notation).save(path)
    code = (
        "import sys; from pathlib import Path; from gridcell.model import Model;"
        "Model.load(Path(sys.argv[1]));"
        "heavy = {'torch._dynamo', 'sympy'} & set(sys.modules);"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    command = [sys.executable, "-c", code, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(gridcell.bundle.__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    made().save(tmp_path / "one.gridcell")
    made().save(tmp_path / "two.gridcell")
    assert (tmp_path / "one.gridcell").read_bytes() == (tmp_path / "two.gridcell").read_bytes()
    Model.load(tmp_path / "one.gridcell").save(tmp_path / "three.gridcell")
    assert (tmp_path / "one.gridcell").read_bytes() == (tmp_path / "three.gridcell").read_bytes()


def test_the_file_is_json_and_numbers_only(saved: Path) -> None:
    contents = members(saved)
    assert tuple(contents) == MEMBERS
    manifest = json.loads(contents["manifest.json"])
    assert manifest["format"] == MODEL_FORMAT
    assert manifest["written_by"] == f"gridcell {VERSION}"
    described = json.loads(contents["model.json"])
    assert described["labels"] == ["cat", "dog", "eel"]
    assert described["notation"].startswith("conv(4, 3) batchnorm")
    assert b"pickle" not in saved.read_bytes()


def test_nothing_lies_beside_the_file(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["model.gridcell"]


def test_a_full_disk_leaves_the_file_that_was_there(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        made(seed=1).save(saved)
    assert str(caught.value).startswith(f"{saved} cannot be written: the disk is full.")
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["model.gridcell"]
    Model.load(saved)


# --- It is missing, cut or changed ---------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    text = refused(tmp_path / "nothing.gridcell")
    assert "nothing.gridcell does not exist." in text
    assert "Fix: name a model.gridcell, or the folder of its run." in text


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    text = refused(tmp_path)
    assert "is a folder without a model.gridcell." in text
    assert "Fix: name a model.gridcell, or the folder of its run." in text


def test_the_folder_of_folds_names_their_runs(saved: Path) -> None:
    for fold in ("fold-b", "fold-a"):
        shutil.copytree(saved.parent, saved.parent / "runs" / fold, ignore=lambda *_: ["runs"])
    text = refused(saved.parent / "runs")
    assert "runs is a folder of 2 runs, each with a model of its own." in text
    assert f"Fix: name one of them, for instance {saved.parent / 'runs' / 'fold-a'}." in text


@pytest.mark.parametrize("content", [b"PK", b"\x89PNG\r\n\x1a\n", b"x" * 1000])
def test_what_is_no_zip_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gridcell"
    path.write_bytes(content)
    text = refused(path)
    assert "is not a safe gridcell bundle, or it is cut" in text
    assert "Fix: copy it again from where it was trained." in text


def test_a_file_that_is_empty_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "model.gridcell"
    path.touch()
    assert "model.gridcell is empty: it is cut." in refused(path)


def test_another_file_is_no_gridcell_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("{}")
    text = refused(path)
    assert "run.json is no gridcell file." in text
    assert "Fix: name a model.gridcell, or the folder of its run." in text


def test_a_checkpoint_is_told_from_a_model(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-00000100.gridcell"
    gridcell.bundle.write(path, {"training.json": b"{}", "state.safetensors": b""})
    text = refused(path)
    assert "checkpoint-00000100.gridcell is a checkpoint of a training, and no model." in text
    assert f"gridcell train {tmp_path} --resume ends the training" in text
    (tmp_path / "model.gridcell").touch()
    assert f"Fix: name {tmp_path / 'model.gridcell'}." in refused(path)


def test_a_file_cut_anywhere_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [*range(61, len(whole), 61), len(whole) - 1, len(whole) - 22]:
        saved.write_bytes(whole[:length])
        assert "is not a safe gridcell bundle" in refused(saved)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_changed_byte_in_any_member_is_found(saved: Path, name: str) -> None:
    whole, content = saved.read_bytes(), members(saved)[name]
    at = whole.index(content) + len(content) // 2
    saved.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert "is not a safe gridcell bundle, or it is cut" in refused(saved)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_member_changed_by_a_zip_program_is_found(saved: Path, name: str) -> None:
    contents = members(saved)
    half = len(contents[name]) // 2
    contents[name] = contents[name][:half] + b"\x20" + contents[name][half + 1 :]
    text = refused(bundle(saved, contents))
    assert "was changed or damaged after it was written" in text
    assert f"{name} has not the digest that the manifest names." in text


def test_a_flipped_byte_anywhere_is_refused_or_changes_nothing(saved: Path) -> None:
    whole, expected = saved.read_bytes(), Model.load(saved)
    found = 0
    for at in range(0, len(whole), 11):
        saved.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            loaded = Model.load(saved)
        except ModelFileError:
            found += 1
            continue
        # Dates and the like, which nobody reads.
        assert loaded.description == expected.description
        for name, value in loaded.network.state_dict().items():
            assert torch.equal(value, expected.network.state_dict()[name])
    assert found > 0.8 * len(range(0, len(whole), 11))


# --- It is from a later version ------------------------------------------------------------------


@pytest.mark.parametrize("extra", [{}, {"thoughts.json": b"{}"}])
def test_a_later_format_says_which_version_wrote_it(saved: Path, extra: dict[str, bytes]) -> None:
    """Even where a later format holds other members, the reason is its format."""
    contents = members(saved)
    manifest = json.loads(contents["manifest.json"])
    manifest |= {"format": MODEL_FORMAT + 1, "written_by": "gridcell 9.9.0"}
    contents["manifest.json"] = json.dumps(manifest).encode()
    text = refused(bundle(saved, contents | extra))
    assert f"has format {MODEL_FORMAT + 1}, written by gridcell 9.9.0" in text
    assert f"this gridcell {VERSION} reads formats up to {MODEL_FORMAT}." in text
    assert "Fix: install that version or a later one." in text


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b'{"format": 1}',
        b'{"format": "one", "sha256": {}}',
        b'{"format": 1, "sha256": 3}',
        b'{"format": 1, "sha256": {}}',
        b'{"format": -1, "sha256": {}}',
        b'{"format": 1e999, "sha256": {}}',
        b"[" * 100_000,
        b'{"sha256":' * 50_000,
        b"\xff\xfe",
    ],
)
def test_a_bad_manifest_is_refused(saved: Path, manifest: bytes) -> None:
    refused(bundle(saved, members(saved) | {"manifest.json": manifest}))


# --- It would run code, or more ------------------------------------------------------------------


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_the_payload_of_these_tests_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_torch_file_runs_nothing(tmp_path: Path, is_zip: bool) -> None:
    path, marker = tmp_path / "model.gridcell", tmp_path / "marker"
    payload = {"model": Payload(marker)}
    torch.save(payload, path, _use_new_zipfile_serialization=is_zip)
    assert "is not a safe gridcell bundle" in refused(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["model.pkl", "data.pkl", "../evil.py", "/etc/evil", "code/x.py"])
def test_one_member_too_many_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    contents = members(saved) | {name: pickle.dumps(Payload(marker))}
    text = refused(bundle(saved, contents))
    assert f"is not a safe gridcell bundle: it holds {name}." in text
    assert not marker.exists()


@pytest.mark.parametrize("name", MEMBERS)
def test_a_pickle_under_a_member_s_name_runs_nothing(
    saved: Path, tmp_path: Path, name: str
) -> None:
    marker = tmp_path / "marker"
    contents = members(saved) | {name: pickle.dumps(Payload(marker))}
    refused(bundle(saved, contents))
    if name != "manifest.json":
        refused(bundle(saved, contents, signed=True))
    assert not marker.exists()


@pytest.mark.parametrize("name", MEMBERS)
def test_a_lacking_member_is_named(saved: Path, name: str) -> None:
    contents = members(saved)
    del contents[name]
    assert f"is not a safe gridcell bundle: it lacks {name}." in refused(bundle(saved, contents))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_twice_is_refused(saved: Path) -> None:
    contents = members(saved)
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("model.json", contents["model.json"])
    assert "is not a safe gridcell bundle: it holds model.json twice." in refused(saved)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_compressed_member_is_refused(saved: Path, name: str) -> None:
    contents = members(saved)
    with zipfile.ZipFile(saved, "w") as archive:
        for member, content in contents.items():
            how = zipfile.ZIP_DEFLATED if member == name else zipfile.ZIP_STORED
            archive.writestr(member, content, compress_type=how)
    assert "is not a safe gridcell bundle: it is compressed." in refused(saved)


@pytest.mark.parametrize("name", ["manifest.json", "model.json"])
def test_a_small_file_that_unpacks_to_much_is_not_unpacked(
    saved: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    contents = members(saved) | {name: b" " * 50_000_000}
    bundle(saved, contents, compression=zipfile.ZIP_DEFLATED)
    assert saved.stat().st_size < 200_000

    def must_not(*_: Any) -> bytes:
        raise AssertionError("a member was unpacked")

    monkeypatch.setattr(zipfile.ZipFile, "read", must_not)
    assert "it is compressed" in refused(saved)


@pytest.mark.parametrize("name", ["manifest.json", "model.json"])
def test_json_larger_than_any_is_refused_unread(
    saved: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(gridcell.bundle, "LARGEST_JSON_BYTES", 20_000)
    bundle(saved, members(saved) | {name: b" " * 20_001})
    assert "is not a safe gridcell bundle: its JSON is too large." in refused(saved)


def test_json_nested_without_end_is_refused(saved: Path) -> None:
    contents = members(saved)
    described = contents["model.json"].replace(b'"items": 10', b'"items": ' + b"[" * 100_000)
    assert described != contents["model.json"]
    bundle(saved, contents | {"model.json": described}, signed=True)
    assert "model.json cannot be used" in refused(saved)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("notation", "exec(1)", "model.json cannot be used: "),
        ("notation", "conv(4, 3", "model.json cannot be used: "),
        ("notation", "conv(5, 3) batchnorm relu maxpool(2)", "the weights do not fit the network"),
        ("notation", "flatten dense(999999999)", "the weights do not fit the network"),
        ("notation", "", "model.json cannot be used: "),
        ("task", "regress", "model.json cannot be used: "),
        ("task", "sing", "model.json cannot be used: "),
        ("kind", "smells", "model.json cannot be used: "),
        ("labels", [], "model.json cannot be used: "),
        ("labels", ["cat", "dog"], "model.json cannot be used: "),
        ("labels", ["cat", "cat", "dog"], "model.json cannot be used: "),
        ("labels", "cat", "model.json cannot be used: "),
        ("train_targets", [], "model.json cannot be used: "),
        ("train_targets", [[1.0, 2.0]], "model.json cannot be used: "),
        ("train_targets", [[1.0, 2.0, -3.0]], "model.json cannot be used: "),
        ("train_targets", [[1e9, 1e9, 1e9]], "model.json cannot be used: "),
        ("answers", {"task": "labels"}, "model.json cannot be used: "),
        ("answers", {"task": "classify", "temperature": 0.0}, "model.json cannot be used: "),
    ],
)
def test_a_forged_description_is_refused(saved: Path, field: str, value: Any, words: str) -> None:
    assert words in forged(saved, lambda described: described.update({field: value}))


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"height": 10**9, "width": 10**9},
        {"channels": 2},
        {"channels": 1},
        {"mean": [1.0]},
        {"deviation": []},
        {"fit": "squeeze"},
    ],
)
def test_a_forged_preparation_is_refused(saved: Path, change: dict[str, Any]) -> None:
    forged(saved, lambda described: described["preparation"].update(change))


def test_weights_of_another_network_are_refused(saved: Path, tmp_path: Path) -> None:
    made("labels").save(tmp_path / "other.gridcell")
    contents = members(saved)
    contents["weights.safetensors"] = members(tmp_path / "other.gridcell")["weights.safetensors"]
    text = refused(bundle(saved, contents, signed=True))
    assert "the weights do not fit the network" in text


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x08" + b"\0" * 7 + b"{}      "])
def test_weights_that_are_no_safetensors_are_refused(saved: Path, content: bytes) -> None:
    bundle(saved, members(saved) | {"weights.safetensors": content}, signed=True)
    assert "the weights do not fit the network" in refused(saved)


def test_saving_and_loading_never_turn_to_pickle(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def must_not(*_: Any, **__: Any) -> None:
        raise AssertionError("pickle was used")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "dump"), (pickle, "dumps")):
        monkeypatch.setattr(module, name, must_not)
    for name in ("load", "save"):
        monkeypatch.setattr(torch, name, must_not)
    Model.load(saved).save(saved)
    Model.load(saved)
