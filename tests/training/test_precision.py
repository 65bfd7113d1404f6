"""Which arithmetic is taken, and what the choice says of itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gridcell.layers import set_generator
from gridcell.training import precision
from gridcell.training.precision import (
    PrecisionChoice,
    Way,
    arithmetic,
    choose_precision,
    on_threads,
)

from .toys import OBJECTIVE, images, network

CPU = torch.device("cpu")


def real_loss(net: nn.Module) -> Tensor:
    data = images(8)
    batch = data.batch(data.rows)
    return OBJECTIVE.loss(net(batch.values), batch.targets)


def must_not_run(net: nn.Module) -> Tensor:
    raise AssertionError("nothing was to be measured")


def choose(
    asked: Any = "auto",
    *,
    loss: Callable[[nn.Module], Tensor] = must_not_run,
    remembered: Any = None,
) -> PrecisionChoice:
    return choose_precision(asked, network(), loss, CPU, remembered=remembered)


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Make a step take so many seconds in float32 and in bfloat16, without waiting."""

    def set_to(float32: float, bfloat16: float) -> None:
        now = [0.0]
        step = [0.0]

        def enter(chosen: str, device: torch.device) -> Any:
            step[0] = float32 if chosen == "float32" else bfloat16
            return arithmetic(chosen, device)  # type: ignore[arg-type]

        def read() -> float:
            now[0] += step[0]
            return now[0]

        monkeypatch.setattr(precision, "arithmetic", enter)
        monkeypatch.setattr(precision.time, "perf_counter", read)

    return set_to


LONG = {"float32": [(0.97, 0.21), (0.96, 0.22)], "bfloat16": [(0.95, 0.11), (0.91, 0.10)]}
ALONE = {"float32": [(0.22, 0.21), (0.23, 0.20)], "bfloat16": [(0.10, 0.10), (0.11, 0.09)]}
SHORT = {"float32": [(0.012, 0.004)], "bfloat16": [(0.010, 0.002)]}


@pytest.mark.parametrize(
    ("times", "device", "expected"),
    [
        (LONG, "cpu", (0.21, 0.10)),  # others had the processor most of the time
        (ALONE, "cpu", (0.22, 0.10)),
        (SHORT, "cpu", (0.012, 0.010)),  # threads that wait for each other
        (LONG, "cuda", (0.96, 0.91)),  # the processor waits for the GPU
    ],
)
def test_what_other_programs_take_of_long_steps_does_not_count(
    times: dict[Any, Any], device: str, expected: tuple[float, float]
) -> None:
    taken = {each: [precision._Times(*took) for took in some] for each, some in times.items()}
    found, is_disturbed = precision._undisturbed(taken, torch.device(device))
    assert (found["float32"], found["bfloat16"]) == expected
    assert is_disturbed == (expected == (0.21, 0.10))


COARSE = {"float32": [(0.040, 0.0156)], "bfloat16": [(0.013, 0.0), (0.013, 0.0156)]}


@pytest.mark.parametrize("system", ["win32", "linux"])
def test_a_clock_that_is_too_coarse_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr(precision.sys, "platform", system)
    taken: Any = {each: [precision._Times(*t) for t in some] for each, some in COARSE.items()}
    found, is_disturbed = precision._undisturbed(taken, CPU)
    assert not is_disturbed and found == {"float32": 0.040, "bfloat16": 0.013}


def test_that_other_programs_were_in_the_way_is_said(
    monkeypatch: pytest.MonkeyPatch, bfloat16: None, four_threads: None
) -> None:
    same = precision._First(1.0, (torch.ones(3),))
    measured = ({"float32": 0.02, "bfloat16": 0.01}, dict.fromkeys(precision.BOTH, same), True)
    monkeypatch.setattr(precision, "_measured", lambda *_: measured)
    found = choose()
    assert (found.precision, found.threads) == ("bfloat16", None)  # no threads are tried
    assert found.reason == (
        "bfloat16: 10 ms a step in bfloat16, 20 in float32, without what other programs took"
    )


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
@pytest.mark.parametrize("remembered", [None, Way("float32"), Way("bfloat16", 1)])
def test_what_is_asked_wins_and_nothing_is_measured(asked: str, remembered: Way | None) -> None:
    assert choose(asked, remembered=remembered) == PrecisionChoice(asked, f"{asked}, as asked")  # type: ignore[arg-type]


