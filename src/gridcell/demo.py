"""Built-in data: real images that come with a library, written as a user would have them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridcell.errors import SourceError, StorageError

DIGITS_LARGEST_VALUE = 16
DIGITS_SOURCE = "scikit-learn's handwritten digits, 8x8 pixels"


@dataclass(frozen=True)
class Written:
    """Where the images are, how many, and where they come from."""

    folder: Path
    images: int
    source: str


def write_digits(folder: Path) -> Written:
    """Write scikit-learn's handwritten digits as PNGs in a folder a class.

    1,797 real digits of 43 people, 8 x 8 pixels (Alpaydin & Kaynak 1998, UCI repository).

    Raises   SourceError where the folder holds something else
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = folder.resolve() if folder == Path() else folder
    digits = load_digits()
    pixels = np.round(digits.images * (255 / DIGITS_LARGEST_VALUE)).astype(np.uint8)
    names = [f"{target}/{row:04d}.png" for row, target in enumerate(digits.target)]
    if folder.exists():
        there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        if not folder.is_dir() or there - set(names):
            raise SourceError(
                f"{folder} already holds something else.", fix="name another with --folder."
            )
        if len(there) == len(names):
            return Written(folder, len(names), DIGITS_SOURCE)
    beside = folder.parent / f".{folder.name}.part"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        for image, name in zip(pixels, names, strict=True):
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(beside / name)
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Written(folder, len(names), DIGITS_SOURCE)


WRITERS: dict[str, Callable[[Path], Written]] = {"digits": write_digits}
