"""A training that was stopped anywhere goes on to the bits of one that was not."""

from __future__ import annotations

import errno
import itertools
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gridcell import bundle, training
from gridcell.augment.images import ImageAugment
from gridcell.errors import ConfigError, ModelFileError
from gridcell.networks import Network
from gridcell.training import About, Checkpoints, History, State, checkpoint
from gridcell.version import MODEL_FORMAT

from .test_fit import Watching, fitted, is_same, state
from .toys import network, plan

DROPS = "conv(4, 3) batchnorm relu maxpool(2) dropout(0.5)"
LSTM = "rows flatten lstm(6) last dropout(0.2)"
PLAN = plan(epochs=3, ema=0.8, schedule="one-cycle")
ABOUT = About({"path": "x"}, "digest", PLAN, "float32", threads=1)


def net(notation: str = DROPS) -> Network:
    return network(notation)


def run(
    folder: Path, notation: str = DROPS, *, stop_after: int | None = None, **changes: Any
) -> tuple[dict[str, Tensor], History]:
    """Train, or go on where the folder holds a checkpoint; stop after so many steps."""
    trained = net(notation)
    torch.manual_seed(next(NOISE))  # nothing may hang on the global generator
    folder.mkdir(exist_ok=True)
    found: State | None = None
    if checkpoint._found(folder):
        _, found, _ = training.latest(folder)
    history = fitted(
        trained,
        augment=ImageAugment(flip=True, shift=0.1, erase=0.5),
        checkpoints=Checkpoints(folder, ABOUT),
        state=found,
        watcher=Watching(trained, stop_after=stop_after),
        **{"plan": PLAN} | changes,
    )
    return state(trained), history


NOISE = itertools.count()


def same_history(one: History, other: History) -> bool:
    def bare(history: History) -> list[Any]:
        return [
            (r.epoch, r.loss, r.valid_loss, r.valid_score, r.rate, r.is_best)
            for r in history.epochs
        ]

    return bare(one) == bare(other) and one.best_epoch == other.best_epoch


# C28
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
@pytest.mark.parametrize("notation", [DROPS, LSTM])
@pytest.mark.parametrize("stop_after", [1, 4, 5, 6, 10, 14])
def test_stopped_at_any_step_it_ends_with_the_same_bits(
    tmp_path: Path, stop_after: int, notation: str, optimizer: str
) -> None:
    asked = replace(PLAN, optimizer=optimizer)
    whole, history = run(tmp_path / "whole", notation, plan=asked)
    _, cut = run(tmp_path / "cut", notation, plan=asked, stop_after=stop_after)
    assert cut.ended == "interrupted"
    again, gone_on = run(tmp_path / "cut", notation, plan=asked)
    assert is_same(whole, again)
    assert same_history(history, gone_on)
    assert gone_on.ended == history.ended == "all epochs"


def test_stopped_at_every_step_in_turn_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, history = run(tmp_path / "whole")
    for _ in range(14):
        _, cut = run(tmp_path / "cut", stop_after=1)
        assert cut.ended == "interrupted"
    again, gone_on = run(tmp_path / "cut")
    assert is_same(whole, again) and same_history(history, gone_on)


def test_checkpoints_change_nothing(tmp_path: Path) -> None:
    watched, _ = run(tmp_path / "whole")
    plain = net()
    fitted(plain, augment=ImageAugment(flip=True, shift=0.1, erase=0.5), plan=PLAN)
    assert is_same(watched, state(plain))


def test_what_an_interrupted_epoch_scored_is_forgotten(tmp_path: Path) -> None:
    """The half epoch was the best so far; going on, it is as if it had never been scored."""
    _, cut = run(tmp_path / "cut", stop_after=7)
    assert len(cut.epochs) == 2
    _, found, _ = training.latest(tmp_path / "cut")
    assert [r.epoch for r in found.position.records] == [1]
    assert found.position.best_epoch == 1
    assert (found.position.epoch, found.position.step) == (2, 2)


def test_more_epochs_stretch_the_schedule(tmp_path: Path) -> None:
    run(tmp_path / "run")
    _, found, _ = training.latest(tmp_path / "run")
    assert found.position.is_over and found.position.ended == "all epochs"
    trained = net()
    longer = plan(epochs=6, ema=0.8, schedule="one-cycle")
    state_now = State(training_position(found, ended=None), found.tensors)
    history = fitted(trained, plan=longer, state=state_now)
    assert [r.epoch for r in history.epochs] == [1, 2, 3, 4, 5, 6]
    rates = [r.rate for r in history.epochs]
    assert rates[2] < rates[3]  # it had come to its end, and now is half way
    assert rates[5] < rates[4] < rates[3]


