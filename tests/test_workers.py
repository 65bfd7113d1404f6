"""Work in order, on one core or on all."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from gridcell import workers
from gridcell.workers import in_order


@pytest.mark.parametrize("quick_s", [0, 1e-9, 1e9])
@pytest.mark.parametrize("count", [0, 1, 7, 64])
def test_everything_comes_in_its_order_however_it_is_worked_on(count: int, quick_s: float) -> None:
    parts = list(in_order(str, range(count), at_once=3, quick_s=quick_s))
    assert [found for part in parts for found in part] == [str(i) for i in range(count)]
    assert all(len(part) == 3 for part in parts[:-1])


def test_quick_items_stay_in_this_thread_and_slow_ones_leave_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 2)

    def where(_: int) -> str:
        return threading.current_thread().name

    here = threading.current_thread().name
    quick = [name for part in in_order(where, range(20), at_once=4, quick_s=1e9) for name in part]
    assert set(quick) == {here}
    # However short, the first four take longer than nothing; they alone are worked on here.
    slow = [name for part in in_order(where, range(20), at_once=4, quick_s=1e-12) for name in part]
    assert slow[:4] == [here] * 4 and here not in slow[4:]
    none = [name for part in in_order(where, range(20), at_once=4, quick_s=0) for name in part]
    assert here not in none


@pytest.mark.parametrize("quick_s", [0, 1e9])
def test_an_error_arrives_and_nothing_more_is_begun(
    monkeypatch: pytest.MonkeyPatch, quick_s: float
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 2)
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("the third")
        time.sleep(0.001)
        return item

    with pytest.raises(ValueError, match="the third"):
        list(in_order(work, range(10_000), at_once=2, quick_s=quick_s))
    count = len(begun)
    time.sleep(0.02)
    assert len(begun) == count < 100


def test_who_stops_early_waits_for_one_item_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 2)
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.005)
        return item

    with closing(in_order(work, range(1000), at_once=100, quick_s=0)) as parts:
        assert next(parts) == list(range(100))
        count = len(begun)
    assert len(begun) <= count + 4
