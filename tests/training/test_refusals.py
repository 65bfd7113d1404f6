"""Networks that cannot learn from some items are refused before the first step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gridcell import networks
from gridcell.errors import ConfigError, NetworkError
from gridcell.training.refusals import check_leaves_steps
from tests.batches.test_series import PREP, STEPS, series

from .toys import job


@pytest.mark.parametrize(("batch_size", "valid"), [(1, 10), (2, 11)])
@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_single_item_in_a_batch_is_refused_where_batchnorm_has_one_value_of_it(
    tmp_path: Path, batch_size: int, valid: int, precision: str
) -> None:
    settings: dict[str, Any] = {"batch_size": batch_size, "valid": valid, "precision": precision}
    told = (
        rf"^of {60 - valid} items in batches of {batch_size} (each|one) stands alone: batchnorm "
        r"cannot train on \(1, 4\).*\n  Fix: give --batch-size 3 or more, or write layernorm"
    )
    for net in ("flatten dense(4) batchnorm relu", "mirrored(flatten dense(4) batchnorm)"):
        with pytest.raises(ConfigError, match=told):
            job(tmp_path, net=net, **settings)
    for net in ("conv(4, 3) batchnorm relu", "flatten dense(4) layernorm relu dropout(0.5)"):
        job(tmp_path, net=net, **settings)


def test_batches_of_two_and_more_are_enough_for_batchnorm(tmp_path: Path) -> None:
    for batch_size, valid in ((2, 10), (3, 11), (None, 58)):
        job(tmp_path, net="flatten dense(4) batchnorm", batch_size=batch_size, valid=valid)


def test_a_single_item_to_learn_from_is_refused_likewise(tmp_path: Path) -> None:
    told = r"^of 1 item in batches of \d+ one stands alone: .*\n  Fix: write layernorm in"
    with pytest.raises(ConfigError, match=told):
        job(tmp_path, net="flatten dense(4) batchnorm", valid=59, augment=False)


@pytest.mark.parametrize("rows", [[0, 2], [0, 3, 4], [1]])
def test_a_network_that_leaves_nothing_of_the_shortest_item_is_refused(rows: list[int]) -> None:
    shortest = min(STEPS[row] for row in rows)
    for window in (1, 2, 3, 4):  # leaves so many steps less one
        net = f"conv(4, time={window}, padding=valid)"
        built = networks.build(f"{net} lstm(4) last", PREP.layout, outputs=2)
        if window <= shortest:
            check_leaves_steps(built, series(rows))
            continue
        noun = "step" if shortest == 1 else "steps"
        told = f"{net} leaves nothing of the shortest item, which has {shortest} {noun}."
        with pytest.raises(NetworkError, match=re.escape(told)):
            check_leaves_steps(built, series(rows))
