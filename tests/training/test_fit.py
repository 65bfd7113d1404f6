"""The training loop: it learns, repeats itself to the bit, and ends as it says."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gridcell import training
from gridcell.augment.images import ImageAugment
from gridcell.batches import Images, epoch_batches
from gridcell.errors import TrainingError
from gridcell.layers import BatchNorm
from gridcell.networks.answers import Answers
from gridcell.networks.run import outputs
from gridcell.training import EpochRecord, History, Objective, StepRecord
from gridcell.training.average import WeightAverage
from gridcell.training.precision import Precision

from .toys import OBJECTIVE, images, network, plan

DROPS = "conv(4, 3) batchnorm relu maxpool(2) dropout(0.5)"


def accuracy(answers: Any, targets: Any) -> float:
    return float((answers.argmax(1) == targets).mean())


def scripted(values: Sequence[float | None]) -> Callable[[Any, Any], float | None]:
    """A score that is whatever the script says, an epoch each."""
    left = iter(values)
    return lambda answers, targets: next(left)


def fitted(
    net: nn.Module,
    train: Images | None = None,
    valid: Images | None = None,
    *,
    has_valid: bool = True,
    augment: Any = None,
    **changes: Any,
) -> History:
    chosen = images() if train is None else train
    chosen = replace(chosen, augment=augment)
    valid = (images(20, seed=9) if valid is None else valid) if has_valid else None
    options: dict[str, Any] = {
        "objective": OBJECTIVE,
        "plan": plan(),
        "precision": "float32",
        "score": accuracy,
        "score_name": "accuracy",
        "valid_targets": None if valid is None else valid.targets.numpy()[valid.rows],
        "higher_is_better": True,
        "seed": 0,
    }
    return training.fit(net, chosen, valid, **{**options, **changes})


def state(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def is_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


class Watching:
    """Keeps what it is told, takes the weights after each epoch, and may ask to stop."""

    def __init__(self, net: nn.Module, *, stop_after: int | None = None) -> None:
        self.net, self.stop_after = net, stop_after
        self.steps: list[StepRecord] = []
        self.epochs: list[EpochRecord] = []
        self.weights: list[dict[str, Tensor]] = []
        self.notes: list[str] = []

    def step(self, record: StepRecord) -> None:
        self.steps.append(record)

    def epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record)
        self.weights.append(state(self.net))

    def note(self, text: str) -> None:
        self.notes.append(text)

    @property
    def wants_stop(self) -> bool:
        return self.stop_after is not None and len(self.steps) >= self.stop_after


# --- It learns -----------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_loss_falls_and_the_toy_is_learned(optimizer: str, ema: float) -> None:
    history = fitted(network(), plan=plan(epochs=6, ema=ema, optimizer=optimizer))
    losses = [record.loss for record in history.epochs]
    assert losses[-1] < losses[0] / 2
    assert history.epochs[history.best_epoch - 1].valid_score == 1.0
    assert history.ended == "all epochs"
    assert [record.epoch for record in history.epochs] == [1, 2, 3, 4, 5, 6]


def test_without_labels_to_learn_from_it_does_not_pretend_to() -> None:
    """The toy with its classes shuffled: what is learned above is not an accident."""
    mixed = images(60)
    order = torch.from_numpy(np.random.default_rng(0).permutation(60))
    mixed = Images(mixed.pixels, mixed.targets[order], mixed.rows)
    history = fitted(network(), mixed, images(60, seed=9))
    assert max(record.valid_score or 0 for record in history.epochs) < 0.9


def test_numbers_are_learned() -> None:
    data = images(60)
    brightness = data.pixels.mean((1, 2, 3))[:, None] * 1000.0
    objective = training.choose_objective(
        "regress", brightness, classes=1, label_smoothing=0.0, is_balanced=False
    )
    data = Images(data.pixels, objective.prepare(brightness), data.rows)

    def error(answers: Any, targets: Any) -> float:
        return float(np.abs(answers - targets).mean())

    history = fitted(
        network(outputs=1),
        data,
        data,
        objective=objective,
        plan=plan(epochs=15),
        score=error,
        higher_is_better=False,
        valid_targets=brightness,
    )
    spread = float(np.abs(brightness - brightness.mean()).mean())
    best = history.epochs[history.best_epoch - 1]
    assert best.valid_score is not None and best.valid_score < spread / 3


def test_batchnorm_of_a_short_training_forgets_where_it_began() -> None:
    """Of five batches of eight all pictures count alike, and mean 0 and variance 1 not at all."""
    net, seen = network("batchnorm conv(4, 3) relu maxpool(2)"), images()
    fitted(net, seen, plan=plan(epochs=1))
    (norm,) = (module for module in net.modules() if isinstance(module, BatchNorm))
    whole = (torch.from_numpy(seen.pixels.astype(np.float32)) - 128) / 60
    torch.testing.assert_close(norm.running_mean, whole.mean().view(1), rtol=0, atol=1e-5)
    assert abs(float(norm.running_variance) / float(whole.var()) - 1) < 0.07
    assert norm.seen == 5


def test_every_row_counts_alike_in_the_loss_of_an_epoch() -> None:
    net, data = network(), images(13)
    rate_of_nothing = plan(epochs=1, rate=1e-30, weight_decay=0.0, batch_size=4)
    history = fitted(net, data, plan=rate_of_nothing)
    whole = data.batch(data.rows)
    expected = OBJECTIVE.loss(net(whole.values), whole.targets).item()
    assert history.epochs[0].loss == pytest.approx(expected, rel=1e-3)


def test_the_score_sees_answers_in_the_data_s_own_units() -> None:
    seen: list[Any] = []

    def score(answers: Any, targets: Any) -> float:
        seen.append((answers, targets))
        return 0.0

    valid = images(10, seed=3)
    fitted(network(), valid=valid, score=score, plan=plan(epochs=1))
    answers, targets = seen[0]
    assert answers.shape == (10, 2) and np.allclose(answers.sum(1), 1)
    assert targets.tolist() == valid.targets.tolist()


@pytest.mark.parametrize("net", ["conv(4, 3) batchnorm relu", "globalpool dense(4) batchnorm relu"])
def test_a_last_batch_of_one_item_trains_with_batchnorm(net: str) -> None:
    history = fitted(network(net), images(33), plan=plan(epochs=2, batch_size=32))
    assert all(math.isfinite(record.loss) for record in history.epochs)


def test_training_in_bfloat16_keeps_weights_in_float32() -> None:
    net = network()
    history = fitted(net, precision="bfloat16", plan=plan(epochs=6))
    assert history.epochs[-1].loss < history.epochs[0].loss / 2
    assert all(value.dtype == torch.float32 for value in net.state_dict().values())


# --- It repeats itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("notation", ["conv(4, 3) relu maxpool(2)", DROPS])
def test_the_same_seed_gives_the_same_bits(notation: str) -> None:
    augment = ImageAugment(flip=True, shift=0.1, erase=0.5)

    def trained(seed: int, noise: int) -> tuple[dict[str, Tensor], list[float]]:
        torch.manual_seed(noise)
        np.random.seed(noise)
        net = network(notation, seed=seed)
        history = fitted(net, augment=augment, seed=seed, plan=plan(ema=0.5))
        return state(net), [record.loss for record in history.epochs]

    first, second, other = trained(1, 0), trained(1, 99), trained(2, 0)
    assert first[1] == second[1]
    assert is_same(first[0], second[0])
    assert not is_same(first[0], other[0])


def test_another_seed_is_another_order_and_other_dropout() -> None:
    nets = [network(DROPS, seed=0) for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        fitted(net, seed=seed)
    assert is_same(state(nets[0]), state(nets[1]))
    assert not is_same(state(nets[0]), state(nets[2]))


# --- The best epoch is kept ----------------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_what_is_not_a_number_never_wins(missing: float | None, ema: float) -> None:
    net = network()
    watcher = Watching(net)
    history = fitted(
        net,
        plan=plan(epochs=4, ema=0.0),
        score=scripted([0.5, missing, 0.4, 0.45]),
        higher_is_better=False,
        watcher=watcher,
    )
    assert history.best_epoch == 3
    assert [record.is_best for record in history.epochs] == [True, False, True, False]
    assert is_same(state(net), watcher.weights[2])
    assert not is_same(state(net), watcher.weights[3])


def test_a_first_epoch_without_a_score_gives_way_to_any_score() -> None:
    history = fitted(network(), score=scripted([None, 0.1, 0.05, None]))
    assert history.best_epoch == 2


def test_of_equal_scores_the_lower_loss_wins() -> None:
    history = fitted(network(), score=scripted([0.5, 0.5, 0.5, 0.4]))
    losses = [record.valid_loss or 0 for record in history.epochs[:3]]
    assert losses == sorted(losses, reverse=True)
    assert history.best_epoch == 3


def test_weights_that_overflow_on_validation_rows_never_win() -> None:
    """Finite on training rows, not so on validation rows: no epoch to keep."""

    class Fragile(nn.Module):
        """Gives what is not a number in evaluation from the second epoch on."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = network()
            self.evaluations = 0

        def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
            found = self.inner(values, lengths)
            assert isinstance(found, Tensor)
            if self.training:
                return found
            self.evaluations += 1
            return found * math.nan if self.evaluations == 2 else found

    net = Fragile()
    watcher = Watching(net)
    history = fitted(net, plan=plan(epochs=2), watcher=watcher)
    assert history.epochs[1].valid_loss is None and history.epochs[1].valid_score is None
    assert history.best_epoch == 1
    assert is_same(state(net), watcher.weights[0])


