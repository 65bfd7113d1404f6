"""Where to train, and what is left over beside it."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from gridcell.training.device import reading_threads


@pytest.mark.parametrize(
    ("device", "cores", "threads", "is_on_disk", "wanted"),
    [
        ("cpu", 2, 2, False, 0),
        ("cpu", 1, 1, False, 0),
        ("cpu", 2, 1, False, 1),
        ("cpu", 16, 8, False, 1),
        ("cpu", 2, 2, True, 1),
        ("cuda", 2, 2, False, 1),
    ],
)
def test_batches_are_read_ahead_where_the_step_leaves_a_core_over_or_the_disk_is_slow(
    device, cores, threads, is_on_disk, wanted
):
    with (
        mock.patch("gridcell.training.device.cores", lambda: cores),
        mock.patch.object(torch, "get_num_threads", lambda: threads),
    ):
        assert reading_threads(torch.device(device), is_on_disk=is_on_disk) == wanted
