"""What is chosen before a training starts, and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gridcell import layers, training
from gridcell.config import TrainConfig
from gridcell.errors import ConfigError, NetworkError
from gridcell.layers import LSTM, RNN
from gridcell.preparation import ImagePreparation
from gridcell.preparation.cache import Decoded
from gridcell.samples import ImageFacts, Samples
from gridcell.training import Job, precision
from gridcell.training.precision import arithmetic
from tests.training.toys import SIDE, images

PREPARATION = ImagePreparation(SIDE, SIDE, 1, "stretch", (128.0,), (60.0,))


def job(memory: Path, *, valid: int = 10, **settings: Any) -> Job:
    """A job on the toy's dark and light pictures."""
    toy = images(60)
    samples = Samples(
        task="classify",
        paths=("",) * 60,
        root="",
        labels=("dark", "light"),
        targets=toy.targets.numpy(),
        digests=np.zeros(60, "V16"),
        facts=ImageFacts(np.full((60, 2), SIDE, np.int32), np.zeros(60, np.bool_)),
        given=np.zeros(60, np.int8),
    )
    rows = np.arange(60)
    config = TrainConfig(**({"net": "conv(4, 3) relu", "epochs": 2} | settings))
    return training.prepare(
        config,
        samples,
        Decoded.whole(toy.pixels),
        PREPARATION,
        train_rows=rows[: 60 - valid],
        valid_rows=rows[60 - valid :],
        memory=memory,
    )


def test_what_was_chosen_is_told(tmp_path: Path) -> None:
    notes = "\n".join(job(tmp_path, precision="float32").notes)
    assert "Network: conv(4, 3) relu flatten dense(2)" in notes
    assert "Epochs: 2, as asked." in notes
    assert "Arithmetic: float32, as asked, on the processor" in notes
    assert "Augmentation: each image at random: mirrored left to right" in notes


def test_little_work_has_its_number_and_not_none_of_a_million(tmp_path: Path) -> None:
    notes = "\n".join(job(tmp_path).notes)
    assert " parameters, 1,584 multiply-adds an item." in notes


@pytest.mark.parametrize(("batch_size", "valid"), [(1, 10), (2, 11)])
@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_single_item_in_a_batch_is_refused_where_batchnorm_has_one_value_of_it(
    tmp_path: Path, batch_size: int, valid: int, precision: str
) -> None:
    settings: dict[str, Any] = {"batch_size": batch_size, "valid": valid, "precision": precision}
    told = (
        rf"^of {60 - valid} items in batches of {batch_size} (each|one) stands alone: batchnorm "
        r"cannot train on \(1, 4\).*\n  Fix: give --batch-size 3 or more, or write layernorm"
    )
    for net in ("flatten dense(4) batchnorm relu", "mirrored(flatten dense(4) batchnorm)"):
        with pytest.raises(ConfigError, match=told):
            job(tmp_path, net=net, **settings)
    for net in ("conv(4, 3) batchnorm relu", "flatten dense(4) layernorm relu dropout(0.5)"):
        job(tmp_path, net=net, **settings)


def test_batches_of_two_and_more_are_enough_for_batchnorm(tmp_path: Path) -> None:
    for batch_size, valid in ((2, 10), (3, 11), (None, 58)):
        job(tmp_path, net="flatten dense(4) batchnorm", batch_size=batch_size, valid=valid)


def test_a_single_item_to_learn_from_is_refused_likewise(tmp_path: Path) -> None:
    told = r"^of 1 item in batches of \d+ one stands alone: .*\n  Fix: write layernorm in"
    with pytest.raises(ConfigError, match=told):
        job(tmp_path, net="flatten dense(4) batchnorm", valid=59, augment=False)


def test_the_engine_that_walks_a_recurrent_layer_is_told(tmp_path: Path) -> None:
    def told(net: str) -> list[str]:
        notes = job(tmp_path, net=net, precision="float32").notes
        return [note for note in notes if note.startswith("Engine: ")]

    assert told("conv(4, 3) relu") == []
    (fused,) = told("rows lstm(4) lstm(4) last")
    assert fused == "Engine: fused, the lstm walks over all steps in one kernel."
    first, second = told("rows lstm(4, recurrent_dropout=0.2) rnn(4) last")
    assert first == (
        "Engine: eager, the lstm walks step by step, slower "
        "(not fused: recurrent_dropout is in no fused kernel)."
    )
    assert second == "Engine: fused, the rnn walks over all steps in one kernel."