def test_where_no_epoch_gives_finite_outputs_nothing_is_kept() -> None:
    class Broken(nn.Module):
        """Learns, and gives what is not a number in evaluation."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
            found = self.inner(values, lengths)
            assert isinstance(found, Tensor)
            return found if self.training else found * math.inf

    with pytest.raises(TrainingError) as caught:
        fitted(Broken(), plan=plan(epochs=2))
    assert "after no epoch were the network's outputs on the validation rows finite" in str(
        caught.value
    )
    assert "Fix: try a lower rate, for instance --rate 0.001." in str(caught.value)


def test_without_validation_rows_the_last_epoch_is_kept() -> None:
    net = network()
    watcher = Watching(net)
    history = fitted(net, has_valid=False, watcher=watcher)
    assert history.best_epoch == 4
    assert all(record.valid_score is None for record in history.epochs)
    assert is_same(state(net), watcher.weights[-1])


def test_the_averaged_weights_are_what_is_scored_and_kept() -> None:
    net = network()
    last: list[dict[str, Tensor]] = []
    seen: list[Any] = []

    def score(answers: Any, targets: Any) -> float:
        last.append(state(net))
        seen.append(answers)
        return float(len(seen))

    valid = images(20, seed=9)
    watcher = Watching(net)
    fitted(net, valid=valid, plan=plan(ema=0.9), score=score, watcher=watcher)
    assert is_same(state(net), last[-1])
    assert not is_same(state(net), watcher.weights[-1])  # those that training went on with
    kept = OBJECTIVE.answers.of(outputs(net, valid))
    assert (kept == seen[-1]).all()


# --- It stops ------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_and_says_where() -> None:
    net = network()
    with pytest.raises(TrainingError) as caught:
        fitted(net, plan=plan(rate=1e30, batch_size=8, optimizer="sgd"))
    text = str(caught.value)
    assert "the loss became" in text
    assert "in epoch 1, step " in text
    assert "at learning rate 1e+30" in text
    assert "gradient norm " in text
    assert "the batch is finite" in text
    assert "Fix: try a lower rate, for instance --rate 1e+29." in text
    assert caught.value.exit_code == 1


def test_input_that_is_not_finite_is_told_apart_from_a_high_rate() -> None:
    def spoil(values: Tensor, generator: torch.Generator, **_: Tensor) -> Tensor:
        return values.float() * math.nan

    with pytest.raises(TrainingError, match="the batch holds values that are not finite"):
        fitted(network(), augment=spoil)


def test_a_stop_on_a_bad_loss_puts_the_best_weights_back() -> None:
    net = network()
    watcher = Watching(net)
    calls = [0]

    class Bursting(Objective):
        def loss(self, outputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
            calls[0] += outputs.requires_grad
            return super().loss(outputs, targets, lengths) * (math.nan if calls[0] > 12 else 1.0)

    objective = Bursting(Answers("classify"))
    history = fitted(net, objective=objective, score=scripted([0.9, 0.8, 0.7]), watcher=watcher)
    assert history.ended == "diverged"
    assert "the loss became nan in epoch 3, step 3" in history.failure
    assert "diverged in epoch 3: the best weights before that are kept" in history.told()[0]
    assert len(watcher.weights) == 2
    assert is_same(state(net), watcher.weights[0])
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())


@pytest.mark.parametrize("stop_after", [1, 7])
def test_a_stop_request_keeps_a_usable_network(stop_after: int) -> None:
    net = network()
    start = state(net)
    watcher = Watching(net, stop_after=stop_after)
    history = fitted(net, watcher=watcher, plan=plan(epochs=50, ema=0.5))
    assert history.ended == "interrupted"
    assert len(watcher.steps) == stop_after
    assert len(history.epochs) == -(-stop_after // 5)
    assert history.epochs[-1].valid_score is not None  # what there is was scored
    assert not is_same(state(net), start)
    found = outputs(net, images(10))
    assert np.isfinite(found).all()
    assert "interrupted in epoch" in history.told()[0]


def test_early_stopping_fires() -> None:
    history = fitted(
        network(),
        plan=plan(epochs=50, patience=3),
        score=scripted([0.5, 0.7, 0.6, 0.6, 0.69, 0.8]),
    )
    assert history.ended == "early"
    assert len(history.epochs) == 5
    assert history.best_epoch == 2
    assert "stopped after 5 epochs: no better score for a while" in history.told()[0]


def test_an_epoch_without_a_score_does_not_reset_the_patience() -> None:
    history = fitted(
        network(), plan=plan(epochs=50, patience=2), score=scripted([0.5, None, math.nan, 0.9])
    )
    assert history.ended == "early" and len(history.epochs) == 3


def test_early_stopping_needs_validation_rows() -> None:
    history = fitted(network(), has_valid=False, plan=plan(epochs=5, patience=1))
    assert history.ended == "all epochs"


def test_a_budget_ends_in_time(ticking: None) -> None:
    net = network()
    watcher = Watching(net)
    history = fitted(net, plan=plan(epochs=1000, budget_s=20.0), watcher=watcher)
    assert history.ended == "budget"
    assert 20.0 <= history.seconds <= 25.0
    assert history.epochs[-1].epoch < 1000
    assert history.epochs[-1].valid_score is not None
    assert "the time budget is spent" in history.told()[0]


class Timed(nn.Module):
    """A network with a clock: a step takes 0.1 s, scoring what is told for so many items."""

    def __init__(self, scoring_s: Callable[[int], float]) -> None:
        super().__init__()
        self.inner, self.scoring_s, self.now = network(), scoring_s, 0.0

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        self.now += 0.1 if self.training else self.scoring_s(len(values))
        found = self.inner(values, lengths)
        assert isinstance(found, Tensor)
        return found


@pytest.mark.parametrize("has_valid", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("budget_s", [20.0, 30.0, 60.0, 600.0])
def test_a_budget_holds_for_the_whole_command(
    monkeypatch: pytest.MonkeyPatch, budget_s: float, precision: Precision, has_valid: bool
) -> None:
    """On a clock that work alone moves: reading, steps, validations and the last scores. S19

    The shortest ends within the first epoch. The last scores are in float32.
    """
    timed = Timed(lambda items: items * (0.02 if torch.is_autocast_enabled("cpu") else 0.05))
    monkeypatch.setattr(time, "perf_counter", lambda: timed.now)
    around = training.Around(before_s=7.0, scored_after=100)
    history = fitted(
        timed,
        images(400),
        plan=plan(epochs=1000, budget_s=budget_s, batch_size=8),
        around=around,
        precision=precision,
        has_valid=has_valid,
    )
    assert history.ended == "budget"
    whole = 7.0 + history.seconds + 100 * 0.05
    assert whole == pytest.approx(budget_s, rel=0.03)


def test_few_validation_rows_do_not_tell_how_long_many_rows_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scoring takes a while to set up: by the row, five seem to take ten times as long as many."""
    timed = Timed(lambda items: 0.3 + 0.01 * items)
    monkeypatch.setattr(time, "perf_counter", lambda: timed.now)
    history = fitted(
        timed,
        images(320),
        images(5, seed=9),
        plan=plan(epochs=1000, budget_s=20.0, batch_size=16),
        around=training.Around(scored_after=160),
    )
    assert history.ended == "budget"
    assert 0.75 * 20.0 < history.seconds + 0.3 + 160 * 0.01 <= 20.5


