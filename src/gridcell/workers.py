"""Work on many files, in their order: on one core while each is quick, else on all.

Python runs one thread at a time; what a thread may do beside others is to read, decode or hash.
Of a small file that is the lesser part: on two cores of an AMD EPYC two threads took 236
microseconds to decode a PNG of 28 x 28 pixels where one took 134, but 336 where one took 553 for
128 x 128.
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


def in_order(
    work: Callable[[Item], Found], items: Sequence[Item], *, at_once: int, quick_s: float = QUICK_S
) -> Generator[list[Found], None, None]:
    """Yield what `work` makes of the items, in order, a list for every `at_once` of them.

    quick_s    seconds an item: as long as they take less, the next are worked on in this thread;
               from the first that take longer on, all are on all cores. With 0 they are at once.

    Where the caller stops early, no item is begun any more.

    >>> list(in_order(str, [1, 2, 3], at_once=2))
    [['1', '2'], ['3']]
    """
    is_stopped = threading.Event()

    def part(start: int) -> list[Found]:
        found: list[Found] = []
        for item in items[start : start + at_once]:
            if is_stopped.is_set():
                break
            found.append(work(item))
        return found

    starts = deque(range(0, len(items), at_once))
    while starts and quick_s > 0:
        begun = time.perf_counter()
        found = part(starts.popleft())
        taken = time.perf_counter() - begun
        yield found
        if taken > quick_s * len(found):
            break
    if not starts:
        return
    workers = cores()
    waiting: deque[Future[list[Found]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="gridcell-reader")
    try:
        for start in starts:
            waiting.append(pool.submit(part, start))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        is_stopped.set()  # Ctrl-C waits for one file a core, not for all that were asked for
        pool.shutdown(cancel_futures=True)
