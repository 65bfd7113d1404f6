"""Networks: from a line of text to layers that are known to fit the data."""

from gridcell.networks.build import Network, Step, build, head_width, smallest_input
from gridcell.networks.notation import Spec, parse, write
from gridcell.networks.presets import PRESETS, check_name, choose_network, may_have_filters
from gridcell.networks.presets_of_steps import Choice
from gridcell.networks.table import Row, rows

__all__ = [
    "PRESETS",
    "Choice",
    "Network",
    "Row",
    "Spec",
    "Step",
    "build",
    "check_name",
    "choose_network",
    "head_width",
    "may_have_filters",
    "parse",
    "rows",
    "smallest_input",
    "write",
]
