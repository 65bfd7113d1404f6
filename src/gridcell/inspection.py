"""What lies somewhere, as a training would find it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gridcell.doctor import Finding
from gridcell.reading import Data
from gridcell.samples import SPLIT_NAMES
from gridcell.splits import Parts


@dataclass(frozen=True)
class Inspection:
    """Data that were read, decoded and split, and what there is to say of them."""

    data: Data
    parts: Parts
    notes: tuple[str, ...]
    """Sentences on what was read and how it was split."""
    findings: tuple[Finding, ...]
    """What is wrong with it or worth knowing, warnings first."""

    def __str__(self) -> str:
        """The task, how many rows each part has, the notes and the findings, a line each."""
        rows = ", ".join(f"{name} {count:,}" for name, count in self.rows.items())
        found = (f"{finding.level}: {finding.text}" for finding in self.findings)
        return "\n".join([f"{self.task}: {rows}", *self.notes, *found])

    @property
    def task(self) -> str:
        """What would be learned, such as classify."""
        return self.data.samples.task

    @property
    def labels(self) -> list[str]:
        """The classes, or the names of what is answered."""
        return [*self.data.samples.labels]

    @property
    def rows(self) -> dict[str, int]:
        """How many items train, valid and test have."""
        return {name: len(self.parts.rows(name)) for name in SPLIT_NAMES}

    def to_json(self) -> dict[str, Any]:
        """Return what `gridcell inspect --json` prints."""
        return {
            "task": self.task,
            "labels": self.labels,
            "items": len(self.data.samples),
            "rows": self.rows,
            "notes": [*self.notes],
            "findings": [{"level": f.level, "text": f.text} for f in self.findings],
        }
