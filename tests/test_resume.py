"""Going on with a run: from the command line and in Python, after a stop, a kill, or its end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

import gridcell
from gridcell import bundle, cli, folds, networks, pipeline, record
from gridcell.axes import Layout
from gridcell.batches import Batch
from gridcell.config import from_mapping
from gridcell.errors import ConfigError, ModelFileError, SourceError
from gridcell.networks import Choice, Network, presets
from gridcell.preparation import cache
from gridcell.resuming import _with_more, resume
from gridcell.training import About, Checkpoints, PrecisionChoice, checkpoint, preparing
from gridcell.training.objective import Objective
from gridcell.training.plan import EFFORTS
from gridcell.training.step import TrainingStep
from tests.pictures import SETTINGS, paint, strict_json
from tests.recordings import SOUND_NET, Listening, speakers, tones
from tests.test_cli import Run as Command
from tests.test_cli import refused, run
from tests.training.toys import plan

assert run  # the fixture

NET = "conv(8, 3) batchnorm relu maxpool(2) dropout(0.3)"
SRC = Path(gridcell.__file__).parent.parent


class Stopping(Listening):
    """Asks to stop after so many steps."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after, self.seen = after, 0

    def step(self, _: Any) -> None:
        self.seen += 1
        self.wants_stop = self.seen >= self.after


def train(path: Path, out: Path, teller: Any = None, **settings: Any) -> pipeline.Run:
    chosen = SETTINGS | {"net": NET, "ema": 0.9, "batch_size": 8, "patience": 99} | settings
    return pipeline.train(from_mapping(path, chosen, out=out), teller)


def weights(folder: Path) -> bytes:
    return (folder / "model.gridcell").read_bytes()


# C28
@pytest.mark.parametrize("stop_after", [1, 5, 13])
def test_a_stopped_run_goes_on_to_the_same_model(
    toy: Path, tmp_path: Path, stop_after: int
) -> None:
    train(toy, tmp_path / "whole")
    cut = train(toy, tmp_path / "cut", Stopping(stop_after))
    assert cut.was_interrupted
    teller = Listening()
    gone_on = resume(tmp_path / "cut", teller=teller)
    assert gone_on.folder == tmp_path / "cut"
    assert weights(tmp_path / "whole") == weights(tmp_path / "cut")
    assert f"Resuming {tmp_path / 'cut'}" in teller.text
    assert f"After {stop_after} step{'' if stop_after == 1 else 's'} and " in teller.text
    one, other = (strict_json(tmp_path / n / "run.json") for n in ("whole", "cut"))
    assert one["scores"] == other["scores"]
    losses = [[e["loss"] for e in r["training"]["history"]["epochs"]] for r in (one, other)]
    assert losses[0] == losses[1] and len(losses[0]) == 6


# C28
@pytest.mark.parametrize(
    ("used", "there", "told"),
    [
        (1, 2, ""),
        (1, 4, "Threads: a step takes 1 as before, scoring 4 in place of 2, so"),
        (None, 4, "Threads: 2 before, 4 now, so"),
        (2, 1, "Threads: 2 before, 1 now, so"),
    ],
)
def test_a_step_goes_on_with_as_many_threads_as_before(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    used: int | None,
    there: int,
    told: str,
) -> None:
    choice = PrecisionChoice("float32", "as the test has it", threads=used)
    monkeypatch.setattr(preparing, "measured_precision", lambda *_, **__: choice)
    before, teller = torch.get_num_threads(), Listening()
    torch.set_num_threads(2)
    try:
        train(toy, tmp_path / "cut", Stopping(1))
        torch.set_num_threads(there)
        stepped_on: list[int] = []
        taken = TrainingStep.take

        def take(step: TrainingStep, batch: Batch, rate: float) -> float:
            stepped_on.append(torch.get_num_threads())
            return taken(step, batch, rate)

        monkeypatch.setattr(TrainingStep, "take", take)
        resume(tmp_path / "cut", teller=teller)
    finally:
        torch.set_num_threads(before)
    assert set(stepped_on) == {min(used or there, there)}
    assert (told in teller.text) if told else ("Threads:" not in teller.text)
    used_now = f", {used} of {there} threads." if used and used < there else f", {there} thread"
    assert f"Arithmetic: float32{f' on {used} thread' if used else ''}" in teller.text
    assert used_now in teller.text


# C28
def test_sounds_and_their_augmentation_go_on_to_the_same_model(tmp_path: Path) -> None:
    data = tones(tmp_path / "tones")
    settings: dict[str, Any] = {"net": SOUND_NET + " lstm(4) last dropout(0.2)", "epochs": 3}
    train(data, tmp_path / "whole", **settings)
    train(data, tmp_path / "cut", Stopping(4), **settings)
    resume(tmp_path / "cut")
    assert weights(tmp_path / "whole") == weights(tmp_path / "cut")


