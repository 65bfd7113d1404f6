"""The borders between the rooms: imports point down one table, and torch stays where it belongs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "gridcell"

# From top to bottom. A room may import those on its own floor and below; those that a `|` parts
# stand side by side, and neither may import the other.
FLOORS = [
    "__init__ __main__ cli options help_text bench demo answers shown terminal plots",
    "pipeline inspection scoring reading folds resuming record teller baseline",
    "training | evaluation",
    "timeline writing",
    "model model_file prediction",
    "networks",
    "batches",
    "preparation augment",
    "layers",
    "sources splits split_by_time doctor bundle",
    "cache samples",
    "config axes errors names_elsewhere process version workers",
]
ROOMS = {
    room: (floor, side)
    for floor, names in enumerate(FLOORS)
    for side, rooms in enumerate(names.split("|"))
    for room in rooms.split()
}
WITHOUT_TORCH = [room for floor in FLOORS[-3:] for room in floor.split()]
# `reference` stands outside: it imports nothing of gridcell, and only tests import it.

FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """The modules that a file imports, at its top or inside a function, by their whole names."""
    package = ("gridcell", *path.relative_to(SOURCE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*parts, *filter(None, [node.module])])
            # What comes from gridcell itself is a room: from gridcell import layers.
            names = [f".{alias.name}" for alias in node.names] if module == "gridcell" else [""]
            found |= {module + name for name in names}
    return found


def wrong_imports(path: Path) -> list[str]:
    room = room_of(path)
    wrong = []
    for name in sorted(imports(path)):
        top, *inside = name.split(".")
        other = inside[0] if inside else "__init__"
        if top == "torch" and room in WITHOUT_TORCH:
            wrong.append(f"{room} is a room without torch")
        if top != "gridcell" or other == room:
            continue
        if "reference" in (room, other):
            wrong.append(f"{room} -> {other}: the reference stands alone")
        elif other not in ROOMS:
            wrong.append(f"{room} -> {other}: {other} is in no floor of the table")
        else:
            (floor, side), (below, beside) = ROOMS[room], ROOMS[other]
            if below < floor or (below == floor and side != beside):
                wrong.append(f"{room} -> {other}: imports point down")
    return wrong


def test_every_room_of_the_table_is_there():
    assert set(ROOMS) | {"reference"} == {room_of(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    assert room_of(path) in ROOMS or room_of(path) == "reference"
    assert wrong_imports(path) == []


@pytest.mark.parametrize(
    ("room", "text"),
    [
        ("layers", "from gridcell.networks import build"),
        ("layers", "from gridcell import networks"),
        ("layers", "def late():\n    import gridcell.networks.build"),
        ("layers", "from ..networks import build"),
        ("training", "from gridcell.evaluation import scores"),
        ("model", "from gridcell import training"),
        ("model", "from gridcell.timeline import Window"),
        ("layers", "from gridcell.preparation import Preparation"),
        ("preparation", "from gridcell import batches"),
        ("training", "from gridcell import folds"),
        ("sources", "def late():\n    import torch.utils"),
        ("samples", "from torch import Tensor"),
        ("networks", "from gridcell import reference"),
        ("reference", "from gridcell.errors import ShapeError"),
        ("errors", "from gridcell import load"),
        ("layers", "from gridcell import unheard_of"),
    ],
)
def test_an_import_that_points_up_is_caught(room, text, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    path = tmp_path / room / "file.py"
    path.parent.mkdir()
    path.write_text(text, "utf-8")
    assert len(wrong_imports(path)) == 1


def test_imports_that_point_down_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    path = tmp_path / "training" / "file.py"
    path.parent.mkdir()
    path.write_text(
        "import torch\nfrom . import plan\nfrom ..layers import Conv\n"
        "from gridcell.model import Model\nfrom gridcell import config, networks\n",
        "utf-8",
    )
    assert wrong_imports(path) == []


@pytest.mark.parametrize(
    "program",
    [
        "import gridcell",
        "import gridcell.sources, gridcell.splits, gridcell.doctor",
        "import gridcell.cli\nsys.argv = ['gridcell', '--help']\ngridcell.cli.entry()",
    ],
)
def test_what_needs_no_torch_loads_none(program):
    watched = (
        f"import sys\ntry:\n    exec({program!r})\nexcept SystemExit as end:\n"
        "    assert not end.code\nassert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
