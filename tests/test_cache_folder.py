from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from gridcell.cache import cache_folder, free_bytes, write_whole
from gridcell.errors import StorageError


def test_the_given_folder_comes_before_the_environment_and_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDCELL_CACHE", str(tmp_path / "named"))
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    assert cache_folder(None) == tmp_path / "named"
    monkeypatch.delenv("GRIDCELL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache_folder(None).name == "gridcell"
    assert not list(tmp_path.iterdir())


def test_a_tilde_means_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDCELL_CACHE", "~/elsewhere")
    assert cache_folder(None) == Path.home() / "elsewhere"
    assert cache_folder(Path("~/here")) == Path.home() / "here"


def test_a_file_is_written_with_the_folders_above_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    write_whole(path, lambda file: (file.write(b"whole"), None)[1])
    assert path.read_bytes() == b"whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["c.bin"]


def test_a_new_file_may_be_read_by_whom_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        write_whole(tmp_path / "x", lambda file: None)
    finally:
        os.umask(old)
    if os.name == "posix":
        assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


def test_a_long_name_is_still_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 120)
    write_whole(path, lambda file: None)
    assert path.exists()


def failing(error: BaseException) -> Callable[[BinaryIO], None]:
    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    return write


def test_a_failure_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")
    for error in (ValueError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            write_whole(path, failing(error))
        assert path.read_bytes() == b"old"
        assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_is_named_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"model cannot be written: the disk is full") as caught:
        write_whole(tmp_path / "model", failing(OSError(errno.ENOSPC, "No space left on device")))
    assert "free some space" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_may_not_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no permission to write in that folder") as caught:
        write_whole(tmp_path / "x", failing(PermissionError(errno.EACCES, "Permission denied")))
    assert str(tmp_path / "x") in str(caught.value)
    assert "GRIDCELL_CACHE" in str(caught.value)


def test_any_other_failure_of_the_disk_is_told_in_the_systems_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot be written: .*(Not a directory|exists)"):
        write_whole(tmp_path / "file" / "below", lambda file: None)


@pytest.mark.skipif(os.name != "posix", reason="/dev/full is Linux's")
def test_a_disk_that_fills_up_in_the_middle_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    real = Path.open

    def full(path: Path, mode: str) -> Any:
        return open("/dev/full", "wb") if "x" in mode else real(path, mode)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match="the disk is full"):
        write_whole(tmp_path / "x", lambda file: (file.write(b"a" * 100_000), None)[1])


def test_the_room_for_a_file_is_that_of_the_folder_above_it(tmp_path: Path) -> None:
    deep = tmp_path / "not" / "there" / "yet.npy"
    assert free_bytes(deep) == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    assert not (tmp_path / "not").exists()


def test_a_folder_that_may_not_be_written_to_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StorageError, match=r"x\.npy cannot be written: no permission to write"):
        free_bytes(tmp_path / "x.npy")


def test_a_name_longer_than_any_file_s_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written: File name too long"):
        free_bytes(tmp_path / ("a" * 300))
