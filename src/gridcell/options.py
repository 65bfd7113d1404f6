"""What the command line refuses of its arguments, where cyclopts would make something else of them.

It rounds 1.5 where a whole number is wanted, takes +3 for 3, and an empty path for the folder that
one stands in.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from cyclopts import App, ArgumentCollection

from gridcell.errors import ConfigError

MAY_BE_PATHS = ("ITEMS", "NETWORK")
"""Arguments that are texts, since they may name other things than files."""


def refuse_unusable(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Check each argument as it was typed; cyclopts calls this before it converts them.

    Raises   ConfigError for a whole number that is none, and for an empty path
    """
    for argument in arguments:
        kinds = (argument.hint, *get_args(argument.hint))
        for token in argument.tokens:
            if int in kinds and not re.fullmatch(r"-?[0-9]+", token.value.strip()):
                raise ConfigError(
                    f"{argument.name} {token.value!r} cannot be used: it must be a whole number.",
                    fix=_written(argument.name, token.value),
                )
            if not token.value.strip() and (Path in kinds or argument.name in MAY_BE_PATHS):
                raise ConfigError(
                    f"{argument.name} is empty, and names no file or folder.",
                    fix="name one; the folder that you are in is a dot.",
                )


def _written(name: str, value: str) -> str:
    if name == "--epochs" and value.startswith("+"):
        return "give the number of all epochs together, those that are done among them."
    return "write digits alone, such as 3."
