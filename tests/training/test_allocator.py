"""What memory a training asks for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gridcell.training import take_large_pages

LARGE = "THP_MEM_ALLOC_ENABLE"
PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
ASKED = """
import gridcell.pipeline, torch
from gridcell.training import take_large_pages
take_large_pages()
held = torch.ones(16 << 20)
told = open("/proc/self/smaps_rollup").read()
print(told.split("AnonHugePages:")[1].split()[0])
"""


def gives_large_pages() -> bool:
    return PAGES.exists() and "[never]" not in PAGES.read_text("utf-8")


@pytest.mark.skipif(not gives_large_pages(), reason="this system gives no large pages")
def test_large_tensors_lie_in_large_pages_though_all_modules_are_loaded_before() -> None:
    environment = {name: value for name, value in os.environ.items() if name != LARGE}
    done = subprocess.run(
        [sys.executable, "-c", ASKED], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="asks nothing elsewhere")
def test_what_the_user_decided_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LARGE, "0")
    take_large_pages()
    assert os.environ[LARGE] == "0"
