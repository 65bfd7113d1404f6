"""What is chosen before a training starts, and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gridcell import training
from gridcell.config import TrainConfig
from gridcell.errors import ConfigError, NetworkError
from gridcell.layers import LSTM, RNN
from gridcell.training import precision
from gridcell.training.plan import MANY_SMALL_PHOTOS, WRITING, plan
from gridcell.training.precision import arithmetic
from gridcell.training.preparing import _with_filters, check

from .toys import job, network


def test_what_was_chosen_is_told(tmp_path: Path) -> None:
    notes = "\n".join(job(tmp_path, precision="float32").notes)
    assert "Network: conv(4, 3) relu flatten dense(2)" in notes
    assert "Epochs: 2, as asked." in notes
    assert "Arithmetic: float32, as asked, on the processor" in notes
    assert "Augmentation: each image at random: mirrored left to right" in notes


def test_little_work_has_its_number_and_not_none_of_a_million(tmp_path: Path) -> None:
    notes = "\n".join(job(tmp_path).notes)
    assert " parameters, 1,584 multiply-adds an item." in notes


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
    measured = {"float32": 2.0, "bfloat16": 1.0}, {"float32": same, "bfloat16": same}, False
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


def test_a_network_without_filters_takes_adamw_in_place_of_muon() -> None:
    config = TrainConfig()
    dense, filters = network("flatten dense(4) relu"), network("conv(4, 3) relu")
    found = _with_filters(MANY_SMALL_PHOTOS, config, dense)
    chosen = plan(config, items=20_000, multiply_adds=1, effort=found)
    assert (chosen.optimizer, chosen.weight_decay) == ("adamw", 0.05)
    assert _with_filters(MANY_SMALL_PHOTOS, config, filters) == MANY_SMALL_PHOTOS
    assert _with_filters(WRITING, config, dense) == WRITING
    with pytest.raises(ConfigError, match="this network has none"):
        _with_filters(WRITING, TrainConfig(optimizer="muon"), dense)


@pytest.mark.parametrize("net", ["flatten dense(4)", "conv(8, 3, groups=8)", "rows", " lstm"])
def test_muon_without_filters_is_refused_before_anything_is_read(net: str) -> None:
    with pytest.raises(ConfigError, match="this network has none"):
        check(TrainConfig(optimizer="muon", net=net))
    check(TrainConfig(net=net))


@pytest.mark.parametrize(
    "net",
    [
        "auto",
        "cnn",
        "residual(conv(8, 3) relu)",
        "mirrored(conv(8, 3))",
        "residual(maxpool(2)) flatten",  # a 1x1 convolution leads around the pool
    ],
)
def test_muon_is_not_refused_where_there_may_be_filters(net: str) -> None:
    check(TrainConfig(optimizer="muon", net=net))
