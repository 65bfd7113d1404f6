"""A training's illnesses, each made on purpose, and healthy trainings that are left alone. S20"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gridcell import evaluation, networks
from gridcell.axes import Layout
from gridcell.batches import Batch
from gridcell.layers import BatchNorm
from gridcell.networks import Network
from gridcell.training import History, diagnosis
from gridcell.training.diagnosis import Dead, Fit, diagnose
from gridcell.training.precision import PrecisionChoice
from gridcell.training.signals import Signal, Signals, learning_layers
from gridcell.training.state import EpochRecord

from .test_fit import Watching, fitted
from .toys import SIDE, images, job, network, plan

NORMED = "conv(4, 3) batchnorm relu conv(8, 3) batchnorm relu maxpool(2)"


def findings(net: Network, history: History, rate: float = 0.01, **more: Any) -> list[str]:
    found = diagnose(history, rate=rate, layers=list(learning_layers(net)), **more)
    return [finding.text for finding in found]


def trained(notation: str = NORMED, **changes: Any) -> tuple[Network, History]:
    net = network(notation)
    return net, fitted(net, images(80), plan=plan(**changes))


def curve(losses: list[float], *, best: int | None = None, ended: Any = "all epochs") -> History:
    records = [EpochRecord(n, x, x, None, 0.1, 1.0, False) for n, x in enumerate(losses, start=1)]
    return History(tuple(records), best or len(losses), ended, 1.0, 1.0, "accuracy")


def with_updates(history: History, usual: float, *, largest: float | None = None) -> History:
    """The history with steps that changed three layers of norm 1 by so much, the third by most."""
    sizes = [usual] * 5
    sizes[2] = usual if largest is None else largest
    signals = [Signal(step, (1.0,) * 3, (1.0,) * 3, (size,) * 3) for step, size in enumerate(sizes)]
    return replace(history, signals=tuple(signals))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
@pytest.mark.parametrize("notation", [NORMED, "conv(4, 3) relu maxpool(2)", "rows flatten lstm(8)"])
def test_a_training_that_goes_well_is_left_alone(notation: str, optimizer: str) -> None:
    net, history = trained(notation, epochs=6, optimizer=optimizer)
    dead = diagnosis.dead_units(net, images(40))
    fit = Fit("accuracy", 1.0, 0.98, 40, True)
    assert findings(net, history, fit=fit, dead=dead) == []


def test_a_rate_too_low_is_named_with_its_figures() -> None:
    net, history = trained(rate=1e-7, epochs=5)
    (text,) = findings(net, history, 1e-7)
    assert text.startswith("The learning rate 1e-07 was too low: a step changed the weights by ")
    assert "times their size (about 0.002 is usual), and the training loss " in text
    assert text.endswith("Try --rate 0.003, the usual one.")


def test_the_rate_that_is_proposed_for_one_too_low_is_not_too_low() -> None:
    net, history = trained(rate=1e-8, epochs=5)
    text = findings(net, history, 1e-8)[0]
    proposed = float(text.removesuffix(", the usual one.").rstrip(".").rpartition("--rate ")[2])
    again = trained(rate=proposed, epochs=5)
    assert not any("rate" in text for text in findings(*again, proposed))


def test_where_the_usual_rate_is_too_low_the_size_of_its_steps_says_more() -> None:
    history = with_updates(curve([2.3, 2.25, 2.2]), 1e-4)
    (text,) = findings(network(NORMED), history, 0.1, usual_rate=0.1)
    assert text.endswith("Try --rate 2.")


def test_a_rate_whose_steps_would_be_wild_is_not_proposed_though_usual() -> None:
    """Steps of 1e-7 at rate 1e-8 are of 0.03 at the usual 0.003, and no usual step is."""
    few = Fit("accuracy", 0.1, 0.05, 20, True)
    (text,) = findings(network(NORMED), with_updates(curve([2.9, 2.5]), 1e-7), 1e-8, fit=few)
    assert text.endswith("Try --rate 0.001.")


def test_tiny_steps_are_a_rate_too_low_though_the_loss_moves_and_the_rows_are_few() -> None:
    net, noisy = network(NORMED), curve([2.9, 2.5, 2.8])
    few, gap = Fit("accuracy", 0.1, 0.05, 20, True), Fit("accuracy", 0.25, 0.1, 60, True)
    for fit in (few, gap):
        (text,) = findings(net, with_updates(noisy, 1e-7), 1e-8, fit=fit)
        assert (
            f"by 1e-07 times their size (about 0.002 is usual), and accuracy is {fit.train}" in text
        )
    (text,) = findings(net, with_updates(noisy, 1e-7), 1e-8)
    assert "and the training loss fell by 13.8%" in text
    assert findings(net, with_updates(noisy, 2e-4), 1e-8, fit=few) == []
    known = Fit("accuracy", 0.95, 0.95, 20, True)
    assert findings(net, with_updates(noisy, 1e-7), 1e-8, fit=known) == []


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ([0.7099, 0.7301, 0.7441], "the training loss rose from 0.7099 to 0.7441."),
        ([0.7099, 0.7099, 0.7099], "the training loss did not fall."),
        ([0.7, 0.72, 0.69], "the training loss fell by 1.4%."),
    ],
)
def test_a_loss_that_rose_is_not_said_to_have_fallen(losses: list[float], told: str) -> None:
    (text,) = findings(network(NORMED), with_updates(curve(losses), 1e-7), 1e-8)
    assert f"is usual), and {told} Try" in text


def test_small_steps_that_learned_little_are_a_rate_too_low() -> None:
    net = network(NORMED)
    history = with_updates(curve([2.3, 1.9, 1.8]), 1e-4)
    few, enough = Fit("accuracy", 0.4, 0.38, 100, True), Fit("accuracy", 0.95, 0.94, 100, True)
    (text,) = findings(net, history, 1e-4, fit=few)
    assert "was too low" in text and "and accuracy is 0.400 on training rows" in text
    assert text.endswith("Try --rate 0.003, the usual one.")
    assert not any("too low" in text for text in findings(net, history, 1e-4, fit=enough))
    by_heart = Fit("accuracy", 0.85, 0.5, 100, True)
    assert not any("too low" in text for text in findings(net, history, 1e-4, fit=by_heart))
    short = replace(history, signals=history.signals[:4])
    assert not any("too low" in text for text in findings(net, short, 1e-4, fit=few))


@pytest.mark.parametrize("rate", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("notation", [NORMED, "conv(4, 3) relu maxpool(2)", "rows flatten lstm(8)"])
def test_a_rate_far_too_high_is_named_and_nothing_else_is_blamed(
    notation: str, rate: float
) -> None:
    """Large steps kill units, saturate gates and leave much to learn: none of it is the illness."""
    net, history = trained(notation, rate=rate, epochs=4)
    fit = Fit("accuracy", 0.5, 0.5, 40, True)
    text, *others = findings(
        net, history, rate, fit=fit, dead=diagnosis.dead_units(net, images(40))
    )
    assert text.startswith(f"The learning rate {rate:g} was too high: ")
    assert "changed the weights by" in text and "times their size" in text
    assert all(other.startswith("Dead units") for other in others)


@pytest.mark.parametrize("notation", [NORMED, "conv(4, 3) relu maxpool(2)", "rows flatten lstm(8)"])
def test_the_rate_that_is_proposed_for_one_too_high_learns(notation: str) -> None:
    net, history = trained(notation, rate=3.0, epochs=4)
    proposed = float(findings(net, history, 3.0)[0].rpartition("--rate ")[2].rstrip("."))
    better, again = trained(notation, rate=proposed, epochs=4)
    assert findings(better, again, proposed) == []
    assert min(r.loss for r in again.epochs) < 0.8 * again.epochs[0].loss


def test_a_rate_that_is_beyond_measure_is_answered_with_the_usual_one() -> None:
    net = network(NORMED)
    (text,) = findings(net, with_updates(curve([2.3, 80.0, 9e9]), 4e4), 1e6)
    assert text.endswith("Try --rate 0.003, the usual one.")
    (text,) = findings(net, with_updates(curve([2.3, 80.0, 9e9]), 4e4), 0.1)
    assert text.endswith("Try --rate 0.0001.")


def test_large_steps_are_a_rate_too_high_only_where_little_was_learned() -> None:
    net, falling = network(NORMED), with_updates(curve([2.3, 1.5, 1.2]), 0.02, largest=0.15)
    (text,) = findings(net, falling, 0.3, fit=Fit("accuracy", 0.6, 0.6, 100, True))
    assert "step 3 changed the weights by 0.15 times their size, and accuracy is 0.600" in text
    assert text.endswith("Try --rate 0.02.")
    assert findings(net, falling, 0.3, fit=Fit("accuracy", 0.99, 0.98, 100, True)) == []
    assert findings(net, falling, 0.3) == []
    flat = with_updates(curve([2.3, 2.25, 2.2]), 0.02, largest=0.15)
    assert "and the training loss fell by 4.3%" in findings(net, flat, 0.3)[0]


def test_units_that_large_steps_killed_are_a_rate_too_high() -> None:
    net, history = network(NORMED), with_updates(curve([2.3, 2.25, 2.2]), 0.02, largest=0.05)
    text, beside = findings(net, history, 0.3, dead=[Dead("relu 2", 31, 32)])
    assert beside.startswith("Dead units: 31 of the 32 of relu 2")
    assert "31 of the 32 units of relu 2 died, and the training loss fell by 4.3%" in text
    assert not any("too high" in each for each in findings(net, history, 0.3))


def test_units_that_die_at_the_usual_rate_are_not_the_rate_s_doing() -> None:
    net, history = network(NORMED), with_updates(curve([2.3, 2.25, 2.2]), 0.02, largest=0.05)
    (text,) = findings(net, history, 3e-3, dead=[Dead("relu 2", 31, 32)])
    assert text.startswith("Dead units: 31 of the 32 of relu 2 are zero for every item looked at.")
    assert text.endswith("Batchnorm before that relu keeps them alive.")


def test_a_training_that_blew_up_has_no_rate_of_nothing_proposed() -> None:
    history = with_updates(curve([1.0, 0.9]), 0.02, largest=1e7)
    assert findings(network(NORMED), history, 1.0)[0].endswith("Try --rate 0.001.")


def test_a_loss_that_jumps_up_is_a_rate_too_high() -> None:
    net = network(NORMED)
    (text,) = findings(net, curve([1.0, 0.5, 0.9, 0.4]))
    assert "the training loss rose from 0.5 to 0.9 in epoch 3" in text
    assert findings(net, curve([1.0, 0.5, 0.6, 0.4])) == []


def test_of_many_epochs_a_single_one_may_jump_by_chance() -> None:
    net, falling = network(NORMED), [1.0 * 0.97**epoch for epoch in range(40)]
    once = [*falling[:30], 2.0, *falling[31:]]
    assert findings(net, curve(once)) == []
    (text,) = findings(net, curve([*falling[:30], 2.0, 1.8, 1.7, *falling[33:]]))
    assert "the training loss rose from 0.413 to 2 in epoch 31" in text


def test_gradients_that_vanish_are_named_with_their_layer() -> None:
    """Twelve layers of sigmoids: what reaches the first has passed slopes of at most a quarter."""
    deep = "flatten " + " ".join(["dense(8) sigmoid"] * 12)
    net, history = trained(deep, epochs=2)
    found = findings(net, history)
    text = next(text for text in found if text.startswith("Gradients vanish: in layer "))
    assert "layer 2, dense(8)" in text  # the flatten before it has nothing to learn
    assert "of the strongest layer's" in text


def test_gradients_that_explode_are_named_with_step_and_layer() -> None:
    net = network(NORMED)
    history = fitted(net, images(80), plan=plan(epochs=6))
    signals = list(history.signals)
    wild = tuple(1e4 * norm for norm in signals[3].gradients)
    signals[3] = replace(signals[3], gradients=wild)
    text = findings(net, replace(history, signals=tuple(signals)))[0]
    assert text.startswith("Gradients exploded: their norm was ")
    assert f"at step {signals[3].step + 1} where" in text
    assert "most of it in layer " in text


def test_dead_units_are_counted() -> None:
    net = network("conv(10, 3) relu maxpool(2)")
    biases = [p for name, p in net.named_parameters() if name.endswith("bias") and len(p) == 10]
    with torch.no_grad():
        biases[0][:4] = -1e4
    (dead,) = diagnosis.dead_units(net, images(40))
    assert dead == Dead("relu 1", 4, 10)
    assert net.training
    (text,) = findings(net, curve([1.0, 0.5]), dead=[dead])
    assert text == (
        "Dead units: 4 of the 10 of relu 1 are zero for every item looked at. Batchnorm before "
        "that relu keeps them alive."
    )


def test_batchnorm_is_no_cure_of_dead_units_that_it_stands_before() -> None:
    net = network("conv(10, 3) batchnorm relu maxpool(2)")
    norm = next(module for module in net.modules() if isinstance(module, BatchNorm))
    with torch.no_grad():
        norm.bias[:4] = -1e4
    (dead,) = diagnosis.dead_units(net, images(40))
    assert dead == Dead("relu 1", 4, 10, is_normed=True)
    (text,) = findings(net, curve([1.0, 0.5]), dead=[dead])
    assert text.endswith("are zero for every item looked at.")


def test_batchnorm_keeps_units_alive_that_large_biases_would_kill() -> None:
    """The cure that is named works: what a conv adds, a batchnorm behind it takes away."""
    net = network("conv(10, 3) batchnorm relu maxpool(2)")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.sub_(0.5 * (parameter.ndim > 1))
    net.train()
    for _ in range(50):
        net(images(40).batch(np.arange(40)).values)
    assert diagnosis.dead_units(net, images(40))[0].dead == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_the_units_of_lenet_live(seed: int) -> None:
    """Its dense layer; without the batchnorm behind it a quarter of the units and more are dead."""
    lenet = networks.choose_network("lenet", Layout(1, (SIDE, SIDE), steps=1)).notation
    shares = []
    for notation in (lenet, lenet.replace(" batchnorm", "")):
        net = network(notation, seed=seed)
        fitted(net, images(80), plan=plan(epochs=6, rate=0.003))
        *_, last = diagnosis.dead_units(net, images(40))
        shares.append(last.dead / last.units)
    assert shares[0] < 0.02 and shares[1] > 0.2


@pytest.mark.parametrize("notation", ["rows flatten lstm(4) last dense(6) relu", "dense(6) relu"])
def test_units_behind_the_last_step_are_counted_too(notation: str) -> None:
    net = network(notation if "rows" in notation else f"conv(2, 3) relu flatten {notation}")
    with torch.no_grad():
        next(p for p in net.parameters() if p.shape == (6,))[:2] = -1e4
    *_, dead = diagnosis.dead_units(net, images(40))
    assert (dead.dead, dead.units) == (2, 6)


def test_units_that_answer_to_one_class_alone_are_alive(tmp_path: Path) -> None:
    """Items lie sorted by class: those looked at are drawn at random."""
    made = images(4000)
    order = torch.argsort(made.targets, stable=True).numpy()
    data = replace(made, pixels=made.pixels[order], targets=made.targets[order])
    assert len(set(data.sample(256, seed=0).truths().tolist())) == 2
    assert len(set(data.truths()[:256].tolist())) == 1


def test_units_that_live_in_padding_alone_are_dead() -> None:
    net = networks.build("dense(3) relu mean", Layout(1, (), steps=None), outputs=2)
    for parameter in net.parameters():
        parameter.data.zero_()
    dead = diagnosis.dead_units(net, _Steps())  # type: ignore[arg-type]
    assert dead == [Dead("relu 1", 3, 3)]


class _Steps:
    """Two series of unlike length."""

    rows, cells = torch.arange(2).numpy(), 1

    def __len__(self) -> int:
        return 2

    def steps(self) -> Any:
        return torch.tensor([2, 5]).numpy()

    def batch(self, places: Any, generator: Any = None) -> Any:
        return Batch(torch.ones(2, 5, 1), torch.tensor([2, 5]), torch.zeros(2).long(), places)


@pytest.mark.parametrize(
    ("train", "valid", "higher", "told"),
    [
        (0.99, 0.80, True, "It overfits: accuracy 0.990 on training rows, 0.800 on validation"),
        (0.99, 0.95, True, None),
        (0.70, 0.69, True, "It could learn more: accuracy 0.700 on training rows, 0.690 on"),
        (0.97, 0.965, True, None),
        (1.0, 3.0, False, "It overfits: accuracy 1.000 on training rows, 3.000 on validation"),
        (1.0, 1.2, False, None),
    ],
)
def test_training_and_validation_rows_are_compared(
    train: float, valid: float, higher: bool, told: str | None
) -> None:
    fit = Fit("accuracy", train, valid, 100, higher)
    found = findings(network(), curve([1.0, 0.8, 0.7]), fit=fit)
    assert (found == []) if told is None else found[0].startswith(told)
    few = Fit("accuracy", train, valid, 29, higher)
    assert findings(network(), curve([1.0, 0.8, 0.7]), fit=few) == []


def test_cures_of_overfitting_are_those_not_taken_yet(tmp_path: Path) -> None:
    every = ", ".join(diagnosis.CURES)
    fit = Fit("accuracy", 0.99, 0.80, 100, True)
    assert findings(network(), curve([1.0, 0.8]), fit=fit)[0].endswith(f"then {every}.")
    plain = job(tmp_path, net="conv(4, 3) relu", epochs=1, augment=False)
    assert plain._cures() == list(diagnosis.CURES)
    tried = job(tmp_path, net="conv(4, 3) relu flatten dense(4) dropout(0.5)", epochs=1)
    assert tried._cures() == ["a larger --weight-decay", "a smaller --net"]
    text = findings(network(), curve([1.0, 0.8]), fit=fit, cures=tried._cures())[0]
    assert text.endswith("More items help most, then a larger --weight-decay, a smaller --net.")


def test_a_score_that_bfloat16_makes_another_is_explained() -> None:
    fit = Fit("accuracy", 0.2, 0.25, 20, True)
    assert fit.told() == (
        "The kept network has accuracy 0.2000 on 20 training rows as they are, not varied, and "
        "0.2500 on the validation rows."
    )
    assert "on 1 training row as it is, not varied, and" in replace(fit, rows=1).told()
    told = replace(fit, differs_in_bfloat16=True).told()
    assert told.endswith("rows, in float32 as the model answers; epochs are scored in bfloat16.")


def test_a_network_that_learned_by_heart_is_seen_by_its_job(tmp_path: Path) -> None:
    """Classes without a meaning: training rows are known, validation rows are guessed."""
    big = "conv(64, 3) batchnorm relu flatten dense(128) relu"
    made = job(tmp_path, valid=30, net=big, epochs=40, augment=False, rate=0.003)
    mixed = made.train.targets[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    made = replace(
        made,
        train=replace(made.train, targets=mixed),  # type: ignore[type-var]
        valid=replace(made.valid, targets=mixed),  # type: ignore[type-var]
        valid_targets=mixed.numpy()[made.valid.rows],  # type: ignore[union-attr]
        truths_of=lambda items: mixed.numpy()[items.rows],
    )

    def accuracy(answers: Any, targets: Any) -> float | None:
        return evaluation.quick("classify", answers, targets, "accuracy")

    history = made.fit(accuracy, name="accuracy", better="higher", watcher=None)
    found = made.diagnose(history, made.predicted(), accuracy, better="higher")
    assert found.fit is not None and found.fit.train > found.fit.valid + 0.1
    assert any(f.text.startswith("It overfits: accuracy ") for f in found.findings)
    assert found.told()[0].startswith("The kept network has accuracy ")
    assert "on 30 training rows as they are, not varied, and " in found.told()[0]
    assert not found.fit.differs_in_bfloat16
    in_bfloat16 = replace(made, precision=PrecisionChoice("bfloat16", "as asked"))
    best = replace(history.epochs[history.best_epoch - 1], valid_score=0.123)
    other = replace(history, epochs=(best,), best_epoch=1)
    again = in_bfloat16.diagnose(other, made.predicted(), accuracy, better="higher")
    assert again.fit is not None and again.fit.differs_in_bfloat16


def test_signals_are_taken_all_along_and_survive_a_stop() -> None:
    net = network(NORMED)
    history = fitted(net, images(80), plan=plan(epochs=6), watcher=Watching(net))
    steps = [signal.step for signal in history.signals]
    assert steps == sorted(set(steps)) and 20 <= len(steps) <= 60
    assert all(len(s.gradients) == len(learning_layers(net)) for s in history.signals)
    assert all(min(s.weights) > 0 and min(s.updates) > 0 for s in history.signals)


@pytest.mark.parametrize("size", [1e-30, 1e-14, 1.0, 1e14, 1e30])
def test_norms_of_signals_are_numpys_whatever_their_size(size: float) -> None:
    net = network(NORMED)
    looked = Signals(net, 1)
    looked.before(0)
    values = np.random.default_rng(0)
    for parameter in net.parameters():
        found = size * values.standard_normal(parameter.shape)
        parameter.grad = torch.from_numpy(found.astype(np.float32))
    looked.after()
    for norm, layer in zip(looked.taken[0].gradients, learning_layers(net).values(), strict=True):
        every = np.concatenate([p.grad.double().flatten().numpy() for p in layer])
        assert norm == pytest.approx(np.linalg.norm(every), rel=1e-5)


def test_names_of_layers_are_those_of_the_notation() -> None:
    net = networks.build(
        "conv(4, 3) relu residual(conv(4, 3) relu conv(4, 3)) globalpool",
        Layout(1, (SIDE, SIDE), steps=1),
        outputs=2,
    )
    names = list(learning_layers(net))
    assert names[0] == "layer 1, conv(4, 3)"
    assert names[1].startswith("layer 3, residual(conv(4, 3)")
    assert names[2] == "layer 5, dense(2)"
