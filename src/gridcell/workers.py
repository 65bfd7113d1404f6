"""Work on many files, in their order: in one thread while each is quick, else on all cores.

Python runs one thread at a time; what a thread may do beside others is to read, decode or hash.
Of a small file that is the lesser part, so that two threads take longer than one: on two cores of
an AMD EPYC a PNG of 28 x 28 pixels was decoded in 134 microseconds by one and in 236 by two, one of
128 x 128 in 553 and 336.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from gridcell.process import cores

Item = TypeVar("Item")
Found = TypeVar("Found")

QUICK_S = 3e-4
"""Seconds an item up to which threads would wait for each other more than they share the work."""
PATIENCE_S = 0.015
"""Seconds that items may take longer than that, all together, before they go to all cores; what
others take less is taken off again, so that one pause of the machine decides nothing."""


def in_order(
    work: Callable[[Item], Found], items: Sequence[Item], *, at_once: int
) -> Generator[list[Found], None, None]:
    """Yield what `work` makes of the items, in order, a list for up to `at_once` of them.

    They are worked on in a thread of their own, where Ctrl-C interrupts nothing half done, and in
    as many as there are cores from where they turn out not to be quick. Close the generator to
    stop early: then no item is begun any more.

    Raises   whatever `work` raises, in its item's turn

    >>> list(in_order(str, [1, 2, 3], at_once=2))
    [['1', '2'], ['3']]
    """
    is_stopped = threading.Event()
    spare_s = PATIENCE_S

    def alone(start: int) -> list[Found]:
        nonlocal spare_s
        found: list[Found] = []
        for number in range(start, min(start + at_once, len(items))):
            if is_stopped.is_set() or spare_s < 0:
                break
            begun = time.perf_counter()
            found.append(work(items[number]))
            if number:  # the first also loads what all need
                spent_s = time.perf_counter() - begun
                spare_s = min(spare_s + QUICK_S - spent_s, PATIENCE_S)
        return found

    def beside(start: int) -> list[Found]:
        found: list[Found] = []
        for item in items[start : start + at_once]:
            if is_stopped.is_set():
                break
            found.append(work(item))
        return found

    workers, place = cores(), 0
    waiting: deque[Future[list[Found]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="gridcell-reader")
    try:
        while place < len(items) and spare_s >= 0:
            found = pool.submit(alone, place).result()
            place += len(found)
            yield found
        for start in range(place, len(items), at_once):
            waiting.append(pool.submit(beside, start))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        is_stopped.set()  # Ctrl-C waits for one file a core, not for all that were asked for
        pool.shutdown(cancel_futures=True)
