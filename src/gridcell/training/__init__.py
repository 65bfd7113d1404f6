"""Training: from a network and training rows to the weights that score best on validation rows."""

from gridcell.training.allocator import keep_memory, take_large_pages
from gridcell.training.checkpoint import (
    About,
    Checkpoints,
    check_fits,
    check_has_checkpoint,
    has_checkpoint,
    latest,
    remove_checkpoints,
)
from gridcell.training.fit import Around, fit
from gridcell.training.history import History, StepRecord, Watcher
from gridcell.training.job import Diagnosis, Job
from gridcell.training.objective import Objective, choose_objective
from gridcell.training.plan import Plan, plan
from gridcell.training.precision import PrecisionChoice, choose_precision
from gridcell.training.preparing import check, prepare
from gridcell.training.state import EpochRecord, State

__all__ = [
    "About",
    "Around",
    "Checkpoints",
    "Diagnosis",
    "EpochRecord",
    "History",
    "Job",
    "Objective",
    "Plan",
    "PrecisionChoice",
    "State",
    "StepRecord",
    "Watcher",
    "check",
    "check_fits",
    "check_has_checkpoint",
    "choose_objective",
    "choose_precision",
    "fit",
    "has_checkpoint",
    "keep_memory",
    "latest",
    "plan",
    "prepare",
    "remove_checkpoints",
    "take_large_pages",
]