@pytest.mark.parametrize("remembered", ["float32", "bfloat16"])
def test_what_is_remembered_wins_over_a_measurement(bfloat16: None, remembered: str) -> None:
    found = choose(remembered=Way(remembered))  # type: ignore[arg-type]
    assert found.precision == remembered and found.threads is None
    assert found.reason == f"{remembered}, as measured here before"


def test_threads_are_remembered_with_the_arithmetic(bfloat16: None) -> None:
    found = choose(remembered=Way("bfloat16", 1))
    told = "bfloat16 on 1 thread, as measured here before"
    assert found == PrecisionChoice("bfloat16", told, threads=1)


def test_without_bfloat16_it_is_float32_whatever_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    found = choose(loss=real_loss, remembered=Way("bfloat16"))
    assert found.precision == "float32"
    assert "this processor has no bfloat16 instructions" in found.reason


def test_the_faster_is_taken_and_both_times_are_said(bfloat16: None, clock: Any) -> None:
    clock(0.020, 0.010)
    found = choose(loss=real_loss)
    assert found.precision == "bfloat16"
    assert "10 ms a step in bfloat16" in found.reason and "20 in float32" in found.reason


def test_a_gain_of_less_than_a_tenth_is_not_worth_it(bfloat16: None, clock: Any) -> None:
    clock(0.020, 0.019)
    assert choose(loss=real_loss).precision == "float32"


@pytest.mark.parametrize("change", [1.2, float("nan"), float("inf")])
def test_bfloat16_that_changes_the_loss_is_not_safe(
    bfloat16: None, clock: Any, change: float
) -> None:
    clock(0.020, 0.001)

    seen: list[torch.dtype] = []

    def loss(net: nn.Module) -> Tensor:
        data = images(8)
        batch = data.batch(data.rows)
        outputs = net(batch.values)
        seen.append(outputs.dtype)
        value = OBJECTIVE.loss(outputs, batch.targets)
        return value * change if outputs.dtype == torch.bfloat16 else value

    found = choose(loss=loss)
    assert torch.bfloat16 in seen and torch.float32 in seen
    assert found.precision == "float32"
    assert "bfloat16 changes the loss by" in found.reason


@pytest.mark.parametrize(("factor", "told"), [(-1.0, "200%"), (0.0, "100%")])
def test_another_gradient_is_not_safe_though_the_loss_is_the_same(
    bfloat16: None, clock: Any, factor: float, told: str
) -> None:
    """A kernel of a processor that computes something else leaves a first loss nearly alone."""
    clock(0.020, 0.001)

    def loss(net: nn.Module) -> Tensor:
        data = images(8)
        batch = data.batch(data.rows)
        outputs = net(batch.values)
        value = OBJECTIVE.loss(outputs, batch.targets)
        if outputs.dtype == torch.bfloat16:
            value = value.detach() + (value - value.detach()) * factor
        return value

    found = choose(loss=loss)
    assert found.precision == "float32"
    assert found.reason == f"float32: bfloat16 changes the gradient by {told}"


def test_dropout_is_the_same_in_both_and_makes_no_difference_of_the_losses(
    bfloat16: None, clock: Any
) -> None:
    """Of few features of which half are dropped, two draws are far apart."""
    net = network("flatten dense(8) relu dropout(0.5)")
    clock(0.020, 0.010)
    for _ in range(5):
        assert choose_precision("auto", net, real_loss, CPU).precision == "bfloat16"
    alone = copy.deepcopy(net).train()
    losses = []
    for number in range(5):
        set_generator(alone, torch.Generator().manual_seed(number))
        losses.append(float(real_loss(alone).detach()))
    spread = (max(losses) - min(losses)) / min(losses)
    assert spread > precision.LARGEST_LOSS_CHANGE  # so another draw would have been refused


