"""Networks: from a line of text to layers that are known to fit the data."""

from gridcell.networks.build import (
    MEANS,
    Network,
    Step,
    build,
    head_width,
    members_of,
    smallest_input,
)
from gridcell.networks.notation import Spec, parse, write
from gridcell.networks.presets import (
    PRESETS,
    check_name,
    choose_network,
    ensemble_of,
    may_have_filters,
)
from gridcell.networks.presets_of_steps import Choice
from gridcell.networks.table import Row, rows

__all__ = [
    "MEANS",
    "PRESETS",
    "Choice",
    "Network",
    "Row",
    "Spec",
    "Step",
    "build",
    "check_name",
    "choose_network",
    "ensemble_of",
    "head_width",
    "may_have_filters",
    "members_of",
    "parse",
    "rows",
    "smallest_input",
    "write",
]