def training_position(found: State, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(found.position, **changes)


def test_a_training_that_is_over_is_only_read_again(tmp_path: Path) -> None:
    whole, history = run(tmp_path / "run")
    again, told = run(tmp_path / "run")
    assert is_same(whole, again) and same_history(history, told)
    assert told.ended == "all epochs"


def test_stopped_after_a_budget_cut_its_epoch_that_epoch_still_counts(
    tmp_path: Path, ticking: None
) -> None:
    """The last checkpoint stands in mid-epoch; what was scored of it is scored again."""
    short = plan(epochs=100, ema=0.8, budget_s=9.0)
    whole, history = run(tmp_path / "run", plan=short)
    assert history.ended == "budget"
    _, found, _ = training.latest(tmp_path / "run")
    assert found.position.step > 0  # it was cut
    again, told = run(tmp_path / "run", plan=short)
    assert is_same(whole, again) and same_history(history, told)
    assert told.ended == "budget"


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_more_time_may_begin_to_average_or_go_on_otherwise(
    tmp_path: Path, ticking: None, ema: float
) -> None:
    _, short = run(tmp_path / "run", plan=plan(epochs=20, ema=ema), stop_after=12)
    weights, history = run(tmp_path / "run", plan=plan(epochs=100_000, ema=None, budget_s=99.0))
    assert history.ended == "budget" and history.steps > short.steps == 12
    _, found, _ = training.latest(tmp_path / "run")
    assert found.position.average_steps == history.steps - (12 if ema == 0.0 else 0)
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_early_stopping_counts_on(tmp_path: Path) -> None:
    patient = plan(epochs=50, patience=2)

    def score(answers: Any, targets: Any) -> float:
        return 0.5

    def once(folder: Path, stop_after: int | None = None) -> History:
        return run(folder, plan=patient, score=score, stop_after=stop_after)[1]

    whole = once(tmp_path / "whole")
    once(tmp_path / "cut", stop_after=12)
    again = once(tmp_path / "cut")
    assert again.ended == whole.ended
    assert len(again.epochs) == len(whole.epochs)


def test_the_memory_of_weights_and_optimizer_lies_as_it_did(tmp_path: Path) -> None:
    """Filters lie with channels last; what is read back must not make the fused step slow."""
    run(tmp_path / "cut", "conv(4, 3) relu conv(8, 3) relu", stop_after=3)
    _, found, _ = training.latest(tmp_path / "cut")
    trained = net("conv(4, 3) relu conv(8, 3) relu")
    for parameter in trained.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    optimizer = training.optimizer.choose_optimizer(trained, "adamw", rate=0.1, weight_decay=0.0)
    training.state.restore_optimizer(optimizer, found.under("optimizer."))
    filters = [p for p in trained.parameters() if p.ndim == 4]
    for parameter in filters:
        assert optimizer.state[parameter]["exp_avg"].stride() == parameter.stride()


# --- The files -----------------------------------------------------------------------------------


def written(folder: Path, *, done: int) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"checkpoint-{done:08d}.gridcell"
    position = training.state.Position(done=done, loss_sum=0.1 + 0.2, best_rank=(None, -0.5))
    tensors = {"network.w": torch.full((2, 3), float(done)), "generator": torch.zeros(8).byte()}
    checkpoint.write(path, ABOUT, State(position, tensors))
    return path


def test_what_is_written_is_read_to_the_bit(tmp_path: Path) -> None:
    about, found = checkpoint.read(written(tmp_path, done=3))
    assert about == ABOUT
    assert found.position.loss_sum == 0.1 + 0.2
    assert found.position.best_rank == (None, -0.5)
    assert torch.equal(found.under("network.")["w"], torch.full((2, 3), 3.0))


# C46
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.99])
def test_a_cut_checkpoint_is_named_and_the_one_before_it_taken(
    tmp_path: Path, share: float
) -> None:
    written(tmp_path, done=10)
    newest = written(tmp_path, done=20)
    newest.write_bytes(newest.read_bytes()[: int(share * newest.stat().st_size)])
    _, found, notes = training.latest(tmp_path)
    assert found.position.done == 10
    assert str(newest) in notes[0]
    assert notes[-1] == "Going back to checkpoint-00000010.gridcell: step 10, in epoch 1."


def test_a_changed_number_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path, done=10)
    content = bytearray(path.read_bytes())
    place = bytes(content).index(torch.tensor(10.0).numpy().tobytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelFileError) as caught:
        training.latest(tmp_path)
    assert "is not a safe gridcell bundle, or it is cut" in str(caught.value)
    assert "So no checkpoint of this run can be read.\n  Fix: train again" in str(caught.value)


def test_a_disk_that_fails_for_a_moment_takes_no_training_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, done=10)
    newest = written(tmp_path, done=20)
    read_bytes = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path == newest:
            raise OSError(errno.EIO, "Input/output error")
        return read_bytes(path)

    with monkeypatch.context() as patch, pytest.raises(ModelFileError) as caught:
        patch.setattr(Path, "read_bytes", failing)
        training.latest(tmp_path)
    assert f"{newest} cannot be read: Input/output error.\n  Fix: try once more" in str(
        caught.value
    )
    _, found, notes = training.latest(tmp_path)
    assert found.position.done == 20 and notes == []