# C28
def test_what_was_found_in_training_rows_goes_on_too(toy: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"net": "mirrored(whiten(2) relu maxpool(2) flatten)", "epochs": 3}
    train(toy, tmp_path / "whole", **settings)
    train(toy, tmp_path / "cut", Stopping(4), **settings)
    resume(tmp_path / "cut")
    assert weights(tmp_path / "whole") == weights(tmp_path / "cut")


# C28
def test_members_that_are_drawn_for_short_batches_go_on_too(toy: Path, tmp_path: Path) -> None:
    """Batches of 9 items teach four of five members, another four at each step."""
    settings: dict[str, Any] = {"net": "globalpool", "members": 5, "epochs": 3}
    with pytest.raises(ConfigError, match="batches of 8 are too small for 5 members"):
        train(toy, tmp_path / "refused", **settings)
    settings |= {"batch_size": 10}  # 37 items, in batches of 10 and 9
    train(toy, tmp_path / "whole", **settings)
    train(toy, tmp_path / "cut", Stopping(4), **settings)
    resume(tmp_path / "cut")
    assert weights(tmp_path / "whole") == weights(tmp_path / "cut")
    heard = Listening()
    resume(tmp_path / "cut", epochs=4, teller=heard)
    assert "Epochs: 4, as asked; 5 members share the items of each" in heard.text


def test_a_run_goes_on_with_the_network_it_began_though_its_preset_changed(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"net": "tiny", "members": 2, "epochs": 2}
    train(toy, tmp_path / "whole", **settings)
    train(toy, tmp_path / "cut", Stopping(3), **settings)
    other = Choice("conv(3, 3) relu globalpool", "another")
    monkeypatch.setitem(presets.PRESETS, "tiny", lambda _: other)
    resume(tmp_path / "cut")
    assert weights(tmp_path / "whole") == weights(tmp_path / "cut")


def as_an_earlier_gridcell(folder: Path, forget: Callable[[dict[str, Any]], Any]) -> None:
    """Take out of the checkpoints of a run what earlier versions did not keep."""
    for path in folder.glob("checkpoint-*.gridcell"):
        described, tensors = bundle.read(path, checkpoint.MEMBERS, what="a checkpoint")
        content = json.loads(described)
        assert forget(content["about"])
        parts = (json.dumps(content).encode(), tensors)
        bundle.write(path, dict(zip(checkpoint.MEMBERS, parts, strict=True)))


