"""Make docs/digits.svg: what the terminal really shows when `gridcell demo digits` runs.

python docs/picture.py
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from gridcell.process import wait_politely

WIDTH = 112
SHOWN_EPOCHS = 3


def main() -> None:
    """Train on the digits in a folder of its own and save the recorded terminal."""
    wait_politely()
    import os

    from rich.console import Console
    from rich.text import Text

    from gridcell import config, demo, pipeline
    from gridcell.terminal import Terminal
    from gridcell.training import EpochRecord

    class Shortened(Terminal):
        """A terminal that shows the first epochs only."""

        def epoch(self, record: EpochRecord) -> None:
            if record.epoch <= SHOWN_EPOCHS:
                super().epoch(record)
            elif record.epoch == SHOWN_EPOCHS + 1:
                self.console.print(Text("    ...", style="dim"))

    picture = Path(__file__).with_name("digits.svg").resolve()
    console = Console(record=True, width=WIDTH, highlight=False, markup=False)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["GRIDCELL_CACHE"] = "cache"
        console.print("$ gridcell demo digits", style="bold green")
        written = demo.write_digits(Path("digits"))
        console.print(f"{written.images:,} images in {written.folder}/ ({written.source})")
        pipeline.train(config.from_mapping(Path("digits"), {}), Shortened(console))
        os.chdir("/")
    # rich names a font on a server; the picture has to stand alone.
    svg = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="gridcell"), flags=re.S)
    picture.write_text(svg)


if __name__ == "__main__":
    main()
