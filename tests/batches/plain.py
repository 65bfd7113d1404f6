"""All items as they are, in the batches that evaluation takes."""

from __future__ import annotations

from collections.abc import Iterator

from gridcell.batches import Batch, Items, plain_places


def plain_batches(items: Items, *, size: int) -> Iterator[Batch]:
    """Yield them batch by batch."""
    for places in plain_places(items, size=size):
        yield items.batch(places)
