"""Training: from a network and training rows to the weights that score best on validation rows."""

from gridcell.training.allocator import keep_memory
from gridcell.training.fit import EpochRecord, History, StepRecord, Watcher, fit
from gridcell.training.job import Job, check, prepare
from gridcell.training.objective import Objective, choose_objective
from gridcell.training.plan import Plan, plan
from gridcell.training.precision import PrecisionChoice, choose_precision

__all__ = [
    "EpochRecord",
    "History",
    "Job",
    "Objective",
    "Plan",
    "PrecisionChoice",
    "StepRecord",
    "Watcher",
    "check",
    "choose_objective",
    "choose_precision",
    "fit",
    "keep_memory",
    "plan",
    "prepare",
]
