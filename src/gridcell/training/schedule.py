"""How the learning rate moves over a training, as a share of its peak."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["one-cycle", "cosine", "constant"]
START_SHARE = 0.04
END_SHARE = 0.002
ONE_CYCLE_WARM_UP = 0.15
COSINE_WARM_UP = 0.05


def rate_share(schedule: Schedule, progress: float) -> float:
    """Return the share of the peak rate at `progress` 0 (start) to 1 (end).

    one-cycle   a straight rise over the first 15 %, then a cosine down (Smith & Topin 2018)
    cosine      a straight rise over the first twentieth, then a cosine down (Loshchilov 2017)
    constant    1 throughout

    >>> [round(rate_share("one-cycle", p), 3) for p in (0.0, 0.15, 0.575, 1.0)]
    [0.04, 1.0, 0.501, 0.002]
    """
    if schedule == "constant":
        return 1.0
    warm_up = ONE_CYCLE_WARM_UP if schedule == "one-cycle" else COSINE_WARM_UP
    if progress < warm_up:
        return START_SHARE + (1 - START_SHARE) * progress / warm_up
    fall = min((progress - warm_up) / (1 - warm_up), 1.0)
    return END_SHARE + (1 - END_SHARE) * (1 + math.cos(math.pi * fall)) / 2
