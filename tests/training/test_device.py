"""Where to train, and what is left over beside it."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from gridcell.training.device import reading_threads


@pytest.mark.parametrize(
    ("device", "cores", "threads", "wanted"),
    [("cpu", 2, 2, 0), ("cpu", 1, 1, 0), ("cpu", 2, 1, 1), ("cpu", 16, 8, 1), ("cuda", 2, 2, 1)],
)
def test_batches_are_read_ahead_where_the_step_leaves_a_core_over(device, cores, threads, wanted):
    with (
        mock.patch("gridcell.training.device.cores", lambda: cores),
        mock.patch.object(torch, "get_num_threads", lambda: threads),
    ):
        assert reading_threads(torch.device(device)) == wanted
