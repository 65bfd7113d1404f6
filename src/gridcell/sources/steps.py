"""The steps of a series: from times as they stand in a table to an order, a step, and its gaps.

Nothing is filled in: where a step is missing, a stretch ends and the next begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gridcell.errors import SourceError
from gridcell.samples import Step
from gridcell.sources.wording import counted, listed

Times = NDArray[np.int64]
DAY_US = 86_400_000_000
DOMINANT = 0.5
"""Share of the neighbours that must lie one step apart."""
GAPS_LISTED = 5
COMMONEST = 3


@dataclass(frozen=True)
class Stretches:
    """Rows in the order of time, cut where a step is missing."""

    starts: NDArray[np.int64]
    """[stretches + 1] where each begins, and the end."""
    series: NDArray[np.int64]
    """[stretches] the series that each is of."""
    step: Step | None
    notes: tuple[str, ...]


def in_order(series: NDArray[np.int64], times: Times | None) -> NDArray[np.int64]:
    """Return the rows series by series, each in the order of time; equal times keep their order."""
    if times is None:
        return np.argsort(series, kind="stable")
    return np.lexsort((times, series))


def same_moment(series: NDArray[np.int64], times: Times) -> NDArray[np.int64]:
    """Return the places of ordered rows that have the time of the row in front of them."""
    return np.flatnonzero((np.diff(series) == 0) & (np.diff(times) == 0)) + 1


def stretches(
    series: NDArray[np.int64],
    times: Times | None,
    names: tuple[str, ...],
    *,
    where: str,
    is_numbered: bool = False,
    step: Step | None = None,
) -> Stretches:
    """Cut ordered rows [steps], each time once in its series, into stretches without a gap.

    step   the one that is known already, a model's; it is found where left out

    Raises   SourceError where no step is dominant, or another one than the model's
    """
    borders = np.flatnonzero(np.diff(series)) + 1
    if times is None or len(times) < 2:
        starts = np.concatenate([[0], borders, [len(series)]]).astype(np.int64)
        return Stretches(starts, series[starts[:-1]], step, ())
    is_inside = np.diff(series) == 0
    if step is None:
        if not is_inside.any():
            return Stretches(np.arange(len(series) + 1), series, None, ())
        step = _found(times, is_inside, where=where, is_numbered=is_numbered)
    else:
        _refuse_other(times, is_inside, step, where=where, is_numbered=is_numbered)
    far = step.between(times)
    is_gap = is_inside & (far != 1)
    starts = np.concatenate([[0], np.flatnonzero(~is_inside | is_gap) + 1, [len(series)]])
    starts = starts.astype(np.int64)
    return Stretches(
        starts,
        series[starts[:-1]],
        step,
        _told(times, series, names, np.flatnonzero(is_gap), far, step),
    )


def written(time: int, step: Step | None, *, is_utc: bool = False) -> str:
    """A point of time for people, without what is 0 at its end.

    is_utc   whether to say that it is one of UTC

    >>> written(0, Step("time", 3_600_000_000)), written(2_000_000, Step("numbers"))
    ('1970-01-01 00:00', '2')
    >>> written(0, Step("time", 3_600_000_000), is_utc=True)
    '1970-01-01 00:00+00:00'
    """
    if step is not None and step.unit == "numbers":
        return f"{time / 1e6:.10g}"
    text = str(np.datetime64(time, "us")).replace("T", " ")
    text = text.removesuffix(".000000").removesuffix(":00") if "." in text else text
    is_days = step is not None and (step.unit != "time" or step.count % DAY_US == 0)
    text = text.removesuffix(" 00:00") if is_days else text
    return f"{text}+00:00" if is_utc and ":" in text else text


def _found(times: Times, is_inside: NDArray[np.bool_], *, where: str, is_numbered: bool) -> Step:
    """Return the step that most neighbours lie apart."""
    far = np.diff(times)[is_inside]
    if not is_numbered:
        months = _in_months(times, is_inside)
        if months:
            return Step("months", months)
    values, counts = np.unique(far, return_counts=True)
    most = int(np.argmax(counts))
    unit: Literal["numbers", "time"] = "numbers" if is_numbered else "time"
    if counts[most] <= DOMINANT * len(far):
        order = np.argsort(-counts, kind="stable")[:COMMONEST]
        some = [f"{Step(unit, int(values[i]))} ({100 * counts[i] / len(far):.0f} %)" for i in order]
        raise SourceError(
            f"{where}: its times follow no one step; the commonest are {listed(some)}.",
            fix="bring its rows to one step first, for instance to the mean of each hour.",
        )
    step = Step(unit, int(values[most]))
    if step == Step("time", DAY_US):
        weekday = (times // DAY_US + 3) % 7
        if (weekday < 5).all() and (far == 3 * DAY_US).any():
            return Step("weekdays")
    return step


def _refuse_other(
    times: Times, is_inside: NDArray[np.bool_], step: Step, *, where: str, is_numbered: bool
) -> None:
    """Refuse times of which most lie one other step apart than those that a model learned.

    A window of so many quarters of an hour is another past than one of as many hours.
    """
    far = np.diff(times)[is_inside]
    if not len(far):
        return
    values, counts = np.unique(far, return_counts=True)
    most = int(np.argmax(counts))
    months = 0 if is_numbered else _in_months(times, is_inside)
    if is_numbered == (step.unit == "numbers"):
        is_learned = np.mean(step.between(times)[is_inside] == 1) > DOMINANT
        if is_learned and step.unit == "weekdays" and ((times // DAY_US + 3) % 7 > 4).any():
            raise SourceError(
                f"{where} has rows of Saturdays or Sundays, and the model learned from weekdays "
                "alone.",
                fix="leave those rows out.",
            )
        if is_learned or (counts[most] <= DOMINANT * len(far) and not months):
            return
    found = Step("numbers" if is_numbered else "time", int(values[most]))
    if months:
        found = Step("months", months)
    raise SourceError(
        f"{where}: most of its rows lie {_apart(found)}, and the model learned from rows that lie "
        f"{_apart(step)}.",
        fix="give rows that lie as far apart as in training.",
    )


def _apart(step: Step) -> str:
    return f"{step} apart in number" if step.unit == "numbers" else f"{step} apart"


def _in_months(times: Times, is_inside: NDArray[np.bool_]) -> int:
    """Return how many months lie between most neighbours, 0 where it is no matter of months."""
    points = times.astype("M8[us]")
    days, months = points.astype("M8[D]"), points.astype("M8[M]")
    day = (days - months.astype("M8[D]")).astype(np.int64)
    is_end = (days + 1 == (months + 1).astype("M8[D]")).all()
    if not is_end and (day != day[0]).any():
        return 0
    clock = times - days.astype("M8[us]").astype(np.int64)
    far = np.diff(months.astype(np.int64))[is_inside]
    if (clock != clock[0]).any() or (far < 1).any():
        return 0
    values, counts = np.unique(far, return_counts=True)
    most = int(np.argmax(counts))
    return int(values[most]) if counts[most] > DOMINANT * len(far) else 0


def _told(
    times: Times,
    series: NDArray[np.int64],
    names: tuple[str, ...],
    gaps: NDArray[np.int64],
    far: NDArray[np.int64],
    step: Step,
) -> tuple[str, ...]:
    """Say where steps are missing, after which time and how many."""
    if not len(gaps):
        return ()
    some = []
    for place in gaps[:GAPS_LISTED].tolist():
        lost = int(far[place]) - 1
        what = counted(lost, "step") if lost > 0 else "less than a step"
        of = f" of {names[series[place]]}" if len(names) > 1 else ""
        some.append(f"after {written(int(times[place]), step)}{of} ({what})")
    more = len(gaps) - len(some)
    rest = f" and {more:,} more" if more > 0 else ""
    return (f"{counted(len(gaps), 'gap')}, which no window crosses: {', '.join(some)}{rest}.",)
