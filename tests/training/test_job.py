"""A job trains its network in place, from what was found in its training rows."""

from __future__ import annotations

from pathlib import Path

import torch

from gridcell import layers

from .toys import job


def test_what_is_found_in_training_rows_is_told_and_kept(tmp_path: Path) -> None:
    made = job(tmp_path, net="mirrored(whiten(2) relu flatten)", precision="float32")
    assert any("Whitening: directions of patches found from 50" in note for note in made.notes)
    (layer,) = (m for m in made.network.modules() if isinstance(m, layers.Whiten))
    assert not torch.equal(layer.slide.weight, layers.Whiten(1, 2, grid_axes=2).slide.weight)
    before = layer.slide.weight.clone()
    made.fit(lambda *_: 0.0, name="accuracy", better="higher", watcher=None)
    assert torch.equal(layer.slide.weight, before)
