"""`python -m gridcell` is the command `gridcell`."""

import sys

from gridcell.cli import main

sys.exit(main())