@pytest.mark.parametrize("where", ["read", "decode"])
def test_a_full_memory_takes_no_training_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    for done in (10, 20):
        written(tmp_path, done=done)

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    if where == "read":
        monkeypatch.setattr(zipfile.ZipFile, "read", full)
    else:
        monkeypatch.setattr(checkpoint, "load_tensors", full)
    with pytest.raises(MemoryError):
        training.latest(tmp_path)


@pytest.mark.parametrize("are_all", [False, True])
def test_a_checkpoint_of_a_later_version_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, are_all: bool
) -> None:
    """Going back would take it away."""
    for done in (10, 20):
        if are_all or done == 20:
            monkeypatch.setattr(bundle, "MODEL_FORMAT", MODEL_FORMAT + 1)
        written(tmp_path, done=done)
    monkeypatch.undo()
    with pytest.raises(ModelFileError) as caught:
        training.latest(tmp_path)
    assert f"checkpoint-00000020.gridcell has format {MODEL_FORMAT + 1}, w" in str(caught.value)
    assert str(caught.value).endswith("Fix: install that version or a later one.")


def test_a_whole_checkpoint_that_says_other_things_is_not_gone_back_from(tmp_path: Path) -> None:
    written(tmp_path, done=10)
    newest = written(tmp_path, done=20)
    _, tensors = bundle.read(newest, checkpoint.MEMBERS, what="a checkpoint")
    bundle.write(newest, dict(zip(checkpoint.MEMBERS, (b"{}", tensors), strict=True)))
    with pytest.raises(ModelFileError, match="cannot be used") as caught:
        training.latest(tmp_path)
    assert caught.value.fix == "go on with the version of gridcell that wrote it."


def test_a_folder_without_checkpoints_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ConfigError, match="holds no checkpoint") as caught:
            training.latest(folder)
        assert str(folder) in str(caught.value)


def test_two_are_kept_while_it_runs_and_when_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "is_due", property(lambda self: True))
    seen: list[int] = []
    trained = net()

    class Counting(Watching):
        def step(self, record: Any) -> None:
            super().step(record)
            seen.append(len(checkpoint._found(tmp_path)))

    fitted(trained, plan=PLAN, checkpoints=Checkpoints(tmp_path, ABOUT), watcher=Counting(trained))
    assert max(seen) == 2
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-00000014.gridcell", "checkpoint-00000015.gridcell"]


def test_what_is_written_after_going_back_is_the_newest(tmp_path: Path) -> None:
    """The damaged one of a later step is not taken for the newest, and no good one goes for it."""
    for done in (10, 20):
        written(tmp_path, done=done)
    (tmp_path / "checkpoint-00000020.gridcell").write_bytes(b"damaged")
    _, found, _ = training.latest(tmp_path)
    Checkpoints(tmp_path, ABOUT).write(State(training_position(found, done=11), found.tensors))
    _, found, notes = training.latest(tmp_path)
    assert found.position.done == 11 and notes == []
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-00000010.gridcell", "checkpoint-00000011.gridcell"]


# C46
def test_a_full_disk_stops_no_training_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gridcell.errors import StorageError

    def full(path: Path, *_: Any) -> None:
        raise StorageError(f"{path} cannot be written: the disk is full.", fix="free some space.")

    monkeypatch.setattr(checkpoint, "write", full)
    monkeypatch.setattr(Checkpoints, "is_due", property(lambda self: True))
    trained = net()
    watcher = Watching(trained)
    history = fitted(trained, plan=PLAN, checkpoints=Checkpoints(tmp_path, ABOUT), watcher=watcher)
    assert history.ended == "all epochs"
    (note,) = watcher.notes
    assert "the disk is full. The training goes on without it." in note
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_never_become_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss was a number and its gradient was not: the last good state stays the last one."""
    monkeypatch.setattr(Checkpoints, "is_due", property(lambda self: True))

    trained = net("conv(4, 3) relu")

    class Poisoning(Watching):
        """Spoils the weights after the seventh step, as an infinite gradient would."""

        def step(self, record: Any) -> None:
            super().step(record)
            if len(self.steps) == 7:
                with torch.no_grad():
                    next(trained.parameters())[0] = torch.nan

    keeper = Checkpoints(tmp_path, ABOUT)
    history = fitted(trained, plan=PLAN, checkpoints=keeper, watcher=Poisoning(trained))
    assert history.ended == "diverged"
    _, found, _ = training.latest(tmp_path)
    assert found.position.done == 6
    assert all(bool(torch.isfinite(v).all()) for v in found.under("network.").values())