def test_augmentation_goes_off_by_one_switch(tmp_path: Path) -> None:
    off = job(tmp_path, augment=False)
    assert off.variation is None and "Augmentation: off." in off.notes
    assert not job(tmp_path, flip="off").variation.flip  # type: ignore[union-attr]


def test_what_was_measured_is_remembered_for_this_network_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: True)
    first = job(tmp_path)
    assert len(list((tmp_path / "precision").iterdir())) == 1

    def no_measuring(*_: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(precision, "_measured", no_measuring)
    again = job(tmp_path)
    assert again.precision.precision == first.precision.precision
    assert "as measured here before" in again.precision.reason
    with pytest.raises(AssertionError, match="measured again"):
        job(tmp_path, net="conv(5, 3) relu")


@pytest.mark.parametrize("net", ["rows lstm(4, peephole)", "rows rnn(4)"])
def test_layers_that_would_round_their_state_stay_in_float32_unless_asked(
    tmp_path: Path, net: str
) -> None:
    def are_alike(**settings: Any) -> bool:
        """Whether the layer gives the same bits in a training step in bfloat16 as in float32."""
        made, seen = job(tmp_path, net=net, **settings), []
        for module in made.network.modules():
            if isinstance(module, LSTM | RNN):
                module.register_forward_hook(lambda _, __, y: seen.append(y))
        for chosen in ("float32", "bfloat16"):
            with arithmetic(chosen, torch.device("cpu")):
                made.network(made.train.batch(np.arange(4)).values, None)
        return seen[1].dtype == torch.float32 and torch.equal(*seen)

    assert are_alike()
    assert not are_alike(precision="bfloat16")
    assert job(tmp_path, net=net, precision="bfloat16").precision.precision == "bfloat16"


@pytest.mark.parametrize("net", ["rows lstm(4)", "rows rnn(4)"])
def test_recurrent_networks_are_measured_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, net: str
) -> None:
    same = precision._First(1.0, (torch.ones(2),))
    measured = {"float32": 2.0, "bfloat16": 1.0}, {"float32": same, "bfloat16": same}
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: True)
    monkeypatch.setattr(precision, "_measured", lambda *_: measured)
    assert job(tmp_path, net=net).precision.precision == "bfloat16"


def test_first_weights_follow_the_seed(tmp_path: Path) -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        return [p.detach() for p in job(tmp_path, seed=seed).network.parameters()]

    assert all(map(torch.equal, weights(1), weights(1)))
    assert not all(map(torch.equal, weights(1), weights(2)))


def test_what_cannot_work_is_refused_before_any_data_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(NetworkError):
        training.check(TrainConfig(net="conv("))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="PyTorch finds no GPU here"):
        training.check(TrainConfig(device="cuda"))


def test_patience_needs_validation_rows(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="patience has no effect without validation rows"):
        job(tmp_path, valid=0, patience=3)


def test_presets_look_at_mirror_images_where_they_mean_the_same(tmp_path: Path) -> None:
    def notation(**settings: Any) -> str:
        return job(tmp_path, net="auto", precision="float32", **settings).network.notation

    assert notation().startswith("mirrored(")
    assert not notation(flip="off").startswith("mirrored(")
    assert not notation(augment=False).startswith("mirrored(")


def test_what_is_found_in_training_rows_is_told_and_kept(tmp_path: Path) -> None:
    made = job(tmp_path, net="mirrored(whiten(2) relu flatten)", precision="float32")
    assert any("Whitening: directions of patches found from 50" in note for note in made.notes)
    (layer,) = (m for m in made.network.modules() if isinstance(m, layers.Whiten))
    assert not torch.equal(layer.slide.weight, layers.Whiten(1, 2, grid_axes=2).slide.weight)
    before = layer.slide.weight.clone()
    made.fit(lambda *_: 0.0, name="accuracy", better="higher", watcher=None)
    assert torch.equal(layer.slide.weight, before)