@pytest.mark.parametrize("members", [1, 2])
def test_a_checkpoint_without_its_network_is_refused_where_the_preset_changed(
    run: Command, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    cut, settings = tmp_path / "cut", {"net": "tiny", "members": members, "epochs": 2}
    whole = train(toy, tmp_path / "whole", **settings)
    train(toy, cut, Stopping(3), **settings)
    as_an_earlier_gridcell(cut, lambda about: about.pop("notation"))
    other = Choice("conv(3, 3) relu globalpool", "another")
    monkeypatch.setitem(presets.PRESETS, "tiny", lambda _: other)
    said = run("train", cut, "--resume")
    refused(
        said,
        f"{cut}: the weights of its checkpoint do not fit the network ",
        "conv(3, 3) relu globalpool",
        "An earlier gridcell wrote it, without the network that it had built, and to that version "
        "tiny was another one.",
        f'Fix: name the network as that training printed it: gridcell train {cut} --resume --net "',
    )
    assert "Go on:" not in said.err  # so it would not
    wrong = run("train", cut, "--resume", "--net", "conv(4, 3) relu")
    refused(
        wrong, "its checkpoint do not fit the network conv(4, 3) relu flatten dense(2).", "--net"
    )
    assert "An earlier" not in wrong.err
    named = run("train", cut, "--resume", "--net", "tiny")
    refused(named, "net tiny: a preset may be another", "Fix: name the network in notation")
    printed = whole.model.network.notation
    assert run("train", cut, "--resume", "--net", printed).code == 0
    assert weights(tmp_path / "whole") == weights(cut)
    refused(run("train", cut, "--resume", "--net", printed), "net has no effect beside resume")


def test_a_fold_without_its_network_goes_on_with_the_version_that_began_it(
    toy: Path, tmp_path: Path
) -> None:
    """Another network may not be named for one fold of many."""
    train(toy, tmp_path / "cut", Stopping(3))
    about, state, _ = checkpoint.latest(tmp_path / "cut")
    about = replace(about, notation=None, fold=0)
    other = networks.build("conv(3, 3)", Layout(3, (8, 8), steps=1), outputs=2)
    with pytest.raises(ModelFileError, match="Fix: go on with the version of gridcell that wrote"):
        checkpoint.check_fits(tmp_path, other, about, state)


def test_a_checkpoint_without_its_network_goes_on_where_the_preset_is_the_same(
    toy: Path, tmp_path: Path
) -> None:
    train(toy, tmp_path / "whole", net="tiny", epochs=2)
    train(toy, tmp_path / "cut", Stopping(3), net="tiny", epochs=2)
    as_an_earlier_gridcell(tmp_path / "cut", lambda about: about.pop("notation"))
    resume(tmp_path / "cut")
    assert weights(tmp_path / "whole") == weights(tmp_path / "cut")


def test_a_checkpoint_whose_plan_names_no_optimizer_goes_on_with_that_of_the_settings(
    toy: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"optimizer": "sgd", "rate": 0.01, "epochs": 2}
    train(toy, tmp_path / "whole", **settings)
    train(toy, tmp_path / "cut", Stopping(3), **settings)
    as_an_earlier_gridcell(tmp_path / "cut", lambda about: about["plan"].pop("optimizer"))
    resume(tmp_path / "cut")
    assert weights(tmp_path / "whole") == weights(tmp_path / "cut")


@pytest.mark.parametrize("asked", [None, 0.3])
def test_label_smoothing_goes_on_as_it_began(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: float | None
) -> None:
    settings: dict[str, Any] = {"epochs": 2, "label_smoothing": asked}
    whole = Listening()
    train(toy, tmp_path / "whole", whole, **settings)
    train(toy, tmp_path / "cut", Stopping(3), **settings)
    train(toy, tmp_path / "earlier", Stopping(3), **settings)
    as_an_earlier_gridcell(tmp_path / "earlier", lambda about: about["plan"].pop("label_smoothing"))
    # Another version may choose another one.
    monkeypatch.setitem(EFFORTS, "images", replace(EFFORTS["images"], label_smoothing=0.5))
    resume(tmp_path / "cut")
    resume(tmp_path / "earlier")
    assert weights(tmp_path / "whole") == weights(tmp_path / "cut") == weights(tmp_path / "earlier")
    assert ("label smoothing 0.3" in whole.text) == (asked is not None)
    new = Listening()
    train(toy, tmp_path / "new", new, **settings)
    same = weights(tmp_path / "whole") == weights(tmp_path / "new")
    assert same == (asked is not None) and ("label smoothing 0.5" in new.text) != same


def test_the_data_are_found_from_anywhere(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train(Path("toy"), tmp_path / "cut", Stopping(3))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert resume(tmp_path / "cut").history.ended == "all epochs"


def test_the_command_goes_on_and_says_how(run: Command, toy: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    train(toy, cut, Stopping(3))
    said = run("train", cut, "--resume")
    assert said.code == 0
    assert f"Resuming {cut}" in said.out
    assert f"To train on: gridcell train {cut} --resume --budget +10m" in said.out
    refused(run("train", cut, "--resume"), "that training is done (all epochs).", "--budget +10m")


def test_more_epochs_go_on_where_it_ended(run: Command, toy: Path, tmp_path: Path) -> None:
    train(toy, tmp_path / "run", epochs=2)
    said = run("train", tmp_path / "run", "--resume", "--epochs", "5")
    assert said.code == 0
    found = strict_json(tmp_path / "run" / "run.json")
    assert [e["epoch"] for e in found["training"]["history"]["epochs"]] == [1, 2, 3, 4, 5]
    assert found["settings"]["train"]["epochs"] == 5
    refused(
        run("train", tmp_path / "run", "--resume", "--epochs", "3"),
        "epochs = 3: 5 are done already.",
    )


def test_more_time_goes_on_where_it_ended(toy: Path, tmp_path: Path) -> None:
    first = train(toy, tmp_path / "run", epochs=2)
    more = resume(tmp_path / "run", budget="+2s")
    assert len(more.history.epochs) > 2
    assert more.history.ended == "budget"
    assert more.history.seconds == pytest.approx(first.history.seconds + 2, abs=1.0)
    with pytest.raises(ConfigError, match="of training are spent already"):
        resume(tmp_path / "run", budget="1s")


def test_a_lower_rate_may_be_given(toy: Path, tmp_path: Path) -> None:
    train(toy, tmp_path / "cut", Stopping(7), schedule="constant")
    gone_on = resume(tmp_path / "cut", rate=1e-4)
    rates = [record.rate for record in gone_on.history.epochs]
    assert rates == [0.02] + [1e-4] * 5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--net", "lenet"], "net has no effect beside resume"),
        (["--target", "x"], "target has no effect beside resume"),
        (["--valid", "0.2"], "valid has no effect beside resume"),
        (["--out", "there"], "out has no effect beside resume"),
    ],
)
def test_what_the_run_keeps_is_refused(
    run: Command, toy: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    train(toy, tmp_path / "cut", Stopping(3))
    refused(run("train", tmp_path / "cut", "--resume", *words), told, "Fix: leave --")


def test_a_folder_that_is_no_run_is_named(run: Command, toy: Path, tmp_path: Path) -> None:
    refused(run("train", toy, "--resume"), "toy holds no checkpoint", "runs/photos")
    refused(run("train", toy, "--budget", "+10m"), "is on top of one that was spent", "--resume")


def test_other_data_are_refused(toy: Path, tmp_path: Path) -> None:
    train(toy, tmp_path / "cut", Stopping(3))
    paint(toy / "red" / "another.png", (200, 60, 40), seed=77)
    with pytest.raises(SourceError, match="these are not the data that the training began with"):
        resume(tmp_path / "cut")


def test_data_that_were_moved_are_named(run: Command, toy: Path, tmp_path: Path) -> None:
    train(toy, tmp_path / "whole")
    train(toy, tmp_path / "cut", Stopping(5))
    moved = toy.rename(tmp_path / "elsewhere")
    refused(
        run("train", tmp_path / "cut", "--resume"),
        f"{toy} does not exist, and the run learns from it.",
        f"gridcell train {tmp_path / 'cut'} --resume --data PATH",
    )
    said = run("train", tmp_path / "cut", "--resume", "--data", tmp_path / "nope")
    refused(said, "nope does not exist", "Fix: name the place where the data lie now with --data.")
    assert "put it back" not in said.err
    said = run("train", tmp_path / "cut", "--resume", "--data", moved)
    assert said.code == 0
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert strict_json(tmp_path / "cut" / "run.json")["settings"]["path"] == str(moved)
    assert run("train", tmp_path / "cut", "--resume", "--epochs", "9").code == 0  # it is remembered


@pytest.mark.skipif(sys.platform != "linux", reason="names there are any bytes")
def test_a_place_whose_name_is_no_utf_8_is_found(toy: Path, tmp_path: Path) -> None:
    train(toy, tmp_path / "whole")
    train(toy, tmp_path / "cut", Stopping(5))
    moved = toy.rename(tmp_path / os.fsdecode(b"caf\xe9"))
    resume(tmp_path / "cut", data=moved)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert strict_json(tmp_path / "cut" / "run.json")["settings"]["path"].endswith("caf\\udce9")


def test_other_data_at_the_named_place_are_refused(run: Command, toy: Path, tmp_path: Path) -> None:
    train(toy, tmp_path / "cut", Stopping(5))
    moved = toy.rename(tmp_path / "elsewhere")
    paint(moved / "red" / "another.png", (200, 60, 40), seed=77)
    for place, told in (
        ("nowhere", "nowhere does not exist"),
        ("elsewhere", "elsewhere: these are not the data that the training began with."),
    ):
        said = run("train", tmp_path / "cut", "--resume", "--data", tmp_path / place)
        refused(said, told, "Fix: ")
    refused(run("train", moved, "--data", moved), "data has no effect without resume", "Fix: ")


def in_parts(toy: Path, to: Path, *, is_swapped: bool = False) -> Path:
    """The files of a folder in folders train, valid and test; swapped, one of test and train."""
    for kind in sorted(path.name for path in toy.iterdir()):
        files = sorted((toy / kind).iterdir())
        if is_swapped:
            files[0], files[-1] = files[-1], files[0]
        for number, file in enumerate(files):
            part = {0: "test", 1: "test", 2: "valid", 3: "valid"}.get(number, "train")
            (to / part / kind).mkdir(parents=True, exist_ok=True)
            (to / part / kind / file.name).write_bytes(file.read_bytes())
    return to


def forget_the_split(folder: Path) -> None:
    """Make the checkpoints what they were before the split was kept."""
    as_an_earlier_gridcell(folder, lambda about: about.pop("split_digest"))


def test_data_that_are_split_otherwise_are_refused(toy: Path, tmp_path: Path) -> None:
    """Else rows that were learned from would be scored as test rows."""
    cut = tmp_path / "cut"
    train(in_parts(toy, tmp_path / "given"), cut, Stopping(5))
    swapped = in_parts(toy, tmp_path / "swapped", is_swapped=True)
    with pytest.raises(
        SourceError, match="but split otherwise, so that it would be scored on"
    ) as e:
        resume(cut, data=swapped)
    assert str(swapped) in str(e.value) and "begin a new training" in str(e.value)
    forget_the_split(cut)
    assert resume(cut, data=in_parts(toy, tmp_path / "moved")).history.ended == "all epochs"


@pytest.mark.parametrize("is_before_digests", [False, True])
def test_a_run_that_did_not_know_all_copies_is_refused(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_before_digests: bool
) -> None:
    """Its copies in another format may stand on two sides."""
    for file in sorted(toy.rglob("*.png"))[::2]:
        Image.open(file).save(file.with_suffix(".bmp"))
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_alike", lambda *_: {})
        patch.setenv("GRIDCELL_CACHE", str(tmp_path / "earlier"))
        train(toy, tmp_path / "cut", Stopping(5))
    if is_before_digests:
        forget_the_split(tmp_path / "cut")
    with pytest.raises(SourceError, match=r"learned from\. Copies whose files differ stand on one"):
        resume(tmp_path / "cut")
    train(toy, tmp_path / "new", Stopping(5))
    assert resume(tmp_path / "new").history.ended == "all epochs"


def test_one_process_at_a_time(toy: Path, tmp_path: Path) -> None:
    class Second(Stopping):
        def epoch(self, _: Any) -> None:
            with pytest.raises(ConfigError, match="another process is training there"):
                resume(tmp_path / "cut")

    train(toy, tmp_path / "cut", Second(5), epochs=2)


def test_a_diverged_run_without_anything_good_leaves_nothing(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(gridcell.errors.TrainingError) as caught:
        train(toy, tmp_path / "run", optimizer="sgd", rate=1e6)
    assert "Its items: " in str(caught.value) and ".png" in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("is_second", [False, True])
def test_stopped_between_the_last_step_and_the_model_only_that_is_written(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_second: bool
) -> None:
    train(toy, tmp_path / "whole", epochs=4)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    if is_second:
        train(toy, tmp_path / "cut", epochs=3)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(record, "write", killed)
        if is_second:
            resume(tmp_path / "cut", epochs=4)
        else:
            train(toy, tmp_path / "cut", epochs=4)
    gone_on = resume(tmp_path / "cut")
    assert len(gone_on.history.epochs) == 4 and gone_on.history.ended == "all epochs"
    assert gone_on.scores is not None and gone_on.model_file.exists()
    if not is_second:  # else the schedule was another one
        assert weights(tmp_path / "whole") == weights(tmp_path / "cut")


@pytest.mark.parametrize(
    ("stop", "told"),
    [
        (KeyboardInterrupt(2), "gridcell: interrupted.\n  Go on: gridcell train {} --resume"),
        (MemoryError(), "the memory is full.\n  Fix: give a smaller --batch-size"),
    ],
)
def test_what_stops_the_work_says_how_to_go_on(
    run: Command,
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: BaseException,
    told: str,
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise stop

    monkeypatch.setattr(record, "write", stopped)
    out = tmp_path / "cut"
    said = run("train", toy, "--epochs", "1", "--net", NET, "--out", out)
    assert said.code in (130, 2)
    assert told.format(out) in said.err
    assert f"Go on: gridcell train {out} --resume" in said.err


def test_a_memory_that_fills_up_late_costs_no_checkpoint(
    run: Command, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "is_due", property(lambda self: True))
    take, seen = TrainingStep._gradients, [0]

    def narrow(self: TrainingStep, batch: Any) -> float:
        seen[0] += 1
        if seen[0] > 12:
            raise MemoryError
        return take(self, batch)

    monkeypatch.setattr(TrainingStep, "_gradients", narrow)
    out = tmp_path / "run"
    words = ["--net", NET, "--epochs", "4", "--batch-size", "8", "--precision", "float32"]
    refused(run("train", toy, *words, "--out", out), "the memory is full even with 1 item", "Go on")
    monkeypatch.setattr(TrainingStep, "_gradients", take)
    assert run("train", out, "--resume").code == 0
    assert run("train", toy, *words, "--out", tmp_path / "whole").code == 0
    assert weights(out) == weights(tmp_path / "whole")


def test_after_a_full_memory_it_goes_on_with_fewer_items_at_a_time(
    run: Command, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps are those of before but for rounding: what they learn from stays the same."""
    plain: dict[str, Any] = {"net": "conv(8, 3) relu maxpool(2)", "precision": "float32"}
    whole = train(toy, tmp_path / "whole", **plain)
    train(toy, tmp_path / "cut", Stopping(5), **plain)
    seen: list[int] = []
    forward = Objective.loss

    def watched(self: Objective, predicted: Any, targets: Any, lengths: Any = None) -> Any:
        if predicted.requires_grad:
            seen.append(len(targets))
        return forward(self, predicted, targets, lengths)

    monkeypatch.setattr(Objective, "loss", watched)
    said = run("train", tmp_path / "cut", "--resume", "--batch-size", "3")
    assert said.code == 0
    assert "At most 3 items at a time" in said.out and "still learns from 8" in said.out
    assert "The last bits of the weights will differ" in said.out
    assert "Steps: batches of 8 in pieces of at most 3 items, adamw" in said.out
    assert max(seen) <= 3
    again = gridcell.load(tmp_path / "cut" / "model.gridcell").network.state_dict()
    for name, value in whole.model.network.state_dict().items():
        torch.testing.assert_close(again[name], value, rtol=1e-3, atol=1e-4)
    assert strict_json(tmp_path / "cut" / "run.json")["training"]["history"]["parts"] == 3


def test_a_size_that_was_too_small_is_replaced_by_the_next(
    run: Command, toy: Path, tmp_path: Path
) -> None:
    """Of one item at a time batchnorm learns nothing, and what failed is no end of the run."""
    cut = tmp_path / "cut"
    train(toy, cut, Stopping(5), net="flatten dense(8) batchnorm relu")
    said = run("train", cut, "--resume", "--batch-size", "1")
    refused(
        said, "batchnorm", "Fix: take more items at a time: --resume with a larger --batch-size"
    )
    said = run("train", cut, "--resume", "--batch-size", "4")
    assert said.code == 0 and "At most 4 items at a time" in said.out
    assert strict_json(cut / "run.json")["training"]["history"]["parts"] == 2
    said = run("train", cut, "--resume", "--epochs", "7", "--batch-size", "8")
    assert said.code == 0 and "The 8 items of a step are taken at once again." in said.out
    assert strict_json(cut / "run.json")["training"]["history"]["parts"] == 1


@pytest.mark.parametrize("size", [0, -3, 65_537])
def test_a_size_that_is_none_is_refused_in_python_too(toy: Path, tmp_path: Path, size: int) -> None:
    train(toy, tmp_path / "cut", Stopping(3))
    with pytest.raises(ConfigError, match=f"batch_size = {size} is out of range: it must be 1 to"):
        gridcell.resume(tmp_path / "cut", batch_size=size, quiet=True)


# C46
@pytest.mark.parametrize("stop_after", [None, 6])
def test_a_damaged_checkpoint_goes_back_to_the_one_before_it(
    run: Command,
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_after: int | None,
) -> None:
    """Of a training that is over too: what was damaged is trained again, to the same bits."""
    monkeypatch.setattr(Checkpoints, "is_due", property(lambda self: True))
    train(toy, tmp_path / "whole", epochs=3)
    cut = tmp_path / "cut"
    train(toy, cut, stop_after and Stopping(stop_after), epochs=3)
    older, newest = sorted(cut.glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:1000])
    step = int(older.stem[-8:])
    said = run("train", cut, "--resume")
    assert said.code == 0
    assert f"  ! Going back to {older.name}: step {step}, in epoch " in said.out
    assert str(newest) in said.out
    assert weights(cut) == weights(tmp_path / "whole")


def test_without_a_checkpoint_that_can_be_read_that_is_said(
    run: Command, toy: Path, tmp_path: Path
) -> None:
    train(toy, tmp_path / "cut", Stopping(6))
    for path in (tmp_path / "cut").glob("checkpoint-*"):
        path.write_bytes(b"")
    said = run("train", tmp_path / "cut", "--resume")
    refused(said, "So no checkpoint of this run can be read.", "Fix: train again")
    assert said.code == 2


@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_budget_counts_from_the_start_of_the_process(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_resumed: bool
) -> None:
    """Loading PyTorch took all of its ten minutes but a tenth of a second."""
    out = tmp_path / "run"
    if is_resumed:
        train(toy, out, Stopping(3))
    words = [out, "--resume"] if is_resumed else [toy, "--net", NET, "--out", out]
    budget = "+10m" if is_resumed else "10m"
    monkeypatch.setattr(cli, "STARTED", time.perf_counter() - 599.9)
    monkeypatch.setattr(sys, "argv", ["gridcell", "train", *map(str, words), "--budget", budget])
    began = time.perf_counter()
    assert cli.main() == 0
    assert time.perf_counter() - began < 60
    history = strict_json(out / "run.json")["training"]["history"]
    assert history["ended"] == "budget"
    assert strict_json(out / "run.json")["seconds"] > 599


def test_the_clock_of_a_process_begins_before_anything_is_loaded_that_takes_long() -> None:
    heavy = "torch numpy cyclopts msgspec rich"
    code = f"import gridcell, sys; sys.exit(bool(set(sys.modules) & set({heavy.split()})))"
    loaded = "assert 'gridcell.process' in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    words = [sys.executable, "-c", code.replace("; sys.exit", f"; {loaded}; sys.exit")]
    assert subprocess.run(words, env=environment).returncode == 0


@pytest.mark.parametrize("size", ["8", "64"])
def test_batches_that_are_not_smaller_are_refused(
    run: Command, toy: Path, tmp_path: Path, size: str
) -> None:
    train(toy, tmp_path / "cut", Stopping(3))
    said = run("train", tmp_path / "cut", "--resume", "--batch-size", size)
    refused(said, f"batch_size {size}: each step of this run learns from 8", "Fix: give fewer")


def test_a_memory_that_is_full_in_evaluation_costs_no_model(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain: dict[str, Any] = {"net": NET, "precision": "float32"}
    whole = train(toy, tmp_path / "whole", **plain)
    forward = Network.forward

    def narrow(self: Network, x: Any, lengths: Any = None) -> Any:
        if not self.training and len(x) > 3:
            raise MemoryError
        return forward(self, x, lengths)

    monkeypatch.setattr(Network, "forward", narrow)
    notes: list[str] = []

    class Noting(Listening):
        def note(self, text: str) -> None:
            notes.append(text)

    run = train(toy, tmp_path / "narrow", Noting(), **plain)
    assert weights(tmp_path / "narrow") == weights(tmp_path / "whole")
    assert run.scores is not None and whole.scores is not None
    assert run.scores["log loss"].value == pytest.approx(whole.scores["log loss"].value, 1e-5)
    told = [text for text in notes if "scored at a time" in text]
    assert told[0].startswith("The memory is full: ") and "-> 3 items scored" in told[-1]


def test_a_memory_too_small_to_score_one_item_names_what_a_training_can_change(
    run: Command, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = train(toy, tmp_path / "run", epochs=1).model_file
    forward = Network.forward

    def narrow(self: Network, x: Any, lengths: Any = None) -> Any:
        if not self.training:
            raise MemoryError
        return forward(self, x, lengths)

    monkeypatch.setattr(Network, "forward", narrow)
    words = ["--net", NET, "--epochs", "1", "--out", tmp_path / "narrow"]
    refused(run("train", toy, *words), "even with 1 item at a time, without", "a smaller --net")
    for command in ("predict", "evaluate"):
        said = run(command, out, toy)
        refused(said, "even with 1 item at a time, without", "Fix: end other programs")
        assert "--" not in said.err


def test_what_a_kill_in_the_first_write_leaves_is_swept(
    run: Command, toy: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".checkpoint-00000000.gridcell.0123abcd.part").write_bytes(b"half")
    (tmp_path / "run" / record.CLAIM_FILE).touch()
    said = run("train", toy, "--epochs", "1", "--net", NET, "--out", tmp_path / "run")
    assert said.code == 0
    assert not [p for p in (tmp_path / "run").iterdir() if p.name.startswith(".")]


def test_a_retry_leaves_nothing_of_what_diverged(toy: Path, tmp_path: Path) -> None:
    """Stopped early in its second try, it is that one which goes on."""
    wild: dict[str, Any] = {"optimizer": "sgd", "on_divergence": "retry", "ema": 0.0}
    wild |= {"net": "conv(8, 3) relu", "rate": 4.0}

    class Second(Stopping):
        """Counts the steps from the second beginning on."""

        def step(self, record: Any) -> None:
            if "Diverged" in self.text:
                super().step(record)

    cut = train(toy, tmp_path / "cut", Second(3), **wild)
    assert cut.was_interrupted
    resume(tmp_path / "cut")
    whole = train(toy, tmp_path / "whole", **wild)
    assert weights(tmp_path / "cut") == weights(whole.folder)


def test_where_the_time_went_is_told_when_asked(run: Command, toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["--epochs", "2", "--net", NET, "--profile", "--out", out]
    more = ["--resume", "--epochs", "3", "--profile"]
    for said in (run("train", toy, *words), run("train", out, *more)):
        assert said.code == 0 and "Where the time went" in said.out
        for what in ("forward", "backward", "reading data", "validation", "to vary."):
            assert what in said.out
    assert "Where the time went" not in run("train", out, "--resume", "--epochs", "4").out


def test_more_epochs_and_more_time_at_once_are_refused(toy: Path, tmp_path: Path) -> None:
    train(toy, tmp_path / "run", epochs=1)
    with pytest.raises(ConfigError, match="epochs and budget both say how long"):
        resume(tmp_path / "run", epochs=5, budget="+10m")


def test_in_python_as_on_the_command_line(toy: Path, tmp_path: Path) -> None:
    train(toy, tmp_path / "run", epochs=2)
    for epochs in (3, 4):
        assert (
            len(gridcell.resume(tmp_path / "run", epochs=epochs, quiet=True).history.epochs)
            == epochs
        )
    run = gridcell.resume(str(tmp_path / "run"), epochs=5)
    assert run.history.ended == "all epochs"


# C05
def test_a_diverged_run_is_trained_once_more_if_asked(toy: Path, tmp_path: Path) -> None:
    wild: dict[str, Any] = {"optimizer": "sgd", "on_divergence": "retry", "ema": 0.0}
    teller = Listening()
    once = train(toy, tmp_path / "run", teller, rate=4.0, net="conv(8, 3) relu", **wild)
    assert once.history.ended == "all epochs" and not once.history.failure
    assert "Diverged\nthe loss became " in teller.text
    assert "Once more from the start: --rate 0.4" in teller.text
    assert strict_json(tmp_path / "run" / "run.json")["training"]["plan"]["rate"] == 0.4
    plain = train(
        toy, tmp_path / "plain", rate=0.4, net="conv(8, 3) relu", optimizer="sgd", ema=0.0
    )
    assert weights(once.folder) == weights(plain.folder)
    with pytest.raises(gridcell.errors.TrainingError, match="the loss became"):
        train(toy, tmp_path / "again", rate=1e6, net="conv(8, 3) relu", **wild)
    assert not (tmp_path / "again").exists()


# --- Cross-validation ----------------------------------------------------------------------------


def test_a_cross_validation_goes_on_to_the_same_models(run: Command, tmp_path: Path) -> None:
    table = speakers(tmp_path / "data")
    settings = SETTINGS | {
        "target": ("pitch",),
        "net": SOUND_NET,
        "epochs": 3,
        "folds": "fold",
        "ema": 0.5,
    }
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    folds.cross_validate(from_mapping(table, settings, out=whole))
    stopped = folds.cross_validate(from_mapping(table, settings, out=cut), Stopping(5))
    assert stopped.was_interrupted and len(stopped.runs) == 1
    refused(run("train", cut, "--resume", "--epochs", "9"), "on a cross-validation that goes on")
    for option in ("--epochs", "--batch-size"):
        said = run("train", cut / "fold-0", "--resume", option, "3")
        refused(said, "no effect on a fold", f"Fix: leave {option} out.")
    elsewhere = table.parent.rename(tmp_path / "elsewhere") / table.name
    refused(run("train", cut, "--resume"), "does not exist, and the run learns from it", "--data")
    as_it_was = elsewhere.read_text()
    elsewhere.write_text(as_it_was.replace("person 0,0", "person 0,1"))
    said = run("train", cut, "--resume", "--data", elsewhere)
    refused(said, "but split otherwise")
    elsewhere.write_text(as_it_was)
    said = run("train", cut, "--resume", "--data", elsewhere)
    assert said.code == 0 and "Over 3 of 3 folds" in said.out
    for fold in ("fold-0", "fold-1", "fold-2"):
        assert weights(whole / fold) == weights(cut / fold)
    one, other = (strict_json(folder / "run.json") for folder in (whole, cut))
    assert one["scores"] == other["scores"] and one["folds"] == other["folds"]


# --- Killed --------------------------------------------------------------------------------------


def command(*words: str | Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    words = (sys.executable, "-u", "-m", "gridcell", "train", *map(str, words))
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE)


# C46
@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bits(toy: Path, tmp_path: Path) -> None:
    """SIGKILL wherever its words have come to: reading, training, scoring, writing.

    Not after so many seconds: on a fast machine all of it would be over by then.
    """
    settings = ["--net", NET, "--batch-size", "8", "--precision", "float32", "--epochs", "300"]
    settings += ["--cache", str(tmp_path / "cache")]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert ended(command(toy, *settings, "--out", whole)) == 0
    draw = random.Random(0)
    kills = 0
    # About 18 lines are said before the first epoch, and then 60 on all of them.
    moments = [*(draw.randint(1, 24) for _ in range(8)), b"Trained"]
    for moment in [*moments, None]:
        has_begun = bool(checkpoint._found(killed))
        words = [killed, "--resume"] if has_begun else [toy, *settings, "--out", killed]
        process = command(*words)
        if moment is not None:
            read_on(process, moment)
            process.send_signal(signal.SIGKILL)
        code = ended(process)
        kills += code == -signal.SIGKILL
        if code == 0:
            break
    assert kills >= 8
    assert weights(whole) == weights(killed)
    assert not [path for path in killed.iterdir() if path.name.endswith(".part")]


def read_on(process: subprocess.Popen[bytes], moment: int | bytes) -> None:
    """Read so many lines of what a process says, or until one begins so."""
    assert process.stdout is not None
    for number, line in enumerate(process.stdout, start=1):
        if number == moment or (isinstance(moment, bytes) and line.startswith(moment)):
            return


def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end, reading on, so that a full pipe stops nothing; return the exit code."""
    process.communicate()
    return process.returncode


@pytest.mark.parametrize(("asked", "expected"), [(None, None), (0.9, 0.98)])
def test_more_time_leaves_the_average_to_the_clock_unless_it_was_asked_for(
    asked: float | None, expected: float | None
) -> None:
    train = {"ema": asked, "patience": None, "members": 1}
    about = About({"train": train}, "digest", plan(epochs=9, ema=0.98), "float32", threads=1)
    state: Any = SimpleNamespace(position=SimpleNamespace(elapsed_s=5.0, epoch=3))
    found = _with_more(about, state, budget="+10s", epochs=None, rate=None)
    assert (found.plan.ema, found.plan.budget_s) == (expected, 15.0)
