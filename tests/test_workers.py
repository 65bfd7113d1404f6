"""Work in order, in one thread or in all."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from gridcell import workers
from gridcell.workers import in_order


class Clock:
    """A clock that only work moves, in place of the machine's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("gridcell.workers.time.perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(workers, "cores", lambda: 2)
    return Clock(monkeypatch)


@pytest.mark.parametrize("patience_s", [-1.0, 0.0, 1e9])
@pytest.mark.parametrize("cores", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 7, 64])
def test_everything_comes_in_its_order_however_it_is_worked_on(
    count: int, cores: int, patience_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE_S", patience_s)
    monkeypatch.setattr(workers, "cores", lambda: cores)
    parts = list(in_order(str, range(count), at_once=3))
    assert [found for part in parts for found in part] == [str(i) for i in range(count)]
    assert all(0 < len(part) <= 3 for part in parts)


def ways_of(seconds: list[float], clock: Clock, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Whether items that take so long were worked on alone, beside each other, or both."""
    ways = set()

    class Pool(ThreadPoolExecutor):
        def submit(self, work: Any, *args: Any) -> Any:  # type: ignore[override]
            ways.add(work.__name__)
            return super().submit(work, *args)

    def work(item: float) -> None:
        clock.now += item

    monkeypatch.setattr(workers, "ThreadPoolExecutor", Pool)
    assert sum(len(part) for part in in_order(work, seconds, at_once=4)) == len(seconds)
    return ways


def test_quick_items_are_worked_on_alone_whatever_the_first_takes(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ways_of([5.0] + [2e-4] * 200, clock, monkeypatch) == {"alone"}


def test_one_pause_of_the_machine_decides_nothing(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = [2e-4] * 100 + [0.01]
    assert ways_of(pause * 20, clock, monkeypatch) == {"alone"}
    assert ways_of([2e-4] * 100 + [0.01] * 3, clock, monkeypatch) == {"alone", "beside"}


@pytest.mark.parametrize(("seconds", "alone"), [(1.0, 2), (5e-3, 5), (4e-4, 152)])
def test_slow_items_go_to_all_cores(
    seconds: float, alone: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is not counted; then what each takes too long is taken from the patience."""
    both = threading.Barrier(2, timeout=30)
    begun = 0

    def work(item: int) -> int:
        nonlocal begun
        if item < alone:
            begun += 1
            clock.now += seconds
        elif item < alone + 8:
            both.wait()  # passes only where two are at work
        return item

    # One at once, so that two at work are two threads.
    found = [item for part in in_order(work, range(alone + 40), at_once=1) for item in part]
    assert found == list(range(alone + 40)) and begun == alone


def test_an_error_arrives_in_its_turn_and_nothing_more_is_begun(clock: Clock) -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("the third")
        return item

    found: list[int] = []
    with pytest.raises(ValueError, match="the third"):
        for part in in_order(work, range(100), at_once=1):
            found += part
    assert found == [0, 1, 2] and begun == [0, 1, 2, 3]


def test_who_stops_early_waits_for_one_item_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items past the first hundred wait until the pool is shut: only two can have begun by then."""
    monkeypatch.setattr(workers, "cores", lambda: 2)
    monkeypatch.setattr(workers, "PATIENCE_S", -1.0)
    is_shut, begun = threading.Event(), set()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            is_shut.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    def work(item: int) -> int:
        begun.add(item)
        if item >= 100:
            is_shut.wait(30)
        return item

    monkeypatch.setattr(workers, "ThreadPoolExecutor", Pool)
    with closing(in_order(work, range(1000), at_once=100)) as parts:
        assert next(parts) == list(range(100))
    assert set(range(100)) <= begun and len(begun) <= 102
