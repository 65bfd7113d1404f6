"""The run folder: of several runs that want one, each gets its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gridcell import record
from gridcell.errors import ConfigError


def test_runs_that_end_in_the_same_moment_write_to_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, wanted = 8, tmp_path / "runs" / "toy"
    together, look = threading.Barrier(runs), record._holds_something

    def look_together(folder: Path) -> bool:
        """All have seen that the folder is free before any takes it."""
        holds = look(folder)
        if folder == wanted:
            together.wait(timeout=60)
        return holds

    def write(number: int) -> Path:
        with record.claimed(wanted) as mine:
            together.wait(timeout=60)  # nor does any write before all have taken theirs
            (mine / "run.json").write_text(str(number))
        return mine

    monkeypatch.setattr(record, "_holds_something", look_together)
    with ThreadPoolExecutor(runs) as pool:
        folders = list(pool.map(write, range(runs)))
    assert len(set(folders)) == runs
    for number, folder in enumerate(folders):
        assert (folder / "run.json").read_text() == str(number)
        assert [file.name for file in folder.iterdir()] == ["run.json"]


def test_a_folder_that_is_being_written_is_taken(tmp_path: Path) -> None:
    wanted = tmp_path / "toy"
    with record.claimed(wanted) as first, record.claimed(wanted) as second:
        assert (first, second) == (wanted, tmp_path / "toy-2")
        assert record.next_free(wanted) == tmp_path / "toy-3"


def test_a_run_that_came_and_went_between_look_and_claim_keeps_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "run.json").write_text("theirs")
    monkeypatch.setattr(record, "_holds_something", lambda _: False)
    with record.claimed(tmp_path / "toy") as mine:
        assert mine == tmp_path / "toy-2"
    assert [file.name for file in (tmp_path / "toy").iterdir()] == ["run.json"]


def test_an_empty_folder_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    with record.claimed(tmp_path / "toy") as mine:
        (mine / "run.json").write_text("")
    assert mine == tmp_path / "toy"


def test_a_folder_to_which_nothing_was_written_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), record.claimed(tmp_path / "runs" / "toy"):
        raise ZeroDivisionError
    assert not (tmp_path / "runs" / "toy").exists()


def test_what_a_killed_process_left_of_its_claim_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / record.CLAIM_FILE).touch()
    assert record.next_free(tmp_path / "toy") == tmp_path / "toy"
    with record.claimed(tmp_path / "toy") as mine:
        assert mine == tmp_path / "toy"
        assert record.next_free(tmp_path / "toy") == tmp_path / "toy-2"


def test_a_run_that_goes_on_elsewhere_is_not_gone_on_with(tmp_path: Path) -> None:
    with record.claimed(tmp_path / "toy") as mine:
        (mine / "run.json").write_text("theirs")
        with pytest.raises(ConfigError) as caught, record.reclaimed(mine):
            pass
        assert "toy: another process is training there." in str(caught.value)
    with record.reclaimed(mine):
        assert (mine / record.CLAIM_FILE).exists()
    assert [file.name for file in mine.iterdir()] == ["run.json"]