def test_measuring_leaves_the_network_as_it_was(bfloat16: None) -> None:
    net = network("conv(4, 3) batchnorm relu dropout(0.5)")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.eval()
    choose_precision("auto", net, real_loss, CPU)
    assert not net.training
    assert all(p.grad is None for p in net.parameters())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_arithmetic_is_what_it_says() -> None:
    net, data = network(), images(4)
    values = data.batch(data.rows).values
    with arithmetic("float32", CPU):
        assert net(values).dtype == torch.float32
    with arithmetic("bfloat16", CPU):
        assert net(values).dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in net.parameters())


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seconds_on(monkeypatch: pytest.MonkeyPatch, four_threads: None) -> Any:
    """Make a step take so many seconds by its threads and arithmetic."""

    def set_to(seconds: dict[int, tuple[float, float]]) -> list[int]:
        asked: list[int] = []

        def measured(
            network: nn.Module, loss: Any, device: torch.device, tried: Any
        ) -> tuple[dict[str, float], dict[str, Any], bool]:
            asked.append(torch.get_num_threads())
            took = dict(zip(("float32", "bfloat16"), seconds[asked[-1]], strict=True))
            same = precision._First(1.0, (torch.ones(3),))
            return {each: took[each] for each in tried}, dict.fromkeys(tried, same), False

        monkeypatch.setattr(precision, "_measured", measured)
        return asked

    return set_to


def test_a_short_step_is_taken_on_the_threads_on_which_it_is_shortest(
    bfloat16: None, seconds_on: Any
) -> None:
    asked = seconds_on({4: (0.006, 0.0058), 1: (0.005, 0.004), 2: (0.0045, 0.003)})
    found = choose()
    assert asked == [4, 1, 2]
    assert (found.precision, found.threads) == ("bfloat16", 2)
    assert found.reason == (
        "bfloat16 on 2 threads: 3.0 ms a step, 6.0 on all "
        "(5.8 ms a step in bfloat16, 6.0 in float32)"
    )
    assert torch.get_num_threads() == 4


def test_threads_are_tried_in_float32_where_there_is_no_bfloat16(
    monkeypatch: pytest.MonkeyPatch, seconds_on: Any
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    asked = seconds_on({4: (0.006, 0.0), 1: (0.004, 0.0), 2: (0.005, 0.0)})
    found = choose()
    assert asked == [4, 1, 2]
    assert (found.precision, found.threads) == ("float32", 1)
    assert found.reason == (
        "float32 on 1 thread: 4.0 ms a step, 6.0 on all "
        "(this processor has no bfloat16 instructions)"
    )


def test_all_threads_are_kept_where_fewer_gain_less_than_a_tenth(
    bfloat16: None, seconds_on: Any
) -> None:
    asked = seconds_on({4: (0.006, 0.004), 1: (0.008, 0.0038), 2: (0.008, 0.0039)})
    found = choose()
    assert asked == [4, 1, 2]
    assert found == PrecisionChoice(
        "bfloat16", "bfloat16: 4.0 ms a step in bfloat16, 6.0 in float32"
    )


def test_of_a_long_step_no_other_threads_are_tried(bfloat16: None, seconds_on: Any) -> None:
    asked = seconds_on({4: (0.3, 0.1)})
    assert choose().threads is None
    assert asked == [4]


def test_what_is_not_safe_is_not_taken_on_fewer_threads_either(
    monkeypatch: pytest.MonkeyPatch, bfloat16: None, seconds_on: Any
) -> None:
    seconds_on({4: (0.006, 0.002), 1: (0.004, 0.001), 2: (0.005, 0.001)})
    monkeypatch.setattr(precision, "_unlike", lambda first: "bfloat16 changes the loss by 9%")
    found = choose()
    assert (found.precision, found.threads) == ("float32", 1)


def test_threads_are_as_before_when_the_context_is_left(four_threads: None) -> None:
    with pytest.raises(RuntimeError), on_threads(1):
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == 4
    with on_threads(16):  # no more than there are
        assert torch.get_num_threads() == 4