def test_the_forecast_says_what_a_budget_is_enough_for(ticking: None) -> None:
    net = network()
    watcher = Watching(net)
    fitted(net, images(400), plan=plan(epochs=1000, budget_s=600.0), watcher=watcher)
    (note,) = watcher.notes
    assert note.startswith("Forecast: ") and "ms a step, " in note and " an epoch: " in note
    assert re.search(r"the budget is enough for about [\d.]+ epochs, [\d.]+ GB of memory so", note)


def test_a_budget_that_is_more_than_enough_still_ends_the_schedule() -> None:
    history = fitted(network(), plan=plan(epochs=3, budget_s=3600.0, schedule="one-cycle"))
    assert history.ended == "all epochs" and len(history.epochs) == 3
    assert history.epochs[-1].rate < 0.2 * max(record.rate for record in history.epochs)


def test_under_a_budget_the_rate_follows_the_time(ticking: None) -> None:
    history = fitted(
        network(), plan=plan(epochs=1000, budget_s=20.0, schedule="one-cycle", rate=0.01)
    )
    rates = [record.rate for record in history.epochs]
    assert max(rates) > 0.009
    assert rates[-1] < 0.001


def test_under_a_budget_the_average_spans_a_fiftieth_of_the_steps_that_there_are(
    ticking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget is enough for a small part of the plan's epochs, which say nothing of its steps."""
    decays: list[float] = []

    class Noted(WeightAverage):
        def update(self) -> None:
            decays.append(self.decay)
            super().update()

    monkeypatch.setattr(sys.modules["gridcell.training.fit"], "WeightAverage", Noted)
    history = fitted(network(), plan=plan(epochs=100_000, budget_s=900.0, ema=None))
    assert history.ended == "budget" and history.steps > 500
    assert decays[-1] == pytest.approx(1 - 50 / history.steps, abs=0.005)
    assert max(decays) < 1 - 25 / history.steps
    decays.clear()
    fitted(network(), plan=plan(epochs=100_000, budget_s=20.0, ema=0.7))
    assert set(decays) == {0.7}  # as asked


def test_the_rate_ends_low_when_all_epochs_are_done() -> None:
    history = fitted(network(), plan=plan(epochs=10, schedule="cosine"))
    assert history.epochs[-1].rate < 0.01 * 0.02
    assert max(record.rate for record in history.epochs) > 0.0099


# --- What it tells -------------------------------------------------------------------------------


def test_steps_and_epochs_are_told_in_order() -> None:
    net = network()
    watcher = Watching(net)
    fitted(net, watcher=watcher, plan=plan(epochs=2))
    assert [(r.epoch, r.step) for r in watcher.steps] == [
        (epoch, step) for epoch in (1, 2) for step in (1, 2, 3, 4, 5)
    ]
    assert all(r.steps == 5 and r.epochs == 2 for r in watcher.steps)
    assert all(r.seconds_left >= 0 and r.items_per_s > 0 for r in watcher.steps)
    assert watcher.steps[-1].seconds_left == 0
    assert watcher.steps[4].loss == pytest.approx(watcher.epochs[0].loss)


def test_items_of_unlike_length_are_trained_to_the_end_of_their_last_epoch() -> None:
    """Sorted by length within a neighbourhood they make more batches than a division tells."""

    class Lengthy(Images):
        def steps(self) -> Any:
            return np.ones(len(self), np.int64)

    made = images(2500)
    data = Lengthy(made.pixels, made.targets, made.rows)
    assert len(epoch_batches(data, size=16, seed=0, epoch=1)) == 160 > 2500 / 16 + 1
    net = network()
    watcher = Watching(net)
    history = fitted(net, data, plan=plan(epochs=2, batch_size=16), watcher=watcher)
    assert history.ended == "all epochs"
    assert [(r.step, r.steps) for r in watcher.steps][-1] == (160, 160)
    assert history.steps == 320


def test_the_history_says_how_it_went() -> None:
    history = fitted(network(), score=scripted([0.5, 0.75, 0.6, 0.6]))
    assert len(history.told()) == 1
    assert history.told()[0].startswith("4 epochs, ")
    assert history.told()[0].endswith("kept: epoch 2, validation accuracy 0.7500.")


def test_the_history_says_that_most_of_a_training_was_in_vain() -> None:
    def history(scores: Sequence[float | None], ended: Any = "budget") -> History:
        known = [score for score in scores if score is not None]
        best = scores.index(max(known)) + 1 if known else len(scores)
        epochs = tuple(
            EpochRecord(number, 0.1, 0.2, score, 0.01, 1.0, number == best)
            for number, score in enumerate(scores, start=1)
        )
        return History(epochs, best, ended, 1.0, 10.0, "accuracy")

    assert history([0.9, *[0.5] * 4, 0.4]).told()[1:] == [
        "None of the 5 epochs after it was better; the last one's validation accuracy is 0.4000."
    ]
    for quiet in (
        history([0.9, *[0.5] * 4]),  # too few to say so
        history([*[0.1] * 6, 0.9, *[0.5] * 5]),  # the most of it was before
        history([0.9, *[0.5] * 9], "early"),  # said already
        history([None] * 8),
    ):
        assert len(quiet.told()) == 1


def test_the_network_is_left_without_a_trace_of_the_average() -> None:
    """Batchnorm's running numbers are those of the kept epoch, as all weights are."""
    net = network("conv(4, 3) batchnorm relu")
    watcher = Watching(net)
    history = fitted(net, plan=plan(ema=0.0), score=scripted([0.5, 0.9, 0.6, 0.6]), watcher=watcher)
    assert history.best_epoch == 2
    norm = next(module for module in net.modules() if isinstance(module, BatchNorm))
    assert is_same(state(net), watcher.weights[1])
    assert (norm.running_mean != 0).any()


def test_steps_use_the_threads_they_are_given_and_scoring_all() -> None:
    before = torch.get_num_threads()
    scored_on: list[int] = []

    def score(answers: Any, targets: Any) -> float:
        scored_on.append(torch.get_num_threads())
        return 1.0

    class Counting(Watching):
        def step(self, record: StepRecord) -> None:
            super().step(record)
            stepped_on.append(torch.get_num_threads())

    stepped_on: list[int] = []
    net = network()
    torch.set_num_threads(3)
    try:
        fitted(net, score=score, watcher=Counting(net), threads=1)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert set(stepped_on) == {1} and set(scored_on) == {3} and after == 3
